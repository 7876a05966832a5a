"""Each interactive notebook as a user sees it: JupyterLab in a real chromium, every control moved by keyboard."""
import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import nbformat
import pytest
from lab import CONTRAST, FOLDERS, OVERFLOW, ROOT, Keys, Page, address, chromium, jupyterlab
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from recipes import commands_of, with_own_programs
from small import free_port

from metapt_nb.files import cache_dir

UP, DOWN, LEFT, RIGHT = Keys.ARROW_UP, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_RIGHT
CACHES = ("packages", "unpacked", "backbone", "embeddings", "projections", "tasks")
PICTURE = "return [...document.querySelectorAll('.jp-Notebook img')].some(image => image.naturalWidth > 300)"
STEP = "return document.querySelector('.mp-step').textContent"
START = "return document.querySelector('.mp-a select').value"

# Two prompts of a few seconds' pre-training, in the folder that the script is given.
PROMPTS = """
import sys
import numpy as np
from metapt_nb.backbone import Backbone
from metapt_nb.data import load_dataset
from metapt_nb.maml import LEARNERS
from metapt_nb.prompts import save_prompt
backbone = Backbone.load("embedded")
data = load_dataset("movie").rows(np.arange(64))
batch = backbone.encode(data.texts, data.labels, max_length=32)
rows = np.arange(64)
parts = [(rows[:24], rows[24:32]), (rows[32:56], rows[56:])]
for name, learner in LEARNERS.items():
    run = learner.train(backbone, backbone.init_prompt(20), batch, parts, learner.config(samples=16))
    save_prompt(f"{sys.argv[1]}/{name}-0.safetensors", run.prompt, backbone, batch, method=name)
"""


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    "A copy of the notebooks, with two prompts of a few seconds' pre-training."
    there = tmp_path_factory.mktemp("browser")/"project"
    shutil.copytree(ROOT/"nbs", there/"nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copytree(ROOT/"bench", there/"bench")
    shutil.copy(ROOT/"settings.ini", there)
    subprocess.run([sys.executable, "-c", PROMPTS, there/"runs"/"demo"/"prompts"], check=True)
    return there


@pytest.fixture(scope="session")
def lab(project):
    cache = project.parent/"cache" # the user's, but for the checkpoints of live runs
    cache.mkdir()
    for name in CACHES: (cache/name).symlink_to(cache_dir(name))
    with jupyterlab(project, METAPT_CACHE=str(cache)) as (url, log), chromium() as browser: yield browser, url, log


@contextmanager
def opened(lab, notebook, pictures):
    "The notebook after all its cells ran, with its first pictures on screen and every part of it named."
    page = Page(*lab, notebook)
    page.run_all()
    page.until(lambda: len(page.pictures()) >= pictures and page.summary(), "the first picture")
    page.check()
    assert page.unnamed() == []
    try: yield page
    finally: page.close()


def looks(page, name, controls):
    "All controls within Tab's reach, nothing wider than a narrow page, text legible in both themes, screenshots."
    page.screenshot(name)
    assert set(controls) <= set(page.tab_order()), page.tab_order()
    page.width(480)
    assert page.js(OVERFLOW) == []
    page.screenshot(f"{name}-narrow")
    page.width()
    assert page.js(CONTRAST) == []
    page.theme("Dark")
    assert page.js(CONTRAST) == []
    page.screenshot(f"{name}-dark")
    page.theme("Light")
    page.check()


def test_explore(lab):
    with opened(lab, "nbs/walkthrough/explore.ipynb", 2) as page:
        page.move("k", RIGHT)
        page.move("chosen", RIGHT)
        page.move("k", *[LEFT]*3)
        looks(page, "explore", ["dataset", "n", "method", "k", "how", "seed", "chosen", "table", "fields", "label"])
        page.move("method", DOWN)
        assert "LDA" in page.summary()
        page.move("seed", UP)
        page.move("n", LEFT, LEFT)
        assert " 500 texts" in page.summary()
        page.move("dataset", DOWN)
        assert "of amazon" in page.summary()
        before = page.pictures()
        page.key("how", DOWN) # the summary stays as it is
        page.until(lambda: page.pictures() != before, "the UMAP map", 120)
        page.check()


TOPICS = "a delivery that came too late or not at all", "money back", "a word of thanks to the whole team"


def test_explore_own_file(lab, project):
    "A file with three classes of long names; a column that is not there is said, and named."
    lines = [f"note {i} about {TOPICS[i % 3].split()[-1]},{TOPICS[i % 3]}" for i in range(60)]
    (project/"notes.csv").write_text("\n".join(["text,topic", *lines]))
    with opened(lab, "nbs/walkthrough/explore.ipynb", 2) as page:
        before = page.pictures()
        page.write("table", str(project/"notes.csv"))
        page.until(lambda: "the columns are text, topic" in page.message(), "the message")
        assert page.pictures() == before
        page.write("label", "topic")
        page.until(lambda: "60 texts of notes" in page.summary() and page.pictures() != before, "the file's clusters")
        assert "money back" in page.summary() and page.message() == ""
        page.settle()
        page.move("k", *[LEFT]*6)
        page.screenshot("explore-own-file")
        page.check()


STRANGE = (
    "<script>window.ran = 1</script>", "<img src=x onerror='window.ran = 1'>", "\x1b[2J \u202etxet $x$ and $y$",
    "x"*2000)
INSERTED = "return document.querySelectorAll('.mp-summary :is(script, img, iframe), .mp-message img').length"


def test_explore_strangers_file(lab, project):
    "Texts and labels that are HTML, codes, marks and endless words are shown as text, within the page; none runs."
    lines = [f"{STRANGE[i % 4]} film number {i},{STRANGE[i % 4]}" for i in range(60)]
    (project/"strange.csv").write_text("\n".join(["text,label", *lines]))
    with opened(lab, "nbs/walkthrough/explore.ipynb", 2) as page:
        page.write("table", str(project/"strange.csv"))
        page.until(lambda: "60 texts of strange" in page.summary(), "the file's clusters")
        page.settle()
        assert "<script>window.ran = 1</script>" in page.summary() and "\x1b" not in page.summary()
        page.write("label", STRANGE[0])
        page.until(lambda: "no column '<script>" in page.message(), "the message")
        assert page.js(INSERTED) == 0 and not page.js("return window.ran")
        page.width(480)
        assert page.js(OVERFLOW) == []
        page.screenshot("explore-strangers-file-narrow")
        page.width()
        page.check()


SHOW_STRANGE = """
import sys, tempfile, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {tests!r})
import strange
from pathlib import Path
from IPython.display import Markdown, display
from metapt_nb.widgets import View

for look in strange.looks(Path(tempfile.mkdtemp())):
    view = View("odd", None, {{}}, pictures=len(look.pictures))
    view.show(look)
    view.say(strange.ODD[0] + strange.LONG)
    display(view)
display(strange.table())
display(Markdown(strange.page()))
"""
TABLES = "return document.querySelectorAll('.jp-RenderedMarkdown table').length"
# What only a stranger's text can have put there.
PUT_IN = """
const shown = '.mp-summary, .mp-message, .jp-RenderedMarkdown, .jp-RenderedHTMLCommon';
const found = [...document.querySelectorAll(shown)].flatMap(
  place => [...place.querySelectorAll('script, iframe, img:not(.mp-picture), a[href^="javascript"]')]);
return found.map(element => element.outerHTML.slice(0, 100));
"""


def strange_notebook(project):
    "A notebook that shows all that pages show of a stranger's texts."
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SHOW_STRANGE.format(tests=str(ROOT/"tests")))])
    book.metadata.kernelspec = dict(name="python3", display_name="python3", language="python")
    nbformat.write(book, project/"strange.ipynb")
    return book


def test_strangers_words_on_every_page(lab, project):
    "What `test_shown` reads, seen: nothing runs, nothing is put in, nothing breaks the page."
    strange_notebook(project)
    page = Page(*lab, "strange.ipynb")
    page.run_all()
    page.until(lambda: len(page.pictures()) >= 8 and page.js(TABLES), "all of them")
    assert page.js(PUT_IN) == []
    page.width(480)
    assert page.js(OVERFLOW) == []
    page.screenshot("strange-narrow")
    page.width()
    page.check()
    page.close()


def test_strangers_words_in_a_report(lab, project):
    "The same in a page that is made as the demo's report is."
    book = strange_notebook(project)
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(project)}}).execute()
    html, _ = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True).from_notebook_node(book)
    (project/"report.html").write_text(html)
    browser, _, _ = lab
    browser.get(f"file://{project/'report.html'}")
    assert "no formula" in browser.find_element("css selector", "body").text
    assert browser.execute_script(PUT_IN) == []


def test_explore_stops(lab):
    "A long first look is stopped; the last picture stays, and the next change goes on."
    with opened(lab, "nbs/walkthrough/explore.ipynb", 2) as page:
        page.key("n", RIGHT, RIGHT)
        page.until(lambda: page.js(STEP).startswith("Embedding"), "progress")
        before = page.pictures() # of the first step where that is in the cache
        page.press("stop")
        page.until(lambda: "Stopped" in page.message(), "the message")
        assert page.pictures() == before
        page.check()
        page.move("n", *[LEFT]*3)


LIVE_KEYS = dict(k=LEFT, tasks_per_step=LEFT, alpha=LEFT, beta=RIGHT, samples=LEFT, seed=UP, learner=DOWN)


def test_live(lab, project):
    def says(state, seconds=20): page.until(lambda: state in page.summary(), state, seconds)

    with opened(lab, "nbs/walkthrough/live.ipynb", 2) as page:
        page.move("tasks", DOWN)
        page.move("tasks", UP)
        for name, key in LIVE_KEYS.items(): page.move(name, key)
        page.key("tasks_per_step", *[RIGHT]*9)
        page.until(lambda: "lower the tasks per step" in page.message(), "the message")
        page.move("tasks_per_step", *[LEFT]*7)

        before = page.pictures()
        page.press("start")
        page.until(lambda: page.pictures() != before and "Running" in page.summary(), "the first step")
        assert not page.enabled("learner")
        page.press("pause")
        says("Paused")
        paused = page.summary()
        page.press("resume")
        says("Running", 90)
        page.press("stop")
        says("Stopped")
        assert page.summary() != paused
        page.check()

        page.press("save")
        page.until(lambda: "Saved the prompt" in page.message(), "the message")
        assert (project/"runs"/"live"/"prompts"/"MetaPT-live.safetensors").exists()
        page.press("start")
        says("Finished", 120)
        page.check()
        looks(page, "live", ["tasks", *LIVE_KEYS, "over", "save", "file"])


PLAY_KEYS = dict(a=[DOWN], b=[UP], epochs=[LEFT]*6, rate=[LEFT], seed=[UP])
BAD_INPUT = [ # control, what is typed, what the page says
    ("samples", "", "empty"), ("samples", "a | x\na | y", "only one class"),
    ("samples", "a | x\nb | y\n"*5000, "10,000 rows"), ("words", "good, good", "are the same pieces"),
    ("template", "{text}", "has no {mask}"), ("table", "none.csv", "no such file"), ("text", "", "type a sentence")]
PLAY_CONTROLS = (
    "samples", "table", "fields", "label", "options", "words", "template", "max_length", "a", "b", "epochs", "rate",
    "seed", "text", "tune", "save-a", "save-b", "load", "file")


def test_playground(lab, project):
    with opened(lab, "nbs/walkthrough/playground.ipynb", 2) as page:
        assert page.js(START).startswith("MetaPT")
        for name, keys in PLAY_KEYS.items(): page.move(name, *keys)
        before = page.pictures(), page.summary()
        for name, text, said in BAD_INPUT:
            good = page.find(name).get_attribute("value")
            page.write(name, text)
            page.until(lambda: said in page.message(), f"the message '{said}'")
            assert (page.pictures(), page.summary()) == before
            page.write(name, good)
            page.until(lambda: page.message() == "", "the message to go")
            page.settle()
            page.check()

        page.write("words", "terrible, great")
        page.until(lambda: "praise → great" in page.summary(), "the new label words")
        page.check()
        before = page.pictures()
        page.press("tune")
        page.until(lambda: ", tuned) says" in page.summary() and page.enabled("tune"), "the tuning", 120)
        assert page.pictures()[0] != before[0]
        assert page.summary().count("(calibrated, temperature") == 2
        page.check()
        before = page.pictures()
        page.write("text", "The waiter smiled and the cake was lovely.")
        page.until(lambda: page.pictures()[1] != before[1], "new probabilities")
        page.check()

        page.press("save-a")
        page.until(lambda: "Saved A" in page.message(), "the message")
        assert (project/"runs"/"playground"/"prompts"/"mine.safetensors").exists()
        looks(page, "playground", PLAY_CONTROLS)
        page.press("load")
        page.until(lambda: "Loaded" in page.message() and "file mine" in page.summary(), "the loaded prompt")
        page.check()


THREE = """late | Where is my parcel?
late | It should have come on Monday.
late | Still no sign of the box.
refund | I want my money back.
refund | Please cancel it and pay me back.
refund | Return the sum I paid.
happy | Lovely, thank you!
happy | I will surely order again.
happy | The best shop in town."""
PHRASES = "shipping delay, refund request, thanks for the service"


def three_probabilities(page, letter):
    "Class -> probability, read from the words of the second picture."
    sides = dict(re.findall(r"([AB]) \(.+?, calibrated, temperature [\d.]+\) ([^;]+)", page.words()[1]))
    return {name: float(p) for name, p in re.findall(r"(\w+) (\d\.\d\d)", sides[letter])}


def test_playground_own_words(lab):
    "Three classes and their phrases, typed; tuned; three probabilities that follow what is typed."
    with opened(lab, "nbs/walkthrough/playground.ipynb", 2) as page:
        page.write("words", PHRASES)
        page.until(lambda: "label words: 3 for 2 classes" in page.message(), "the message")
        page.write("samples", THREE, typed=True)
        page.until(lambda: "happy → thanks for the service" in page.summary() and not page.message(), "the classes")
        assert re.search(r"late → shipping delay \(\S+( \S+)+\)", page.summary()), page.summary() # all pieces
        page.key("epochs", *[LEFT]*3)
        page.settle()
        page.press("tune")
        page.until(lambda: ", tuned) says" in page.summary() and page.enabled("tune"), "the tuning", 120)
        page.write("text", "My parcel has not come yet.")
        page.until(lambda: "has not come yet" in page.words()[1], "the new text")
        first = three_probabilities(page, "A")
        assert list(first) == ["late", "refund", "happy"] and sum(first.values()) == pytest.approx(1, abs=.02)
        page.write("text", "Thank you, what a lovely shop.")
        page.until(lambda: "a lovely shop" in page.words()[1], "the next text")
        assert three_probabilities(page, "A") != first and page.message() == ""
        page.screenshot("playground-own-words")
        page.check()


PAIRS = """premise,hypothesis,label
A man plays a guitar.,A man makes music.,follows
A dog runs on the beach.,The dog sleeps.,does not follow
Two women eat lunch.,Somebody eats.,follows
The shop is closed.,The shop is open.,does not follow"""


def test_playground_pairs(lab):
    "A pasted table of sentence pairs: an input per field, the class names as label words."
    with opened(lab, "nbs/walkthrough/playground.ipynb", 2) as page:
        page.write("words", "")
        page.write("fields", "premise,hypothesis")
        page.write("samples", PAIRS)
        page.until(lambda: "{premise} ? {mask} , {hypothesis}" in page.summary() and not page.message(), "the pairs")
        assert "does not follow → does not follow (" in page.summary()
        before = page.pictures()
        page.write("text-1", "A cat runs.")
        page.until(lambda: page.pictures()[1] != before[1], "new probabilities")
        assert "| A cat runs." in page.words()[1] and page.unnamed() == []
        page.check()


ADVISE_KEYS = dict(rows=[LEFT], repeats=[RIGHT], epochs=[LEFT], rate=[RIGHT], seed=[UP], folds=[LEFT]*3)
ADVISE_CONTROLS = (
    "dataset", "table", "fields", "label", "words", "starts", "rows", "folds", "repeats", "epochs", "rate", "seed",
    "advise")


def test_advise(lab):
    "Two starts on twenty rows, in four splits: chosen and tried by keyboard."
    with opened(lab, "nbs/walkthrough/advise.ipynb", 1) as page:
        page.key("starts", DOWN)
        page.until(lambda: "choose at least two" in page.message(), "the message")
        page.find("starts").send_keys(Keys.SHIFT + DOWN)
        page.until(lambda: page.message() == "", "two starts")
        for name, keys in ADVISE_KEYS.items(): page.move(name, *keys)
        page.press("advise")
        page.until(lambda: "is ahead of" in page.summary() and page.enabled("advise"), "the advice", 300)
        assert "of 4 splits" in page.summary() and "4 of 4 splits done" in page.words()[0]
        assert page.message() == ""
        looks(page, "advise", ADVISE_CONTROLS)


def test_browse(lab):
    with opened(lab, "nbs/walkthrough/browse.ipynb", 1) as page:
        assert "metapt demo" in page.summary()
        looks(page, "browse", ["run", "method", "dataset", "metric"])
        for name in ("metric", "dataset", "method", "run"): page.move(name, DOWN)


def test_lab_asks_for_its_token(tmp_path):
    "What `make lab` starts answers who knows the token, on loopback."
    port, log = free_port(), tmp_path/"log"
    command = f"exec {commands_of('lab')[-1]} --no-browser --allow-root --port={port}"
    folders = {name: str(tmp_path/sub) for name, sub in FOLDERS.items()}
    with open(log, "w") as f:
        server = subprocess.Popen(
            ["bash", "-c", command], cwd=ROOT, stdout=f, stderr=f, env=with_own_programs() | folders)
    try:
        place, _, token = address(server, log).partition("/lab")
        asked = f"{place}/api/contents"
        with pytest.raises(HTTPError, match="403"): urlopen(asked)
        assert urlopen(asked + token[token.index("?token="):]).status == 200
        with pytest.raises(URLError): urlopen(asked.replace("127.0.0.1", "127.0.0.2"))
    finally:
        server.terminate()
        server.wait(60)


def test_index_is_quick(lab):
    "The front door: a picture within thirty seconds of opening it, and no error."
    page = Page(*lab, "nbs/index.ipynb")
    page.until(lambda: page.js(PICTURE), "a picture", 30)
    page.run_all()
    page.check()
    page.close()


TOY = """
import ipywidgets as W
from metapt_nb.widgets import Shown, View, panel, para, png

def draw(n):
    {body}
    fig, ax = panel(3, 2)
    ax.plot([0, n])
    return Shown(((png(fig), f"a line to {{n}}"),), para(f"n = {{n}}"))

view = View("toy", draw, dict(n=W.IntSlider(2, 1, 9, description="n")), pictures=1)
view.refresh()
view
"""


def write_toy(project, name, body):
    "A notebook with a view of one slider, whose drawing begins with `body`."
    source = TOY.format(body=body).strip()
    cell = dict(cell_type="code", execution_count=None, id="a", metadata={}, outputs=[], source=source)
    kernel = dict(display_name="Python 3", language="python", name="python3")
    book = dict(cells=[cell], metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5)
    (project/name).write_text(json.dumps(book))


def test_a_broken_callback_is_seen(lab, project):
    "The checks above fail where a callback breaks, and pass where the same notebook is sound."
    write_toy(project, "sound.ipynb", "pass")
    with opened(lab, "sound.ipynb", 1) as page: page.move("n", RIGHT)
    write_toy(project, "broken.ipynb", "if n == 3: raise RuntimeError('the callback broke')")
    with opened(lab, "broken.ipynb", 1) as page:
        page.key("n", RIGHT)
        page.until(lambda: page.errors(), "an error to be seen")
        with pytest.raises(AssertionError, match="the callback broke"): page.check()

        def in_the_kernel(): # what the view itself says begins with 'Broken'
            return any("RuntimeError: the callback broke" in e for e in page.errors() if not e.startswith("Broken"))

        page.until(in_the_kernel, "the kernel's own traceback", 10)
