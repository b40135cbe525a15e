"""Signals: one line, the usual exit code, whole files."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from graphexec.atomic_file import PREFIX
from graphexec.file_lock import LOCK

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux: /proc tells which signals are handled")

EXITS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated"),
         signal.SIGHUP: (129, "terminated: the terminal is closed")}  # fmt: skip
LONG = ["--epochs", "3000000"]


def start(*arguments, **options):
    """Starts the command line; Ctrl-C reaches it also when the tests run in the background."""
    command = [sys.executable, "-m", "graphexec", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed, **options)


def heed():
    for number in EXITS:
        signal.signal(number, signal.SIG_DFL)


def wait_for(condition, process):
    for _ in range(6000):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    raise AssertionError("it did not happen in 30 s")


def handles(process, number):
    """Whether a process has a handler for a signal: Python alone has none for SIGTERM."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught >> (number - 1) & 1)


def stopped(process, number):
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    code, line = EXITS[number]
    assert "Traceback" not in error
    assert (process.returncode, error.strip().splitlines()[-1]) == (code, line)
    return out, error


def moments(count):
    """Signals, each after a delay from the moment at which the command line is set up: imports take a fraction of a second."""
    return [(list(EXITS)[k % 3], 0.08 * k) for k in range(count)]


@pytest.mark.parametrize(("number", "delay"), moments(3))
def test_a_signal_at_any_moment_prints_one_line(net, number, delay):
    process = start("check", net)
    wait_for(lambda: handles(process, signal.SIGTERM), process)
    time.sleep(delay)
    _, error = stopped(process, number)
    assert len(error.splitlines()) == 1


@pytest.mark.exhaustive
@pytest.mark.parametrize(("number", "delay"), [(number, 0.1 * k) for k in range(15) for number in (signal.SIGINT, signal.SIGTERM)])
def test_a_signal_at_many_moments_prints_one_line_at_most(net, number, delay):
    process = start("train", net, *LONG, "--quiet", env={**os.environ, "GRAPHEXEC_CACHE_DIR": str(net.parent / "cold")})
    wait_for(lambda: handles(process, signal.SIGTERM), process)
    time.sleep(delay)
    stopped(process, number)


@pytest.mark.parametrize("number", [pytest.param(n, marks=() if n == signal.SIGTERM else pytest.mark.slow) for n in EXITS])
def test_a_signal_in_training_saves_the_last_epoch(call, net, number):
    process = start("train", net, *LONG, "--checkpoint", "run", "--json")
    wait_for((net.parent / "run" / "latest.json").exists, process)
    _, error = stopped(process, number)
    assert "continue with --resume" in error
    assert {name for name in os.listdir("run") if not name.endswith(".safetensors")} == {"latest.json"}
    epoch = json.loads(Path("run/latest.json").read_text())["epoch"]
    assert f"resuming after epoch {epoch}" in call("train", net, "--checkpoint", "run", "--resume", "--epochs", epoch + 1).stderr


def test_what_is_ignored_stays_ignored(net):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command = [sys.executable, "-m", "graphexec", "train", str(net), *LONG, "--checkpoint", "other", "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for((net.parent / "other" / "latest.json").exists, process)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


def test_one_training_at_a_time_in_a_folder(call, net):
    process = start("train", net, *LONG, "--checkpoint", "run", "--json")
    wait_for((net.parent / "run" / "latest.json").exists, process)
    error = call("train", net, "--checkpoint", "run", "--resume", code=1).stderr
    assert error.startswith("DataError: run: another process trains into this folder\n")
    assert f"process {process.pid} on " in error
    process.kill()
    process.communicate()
    assert (net.parent / "run" / LOCK).exists()
    epoch = json.loads(Path("run/latest.json").read_text())["epoch"]
    call("train", net, "--checkpoint", "run", "--resume", "--epochs", epoch)
    assert not (net.parent / "run" / LOCK).exists()


def test_a_training_that_never_began_leaves_no_folder(call, net):
    net.write_text(net.read_text().replace("tanh(", "tanhh("))
    call("train", net, "--checkpoint", "run", code=1)
    assert not Path("run").exists()


def whole(folder):
    """Asserts that every file can be read; returns the checkpoint's epoch."""
    found = folder / "latest.json"
    if not found.exists():
        return 0
    record = json.loads(found.read_text())
    arrays = load_file(folder / record["arrays"])
    assert all(np.isfinite(a).all() for a in arrays.values())
    assert len(record["history"]) == record["epoch"]
    return record["epoch"]


@pytest.mark.exhaustive
def test_kills_at_random_moments_leave_whole_files(call, net):
    """kill -9 while a checkpoint, or the weights, are written; each run goes on from the last."""
    rng, epoch = random.Random(0), 0
    call("train", net, "-o", "w.safetensors", "--epochs", 1)
    before = load_file("w.safetensors")
    for _ in range(40):
        options = ["--checkpoint", "run", "--resume", "-o", "w.safetensors", "--epochs", epoch + rng.choice([5, 2000]), "--json"]
        process = start("train", net, *options)
        time.sleep(rng.uniform(0.2, 2.5))
        process.kill()
        process.communicate()
        reached = whole(Path("run"))
        assert reached >= epoch
        epoch = reached
        assert load_file("w.safetensors").keys() == before.keys()
    call("train", net, "--checkpoint", "run", "--resume", "-o", "w.safetensors", "--epochs", epoch + 1)
    assert not [name for folder in (".", "run") for name in os.listdir(folder) if name.startswith(PREFIX)]
    assert sorted(os.listdir("run")) == [f"epoch-{epoch + 1:06d}.safetensors", "latest.json"]
