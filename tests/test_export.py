"""The package is what the notebooks export, and the notebooks are as clean as they are committed."""
import os, shutil, subprocess, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    "The project's files in another folder, exported and cleaned anew."
    there = tmp_path_factory.mktemp("export")/"project"
    shutil.copytree(ROOT, there, ignore=shutil.ignore_patterns(".venv", ".git", "runs", "__pycache__", "*.egg-info", ".ipynb_checkpoints"))
    subprocess.run(["git", "init", "-q", there], check=True)
    shutil.rmtree(there/"metapt_nb"); (there/"metapt_nb").mkdir(); shutil.copy(ROOT/"metapt_nb"/"__init__.py", there/"metapt_nb")
    for command in ("nbdev_export", "nbdev_clean"):
        subprocess.run([BIN/command], cwd=there, check=True, env=dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}"))
    return there


def test_modules_are_exported(copy):
    ours, theirs = ({p.name: p.read_text() for p in (folder/"metapt_nb").glob("*.py")} for folder in (ROOT, copy))
    assert ours.keys() == theirs.keys(), "run nbdev_export"
    assert [n for n in ours if ours[n] != theirs[n]] == [], "run nbdev_export"


def test_notebooks_are_clean(copy):
    dirty = [p.relative_to(ROOT) for p in ROOT.glob("nbs/**/*.ipynb") if ".ipynb_checkpoints" not in p.parts and p.read_text() != (copy/p.relative_to(ROOT)).read_text()]
    assert dirty == [], "run nbdev_clean"


def test_readme_is_the_index():
    from readme import render
    for name, data in render().items(): assert (ROOT/name).read_bytes() == data, f"{name}: run make readme"
