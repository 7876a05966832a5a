"""The study of starts out of raw text: its smallest scale, a killed run, and the pages that draw it."""
import os
import shutil

import pandas as pd
import pytest
from forked import Command, kill_when
from outputs import ROOT, drawn
from small import cells

from metapt_nb.supmer_study import STUDY_SCALES, STUDY_STARTS, open_supmer_study, open_target, read_supmer_run

pytestmark = pytest.mark.xdist_group("supmer") # its runs are made once
PAGES = ROOT/"nbs"/"supmer"
PAGE_NAMES = "loop", "main", "domains", "ablation", "claims"


def command(out):
    "The smallest scale in a process of its own."
    asked = ["supmer", "--scale", "smoke", "--workers", "1", "--out", out]
    unset = {name: value for name, value in os.environ.items() if name not in ("METAPT_SETS", "METAPT_DATA")}
    return Command(*asked, env=unset)


def told(out):
    "All but the seconds, which no two runs share."
    return pd.read_csv(out/"results.csv").drop(columns="seconds").round(4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "A run that was left alone."
    folder = tmp_path_factory.mktemp("supmer")
    with pytest.MonkeyPatch.context() as patched:
        for name in ("METAPT_SETS", "METAPT_DATA"): patched.delenv(name, raising=False)
        open_supmer_study("smoke", folder, workers=1).run()
    return folder


def test_every_start_is_run(whole):
    run = read_supmer_run(whole)
    scale = STUDY_SCALES["smoke"]
    assert run.said.endswith(f"of {len(scale.starts)} starts.")
    assert run.scale == scale
    sets = run.at_home().groupby("start").dataset.nunique()
    assert {name: n == 2 for name, n in sets.items()} == {name: name in STUDY_STARTS for name in scale.starts}
    assert set(run.abroad().tested) == {*scale.sets, *scale.unseen}
    assert set(run.selections().start) == set(scale.test_selected)


def test_killed_run_goes_on(whole, tmp_path):
    "Killed among its cells, the same command makes the others alone."
    run = command(tmp_path)
    assert kill_when(run, lambda: len(cells(tmp_path)) >= 3), "it ended before it could be killed"
    before = cells(tmp_path)
    again = command(tmp_path)
    assert again.wait(timeout=240) == 0, again.stderr
    assert 3 <= len(before) < len(cells(tmp_path))
    assert {file: cells(tmp_path)[file] for file in before} == before
    assert told(tmp_path).equals(told(whole))


def test_a_deleted_regulariser_is_made_anew(whole, tmp_path):
    "What a message asks to delete is made again, to the bit, and no cell with it."
    again = shutil.copytree(whole, tmp_path/"again")
    psi, row = min(again.glob("prompts/*.psi.safetensors")), min(again.glob("prompts/*.json"))
    lost, before = psi.read_bytes(), cells(again)
    psi.unlink()
    row.unlink()
    with pytest.MonkeyPatch.context() as patched:
        for name in ("METAPT_SETS", "METAPT_DATA"): patched.delenv(name, raising=False)
        open_supmer_study("smoke", again, workers=1).run()
    assert psi.read_bytes() == lost and row.exists()
    assert cells(again) == before
    assert told(again).equals(told(whole))


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_pages_draw_any_run(name, whole):
    assert f"of {len(STUDY_SCALES['smoke'].starts)} starts." in drawn(PAGES/f"{name}.ipynb", METAPT_SUPMER=str(whole))


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_pages_say_that_nothing_was_run(name, tmp_path):
    assert "Nothing has been run yet" in drawn(PAGES/f"{name}.ipynb", METAPT_SUPMER=str(tmp_path))


def test_pages_draw_half_a_run(whole, tmp_path):
    (tmp_path/"settings.json").write_bytes((whole/"settings.json").read_bytes())
    rows = pd.read_csv(whole/"results.csv")
    rows[rows.start.isin(["PT", "FT"])].to_csv(tmp_path/"results.csv", index=False)
    for name in PAGE_NAMES:
        page = drawn(PAGES/f"{name}.ipynb", METAPT_SUPMER=str(tmp_path))
        assert "so far; not yet run: PPT, NSP; PPT, unified" in page


def test_published_sets_are_read(tmp_path, monkeypatch):
    "A folder of pairs, under the label words of the released code; sets without files are none."
    folder = tmp_path/"MRPC"
    folder.mkdir()
    for part in ("train", "dev"):
        lines = [f"{i % 2}\t{i}\t{i + 1}\ta {part} sentence {i}\tanother one {i}" for i in range(80)]
        (folder/f"{part}.tsv").write_text("\n".join(["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", *lines]))
    monkeypatch.setenv("METAPT_SETS", str(tmp_path))
    monkeypatch.delenv("METAPT_DATA", raising=False)
    assert open_target("qqp") is None and open_target("sst2") is None
    mrpc = open_target("mrpc")
    dataset, rows = mrpc.draw(0, 2, 10)
    assert len(rows.train) == 4 and set(dataset.classes) <= set(mrpc.words)
