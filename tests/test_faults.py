"""Real processes, killed for real: what was computed stays, what goes on ends the same."""
import os, shutil, signal, subprocess, sys, time
from pathlib import Path

import numpy as np, pandas as pd
import pytest
from safetensors.torch import load_file

from metapt_nb.cluster import embed_texts, embedding_file
from metapt_nb.data import load_dataset
from metapt_nb.files import cache_dir

METAPT = Path(sys.executable).with_name("metapt")


def own_file(folder):
    path = folder/"own.csv"
    pd.DataFrame(dict(text=[f"{('bad', 'good')[i % 2]} film {i}" for i in range(120)], label=[i % 2 for i in range(120)])).to_csv(path, index=False)
    return path


def meta_train(folder, out, *more):
    return [METAPT, "meta-train", own_file(folder), "--backbone", "tiny", "--method", "random", "--k", "3", "--samples", "4000", "--n-tokens", "4", "--out", folder/out, *more]


@pytest.mark.parametrize("how", [(), ("--ppt",)], ids=["maml", "ppt"])
def test_sigkill_resumes_bit_for_bit(tmp_path, how):
    subprocess.run(meta_train(tmp_path, "whole.safetensors", *how), check=True, capture_output=True)
    command, checkpoint = meta_train(tmp_path, "cut.safetensors", *how), tmp_path/"cut.checkpoint.pt"
    kills = 0
    for wait in (0., .4):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stamp = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while run.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == stamp): time.sleep(.01)
        time.sleep(wait)
        if run.poll() is None: run.send_signal(signal.SIGKILL); kills += 1
        run.wait()
    assert kills >= 1 and not (tmp_path/"cut.safetensors").exists() # it was killed in the middle
    subprocess.run(command, check=True, capture_output=True)
    assert load_file(tmp_path/"cut.safetensors")["prompt"].equal(load_file(tmp_path/"whole.safetensors")["prompt"])
    assert not checkpoint.exists()


def test_sigkill_keeps_finished_cells(tmp_path):
    "The demo killed after its first cells: they are not run again, and the table is the same."
    command = [METAPT, "demo", "--smoke", "--no-report", "--workers", "1", "--out", tmp_path/"cut"]
    for _ in range(5): # the miniature is quick: now and then all cells are there before the signal
        shutil.rmtree(tmp_path/"cut", ignore_errors=True); run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while run.poll() is None and len(list(tmp_path.glob("cut/cells/*.json"))) < 2: time.sleep(.005)
        run.send_signal(signal.SIGKILL); run.wait()
        kept = {p: p.stat().st_mtime_ns for p in tmp_path.glob("cut/cells/*.json")}
        if len(kept) < 6: break
    assert 2 <= len(kept) < 6
    subprocess.run(command, check=True, capture_output=True)
    assert all(p.stat().st_mtime_ns == t for p, t in kept.items())
    subprocess.run([*command[:-1], tmp_path/"whole"], check=True, capture_output=True)
    cut, whole = (pd.read_csv(tmp_path/n/"results.csv").drop(columns="seconds") for n in ("cut", "whole"))
    pd.testing.assert_frame_equal(cut, whole)


def test_sigkill_keeps_embedded_parts(tmp_path, monkeypatch, caplog):
    "Embedding killed after its first parts: they are read, the rest is computed, the result is the same."
    for n in ("packages", "unpacked"): (tmp_path/n).symlink_to(cache_dir(n))
    monkeypatch.setenv("METAPT_CACHE", str(tmp_path)); texts = load_dataset("amazon").texts[:240]; embed = lambda **k: embed_texts(texts, batch_size=8, part=3, **k)
    run = subprocess.Popen([sys.executable, "-c", "from metapt_nb.cluster import *; from metapt_nb.data import *; embed_texts(load_dataset('amazon').texts[:240], batch_size=8, part=3)"], stderr=subprocess.DEVNULL)
    parts = lambda: len(list(tmp_path.glob("embeddings/*-*.npy")))
    while run.poll() is None and parts() < 2: time.sleep(.01)
    run.send_signal(signal.SIGKILL); run.wait(); n = parts()
    assert 2 <= n < 10 and not embedding_file(texts).exists() # it was killed in the middle
    with caplog.at_level("INFO", "metapt_nb.cluster"): X = embed()
    assert f"{24*n} were stored before" in caplog.text and parts() == 0
    np.testing.assert_array_equal(X, embed(cache=False))


def test_missing_package_names_the_command(tmp_path):
    done = subprocess.run([METAPT, "tune", "amazon"], capture_output=True, text=True, env=dict(os.environ, METAPT_CACHE=str(tmp_path)))
    assert done.returncode == 2 and "metapt fetch" in done.stderr and "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1
