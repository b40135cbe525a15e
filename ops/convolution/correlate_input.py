"""Transposed convolution: the gradient of correlate by its input.

    out[n, c, z strides + a dilations - padding] += Σ_o w[p, o, c, a] d[n, o, z]     for all z and a with a place inside
    d_d = correlate(d_out, w),  d_w = correlate_weights(d, d_out)

Shapes: d (batch, out, windows...), w (parts, out, channels / groups, kernel...) and the shape of like, (batch, channels, depth,
height, width), which out has. Dtypes: float32, float64.
"""

import numpy as np
from graphexec_ops._examples import calls, floats
from graphexec_ops.convolution._examples import DENSE, STRIDED
from graphexec_ops.convolution._patches import PATCHES, column_block, part_of, row_block
from graphexec_ops.convolution._windows import Groups, Six, Three, check_axes, check_deltas, unwindows, weights_of

from graphexec.plugin import GEMM_SCRATCH, TensorSpec, array_at, col2im, gemm, kernel, ops


def _shape(d, w, like, *, strides, padding, dilations, groups):
    check_axes("correlate_input", d=(d.shape, 5), w=(w.shape, 6), like=(like.shape, 5))
    check_deltas("correlate_input", d.shape, w.shape, like.shape, groups, strides, padding, dilations)
    return TensorSpec(like.shape, d.dtype)


def _reference(d, w, like, *, strides, padding, dilations, groups):
    d = d.reshape(d.shape[0], groups, d.shape[1] // groups, *d.shape[2:])
    seen = np.einsum("ngozyx,ngocabe->ngcabezyx", d, weights_of(w, d.shape[0], groups))
    seen = seen.reshape(d.shape[0], groups * w.shape[2], *seen.shape[3:])
    return unwindows(seen, like.shape[2:], strides, padding, dilations)


_examples = calls(
    floats((2, 4, 1, 4, 4), (1, 4, 3, 1, 3, 2), (2, 3, 1, 6, 5), **DENSE),
    floats((5, 2, 1, 3, 3), (3, 2, 2, 1, 2, 2), (5, 4, 1, 6, 5), **STRIDED),
    floats((0, 2, 1, 2, 2), (1, 2, 2, 1, 2, 2), (0, 2, 1, 3, 3), **DENSE),
)  # fmt: skip


@kernel(
    shape=_shape, shape_only=("like",), reference=_reference, domain=(-2.0, 2.0), parallel=True, scratch=GEMM_SCRATCH + PATCHES,
    raises=False, examples=_examples,
)  # fmt: skip
def correlate_input(
    d, w, out, scratch, piece, pieces, *, strides: Three = (1, 1, 1), padding: Six = (0, 0, 0, 0, 0, 0),
    dilations: Three = (1, 1, 1), groups: Groups = 1,
):  # fmt: skip
    parts, channels, per = w.shape[0], w.shape[1] // groups, w.shape[2]
    kernel, outs = w.shape[3:], d.shape[2:]
    volume, places = kernel[0] * kernel[1] * kernel[2], outs[0] * outs[1] * outs[2]
    images = out.reshape(out.shape[0] * groups, per, out.shape[2], out.shape[3], out.shape[4])
    weights, deltas = w.reshape(parts * groups, channels, per * volume), d.reshape(out.shape[0] * groups, channels, places)
    seen = array_at(scratch + GEMM_SCRATCH, PATCHES // d.itemsize, d)
    blocks = min(per, 8) if images.shape[0] < 8 else 1  # of channels; overlapping windows cannot be split among threads
    items = images.shape[0] * blocks
    for item in range(items * piece // pieces, items * (piece + 1) // pieces):
        at, block = item // blocks, item % blocks
        start, stop = per * block // blocks, per * (block + 1) // blocks
        matrix = weights[part_of(at // groups, out.shape[0], parts) * groups + at % groups]
        images[at, start:stop] = 0
        depth = row_block((stop - start) * volume)
        width = column_block(places, depth, 8, d.itemsize)
        for first in range(0, places, width):
            last = min(first + width, places)
            for low in range(start * volume, stop * volume, depth):
                high = min(low + depth, stop * volume)
                product = seen[: (high - low) * (last - first)].reshape(high - low, last - first)
                gemm(matrix[:, low:high].T, deltas[at, :, first:last], product, scratch, 0, 1, False)
                col2im(images[at], seen, low, high, first, last, kernel, outs, strides, padding, dilations)


@correlate_input.gradient
def _(d_out, d, w, *, strides, padding, dilations, groups):
    where = {"strides": strides, "padding": padding, "dilations": dilations, "groups": groups}
    d_d = ops.correlate(d_out, w, ops.no_bias(w), **where)
    return d_d, ops.sum_to(ops.correlate_weights(d, d_out, w, **where), w)
