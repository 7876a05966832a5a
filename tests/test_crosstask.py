"""A killed run across tasks goes on, and ends as one in one go; the notebooks of MPT draw any run, and none."""
import os

import pandas as pd
import pytest
from forked import Command, kill_when
from outputs import ROOT, drawn
from small import cells

from metapt_nb.crosstask import CROSS_SCALES, STARTS, open_study
from metapt_nb.pool import read_settings

pytestmark = pytest.mark.xdist_group("cross-task") # its runs are made once
PAGES = ROOT/"nbs"/"mpt"
SETTING = "nonqa_to_qa"
SMOKE = CROSS_SCALES["smoke"]


def command(out, workers):
    "The smoke scale with its own made-up pool."
    asked = ["cross-task", "--setting", SETTING, "--scale", "smoke", "--out", out, "--workers", str(workers)]
    unset = {name: value for name, value in os.environ.items() if name != "METAPT_POOL"}
    return Command(*asked, env=unset)


def told(rows):
    "All but the seconds, which no two runs share."
    return rows.drop(columns="seconds").round(6)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("METAPT_POOL", raising=False)
        return open_study([SETTING], "smoke", out=tmp_path_factory.mktemp("whole"), workers=1).run()


def test_smoke_has_every_cell(whole):
    "Each start on each split of each target, once."
    targets = read_settings()[SETTING].targets[:SMOKE.targets]
    expected = {(start, task, split) for start in STARTS for task in targets for split in (13, 21)}
    found = list(whole[["learner", "task", "split"]].itertuples(index=False, name=None))
    assert set(found) == expected and len(found) == len(expected)
    assert whole.accuracy.between(0, 1).all() and whole.macro_f1.between(0, 1).all()


def test_a_killed_run_goes_on(whole, tmp_path):
    "Killed among its cells, the same command makes the others alone."
    run = command(tmp_path, 1)
    assert kill_when(run, lambda: len(cells(tmp_path)) >= 2), "it ended before it could be killed"
    before = cells(tmp_path)
    again = command(tmp_path, 1)
    assert again.wait(timeout=240) == 0, again.stderr
    assert len(before) < len(whole)
    assert {file: cells(tmp_path)[file] for file in before} == before
    assert told(pd.read_csv(tmp_path/"results.csv")).equals(told(whole))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    "A run as nbs/results/mpt has it, with one ablation."
    folder = tmp_path_factory.mktemp("mpt")
    more = ["cls12_to_cls", "cls24_to_cls", "cls_to_cls"]
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("METAPT_POOL", raising=False)
        open_study([SETTING, "cls_to_cls"], "smoke", out=folder/"cpu", workers=1).run()
        starts = ["PT", "maml", "multitask"]
        open_study(more, "smoke", out=folder/"ablations"/"sources", workers=1, starts=starts).run()
    return folder


NOTEBOOKS = {"settings": "All 4 targets", "main": "All 4 targets", "ablations": "All 6 targets", "findings": "tiny-0"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_draws_any_run(name, runs):
    assert NOTEBOOKS[name] in drawn(PAGES/f"{name}.ipynb", METAPT_CROSS=str(runs))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_says_that_nothing_was_run(name, tmp_path):
    said = drawn(PAGES/f"{name}.ipynb", METAPT_CROSS=str(tmp_path))
    assert "Nothing has been run yet" in said or "None of these has been run yet" in said


def test_half_a_target_does_not_count(runs, tmp_path):
    "A run that is still going on is drawn by the targets that are done."
    (tmp_path/"cpu").mkdir()
    for name in ("starts.csv", "leaks.csv", "settings.json"):
        (tmp_path/"cpu"/name).write_bytes((runs/"cpu"/name).read_bytes())
    rows = pd.read_csv(runs/"cpu"/"results.csv")
    rows[:-1].to_csv(tmp_path/"cpu"/"results.csv", index=False)
    assert "3 of 4 targets so far" in drawn(PAGES/"main.ipynb", METAPT_CROSS=str(tmp_path))
