"""Standard streams that are closed, full, broken or of another encoding."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

MAIN = [sys.executable, "-m", "graphexec"]


def shell(script, **environment):
    """Runs a shell command; ``$G`` is the command line. The exit code is that of the first command of a pipe."""
    script = script.replace("$G", f"{sys.executable} -m graphexec")
    done = subprocess.run(
        ["bash", "-c", f"{script}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True, env={**os.environ, "PYTHONUTF8": "0", **environment}, check=False, timeout=120,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr + done.stdout
    assert b"Exception ignored" not in done.stderr
    said = done.stderr.decode("utf-8", "replace").splitlines(keepends=True)
    errors = "".join(line for line in said if not line.startswith("compiling kernels: "))  # on a slow machine
    return done.returncode, done.stdout.decode("utf-8", "replace"), errors


def test_training_without_standard_error(net):
    code, out, error = shell("$G train net.yaml -o w.safetensors 2>&-")
    assert (code, error) == (0, "")
    assert "4 epochs in" in out
    assert (net.parent / "w.safetensors").exists()


def test_training_without_standard_output_writes_its_weights(net):
    code, _, error = shell("$G train net.yaml -o w.safetensors >&-")
    assert code == 1
    assert error.endswith("the result cannot be printed: standard output is closed\n  Redirect it: > FILE, or > /dev/null.\n")
    assert (net.parent / "w.safetensors").exists()


def test_an_error_without_standard_error_goes_to_standard_output(net):
    assert shell("$G show none.yaml 2>&-") == (1, "GraphFileError: none.yaml: no such file\n  Give the path of a graph file.\n", "")
    code, out, _ = shell("$G show 2>&-")
    assert code == 2
    assert "Missing argument" in out


def test_no_stream_at_all(net):
    assert shell("$G show net.yaml <&- 2>&- >&-")[0] == 1
    assert shell("$G train net.yaml -o w.safetensors <&- 2>&- >/dev/null")[0] == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
def test_a_full_disk_behind_a_stream(net):
    code, _, error = shell("$G show net.yaml >/dev/full")
    assert code == 1
    assert error == (
        "DataError: standard output: the result cannot be printed: the disk is full\n  Free some space, or write to another disk.\n"
    )


FULL = [("train net.yaml -o w.safetensors", 0), ("run net.yaml -i x=x.npy", 0), ("show none.yaml", 1)]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("command", "code"), FULL)
def test_a_full_disk_behind_standard_error(net, command, code, unbuffered):
    """The exit code is the command's: notes, progress and messages that cannot be written change nothing."""
    np.save(net.parent / "x.npy", np.ones((2, 3), "float32"))
    assert shell(f"$G {command} 2>/dev/full", PYTHONUNBUFFERED=unbuffered)[0] == code


@pytest.mark.parametrize("command", ["--help", "show net.yaml", "train net.yaml --epochs 2000"])
def test_a_reader_that_has_enough(net, command):
    assert shell(f"$G {command} | true") == (141, "", "")


def test_a_broken_pipe_in_training_keeps_the_checkpoint(net):
    assert shell("$G train net.yaml --epochs 2000 --checkpoint run | head -1")[0] == 141
    assert json.loads((net.parent / "run" / "latest.json").read_text())["epoch"] >= 100


ENCODINGS = [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
             {"TERM": "dumb", "NO_COLOR": "1"}]  # fmt: skip


@pytest.mark.parametrize("environment", ENCODINGS, ids=lambda e: next(iter(e.values())))
def test_any_encoding(net, environment):
    net.write_text(net.read_text().replace("hidden", "höhe").replace("name: net", "name: 漢"), encoding="utf-8")
    code, out, error = shell("$G show net.yaml", **environment)
    assert (code, error) == (0, "")
    assert ": 9 nodes" in out


def test_names_that_are_no_text(net):
    """A path may hold any bytes."""
    with open(os.fsencode(net.parent) + b"/b\xff.yaml", "wb") as copy:
        copy.write(net.read_bytes())
    code, out, _ = shell("$G show b$'\\xff'.yaml")
    assert (code, out.splitlines()[0]) == (0, "net: 9 nodes")
    assert shell("$G show c$'\\xff'.yaml")[2].startswith("GraphFileError: c\\udcff.yaml: no such file")
