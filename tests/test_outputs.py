"""Every notebook is committed with what it shows, small and without errors, so that it reads whole on a code host."""
import json

import nbformat
import pytest
import style
from outputs import ROOT, SKIPPED, code_cells

BOOKS = style.all_books()
MOST_CELL = 200_000     # characters of a cell's outputs
MOST_ALL = 12_000_000   # bytes of nbs/


@pytest.mark.parametrize("book", style.books(), ids=lambda p: p.stem)
def test_shown_cells_have_outputs(book):
    examples = [piece for piece in style.pieces(book) if piece.kind == "example"]
    checks = style.checks_of([piece.tree for piece in examples])
    outputs = {style.plain(cell.source): cell.outputs for cell in code_cells(nbformat.read(book, 4))}
    shown = [piece for piece in examples if style.only_shows(piece.tree, checks) and not SKIPPED.search(piece.code)]
    assert shown
    assert [piece.place for piece in shown if not outputs[piece.code]] == [], "run make outputs"


@pytest.mark.parametrize("book", BOOKS, ids=lambda p: p.stem)
def test_outputs_are_small_and_clean(book):
    for cell in code_cells(nbformat.read(book, 4)):
        assert len(json.dumps(cell.outputs)) < MOST_CELL
        assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in cell.outputs)


def test_notebooks_are_small():
    assert sum(path.stat().st_size for path in (ROOT/"nbs").rglob("*") if path.is_file()) < MOST_ALL
