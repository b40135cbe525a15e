"""Matrix products of special shapes: nothing to sum, few rows, one row, few columns."""

from typing import Any

from graphexec.gemm.emitter import ADD_BIAS, ADD_C, I64, Int
from graphexec.gemm.loops import Loops


class Small(Loops):
    """Each of them a function that does one piece's part, and what follows."""

    def blocks(self) -> Any:
        """The general product."""
        raise NotImplementedError

    def put_sum(self, value: Any, out: Int, flags: Int, bias: Int) -> None:
        """An element of C: the value (+ what was there) (+ the bias at its address)."""
        value = self.add_scalar((flags & ADD_C).differs(0), value, out)
        self.put(self.add_scalar((flags & ADD_BIAS).differs(0), value, bias), out)

    def empty(self) -> Any:
        """No products to sum: zeros, what was there, the bias."""
        item = self.target.item

        def body(c: Int, ldc: Int, m: Int, n: Int, flags: Int, bias: Int, piece: Int, pieces: Int, after: Int) -> None:
            first, last = m * piece // pieces, m * (piece + 1) // pieces
            with first.to(last) as i, n.each() as j:
                self.put_sum(self.element(0.0), c + (i * ldc + j) * item, flags, bias + j * item)
            self.finished(after, first, last, 0, n)

        return self.loops("empty", 9, body)

    def strips(self) -> Any:
        """Few rows, B by rows: B streams past once."""
        item, lanes = self.target.item, self.target.lanes

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, ldb: Int, m: Int, n: Int, k: Int, flags: Int,
                 bias: Int, piece: Int, pieces: Int, after: Int) -> None:
            width = m.equals(0).pick(0, 0)
            for rows, vectors in reversed(self.target.strips):
                width = (m <= rows).pick(vectors * lanes, width)
            # start short of a whole strip, so that the others begin where B's rows are aligned
            short = ((ldb % lanes).equals(0) & (n > width)).pick(b // item % lanes, 0)
            count = (n + short + width - 1) // width
            first, last = count * piece // pieces, count * (piece + 1) // pieces
            passes = k.up(self.target.strip_depth)
            with passes.each() as p:
                k0, k1 = k * p // passes, k * (p + 1) // passes
                with first.to(last) as t:
                    j = t.equals(0).pick(0, t * width - short)
                    self.do(self.strip, a + k0 * csa * item, rsa, csa, b + (k0 * ldb + j) * item, ldb, c + j * item,
                            ldc, k1 - k0, m, ((t + 1) * width - short).at_most(n) - j,
                            p.equals(0).pick(flags, ADD_C), bias + j * item)
            with (first < last).holds():
                self.finished(after, 0, m, first.equals(0).pick(0, first * width - short), (last * width - short).at_most(n))

        return self.loops("strips", 15, body)

    def rows(self) -> Any:
        """One row, B by rows: a few rows of B at a time are added to C; the last ones as a strip."""
        item, lanes, depth = self.target.item, self.target.lanes, self.target.row_depth

        def body(c: Int, a: Int, csa: Int, b: Int, ldb: Int, n: Int, k: Int, flags: Int, bias: Int, piece: Int,
                 pieces: Int, after: Int) -> None:
            first, last = self.part(n, lanes, piece, pieces)
            width = last - first
            start, bias_start = c + first * item, bias + first * item
            whole = k // depth * depth
            with (width > 0).holds():
                with flags.differs(ADD_C).holds():
                    self.do(self.empty(), start, n, 1, width, flags, bias_start, 0, 1, 0)
                with Int(k.builder, I64(0)).to(whole, depth) as k0:
                    self.do(self.row(), start, a + k0 * csa * item, csa, b + (k0 * ldb + first) * item, ldb, width)
                with (whole < k).holds():
                    self.do(self.strips(), start, n, a + whole * csa * item, 1, csa, b + (whole * ldb + first) * item, ldb, 1,
                            width, k - whole, ADD_C, 0, 0, 1, 0)
                self.finished(after, 0, 1, first, first + width)

        return self.loops("rows", 12, body)

    def by_row(self, n: Int, k: Int) -> Int:
        """Whether one row of C is done by `rows`: it is longer than a strip, or done before a strip's masks are made."""
        return (n > self.target.strips[0][1] * self.target.lanes) | (k < 8 * self.target.row_depth)

    def row_of_dots(self) -> Any:
        """One row by a transposed B: dot products of x and the rows of y, a bounded block of k at a time."""
        item = self.target.item

        def body(out: Int, distance: Int, x: Int, step: Int, y: Int, ldy: Int, n: Int, k: Int, flags: Int, bias: Int,
                 bias_step: Int, work: Int, piece: Int, pieces: Int) -> None:
            rows = self.target.dot_rows_at_once
            first, last = self.part(n, rows, piece, pieces)
            passes = k.up(self.target.dot_depth)
            with passes.each() as p:
                k0, k1 = k * p // passes, k * (p + 1) // passes
                part = x + k0 * step * item
                with step.differs(1).holds(), (k1 - k0).each() as kk:
                    self.put(self.scalar(part + kk * step * item), work + kk * item)
                with first.to(last, rows) as j:
                    self.do(self.dots(), out + j * distance * item, distance, step.equals(1).pick(part, work),
                            y + (j * ldy + k0) * item, ldy, (last - j).at_most(rows), k1 - k0,
                            p.equals(0).pick(flags & ADD_C, 1))
            with (flags & ADD_BIAS).differs(0).holds(), first.to(last) as j:
                at = out + j * distance * item
                builder = at.builder
                self.put(builder.fadd(self.scalar(at), self.scalar(bias + j * bias_step * item)), at)

        return self.loops("row_of_dots", 14, body)

    def part(self, count: Int, unit: int, piece: Int, pieces: Int) -> tuple[Int, Int]:
        """A piece's part of so many, cut at multiples of `unit`."""
        groups = count.up(unit)
        return groups * piece // pieces * unit, (groups * (piece + 1) // pieces * unit).at_most(count)

    def few_dots(self) -> Any:
        """Few rows by a transposed B: each a row of dot products."""
        item = self.target.item

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, csb: Int, m: Int, n: Int, k: Int, flags: Int, bias: Int,
                 work: Int, piece: Int, pieces: Int, after: Int) -> None:
            with m.each() as i:
                self.do(self.row_of_dots(), c + i * ldc * item, 1, a + i * rsa * item, csa, b, csb, n, k, flags, bias, 1, work,
                        piece, pieces)
            self.finished(after, 0, m, *self.part(n, self.target.dot_rows_at_once, piece, pieces))

        return self.loops("few_dots", 16, body)

    def narrow(self) -> Any:
        """Few columns: dot products for one column of an A by rows, else the transposed product.

        C^T = B^T A^T has A's long contiguous columns in the lanes. It is computed a chunk at a time in scratch, which
        is transposed, and then added to C.
        """
        target, item = self.target, self.target.item

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, rsb: Int, csb: Int, m: Int, n: Int, k: Int,
                 flags: Int, bias: Int, work: Int, piece: Int, pieces: Int, after: Int) -> None:
            vector = n.equals(1) & ldc.equals(1) & (flags & ADD_BIAS).equals(0)
            with csa.equals(1).holds():
                self.do(self.row_of_dots(), c, ldc, b, rsb, a, rsa, m, k, flags, bias, 0, work, piece, pieces)
                self.finished(after, *self.part(m, self.target.dot_rows_at_once, piece, pieces), 0, 1)
            with csa.differs(1).holds(), vector.either() as (line, scattered):
                with line, self.by_row(m, k).either() as (long, short):
                    with long:
                        self.do(self.rows(), c, b, rsb, a, csa, m, k, flags, 0, piece, pieces, 0)
                        self.finished(after, *self.part(m, target.lanes, piece, pieces), 0, 1)
                    with short, piece.equals(0).holds():
                        self.do(self.strips(), c, m, b, 1, rsb, a, csa, 1, m, k, flags, 0, 0, 1, 0)
                        self.finished(after, 0, m, 0, 1)
                with scattered:
                    first, last = self.part(m, target.lanes, piece, pieces)
                    sums = work + target.turn_place
                    chunk = (n <= target.narrow_columns).pick(target.narrow_rows, target.narrow_rows // 2)
                    with first.to(last, chunk) as i:
                        rows, a_now = (last - i).at_most(chunk), a + i * item
                        with (n <= target.strips[-1][0]).either() as (strips, blocks):
                            with strips:
                                self.do(self.strips(), sums, chunk, b, csb, rsb, a_now, csa, n, rows, k, 0, 0, 0, 1, 0)
                            with blocks:
                                self.do(self.blocks(), sums, chunk, b, csb, rsb, a_now, csa, 1, 0, n, 0, rows, 0, k, 0, 0,
                                        work, 0)
                        self.turn(c + i * ldc * item, ldc, sums, chunk, rows, n, flags, bias, work)
                    self.finished(after, first, last, 0, n)

        return self.loops("narrow", 17, body)

    def gather(self, b: Int, rsb: Int, n: Int, k: Int, work: Int) -> None:
        """A few columns of a B by rows, each contiguous, in scratch."""
        item = self.target.item
        with n.each() as j, k.each() as kk:
            self.put(self.scalar(b + (kk * rsb + j) * item), work + self.target.turn_place + (j * k + kk) * item)

    def beside(self) -> Any:
        """The last few columns of a block, B by rows: dot products with what `gather` left for an A by rows, else the transposed
        product.
        """
        item, lanes, rows = self.target.item, self.target.lanes, self.target.dot_rows_at_once

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, rsb: Int, m: Int, n: Int, k: Int, flags: Int, bias: Int,
                 work: Int) -> None:
            place = work + self.target.turn_place
            with csa.equals(1).either() as (by_rows, by_columns):
                with by_rows:
                    with m.each(rows) as i, n.each() as j:  # all of them while a few rows of A are at hand
                        self.do(self.dots(), c + (i * ldc + j) * item, ldc, place + j * k * item, a + i * rsa * item, rsa,
                                (m - i).at_most(rows), k, flags & ADD_C)
                    with (flags & ADD_BIAS).differs(0).holds(), m.each() as i, n.each() as j:
                        out = c + (i * ldc + j) * item
                        self.put(out.builder.fadd(self.scalar(out), self.scalar(bias + j * item)), out)
                with by_columns:
                    distance = m.up(lanes) * lanes
                    with (n <= 2).either() as (lines, strip):
                        with lines, n.each() as j:
                            self.do(self.rows(), place, b + j * item, rsb, a, csa, m, k, 0, 0, 0, 1, 0)
                            with m.each() as i:
                                self.put_sum(self.scalar(place + i * item), c + (i * ldc + j) * item, flags, bias + j * item)
                        with strip:
                            self.do(self.strips(), place, distance, b, 1, rsb, a, csa, n, m, k, 0, 0, 0, 1, 0)
                            self.turn(c, ldc, place, distance, m, n, flags, bias, work)

        return self.loops("beside", 13, body)

    def turned(self) -> Any:
        """Few rows by a transposed B: C^T = B A^T in scratch, where turning C round is less than turning B."""
        item, lanes = self.target.item, self.target.lanes

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, csb: Int, m: Int, n: Int, k: Int, flags: Int, bias: Int,
                 work: Int, piece: Int, pieces: Int, after: Int) -> None:
            first, last = self.part(n, lanes, piece, pieces)
            sums, distance = work + self.target.turn_place, m.up(lanes) * lanes
            self.do(self.blocks(), sums, distance, b + first * csb * item, csb, 1, a, csa, rsa, 0, last - first, 0, m, 0, k, 0, 0,
                    work, 0)
            self.turn(c + first * item, ldc, sums, distance, m, last - first, flags, bias + first * item, work)
            self.finished(after, 0, m, first, last)

        return self.loops("turned", 16, body)

    def turn(self, c: Int, ldc: Int, sums: Int, distance: Int, m: Int, n: Int, flags: Int, bias: Int, work: Int) -> None:
        """C = sums^T (+ C) (+ bias), for the n rows of `sums`, of m elements and `distance` apart."""
        target, item = self.target, self.target.item
        lines = work + (target.turn_place + target.turn_size * item)
        with n.each(target.lanes) as j:
            live = (n - j).at_most(target.lanes)
            more = flags.differs(0) | (live < target.lanes)  # whole vectors of results are written where they belong at once
            to, step = more.pick(lines, c + j * item), more.pick(target.lanes, ldc)
            self.do(self.pack_transpose(), to, step, sums + j * distance * item, distance, live, m)
            with more.holds():
                self.do(self.finish(), c + j * item, ldc, lines, live, m, flags, bias + j * item)
