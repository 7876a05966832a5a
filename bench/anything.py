"""Tasks of every kind, tuned from a few samples; finished cells are kept, a killed run goes on.

python bench/anything.py FOLDER           all of them; FOLDER holds the published sets, one folder each
python bench/anything.py FOLDER rte obqa  some of them
python bench/anything.py . t5 smollm2     those of packages alone, which need no folder
python bench/anything.py FOLDER commands  what `metapt tune` and `metapt predict` say on each kind of task
"""
import subprocess, sys, tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np, pandas as pd

from metapt_nb.backbone import Backbone
from metapt_nb.data import few_shot, load_dataset
from metapt_nb.evaluate import CellGroup, GridCell, GridConfig, run_groups
from metapt_nb.files import atomic
from metapt_nb.formats import unify
from metapt_nb.readers import read_rows, to_dataset
from metapt_nb.t5 import keep_freed_memory
from metapt_nb.statistics import chance, majority
from metapt_nb.tune import TuneConfig
from metapt_nb.upstream import PARTS

OUT = Path(__file__).parents[1]/"nbs"/"results"/"anything"
SEEDS = (0, 1)


@dataclass(frozen=True)
class Study:
    "Data sets on a backbone, at one size."
    sets: object              # function (folder) -> data sets
    config: GridConfig
    backbone: str = "embedded"


def published(name, path):
    "A set in its published format."
    return lambda folder: [to_dataset(read_rows(folder/path), name)]


def entailment(folder):
    "RTE; its test labels were never published, so that its development part is tested on."
    dataset = to_dataset(read_rows(folder/"nli"/"rte"), "rte")
    return [replace(dataset, split=np.where(dataset.split == PARTS.index("dev"), PARTS.index("test"), dataset.split))]


QUESTIONS = published("openbookqa", "arc_obqa/openbookqa")


def lettered(folder):
    "The same questions in PPT's unified form."
    return [unify(dataset) for dataset in QUESTIONS(folder)]


def of_packages(folder):
    "What comes with a package: movie sentences of two classes, product reviews of five."
    return [load_dataset(name) for name in ("rotten_tomatoes", "amazon")]


def size(n_train, n_dev, n_test=300, epochs=30):
    return GridConfig(n_train, n_dev, n_test, max_length=64, tune=TuneConfig(epochs=epochs), draw="balanced")


STUDIES = dict(
    phrasebank=Study(published("phrasebank", "financial_phrasebank"), size(48, 48)),
    rte=Study(entailment, size(32, 32)),
    obqa=Study(QUESTIONS, size(32, 32)),
    obqa_per_piece=Study(QUESTIONS, replace(size(32, 32), per_piece=True)),
    obqa_unified=Study(lettered, size(32, 32)),
    banking77=Study(published("banking77", "banking77"), size(2*77, 77, 200, epochs=15)),
    t5=Study(of_packages, size(16, 16, 200)),
    smollm2=Study(of_packages, size(16, 16, 200), "smollm2"))


def yardstick(dataset, config, seed):
    "What the accuracy of a cell is to be compared with, on its own test rows."
    test = few_shot(dataset, config.n_train, config.n_dev, seed, config.n_test, config.draw).test
    options = [len(dataset.options[row]) if dataset.options else len(dataset.classes) for row in test]
    return dict(
        dataset=dataset.name, seed=seed, rows=len(dataset), options=max(options),
        majority=majority(dataset.labels[test]), chance=chance(options))


def run(name, folder):
    "The rows of a study, one per data set and seed; beside them the yardsticks."
    study = STUDIES[name]
    sets = study.sets(Path(folder))
    yardsticks = pd.DataFrame([yardstick(dataset, study.config, seed) for dataset in sets for seed in SEEDS])
    with atomic(OUT/name/"yardsticks.csv") as tmp: yardsticks.to_csv(tmp, index=False)
    backbone = Backbone.load(study.backbone)
    groups = []
    for dataset in sets:
        cells = [GridCell("PT", backbone.init_prompt(seed=seed), seed) for seed in SEEDS]
        groups += [CellGroup(dataset, [cell], study.config) for cell in cells]
    return run_groups(groups, backbone, OUT/name)


class Command(NamedTuple):
    "A prompt tuned by the command, and a table that it is asked about."
    tune: str     # words behind `metapt tune`; {folder} holds the published sets
    asked: dict   # column -> made-up values
    predict: str = "" # further words behind `metapt predict`


COMMANDS = dict(
    three_classes=Command(
        "{folder}/financial_phrasebank --draw balanced --n-train 48 --n-dev 48 --n-test 300",
        dict(text=[
            "Orders fell by a third and the second shift was cut.", "The head office is in the old harbour.",
            "Sales grew in all regions, and the dividend will be raised."])),
    pairs=Command(
        "{folder}/nli/rte --draw balanced --n-train 32 --n-dev 32 --n-test 277 --max-length 96",
        dict(
            premise=["A storm closed the harbour on Monday.", "The museum opens at ten and closes at six."],
            hypothesis=["The harbour was closed.", "The museum is open all night."])),
    options=Command(
        "{folder}/arc_obqa/openbookqa --per-piece --draw balanced --n-train 32 --n-dev 32 --n-test 250",
        dict(
            question=["A pond freezes over when it is", "Bees visit flowers to gather"],
            a=["very cold", "stones"], b=["very loud", "nectar"], c=["at noon", "moonlight"]),
        "--options a,b,c"),
    intents=Command(
        "{folder}/banking77 --draw balanced --n-train 154 --n-dev 77 --n-test 200 --epochs 10",
        dict(text=["My new card has still not come in the post.", "Why did you charge me for taking out cash?"])),
    causal=Command(
        "rotten_tomatoes --backbone smollm2 --draw balanced --n-train 16 --n-dev 16 --n-test 200 --epochs 10",
        dict(text=["A warm and funny film.", "Two hours that I want back."])))


def said(words, **places):
    "A command line and what it says, in one text."
    done = subprocess.run(
        [Path(sys.executable).with_name("metapt"), *words.format(**places).split()], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode: sys.exit(f"metapt {words.format(**places)}: failed\n{done.stdout}")
    lines = [line for line in done.stdout.splitlines() if line and "it/s]" not in line] # no progress bars
    return "\n".join([f"$ metapt {words.format(folder='FOLDER', out='.')}", *lines, ""])


def transcribe(folder):
    "Each command tuned and asked; a text file each, those that are there are left."
    for name, command in COMMANDS.items():
        path = OUT/"commands"/f"{name}.txt"
        if path.exists(): continue
        with tempfile.TemporaryDirectory() as out:
            pd.DataFrame(command.asked).to_csv(f"{out}/asked.csv", index=False)
            places = dict(folder=folder, out=out)
            text = said(f"tune {command.tune} --out {{out}}/{name}.safetensors", **places)
            text += "\n" + said(
                f"predict --prompt {{out}}/{name}.safetensors --file {{out}}/asked.csv {command.predict}", **places)
            with atomic(path) as tmp: tmp.write_text(text.replace(f"{out}/", "").replace(str(folder), "FOLDER"))
        print(path.read_text())


if __name__ == "__main__":
    keep_freed_memory()
    folder, *names = sys.argv[1:]
    if names == ["commands"]: transcribe(folder)
    else:
        for name in names or STUDIES: print(run(name, folder).round(3).to_string())
