"""Long work says how far it is: on a terminal with a bar, elsewhere with a line now and then; short work says nothing."""

import contextlib
import os
import pty
import subprocess
import sys

import numpy as np
import pytest

import graphexec as gx
from graphexec import progress
from graphexec.codegen import kernels


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def taken(clock, count, seconds, **options):
    for item in progress.watch("compiling kernels", list(range(count)), "kernel", **options):
        clock[0] += seconds
        yield item


def test_nothing_is_said_unless_someone_asks(clock, capsys):
    assert list(taken(clock, 10, 5.0)) == list(range(10))
    assert capsys.readouterr().err == ""


def test_short_work_says_nothing(clock, capsys):
    with progress.showing():
        assert list(taken(clock, 9, 0.1)) == list(range(9))
    assert capsys.readouterr().err == ""


def test_lines_for_a_log(clock, capsys):
    """They become rarer: 1,000 s of work give 8 lines."""
    with progress.showing():
        assert list(taken(clock, 1000, 1.0, name=lambda k: f"op {k}")) == list(range(1000))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "compiling kernels: 1 of 1000 kernels done, now op 1"
    assert 5 <= len(lines) <= 10


def test_an_inner_block_cannot_silence_an_outer_one():
    with progress.showing():
        with progress.showing(False):
            assert progress.watch("x", [1]) != [1]
        assert progress.watch("x", [1]) != [1]
    assert progress.watch("x", [1]) == [1]


def test_a_closed_standard_error_is_no_obstacle(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with progress.showing():
        assert list(progress.watch("x", [1, 2])) == [1, 2]
    assert not progress.has_terminal()


@pytest.mark.parametrize("error", [BrokenPipeError("gone"), OSError(28, "disk full"), ValueError("closed file")])
def test_work_goes_on_when_a_line_cannot_be_written(clock, monkeypatch, error):
    class Gone:
        tried = 0

        def isatty(self):
            return False

        def fileno(self):
            return -1

        def write(self, text):
            self.tried += 1
            raise error

        flush = write

    gone = Gone()
    monkeypatch.setattr(sys, "stderr", gone)
    with progress.showing():
        assert list(taken(clock, 9, 1.0)) == list(range(9))
    assert gone.tried


SLOW = """
import time
from graphexec.codegen import kernels
def slow(make):
    def wrapped(*arguments, **options):
        time.sleep(0.8)
        return make(*arguments, **options)
    return wrapped
for name in ("array_kernel", "elementwise_kernel", "reduction_kernel", "rowwise_kernel"):
    setattr(kernels, name, slow(getattr(kernels, name)))
"""


def graph():
    g = gx.Graph("net")
    x = g.input("x", ("n", 3))
    w = g.parameter("w", (3, 2), init="normal(std=0.1)")
    g.output(gx.ops.mean(gx.ops.tanh(x @ w) ** 2, name="loss"))
    return g


@pytest.mark.parametrize(("shown", "said"), [(True, True), (False, False), (None, False)])
def test_fit_says_what_it_compiles(shown, said, monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    for name in ("array_kernel", "elementwise_kernel", "reduction_kernel", "rowwise_kernel"):
        real = getattr(kernels, name)

        def slow(*arguments, make=real, **options):
            now[0] += 0.8
            return make(*arguments, **options)

        monkeypatch.setattr(kernels, name, slow)
    exe = gx.compile(graph(), loss="loss", optimizer=gx.SGD(lr=0.1), seed=0)
    exe.fit({"x": np.ones((8, 3), "float32")}, epochs=1, progress=shown)
    assert ("compiling kernels: 2 of" in capsys.readouterr().err) == said


@pytest.mark.parametrize(("options", "terminal", "said"), [((), False, True), (("--quiet",), False, False), ((), True, True)])
def test_the_command_line_says_what_it_compiles(options, terminal, said, tmp_path):
    file = tmp_path / "net.yaml"
    graph().save(file)
    rows = tmp_path / "x.npy"
    np.save(rows, np.ones((4, 3), "float32"))
    code = SLOW + "from graphexec.cli import main\nmain()\n"
    arguments = [sys.executable, "-c", code, "run", str(file), "-i", f"x={rows}", *options]
    if terminal:
        error = in_terminal(arguments)
        assert "compiling kernels" in error
        assert "kernel/s" in error or "s/kernel" in error
        return
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert ("compiling kernels: " in done.stderr) == said, done.stderr


def in_terminal(arguments):
    """What a command prints on a terminal as its standard error."""
    ours, theirs = pty.openpty()
    os.set_inheritable(theirs, True)
    import fcntl
    import struct
    import termios

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    read = b""
    with contextlib.suppress(OSError):
        while part := os.read(ours, 4096):
            read += part
    os.close(ours)
    assert child.wait(60) == 0, read
    return read.decode()
