"""Arrays as safetensors, and checkpoints that are whole or not there."""

import json
import os

import numpy as np
import pytest

import graphexec as gx
from graphexec.errors import DataError
from graphexec.training import checkpoint
from graphexec.training.checkpoint import load_arrays, load_checkpoint, save_arrays, save_checkpoint


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def executable(seed=0, optimizer="momentum(lr=0.1)", size=2):
    g = gx.Graph("net")
    x = g.input("x", ("batch", size), dtype="float64")
    w = g.parameter("w", (size,), dtype="float64", init="normal(std=1.0)")
    g.output(gx.ops.half_squared_error(x * w, x, name="loss"))
    return gx.compile(g, loss="loss", optimizer=optimizer, seed=seed)


X = np.random.default_rng(0).standard_normal((12, 2))


def test_arrays_come_back_as_they_were():
    arrays = {
        "a": np.arange(6.0).reshape(2, 3).T, "scalar": np.array(3, "int64"), "empty": np.zeros((0, 2), "float32"),
        "flags": np.array([True, False]), "strided": np.arange(10, dtype="int32")[::2],
    }  # fmt: skip
    save_arrays("a.safetensors", arrays)
    found = load_arrays("a.safetensors")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape


def test_a_failed_write_leaves_the_old_file(monkeypatch):
    save_arrays("a.safetensors", {"a": np.zeros(2)})

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DataError, match="the disk is full"):
        save_arrays("a.safetensors", {"a": np.ones(2)})
    np.testing.assert_array_equal(load_arrays("a.safetensors")["a"], [0, 0])
    assert os.listdir() == ["a.safetensors"]


def test_unwritable_and_missing():
    with pytest.raises(DataError, match="cannot be written: its folder does not exist"):
        save_arrays("no/a.safetensors", {"a": np.ones(2)})
    with pytest.raises(DataError, match="no such file"):
        load_arrays("no.safetensors")
    os.mkdir("d.safetensors")
    with pytest.raises(DataError, match="directory"):
        load_arrays("d.safetensors")


@pytest.mark.parametrize("content", [b"", b"\x80\x04]q\x00.", b"\xff" * 100, b"PK\x03\x04 and more", None])
def test_foreign_and_truncated_files(content):
    save_arrays("a.safetensors", {"a": np.ones(20)})
    with open("a.safetensors", "rb") as stream:
        whole = stream.read()
    with open("b.safetensors", "wb") as stream:
        stream.write(whole[:-8] if content is None else content)
    with pytest.raises(DataError, match="truncated or not a safetensors file"):
        load_arrays("b.safetensors")


def test_checkpoint_goes_on_bit_for_bit():
    whole = executable()
    whole.fit({"x": X}, epochs=6, batch_size=5)
    first = executable()
    history = first.fit({"x": X}, epochs=3, batch_size=5)
    save_checkpoint("ck", first.compiled, 3, history)
    second = executable()
    epoch, found = load_checkpoint("ck", second.compiled)
    assert (epoch, found) == (3, history)
    second.fit({"x": X}, epochs=3, batch_size=5, start_epoch=epoch)
    assert second.parameters["w"].tobytes() == whole.parameters["w"].tobytes()
    assert set(second.state()) == {"w", "w.v"}


def test_only_the_newest_is_kept():
    exe = executable()
    for epoch in (1, 2, 3):
        save_checkpoint("ck", exe.compiled, epoch, [])
    assert sorted(os.listdir("ck")) == ["epoch-000003.safetensors", "latest.json"]


def test_a_write_that_stops_half_way_leaves_the_old_checkpoint(monkeypatch):
    exe = executable()
    exe.fit({"x": X}, epochs=1)
    save_checkpoint("ck", exe.compiled, 1, [{"epoch": 1}])
    before = exe.parameters["w"].copy()
    exe.fit({"x": X}, epochs=1, start_epoch=1)

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_text", stop)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint("ck", exe.compiled, 2, [{"epoch": 1}, {"epoch": 2}])
    again = executable()
    assert load_checkpoint("ck", again.compiled) == (1, [{"epoch": 1}])
    np.testing.assert_array_equal(again.parameters["w"], before)


def test_nan_in_the_history_stays_json():
    save_checkpoint("ck", executable().compiled, 1, [{"epoch": 1, "loss": float("nan")}])
    with open("ck/latest.json", encoding="utf-8") as stream:
        assert json.load(stream, parse_constant=pytest.fail)["history"] == [{"epoch": 1, "loss": None}]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"seed": 1}, "another seed"), ({"optimizer": "sgd(lr=0.1)"}, "another optimizer"), ({"size": 3}, "another graph")],
)
def test_checkpoint_of_something_else(options, message):
    exe = executable()
    exe.fit({"x": X}, epochs=1)
    save_checkpoint("ck", exe.compiled, 1, [])
    with pytest.raises(DataError, match=message):
        load_checkpoint("ck", executable(**options).compiled)


LATER = '{"graphexec": 2, "epoch": 1, "history": [], "seed": 0, "optimizer": "sgd", "arrays": "a"}'


@pytest.mark.parametrize("text", ["", "[]", "{}", LATER])
def test_broken_pointer(text):
    os.mkdir("ck")
    with open("ck/latest.json", "w", encoding="utf-8") as stream:
        stream.write(text)
    with pytest.raises(DataError, match="not a checkpoint"):
        load_checkpoint("ck", executable().compiled)


def test_pointer_does_not_lead_out_of_its_folder():
    exe = executable()
    save_checkpoint("ck", exe.compiled, 1, [])
    save_arrays("outside.safetensors", exe.state())
    with open("ck/latest.json", encoding="utf-8") as stream:
        record = json.load(stream)
    with open("ck/latest.json", "w", encoding="utf-8") as stream:
        json.dump(record | {"arrays": "../outside.safetensors"}, stream)
    with pytest.raises(DataError, match="not a checkpoint"):
        load_checkpoint("ck", exe.compiled)


def test_no_checkpoint():
    with pytest.raises(DataError, match="no checkpoint in this folder"):
        load_checkpoint("ck", executable().compiled)
