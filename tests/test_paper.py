"""The paper's experiments from end to end at the smoke scale: every notebook drawn from a fresh run, a worker killed, a Ray cluster."""
import os, signal, subprocess, sys, time
from pathlib import Path

import pandas as pd
import pytest

from metapt_nb.experiments import SCALES, experiment, run_experiments
from metapt_nb.upstream import write_toy

ROOT = Path(__file__).parents[1]
METAPT = Path(sys.executable).with_name("metapt")


def planned(*names): return {(c.start.key, c.pretrained, c.dataset, c.seed, c.n_train) for n in names for cells in experiment(n, SCALES["smoke"]).values() for c in cells}


def stored(out): return [tuple(r) for r in pd.read_csv(out/"cells.csv")[["start", "pretrained", "dataset", "seed", "n_train"]].itertuples(index=False)]


@pytest.fixture(scope="module")
def toy(tmp_path_factory): return write_toy(tmp_path_factory.mktemp("upstream"), n=24)


@pytest.fixture(scope="module")
def smoke(toy, tmp_path_factory):
    out = tmp_path_factory.mktemp("paper"); run_experiments(scale="smoke", out=out, folder=toy, workers=2)
    return out


@pytest.mark.parametrize("book", sorted((ROOT/"nbs/paper").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebook_draws_any_scale(book, smoke):
    "Each notebook of a table or figure, on a run other than the stored one."
    import nbformat
    from nbclient import NotebookClient
    nb = nbformat.read(book, 4); NotebookClient(nb, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(book.parent)}}).execute(env=dict(os.environ, METAPT_PAPER=str(smoke)))
    text = "".join(str(o) for c in nb.cells if c.cell_type == "code" for o in c.outputs)
    assert "missing" not in text and ("tiny" in text or book.stem in ("figure4", "pseudo")) # the smoke run's backbone


def test_a_killed_worker_loses_no_cell(toy, tmp_path):
    "One of two worker processes is killed among its cells: all are there at the end, each once."
    out, names = tmp_path/"run", ("table2", "figure2"); run = subprocess.Popen([METAPT, "paper", *names, "--scale", "smoke", "--folder", toy, "--out", out, "--workers", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    def workers(): return [int(p) for p in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split() if b"popen_loky" in Path(f"/proc/{p}/cmdline").read_bytes()]
    while run.poll() is None and not (len(list(out.glob("cells/*.json"))) >= 2 and workers()): time.sleep(.02)
    assert run.poll() is None, "it ended before a worker could be killed"
    os.kill(workers()[0], signal.SIGKILL); done = len(list(out.glob("cells/*.json")))
    assert run.wait(timeout=240) == 0, run.stderr.read().decode()
    assert done < len(planned(*names)) and len(stored(out)) == len(planned(*names)) and set(stored(out)) == planned(*names)


@pytest.mark.slow
def test_ray_cluster_of_two(toy, smoke, tmp_path):
    "A local Ray of two workers gives the same cells as two processes."
    ray = pytest.importorskip("ray", reason="pip install metapt_nb[cluster]"); ray.init(address="local", num_cpus=2)
    run_experiments(("table2",), "smoke", tmp_path, toy, cluster=ray.get_runtime_context().gcs_address); ray.shutdown(); both = [pd.read_csv(p/"cells.csv") for p in (tmp_path, smoke)]
    key = ["start", "pretrained", "dataset", "seed", "n_train"]; same = both[0].merge(both[1], on=key, suffixes=("", "_there"))
    assert set(stored(tmp_path)) == planned("table2") and (same.accuracy - same.accuracy_there).abs().max() < .06
