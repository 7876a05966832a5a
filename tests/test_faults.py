"""Real processes, killed for real: what was computed stays, what goes on ends the same."""
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from forked import Command, finished, kill_when, quiet, wait_for
from small import METAPT, meta_train, own_file

from metapt_nb.data import load_dataset
from metapt_nb.embed import embed_texts, embedding_file
from metapt_nb.evaluate import same_rows
from metapt_nb.files import cache_dir


def changed(path): return path.stat().st_mtime_ns if path.exists() else 0


@pytest.mark.parametrize("how", [(), ("--ppt",)], ids=["maml", "ppt"])
def test_sigkill_resumes_bit_for_bit(tmp_path, how):
    "A training killed twice ends with the prompt of one that was left alone."
    whole, cut, checkpoint = (tmp_path/name for name in ("whole.safetensors", "cut.safetensors", "cut.checkpoint.pt"))
    quiet(*meta_train(tmp_path, whole.name, *how))
    command = meta_train(tmp_path, cut.name, *how)
    kills = 0
    for wait in (0., .4):
        before = changed(checkpoint)
        kills += kill_when(Command(*command), lambda: changed(checkpoint) != before, wait)
    assert kills >= 1
    assert not cut.exists() # it was killed in the middle

    quiet(*command)
    assert load_file(cut)["prompt"].equal(load_file(whole)["prompt"])
    assert {path.name for path in tmp_path.iterdir()} == {"own.csv", whole.name, cut.name} # and nothing beside them


def demo(out): return ["demo", "--smoke", "--no-report", "--workers", "1", "--out", out]


def results(out): return pd.read_csv(out/"results.csv")


def test_sigkill_keeps_finished_cells(tmp_path):
    "The demo killed after its first cells: they are not run again, and the table is the same."
    cut, whole = tmp_path/"cut", tmp_path/"whole"
    def cells(): return list(cut.glob("cells/*.json"))
    for _ in range(5): # the miniature is quick: now and then all cells are there before the signal
        shutil.rmtree(cut, ignore_errors=True)
        kill_when(Command(*demo(cut)), lambda: len(cells()) >= 2)
        kept = {path: changed(path) for path in cells()}
        if len(kept) < 6: break
    assert 2 <= len(kept) < 6

    quiet(*demo(cut))
    assert {path: changed(path) for path in kept} == kept
    quiet(*demo(whole))
    assert same_rows(results(cut), results(whole))


EMBED = """
from metapt_nb.data import load_dataset
from metapt_nb.embed import embed_texts
embed_texts(load_dataset('amazon').texts[:240], batch_size=8, part=3)
"""


def test_sigkill_keeps_embedded_parts(tmp_path, monkeypatch, caplog):
    "Embedding killed after its first parts: they are read, the rest is computed, the result is the same."
    for name in ("packages", "unpacked"): (tmp_path/name).symlink_to(cache_dir(name))
    monkeypatch.setenv("METAPT_CACHE", str(tmp_path))
    texts = load_dataset("amazon").texts[:240]
    def embed(**options): return embed_texts(texts, batch_size=8, part=3, **options)
    def stored(): return len(list(tmp_path.glob("embeddings/*-*.npy")))

    kill_when(subprocess.Popen([sys.executable, "-c", EMBED], stderr=subprocess.DEVNULL), lambda: stored() >= 2)
    parts = stored()
    assert 2 <= parts < 10
    assert not embedding_file(texts).exists() # it was killed in the middle

    with caplog.at_level("INFO", "metapt_nb.embed"): X = embed()
    assert f"{24*parts} were stored before" in caplog.text
    assert stored() == 0
    np.testing.assert_array_equal(X, embed(cache=False))


@pytest.fixture(scope="module")
def prompt(tmp_path_factory):
    "A prompt of the miniature."
    folder = tmp_path_factory.mktemp("prompt")
    small = ("--n-train", "20", "--n-dev", "20", "--epochs", "1", "--n-tokens", "4")
    quiet("tune", own_file(folder), "--backbone", "tiny", *small, "--out", folder/"p.safetensors")
    return folder/"p.safetensors"


KINDS = pytest.mark.parametrize("kind", ["txt", "csv"])


def test_a_damaged_checkpoint_is_refused(tmp_path):
    "A bit of the prompt turned in a checkpoint: one line that names it; without it the training ends the same."
    whole, cut, checkpoint = (tmp_path/name for name in ("whole.safetensors", "cut.safetensors", "cut.checkpoint.pt"))
    quiet(*meta_train(tmp_path, whole.name))
    command = meta_train(tmp_path, cut.name)
    assert kill_when(Command(*command), checkpoint.exists)
    content = bytearray(checkpoint.read_bytes())
    content[content.index(torch.load(checkpoint)["U"].numpy().tobytes())] ^= 1
    checkpoint.write_bytes(content)
    done = finished(*command)
    assert done.returncode == 2 and done.stderr == f"metapt: {checkpoint}: damaged checkpoint: " \
        "delete it to start this training anew\n"

    checkpoint.unlink()
    quiet(*command)
    assert load_file(cut)["prompt"].equal(load_file(whole)["prompt"])


def short_files(): resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))


def test_a_full_disk_is_one_line(tmp_path):
    "No file may grow beyond 500 bytes: one line, exit code 2, nothing half done; with room the run goes on."
    command = meta_train(tmp_path, "p.safetensors", samples=64)
    before = sorted(tmp_path.iterdir())
    done = finished(*command, prepare=short_files)
    checkpoint = tmp_path/"p.checkpoint.pt"
    assert done.returncode == 2
    assert done.stderr == f"metapt: {checkpoint}: File too large: make room, and the same command goes on\n"
    assert sorted(tmp_path.iterdir()) == before
    quiet(*command)


def prediction(folder, prompt, kind):
    "The command that predicts a file of 12,000 texts, but for its last word; and the file."
    texts, header = folder/f"texts.{kind}", "text\n" if kind == "csv" else ""
    texts.write_text(header + "".join(f"good film {i}\n" for i in range(12_000)))
    return ["predict", "--prompt", prompt, "--file", texts, "--out"], texts


@KINDS
def test_sigkill_resumes_predictions(tmp_path, prompt, kind):
    "A prediction killed after its first rows goes on with them and ends the same."
    command, _ = prediction(tmp_path, prompt, kind)
    cut, whole = tmp_path/"cut.tsv", tmp_path/"whole.tsv"
    assert kill_when(Command(*command, cut), (tmp_path/"cut.tsv.run.json").exists)
    assert not cut.exists() # it was killed in the middle

    done = finished(*command, cut)
    new = int(done.stdout.split(" rows, ")[1].split()[0])
    assert 0 < new < 12_000
    quiet(*command, whole)
    assert cut.read_bytes() == whole.read_bytes()


@KINDS
def test_a_file_that_grows_is_not_read_on(tmp_path, prompt, kind):
    "Written to while it is read: one line, exit code 2, and the rows that are there are kept."
    command, texts = prediction(tmp_path, prompt, kind)
    out = tmp_path/"out.tsv"
    running = Command(*command, out)
    wait_for(running, (tmp_path/"out.tsv.run.json").exists)
    with open(texts, "a") as f: f.write("one more\n")
    assert running.wait() == 2
    said = running.stderr
    assert said.count("metapt: ") == 1 and f"{texts}: changed while it was read: wait until" in said

    done = finished(*command, out)
    assert done.stdout.startswith("12001 rows, ") and "12001 of them new" not in done.stdout


GROWS = """
import sys
from metapt_nb import cli, readers
load = readers.load_dataset
def late(path, *args, **kwargs):
    found = load(path, *args, **kwargs)
    with open(path, "a") as f: f.write("more,1\\n")
    return found
readers.load_dataset = late
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_table_that_grows_is_not_tuned_on(tmp_path):
    "A table written to while it is read: one line, exit code 2, no prompt."
    table, out = own_file(tmp_path), tmp_path/"p.safetensors"
    words = [sys.executable, "-c", GROWS, "tune", table, "--backbone", "tiny", "--out", out]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2 and not out.exists()
    assert done.stderr.startswith(f"metapt: {table}: changed while it was read")
    assert len(done.stderr.strip().splitlines()) == 1


def test_another_runs_prompt_stays(tmp_path):
    "A prompt file of another run is not replaced unasked."
    command, made = meta_train(tmp_path, "meta.safetensors", samples=64), tmp_path/"meta.safetensors"
    quiet(*command)
    before = made.read_bytes()
    done = finished(*command, "--seed", "1")
    assert done.returncode == 2 and "differs in seed, start" in done.stderr
    assert made.read_bytes() == before


def test_missing_package_names_the_command(tmp_path):
    env = dict(os.environ, METAPT_CACHE=str(tmp_path))
    done = subprocess.run([METAPT, "tune", "amazon"], capture_output=True, text=True, env=env)
    assert done.returncode == 2
    assert "metapt fetch" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
