"""At which rates the learners of cross-task learning learn, and starts are tuned, on tasks that are nobody's target.

`python bench/starts.py POOL`, where POOL is a folder of few-shot draws as for `metapt cross-task`, writes to
nbs/results/mpt: rates.csv, a row per learner, rate and α (how the loss fell while it learned, and what the prompt
scores on unseen tasks before any tuning), and tuning.csv, a row per start, rate, task and epoch of tuning.
What is there already is not computed again.
"""
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np, pandas as pd, torch
from tqdm.auto import tqdm

from metapt_nb.backbone import split_log_probs
from metapt_nb.crosstask import CrossScale, open_study, source_tasks
from metapt_nb.files import save_csv
from metapt_nb.learners import learn
from metapt_nb.pool import encode_part
from metapt_nb.prompts import load_prompt, save_prompt
from metapt_nb.tune import TuneConfig, tune_prompts

SETTINGS = ("cls_to_cls", "qa_to_qa", "nonnli_to_nli", "nonpara_to_para")
OUT = Path(__file__).parent.parent/"nbs/results/mpt"
PROMPTS = Path("runs/starts")
UNSEEN, TUNED, ROWS = 8, 3, 64 # tasks kept apart, how many of them are tuned on, test rows of each


class Candidate(NamedTuple):
    "A way to learn."
    learner: str
    lr: float    # in units of `Backbone.scale`
    alpha: float # likewise

    @property
    def name(self): return "-".join(map(str, self))


CANDIDATES = [Candidate(*values) for values in (
    ("alpha0", .03, 1.), ("alpha0", .1, 1.), ("alpha0", .3, 1.), ("multitask", .1, 1.),
    ("maml", .1, .1), ("maml", .1, 1.), ("reptile", .1, .1))]
FOLLOWED = [Candidate(*values) for values in (
    ("alpha0", .1, 1.), ("multitask", .1, 1.), ("maml", .1, .1), ("maml", .1, 1.))]
RATES = (.03, .1, .3)


class Tasks:
    "Sources to learn from, and tasks of the same kind kept apart."
    def __init__(self, pool):
        study = open_study(SETTINGS, "cpu", pool, PROMPTS)
        self.backbone, self.pool, self.wording = study.backbone, study.pool, study.protocol.wording
        targets = {task for plan in study.plans for task in plan.targets}
        free = [task for task in study.plans[0].sources if task not in targets]
        self.unseen = free[1::3][:UNSEEN]
        self.sources = [task for task in free if task not in self.unseen]
        self.begin = self.backbone.init_prompt(study.scale.n_tokens, "names", 0, self.sources)

    def part(self, name, part, most=None):
        task, how = self.pool[name], dict(asdict(self.wording), skip=True)
        return encode_part(self.backbone, task, task.splits[0], part, most=most, **how)


@torch.no_grad()
def scores(tasks, prompt):
    "Means over the unseen tasks: accuracy, and the loss of the right answer among all texts."
    found = []
    for name in tasks.unseen:
        batch = tasks.part(name, "test", ROWS)
        log_probs = split_log_probs(tasks.backbone, prompt[None], [batch])[0]
        right = log_probs.gather(1, batch.labels[:, None])
        found.append((float((log_probs.argmax(1) == batch.labels).float().mean()), float(-right.mean())))
    accuracy, loss = np.mean(found, axis=0)
    return dict(unseen_accuracy=accuracy, unseen_loss=loss)


def learned(tasks, source, candidate):
    "The prompt of a candidate, and what came of it."
    file = PROMPTS/f"{candidate.name}.safetensors"
    config = CrossScale().learning(candidate.learner, tasks.backbone.scale)
    config = replace(config, lr=candidate.lr, inner_lr=candidate.alpha, samples=1600)
    run = learn(tasks.backbone, tasks.begin, source, config)
    save_prompt(file, run.prompt, tasks.backbone, source.tasks[0].support)
    column = "support_loss" if run.log.query_loss.isna().all() else "query_loss"
    ends = run.log[column].head(20).mean(), run.log[column].tail(20).mean()
    return dict(
        candidate._asdict(), samples=run.seen, updates=run.steps, loss=column, first=ends[0], last=ends[1],
        **scores(tasks, run.prompt), growth=float(run.prompt.norm()/tasks.begin.norm()))


def tuning(tasks, starts, name):
    "Held-out scores, epoch by epoch, of every start at every rate on one task."
    own = dict(starts, PT=tasks.backbone.init_prompt(len(tasks.begin), "names", 0, [name]))
    train, held = tasks.part(name, "train"), tasks.part(name, "test", ROWS)[:48]
    pairs = [(start, rate) for start in own for rate in RATES]
    configs = [TuneConfig(lr=rate, epochs=8, patience=99, warmup=4) for _, rate in pairs]
    runs = tune_prompts(
        tasks.backbone, [own[start] for start, _ in pairs], [train]*len(pairs), [held]*len(pairs), configs)
    return [
        dict(task=name, start=start, rate=rate, epoch=epoch, accuracy=row.dev_accuracy, loss=row.dev_loss)
        for (start, rate), run in zip(pairs, runs) for epoch, row in enumerate(run.log.itertuples())]


def rows_of(file, columns):
    "What is there already."
    return pd.read_csv(file) if file.exists() else pd.DataFrame(columns=columns)


def main(pool):
    tasks = Tasks(pool)
    print(f"learned from {len(tasks.sources)} tasks; unseen: {', '.join(tasks.unseen)}")
    source = source_tasks(tasks.backbone, tasks.pool, tasks.sources, tasks.wording)
    rates = rows_of(OUT/"rates.csv", Candidate._fields)
    for candidate in tqdm(CANDIDATES, desc="learners", disable=None):
        if candidate in set(rates[list(Candidate._fields)].itertuples(index=False, name=None)): continue
        rates = pd.concat([rates, pd.DataFrame([learned(tasks, source, candidate)])])
        save_csv(OUT/"rates.csv", rates.round(4))
    starts = {one.name: load_prompt(PROMPTS/f"{one.name}.safetensors")[0] for one in FOLLOWED}
    curves = rows_of(OUT/"tuning.csv", ["task"])
    for name in tqdm(tasks.unseen[:TUNED], desc="tasks", disable=None):
        if name in set(curves.task): continue
        curves = pd.concat([curves, pd.DataFrame(tuning(tasks, starts, name))])
        save_csv(OUT/"tuning.csv", curves.round(4))


if __name__ == "__main__": main(sys.argv[1])
