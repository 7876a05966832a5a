"""Thousands of faults, drawn with a seed: a command is disturbed, run again, and must end as if nothing had been.

`make trust`, or `python bench/trust.py --rounds 1000 --seed 0`, goes on where it was stopped; `--round 123` repeats
one round and keeps its folder. Each round is a line of `rounds.jsonl` in runs/trust; bench/TRUST.md has their table.
"""
import argparse
import gc
import gzip
import hashlib
import io
import json
import math
import os
import shutil
import sys
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from faults import FAULTS, NEED, Scene, Struck, free_disk
from forks import COMMANDS, LARGE, Running, furnish, import_all, write_inputs

HERE = Path(__file__).parent
RUNS = Path("runs/trust").resolve()
PATIENCE = 60 # times as long as a command takes undisturbed until it counts as hanging
TIMES = ("seconds", "date", "digest") # ends of names: digests are over the others too
LIKELIER = dict(SIGKILL=.2, SIGTERM=.2) # added to the weight of a command of several processes
DRAWN_IN_SECONDS = ("out/curves.png",)
BEGIN, END = "<!-- faults -->", "<!-- end of faults -->"


# What a command leaves

def _untimed(value):
    "A JSON value without what tells the time, or depends on it."
    if hasattr(value, "tolist"): return value.tolist()
    if isinstance(value, (list, tuple)): return [_untimed(one) for one in value]
    if not isinstance(value, dict): return value
    return {name: _untimed(one) for name, one in value.items() if not str(name).endswith(TIMES)}


def _table(content):
    import pandas as pd
    table = pd.read_csv(io.BytesIO(content))
    return _untimed(json.loads(table.to_json(orient="columns", double_precision=15)))


def _prompt(content):
    from safetensors.torch import load
    size = int.from_bytes(content[:8], "little")
    notes = json.loads(content[8:8 + size]).get("__metadata__", {})
    cards = {name: _untimed(json.loads(note)) if note.startswith("{") else None for name, note in notes.items()}
    return [cards, {name: tensor.tolist() for name, tensor in load(content).items()}]


def _checkpoint(content):
    import torch
    return _untimed(torch.load(io.BytesIO(content), weights_only=True))


READERS = {
    ".csv": _table, ".gz": lambda content: _table(gzip.decompress(content)),
    ".json": lambda content: _untimed(json.loads(content)), ".safetensors": _prompt, ".pt": _checkpoint}


def same(one, two, name=""):
    "Whether two values are equal; what is fitted, within a thousandth."
    from metapt_nb.evaluate import FITTED
    if type(one) is not type(two): return False
    if isinstance(one, dict): return one.keys() == two.keys() and all(
        same(one[key], two[key], name if name in FITTED else key) for key in one)
    if isinstance(one, list): return len(one) == len(two) and all(same(a, b, name) for a, b in zip(one, two))
    if name in FITTED and isinstance(one, float): return math.isclose(one, two, rel_tol=1e-3)
    return one == two


def files_of(place):
    "All that a command has left, by its name: results, cache and temporary files."
    found = {}
    for top in ("out", "cache", "tmp", "home"):
        for file in sorted((place/top).rglob("*")):
            name = file.relative_to(place)
            if file.is_file() and not (top == "cache" and name.parts[1] in LARGE): found[str(name)] = file
    return found


def unlike(place, reference):
    "What differs from an undisturbed run, one line each."
    own, other = files_of(place), files_of(reference)
    found = [f"stray file {name}" for name in own.keys() - other.keys()]
    found += [f"lacks {name}" for name in other.keys() - own.keys()]
    for name in sorted(own.keys() & other.keys()):
        contents = own[name].read_bytes(), other[name].read_bytes()
        if contents[0] == contents[1] or name in DRAWN_IN_SECONDS: continue
        read = READERS.get(own[name].suffix)
        if read is None or not same(*map(read, contents)): found.append(f"{name} differs")
    return found


def finished(place):
    "The cells and prompts that are there: what is in each, and when it was written."
    files = [*(place/"out"/"cells").glob("*.json"), *(place/"out"/"prompts").glob("*.safetensors")]
    # where a finished training keeps its checkpoint, its prompt is no more than a copy
    copies = {file.stem for file in (place/"out"/"checkpoints").glob("*.pt")}
    found = {}
    for file in files:
        if file.name.startswith("."): continue
        written = () if file.stem in copies else (file.stat().st_ino, file.stat().st_mtime_ns)
        found[file] = hashlib.sha256(file.read_bytes()).hexdigest(), *written
    return found


# How it runs undisturbed

@dataclass(frozen=True)
class Reference:
    "An undisturbed run."
    seconds: float
    work: float  # seconds of the processor
    room: int    # bytes on a disk
    longest: int # bytes of a file
    memory: int  # bytes of address space beyond what it begins with


def room_of(place):
    "The bytes that a command's files take on a disk, in whole pages."
    found = 0
    for file in files_of(place).values():
        try: found += 4096*-(-file.stat().st_size//4096)
        except FileNotFoundError: pass
    return found


def _began_with(): return 4096*int(Path("/proc/self/statm").read_text().split()[0])


class Campaign:
    "Rounds of one seed with one version of the package."
    def __init__(self, seed):
        self.seed, self.inputs = seed, RUNS/"inputs"
        self.folder = RUNS/f"{version_of_package()}-{seed}"
        self.log = self.folder/"rounds.jsonl"
        if not self.inputs.exists():
            shutil.rmtree(RUNS/"inputs.new", ignore_errors=True)
            (RUNS/"inputs.new").mkdir(parents=True)
            write_inputs(RUNS/"inputs.new")
            (RUNS/"inputs.new").rename(self.inputs)

    def rounds(self):
        "What was found so far, by the number of the round."
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return {row["round"]: row for row in map(json.loads, lines)}

    def place(self, *parts):
        "An empty, furnished folder."
        place = self.folder.joinpath(*parts)
        free_disk(place)
        shutil.rmtree(place.parent, ignore_errors=True)
        furnish(place, self.inputs)
        return place

    def reference(self, key):
        "The undisturbed run of a command, run once."
        facts = self.folder/"undisturbed"/key/"facts.json"
        if facts.exists(): return Reference(**json.loads(facts.read_text()))
        place, before = self.place("undisturbed", key, "place"), _began_with()
        running, rooms = Running(COMMANDS[key], place, place.parent/"said"), [0]
        while running.until(time.monotonic() - running.began + .02): rooms.append(room_of(place))
        ended = running.wait(0)
        assert all(one.code == 0 for one in ended), f"{key} fails undisturbed:\n{ended[0].said}"
        longest = max(file.stat().st_size for file in files_of(place).values())
        peak = place.parent/"said-0.peak" # a rank leaves none
        memory = int(peak.read_text()) - before if peak.exists() else 0
        found = Reference(running.seconds, running.work, max(rooms), longest, memory)
        facts.write_text(json.dumps(asdict(found)))
        return found

    def undisturbed(self, key): return self.folder/"undisturbed"/key/"place"

    def play(self, number):
        "One round, as a row."
        began, rng = time.monotonic(), np.random.default_rng([self.seed, number])
        fault, key = draw(number, rng)
        reference, place = self.reference(key), self.place("rounds", str(number), "place")
        limit = max(120, PATIENCE*reference.seconds)
        scene = Scene(COMMANDS[key], place, place.parent/"said", reference, rng, limit)
        try:
            struck = FAULTS[fault](scene)
            findings = heard(struck) + self.again(key, scene, struck)
        finally: # as for one who stops the campaign
            scene.end()
            free_disk(place)
        row = dict(
            round=number, fault=fault, command=key, struck=struck.struck, codes=struck.codes,
            findings=findings)
        if not findings: shutil.rmtree(place.parent)
        return row | dict(seconds=round(time.monotonic() - began, 1))

    def again(self, key, scene, struck):
        "Run the command once more: what is not as it should be then."
        before = finished(scene.place)
        if struck.damaged: # what was made with it may be made again with it
            stem = struck.damaged.name.partition(".")[0]
            before = {file: what for file, what in before.items() if file.name.partition(".")[0] != stem}
        told = _again(scene, "again", struck)
        found = heard(told)
        named = struck.damaged and told.ended[0].code == 2 and named_file(told.ended[0].said, scene.place)
        if named and struck.damaged.name.startswith(named.name): # what a record says is said of what it records
            for file in (struck.damaged, named): file.unlink(missing_ok=True)
            told = _again(scene, "third", struck)
            found += heard(told)
        found += [f"run again, ends with {one.code}: {one.said[-300:]}" for one in told.ended if one.code != 0]
        if found: return found
        now = finished(scene.place)
        found += [f"{file.name} was made twice" for file in before if now.get(file) != before[file]]
        return found + unlike(scene.place, self.undisturbed(key))


def _again(scene, name, struck):
    running = scene.start(name, struck.prepare)
    ended = running.wait(scene.limit)
    return Struck(False, ended, left=running.remaining(), late=running.late)


def heard(told):
    "What is wrong with how processes ended and with what they said."
    found = ["had to be killed after a long time"] if told.late else []
    found += [f"{len(told.left)} processes outlived it"] if told.left else []
    for one in told.ended:
        lines = [line for line in one.said.splitlines() if line.startswith("metapt: ")]
        if "Traceback" in one.said or "Exception ignored" in one.said:
            found.append(f"traceback, code {one.code}: {one.said.strip().splitlines()[-1][:300]}")
        elif one.code < 0 and -one.code != told.sent:
            found.append(f"ends by signal {-one.code} and says {one.said[-300:]!r}")
        elif one.code > 0 and (one.code not in (2, 3) or len(lines) != 1):
            found.append(f"ends with {one.code} and says {one.said[-300:]!r}")
    return found


def named_file(said, place):
    "The file that a message begins with."
    lines = [line for line in said.splitlines() if line.startswith("metapt: ")]
    return place/lines[0].removeprefix("metapt: ").partition(": ")[0] if lines else None


def version_of_package():
    "A digest of the package's modules: other code, another campaign."
    import metapt_nb
    files = sorted(Path(metapt_nb.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:10]


def draw(number, rng):
    "The fault and the command of a round: faults take turns, commands are drawn."
    fault = list(FAULTS)[number % len(FAULTS)]
    keys = [key for key, own in COMMANDS.items() if fault not in NEED or NEED[fault](own)]
    weights = np.array([COMMANDS[key].weight + LIKELIER.get(fault, 0)*COMMANDS[key].several for key in keys])
    return fault, keys[rng.choice(len(keys), p=weights/weights.sum())]


# The table

def counts(rows):
    "(fault, command) -> how many rounds, and what came of them."
    found = {}
    for row in rows:
        own = found.setdefault((row["fault"], COMMANDS[row["command"]].name), Counter())
        own += Counter(rounds=1, struck=row["struck"], clean=not row["findings"], findings=bool(row["findings"]))
        found[row["fault"], COMMANDS[row["command"]].name] = own
    return found


def _entry(own):
    told = f"{own['rounds']} / {own['struck']}"
    return f"{told} / **{own['findings']}**" if own["findings"] else told


def table(campaign, rows):
    "The table of a campaign."
    found = counts(rows)
    names = list(dict.fromkeys(own.name for own in COMMANDS.values()))
    lines = [["", *names, "all"], ["---"]*(len(names) + 2)]
    for fault in FAULTS:
        own = [found.get((fault, name), Counter()) for name in names]
        lines.append([fault, *map(_entry, own), _entry(sum(own, Counter()))])
    struck, bad = sum(row["struck"] for row in rows), sum(bool(row["findings"]) for row in rows)
    opening = (
        f"`make trust ROUNDS={len(rows)} SEED={campaign.seed}`, {time.strftime('%Y-%m-%d')}: {len(rows)} rounds, "
        f"of which {struck} struck a command that was under way, {len(rows) - bad} ended as undisturbed ones do "
        f"and {bad} did not. An entry is rounds / struck, and, in bold, those with a finding.")
    return "\n\n".join([opening, "\n".join(f"| {' | '.join(line)} |" for line in lines)])


def write(text):
    "Renew the table of bench/TRUST.md."
    from metapt_nb.files import atomic
    page = HERE/"TRUST.md"
    before, _, rest = page.read_text().partition(BEGIN)
    with atomic(page) as tmp: tmp.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def play_all(campaign, numbers, end):
    "Play some rounds, one after the other, until the time is over."
    for number in numbers:
        if time.monotonic() > end: return
        row = campaign.play(number)
        with open(campaign.log, "a") as f: f.write(json.dumps(row) + "\n")


def fork(function, *arguments):
    "Call a function in a copy of this process, whose number is returned."
    pid = os.fork()
    if pid: return pid
    try:
        function(*arguments)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def tell(row, done, bar):
    "Say what a round has found, if it is new."
    if row["round"] in done: return
    done[row["round"]] = row
    for finding in row["findings"]: bar.write(f"round {row['round']}: {finding}")
    bar.update()


def run(campaign, rounds, minutes, jobs):
    "Play rounds until there are so many, or until the time is over."
    done, end = campaign.rounds(), time.monotonic() + 60*minutes
    for key in COMMANDS: campaign.reference(key)
    left = [number for number in range(rounds) if number not in done]
    players = [fork(play_all, campaign, left[i::jobs], end) for i in range(jobs)]
    with tqdm(total=rounds, initial=len(done), desc="rounds", disable=None) as bar:
        while players:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if status: raise SystemExit(f"a player ended with {os.waitstatus_to_exitcode(status)}")
            if pid: players.remove(pid)
            for row in campaign.rounds().values(): tell(row, done, bar)
            time.sleep(.5)
    return [row for _, row in sorted(campaign.rounds().items())]


def arguments():
    "What the command line says."
    parser = argparse.ArgumentParser("trust.py", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, help="so many in all, however long it takes")
    parser.add_argument("--minutes", type=float, default=10, help="as long as this, where no number is given")
    parser.add_argument("--jobs", type=int, default=2, help="how many are played at a time")
    parser.add_argument("--round", type=int, help="repeat this one alone and print what is found")
    return parser.parse_args()


def main():
    asked = arguments()
    import_all()
    campaign = Campaign(asked.seed)
    gc.freeze()
    if asked.round is not None: return print(json.dumps(campaign.play(asked.round), indent=1))
    minutes = math.inf if asked.rounds else asked.minutes
    rows = run(campaign, asked.rounds or 10**6, minutes, asked.jobs)
    text = table(campaign, rows)
    write(text)
    print(text)
    return int(any(row["findings"] for row in rows))


if __name__ == "__main__": sys.exit(main())
