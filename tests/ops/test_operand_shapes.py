"""Operands whose shapes do not fit each other: each op refuses them, or computes what its reference computes."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from helpers.compare import assert_close, scale_of
from helpers.run import dtypes_of, examples_of, native, one_node

from graphexec.errors import GraphExecError
from graphexec.gradcheck import draw_operands
from graphexec.interpret import evaluate
from graphexec.ir.infer import infer
from graphexec.ir.registry import registry
from graphexec.ir.spec import Sizes
from graphexec.rewrite.legalize.inline_composites import inline_composites

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # another test fails for a plugin that is refused
    OPS = [registry.get(name) for name in registry.names()]


def drawn(op):
    """Operands of the op and its attributes, one set for each example."""
    dtype = dtypes_of(op)[0]
    for example in examples_of(op):
        yield example.make(np.random.default_rng(2), "float64"), example.attributes
    if op.examples is None:
        yield draw_operands(op, np.random.default_rng(2), [(3, 2)] * (3 if op.variadic else len(op.inputs)), dtype), {}


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


def every():
    """Each op with each of its sets of operands."""
    for op in OPS:
        for k, (operands, attributes) in enumerate(drawn(op)):
            yield pytest.param(op, operands, attributes, id=f"{op.name}-{k}", marks=() if k == 0 else pytest.mark.slow)


def cases():
    """Those of two operands or more."""
    return [p for p in every() if sum(a is not None for a in p.values[1]) > 1]


@pytest.mark.parametrize(("op", "operands", "attributes"), cases())
def test_shapes_that_do_not_fit(op, operands, attributes):
    attributes = op.check_attributes(attributes)
    for slot, array in enumerate(operands):
        for other in reshaped(np.asarray(array)) if array is not None else ():
            given = [np.array(other) if k == slot else a for k, a in enumerate(operands)]
            shapes = [None if a is None else a.shape for a in given]
            try:
                found = native(op, given, attributes)
            except GraphExecError as error:
                if "rule failed" in str(error):
                    raise
                continue
            expected = evaluate(op, given, attributes)
            for a, b in zip(found, expected, strict=True):
                assert a.shape == b.shape, shapes
                assert_close(a, b, f"{op.name} of {shapes}", scale_of(*[g for g in given if g is not None], *expected))


@pytest.mark.parametrize(("op", "operands", "attributes"), [pytest.param(*p.values, id=p.id) for p in every()])
def test_named_sizes(op, operands, attributes):
    """With a name for each size, all or those of one axis, an op is inferred, or refused in words of its own."""
    attributes = op.check_attributes(attributes)
    fn, inputs = one_node(op, operands, attributes)
    sizes = {f"size_{n}": n for a in inputs.values() for n in a.shape}
    places = [(leaf.name, axis) for leaf in fn.leaves for axis in range(len(leaf.shape))]
    for named in [places, *([place] for place in places)]:
        leaves = [
            replace(leaf, shape=tuple(f"size_{n}" if (leaf.name, k) in named else n for k, n in enumerate(leaf.shape)))
            for leaf in fn.leaves
        ]
        for bound in ({}, sizes):
            given = replace(fn, leaves=leaves)
            found = inferred(given, bound)
            if bound and found is not None and op.name != "squeeze":  # which keeps a named axis whose size is 1
                assert found == inferred(fn, {})


def inferred(fn, sizes):
    """Shapes and types of all values; None if the op refuses them."""
    try:
        found = infer(fn, Sizes(sizes))
        inline_composites(found)
    except GraphExecError as error:
        if "rule failed" in str(error):
            raise
        return None
    return [(tuple(map(int, s.shape)), s.dtype) for s in found.specs]
