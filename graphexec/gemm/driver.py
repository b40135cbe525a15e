"""The loops around the kernels of the matrix product: which path a shape takes, blocks, packing, sharing.

Written to LLVM IR as well, with `Int` for Python's integers: Numba takes longer to type such loops than LLVM to compile
the kernels. Arguments of every function are int64; addresses are plain integers, counted in bytes.
"""

from collections.abc import Callable
from typing import Any

from graphexec import abi
from graphexec.gemm.emitter import ADD_BIAS, ADD_C, I64, Int
from graphexec.gemm.special_shapes import Small

PAGE = 4096  #: rows this many bytes apart fall on the same lines of a first-level cache

ONE = 1 << 16  #: of fixed-point numbers: a division by the number of tiles is a multiplication by its inverse

STRIPS = 1 << abi.STRIPS  #: times BY_ROWS or BY_COLUMNS, added to the number of pieces: each is a strip of whole tiles

BY_ROWS, BY_COLUMNS = 1, 2  #: strips one below the other, or one beside the other

GROUP = 4  #: panels that are packed together where their lines are side by side


class Driver(Small):
    """The whole product, and its general shape."""

    def gemm(self) -> Any:
        """The whole product; see `graphexec.gemm`."""
        target = self.target

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, rsb: Int, csb: Int, m: Int, n: Int, k: Int,
                 accumulate: Int, bias: Int, work: Int, piece: Int, pieces: Int, after: Int) -> None:
            flags = accumulate.differs(0).pick(ADD_C, 0) | bias.differs(0).pick(ADD_BIAS, 0)
            along = (k > 1).pick(csa, 1)  # the stride of a dimension of size 1 may be anything
            strips, pieces = pieces // STRIPS, pieces % STRIPS

            def call_tile(packed: bool) -> None:
                with piece.equals(0).holds():
                    width = (n <= target.lanes).pick(target.lanes, target.columns)
                    panel = work + target.block_bytes
                    if packed:
                        self.do(self.pack(), panel, width, b, csb, rsb, n, k)
                    self.do(self.tile, a, rsa, csa, *((panel, width) if packed else (b, rsb)), c, ldc, k, m, n, flags, bias)
                    self.finished(after, 0, m, 0, n)

            ways: dict[str, Callable[[], None]] = {
                "nothing": lambda: None,
                "empty": lambda: self.do(self.empty(), c, ldc, m, n, flags, bias, piece, pieces, after),
                "tile": lambda: call_tile(False),
                "few_dots": lambda: self.do(
                    self.few_dots(), c, ldc, a, rsa, csa, b, csb, m, n, k, flags, bias, work, piece, pieces, after),
                "packed_tile": lambda: call_tile(True),
                "narrow": lambda: self.do(self.narrow(), c, ldc, a, rsa, along, b, rsb, csb, m, n, k, flags, bias, work,
                                          piece, pieces, after),
                "rows": lambda: self.do(self.rows(), c, a, csa, b, rsb, n, k, flags, bias, piece, pieces, after),
                "strips": lambda: self.do(
                    self.strips(), c, ldc, a, rsa, csa, b, rsb, m, n, k, flags, bias, piece, pieces, after),
                "turned": lambda: self.do(self.turned(), c, ldc, a, rsa, csa, b, csb, m, n, k, flags, bias, work, piece, pieces,
                                          after),
                "shared": lambda: self.do(self.shared(), c, ldc, a, rsa, along, b, rsb, csb, m, n, k, flags, bias, work,
                                          piece, pieces, strips, after),
            }
            self.first_of(*((condition, ways[name]) for name, condition in self.ways(csa, csb, m, n, k)))

        return self.loops("gemm", 17, body)

    def ways(self, csa: Int, csb: Int, m: Int, n: Int, k: Int) -> list[tuple[str, Callable[[], Int] | None]]:
        """In which way a shape is done, by name: the first whose condition holds, where None always does.

        The smallest first: what is tested takes longer than some of them. `gemm_cut` asks the same with plain numbers.
        """
        target = self.target
        by_rows = csb.equals(1) | n.equals(1)
        one_tile = (m <= target.rows) & (k <= target.depth) & (n <= target.columns) & int(target.masks)
        one_tile = one_tile & ((n > 1) | (k <= csa.equals(1).pick(target.lanes, 4 * target.lanes)))

        def dots() -> Int:
            few = (m <= target.dot_rows) & (k * 2 >= m * m * target.lanes)  # the fewer rows, the sooner
            return csb.differs(1) & (k >= 2 * target.lanes) & few

        def narrow() -> Int:
            lines = csa.differs(1) & (k > 1) & (m >= 2 * target.lanes) & self.wasteful(n)
            return n.equals(1) | lines & ((n <= target.narrow_columns) | self.few_beside(m, n, k, csa, csb).equals(0))

        def one_row() -> Int:
            return by_rows & m.equals(1) & (n >= target.columns) & (k >= target.row_depth) & self.by_row(n, k)

        def turned() -> Int:
            less = m * (n + csa.equals(1).pick(k, 0)) * 2 <= n * k  # to turn round than B
            fits = (m <= target.narrow_rows) & (m.up(target.lanes) * n <= target.turn_size // target.lanes)
            return csb.differs(1) & less & fits & (m >= target.lanes)

        return [
            ("nothing", lambda: (m <= 0) | (n <= 0)),
            ("empty", lambda: k <= 0),
            ("tile", lambda: by_rows & one_tile),
            ("few_dots", dots),
            ("packed_tile", lambda: one_tile),
            ("narrow", narrow),
            ("rows", one_row),
            ("strips", lambda: by_rows & (m <= target.strips[-1][0])),
            ("turned", turned),
            ("shared", None),
        ]

    def local(self, m: Int, n: Int, k: Int, pieces: Int | int) -> Int:
        """Whether a piece of the general product is rows alone, `m * piece // pieces` to `m * (piece + 1) // pieces`."""
        return (n * k * self.target.item <= self.target.local_bytes) & (m >= pieces * self.target.local_rows)

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

    def wasteful(self, n: Int) -> Int:
        """Whether so few columns leave a sixth of their vectors empty, or are too few sums to keep the processor busy."""
        lanes, limit = self.target.lanes, 2 * self.target.narrow_columns
        empty = (n.up(lanes) * lanes - n) * 5 >= n
        chains = 0 if self.target.rows >= 8 else lanes
        return (n <= chains) | empty & (n <= limit)

    def few_beside(self, m: Int, n: Int, k: Int, csa: Int, csb: Int) -> Int:
        """How many of the last columns are done beside the others, for they would take a vector of their own; 0 for none."""
        lanes = self.target.lanes
        few = n % lanes
        lines = (few <= 2) & (m <= 4 * lanes) | (n > 2 * self.target.narrow_columns)
        worthwhile = (n > lanes) & (k >= 2 * lanes) & (few <= lanes // 4) & (csa.equals(1) | (m >= lanes) & lines)
        return (csb.equals(1) & worthwhile).pick(few, 0)

    def shared(self) -> Any:
        """A piece's rectangle of the general product: whole tiles of a grid, about square; a strip where the caller says so; and
        rows alone where B is small.

        What A was made of lies in the cache of the core that made it: the same rows, where the product before was cut so.
        """
        tall, wide = self.target.rows, self.target.columns

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, rsb: Int, csb: Int, m: Int, n: Int, k: Int,
                 flags: Int, bias: Int, work: Int, piece: Int, pieces: Int, strips: Int, after: Int) -> None:
            few = self.few_beside(m, n, k, csa, csb)
            end = n - few

            def rectangle(top: Int | int, bottom: Int, left: Int | int, right: Int) -> None:
                self.do(self.blocks(), c, ldc, a, rsa, csa, b, rsb, csb, top, bottom, left, right, right.equals(end).pick(few, 0),
                        k, flags, bias, work, after)

            with pieces.equals(1).either() as (all_of_it, part):  # divisions take longer than the smallest products
                with all_of_it:
                    rectangle(0, m, 0, end)
                with part:
                    tiles, panels = m.up(tall), end.up(wide)
                    down = Int(pieces.builder, I64(1))
                    for rows in (2, 4, 8, 16):
                        square = (pieces % rows).equals(0) & (tiles >= 2 * rows) & (m * pieces > n * (rows * rows // 4))
                        down = (square & down.equals(rows // 2)).pick(rows, down)
                    down = ((panels * down < pieces) & (tiles >= pieces)).pick(pieces, down)
                    local = self.local(m, n, k, pieces) & strips.equals(0)
                    down = (local | strips.equals(BY_ROWS)).pick(pieces, strips.equals(BY_COLUMNS).pick(1, down))
                    across = pieces // down
                    i, j = piece // across, piece % across

                    def cut(i: Int) -> Int:
                        return local.pick(m * i // down, (tiles * i // down * tall).at_most(m))

                    rectangle(cut(i), cut(i + 1),
                              (panels * j // across * wide).at_most(end), (panels * (j + 1) // across * wide).at_most(end))

        return self.loops("shared", 18, body)

    def clashes(self, stride: Int, k: Int) -> Int:
        """Whether lines so far apart push each other out of the cache."""
        return (stride * self.target.item % PAGE).equals(0) & (k >= self.target.clash)

    def packs_a(self, rsa: Int, csa: Int, m: Int, n: Int, k: Int) -> Int:
        """Whether A is packed for a rectangle of C."""
        large = csa.differs(1) & (m * k * self.target.item > self.target.a_bytes)
        return (n >= self.target.a_columns) & (large | self.clashes(rsa * csa, k))

    def packs_b(self, rsb: Int, csb: Int, m: Int, n: Int, k: Int) -> Int:
        """Whether B is packed for a rectangle of C."""
        target = self.target
        large = (m >= target.b_tiles * target.rows) & (k * n * target.item > target.b_bytes)
        return csb.differs(1) | large | self.clashes(rsb, k) & (m >= target.a_columns)

    def blocks(self) -> Any:
        """Blocks of columns, of k, of rows, then register tiles."""
        target = self.target
        item = target.item

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, rsb: Int, csb: Int, top: Int, bottom: Int, left: Int,
                 right: Int, few: Int, k: Int, flags: Int, bias: Int, work: Int, after: Int) -> None:
            pack_a = self.packs_a(rsa, csa, bottom - top, right - left, k)
            pack_b = self.packs_b(rsb, csb, bottom - top, right - left, k)
            passes = k.up(target.depth)
            deep = (k + passes - 1) // passes
            with left.to(right, target.column_block) as j0, passes.each() as p:
                j1 = (j0 + target.column_block).at_most(right)
                beside = j1.equals(right).pick(few, 0)
                k0 = p * deep
                kb = (k - k0).at_most(deep)
                now = p.equals(0).pick(flags, ADD_C)
                panels = (j1 - j0).up(target.columns)
                dots = beside.differs(0) & csa.equals(1)
                with dots.holds():
                    self.gather(b + (k0 * rsb + j1) * item, rsb, beside, kb, work)
                row_bytes = kb * item
                near = (row_bytes >= 2 * target.beside_bytes).pick(target.beside_rows, 2 * target.beside_rows)
                again = dots & panels.equals(1) & (row_bytes >= target.beside_bytes)  # rows of A, read twice: from the first cache
                step = again.pick(near, target.row_block)
                with top.to(bottom, step) as i0:
                    i1 = (i0 + step).at_most(bottom)
                    with panels.each() as q:
                        j = j0 + q * target.columns
                        cols = (j1 - j).at_most(target.columns)
                        width = (cols <= target.lanes).pick(target.lanes, target.columns)
                        b_now = b + (k0 * rsb + j * csb) * item
                        panel = work + target.block_bytes + (j - j0) * kb * item
                        packed = pack_b if target.masks else pack_b | (cols < width)
                        together = csb.equals(1) & (j0 + (q - q % GROUP + GROUP) * target.columns <= j1)
                        with (packed & i0.equals(top)).holds(), together.either() as (several, single):
                            with several, (q % GROUP).equals(0).holds():
                                self.do(self.pack_panels(GROUP, target.columns, target.columns), panel,
                                        kb * (target.columns * item), b_now, rsb, kb)
                            with single:
                                self.do(self.pack(), panel, width, b_now, csb, rsb, cols, kb)
                        pairs = (i1 - i0).up(2)
                        tiles = (pairs * 2).up(target.rows)
                        share = pairs * (Int(tiles.builder, I64(ONE)) // tiles + 1)
                        with tiles.each() as t:
                            i = i0 + share * t // ONE * 2
                            rows = (i0 + share * (t + 1) // ONE * 2).at_most(i1) - i
                            a_now = a + (i * rsa + k0 * csa) * item
                            a_panel = work + t * target.panel_bytes
                            together = rsa.equals(1) & (t - t % GROUP + GROUP <= tiles) & (
                                tiles * target.rows <= i1 - i0)  # every tile has all its rows
                            with (pack_a & j.equals(j0)).holds(), together.either() as (several, single):
                                with several, (t % GROUP).equals(0).holds():
                                    self.do(self.pack_panels(GROUP, target.rows, target.packed_rows), a_panel,
                                            target.panel_bytes, a_now, csa, kb)
                                with single:
                                    self.do(self.pack(), a_panel, target.packed_rows, a_now, rsa, csa, rows, kb)
                            self.do(self.tile, pack_a.pick(a_panel, a_now), pack_a.pick(1, rsa),
                                    pack_a.pick(target.packed_rows, csa), packed.pick(panel, b_now),
                                    packed.pick(width, rsb), c + (i * ldc + j) * item, ldc, kb, rows, cols, now,
                                    bias + j * item)
                    with beside.differs(0).holds():
                        self.do(self.beside(), c + (i0 * ldc + j1) * item, ldc, a + (i0 * rsa + k0 * csa) * item, rsa, csa,
                                b + (k0 * rsb + j1) * item, rsb, i1 - i0, beside, kb, now, bias + j1 * item, work)
                    with p.equals(passes - 1).holds():
                        self.finished(after, i0, i1, j0, j1 + beside)

        return self.loops("blocks", 18, body)
