"""kernels: the compiled kernel of an op for given element types and layout.

A kernel is compiled once for each (op, attributes that are not numbers, element types, axes, movement along the innermost axis) and
cached on disk. Sizes are not part of the key, except those of a few elements. The scalar functions are cached as well
(`op_functions`), so a new loop around known functions needs no Numba.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from graphexec.codegen import distributed_loops, elementwise, horizontal, linker, op_functions, reduction, rowwise, shipped
from graphexec.codegen.array_kernel import Array, array_kernel_ir
from graphexec.codegen.distributed_loops import DistributedBody
from graphexec.codegen.elementwise import Closing
from graphexec.codegen.loop_distribution import MIN_INSTRUCTIONS
from graphexec.codegen.op_functions import texts
from graphexec.codegen.operands import Body, Operand
from graphexec.codegen.row_loops import Form, RowwiseBody
from graphexec.codegen.scalar_compiler import Compiled
from graphexec.codegen.straight_line import straighten
from graphexec.codegen.writer import VECTORS
from graphexec.errors import OpError
from graphexec.ir.attributes import REQUIRED
from graphexec.ir.failures import raising_lines
from graphexec.ir.fused.row_schedule import RowSchedule
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ReductionOp
from graphexec.ir.spec import DTYPES
from graphexec.llvm import fingerprint, toolchain


class Kernel(NamedTuple):
    """A kernel in this process."""

    name: str
    address: int
    modules: Callable[[], list[str]] = list
    """Writes its IR once more: what its machine code is made of."""

    def optimized(self) -> str:
        """The optimised IR of its machine code, as text; "" if it cannot be written again."""
        modules = self.modules()
        return str(toolchain.optimized(modules, self.name)) if modules else ""


loaded: dict[Any, Kernel] = {}
compiled: list[str] = []
"""Names of the kernels that this process did not find in the cache, in order: compiled, or taken from the package's archive."""


class Attributes(NamedTuple):
    """An op's attributes as a kernel takes them."""

    constants: tuple[tuple[str, Any], ...]
    """Compiled into the code."""
    numbers: tuple[float, ...]
    """Passed in the record."""
    words: tuple[str, ...]
    """Element types of the numbers."""
    lengths: tuple[int, ...]
    """For each attribute in the record, the length of a tuple of numbers; 0 for a single number."""


def split_attributes(op: Op, attributes: Mapping[str, Any], dtype: str) -> Attributes:
    """Numbers are data, so that another learning rate compiles nothing; other attributes are compiled into the code.

    For an array kernel, tuples of integers such as strides are data too.
    """
    constants, numbers, words, lengths = [], [], [], []  # type: tuple[list[Any], list[float], list[str], list[int]]
    for key, value in attributes.items():
        default = op.attributes.get(key, REQUIRED)
        kind = value if default is REQUIRED else default
        if _is_number(kind) and _is_number(value):
            numbers.append(_whole(op, key, value) if isinstance(kind, int) else value)
            words.append("int64" if isinstance(kind, int) else dtype if DTYPES[dtype] == "f" else "float64")
            lengths.append(0)
        elif isinstance(op, KernelOp) and _are_integers(value):
            numbers += value
            words += ["int64"] * len(value)
            lengths.append(len(value))
        else:
            constants.append((key, value))
    return Attributes(tuple(constants), tuple(numbers), tuple(words), tuple(lengths))


def _whole(op: Op, key: str, value: float) -> int:
    """An attribute that the kernel reads as a 64-bit integer. *Raises* OpError if it is not one."""
    if not -(2**63) <= value < 2**63 or int(value) != value:
        raise OpError(f"attribute {key!r} is {value}, not an integer of 64 bits", op=op.name, todo=f"Give {key} as an integer.")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_integers(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(type(v) is int for v in value)


class Close(NamedTuple):
    """A reduction over all elements of the ``value`` that an elementwise loop computes."""

    op: ReductionOp
    value: ScalarRef
    dtype: str
    long: bool
    """Whether a chunk may have so many elements that a sum needs a cascade."""


def elementwise_kernel(
    calls: tuple[BodyCall, ...], loads: tuple[Operand, ...], stores: tuple[tuple[Operand, ScalarRef], ...], words: tuple[str, ...],
    ndim: int, closes: tuple[Close, ...] = (), vectors: int = VECTORS, fixed_size: int = 0,
) -> Kernel:  # fmt: skip
    """A loop nest of ``ndim`` axes that applies ``calls`` to every element; see `elementwise.elementwise_ir`."""
    endings = tuple((c.op.identity, c.op.exact) for c in closes)
    parts = ("elementwise", calls, loads, stores, words, ndim, closes, endings, vectors, fixed_size)
    combines = [BodyCall(c.op, {}, (), c.dtype) for c in closes]

    def make(name: str) -> list[str]:
        steps = tuple(op_functions.step_of(c) for c in calls)
        closings = [Closing(op_functions.step_of(call), c.value, c.long) for call, c in zip(combines, closes, strict=True)]
        body = Body(loads, steps, stores, words)
        functions = texts([*steps, *(c.combine for c in closings)])
        distributed = _distributed(body, closings, functions) if ndim == 1 and not fixed_size else None
        if distributed:
            return [distributed_loops.distributed_ir(name, body, closings, distributed), *functions]
        compact = sum(op_functions.instructions_of(s.symbol) for s in steps) >= elementwise.COMPACT
        return [elementwise.elementwise_ir(name, body, ndim, closings, vectors, fixed_size, compact=compact), *functions]

    return _kernel(calls[-1].op.name if len(calls) + len(closes) == 1 else "fused", parts, (*calls, *combines), make)


def _distributed(body: Body, closings: Sequence[Closing], functions: Sequence[str]) -> DistributedBody | None:
    """The partitions of a long body; None if one loop is as fast. ``functions`` are the modules of the scalar functions."""
    if sum(op_functions.text_of(s).count("\n") for s in body.steps) < MIN_INSTRUCTIONS:
        return None
    straight = straighten([distributed_loops.element_ir("element", body, closings), *functions], "element")
    return distributed_loops.distribute(straight, body, closings) if straight else None


def horizontal_kernel(
    calls: tuple[BodyCall, ...], loads: tuple[Operand, ...], stores: tuple[tuple[Operand, ScalarRef], ...], words: tuple[str, ...]
) -> Kernel:
    """Applies ``calls`` to every element of several arrays; see `horizontal.horizontal_ir`."""

    def make(name: str) -> list[str]:
        steps = tuple(op_functions.step_of(c) for c in calls)
        return [horizontal.horizontal_ir(name, Body(loads, steps, stores, words)), *texts(steps)]

    return _kernel("horizontal", ("horizontal", calls, loads, stores, words), calls, make)


def reduction_kernel(
    op: ReductionOp, calls: tuple[BodyCall, ...], loads: tuple[Operand, ...], value: ScalarRef, words: tuple[str, ...],
    out: Operand, dtype: str, kept: int, reduced: int, within_row: bool, fixed_row_size: int = 0,
    long: bool = True,
) -> Kernel:  # fmt: skip
    """Reduces the ``value`` that ``calls`` compute from an element; see `reduction.reduction_ir`."""
    combine = BodyCall(op, {}, (), dtype)
    end = op.identity, op.exact, long and op.rounds(dtype)
    parts = ("reduction", calls, loads, value, words, out, dtype, kept, reduced, within_row, fixed_row_size, end)

    def make(name: str) -> list[str]:
        steps = tuple(op_functions.step_of(c) for c in calls)
        axes = reduction.Reduction(op_functions.step_of(combine), kept, reduced, within_row, fixed_row_size, long)
        body = Body(loads, steps, ((out, value),), words)
        return [reduction.reduction_ir(name, body, axes, out), *texts((*steps, axes.combine))]

    return _kernel("reduction", parts, (*calls, combine), make)


def rowwise_kernel(
    calls: tuple[BodyCall, ...], loads: tuple[Operand, ...], stores: tuple[tuple[Operand, ScalarRef, bool], ...],
    words: tuple[str, ...], plan: RowSchedule, ndim: int, form: Form,
) -> Kernel:  # fmt: skip
    """A loop nest over rows that applies ``calls`` in the sweeps of a plan; see `rowwise.rowwise_ir`."""
    ends = tuple((c.op.identity, c.op.exact) if isinstance(c.op, ReductionOp) else None for c in calls)
    parts = ("rows", calls, loads, stores, words, plan, ndim, form, ends)

    def make(name: str) -> list[str]:
        steps = tuple(op_functions.step_of(c) for c in calls)
        return [rowwise.rowwise_ir(name, RowwiseBody(loads, steps, stores, words), plan, ndim, form), *texts(steps)]

    return _kernel("rows", parts, calls, make)


def array_kernel(
    op: KernelOp, constants: tuple[tuple[str, Any], ...], dtype: str, arrays: tuple[Array, ...], strided: tuple[bool, ...],
    words: tuple[str, ...], lengths: tuple[int, ...], batch: int, checked: bool = False,
) -> Kernel:  # fmt: skip
    """Loops over ``batch`` leading axes around an array kernel; if ``checked``, it checks its indices."""
    parts: tuple[Any, ...] = ("array", constants, dtype, arrays, strided, words, lengths, batch, op.scratch, op.parallel)
    parts += raising_lines(op)  # which the code tells, so that it is compiled again when they move
    parts += ("checked",) * checked
    call = BodyCall(op, dict(constants), (), dtype)

    def make(name: str) -> list[str]:
        symbol = toolchain.symbol_name(
            op.name, "body", fingerprint.environment(), fingerprint.of_function(op.function), repr(parts)
        )

        def types(frontend: Any) -> list[Any]:
            return op_functions.array_types(op, frontend, arrays, strided, words, lengths)

        def compile_() -> Compiled:
            return op_functions.compile_by_numba(op, symbol, types, call.attributes, dtype, scalar=False, checked=checked)

        brought = None if checked else shipped.find(op, (constants, dtype, arrays, strided, words, lengths), symbol)
        text, results = brought or op_functions.compiled(op, symbol, compile_)
        returns = results[0] if results else None
        loops = array_kernel_ir(
            name, symbol, arrays, words, batch, scratch=op.scratch, shared=op.parallel, returns=returns, tells=brought is None
        )  # fmt: skip
        return [loops, text]

    return _kernel(op.name, parts, (call,), make)


def _kernel(label: str, parts: tuple[Any, ...], calls: Sequence[BodyCall], make: Callable[[str], list[str]]) -> Kernel:
    text = repr(_plain(parts))  # tells 0.0 from -0.0 and 1 from True, which are equal as keys
    key = (text, tuple(op_functions.key_of(c.op) for c in calls))
    found = loaded.get(key)
    if found is not None:
        return found
    with toolchain.LOCK:
        if key not in loaded:
            name = toolchain.symbol_name(label, fingerprint.environment(), text, *key[1])

            def build() -> tuple[list[str], str]:
                compiled.append(name)
                return make(name), name

            loaded[key] = Kernel(name, linker.obtain(name, build), lambda: make(name))
    return loaded[key]


def _plain(part: Any) -> Any:
    """A key without addresses: an op is represented by its name; the hash of its code is added separately."""
    if isinstance(part, Op):
        return part.name
    if isinstance(part, tuple):
        return tuple(_plain(p) for p in part)
    return part
