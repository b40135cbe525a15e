"""Shape rules and functions of composites that fail, or give what is not a shape."""

from pathlib import Path

import numpy as np
import pytest

import graphexec as gx
from graphexec.plugin import composite, kernel


def op_with(rule):
    @kernel(shape=rule, reference=lambda x: x, differentiable=False)
    def with_this_rule(x, out):
        out[...] = x

    return with_this_rule


@pytest.mark.parametrize("given", ["abc", (-1,), (1.5,), ("3",), 3, {3}, (2, None)], ids=repr)
def test_what_is_not_a_shape(given):
    with pytest.raises(gx.OpError, match="which is not a shape") as caught:
        op_with(lambda x: given)(np.ones(3))
    assert "TensorSpec" in caught.value.todo


@pytest.mark.parametrize("given", [(3,), [3], (np.int64(3),)], ids=repr)
def test_what_is_a_shape(given):
    assert op_with(lambda x: given)(np.ones(3)).tolist() == [1.0, 1.0, 1.0]


def fails(x):
    return (x.shape[5],)  # the line


@composite(domain=(-1.0, 1.0), differentiable=False)
def composite_that_fails(x):
    raise ValueError("inside")  # the other line


@pytest.mark.parametrize(
    ("op", "what", "mark"),
    [(op_with(fails), "its shape rule failed: IndexError", "# the line"),
     (composite_that_fails, "its function failed: ValueError: inside", "# the other line")],
)  # fmt: skip
def test_the_line_is_told(op, what, mark):
    with pytest.raises(gx.OpError, match=what) as caught:
        op(np.ones(3))
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    number = next(k for k, text in enumerate(lines, 1) if text.endswith(mark))
    assert f"{__file__}:{number}: {lines[number - 1].strip()}" in caught.value.facts
