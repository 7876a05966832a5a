"""The package as it is installed: a wheel in an empty folder, without the clone."""
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from small import own_file

import metapt_nb

pytestmark = pytest.mark.xdist_group("wheel") # which is built once
ROOT = Path(__file__).parents[1]
SKIPPED = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
SOURCES = ("metapt_nb", "nbs/walkthrough", "setup.py", "settings.ini", "MANIFEST.in")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")


def copy_sources(folder):
    "What a wheel is built from, away from what earlier builds have left."
    for name in SOURCES:
        source, target = ROOT/name, folder/name
        if source.is_dir(): shutil.copytree(source, target, ignore=SKIPPED)
        else: shutil.copy(source, target)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    "A wheel of this project."
    folder = tmp_path_factory.mktemp("build")
    copy_sources(folder)
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder/"dist", folder]
    subprocess.run(command, check=True)
    built, = (folder/"dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def metapt(wheel, tmp_path_factory):
    "Runs the installed `metapt` in an empty folder, which knows nothing of the clone."
    target, here = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("empty")
    subprocess.run([*PIP, "install", "--no-deps", "--target", target, wheel], check=True)
    environment = dict(os.environ, PYTHONPATH=str(target))
    for name in ("IN_TEST", "METAPT_RUN"): environment.pop(name, None)

    def python(*args):
        return subprocess.run([sys.executable, *args], cwd=here, env=environment, capture_output=True, text=True)
    def run(*args): return python(target/"bin"/"metapt", *args)
    run.here, run.target, run.python = here, target, python
    return run


def test_the_walkthrough_travels(wheel):
    "One source: the copy in the wheel is the notebook of the clone."
    packed = zipfile.ZipFile(wheel).read("metapt_nb/walkthrough.ipynb")
    assert packed == (ROOT/"nbs"/"walkthrough"/"demo.ipynb").read_bytes()
    assert not (ROOT/"metapt_nb"/"walkthrough.ipynb").exists()


def test_the_files_of_tasks_travel(metapt):
    "Settings and families are read from the installed package."
    code = "from metapt_nb.pool import read_families, read_settings; print(len(read_settings()), len(read_families()))"
    done = metapt.python("-c", code)
    assert done.stdout.split() == ["13", "23"], done.stderr


def test_the_installed_package_is_the_one_imported(metapt):
    done = metapt.python("-c", "import metapt_nb; print(metapt_nb.__file__)")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parents[1] == metapt.target


def test_demo_with_its_report(metapt):
    done = metapt("demo", "--smoke", "--out", "run")
    assert done.returncode == 0, done.stderr
    run = metapt.here/"run"
    page = (run/"report.html").read_text()
    assert "Walkthrough" in page and "Traceback" not in page
    assert 'ipynb"' not in page # a page has no notebooks beside it
    assert page.count("data:image/png") >= 4
    assert "keeps no <code>" not in page # nothing the page asks for is lacking
    assert (run/"prompt.safetensors").stat().st_size > 0
    assert len(pd.read_csv(run/"results.csv")) == 6


def test_tune_then_predict(metapt):
    own_file(metapt.here)
    small = ("--n-train", "20", "--n-dev", "20", "--epochs", "2", "--n-tokens", "4")
    tuned = metapt("tune", "own.csv", "--backbone", "tiny", *small, "--out", "p.safetensors")
    assert tuned.returncode == 0, tuned.stderr
    assert "label words: the classes' names, 0, 1" in tuned.stdout and "macro-F1" in tuned.stdout
    told = metapt("predict", "--prompt", "p.safetensors", "good film", "bad film")
    assert told.returncode == 0, told.stderr
    assert [line.split("\t")[2] for line in told.stdout.splitlines()] == ["good film", "bad film"]


def test_version(metapt):
    assert metapt("--version").stdout == f"metapt {metapt_nb.__version__}\n"


def test_a_mistake_is_one_line(metapt):
    done = metapt("predict", "--prompt", "nowhere.safetensors", "x")
    assert done.returncode == 2
    assert done.stderr.startswith("metapt: ") and len(done.stderr.strip().splitlines()) == 1
