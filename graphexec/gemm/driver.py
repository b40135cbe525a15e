"""driver: chooses the way in which a product is computed, and divides the general product among threads.

The driver is written to LLVM IR with `Int` in place of Python's integers, because Numba takes longer to type such loops than LLVM
to compile the kernels. Arguments of every function are int64; addresses are plain integers, counted in bytes.
"""

from collections.abc import Callable
from typing import Any

from graphexec import abi
from graphexec.gemm.deep import Deep
from graphexec.gemm.emitter import ADD_BIAS, ADD_C, I64, Int
from graphexec.gemm.integers import N

PANELS = 1 << abi.STRIPS  #: times BY_ROWS or BY_COLUMNS, added to the number of pieces: each piece is a panel of C, of whole tiles

BY_ROWS, BY_COLUMNS = 1, 2  #: panels of C one below the other, or side by side


class Driver(Deep):
    """The entry of the product."""

    def gemm(self) -> Any:
        """The product; see `graphexec.gemm`."""
        target = self.target

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, rsb: Int, csb: Int, m: Int, n: Int, k: Int,
                 accumulate: Int, bias: Int, work: Int, piece: Int, pieces: Int, epilogue: Int) -> None:
            flags = accumulate.differs(0).pick(ADD_C, 0) | bias.differs(0).pick(ADD_BIAS, 0)
            along = (k > 1).pick(csa, 1)  # the stride of a dimension of size 1 may be anything
            direction, pieces = pieces // PANELS, pieces % PANELS

            def call_tile(packed: bool) -> None:
                with piece.equals(0).holds():
                    width = (n <= target.lanes).pick(target.lanes, target.columns)
                    panel = work + target.block_bytes
                    if packed:
                        self.do(self.pack(), panel, width, b, csb, rsb, n, k)
                    self.do(self.tile, a, rsa, csa, *((panel, width) if packed else (b, rsb)), c, ldc, k, m, n, flags, bias)
                    self.run_epilogue(epilogue, 0, m, 0, n)

            ways: dict[str, Callable[[], None]] = {
                "nothing": lambda: None,
                "empty": lambda: self.do(self.empty(), c, ldc, m, n, flags, bias, piece, pieces, epilogue),
                "tile": lambda: call_tile(False),
                "deep": lambda: self.do(
                    self.deep(), c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, flags, bias, work, piece, pieces, epilogue),
                "dot_rows": lambda: self.do(
                    self.dot_rows(), c, ldc, a, rsa, csa, b, csb, m, n, k, flags, bias, work, piece, pieces, epilogue),
                "packed_tile": lambda: call_tile(True),
                "gemv_like": lambda: self.do(self.gemv_like(), c, ldc, a, rsa, along, b, rsb, csb, m, n, k, flags, bias, work,
                                          piece, pieces, epilogue),
                "rows": lambda: self.do(self.rows(), c, a, csa, b, rsb, n, k, flags, bias, piece, pieces, epilogue),
                "strips": lambda: self.do(
                    self.strips(), c, ldc, a, rsa, csa, b, rsb, m, n, k, flags, bias, piece, pieces, epilogue),
                "transposed_result": lambda: self.do(
                    self.transposed_result(), c, ldc, a, rsa, csa, b, csb, m, n, k, flags, bias, work, piece, pieces, epilogue),
                "blocked": lambda: self.do(self.blocked(), c, ldc, a, rsa, along, b, rsb, csb, m, n, k, flags, bias, work,
                                          piece, pieces, direction, epilogue),
            }
            self.first_of(*((condition, ways[name]) for name, condition in self.ways(csa, csb, m, n, k)))

        return self.loops("gemm", 17, body)

    def ways(self, csa: N, csb: N, m: N, n: N, k: N) -> list[tuple[str, Callable[[], N] | None]]:
        """The ways to compute a product, by name; the first whose condition holds is used, and None always holds.

        The code being written tests `Int`s here, and `partition` tests `Number`s with the same lines. The planner and the compiled
        driver therefore always choose the same way. Small products come first, because the tests take longer than some of them.
        """
        target = self.target
        by_rows = csb.equals(1) | n.equals(1)
        one_tile = (m <= target.rows) & (k <= target.depth) & (n <= target.columns) & int(target.masks)
        one_tile = one_tile & ((n > 1) | (k <= csa.equals(1).pick(target.lanes, 4 * target.lanes)))

        def dot_rows() -> N:
            few = (m <= target.dot_rows) & (k * 2 >= m * m * target.lanes)  # fewer rows need less depth to pay off
            return csb.differs(1) & (k >= 2 * target.lanes) & few

        def gemv_like() -> N:
            lines = csa.differs(1) & (k > 1) & (m >= 2 * target.lanes) & self.wasteful(n)
            return n.equals(1) | lines & ((n <= target.narrow_columns) | self.remainder(m, n, k, csa, csb).equals(0))

        def one_row() -> N:
            return by_rows & m.equals(1) & (n >= target.columns) & (k >= target.row_depth) & self.by_row(n, k)

        def transposed_result() -> N:
            less = m * (n + csa.equals(1).pick(k, 0)) * 2 <= n * k  # fewer elements to transpose than in B
            fits = (m <= target.narrow_rows) & (m.up(target.lanes) * n <= target.transposed_size // target.lanes)
            return csb.differs(1) & less & fits & (m >= target.lanes)

        return [
            ("nothing", lambda: (m <= 0) | (n <= 0)),
            ("empty", lambda: k <= 0),
            ("tile", lambda: by_rows & one_tile),
            ("deep", lambda: self.is_deep(k)),
            ("dot_rows", dot_rows),
            ("packed_tile", lambda: one_tile),
            ("gemv_like", gemv_like),
            ("rows", one_row),
            ("strips", lambda: by_rows & (m <= target.strips[-1][0])),
            ("transposed_result", transposed_result),
            ("blocked", None),
        ]

    def local(self, m: N, n: N, k: N, pieces: N | int) -> N:
        """Whether a piece of the blocked product is rows alone, `m * piece // pieces` to `m * (piece + 1) // pieces`."""
        return (n * k * self.target.item <= self.target.local_bytes) & (m >= pieces * self.target.local_rows)

    def wasteful(self, n: N) -> N:
        """Whether n columns leave a sixth of their vectors empty, or are too few sums to keep the processor busy."""
        lanes, limit = self.target.lanes, 2 * self.target.narrow_columns
        empty = (n.up(lanes) * lanes - n) * 5 >= n
        chains = 0 if self.target.rows >= 8 else lanes
        return (n <= chains) | empty & (n <= limit)

    def remainder(self, m: N, n: N, k: N, csa: N, csb: N) -> N:
        """How many of the last columns are computed apart, because they would fill little of a vector; 0 for none."""
        lanes = self.target.lanes
        few = n % lanes
        lines = (few <= 2) & (m <= 4 * lanes) | (n > 2 * self.target.narrow_columns)
        worthwhile = (n > lanes) & (k >= 2 * lanes) & (few <= lanes // 4) & (csa.equals(1) | (m >= lanes) & lines)
        return (csb.equals(1) & worthwhile).pick(few, 0)

    def blocked(self) -> Any:
        """A piece of the general product: an about square rectangle of whole tiles, a panel of C if the caller asks for one, or
        rows alone if B is small.

        Rows alone keep A in the cache of the core that computed it, if the product before was divided in the same way.
        """
        tall, wide = self.target.rows, self.target.columns

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, rsb: Int, csb: Int, m: Int, n: Int, k: Int,
                 flags: Int, bias: Int, work: Int, piece: Int, pieces: Int, direction: Int, epilogue: Int) -> None:
            remainder = self.remainder(m, n, k, csa, csb)
            end = n - remainder

            def rectangle(top: Int | int, bottom: Int, left: Int | int, right: Int) -> None:
                self.do(self.blocks(), c, ldc, a, rsa, csa, b, rsb, csb, top, bottom, left, right,
                        right.equals(end).pick(remainder, 0), k, flags, bias, work, epilogue)

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
                    local = self.local(m, n, k, pieces) & direction.equals(0)
                    down = (local | direction.equals(BY_ROWS)).pick(pieces, direction.equals(BY_COLUMNS).pick(1, down))
                    across = pieces // down
                    i, j = piece // across, piece % across

                    def cut(i: Int) -> Int:
                        return local.pick(m * i // down, (tiles * i // down * tall).at_most(m))

                    rectangle(cut(i), cut(i + 1),
                              (panels * j // across * wide).at_most(end), (panels * (j + 1) // across * wide).at_most(end))

        return self.loops("blocked", 18, body)
