"""deep: products of a long k, whose rounding error does not grow with k.

k is cut into slabs. Each slab is a product of its own, a chain of a few dozen roundings; the products of the slabs are added with
their rounding errors, which are added apart (two-sum), until C = sums + errors. C is computed a block at a time, so that products,
sums and errors of a block stay in scratch memory in the second-level cache.

Error of an element of C: at most the roundings of one slab, relative to Σ|a b|, and about one more, for any k.

Source: Ogita, Rump and Oishi, "Accurate sum and dot product", SIAM J. Sci. Comput. 26(6), 2005.
"""

from typing import Any, NamedTuple

from graphexec.gemm.blocked import Blocked
from graphexec.gemm.emitter import I64, Int, counted
from graphexec.gemm.integers import N


class _Product(NamedTuple):
    """C = A B or its transpose: the arguments of `deep_product`."""

    c: Int
    rsc: Int
    csc: Int
    a: Int
    rsa: Int
    csa: Int
    b: Int
    rsb: Int
    csb: Int
    m: Int
    n: Int
    k: Int
    flags: Int
    bias: Int
    bias_down: Int
    """Distance of the biases of two rows."""
    bias_along: Int
    """Distance of the biases of two columns."""
    work: Int
    piece: Int
    pieces: Int
    transposed: Int
    """Whether the rows of C are those of the caller's columns."""
    dots: Int
    """Whether each slab is a row of dot products along k."""
    epilogue: Int


class _Block(NamedTuple):
    """A block of C and its scratch memory."""

    i: Int
    j: Int
    rows: Int
    columns: Int
    distance: Int
    """Of two rows in each of the following."""
    sums: Int
    errors: Int
    """They follow the sums, `deep_bytes` further on."""
    part: Int
    """The product of the slab, if rows are few."""


class Deep(Blocked):
    """The product of a long k."""

    def is_deep(self, k: N) -> N:
        return k > self.target.deep

    def deep(self) -> Any:
        """A piece of the product; it is computed as C^T = B^T A^T if A is then read along its contiguous columns."""

        def body(c: Int, ldc: Int, a: Int, rsa: Int, csa: Int, b: Int, rsb: Int, csb: Int, m: Int, n: Int, k: Int,
                 flags: Int, bias: Int, work: Int, piece: Int, pieces: Int, epilogue: Int) -> None:
            many = csb.equals(1) | (m > self.target.dot_rows)
            vector = many & n.equals(1) & csa.equals(1)
            narrow = many & csa.differs(1) & (n <= self.target.narrow_columns) & (n < m)
            with (vector | narrow).either() as (transposed, as_given):
                with transposed:
                    self.do(self.deep_product(), c, 1, ldc, b, csb, rsb, a, csa, rsa, n, m, k, flags, bias, 1, 0,
                            work, piece, pieces, 1, vector.pick(1, 0), epilogue)
                with as_given:
                    self.do(self.deep_product(), c, ldc, 1, a, rsa, csa, b, rsb, csb, m, n, k, flags, bias, 0, 1,
                            work, piece, pieces, 0, many.pick(0, 1), epilogue)

        return self.loops("deep", 17, body)

    def deep_product(self) -> Any:
        """A piece of the product, cut along the longer side of C."""

        def body(*arguments: Int) -> None:
            x = _Product(*arguments)
            target = self.target
            wide = x.n >= x.m
            left, right = self.part(x.n, target.columns, wide.pick(x.piece, 0), wide.pick(x.pieces, 1))
            top, bottom = self.part(x.m, target.rows, wide.pick(0, x.piece), wide.pick(1, x.pieces))
            area = Int(x.k.builder, I64(target.deep_bytes // target.item))
            widest = self._lines(x).pick(area // x.m.at_least(1) // target.lanes * target.lanes, target.deep_columns)
            step = self._equal(right - left, widest, target.lanes)
            height = self._equal(bottom - top, (area // step // target.rows * target.rows).at_least(target.strips[-1][0]), 1)
            sums = x.work + target.deep_place
            parts = sums, sums + target.deep_bytes, x.work + target.block_bytes
            with left.to(right, step) as j, top.to(bottom, height) as i:
                self._deep_block(x, _Block(i, j, (bottom - i).at_most(height), (right - j).at_most(step), step, *parts))

        return self.loops("deep_product", len(_Product._fields), body)

    def _equal(self, count: Int, most: Int, unit: int) -> Int:
        """The size of about equal parts of `count`, a multiple of `unit`; `most` is one."""
        parts = ((count + most - 1) // most).at_least(1)
        return ((count + parts - 1) // parts).at_least(1).up(unit) * unit

    def _deep_block(self, x: _Product, block: _Block) -> None:
        target = self.target
        vectors = block.rows * block.distance // target.lanes
        self.do(self.no_sums(), block.sums, block.errors, vectors)
        with self._lines(x).either() as (lines, tiles):
            with lines, (x.k * 0).to(x.k, x.dots.differs(0).pick(self.dots_slab(), target.slab)) as k0:
                self._slab(x, block, k0)
                self.do(self.add_part(), block.sums, target.lanes, block.part, target.lanes, vectors)
            with tiles:
                self.do(self.deep_blocks(), block.sums, block.distance, x.a + block.i * x.rsa * target.item, x.rsa, x.csa,
                        x.b + block.j * x.csb * target.item, x.rsb, x.csb, 0, block.rows, 0, block.columns, 0, x.k, 0, 0, x.work, 0)
        self.do(self.add_errors(), block.sums, block.errors, vectors)
        item = target.item
        with block.rows.each() as i, block.columns.each() as j:
            row, column = block.i + i, block.j + j
            self.put_sum(self.scalar(block.sums + (i * block.distance + j) * item), x.c + (row * x.rsc + column * x.csc) * item,
                         x.flags, x.bias + (row * x.bias_down + column * x.bias_along) * item)
        i1, j1 = block.i + block.rows, block.j + block.columns
        turned = x.transposed.differs(0)
        self.run_epilogue(x.epilogue, turned.pick(block.j, block.i), turned.pick(j1, i1), turned.pick(block.i, block.j),
                          turned.pick(i1, j1))

    def dots_slab(self) -> int:
        """Products in a slab of a dot product: each of its chains is as long as that of another slab."""
        return 2 * self.target.lanes * self.target.slab

    def _lines(self, x: _Product) -> Int:
        """Whether C is a few rows, whose slabs are computed without packing; the whole product decides, not a piece."""
        few = (x.csb.equals(1) | x.n.equals(1)) & (x.m <= self.target.strips[-1][0])
        return few | x.dots.differs(0)

    def _slab(self, x: _Product, block: _Block, k0: Int) -> None:
        """The product of a slab, for a few rows."""
        target, item = self.target, self.target.item
        k = (x.k - k0).at_most(x.dots.differs(0).pick(self.dots_slab(), target.slab))
        a = x.a + (block.i * x.rsa + k0 * x.csa) * item
        b = x.b + (k0 * x.rsb + block.j * x.csb) * item
        part, distance, rows, columns = block.part, block.distance, block.rows, block.columns

        def dots() -> None:
            with rows.each() as i:
                self.do(self.row_of_dots(), part + i * distance * item, 1, a + i * x.rsa * item, x.csa, b, x.csb, columns, k, 0, 0,
                        0, x.work, 0, 1)

        def row() -> None:
            self.do(self.rows(), part, a, x.csa, b, x.rsb, columns, k, 0, 0, 0, 1, 0)

        def strips() -> None:
            self.do(self.strips(), part, distance, a, x.rsa, x.csa, b, x.rsb, rows, columns, k, 0, 0, 0, 1, 0)

        self.first_of(
            (lambda: x.dots.differs(0), dots),
            (lambda: x.m.equals(1) & (columns >= target.columns) & self.by_row(columns, k), row),
            (None, strips),
        )

    def deep_blocks(self) -> Any:
        """A rectangle of the general product, added to sums, which errors follow in memory: the arguments of `blocks`."""

        def body(*arguments: Int) -> None:
            self.loops_of_blocks(*arguments, tile=lambda builder, values: builder.call(self.deep_tile(), values))

        return self.loops("deep_blocks", 18, body)

    def deep_tile(self) -> Any:
        """A register tile: the arguments of `tile`."""
        target, item = self.target, self.target.item

        def body(a: Int, rsa: Int, csa: Int, b: Int, ldb: Int, sums: Int, distance: Int, k: Int, rows: Int, columns: Int,
                 flags: Int, bias: Int) -> None:
            builder = a.builder
            room = builder.alloca(self.vector(), size=2 * target.rows)
            room.align = target.lanes * item
            part, width = Int(builder, builder.ptrtoint(room, I64)), (columns <= target.lanes).pick(target.lanes, target.columns)
            with k.each(target.slab) as k0:
                self.do(self.tile, a + k0 * csa * item, rsa, csa, b + k0 * ldb * item, ldb, part, width,
                        (k - k0).at_most(target.slab), rows, columns, 0, 0)
                self.do(self.add_part(), sums, distance, part, width, rows)

        return self.loops("deep_tile", 12, body)

    def no_sums(self) -> Any:
        """Sets sums and errors to 0."""

        def body(builder: Any, sums: Any, errors: Any, vectors: Any) -> None:
            with counted(builder, vectors) as loop:
                for memory in (sums, errors):
                    self.store(builder, self.zeros, self._vector(builder, memory, loop))

        return self.function("no_sums", 3, body)

    def add_part(self) -> Any:
        """Adds a part, of rows of one or two vectors, to the sums, and the rounding errors of these additions to the errors."""

        def body(builder: Any, sums: Any, distance: Any, part: Any, width: Any, rows: Any) -> None:
            first = self.at(builder, sums), self.at(builder, part)

            def lines(vectors: int) -> None:
                with counted(builder, rows) as loop:
                    to, of = loop.pointer(first[0], distance, self.element), loop.pointer(first[1], width, self.element)
                    for j in range(vectors):
                        self._add_vector(builder, *(self.at(builder, pointer, j * self.target.lanes) for pointer in (to, of)))

            with builder.if_else(builder.icmp_signed("==", width, I64(self.target.lanes))) as (one, two):
                with one:
                    lines(1)
                with two:
                    lines(2)

        return self.function("add_part", 5, body)

    def _add_vector(self, builder: Any, to: Any, of: Any) -> None:
        wrong = self.at(builder, to, self.target.deep_bytes // self.target.item)
        before, added = self.load(builder, to), self.load(builder, of)
        total = builder.fadd(before, added)
        seen = builder.fsub(total, before)
        error = builder.fadd(builder.fsub(before, builder.fsub(total, seen)), builder.fsub(added, seen))
        self.store(builder, total, to)
        self.store(builder, builder.fadd(self.load(builder, wrong), error), wrong)

    def add_errors(self) -> Any:
        """Adds the errors to the sums; those of infinite sums are NaN and left out."""

        def body(builder: Any, sums: Any, errors: Any, vectors: Any) -> None:
            with counted(builder, vectors) as loop:
                to = self._vector(builder, sums, loop)
                total, error = self.load(builder, to), self.load(builder, self._vector(builder, errors, loop))
                unknown = builder.fcmp_unordered("uno", error, error)
                self.store(builder, builder.select(unknown, total, builder.fadd(total, error)), to)

        return self.function("add_errors", 3, body)

    def _vector(self, builder: Any, memory: Any, loop: Any) -> Any:
        return self.at(builder, memory, builder.mul(loop.index, I64(self.target.lanes)))
