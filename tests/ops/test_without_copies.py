"""Every op reads the caller's arrays and writes the caller's results where they are, with the bits of a call that copies."""

import numpy as np
import pytest
from helpers.copying import copied, same
from helpers.run import dtypes_of

import graphexec as gx
from graphexec.gradcheck import draw_operands
from graphexec.ir.examples import example_calls
from graphexec.ir.registry import registry
from graphexec.runtime import borrowing

pytestmark = pytest.mark.exhaustive  # every op or command: minutes

ops = gx.ops


def graph_of(op, operands, attributes):
    """A graph of one op on inputs, and the inputs."""
    g, inputs, values = gx.Graph("one"), {}, []
    for slot, array in enumerate(operands):
        if array is not None:
            inputs[f"in{slot}"] = array
        values.append(None if array is None else g.input(f"in{slot}", array.shape, array.dtype.name))
    result = getattr(ops, op.name)(*values, **attributes)
    g.output(*(result if isinstance(result, tuple) else (result,)))
    return g, inputs


def first_sample(op, rng):
    """Operands and attributes."""
    for call in example_calls(op, rng, "float32" if "f" in op.kinds else dtypes_of(op)[0]):
        return call.operands, call.attributes
    return draw_operands(op, rng, dtype=dtypes_of(op)[0]), {}


PUBLIC = [op for name in registry.names() if not ((op := registry.get(name)).updates or op.internal or name == "take_batch")]


@pytest.mark.parametrize("op", PUBLIC, ids=lambda op: op.name)
def test_every_op_reads_and_writes_where_it_is_told(op, rng, monkeypatch):
    monkeypatch.setattr(borrowing, "MIN_BYTES", 1)
    operands, attributes = first_sample(op, rng)
    g, inputs = graph_of(op, [None if a is None else np.asarray(a) for a in operands], attributes)
    expected = copied(g, monkeypatch, lambda exe: exe(inputs), threads=1)
    before = {name: array.tobytes() for name, array in inputs.items()}
    exe = gx.compile(g, threads=1)
    first = exe(inputs)
    same(first, expected)
    out = {name: np.empty_like(array) for name, array in expected.items()}
    given = exe(inputs, out=out)
    same(given, expected)
    assert all(given[name] is out[name] for name in out)
    held = {name: array.tobytes() for name, array in first.items()}
    exe({name: array.copy() for name, array in inputs.items()})
    assert {name: array.tobytes() for name, array in inputs.items()} == before
    assert {name: array.tobytes() for name, array in first.items()} == held
    for name, array in inputs.items():
        assert not any(np.shares_memory(array, result) for result in (*first.values(), *given.values())), name
