"""What the Makefile runs, for the tests that run or read the same commands."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def commands_of(target):
    "The commands of a target of make, a line each; a make around it has no say."
    own = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True, env=own)
    return done.stdout.replace("\\\n", "").splitlines()


def with_own_programs():
    "The environment in which the programs beside this Python come first."
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
