"""Pages whose outputs are stored: `python tests/pages.py [NOTEBOOK …]` executes them anew and stores what they show."""
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean

ROOT = Path(__file__).parents[1]
PAGES = [ROOT/"nbs/index.ipynb", ROOT/"nbs/walkthrough/results.ipynb", *sorted(ROOT.glob("nbs/paper/*.ipynb"))]


def executed(path):
    "The notebook with the outputs of a fresh kernel, on the stored runs."
    book = nbformat.read(path, 4)
    environment = {name: value for name, value in os.environ.items() if name != "METAPT_PAPER"}
    where = {"metadata": {"path": str(path.parent)}}
    return NotebookClient(book, timeout=300, kernel_name="python3", resources=where).execute(env=environment)


def text_of(value): return "".join(value) if isinstance(value, list) else value


def shown(cell):
    "What a code cell shows, as (kind, text) pairs: a picture only by its kind, what is said on stderr not at all."
    found = []
    for output in cell.outputs:
        if output.output_type == "stream":
            if output.name == "stdout": found.append(("stdout", output.text))
            continue
        if output.output_type == "error":
            found.append(("error", output.evalue))
            continue
        for kind, value in sorted(output.data.items()):
            found.append((kind, "" if kind.startswith("image/") else text_of(value)))
    return found


def code_cells(book): return [cell for cell in book.cells if cell.cell_type == "code"]


def differences(stored, anew):
    "A line for each cell of two notebooks that does not show the same."
    found = []
    for old, new in zip(code_cells(stored), code_cells(anew)):
        before, after = shown(old), shown(new)
        if before == after: continue
        first = next((pair for pair in zip(before, after) if pair[0] != pair[1]), (before[-1:], after[-1:]))
        found.append(f"cell {old.id}: stored {first[0]!r}, now {first[1]!r}")
    return found


def store(path):
    "Execute a notebook and write it back, clean."
    book = executed(path)
    for cell in code_cells(book):
        # a font cache that is built, a hint of a library: of the machine, not of the page
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    nbformat.write(book, path)
    nbdev_clean(str(path))


if __name__ == "__main__":
    for name in sys.argv[1:] or PAGES: store(Path(name).resolve())
