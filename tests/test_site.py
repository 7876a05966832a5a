"""The site that `make docs` builds: whole, its links sound, nothing from outside, and legible on a telephone."""
import functools
import http.server
import json
import re
import subprocess
import threading
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag

import pytest
import style
from lab import chromium
from recipes import ROOT, commands_of, with_own_programs
from selenium.webdriver.support.ui import WebDriverWait

pytest.importorskip("sphinx", reason="the extra 'docs' is not installed")
MODULES = sorted((ROOT/"metapt_nb").glob("[a-z]*.py"))
LOADING = dict(script="src", img="src", source="src", iframe="src", link="href") # element -> what it loads


class Links(HTMLParser):
    "What can be linked to in a page, where its links lead, and what it loads."
    def __init__(self, file):
        super().__init__()
        self.anchors, self.links, self.loaded = {""}, [], []
        self.feed(file.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id", ""))
        if tag == "a": self.links.append(attributes.get("href", ""))
        self.loaded.append(attributes.get(LOADING.get(tag), ""))


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    "The folder of a site, built as by `make docs`."
    there = tmp_path_factory.mktemp("site")
    command = commands_of("docs")[-1].replace("_docs", str(there))
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, env=with_own_programs())
    assert done.returncode == 0, done.stderr
    return there/"html"


@pytest.fixture(scope="session")
def pages(site): return {file: Links(file) for file in site.rglob("*.html")}


def page_of(site, source): return site/source.relative_to(ROOT).with_suffix(".html")


def stored_pictures(book):
    "How many pictures a notebook has stored."
    cells = json.loads(book.read_text())["cells"]
    return sum("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", []))


@pytest.mark.parametrize("book", style.all_books(), ids=lambda path: path.stem)
def test_notebook(site, book):
    "A notebook has its page, with every picture that it has stored, and without nbdev's directives."
    page = page_of(site, book).read_text()
    assert len(re.findall(r"<img[^>]+_images/[0-9a-f]{64}\.png", page)) == stored_pictures(book)
    assert "#| " not in re.sub("<[^>]+>", "", page)


def test_modules(site):
    "Each module's page has the names it gives."
    for module in MODULES:
        page = page_of(site, module).read_text()
        names = re.findall(r"^(?:def|class) ([A-Za-z]\w+)", module.read_text(), re.M)
        assert [name for name in names if f">{name}<" not in page and f".{name}<" not in page] == [], module.name


def test_parameters_have_their_comments(site):
    page = re.sub("<[^>]+>", "", page_of(site, ROOT/"metapt_nb"/"tune.py").read_text())
    assert "# early stopping; also scored before the first step, so tuning cannot lose on dev" in page


def test_links_lead_somewhere(pages):
    "Every link within the site reaches a page of it and a place in that page."
    broken = []
    for file, page in pages.items():
        for link in page.links:
            if re.match(r"https?:|mailto:|data:", link): continue
            path, anchor = urldefrag(link)
            target = (file.parent/unquote(path)).resolve() if path else file
            sound = target.exists() and (target not in pages or unquote(anchor) in pages[target].anchors)
            if not sound: broken.append((file.name, link))
    assert broken == []


def test_nothing_comes_from_outside(site, pages):
    outside = [name for page in pages.values() for name in page.loaded if re.match(r"(https?:)?//", name or "")]
    styles = "".join(file.read_text() for file in site.rglob("*.css"))
    assert outside + re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//\S+", styles) == []


class Quiet(http.server.SimpleHTTPRequestHandler):
    "Serves files, and says nothing."
    def log_message(self, *args): pass


@pytest.fixture(scope="module")
def served(site):
    "A browser, and the site's address."
    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with chromium() as browser: yield browser, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


SHOWN = (
    "index", "nbs/20_t5", "nbs/30_cluster", "nbs/42_maml", "nbs/paper/table1", "nbs/walkthrough/explore",
    "metapt_nb/tune")


def complaints(browser):
    "What the browser's console says of errors; a site without an icon is none."
    said = browser.get_log("browser")
    return [entry["message"] for entry in said if entry["level"] == "SEVERE" and "favicon.ico" not in entry["message"]]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", SHOWN)
def test_page_fits(served, name, width):
    "Nothing sticks out of the page, be it a telephone's or a desktop's."
    browser, url = served
    size = dict(width=width, height=1100, deviceScaleFactor=1, mobile=width < 500)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(f"{url}/{name}.html")
    whole, seen = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert whole <= seen
    assert complaints(browser) == []


def test_search(served):
    "A word of a notebook and a name of a module are found."
    browser, url = served

    def found(_):
        links = browser.find_elements("css selector", "#search-results li a")
        return [link.get_attribute("href") for link in links]

    for word, page in [("regulariser", "nbs/46_regulariser.html"), ("tune_prompt", "metapt_nb/tune.html")]:
        browser.get(f"{url}/search.html?q={word}")
        hits = WebDriverWait(browser, 30).until(found)
        assert any(page in hit for hit in hits), hits
    assert complaints(browser) == []
