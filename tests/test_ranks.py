"""Two processes under `accelerate launch` train what one trains.

When one dies the run ends with a sentence, and resumes.
"""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small import METAPT, meta_train

BIN = Path(sys.executable).parent
LAUNCH = [
    BIN/"accelerate", "launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--no_python",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]


def command(folder, out, *more, samples=240):
    "A small meta-training of all tasks at each step."
    return [METAPT, *meta_train(folder, out, "--tasks-per-step", "0", *more, samples=samples)]


def run(words):
    env = dict(os.environ, OMP_NUM_THREADS="1")
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, env=env)


def prompt(path): return load_file(path)["prompt"]


HOW = {"exact": (), "first, two steps": ("--order", "first", "--inner-steps", "2"), "ppt": ("--ppt",)}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_two_processes_equal_one(tmp_path, how):
    "Ten joint steps end where ten single ones do."
    one = run(command(tmp_path, "one.safetensors", *how))
    two = run([*LAUNCH, *command(tmp_path, "two.safetensors", *how)])
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    assert one.stdout.splitlines()[:3] == two.stdout.splitlines()[:3] # the tasks, said once
    a, b = prompt(tmp_path/"one.safetensors"), prompt(tmp_path/"two.safetensors")
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4*a.abs().max().item())


MIXED = """
import sys
import numpy as np
from safetensors.torch import save_file
from metapt_nb.backbone import KINDS, Backbone, concat
from metapt_nb.learners import META_LEARNERS, Clusters, LearnConfig, learn
from metapt_nb.maml import MetaConfig, meta_train
from metapt_nb.pretrain import PretrainConfig, TaskRows, ppt_train
from metapt_nb.ranks import ranks

def mixture(lm):
    "Two words, phrases of several pieces, pairs of fields, and options of their own, ten rows each."
    fillers = "the a it was is and not very no yes".split()
    texts = [f"{('film', 'food')[i % 2]} {filler}" for i, filler in enumerate(fillers)]
    options = [("film", "food", "the very bad film"), ("yes", "no")]*5
    halves = [i % 2 for i in range(10)]
    return concat([
        lm.encode(texts, halves, ("bad", "good"), "{text} it was {mask}"),
        lm.encode(texts, halves, ("good", "not very good"), "{text} is {mask}"),
        lm.encode(dict(a=texts, b=texts[::-1]), [0, 1, 2, 0, 1]*2, ("yes", "maybe", "no"), "{a} ? {b} ? {mask}"),
        lm.encode(texts, halves, template="{text} ? {mask}", options=options, per_piece=True)])

parts = [TaskRows(np.arange(k, k + 8), np.arange(k + 8, k + 10)) for k in range(0, 40, 10)]
prompts = {}
for kind in KINDS:
    lm = Backbone.tiny(0, kind=kind)
    work = lm, lm.init_prompt(3), mixture(lm), parts
    prompts[f"{kind}, PPT"] = ppt_train(*work, PretrainConfig(lr=.1, samples=48, validate_every=24)).prompt
    prompts[f"{kind}, MetaPT"] = meta_train(
        *work, MetaConfig(lr=.1, samples=96, m=2, tasks_per_step=None, validate_every=48)).prompt
    for name in META_LEARNERS:
        how = LearnConfig(learner=name, lr=.1, updates=4, inner_steps=2, tasks_per_step=3, validate_every=24)
        prompts[f"{kind}, {name}"] = learn(*work[:2], Clusters(*work[2:]), how).prompt
if ranks().rank == 0: save_file(prompts, sys.argv[1])
"""


def test_mixed_batch(tmp_path):
    "Tasks of different labels, formats and kinds of model: two processes learn what one learns."
    script = tmp_path/"mixed.py"
    script.write_text(MIXED)
    for launch, out in (((), "one"), (LAUNCH, "two")):
        done = run([*launch, sys.executable, script, tmp_path/out])
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = load_file(tmp_path/"one"), load_file(tmp_path/"two")
    assert len(one) == 21
    for name, a in one.items(): torch.testing.assert_close(a, two[name], rtol=1e-4, atol=1e-4*a.abs().max().item())


def start(rank, words):
    "One of two processes, as a launcher would start it."
    env = dict(
        os.environ, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1", MASTER_PORT="29511", OMP_NUM_THREADS="1")
    words = [str(word) for word in words]
    return subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_lost_process(tmp_path):
    "One of two is killed: the other says so and ends, and the run goes on from its checkpoint to the same prompt."
    whole = run([*LAUNCH, *command(tmp_path, "whole.safetensors", samples=2400)])
    assert whole.returncode == 0, whole.stderr[-2000:]

    cut, checkpoint = command(tmp_path, "cut.safetensors", samples=2400), tmp_path/"cut.checkpoint.pt"
    first, second = start(0, cut), start(1, cut)
    while second.poll() is None and not checkpoint.exists(): time.sleep(.01)
    time.sleep(.2)
    second.send_signal(signal.SIGKILL)
    second.wait()
    said = first.communicate(timeout=120)[1]
    assert first.returncode == 3, said
    assert "another process of this run is gone" in said
    assert "Traceback" not in said
    assert checkpoint.exists()
    assert not (tmp_path/"cut.safetensors").exists()

    resumed = run([*LAUNCH, *cut])
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert prompt(tmp_path/"cut.safetensors").equal(prompt(tmp_path/"whole.safetensors"))
