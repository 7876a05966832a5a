"""Commands of the package, each in a process that is forked from one in which everything is imported.

Importing takes seconds and a miniature command less: so one process imports, and each command runs in a copy of it,
in a folder of its own, with its own standard output and error, cache, and temporary files.
"""
import atexit
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

LARGE = ("packages", "unpacked", "backbone") # of the cache: read by all rounds alike
UNSET = ("METAPT_POOL", "METAPT_SETS", "METAPT_DATA")


@dataclass(frozen=True)
class Command:
    "A command line that leaves all its results in the folder `out`."
    name: str        # of its column
    words: tuple
    ranks: int = 1   # processes that take each step together
    workers: int = 1 # processes that it starts itself
    weight: float = 1. # how often it is drawn
    hungry: bool = False # whether it takes memory of note

    @property
    def several(self): return self.ranks > 1 or self.workers > 1


MINIATURE = ("--backbone", "tiny", "--n-tokens", "4", "--out", "out/p.safetensors")
CLUSTERS = ("meta-train", "in/own.csv", *MINIATURE, "--k", "3")
RANDOM = (*CLUSTERS, "--method", "random", "--samples", "1000")
PREDICT = ("predict", "--prompt", "in/p.safetensors", "--out", "out/rows.tsv", "--file")
STUDIES = dict(
    demo=("demo", "--smoke", "--no-report", "--out", "out"),
    paper=("paper", "figure2", "--only", "PT,PPT(Y)", "--scale", "smoke",
           "--folder", "in/toy", "--out", "out"),
    cross_task=("cross-task", "--setting", "nonqa_to_qa", "--scale", "smoke", "--starts", "PT,FT,maml",
                "--out", "out"),
    supmer=("supmer", "--scale", "smoke", "--starts", "PT;SUPMER", "--out", "out"))


def _study(key, workers, weight):
    words = *STUDIES[key], "--workers", str(workers)
    return Command(key.replace("_", "-"), words, workers=workers, weight=weight, hungry=key != "cross_task")


COMMANDS = {
    "embed": Command("embed", ("embed",), weight=2., hungry=True),
    "meta-train, random": Command("meta-train", RANDOM, weight=2.),
    "meta-train, clusters": Command("meta-train", (*CLUSTERS, "--samples", "300"), hungry=True),
    "meta-train, raw text": Command(
        "meta-train", ("meta-train", "in/raw", *MINIATURE, "--tasks", "selfsup", "--k", "6", "--learner", "supmer",
                       "--samples", "100", "--support", "2", "--query", "2"), hungry=True),
    "meta-train, pool": Command(
        "meta-train", ("meta-train", "in/pool", *MINIATURE, "--tasks", "pool", "--learner", "reptile",
                       "--samples", "500"), weight=2.),
    "meta-train, two ranks": Command("meta-train", (*RANDOM, "--tasks-per-step", "0"), ranks=2, weight=.7),
    "PPT": Command("PPT", (*RANDOM, "--ppt"), weight=2.),
    "tune": Command(
        "tune", ("tune", "in/own.csv", *MINIATURE, "--n-train", "20", "--n-dev", "20", "--epochs", "2"), weight=2.),
    "predict, text": Command("predict", (*PREDICT, "in/texts.txt")),
    "predict, table": Command("predict", (*PREDICT, "in/texts.csv")),
    "demo": _study("demo", 1, .5), "demo, two workers": _study("demo", 2, .04),
    "paper": _study("paper", 1, .4), "paper, two workers": _study("paper", 2, .02),
    "cross-task": _study("cross_task", 1, .8), "cross-task, two workers": _study("cross_task", 2, .06),
    "supmer": _study("supmer", 1, .5), "supmer, two workers": _study("supmer", 2, .02),
}


# What every round reads

def embed(
    *,
    out: str = "out", # folder of the vectors
):
    "Embed some sentences in parts."
    from metapt_nb.data import load_dataset
    from metapt_nb.embed import embed_texts
    from metapt_nb.files import save_array
    texts = load_dataset("amazon").texts[:160]
    save_array(Path(out)/"vectors.npy", embed_texts(texts, batch_size=8, part=3))


def import_all():
    "Import, load and compile what commands need, as one thread."
    os.environ["NUMBA_THREADING_LAYER"] = "workqueue" # numba's other layers forbid a fork
    import torch
    torch.set_num_threads(1)
    import accelerate, matplotlib.pyplot, tqdm # noqa: imported for the commands
    tqdm.tqdm.monitor_interval = 0 # its thread would not outlive a fork
    tqdm.tqdm.set_lock(threading.RLock()) # its own is shared by all forks: one that is killed may hold it
    from metapt_nb import cli, crosstask, demo, experiments, regulariser, starts, supmer_study # noqa: likewise
    from metapt_nb.cluster import project
    from metapt_nb.embed import load_encoder
    load_encoder()
    project(torch.randn(80, 8).numpy(), "umap") # which compiles it
    cli.COMMANDS["embed"] = embed
    assert threading.active_count() == 1


def write_inputs(folder):
    "The files that commands read."
    import pandas as pd
    from metapt_nb.backbone import Backbone
    from metapt_nb.pool import write_toy_pool
    from metapt_nb.prompts import save_prompt
    from metapt_nb.upstream import write_toy
    write_toy(folder/"toy", n=24)
    write_toy_pool(folder/"pool")
    rows = [dict(text=f"{('bad', 'good')[i % 2]} film {i}", label=i % 2) for i in range(120)]
    pd.DataFrame(rows).to_csv(folder/"own.csv", index=False)
    texts = [f"{('bad', 'good')[i % 2]} film {i}" for i in range(8000)]
    (folder/"texts.txt").write_text("\n".join(texts) + "\n")
    pd.DataFrame(dict(text=texts)).to_csv(folder/"texts.csv", index=False)
    about = "film food room phone book song game town".split()
    documents = [" ".join(f"The {about[i % 8]} was a {word} in the year {i}." for word in about) for i in range(64)]
    (folder/"raw").mkdir()
    for i, text in enumerate(documents): (folder/"raw"/f"{i}.txt").write_text(text)
    backbone = Backbone.tiny()
    batch = backbone.encode(texts[:2], words=("bad", "good"))
    save_prompt(folder/"p.safetensors", backbone.init_prompt(4), backbone, batch)


def furnish(place, inputs):
    "A folder to run in: inputs, and a cache whose large files are everybody's."
    from metapt_nb.files import cache_dir
    for name in ("cache", "tmp", "home"): (place/name).mkdir(parents=True, exist_ok=True)
    if not (place/"in").is_symlink(): (place/"in").symlink_to(inputs)
    for name in LARGE:
        if not (place/"cache"/name).is_symlink(): (place/"cache"/name).symlink_to(cache_dir(name))


# Processes

def _enter(place, said, rank):
    "Make this process one that a user has started in `place`."
    os.setpgid(0, 0)
    os.chdir(place)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, stream in ((1, "stdout"), (2, "stderr")):
        file = os.open(f"{said}-{rank}.{stream}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(file, number)
    for name in UNSET: os.environ.pop(name, None)
    os.environ |= dict(METAPT_CACHE=str(place/"cache"), HOME=str(place/"home"), TMPDIR=str(place/"tmp"))
    import tempfile
    tempfile.tempdir = None # is found anew


def _draw_anew():
    "No result may depend on the state of a generator that nobody has seeded."
    import random
    import numpy as np
    import torch
    random.seed()
    np.random.seed()
    torch.seed()


def _ended(words):
    "The exit code of the command in this process, which ends as an interpreter does."
    from metapt_nb.cli import main
    sys.argv = ["metapt", *words]
    # a worker imports the module that was started: a command's imports next to nothing
    sys.modules["__main__"].__dict__.pop("__file__", None)
    try: code = main(list(words))
    except SystemExit as e: code = e.code if isinstance(e.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    return code


def peak_memory():
    "The largest size of this process's address space so far, in bytes."
    status = Path("/proc/self/status").read_text()
    return 1024*int(status.split("VmPeak:")[1].split()[0])


def _run(command, place, said, rank, port, prepare):
    try:
        _enter(place, said, rank)
        if command.ranks > 1:
            os.environ |= dict(
                RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(command.ranks),
                MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        _draw_anew()
        if prepare: prepare()
        code = _ended(command.words)
        Path(f"{said}-{rank}.peak").write_text(str(peak_memory()))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)


def _free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children_of(pid):
    "The workers of a process."
    try: found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError: return []
    return [int(child) for child in found if b"popen_loky" in _words_of(child)]


def _words_of(pid):
    try: return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError: return b""


def members(group):
    "The processes of a group that are still there."
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try: state, _, own = (folder/"stat").read_text().rpartition(")")[2].split()[:3]
        except OSError: continue
        if int(own) == group and state != "Z": found.append(int(folder.name))
    return found


def work_of(pid):
    "Seconds of the processor that a process has used so far."
    try: ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError: return 0.
    return sum(map(int, ticks))/os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Ended:
    "How a process ended."
    code: int # negative: the signal
    said: str # on standard error


class Running:
    "A command's processes, one for each rank."
    def __init__(self, command, place, said, prepare=None):
        self.command, self.place, self.said = command, place, said
        self.began, self.codes, self.late, self.work = time.monotonic(), {}, False, 0.
        port = _free_port() if command.ranks > 1 else 0
        self.pids = []
        for rank in range(command.ranks):
            pid = os.fork()
            if not pid: _run(command, place, said, rank, port, prepare)
            self.pids.append(pid)

    def gone(self):
        "Whether all of its processes have ended."
        for pid in self.pids:
            if pid in self.codes: continue
            done, status, used = os.wait4(pid, os.WNOHANG)
            if not done: continue
            self.codes[pid] = os.waitstatus_to_exitcode(status)
            self.work += used.ru_utime + used.ru_stime
        return len(self.codes) == len(self.pids)

    def until(self, seconds):
        "Wait until so many seconds after its beginning; whether it was still there."
        while not self.gone():
            left = self.began + seconds - time.monotonic()
            if left <= 0: return True
            time.sleep(min(left, .01))
        return False

    def until_work(self, seconds):
        "Wait until it has used so much of the processor; whether it was still there."
        while not self.gone():
            if sum(work_of(member) for pid in self.pids for member in members(pid)) >= seconds: return True
            time.sleep(.002)
        return False

    def kill(self, pid, number):
        "Send a signal; whether there was anyone to take it."
        if self.gone() or pid in self.codes: return False
        try: os.kill(pid, number)
        except ProcessLookupError: return False
        return True

    def wait(self, limit):
        "Wait for its end, which is forced after `limit` seconds; an `Ended` of each rank."
        self.late = self.until(time.monotonic() - self.began + limit)
        if self.late: self.end()
        while not self.gone(): time.sleep(.01)
        self.seconds = time.monotonic() - self.began
        self._written_down()
        return [Ended(self.codes[pid], self._heard(rank)) for rank, pid in enumerate(self.pids)]

    def _written_down(self, patience=1.):
        "Wait until those that write down what it said have come to their end."
        end = time.monotonic() + patience
        def writing(): return any(_words_of(one) == b"cat\0" for pid in self.pids for one in members(pid))
        while writing() and time.monotonic() < end: time.sleep(.005)

    def _heard(self, rank):
        file = Path(f"{self.said}-{rank}.stderr")
        return file.read_text(errors="replace") if file.exists() else ""

    def end(self):
        "Kill whatever is there of it."
        for pid in self.pids:
            for member in members(pid): os.kill(member, signal.SIGKILL)

    def remaining(self, patience=15.):
        "Processes that are still there some seconds after its end; they are killed."
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if not any(members(pid) for pid in self.pids): return []
            time.sleep(.05)
        found = [member for pid in self.pids for member in members(pid)]
        self.end()
        return found


def limit_address_space(more):
    "Let this process have at most `more` bytes beyond what it has."
    has = 4096*int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (has + more, resource.RLIM_INFINITY))


def limit_file_size(size):
    "Let this process write no file beyond `size` bytes, but for what it says, which another writes down."
    for number in (1, 2):
        writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=number)
        os.dup2(writer.stdin.fileno(), number)
        writer.stdin.close()
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def set_clock_back(seconds):
    "Let `time.time` of this process tell an earlier time."
    tell, tell_ns = time.time, time.time_ns
    time.time = lambda: tell() - seconds
    time.time_ns = lambda: tell_ns() - int(seconds*1e9)
