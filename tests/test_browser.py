"""Each interactive notebook as a user sees it: JupyterLab in a real chromium, every control moved by keyboard."""
import json, shutil, subprocess, sys
from contextlib import contextmanager

import pytest

from metapt_nb.files import cache_dir
from lab import CONTRAST, OVERFLOW, ROOT, Keys, Page, chromium, jupyterlab

PROMPTS = """
import sys; from metapt_nb.backbone import Backbone; from metapt_nb.data import load_dataset; from metapt_nb.prompts import save_prompt
from metapt_nb.tune import PretrainConfig, ppt_train; from metapt_nb.maml import MetaConfig, meta_train; import numpy as np
bb = Backbone.load("embedded"); d = load_dataset("movie").rows(np.arange(64)); b = bb.encode(d.texts, d.labels, max_length=32); r = np.arange(64); parts = [(r[:24], r[24:32]), (r[32:56], r[56:])]
for name, train, cfg in (("PPT", ppt_train, PretrainConfig(samples=16)), ("MetaPT", meta_train, MetaConfig(samples=16))):
    save_prompt(f"{sys.argv[1]}/{name}-0.safetensors", train(bb, bb.init_prompt(20), b, parts, cfg).prompt, bb, b, method=name)
"""


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    "A copy of the notebooks, with two prompts of a few seconds' pre-training."
    there = tmp_path_factory.mktemp("browser")/"project"; shutil.copytree(ROOT/"nbs", there/"nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints")); shutil.copytree(ROOT/"bench", there/"bench"); shutil.copy(ROOT/"settings.ini", there)
    subprocess.run([sys.executable, "-c", PROMPTS, there/"runs"/"demo"/"prompts"], check=True)
    return there


@pytest.fixture(scope="session")
def lab(project):
    cache = project.parent/"cache"; cache.mkdir() # the user's, but for the checkpoints of live runs
    for name in ("packages", "unpacked", "backbone", "embeddings", "projections", "tasks"): (cache/name).symlink_to(cache_dir(name))
    with jupyterlab(project, METAPT_CACHE=str(cache)) as (url, log), chromium() as browser: yield browser, url, log


@contextmanager
def opened(lab, notebook, pictures):
    "The notebook after all its cells ran, with its first pictures on screen and every part of it named."
    page = Page(*lab, notebook); page.run_all()
    page.until(lambda: len(page.pictures()) >= pictures and page.summary(), "the first picture"); page.check()
    assert page.unnamed() == []
    try: yield page
    finally: page.close()


def looks(page, name, controls):
    "All controls within Tab's reach, nothing wider than a narrow page, text legible in both themes, screenshots."
    page.screenshot(name); assert set(controls) <= set(page.tab_order()), page.tab_order()
    page.width(480); assert page.js(OVERFLOW) == []; page.screenshot(f"{name}-narrow"); page.width()
    assert page.js(CONTRAST) == []
    page.theme("Dark"); assert page.js(CONTRAST) == []; page.screenshot(f"{name}-dark"); page.theme("Light"); page.check()


def test_explore(lab):
    with opened(lab, "nbs/walkthrough/explore.ipynb", 2) as page:
        page.move("k", Keys.ARROW_RIGHT); page.move("chosen", Keys.ARROW_RIGHT); page.move("k", *[Keys.ARROW_LEFT]*3)
        looks(page, "explore", ["dataset", "n", "method", "k", "how", "seed", "chosen"])
        page.move("method", Keys.ARROW_DOWN); assert "LDA" in page.summary(); page.move("seed", Keys.ARROW_UP)
        page.move("n", Keys.ARROW_LEFT, Keys.ARROW_LEFT); assert " 500 texts" in page.summary()
        page.move("dataset", Keys.ARROW_DOWN); assert "of amazon" in page.summary()
        before = page.pictures(); page.key("how", Keys.ARROW_DOWN); page.until(lambda: page.pictures() != before, "the UMAP map", 120); page.check()


def test_explore_stops(lab):
    "A long first look is stopped; the last picture stays, and the next change goes on."
    with opened(lab, "nbs/walkthrough/explore.ipynb", 2) as page:
        before = page.pictures(); page.key("n", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        page.until(lambda: page.js("return document.querySelector('.mp-step').textContent").startswith("Embedding"), "progress"); page.press("stop")
        page.until(lambda: "Stopped" in page.message(), "the message"); assert page.pictures() == before; page.check()
        page.move("n", *[Keys.ARROW_LEFT]*3)


def test_live(lab, project):
    with opened(lab, "nbs/walkthrough/live.ipynb", 2) as page:
        for name, key in dict(k=Keys.ARROW_LEFT, tasks_per_step=Keys.ARROW_LEFT, alpha=Keys.ARROW_LEFT, beta=Keys.ARROW_RIGHT, samples=Keys.ARROW_LEFT, seed=Keys.ARROW_UP, order=Keys.ARROW_DOWN).items(): page.move(name, key)
        page.key("tasks_per_step", *[Keys.ARROW_RIGHT]*9); page.until(lambda: "lower the tasks per step" in page.message(), "the message"); page.move("tasks_per_step", *[Keys.ARROW_LEFT]*7)
        before = page.pictures(); page.press("start"); page.until(lambda: page.pictures() != before and "Running" in page.summary(), "the first step"); assert not page.enabled("order")
        page.press("pause"); page.until(lambda: "Paused" in page.summary(), "the pause", 20); paused = page.summary(); page.press("resume")
        page.until(lambda: "Running" in page.summary(), "the next step"); page.press("stop"); page.until(lambda: "Stopped" in page.summary(), "the end", 20); assert page.summary() != paused; page.check()
        page.press("save"); page.until(lambda: "Saved the prompt" in page.message(), "the message"); assert (project/"runs"/"live"/"prompts"/"MetaPT-live.safetensors").exists()
        page.press("start"); page.until(lambda: "Finished" in page.summary(), "the end of the run", 120); page.check()
        looks(page, "live", ["k", "tasks_per_step", "alpha", "beta", "order", "samples", "seed", "over", "save", "file"])


def test_playground(lab, project):
    with opened(lab, "nbs/walkthrough/playground.ipynb", 2) as page:
        assert page.js("return document.querySelector('.mp-a select').value").startswith("MetaPT")
        for name, keys in dict(a=[Keys.ARROW_DOWN], b=[Keys.ARROW_UP], epochs=[Keys.ARROW_LEFT]*6, rate=[Keys.ARROW_LEFT], seed=[Keys.ARROW_UP]).items():
            page.move(name, *keys)
        before = page.pictures(), page.summary()
        for name, text, said in (("samples", "", "empty"), ("samples", "a | x\na | y", "only one class"), ("samples", "a | x\nb | y\n"*5000, "10,000 lines"), ("words", "good, good", "share their first piece"), ("text", "", "type a sentence")):
            good = page.find(name).get_attribute("value"); page.write(name, text); page.until(lambda: said in page.message(), f"the message '{said}'"); assert (page.pictures(), page.summary()) == before
            page.write(name, good); page.until(lambda: page.message() == "", "the message to go"); page.settle(); page.check()
        page.write("words", "terrible, great"); page.until(lambda: "praise → great" in page.summary(), "the new label words"); page.check()
        before = page.pictures(); page.press("tune"); page.until(lambda: ", tuned) says" in page.summary() and page.enabled("tune"), "the tuning", 120); assert page.pictures()[0] != before[0]; page.check()
        before = page.pictures(); page.write("text", "The waiter smiled and the cake was lovely."); page.until(lambda: page.pictures()[1] != before[1], "new probabilities"); page.check()
        page.press("save-a"); page.until(lambda: "Saved A" in page.message(), "the message"); assert (project/"runs"/"playground"/"prompts"/"mine.safetensors").exists()
        looks(page, "playground", ["samples", "words", "a", "b", "epochs", "rate", "seed", "text", "tune", "save-a", "save-b", "load", "file"])
        page.press("load"); page.until(lambda: "Loaded" in page.message() and "file mine" in page.summary(), "the loaded prompt"); page.check()


def test_browse(lab):
    with opened(lab, "nbs/walkthrough/browse.ipynb", 1) as page:
        assert "metapt demo" in page.summary(); looks(page, "browse", ["run", "method", "dataset", "metric"])
        for name in ("metric", "dataset", "method", "run"): page.move(name, Keys.ARROW_DOWN)


def test_index_is_quick(lab):
    "The front door: a picture within thirty seconds of opening it, and no error."
    page = Page(*lab, "nbs/index.ipynb"); page.until(lambda: page.js("return [...document.querySelectorAll('.jp-Notebook img')].some(i => i.naturalWidth > 300)"), "a picture", 30)
    page.run_all(); page.check(); page.close()


def broken(project, name, body):
    "A notebook with a view whose drawing breaks at n = 3."
    source = f"import ipywidgets as W\nfrom metapt_nb.widgets import Shown, View, panel, para, png\ndef draw(n):\n    {body}\n    fig, ax = panel(3, 2); ax.plot([0, n])\n    return Shown(((png(fig), f'a line to {{n}}'),), para(f'n = {{n}}'))\nview = View('toy', draw, dict(n=W.IntSlider(2, 1, 9, description='n')), pictures=1); view.refresh()\nview"
    cell = dict(cell_type="code", execution_count=None, id="a", metadata={}, outputs=[], source=source)
    (project/name).write_text(json.dumps(dict(cells=[cell], metadata=dict(kernelspec=dict(display_name="Python 3", language="python", name="python3")), nbformat=4, nbformat_minor=5)))


def test_a_broken_callback_is_seen(lab, project):
    "The checks above fail where a callback breaks, and pass where the same notebook is sound."
    broken(project, "sound.ipynb", "pass")
    with opened(lab, "sound.ipynb", 1) as page: page.move("n", Keys.ARROW_RIGHT)
    broken(project, "broken.ipynb", "if n == 3: raise RuntimeError('the callback broke')")
    with opened(lab, "broken.ipynb", 1) as page:
        page.key("n", Keys.ARROW_RIGHT); page.until(lambda: page.errors(), "an error to be seen")
        with pytest.raises(AssertionError, match="the callback broke"): page.check()
        page.until(lambda: any("RuntimeError: the callback broke" in e for e in page.errors() if not e.startswith("Broken")), "the kernel's own traceback", 10) # it was not swallowed
