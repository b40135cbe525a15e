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


# -- resuming is the same run, or it is refused


NET_CHANGES = {  # what differs: (options of the resumed run, change of the file)
    "seed": (["--seed", 9], None),
    "optimizer": (["--lr", 0.05], None),
    "batch size": (["--batch-size", 9], None),
    "held-out rows": (["--hold-out", 0.5], None),
    "recompute": (["--recompute", 2], None),
    "skipped passes": (["--skip-pass", "fuse"], None),
    "shuffle": ([], ("seed: 3", "seed: 3\n  shuffle: false")),
    "graph": ([], ("tanh(linear", "sigmoid(linear")),
    "loss": ([], ("loss: loss", "loss: other")),
    "rows": (["-i", "x=more.npz:points", "-i", "label=more.npz:classes"], None),
    "data": (["-i", "x=other.npz:points", "-i", "label=other.npz:classes"], None),
    "held-out data": ([], ("hold_out: 0.25", "hold_out: {file: held.npz, inputs: {x: points, label: classes}}")),
    "weights": (["-w", "w.safetensors"], None),
}


@pytest.mark.parametrize("what", NET_CHANGES)
def test_resuming_another_run_is_refused(call, net, what):
    options, change = NET_CHANGES[what]
    arrays = dict(np.load("data.npz"))
    other = arrays["points"].copy()
    other[7, 1] += 1
    np.savez("other.npz", points=other, classes=arrays["classes"])
    np.savez("more.npz", points=np.concatenate([other, other]), classes=np.concatenate([arrays["classes"]] * 2))
    np.savez("held.npz", points=other[:11], classes=arrays["classes"][:11])
    text = net.read_text().replace("outputs: [scores, loss]", "  other: 2.0 * loss\noutputs: [scores, loss, other]")
    text = text.replace("other: 2.0 * loss", "other: multiply(loss, 2.0)")
    net.write_text(text)
    call("train", net, "--epochs", 1, "--checkpoint", "a", "-o", "w.safetensors")
    before = sorted((p.name, p.read_bytes()) for p in (net.parent / "a").iterdir())
    if change is not None:
        assert change[0] in text
        net.write_text(text.replace(*change, 1) if what != "loss" else text.replace("  loss: loss\n", "  loss: other\n"))
    error = call("train", net, "--checkpoint", "a", "--resume", *options, code=1).stderr
    assert f"{what}: " in error
    assert "Resume with what the run began with" in error
    assert before == sorted((p.name, p.read_bytes()) for p in (net.parent / "a").iterdir())


def test_what_does_not_decide_a_run_may_change(call, record, net):
    call("train", net, "--epochs", 1, "--checkpoint", "a")
    net.write_text(net.read_text().replace('metrics: {accuracy: "accuracy(scores, label)"}', 'metrics: {top: "max(scores)"}'))
    found = record("train", net, "--epochs", 3, "--checkpoint", "a", "--resume", "--threads", 1)
    assert [e["loss"] for e in found["epochs"]] == [e["loss"] for e in record("train", net, "--epochs", 3)["epochs"]]
    assert set(found["train"]) == {"loss", "top"}


# -- what is not so is not reported


def test_nan_in_the_data_is_refused(call, record, net):
    arrays = dict(np.load("data.npz"))
    arrays["points"][17, 2] = np.nan
    np.savez("data.npz", **arrays)
    error = call("train", net, "-o", "w.safetensors", code=1).stderr
    assert "data.npz:points: the data holds nan at row 17, column 2" in error
    assert "nan at row 17" in call("train", net, "-i", "x=data.npz:points", "-i", "label=data.npz:classes", code=1).stderr
    assert not (net.parent / "w.safetensors").exists()
    for options in (["--allow-nan"], []):
        error = call("train", net, *options, code=1).stderr
        assert "the loss is NaN or infinite" in error
        assert "input 'x' holds nan in row 17, at (2,)" in error or "held" in error
        net.write_text(net.read_text() + "  allow_nan: true\n")


def test_a_diverging_loss_stops_and_keeps_the_last_finite_weights(call, net):
    net.write_text(net.read_text().replace("softmax_cross_entropy(scores, label)", "half_squared_error(scores, 1.0)")
                   .replace("hidden: tanh(linear(x, w1, b1))", "hidden: linear(x, w1, b1)"))  # fmt: skip
    result = call("train", net, "--lr", 0.12, "--epochs", 300, "-o", "w.safetensors", "--checkpoint", "ck", code=1)
    assert "DivergenceError: node 'loss'" in result.stderr
    assert "NaN or infini" in result.stderr
    latest = json.loads((net.parent / "ck" / "latest.json").read_text())
    assert f"the weights after epoch {latest['epoch']}, the last finite ones" in result.stderr
    weights, kept = load_file("w.safetensors"), load_file(f"ck/{latest['arrays']}")
    assert all(np.isfinite(a).all() for a in kept.values())
    assert all(a.tobytes() == kept[n].tobytes() for n, a in weights.items())


def test_divergence_in_the_first_epoch_writes_nothing(call, net):
    result = call("train", net, "--lr", 1e38, "-o", "w.safetensors", code=1)
    assert "w.safetensors is not written: no epoch was completed" in result.stderr
    assert not (net.parent / "w.safetensors").exists()
