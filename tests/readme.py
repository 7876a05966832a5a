"""README.md out of nbs/index.ipynb, and its picture: `python tests/readme.py` writes them, `render()` returns them."""
import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]


def render() -> dict:
    "File -> its bytes: the index notebook's prose and stored outputs as Markdown, links pointing into nbs/, and the pictures among the outputs."
    nb = nbformat.read(ROOT/"nbs"/"index.ipynb", 4)
    body, made = MarkdownExporter(exclude_input=True).from_notebook_node(nb, resources=dict(output_files_dir="results/readme", unique_key="picture"))
    body = re.sub(r"\]\((?!https?:|#|\.\./)([^)]+)\)", r"](nbs/\1)", body).replace("](../", "](").replace("![png]", "![Accuracy of every method on the seven data sets; the table below has the numbers]")
    return {"README.md": (re.sub(r"\n{3,}", "\n\n", body).strip() + "\n").encode()} | {f"nbs/{n}": data for n, data in made["outputs"].items()}


if __name__ == "__main__":
    for name, data in render().items(): (ROOT/name).parent.mkdir(exist_ok=True); (ROOT/name).write_bytes(data)
