"""microkernels: the register kernels of the matrix product, written directly to LLVM vector IR.

Each variant is a private LLVM function that the driver calls:

    tile     C[r, cols] (+)= A[r, k] B[k, cols] for up to 14 rows and one or two vectors of columns: an unrolled outer
             product per step of k, all sums in registers
    strip    the same for one to six rows and more columns, for products of few rows
    row      C[cols] += A[depth] B[depth, cols] for one row and a few steps of k: each row of B streams past once

Every lane of both runs the same chain, sum = fma(a, b, sum), from zero, the bias or C, k ascending, so the result does
not depend on which variant computes an element, nor on how k is cut. Columns past the edge are masked: never read,
never written. Packing and dot products are in `packing`.

Source: Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008;
Van Zee and van de Geijn, "BLIS", ACM TOMS 41(3), 2015.
"""

from collections.abc import Callable, Sequence
from typing import Any

from graphexec.gemm.emitter import ADD_BIAS, ADD_C, I8, I64, LINE, Emitter, repeated

LONG = 96  #: least depth at which prefetching the lines of C pays off


class Outer(Emitter):
    """Outer-product kernels: `tile`, with one vector or two, and `strip`, any of whose vectors may be partial."""

    def outer(self, name: str, least: int, rows: int, vectors: int) -> Any:
        """C[live, cols] (+)= A B, for `least` to `rows` rows; rows past the end repeat the last one.

        A `whole` tile has all its columns; the last vector of a `tile`, and any vector of a `strip`, may be partial.
        """

        def body(builder: Any, *arguments: Any) -> None:
            cols, full = arguments[9], [None] * vectors
            masks: list[Any] = [self.mask(builder, cols, j * self.target.lanes) for j in range(vectors)]
            if name == "tile":
                masks[:-1] = full[:-1]
            if name == "whole":
                self._outer(builder, arguments, (least, rows), full, full)
            elif self.target.masks:
                self._outer(builder, arguments, (least, rows), masks, masks)
            else:
                everything = builder.icmp_signed(">=", cols, I64(vectors * self.target.lanes))
                with builder.if_else(everything) as (all_there, partial):
                    with all_there:
                        self._outer(builder, arguments, (least, rows), full, full)
                    with partial:  # a tile's panel is then packed and padded
                        self._outer(builder, arguments, (least, rows), full if name == "tile" else masks, masks)

        return self.function(f"{name}{rows}x{vectors}", 12, body)

    def tile(self, builder: Any, arguments: Sequence[Any]) -> None:
        """Calls the tile for arguments[8] live rows and arguments[9] columns."""
        kinds = [("tile", 1), ("tile", 2), ("whole", 2)]
        cases = [self.outer(name, least, rows, vectors)
                 for least, rows, _ in _serving([(rows, 0) for rows in self.target.heights]) for name, vectors in kinds]
        kind = builder.zext(builder.icmp_signed(">", arguments[9], I64(self.target.lanes)), I64)
        kind = builder.add(kind, builder.zext(builder.icmp_signed("==", arguments[9], I64(self.target.columns)), I64))
        chosen = builder.add(builder.mul(builder.sub(arguments[8], I64(1)), I64(len(kinds))), kind)
        _switch(builder, chosen, list(enumerate(cases)), arguments)

    def strip(self, builder: Any, arguments: Sequence[Any]) -> None:
        """Calls the strip for arguments[8] live rows."""
        sizes = _serving(self.target.strips)
        cases = [(live, self.outer("strip", *size)) for live, size in enumerate(sizes, 1)]
        _switch(builder, arguments[8], cases, arguments)

    def row(self) -> Any:
        """out[j] += sum over i < `row_depth` of x[i*step] * B[i*ldb + j], for j < n; B's next rows are prefetched."""
        lanes, depth = self.target.lanes, self.target.row_depth

        def body(builder: Any, out: Any, x: Any, step: Any, b: Any, ldb: Any, n: Any) -> None:
            x_start, starts = self.at(builder, x), [self.at(builder, b)]
            factors = [self.splat(builder, builder.load(self.at(builder, x_start, builder.mul(step, I64(i))), typ=self.element))
                       for i in range(depth)]
            for _ in range(1, depth):
                starts.append(self.at(builder, starts[-1], ldb))
            far = builder.mul(ldb, I64(depth))  # both sets of rows must fit the first-level cache; hardware prefetches long rows
            near = builder.icmp_signed("<=", far, I64(self.target.row_reach // self.target.item))
            far = builder.select(near, far, I64(0))

            def chunk(state: list[Any], masks: list[Any]) -> list[Any]:
                *rows, to = state
                places = [self.at(builder, to, j * lanes) for j in range(len(masks))]
                sums = [self.load(builder, place, mask) for place, mask in zip(places, masks, strict=True)]
                for factor, row in zip(factors, rows, strict=True):
                    for byte in range(0, len(masks) * lanes * self.target.item, LINE):
                        self.prefetch(builder, self.at(builder, row, far, byte // self.target.item))
                    sums = [self.fma(builder, factor, self.load(builder, self.at(builder, row, j * lanes), mask), total)
                            for j, (mask, total) in enumerate(zip(masks, sums, strict=True))]
                for place, mask, total in zip(places, masks, sums, strict=True):
                    self.store(builder, total, place, mask)
                return [self.at(builder, pointer, lanes * len(masks)) for pointer in state]

            wide = 2 * lanes  # a cache line or two
            state = repeated(builder, builder.udiv(n, I64(wide)), [*starts, self.at(builder, out)], lambda s: chunk(s, [None] * 2))
            left = builder.urem(n, I64(wide))
            state = repeated(builder, builder.udiv(left, I64(lanes)), state, lambda s: chunk(s, [None]))
            rest = builder.urem(left, I64(lanes))
            with builder.if_then(builder.icmp_signed(">", rest, I64(0))):
                chunk(state, [self.mask(builder, rest)])

        return self.function("row", 6, body)

    def _outer(self, builder: Any, arguments: Any, span: tuple[int, int], b_masks: list[Any],
               masks: list[Any]) -> None:
        a, rsa, csa, b, ldb, c, ldc, k, live, _, flags, bias = arguments
        least, rows = span
        last = builder.sub(live, I64(1))
        repeated = [builder.select(builder.icmp_signed("<", I64(i), live), I64(i), last) if i >= least else I64(i)
                    for i in range(rows)]

        def places() -> list[list[Any]]:
            """Addresses of C's vectors, computed at each use: there are not enough registers to keep them."""
            start = self.opaque(builder, self.at(builder, c))
            return [[self.at(builder, row, j * self.target.lanes) for j in range(len(masks))]
                    for row in (self.at(builder, start, builder.mul(ldc, i)) for i in repeated)]

        group = self.target.group
        starts = [self.at(builder, self.at(builder, a), builder.mul(rsa, I64(i))) for i in range(0, rows, group)]
        offsets = [builder.mul(rsa, I64(i % group)) if i < least else
                   builder.mul(rsa, builder.sub(repeated[i], I64(i - i % group))) for i in range(rows)]
        firsts = self._firsts(builder, flags, places, self.at(builder, bias), masks)
        with builder.if_then(builder.icmp_signed(">", k, I64(LONG))):
            for place in (place for row in places() for place in row):
                self.prefetch(builder, place, write=True)
        sums = self._sums(builder, (starts, offsets, csa), (self.at(builder, b), ldb, b_masks), k, firsts)
        for row, values in zip(places(), sums, strict=True):
            for place, value, mask in zip(row, values, masks, strict=True):
                self.store(builder, value, place, mask)

    def _firsts(
        self, builder: Any, flags: Any, places: Callable[[], list[list[Any]]], bias: Any, masks: list[Any]
    ) -> list[list[Any]]:
        """The initial sums: zero or the bias (for every row), plus C if the product is added to it."""
        before = builder.block
        with builder.if_then(builder.icmp_signed("!=", builder.and_(flags, I64(ADD_BIAS)), I64(0))):
            loaded = [self.load(builder, self.at(builder, bias, j * self.target.lanes), mask)
                      for j, mask in enumerate(masks)]
            inside = builder.block
        start = []
        for value in loaded:
            start.append(builder.phi(value.type))
            start[-1].add_incoming(self.zeros, before)
            start[-1].add_incoming(value, inside)
        plain = builder.block
        with builder.if_then(builder.icmp_signed("!=", builder.and_(flags, I64(ADD_C)), I64(0))):
            added = [[builder.fadd(self.load(builder, place, mask), value)
                      for place, value, mask in zip(row, start, masks, strict=True)] for row in places()]
            adding = builder.block
        firsts: list[list[Any]] = []
        for row in added:
            firsts.append([])
            for value, with_c in zip(start, row, strict=True):
                phi = builder.phi(value.type)
                phi.add_incoming(value, plain)
                phi.add_incoming(with_c, adding)
                firsts[-1].append(phi)
        return firsts

    def _sums(self, builder: Any, a_side: Any, b_side: Any, k: Any, firsts: list[list[Any]]) -> list[list[Any]]:
        """The loop over k; returns the register tile."""
        (starts, offsets, csa), (b_start, ldb, masks) = a_side, b_side
        vectors, rows, unroll = len(masks), len(offsets), self.target.unroll
        ahead = [builder.mul(step, I64(self.target.ahead)) for step in (csa, ldb)]
        a_bytes, b_bytes = (builder.mul(step, I64(self.target.item)) for step in (csa, ldb))  # one addition, no scaling

        def step(number: int, state: list[Any]) -> list[Any]:
            # What the optimizer does not know it cannot turn into a pointer for each row, which are more than there are registers.
            *pointers, b_now = (self.opaque(builder, pointer) for pointer in state[: len(starts) + 1])
            sums = state[len(starts) + 1 :]
            row = [self.load(builder, self.at(builder, b_now, j * self.target.lanes), mask) for j, mask in enumerate(masks)]
            if vectors > 1 and rows > 1:  # the others have no load to spare
                self._ahead(builder, number, pointers[0], b_now, ahead)
            for i, offset in enumerate(offsets):
                x = self.splat(builder, builder.load(self.at(builder, pointers[i // self.target.group], offset), typ=self.element))
                sums[i * vectors : (i + 1) * vectors] = [
                    self.fma(builder, x, row[j], sums[i * vectors + j]) for j in range(vectors)]
            moved = [builder.gep(pointer, [a_bytes], source_etype=I8) for pointer in pointers]
            return [*moved, builder.gep(b_now, [b_bytes], source_etype=I8), *sums]

        def steps(state: list[Any]) -> list[Any]:
            for number in range(unroll):
                state = step(number, state)
            return state

        state = [*starts, b_start, *(value for row in firsts for value in row)]
        if unroll > 1:
            state = repeated(builder, builder.udiv(k, I64(unroll)), state, steps)
        state = repeated(builder, builder.urem(k, I64(unroll)) if unroll > 1 else k, state, lambda s: step(0, s))
        sums = state[len(starts) + 1 :]
        return [sums[i * vectors : (i + 1) * vectors] for i in range(rows)]

    def _ahead(self, builder: Any, number: int, a_now: Any, b_now: Any, ahead: list[Any]) -> None:
        """Prefetches operands of a later step: each line of B once, and a line of A if a step of a packed panel begins it."""
        item = self.target.item
        for byte in range(0, self.target.columns * item, LINE):
            self.prefetch(builder, self.at(builder, b_now, ahead[1], byte // item))
        if number * self.target.packed_rows * item % LINE < self.target.packed_rows * item:
            self.prefetch(builder, self.at(builder, a_now, ahead[0]))

def _serving(sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """The variant for 1, 2, ... live rows: (fewest rows, most rows, vectors)."""
    found: list[tuple[int, int, int]] = []
    for rows, vectors in sizes:
        found += [(len(found) + 1, rows, vectors)] * (rows - len(found))
    return found


def _switch(builder: Any, value: Any, cases: list[tuple[int, Any]], arguments: Any) -> None:
    """Calls the function numbered `value`, or the last one if no number matches."""
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
