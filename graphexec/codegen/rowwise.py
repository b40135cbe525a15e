"""rowwise: a kernel over rows: elementwise steps with reductions along each row between them.

There are two forms. `WithinRow` computes one row after another: the innermost loop runs along the row, and a reduction combines
element i into lane i % LANES. `AcrossRows` computes BLOCK rows at a time: the innermost loop runs over the rows, and the lanes are
rows. It suits short rows and rows that are not contiguous. In both forms the shape alone fixes the order of every sum.
"""

from __future__ import annotations

from graphexec.abi import BLOCK
from graphexec.codegen.across_rows import AcrossRows
from graphexec.codegen.operands import Access, Body, Scalars, declare, words_of
from graphexec.codegen.row_loops import Form, RowwiseBody
from graphexec.codegen.within_row import WithinRow
from graphexec.codegen.writer import IRWriter
from graphexec.ir.fused.row_schedule import RowSchedule, Value


def rowwise_ir(name: str, body: RowwiseBody, plan: RowSchedule, ndim: int, form: Form) -> str:
    """A loop nest of ``ndim`` axes whose rows run along the last axis or, across rows, along the one before it.

    The record holds sizes and operands as for `elementwise_ir`, in the order of the loops; the attributes; and, if values are
    kept, the address of scratch memory, the bytes of one value, and the bytes of one thread.
    """
    writer = IRWriter()
    operands = [*body.loads, *(o for o, _, _ in body.stores)]
    attributes = ndim + sum(words_of(o, ndim - 1) for o in operands)
    scalars = Scalars(writer, Body(body.loads, body.steps, (), body.words), writer.numbers(attributes, body.words))
    sizes = [writer.word(d, "n") for d in range(ndim)]
    access = Access(writer, operands, ndim, ndim - 1)
    room = _room(writer, plan, attributes + len(body.words))
    loops = (AcrossRows if form.across else WithinRow)(writer, body, plan, access, scalars, room, form)
    loops.emit(sizes)
    scalars.leave()
    return writer.kernel_module(name, declare(body.steps), form.vectors, unroll=False)


def _room(writer: IRWriter, plan: RowSchedule, at: int) -> dict[Value, str]:
    """The address of each kept value in this thread's scratch memory."""
    if not plan.kept:
        return {}
    mine = writer.let(f"mul i64 %thread_id, {writer.word(at + 2)}")
    start = writer.element("i8", writer.pointer(at), mine)
    each = writer.word(at + 1)
    offsets = [writer.let(f"mul i64 {each}, {k}") for k in range(len(plan.kept))]
    return {v: writer.element("i8", start, o) for v, o in zip(plan.kept, offsets, strict=True)}


def room_of(count: int, n: int, across: bool) -> tuple[int, int]:
    """Bytes of scratch memory that one kept value takes, whatever its type, and bytes that ``count`` take for a thread."""
    each = max(n, 1) * (BLOCK if across else 1) * 8
    each += -each % 64
    return each, each * count
