"""Derivatives of orders 1 to 6, of every elementwise op by each of its operands, against mpmath; and what their code costs."""

import mpmath
import numpy as np
import pytest

import graphexec as gx
from graphexec.autodiff.reverse import differentiate
from graphexec.gradcheck import draw_operands
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.registry import registry

ORDERS = 6


def logistic(x):
    return 1 / (1 + mpmath.exp(-x))


FUNCTIONS = {
    "abs": abs,
    "add": lambda x, y: x + y,
    "add_n": lambda *terms: mpmath.fsum(terms),
    "cast": lambda x: x,
    "ceil": mpmath.ceil,
    "clip": lambda x: min(max(x, mpmath.mpf(-1)), mpmath.mpf(1)),
    "copy": lambda x: x,
    "cos": mpmath.cos,
    "divide": lambda x, y: x / y,
    "elu": lambda x: x if x > 0 else mpmath.expm1(x),
    "erf": mpmath.erf,
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "floor": mpmath.floor,
    "floor_divide": lambda x, y: mpmath.floor(x / y),
    "gelu": lambda x: x * (1 + mpmath.erf(x / mpmath.sqrt(2))) / 2,
    "leaky_relu": lambda x: x if x > 0 else x / 100,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "logistic_terms": lambda z, y: mpmath.log(1 + mpmath.exp(z)) - z * y,
    "maximum": max,
    "minimum": min,
    "multiply": lambda x, y: x * y,
    "negate": lambda x: -x,
    "power": lambda x, y: x**y,
    "reciprocal": lambda x: 1 / x,
    "relu": lambda x: max(x, mpmath.mpf(0)),
    "remainder": lambda x, y: x - y * mpmath.floor(x / y),
    "round": mpmath.nint,
    "sigmoid": logistic,
    "sign": mpmath.sign,
    "sin": mpmath.sin,
    "softplus": lambda x: mpmath.log(1 + mpmath.exp(x)),
    "sqrt": mpmath.sqrt,
    "square": lambda x: x * x,
    "subtract": lambda x, y: x - y,
    "swish": lambda x: x * logistic(x),
    "tan": mpmath.tan,
    "tanh": mpmath.tanh,
    "trunc": lambda x: mpmath.sign(x) * mpmath.floor(abs(x)),
    "where": lambda condition, x, y: x if condition else y,
}
"""What each op computes, for mpmath; an op without an entry fails."""
ATTRIBUTES = {"cast": {"dtype": "float64"}, "clip": {"low": -1.0, "high": 1.0}}


def ops():
    for name in registry.names():
        op = registry.get(name)
        if isinstance(op, ElementwiseOp) and op.differentiable and "f" in op.kinds and not op.updates:
            yield op


CASES = [(op, x) for op in ops() for x in (op.differentiable_inputs if not op.variadic else ("terms",))]


def differentiated(op, x, points, orders):
    """A graph whose outputs are the derivatives of an op by an operand, and its inputs."""
    rng = np.random.default_rng(5)
    arrays = draw_operands(op, rng, [(points,)] * (3 if op.variadic else len(op.inputs)))
    names = [op.input_name(k) for k in range(len(arrays))]
    graph = gx.Graph()
    values = [graph.input(n.strip("[]").replace("[", "_"), a.shape, a.dtype.name) for n, a in zip(names, arrays, strict=True)]
    at = next(v for v, n in zip(values, names, strict=True) if n.partition("[")[0] == x)
    of = op(*values, **ATTRIBUTES.get(op.name, {}))
    gradients = []
    for k in range(orders):
        graph.output(gx.ops.sum(of, name=f"sum_{k}"))
        graph = differentiate(graph, f"sum_{k}", [at.name])
        gradients.append(graph.dag.graph["gradients"][at.name])
        of = graph[gradients[-1]]
    return graph, gradients, {v.name: a for v, a in zip(values, arrays, strict=True)}, at.name


def expected(name, inputs, at, order):
    """The derivative by mpmath, at each point."""
    found = []
    for k in range(len(inputs[at])):
        values = {n: mpmath.mpf(float(a[k])) for n, a in inputs.items()}

        def function(t, values=values):
            return FUNCTIONS[name](*(t if n == at else v for n, v in values.items()))

        found.append(float(mpmath.diff(function, values[at], order)))
    return np.array(found)


def check(op, x, points, orders):
    graph, gradients, inputs, at = differentiated(op, x, points, orders)
    graph.dag.graph["outputs"] = list(gradients)
    results = gx.compile(graph)(**inputs)
    results = dict(zip(gradients, results, strict=True)) if isinstance(results, tuple) else results
    with mpmath.workdps(60):
        for order, name in enumerate(gradients, 1):
            wanted = expected(op.name, inputs, at, order)
            scale = np.max(np.abs(wanted), initial=1e-300)
            np.testing.assert_allclose(results[name], wanted, rtol=1e-9, atol=1e-10 * scale + 1e-30, err_msg=f"order {order}")


@pytest.mark.exhaustive
@pytest.mark.parametrize(("op", "x"), CASES, ids=lambda v: getattr(v, "name", v))
def test_orders_one_to_six(op, x):
    check(op, x, 20, ORDERS)
