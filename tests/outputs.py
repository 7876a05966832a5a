"""Runs notebooks and stores what their cells show: `python tests/outputs.py [NOTEBOOK …]`, without names all."""
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm.auto import tqdm

ROOT = Path(__file__).parents[1]
SKIPPED = re.compile(r"^#\|\s*(slow|gpu)\b", re.M)        # cells that a plain run leaves out
WIDGETS = "application/vnd.jupyter.widget-view+json"      # needs a running kernel
ADDRESS = re.compile(r" at 0x[0-9a-f]+")                  # differs from run to run


def books():
    "Every notebook, in the order in which it is read."
    found = (p for p in ROOT.glob("nbs/**/*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    return sorted(found, key=lambda p: (len(p.relative_to(ROOT).parts), p))


def execute(path):
    "The notebook, run from top to bottom in its own folder but for its slow and its GPU cells."
    book = nbformat.read(path, 4)
    cells = book.cells
    book.cells = [cell for cell in cells if not SKIPPED.search(cell.source)]
    place = {"metadata": {"path": str(path.parent)}}
    NotebookClient(book, timeout=600, kernel_name="python3", resources=place).execute()
    book.cells = cells
    return book


def kept(output):
    "An output as it is stored, the same at every run; None for one that is not."
    if output.output_type == "stream": return None if output.name == "stderr" else output
    data = {kind: value for kind, value in output.data.items() if kind != WIDGETS}
    if WIDGETS in output.data: return None
    if "text/plain" in data: data["text/plain"] = ADDRESS.sub("", data["text/plain"])
    output.data = data
    return output


def clean(book):
    "The notebook without what differs from run to run."
    for cell in book.cells:
        if cell.cell_type != "code": continue
        cell.execution_count = None
        if SKIPPED.search(cell.source): continue
        cell.outputs = [stored for output in cell.outputs if (stored := kept(output)) is not None]
        for output in cell.outputs:
            if "execution_count" in output: output.execution_count = None
    return book


def main(paths):
    with tqdm(paths, desc="notebooks") as bar:
        for path in bar:
            bar.set_postfix_str(path.stem)
            start = time.perf_counter()
            nbformat.write(clean(execute(path)), path)
            tqdm.write(f"{path.relative_to(ROOT)}: {time.perf_counter() - start:.0f} s")
    subprocess.run([Path(sys.executable).with_name("nbdev_clean")], cwd=ROOT, check=True)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main([Path(name).resolve() for name in sys.argv[1:]] or books())
