"""What a prompt can learn from raw text: types of task and their mixture, letters, rates, clipping, learners, budgets.

`python bench/selfsup.py` trains a prompt for each trial below on the self-supervised tasks of `metapt supmer --scale
cpu`, as that study does, and judges it on rows of documents held out. It writes to nbs/results/supmer: trials.csv, a
row per trial with what the gate says, and types.csv, a row per trial and type of task that it learned. Finished trials
are kept in its folder trials, killed ones go on. No labelled set is looked at.

`python bench/selfsup.py rates FOLDER` tunes vocabulary rows, SUPMER's prompts of the run in FOLDER and the whole model
on sets that the study does not have (METAPT_SETS names the published ones), at several rates: rates.csv, a row per
tuning with its loss on test rows.
"""
import json, os, sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tqdm.auto import tqdm

from metapt_nb.backbone import Backbone
from metapt_nb.crosstask import tune_full, tune_starts
from metapt_nb.data import load_dataset
from metapt_nb.files import atomic, load_json, save_csv, save_json
from metapt_nb.jobs import default_workers, run_jobs
from metapt_nb.pool import open_pool
from metapt_nb.pretrain import choice_losses
from metapt_nb.prompts import load_prompt
from metapt_nb.selfsup import TASK_TYPES
from metapt_nb.settings import environment
from metapt_nb.starts import own_regulariser
from metapt_nb.statistics import chance, majority
from metapt_nb.supmer_study import (
    ALL_STARTS, STUDY_SCALES, Corpus, Learning, Target, learn_study_start, learned_file, study_text)

OUT = Path(__file__).parent.parent/"nbs/results/supmer"
RUNS = Path("runs/selfsup")
ALL = "all"
HELD_OUT, VALIDATED = .1, 15 # share of the documents; tasks of up to sixteen rows
KEPT = ("gate_rows", "gate_shares", "gate_before", "gate_after", "gate_p", "learned", "updates", "seconds", "moved")


class Trial(NamedTuple):
    "A way to learn from raw text."
    types: str = ALL   # some of `selfsup.TASK_TYPES`, with + between them, or all
    bare: bool = False # whether letters are answered by pieces that the text does not show
    start: str = "pooled" # a key of `supmer_study.ALL_STARTS`
    samples: int = 1920 # rows seen
    lr: float = .1     # in units of `Backbone.scale`
    clip: float = None # largest norm of a gradient
    optimizer: str = "adamw"
    rows: int = 4      # support rows of a task, and query rows
    tasks: int = 2     # of an update
    corpus: str = "imdb"
    inner_lr: float = 1. # of learners that look ahead

    @property
    def name(self): return "-".join(map(str, self))

    @property
    def scale(self):
        own = STUDY_SCALES["cpu"]
        return replace(
            own, samples=self.samples, lr=self.lr, clip=self.clip, optimizer=self.optimizer, rows=self.rows,
            tasks_per_step=self.tasks, corpus=self.corpus, inner_lr=self.inner_lr,
            selfsup=replace(own.selfsup, held_out=HELD_OUT, validate=VALIDATED, bare=self.bare))

    @property
    def kinds(self): return tuple(TASK_TYPES) if self.types == ALL else tuple(self.types.split("+"))

    def text(self, corpus, backbone, kinds):
        "Tasks of some types."
        return study_text(corpus, replace(ALL_STARTS[self.start], types=kinds), self.scale, backbone)


TRIALS = [
    *(Trial(types, bare) for types in ("nss", "scss", "scc") for bare in (True, False)),
    Trial("nsp"), Trial("scsp"),
    Trial(), Trial(clip=1.), Trial("scsp+scc"), Trial("scsp+scc", start="SUPMER"),
    Trial("scsp+scc", samples=3840), Trial("scsp+scc", start="SUPMER", samples=3840)]


def told(trial): return OUT/"trials"/f"{trial.name}.json"


def of_type(backbone, prompt, rows):
    "What a prompt makes of rows held out, beside the commonest answer and guessing."
    right = (backbone.predict(prompt, rows) == rows.labels).float()
    return dict(
        held_out=len(rows), accuracy=float(right.mean()), loss=float(choice_losses(backbone, prompt, rows).mean()),
        commonest=majority(rows.labels.numpy()), chance=chance([len(own.words) for own in rows.own_sets]))


def run(trial):
    "Learn the prompt of a trial, and look at each type of its tasks."
    backbone, corpus = Backbone.load(), Corpus(trial.scale)
    file = RUNS/f"{trial.name}.safetensors"
    learning = Learning(trial.start, ALL_STARTS[trial.start], 0, trial.text(corpus, backbone, trial.kinds))
    if not file.exists(): learn_study_start(backbone, learning, trial.scale, file) # which writes it last
    prompt, _ = load_prompt(file, backbone)
    found = {kind: of_type(backbone, prompt, trial.text(corpus, backbone, (kind,)).held_out) for kind in trial.kinds}
    row = load_json(file.with_suffix(".json"))
    save_json(told(trial), dict(row={name: row[name] for name in KEPT}, types=found))


def collect():
    "The tables of all trials that are done."
    done = {trial: load_json(told(trial)) for trial in TRIALS if told(trial).exists()}
    if not done: return
    save_csv(OUT/"trials.csv", pd.DataFrame([trial._asdict() | own["row"] for trial, own in done.items()]).round(4))
    types = [
        trial._asdict() | dict(kind=kind) | found
        for trial, own in done.items() for kind, found in own["types"].items()]
    save_csv(OUT/"types.csv", pd.DataFrame(types).round(4))


def main():
    for folder in (RUNS, OUT/"trials"): folder.mkdir(parents=True, exist_ok=True)
    left = [(trial,) for trial in TRIALS if not told(trial).exists()]
    for _ in tqdm(run_jobs(run, left, default_workers()), total=len(left), desc="trials", disable=None): collect()
    collect()
    with atomic(OUT/"trials.json") as tmp: tmp.write_text(json.dumps(environment(Backbone.load()), indent=1))


RATES, FULL_RATES, SEEDS, POOLED = (.03, .1, .3), (3e-4, 1e-3), (0, 1), ("emotion", "scitail")


def development():
    "Sets that the study neither tunes nor tests on."
    pool = open_pool(Path(os.environ["METAPT_SETS"])/"crossfit_kshot")
    return [Target("alexa", load_dataset("alexa")), *(Target(name, pool[name]) for name in POOLED)]


def starts_of_run(folder, backbone, seed):
    "Where tuning begins, and what turns its gradients."
    scale, start = STUDY_SCALES["cpu"], ALL_STARTS["SUPMER"]
    file = learned_file(folder, backbone, start, seed, scale, Corpus(scale).docs.hash)
    prompts = {"PT": backbone.init_prompt(scale.n_tokens, seed=seed), "SUPMER": load_prompt(file, backbone)[0]}
    return prompts, [None, own_regulariser(file, backbone)]


def tuned_rows(backbone, target, seed, prompts, psis):
    "One split of a set: each start at each rate, and FT; what dev chose comes to on the test rows."
    scale = STUDY_SCALES["cpu"]
    protocol = replace(scale.protocol, rates=RATES, full_rates=FULL_RATES, n_test=400)
    parts = target.encode(backbone, seed, replace(scale, protocol=protocol))
    tried = dict(zip(prompts, tune_starts(backbone, list(prompts.values()), parts, protocol, seed, psis)))
    for name, found in (tried | {"FT": tune_full(backbone, parts, protocol, seed)}).items():
        for rate, tuned in zip(FULL_RATES if name == "FT" else RATES, found):
            loss = choice_losses(tuned.backbone or backbone, tuned.prompt, parts.test).mean()
            yield dict(
                dataset=target.name, seed=seed, start=name, rate=rate, loss=float(loss), epochs=len(tuned.log) - 1,
                settled=tuned.settled, dev_loss=tuned.log.dev_loss.min(), dev_loss_before=tuned.log.dev_loss[0])


def rates(folder):
    backbone, rows = Backbone.load(), []
    for seed in SEEDS:
        prompts, psis = starts_of_run(folder, backbone, seed)
        for target in tqdm(development(), desc=f"rates, seed {seed}", disable=None):
            rows += tuned_rows(backbone, target, seed, prompts, psis)
            save_csv(OUT/"rates.csv", pd.DataFrame(rows).round(4))


if __name__ == "__main__": rates(sys.argv[2]) if sys.argv[1:2] == ["rates"] else main()
