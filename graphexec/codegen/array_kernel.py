"""array_kernel: loops over batch axes around a call of an array kernel that Numba compiled."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from graphexec.abi import LEAST_STATUS, RAISED
from graphexec.codegen.writer import ITEM, LLVM_TYPES, IRWriter


class Array(NamedTuple):
    """An array argument of an array kernel."""

    dtype: str
    ndim: int
    """Number of axes that the kernel sees; the leading batch axes are looped over here."""


class _Handle(NamedTuple):
    """An array's words in the record."""

    array: Array
    base: str
    strides: list[str]
    """Bytes, along the batch axes."""
    dims: list[str]
    """Sizes and strides of the axes that the kernel sees."""


def array_kernel_ir(
    name: str, symbol: str, arrays: Sequence[Array], words: Sequence[str], batch: int,
    *, scratch: int, shared: bool, returns: str | None, tells: bool = False,
) -> str:  # fmt: skip
    """Loops over ``batch`` axes around a call of ``symbol``.

    The record holds the batch sizes; for each array its address, its strides along the batch axes, and the sizes and strides
    of its own axes; the attributes; the address of scratch memory, if the kernel wants ``scratch`` bytes a thread. A ``shared``
    kernel is passed (piece, pieces); if there are at least as many batches as threads, the threads share the batches instead.

    A kernel that ``tells`` what it raised ends with its first exception, and gives the address of its record plus RAISED.
    """
    writer = IRWriter()
    writer.put("%exception = alloca ptr")
    writer.put(f"%result = alloca {LLVM_TYPES[returns] if returns else 'ptr'}")
    writer.put("%failed = alloca i64")
    writer.put("store i64 0, ptr %failed")
    sizes = [writer.word(d, "n") for d in range(batch)]
    at = batch
    handles = []
    for array in arrays:
        handles.append(_handle(writer, array, at, batch))
        at += 1 + batch + 2 * array.ndim
    values = [_attribute(writer, at + k, w) for k, w in enumerate(words)]
    bounds, piece, pieces = _bounds(writer, sizes, shared)
    with writer.loops(bounds) as indices, _unless_failed(writer, tells):
        arguments = [text for handle in handles for text in _array_arguments(writer, handle, indices)]
        if scratch:
            start = writer.let(f"mul i64 %thread_id, {scratch}")
            arguments.append(f"i64 {writer.add(writer.word(at + len(words)), start)}")
        if shared:
            arguments += [f"i64 {piece}", f"i64 {pieces}"]
        arguments += [f"{LLVM_TYPES[w]} {v}" for w, v in zip(words, values, strict=True)]
        if tells:  # `try` looks there whether something was raised
            writer.put("store ptr null, ptr %exception")
        status = writer.let(f"call i32 @{symbol}(ptr %result, ptr %exception, {', '.join(arguments)})")
        _keep_status(writer, status, returns, tells)
    writer.put(f"ret i64 {writer.let('load i64, ptr %failed')}")
    return writer.kernel_module(name, [_declaration(symbol, arrays, words, bool(scratch) + 2 * shared)])


def _declaration(symbol: str, arrays: Sequence[Array], words: Sequence[str], integers: int) -> str:
    """The Numba function: a result, an exception, arrays, ``integers`` for scratch and pieces, attributes."""
    parameters = ["ptr", "ptr"]
    for array in arrays:
        parameters += ["ptr", "ptr", "i64", "i64", "ptr"] + ["i64"] * (2 * array.ndim)
    return f"declare i32 @{symbol}({', '.join([*parameters, *['i64'] * integers, *(LLVM_TYPES[w] for w in words)])})"


def _handle(writer: IRWriter, array: Array, at: int, batch: int) -> _Handle:
    base = writer.pointer(at)
    strides = [writer.word(at + 1 + d) for d in range(batch)]
    return _Handle(array, base, strides, [writer.word(at + 1 + batch + d) for d in range(2 * array.ndim)])


def _bounds(writer: IRWriter, sizes: Sequence[str], shared: bool) -> tuple[list[tuple[str, str]], str, str]:
    """Bounds of the batch loops, and the (piece, pieces) that a shared kernel is passed."""
    if not sizes:
        high = "1" if shared else writer.let(f"zext i1 {writer.let('icmp eq i64 %ith, 0')} to i64")
        return [("0", high)], "%ith", "%nth"
    share_batches = writer.let(f"icmp sge i64 {sizes[0]}, %nth") if shared else "true"
    first, last = writer.share(sizes[0])
    low = writer.let(f"select i1 {share_batches}, i64 {first}, i64 0")
    high = writer.let(f"select i1 {share_batches}, i64 {last}, i64 {sizes[0]}")
    piece = writer.let(f"select i1 {share_batches}, i64 0, i64 %ith")
    pieces = writer.let(f"select i1 {share_batches}, i64 1, i64 %nth")
    return [(low, high), *(("0", n) for n in sizes[1:])], piece, pieces


def _array_arguments(writer: IRWriter, handle: _Handle, indices: Sequence[str]) -> list[str]:
    """Numba's record of an array: owner, parent, number of elements, bytes of one, address, sizes, strides."""
    pointer = handle.base
    for index, stride in zip(indices, handle.strides, strict=False):
        pointer = writer.advance(pointer, index, stride)
    count = "1"
    for n in handle.dims[: handle.array.ndim]:
        count = writer.let(f"mul i64 {count}, {n}")
    head = ["ptr null", "ptr null", f"i64 {count}", f"i64 {ITEM[handle.array.dtype]}", f"ptr {pointer}"]
    return [*head, *(f"i64 {d}" for d in handle.dims)]


def _attribute(writer: IRWriter, index: int, dtype: str) -> str:
    word = writer.word(index)
    value = writer.let(f"bitcast i64 {word} to double") if dtype[0] == "f" else word
    return writer.convert(value, "float64" if dtype[0] == "f" else "int64", dtype)


def _unless_failed(writer: IRWriter, tells: bool) -> AbstractContextManager[None]:
    """Leaves out the batches after one that failed: an exception with arguments allocates a record, which nobody would free."""
    if not tells:
        return nullcontext()
    return writer.when(f"icmp eq i64 {writer.let('load i64, ptr %failed')}, 0")


def _keep_status(writer: IRWriter, status: str, returns: str | None, tells: bool) -> None:
    """Keeps the first status other than 0: the kernel's return value, or -1 or the exception's record if it raised."""
    failed = writer.let(f"icmp ne i32 {status}, 0")
    code, error = "0", "-1"
    if returns:
        code = writer.convert(writer.let(f"load {LLVM_TYPES[returns]}, ptr %result"), returns, "int64")
    if tells:
        least = writer.let(f"icmp slt i64 {code}, {LEAST_STATUS}")
        code = writer.let(f"select i1 {least}, i64 {LEAST_STATUS}, i64 {code}")
        record = writer.let(f"ptrtoint ptr {writer.let('load ptr, ptr %exception')} to i64")
        raised = writer.let(f"icmp sgt i32 {status}, 0")  # below 0 Numba's statuses have no record
        error = writer.let(f"select i1 {raised}, i64 {writer.add(record, str(RAISED))}, i64 -1")
    code = writer.let(f"select i1 {failed}, i64 {error}, i64 {code}")
    old = writer.let("load i64, ptr %failed")
    first = writer.let(f"icmp eq i64 {old}, 0")
    writer.put(f"store i64 {writer.let(f'select i1 {first}, i64 {code}, i64 {old}')}, ptr %failed")
