"""JupyterLab on loopback and a real chromium before it, for the browser tests."""
import json, os, shutil, socket, subprocess, sys, tempfile, time, urllib.request
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).parents[1]
FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync --force-prefers-reduced-motion".split()


def _settings(folder, theme):
    "JupyterLab's defaults for a test: no news, no autosave prompts, the theme asked for."
    path = folder/"share"/"lab"/"settings"; path.mkdir(parents=True)
    (path/"overrides.json").write_text(json.dumps({
        "@jupyterlab/apputils-extension:notification": dict(fetchNews="false", checkForUpdates=False),
        "@jupyterlab/apputils-extension:themes": {"theme": f"JupyterLab {theme}", "adaptive-theme": False}}))
    return path.parent


@contextmanager
def jupyterlab(folder, theme="Light", **env):
    "The address of a JupyterLab that serves `folder`; it and its kernels end with the block."
    with socket.socket() as s: s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as d:
        d = Path(d); shutil.copytree(Path(sys.prefix)/"share"/"jupyter"/"lab", d/"app", ignore=shutil.ignore_patterns("staging")); settings = _settings(d, theme)/"settings"
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", "--allow-root", "--IdentityProvider.token=", "--expose-app-in-browser",
                   f"--app-dir={d/'app'}", f"--ServerApp.root_dir={folder}"]
        shutil.copytree(settings, d/"app"/"settings", dirs_exist_ok=True)
        home = dict(JUPYTER_CONFIG_DIR=str(d/"config"), JUPYTER_DATA_DIR=str(d/"data"), JUPYTER_RUNTIME_DIR=str(d/"runtime"), IPYTHONDIR=str(d/"ipython"), JUPYTERLAB_SETTINGS_DIR=str(d/"user"), JUPYTERLAB_WORKSPACES_DIR=str(d/"work"))
        with open(d/"log", "w") as log: server = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ, **home, **env))
        try:
            url = f"http://127.0.0.1:{port}"; end = time.time() + 60
            while True:
                try: urllib.request.urlopen(f"{url}/api/status", timeout=5); break
                except OSError:
                    assert server.poll() is None and time.time() < end, (d/"log").read_text()[-3000:]
                    time.sleep(.2)
            yield url
        finally: server.terminate(); server.wait(30)


@contextmanager
def chromium(width=1280, height=1500):
    "A fresh, headless chromium."
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert binary and driver, "chromium and chromedriver are not installed: run 'make test-browser' as root, or ask for the packages chromium and chromium-driver"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions(); options.binary_location = binary
        for f in [*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]: options.add_argument(f)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        browser.set_script_timeout(300)
        try: yield browser
        finally: browser.quit()
