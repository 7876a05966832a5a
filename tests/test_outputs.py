"""Every notebook is committed with what it shows, small and without errors, so that it reads whole on a code host."""
import json
from pathlib import Path

import pytest
import style
from outputs import SKIPPED

ROOT = Path(__file__).parents[1]
BOOKS = sorted(p for p in ROOT.glob("nbs/**/*.ipynb") if ".ipynb_checkpoints" not in p.parts)
MOST_CELL = 200_000     # characters of a cell's outputs
MOST_ALL = 12_000_000   # bytes of nbs/


def code_cells(book): return [cell for cell in json.loads(book.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("book", style.books(), ids=lambda p: p.stem)
def test_shown_cells_have_outputs(book):
    examples = [piece for piece in style.pieces(book) if piece.kind == "example"]
    checks = style.checks_of([piece.tree for piece in examples])
    outputs = {style.plain("".join(cell["source"])): cell["outputs"] for cell in code_cells(book)}
    shown = [piece for piece in examples if style.only_shows(piece.tree, checks) and not SKIPPED.search(piece.code)]
    assert shown
    assert [piece.place for piece in shown if not outputs[piece.code]] == [], "run make outputs"


@pytest.mark.parametrize("book", BOOKS, ids=lambda p: p.stem)
def test_outputs_are_small_and_clean(book):
    for cell in code_cells(book):
        outputs = cell["outputs"]
        assert len(json.dumps(outputs)) < MOST_CELL
        assert not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs)


def test_notebooks_are_small():
    assert sum(path.stat().st_size for path in (ROOT/"nbs").rglob("*") if path.is_file()) < MOST_ALL
