"""Texts, labels and names of a stranger's, as the pages show them: escaped, bounded, and without a formula's error."""
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hostile import ANSI, RIGHT_TO_LEFT, SCRIPT

from metapt_nb.advise import AdviceConfig, Trial
from metapt_nb.advisor import advice_look, record_text
from metapt_nb.backbone import Backbone
from metapt_nb.browse import Run, browse_look
from metapt_nb.cluster import Tasks
from metapt_nb.data import make_dataset
from metapt_nb.explore import describe, plot_look
from metapt_nb.hub import model_card
from metapt_nb.learners import Clusters, LearnConfig
from metapt_nb.live import Offer, Plan, Training, live_look
from metapt_nb.playground import Side, Tried, make_task, parse_samples, play_look
from metapt_nb.statistics import markdown
from metapt_nb.widgets import MOST_SHOWN, Shown, View, img

FORMULA = r"$\frac{ is $5 no formula"
LONG = "x"*100_000
IMAGE, MARKS = "\"><img src=x onerror='alert(1)'>", "a | b\n# c `d` [e](javascript:f)"
ODD = (SCRIPT, IMAGE, ANSI, RIGHT_TO_LEFT, LONG, FORMULA, MARKS)
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


@pytest.fixture(scope="module")
def data():
    "A row for each oddity, thrice, its class called by it."
    texts = [f"{i} {text}" for i in range(3) for text in ODD]
    return make_dataset("<b>odd</b>", texts, list(range(len(ODD)))*3, ODD)


@pytest.fixture(scope="module")
def tasks(data): return Tasks(np.arange(len(data)) % 3, "kmeans", 0, ODD[:3], (SCRIPT,))


def test_explorer(data, tasks):
    xy = np.random.default_rng(0).standard_normal((len(data), 2)).astype(np.float32)
    look_safe(Shown(plot_look(data, xy, tasks, "tsne", 1), describe(data, xy, tasks, 1)))


def test_live_page(data, tasks):
    tb = Backbone.tiny()
    batch = tb.encode(data.texts, data.labels % 2, max_length=8)
    rows = np.arange(len(data))
    told = list(zip(tasks.top_words, tasks.sizes.tolist()))
    offer = Offer(Clusters(batch, [(rows[:9], rows[9:12])]*3), batch[:1], told, {SCRIPT: ANSI})
    plan = Plan(tb, tb.init_prompt(2), offer, "maml", LearnConfig())
    look_safe(live_look(Training(plan)))


def test_playground(data):
    tb, names = Backbone.tiny(), ODD[:2]
    texts = [f"{i} {text[:200]}".replace("\n", " ") for i, text in enumerate(ODD)]
    lines = "\n".join(f"{name} | {text}" for text in texts for name in ("a<b>", SCRIPT))
    task = make_task(tb, parse_samples(lines), words="bad, good")
    sides = {letter: Side(name, tb.init_prompt(2)) for letter, name in zip("AB", names)}
    look_safe(play_look(tb, task, sides, Tried(dict(text=SCRIPT + FORMULA + LONG[:1000] + ANSI)), 3, "a <b>title</b>"))


def test_browser():
    rows = [dict(method=name, dataset=name, seed=0, accuracy=.5) for name in ODD]
    run = Run(pd.DataFrame(rows), dict(command=SCRIPT + ANSI + LONG, date=SCRIPT, backbone=SCRIPT))
    look_safe(browse_look({SCRIPT: run}, SCRIPT))


def test_messages():
    view = View("odd", None, {}, pictures=0)
    for text in ODD:
        view.say(text)
        safe(view.message.value, 2*MOST_SHOWN)


def test_markdown():
    "Every oddity stays in its cell."
    table = pd.DataFrame({SCRIPT: ODD, "a|b": ODD}, index=ODD)
    lines = markdown(table).split("\n")
    assert len(lines) == 2 + len(ODD) and all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in lines)
    assert "<" not in markdown(table) and ANSI not in markdown(table)
    assert max(map(len, lines)) < 4000


def test_model_card():
    card = dict(
        backbone=SCRIPT, backbone_hash="0", L=2, d=16, template="{text} " + SCRIPT + " {mask}", words=list(ODD[:2]),
        classes=list(ODD[2:4]), method=LONG, data={SCRIPT: ANSI}, init="```\n" + SCRIPT)
    page = model_card(card)
    head, body = page.split("\n---\n", 1)
    outside = re.sub(r"(`+).*?\1", "", body)
    assert "<script" not in outside and ANSI not in page and len(page) < 20_000


def test_advisor(data, tmp_path):
    "Starts, label words and template of a stranger's, before the first split and after it."
    tb = Backbone.tiny()
    batch = tb.encode(data.texts, data.labels % 2, max_length=8)
    rows = np.arange(len(data))
    starts = {name: lambda seed: tb.init_prompt(2, seed=seed) for name in ODD}
    trial = Trial(tb, starts, batch, [(rows[:9], rows[9:12])]*2, AdviceConfig(epochs=1))
    look_safe(advice_look(trial, tmp_path))
    next(trial.fill(tmp_path))
    look_safe(advice_look(trial, tmp_path, record_text(tmp_path/SCRIPT)))
