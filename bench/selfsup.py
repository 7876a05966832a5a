"""What a prompt can learn from raw text: rates, rows per update, budgets and types of task.

`python bench/selfsup.py` trains a prompt for each trial below on the self-supervised tasks of `metapt supmer --scale
cpu`, as that study does, and writes nbs/results/supmer/trials.csv: a row per trial, with what the gate says of it on
rows of documents held out. Finished trials are kept, killed ones go on. No labelled set is looked at.
"""
import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tqdm.auto import tqdm

from metapt_nb.backbone import Backbone
from metapt_nb.files import atomic, load_json, save_csv
from metapt_nb.jobs import default_workers, run_jobs
from metapt_nb.selfsup import TASK_TYPES
from metapt_nb.settings import environment
from metapt_nb.supmer_study import ALL_STARTS, STUDY_SCALES, Corpus, Learning, learn_study_start, study_text

OUT = Path(__file__).parent.parent/"nbs/results/supmer"
RUNS = Path("runs/selfsup")
ALL = "all"
KEPT = ("gate_rows", "gate_shares", "gate_before", "gate_after", "gate_p", "learned", "updates", "seconds", "moved")


class Trial(NamedTuple):
    "A way to learn from raw text."
    start: str       # a key of `supmer_study.ALL_STARTS`
    samples: int     # rows seen
    lr: float = .1   # in units of `Backbone.scale`
    rows: int = 4    # support rows of a task, and query rows
    tasks: int = 2   # of an update
    types: str = ALL # one of `selfsup.TASK_TYPES`, or all of them

    @property
    def name(self): return "-".join(map(str, self))

    @property
    def scale(self):
        own = STUDY_SCALES["cpu"]
        return replace(
            own, samples=self.samples, lr=self.lr, rows=self.rows, tasks_per_step=self.tasks,
            selfsup=replace(own.selfsup, validate=16))

    def learning(self, corpus, backbone):
        "What `supmer_study` needs to learn it."
        start = ALL_STARTS[self.start]
        if self.types != ALL: start = replace(start, types=(self.types,))
        return Learning(self.start, start, 0, study_text(corpus, start, self.scale, backbone))


TRIALS = [
    *(Trial("pooled", 960, lr) for lr in (.1, .03, .3)),
    *(Trial("pooled", 1920, types=name) for name in TASK_TYPES),
    *(Trial("pooled", 3840, .1, rows, tasks) for rows, tasks in ((4, 2), (8, 4))),
    Trial("SUPMER", 3840), Trial("SUPMER", 3840, .3)]


def told(trial): return RUNS/f"{trial.name}.json"


def run(trial):
    "Learn the prompt of a trial."
    backbone = Backbone.load()
    learning = trial.learning(Corpus(STUDY_SCALES["cpu"]), backbone)
    learn_study_start(backbone, learning, trial.scale, told(trial).with_suffix(".safetensors"))


def row_of(trial):
    "What a trial is and what the gate says of it."
    row = load_json(told(trial))
    return trial._asdict() | {name: row[name] for name in KEPT}


def collect():
    "The table of all trials that are done."
    rows = [row_of(trial) for trial in TRIALS if told(trial).exists()]
    if rows: save_csv(OUT/"trials.csv", pd.DataFrame(rows).round(4))


def main():
    RUNS.mkdir(parents=True, exist_ok=True)
    left = [(trial,) for trial in TRIALS if not told(trial).exists()]
    for _ in tqdm(run_jobs(run, left, default_workers()), total=len(left), desc="trials", disable=None): collect()
    collect()
    with atomic(OUT/"trials.json") as tmp: tmp.write_text(json.dumps(environment(Backbone.load()), indent=1))


if __name__ == "__main__": main()
