"""doctor: whatever is wrong is a row, and only what stops work makes it fail."""

import json
import os
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
from helpers.installed import ONE_OP, install

from graphexec import file_lock
from graphexec.ir.op import EAGER_HOOKS
from graphexec.llvm import cache, object_code, toolchain

SECTIONS = ["versions", "processor", "threads", "cache", "plugins", "extras", "compiler"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache of this test: the doctor forgets which folder the process has used so far."""
    monkeypatch.setenv("GRAPHEXEC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("GRAPHEXEC_NUM_THREADS", raising=False)
    yield tmp_path / "cache"
    monkeypatch.undo()
    cache.directory.cache_clear()


def statuses(found):
    return {(section, item): row["status"] for section in SECTIONS for item, row in found[section].items() if row["status"] != "ok"}


@pytest.fixture
def ill(call):
    """``ill()``: the record of a doctor that reports a fault, and its message."""

    def run(*arguments):
        result = call("doctor", "--json", *arguments, code=1)
        found = json.loads(result.stdout)
        assert not found["works"]
        assert [s for s in found if s != "works"] == SECTIONS
        return found, result.stderr

    return run


def test_a_sound_installation(record, call, own_cache):
    found = record("doctor")
    assert found["works"]
    assert not [s for s in statuses(found).values() if s == "fault"]
    assert found["versions"]["numba"]["found"] == metadata.version("numba")
    assert found["processor"]["target"]["found"].startswith(toolchain.host()[0])
    assert found["cache"]["folder"]["found"] == str(own_cache)
    assert found["plugins"]["graphexec_ops"]["found"].endswith(f"from graphexec {metadata.version('graphexec')}")
    assert "native code here" in found["compiler"]
    text = call("doctor").stdout
    assert all(section in text for section in SECTIONS)


def test_the_probe_of_the_cache_is_removed(record, own_cache):
    record("doctor")
    assert not [p for p in own_cache.iterdir() if "doctor" in p.name or p.suffix == ".tmp"]


@pytest.mark.parametrize("place", ["a file", "others may write"])
def test_a_cache_that_cannot_be_used(record, own_cache, place):
    if place == "a file":
        own_cache.touch()
    else:
        own_cache.mkdir()
        own_cache.chmod(0o777)
    found = record("doctor")
    assert found["works"]
    assert statuses(found)["cache", "folder"] == "warning"
    assert str(own_cache) in found["cache"]["warning 1"]["found"]


def test_a_cache_that_keeps_nothing(record, monkeypatch):
    monkeypatch.setattr(cache, "write", lambda name, payload: None)
    assert statuses(record("doctor"))["cache", "writable"] == "warning"


def test_a_file_system_without_locks(record, monkeypatch):
    monkeypatch.setattr(file_lock, "take", lambda handle, wait: None)
    assert statuses(record("doctor"))["cache", "locks"] == "warning"


@pytest.mark.parametrize(("given", "status"), [("3", None), ("many", "warning"), ("0", "warning"), ("-1", "warning")])
def test_the_variable_for_threads(record, monkeypatch, given, status):
    monkeypatch.setenv("GRAPHEXEC_NUM_THREADS", given)
    found = record("doctor")
    assert (found["threads"]["number"]["found"] == "3, decided by GRAPHEXEC_NUM_THREADS") == (status is None)
    assert statuses(found).get(("threads", "GRAPHEXEC_NUM_THREADS")) == status


def test_too_many_threads(record):
    found = record("doctor", "--threads", "1000")
    assert found["threads"]["number"]["found"] == "1000, decided by --threads"
    assert statuses(found)["threads", "too many"] == "warning"


def test_object_code_that_does_not_apply(record, monkeypatch):
    monkeypatch.setattr(object_code, "level", lambda: None)
    assert statuses(record("doctor"))["processor", "shipped object code"] == "warning"


@pytest.mark.parametrize("name", ["numba", "networkx"])
def test_a_dependency_that_is_missing_stops_work(ill, monkeypatch, name):
    true = metadata.version

    def version(asked):
        if asked == name:
            raise metadata.PackageNotFoundError(asked)
        return true(asked)

    monkeypatch.setattr(metadata, "version", version)
    found, message = ill()
    assert found["versions"][name] == {"found": "not installed", "status": "fault"}
    assert f"versions: {name}: not installed" in message


def test_numba_that_cannot_be_imported_stops_work(ill, monkeypatch):
    monkeypatch.setitem(sys.modules, "graphexec.codegen.numba_frontend", None)
    assert statuses(ill()[0])["compiler", "Numba"] == "fault"


def test_a_kernel_that_is_wrong_stops_work(ill, monkeypatch):
    monkeypatch.setattr(EAGER_HOOKS, "compute", lambda op, operands, attributes: np.zeros(7))
    assert statuses(ill()[0])["compiler", "a kernel"] == "fault"


@pytest.mark.parametrize("error", [RuntimeError("no such target"), OSError(5, "broken"), ValueError(), MemoryError()])
def test_a_part_that_fails_is_a_row_and_the_others_are_there(ill, monkeypatch, error):
    def host():
        raise error

    monkeypatch.setattr(toolchain, "host", host)
    found, _ = ill()
    assert found["processor"]["failed"]["found"].startswith(type(error).__name__)
    assert found["cache"]["writable"]["found"] == "yes"


def test_a_plugin_file_that_is_refused(record, tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "sound.py").write_text(ONE_OP.format(name="sound"))
    found = record("doctor", "--plugin", str(tmp_path / "broken.py"), "--plugin", str(tmp_path / "sound.py"))
    assert found["works"]
    assert "ZeroDivisionError" in found["plugins"][str(tmp_path / "broken.py")]["found"]
    assert found["plugins"][str(tmp_path / "sound.py")]["found"] == "1 op"


def test_installed_plugins(tmp_path):
    install(tmp_path, "well_behaved", {"a": ONE_OP.format(name="first_op"), "b": ONE_OP.format(name="second_op")})
    install(tmp_path, "half_broken", {"a": ONE_OP.format(name="third_op"), "b": "print('NOISE')\nraise SystemExit(3)\n"})
    install(tmp_path, "of_the_future", {"__init__": "api_version = 1000\n"}, version="9.9")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "graphexec", "doctor", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    plugins = {name: row["found"] for name, row in found["plugins"].items()}
    assert plugins["well_behaved"] == "2 ops, from well-behaved 1.2"
    assert plugins["half_broken"] == "1 op, from half-broken 1.2"
    assert "SystemExit: 3" in plugins["half_broken.b"]
    assert plugins["of_the_future"].startswith("refused: ")
    assert "needs version 1000" in plugins["of_the_future"]
