"""With --json, standard output holds one object, whatever a plugin prints, and whenever it does."""

import json
import os
import pty
import subprocess
import sys

import pytest

pytestmark = pytest.mark.exhaustive  # every command, every way to print: minutes

PRINTS = {
    "print": "print('NOISE')",
    "os.write": "os.write(1, b'NOISE\\n')",
    "stdout": "sys.stdout.write('NOISE\\n'); sys.stdout.flush()",
    "the first stdout": "sys.__stdout__.write('NOISE\\n')",
    "C": "ctypes.CDLL(None).puts(b'NOISE')",
    "a child": "subprocess.run([sys.executable, '-c', 'print(\\'NOISE\\')'])",
}

PLUGIN = '''
import atexit, ctypes, os, subprocess, sys
import numpy as np
from graphexec.plugin import ops, composite, kernel, shape_value


def say():
    {say}


def reference(x):
    {reference}
    return x * 2.0


def rule(x):
    {rule}
    return x.shape


@kernel(shape=rule, reference=reference, domain=(-1.0, 1.0))
def doubled_noisily(x, out):
    for i in range(x.size):
        out.ravel()[i] = x.ravel()[i] * 2.0


@doubled_noisily.gradient
def _(d_out):
    {gradient}
    return d_out * 2.0


{load}
'''
PLACES = ("load", "reference", "rule", "gradient")

NET = """\
graphexec: 1
name: noisy
inputs: {x: "float32[3]"}
parameters: {w: {type: "float32[3]", value: [1, 2, 3]}}
nodes: {y: doubled_noisily(x * w), loss: sum(y)}
outputs: [y, loss]
train: {loss: loss, optimizer: sgd(lr=0.1), data: {file: x.npz, inputs: {x: x}}, epochs: 1, batch_size: 1}
"""

COMMANDS = [
    ("run", "net.yaml", "-i", "x=x.npy"), ("grad", "net.yaml", "-i", "x=x.npy"), ("check", "net.yaml"), ("show", "net.yaml"),
    ("show", "net.yaml", "--program"), ("bench", "net.yaml", "--seconds", "0"), ("profile", "net.yaml", "--seconds", "0"),
    ("train", "batched.yaml"), ("ops", "list"), ("ops", "info", "doubled_noisily"), ("ops", "new", "another_op"),
    ("ops", "check", "noisy.py", "--shape", "3"), ("doctor",),
]  # fmt: skip


@pytest.fixture
def here(tmp_path):
    import numpy as np

    np.save(tmp_path / "x.npy", np.ones(3, "float32"))
    np.savez(tmp_path / "x.npz", x=np.ones((4, 3), "float32"))
    text = NET.replace("sum(y)", "sum(y)").replace("x * w", "multiply(x, w)")
    (tmp_path / "net.yaml").write_text(text)
    (tmp_path / "batched.yaml").write_text(text.replace("float32[3]\"}\nparameters", "float32[batch, 3]\"}\nparameters"))
    return tmp_path


def plugin(folder, say, places=PLACES):
    called = {place: "say()" if place in places else "pass" for place in PLACES}
    (folder / "noisy.py").write_text(PLUGIN.format(say=say, **called))


def graphexec(folder, *arguments):
    command = [sys.executable, "-m", "graphexec", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_prints_one_object(here, command):
    plugin(here, "; ".join(PRINTS.values()))
    file = () if "noisy.py" in command else ("--plugin", "noisy.py")
    done = graphexec(here, *command, *file, "--json")
    assert isinstance(json.loads(done.stdout), dict), done.stderr
    assert done.stderr.count("NOISE") >= len(PRINTS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", PRINTS)
def test_every_way_to_print_goes_to_standard_error(here, way, place):
    plugin(here, PRINTS[way], [place])
    done = graphexec(here, "ops", "check", "noisy.py", "--shape", "3", "--json")
    assert json.loads(done.stdout)["passed"], done.stderr
    assert "NOISE" in done.stderr


@pytest.mark.parametrize("way", PRINTS)
def test_what_is_printed_when_python_shuts_down_too(here, way):
    plugin(here, PRINTS[way], [])
    with open(here / "noisy.py", "a") as file:
        file.write("atexit.register(say)\n")
    done = graphexec(here, "ops", "info", "doubled_noisily", "--plugin", "noisy.py", "--json")
    assert json.loads(done.stdout)["name"] == "doubled_noisily"
    assert "NOISE" in done.stderr


def test_an_error_still_has_its_exit_code(here):
    plugin(here, PRINTS["print"])
    done = graphexec(here, "ops", "info", "doubled_noisly", "--plugin", "noisy.py", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "did you mean 'doubled_noisily'?" in done.stderr


@pytest.mark.parametrize("stream", ["closed", "full"])
def test_a_closed_or_full_output_is_told(here, stream):
    end = "1>&-" if stream == "closed" else "> /dev/full"
    command = f"{sys.executable} -m graphexec ops info tanh --json {end}"
    done = subprocess.run(command, shell=True, cwd=here, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "the result cannot be printed" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_ends_it_quietly(here):
    command = f"set -o pipefail; {sys.executable} -m graphexec ops list --json | true"
    done = subprocess.run(["bash", "-c", command], cwd=here, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (141, "")


# -- ops list


WIDE_DOC = '"""寬字元 寬字元 寬字元 寬字元 寬字元 寬字元 寬字元 寬字元 寬字元 寬字元 寬字元 寬字元 寬字元 寬字元 寬字元"""\n'


def on_terminal(folder, width, *arguments):
    """The lines that a command prints on a terminal of that width."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width)}
    command = [sys.executable, "-m", "graphexec", *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=theirs, stderr=subprocess.DEVNULL) as child:
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            text += part
    os.close(ours)
    assert child.returncode == 0
    return text.decode().splitlines()


@pytest.mark.parametrize("width", [20, 40, 80, 132])
def test_a_list_is_no_wider_than_the_terminal(here, width):
    from graphexec.cli.format import columns

    plugin(here, "pass")
    head = "def doubled_noisily(x, out):\n"
    text = (here / "noisy.py").read_text().replace(head, f"{head}    {WIDE_DOC}")
    (here / "noisy.py").write_text(WIDE_DOC + text)
    lines = on_terminal(here, width, "ops", "list", "--plugin", "noisy.py")
    assert len(lines) > 100
    assert max(map(columns, lines)) <= width
    assert any("…" in line for line in lines)
    if width >= 80:
        assert any(line.startswith("tanh ") and "built in" in line for line in lines)


def test_without_a_terminal_nothing_is_cut(here):
    done = graphexec(here, "ops", "list")
    assert "…" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) > 132


def test_internal_ops_are_listed_only_on_demand(record):
    shown, every = (record("ops", "list", *more)["ops"] for more in ((), ("--all",)))
    assert not any(op["internal"] for op in shown)
    assert [op for op in every if not op["internal"]] == shown
    assert any(op["internal"] for op in every)
