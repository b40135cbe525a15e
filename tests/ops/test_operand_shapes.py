"""Operands whose shapes do not fit each other: each op refuses them, or computes what its reference computes."""

import warnings

import numpy as np
import pytest
from helpers.compare import assert_close, scale_of
from helpers.run import dtypes_of, load_samples, native

from graphexec.errors import GraphExecError
from graphexec.gradcheck import draw_operands
from graphexec.interpret import evaluate
from graphexec.ir.registry import registry

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # another test fails for a plugin that is refused
    OPS = [registry.get(name) for name in registry.names()]
SAMPLES = load_samples()
ATTRIBUTES = {"cast": {"dtype": "float64"}, "take_batch": {"batch": 2}}


def drawn(op):
    """Operands of the op and its attributes, one set for each sample."""
    dtype = dtypes_of(op)[0]
    for sample in SAMPLES.get(op.name, ()):
        yield sample.make(np.random.default_rng(2), "float64"), sample.attributes
    if op.name not in SAMPLES:
        yield draw_operands(op, np.random.default_rng(2), [(3, 2)] * (3 if op.variadic else len(op.inputs)), dtype), ATTRIBUTES.get(
            op.name, {}
        )


def reshaped(array):
    """The array with one axis fewer, an axis of size 1 or longer by one, and a new axis."""
    if array.size:
        yield array.reshape(-1)[0]
    yield array[None]
    for axis in range(array.ndim):
        repeated = np.concatenate([array, array], axis=axis)
        yield np.take(repeated, range(array.shape[axis] + 1), axis=axis) if array.shape[axis] else array.repeat(2, axis)
        if array.shape[axis]:
            yield np.take(array, 0, axis=axis)
            yield np.take(array, [0], axis=axis)


def cases():
    for op in OPS:
        for k, (operands, attributes) in enumerate(drawn(op)):
            if sum(a is not None for a in operands) > 1:
                marks = () if k == 0 else pytest.mark.slow
                yield pytest.param(op, operands, attributes, id=f"{op.name}-{k}", marks=marks)


@pytest.mark.parametrize(("op", "operands", "attributes"), list(cases()))
def test_shapes_that_do_not_fit(op, operands, attributes):
    attributes = op.check_attributes(attributes)
    for slot, array in enumerate(operands):
        for other in reshaped(np.asarray(array)) if array is not None else ():
            given = [np.array(other) if k == slot else a for k, a in enumerate(operands)]
            shapes = [None if a is None else a.shape for a in given]
            try:
                found = native(op, given, attributes)
            except GraphExecError:
                continue
            expected = evaluate(op, given, attributes)
            for a, b in zip(found, expected, strict=True):
                assert a.shape == b.shape, shapes
                assert_close(a, b, f"{op.name} of {shapes}", scale_of(*[g for g in given if g is not None], *expected))
