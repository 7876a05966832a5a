"""How the code reads, in numbers.

`python tests/style.py` prints the table, `python tests/style.py FILE …` what stands against the rules there.
"""
import ast
import io
import json
import re
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
MOST_CODE = 120   # characters of a line before its comment
MOST_LINE = 140   # with its comment
MOST_LOCALS = 12  # names bound in a function
MOST_LOGICAL = 10 # lines of an example cell on which a statement starts


@dataclass(frozen=True)
class Piece:
    "A code cell, or a whole Python file."
    place: str
    code: str
    kind: str # "exported", "example", "imports" or "file"

    @property
    def tree(self): return ast.parse(self.code)


def plain(code):
    "Python without IPython's magic lines."
    return "\n".join(re.sub(r"^\s*[%!].*", "pass", line) for line in code.splitlines())


def kind_of(code):
    "What a cell is for."
    if re.search(r"^#\|\s*exports?i?\b", code, re.M): return "exported"
    body = ast.parse(code).body
    return "imports" if all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in body) else "example"


def pieces(path):
    "The code of a notebook, cell by cell, or of a Python file."
    if path.suffix == ".py": return [Piece(path.name, path.read_text(), "file")]
    found = []
    for number, cell in enumerate(json.loads(path.read_text())["cells"]):
        code = plain("".join(cell["source"]))
        if cell["cell_type"] == "code": found.append(Piece(f"{path.stem}[{number}]", code, kind_of(code)))
    return found


def tokens(code): return list(tokenize.generate_tokens(io.StringIO(code).readline))


def semicolons(code): return [t.start[0] for t in tokens(code) if t.type == tokenize.OP and t.string == ";"]


def long_lines(code):
    "Lines whose code, or whose code and comment, run too far."
    comments = {t.start[0]: t.start[1] for t in tokens(code) if t.type == tokenize.COMMENT}
    found = []
    for number, line in enumerate(code.splitlines(), 1):
        before = line[:comments.get(number, len(line))].rstrip()
        if len(before) > MOST_CODE or len(line) > MOST_LINE: found.append(number)
    return found


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def functions(tree): return [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]


def local_names(function):
    "Names bound in a function, comprehensions included, functions inside it not."
    found, open_nodes = set(), list(function.body)
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, (*FUNCTIONS, ast.Lambda)): continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store): found.add(node.id)
        open_nodes += ast.iter_child_nodes(node)
    return found


def nodes(function): return sum(1 for _ in ast.walk(function))


def logical_lines(tree):
    "Lines on which a statement starts."
    return len({node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt)})


def called(node):
    "The name that a call calls, of a function or of a method; empty for what is no call."
    if not isinstance(node, ast.Call): return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def asserts(tree, checks=()):
    "Whether a cell claims something, itself or through one of the functions `checks`."
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert): return True
        if called(node).startswith("test_") or called(node) in ("ExceptionExpected", *checks): return True
    return False


def checks_of(trees):
    "Names of the functions defined in some cells that claim something when they are called."
    return {function.name for tree in trees for function in functions(tree) if asserts(function)}


TACIT = ("cleanup", "unlink", "stop", "to_parquet", "disable_progress_bar", "click", "wait") # give nothing to show


def shows(tree):
    "Whether a cell ends in a value."
    last = tree.body[-1:]
    if not last or not isinstance(last[0], ast.Expr): return False
    return called(last[0].value) not in TACIT and not asserts(ast.Module(last, []))


def only_shows(tree, checks=()):
    "Whether a cell shows a result and claims nothing."
    return shows(tree) and not asserts(tree, checks)


def findings(piece):
    "What stands against the rules, a line each."
    found = [f"line {n}: a statement behind a semicolon" for n in semicolons(piece.code)]
    found += [f"line {n}: longer than {MOST_CODE} (with its comment {MOST_LINE})" for n in long_lines(piece.code)]
    for function in functions(piece.tree):
        names = local_names(function)
        if len(names) > MOST_LOCALS: found.append(f"{function.name}: {len(names)} local names, {MOST_LOCALS} are much")
    lines = logical_lines(piece.tree)
    if piece.kind == "example" and lines > MOST_LOGICAL:
        found.append(f"an example of {lines} logical lines, {MOST_LOGICAL} are much")
    return [f"{piece.place}: {text}" for text in found]


def books(): return sorted(ROOT.glob("nbs/[0-9][0-9]_*.ipynb"))


def all_books():
    "Every notebook, those that export nothing too; JupyterLab's checkpoints left out."
    return sorted(p for p in ROOT.glob("nbs/**/*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def body_lines(piece):
    "Lines of function bodies, without signature, docstring and comments."
    code, found = piece.code.splitlines(), {}
    for function in functions(piece.tree):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        for node in body:
            for number in range(node.lineno, node.end_lineno + 1):
                found[number] = code[number - 1].split(" # ")[0].strip()
    return [line for line in found.values() if line]


def packed(lines): return sum(";" in re.sub(r"(['\"]).*?\1", "", line) for line in lines)


def percent(part, whole): return f"{100*part/max(1, whole):.1f}"


def spread(values, *at): return "/".join(f"{np.percentile(values, p):.0f}" for p in at)


def exported_measures(exported):
    "name -> value, of exported cells."
    lines = [line for piece in exported for line in body_lines(piece)]
    lengths = [len(line) for line in lines]
    inside = [function for piece in exported for function in functions(piece.tree)]
    sizes = [nodes(function) for function in inside]
    cells = [sum(bool(line.strip()) and not line.startswith("#|") for line in p.code.splitlines()) for p in exported]
    crowded = sum(len(local_names(function)) > MOST_LOCALS for function in inside)
    return {
        "exported lines": sum(cells), "functions": len(inside),
        "lines per exported cell, median/p90/max": spread(cells, 50, 90, 100),
        "body lines, characters, median/p90/p99": spread(lengths, 50, 90, 99),
        f"body lines over {MOST_CODE} characters, %": percent(sum(n > MOST_CODE for n in lengths), len(lengths)),
        "body lines of several statements, %": percent(packed(lines), len(lines)),
        "nodes per body line": f"{sum(sizes)/max(1, len(lines)):.1f}",
        "nodes per function, median/p90": spread(sizes, 50, 90),
        f"functions of more than {MOST_LOCALS} local names, %": percent(crowded, len(inside)),
    }


def example_measures(trees):
    "name -> value, of example cells."
    checks = checks_of(trees)
    only_show = sum(only_shows(tree, checks) for tree in trees)
    only_assert = sum(asserts(tree, checks) and not shows(tree) for tree in trees)
    both = sum(asserts(tree, checks) and shows(tree) for tree in trees)
    shares = [percent(n, len(trees)) for n in (only_show, only_assert, both)]
    return {
        "example cells: only show / only assert / both, %": "/".join(shares),
        "logical lines per example cell, median/p90": spread([logical_lines(tree) for tree in trees], 50, 90),
    }


def table(paths):
    "name -> value, over all exported cells and examples of some notebooks."
    every = [piece for path in paths for piece in pieces(path)]
    exported = [piece for piece in every if piece.kind == "exported"]
    return exported_measures(exported) | example_measures([p.tree for p in every if p.kind == "example"])


if __name__ == "__main__":
    chosen = [Path(name) for name in sys.argv[1:]]
    for path in chosen:
        for piece in pieces(path):
            for line in findings(piece): print(line)
    measured = [p for p in chosen if p.suffix == ".ipynb"] or books()
    for name, value in table(measured).items(): print(f"| {name} | {value} |")
