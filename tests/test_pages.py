"""A stored page says what it says when executed anew: every text, table and sentence, and a picture where one was."""
import nbformat
import pytest
from pages import PAGES, ROOT, code_cells, differences, executed, shown


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_stored_page_is_true(page):
    "Texts are compared to the letter, pictures by their presence."
    wrong = differences(nbformat.read(page, 4), executed(page))
    remedy = "run 'python tests/pages.py' and 'make readme', and read what has changed"
    assert wrong == [], f"{page.relative_to(ROOT)}: {remedy}\n" + "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_page_has_no_warnings(page):
    "Nothing stored was said on stderr, and no cell failed."
    for cell in code_cells(nbformat.read(page, 4)):
        for output in cell.outputs:
            assert output.output_type != "error", f"{page.relative_to(ROOT)}, cell {cell.id}: {output.evalue}"
            assert output.get("name") != "stderr", f"{page.relative_to(ROOT)}, cell {cell.id}: {output.text}"


def test_a_changed_number_is_found():
    "A stored number that is no longer true is named with its cell."
    book = nbformat.read(PAGES[-1], 4)
    changed = nbformat.read(PAGES[-1], 4)
    told = [cell for cell in code_cells(changed) if any(kind == "text/markdown" for kind, _ in shown(cell))]
    for output in told[0].outputs:
        if "text/markdown" in output.data: output.data["text/markdown"] += " −2.9"
    wrong, = differences(book, changed)
    assert told[0].id in wrong
    assert "−2.9" in wrong
