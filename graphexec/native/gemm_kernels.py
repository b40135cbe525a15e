"""Register kernels of the matrix product, written straight to LLVM vector IR.

Each variant is one private LLVM function; the driver calls them:

    tile     C[r, cols] (+)= A[r, k] B[k, cols] for up to 14 rows and two whole vectors of columns, or one that may be
             partial: an unrolled outer product per step of k, all sums in registers
    strip    the same for one to six rows and more columns, for products of few rows

Every lane of both runs the same chain, sum = fma(a, b, sum), from zero, the bias or C, k ascending, so the result does
not depend on which variant computes an element, nor on how k is cut. Columns past the edge are masked: never read,
never written. Packing and dot products are in `gemm_panels`.

Source: Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008;
Van Zee and van de Geijn, "BLIS", ACM TOMS 41(3), 2015.
"""

from collections.abc import Sequence
from typing import Any

from graphexec.native.gemm_ir import ADD_BIAS, ADD_C, I64, Emitter, counted

LONG = 96  #: depth from which the lines of C are worth fetching before they are needed
GROUP = 4  #: rows of A addressed from one pointer: a pointer each is too many, one for all is a chain of additions


class Outer(Emitter):
    """Outer product kernels: `tile`, whole or of one vector, and `strip`, any of whose vectors may be partial."""

    def outer(self, name: str, rows: int, vectors: int) -> Any:
        """C[live, cols] (+)= A B, for as many or fewer rows than `rows`: the rows past the end repeat the last one."""

        def body(builder: Any, *arguments: Any) -> None:
            cols = arguments[9]
            masks = [self.mask(builder, cols, j * self.target.lanes) for j in range(vectors)]
            if name == "tile" and vectors > 1:  # only whole
                self._outer(builder, arguments, rows, [None] * vectors, [None] * vectors)
            elif self.target.masks:
                self._outer(builder, arguments, rows, masks, masks)
            else:
                whole = builder.icmp_signed(">=", cols, I64(vectors * self.target.lanes))
                with builder.if_else(whole) as (full, partial):
                    with full:
                        self._outer(builder, arguments, rows, [None] * vectors, [None] * vectors)
                    with partial:  # a tile's panel is then packed and padded
                        self._outer(builder, arguments, rows, [None] * vectors if name == "tile" else masks, masks)

        return self.function(f"{name}{rows}x{vectors}", 12, body)

    def tile(self, builder: Any, arguments: Sequence[Any]) -> None:
        """Calls the tile for arguments[8] live rows and arguments[9] columns."""
        heights = [next(rows for rows in self.target.heights if rows >= live)
                   for live in range(1, self.target.rows + 1)]
        cases = [self.outer("tile", rows, vectors) for rows in heights for vectors in (1, 2)]
        wide = builder.zext(builder.icmp_signed(">", arguments[9], I64(self.target.lanes)), I64)
        chosen = builder.add(builder.shl(builder.sub(arguments[8], I64(1)), I64(1)), wide)
        _switch(builder, chosen, list(enumerate(cases)), arguments)

    def strip(self, builder: Any, arguments: Sequence[Any]) -> None:
        """Calls the strip for arguments[8] live rows."""
        sizes = [next(size for size in self.target.strips if size[0] >= live)
                 for live in range(1, self.target.strips[-1][0] + 1)]
        cases = [(live, self.outer("strip", *size)) for live, size in enumerate(sizes, 1)]
        _switch(builder, arguments[8], cases, arguments)

    def _outer(self, builder: Any, arguments: Any, rows: int, b_masks: list[Any], masks: list[Any]) -> None:
        a, rsa, csa, b, ldb, c, ldc, k, live, _, flags, bias = arguments
        exact = rows - 2 if rows > 8 else 0  # a large tile is one row short at most
        last = builder.sub(live, I64(1))
        repeated = [builder.select(builder.icmp_signed("<", I64(i), live), I64(i), last) if i > exact else I64(i)
                    for i in range(rows)]
        c_start = self.at(builder, c)
        places = [[self.at(builder, row, j * self.target.lanes) for j in range(len(masks))]
                  for row in (self.at(builder, c_start, builder.mul(ldc, i)) for i in repeated)]
        pointers, steps = [], []
        a_start = self.at(builder, a)
        for i in range(rows):
            if i % GROUP == 0:
                pointers.append(self.opaque(builder, self.at(builder, a_start, builder.mul(rsa, repeated[i]))))
            step = I64(i % GROUP) if i <= exact else builder.sub(repeated[i], repeated[i - i % GROUP])
            steps.append(builder.mul(rsa, step))
        b_start = self.at(builder, b)
        ahead = [builder.mul(step, I64(self.target.ahead)) for step in (csa, ldb)]
        firsts = self._firsts(builder, flags, places, self.at(builder, bias), masks)
        with builder.if_then(builder.icmp_signed(">", k, I64(LONG))):
            for place in (place for row in places for place in row):
                self.prefetch(builder, place, write=True)
        sums = self._sums(builder, (pointers, steps, csa), (b_start, ldb, b_masks), k, firsts, ahead)
        for row, values in zip(places, sums, strict=True):
            for place, value, mask in zip(row, values, masks, strict=True):
                self.store(builder, value, place, mask)

    def _firsts(self, builder: Any, flags: Any, places: list[list[Any]], bias: Any, masks: list[Any]) -> Any:
        """What the sums start from: zero or the bias (for every row), and in a block of its own, that plus C."""
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
        plain, adding = builder.append_basic_block("plain"), builder.append_basic_block("adding")
        builder.cbranch(builder.icmp_signed("!=", builder.and_(flags, I64(ADD_C)), I64(0)), adding, plain)
        builder.position_at_end(adding)
        added = [[builder.fadd(self.load(builder, place, mask), value)
                  for place, value, mask in zip(row, start, masks, strict=True)] for row in places]
        adding = builder.block
        builder.position_at_end(plain)
        return adding, start, added

    def _sums(self, builder: Any, a_side: Any, b_side: Any, k: Any, firsts: Any,
              ahead: list[Any]) -> list[list[Any]]:
        """The loop over k; returns the register tile."""
        (a_starts, steps, csa), (b_start, ldb, masks), (adding, start, added) = a_side, b_side, firsts
        with counted(builder, k, adding) as loop:
            a_now = [loop.pointer(pointer, csa, self.element) for pointer in a_starts]
            b_now = loop.pointer(b_start, ldb, self.element)
            sums = [[loop.phi(first, with_c) for first, with_c in zip(start, row, strict=True)] for row in added]
            row = [self.load(builder, self.at(builder, b_now, j * self.target.lanes), mask)
                   for j, mask in enumerate(masks)]
            if len(masks) > 1 and len(steps) > 1:  # the others have no load to spare
                self.prefetch(builder, self.at(builder, a_now[0], ahead[0]))
                for j in range(len(masks)):
                    self.prefetch(builder, self.at(builder, b_now, ahead[1], j * self.target.lanes))
            new = []
            for i, step in enumerate(steps):
                x = self.splat(builder, builder.load(self.at(builder, a_now[i // GROUP], step), typ=self.element))
                new.append([self.fma(builder, x, row[j], sums[i][j]) for j in range(len(masks))])
            for old_row, new_row in zip(sums, new, strict=True):
                for old, value in zip(old_row, new_row, strict=True):
                    loop.next(old, value)
        return new

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
