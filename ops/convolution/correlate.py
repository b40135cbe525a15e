"""Cross-correlation on three spatial axes, which implements conv.

    out[n, o, z] = b[o] + Σ_{c, a} w[p, o, c, a] x[n, c, z strides + a dilations - padding]
    d_x = correlate_input(d_out, w),  d_w = correlate_weights(d_out, x),  d_b = Σ d_out

Shapes: x (batch, channels, depth, height, width), w (parts, out, channels / groups, kernel...), b (out,) and out (batch, out,
windows...). The batch is divided into `parts` runs of images, each with its own weights; only derivatives of correlate_weights have
more than one. The output channels of a group see only its input channels. x is 0 outside. Dtypes: float32, float64.
Source: Chellapilla, Puri and Simard, "High performance convolutional neural networks for document processing", 2006.
"""

import numpy as np
from graphexec_ops._examples import calls, floats
from graphexec_ops.convolution._examples import DENSE
from graphexec_ops.convolution._patches import LONG, PATCHES, SLAB, SPARE, add_errors, add_part, column_block, part_of, row_block
from graphexec_ops.convolution._windows import Groups, Six, Three, check_axes, check_weights, out_sizes, weights_of, windows

from graphexec.plugin import GEMM_SCRATCH, TensorSpec, array_at, gemm, im2col, kernel, ops


def _shape(x, w, b, *, strides, padding, dilations, groups):
    check_axes("correlate", x=(x.shape, 5), w=(w.shape, 6), b=(b.shape, 1))
    check_weights("correlate", x.shape[1], w.shape, groups, b.shape)
    outs = out_sizes("correlate", x.shape[2:], w.shape[3:], strides, padding, dilations)
    return TensorSpec((x.shape[0], w.shape[1], *outs), x.dtype)


def _reference(x, w, b, *, strides, padding, dilations, groups):
    seen = windows(x, w.shape[3:], strides, padding, dilations)
    seen = seen.reshape(x.shape[0], groups, w.shape[2], *seen.shape[2:])
    out = np.einsum("ngcabezyx,ngocabe->ngozyx", seen, weights_of(w, x.shape[0], groups))
    return out.reshape(x.shape[0], w.shape[1], *out.shape[3:]) + b[:, None, None, None]


_examples = calls(
    floats((2, 3, 1, 6, 5), (1, 4, 3, 1, 3, 2), (4,), **DENSE),
    floats((5, 4, 1, 6, 5), (3, 2, 2, 1, 2, 2), (2,), **{**DENSE, "groups": 2, "padding": (0, 1, 0, 0, 0, 2)}),
    floats((0, 2, 1, 3, 3), (1, 2, 2, 1, 2, 2), (2,), **DENSE),
)  # fmt: skip


@kernel(
    shape=_shape, reference=_reference, domain=(-2.0, 2.0), parallel=True, scratch=GEMM_SCRATCH + PATCHES,
    rows=lambda x, w, b=None, **attributes: ("x",) if w.shape[0] == 1 else (), raises=False, examples=_examples,
)  # fmt: skip
def correlate(
    x, w, b, out, scratch, piece, pieces, *, strides: Three = (1, 1, 1), padding: Six = (0, 0, 0, 0, 0, 0),
    dilations: Three = (1, 1, 1), groups: Groups = 1,
):  # fmt: skip
    parts, channels, per = w.shape[0], w.shape[1] // groups, w.shape[2]
    kernel, outs = w.shape[3:], out.shape[2:]
    rows, places = per * kernel[0] * kernel[1] * kernel[2], outs[0] * outs[1] * outs[2]
    images = x.reshape(x.shape[0] * groups, per, x.shape[2], x.shape[3], x.shape[4])
    weights, results = w.reshape(parts * groups, channels, rows), out.reshape(x.shape[0] * groups, channels, places)
    seen = array_at(scratch + GEMM_SCRATCH, PATCHES // x.itemsize, x)
    long, most = rows > LONG, SPARE // x.itemsize
    parts_of_sums, errors_of_sums = seen[2 * most : 3 * most], seen[3 * most :]
    depth = SLAB if long else row_block(rows)
    width = SLAB if long else column_block(places, depth, images.shape[0], x.itemsize)
    height = most // SLAB if long else channels
    tiles = -(-places // width)
    items = images.shape[0] * tiles
    for item in range(items * piece // pieces, items * (piece + 1) // pieces):
        at, first = item // tiles, item % tiles * width
        last, group = min(first + width, places), at % groups
        target = results[at, :, first:last]
        matrix = weights[part_of(at // groups, x.shape[0], parts) * groups + group]
        for o in range(channels):
            start = b[group * channels + o]
            row = target[o]
            for i in range(row.size):
                row[i] = start
        for begin in range(0, channels, height):
            sums, factors = target[begin : begin + height], matrix[begin : begin + height]
            lines, columns = sums.shape[0] if long else 0, last - first
            part = parts_of_sums[: lines * columns].reshape(lines, columns)
            errors = errors_of_sums[: lines * columns].reshape(lines, columns)
            errors[:] = 0
            for low in range(0, rows, depth):
                high = min(low + depth, rows)
                im2col(images[at], seen, low, high, first, last, kernel, outs, strides, padding, dilations)
                block = seen[: (high - low) * columns].reshape(high - low, columns)
                gemm(factors[:, low:high], block, part if long else sums, scratch, 0, 1, not long)
                add_part(sums, errors, part)
            add_errors(sums, errors)


@correlate.gradient
def _(d_out, x, w, b, *, strides, padding, dilations, groups):
    where = {"strides": strides, "padding": padding, "dilations": dilations, "groups": groups}
    d_x = ops.correlate_input(d_out, w, x, **where)
    d_w = ops.sum_to(ops.correlate_weights(d_out, x, w, **where), w)
    return d_x, d_w, ops.sum(d_out, axis=(0, 2, 3, 4))
