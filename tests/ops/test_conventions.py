"""The table of conventions against kernels and interpreter, in both floating types; and every op is in it."""

import numpy as np
import pytest

import graphexec as gx
from graphexec.interpret import interpret_gradients
from graphexec.ir.op_kinds import CompositeOp, ElementwiseOp, ReductionOp
from graphexec.ir.registry import registry

from .conventions import ELEMENTWISE, REDUCTIONS

DTYPES = ("float32", "float64")


def tolerance(dtype):
    return {"rtol": 16 * np.finfo(dtype).eps, "atol": np.finfo(dtype).tiny}


def arrays_of(op, rows, dtype):
    columns = zip(*(r.at for r in rows), strict=True)
    return [np.array(c, op.types.get(op.inputs[0 if op.variadic else k], dtype)) for k, c in enumerate(columns)]


def gradients(op, arrays, attributes):
    """The values and gradients of the sum of an op: native, then interpreted."""
    graph = gx.Graph()
    names = [f"x{k}" for k in range(len(arrays))]
    values = [graph.input(n, a.shape, a.dtype.name) for n, a in zip(names, arrays, strict=True)]
    out = op(*values, **attributes)
    graph.output(out)
    loss = gx.ops.sum(out, name="loss")
    wrt = [n for n, a in zip(names, arrays, strict=True) if a.dtype.kind == "f"]
    inputs = dict(zip(names, arrays, strict=True))
    exe = gx.compile(graph, loss=loss, wrt=wrt)
    _, native = exe.gradients(**inputs)
    values, plain, _ = interpret_gradients(graph, "loss", wrt, inputs)
    return (exe(**inputs)[out.name], [native[n] for n in wrt]), (values[out.name], [plain[n] for n in wrt])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name, dtype):
    op = registry.get(name)
    attributes, rows = ELEMENTWISE[name]
    attributes = {**attributes, "dtype": dtype} if "dtype" in attributes else attributes
    for value, slopes in gradients(op, arrays_of(op, rows, dtype), attributes):
        np.testing.assert_allclose(value, np.array([r.value for r in rows], dtype), **tolerance(dtype))
        for found, wanted in zip(slopes, zip(*(r.slopes for r in rows), strict=True), strict=True):
            np.testing.assert_allclose(found, np.array([0 if w is None else w for w in wanted], dtype), **tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name, dtype):
    op = registry.get(name)
    for line in REDUCTIONS[name]:
        for value, (slopes,) in gradients(op, [np.array(line.x, dtype)], {}):
            np.testing.assert_allclose(value, np.asarray(line.value, dtype), **tolerance(dtype))
            np.testing.assert_allclose(slopes, np.array(line.slopes, dtype), **tolerance(dtype))


@pytest.mark.parametrize("bounds", [(np.nan, 1.0), (0.0, np.nan), (np.nan, np.nan)])
def test_a_bound_of_nan_is_a_result_of_nan(bounds):
    """As np.clip and torch.clamp: NaN does not mean "no bound"; and out does not depend on x."""
    low, high = bounds
    x = np.array([-1.0, 0.5, 2.0])
    for value, (slopes,) in gradients(registry.get("clip"), [x], {"low": low, "high": high}):
        np.testing.assert_array_equal(value, np.clip(x, low, high))
        np.testing.assert_array_equal(slopes, [0, 0, 0])


def test_every_op_has_its_conventions():
    ops = [registry.get(name) for name in registry.names()]
    smooth = [op for op in ops if op.differentiable and "f" in op.kinds and not op.updates]
    wanted = {op.name for op in smooth if isinstance(op, ElementwiseOp)}
    reducing = [op for op in smooth if isinstance(op, (ReductionOp, CompositeOp)) and {"axis", "keepdims"} <= set(op.attributes)]
    wanted |= {op.name for op in reducing}
    wanted = {name for name in wanted if not registry.get(name).shape_only}
    assert wanted == {*ELEMENTWISE, *REDUCTIONS}
    kinds = {name for name, (_, rows) in ELEMENTWISE.items() if not any(np.isinf(a) or np.isnan(a) for r in rows for a in r.at)}
    assert not kinds
