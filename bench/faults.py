"""Faults that befall a command, each a function of a scene: what it struck, and what the command said to it."""
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from forks import Running, children_of, limit_address_space, limit_file_size, set_clock_back

DAY = 86400.
TO_DAMAGE = ("cells/*", "prompts/*", "checkpoints/*", "*.safetensors", "*.pt", "*.tsv", "*.part", "*.run.json")


@dataclass
class Scene:
    "A command in a folder, before a fault."
    command: object   # a `forks.Command`
    place: Path       # where it runs
    said: Path        # where its output goes, of which names begin with this
    reference: object # a `trust.Reference`: how it runs undisturbed
    rng: object       # NumPy generator
    limit: float      # seconds until it is killed
    started: list = field(default_factory=list) # of `forks.Running`

    def start(self, name, prepare=None):
        "Start the command."
        self.started.append(Running(self.command, self.place, f"{self.said}-{name}", prepare))
        return self.started[-1]

    def end(self):
        "Kill what is there of it."
        for running in self.started: running.end()

    def moment(self):
        "Some point of its work, in seconds of the processor, which a busy machine does not stretch."
        return self.rng.uniform(0, self.reference.work)


@dataclass
class Struck:
    "What became of a disturbed command."
    struck: bool           # whether the fault came while there was something to disturb
    ended: list = ()       # of `forks.Ended` of those processes that were to speak
    damaged: Path = None   # a file that may be refused
    prepare: object = None # what also holds for the command that is run again
    left: list = field(default_factory=list) # processes that outlived it
    late: bool = False     # whether it had to be killed
    sent: int = 0          # the signal that a process may end by

    @property
    def codes(self): return [one.code for one in self.ended]


def _report(running, struck, limit, **more):
    "What became of a command, all told."
    ended = running.wait(limit)
    return Struck(struck, ended, left=running.remaining(), late=running.late, **more)


def _target(running, rng):
    "The parent, a worker or a rank."
    pids = list(running.pids)
    for pid in running.pids: pids += children_of(pid)
    return int(rng.choice(pids[1:] if len(pids) > 1 and rng.random() < .7 else pids))


def signalled(scene, number):
    "A signal to the parent, a worker or a rank."
    running = scene.start("struck")
    running.until_work(scene.moment())
    struck = running.kill(_target(running, scene.rng), number)
    return _report(running, struck, scene.limit, sent=number)


# Disks

def is_root(): return os.geteuid() == 0


def _mount(*words): return subprocess.run(["mount", *map(str, words)], capture_output=True).returncode == 0


def _own_disk(place, size):
    "Put a folder on a disk of its own, of `size` bytes, with what is in it."
    kept = place.with_name(f"{place.name}.kept")
    place.rename(kept)
    place.mkdir()
    mounted = _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", place)
    shutil.copytree(kept, place, symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(kept)
    return mounted


def free_disk(place):
    "Undo `_own_disk`; what lies there is kept."
    if not os.path.ismount(place): return
    kept = place.with_name(f"{place.name}.kept")
    shutil.copytree(place, kept, symlinks=True)
    subprocess.run(["umount", "-l", str(place)], check=True)
    place.rmdir()
    kept.rename(place)


def _short_disk(scene):
    "A disk of its own with less room than the command wants."
    size = int(scene.rng.uniform(32e3, 32e3 + scene.reference.room))
    if not _own_disk(scene.place, size): return Struck(False)
    told = _report(scene.start("struck"), False, scene.limit)
    told.struck = any(one.code != 0 for one in told.ended)
    _mount("-o", f"remount,size={2**30}", scene.place)
    return told


def _short_files(scene):
    "No file may become longer than some bytes."
    most = int(scene.rng.uniform(0, scene.reference.longest))
    told = _report(scene.start("struck", partial(limit_file_size, most)), False, scene.limit)
    told.struck = any(one.code != 0 for one in told.ended)
    return told


def disk_full(scene):
    "A small disk, or, for who may not make one and for half of the rounds, a limit for files."
    short = _short_disk if is_root() and scene.rng.random() < .5 else _short_files
    return short(scene)


def read_only(scene):
    "Its folder becomes read-only."
    if not is_root() or not _own_disk(scene.place, 2**30): return Struck(False)
    at_once = scene.rng.random() < .2
    if at_once: _mount("-o", "remount,ro", scene.place)
    running = scene.start("struck")
    struck = at_once or running.until_work(scene.moment())
    # what is being written keeps the disk from it
    while struck and not at_once and not _mount("-o", "remount,ro", scene.place):
        struck = running.until(time.monotonic() - running.began + .003)
    told = _report(running, struck, scene.limit)
    _mount("-o", "remount,rw", scene.place)
    return told


# Files

def _half_done(scene):
    "Run the command until it is killed, or, now and then, to its end; whether it was killed."
    running = scene.start("before")
    if scene.rng.random() < .75: running.until_work(scene.moment())
    else: running.wait(scene.limit)
    killed = not running.gone()
    running.end()
    running.wait(scene.limit)
    running.remaining()
    return killed


def damage(path, rng):
    "Turn a byte of a file, or cut it."
    content = bytearray(path.read_bytes())
    if not content: return False
    place = int(rng.integers(len(content)))
    if rng.random() < .5: content[place] ^= int(rng.integers(1, 256))
    else: del content[place:]
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns)) # as a disk would
    return True


def damaged(scene):
    "A file of a stopped or finished run is damaged."
    _half_done(scene)
    files = [file for pattern in TO_DAMAGE for file in (scene.place/"out").rglob(pattern)]
    files += (scene.place/"cache"/"embeddings").glob("*")
    files = sorted({file for file in files if file.is_file() and not file.name.startswith(".")})
    if not files: return Struck(False)
    # a kind of file is as likely as another, however many there are of it
    kinds = sorted({(file.parent.name, file.suffix) for file in files})
    kind = kinds[scene.rng.integers(len(kinds))]
    alike = [file for file in files if (file.parent.name, file.suffix) == kind]
    file = alike[scene.rng.integers(len(alike))]
    return Struck(damage(file, scene.rng), damaged=file)


def twice(scene):
    "The same command again in the same folder, before the first has come to its end."
    first = scene.start("struck")
    there = first.until_work(.7*scene.moment())
    second = scene.start("second")
    told = _report(first, there, 2*scene.limit)
    told.ended += second.wait(2*scene.limit)
    told.left += second.remaining()
    told.late |= second.late
    return told


# The machine

def short_memory(scene):
    "Less memory than the command wants."
    more = int(scene.rng.uniform(0, .6*scene.reference.memory)) # freed memory serves for the rest
    told = _report(scene.start("struck", partial(limit_address_space, more)), False, scene.limit)
    told.struck = any(one.code != 0 for one in told.ended)
    return told


def clock_back(scene):
    "A stopped run goes on while its files are of the day after tomorrow, and `time.time` tells yesterday's time."
    struck = _half_done(scene)
    for file in (scene.place/"out").rglob("*"): os.utime(file, (time.time() + 2*DAY,)*2)
    return Struck(struck, prepare=partial(set_clock_back, DAY))


FAULTS = {
    "SIGKILL": partial(signalled, number=signal.SIGKILL),
    "SIGTERM": partial(signalled, number=signal.SIGTERM),
    "disk full": disk_full, "read-only folder": read_only, "damaged file": damaged, "two at once": twice,
    "memory short": short_memory, "clock set back": clock_back}
NEED = { # what a fault needs of a command
    "memory short": lambda command: command.hungry and command.ranks == command.workers == 1}
