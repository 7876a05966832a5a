"""The package is what the notebooks export, and the notebooks are as clean as they are committed."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import style

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
LEFT_OUT = (".venv", ".git", "runs", "__pycache__", "*.egg-info", ".ipynb_checkpoints")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    "The project's files in another folder, exported and cleaned anew."
    there = tmp_path_factory.mktemp("export")/"project"
    shutil.copytree(ROOT, there, ignore=shutil.ignore_patterns(*LEFT_OUT))
    subprocess.run(["git", "init", "-q", there], check=True)
    shutil.rmtree(there/"metapt_nb")
    (there/"metapt_nb").mkdir()
    shutil.copy(ROOT/"metapt_nb"/"__init__.py", there/"metapt_nb")
    environment = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}")
    for command in ("nbdev_export", "nbdev_clean"):
        subprocess.run([BIN/command], cwd=there, check=True, env=environment)
    return there


def modules(project): return {path.name: path.read_text() for path in (project/"metapt_nb").glob("*.py")}


def test_modules_are_exported(copy):
    ours, theirs = modules(ROOT), modules(copy)
    assert ours.keys() == theirs.keys(), "run nbdev_export"
    assert [name for name in ours if ours[name] != theirs[name]] == [], "run nbdev_export"


def test_notebooks_are_clean(copy):
    books = [path.relative_to(ROOT) for path in style.all_books()]
    dirty = [book for book in books if (ROOT/book).read_text() != (copy/book).read_text()]
    assert dirty == [], "run nbdev_clean"


def test_readme_is_the_index():
    from readme import render
    for name, data in render().items(): assert (ROOT/name).read_bytes() == data, f"{name}: run make readme"
