"""kernels: the compiled kernel of an op for given element types and layout.

A kernel is compiled once for each (op, attributes that are not numbers, element types, axes, movement along the
innermost axis), never for a size but a few elements, and kept on disk. What it does to one element, a scalar function that Numba
compiles, is kept too: a new loop around known functions needs no Numba.
"""

from __future__ import annotations

import functools
import json
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from graphexec.codegen import distributed_loops, elementwise, horizontal, linker, reduction, rowwise
from graphexec.codegen.array_kernel import Array, array_kernel_ir
from graphexec.codegen.distributed_loops import DistributedBody
from graphexec.codegen.elementwise import Closing
from graphexec.codegen.loop_distribution import MIN_INSTRUCTIONS
from graphexec.codegen.operands import Body, Operand, Step
from graphexec.codegen.row_loops import Form, RowwiseBody
from graphexec.codegen.specialize import specialize
from graphexec.codegen.straight_line import straighten
from graphexec.codegen.writer import VECTORS
from graphexec.errors import GraphExecError, PluginError
from graphexec.ir.fused.row_schedule import RowSchedule
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.op import REQUIRED, Op
from graphexec.ir.op_kinds import KernelOp, ReductionOp
from graphexec.ir.spec import DTYPES
from graphexec.llvm import cache, fingerprint, toolchain


class Kernel(NamedTuple):
    """A kernel in this process."""

    name: str
    address: int


_LOCK = threading.RLock()
_kernels: dict[Any, Kernel] = {}
_scalars: dict[str, tuple[str, tuple[str, ...]]] = {}
compiled: list[str] = []
"""Names of the kernels that this process has compiled rather than loaded, in order."""


class Attributes(NamedTuple):
    """An op's attributes as a kernel takes them."""

    constants: tuple[tuple[str, Any], ...]
    """Part of the code."""
    numbers: tuple[float, ...]
    """Data of the record."""
    words: tuple[str, ...]
    """Element types of the numbers."""
    lengths: tuple[int, ...]
    """How many numbers an attribute is made of, if it is a tuple of them; 0 for a number by itself."""


def split_attributes(op: Op, attributes: Mapping[str, Any], dtype: str) -> Attributes:
    """Numbers are data, so that another learning rate compiles nothing; everything else is part of the code.

    So are tuples of integers, such as strides, for a kernel.
    """
    constants, numbers, words, lengths = [], [], [], []  # type: tuple[list[Any], list[float], list[str], list[int]]
    for key, value in attributes.items():
        default = op.attributes.get(key, REQUIRED)
        kind = value if default is REQUIRED else default
        if _is_number(kind) and _is_number(value):
            numbers.append(value)
            words.append("int64" if isinstance(kind, int) else dtype if DTYPES[dtype] == "f" else "float64")
            lengths.append(0)
        elif isinstance(op, KernelOp) and _are_integers(value):
            numbers += value
            words += ["int64"] * len(value)
            lengths.append(len(value))
        else:
            constants.append((key, value))
    return Attributes(tuple(constants), tuple(numbers), tuple(words), tuple(lengths))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_integers(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(type(v) is int for v in value)


class Close(NamedTuple):
    """A reduction of everything that an elementwise loop makes at ``value``."""

    op: ReductionOp
    value: ScalarRef
    dtype: str


def elementwise_kernel(
    calls: tuple[BodyCall, ...], loads: tuple[Operand, ...], stores: tuple[tuple[Operand, ScalarRef], ...], words: tuple[str, ...],
    ndim: int, closes: tuple[Close, ...] = (), vectors: int = VECTORS, fixed_size: int = 0,
) -> Kernel:  # fmt: skip
    """A loop nest of ``ndim`` axes that applies ``calls`` to every element; see `elementwise.elementwise_ir`."""
    parts = ("elementwise", calls, loads, stores, words, ndim, closes, tuple(c.op.identity for c in closes), vectors, fixed_size)
    combines = [BodyCall(c.op, {}, (), c.dtype) for c in closes]

    def make(name: str) -> list[str]:
        steps = tuple(_step(c) for c in calls)
        closings = [Closing(_step(call), c.value) for call, c in zip(combines, closes, strict=True)]
        body = Body(loads, steps, stores, words)
        texts = _texts([*steps, *(c.combine for c in closings)])
        distributed = _distributed(body, closings, texts) if ndim == 1 and not fixed_size else None
        if distributed:
            return [distributed_loops.distributed_ir(name, body, closings, distributed), *texts]
        return [elementwise.elementwise_ir(name, body, ndim, closings, vectors, fixed_size), *texts]

    return _kernel(calls[-1].op.name if len(calls) + len(closes) == 1 else "fused", parts, (*calls, *combines), make)


def _distributed(body: Body, closings: Sequence[Closing], texts: Sequence[str]) -> DistributedBody | None:
    """The partitions of a long body; None if one loop is as fast. ``texts`` are the scalar functions."""
    if sum(_scalars[s.symbol][0].count("\n") for s in body.steps) < MIN_INSTRUCTIONS:
        return None
    straight = straighten([distributed_loops.element_ir("element", body, closings), *texts], "element")
    return distributed_loops.distribute(straight, body, closings) if straight else None


def horizontal_kernel(
    calls: tuple[BodyCall, ...], loads: tuple[Operand, ...], stores: tuple[tuple[Operand, ScalarRef], ...], words: tuple[str, ...]
) -> Kernel:
    """Applies ``calls`` to every element of several arrays; see `horizontal.horizontal_ir`."""

    def make(name: str) -> list[str]:
        steps = tuple(_step(c) for c in calls)
        return [horizontal.horizontal_ir(name, Body(loads, steps, stores, words)), *_texts(steps)]

    return _kernel("multi_tensor", ("multi_tensor", calls, loads, stores, words), calls, make)


def reduction_kernel(
    op: ReductionOp, calls: tuple[BodyCall, ...], loads: tuple[Operand, ...], value: ScalarRef, words: tuple[str, ...],
    out: Operand, dtype: str, kept: int, reduced: int, within_row: bool, fixed_row_size: int = 0,
) -> Kernel:  # fmt: skip
    """Reduces the ``value`` that ``calls`` compute from an element; see `reduction.reduction_ir`."""
    combine = BodyCall(op, {}, (), dtype)
    parts = ("reduction", calls, loads, value, words, out, dtype, kept, reduced, within_row, op.identity, fixed_row_size)

    def make(name: str) -> list[str]:
        steps = tuple(_step(c) for c in calls)
        axes = reduction.Reduction(_step(combine), kept, reduced, within_row, fixed_row_size)
        body = Body(loads, steps, ((out, value),), words)
        return [reduction.reduction_ir(name, body, axes, out), *_texts((*steps, axes.combine))]

    return _kernel(op.name, parts, (*calls, combine), make)


def rowwise_kernel(
    calls: tuple[BodyCall, ...], loads: tuple[Operand, ...], stores: tuple[tuple[Operand, ScalarRef, bool], ...],
    words: tuple[str, ...], plan: RowSchedule, ndim: int, form: Form,
) -> Kernel:  # fmt: skip
    """A loop nest over rows that applies ``calls`` in the phases of a plan; see `rowwise.rowwise_ir`."""
    identities = tuple(c.op.identity if isinstance(c.op, ReductionOp) else None for c in calls)
    parts = ("rows", calls, loads, stores, words, plan, ndim, form, identities)

    def make(name: str) -> list[str]:
        steps = tuple(_step(c) for c in calls)
        return [rowwise.rowwise_ir(name, RowwiseBody(loads, steps, stores, words), plan, ndim, form), *_texts(steps)]

    return _kernel("rows", parts, calls, make)


def array_kernel(
    op: KernelOp, constants: tuple[tuple[str, Any], ...], dtype: str, arrays: tuple[Array, ...], strided: tuple[bool, ...],
    words: tuple[str, ...], lengths: tuple[int, ...], batch: int,
) -> Kernel:  # fmt: skip
    """An array kernel in loops over ``batch`` leading axes."""
    parts = ("array", constants, dtype, arrays, strided, words, lengths, batch, op.scratch, op.parallel)
    call = BodyCall(op, dict(constants), (), dtype)

    def make(name: str) -> list[str]:
        symbol = toolchain.symbol_name(
            op.name, "body", fingerprint.environment(), fingerprint.of_function(op.function), repr(parts)
        )

        def types(frontend: Any) -> list[Any]:
            return _array_types(op, frontend, arrays, strided, words, lengths)

        text, results = _compiled(op, symbol, types, call.attributes, dtype, scalar=False)
        returns = results[0] if results else None
        loops = array_kernel_ir(name, symbol, arrays, words, batch, scratch=op.scratch, shared=op.parallel, returns=returns)
        return [loops, text]

    return _kernel(op.name, parts, (call,), make)


def _kernel(label: str, parts: tuple[Any, ...], calls: Sequence[BodyCall], make: Callable[[str], list[str]]) -> Kernel:
    text = repr(_plain(parts))  # tells 0.0 from -0.0 and 1 from True, which are equal as keys
    key = (text, tuple(_function_key(c.op) for c in calls))
    found = _kernels.get(key)
    if found is not None:
        return found
    with _LOCK:
        if key not in _kernels:
            name = toolchain.symbol_name(label, fingerprint.environment(), text, *key[1])

            def build() -> tuple[list[str], str]:
                compiled.append(name)
                return make(name), name

            _kernels[key] = Kernel(name, linker.obtain(name, build))
    return _kernels[key]


def _plain(part: Any) -> Any:
    """A key without addresses: ops go by name here, and by their code beside."""
    if isinstance(part, Op):
        return part.name
    if isinstance(part, tuple):
        return tuple(_plain(p) for p in part)
    return part


@functools.cache
def _function_key(op: Op) -> str:
    return fingerprint.of_function(op.function)


def _texts(steps: Sequence[Step]) -> list[str]:
    return [_scalars[s][0] for s in dict.fromkeys(step.symbol for step in steps)]


def _step(call: BodyCall) -> Step:
    """The scalar function of a call, compiled or read from the disk."""
    op, types = call.op, scalar_types(call)
    symbol = toolchain.symbol_name(
        op.name, "scalar", fingerprint.environment(), _function_key(op), repr((call.attributes, call.dtype, types))
    )  # fmt: skip

    def arguments(frontend: Any) -> list[Any]:
        return _scalar_arguments(op, frontend, types, len(call.words))

    _, results = _compiled(op, symbol, arguments, call.attributes, call.dtype, scalar=True)
    if isinstance(op, ReductionOp):
        return Step(symbol, call.arguments, types, results, call.dtype, _constant(op.identity_of(call.dtype), call.dtype))
    return Step(symbol, call.arguments, types, results)


def scalar_types(call: BodyCall) -> tuple[str, ...]:
    """Element types that a call's scalar function takes."""
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


def _array_types(
    op: KernelOp, frontend: Any, arrays: Sequence[Array], strided: Sequence[bool], words: Sequence[str], lengths: Sequence[int]
) -> list[Any]:
    types = [frontend.array_type(a.dtype, a.ndim, not s) for a, s in zip(arrays, strided, strict=True)]
    if op.variadic:
        types = [frontend.tuple_of(types)]
    extra = [frontend.SCALARS["int64"]] * (bool(op.scratch) + 2 * op.parallel)
    rest = iter([frontend.SCALARS[w] for w in words])
    attributes = [frontend.tuple_of([next(rest) for _ in range(n)]) if n else next(rest) for n in lengths]
    return [*types, *extra, *attributes]


def _compiled(
    op: Op, symbol: str, arguments: Callable[[Any], list[Any]], constants: Mapping[str, Any], dtype: str, *, scalar: bool
) -> tuple[str, tuple[str, ...]]:
    """IR of an op's function and what it returns; from memory, from the disk, or from Numba."""
    if symbol not in _scalars:
        payload = cache.read(symbol + ".ll")
        if payload is not None:
            head, _, text = payload.decode().partition("\n")
            _scalars[symbol] = (text, tuple(json.loads(head)))
        else:
            made = _compile(op, symbol, arguments, constants, dtype, scalar)
            cache.write(symbol + ".ll", (json.dumps(made.results) + "\n" + made.ir).encode())
            _scalars[symbol] = (made.ir, made.results)
    return _scalars[symbol]


def _compile(
    op: Op, symbol: str, arguments: Callable[[Any], list[Any]], constants: Mapping[str, Any], dtype: str, scalar: bool
) -> Any:
    from numba.core.errors import NumbaError

    from graphexec.codegen import numba_frontend as frontend

    try:
        element = frontend.element_type(dtype)
        function = specialize(op.function, constants, element, scalar=scalar)
        frontend.compile_helpers(function, lambda helper: specialize(helper, {}, element, scalar=scalar))
        return frontend.compile_function(function, arguments(frontend), symbol)
    except (NumbaError, ValueError, NotImplementedError) as error:
        if isinstance(error, GraphExecError):
            raise
        raise PluginError(
            f"Numba cannot compile it for {dtype}", op=op.name, source=op.file, facts=str(error).strip().splitlines()[:12],
            todo="A kernel is nopython Numba code: numbers and arrays, loops, graphexec.math.",
        ) from error


def _constant(value: float, dtype: str) -> str:
    """A number as IR text, exact."""
    if DTYPES[dtype] != "f":
        return str(int(value))
    number = struct.unpack("f", struct.pack("f", value))[0] if dtype == "float32" else float(value)
    return f"0x{struct.unpack('>Q', struct.pack('>d', number))[0]:016X}"
