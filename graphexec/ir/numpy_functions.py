"""NumPy's functions applied to values: each makes the op that does the same, or raises at once.

NumPy asks a value's `__array_ufunc__` and `__array_function__` before it would make an array of objects.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphexec.errors import OpError, did_you_mean
from graphexec.ir.namespace import ops


def _operator(name: str, reflected: str) -> Callable[[Any, Any], Any]:
    """An operator of values, whichever of the two operands is one; the operator of an array would ask NumPy again."""

    def apply(x: Any, y: Any) -> Any:
        return getattr(x, name)(y) if hasattr(x, "apply_op") else getattr(y, reflected)(x)

    return apply


def _reduction(op: str) -> Callable[..., Any]:
    return lambda x, axis=None, keepdims=False: ops[op](x, axis=axis, keepdims=keepdims)


UFUNCS: dict[str, Callable[..., Any]] = {
    **{
        name: lambda *operands, op=op: ops[op](*operands)
        for name, op in {
            "add": "add", "subtract": "subtract", "multiply": "multiply", "divide": "divide", "true_divide": "divide",
            "floor_divide": "floor_divide", "remainder": "remainder", "power": "power", "matmul": "matmul", "maximum": "maximum",
            "minimum": "minimum", "equal": "equal", "not_equal": "not_equal", "less": "less", "less_equal": "less_equal",
            "greater": "greater", "greater_equal": "greater_equal", "logical_and": "logical_and", "logical_or": "logical_or",
            "left_shift": "left_shift", "right_shift": "right_shift", "negative": "negate", "sign": "sign", "square": "square",
            "sqrt": "sqrt", "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p", "sin": "sin", "cos": "cos",
            "tan": "tan", "tanh": "tanh", "reciprocal": "reciprocal", "logical_not": "logical_not", "absolute": "abs",
        }.items()
    },
    "bitwise_and": _operator("__and__", "__rand__"), "bitwise_or": _operator("__or__", "__ror__"),
    "bitwise_xor": _operator("__xor__", "__rxor__"), "divmod": _operator("__divmod__", "__rdivmod__"), "invert": operator.invert,
    "positive": operator.pos, "rint": lambda x: ops.round(x), "floor": lambda x: x.__floor__(), "ceil": lambda x: x.__ceil__(),
    "trunc": lambda x: x.__trunc__(), "isnan": lambda x: ops.not_equal(x, x),
}  # fmt: skip
"""By the name of a NumPy ufunc: what it does to values."""

REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min"}
"""The op of ``ufunc.reduce``."""

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: _reduction("sum"), np.prod: _reduction("prod"), np.mean: _reduction("mean"), np.max: _reduction("max"),
    np.amax: _reduction("max"), np.min: _reduction("min"), np.amin: _reduction("min"),
    np.var: lambda x, axis=None, *, ddof=0, keepdims=False: ops.variance(x, axis=axis, correction=ddof, keepdims=keepdims),
    np.reshape: lambda x, shape: ops.reshape(x, shape=shape), np.ravel: lambda x: ops.reshape(x, shape=(-1,)),
    np.transpose: lambda x, axes=None: ops.transpose(x, axes=axes), np.swapaxes: lambda x, a, b: ops.swap_axes(x, axis1=a, axis2=b),
    np.expand_dims: lambda x, axis: ops.expand_dims(x, axis=axis), np.squeeze: lambda x, axis=None: ops.squeeze(x, axis=axis),
    np.broadcast_to: lambda x, shape: ops.broadcast_to(x, shape=shape), np.where: lambda c, x, y: ops.where(c, x, y),
    np.concatenate: lambda parts, axis=0: ops.concat(*parts, axis=axis),
    np.stack: lambda parts, axis=0: ops.stack(*parts, axis=axis),
    np.take: lambda x, indices, axis: ops.gather(x, indices, axis=axis), np.round: lambda x, decimals=0: x.__round__(decimals),
    np.around: lambda x, decimals=0: x.__round__(decimals), np.shape: lambda x: x.shape, np.ndim: lambda x: x.ndim,
    np.copy: lambda x: x, np.zeros_like: lambda x: ops.zeros_like(x),
}  # fmt: skip
"""By function: what it does to values, with the arguments that ops have too."""


def call_ufunc(ufunc: np.ufunc, method: str, inputs: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """Applies a ufunc to values, or its ``reduce``. *Raises* OpError if no op does the same."""
    name = ufunc.__name__
    if method == "reduce" and name in REDUCTIONS and keywords.keys() <= {"axis", "keepdims"}:
        return ops[REDUCTIONS[name]](*inputs, **{"axis": 0, **keywords})
    if method != "__call__" or name not in UFUNCS:
        raise _no_op(name if method == "__call__" else f"{name}.{method}", UFUNCS)
    if keywords:
        raise OpError(
            f"np.{name} of graph values takes no {next(iter(keywords))}=",
            todo="Leave it out; convert with x.astype, choose with gx.ops.where. Graph values never change, so none can be out=.",
        )
    return UFUNCS[name](*inputs)


def call_function(function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """Applies another function of NumPy. *Raises* OpError if no op does the same."""
    name, apply = function.__name__, FUNCTIONS.get(function)
    if apply is None:
        raise _no_op(name, [f.__name__ for f in FUNCTIONS])
    try:
        return apply(*arguments, **keywords)
    except TypeError as error:
        if isinstance(error, OpError):
            raise
        raise OpError(f"np.{name} of graph values does not take these arguments: {error}", todo="Use an op of gx.ops.") from error


def _no_op(name: str, known: Any) -> OpError:
    hint = did_you_mean(name, known)
    return OpError(f"no op does what np.{name} does" + (f"; {hint}" if hint else ""), todo="Write it with the ops in gx.ops.")
