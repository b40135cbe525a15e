"""Settings of optimizers and initializers outside their range are refused, in Python, in a file and on the command line alike."""

import numpy as np
import pytest

import graphexec as gx
from graphexec.graph.file.read import loads
from graphexec.ir.registry import registry
from graphexec.optim.initializers import initial_value
from graphexec.optim.optimizers import Optimizer

NAN, INF = float("nan"), float("inf")
WRONG = {
    "lr": [NAN, INF, -INF, -0.1, "0.1", None, True],
    "momentum": [NAN, -0.1, 1.0, 1.5, INF],
    "beta1": [NAN, -0.1, 1.0, 2.0],
    "beta2": [NAN, -0.1, 1.0, 2.0],
    "eps": [NAN, -1e-8, INF],
    "weight_decay": [NAN, -0.1, INF],
    "nesterov": [1.0, "yes", None],
}
RIGHT = {
    "lr": [0, 0.0, 1.0], "momentum": [0.0, 0.999], "beta1": [0.0, 0.5], "beta2": [0.0], "eps": [0.0, 1e-30, 1],
    "weight_decay": [0, 2.0],
}  # fmt: skip
RULES = [n for n in registry.names() if registry.get(n).updates and "lr" in registry.get(n).attributes]
FILE = """\
graphexec: 1
inputs: {x: "float32[n]"}
parameters: {w: "float32[1]"}
nodes: {loss: "mean(square(subtract(multiply(x, w), 1.0)))"}
outputs: [loss]
train: {loss: loss, optimizer: "%s"}
"""


def written(value):
    """A literal as a graph file has it."""
    words = {True: "true", False: "false", None: "null"}
    return words[value] if value is None or isinstance(value, bool) else repr(value)


@pytest.mark.parametrize("rule", RULES)
def test_every_setting_of_every_rule_has_a_range(rule):
    for key, default in registry.get(rule).attributes.items():
        assert key in WRONG, f"say in WRONG which values of {key!r} are wrong"
        for value in WRONG[key]:
            with pytest.raises(gx.OpError, match=key):
                Optimizer(rule, **{key: value})
        for value in RIGHT.get(key, []):
            assert Optimizer(rule, **{key: value}).attributes[key] == value
        with pytest.raises(gx.OpError, match=key):
            Optimizer(rule).with_attributes(**{key: "zz" if isinstance(default, bool) else -1})


@pytest.mark.parametrize("rule", RULES)
def test_a_file_is_checked_by_the_same_rule(rule):
    for key in registry.get(rule).attributes:
        for value in WRONG[key]:
            with pytest.raises(gx.GraphExecError) as caught:
                loads((FILE % f"{rule}({key}={written(value)})"), name="a.yaml")
            assert "a.yaml:6" in str(caught.value)


def test_nesterov_needs_momentum():
    for make in (
        lambda: gx.SGD(nesterov=True), lambda: gx.SGD(momentum=0.0, nesterov=True),
        lambda: Optimizer("momentum", momentum=0, nesterov=True),
        lambda: Optimizer.parse("momentum(momentum=0.0, nesterov=true)"),
        lambda: loads((FILE % "momentum(momentum=0.0, nesterov=true)"), name="a.yaml"),
    ):  # fmt: skip
        with pytest.raises(gx.OpError, match="nesterov needs a momentum above 0"):
            make()
    assert gx.SGD(momentum=0.9, nesterov=True).attributes["nesterov"] is True


@pytest.mark.parametrize(
    "init", ["normal(std=-1.0)", "normal(mean=1e999)", "uniform(low=1.0, high=0.0)", "uniform(low=0.1)", "constant(value=1e300)"]
)
def test_an_initializer_of_nonsense(init):
    with pytest.raises(gx.OpError, match="initializer"):
        initial_value("w", init, (3,), "float32", 0)


def test_an_initializer_of_integers_loses_nothing():
    assert (initial_value("w", "constant(value=3.0)", (2,), "int64", 0) == np.array([3, 3])).all()
    with pytest.raises(gx.OpError, match="int64 cannot hold"):
        initial_value("w", "constant(value=2.5)", (2,), "int64", 0)
