"""The loops around the kernels of the matrix product: which path a shape takes, blocks, packing, sharing.

Written to LLVM IR as well, with `Int` for Python's integers: Numba takes longer to type such loops than LLVM to compile
the kernels. Arguments of every function are int64; addresses are plain integers, counted in bytes.
"""

from collections.abc import Callable
from typing import Any

from graphexec.native.gemm_ir import ADD_BIAS, ADD_C, I64, Int
from graphexec.native.gemm_kernels import Outer
from graphexec.native.gemm_panels import Panels

PAGE = 4096  #: rows this many bytes apart fall on the same lines of a first-level cache

GROUP = 4  #: panels of B that are packed together: whole stretches of its rows are read, not a line of each


class Driver(Outer, Panels):
    """Everything of one target's product that is not a kernel."""

    def loops(self, name: str, arguments: int, body: Any) -> Any:
        """The function `name`, whose `body` takes `Int`s."""
        return self.function(name, arguments, lambda builder, *values: body(*(Int(builder, v) for v in values)))

    def do(self, function: Any, *arguments: Int | int) -> None:
        """Calls one of this driver's functions, or a kernel that picks its variant (`tile`, `strip`)."""
        builder = next(x.builder for x in arguments if isinstance(x, Int))
        values = [x.value if isinstance(x, Int) else I64(x) for x in arguments]
        if callable(function):
            function(builder, values)
        else:
            builder.call(function, values)

    def first_of(self, *cases: tuple[Int | None, Callable[[], None]]) -> None:
        """Writes a chain of tests: what belongs to the first condition that holds is done; None always holds."""
        (condition, action), *others = cases
        if condition is None:
            action()
            return
        with condition.either() as (yes, no):
            with yes:
                action()
            with no:
                self.first_of(*others)

    def scalar(self, address: Int) -> Any:
        return address.builder.load(self.at(address.builder, address.value), typ=self.element)

    def add_scalar(self, condition: Int, value: Any, address: Int) -> Any:
        """Value plus the element at `address` where `condition` holds."""
        builder = address.builder
        before = builder.block
        with condition.holds():
            added = builder.fadd(value, self.scalar(address))
            inside = builder.block
        phi = builder.phi(value.type)
        phi.add_incoming(value, before)
        phi.add_incoming(added, inside)
        return phi

    def put(self, value: Any, address: Int) -> None:
        address.builder.store(value, self.at(address.builder, address.value))

    # --- entry --------------------------------------------------------------------------------------------------

    def gemm(self) -> Any:
        """The whole product; see `graphexec.native.gemm`."""
        target = self.target

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, rsb: Int, csb: Int, m: Int, n: Int, k: Int,
                 accumulate: Int, bias: Int, work: Int, piece: Int, pieces: Int) -> None:
            flags = accumulate.differs(0).pick(ADD_C, 0) | bias.differs(0).pick(ADD_BIAS, 0)
            along = (k > 1).pick(csa, 1)  # the stride of a dimension of size 1 may be anything
            by_rows = csb.equals(1) | n.equals(1)
            one_tile = by_rows & (m <= target.rows) & (k <= target.depth) & ((n > 1) | (k <= target.lanes))
            one_tile = one_tile & (n <= target.columns) & int(target.masks)
            one_row = by_rows & m.equals(1) & (n >= target.columns) & (k >= target.row_depth)
            narrow = csa.differs(1) & (k > 1) & (n <= target.narrow_columns) & (m >= 2 * target.lanes)

            def call_tile() -> None:
                with piece.equals(0).holds():
                    self.do(self.tile, a, rsa, csa, b, rsb, c, ldc, k, m, n, flags, bias)

            def call_dots() -> None:
                with m.each() as i:
                    self.do(self.row_of_dots(), c + i * ldc * target.item, 1, a + i * rsa * target.item, csa, b, csb,
                            n, k, flags, bias, 1, work, piece, pieces)

            self.first_of(
                ((m <= 0) | (n <= 0), lambda: None),
                (k <= 0, lambda: self.do(self.empty(), c, ldc, m, n, flags, bias, piece, pieces)),
                (one_tile, call_tile),
                (n.equals(1) | narrow, lambda: self.do(self.narrow(), c, ldc, a, rsa, along, b, rsb, csb, m, n, k,
                                                       flags, bias, work, piece, pieces)),
                (one_row, lambda: self.do(self.rows(), c, a, csa, b, rsb, n, k, flags, bias, piece, pieces)),
                (by_rows & (m <= target.strips[-1][0]), lambda: self.do(
                    self.strips(), c, ldc, a, rsa, csa, b, rsb, m, n, k, flags, bias, piece, pieces)),
                (csb.differs(1) & (m <= target.dot_rows) & (k >= 2 * target.lanes), call_dots),
                (None, lambda: self.do(self.blocks(), c, ldc, a, rsa, along, b, rsb, csb, m, n, k, flags, bias, work,
                                       piece, pieces)),
            )

        return self.loops("gemm", 16, body)

    # --- special shapes -----------------------------------------------------------------------------------------

    def empty(self) -> Any:
        """No products to sum: zeros, what was there, the bias."""
        item = self.target.item

        def body(c: Int, ldc: Int, m: Int, n: Int, flags: Int, bias: Int, piece: Int, pieces: Int) -> None:
            with (m * piece // pieces).to(m * (piece + 1) // pieces) as i, n.each() as j:
                out = c + (i * ldc + j) * item
                value = self.add_scalar((flags & ADD_C).differs(0), self.element(0.0), out)
                self.put(self.add_scalar((flags & ADD_BIAS).differs(0), value, bias + j * item), out)

        return self.loops("empty", 8, body)

    def strips(self) -> Any:
        """Few rows, B by rows: B streams past once."""
        item, lanes = self.target.item, self.target.lanes

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, ldb: Int, m: Int, n: Int, k: Int, flags: Int,
                 bias: Int, piece: Int, pieces: Int) -> None:
            width = m.equals(0).pick(0, 0)
            for rows, vectors in reversed(self.target.strips):
                width = (m <= rows).pick(vectors * lanes, width)
            # start short of a whole strip, so that the others begin where B's rows are aligned
            short = ((ldb % lanes).equals(0) & (n > width)).pick(b // item % lanes, 0)
            count = (n + short + width - 1) // width
            passes = k.up(self.target.strip_depth)
            with passes.each() as p:
                k0, k1 = k * p // passes, k * (p + 1) // passes
                with (count * piece // pieces).to(count * (piece + 1) // pieces) as t:
                    j = t.equals(0).pick(0, t * width - short)
                    self.do(self.strip, a + k0 * csa * item, rsa, csa, b + (k0 * ldb + j) * item, ldb, c + j * item,
                            ldc, k1 - k0, m, ((t + 1) * width - short).at_most(n) - j,
                            p.equals(0).pick(flags, ADD_C), bias + j * item)

        return self.loops("strips", 14, body)

    def rows(self) -> Any:
        """One row, B by rows: a few rows of B at a time are added to C; the last ones as a strip."""
        item, lanes, depth = self.target.item, self.target.lanes, self.target.row_depth

        def body(c: Int, a: Int, csa: Int, b: Int, ldb: Int, n: Int, k: Int, flags: Int, bias: Int, piece: Int,
                 pieces: Int) -> None:
            vectors = n.up(lanes)
            first = vectors * piece // pieces * lanes
            width = (vectors * (piece + 1) // pieces * lanes).at_most(n) - first
            start, bias_start = c + first * item, bias + first * item
            whole = k // depth * depth
            with (width > 0).holds():
                with flags.differs(ADD_C).holds():
                    self.do(self.empty(), start, n, 1, width, flags, bias_start, 0, 1)
                with Int(k.builder, I64(0)).to(whole, depth) as k0:
                    self.do(self.row(), start, a + k0 * csa * item, csa, b + (k0 * ldb + first) * item, ldb, width)
                with (whole < k).holds():
                    self.do(self.strips(), start, n, a + whole * csa * item, 1, csa, b + (whole * ldb + first) * item, ldb, 1,
                            width, k - whole, ADD_C, 0, 0, 1)

        return self.loops("rows", 11, body)

    def row_of_dots(self) -> Any:
        """One row by a transposed B: dot products of x and the rows of y, a bounded block of k at a time."""
        item = self.target.item

        def body(out: Int, distance: Int, x: Int, step: Int, y: Int, ldy: Int, n: Int, k: Int, flags: Int, bias: Int,
                 bias_step: Int, work: Int, piece: Int, pieces: Int) -> None:
            rows = self.target.dot_rows_at_once
            groups = n.up(rows)
            first, last = groups * piece // pieces * rows, (groups * (piece + 1) // pieces * rows).at_most(n)
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

    def narrow(self) -> Any:
        """Few columns: dot products for one column of an A by rows, else the transposed product.

        C^T = B^T A^T has A's long contiguous columns in the lanes. It is computed a chunk at a time in scratch, which
        is transposed, and then added to C.
        """
        target, item = self.target, self.target.item
        chunk, place = target.narrow_rows, target.block_bytes + target.column_block * target.depth * target.item

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, rsb: Int, csb: Int, m: Int, n: Int, k: Int,
                 flags: Int, bias: Int, work: Int, piece: Int, pieces: Int) -> None:
            vector = n.equals(1) & ldc.equals(1) & (flags & ADD_BIAS).equals(0)
            with csa.equals(1).holds():
                self.do(self.row_of_dots(), c, ldc, b, rsb, a, rsa, m, k, flags, bias, 0, work, piece, pieces)
            with csa.differs(1).holds(), vector.either() as (line, scattered):
                with line:
                    self.do(self.rows(), c, b, rsb, a, csa, m, k, flags, 0, piece, pieces)
                with scattered:
                    groups = m.up(target.lanes)
                    last = (groups * (piece + 1) // pieces * target.lanes).at_most(m)
                    sums, lines = work + place, work + (place + chunk * target.narrow_columns * item)
                    with (groups * piece // pieces * target.lanes).to(last, chunk) as i:
                        rows, a_now = (last - i).at_most(chunk), a + i * item
                        with (n <= target.strips[-1][0]).either() as (strips, blocks):
                            with strips:
                                self.do(self.strips(), sums, chunk, b, csb, rsb, a_now, csa, n, rows, k, 0, 0, 0, 1)
                            with blocks:
                                self.do(self.blocks(), sums, chunk, b, csb, rsb, a_now, csa, 1, n, rows, k, 0, 0,
                                        work, 0, 1)
                        with n.each(target.lanes) as j:
                            live = (n - j).at_most(target.lanes)
                            self.do(self.pack_transpose(), lines, target.lanes, sums + j * chunk * item, chunk, live,
                                    rows)
                            self.do(self.finish(), c + (i * ldc + j) * item, ldc, lines, live, rows, flags,
                                    bias + j * item)

        return self.loops("narrow", 16, body)

    # --- the general product ------------------------------------------------------------------------------------

    def pack(self) -> Any:
        """A panel of `width` lines of x, `across` apart, whose elements are `along` apart."""
        item, lanes = self.target.item, self.target.lanes

        def body(out: Int, distance: Int, x: Int, across: Int, along: Int, width: Int, k: Int) -> None:
            with along.equals(1).either() as (transpose, copy):
                with transpose, width.each(lanes) as i:
                    live = (width - i).at_most(lanes)
                    self.do(self.pack_transpose(), out + i * item, distance, x + i * across * item, across, live, k)
                with copy, width.each(2 * lanes) as i:
                    live = (width - i).at_most(2 * lanes)
                    self.do(self.pack_copy(), out + i * item, distance, x + i * item, along, live, k)

        return self.loops("pack", 7, body)

    def share(self, m: Int, n: Int, piece: Int, pieces: Int) -> tuple[Int, Int, Int, Int]:
        """The rectangle of C that is `piece`'s: whole tiles of a grid, about square."""
        tall, wide = self.target.rows, self.target.columns
        tiles, panels = m.up(tall), n.up(wide)
        down = pieces.equals(0).pick(1, 1)
        for rows in (2, 4, 8, 16):
            square = (pieces % rows).equals(0) & (tiles >= 2 * rows) & (m * pieces > n * (rows * rows // 4))
            down = (square & down.equals(rows // 2)).pick(rows, down)
        down = ((panels * down < pieces) & (tiles >= pieces)).pick(pieces, down)
        across = pieces // down
        i, j = piece // across, piece % across
        return ((tiles * i // down * tall).at_most(m), (tiles * (i + 1) // down * tall).at_most(m),
                (panels * j // across * wide).at_most(n), (panels * (j + 1) // across * wide).at_most(n))

    def blocks(self) -> Any:
        """Blocks of columns, of k, of rows, then register tiles."""
        target = self.target
        item = target.item

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, rsb: Int, csb: Int, m: Int, n: Int, k: Int,
                 flags: Int, bias: Int, work: Int, piece: Int, pieces: Int) -> None:
            top, bottom, left, right = self.share(m, n, piece, pieces)
            clashing_a, clashing_b = ((s * item % PAGE).equals(0) & (k >= target.clash) for s in (rsa * csa, rsb))
            large_a = csa.differs(1) & (m * k * item > target.a_bytes)
            pack_a = (right - left >= target.a_columns) & (large_a | clashing_a)
            large_b = (bottom - top >= target.b_tiles * target.rows) & (k * n * item > target.b_bytes)
            pack_b = csb.differs(1) | large_b | clashing_b & (bottom - top >= target.a_columns)
            passes = k.up(target.depth)
            with left.to(right, target.column_block) as j0, passes.each() as p:
                j1 = (j0 + target.column_block).at_most(right)
                k0 = k * p // passes
                kb = k * (p + 1) // passes - k0
                now = p.equals(0).pick(flags, ADD_C)
                panels = (j1 - j0).up(target.columns)
                with top.to(bottom, target.row_block) as i0, panels.each() as q:
                    j = j0 + q * target.columns
                    cols = (j1 - j).at_most(target.columns)
                    width = (cols <= target.lanes).pick(target.lanes, target.columns)
                    b_now = b + (k0 * rsb + j * csb) * item
                    panel = work + target.block_bytes + (j - j0) * kb * item
                    packed = pack_b if target.masks else pack_b | (cols < width)
                    together = csb.equals(1) & (j0 + (q - q % GROUP + GROUP) * target.columns <= j1)
                    with (packed & i0.equals(top)).holds(), together.either() as (several, single):
                        with several, (q % GROUP).equals(0).holds():
                            self.do(self.pack_panels(GROUP), panel, b_now, rsb, kb)
                        with single:
                            self.do(self.pack(), panel, width, b_now, csb, rsb, cols, kb)
                    pairs = (bottom - i0).at_most(target.row_block).up(2)
                    tiles = (pairs * 2).up(target.rows)
                    with tiles.each() as t:
                        i = i0 + pairs * t // tiles * 2
                        rows = (i0 + pairs * (t + 1) // tiles * 2).at_most(bottom) - i
                        a_now = a + (i * rsa + k0 * csa) * item
                        a_panel = work + t * target.panel_bytes
                        with (pack_a & j.equals(j0)).holds():
                            self.do(self.pack(), a_panel, target.packed_rows, a_now, rsa, csa, rows, kb)
                        self.do(self.tile, pack_a.pick(a_panel, a_now), pack_a.pick(1, rsa),
                                pack_a.pick(target.packed_rows, csa), packed.pick(panel, b_now),
                                packed.pick(width, rsb), c + (i * ldc + j) * item, ldc, kb, rows, cols, now,
                                bias + j * item)

        return self.loops("blocks", 16, body)
