"""Runs notebooks and stores what their cells show: `python tests/outputs.py [NOTEBOOK …]`, without names all."""
import base64
import io
import os
import re
import sys
import time
from pathlib import Path

import nbformat
import style
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean
from PIL import Image
from tqdm.auto import tqdm

ROOT = Path(__file__).parents[1]
# What is drawn from stored runs, and must say the same whenever it is run.
DRAWN = [path for folder in ("paper", "mpt", "supmer") for path in sorted(ROOT.glob(f"nbs/{folder}/*.ipynb"))]
PAGES = [ROOT/"nbs/index.ipynb", ROOT/"nbs/walkthrough/results.ipynb", *DRAWN]
CHOSEN = ("METAPT_PAPER", "METAPT_CROSS", "METAPT_SUPMER") # name other runs to draw
SKIPPED = re.compile(r"^#\|\s*(slow|gpu)\b", re.M)        # cells that a plain run leaves out
WIDGETS = "application/vnd.jupyter.widget-view+json"      # needs a running kernel
ADDRESS = re.compile(r" at 0x[0-9a-f]+")                  # differs from run to run


def books():
    "Every notebook, those of a folder behind those of its parent, the index last: it tells of the others."
    return sorted(style.all_books(), key=lambda p: (p.stem == "index", len(p.relative_to(ROOT).parts), p))


def executed(path, before=(), kernel=None, **environment):
    "The notebook, run from top to bottom in its own folder but for its slow and its GPU cells, some cells before it."
    book = nbformat.read(path, 4)
    cells = book.cells
    book.cells = [*before, *(cell for cell in cells if not SKIPPED.search(cell.source))]
    place = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(book, timeout=600, kernel_name="python3", km=kernel, resources=place)
    client.execute(env=environment)
    book.cells = cells
    return book


def usual(): return {name: value for name, value in os.environ.items() if name not in CHOSEN}


def execute(path): return executed(path, **usual())


class Kernel:
    "One that runs notebooks in turn, each as if it were the first, but that libraries are imported."
    def __init__(self): self.manager = None

    def execute(self, path, **environment):
        if self.manager is None: self.manager = AsyncKernelManager(kernel_name="python3")
        enter = ENTER.format(folder=str(path.parent), chosen=CHOSEN, environment=environment)
        return executed(path, [nbformat.v4.new_code_cell(enter)], self.manager, **usual())


ENTER = """
import os
os.chdir({folder!r})
for name in {chosen!r}: os.environ.pop(name, None)
os.environ.update({environment!r})
get_ipython().reset()
"""
KERNEL = Kernel()


def lighter(picture):
    "A picture, PNG in base 64, in 256 colours where that takes fewer bytes."
    whole, packed = base64.b64decode(picture), io.BytesIO()
    image = Image.open(io.BytesIO(whole))
    if image.mode == "P": return picture
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image.convert("RGBA"))
    ground.convert("RGB").quantize(256).save(packed, "PNG", optimize=True)
    return base64.b64encode(min(whole, packed.getvalue(), key=len)).decode()


def kept(output):
    "An output as it is stored, the same at every run; None for one that is not."
    if output.output_type == "stream": return None if output.name == "stderr" else output
    if WIDGETS in output.data: return None
    if "image/png" in output.data: output.data["image/png"] = lighter(output.data["image/png"])
    if "text/plain" in output.data: output.data["text/plain"] = ADDRESS.sub("", output.data["text/plain"])
    return output


def code_cells(book): return [cell for cell in book.cells if cell.cell_type == "code"]


def drawn(path, **variables):
    "What a notebook says, under some environment variables."
    cells = code_cells(KERNEL.execute(path, **variables))
    return "".join(str(output) for cell in cells for output in cell.outputs)


def store(path):
    "Run a notebook and write it back with what it shows."
    book = execute(path)
    for cell in code_cells(book):
        if SKIPPED.search(cell.source): continue
        cell.outputs = [stored for output in cell.outputs if (stored := kept(output)) is not None]
    book.metadata.pop("widgets", None) # the state of progress bars, with the seconds they took
    nbformat.write(book, path)
    nbdev_clean(str(path))


def shown(cell):
    "What a code cell shows, as (kind, text) pairs: a picture only by its kind."
    found = []
    for output in filter(None, map(kept, cell.outputs)):
        if output.output_type == "stream": found.append((output.name, output.text))
        else: found += [(kind, "" if kind.startswith("image/") else value) for kind, value in output.data.items()]
    return sorted(found)


def differences(stored, anew):
    "A line for each cell of two notebooks that does not show the same."
    found = []
    for old, new in zip(code_cells(stored), code_cells(anew)):
        before, after = shown(old), shown(new)
        if before == after: continue
        first = next((pair for pair in zip(before, after) if pair[0] != pair[1]), (before[-1:], after[-1:]))
        found.append(f"cell {old.id}: stored {first[0]!r}, now {first[1]!r}")
    return found


def main(paths):
    "Each notebook in turn, with how long it took."
    for path in tqdm(paths, desc="notebooks"):
        start = time.perf_counter()
        store(path)
        tqdm.write(f"{path.relative_to(ROOT)}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main([Path(name).resolve() for name in sys.argv[1:]] or books())
