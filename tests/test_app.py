"""The five pages as `make app` shows them: without JupyterLab, without its token nothing, and nothing from outside."""
import re
import signal
import subprocess
import time

import pytest
from lab import OVERFLOW, Keys, Page, address, chromium
from recipes import ROOT, commands_of, with_own_programs
from selenium.webdriver.support.ui import WebDriverWait
from small import free_port

pytest.importorskip("voila", reason="the extra 'app' is not installed")
MOVES = dict( # page -> a control and the key that moves it
    explore=("k", Keys.ARROW_RIGHT), live=("k", Keys.ARROW_LEFT), playground=("epochs", Keys.ARROW_LEFT),
    advise=("folds", Keys.ARROW_LEFT), browse=("metric", Keys.ARROW_DOWN))
BROKEN = "return [...document.querySelectorAll('.mp-broken, .jupyter-widgets-error-widget')].map(e => e.textContent)"
THERE = "return location.href === arguments[0] && document.readyState === 'complete'"
# Addresses of what is loaded, or was to be loaded, from another place than the page.
OUTSIDE = """
const asked = [...document.querySelectorAll('link[href], script[src], img[src]')].map(e => e.href || e.src);
const fetched = performance.getEntriesByType('resource').map(entry => entry.name);
return [...asked, ...fetched].filter(name => !name.startsWith(location.origin) && !name.startsWith('data:'));
"""


class AppPage(Page):
    "One of the five pages, open in Voilà."
    def __init__(self, browser, url, log, name):
        self.browser, self.log, self.notebook = browser, log, name
        self.since = log.stat().st_size
        browser.get(f"{url}voila/render/walkthrough/{name}.ipynb")

    def errors(self): return self.js(BROKEN) + self.tracebacks()

    def settle(self):
        "Wait until the pictures rest."
        last = None
        while (now := self.pictures()) != last:
            last = now
            time.sleep(1)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    "A browser, the address with its token and the log of the server."
    log = tmp_path_factory.mktemp("app")/"log"
    command = ["bash", "-c", f"exec env {commands_of('app')[-1]} --port={free_port()}"]
    with open(log, "w") as f:
        server = subprocess.Popen(command, cwd=ROOT, stdout=f, stderr=f, env=with_own_programs())
    try:
        with chromium() as browser: yield browser, address(server, log), log
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def open_front(browser, url):
    "The front page, which keeps the token; a page asked for before it is wholly there would never come."
    browser.get(url)
    WebDriverWait(browser, 60, .1).until(lambda _: browser.execute_script(THERE, url))


def promise(name):
    "What a page says of itself in its first lines."
    text = (ROOT/"nbs"/"walkthrough"/f"{name}.ipynb").read_text()
    return re.search(r'"> (.+?)(\\n)?"', text).group(1)


def test_nothing_without_the_token(app):
    browser, url, _ = app
    place = url.split("?")[0]
    assert place.startswith("http://127.0.0.1:") and "?token=" in url
    browser.delete_all_cookies()
    for path in ("", "voila/render/walkthrough/browse.ipynb"):
        browser.get(place + path)
        assert "/login" in browser.current_url


def test_front_page(app):
    "Each page with its promise."
    browser, url, _ = app
    open_front(browser, url)
    text = browser.find_element("css selector", "body").text
    assert all(f"{name}\n{promise(name)}" in text for name in MOVES)


@pytest.mark.parametrize("name", MOVES)
def test_page(app, name):
    "Its controls change the picture, nothing is wider than a narrow page, nothing comes from outside."
    browser, url, log = app
    open_front(browser, url)
    page = AppPage(browser, url.split("?")[0], log, name)
    page.until(lambda: page.pictures() and page.summary(), "the first picture", 300)
    page.settle()
    page.check()
    control, key = MOVES[name]
    page.move(control, key)
    assert page.js(OUTSIDE) == []
    page.screenshot(f"app-{name}")
    page.width(480)
    assert page.js(OVERFLOW) == []
    page.screenshot(f"app-{name}-narrow")
    page.width()
