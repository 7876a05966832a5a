"""JupyterLab on loopback and a real chromium before it, for the browser tests."""
import base64, hashlib, json, os, shutil, socket, subprocess, sys, tempfile, time, urllib.request
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).parents[1]
FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync".split()
OVERRIDES = {"@jupyterlab/apputils-extension:notification": dict(fetchNews="false", checkForUpdates=False),
             "@jupyterlab/docmanager-extension:plugin": dict(autosave=False)}


@contextmanager
def jupyterlab(folder, **env):
    "Address and log file of a JupyterLab that serves `folder`; it ends with the block, and its kernels with it."
    with socket.socket() as s: s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as d:
        d = Path(d); app = d/"app"; shutil.copytree(Path(sys.prefix)/"share"/"jupyter"/"lab", app, ignore=shutil.ignore_patterns("staging"))
        (app/"settings").mkdir(exist_ok=True); (app/"settings"/"overrides.json").write_text(json.dumps(OVERRIDES))
        own = dict(JUPYTER_CONFIG_DIR="config", JUPYTER_DATA_DIR="data", JUPYTER_RUNTIME_DIR="runtime", IPYTHONDIR="ipython", JUPYTERLAB_SETTINGS_DIR="user", JUPYTERLAB_WORKSPACES_DIR="work")
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", "--allow-root", "--IdentityProvider.token=",
                   "--expose-app-in-browser", f"--app-dir={app}", f"--ServerApp.root_dir={folder}"]
        with open(d/"log", "w") as log: server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **{k: str(d/v) for k, v in own.items()}, **env})
        try:
            url, end = f"http://127.0.0.1:{port}", time.time() + 60
            while True:
                try: urllib.request.urlopen(f"{url}/api/status", timeout=5); break
                except OSError:
                    assert server.poll() is None and time.time() < end, (d/"log").read_text()[-3000:]
                    time.sleep(.2)
            yield url, d/"log"
        finally:
            server.terminate()
            try: server.wait(20)
            except subprocess.TimeoutExpired: server.kill()


@contextmanager
def chromium(width=1180, height=1250):
    "A fresh, headless chromium."
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert binary and driver, "chromium and chromedriver are missing: run 'make test-browser' as root, or have the Debian packages chromium and chromium-driver installed"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions(); options.binary_location = binary
        for f in [*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]: options.add_argument(f)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)); browser.set_script_timeout(300)
        try: yield browser
        finally: browser.quit()


CONTRAST = """
const lum = c => { const v = c.map(x => { x /= 255; return x <= .03928 ? x/12.92 : ((x + .055)/1.055)**2.4 }); return .2126*v[0] + .7152*v[1] + .0722*v[2] };
const rgba = s => { const m = s.match(/[\\d.]+/g).map(Number); return [m.slice(0, 3), m.length > 3 ? m[3] : 1] };
const ground = e => { for (; e; e = e.parentElement) { const [c, a] = rgba(getComputedStyle(e).backgroundColor); if (a > .5) return c } return [255, 255, 255] };
return [...document.querySelectorAll('.mp-view label, .mp-view p, .mp-view td, .mp-view th, .mp-view caption, .mp-view summary, .mp-view code, .mp-view .widget-readout, .mp-view select, .mp-view input, .mp-view textarea, .mp-view .mp-said')]
  .filter(e => e.offsetParent && (e.textContent || e.value)).map(e => { const [c] = rgba(getComputedStyle(e).color), a = lum(c), b = lum(ground(e));
  return [(Math.max(a, b) + .05)/(Math.min(a, b) + .05), e.tagName + ' ' + (e.textContent || e.value).slice(0, 40)] }).filter(x => x[0] < 4.5);
"""
OVERFLOW = """
const wide = document.querySelector('.mp-view').closest('.jp-OutputArea').getBoundingClientRect().right + 1;
return [...document.querySelectorAll('.mp-view *')].filter(e => e.offsetParent && !e.closest('table') && !e.closest('.noUi-target') && e.getBoundingClientRect().width && e.getBoundingClientRect().right > wide).map(e => e.className + ' ' + e.tagName);
"""
ERRORS = """
const cells = [...jupyterapp.shell.currentWidget.content.widgets];
const bad = cells.flatMap(c => { const o = c.model.outputs; return o ? [...Array(o.length).keys()].map(i => o.get(i).toJSON()) : [] }).filter(o => o.output_type == 'error' || o.name == 'stderr').map(o => (o.ename || 'stderr') + ': ' + (o.evalue || o.text));
return bad.concat(window.kernelErrors || [], [...document.querySelectorAll('.mp-broken, .jupyter-widgets-error-widget')].map(e => e.textContent.trim()));
"""


class Page:
    "One notebook, open in JupyterLab, seen and used as by its user."
    def __init__(self, browser, url, log, notebook):
        self.browser, self.log, self.notebook, self.since = browser, log, notebook, log.stat().st_size
        browser.get_log("browser"); self.start = time.time(); browser.get(f"{url}/lab/tree/{notebook}?reset")
        self.until(lambda: self.js("const w = window.jupyterapp && jupyterapp.shell.currentWidget; return !!(w && w.context && w.context.isReady && w.sessionContext && w.sessionContext.isReady)"), "the notebook to open", 30)

    def js(self, code, *args): return self.browser.execute_script(code, *args)

    def run_all(self):
        "Run all cells once the kernel answers."
        return self.browser.execute_async_script("const done = arguments[0]; (async () => { const w = jupyterapp.shell.currentWidget; await w.sessionContext.ready; await w.sessionContext.session.kernel.info; jupyterapp.shell.collapseLeft(); window.kernelErrors = []; w.sessionContext.session.kernel.iopubMessage.connect((_, m) => { const c = m.content; if (m.header.msg_type == 'error' || (c.name == 'stderr' && /Traceback|Exception/.test(c.text))) kernelErrors.push((c.text || c.ename + ': ' + c.evalue).trim().slice(-300)) }); done(await jupyterapp.commands.execute('notebook:run-all-cells')) })()")

    def until(self, what, name, seconds=90):
        "Wait for `what()` to be true."
        def tried(_):
            try: return what()
            except StaleElementReferenceException: return False # redrawn meanwhile
        try: return WebDriverWait(self.browser, seconds, .1).until(tried)
        except TimeoutException as e:
            self.shoot("failed")
            raise AssertionError(f"{self.notebook}: waited {seconds} s for {name}; errors: {self.errors()}; message: {self.message()}") from e

    def errors(self):
        "Error outputs, what the kernel says of exceptions in callbacks, broken views, widgets without a view, tracebacks in the server's log."
        with open(self.log) as f: f.seek(self.since); logged = [l.strip() for l in f if "Traceback" in l]
        return self.js(ERRORS) + logged

    def check(self): found = self.errors(); assert found == [], f"{self.notebook}: {found}"

    def message(self): return self.js("return [...document.querySelectorAll('.mp-message')].map(e => e.textContent).join(' ')").strip()
    def summary(self): return self.js("return [...document.querySelectorAll('.mp-summary')].map(e => e.textContent).join(' ')").strip()
    def pictures(self): return [hashlib.sha256(s.encode()).hexdigest()[:12] for s in self.js("return [...document.querySelectorAll('img.mp-picture')].filter(i => i.complete && i.naturalWidth > 0).map(i => i.src)")]

    def find(self, name):
        "The element of a control that takes the keyboard."
        return self.browser.find_element("css selector", ", ".join(f".mp-{name} {e}" for e in (".noUi-handle", "select", "input", "textarea")) + f", button.mp-{name}")

    def key(self, name, *keys):
        "Focus a control and press keys."
        e = self.find(name); self.js("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", e)
        assert self.js("return document.activeElement === arguments[0]", e), f"{name} does not take the focus"
        for k in keys: ActionChains(self.browser).send_keys(k).perform()

    def move(self, name, *keys, seconds=90):
        "Press keys on a control: a picture and the summary change, and nothing breaks."
        before, said = self.pictures(), self.summary(); self.key(name, *keys)
        self.until(lambda: self.check() or len(self.pictures()) == len(before) and self.pictures() != before and self.summary() != said, f"picture and summary to follow '{name}'", seconds)
        self.settle(); assert self.message() == ""; self.check()

    def settle(self):
        "Wait until the kernel is idle and the pictures rest."
        last = None
        while (now := (self.pictures(), self.js("return jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"))) != last or now[1] != "idle": last = now; time.sleep(.5)

    def enabled(self, name): return self.find(name).is_enabled()
    def press(self, name): self.until(lambda: self.enabled(name), f"button '{name}' to be ready"); self.key(name, Keys.ENTER)

    def write(self, name, text, leave=Keys.TAB):
        "Replace the text of a control, then leave it."
        self.key(name); ActionChains(self.browser).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).perform()
        if len(text) < 300 and "\n" not in text: ActionChains(self.browser).send_keys(text or Keys.DELETE).perform()
        else: self.js("const e = arguments[0]; e.value = arguments[1]; e.dispatchEvent(new Event('input', {bubbles: true})); e.dispatchEvent(new Event('change', {bubbles: true}))", self.find(name), text) # what pasting does
        if leave: ActionChains(self.browser).send_keys(leave).perform()

    def tab_order(self):
        "Names of the controls that Tab reaches from the first one."
        first = self.js("return document.querySelector('.mp-view').querySelector('.noUi-handle, select, input, textarea, button')"); self.js("arguments[0].focus()", first); seen = []
        for _ in range(60):
            name = self.js("const e = document.activeElement.closest('.mp-view [class*=\"mp-\"]'); return e ? [...e.classList].find(c => c.startsWith('mp-')).slice(3) : null")
            if name is None: break
            seen.append(name); ActionChains(self.browser).send_keys(Keys.TAB).perform()
        return list(dict.fromkeys(seen))

    def unnamed(self):
        "Controls and pictures without a name for a screen reader."
        found = self.browser.find_elements("css selector", ".mp-view .noUi-handle, .mp-view select, .mp-view input, .mp-view textarea, .mp-view button, .mp-view img")
        return [e.get_attribute("outerHTML")[:200] for e in found if e.is_displayed() and not e.accessible_name.strip()]

    def theme(self, name):
        self.browser.execute_async_script("const done = arguments[1]; jupyterapp.commands.execute('apputils:change-theme', {theme: arguments[0]}).then(() => setTimeout(done, 1500))", f"JupyterLab {name}")

    def width(self, pixels=None, height=1400):
        if pixels: self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", dict(width=pixels, height=height, deviceScaleFactor=1, mobile=False))
        else: self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        time.sleep(1)

    def screenshot(self, name):
        "The page as it is, into runs/screenshots."
        self.js("document.activeElement.blur(); document.querySelector('.mp-view').closest('.jp-Cell').scrollIntoView({block: 'start'})"); time.sleep(.3); self.shoot(name)

    def shoot(self, name):
        path = ROOT/"runs"/"screenshots"/f"{name}.png"; path.parent.mkdir(parents=True, exist_ok=True); self.browser.save_screenshot(str(path))

    def close(self):
        "End the notebook's kernel."
        self.browser.execute_async_script("const done = arguments[0]; jupyterapp.shell.currentWidget.sessionContext.shutdown().then(() => done(1))")
