"""repeat: runs a failed kernel again as plain Python, on the operands that still stand in memory, to learn what it raised.

Compiled code tells less than Python does: of an index out of range neither the line nor the index, of an array that does not fit
into another no shapes.
"""

from __future__ import annotations

import ctypes
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphexec.ir import intrinsics
from graphexec.ir.failures import is_engine
from graphexec.ir.function import Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Op, array_spec
from graphexec.ir.op_kinds import ElementwiseOp

MAX_REPEATED = 1_000_000
"""Operands with more elements are not read again: plain Python takes a second for so many."""


def exception(node: Node, arrays: Sequence[np.ndarray | None], limit: float) -> Exception | None:
    """What the node's plain function raises on these operands; None if it raises nothing, or cannot run as plain Python."""
    if sum(a.size for a in arrays if a is not None) > limit:
        return None
    try:
        if isinstance(node.op, KernelOp):
            _run(node.op, arrays, node)
        elif isinstance(node.op, ElementwiseOp):
            _map(node.op, arrays, node.attributes)
    except NotImplementedError:  # an intrinsic that only compiled code can call
        return None
    except Exception as error:
        return error
    return None


def _run(op: KernelOp, arrays: Sequence[np.ndarray | None], node: Node) -> None:
    """Calls a plain array kernel for every index of the batch axes, on copies: whatever it overwrites, memory stays as it is."""
    specs = op.infer([None if a is None else array_spec(a) for a in arrays], node.attributes)
    results: list[Any] = [np.full(tuple(int(n) for n in s.shape), 0, s.dtype) for s in specs]
    operands = [None if a is None else a.copy() for a in arrays]
    results[: len(op.updates)] = [operands[op.inputs.index(p)] for p in op.updates]
    wanted = [k for k, p in enumerate(_names(op, arrays)) if operands[k] is not None and p not in op.shape_only]
    passed: list[Any] = [operands[k] for k in wanted]
    scratch = np.zeros(op.scratch + 1, np.uint8)
    extra = ([scratch.ctypes.data] if op.scratch else []) + ([0, 1] if op.parallel else [])
    function = plain(op.function)
    with np.errstate(all="ignore"):
        if op.core is None or op.variadic:
            function(*passed, *results, *extra, **node.attributes)
            return
        cores = [len(op.core[k]) for k in wanted]
        lead = results[0].shape[: results[0].ndim - len(op.core[len(op.inputs)])]
        for index in np.ndindex(lead):
            rows = [batch_row(a, index, core) for a, core in zip(passed, cores, strict=True)]
            written = [r[index] if r.ndim > len(index) else r[(*index, ...)] for r in results]
            function(*rows, *written, *extra, **node.attributes)


def _names(op: Op, arrays: Sequence[Any]) -> Sequence[str]:
    """The parameter of each operand; all operands of a variadic op have the same."""
    return [op.inputs[0]] * len(arrays) if op.variadic else op.inputs[: len(arrays)]


def batch_row(array: np.ndarray, batch: tuple[int, ...], core: int) -> np.ndarray:
    """The part of the last ``core`` axes at an index of the leading ones, which are broadcast."""
    own = array.ndim - core
    index: list[Any] = [0 if n == 1 else i for i, n in zip(batch[len(batch) - own :], array.shape, strict=False)]
    found: np.ndarray = array[(*index, ...)]
    return found


def _map(op: ElementwiseOp, arrays: Sequence[Any], attributes: Any) -> None:
    """Calls the plain scalar function, or those of a fused op one after another."""
    if not isinstance(op, FusedOp):
        op.call_plain(arrays, attributes)
        return
    known: list[Any] = []
    for call in op.calls:
        given = [arrays[a.index] if a.kind == "operand" else known[a.index][a.output] for a in call.arguments]
        if isinstance(call.op, ElementwiseOp):
            call.op.call_plain(given, call.attributes)
        known.append(call.op.evaluate(given, call.attributes))


def plain(function: Any, made: dict[Any, Any] | None = None) -> Any:
    """The function as plain Python throughout: Numba's functions and the intrinsics that it reaches are replaced."""
    made = {} if made is None else made
    function = getattr(function, "py_func", function)
    if not isinstance(function, types.FunctionType) or is_engine(function):
        return _PLAIN.get(function, function) if isinstance(function, types.FunctionType) else function
    if function not in made:
        known = dict(function.__globals__)
        copy = types.FunctionType(function.__code__, known, function.__name__, function.__defaults__, function.__closure__)
        copy.__kwdefaults__, made[function] = function.__kwdefaults__, copy
        for name in function.__code__.co_names:
            if isinstance(known.get(name), types.FunctionType) or hasattr(known.get(name), "py_func"):
                known[name] = plain(known[name], made)
    return made[function]


def _array_at(address: int, size: int, like: Any) -> np.ndarray:
    memory = (ctypes.c_char * (size * like.itemsize)).from_address(address)
    return np.frombuffer(memory, like.dtype)


def _gemm(a: Any, b: Any, out: Any, scratch: int, piece: int, pieces: int, accumulate: bool = False, after: int = 0) -> int:
    out[...] = (out if accumulate else 0) + a @ b
    return 0


_PLAIN: dict[Any, Callable[..., Any]] = {intrinsics.array_at: _array_at, intrinsics.gemm: _gemm}
"""By intrinsic: what does the same to arrays of NumPy."""
