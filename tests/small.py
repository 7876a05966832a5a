"""A file of 120 texts and a small training on it, for the tests that call the command as a user does."""
import socket
import sys
from pathlib import Path

import pandas as pd

METAPT = Path(sys.executable).with_name("metapt")


def free_port():
    "A port of this machine that nobody listens on."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cells(out):
    "The cells of a run, and when each was written."
    return {file: file.stat().st_mtime_ns for file in out.glob("cells/*.json")}


def own_file(folder):
    "120 texts of two classes."
    path = folder/"own.csv"
    texts = [f"{('bad', 'good')[i % 2]} film {i}" for i in range(120)]
    pd.DataFrame(dict(text=texts, label=[i % 2 for i in range(120)])).to_csv(path, index=False)
    return path


def meta_train(folder, out, *more, samples=2000):
    "The words of a small meta-training that writes `out`."
    return [
        "meta-train", own_file(folder), "--backbone", "tiny", "--method", "random", "--k", "3",
        "--samples", str(samples), "--n-tokens", "4", "--out", folder/out, *more]
