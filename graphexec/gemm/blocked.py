"""blocked: the general product, in the five loops of BLIS around the register tile, with packing.

    jc  blocks of columns whose packed panels of B fit the second-level cache
    pc  passes over k, whose depth fits a panel into the first-level cache
    ic  blocks of rows, as many as packed panels of A fit the second-level cache
    jr  panels of B, as wide as a register tile
    ir  register tiles, one below the other

A panel of B is packed in the first ic iteration and a panel of A in the first jr iteration, each only if reading it in place would
miss the cache.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from graphexec.gemm.emitter import ADD_C, I64, Int
from graphexec.gemm.integers import N
from graphexec.gemm.special_shapes import SpecialShapes

PAGE = 4096  #: rows this many bytes apart fall on the same lines of a first-level cache

ONE = 1 << 16  #: 1 as a fixed-point number: a division by the number of tiles becomes a multiplication by its inverse

GROUP = 4  #: adjacent panels that are packed together if their lines are contiguous across them


class _Rectangle(NamedTuple):
    """A rectangle of C = A B and `remainder` columns to its right: the arguments of `blocks`."""

    tile: Callable[[Any, Sequence[Any]], None]
    """Writes the call that computes a register tile."""
    c: Int
    ldc: Int
    a: Int
    rsa: Int
    csa: Int
    b: Int
    rsb: Int
    csb: Int
    top: Int
    bottom: Int
    left: Int
    right: Int
    remainder: Int
    k: Int
    flags: Int
    bias: Int
    work: Int
    epilogue: Int


class _Pass(NamedTuple):
    """One pass over k for a block of columns."""

    pack_a: Int
    pack_b: Int
    passes: Int
    number: Int
    j0: Int
    j1: Int
    k0: Int
    depth: Int
    flags: Int
    """Of the tiles: those of the rectangle in the first pass, then ADD_C."""
    remainder: Int
    """Columns to the right of the block that are computed apart."""
    panels: Int
    """Panels of B in the block."""


class _PanelB(NamedTuple):
    """A panel of B."""

    j: Int
    columns: Int
    packed: Int
    panel: Int
    """Address if packed."""
    width: Int
    """Distance of its rows if packed."""
    in_place: Int
    """Address if not packed."""


class Blocked(SpecialShapes):
    """The general product, which special shapes use as well for a part of theirs."""

    def pack(self) -> Any:
        """Packs a panel of `width` lines of x; lines are `across` apart and their elements `along` apart."""
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

    def clashes(self, stride: N, k: N) -> N:
        """Whether lines `stride` elements apart evict one another from the cache."""
        return (stride * self.target.item % PAGE).equals(0) & (k >= self.target.clash)

    def packs_a(self, rsa: N, csa: N, m: N, n: N, k: N) -> N:
        """Whether A is packed for a rectangle of C."""
        large = csa.differs(1) & (m * k * self.target.item > self.target.a_bytes)
        return (n >= self.target.a_columns) & (large | self.clashes(rsa * csa, k))

    def packs_b(self, rsb: N, csb: N, m: N, n: N, k: N) -> N:
        """Whether B is packed for a rectangle of C."""
        target = self.target
        large = (m >= target.b_tiles * target.rows) & (k * n * target.item > target.b_bytes)
        return csb.differs(1) | large | self.clashes(rsb, k) & (m >= target.a_columns)

    def blocks(self) -> Any:
        """A rectangle of C."""

        def body(*arguments: Int) -> None:
            self.loops_of_blocks(*arguments, tile=self.tile)

        return self.loops("blocks", 18, body)

    def loops_of_blocks(self, *arguments: Int, tile: Callable[[Any, Sequence[Any]], None]) -> None:
        """The five loops, for the arguments of `blocks`; `tile` takes the place of the kernel of that name."""
        self._loop_jc(_Rectangle(tile, *arguments))

    def _loop_jc(self, x: _Rectangle) -> None:
        target = self.target
        pack_a = self.packs_a(x.rsa, x.csa, x.bottom - x.top, x.right - x.left, x.k)
        pack_b = self.packs_b(x.rsb, x.csb, x.bottom - x.top, x.right - x.left, x.k)
        passes = x.k.up(target.depth)
        depth = (x.k + passes - 1) // passes
        with x.left.to(x.right, target.column_block) as jc:
            self._loop_pc(x, pack_a, pack_b, passes, depth, jc)

    def _loop_pc(self, x: _Rectangle, pack_a: Int, pack_b: Int, passes: Int, depth: Int, jc: Int) -> None:
        target = self.target
        with passes.each() as pc:
            j1 = (jc + target.column_block).at_most(x.right)
            remainder = j1.equals(x.right).pick(x.remainder, 0)
            k0 = pc * depth
            kb = (x.k - k0).at_most(depth)
            flags = pc.equals(0).pick(x.flags, ADD_C)
            panels = (j1 - jc).up(target.columns)
            self._loop_ic(x, _Pass(pack_a, pack_b, passes, pc, jc, j1, k0, kb, flags, remainder, panels))

    def _loop_ic(self, x: _Rectangle, now: _Pass) -> None:
        target, item = self.target, self.target.item
        dots = now.remainder.differs(0) & x.csa.equals(1)
        with dots.holds():
            self.gather(x.b + (now.k0 * x.rsb + now.j1) * item, x.rsb, now.remainder, now.depth, x.work)
        row_bytes = now.depth * item
        fewer = (row_bytes >= 2 * target.remainder_bytes).pick(target.remainder_rows, 2 * target.remainder_rows)
        # rows of A are read twice, by the tiles and by the remainder: fewer rows stay in the first-level cache meanwhile
        reread = dots & now.panels.equals(1) & (row_bytes >= target.remainder_bytes)
        step = reread.pick(fewer, target.row_block)
        with x.top.to(x.bottom, step) as ic:
            i1 = (ic + step).at_most(x.bottom)
            self._loop_jr(x, now, ic, i1)
            with now.remainder.differs(0).holds():
                self.do(self.remainder_columns(), x.c + (ic * x.ldc + now.j1) * item, x.ldc,
                        x.a + (ic * x.rsa + now.k0 * x.csa) * item, x.rsa, x.csa, x.b + (now.k0 * x.rsb + now.j1) * item, x.rsb,
                        i1 - ic, now.remainder, now.depth, now.flags, x.bias + now.j1 * item, x.work)
            with now.number.equals(now.passes - 1).holds():
                self.run_epilogue(x.epilogue, ic, i1, now.j0, now.j1 + now.remainder)

    def _loop_jr(self, x: _Rectangle, now: _Pass, i0: Int, i1: Int) -> None:
        target, item = self.target, self.target.item
        with now.panels.each() as jr:
            j = now.j0 + jr * target.columns
            columns = (now.j1 - j).at_most(target.columns)
            width = (columns <= target.lanes).pick(target.lanes, target.columns)
            in_place = x.b + (now.k0 * x.rsb + j * x.csb) * item
            panel = x.work + target.block_bytes + (j - now.j0) * now.depth * item
            packed = now.pack_b if target.masks else now.pack_b | (columns < width)
            together = x.csb.equals(1) & (now.j0 + (jr - jr % GROUP + GROUP) * target.columns <= now.j1)
            with (packed & i0.equals(x.top)).holds(), together.either() as (several, single):
                with several, (jr % GROUP).equals(0).holds():
                    self.do(self.pack_panels(GROUP, target.columns, target.columns), panel, now.depth * (target.columns * item),
                            in_place, x.rsb, now.depth)
                with single:
                    self.do(self.pack(), panel, width, in_place, x.csb, x.rsb, columns, now.depth)
            self._loop_ir(x, now, _PanelB(j, columns, packed, panel, width, in_place), i0, i1)

    def _loop_ir(self, x: _Rectangle, now: _Pass, b: _PanelB, i0: Int, i1: Int) -> None:
        target, item = self.target, self.target.item
        pairs = (i1 - i0).up(2)
        tiles = (pairs * 2).up(target.rows)
        share = pairs * (Int(tiles.builder, I64(ONE)) // tiles + 1)
        with tiles.each() as ir:
            i = i0 + share * ir // ONE * 2
            rows = (i0 + share * (ir + 1) // ONE * 2).at_most(i1) - i
            in_place = x.a + (i * x.rsa + now.k0 * x.csa) * item
            panel = x.work + ir * target.panel_bytes
            # panels are packed together only if every tile has all its rows
            together = x.rsa.equals(1) & (ir - ir % GROUP + GROUP <= tiles) & (tiles * target.rows <= i1 - i0)
            with (now.pack_a & b.j.equals(now.j0)).holds(), together.either() as (several, single):
                with several, (ir % GROUP).equals(0).holds():
                    self.do(self.pack_panels(GROUP, target.rows, target.packed_rows), panel, target.panel_bytes, in_place, x.csa,
                            now.depth)
                with single:
                    self.do(self.pack(), panel, target.packed_rows, in_place, x.rsa, x.csa, rows, now.depth)
            self.do(x.tile, now.pack_a.pick(panel, in_place), now.pack_a.pick(1, x.rsa),
                    now.pack_a.pick(target.packed_rows, x.csa), b.packed.pick(b.panel, b.in_place), b.packed.pick(b.width, x.rsb),
                    x.c + (i * x.ldc + b.j) * item, x.ldc, now.depth, rows, b.columns, now.flags, x.bias + b.j * item)
