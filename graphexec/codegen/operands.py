"""operands: the arrays and scalar functions of a loop nest, and the IR that addresses the arrays and calls the functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphexec.codegen.writer import ACCESS_GROUP, ITEM, LLVM_TYPES, IRWriter
from graphexec.ir.fused.scalar import ScalarRef

UNIT, SAME, STRIDED = "u", "s", "g"
"""How an operand moves along the innermost axis: by one element, not at all, or by a stride given in the record."""


class Operand(NamedTuple):
    """An array that a loop nest reads or writes."""

    dtype: str
    inner: str
    """UNIT, SAME or STRIDED."""


class Step(NamedTuple):
    """A compiled `BodyCall`: a scalar function and its arguments."""

    symbol: str
    arguments: tuple[ScalarRef, ...]
    types: tuple[str, ...]
    """Element types of the parameters."""
    results: tuple[str, ...]
    """Element types of the results."""
    accumulator: str = ""
    """Of a reduction's ``(accumulated, x) -> accumulated``: the element type in which it accumulates; else empty."""
    identity: str = ""
    """Of a reduction: the neutral element, as IR text."""
    rounds: bool = False
    """Of a reduction: whether combining two elements rounds, so that many are combined pairwise."""

    def type_of(self, output: int) -> str:
        return self.accumulator or self.results[output]


class Body(NamedTuple):
    """The work on one element: loads, steps, stores."""

    loads: tuple[Operand, ...]
    steps: tuple[Step, ...]
    stores: tuple[tuple[Operand, ScalarRef], ...]
    words: tuple[str, ...]
    """Element types of the attributes in the record."""

    @property
    def operands(self) -> list[Operand]:
        """The arrays in the order of the record: those that are read, then those that are written."""
        return [*self.loads, *(operand for operand, _ in self.stores)]


def words_of(operand: Operand, outer: int) -> int:
    """The number of words that an operand takes in the record: its address and its strides."""
    return 1 + outer + (operand.inner == STRIDED)


def declare(steps: Sequence[Step]) -> list[str]:
    """Declarations of the steps' scalar functions."""
    return [f"declare i32 @{s.symbol}(ptr, ptr{''.join(', ' + LLVM_TYPES[t] for t in s.types)})" for s in steps]


def struct_of(results: Sequence[str]) -> str:
    """The LLVM struct in which a scalar function returns its results."""
    return "{" + ", ".join(LLVM_TYPES[r] for r in results) + "}"


class Scalars:
    """Emits the calls of scalar functions. Each step has a slot for its results; a status that is not 0 is kept to the end."""

    def __init__(self, writer: IRWriter, body: Body, words: Sequence[str]) -> None:
        self.writer, self.body, self.words = writer, body, words
        writer.put("%exception = alloca ptr")
        writer.put("%status = alloca i32")
        writer.put("store i32 0, ptr %status")
        self.slots = [writer.let(f"alloca {struct_of(s.results)}", "slot") for s in body.steps]

    def value(self, ref: ScalarRef, loaded: Sequence[str], results: Sequence[Sequence[str]], dtype: str) -> str:
        if ref.kind == "operand":
            return self.writer.convert(loaded[ref.index], self.body.loads[ref.index].dtype, dtype)
        if ref.kind == "attribute":
            return self.writer.convert(self.words[ref.index], "float64" if self.body.words[ref.index][0] == "f" else "int64", dtype)
        return self.writer.convert(results[ref.index][ref.output], self.body.steps[ref.index].results[ref.output], dtype)

    def run(self, loaded: Sequence[str]) -> list[list[str]]:
        """Calls every step on the elements that were loaded; gives the results of each."""
        results: list[list[str]] = []
        for step, slot in zip(self.body.steps, self.slots, strict=True):
            arguments = [self.value(r, loaded, results, t) for r, t in zip(step.arguments, step.types, strict=True)]
            results.append(self.call(step, slot, arguments))
        return results

    def call(self, step: Step, slot: str, arguments: Sequence[str]) -> list[str]:
        writer = self.writer
        text = "".join(f", {LLVM_TYPES[t]} {a}" for t, a in zip(step.types, arguments, strict=True))
        status = writer.let(f"call i32 @{step.symbol}(ptr {slot}, ptr %exception{text})")
        self.note(status)
        out = []
        for k, dtype in enumerate(step.results):
            at = writer.let(f"getelementptr {struct_of(step.results)}, ptr {slot}, i32 0, i32 {k}")
            out.append(writer.let(f"load {LLVM_TYPES[dtype]}, ptr {at}"))
        return out

    def note(self, status: str) -> None:
        """Keeps a status that is not 0."""
        old = self.writer.let("load i32, ptr %status")
        self.writer.put(f"store i32 {self.writer.let(f'or i32 {old}, {status}')}, ptr %status")

    def leave(self) -> None:
        """Returns the status from the kernel."""
        status = self.writer.let("load i32, ptr %status")
        self.writer.put(f"ret i64 {self.writer.let(f'sext i32 {status} to i64')}")


class Access:
    """Addresses of the operands of a loop nest. For each, the record holds its address and then its strides."""

    def __init__(self, writer: IRWriter, operands: Sequence[Operand], first: int, outer: int) -> None:
        self.writer, self.operands, self.outer = writer, operands, outer
        self.bases: list[str] = []
        self.strides: list[list[str]] = []
        self.inner: list[str | None] = []
        at = first
        for operand in operands:
            self.bases.append(writer.pointer(at))
            self.strides.append([writer.word(at + 1 + d) for d in range(outer)])
            self.inner.append(self._stride(at + 1 + outer) if operand.inner == STRIDED else None)
            at += words_of(operand, outer)

    def _stride(self, at: int) -> str:
        """A stride along the innermost axis.

        If LLVM saw a single number, it would specialise the loop for a stride of one byte and run every other stride one element
        at a time. `nth` is never large enough for the added term to change the stride.
        """
        return self.writer.let(f"add i64 {self.writer.word(at)}, {self.writer.let('lshr i64 %nth, 62')}")

    def row(self, which: int, indices: Sequence[str]) -> str:
        """The address of an operand for given outer indices."""
        pointer = self.bases[which]
        for index, stride in zip(indices, self.strides[which], strict=False):
            pointer = self.writer.advance(pointer, index, stride)
        return pointer

    def element(self, which: int, row: str, index: str) -> str:
        """The address of an operand's element at an index of the innermost axis."""
        operand = self.operands[which]
        if operand.inner == SAME:
            return row
        if operand.inner == UNIT:
            return self.writer.element(LLVM_TYPES[operand.dtype], row, index)
        stride = self.inner[which]
        assert stride is not None
        return self.writer.advance(row, index, stride)

    def load(self, which: int, pointer: str, group: bool = True) -> str:
        """Loads an element; one loaded outside the innermost loop is not in its access ``group``."""
        dtype = self.operands[which].dtype
        mark = f", !llvm.access.group {ACCESS_GROUP}" if group else ""
        return self.writer.let(f"load {LLVM_TYPES[dtype]}, ptr {pointer}, align {ITEM[dtype]}{mark}")

    def store(self, which: int, pointer: str, value: str) -> None:
        dtype = self.operands[which].dtype
        kind, align = LLVM_TYPES[dtype], ITEM[dtype]
        self.writer.put(f"store {kind} {value}, ptr {pointer}, align {align}, !llvm.access.group {ACCESS_GROUP}")
