"""Register kernels of the matrix product, written straight to LLVM vector IR.

Each variant is one private LLVM function; `kernels(target)` offers them to Numba code as intrinsics:

    tile     C[r, cols] (+)= A[r, k] B[k, cols] for up to 14 rows and two vectors of columns: an unrolled outer product
             per step of k, all sums in registers
    strip    the same for one to six rows and more columns, for products of few rows
    dots     four dot products along contiguous k
    pack_copy, pack_transpose    one vector's width of a panel

Every lane of `tile` and `strip` runs the same chain, sum = fma(a, b, sum) from zero, k ascending, so the result
does not depend on which variant computes an element. Columns past the edge are masked: never read, never written.
Source: Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008;
Van Zee and van de Geijn, "BLIS", ACM TOMS 41(3), 2015.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphexec.native.gemm_ir import I64, Emitter, counted
from graphexec.native.gemm_panels import Panels
from graphexec.native.gemm_target import Target

ADD_C, ADD_BIAS = 1, 2  #: bits of a kernel's `flags`


class Outer(Emitter):
    """Outer product kernels: `tile` with at most its last vector partial, `strip` with any vectors partial."""

    def outer(self, name: str, rows: int, vectors: int) -> Any:
        """C[rows or rows - 1, cols] (+)= A B."""

        def body(builder: Any, *arguments: Any) -> None:
            cols = arguments[9]
            first = vectors - 1 if name == "tile" else 0
            masks = [self.mask(builder, cols, j * self.target.lanes) if j >= first else None for j in range(vectors)]
            if self.target.masks:
                self._outer(builder, arguments, rows, masks, masks)
                return
            whole = builder.icmp_signed(">=", cols, I64(vectors * self.target.lanes))
            with builder.if_else(whole) as (full, partial):
                with full:
                    self._outer(builder, arguments, rows, [None] * vectors, [None] * vectors)
                with partial:  # a tile's panel is then packed and padded
                    self._outer(builder, arguments, rows, [None] * vectors if name == "tile" else masks, masks)

        return self.function(f"{name}{rows}x{vectors}", 12, body)

    def _outer(self, builder: Any, arguments: Any, rows: int, b_masks: list[Any], masks: list[Any]) -> None:
        a, rsa, csa, b, ldb, c, ldc, k, live, _, flags, bias = arguments
        whole = builder.icmp_signed("==", live, I64(rows))
        a_rows = [builder.mul(rsa, I64(i)) for i in range(rows)]
        c_rows = [builder.mul(ldc, I64(i)) for i in range(rows)]
        if rows > 1:  # an odd last row repeats the one before it and is not stored
            a_rows[-1] = builder.select(whole, a_rows[-1], a_rows[-2])
            c_rows[-1] = builder.select(whole, c_rows[-1], c_rows[-2])
        starts = [self.at(builder, c, row) for row in c_rows]
        sums = self._sums(builder, (a, a_rows, csa), (b, ldb, b_masks), k)
        sums = self._add(builder, sums, flags, starts, bias, masks)
        for i, start in enumerate(starts):
            with _only_if(builder, whole if rows > 1 and i == rows - 1 else None):
                for j, mask in enumerate(masks):
                    self.store(builder, sums[i][j], self.at(builder, start, j * self.target.lanes), mask)

    def _sums(self, builder: Any, a_side: Any, b_side: Any, k: Any) -> list[list[Any]]:
        """The loop over k; returns the register tile."""
        (a, offsets, csa), (b, ldb, masks) = a_side, b_side
        a_start, b_start = self.at(builder, a), self.at(builder, b)
        with counted(builder, k) as loop:
            a_now, b_now = loop.pointer(a_start, csa), loop.pointer(b_start, ldb)
            sums = [[loop.phi(self.zeros) for _ in masks] for _ in offsets]
            row = [self.load(builder, self.at(builder, b_now, j * self.target.lanes), mask)
                   for j, mask in enumerate(masks)]
            new = []
            for i, offset in enumerate(offsets):
                x = self.splat(builder, builder.load(self.at(builder, a_now, offset)))
                new.append([self.fma(builder, x, row[j], sums[i][j]) for j in range(len(masks))])
            for old_row, new_row in zip(sums, new, strict=True):
                for old, value in zip(old_row, new_row, strict=True):
                    loop.next(old, value)
        return new

    def _add(self, builder: Any, sums: list[list[Any]], flags: Any, starts: list[Any], bias: Any,
             masks: list[Any]) -> list[list[Any]]:
        """Sums plus what `flags` asks for: C first, then the bias."""
        lanes = self.target.lanes
        bias_start = self.at(builder, bias)
        for bit, rows in ((ADD_C, starts), (ADD_BIAS, [bias_start] * len(starts))):
            before = builder.block
            asked = builder.icmp_signed("!=", builder.and_(flags, I64(bit)), I64(0))
            with builder.if_then(asked):
                added = [[builder.fadd(value, self.load(builder, self.at(builder, row, j * lanes), masks[j]))
                          for j, value in enumerate(values)] for row, values in zip(rows, sums, strict=True)]
                adding = builder.block
            sums = [[_merge(builder, (old, before), (new, adding)) for old, new in zip(*pair, strict=True)]
                    for pair in zip(sums, added, strict=True)]
        return sums


class Kernels(NamedTuple):
    """The intrinsics of one target; every argument an int64, addresses among them."""

    tile: Any
    strip: Any
    dots: Any
    pack_copy: Any
    pack_transpose: Any
    load: Any
    store: Any


@lru_cache(None)
def kernels(target: Target) -> Kernels:
    """The kernels of `target`, for use inside Numba code."""

    def call_tile(context: Any, builder: Any, arguments: Any) -> None:
        """Arguments of `outer`; the variant is chosen from the live rows and columns."""
        emitter = Outer(builder.module, target)
        pairs = builder.lshr(builder.sub(arguments[8], I64(1)), I64(1))
        wide = builder.zext(builder.icmp_signed(">", arguments[9], I64(target.lanes)), I64)
        cases = [(rows, vectors) for rows in range(2, target.rows + 1, 2) for vectors in (1, 2)]
        chosen = builder.add(builder.shl(pairs, I64(1)), wide)
        _switch(builder, chosen, [(i, emitter.outer("tile", *case)) for i, case in enumerate(cases)], arguments)

    def call_strip(context: Any, builder: Any, arguments: Any) -> None:
        emitter = Outer(builder.module, target)
        sizes = [(live, next(size for size in target.strips if size[0] >= live))
                 for live in range(1, target.strips[-1][0] + 1)]
        cases = [(live, emitter.outer("strip", *size)) for live, size in sizes]
        _switch(builder, arguments[8], cases, arguments)

    def call(name: str) -> Callable[[Any, Any, Any], None]:
        return lambda context, builder, arguments: builder.call(getattr(Panels(builder.module, target), name)(),
                                                                arguments)

    return Kernels(_procedure12(call_tile), _procedure12(call_strip), _procedure8(call("dots")),
                   _procedure6(call("pack_copy")), _procedure6(call("pack_transpose")), *_scalar_access(target))


def _procedure12(write: Callable[[Any, Any, Any], None]) -> Any:
    @intrinsic
    def procedure(typing, a, rsa, csa, b, ldb, c, ldc, k, rows, cols, flags, bias):  # type: ignore[no-untyped-def]
        return types.void(*[types.int64] * 12), _generator(write)

    return procedure


def _procedure8(write: Callable[[Any, Any, Any], None]) -> Any:
    @intrinsic
    def procedure(typing, out, distance, x, y, step, width, k, flags):  # type: ignore[no-untyped-def]
        return types.void(*[types.int64] * 8), _generator(write)

    return procedure


def _procedure6(write: Callable[[Any, Any, Any], None]) -> Any:
    @intrinsic
    def procedure(typing, out, distance, x, step, width, k):  # type: ignore[no-untyped-def]
        return types.void(*[types.int64] * 6), _generator(write)

    return procedure


def _generator(write: Callable[[Any, Any, Any], None]) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        write(context, builder, arguments)
        return context.get_dummy_value()

    return generate


def _scalar_access(target: Target) -> tuple[Any, Any]:
    """Intrinsics `load(address)` and `store(address, value)` of one element."""
    scalar = types.float32 if target.item == 4 else types.float64

    @intrinsic
    def load(typing, address):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.load(Emitter(builder.module, target).at(builder, arguments[0]))

        return scalar(types.int64), generate

    @intrinsic
    def store(typing, address, value):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.store(arguments[1], Emitter(builder.module, target).at(builder, arguments[0]))
            return context.get_dummy_value()

        return types.void(types.int64, scalar), generate

    return load, store


def _switch(builder: Any, value: Any, cases: list[tuple[int, Any]], arguments: Any) -> None:
    """Calls the function whose number is `value`; the last one if there is none."""
    end = builder.append_basic_block("called")
    blocks = [builder.append_basic_block("case") for _ in cases]
    switch = builder.switch(value, blocks[-1])
    for (number, function), block in zip(cases, blocks, strict=True):
        if block is not blocks[-1]:
            switch.add_case(I64(number), block)
        builder.position_at_end(block)
        builder.call(function, arguments)
        builder.branch(end)
    builder.position_at_end(end)


def _merge(builder: Any, *incoming: tuple[Any, Any]) -> Any:
    phi = builder.phi(incoming[0][0].type)
    for value, block in incoming:
        phi.add_incoming(value, block)
    return phi


@contextmanager
def _only_if(builder: Any, condition: Any) -> Iterator[None]:
    if condition is None:
        yield
    else:
        with builder.if_then(condition):
            yield
