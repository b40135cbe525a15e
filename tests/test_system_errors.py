"""What the operating system refuses has the same words wherever a file is read or written."""

import builtins
import errno
import os
import re
import resource
import subprocess
import sys

import numpy as np
import pytest

import graphexec as gx
from graphexec import system_errors
from graphexec.cli.op_templates import ELEMENTWISE
from graphexec.cli.session import check_target, write_npz
from graphexec.training.checkpoint import load_arrays, save_arrays, write_text
from graphexec.training.data import read_inputs

ARRAYS = {"w": np.ones(3, "float32")}


def graph():
    g = gx.Graph("g")
    g.output(gx.ops.tanh(g.input("x", (3,)), name="y"))
    return g


@pytest.fixture
def files(tmp_path):
    """A folder with a sound file of each kind that is read."""
    graph().save(tmp_path / "g.yaml")
    save_arrays(tmp_path / "w.safetensors", ARRAYS)
    np.save(tmp_path / "x.npy", np.ones(3))
    np.savez(tmp_path / "x.npz", x=np.ones(3))
    (tmp_path / "x.csv").write_text("1\n2\n3\n")
    (tmp_path / "op.py").write_text(ELEMENTWISE.replace("{name}", "op_of_this_test"))
    return tmp_path


def read_input(path):
    return read_inputs([f"x={path}"], gx_leaves())


def gx_leaves():
    from graphexec.training.data import input_leaves

    return input_leaves(graph())


WRITERS = {
    "g.yaml": lambda path: graph().save(path),
    "w.safetensors": lambda path: save_arrays(path, ARRAYS),
    "out.npz": lambda path: write_npz(str(path), ARRAYS),
    "latest.json": lambda path: write_text(path, "{}"),
}
READERS = {
    "g.yaml": gx.load,
    "w.safetensors": load_arrays,
    "x.npy": read_input,
    "x.npz": read_input,
    "x.csv": read_input,
    "op.py": gx.load_plugin,
}


def refused(action, path):
    with pytest.raises(gx.GraphExecError) as caught:
        action(path)
    assert str(path) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", WRITERS)
def test_what_happened_is_said_when_files_are_written(tmp_path, name):
    (tmp_path / "file").write_text("")
    (tmp_path / name).mkdir()
    (tmp_path / "loop").symlink_to("loop")
    write = WRITERS[name]
    assert refused(write, tmp_path / name).what == "it cannot be written: this is a directory"
    assert refused(write, tmp_path / "none" / name).what == "it cannot be written: its folder does not exist"
    assert refused(write, tmp_path / "file" / name).what == "it cannot be written: a part of the path is a file, not a folder"
    assert "too long" in refused(write, tmp_path / ("x" * 300 + name)).what
    assert "circle" in refused(write, tmp_path / "loop" / name).what
    assert sorted(os.listdir(tmp_path)) == sorted(["file", name, "loop"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_called_so(tmp_path, name):
    (tmp_path / name).symlink_to("/dev/full")
    error = refused(WRITERS[name], tmp_path / name)
    assert error.what == "it cannot be written: the disk is full"
    assert re.match(r"needed: \d+ bytes", error.facts[0])
    assert error.todo == "Free some space, or write to another disk."


@pytest.mark.parametrize("number", system_errors.CAUSES)
@pytest.mark.parametrize("name", WRITERS)
def test_each_error_has_its_sentence_when_files_are_written(tmp_path, monkeypatch, name, number):
    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    error = refused(WRITERS[name], tmp_path / name)
    assert error.what == f"it cannot be written: {system_errors.cause_of(OSError(number, ''), writing=True).what}"
    assert os.strerror(number) not in error.what
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", READERS)
def test_what_happened_is_said_when_files_are_read(files, registry_kept, name):
    read = READERS[name]
    read(files / name)
    (files / "link" / name).parent.mkdir()
    (files / "link" / name).symlink_to("nothing")
    (files / "folder" / name).mkdir(parents=True)
    (files / "pipe").mkdir()
    os.mkfifo(files / "pipe" / name)
    assert refused(read, files / "none" / name).what == "no such file"
    assert refused(read, files / "link" / name).what == "this link points to nothing"
    assert refused(read, files / "folder" / name).what.startswith("this is a directory")
    assert refused(read, files / "pipe" / name).what.startswith("this is not a regular file")
    assert "a part of the path is a file" in refused(read, files / "x.csv" / name).what
    assert "too long" in refused(read, files / f"{'x' * 300}{name}").what


@pytest.mark.parametrize("name", [n for n in READERS if n not in ("op.py", "w.safetensors")])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO, errno.ESTALE])
def test_each_error_has_its_sentence_when_files_are_read(files, monkeypatch, name, number):
    before = builtins.open

    def fail(path, *arguments, **options):
        if os.path.basename(os.fspath(path) if not isinstance(path, int) else "") == name:
            raise OSError(number, os.strerror(number))
        return before(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", fail)
    monkeypatch.setattr("io.open", fail)
    error = refused(READERS[name], files / name)
    assert error.what == f"it cannot be read: {system_errors.CAUSES[number].what}"


def test_the_outputs_are_checked_before_any_work(tmp_path):
    (tmp_path / "d.npz").mkdir()
    for path, what in [(tmp_path / "d.npz", "this is a directory"), (tmp_path / "none" / "a.npz", "its folder does not exist")]:
        with pytest.raises(gx.DataError, match=what):
            check_target(str(path), [".npz"])


LIMITED = """\
import resource, sys
import numpy as np, graphexec as gx
from graphexec.training.checkpoint import save_arrays
import graphexec.atomic_file
resource.setrlimit(getattr(resource, sys.argv[1]), (int(sys.argv[2]),) * 2)
try:
    save_arrays("w.safetensors", {"w": np.ones(10**5)})
except gx.DataError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("limit", "value", "what"),
    [("RLIMIT_FSIZE", 1000, "the file would be larger than the system allows"), ("RLIMIT_NOFILE", 3, "too many files open")],
)
def test_limits_of_the_process(tmp_path, limit, value, what):
    assert hasattr(resource, limit)
    command = [sys.executable, "-c", LIMITED, limit, str(value)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith("w.safetensors: it cannot be written: "), done.stderr
    assert what in done.stdout
    assert os.listdir(tmp_path) == []


def test_any_output_can_have_any_name(tmp_path):
    """np.savez takes names as keywords, and has some of its own."""
    arrays = {name: np.arange(3) for name in ("file", "args", "kwds", "allow_pickle", "lambda", "a/b", "ü")}
    write_npz(str(tmp_path / "a.npz"), arrays)
    with np.load(tmp_path / "a.npz") as found:
        assert {name: found[name].tolist() for name in found.files} == {name: [0, 1, 2] for name in arrays}
