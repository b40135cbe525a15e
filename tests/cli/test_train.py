"""train: results, checkpoints, going on, Ctrl-C."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file


def test_json_is_the_object_that_the_interface_names(record, net):
    found = record("train", net)
    assert set(found) == {"epochs", "train", "held_out", "seconds"}
    assert [e["epoch"] for e in found["epochs"]] == [1, 2, 3, 4]
    assert set(found["train"]) == set(found["held_out"]) == {"loss", "accuracy"}
    assert found["epochs"][-1]["loss"] < found["epochs"][0]["loss"]


def test_lines_and_summary(call, net):
    result = call("train", net, "--epochs", 100)
    lines = [line for line in result.stdout.splitlines() if line.startswith("epoch")]
    assert 2 < len(lines) <= 21
    assert lines[-1].startswith("epoch 100/100")
    assert "held out" in result.stdout.splitlines()[-3]
    assert "not saved" in result.stderr
    assert call("train", net, "--quiet").stderr == ""
    assert "epoch 1/" not in call("train", net, "--quiet").stdout


def test_options_come_before_the_file(record, net):
    found = record("train", net, "--epochs", 2, "--batch-size", 5, "--lr", 0.0, "--hold-out", 0)
    assert found["held_out"] is None
    assert len(found["epochs"]) == 2
    assert found["train"]["loss"] == pytest.approx(found["epochs"][0]["loss"], rel=1e-5)
    assert record("train", net, "--seed", 8)["train"] != record("train", net)["train"]


def test_recomputing_changes_the_memory_and_not_the_result(call, record, net):
    plain = record("train", net)
    for asked in (2, "sqrt"):
        assert record("train", net, "--recompute", asked)["train"]["loss"] == pytest.approx(plain["train"]["loss"], rel=1e-5)
    assert "again" not in call("show", net, "--program").stdout
    net.write_text(net.read_text() + "  recompute: [scores]\n")
    assert "hidden.again" in call("show", net, "--program").stdout
    assert record("train", net)["train"]["loss"] == pytest.approx(plain["train"]["loss"], rel=1e-5)


def test_weights_are_written_and_read(call, record, net):
    found = record("train", net, "-o", "w.safetensors")
    assert set(load_file("w.safetensors")) == {"w1", "b1", "w2"}
    again = record("train", net, "-w", "w.safetensors", "--epochs", 0)
    assert again["train"] == found["train"]
    assert again["held_out"] == found["held_out"]


def test_weights_of_another_graph(call, net):
    call("train", net, "--epochs", 1, "-o", "w.safetensors")
    net.write_text(net.read_text().replace("w2", "w22"))
    error = call("run", net, "-w", "w.safetensors", code=1).stderr
    assert "no parameter 'w22'; did you mean 'w2'?" in error


def test_resume_gives_the_same_bits(call, record, net):
    whole = record("train", net, "--epochs", 5, "--checkpoint", "a")
    record("train", net, "--epochs", 2, "--checkpoint", "b")
    parts = record("train", net, "--epochs", 5, "--checkpoint", "b", "--resume")
    assert [e["loss"] for e in parts["epochs"]] == [e["loss"] for e in whole["epochs"]]
    assert [e["held_out"] for e in parts["epochs"]] == [e["held_out"] for e in whole["epochs"]]
    a, b = load_file("a/epoch-000005.safetensors"), load_file("b/epoch-000005.safetensors")
    assert set(a) == set(b) == {"w1", "b1", "w2", *(n for n in a if "." in n)}
    assert len(a) > 3
    for name in a:
        assert a[name].tobytes() == b[name].tobytes(), name
    assert record("run", net, "-w", "a") == record("run", net, "-w", "b/epoch-000005.safetensors", "--quiet")


def test_checkpoints_are_not_overwritten_by_accident(call, net):
    call("train", net, "--epochs", 1, "--checkpoint", "a")
    assert "--resume" in call("train", net, "--checkpoint", "a", code=1).stderr
    assert "another seed" in call("train", net, "--checkpoint", "a", "--resume", "--seed", 9, code=1).stderr
    assert "another optimizer" in call("train", net, "--checkpoint", "a", "--resume", "--optimizer", "sgd", code=1).stderr
    assert "starts at the first epoch" in call("train", net, "--checkpoint", "c", "--resume", "--epochs", 1).stderr


def test_ctrl_c_saves_the_last_whole_epoch(call, record, net):
    """A long training in a process of its own is interrupted; the checkpoint is sound and training goes on from it."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((2000, 3)).astype("float32")
    np.savez("data.npz", points=points, classes=(points.sum(axis=1) > 0).astype("int64"))
    command = [sys.executable, "-m", "graphexec", "train", str(net), "--epochs", "1000000", "--checkpoint", "ck"]
    # a shell without job control starts background jobs with SIGINT ignored, and children would inherit that
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        until = time.monotonic() + 60
        while not (net.parent / "ck" / "latest.json").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 130, error
    assert "interrupted" in error
    assert "Traceback" not in error
    latest = json.loads((net.parent / "ck" / "latest.json").read_text())
    epoch = latest["epoch"]
    assert f"stopped after {epoch} of 1000000 epochs; ck holds epoch {epoch}" in error
    assert len(latest["history"]) == epoch > 1
    more = record("train", net, "--epochs", epoch + 1, "--checkpoint", "ck", "--resume")
    assert len(more["epochs"]) == epoch + 1
    straight = record("train", net, "--epochs", epoch + 1)
    assert straight["train"] == more["train"]


def test_bar_is_for_terminals_only(call, net):
    assert "step" not in call("train", net).stderr


def test_data_from_the_command_line(record, call, net):
    given = ("-i", "x=data.npz:points", "-i", "label=data.npz:classes")
    assert record("train", net, *given)["train"] == record("train", net)["train"]
    assert "input 'label' is missing" in call("train", net, "-i", "x=data.npz:points", code=1).stderr
