"""Two processes train what one trains: started by `accelerate launch`, and as any launcher would start them.

When one dies the run ends with a sentence, and resumes.
"""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import FORKS, Command, finished, found_here, kill_when
from safetensors.torch import load_file, save_file
from small import METAPT, free_port, meta_train

from metapt_nb.backbone import KINDS, Backbone, concat
from metapt_nb.learners import META_LEARNERS, Clusters, LearnConfig, learn
from metapt_nb.maml import MetaConfig
from metapt_nb.maml import meta_train as metapt_train
from metapt_nb.pretrain import PretrainConfig, TaskRows, ppt_train
from metapt_nb.ranks import ranks

LAUNCH = [
    Path(sys.executable).with_name("accelerate"), "launch", "--multi_gpu", "--num_processes", "2", "--num_machines",
    "1", "--no_python", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
ONE = dict(os.environ, OMP_NUM_THREADS="1")


def command(folder, out, *more, samples=240):
    "A small meta-training of all tasks at each step."
    return meta_train(folder, out, "--tasks-per-step", "0", *more, samples=samples)


def two_environments():
    "What a launcher tells each of two processes on this machine."
    told = dict(ONE, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
    return [dict(told, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(2)]


def start_two(words):
    "The command as two processes."
    return [Command(*words, env=environment) for environment in two_environments()]


def finish_two(words):
    "What the first says of a run of two that ends well; the second says nothing."
    first, second = start_two(words)
    assert (first.wait(240), second.wait(240)) == (0, 0), (first.stderr, second.stderr)
    assert not second.stdout
    return first.stdout


def launched(words):
    "What a run says that `accelerate` starts."
    done = subprocess.run([str(word) for word in [*LAUNCH, METAPT, *words]], capture_output=True, text=True, env=ONE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def prompt(path): return load_file(path)["prompt"]


def assert_near(two, one): torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-4*one.abs().max().item())


HOW = {
    "exact, by accelerate": (launched, ()),
    "first, two steps": (finish_two, ("--order", "first", "--inner-steps", "2")),
    "ppt": (finish_two, ("--ppt",))}


@pytest.mark.parametrize("by,how", HOW.values(), ids=HOW)
def test_two_processes_equal_one(tmp_path, by, how):
    "Ten joint steps end where ten single ones do."
    one = finished(*command(tmp_path, "one.safetensors", *how), env=ONE)
    assert one.returncode == 0, one.stderr
    said = by(command(tmp_path, "two.safetensors", *how))
    assert one.stdout.splitlines()[:3] == said.splitlines()[:3] # the tasks, said once
    assert_near(prompt(tmp_path/"two.safetensors"), prompt(tmp_path/"one.safetensors"))


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


def learn_mixture(kind):
    "How it was learned -> the prompt."
    parts = [TaskRows(np.arange(k, k + 8), np.arange(k + 8, k + 10)) for k in range(0, 40, 10)]
    lm = Backbone.tiny(0, kind=kind)
    work = lm, lm.init_prompt(3), mixture(lm), parts
    exact = MetaConfig(lr=.1, samples=96, m=2, tasks_per_step=None, validate_every=48)
    prompts = dict(
        PPT=ppt_train(*work, PretrainConfig(lr=.1, samples=48, validate_every=24)).prompt,
        MetaPT=metapt_train(*work, exact).prompt)
    for name in META_LEARNERS:
        how = LearnConfig(learner=name, lr=.1, updates=4, inner_steps=2, tasks_per_step=3, validate_every=24)
        prompts[name] = learn(*work[:2], Clusters(*work[2:]), how).prompt
    return {f"{kind}, {name}": own for name, own in prompts.items()}


def save_mixture(out, environment):
    "All kinds of model; the first of the processes saves what they learned."
    os.environ.update(environment)
    prompts = {name: own for kind in KINDS for name, own in learn_mixture(kind).items()}
    if ranks().rank == 0: save_file(prompts, out)


def test_mixed_batch(tmp_path):
    "Tasks of different labels, formats and kinds of model: two processes learn what one learns."
    found_here()
    tasks = [(tmp_path/"one", ONE), *((tmp_path/"two", told) for told in two_environments())]
    processes = [FORKS.Process(target=save_mixture, args=task) for task in tasks]
    for process in processes: process.start()
    for process in processes: process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    one, two = load_file(tmp_path/"one"), load_file(tmp_path/"two")
    assert len(one) == 21
    for name in one: assert_near(two[name], one[name])


def test_lost_process(tmp_path):
    "One of two is killed: the other says so and ends, and the run goes on from its checkpoint to the same prompt."
    finish_two(command(tmp_path, "whole.safetensors", samples=2400))
    cut, checkpoint = command(tmp_path, "cut.safetensors", samples=2400), tmp_path/"cut.checkpoint.pt"
    first, second = start_two(cut)
    assert kill_when(second, checkpoint.exists, wait=.2)
    assert first.wait(timeout=120) == 3, first.stderr
    assert "another process of this run is gone" in first.stderr
    assert "Traceback" not in first.stderr
    assert checkpoint.exists()
    assert not (tmp_path/"cut.safetensors").exists()

    finish_two(cut)
    assert prompt(tmp_path/"cut.safetensors").equal(prompt(tmp_path/"whole.safetensors"))
