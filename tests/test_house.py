"""Rules that hold across modules and notebooks."""
import ast
import json
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pytest
import style
from recipes import commands_of

ROOT = Path(__file__).parents[1]
BOOKS = style.all_books()
NUMBERED = style.books()
SCRIPTS = [path for folder in ("tests", "bench", "nbs/site") for path in sorted(ROOT.glob(f"{folder}/*.py"))]
CODE = [*BOOKS, *SCRIPTS, ROOT/"setup.py"]
NUMBER = {name: number for number, name in (p.stem.split("_", 1) for p in NUMBERED)}


def name_of(path): return path.stem


def cells_of(path, kind=""):
    "The sources of a notebook's cells, of one kind or of all."
    cells = json.loads(path.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"].startswith(kind)]


@pytest.mark.parametrize("book", NUMBERED, ids=name_of)
def test_imports_point_down(book):
    "A notebook imports only from lower numbers, tests included."
    number, own = book.stem.split("_", 1)
    used = set(re.findall(r"from metapt_nb\.(\w+) import", "\n".join(cells_of(book)))) - {own}
    assert {name for name in used if NUMBER[name] > number} == set()


@pytest.mark.parametrize("book", NUMBERED, ids=name_of)
def test_notebook_shape(book):
    "default_exp, a title with a promise, how long it takes, lessons, a link on."
    cells = cells_of(book)
    assert cells[0] == "#| default_exp " + book.stem.split("_", 1)[1]
    assert re.match(r"# .+\n> .+", cells[1]) and "on two cores" in cells[1]
    assert "## What we learned" in cells[-1] and ".ipynb)" in cells[-1]
    assert not any("eval: false" in cell for cell in cells)


@pytest.mark.parametrize("book", BOOKS, ids=name_of)
def test_links_lead_somewhere(book):
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", "\n".join(cells_of(book, "markdown"))):
        assert (book.parent/target).exists(), target


@pytest.mark.parametrize("path", CODE, ids=lambda p: p.name)
def test_one_idea_per_line(path):
    "No semicolon, no overlong line, no function of too many names, no example too long to take in."
    assert [line for piece in style.pieces(path) for line in style.findings(piece)] == []


def test_functions_can_be_taken_in():
    "Nine of ten exported functions have at most 180 syntax nodes."
    exported = [piece for book in NUMBERED for piece in style.pieces(book) if piece.kind == "exported"]
    sizes = [style.nodes(function) for piece in exported for function in style.functions(piece.tree)]
    assert np.percentile(sizes, 90) <= 180


def test_examples_show():
    "A third of the example cells only show a result."
    trees = [piece.tree for book in NUMBERED for piece in style.pieces(book) if piece.kind == "example"]
    checks = style.checks_of(trees)
    assert sum(style.only_shows(tree, checks) for tree in trees) >= len(trees)/3


@pytest.mark.parametrize("code, words", [
    ("a = 1; b = 2", "semicolon"),
    ("x = '" + "a"*130 + "'", "longer"),
    ("def f():\n" + "".join(f"    v{i} = {i}\n" for i in range(13)), "local names"),
    ("\n".join(f"print({i})" for i in range(11)), "logical lines"),
], ids=["semicolon", "length", "names", "lines"])
def test_the_rules_bite(code, words):
    assert words in style.findings(style.Piece("here", code, style.kind_of(code)))[0]


def test_public_names_are_documented():
    bare = []
    for file in (ROOT/"metapt_nb").glob("[a-z]*.py"):
        for node in ast.parse(file.read_text()).body:
            public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
            if public and not ast.get_docstring(node): bare.append(f"{file.stem}.{node.name}")
    assert bare == []


def test_import_is_silent(tmp_path):
    "Importing reads, downloads and prints nothing, and does not need the embedded packages."
    code = "\n".join(f"import metapt_nb.{name}" for name in NUMBER)
    environment = dict(os.environ, METAPT_CACHE=str(tmp_path/"cache"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "") and not (tmp_path/"cache").exists()


def requirements():
    "Everything that settings.ini asks for, as it stands there."
    cfg = ConfigParser(delimiters=["="])
    cfg.read(ROOT/"settings.ini")
    lists = [value for key, value in cfg["DEFAULT"].items() if key.endswith("requirements")]
    return [item for some in lists for item in some.split()]


def test_versions_are_pinned():
    constraints = (ROOT/"constraints.txt").read_text()
    pins = re.findall(r"^([^#\s=]+)==", constraints.lower().replace("_", "-"), re.M)
    wanted = [re.split(r"[<>=]", item)[0] for item in requirements()]
    assert {name.lower().replace("_", "-") for name in wanted} - {*pins, "pip"} == set()
    assert "torch==2.13.0" in constraints.splitlines()


def test_contributing_names_every_notebook():
    "The map of CONTRIBUTING.md has each numbered notebook."
    text = (ROOT/"CONTRIBUTING.md").read_text()
    assert [book.stem for book in NUMBERED if book.stem not in text] == []


RUNS_CODE = ("eval", "exec", "compile", "__import__") # functions
RUN_ANYTHING = ("os.system", "os.popen", "yaml.load", "joblib.load", "pd.read_pickle", "pandas.read_pickle")
PICKLERS = ("pickle", "marshal", "shelve", "dill", "cloudpickle")
WANTED = dict(weights_only=True, allow_pickle=False, shell=False, trust_remote_code=False) # what may be said at all


def calls_that_run_code(tree):
    "What in a module could run what it reads: a name and its line."
    found = []
    for node in ast.walk(tree):
        text = ast.unparse(node) if isinstance(node, (ast.Attribute, ast.Name)) else ""
        if isinstance(node, ast.Attribute) and text.split(".")[0] in PICKLERS and text != "pickle.UnpicklingError":
            found.append((text, node.lineno))
        if isinstance(node, ast.ImportFrom) and node.module in PICKLERS: found.append((node.module, node.lineno))
        if isinstance(node, ast.keyword) and node.arg in WANTED:
            if getattr(node.value, "value", None) is not WANTED[node.arg]: found.append((node.arg, node.lineno))
        if not isinstance(node, ast.Call): continue
        called, told = ast.unparse(node.func), {keyword.arg for keyword in node.keywords}
        if called in (*RUNS_CODE, *RUN_ANYTHING): found.append((called, node.lineno))
        if called == "torch.load" and "weights_only" not in told: found.append((called, node.lineno))
    return found


@pytest.mark.parametrize("file", sorted((ROOT/"metapt_nb").glob("[a-z]*.py")), ids=name_of)
def test_nothing_that_is_read_runs(file):
    """No pickle, no `eval`, no shell, no code of a model's folder.

    Stricter than the audit (tests/audit.py), which lets a line pass that it has been told of.
    """
    assert calls_that_run_code(ast.parse(file.read_text())) == []


@pytest.mark.parametrize("code", [
    "eval('1')", "pickle.loads(b'')", "from pickle import loads", "torch.load(path)",
    "torch.load(path, weights_only=False)", "np.load(path, allow_pickle=True)",
    "subprocess.run(words, shell=True)", "yaml.load(text)", "os.system(text)",
    "dict(trust_remote_code=True)", "AutoModel.from_pretrained(path, trust_remote_code=asked)"])
def test_what_would_run_is_found(code): assert len(calls_that_run_code(ast.parse(code))) == 1


def test_jupyter_is_shut():
    "`make lab` listens on this machine alone, and keeps Jupyter's token."
    command, = (line for line in commands_of("lab") if line.startswith("jupyter lab"))
    assert "--ip=127.0.0.1" in command.split()
    assert not re.search(r"token|password|0\.0\.0\.0|allow-root|allow_origin|disable_check_xsrf", command)


def test_voila_is_shut():
    "`make app` listens on this machine alone, and asks for a token that is made anew."
    command, = (line for line in commands_of("app") if "voila nbs" in line)
    assert {"--Voila.ip=127.0.0.1", "--token"} <= set(command.split())
    assert "--token=" not in command
