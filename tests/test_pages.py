"""A stored page says what it says when executed anew: every text, table and sentence, and a picture where one was."""
import nbformat
import pytest
from outputs import KERNEL, PAGES, ROOT, code_cells, differences, shown


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_stored_page_is_true(page):
    "Texts are compared to the letter, pictures by their presence."
    wrong = differences(nbformat.read(page, 4), KERNEL.execute(page))
    remedy = f"run 'python tests/outputs.py {page.relative_to(ROOT)}' and 'make readme', and read what has changed"
    assert wrong == [], f"{remedy}\n" + "\n".join(wrong)


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
