"""Each op has one meaning: its reference, its kernel anywhere in an array, the op called on arrays and a folded node agree.

Every op of the registry is tried, on the values where implementations differ: signed zeros, infinities, NaN, subnormal numbers,
the ends of each type and the numbers beyond the next narrower one.
"""

import itertools

import numpy as np
import pytest
from helpers.run import dtypes_of, examples_of, native

import graphexec as gx
from graphexec.interpret import interpret
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.registry import registry

_FLOATS = [
    np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1.1754944e-38, 3.4e38, -3.4e38, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 1.0, -1.0,
    2.0, 3.0, -7.0, 0.1, 1e-3, 90.0, -90.0, 16777217.0, 2.0**31, -(2.0**31), -(2.0**31) - 256, 3e9, -3e9, 2.0**63, -(2.0**63), 1e19,
]  # fmt: skip
SPECIAL = {
    "float32": _FLOATS,
    "float64": [*_FLOATS, 1e300, -1e300, 5e-324, 2.0**31 - 0.5, -(2.0**31) - 0.5, 2.0**53 + 2, 4503599627370495.5],
    "int32": [0, 1, -1, 2, -2, 3, 7, -7, 31, 32, 33, 2**24 + 1, 2**31 - 1, -(2**31)],
    "int64": [0, 1, -1, 2, -2, 3, 7, -7, 63, 64, 2**24 + 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63)],
    "bool": [False, True],
}


def elementwise():
    """Each elementwise op, in each type that it takes, with each target type if it converts."""
    for name in registry.names():
        op = registry.get(name)
        if isinstance(op, ElementwiseOp) and not op.updates:
            for dtype in dtypes_of(op):
                for target in SPECIAL if "dtype" in op.attributes else [""]:
                    words = [w for w in (name, dtype, target) if w]
                    yield pytest.param(name, dtype, {"dtype": target} if target else {}, id="-".join(words))


def operands(op, dtype):
    """All combinations of special values, one operand after the other."""
    count = 2 if op.variadic else len(op.inputs)
    dtypes = [dtype if op.variadic else op.types.get(p, dtype) for p in op.inputs] * (2 if op.variadic else 1)
    columns = zip(*itertools.product(*[SPECIAL[d] for d in dtypes[:count]]), strict=True)
    with np.errstate(over="ignore"):
        return [np.array(c, d) for c, d in zip(columns, dtypes, strict=False)]


def assert_same_bits(found, expected, arrays=()):
    """Equal to the bit; any NaN equals any other."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    equal = np.ascontiguousarray(found).view(f"V{found.itemsize}") == np.ascontiguousarray(expected).view(f"V{found.itemsize}")
    if found.dtype.kind == "f":
        equal |= np.isnan(found) & np.isnan(expected)
    if not equal.all():
        at = np.unravel_index(np.argmin(equal), found.shape)
        raise AssertionError(f"{found[at]!r}, not {expected[at]!r}, at {[a[at] for a in arrays]}")


@pytest.mark.parametrize(("name", "dtype", "attributes"), list(elementwise()))
def test_every_elementwise_op(name, dtype, attributes):
    op = registry.get(name)
    arrays = operands(op, dtype)
    run = native(op, arrays, attributes)
    if op.exact:  # nodes of constants are computed with such a reference
        reference = op.evaluate(arrays, op.check_attributes(attributes))
        for found, expected in zip(run, reference, strict=True):
            assert_same_bits(found, expected, arrays)
    shifted = native(op, [np.roll(a, 3)[1:] for a in arrays], attributes)  # vectors and their remainder get other elements
    for found, expected in zip(shifted, run, strict=True):
        assert_same_bits(found, np.roll(expected, 3)[1:])
    for found, expected in zip(_tuple(op(*arrays, **attributes)), run, strict=True):
        assert_same_bits(found, expected, arrays)
    for found, expected in zip(folded(op, arrays, attributes), run, strict=True):
        assert_same_bits(found, expected, arrays)


def others():
    ops = [registry.get(n) for n in registry.names()]
    return [op.name for op in ops if op.examples is not None and not (op.updates or op.internal or isinstance(op, ElementwiseOp))]


@pytest.mark.parametrize("name", others())
def test_every_other_op_is_folded_by_its_kernel(name):
    op = registry.get(name)
    example = examples_of(op)[0]
    arrays = example.make(np.random.default_rng(0), "float32")
    expected = native(op, arrays, example.attributes)
    for found, wanted in zip(folded(op, arrays, example.attributes), expected, strict=True):
        assert_same_bits(found, wanted)


def folded(op, arrays, attributes):
    """The outputs of the op on constants, in a compiled graph."""
    g = gx.Graph("folded")
    g.output(*_tuple(op(*(None if a is None else g.constant(a) for a in arrays), **attributes)))
    return gx.compile(g)().values()


def _tuple(results):
    return results if isinstance(results, tuple) else (results,)


@pytest.mark.parametrize("source", ["float32", "float64"])
def test_a_cast_beyond_an_integer_type_gives_its_nearest_end(source):
    g, given = gx.Graph("cast"), np.array([np.nan, np.inf, -np.inf, 3e9, -3e9, 2.5, -2.5], source)
    expected = [0, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31), 2, -2]
    x = g.input("x", (7,), source)
    g.output(gx.ops.cast(x, dtype="int32", name="run"), gx.ops.cast(g.constant(given), dtype="int32", name="folded"))
    found = gx.compile(g)(x=given)
    assert found["run"].tolist() == found["folded"].tolist() == expected
    assert gx.ops.cast(given, dtype="int32").tolist() == expected
    assert interpret(g, {"x": given})["run"].tolist() == expected
    assert gx.ops.cast(np.array([1e30, -1e30], source), dtype="int64").tolist() == [2**63 - 1, -(2**63)]
