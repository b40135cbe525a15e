"""special_shapes: products with nothing to sum, few rows, one row, few columns, and the last few columns of a block."""

from typing import Any

from graphexec.gemm.emitter import ADD_BIAS, ADD_C, I64, Int
from graphexec.gemm.integers import N
from graphexec.gemm.loops import Loops


class SpecialShapes(Loops):
    """Each way is a function that computes one piece and runs the epilogue on it."""

    def blocks(self) -> Any:
        """A rectangle of the general product; see `blocked`."""
        raise NotImplementedError

    def put_sum(self, value: Any, out: Int, flags: Int, bias: Int) -> None:
        """Stores an element of C: the value (+ its old value) (+ the bias at its address)."""
        value = self.add_scalar((flags & ADD_C).differs(0), value, out)
        self.put(self.add_scalar((flags & ADD_BIAS).differs(0), value, bias), out)

    def empty(self) -> Any:
        """No products to sum: C is 0 or its old value, plus the bias."""
        item = self.target.item

        def body(c: Int, ldc: Int, m: Int, n: Int, flags: Int, bias: Int, piece: Int, pieces: Int, epilogue: Int) -> None:
            first, last = m * piece // pieces, m * (piece + 1) // pieces
            with first.to(last) as i, n.each() as j:
                self.put_sum(self.element(0.0), c + (i * ldc + j) * item, flags, bias + j * item)
            self.run_epilogue(epilogue, first, last, 0, n)

        return self.loops("empty", 9, body)

    def strips(self) -> Any:
        """Few rows, B by rows: B is read once."""
        item, lanes = self.target.item, self.target.lanes

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, ldb: Int, m: Int, n: Int, k: Int, flags: Int,
                 bias: Int, piece: Int, pieces: Int, epilogue: Int) -> None:
            width = m.equals(0).pick(0, 0)
            for rows, vectors in reversed(self.target.strips):
                width = (m <= rows).pick(vectors * lanes, width)
            # the first strip is shorter, so that the others begin where B's rows are aligned
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
                self.run_epilogue(epilogue, 0, m, first.equals(0).pick(0, first * width - short), (last * width - short).at_most(n))

        return self.loops("strips", 15, body)

    def rows(self) -> Any:
        """One row, B by rows: adds a few rows of B at a time to C, and the last rows as a strip."""
        item, lanes, depth = self.target.item, self.target.lanes, self.target.row_depth

        def body(c: Int, a: Int, csa: Int, b: Int, ldb: Int, n: Int, k: Int, flags: Int, bias: Int, piece: Int,
                 pieces: Int, epilogue: Int) -> None:
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
                self.run_epilogue(epilogue, 0, 1, first, first + width)

        return self.loops("rows", 12, body)

    def by_row(self, n: N, k: N) -> N:
        """Whether `rows` computes one row of C: the row is longer than a strip, or takes less time than a strip's masks."""
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
        """A piece's part of `count`, cut at multiples of `unit`."""
        groups = count.up(unit)
        return groups * piece // pieces * unit, (groups * (piece + 1) // pieces * unit).at_most(count)

    def dot_rows(self) -> Any:
        """Few rows by a transposed B: each is a row of dot products."""
        item = self.target.item

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, csb: Int, m: Int, n: Int, k: Int, flags: Int, bias: Int,
                 work: Int, piece: Int, pieces: Int, epilogue: Int) -> None:
            with m.each() as i:
                self.do(self.row_of_dots(), c + i * ldc * item, 1, a + i * rsa * item, csa, b, csb, n, k, flags, bias, 1, work,
                        piece, pieces)
            self.run_epilogue(epilogue, 0, m, *self.part(n, self.target.dot_rows_at_once, piece, pieces))

        return self.loops("dot_rows", 16, body)

    def gemv_like(self) -> Any:
        """Few columns: dot products for one column of an A by rows, else the transposed product.

        C^T = B^T A^T has A's long contiguous columns in the lanes. It is computed a chunk at a time in scratch memory, then
        transposed and added to C.
        """
        target, item = self.target, self.target.item

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, rsb: Int, csb: Int, m: Int, n: Int, k: Int,
                 flags: Int, bias: Int, work: Int, piece: Int, pieces: Int, epilogue: Int) -> None:
            vector = n.equals(1) & ldc.equals(1) & (flags & ADD_BIAS).equals(0)
            with csa.equals(1).holds():
                self.do(self.row_of_dots(), c, ldc, b, rsb, a, rsa, m, k, flags, bias, 0, work, piece, pieces)
                self.run_epilogue(epilogue, *self.part(m, self.target.dot_rows_at_once, piece, pieces), 0, 1)
            with csa.differs(1).holds(), vector.either() as (line, scattered):
                with line, self.by_row(m, k).either() as (long, short):
                    with long:
                        self.do(self.rows(), c, b, rsb, a, csa, m, k, flags, 0, piece, pieces, 0)
                        self.run_epilogue(epilogue, *self.part(m, target.lanes, piece, pieces), 0, 1)
                    with short, piece.equals(0).holds():
                        self.do(self.strips(), c, m, b, 1, rsb, a, csa, 1, m, k, flags, 0, 0, 1, 0)
                        self.run_epilogue(epilogue, 0, m, 0, 1)
                with scattered:
                    first, last = self.part(m, target.lanes, piece, pieces)
                    sums = work + target.transposed_place
                    chunk = (n <= target.narrow_columns).pick(target.narrow_rows, target.narrow_rows // 2)
                    with first.to(last, chunk) as i:
                        rows, a_now = (last - i).at_most(chunk), a + i * item
                        with (n <= target.strips[-1][0]).either() as (strips, blocks):
                            with strips:
                                self.do(self.strips(), sums, chunk, b, csb, rsb, a_now, csa, n, rows, k, 0, 0, 0, 1, 0)
                            with blocks:
                                self.do(self.blocks(), sums, chunk, b, csb, rsb, a_now, csa, 1, 0, n, 0, rows, 0, k, 0, 0,
                                        work, 0)
                        self.transpose_result(c + i * ldc * item, ldc, sums, chunk, rows, n, flags, bias, work)
                    self.run_epilogue(epilogue, first, last, 0, n)

        return self.loops("gemv_like", 17, body)

    def gather(self, b: Int, rsb: Int, n: Int, k: Int, work: Int) -> None:
        """Copies a few columns of a B by rows to scratch, each contiguous."""
        item = self.target.item
        with n.each() as j, k.each() as kk:
            self.put(self.scalar(b + (kk * rsb + j) * item), work + self.target.transposed_place + (j * k + kk) * item)

    def remainder_columns(self) -> Any:
        """The last few columns of a block, B by rows: dot products with the columns that `gather` copied if A is by rows, else the
        transposed product.
        """
        item, lanes, rows = self.target.item, self.target.lanes, self.target.dot_rows_at_once

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, rsb: Int, m: Int, n: Int, k: Int, flags: Int, bias: Int,
                 work: Int) -> None:
            place = work + self.target.transposed_place
            with csa.equals(1).either() as (by_rows, by_columns):
                with by_rows:
                    with m.each(rows) as i, n.each() as j:  # all columns while a few rows of A are in the first-level cache
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
                            self.transpose_result(c, ldc, place, distance, m, n, flags, bias, work)

        return self.loops("remainder_columns", 13, body)

    def transposed_result(self) -> Any:
        """Few rows by a transposed B: C^T = B^T A^T in scratch memory, if transposing C is less work than transposing B."""
        item, lanes = self.target.item, self.target.lanes

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, csb: Int, m: Int, n: Int, k: Int, flags: Int, bias: Int,
                 work: Int, piece: Int, pieces: Int, epilogue: Int) -> None:
            first, last = self.part(n, lanes, piece, pieces)
            sums, distance = work + self.target.transposed_place, m.up(lanes) * lanes
            self.do(self.blocks(), sums, distance, b + first * csb * item, csb, 1, a, csa, rsa, 0, last - first, 0, m, 0, k, 0, 0,
                    work, 0)
            self.transpose_result(c + first * item, ldc, sums, distance, m, last - first, flags, bias + first * item, work)
            self.run_epilogue(epilogue, 0, m, first, last)

        return self.loops("transposed_result", 16, body)

    def transpose_result(
        self, c: Int, ldc: Int, sums: Int, distance: Int, m: Int, n: Int, flags: Int, bias: Int, work: Int
    ) -> None:
        """C = sums^T (+ C) (+ bias), for the n rows of `sums`, of m elements and `distance` apart."""
        target, item = self.target, self.target.item
        lines = work + (target.transposed_place + target.transposed_size * item)
        with n.each(target.lanes) as j:
            live = (n - j).at_most(target.lanes)
            more = flags.differs(0) | (live < target.lanes)  # whole vectors of results go to C directly
            to, step = more.pick(lines, c + j * item), more.pick(target.lanes, ldc)
            self.do(self.pack_transpose(), to, step, sums + j * distance * item, distance, live, m)
            with more.holds():
                self.do(self.finish(), c + j * item, ldc, lines, live, m, flags, bias + j * item)
