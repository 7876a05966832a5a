"""Files that a stranger might have made: each is read rightly or refused in one line, and none runs code.

`METAPT_HOSTILE=1000 pytest tests/test_hostile.py` draws so many damaged files in all.
"""
import json
import os
import pickle
import resource
import subprocess
import sys
import zipfile
from math import inf, nan
from pathlib import Path

import hostile
import numpy as np
import pandas as pd
import pytest
import torch
from hostile import FILES, ODD, Canary, outcome, prompt_bytes, read_backbone, write_adapter, write_backbone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from small import METAPT

from metapt_nb import files
from metapt_nb.exchange import read_found
from metapt_nb.files import InputError
from metapt_nb.readers import FORMATS, read_rows

CASES = int(os.environ.get("METAPT_HOSTILE", 120)) # drawn in all
SHARES = 10 # that the tests divide them into
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


def drawn(shares, *strategies):
    "A test of some shares of the cases, the same ones at each run."
    how = settings(
        max_examples=max(1, CASES*shares//SHARES), derandomize=True, database=None, deadline=None, suppress_health_check=QUIET)
    return lambda test: how(given(*strategies)(test))


def faults(content):
    "The bytes with some pieces cut out, doubled, turned over or put in."
    place, length = st.integers(0, len(content)), st.sampled_from([1, 2, 8, 64, len(content)])
    return st.lists(st.tuples(place, length, st.sampled_from(("cut", "double", "turn", "put")), st.sampled_from(ODD)),
        min_size=1, max_size=4)


def damaged(content, fault):
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


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from([10**400, -1, 2**63]), st.sampled_from([nan, inf, -inf, 1e300]),
    st.floats(), st.text(max_size=8), st.sampled_from(["\ud800", "\x00", "\x1b[31m", "\u202e", "<b>", "{mask}", "9"*5000]))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=6)


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


CARD = ("backbone", "backbone_hash", "L", "d", "template", "words", "classes", "max_length", "per_piece", "temperature",
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


CONFIG = ("model_type", "architectures", "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads", "auto_map",
    "feed_forward_proj", "pad_token_id", "is_encoder_decoder", "tie_word_embeddings", "torch_dtype", "quantization_config")


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
    usual = dict(peft_type="PROMPT_TUNING", task_type="SEQ_2_SEQ_LM", num_virtual_tokens=2)
    changes = data.draw(st.dictionaries(st.sampled_from(names), values, max_size=2) | values)
    config = usual | changes if isinstance(changes, dict) else changes
    (folder/"adapter_config.json").write_text(json.dumps(config))
    outcome(read_found, folder)


@drawn(1, st.lists(st.text(max_size=12) | st.sampled_from(["\x00", "\x1b[2J", "a\nb", '"', "$a$", "9"*5000]), min_size=2, max_size=6),
    st.sampled_from(["a.csv", "a.tsv", "a.parquet"]))
def test_cells_of_anything(folder, cells, name):
    "Tables of any texts and labels."
    cells = [cell.encode(errors="replace").decode() for cell in cells]
    table = pd.DataFrame(dict(text=cells, label=cells[::-1]))
    if name.endswith("parquet"): table.to_parquet(folder/name)
    else: table.to_csv(folder/name, index=False, sep="\t" if name.endswith("tsv") else ",")
    for read in hostile.TABLE_READERS: outcome(read, folder/name)
