"""README.md out of nbs/index.ipynb, and its pictures: `python tests/readme.py` writes them, `render()` returns them."""
import base64
import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
FOLDER = "results/readme" # of the pictures, beside the index notebook
PICTURES = { # file -> what it shows, in the order of the page
    "table1.png": "Who is ahead: differences in accuracy with 95 % intervals, per data set and over all",
}


def with_pictures(body, outputs):
    "Markdown whose pictures have lasting names and words, and file -> bytes."
    files = {}
    for (made, data), (name, words) in zip(outputs.items(), PICTURES.items(), strict=True):
        body = body.replace(f"![png]({made})", f"![{words}]({FOLDER}/{name})")
        files[f"nbs/{FOLDER}/{name}"] = data
    return body, files


TAKEN = { # file -> the page whose picture it is, and which of them
    "nbs/results/mpt/gains.png": ("nbs/mpt/main.ipynb", 0),
    "nbs/results/supmer/parts.png": ("nbs/supmer/ablation.ipynb", -1),
}


def pictures_of(page):
    "The pictures that a page shows, as bytes."
    cells = nbformat.read(ROOT/page, 4).cells
    shown = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]


def from_root(body):
    "Links that lead from the project's folder instead of from nbs/."
    body = re.sub(r"\]\((?!https?:|#|\.\./)([^)]+)\)", r"](nbs/\1)", body)
    return body.replace("](../", "](")


def tidy(body):
    "No blanks at the end of a line, one empty line at most."
    body = re.sub(r" +$", "", body, flags=re.M)
    return re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"


def render() -> dict:
    "File -> its bytes: the index notebook's prose and stored outputs as Markdown, and the pictures that it shows."
    book = nbformat.read(ROOT/"nbs"/"index.ipynb", 4)
    body, made = MarkdownExporter(exclude_input=True).from_notebook_node(book)
    body, files = with_pictures(body, made["outputs"])
    taken = {name: pictures_of(page)[which] for name, (page, which) in TAKEN.items()}
    return {"README.md": tidy(from_root(body)).encode()} | files | taken


if __name__ == "__main__":
    for name, data in render().items():
        (ROOT/name).parent.mkdir(exist_ok=True)
        (ROOT/name).write_bytes(data)
