"""Two processes under `accelerate launch` train what one trains; when one dies the run ends with a sentence, and resumes."""
import os, signal, subprocess, sys, time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

BIN = Path(sys.executable).parent
LAUNCH = [BIN/"accelerate", "launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--no_python", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]


def command(folder, out, *more, samples=240):
    path = folder/"own.csv"
    pd.DataFrame(dict(text=[f"{('bad', 'good')[i % 2]} film {i}" for i in range(120)], label=[i % 2 for i in range(120)])).to_csv(path, index=False)
    return [BIN/"metapt", "meta-train", path, "--backbone", "tiny", "--method", "random", "--k", "3", "--tasks-per-step", "0", "--samples", str(samples), "--n-tokens", "4", "--out", folder/out, *more]


def run(cmd, port=None): return subprocess.run([str(c) for c in cmd], capture_output=True, text=True, env=dict(os.environ, OMP_NUM_THREADS="1"))


@pytest.mark.parametrize("how", [(), ("--order", "first", "--inner-steps", "2"), ("--ppt",)], ids=["exact", "first, two steps", "ppt"])
def test_two_processes_equal_one(tmp_path, how):
    "Ten joint steps end where ten single ones do."
    one, two = run(command(tmp_path, "one.safetensors", *how)), run([*LAUNCH, *command(tmp_path, "two.safetensors", *how)])
    assert one.returncode == two.returncode == 0, two.stderr
    assert one.stdout.splitlines()[:3] == two.stdout.splitlines()[:3] # the tasks, said once
    a, b = (load_file(tmp_path/f"{n}.safetensors")["prompt"] for n in ("one", "two"))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4*a.abs().max().item())


def test_lost_process(tmp_path):
    "One of two is killed: the other says so and ends, and the run goes on from its checkpoint to the same prompt."
    whole = command(tmp_path, "whole.safetensors", samples=4800); assert run([*LAUNCH, *whole]).returncode == 0
    cut, checkpoint = command(tmp_path, "cut.safetensors", samples=4800), tmp_path/"cut.checkpoint.pt"
    place = lambda r: dict(os.environ, RANK=str(r), LOCAL_RANK=str(r), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT="29511", OMP_NUM_THREADS="1")
    both = [subprocess.Popen([str(c) for c in cut], env=place(r), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for r in (0, 1)]
    while both[1].poll() is None and not checkpoint.exists(): time.sleep(.01)
    time.sleep(.2); both[1].send_signal(signal.SIGKILL); both[1].wait(); said = both[0].communicate(timeout=120)[1]
    assert both[0].returncode == 3 and "another process of this run is gone" in said and "Traceback" not in said
    assert checkpoint.exists() and not (tmp_path/"cut.safetensors").exists()
    done = run([*LAUNCH, *cut]); assert done.returncode == 0, done.stderr[-2000:]
    assert load_file(tmp_path/"cut.safetensors")["prompt"].equal(load_file(tmp_path/"whole.safetensors")["prompt"])
