"""Gradient of correlate by its weights.

    out[p, o, c, a] = Σ_{n in part p, z} d[n, o, z] x[n, c, z strides + a dilations - padding]
    d_d = correlate(x, d_out),  d_x = correlate_input(d, d_out)

Shapes: d (batch, out, windows...), x (batch, channels, depth, height, width) and the shape of like, (1, out, channels / groups,
kernel...). out has the same shape except for axis 0: up to 8 parts of the batch are summed separately, so that threads can share
the work and the order of summation depends only on the shape. If like has more than one part, out has as many. More than LONG
products are added in slabs (`_patches`). Dtypes: float32, float64.
"""

import itertools
import math

import numpy as np
from graphexec_ops._examples import calls, floats
from graphexec_ops.convolution._examples import DENSE, STRIDED
from graphexec_ops.convolution._patches import LONG, PATCHES, SLAB, SPARE, add_errors, add_part, column_block, row_block
from graphexec_ops.convolution._windows import Groups, Six, Three, check_axes, check_deltas, part_borders, windows

from graphexec.plugin import GEMM_SCRATCH, TensorSpec, array_at, gemm, im2col, kernel, ops


def _shape(d, x, like, *, strides, padding, dilations, groups):
    check_axes("correlate_weights", d=(d.shape, 5), x=(x.shape, 5), like=(like.shape, 6))
    check_deltas("correlate_weights", d.shape, like.shape, x.shape, groups, strides, padding, dilations)
    parts = like.shape[0]
    if parts == 1:  # out takes no more memory than the input
        weights, inputs = (math.prod(int(n) for n in shape) for shape in (like.shape, x.shape))
        parts = max(min(8, int(x.shape[0]), inputs // max(weights, 1)), 1)
    return TensorSpec((parts, *like.shape[1:]), d.dtype)


def _reference(d, x, like, *, strides, padding, dilations, groups):
    parts, *rest = _shape(d, x, like, strides=strides, padding=padding, dilations=dilations, groups=groups).shape
    seen = windows(x, like.shape[3:], strides, padding, dilations)
    seen = seen.reshape(x.shape[0], groups, like.shape[2], *seen.shape[2:])
    d = d.reshape(d.shape[0], groups, d.shape[1] // groups, *d.shape[2:])
    borders = part_borders(x.shape[0], parts)
    sums = [np.einsum("ngozyx,ngcabezyx->gocabe", d[i:j], seen[i:j]) for i, j in itertools.pairwise(borders)]
    return np.stack(sums).reshape(parts, *rest)


_examples = calls(
    floats((2, 4, 1, 4, 4), (2, 3, 1, 6, 5), (1, 4, 3, 1, 3, 2), **DENSE),
    floats((9, 2, 1, 3, 3), (9, 4, 1, 6, 5), (1, 2, 2, 1, 2, 2), **STRIDED),
    floats((5, 2, 1, 2, 2), (5, 2, 1, 3, 3), (3, 2, 2, 1, 2, 2), **DENSE),
    floats((0, 2, 1, 2, 2), (0, 2, 1, 3, 3), (1, 2, 2, 1, 2, 2), **DENSE),
)  # fmt: skip


@kernel(
    shape=_shape, shape_only=("like",), reference=_reference, domain=(-2.0, 2.0), parallel=True, scratch=GEMM_SCRATCH + PATCHES,
    raises=False, examples=_examples,
)  # fmt: skip
def correlate_weights(
    d, x, out, scratch, piece, pieces, *, strides: Three = (1, 1, 1), padding: Six = (0, 0, 0, 0, 0, 0),
    dilations: Three = (1, 1, 1), groups: Groups = 1,
):  # fmt: skip
    count, parts, channels, per = x.shape[0], out.shape[0], out.shape[1] // groups, out.shape[2]
    kernel, outs = out.shape[3:], d.shape[2:]
    rows, places = per * kernel[0] * kernel[1] * kernel[2], outs[0] * outs[1] * outs[2]
    images = x.reshape(count * groups, per, x.shape[2], x.shape[3], x.shape[4])
    sums, deltas = out.reshape(parts * groups, channels, rows), d.reshape(count * groups, channels, places)
    seen = array_at(scratch + GEMM_SCRATCH, PATCHES // d.itemsize, d)
    long, most = -(-count // parts) * places > LONG, SPARE // d.itemsize
    parts_of_sums, errors_of_sums = seen[2 * most : 3 * most], seen[3 * most :]
    depth = min(row_block(rows), 2 * SLAB) if long else row_block(rows)
    width = SLAB if long else column_block(places, depth, 8, d.itemsize)
    items, sharers = parts * groups, pieces
    if items == 1:  # every thread runs im2col; they share each product
        mine, begin, end = piece, 0, 1
    else:
        mine, sharers, begin, end = 0, 1, items * piece // pieces, items * (piece + 1) // pieces
    height = (16 if items == 1 else most // depth) if long else channels
    for item in range(begin, end):
        part, group = item // groups, item % groups
        if count == 0:
            sums[item] = 0
        for top in range(0, channels, height):
            if long and top // height % pieces != piece and items == 1:
                continue  # threads share the blocks of channels
            for low in range(0, rows, depth):
                high = min(low + depth, rows)
                total = sums[item, top : top + height, low:high]
                lines, columns = total.shape[0] if long else 0, high - low
                slab = parts_of_sums[: lines * columns].reshape(lines, columns)
                errors = errors_of_sums[: lines * columns].reshape(lines, columns)
                errors[:] = 0
                for n in range(count * part // parts, count * (part + 1) // parts):
                    at = n * groups + group
                    for first in range(0, places, width):
                        last = min(first + width, places)
                        im2col(images[at], seen, low, high, first, last, kernel, outs, strides, padding, dilations)
                        block = seen[: columns * (last - first)].reshape(columns, last - first)
                        fresh = n == count * part // parts and first == 0
                        factors = deltas[at, top : top + height, first:last]
                        if long:
                            gemm(factors, block.T, slab, scratch, 0, 1)
                            if fresh:
                                total[:] = 0
                            add_part(total, errors, slab)
                        else:
                            gemm(factors, block.T, total, scratch, mine, sharers, not fresh)
                add_errors(total, errors)


@correlate_weights.gradient
def _(d_out, d, x, *, strides, padding, dilations, groups):
    where = {"strides": strides, "padding": padding, "dilations": dilations, "groups": groups}
    return ops.correlate(x, d_out, ops.no_bias(d_out), **where), ops.correlate_input(d, d_out, x, **where)
