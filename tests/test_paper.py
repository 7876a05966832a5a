"""The paper's experiments from end to end at the smoke scale.

Every notebook drawn from a fresh run, a worker killed, a Ray cluster, and names that outlive the next setting.
"""
import json
import os
import shutil
import signal
import time
from dataclasses import field, fields, make_dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from forked import Command
from outputs import KERNEL, ROOT, code_cells

from metapt_nb.backbone import Backbone
from metapt_nb.data import make_dataset
from metapt_nb.evaluate import GridCell, GridConfig, cell_file
from metapt_nb.experiments import (
    EXPERIMENTS, SCALES, SETS, STARTS, Scale, chosen_cells, prompt_file, run_experiments)
from metapt_nb.maml import MetaConfig
from metapt_nb.tune import FULL, PretrainConfig, TuneConfig
from metapt_nb.upstream import write_toy
from metapt_nb.verdicts import difference, read_run, rows_of

pytestmark = pytest.mark.xdist_group("paper") # its runs are made once
KEY = ["start", "pretrained", "dataset", "seed", "n_train"] # of a row of cells.csv


def planned(*names):
    "The keys of the cells that some experiments need."
    cells = chosen_cells(names, SCALES["smoke"])
    return {(cell.start.key, cell.pretrained, cell.dataset, cell.seed, cell.n_train) for cell in cells}


def stored(out):
    "The keys of the cells that a run stored, in order."
    return list(pd.read_csv(out/"cells.csv")[KEY].itertuples(index=False, name=None))


@pytest.fixture(scope="module")
def toy(tmp_path_factory): return write_toy(tmp_path_factory.mktemp("upstream"), n=24)


@pytest.fixture(scope="module")
def smoke(toy, tmp_path_factory):
    out = tmp_path_factory.mktemp("paper")
    run_experiments(scale="smoke", out=out, folder=toy, workers=2)
    return out


def test_every_cell_once(smoke):
    keys = stored(smoke)
    assert set(keys) == planned(*EXPERIMENTS) and len(keys) == len(set(keys))
    assert {dataset for _, _, dataset, _, _ in keys} == set(SETS)


@pytest.mark.parametrize("book", sorted((ROOT/"nbs/paper").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebook_draws_any_scale(book, smoke):
    "Each notebook of a table or figure, on a run other than the stored one."
    drawn = KERNEL.execute(book, METAPT_PAPER=str(smoke))
    text = "".join(str(output) for cell in code_cells(drawn) for output in cell.outputs)
    assert "missing" not in text
    assert "tiny" in text or book.stem in ("figure4", "pseudo", "regime") # the smoke run's backbone


def worker_ids(run):
    "The process ids of a command's workers."
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    return [int(child) for child in children if b"popen_loky" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_a_killed_worker_loses_no_cell(toy, smoke, tmp_path):
    "One of two worker processes is killed among its cells: all are there at the end, each once."
    out, names = tmp_path/"run", ("table2", "figure2")
    shutil.copytree(smoke/"prompts", out/"prompts") # the cells are what is looked at
    run = Command("paper", *names, "--scale", "smoke", "--folder", toy, "--out", out, "--workers", "2")
    def done(): return len(list(out.glob("cells/*.json")))
    while run.poll() is None and not (done() >= 2 and worker_ids(run)): time.sleep(.02)
    assert run.poll() is None, "it ended before a worker could be killed"
    os.kill(worker_ids(run)[0], signal.SIGKILL)
    before = done()
    assert run.wait(timeout=240) == 0, run.stderr
    assert before < len(planned(*names)) == len(stored(out))
    assert set(stored(out)) == planned(*names)


def test_a_second_round(toy, smoke, tmp_path):
    "A difference that is not known well enough gets more draws, of its own starts alone; they stand in its table."
    for folder in ("prompts", "cells"): shutil.copytree(smoke/folder, tmp_path/folder)
    scale = replace(SCALES["smoke"], rounds=2, half_width=-1.)
    rows = run_experiments(("table1",), scale, tmp_path, toy, workers=2, only=("PT", "PPT", "MetaPT"))
    drawn = rows.groupby("start", sort=False).seed.unique().map(sorted).to_dict()
    assert drawn == {
        "PT": [0, 1], "PPT-pseudo-kmeans": [0, 1, 2, 3], "MetaPT-pseudo-kmeans": [0, 1, 2, 3]}
    told = json.loads((tmp_path/"settings.json").read_text())["rounds"]
    assert [one["draws"] for one in told] == [2, 4] and told[0]["core_hours"] < told[1]["core_hours"]
    assert list(told[0]["half_widths"]) == ["MetaPT − PPT"]
    assert difference(rows_of(read_run(folder=tmp_path), "table1"), "MetaPT", "PPT").n == 4*len(SETS)


@pytest.mark.slow
def test_ray_cluster_of_two(toy, smoke, tmp_path):
    "A local Ray of two workers gives the same cells as two processes."
    ray = pytest.importorskip("ray", reason="pip install metapt_nb[cluster]")
    ray.init(address="local", num_cpus=2)
    run_experiments(("table2",), "smoke", tmp_path, toy, cluster=ray.get_runtime_context().gcs_address)
    ray.shutdown()
    here, there = (pd.read_csv(out/"cells.csv") for out in (tmp_path, smoke))
    same = here.merge(there, on=KEY, suffixes=("", "_there"))
    assert set(stored(tmp_path)) == planned("table2")
    assert (same.accuracy - same.accuracy_there).abs().max() < .06


def later(cls, **defaults):
    "The class after somebody has added a setting to it; `defaults` are of fields it has."
    more = [(name, object, field(default=value)) for name, value in dict(defaults, more=0).items()]
    return make_dataclass(cls.__name__, more, bases=(cls,), frozen=True)


NewTune, NewPretrain, NewMeta = later(TuneConfig), later(PretrainConfig), later(MetaConfig)
NewGrid = later(GridConfig, tune=NewTune(), full=NewTune(lr=FULL.lr))
NewScale = later(Scale)
NEW = {cls.__name__: cls for cls in (NewTune, NewPretrain, NewMeta, NewGrid, NewScale)}


def renewed(value):
    "The same values in the later classes, nested ones too."
    cls = NEW.get(type(value).__name__)
    if cls is None: return value
    return cls(**{f.name: renewed(getattr(value, f.name)) for f in fields(value)})


TEXT = make_dataset("ab", ["a", "b"]*20, np.arange(40) % 2, ("bad", "good"))


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_names_outlive_the_next_setting(scale):
    "Prompts and cells lie where they lay, when every class of settings has one more field."
    backbone, newer = Backbone.tiny(0), renewed(scale)
    assert newer.more == newer.grid.tune.more == 0
    def prompt(start, scale): return prompt_file("out", start, 1, scale, backbone, TEXT)
    for start in STARTS.values(): assert prompt(start, newer) == prompt(start, scale)
    cells = [GridCell("FT", None, 0), GridCell("PT", backbone.init_prompt(4, seed=0), 1, pretrained=2)]
    def row(cell, grid): return cell_file("out", backbone, TEXT, cell, grid)
    for cell in cells:
        for n in scale.sizes: assert row(cell, newer.at(n)) == row(cell, scale.at(n))


def test_another_value_of_the_next_setting_is_another_name():
    backbone, scale = Backbone.tiny(0), SCALES["smoke"]
    newer, cell, start = renewed(scale), GridCell("FT", None, 0), STARTS["PPT"]
    tuned = replace(newer.grid, tune=replace(newer.grid.tune, more=1))
    assert cell_file("out", backbone, TEXT, cell, tuned) != cell_file("out", backbone, TEXT, cell, scale.grid)
    trained = replace(newer, ppt=replace(newer.ppt, more=1))
    assert prompt_file("out", start, 0, trained, backbone, TEXT) != prompt_file("out", start, 0, scale, backbone, TEXT)
