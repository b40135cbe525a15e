"""op_functions: the functions of ops, compiled to LLVM IR for one element type and kept in the cache.

A scalar function computes one element of an elementwise op or combines two elements of a reduction; loops around it are written by
the other modules. The function of an array kernel computes whole arrays.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from graphexec.codegen import numba_failure
from graphexec.codegen.array_kernel import Array
from graphexec.codegen.operands import Step
from graphexec.codegen.scalar_compiler import Compiled, compile_scalar
from graphexec.codegen.scalar_values import Unsupported
from graphexec.codegen.specialize import Specialized, specialize, specialized
from graphexec.errors import GraphExecError, PluginError
from graphexec.ir.failures import is_engine
from graphexec.ir.fused.scalar import BodyCall
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ReductionOp
from graphexec.ir.place import Place
from graphexec.ir.spec import DTYPES
from graphexec.llvm import cache, fingerprint, toolchain

_functions: dict[str, tuple[str, tuple[str, ...]]] = {}
"""By symbol: IR, and element types of the results."""


@functools.cache
def key_of(op: Op) -> str:
    """A hash of the code of an op's function."""
    return fingerprint.of_function(op.function)


def text_of(step: Step) -> str:
    """The module of a step's scalar function."""
    return _functions[step.symbol][0]


@functools.lru_cache(maxsize=4096)
def instructions_of(symbol: str) -> int:
    """LLVM instructions of a scalar function, without what it calls."""
    _, _, rest = _functions[symbol][0].partition(f"@{symbol}(")
    return rest.partition("\n}")[0].count(" = ")


def texts(steps: Sequence[Step]) -> list[str]:
    """The modules of the steps' scalar functions, each once."""
    return [_functions[s][0] for s in dict.fromkeys(step.symbol for step in steps)]


def step_of(call: BodyCall) -> Step:
    """The scalar function of a call, compiled or read from the cache."""
    op, types = call.op, scalar_types(call)
    label = "combine" if isinstance(op, ReductionOp) else op.name  # sum and sum_to combine alike, and share their kernels
    symbol = toolchain.symbol_name(
        label, "scalar", fingerprint.environment(), key_of(op), repr((call.attributes, call.dtype, types))
    )  # fmt: skip

    _, results = compiled(op, symbol, lambda: _compile_scalar(op, symbol, call.attributes, call.dtype, types, len(call.words)))
    if len(results) != len(op.outputs):
        raise numba_failure.result_error(op, call.dtype, f"{len(results)} numbers, not {len(op.outputs)}")
    if isinstance(op, ReductionOp):
        identity = _constant(op.identity_of(call.dtype), call.dtype)
        return Step(symbol, call.arguments, types, results, call.dtype, identity, op.rounds(call.dtype))
    return Step(symbol, call.arguments, types, results)


def scalar_types(call: BodyCall) -> tuple[str, ...]:
    """Element types of the parameters of a call's scalar function."""
    op = call.op
    if isinstance(op, ReductionOp):
        return (call.dtype, call.dtype)
    count = len(call.arguments) - len(call.words)
    operands = [call.dtype] * count if op.variadic else [op.types.get(p, call.dtype) for p in op.inputs]
    return (*operands, *call.words)


def _scalar_arguments(op: Op, frontend: Any, types: Sequence[str], words: int) -> list[Any]:
    scalars = [frontend.SCALARS[t] for t in types]
    if not op.variadic:
        return scalars
    operands = scalars[: len(scalars) - words]
    return [frontend.tuple_of(operands), *scalars[len(operands) :]]


def array_types(
    op: KernelOp, frontend: Any, arrays: Sequence[Array], strided: Sequence[bool], words: Sequence[str], lengths: Sequence[int]
) -> list[Any]:
    types = [frontend.array_type(a.dtype, a.ndim, not s) for a, s in zip(arrays, strided, strict=True)]
    if op.variadic:
        types = [frontend.tuple_of(types)]
    extra = [frontend.SCALARS["int64"]] * (bool(op.scratch) + 2 * op.parallel)
    rest = iter([frontend.SCALARS[w] for w in words])
    attributes = [frontend.tuple_of([next(rest) for _ in range(n)]) if n else next(rest) for n in lengths]
    return [*types, *extra, *attributes]


def compiled(op: Op, symbol: str, compile_: Callable[[], Compiled]) -> tuple[str, tuple[str, ...]]:
    """IR of an op's function and the element types of its results; from memory, from the cache, or compiled."""
    found = _functions.get(symbol)
    if found is not None:
        return found
    with toolchain.LOCK:
        payload = cache.read(symbol + ".ll")
        if payload is not None:
            head, _, text = payload.decode().partition("\n")
            _functions[symbol] = (text, tuple(json.loads(head)))
        elif symbol not in _functions:
            made = compile_()
            cache.write(symbol + ".ll", (json.dumps(made.results) + "\n" + made.ir).encode())
            _functions[symbol] = (made.ir, made.results)
        return _functions[symbol]


def _compile_scalar(
    op: Op, symbol: str, constants: Mapping[str, Any], dtype: str, types: Sequence[str], words: int
) -> Compiled:
    """Compiles a scalar function: without Numba where `scalar_compiler` knows all that it consists of."""
    function = specialized(op.function, constants, scalar=True)
    if function is not None:
        _refuse_raise(op, function)
        function = None if op.variadic else function
    if function is not None:
        with contextlib.suppress(Unsupported):
            return compile_scalar(function, types, dtype, symbol, lambda helper: specialized(helper, {}, scalar=True))

    def arguments(frontend: Any) -> list[Any]:
        return _scalar_arguments(op, frontend, types, words)

    return compile_by_numba(op, symbol, arguments, constants, dtype, scalar=True)


def _refuse_raise(op: Op, function: Specialized) -> None:
    """*Raises* PluginError for a scalar function with a `raise`, `assert` or `try`, in it or in one that it calls.

    The loop around it computes many elements at a time and has no place to which one of them could report.
    """
    seen: set[Any] = set()
    callers = [function]
    while callers:
        caller = callers.pop()
        for node in ast.walk(caller.tree):
            if isinstance(node, (ast.Raise, ast.Assert, ast.Try)):
                verb = "catch exceptions" if isinstance(node, ast.Try) else "raise"
                raise PluginError(
                    f"a function of elements cannot {verb}", op=op.name, source=f"{caller.file}:{node.lineno}",
                    facts=[Place(caller.file, node.lineno).text],
                    todo="Return NaN for elements outside the domain, or declare the op by @kernel, which may raise.",
                )  # fmt: skip
            helper = caller.namespace.get(node.id) if isinstance(node, ast.Name) else None
            if isinstance(helper, FunctionType) and helper not in seen and not is_engine(helper):
                seen.add(helper)
                found = specialized(helper, {}, scalar=True)
                callers += [found] if found is not None else []


def compile_by_numba(
    op: Op, symbol: str, arguments: Callable[[Any], list[Any]], constants: Mapping[str, Any], dtype: str,
    *, scalar: bool, checked: bool = False,
) -> Compiled:  # fmt: skip
    """Compiles an op's function by Numba, for arguments of its types, with bounds checks if ``checked``. *Raises* PluginError."""
    from graphexec.codegen import numba_frontend as frontend

    try:
        element = frontend.element_type(dtype)
        function = specialize(op.function, constants, element, scalar=scalar)
        frontend.compile_helpers(function, lambda helper: specialize(helper, {}, element, scalar=scalar))
        with _indices_checked(function) if checked else contextlib.nullcontext():
            made = frontend.compile_function(function, arguments(frontend), symbol)
    except GraphExecError:
        raise
    except Exception as error:  # Numba raises errors of any type, its own and Python's
        raise numba_failure.plugin_error(op, dtype, error) from error
    if scalar and not made.results:
        raise numba_failure.result_error(op, dtype, "nothing")
    if not scalar and (len(made.results) > 1 or made.results[:1] in [("float32",), ("float64",)]):
        raise numba_failure.result_error(op, dtype, ", ".join(made.results))
    return made


def _indices_checked(function: Callable[..., Any]) -> contextlib.AbstractContextManager[None]:
    from graphexec.codegen.bounds_checks import indices_checked  # imports Numba

    return indices_checked(function)


def _constant(value: float, dtype: str) -> str:
    """A number as exact IR text."""
    if DTYPES[dtype] != "f":
        return str(int(value))
    number = struct.unpack("f", struct.pack("f", value))[0] if dtype == "float32" else float(value)
    return f"0x{struct.unpack('>Q', struct.pack('>d', number))[0]:016X}"
