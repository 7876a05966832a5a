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


def run(trial, corpus, backbone):
    "The row of a trial, made once."
    file = RUNS/f"{trial.name}.safetensors"
    told = file.with_suffix(".json")
    if not told.exists(): learn_study_start(backbone, trial.learning(corpus, backbone), trial.scale, file)
    row = load_json(told)
    return trial._asdict() | {name: row[name] for name in KEPT}


def main():
    RUNS.mkdir(parents=True, exist_ok=True)
    backbone, corpus, rows = Backbone.load(), Corpus(STUDY_SCALES["cpu"]), []
    for trial in tqdm(TRIALS, desc="trials", disable=None):
        rows.append(run(trial, corpus, backbone))
        save_csv(OUT/"trials.csv", pd.DataFrame(rows).round(4))
    with atomic(OUT/"trials.json") as tmp: tmp.write_text(json.dumps(environment(backbone), indent=1))


if __name__ == "__main__": main()
