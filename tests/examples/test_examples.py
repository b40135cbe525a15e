"""Each example, with its number."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import graphexec as gx
from graphexec.cli.commands import cli
from graphexec.gradcheck import check_gradient
from graphexec.graph.file.read import load
from graphexec.ir.registry import registry

EXAMPLES = Path(__file__).parents[2] / "examples"


def script(name):
    """An example script as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command(*arguments):
    """What a command with --json prints."""
    result = CliRunner().invoke(cli, [str(a) for a in (*arguments, "--json")])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# -- nested: section 3 of the tutorial, by hand

W, B = np.array([[0.5, -0.25], [0.75, 1.0]]), np.array([0.125, -0.5])


def by_hand():
    """δ(2) = z(2) - y, δ(1) = wᵀ δ(2), dL/dw = δ(2) z(1)ᵀ + δ(1) xᵀ, dL/db = δ(2) + δ(1), summed over samples."""
    with np.load(EXAMPLES / "nested.npz") as data:
        x, y = data["x"], data["y"]
    z1, z2, delta1, delta2 = [], [], [], []
    w, b = np.zeros_like(W), np.zeros_like(B)
    for sample, target in zip(x, y, strict=True):
        first = W @ sample + B
        second = W @ first + B
        error = second - target
        back = W.T @ error
        w += np.outer(error, first) + np.outer(back, sample)
        b += error + back
        for values, value in zip((z1, z2, delta1, delta2), (first, second, back, error), strict=True):
            values.append(value)
    return x, y, {"z1": np.array(delta1), "z2": np.array(delta2), "w": w, "b": b, "loss": 0.5 * np.sum(np.square(delta2))}


def test_nested_by_command():
    _, _, expected = by_hand()
    found = command("grad", EXAMPLES / "nested.yaml")
    deltas = {node["name"]: node.get("delta") for node in found["nodes"]}
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-12)
    for name in ("z1", "z2", "w", "b"):
        np.testing.assert_allclose(deltas[name], expected[name], rtol=1e-12, atol=1e-12)
    for name in ("w", "b"):
        np.testing.assert_allclose(found["gradients"][name]["values"], expected[name], rtol=1e-12, atol=1e-12)


def test_nested_in_python():
    x, y, expected = by_hand()
    exe = gx.compile(load(EXAMPLES / "nested.yaml"), loss="loss", keep_deltas=True)
    loss, gradients = exe.gradients(x=x, y=y)
    np.testing.assert_allclose(loss, expected["loss"], rtol=1e-12)
    for name in ("w", "b"):
        np.testing.assert_allclose(gradients[name], expected[name], rtol=1e-12, atol=1e-12)
    for name in ("z1", "z2"):
        np.testing.assert_allclose(exe.deltas[name], expected[name], rtol=1e-12, atol=1e-12)


# -- training


def test_xor():
    assert command("train", EXAMPLES / "xor.yaml")["train"]["accuracy"] == 1.0


def test_digits():
    result = command("train", EXAMPLES / "digits.yaml")
    assert result["held_out"]["accuracy"] >= 0.97
    assert len(result["epochs"]) == 60


def test_rnn():
    assert script("rnn").main() >= 0.9


# -- graphs and ops from elsewhere


def test_from_networkx(capsys):
    y = np.tanh(0.25) + 0.5
    np.testing.assert_allclose(script("from_networkx").main(), (y, np.tanh(y * y) + y), rtol=1e-12)
    assert "operand" in capsys.readouterr().out  # what is missing once the branch is removed


@pytest.fixture
def custom_ops():
    names = [n for file in ("soft_clip", "running_mean") for n in gx.load_plugin(EXAMPLES / f"custom_op/softclip/{file}.py")]
    yield names
    for name in names:
        registry.unregister(name)


def test_custom_op(custom_ops, rng):
    assert custom_ops == ["soft_clip", "running_mean"]
    x = rng.standard_normal((3, 5))
    np.testing.assert_allclose(gx.ops.soft_clip(x, limit=2.0), 2.0 * np.tanh(x / 2.0), rtol=1e-14)
    np.testing.assert_allclose(gx.ops.running_mean(x), np.cumsum(x, axis=1) / np.arange(1, 6), rtol=1e-13)
    for name in custom_ops:
        assert check_gradient(name).passed


def test_custom_op_in_a_graph(custom_ops, rng):
    g = gx.Graph("custom")
    x = g.input("x", ("batch", 4), "float64")
    loss = gx.ops.sum(gx.ops.running_mean(gx.ops.soft_clip(x, limit=0.5)), name="loss")
    g.output(loss)
    assert check_gradient(g, of="loss", wrt=["x"]).passed


def test_digits_are_those_of_scikit_learn(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    module = script("make_digits")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "make_digits.py"))
    module.main()
    with np.load(tmp_path / "digits.npz") as made, np.load(EXAMPLES / "digits.npz") as shipped:
        assert sorted(made.files) == sorted(shipped.files) == ["images", "labels"]
        for name in made.files:
            np.testing.assert_array_equal(made[name], shipped[name])
