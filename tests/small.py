"""A file of 120 texts, a small training on it, and its end, for the tests that call the command as a user does."""
import signal
import sys
import time
from pathlib import Path

import pandas as pd

METAPT = Path(sys.executable).with_name("metapt")


def wait_for(process, condition):
    "Until `condition()` comes true, or the process ends."
    while process.poll() is None and not condition(): time.sleep(.005)


def kill_when(process, condition, wait=0.):
    "Kill a process some seconds after `condition()` came true; whether it was still there."
    wait_for(process, condition)
    time.sleep(wait)
    there = process.poll() is None
    if there: process.send_signal(signal.SIGKILL)
    process.wait()
    return there


def cells(out):
    "The cells of a run, and when each was written."
    return {file: file.stat().st_mtime_ns for file in out.glob("cells/*.json")}


def own_file(folder):
    "120 texts of two classes."
    path = folder/"own.csv"
    texts = [f"{('bad', 'good')[i % 2]} film {i}" for i in range(120)]
    pd.DataFrame(dict(text=texts, label=[i % 2 for i in range(120)])).to_csv(path, index=False)
    return path


def meta_train(folder, out, *more, samples=4000):
    "A small meta-training that writes `out`."
    return [
        METAPT, "meta-train", own_file(folder), "--backbone", "tiny", "--method", "random", "--k", "3",
        "--samples", str(samples), "--n-tokens", "4", "--out", folder/out, *more]
