"""codegen: the LLVM IR of a kernel's loops, as text.

A kernel is a C function ``i64 kernel(ptr record, i64 ith, i64 nth, i64 who)``: it does piece `ith` of `nth` and returns a
status, 0 for success; what it needs of scratch memory is thread `who`'s. The record is an array of 64-bit words: sizes,
addresses, strides in bytes, attributes. So sizes are data, and one kernel serves every size.

Loops are written here, once, for every op; what happens to an element is a call of a scalar function that Numba has
compiled, which LLVM inlines and vectorises. The memory accesses of an inner loop are marked as independent between
iterations (`llvm.loop.parallel_accesses`), which holds because an output is either another buffer than an operand or
exactly the same elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from graphexec.abi import BLOCK, CHUNK
from graphexec.ir.fused.scalar import ScalarRef

LLVM_TYPES = {"float32": "float", "float64": "double", "int32": "i32", "int64": "i64", "bool": "i8"}
ITEM = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "bool": 1}

UNIT, SAME, STRIDED = "u", "s", "g"
"""How an operand moves along the innermost axis: by one element, not at all, or by a stride of its own."""

BLOCK_VECTORS = 8
"""Vectors at a time in a loop over BLOCK elements: nothing is left over, and more chains of operations hide their latency."""

class Operand(NamedTuple):
    """An array that an elementwise loop reads or writes."""

    dtype: str
    inner: str
    """UNIT, SAME or STRIDED."""


class Step(NamedTuple):
    """A call of a scalar function inside the loop."""

    symbol: str
    arguments: tuple[ScalarRef, ...]
    types: tuple[str, ...]
    """Element types that the function takes."""
    results: tuple[str, ...]
    """Element types that it returns."""


class Body(NamedTuple):
    """What happens to one element: loads, steps, stores."""

    loads: tuple[Operand, ...]
    steps: tuple[Step, ...]
    stores: tuple[tuple[Operand, ScalarRef], ...]
    words: tuple[str, ...]
    """Element types of the attributes in the record."""


class _Lines:
    """IR text: numbered names, and lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0

    def name(self, hint: str = "v") -> str:
        self.count += 1
        return f"%{hint}{self.count}"

    def put(self, line: str) -> None:
        self.lines.append("  " + line)

    def let(self, expression: str, hint: str = "v") -> str:
        name = self.name(hint)
        self.put(f"{name} = {expression}")
        return name

    def label(self, name: str) -> None:
        self.lines.append(f"{name[1:]}:")

    def word(self, index: int, hint: str = "w") -> str:
        """A 64-bit word of the record."""
        at = self.let(f"getelementptr i64, ptr %record, i64 {index}")
        return self.let(f"load i64, ptr {at}, !invariant.load !90", hint)

    def numbers(self, first: int, types: Sequence[str]) -> list[str]:
        """The attributes, which are doubles or integers of 64 bits."""
        words = [self.word(first + k) for k in range(len(types))]
        return [self.let(f"bitcast i64 {w} to double") if t[0] == "f" else w for w, t in zip(words, types, strict=True)]

    def pointer(self, index: int) -> str:
        return self.let(f"inttoptr i64 {self.word(index)} to ptr", "p")

    def begin(self, low: str, high: str) -> tuple[str, str, str, str, str]:
        """Opens ``for i in range(low, high)``; gives (i, labels) for :meth:`end`."""
        index, head, body, latch, done = (self.name(h) for h in ("i", "head", "body", "latch", "done"))
        start = self.name("start")
        self.put(f"br label {start}")
        self.label(start)
        self.put(f"br label {head}")
        self.label(head)
        following = index + ".next"
        self.put(f"{index} = phi i64 [ {low}, {start} ], [ {following}, {latch} ]")
        more = self.let(f"icmp slt i64 {index}, {high}")
        self.put(f"br i1 {more}, label {body}, label {done}")
        self.label(body)
        return index, head, latch, done, following

    def end(self, loop: tuple[str, str, str, str, str], *, independent: bool = False, step: int = 1) -> None:
        index, head, latch, done, following = loop
        self.put(f"br label {latch}")
        self.label(latch)
        self.put(f"{following} = add nsw i64 {index}, {step}")
        self.put(f"br label {head}" + (", !llvm.loop !91" if independent else ""))
        self.label(done)

    def convert(self, value: str, source: str, target: str) -> str:
        """An element of one type as another; NaN and infinities saturate when they become integers."""
        if source == target:
            return value
        s, t = LLVM_TYPES[source], LLVM_TYPES[target]
        if target == "bool":
            test = f"fcmp une {s} {value}, 0.0" if source[0] == "f" else f"icmp ne {s} {value}, 0"
            return self.let(f"zext i1 {self.let(test)} to i8")
        if source[0] == "f" and target[0] == "f":
            return self.let(f"{'fpext' if s == 'float' else 'fptrunc'} {s} {value} to {t}")
        if source[0] == "f":
            return self.let(f"call {t} @llvm.fptosi.sat.{t}.{'f32' if s == 'float' else 'f64'}({s} {value})")
        if target[0] == "f":
            return self.let(f"{'uitofp' if source == 'bool' else 'sitofp'} {s} {value} to {t}")
        widen = ITEM[target] > ITEM[source]
        return self.let(f"{('zext' if source == 'bool' else 'sext') if widen else 'trunc'} {s} {value} to {t}")


VECTORS = 4
"""Vectors at a time: what is done to an element is a long chain of dependent operations, and LLVM would wait for each."""

_METADATA = """
!90 = !{}
!91 = distinct !{!91, !92, !93UNROLL}
!92 = !{!"llvm.loop.parallel_accesses", !94}
!93 = !{!"llvm.loop.interleave.count", i32 VECTORS}
!94 = distinct !{}
!95 = !{!"llvm.loop.unroll.disable"}
"""

_SATURATING = "\n".join(
    f"declare {t} @llvm.fptosi.sat.{t}.{s}({f})" for t in ("i32", "i64") for s, f in (("f32", "float"), ("f64", "double"))
)


def _module(lines: _Lines, name: str, declarations: Sequence[str], vectors: int = VECTORS, unroll: bool = True) -> str:
    """The module of a kernel. Without ``unroll`` a loop of few rounds stays one until it is vectors; LLVM may unroll it first."""
    metadata = _METADATA.replace("VECTORS", str(vectors)).replace("UNROLL", "" if unroll else ", !95")
    text = "\n".join(dict.fromkeys([*declarations, _SATURATING]))
    attributes = '"prefer-vector-width"="512" nounwind'
    return (
        f"{text}\ndefine i64 @{name}(ptr noalias readonly %record, i64 %ith, i64 %nth, i64 %who) {attributes} {{\nentry:\n"
        + "\n".join(lines.lines)
        + f"\n}}\n{metadata}"
    )


def _declare(steps: Sequence[Step]) -> list[str]:
    return [f"declare i32 @{s.symbol}(ptr, ptr{''.join(', ' + LLVM_TYPES[t] for t in s.types)})" for s in steps]


class _Scalars:
    """Emits the calls of scalar functions, and keeps their result slots."""

    def __init__(self, lines: _Lines, body: Body, words: Sequence[str]) -> None:
        self.lines, self.body, self.words = lines, body, words
        lines.put("%exception = alloca ptr")
        lines.put("%status = alloca i32")
        lines.put("store i32 0, ptr %status")
        self.slots = [lines.let(f"alloca {_struct(s.results)}", "slot") for s in body.steps]

    def value(self, ref: ScalarRef, loaded: Sequence[str], results: Sequence[Sequence[str]], dtype: str) -> str:
        if ref.kind == "operand":
            return self.lines.convert(loaded[ref.index], self.body.loads[ref.index].dtype, dtype)
        if ref.kind == "attribute":
            return self.lines.convert(self.words[ref.index], "float64" if self.body.words[ref.index][0] == "f" else "int64", dtype)
        return self.lines.convert(results[ref.index][ref.output], self.body.steps[ref.index].results[ref.output], dtype)

    def run(self, loaded: Sequence[str]) -> list[list[str]]:
        results: list[list[str]] = []
        for step, slot in zip(self.body.steps, self.slots, strict=True):
            arguments = [self.value(r, loaded, results, t) for r, t in zip(step.arguments, step.types, strict=True)]
            results.append(self.call(step, slot, arguments))
        return results

    def call(self, step: Step, slot: str, arguments: Sequence[str]) -> list[str]:
        text = "".join(f", {LLVM_TYPES[t]} {a}" for t, a in zip(step.types, arguments, strict=True))
        status = self.lines.let(f"call i32 @{step.symbol}(ptr {slot}, ptr %exception{text})")
        old = self.lines.let("load i32, ptr %status")
        self.lines.put(f"store i32 {self.lines.let(f'or i32 {old}, {status}')}, ptr %status")
        out = []
        for k, dtype in enumerate(step.results):
            at = self.lines.let(f"getelementptr {_struct(step.results)}, ptr {slot}, i32 0, i32 {k}")
            out.append(self.lines.let(f"load {LLVM_TYPES[dtype]}, ptr {at}"))
        return out

    def leave(self) -> None:
        status = self.lines.let("load i32, ptr %status")
        self.lines.put(f"ret i64 {self.lines.let(f'sext i32 {status} to i64')}")


def _struct(results: Sequence[str]) -> str:
    return "{" + ", ".join(LLVM_TYPES[r] for r in results) + "}"


def _share(lines: _Lines, n: str, unit: int) -> tuple[str, str]:
    """This thread's part of ``range(n)``, cut at multiples of ``unit``."""
    blocks = n if unit == 1 else lines.let(f"sdiv i64 {lines.let(f'add i64 {n}, {unit - 1}')}, {unit}")
    bounds = []
    following = lines.let("add i64 %ith, 1")
    for which in ("%ith", following):
        cut = lines.let(f"sdiv i64 {lines.let(f'mul i64 {blocks}, {which}')}, %nth")
        if unit > 1:
            scaled = lines.let(f"mul i64 {cut}, {unit}")
            cut = lines.let(f"select i1 {lines.let(f'icmp slt i64 {scaled}, {n}')}, i64 {scaled}, i64 {n}")
        bounds.append(cut)
    return bounds[0], bounds[1]


class _Access:
    """Addresses of the operands of a loop nest; the record holds, for each, its address and its strides."""

    def __init__(self, lines: _Lines, operands: Sequence[Operand], first: int, outer: int) -> None:
        self.lines, self.operands, self.outer = lines, operands, outer
        self.bases: list[str] = []
        self.strides: list[list[str]] = []
        self.inner: list[str | None] = []
        at = first
        for operand in operands:
            self.bases.append(lines.pointer(at))
            self.strides.append([lines.word(at + 1 + d) for d in range(outer)])
            self.inner.append(self._stride(at + 1 + outer) if operand.inner == STRIDED else None)
            at += words_of(operand, outer)

    def _stride(self, at: int) -> str:
        """A stride along the innermost axis. LLVM would make vectors for a stride of one byte, as if that were likely, and
        do all others one by one, if it saw a single number; `nth` is never so large as to change it.
        """
        return self.lines.let(f"add i64 {self.lines.word(at)}, {self.lines.let('lshr i64 %nth, 62')}")

    def row(self, which: int, indices: Sequence[str]) -> str:
        """The address of an operand for given outer indices."""
        pointer = self.bases[which]
        for index, stride in zip(indices, self.strides[which], strict=False):
            pointer = self.lines.let(f"getelementptr i8, ptr {pointer}, i64 {self.lines.let(f'mul i64 {index}, {stride}')}")
        return pointer

    def element(self, which: int, row: str, index: str) -> str:
        operand = self.operands[which]
        if operand.inner == SAME:
            return row
        if operand.inner == UNIT:
            return self.lines.let(f"getelementptr {LLVM_TYPES[operand.dtype]}, ptr {row}, i64 {index}")
        offset = self.lines.let(f"mul i64 {index}, {self.inner[which]}")
        return self.lines.let(f"getelementptr i8, ptr {row}, i64 {offset}")

    def load(self, which: int, pointer: str, group: bool = True) -> str:
        dtype = self.operands[which].dtype
        mark = ", !llvm.access.group !94" if group else ""
        return self.lines.let(f"load {LLVM_TYPES[dtype]}, ptr {pointer}, align {ITEM[dtype]}{mark}")

    def store(self, which: int, pointer: str, value: str) -> None:
        dtype = self.operands[which].dtype
        self.lines.put(f"store {LLVM_TYPES[dtype]} {value}, ptr {pointer}, align {ITEM[dtype]}, !llvm.access.group !94")


def words_of(operand: Operand, outer: int) -> int:
    """Words of the record that an operand takes."""
    return 1 + outer + (operand.inner == STRIDED)


class Closing(NamedTuple):
    """A sum, product, maximum, ... over every element of a loop nest, in one partial result for each chunk."""

    combine: Step
    """``(accumulated, x) -> accumulated``."""
    value: ScalarRef
    dtype: str
    identity: str
    """The neutral element, as IR text."""


def elementwise_ir(
    name: str, body: Body, ndim: int, closings: Sequence[Closing] = (), vectors: int = VECTORS, few: int = 0
) -> str:
    """A loop nest of ``ndim`` axes over broadcast operands, ``vectors`` at a time along the innermost.

    ``few`` elements, where it is not 0, are all that there are, along one axis: the code has their number, and one thread
    does them.

    Record: the sizes, then for each load and store its address, its strides along the outer axes and, where it is
    STRIDED, along the innermost; then the attributes; then the addresses of the closings' partial results. A chunk is
    an index of the first axis, or CHUNK elements where there is only one axis.
    """
    lines = _Lines()
    operands = [*body.loads, *(o for o, _ in body.stores)]
    outer = ndim - 1
    attributes = ndim + sum(words_of(o, outer) for o in operands)
    scalars = _Scalars(lines, body, lines.numbers(attributes, body.words))
    closers = [_Lanes(lines, scalars, c.combine, c.dtype, c.identity, str(k)) for k, c in enumerate(closings)]
    partials = [lines.pointer(attributes + len(body.words) + k) for k in range(len(closings))]
    sizes = [lines.word(d, "n") for d in range(ndim)]
    nest = _Nest(lines, body, scalars, _Access(lines, operands, ndim, outer), list(zip(closings, closers, strict=True)))
    if few:
        nest.plain([("0", str(few))])
    elif not closings:
        low, high = _share(lines, sizes[0], BLOCK if ndim == 1 else 1)
        nest.plain([(low, high), *(("0", n) for n in sizes[1:])])
    else:
        nest.chunks(sizes, partials)
    scalars.leave()
    declarations = _declare([*body.steps, *(c.combine for c in closings)])
    return _module(lines, name, declarations, BLOCK_VECTORS if closings else vectors, unroll=not few)


class _Nest:
    """The loops of an elementwise kernel."""

    def __init__(
        self, lines: _Lines, body: Body, scalars: _Scalars, access: _Access, closings: list[tuple[Closing, _Lanes]]
    ) -> None:
        self.lines, self.body, self.scalars, self.access, self.closings = lines, body, scalars, access, closings

    def rows(self, indices: Sequence[str]) -> tuple[list[str], dict[int, str]]:
        """Addresses for given outer indices, and what does not move along the innermost axis, loaded once."""
        rows = [self.access.row(k, indices) for k in range(len(self.access.operands))]
        return rows, {k: self.access.load(k, rows[k], group=False) for k, o in enumerate(self.body.loads) if o.inner == SAME}

    def element(self, rows: Sequence[str], fixed: Mapping[int, str], index: str, lane: str | None) -> None:
        access = self.access
        loaded = [
            fixed[k] if k in fixed else access.load(k, access.element(k, rows[k], index)) for k in range(len(self.body.loads))
        ]
        results = self.scalars.run(loaded)
        for k, (operand, ref) in enumerate(self.body.stores, len(self.body.loads)):
            access.store(k, access.element(k, rows[k], index), self.scalars.value(ref, loaded, results, operand.dtype))
        for closing, lanes in self.closings:
            assert lane is not None
            lanes.combine(lane, self.scalars.value(closing.value, loaded, results, closing.dtype))

    def inner(self, rows: Sequence[str], fixed: Mapping[int, str], low: str, high: str, first: str | None = None) -> None:
        loop = self.lines.begin(low, high)
        index = loop[0] if first is None else self.lines.let(f"add i64 {first}, {loop[0]}")
        self.element(rows, fixed, index, None if first is None else loop[0])
        self.lines.end(loop, independent=True)

    def plain(self, bounds: Sequence[tuple[str, str]]) -> None:
        loops = [self.lines.begin(*b) for b in bounds[:-1]]
        rows, fixed = self.rows([loop[0] for loop in loops])
        self.inner(rows, fixed, *bounds[-1])
        for loop in reversed(loops):
            self.lines.end(loop)

    def chunks(self, sizes: Sequence[str], partials: Sequence[str]) -> None:
        lines, flat = self.lines, len(sizes) == 1
        count = lines.let(f"sdiv i64 {lines.let(f'add i64 {sizes[0]}, {CHUNK - 1}')}, {CHUNK}") if flat else sizes[0]
        chunk = lines.begin(*_share(lines, count, 1))
        for _, lanes in self.closings:
            lanes.fill(str(BLOCK))
        if flat:
            start = lines.let(f"mul i64 {chunk[0]}, {CHUNK}")
            left = lines.let(f"sub i64 {sizes[0]}, {start}")
            span = lines.let(f"select i1 {lines.let(f'icmp slt i64 {left}, {CHUNK}')}, i64 {left}, i64 {CHUNK}")
            self.blocks(*self.rows([]), start, span)
        else:
            loops = [chunk, *(lines.begin("0", n) for n in sizes[1:-1])]
            self.blocks(*self.rows([loop[0] for loop in loops]), "0", sizes[-1])
            for loop in reversed(loops[1:]):
                lines.end(loop)
        for (closing, lanes), partial in zip(self.closings, partials, strict=True):
            total = lanes.total()
            at = lines.let(f"getelementptr {LLVM_TYPES[closing.dtype]}, ptr {partial}, i64 {chunk[0]}")
            lines.put(f"store {LLVM_TYPES[closing.dtype]} {total}, ptr {at}")
        lines.end(chunk)

    def blocks(self, rows: Sequence[str], fixed: Mapping[int, str], start: str, span: str) -> None:
        """Elements from ``start`` on, BLOCK at a time, so that element i goes to lane i % BLOCK."""
        whole = self.lines.let(f"and i64 {span}, {-BLOCK}")
        block = self.lines.begin("0", whole)
        self.inner(rows, fixed, "0", str(BLOCK), self.lines.let(f"add i64 {start}, {block[0]}"))
        self.lines.end(block, step=BLOCK)
        rest = self.lines.let(f"sub i64 {span}, {whole}")
        self.inner(rows, fixed, "0", rest, self.lines.let(f"add i64 {start}, {whole}"))


class _Lanes:
    """BLOCK accumulators side by side."""

    def __init__(self, lines: _Lines, scalars: _Scalars, step: Step, dtype: str, identity: str, tag: str = "") -> None:
        self.lines, self.scalars, self.step, self.dtype, self.identity = lines, scalars, step, dtype, identity
        self.type = LLVM_TYPES[dtype]
        self.memory, self.slot = f"%lanes{tag}", f"%combined{tag}"
        lines.put(f"{self.memory} = alloca [{BLOCK} x {self.type}], align 64")
        lines.put(f"{self.slot} = alloca {_struct(step.results)}")

    def at(self, index: str) -> str:
        return self.lines.let(f"getelementptr {self.type}, ptr {self.memory}, i64 {index}")

    def fill(self, count: str) -> None:
        """The neutral element in the first lanes."""
        loop = self.lines.begin("0", count)
        self.lines.put(f"store {self.type} {self.identity}, ptr {self.at(loop[0])}, !llvm.access.group !94")
        self.lines.end(loop, independent=True)

    def combine(self, index: str, value: str) -> None:
        mark, lane = ", !llvm.access.group !94", self.at(index)
        old = self.lines.let(f"load {self.type}, ptr {lane}{mark}")
        new = self.lines.convert(self.scalars.call(self.step, self.slot, [old, value])[0], self.step.results[0], self.dtype)
        self.lines.put(f"store {self.type} {new}, ptr {lane}{mark}")

    def total(self, count: int = BLOCK) -> str:
        """The first lanes combined, pairwise: lane i with lane i + 32, then i + 16, ..."""
        width = count // 2
        while width:
            loop = self.lines.begin("0", str(width))
            self.combine(loop[0], self.value(self.lines.let(f"add i64 {loop[0]}, {width}")))
            self.lines.end(loop, independent=count < BLOCK and width > 2)
            width //= 2
        return self.value("0")

    def value(self, index: str) -> str:
        return self.lines.let(f"load {self.type}, ptr {self.at(index)}, !llvm.access.group !94")


class Reduction(NamedTuple):
    """How a loop nest closes: combines what the body gives along axes."""

    combine: Step
    """``(accumulated, x) -> accumulated``, both of the accumulator's type."""
    dtype: str
    """The accumulator's type, and the output's."""
    identity: str
    """The neutral element, as IR text."""
    kept: int
    """Loops over axes that stay, outermost."""
    reduced: int
    """Loops over axes that go."""
    along: bool
    """Whether the innermost axis is one that goes; else it is one that stays, beside ``kept``."""
    row: int = 0
    """Elements along the innermost axis, the only one that goes, where they are whole lanes of a vector; else 0."""


def reduction_ir(name: str, body: Body, reduction: Reduction, out: Operand) -> str:
    """Loops over kept axes around loops over reduced axes, combining BLOCK lanes side by side.

    Element i of the innermost axis goes to lane i % BLOCK, and the lanes are combined pairwise at the end, so the
    order of every sum is fixed by the shape. Where the innermost axis stays, the lanes are elements of the output.
    Record: sizes of kept axes, of reduced axes, of the inner kept axis if there is one; then operands as in
    :func:`elementwise_ir`, the output last, then attributes.
    """
    lines = _Lines()
    ndim = reduction.kept + reduction.reduced + (not reduction.along)
    operands = [*body.loads, out]
    outer = ndim - 1
    scalars = _Scalars(lines, body, lines.numbers(ndim + sum(words_of(o, outer) for o in operands), body.words))
    lanes = _Lanes(lines, scalars, reduction.combine, reduction.dtype, reduction.identity)
    sizes = [lines.word(d, "n") for d in range(ndim)]
    emit = _ReductionBody(lines, body, reduction, _Access(lines, operands, ndim, outer), scalars, lanes)
    if reduction.along:
        emit.along(sizes)
    else:
        emit.across(sizes)
    scalars.leave()
    declarations = _declare([*body.steps, reduction.combine])
    return _module(lines, name, declarations, 1, unroll=False) if reduction.row else _module(lines, name, declarations)


class _ReductionBody:
    def __init__(self, lines: _Lines, body: Body, reduction: Reduction, access: _Access, scalars: _Scalars, lanes: _Lanes) -> None:
        self.lines, self.body, self.reduction = lines, body, reduction
        self.access, self.scalars, self.lanes = access, scalars, lanes
        self.out = len(body.loads)

    def element(self, rows: Sequence[str], index: str) -> str:
        """The body's value at an index of the innermost axis, in the accumulator's type."""
        loaded = [self.access.load(k, self.access.element(k, row, index)) for k, row in enumerate(rows)]
        results = self.scalars.run(loaded)
        return self.scalars.value(self.body.stores[0][1], loaded, results, self.reduction.dtype)

    def open_rows(self, loops: Sequence[tuple[str, ...]]) -> list[str]:
        return [self.access.row(k, [loop[0] for loop in loops]) for k in range(self.out)]

    def block(self, rows: Sequence[str], first: str, count: str) -> None:
        """Combines ``count`` elements from ``first`` on into the first lanes."""
        loop = self.lines.begin("0", count)
        index = self.lines.let(f"add i64 {first}, {loop[0]}")
        self.lanes.combine(loop[0], self.element(rows, index))
        self.lines.end(loop, independent=True)

    def along(self, sizes: Sequence[str]) -> None:
        """The innermost axis goes."""
        lines, kept = self.lines, self.reduction.kept
        bounds = [("0", n) for n in sizes]
        if kept:
            bounds[0] = _share(lines, sizes[0], 1)
        loops = [lines.begin(*bounds[d]) for d in range(kept)]
        few = self.reduction.row
        self.lanes.fill(str(few or BLOCK))
        inner = [lines.begin(*bounds[d]) for d in range(kept, len(sizes) - 1)]
        rows = self.open_rows([*loops, *inner])
        n = sizes[-1]
        if few:
            self.block(rows, "0", str(few))
        else:
            whole = lines.let(f"and i64 {n}, {-BLOCK}")
            block = lines.begin("0", whole)
            self.block(rows, block[0], str(BLOCK))
            lines.end(block, step=BLOCK)
            self.block(rows, whole, lines.let(f"sub i64 {n}, {whole}"))
        for loop in reversed(inner):
            lines.end(loop)
        self.finish(self.access.row(self.out, [loop[0] for loop in loops]), "0", self.lanes.total(few or BLOCK))
        for loop in reversed(loops):
            lines.end(loop)

    def across(self, sizes: Sequence[str]) -> None:
        """The innermost axis stays: a block of lanes walks down the reduced axes."""
        lines, kept = self.lines, self.reduction.kept
        n = sizes[-1]
        bounds = [("0", size) for size in sizes]
        low, high = _share(lines, n if kept == 0 else sizes[0], BLOCK if kept == 0 else 1)
        if kept:
            bounds[0], low, high = (low, high), "0", n
        loops = [lines.begin(*bounds[d]) for d in range(kept)]
        span = lines.let(f"sub i64 {high}, {low}")
        whole = lines.let(f"add i64 {low}, {lines.let(f'and i64 {span}, {-BLOCK}')}")
        for first, last, count in ((low, whole, str(BLOCK)), (whole, high, lines.let(f"sub i64 {high}, {whole}"))):
            block = lines.begin(first, last)
            self.lanes.fill(count)
            inner = [lines.begin(*bounds[d]) for d in range(kept, len(sizes) - 1)]
            self.block(self.open_rows([*loops, *inner]), block[0], count)
            for loop in reversed(inner):
                lines.end(loop)
            row = self.access.row(self.out, [loop[0] for loop in loops])
            copy = lines.begin("0", count)
            self.finish(row, lines.let(f"add i64 {block[0]}, {copy[0]}"), self.lanes.value(copy[0]))
            lines.end(copy, independent=True)
            lines.end(block, step=BLOCK)
        for loop in reversed(loops):
            lines.end(loop)

    def finish(self, row: str, index: str, value: str) -> None:
        value = self.lines.convert(value, self.reduction.dtype, self.access.operands[self.out].dtype)
        self.access.store(self.out, self.access.element(self.out, row, index), value)


class Array(NamedTuple):
    """An array argument of a kernel that Numba compiled."""

    dtype: str
    ndim: int
    """Axes that the kernel sees; leading batch axes are looped here."""


def array_kernel_ir(
    name: str, symbol: str, arrays: Sequence[Array], words: Sequence[str], batch: int,
    *, scratch: int, shared: bool, returns: str | None,
) -> str:  # fmt: skip
    """Loops over batch axes around a call of an array kernel.

    Record: batch sizes; for each array its address, its strides along batch axes, then sizes and strides of its own
    axes; then attributes; then, where the kernel wants scratch, its address. A shared kernel gets (piece, pieces);
    where there are at least as many batches as threads, the batches are shared out instead.
    """
    lines = _Lines()
    parameters: list[str] = []
    for array in arrays:
        parameters += ["ptr", "ptr", "i64", "i64", "ptr"] + ["i64"] * (2 * array.ndim)
    parameters += [LLVM_TYPES[w] for w in words]
    extra = ["i64"] * (bool(scratch) + 2 * shared)
    first = len(parameters) - len(words)
    declare = f"declare i32 @{symbol}({', '.join(['ptr', 'ptr', *parameters[:first], *extra, *parameters[first:]])})"
    lines.put("%exception = alloca ptr")
    lines.put(f"%result = alloca {LLVM_TYPES[returns] if returns else 'ptr'}")
    lines.put("%failed = alloca i64")
    lines.put("store i64 0, ptr %failed")
    sizes = [lines.word(d, "n") for d in range(batch)]
    at = batch
    handles = []
    for array in arrays:
        base = lines.pointer(at)
        steps = [lines.word(at + 1 + d) for d in range(batch)]
        dims = [lines.word(at + 1 + batch + d) for d in range(2 * array.ndim)]
        handles.append((base, steps, dims))
        at += 1 + batch + 2 * array.ndim
    values = [_attribute(lines, at + k, w) for k, w in enumerate(words)]
    at += len(words)
    piece, pieces, low, high = "%ith", "%nth", "0", "1"
    if batch:
        split = lines.let(f"icmp sge i64 {sizes[0]}, %nth") if shared else "true"
        mine = _share(lines, sizes[0], 1)
        low = lines.let(f"select i1 {split}, i64 {mine[0]}, i64 0")
        high = lines.let(f"select i1 {split}, i64 {mine[1]}, i64 {sizes[0]}")
        piece, pieces = (lines.let(f"select i1 {split}, i64 {a}, i64 {b}") for a, b in (("0", "%ith"), ("1", "%nth")))
    elif not shared:
        high = lines.let(f"zext i1 {lines.let('icmp eq i64 %ith, 0')} to i64")
    loops = [lines.begin(low, high)]
    loops += [lines.begin("0", n) for n in sizes[1:]]
    arguments = []
    for array, (base, steps, dims) in zip(arrays, handles, strict=True):
        pointer = base
        for loop, step in zip(loops, steps, strict=False):
            pointer = lines.let(f"getelementptr i8, ptr {pointer}, i64 {lines.let(f'mul i64 {loop[0]}, {step}')}")
        count = "1"
        for n in dims[: array.ndim]:
            count = lines.let(f"mul i64 {count}, {n}")
        arguments += ["ptr null", "ptr null", f"i64 {count}", f"i64 {ITEM[array.dtype]}", f"ptr {pointer}"]
        arguments += [f"i64 {d}" for d in dims]
    if scratch:
        start = lines.let(f"mul i64 %who, {scratch}")
        arguments.append(f"i64 {lines.let(f'add i64 {lines.word(at)}, {start}')}")
    if shared:
        arguments += [f"i64 {piece}", f"i64 {pieces}"]
    arguments += [f"{LLVM_TYPES[w]} {v}" for w, v in zip(words, values, strict=True)]
    status = lines.let(f"call i32 @{symbol}(ptr %result, ptr %exception, {', '.join(arguments)})")
    _keep_status(lines, status, returns)
    for loop in reversed(loops):
        lines.end(loop)
    lines.put(f"ret i64 {lines.let('load i64, ptr %failed')}")
    return _module(lines, name, [declare])


def _attribute(lines: _Lines, index: int, dtype: str) -> str:
    word = lines.word(index)
    value = lines.let(f"bitcast i64 {word} to double") if dtype[0] == "f" else word
    return lines.convert(value, "float64" if dtype[0] == "f" else "int64", dtype)


def _keep_status(lines: _Lines, status: str, returns: str | None) -> None:
    """The first status that is not 0 stays: what the kernel returned, or -1 where it raised."""
    failed = lines.let(f"icmp ne i32 {status}, 0")
    code = "0"
    if returns:
        code = lines.convert(lines.let(f"load {LLVM_TYPES[returns]}, ptr %result"), returns, "int64")
    code = lines.let(f"select i1 {failed}, i64 -1, i64 {code}")
    old = lines.let("load i64, ptr %failed")
    first = lines.let(f"icmp eq i64 {old}, 0")
    lines.put(f"store i64 {lines.let(f'select i1 {first}, i64 {code}, i64 {old}')}, ptr %failed")
