"""What it takes for a prompt to learn from labelled text: rates, batches, inner steps, rules and first rows.

`python bench/regime.py CORPUS [TRIAL …]`, where CORPUS is movie or yelp5 (with METAPT_DATA naming the upstream files),
trains a prompt for each trial below, or for those named, on the corpus's train rows and follows it on rows held out, at
the corpus's own five words.
It writes to nbs/results/regime: curves.csv, a row per trial and look at the held-out rows, and trials.csv, a row per
trial with what the gate says of it. Finished trials are kept in the folder trials beside them; the curve of a killed
one begins where it goes on.
`python bench/regime.py CORPUS starts` tunes those prompts of TUNED that are there on a few rows of development sets, as
they are and with their ratings merged into three and two classes: tuned.csv;
`python bench/regime.py CORPUS rates` tunes plain prompts, a learned one and the whole model at several rates:
rates.csv;
`python bench/regime.py CORPUS gains` takes inner steps of several lengths, on more or fewer rows, from the prompts of
AHEAD: ahead.csv.
None of the data sets of the paper's tables is looked at; but the sentences of movie are largely those of SST-5 and
SST-2 (overlap.csv), so that what is tried on movie serves the demo, and the paper's settings are chosen on yelp5;
nor is movie tuned on for the paper, or a set of the demo's table for the demo.
"""
import json, sys, time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np, pandas as pd, torch
from tqdm.auto import tqdm

from metapt_nb.backbone import Backbone, concat, split_log_probs
from metapt_nb.cluster import make_tasks
from metapt_nb.data import load_dataset
from metapt_nb.evaluate import GridCell, GridConfig, group_cells, run_groups
from metapt_nb.experiments import balanced
from metapt_nb.files import atomic, save_csv
from metapt_nb.inner_step import Losses, losses_of
from metapt_nb.jobs import default_workers, run_jobs
from metapt_nb.learners import RelativeStep
from metapt_nb.maml import slope, split_tasks
from metapt_nb.pretrain import gate
from metapt_nb.prompts import load_prompt, save_prompt
from metapt_nb.rules import RULES, rows_under, rule_set, ruled_tasks, under_rule
from metapt_nb.settings import environment
from metapt_nb.starts import clustered, learn_from
from metapt_nb.statistics import scores
from metapt_nb.tune import TuneConfig

OUT = Path(__file__).parent.parent/"nbs/results/regime"
RUNS = Path("runs/regime")
ROWS, HELD_OUT, K, L, LENGTH = 16000, 500, 10, 20, 64
ASKED = "How does the writer of this text rate what it is about: is it terrible, bad, maybe, good or great?"
ALPHAS, SUPPORTS = (.03, .1, .3, 1., 3., 10.), (4, 16, 32) # of inner steps
RATES, FULL_RATES, RATE = (.01, .03, .1, .3), (1e-4, 3e-4, 1e-3), .03 # of few-shot tuning
DEVELOPMENT = dict( # corpus -> sets to tune on: none of those that its prompts are judged by in the end
    yelp5=("amazon", "nyt", "tweets", "alexa"), movie=("alexa",))


class Trial(NamedTuple):
    "A way to learn from a corpus."
    name: str
    learner: str            # a key of `starts.START_LEARNERS`
    settings: dict = {}     # of it
    rules: str = "one"      # a key of `rules.RULE_SETS`
    method: str = "kmeans"  # how the parts are made, a key of `cluster.METHODS`; "none" makes one part of all rows
    init: str = "vocab"     # where learning begins, as in `Backbone.init_prompt`
    restricted: bool = False # whether label words compete with each other alone
    seed: int = 0


def ppt(lr, batch, samples=4000, **more):
    return dict(lr=lr, batch_size=batch, samples=samples, validate_every=samples, select="last", **more)


def meta(lr, samples=4000, tasks=2, support=4, query=4, **more):
    return dict(
        lr=lr, tasks_per_step=tasks, support=support, query=query, samples=samples, validate_every=samples//2,
        select="last", **more)


TRIALS = [
    *(Trial(f"ppt {lr} {batch}", "ppt", ppt(lr, batch)) for lr in (.03, .1, .3) for batch in (4, 16)),
    *(Trial(f"maml {lr}", "maml", meta(lr)) for lr in (.03, .1, .3)),
    *(Trial(f"maml 0.3 alpha {alpha}", "maml", meta(.3, inner_lr=alpha)) for alpha in (.1, .3)),
    Trial("maml 10 tasks", "maml", meta(.1, tasks=10)),
    Trial("maml 16 rows", "maml", meta(.1, support=16)),
    Trial("maml 3 steps", "maml", meta(.1, inner_steps=3)),
    Trial("maml relative .01", "maml", meta(.1, relative=True, inner_lr=.01)),
    Trial("maml relative .03", "maml", meta(.1, relative=True, inner_lr=.03)),
    Trial("maml 0.3 relative .03", "maml", meta(.3, relative=True, inner_lr=.03)),
    Trial("rates", "metasgd", meta(.1)),
    Trial("first order", "fomaml", meta(.1)),
    Trial("no step", "alpha0", meta(.1)),
    Trial("pooled", "multitask", meta(.1)),
    Trial("constant", "ppt", ppt(.1, 16, schedule="constant")),
    Trial("text", "ppt", ppt(.1, 16), init="text"),
    Trial("ppt restricted", "ppt", ppt(.1, 16), restricted=True),
    *(Trial(f"maml restricted{more}", "maml", meta(lr), restricted=True) for lr, more in ((.1, ""), (.3, " 0.3"))),
    Trial("ppt sizes restricted", "ppt", ppt(.1, 16), "sizes", restricted=True),
    Trial("maml sizes restricted 0.3", "maml", meta(.3), "sizes", restricted=True),
    *(Trial(f"ppt {rules}", "ppt", ppt(.1, 16), rules) for rules in ("sizes", "words", "meanings", "all")),
    *(Trial(f"maml {rules} {method}", "maml", meta(.1), rules, method)
      for rules in ("sizes", "words", "meanings", "all") for method in ("kmeans", "random", "none")),
    Trial("ppt long", "ppt", ppt(.1, 16, 16000)), Trial("maml long", "maml", meta(.1, 16000)),
    *(Trial(f"{learner} sizes long", learner, settings, "sizes")
      for learner, settings in dict(ppt=ppt(.1, 16, 16000), maml=meta(.1, 16000)).items())]
TUNED = ("ppt 0.1 16", "maml 0.3 alpha 0.3", "ppt long", "maml long", "ppt sizes long", "maml sizes long",
         "ppt restricted", "maml restricted 0.3", "ppt sizes restricted", "maml sizes restricted 0.3")
AHEAD = ( # a prompt, and the rules of the tasks that it steps on
    ("ppt 0.1 16", "one"), ("maml 0.3 alpha 0.3", "one"), ("ppt 0.1 16", "sizes"),
    ("ppt sizes restricted", "sizes"), ("maml sizes restricted 0.3", "sizes"))


def corpus_rows(name):
    "Train rows and rows held out, of five classes each."
    dataset = load_dataset(name)
    if dataset.split is not None:
        train, dev = dataset.part("train"), dataset.part("dev")
        return balanced(train, min(ROWS, len(train))), balanced(dev, HELD_OUT)
    shuffled = dataset.rows(np.random.default_rng(0).permutation(len(dataset)))
    return shuffled.rows(range(HELD_OUT, len(shuffled))), shuffled.rows(range(HELD_OUT))


def parts_of(text, method):
    "Train and held-out rows of each part."
    if method == "none": return [np.split(np.random.default_rng(0).permutation(len(text)), [len(text)*19//20])]
    return split_tasks(make_tasks(text.texts, method, K, 0, text.labels))


def source_of(backbone, text, trial, most=None):
    "The tasks of a trial, with at most so many rows held out of each part."
    how = dict(max_length=LENGTH, restricted=trial.restricted)
    parts = [(train, held_out[:most]) for train, held_out in parts_of(text, trial.method)]
    made = ruled_tasks(backbone, text, parts, rule_set(trial.rules), **how)
    return clustered(backbone, made.batch, made.parts)


class Followed:
    "Looks at the held-out rows now and then while a prompt learns."
    def __init__(self, backbone, held_out, every):
        self.backbone, self.held_out, self.every = backbone, held_out, every
        self.rows, self.next = [], every

    @torch.no_grad()
    def look(self, prompt, **when):
        said = self.backbone.log_probs(prompt, self.held_out)
        found = scores(self.held_out.labels.numpy(), said.argmax(1).numpy())
        self.rows.append(when | losses_of(said, self.held_out)._asdict() | found)

    def __call__(self, trainer):
        if trainer.seen < self.next and trainer.used < trainer.budget: return
        self.next = trainer.seen + self.every
        self.look(trainer.prompt, seen=trainer.seen, step=trainer.step, seconds=round(trainer.seconds, 1))


def file_of(corpus, trial, ending=".json"):
    "Where a trial's row and curve lie; prompts that are tuned later beside them, all else in the folder of runs."
    kept = ending == ".json" or ending == ".safetensors" and trial.name in TUNED
    return (OUT/corpus/"trials" if kept else RUNS/corpus)/f"{trial.name.replace(' ', '-')}{ending}"


def gained_ahead(backbone, prompt, tasks, alphas, relative=False):
    "`Losses` of held-out rows of each task, less those after an inner step of each length on a few other rows of it."
    adapt, judged = zip(*tasks)
    turned, rows = RelativeStep(backbone.scale) if relative else None, concat(judged)
    here = slope(backbone, prompt.expand(len(adapt), *prompt.shape), adapt, regulariser=turned)

    @torch.no_grad()
    def lost(U): return losses_of(torch.cat(split_log_probs(backbone, U.detach(), judged)), rows)

    before = lost(here.U)
    stepped = [lost(here.step(alpha*backbone.scale**2)) for alpha in alphas]
    return [Losses(*(old - new for old, new in zip(before, after))) for after in stepped]


def look_ahead(backbone, prompt, source, trial):
    "What an inner step gains, of the loss that is trained and of the choice alone; none where α is not one number."
    settings = trial.settings
    if trial.learner in ("ppt", "metasgd"): return {}
    tasks, alphas = source.to_validate(settings["support"]), [settings.get("inner_lr", 1.)]
    gained, = gained_ahead(backbone, prompt, tasks, alphas, settings.get("relative", False))
    return dict(look_ahead=gained.full, choice_ahead=gained.choice)


def row_of(backbone, trial, run, found, source):
    "A trial's settings, what it cost, what a look ahead gains and what the gate says."
    ahead = look_ahead(backbone, run.prompt, source, trial)
    settings = {name: value for name, value in trial.settings.items() if name not in ("select", "validate_every")}
    return dict(
        trial=trial.name, learner=trial.learner, rules=trial.rules, method=trial.method, init=trial.init,
        restricted=trial.restricted, seed=trial.seed, **settings, seen=run.seen, updates=run.steps,
        seconds=round(run.seconds, 1), dtype=backbone.dtype_name,
        **ahead, **found._asdict(), learned=found.learned, date=time.strftime("%Y-%m-%d"))


def run_trial(corpus, trial):
    "Learn, follow, judge, store."
    backbone, (text, held_out) = Backbone.load(), corpus_rows(corpus)
    rows = under_rule(backbone, held_out, RULES["five"], max_length=LENGTH)
    start = backbone.init_prompt(L, trial.init, trial.seed, ASKED if trial.init == "text" else None)
    followed, checkpoint = Followed(backbone, rows, 1000), file_of(corpus, trial, ".pt")
    source = source_of(backbone, text, trial)
    followed.look(start, seen=0, step=0, seconds=0.)
    run = learn_from(
        backbone, start, source, trial.learner, checkpoint, on_step=followed, seed=trial.seed, **trial.settings)
    row = row_of(backbone, trial, run, gate(backbone, start, run.prompt, rows), source)
    save_prompt(file_of(corpus, trial, ".safetensors"), run.prompt, backbone, rows, method=trial.name)
    with atomic(file_of(corpus, trial)) as tmp: tmp.write_text(json.dumps(dict(row=row, curve=followed.rows)))
    checkpoint.unlink()


def collect(corpus):
    "Tables of all trials that are done."
    done = [json.loads(file_of(corpus, trial).read_text()) for trial in TRIALS if file_of(corpus, trial).exists()]
    if not done: return
    save_csv(OUT/corpus/"trials.csv", pd.DataFrame([one["row"] for one in done]).round(5))
    curves = [pd.DataFrame(one["curve"]).assign(trial=one["row"]["trial"]) for one in done]
    save_csv(OUT/corpus/"curves.csv", pd.concat(curves).round(5))


def main(corpus, names):
    unknown = sorted(set(names) - {trial.name for trial in TRIALS})
    if unknown: sys.exit(f"no trial {', '.join(unknown)}: there are {', '.join(trial.name for trial in TRIALS)}")
    for folder in (OUT/corpus/"trials", RUNS/corpus): folder.mkdir(parents=True, exist_ok=True)
    wanted = [trial for trial in TRIALS if not names or trial.name in names]
    left = [(corpus, trial) for trial in wanted if not file_of(corpus, trial).exists()]
    for _ in tqdm(run_jobs(run_trial, left, default_workers()), total=len(left), desc="trials", disable=None):
        collect(corpus)
    collect(corpus)
    text, held_out = corpus_rows(corpus)
    told = dict(
        planned=len(TRIALS), rows=len(text), held_out=len(held_out), n_tokens=L, max_length=LENGTH,
        data=dict(train=text.hash, held_out=held_out.hash), **environment(Backbone.load()))
    told["command"] = f"python bench/regime.py {corpus}" # each row has its own date
    with atomic(OUT/corpus/"settings.json") as tmp: tmp.write_text(json.dumps(told, indent=1))


def learned(corpus, name):
    "The start that a trial has left, the same for all seeds."
    prompt = load_prompt(file_of(corpus, Trial(name, ""), ".safetensors"))[0]
    return lambda seed: prompt


RESTRICTED = [trial.name for trial in TRIALS if trial.restricted]


def settling(start, rate):
    "A tuning at a rate that goes on until dev stops improving, of a prompt or of the whole model."
    config = TuneConfig(lr=rate, epochs=40, patience=5)
    return GridConfig(n_test=500, tune=config, full=config, restricted=start in RESTRICTED)


def asked(name, rule):
    "A rated set under a rule: its five classes as they are, or merged."
    dataset = load_dataset(name)
    if rule == "five": return dataset
    kept, labels = rows_under(dataset, RULES[rule])
    classes, few = RULES[rule].words, dataset.rows(kept)
    return replace(few, name=f"{name}, {len(classes)} classes", labels=labels, classes=classes)


def few_shot_groups(dataset, start, begin, rates, seeds):
    "The cells of a start at some rates, from a function from a seed to where it begins."
    for rate in rates:
        cells = [GridCell(f"{start} at {rate:g}", begin(seed), seed) for seed in seeds]
        yield from group_cells(dataset, cells, settling(start, rate))


def tune(corpus, wanted, file, rules=("five",)):
    "Few-shot tuning on development sets; `wanted`: name -> what `few_shot_groups` takes beside it."
    sets = [asked(name, rule) for rule in rules for name in DEVELOPMENT[corpus]]
    groups = [
        group for dataset in sets for start, how in wanted.items() for group in few_shot_groups(dataset, start, *how)]
    rows = run_groups(groups, Backbone.load(), RUNS/corpus/"tuned", default_workers())
    names = rows.method.str.rsplit(" at ", n=1, expand=True)
    save_csv(OUT/corpus/file, rows.assign(method=names[0], rate=names[1].astype(float)))


def vocabulary(seed): return Backbone.load().init_prompt(L, seed=seed)


def tune_rates(corpus):
    "Plain tuning, tuning from a learned prompt and full-model tuning at several rates."
    begins = {"PT": vocabulary, "ppt 0.1 16": learned(corpus, "ppt 0.1 16")}
    whole = {"FT": (lambda seed: None, FULL_RATES, (0,))} # takes several times as long
    tune(corpus, {name: (begin, RATES, (0, 1)) for name, begin in begins.items()} | whole, "rates.csv")


def gains_of(corpus, name, rules):
    "What inner steps of several lengths gain from a learned prompt, on tasks of some rules; a dict per length."
    backbone, trial = Backbone.load(), next(trial for trial in TRIALS if trial.name == name)
    other = trial._replace(rules=rules, method="kmeans")
    source, prompt, found = source_of(backbone, corpus_rows(corpus)[0], other, 30), learned(corpus, name)(0), []
    for support in SUPPORTS:
        gained = gained_ahead(backbone, prompt, source.to_validate(support), ALPHAS)
        found += [dict(trial=name, rules=rules, support=support, alpha=alpha, **gain._asdict())
                  for alpha, gain in zip(ALPHAS, gained)]
    return found


def measure_gains(corpus):
    "Gains of inner steps from the prompts of AHEAD."
    calls = [(corpus, *stepped) for stepped in AHEAD]
    done = dict(tqdm(run_jobs(gains_of, calls, default_workers()), total=len(calls), desc="gains", disable=None))
    rows = [row for which in range(len(calls)) for row in done[which]]
    save_csv(OUT/corpus/"ahead.csv", pd.DataFrame(rows).round(5))


def tune_starts(corpus):
    "Tuning at one rate from those of the prompts that are there."
    there = [trial.name for trial in TRIALS if file_of(corpus, trial, ".safetensors").exists()]
    begins = {"PT": vocabulary} | {name: learned(corpus, name) for name in TUNED if name in there}
    tune(corpus, {name: (begin, (RATE,), (0, 1)) for name, begin in begins.items()}, "tuned.csv", rule_set("sizes"))


if __name__ == "__main__":
    corpus, *names = sys.argv[1:]
    if names == ["starts"]: tune_starts(corpus)
    elif names == ["rates"]: tune_rates(corpus)
    elif names == ["gains"]: measure_gains(corpus)
    else: main(corpus, names)
