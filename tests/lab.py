"""JupyterLab on loopback and a real chromium before it, for the browser tests."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from small import free_port

ROOT = Path(__file__).parents[1]
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync")
OVERRIDES = {
    "@jupyterlab/apputils-extension:notification": dict(fetchNews="false", checkForUpdates=False),
    "@jupyterlab/docmanager-extension:plugin": dict(autosave=False)}
FOLDERS = dict( # of Jupyter's own files, so that a user's settings play no part
    JUPYTER_CONFIG_DIR="config", JUPYTER_DATA_DIR="data", JUPYTER_RUNTIME_DIR="runtime", IPYTHONDIR="ipython",
    JUPYTERLAB_SETTINGS_DIR="user", JUPYTERLAB_WORKSPACES_DIR="work")


def own_app(folder):
    "JupyterLab's application folder with our settings in it."
    app = folder/"app"
    shutil.copytree(Path(sys.prefix)/"share"/"jupyter"/"lab", app, ignore=shutil.ignore_patterns("staging"))
    (app/"settings").mkdir(exist_ok=True)
    (app/"settings"/"overrides.json").write_text(json.dumps(OVERRIDES))
    return app


def wait_for(server, url, log):
    "Until the server answers; what it logged where it does not."
    end = time.time() + 60
    while True:
        try: return urllib.request.urlopen(f"{url}/api/status", timeout=5)
        except OSError: assert server.poll() is None and time.time() < end, log.read_text()[-3000:]
        time.sleep(.2)


def address(server, log):
    "Where the server says that it can be found, token included."
    end = time.time() + 60
    while not (said := re.search(r"http://\S+", log.read_text())):
        assert server.poll() is None and time.time() < end, log.read_text()[-3000:]
        time.sleep(.2)
    return said.group()


@contextmanager
def jupyterlab(folder, **env):
    "Address and log file of a JupyterLab that serves `folder`; it ends with the block, and its kernels with it."
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as d:
        place = Path(d)
        log = place/"log"
        command = [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
            "--ServerApp.port_retries=0", "--allow-root", "--IdentityProvider.token=", "--expose-app-in-browser",
            f"--app-dir={own_app(place)}", f"--ServerApp.root_dir={folder}"]
        environment = {**os.environ, **{name: str(place/sub) for name, sub in FOLDERS.items()}, **env}
        with open(log, "w") as f: server = subprocess.Popen(command, stdout=f, stderr=f, env=environment)
        try:
            wait_for(server, url, log)
            yield url, log
        finally:
            server.terminate()
            try: server.wait(20)
            except subprocess.TimeoutExpired: server.kill()


@contextmanager
def chromium():
    "A fresh, headless chromium."
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert binary and driver, (
        "chromium and chromedriver are missing: run 'make test-browser' as root, "
        "or have the Debian packages chromium and chromium-driver installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1180,1250"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        browser.set_script_timeout(300)
        browser.command_executor.client_config.timeout = 330 # chromedriver's own answers come at 300 s
        # JupyterLab takes the notebook that has the focus for the current one; a headless page has none of its own
        browser.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", dict(enabled=True))
        try: yield browser
        finally: browser.quit()


# The texts of a view whose contrast with what lies behind them is below 4.5, as WCAG 2 computes it.
CONTRAST = """
const channel = x => { x /= 255; return x <= .03928 ? x/12.92 : ((x + .055)/1.055)**2.4 };
const luminance = colour => { const v = colour.map(channel); return .2126*v[0] + .7152*v[1] + .0722*v[2] };
const rgba = text => {
  const parts = text.match(/[\\d.]+/g).map(Number);
  return [parts.slice(0, 3), parts.length > 3 ? parts[3] : 1] };
const ground = element => {
  for (; element; element = element.parentElement) {
    const [colour, alpha] = rgba(getComputedStyle(element).backgroundColor);
    if (alpha > .5) return colour }
  return [255, 255, 255] };
const ratio = element => {
  const a = luminance(rgba(getComputedStyle(element).color)[0]), b = luminance(ground(element));
  return (Math.max(a, b) + .05)/(Math.min(a, b) + .05) };
const kinds = ['label', 'p', 'td', 'th', 'caption', 'summary', 'code', '.widget-readout', 'select', 'input',
  'textarea', '.mp-said'];
const words = element => element.textContent || element.value;
return [...document.querySelectorAll(kinds.map(kind => '.mp-view ' + kind).join(', '))]
  .filter(element => element.offsetParent && words(element))
  .map(element => [ratio(element), element.tagName + ' ' + words(element).slice(0, 40)])
  .filter(found => found[0] < 4.5);
"""
# Parts of a view that reach beyond its output area; tables scroll, slider handles stand out.
OVERFLOW = """
const area = document.querySelector('.mp-view').closest('.jp-OutputArea');
const edge = area.getBoundingClientRect().right + 1;
return [...document.querySelectorAll('.mp-view *')]
  .filter(element => element.offsetParent && !element.closest('table') && !element.closest('.noUi-target'))
  .map(element => [element, element.getBoundingClientRect()])
  .filter(([element, box]) => box.width && box.right > edge)
  .map(([element, box]) => element.className + ' ' + element.tagName);
"""
# Error outputs, what the kernel said of exceptions in callbacks, broken views, widgets without a view.
ERRORS = """
const all = list => [...Array(list.length).keys()].map(i => list.get(i).toJSON());
const cells = [...jupyterapp.shell.currentWidget.content.widgets];
const bad = cells.flatMap(cell => cell.model.outputs ? all(cell.model.outputs) : [])
  .filter(output => output.output_type == 'error' || output.name == 'stderr')
  .map(output => (output.ename || 'stderr') + ': ' + (output.evalue || output.text));
const broken = [...document.querySelectorAll('.mp-broken, .jupyter-widgets-error-widget')];
return bad.concat(window.kernelErrors || [], broken.map(element => element.textContent.trim()));
"""
OPEN = """
const widget = window.jupyterapp && jupyterapp.shell.currentWidget;
const ready = part => !!(part && part.isReady);
return !!(widget && ready(widget.context) && ready(widget.sessionContext));
"""
# Runs all cells once the kernel answers, and keeps what it says of exceptions.
RUN_ALL = """
const done = arguments[0];
(async () => {
  const session = jupyterapp.shell.currentWidget.sessionContext;
  await session.ready;
  await session.session.kernel.info;
  jupyterapp.shell.collapseLeft();
  window.kernelErrors = [];
  session.session.kernel.iopubMessage.connect((_, message) => {
    const content = message.content;
    const traced = content.name == 'stderr' && /Traceback|Exception/.test(content.text);
    if (message.header.msg_type == 'error' || traced)
      kernelErrors.push((content.text || content.ename + ': ' + content.evalue).trim().slice(-300)) });
  done(await jupyterapp.commands.execute('notebook:run-all-cells'))
})()
"""
WORDS = "return [...document.querySelectorAll('img.mp-picture')].map(image => image.alt)"
PICTURES = """
return [...document.querySelectorAll('img.mp-picture')]
  .filter(image => image.complete && image.naturalWidth > 0).map(image => image.src);
"""
KERNEL = "return jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"
TEXT = "return [...document.querySelectorAll(arguments[0])].map(element => element.textContent).join(' ')"
FOCUSABLE = (".noUi-handle", "select", "input", "textarea")
FIRST = "return document.querySelector('.mp-view').querySelector('.noUi-handle, select, input, textarea, button')"
ACTIVE = """
const control = document.activeElement.closest('.mp-view [class*="mp-"]');
return control ? [...control.classList].find(name => name.startsWith('mp-')).slice(3) : null;
"""
PASTE = """
const [element, text] = arguments;
element.value = text;
for (const kind of ['input', 'change']) element.dispatchEvent(new Event(kind, {bubbles: true}));
"""
THEME = """
const [theme, done] = arguments;
jupyterapp.commands.execute('apputils:change-theme', {theme}).then(() => setTimeout(done, 1500));
"""
TO_VIEW = """
document.activeElement.blur();
document.querySelector('.mp-view').closest('.jp-Cell').scrollIntoView({block: 'start'});
"""
SHUTDOWN = """
const done = arguments[0];
jupyterapp.shell.currentWidget.sessionContext.shutdown().then(() => done(1));
"""


class Page:
    "One notebook, open in JupyterLab, seen and used as by its user."
    def __init__(self, browser, url, log, notebook):
        self.browser, self.log, self.notebook = browser, log, notebook
        self.since = log.stat().st_size
        browser.get_log("browser") # what earlier pages said is forgotten
        browser.get(f"{url}/lab/tree/{notebook}?reset")
        self.until(lambda: self.js(OPEN), "the notebook to open", 30)

    def js(self, code, *args): return self.browser.execute_script(code, *args)

    def run_all(self):
        "Run all cells once the kernel answers."
        return self.browser.execute_async_script(RUN_ALL)

    def until(self, what, name, seconds=180):
        "Wait for `what()` to be true."
        def tried(_):
            try: return what()
            except StaleElementReferenceException: return False # redrawn meanwhile
        try: return WebDriverWait(self.browser, seconds, .1).until(tried)
        except TimeoutException as e:
            self.shoot("failed")
            found = f"errors: {self.errors()}; message: {self.message()}"
            raise AssertionError(f"{self.notebook}: waited {seconds} s for {name}; {found}") from e

    def tracebacks(self):
        "Those in the server's log."
        with open(self.log) as f:
            f.seek(self.since)
            return [line.strip() for line in f if "Traceback" in line]

    def errors(self):
        "What broke in the page, in the kernel, and tracebacks in the server's log."
        return self.js(ERRORS) + self.tracebacks()

    def check(self):
        "Nothing broke so far."
        found = self.errors()
        assert found == [], f"{self.notebook}: {found}"

    def message(self): return self.js(TEXT, ".mp-message").strip()
    def summary(self): return self.js(TEXT, ".mp-summary").strip()

    def pictures(self):
        "A short hash of each picture on the page."
        return [hashlib.sha256(source.encode()).hexdigest()[:12] for source in self.js(PICTURES)]

    def words(self):
        "What each picture shows, in words."
        return self.js(WORDS)

    def find(self, name):
        "The element of a control that takes the keyboard."
        inside = [f".mp-{name} {element}" for element in FOCUSABLE]
        return self.browser.find_element("css selector", ", ".join([*inside, f"button.mp-{name}"]))

    def key(self, name, *keys):
        "Focus a control and press keys."
        element = self.find(name)
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        self.js("arguments[0].focus()", element)
        focused = self.js("return document.activeElement === arguments[0]", element)
        assert focused, f"{name} does not take the focus"
        for key in keys: ActionChains(self.browser).send_keys(key).perform()

    def move(self, name, *keys):
        "Press keys on a control: a picture and the summary change, and nothing breaks."
        before, said = self.pictures(), self.summary()

        def followed():
            self.check()
            now = self.pictures()
            return len(now) == len(before) and now != before and self.summary() != said

        self.key(name, *keys)
        self.until(followed, f"picture and summary to follow '{name}'")
        self.settle()
        assert self.message() == ""
        self.check()

    def settle(self):
        "Wait until the kernel is idle and the pictures rest."
        last = None
        while True:
            now = self.pictures(), self.js(KERNEL)
            if now == last and now[1] == "idle": return
            last = now
            time.sleep(.5)

    def enabled(self, name): return self.find(name).is_enabled()

    def press(self, name):
        "Press a button as soon as it can be pressed."
        self.until(lambda: self.enabled(name), f"button '{name}' to be ready")
        self.key(name, Keys.ENTER)

    def write(self, name, text, typed=None):
        "Replace the text of a control, then leave it; a long text is pasted unless it is to be typed."
        self.key(name)
        actions = ActionChains(self.browser)
        actions.key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).perform()
        if typed is None: typed = len(text) < 300 and "\n" not in text
        if typed: ActionChains(self.browser).send_keys(text or Keys.DELETE).perform()
        else: self.js(PASTE, self.find(name), text)
        ActionChains(self.browser).send_keys(Keys.TAB).perform()

    def tab_order(self):
        "Names of the controls that Tab reaches from the first one."
        self.js("arguments[0].focus()", self.js(FIRST))
        seen = []
        for _ in range(60):
            name = self.js(ACTIVE)
            if name is None: break
            seen.append(name)
            ActionChains(self.browser).send_keys(Keys.TAB).perform()
        return list(dict.fromkeys(seen))

    def unnamed(self):
        "Controls and pictures without a name for a screen reader."
        kinds = ", ".join(f".mp-view {element}" for element in (*FOCUSABLE, "button", "img"))
        shown = [e for e in self.browser.find_elements("css selector", kinds) if e.is_displayed()]
        return [e.get_attribute("outerHTML")[:200] for e in shown if not e.accessible_name.strip()]

    def theme(self, name): self.browser.execute_async_script(THEME, f"JupyterLab {name}")

    def width(self, pixels=None):
        "Make the page as narrow as `pixels`; as wide as the window again without them."
        size = dict(width=pixels, height=1400, deviceScaleFactor=1, mobile=False)
        if pixels: self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        else: self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        time.sleep(1)

    def screenshot(self, name):
        "The view at the top of the page, into runs/screenshots."
        self.js(TO_VIEW)
        time.sleep(.3)
        self.shoot(name)

    def shoot(self, name):
        "The page as it is, into runs/screenshots."
        path = ROOT/"runs"/"screenshots"/f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.browser.save_screenshot(str(path))

    def close(self):
        "End the notebook's kernel."
        self.browser.execute_async_script(SHUTDOWN)
