"""The pins resolve on every Python the project promises; another one is named before anything is created."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
EXTRAS = ("dev", "hub", "tsne", "bench", "cluster", "docs", "app")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    "What the project is installed and locked from."
    there = tmp_path_factory.mktemp("project")
    for name in ("setup.py", "settings.ini", "constraints.txt", "Makefile"): shutil.copy(ROOT/name, there)
    for name in ("metapt_nb", "tests"):
        shutil.copytree(ROOT/name, there/name, ignore=shutil.ignore_patterns("__pycache__"))
    return there


@pytest.mark.parametrize("python", ["3.11.0", "3.12", "3.13"])
def test_pins_resolve(python, project):
    command = [UV, "pip", "compile", "setup.py", "--python-version", python, "-c", "constraints.txt", "-q"]
    for extra in EXTRAS: command += ["--extra", extra]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "torch==2.13.0" in done.stdout


def test_lock_is_current(project):
    "`make lock` changes nothing."
    before = (project/"constraints.txt").read_bytes()
    environment = dict(os.environ, PATH=f"{UV.parent}:{os.environ['PATH']}")
    subprocess.run(["make", "-o", "setup", "lock"], cwd=project, check=True, capture_output=True, env=environment)
    assert (project/"constraints.txt").read_bytes() == before, "run make lock"


def test_an_unsuitable_python_is_named(project, tmp_path):
    "One line, and no environment is begun."
    python = tmp_path/"python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -c \"$(cat <<'CODE'\nimport sys, runpy\n"
                      "sys.version_info = (3, 10, 13)\nrunpy.run_path('tests/python.py')\nCODE\n)\"\n")
    python.chmod(0o755)
    done = subprocess.run(["make", "setup", f"PYTHON={python}"], cwd=project, capture_output=True, text=True)
    assert done.returncode != 0 and not (project/".venv").exists()
    assert "Python 3.11 to 3.13 is needed, and this is 3.10.13" in done.stderr.splitlines()[0]


def test_a_failed_installation_leaves_nothing(project, tmp_path):
    "pip fails: there is no half environment for the next make to trip over."
    python = tmp_path/"python"
    python.write_text(f"""#!/bin/sh
case "$1" in
    -m) mkdir -p .venv/bin && printf '#!/bin/sh\\nexit 1\\n' > .venv/bin/python && chmod +x .venv/bin/python ;;
    *) exec {sys.executable} "$@" ;;
esac
""")
    python.chmod(0o755)
    done = subprocess.run(["make", "setup", f"PYTHON={python}"], cwd=project, capture_output=True, text=True)
    assert done.returncode != 0 and not (project/".venv").exists(), done.stderr
