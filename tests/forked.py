"""The `metapt` command in processes of its own that need not import it, which takes seconds: forks of one that has."""
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing import forkserver
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["imported"])


def found_here():
    "Start the process to fork from; until Python 3.13 it looks for what it imports where `PYTHONPATH` says."
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), before]))
    forkserver.ensure_running()
    if before is None: del os.environ["PYTHONPATH"]
    else: os.environ["PYTHONPATH"] = before


def _become(words, streams, environment, folder, prepare):
    "The command, in this process."
    for number, path in zip((1, 2), streams): os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if prepare: prepare()
    from metapt_nb.cli import main
    sys.argv = ["metapt", *words]
    sys.exit(main(words))


class Command:
    "A running `metapt`, with what of `subprocess.Popen` is needed."
    def __init__(self, *words, env=None, cwd=None, prepare=None):
        self.folder = tempfile.TemporaryDirectory() # which goes with this object
        self.streams = [Path(self.folder.name)/name for name in ("stdout", "stderr")]
        environment, folder = dict(os.environ if env is None else env), cwd or os.getcwd()
        found_here()
        told = [str(word) for word in words], self.streams, environment, folder, prepare
        self.process = FORKS.Process(target=_become, args=told)
        self.process.start()
        self.pid = self.process.pid

    @property
    def returncode(self): return self.process.exitcode

    @property
    def stdout(self): return self.streams[0].read_text()

    @property
    def stderr(self): return self.streams[1].read_text()

    def poll(self): return self.returncode

    def wait(self, timeout=None):
        self.process.join(timeout)
        if self.returncode is None: raise subprocess.TimeoutExpired("metapt", timeout)
        return self.returncode

    def kill(self): os.kill(self.pid, signal.SIGKILL)


def finished(*words, **how):
    "A command that has come to its end."
    command = Command(*words, **how)
    command.wait()
    return command


def quiet(*words, **how):
    "A command that ends well."
    done = finished(*words, **how)
    assert done.returncode == 0, done.stderr


def wait_for(process, condition):
    "Until `condition()` comes true, or the process ends."
    while process.poll() is None and not condition(): time.sleep(.005)


def kill_when(process, condition, wait=0.):
    "Kill a process some seconds after `condition()` came true; whether it was still there."
    wait_for(process, condition)
    time.sleep(wait)
    there = process.poll() is None
    if there: process.kill()
    process.wait()
    return there
