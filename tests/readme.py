"""README.md out of nbs/index.ipynb: `python tests/readme.py` writes it, `render()` returns it."""
import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]


def render() -> str:
    "The index notebook's prose and stored outputs as Markdown, links pointing into nbs/."
    nb = nbformat.read(ROOT/"nbs"/"index.ipynb", 4)
    body, _ = MarkdownExporter(exclude_input=True).from_notebook_node(nb)
    body = re.sub(r"\]\((?!https?:|#|\.\./)([^)]+)\)", r"](nbs/\1)", body).replace("](../", "](")
    return re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"


if __name__ == "__main__": (ROOT/"README.md").write_text(render(), encoding="utf-8")
