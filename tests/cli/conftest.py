"""A small net with data, and a way to call the command line in this process."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from graphexec.cli.commands import cli

NET = """\
graphexec: 1
name: net
inputs:
  x: float32[batch, 3]
  label: int64[batch]
parameters:
  w1: {type: "float32[4, 3]", init: normal(std=0.5)}
  b1: {type: "float32[4]", init: zeros}
  w2: {type: "float32[2, 4]", init: normal(std=0.5)}
nodes:
  hidden: tanh(linear(x, w1, b1))
  scores: linear(hidden, w2)
  loss: softmax_cross_entropy(scores, label)
outputs: [scores, loss]
train:
  loss: loss
  optimizer: momentum(lr=0.1)
  data: {file: data.npz, inputs: {x: points, label: classes}}
  hold_out: 0.25
  metrics: {accuracy: "accuracy(scores, label)"}
  epochs: 4
  batch_size: 8
  seed: 3
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    """A graph file and its data, in a folder of their own, which is the working folder."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((44, 3)).astype("float32")
    np.savez(tmp_path / "data.npz", points=points, classes=(points.sum(axis=1) > 0).astype("int64"))
    (tmp_path / "net.yaml").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "net.yaml"


@pytest.fixture
def call(registry_kept):
    """``call("run", file, ...)``: the result; the registry is left as it was."""

    def run(*arguments, code=0):
        result = CliRunner().invoke(cli, [str(a) for a in arguments])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def record(call):
    """``record("run", file, ...)``: what --json prints."""
    return lambda *arguments: json.loads(call(*arguments, "--json").stdout)
