"""What the views promise beyond their notebooks: speed on two thousand texts, a kernel named by every notebook."""
import json, time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_moving_k_is_quick(tmp_path, monkeypatch):
    "2,000 texts: a new K is drawn within five seconds whatever the method, a K seen before within one."
    from metapt_nb.files import cache_dir
    kept = {name: cache_dir(name) for name in ("packages", "unpacked", "embeddings", "projections")}
    for i in range(3): # a shared machine hesitates now and then
        cache = tmp_path/str(i); cache.mkdir(); monkeypatch.setenv("METAPT_CACHE", str(cache)) # without any cluster run
        for name, folder in kept.items(): (cache/name).symlink_to(folder)
        new, again = seconds_of_moves()
        print(f"new K: {max(new.values()):.2f} s at most, {new}; seen before: {max(again.values()):.2f} s at most")
        if max(new.values()) < 5 and max(again.values()) < 1: break
    assert max(new.values()) < 5 and max(again.values()) < 1


def seconds_of_moves():
    "(method, K) -> seconds until its picture is there, the first time and the second."
    from metapt_nb.explore import Explorer
    view = Explorer(("movie",), n=2000); view.wait(); assert view.message.value == "" and "2,000 texts" in view.summary.value
    def seconds(**values):
        t = time.perf_counter()
        for n, v in values.items(): view.controls[n].value = v
        view.wait(); assert f"K = {values['k']}," in view.summary.value or "dissolved" in view.summary.value
        return time.perf_counter() - t
    new, again = {}, {}
    for method in ("random", "label", "lda", "kmeans"):
        view.controls["method"].value = method; view.wait()
        for k in (2, 12, 30): new[method, k] = seconds(k=k)
        for k in (2, 12, 30): again[method, k] = seconds(k=k)
        view.controls["k"].value = 7; view.wait()
    view.worker.stop(); return new, again


@pytest.mark.parametrize("book", sorted(p for p in ROOT.glob("nbs/**/*.ipynb") if ".ipynb_checkpoints" not in p.parts), ids=lambda p: p.stem)
def test_notebook_opens_without_a_question(book):
    "Without a kernel in its metadata JupyterLab asks for one before anything runs."
    assert json.loads(book.read_text())["metadata"].get("kernelspec", {}).get("name") == "python3"
