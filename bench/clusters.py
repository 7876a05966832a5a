"""Embeddings, clusters and maps at size: `make bench`, or this file alone, writes clusters.json and CLUSTERS.md here.
"""
import argparse
import json
import logging
import multiprocessing
import os
import platform
import resource
import shlex
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

import numpy as np
from tqdm.auto import tqdm

from metapt_nb.cluster import make_tasks, project
from metapt_nb.data import load_dataset, make_dataset, sentences
from metapt_nb.embed import embed_texts, load_encoder
from metapt_nb.files import atomic, cache_dir, require

HERE = Path(__file__).parent
GiB = 2**30
K = 30 # the most tasks the explorer offers
MEMORY = dict(rows=100_000, peak_bytes=4*GiB) # the goals
TIME = dict(rows=1_000_000, seconds=180)
LIBRARIES = ("torch", "sentence-transformers", "scikit-learn", "gensim", "openTSNE")
MADE = f"`{shlex.join(['python', *sys.argv])}`, {time.strftime('%Y-%m-%d')}"


# What is measured: each step gives a list of lines, dicts of what, rows, seconds and perhaps a goal.

def some_texts(n):
    "n different sentences, a seeded draw from the IMDB reviews."
    found = make_dataset("imdb_sentences", sentences(load_dataset("imdb").texts))
    require(n <= len(found), f"--texts {n}: there are {len(found)} different sentences; ask for at most that many")
    return [found.texts[i] for i in np.random.default_rng(0).permutation(len(found))[:n]]


def timed(f):
    "What `f` returns, and its seconds."
    start = time.perf_counter()
    result = f()
    return result, time.perf_counter() - start


def clusters(texts):
    "Embeddings and K-means in one process, as in use."
    load_encoder() # not timed
    X, embedding = timed(lambda: embed_texts(texts))
    _, clustering = timed(lambda: make_tasks(texts, k=K, embeddings=X))
    what = f"K-means of these, K = {K}, and words for each task"
    return [
        dict(what="sentence embeddings", rows=len(texts), seconds=embedding, goal=MEMORY),
        dict(what=what, rows=len(texts), seconds=clustering, goal=MEMORY)]


def topics(texts, workers):
    "LDA in one process or several."
    _, seconds = timed(lambda: make_tasks(texts, "lda", k=K, workers=workers))
    what = f"LDA, K = {K}, {workers} worker{'s'*(workers > 1)}"
    return [dict(what=what, rows=len(texts), seconds=seconds, goal=MEMORY)]


def vectors(n):
    "Mini-batch K-means of n random vectors, a text of one word for each."
    X = np.random.default_rng(0).standard_normal((n, 384), dtype=np.float32)
    above = min(100_000, n - 1)
    _, seconds = timed(lambda: make_tasks(["vector"]*n, k=K, embeddings=X, mini_batch_above=above))
    what = f"mini-batch K-means of random vectors of width 384, K = {K}"
    return [dict(what=what, rows=n, seconds=seconds, goal=TIME)]


def kept(X, xy, n=1000, k=10):
    "The share of the k nearest neighbours of n seeded points that are among the k nearest on the map."
    from sklearn.neighbors import NearestNeighbors
    some = np.random.default_rng(0).permutation(len(X))[:n]
    def nearest(points):
        neighbours = NearestNeighbors(n_neighbors=k + 1).fit(points)
        return neighbours.kneighbors(points[some], return_distance=False)[:, 1:] # without the point itself
    return np.mean([len(set(a) & set(b))/k for a, b in zip(nearest(X), nearest(xy))])


def picture(texts, how):
    "A map of the texts, whose embeddings are stored by now."
    X = embed_texts(texts)
    above = min(20_000, len(X)//2)
    xy, seconds = timed(lambda: project(X, how, above=above))
    what = dict(tsne=f"t-SNE of a sample of {above:,}, the others placed", opentsne="openTSNE of all")[how]
    return [dict(what=f"{what}; {kept(X, xy):.0%} of ten nearest neighbours kept", rows=len(X), seconds=seconds)]


# How it is measured: each step in a process of its own, so that its peak memory is its own.

def peak_of_this_process():
    "Peak resident memory in bytes, as Linux counts it."
    line, = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])*1024


def measure(step, *args):
    "The lines of `step` with the peak memory of this process and, for each worker, the peak of the largest."
    logging.basicConfig()
    logging.getLogger("metapt_nb").setLevel(logging.INFO)
    lines = step(*args)
    workers = args[1] if step is topics and args[1] > 1 else 0
    of_workers = workers*resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss*1024
    return [dict(line, peak_bytes=peak_of_this_process() + of_workers) for line in lines]


@contextmanager
def fresh_cache():
    "A cache with the embedded packages and nothing else."
    with tempfile.TemporaryDirectory() as folder:
        for name in ("packages", "unpacked"): os.symlink(cache_dir(name), Path(folder, name))
        with patch.dict(os.environ, METAPT_CACHE=folder): yield


def run(calls):
    "The lines of some calls (step, *arguments), each in a new process."
    found = []
    for call in calls:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            found += pool.submit(measure, *call).result()
    return found


def measure_jobs(jobs, only, stored):
    "The lines of all jobs: those of `only` (or all) measured, the others as they are stored."
    found = []
    with fresh_cache():
        for job, calls in tqdm(jobs.items(), desc="clusters", disable=None):
            if only and job not in only: found += [line for line in stored if line["job"] == job]
            else: found += [dict(line, job=job, made=MADE) for line in run(calls)]
    return found


# How it is written down.

def commands(made):
    "Which command measured what, from what -> `MADE`."
    jobs_of = lambda command: ", ".join(job for job, by in made.items() if by == command)
    return "; ".join(f"{command}: {jobs_of(command)}" for command in dict.fromkeys(made.values()))


def verdict(line):
    "The goal in words, and whether it is met at its size."
    if "goal" not in line: return "", ""
    goal = line["goal"]
    if "seconds" in goal: said, met = f"{goal['seconds']} s", line["seconds"] < goal["seconds"]
    else: said, met = f"{goal['peak_bytes']/GiB:.0f} GiB", line["peak_bytes"] < goal["peak_bytes"]
    answer = "yes" if met else "no"
    return f"under {said} with {goal['rows']:,}", answer if line["rows"] >= goal["rows"] else "fewer rows"


def table_row(line):
    "One measured line in Markdown."
    rate = line["rows"]/line["seconds"]
    return (
        f"| {line['what']} | {line['rows']:,} | {line['seconds']:.1f} | {rate:,.0f} "
        f"| {line['peak_bytes']/GiB:.2f} | {' | '.join(verdict(line))} |")


def table(results):
    "CLUSTERS.md out of clusters.json."
    steps = results["steps"]
    made = commands({line["job"]: line["made"] for line in steps})
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    head = [
        f"# Clusters at size\n\n{made}. {results['cores']} cores of {results['machine']}, {versions}.\n",
        f"The texts are {results['texts']}. Each line is one call, made once. Peak memory is the resident memory of "
        "a process started for the step alone, libraries and data included; embeddings and their K-means share one, "
        "as in use. With LDA workers it is the main process and, for each worker, as much as the largest had: "
        "pages they share are counted each time.\n",
        "| | rows | seconds | rows per second | peak memory, GiB | goal | met |",
        "| --- | --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *map(table_row, steps)]) + "\n"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument(
        "--only", nargs="+", default=(), choices=("clusters", "lda", "vectors", "maps"),
        help="measure these again, keep the rest as it is stored")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of clusters.json and CLUSTERS.md")
    args = parser.parse_args()
    if "maps" in args.only and "clusters" not in args.only:
        parser.error("--only maps: needs clusters too, whose embeddings it draws")
    return args


def main():
    args = arguments()
    file = args.out/"clusters.json"
    stored = json.loads(file.read_text())["steps"] if args.only else []
    texts = some_texts(args.texts)
    jobs = dict(
        clusters=[(clusters, texts)],
        lda=[(topics, texts, 1), (topics, texts, 2)],
        vectors=[(vectors, args.vectors)],
        maps=[(picture, texts, "tsne"), (picture, texts, "opentsne")])
    results = dict(
        cores=os.cpu_count(), machine=platform.machine(),
        versions={name: version(name) for name in LIBRARIES},
        texts=f"{args.texts:,} different sentences of 5 to 40 words, drawn from the IMDB reviews",
        steps=measure_jobs(jobs, args.only, stored))
    with atomic(file) as tmp: tmp.write_text(json.dumps(results, indent=1))
    with atomic(args.out/"CLUSTERS.md") as tmp: tmp.write_text(table(results))
    print(table(results))


if __name__ == "__main__": main()
