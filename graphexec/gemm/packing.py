"""packing: kernels that pack panels, with and without transposition, and dot products along k."""

from typing import Any

from llvmlite import ir

from graphexec.gemm.emitter import ADD_BIAS, ADD_C, I32, I64, LINE, Emitter, counted, shuffle


class Panels(Emitter):
    """Kernels that read one operand in the direction in which it is contiguous."""

    def pack_copy(self) -> Any:
        """out[kk*distance + i] = x[kk*step + i] for i < width (to the vector's end: 0), kk < k; at most two vectors.

        Rows of x are often a page apart, where hardware does not prefetch.
        """
        lanes, ahead = self.target.lanes, 2 * self.target.ahead

        def body(builder: Any, out: Any, distance: Any, x: Any, step: Any, width: Any, k: Any) -> None:
            source, target = self.at(builder, x), self.at(builder, out)
            far = builder.mul(step, I64(ahead))

            def copy(masks: list[Any]) -> None:
                with counted(builder, k) as loop:
                    to, of = loop.pointer(target, distance, self.element), loop.pointer(source, step, self.element)
                    self.prefetch(builder, self.at(builder, of, far))
                    for j, mask in enumerate(masks):
                        self.store(builder, self.load(builder, self.at(builder, of, j * lanes), mask),
                                   self.at(builder, to, j * lanes))

            masks = [self.mask(builder, width, j * lanes) for j in range(2)]
            with builder.if_else(builder.icmp_signed(">", width, I64(lanes))) as (two, one):
                with two, builder.if_else(builder.icmp_signed("==", width, I64(2 * lanes))) as (whole, partial):
                    with whole:
                        copy([None, None])
                    with partial:
                        copy(masks)
                with one, builder.if_else(builder.icmp_signed("==", width, I64(lanes))) as (whole, partial):
                    with whole:
                        copy([None])
                    with partial:
                        copy(masks[:1])

        return self.function("copy", 6, body)

    def pack_panels(self, count: int, width: int, distance: int) -> Any:
        """`count` whole panels side by side, `gap` bytes apart: out[p*gap + kk*distance + i] = x[kk*step + p*width + i].

        It reads whole cache lines of x; the columns of one panel alone would often be part of a line.
        """
        lanes, item = self.target.lanes, self.target.item

        def body(builder: Any, out: Any, gap: Any, x: Any, step: Any, k: Any) -> None:
            source = self.at(builder, x)
            targets = [self.at(builder, builder.add(out, builder.mul(gap, I64(p)))) for p in range(count)]
            far = builder.mul(step, I64(self.target.ahead))
            with counted(builder, k) as loop:
                of = loop.pointer(source, step, self.element)
                now = [loop.pointer(target, I64(distance), self.element) for target in targets]
                for byte in range(0, count * width * item, LINE):
                    self.prefetch(builder, self.at(builder, of, far, byte // item))
                for p, to in enumerate(now):
                    for j in range(0, width, lanes):
                        mask = None if width - j >= lanes else self.mask(builder, I64(width - j))
                        value = self.load(builder, self.at(builder, of, p * width + j), mask)
                        self.store(builder, value, self.at(builder, to, j))

        return self.function(f"panels{count}x{width}", 5, body)

    def pack_transpose(self) -> Any:
        """out[kk*distance + i] = x[i*step + kk] for i < width (to the vector's end: the last), kk < k.

        Sixteen bytes of each row are loaded side by side, so that a transposition inside each 16-byte group, two
        shuffles deep at most, leaves whole columns in order. The last columns may be done twice.
        """
        lanes = self.target.lanes
        quad = min(lanes, 16 // self.target.item)

        def body(builder: Any, out: Any, distance: Any, x: Any, step: Any, width: Any, k: Any) -> None:
            element, source, target = self.element, self.at(builder, x), self.at(builder, out)
            last = builder.sub(width, I64(1))
            starts = []
            for i in range(lanes):
                row = builder.select(builder.icmp_signed("<", I64(i), width), I64(i), last)
                starts.append(builder.mul(row, step))
            enough = builder.icmp_signed(">=", k, I64(quad))
            with builder.if_else(enough) as (many, few):
                with many:
                    steps = builder.sdiv(builder.add(k, I64(quad - 1)), I64(quad))
                    final = builder.sub(k, I64(quad))
                    with counted(builder, steps) as loop:
                        at = builder.mul(loop.index, I64(quad))
                        at = builder.select(builder.icmp_signed("<", at, final), at, final)
                        of = self.at(builder, source, at)
                        rows = [self.load(builder, self.at(builder, of, start), lanes=quad) for start in starts]
                        to = builder.mul(at, distance)
                        for kk, column in enumerate(self._columns(builder, rows, quad)):
                            self.store(builder, column, self.at(builder, target, to, builder.mul(distance, I64(kk))))
                with few, counted(builder, k) as loop:
                    to, of = loop.pointer(target, distance, element), loop.pointer(source, I64(1), element)
                    for i, start in enumerate(starts):
                        builder.store(builder.load(self.at(builder, of, start), typ=element), self.at(builder, to, i))

        return self.function("transpose", 6, body)

    def finish(self) -> Any:
        """C[i, j] = sums[i, j] (+ C) (+ bias) for i < m, j < n; a row of `sums` is one vector long."""

        def body(builder: Any, c: Any, ldc: Any, sums: Any, n: Any, m: Any, flags: Any, bias: Any) -> None:
            element, live = self.element, self.mask(builder, n)
            nothing = ir.Constant(live.type, [False] * self.target.lanes)
            biased = builder.icmp_signed("!=", builder.and_(flags, I64(ADD_BIAS)), I64(0))
            row = self.load(builder, self.at(builder, bias), builder.select(biased, live, nothing))
            c_start, sums_start = self.at(builder, c), self.at(builder, sums)

            def lines(add: bool) -> None:
                with counted(builder, m) as loop:
                    to = loop.pointer(c_start, ldc, element)
                    value = self.load(builder, loop.pointer(sums_start, I64(self.target.lanes), element))
                    value = builder.fadd(value, self.load(builder, to, live)) if add else value
                    self.store(builder, builder.fadd(value, row), to, live)

            # Without C's lanes there is no load from it: one with no lanes would still wait for the store of the line before.
            added = builder.icmp_signed("!=", builder.and_(flags, I64(ADD_C)), I64(0))
            with builder.if_else(added) as (adding, plain):
                with adding:
                    lines(True)
                with plain:
                    lines(False)

        return self.function("finish", 7, body)

    def _columns(self, builder: Any, rows: list[Any], quad: int) -> list[Any]:
        """The `quad` columns of `lanes` rows of `quad` elements each."""
        groups = []
        for r in range(quad):
            parts = rows[r::quad]
            while len(parts) > 1:
                parts = [shuffle(builder, x, y, range(2 * x.type.count))
                         for x, y in zip(parts[::2], parts[1::2], strict=True)]
            groups.append(parts[0])
        lanes = self.target.lanes
        width = 1
        while width < quad:  # swap blocks of `width` between vectors `width` apart
            swapped = list(groups)
            for r in range(quad):
                if not r & width:
                    low, high = groups[r], groups[r + width]
                    swapped[r] = shuffle(builder, low, high,
                                          [i if not i & width else lanes + i - width for i in range(lanes)])
                    swapped[r + width] = shuffle(builder, low, high,
                                                  [i + width if not i & width else lanes + i for i in range(lanes)])
            groups, width = swapped, 2 * width
        return groups

    def dots(self) -> Any:
        """out[i*distance] (+)= sum over kk of x[kk] * y[i*step + kk], for i < width <= 8.

        Each row has two chains of vector sums, in an order that does not depend on other rows; the tail of k is masked.
        """

        rows, chains = self.target.dot_rows_at_once, 2

        def body(builder: Any, out: Any, distance: Any, x: Any, y: Any, step: Any, width: Any, k: Any,
                 flags: Any) -> None:
            lanes = self.target.lanes
            stride = lanes * chains
            last = builder.sub(width, I64(1))
            starts = [builder.mul(builder.select(builder.icmp_signed("<", I64(i), width), I64(i), last), step)
                      for i in range(rows)]
            sums = self._dot_loop(builder, x, y, starts, builder.sdiv(k, I64(stride)),
                                  [[self.zeros] * chains for _ in range(rows)])
            done = builder.mul(builder.sdiv(k, I64(stride)), I64(stride))
            left = builder.sub(k, done)
            masks = [self.mask(builder, left, u * lanes) for u in range(chains)]
            before = builder.block
            with builder.if_then(builder.icmp_signed(">", left, I64(0))):
                x_end, y_end = self.at(builder, x, done), self.at(builder, y, done)
                tail = self._dot_step(builder, x_end, y_end, starts, masks, sums)
                inside = builder.block
            for i in range(rows):
                for u in range(chains):
                    phi = builder.phi(self.vector())
                    phi.add_incoming(sums[i][u], before)
                    phi.add_incoming(tail[i][u], inside)
                    tail[i][u] = phi
            totals = [self._total(builder, builder.fadd(*row)) for row in tail]
            for i, total in enumerate(totals):
                with builder.if_then(builder.icmp_signed("<", I64(i), width)):
                    pointer = self.at(builder, out, builder.mul(distance, I64(i)))
                    add = builder.icmp_signed("!=", flags, I64(0))
                    old = builder.load(pointer, typ=self.element)
                    builder.store(builder.select(add, builder.fadd(old, total), total), pointer)

        return self.function("dots", 8, body)

    def _dot_loop(self, builder: Any, x: Any, y: Any, starts: list[Any], steps: Any,
                  zeros: list[list[Any]]) -> list[list[Any]]:
        """The whole steps of `dots`; there may be none."""
        chains = len(zeros[0])
        before = builder.block
        with builder.if_then(builder.icmp_signed(">", steps, I64(0))):
            stride = I64(self.target.lanes * chains)
            x_start, y_start = self.at(builder, x), self.at(builder, y)
            with counted(builder, steps) as loop:
                x_now, y_now = loop.pointer(x_start, stride, self.element), loop.pointer(y_start, stride, self.element)
                sums = [[loop.phi(zero) for zero in row] for row in zeros]
                new = self._dot_step(builder, x_now, y_now, starts, [None] * chains, sums)
                for old_row, new_row in zip(sums, new, strict=True):
                    for old, value in zip(old_row, new_row, strict=True):
                        loop.next(old, value)
            inside = builder.block
        result: list[list[Any]] = []
        for zero_row, new_row in zip(zeros, new, strict=True):
            result.append([])
            for zero, value in zip(zero_row, new_row, strict=True):
                phi = builder.phi(value.type)
                phi.add_incoming(zero, before)
                phi.add_incoming(value, inside)
                result[-1].append(phi)
        return result

    def _dot_step(self, builder: Any, x: Any, y: Any, starts: list[Any], masks: list[Any],
                  sums: list[list[Any]]) -> list[list[Any]]:
        lanes = self.target.lanes
        xs = [self.load(builder, self.at(builder, x, u * lanes), mask) for u, mask in enumerate(masks)]
        return [[self.fma(builder, xs[u], self.load(builder, self.at(builder, y, start, u * lanes), mask), sums[i][u])
                 for u, mask in enumerate(masks)] for i, start in enumerate(starts)]

    def _total(self, builder: Any, value: Any) -> Any:
        """The sum of a vector's lanes, by halves."""
        while value.type.count > 1:
            half = value.type.count // 2
            value = builder.fadd(shuffle(builder, value, value, range(half)),
                                 shuffle(builder, value, value, range(half, 2 * half)))
        return builder.extract_element(value, I32(0))
