"""Kinks, ties, overflow, NaN and infinities of the elementwise, activation and update ops.

Each case goes through the op's reference and through its scalar function, un-jitted, in both floating types.
"""

import numpy as np
import pytest

from graphexec.ir.registry import registry

INF, NAN = np.inf, np.nan
DTYPES = ("float32", "float64")

# op, attributes, operands, out
VALUES = [
    ("abs", {}, [[-0.0, -INF, NAN]], [0, INF, NAN]),
    ("sign", {}, [[-INF, -2, 0, 3, NAN]], [-1, -1, 0, 1, NAN]),
    ("floor", {}, [[-0.5, -1, 1.5, INF, NAN]], [-1, -1, 1, INF, NAN]),
    ("reciprocal", {}, [[0.0, -0.0, INF, NAN]], [INF, -INF, 0, NAN]),
    ("divide", {}, [[1, -1, 0, INF, 1], [0, 0, 0, INF, INF]], [INF, -INF, NAN, NAN, 0]),
    ("maximum", {}, [[NAN, 1, 2, -INF], [1, NAN, 2, INF]], [NAN, NAN, 2, INF]),
    ("minimum", {}, [[NAN, 1, 2, -INF], [1, NAN, 2, INF]], [NAN, NAN, 2, -INF]),
    ("power", {}, [[0, 0, 0, NAN, 1, -2, -2, -8], [0, 2, -1, 0, NAN, 3, -1, 1 / 3]], [1, 0, INF, 1, 1, -8, -0.5, NAN]),
    ("exp", {}, [[-INF, 1000, INF, NAN]], [0, INF, INF, NAN]),
    ("expm1", {}, [[-INF, 1000, NAN]], [-1, INF, NAN]),
    ("log", {}, [[0, -1, INF, NAN]], [-INF, NAN, INF, NAN]),
    ("log1p", {}, [[-1, -2, INF]], [-INF, NAN, INF]),
    ("sqrt", {}, [[0, -1, INF]], [0, NAN, INF]),
    ("square", {}, [[1e200, -INF, NAN]], [INF, INF, NAN]),
    ("sin", {}, [[INF, -INF, NAN]], [NAN, NAN, NAN]),
    ("cos", {}, [[INF, -INF, NAN]], [NAN, NAN, NAN]),
    ("tan", {}, [[INF, -INF, NAN]], [NAN, NAN, NAN]),
    ("tanh", {}, [[-INF, -1000, 1000, NAN]], [-1, -1, 1, NAN]),
    ("erf", {}, [[-INF, 30, NAN]], [-1, 1, NAN]),
    ("clip", {"low": -1.0, "high": 2.0}, [[-INF, -1, 2, 3, NAN]], [-1, -1, 2, 2, NAN]),
    ("clip", {"low": 2.0, "high": 1.0}, [[0, 3]], [1, 1]),
    ("clip", {}, [[-INF, 5, INF, NAN]], [-INF, 5, INF, NAN]),
    ("relu", {}, [[-INF, -0.0, INF, NAN]], [0, 0, INF, NAN]),
    ("leaky_relu", {}, [[-INF, 0, INF, NAN]], [-INF, 0, INF, NAN]),
    ("leaky_relu", {"alpha": -1.0}, [[-3, 3]], [3, 3]),
    ("elu", {"alpha": 0.5}, [[-INF, 0, 1000, INF, NAN]], [-0.5, 0, 1000, INF, NAN]),
    ("sigmoid", {}, [[-INF, -1000, 1000, NAN]], [0, 0, 1, NAN]),
    ("softplus", {}, [[-INF, -1000, 1000, INF, NAN]], [0, 0, 1000, INF, NAN]),
    ("swish", {}, [[-1000, 1000, INF, NAN]], [0, 1000, INF, NAN]),
    ("gelu", {}, [[-1000, 1000, INF, NAN]], [0, 1000, INF, NAN]),
    ("gelu", {"approximate": "tanh"}, [[-1000, 1000, INF, NAN]], [0, 1000, INF, NAN]),
    ("equal", {}, [[NAN, INF, -0.0], [NAN, INF, 0]], [False, True, True]),
    ("not_equal", {}, [[NAN, INF, -0.0], [NAN, INF, 0]], [True, False, False]),
    ("less", {}, [[NAN, 1, 1], [1, NAN, 1]], [False, False, False]),
    ("less_equal", {}, [[NAN, 1, 1], [1, NAN, 1]], [False, False, True]),
    ("greater", {}, [[NAN, 1, 1], [1, NAN, 1]], [False, False, False]),
    ("greater_equal", {}, [[NAN, 1, 1], [1, NAN, 1]], [False, False, True]),
]

# op, attributes, operands, the deltas where d_out is 1
DELTAS = [
    ("abs", {}, [[-2, -0.0, 0, 2, NAN]], [[-1, 0, 0, 1, NAN]]),
    ("maximum", {}, [[1, 2, 3], [2, 2, 2]], [[0, 0.5, 1], [1, 0.5, 0]]),
    ("minimum", {}, [[1, 2, 3], [2, 2, 2]], [[1, 0.5, 0], [0, 0.5, 1]]),
    ("power", {}, [[0, 0, 0, -2, 2], [0, 1, 2, 2, 0]], [[0, 1, 0, -4, 0], [0, 0, 0, NAN, np.log(2)]]),
    ("sqrt", {}, [[0, 4]], [[INF, 0.25]]),
    ("reciprocal", {}, [[INF, 2]], [[0, -0.25]]),
    ("clip", {"low": -1.0, "high": 1.0}, [[-2, -1, 0, 1, 2, NAN]], [[0, 1, 1, 1, 0, 1]]),
    ("relu", {}, [[-1, 0, 1, NAN]], [[0, 0, 1, 1]]),
    ("leaky_relu", {"alpha": 0.25}, [[-1, 0, 1]], [[0.25, 0.25, 1]]),
    ("leaky_relu", {"alpha": -1.0}, [[-3, 3]], [[-1, 1]]),
    ("elu", {"alpha": 0.5}, [[-INF, 0, 1000]], [[0, 0.5, 1]]),
    ("softplus", {}, [[-1000, 1000]], [[0, 1]]),
    ("sigmoid", {}, [[-1000, 1000]], [[0, 0]]),
    ("tanh", {}, [[-1000, 1000]], [[0, 0]]),
    ("swish", {}, [[-1000, 0, 1000]], [[0, 0.5, 1]]),
    ("gelu", {}, [[-1e25, 0, 1e25]], [[0, 0.5, 1]]),
    ("gelu", {"approximate": "tanh"}, [[-1e25, 0, 1e25]], [[0, 0.5, 1]]),
    ("erf", {}, [[-1000, 1000]], [[0, 0]]),
]


def tolerance(dtype):
    return {"rtol": 4 * np.finfo(dtype).eps, "atol": 4 * np.finfo(dtype).eps}


def arrays(operands, dtype):
    with np.errstate(over="ignore"):
        return [np.asarray(o, dtype) for o in operands]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "given", "operands", "expected"), VALUES)
def test_values(name, given, operands, expected, dtype):
    op = registry.get(name)
    attributes, operands = op.check_attributes(given), arrays(operands, dtype)
    for out in (op.evaluate(operands, attributes)[0], op.call_plain(operands, attributes)):
        np.testing.assert_allclose(out, expected, **tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "given", "operands", "expected"), DELTAS)
def test_deltas(name, given, operands, expected, dtype):
    op = registry.get(name)
    attributes, operands = op.check_attributes(given), arrays(operands, dtype)
    named = dict(zip(op.inputs, operands, strict=True)) | {"out": op.evaluate(operands, attributes)[0]}
    named["d_out"] = np.ones_like(named["out"])
    backward = op.backward_op
    deltas = backward.evaluate([named[p] for p in backward.inputs], {k: attributes[k] for k in backward.attributes})
    assert len(deltas) == len(expected)
    for delta, wanted in zip(deltas, expected, strict=True):
        assert delta.dtype == dtype
        np.testing.assert_allclose(delta, wanted, **tolerance(dtype))


def test_softplus_keeps_the_digits_of_small_deltas():
    """Its rule computes 1 - e**-out: as written, that would be 0 here."""
    op = registry.get("softplus")
    x = np.array([-30.0])
    out = op.evaluate([x], {})[0]
    np.testing.assert_allclose(op.backward_op.evaluate([np.ones(1), out], {})[0], 1 / (1 + np.exp(-x)), rtol=1e-14)


def test_where_keeps_out_what_it_does_not_choose():
    op = registry.get("where")
    chosen = np.array([True, False])
    operands = [chosen, np.array([1.0, NAN]), np.array([NAN, 2.0])]
    np.testing.assert_array_equal(op.evaluate(operands, {})[0], [1, 2])
    np.testing.assert_array_equal(op.call_plain(operands, {}), [1, 2])
    d_x, d_y = op.backward_op.evaluate([np.array([INF, INF]), chosen], {})
    np.testing.assert_array_equal(d_x, [INF, 0])
    np.testing.assert_array_equal(d_y, [0, INF])


@pytest.mark.parametrize(
    ("x", "dtype", "expected"),
    [
        (np.array([-1.9, 1.9]), "int32", [-1, 1]),
        (np.array([0.0, -0.0, 0.5, NAN]), "bool", [False, False, True, True]),
        (np.array([True, False]), "float32", [1, 0]),
        (np.array([1e300]), "float32", [INF]),
    ],
)
def test_cast(x, dtype, expected):
    out = registry.get("cast").evaluate([x], {"dtype": dtype})[0]
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, expected)


def test_add_n_adds_from_left_to_right():
    terms = [np.array([v], "float32") for v in (1e8, -1e8, 1)]
    for order, expected in (((0, 1, 2), 1), ((2, 0, 1), 0)):
        operands = [terms[i] for i in order]
        assert registry.get("add_n").evaluate(operands, {})[0] == expected
        assert registry.get("add_n").call_plain(operands, {}) == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_first_step_of_adam_is_lr_long(name, dtype):
    """Bias correction makes the first step lr * sign(d), however small the gradient."""
    op = registry.get(name)
    attributes = op.check_attributes({"weight_decay": 0.0, "eps": 0.0})
    d = np.array([1e-6, -1.0, 30.0], dtype)
    zeros = np.zeros_like(d)
    for results in (op.evaluate([zeros, d, zeros, zeros, np.array(1)], attributes),
                    op.call_plain([zeros, d, zeros, zeros, np.array(1)], attributes)):
        np.testing.assert_allclose(results[0], -1e-3 * np.sign(d), rtol=8 * np.finfo(dtype).eps)


def test_adamw_decays_apart_from_the_gradient():
    op = registry.get("adamw")
    p, zeros = np.array([2.0]), np.zeros(1)
    out = op.evaluate([p, zeros, zeros, zeros, np.array(1)], op.check_attributes({"lr": 0.1, "weight_decay": 0.5}))
    np.testing.assert_allclose(out[0], 2 * (1 - 0.1 * 0.5), rtol=1e-15)


def test_momentum_with_and_without_nesterov():
    op = registry.get("momentum")
    operands = [np.array([1.0]), np.array([2.0]), np.array([3.0])]
    for nesterov, step in ((False, 0.9 * 3 + 2), (True, 2 + 0.9 * (0.9 * 3 + 2))):
        attributes = op.check_attributes({"lr": 0.1, "nesterov": nesterov})
        for p, v in (op.evaluate(operands, attributes), op.call_plain(operands, attributes)):
            np.testing.assert_allclose(v, 0.9 * 3 + 2)
            np.testing.assert_allclose(p, 1 - 0.1 * step)
