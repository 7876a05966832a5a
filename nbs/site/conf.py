"""The site that `make docs` builds with Sphinx: notebooks as they are stored, README, and a page per module."""
import ast
import json
import re
import shutil
import textwrap
from configparser import ConfigParser
from pathlib import Path

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.util.logging import getLogger

HERE = Path(__file__).parent
ini = ConfigParser(delimiters=["="])
ini.read(HERE.parents[1]/"settings.ini", encoding="utf-8")

project = ini["DEFAULT"]["lib_name"]
author = ini["DEFAULT"]["author"]
version = ini["DEFAULT"]["version"]
extensions = ["myst_nb"]
root_doc = "README"
include_patterns = [
    "*.md", "bench/*.md", "nbs/**.ipynb", "nbs/results/**README.md", f"{project}/[a-z]*.py"]
exclude_patterns = [".*", "_*", "build", "dist", "runs", "**/.ipynb_checkpoints"]

nb_execution_mode = "off" # what a page shows is what its notebook has stored
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_render_image_options = {"alt": "the figure that the code above draws"}
nb_ipywidgets_js = {}     # no stored output needs a kernel
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

html_theme = "furo"
html_title = project
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False


# Formulas: MathML, which browsers draw themselves.

def draw_formula(writer, node):
    "Write a formula as MathML; one that cannot be read is a warning."
    block = isinstance(node, nodes.math_block)
    try: writer.body.append(tex2mathml(node.astext(), as_block=block))
    except MathError as error: getLogger(__name__).warning("formula: %s", error, location=node)
    raise nodes.SkipNode


# Navigation: the chapters of the README's list of notebooks.

ROOM = re.compile(r"^\| *([^|]*?) *\| \[[^]]+\]\((nbs/[\w/]+)\.ipynb\)", re.M)
BEHIND = { # further chapters -> patterns of their pages
    "modules": [f"{project}/*"],
    "project": ["nbs/index", "CONTRIBUTING", "CHANGELOG", "bench/*", "nbs/results/**"]}

def chapters_of(readme):
    "Chapter -> its pages, as the table lists them; a chapter is named at its first notebook."
    chapters = {}
    for name, page in ROOM.findall(readme):
        if name: chapters[name] = []
        pages = list(chapters.values())[-1]
        pages.append(page)
    return chapters

def contents(chapter, pages):
    "A chapter in Sphinx's table of contents."
    return "\n".join([f"```{{toctree}}\n:hidden:\n:glob:\n:caption: {chapter}\n", *pages, "```"])

def with_contents(readme):
    "The README, and behind it what makes the sidebar."
    chapters = chapters_of(readme) | BEHIND
    return "\n\n".join([readme, *(contents(name, pages) for name, pages in chapters.items())])


# Notebooks: directives are for nbdev, and scripts for controls, which need a kernel.

def words_of(cell):
    "What the picture of a code cell shows, where its output says it."
    plain = ["".join(output.get("data", {}).get("text/plain", "")) for output in cell["outputs"]]
    return next((text.removeprefix("Picture: ") for text in plain if text.startswith("Picture: ")), "")

def is_script(output): return "application/javascript" in output.get("data", {})

def tidy(cell):
    "Take nbdev's directives out of a code cell, and scripts for controls; give its picture its words."
    cell["outputs"] = [output for output in cell["outputs"] if not is_script(output)]
    cell["source"] = re.sub(r"^#\|.*\n?", "", "".join(cell["source"]), flags=re.M).strip()
    words = words_of(cell)
    if words: cell["metadata"]["mystnb"] = {"image": {"alt": words}}

def read_notebook(source):
    "A notebook's JSON as the site shows it; a cell that held only directives is gone."
    book = json.loads(source)
    for cell in book["cells"]:
        if cell["cell_type"] == "code": tidy(cell)
    book["cells"] = [cell for cell in book["cells"] if cell["source"]]
    return json.dumps(book)


# Modules: signatures as they stand in the source, where each parameter has its line and its comment.

def code_before(lines, node, within):
    "The lines of a definition, decorators included, up to the node `within` it."
    first = min(part.lineno for part in [node, *node.decorator_list])
    head = lines[first - 1:within.lineno]
    head[-1] = head[-1].encode()[:within.col_offset].decode() # columns are counted in bytes
    return textwrap.dedent("\n".join(head)).removeprefix("@patch\n").strip()

def signature(lines, node):
    "How a function is called, or how a class begins."
    return code_before(lines, node, node.body[0])

def methods_of(node): return [part for part in node.body if isinstance(part, ast.FunctionDef)]

def class_signature(lines, node):
    "A class with its fields, or with how it is made."
    described = isinstance(node.body[0], ast.Expr)
    fields = [part for part in node.body[described:] if isinstance(part, (ast.Assign, ast.AnnAssign))]
    shown = [signature(lines, node)]
    if fields: shown += lines[fields[0].lineno - 1:fields[-1].end_lineno]
    made = [signature(lines, method) for method in methods_of(node) if method.name == "__init__"]
    return "\n".join([*shown, *(textwrap.indent(text, "    ") for text in made)])

def entry(heading, name, node, code):
    "A name's section: what it does, and how it is called."
    return f"{heading} `{name}`\n\n{ast.get_docstring(node) or ''}\n\n```python\n{code}\n```"

def class_entries(lines, node):
    "The sections of a class and of its public methods."
    yield entry("##", node.name, node, class_signature(lines, node))
    for method in methods_of(node):
        if method.name.startswith("_"): continue
        yield entry("###", f"{node.name}.{method.name}", method, signature(lines, method))

def patched_class(node):
    "The name of the class that a function is patched into; none where it is no method."
    patched = any(ast.unparse(mark).startswith("patch") for mark in node.decorator_list)
    return ast.unparse(node.args.args[0].annotation) if patched else ""

def constant(lines, node):
    "The first line of what is assigned."
    more = " ..." if node.end_lineno > node.lineno else ""
    return lines[node.lineno - 1] + more

def entries(source):
    "The sections of a module's public names, constants in one."
    lines, tree = source.splitlines(), ast.parse(source)
    public = [node for node in tree.body if not getattr(node, "name", "_").startswith("_")]
    names = [node for node in tree.body if isinstance(node, ast.Assign) and lines[node.lineno - 1][0].isupper()]
    if names: yield "\n".join(["## Constants\n\n```python", *(constant(lines, node) for node in names), "```"])
    for node in public:
        if isinstance(node, ast.ClassDef): yield from class_entries(lines, node)
        else:
            owner = patched_class(node)
            name = f"{owner}.{node.name}" if owner else node.name
            yield entry("##", name, node, signature(lines, node))

def module_page(source, name):
    "A module as Markdown."
    promise = ast.get_docstring(ast.parse(source))
    notebook = re.search(r"File to edit: (\S+/(\w+)\.ipynb)", source)
    use = "[{2}]({1}) shows each part in use.".format(notebook[0], *notebook.groups())
    return "\n\n".join([f"# {name}", f"> {promise}", use, *entries(source)])

class ModuleParser(MystParser):
    "Reads a module by way of its Markdown."
    supported = ("docments",)
    def parse(self, source, document):
        name = document.settings.env.docname.replace("/", ".")
        super().parse(module_page(source, name), document)


# What Sphinx calls.

def read(app, docname, content):
    "A source, before it is parsed."
    if docname == root_doc: content[0] = with_contents(content[0])
    if app.env.doc2path(docname).suffix == ".ipynb": content[0] = read_notebook(content[0])

def found_once(app, doctree):
    "The notebook that README is made of is not searched beside it."
    if app.env.docname == "nbs/index": app.env.metadata["nbs/index"]["nosearch"] = True

def front_page(app, failure):
    "README is what the folder opens with."
    if not failure: shutil.copy(app.outdir/f"{root_doc}.html", app.outdir/"index.html")

def setup(app):
    app.add_html_math_renderer("mathml", (draw_formula, None), (draw_formula, None))
    app.add_source_suffix(".py", "docments")
    app.add_source_parser(ModuleParser)
    app.connect("source-read", read)
    app.connect("doctree-read", found_once)
    app.connect("build-finished", front_page)
