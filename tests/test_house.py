"""Rules that hold across modules and notebooks."""
import ast, json, os, re, subprocess, sys, zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BOOKS = sorted(p for p in ROOT.glob("nbs/**/*.ipynb") if ".ipynb_checkpoints" not in p.parts)
NUMBERED = [p for p in BOOKS if re.match(r"\d\d[a-z]?_", p.name)]
ORDER = {name: number for number, name in (p.stem.split("_", 1) for p in NUMBERED)} # 00 < 00a < 01
source = lambda p, kind="": ["".join(c["source"]) for c in json.loads(p.read_text())["cells"] if c["cell_type"].startswith(kind)]


@pytest.mark.parametrize("book", NUMBERED, ids=lambda p: p.stem)
def test_imports_point_down(book):
    "A notebook imports only from lower numbers, tests included."
    used = set(re.findall(r"from metapt_nb\.(\w+) import", "\n".join(source(book))))
    assert {u for u in used if ORDER[u] >= book.stem.split("_", 1)[0]} == set()


@pytest.mark.parametrize("book", NUMBERED, ids=lambda p: p.stem)
def test_notebook_shape(book):
    "default_exp, a title with a promise, how long it takes, lessons, a link on."
    cells = source(book)
    assert cells[0] == "#| default_exp " + book.stem.split("_", 1)[1]
    assert re.match(r"# .+\n> .+", cells[1]) and "on two cores" in cells[1]
    assert "## What we learned" in cells[-1] and ".ipynb)" in cells[-1]
    assert not any("eval: false" in c for c in cells)


@pytest.mark.parametrize("book", BOOKS, ids=lambda p: p.stem)
def test_links_lead_somewhere(book):
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", "\n".join(source(book, "markdown"))):
        assert (book.parent/target).exists(), target


@pytest.mark.parametrize("book", BOOKS, ids=lambda p: p.stem)
def test_outputs_are_small(book):
    for cell in json.loads(book.read_text())["cells"]:
        assert len(json.dumps(cell.get("outputs", ""))) < 200_000


def test_public_names_are_documented():
    bare = []
    for f in (ROOT/"metapt_nb").glob("[a-z]*.py"):
        for node in ast.parse(f.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_") and not ast.get_docstring(node): bare.append(f"{f.stem}.{node.name}")
    assert bare == []


def test_import_is_silent(tmp_path):
    "Importing reads, downloads and prints nothing, and does not need the embedded packages."
    code = "\n".join(f"import metapt_nb.{m}" for m in ORDER)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ, METAPT_CACHE=str(tmp_path/"cache")))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "") and not (tmp_path/"cache").exists()


def test_versions_are_pinned():
    pins = dict(line.split("==") for line in (ROOT/"constraints.txt").read_text().lower().replace("_", "-").splitlines() if not line.startswith("#"))
    cfg = ConfigParser(delimiters=["="]); cfg.read(ROOT/"settings.ini"); cfg = cfg["DEFAULT"]
    wanted = [re.split(r"[<>=]", r)[0] for k in ("requirements", "hub_requirements", "tsne_requirements", "dev_requirements", "bench_requirements") for r in cfg[k].split()]
    assert [w for w in wanted if w.lower().replace("_", "-") not in pins | {"pip": ""}] == [] and pins["torch"] == "2.13.0"


def test_wheel_holds_the_package(tmp_path):
    "A wheel built from the project has every module and the metapt command."
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--disable-pip-version-check", "-w", tmp_path, ROOT], check=True)
    wheel, = tmp_path.glob("*.whl"); z = zipfile.ZipFile(wheel)
    assert {f"metapt_nb/{m}.py" for m in ORDER} <= set(z.namelist())
    assert "metapt = metapt_nb.cli:main" in z.read(next(n for n in z.namelist() if n.endswith("entry_points.txt"))).decode()
