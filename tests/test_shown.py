"""Texts, labels and names of a stranger's, as the pages show them: escaped, bounded, and without a formula's error."""
import re
from html.parser import HTMLParser

import pytest
import strange
from hostile import ANSI
from strange import ODD

from metapt_nb.hub import model_card
from metapt_nb.statistics import markdown
from metapt_nb.widgets import MOST_SHOWN, View, img

TAGS = set("p b bdi table caption thead tbody tr th td div details summary code img".split())


class Seen(HTMLParser):
    "Tags and names of attributes of a page."
    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}


def safe(page, most=60_000):
    "Nothing of a stranger's is markup, nothing controls a terminal, nothing is endless."
    seen = Seen(page)
    assert seen.tags <= TAGS, seen.tags - TAGS
    assert not {name for name in seen.attributes if name.startswith("on")}
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", page)
    assert page.count("\u202e") <= page.count("<bdi>")
    assert len(page) < most, len(page)


def look_safe(shown):
    "A view's summary, and its pictures with their words."
    safe(shown.summary)
    for data, words in shown.pictures:
        safe(img(b"", "a") and img(data, words), 10**6)
        assert data.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["explorer", "live", "playground", "browser"])
def test_pages(name): look_safe(getattr(strange, name)())


def test_advisor(tmp_path):
    for look in strange.advisor(tmp_path): look_safe(look)


def test_messages():
    view = View("odd", None, {}, pictures=0)
    for text in ODD:
        view.say(text)
        safe(view.message.value, 2*MOST_SHOWN)


def test_markdown():
    "Every oddity stays in its cell."
    lines = markdown(strange.table()).split("\n")
    assert len(lines) == 2 + len(ODD) and all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in lines)
    assert "<" not in "".join(lines) and ANSI not in "".join(lines)
    assert max(map(len, lines)) < 4000


def test_model_card():
    page = model_card(strange.card())
    head, body = page.split("\n---\n", 1)
    outside = re.sub(r"(`+).*?\1", "", body)
    assert "<script" not in outside and ANSI not in page and len(page) < 20_000
