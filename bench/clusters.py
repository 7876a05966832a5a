"""Embeddings, clusters and maps at size: `make bench`, or this file alone, writes clusters.json and CLUSTERS.md here."""
import argparse, json, logging, multiprocessing, os, platform, resource, shlex, sys, tempfile, time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

import numpy as np
from tqdm.auto import tqdm

from metapt_nb.cluster import embed_texts, load_encoder, make_tasks, project
from metapt_nb.data import load_dataset, make_dataset, sentences
from metapt_nb.files import atomic, cache_dir, require

GiB, K = 2**30, 30 # K: the most tasks the explorer offers
MEMORY, TIME = dict(rows=100_000, peak_bytes=4*GiB), dict(rows=1_000_000, seconds=180) # the goals
MADE = f"`{shlex.join(['python', *sys.argv])}`, {time.strftime('%Y-%m-%d')}"


def some_texts(n):
    "n different sentences, a seeded draw from the IMDB reviews."
    d = make_dataset("imdb_sentences", sentences(load_dataset("imdb").texts)); require(n <= len(d), f"--texts {n}: there are {len(d)} different sentences; ask for at most that many")
    return [d.texts[i] for i in np.random.default_rng(0).permutation(len(d))[:n]]


def timed(f):
    start = time.perf_counter(); out = f(); return out, time.perf_counter() - start


def clusters(texts):
    "Embeddings and K-means in one process, as in use."
    load_encoder(); X, a = timed(lambda: embed_texts(texts)); tasks, b = timed(lambda: make_tasks(texts, k=K, embeddings=X)); n = len(texts)
    return [dict(what="sentence embeddings", rows=n, seconds=a, goal=MEMORY), dict(what=f"K-means of these, K = {K}, and words for each task", rows=n, seconds=b, goal=MEMORY)]


def topics(texts, workers):
    return [dict(what=f"LDA, K = {K}, {workers} worker{'s'*(workers > 1)}", rows=len(texts), seconds=timed(lambda: make_tasks(texts, "lda", k=K, workers=workers))[1], goal=MEMORY)]


def vectors(n):
    X = np.random.default_rng(0).standard_normal((n, 384), dtype=np.float32)
    return [dict(what=f"mini-batch K-means of random vectors of width 384, K = {K}", rows=n, seconds=timed(lambda: make_tasks(["vector"]*n, k=K, embeddings=X, mini_batch_above=min(100_000, n - 1)))[1], goal=TIME)]


def kept(X, xy, n=1000, k=10):
    "The share of the k nearest neighbours of n seeded points that are among the k nearest on the map."
    from sklearn.neighbors import NearestNeighbors
    some = np.random.default_rng(0).permutation(len(X))[:n]; near = lambda A: NearestNeighbors(n_neighbors=k + 1).fit(A).kneighbors(A[some], return_distance=False)[:, 1:]
    return np.mean([len(set(a) & set(b))/k for a, b in zip(near(X), near(xy))])


def picture(texts, how):
    X = embed_texts(texts); above = min(20_000, len(X)//2); xy, s = timed(lambda: project(X, how, above=above)) # the embeddings are stored by now
    what = dict(tsne=f"t-SNE of a sample of {above:,}, the others placed", opentsne="openTSNE of all")[how]
    return [dict(what=f"{what}; {kept(X, xy):.0%} of ten nearest neighbours kept", rows=len(X), seconds=s)]


def measure(f, *args):
    "The rows of `f` with the peak memory of this process and, for each worker, the peak of the largest."
    logging.basicConfig(); logging.getLogger("metapt_nb.cluster").setLevel(logging.INFO)
    rows = f(*args); own, = (int(line.split()[1])*1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    workers = args[1] if f is topics and args[1] > 1 else 0
    return [dict(r, peak_bytes=own + workers*resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss*1024) for r in rows]


def commands(made):
    "Which command measured what, from what -> `MADE`."
    return "; ".join(f"{how}: {', '.join(n for n, x in made.items() if x == how)}" for how in dict.fromkeys(made.values()))


def verdict(r):
    "The goal in words, and whether it is met at its size."
    if "goal" not in r: return "", ""
    g = r["goal"]; size = f"with {g['rows']:,}"
    said, ok = (f"under {g['seconds']} s {size}", r["seconds"] < g["seconds"]) if "seconds" in g else (f"under {g['peak_bytes']/GiB:.0f} GiB {size}", r["peak_bytes"] < g["peak_bytes"])
    return said, ("yes" if ok else "no") if r["rows"] >= g["rows"] else "fewer rows"


def table(r):
    lines = [f"# Clusters at size\n\n{commands({s['job']: s['made'] for s in r['steps']})}. {r['cores']} cores of {r['machine']}, " + ", ".join(f"{n} {v}" for n, v in r["versions"].items()) + ".\n",
             f"The texts are {r['texts']}. Each line is one call, made once. Peak memory is the resident memory of a process started for the step alone, libraries and data included; embeddings and their K-means share one, as in use. With LDA workers it is the main process and, for each worker, as much as the largest had: pages they share are counted each time.\n",
             "| | rows | seconds | rows per second | peak memory, GiB | goal | met |", "| --- | --- | --- | --- | --- | --- | --- |"]
    lines += [f"| {x['what']} | {x['rows']:,} | {x['seconds']:.1f} | {x['rows']/x['seconds']:,.0f} | {x['peak_bytes']/GiB:.2f} | {' | '.join(verdict(x))} |" for x in r["steps"]]
    return "\n".join(lines) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__); p.add_argument("--texts", type=int, default=100_000); p.add_argument("--vectors", type=int, default=1_000_000)
    p.add_argument("--only", nargs="+", default=(), choices=("clusters", "lda", "vectors", "maps"), help="measure these again, keep the rest as it is stored")
    p.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of clusters.json and CLUSTERS.md"); a = p.parse_args()
    stored = a.out/"clusters.json"; old = json.loads(stored.read_text())["steps"] if a.only else []
    r = dict(cores=os.cpu_count(), machine=platform.machine(), versions={n: version(n) for n in ("torch", "sentence-transformers", "scikit-learn", "gensim", "openTSNE")})
    texts = some_texts(a.texts); r |= dict(texts=f"{a.texts:,} different sentences of 5 to 40 words, drawn from the IMDB reviews", steps=[])
    jobs = dict(clusters=[(clusters, texts)], lda=[(topics, texts, 1), (topics, texts, 2)], vectors=[(vectors, a.vectors)], maps=[(picture, texts, "tsne"), (picture, texts, "opentsne")])
    if "maps" in a.only and "clusters" not in a.only: p.error("--only maps: needs clusters too, whose embeddings it draws")
    with tempfile.TemporaryDirectory() as d:
        for n in ("packages", "unpacked"): os.symlink(cache_dir(n), Path(d, n)) # a cache with the encoder and nothing else
        with patch.dict(os.environ, METAPT_CACHE=d):
            for name, calls in tqdm(jobs.items(), desc="clusters", disable=None):
                if a.only and name not in a.only: r["steps"] += [s for s in old if s["job"] == name]; continue
                for call in calls:
                    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool: r["steps"] += [dict(s, job=name, made=MADE) for s in pool.submit(measure, *call).result()]
    with atomic(stored) as tmp: tmp.write_text(json.dumps(r, indent=1))
    with atomic(a.out/"CLUSTERS.md") as tmp: tmp.write_text(table(r))
    print(table(r))


if __name__ == "__main__": main()
