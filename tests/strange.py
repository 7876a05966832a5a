"""What pages show of a stranger's texts, labels and names: looks of all of them, and a page of Markdown."""
import numpy as np
import pandas as pd
from hostile import ANSI, RIGHT_TO_LEFT, SCRIPT

from metapt_nb.advise import AdviceConfig, Trial
from metapt_nb.advisor import advice_look, record_text
from metapt_nb.backbone import Backbone
from metapt_nb.browse import Run, browse_look
from metapt_nb.cluster import Tasks
from metapt_nb.data import make_dataset
from metapt_nb.explore import describe, plot_look
from metapt_nb.hub import code_span, model_card
from metapt_nb.learners import Clusters, LearnConfig
from metapt_nb.live import Offer, Plan, Training, live_look
from metapt_nb.playground import Side, Tried, make_task, parse_samples, play_look
from metapt_nb.statistics import markdown
from metapt_nb.widgets import Shown

FORMULA = r"$\frac{ is $5 no formula"
LONG = "x"*100_000
IMAGE, MARKS = "\"><img src=x onerror='alert(1)'>", "a | b\n# c `d` [e](javascript:f)"
ODD = (SCRIPT, IMAGE, ANSI, RIGHT_TO_LEFT, LONG, FORMULA, MARKS)


def data():
    "A row for each oddity, thrice, its class called by it."
    texts = [f"{i} {text}" for i in range(3) for text in ODD]
    return make_dataset("<b>odd</b>", texts, list(range(len(ODD)))*3, ODD)


def tasks(): return Tasks(np.arange(3*len(ODD)) % 3, "kmeans", 0, ODD[:3], (SCRIPT,))


def _rows(backbone):
    "The data as rows of two classes."
    odd = data()
    return backbone.encode(odd.texts, odd.labels % 2, max_length=8)


def explorer():
    xy = np.random.default_rng(0).standard_normal((3*len(ODD), 2)).astype(np.float32)
    return Shown(plot_look(data(), xy, tasks(), "tsne", 1), describe(data(), xy, tasks(), 1))


def live():
    tb = Backbone.tiny()
    batch, rows = _rows(tb), np.arange(3*len(ODD))
    told = list(zip(tasks().top_words, tasks().sizes.tolist()))
    offer = Offer(Clusters(batch, [(rows[:9], rows[9:12])]*3), batch[:1], told, {SCRIPT: ANSI})
    return live_look(Training(Plan(tb, tb.init_prompt(2), offer, "maml", LearnConfig())))


def playground():
    tb = Backbone.tiny()
    texts = [f"{i} {text[:200]}".replace("\n", " ") for i, text in enumerate(ODD)]
    lines = "\n".join(f"{name} | {text}" for text in texts for name in ("a<b>", SCRIPT))
    task = make_task(tb, parse_samples(lines), words="bad, good")
    sides = {letter: Side(name, tb.init_prompt(2)) for letter, name in zip("AB", ODD)}
    return play_look(tb, task, sides, Tried(dict(text=SCRIPT + FORMULA + LONG[:1000] + ANSI)), 3, "a <b>title</b>")


def browser():
    rows = [dict(method=name, dataset=name, seed=0, accuracy=.5) for name in ODD]
    run = Run(pd.DataFrame(rows), dict(command=SCRIPT + ANSI + LONG, date=SCRIPT, backbone=SCRIPT))
    return browse_look({SCRIPT: run}, SCRIPT)


def advisor(folder):
    "Before the first split, and after it."
    tb = Backbone.tiny()
    rows = np.arange(3*len(ODD))
    starts = {name: lambda seed: tb.init_prompt(2, seed=seed) for name in ODD}
    trial = Trial(tb, starts, _rows(tb), [(rows[:9], rows[9:12])]*2, AdviceConfig(epochs=1))
    first = advice_look(trial, folder)
    next(trial.fill(folder))
    return first, advice_look(trial, folder, record_text(folder/SCRIPT))


def looks(folder):
    "All of them."
    return [explorer(), live(), playground(), browser(), *advisor(folder)]


def card():
    "A prompt's, filled in by a stranger."
    return dict(
        backbone=SCRIPT, backbone_hash="0", L=2, d=16, template="{text} " + SCRIPT + " {mask}", words=list(ODD[:2]),
        classes=list(ODD[2:4]), method=LONG, data={SCRIPT: ANSI}, init="```\n" + SCRIPT)


def table(): return pd.DataFrame({SCRIPT: ODD, "a|b": ODD}, index=ODD)


def page():
    "A table, a card as the walkthrough lists it, and a model card, in Markdown."
    listed = "\n".join(f"- **{key}**: {code_span(str(value))}" for key, value in card().items())
    return "\n\n".join([markdown(table()), listed, model_card(card()).split("\n---\n", 1)[1]])
