"""Tasks of every kind, tuned from a few samples; finished cells are kept, a killed run goes on.

python bench/anything.py FOLDER           all of them; FOLDER holds the published sets, one folder each
python bench/anything.py FOLDER rte obqa  some of them
python bench/anything.py . t5 smollm2     those of packages alone, which need no folder
"""
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np, pandas as pd

from metapt_nb.backbone import Backbone
from metapt_nb.data import few_shot, load_dataset
from metapt_nb.evaluate import CellGroup, GridCell, GridConfig, run_groups
from metapt_nb.files import atomic
from metapt_nb.formats import unify
from metapt_nb.readers import read_rows, to_dataset
from metapt_nb.t5 import keep_freed_memory
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
    return GridConfig(n_train, n_dev, n_test, max_length=64, tune=TuneConfig(epochs=epochs))


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
    test = few_shot(dataset, config.n_train, config.n_dev, seed, config.n_test).test
    options = [len(dataset.options[row]) if dataset.options else len(dataset.classes) for row in test]
    return dict(
        dataset=dataset.name, seed=seed, rows=len(dataset), options=max(options),
        majority=np.bincount(dataset.labels[test]).max()/len(test), chance=np.mean(1/np.array(options)))


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


if __name__ == "__main__":
    keep_freed_memory()
    folder, *names = sys.argv[1:]
    for name in names or STUDIES: print(run(name, folder).round(3).to_string())
