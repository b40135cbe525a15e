"""Shared code of the ops that slide a window over space: sizes, checks and patches.

Internal ops work on three spatial axes; public ops take one to three and insert axes of size 1 before them. `strides` and
`dilations` have an entry for each axis; `padding` has one for the start of each axis, then one for the end of each.
"""

import math
from typing import Annotated, Literal

import numpy as np

from graphexec.plugin import Range, ShapeError, shape_text

AXES = 3


LARGEST = 2**31 - 1
"""The largest stride, dilation, padding or window: products of two fit into 64 bits, so addresses never wrap."""

PerAxis = Annotated[int | tuple[int, ...], Range(1, LARGEST)]
Padding = Annotated[int | tuple[int, ...], Range(0, LARGEST)] | Literal["valid", "same"]
Three = Annotated[tuple[int, int, int], Range(1, LARGEST)]
Six = Annotated[tuple[int, int, int, int, int, int], Range(0, LARGEST)]
Groups = Annotated[int, Range(1)]


def per_axis(value, count, name, op):
    """Returns one number for each of `count` axes, from a number or a list. *Raises* ShapeError."""
    numbers = (value,) * count if isinstance(value, int) else value
    if len(numbers) != count:
        raise ShapeError(
            f"{name} is {value!r}", op=op, facts=[f"{count} spatial axes"],
            todo="Give an integer, or one for each spatial axis.",
        )  # fmt: skip
    return numbers


def geometry(op, x, kernel, strides, padding, dilations):
    """Returns strides, padding and dilations for three axes, from the user's values for the spatial axes of x."""
    count = x.ndim - 2
    strides, dilations = per_axis(strides, count, "strides", op), per_axis(dilations, count, "dilations", op)
    padding = _padding(op, x.shape[2:], kernel, strides, padding, dilations)
    lead = AXES - count
    return {
        "strides": (1,) * lead + strides,
        "padding": (0,) * lead + padding[:count] + (0,) * lead + padding[count:],
        "dilations": (1,) * lead + dilations,
    }


def _padding(op, sizes, kernel, strides, padding, dilations):
    """Returns the padding before each axis, then after each."""
    count = len(sizes)
    if padding == "valid":
        return (0,) * (2 * count)
    if padding == "same":
        totals = [_same(op, *facts) for facts in zip(sizes, kernel, strides, dilations, strict=True)]
        return tuple(t // 2 for t in totals) + tuple(t - t // 2 for t in totals)
    if not isinstance(padding, int) and len(padding) == 2 * count:
        return padding
    return per_axis(padding, count, "padding", op) * 2


def _same(op, size, kernel, stride, dilation):
    """Returns the total padding that gives ceil(size / stride) windows. *Raises* ShapeError for sizes with names."""
    unknown = [n for n in ([kernel] if stride == 1 else [kernel, size]) if type(n) is not int]
    if unknown:
        raise ShapeError(
            f'padding="same" with stride {stride} depends on the size of axis {unknown[0]}', op=op,
            todo="Declare the axis as a number, or give the padding in numbers.",
        )  # fmt: skip
    extent = dilation * (kernel - 1) + 1
    return extent - 1 if stride == 1 else max((-(-size // stride) - 1) * stride + extent - size, 0)


def to_three(ops, x, at):
    """Inserts axes of size 1 before the spatial axes of x, which start at `at`."""
    lead = AXES + at - x.ndim
    return ops.expand_dims(x, axis=tuple(range(at, at + lead))) if lead else x


def from_three(ops, out, x):
    """Drops the axes that `to_three` added to x."""
    lead = AXES + 2 - x.ndim
    return ops.squeeze(out, axis=tuple(range(2, 2 + lead))) if lead else out


def check_rank(op, x, count=None):
    """*Raises* ShapeError unless x has one to three spatial axes, or `count`, behind its batch and channel axes."""
    if not 3 <= x.ndim <= 2 + AXES or count not in (None, x.ndim - 2):
        spatial = f"1 to {AXES}" if count is None else count
        raise ShapeError(
            f"x has {x.ndim} axes", op=op, facts=[f"x {shape_text(x.shape)}"],
            todo=f"x is (batch, channels, {spatial} spatial axes), or one image without the batch axis.",
        )  # fmt: skip


def batch_of(ops, x, count):
    """Returns x with a batch axis, which one image of `count` spatial axes lacks."""
    return ops.expand_dims(x, axis=0) if x.ndim == count + 1 else x


def without_batch(ops, out, x, count):
    """Drops the batch axis that `batch_of` gave to x."""
    return ops.squeeze(out, axis=0) if x.ndim == count + 1 else out


def pooled_axes(x, kernel):
    """Returns the number of spatial axes to pool: the length of the kernel; for a number, all axes of x but the first two."""
    return max(x.ndim - 2, 1) if isinstance(kernel, int) else len(kernel)


def check_axes(op, **operands):
    """*Raises* ShapeError unless each operand, given as (shape, number of axes), has as many axes as it must."""
    for name, (shape, count) in operands.items():
        if len(shape) != count:
            raise ShapeError(f"{name!r} has {len(shape)} axes, not {count}", op=op, todo="Use conv, max_pool or average_pool.")


def out_sizes(op, sizes, kernel, strides, padding, dilations):
    """Returns the number of windows along each axis; a named size keeps its name where possible. *Raises* ShapeError."""
    found = []
    for axis in range(AXES):
        size, extent = sizes[axis], dilations[axis] * (kernel[axis] - 1) + 1
        more = padding[axis] + padding[AXES + axis] - extent
        if int(size) + more < 0:
            raise ShapeError(
                f"the window is larger than the padded input along spatial axis {axis - AXES}", op=op,
                facts=[f"input {size} and padding {padding[axis]} + {padding[AXES + axis]}, window {extent}"],
                todo="Use a smaller kernel or dilation, or more padding.",
            )  # fmt: skip
        windows = size + (more + 1) if more >= -1 else size - (-more - 1)
        found.append(windows if strides[axis] == 1 else (size + more if more >= 0 else size - -more) // strides[axis] + 1)
    return tuple(found)


def windows(x, kernel, strides, padding, dilations, fill=0):
    """Returns all windows of an array, for references: (batch, channels, kernel..., windows...)."""
    pads = [(0, 0), (0, 0), *zip(padding[:AXES], padding[AXES:], strict=True)]
    x = np.pad(x, pads, constant_values=fill)
    outs = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True)]
    lead, moves = x.strides[:2], x.strides[2:]
    steps = [m * d for m, d in zip(moves, dilations, strict=True)] + [m * s for m, s in zip(moves, strides, strict=True)]
    return np.lib.stride_tricks.as_strided(x, (*x.shape[:2], *kernel, *outs), (*lead, *steps), writeable=False)


def unwindows(patches, sizes, strides, padding, dilations):
    """Adds windows back to their places, for references: the transpose of `windows`."""
    kernel, outs = patches.shape[2:5], patches.shape[5:]
    whole = [n + a + b for n, a, b in zip(sizes, padding[:AXES], padding[AXES:], strict=True)]
    x = np.zeros((*patches.shape[:2], *whole), patches.dtype)
    for at in np.ndindex(*kernel):
        index = [slice(k * d, k * d + s * (n - 1) + 1, s) for k, d, s, n in zip(at, dilations, strides, outs, strict=True)]
        x[(..., *index)] += patches[(slice(None), slice(None), *at)]
    return x[(..., *(slice(a, a + n) for a, n in zip(padding, sizes, strict=False)))]


def check_weights(op, channels, w, groups, b=None):
    """*Raises* ShapeError unless weights (parts, out, channels / groups, kernel...) and bias fit."""
    facts = [f"{channels} input channels, {w[1]} output channels, groups={groups}"]
    if w[0] == 0:
        raise ShapeError("there are no weights", op=op, facts=[f"w {shape_text(w)}"], todo="Axis 0 of w must not be empty.")
    if int(channels) % groups or int(w[1]) % groups:
        raise ShapeError("channels do not fall into equal groups", op=op, facts=facts, todo="groups must divide both.")
    if int(channels) // groups != int(w[2]):
        raise ShapeError(
            f"the weights are for {int(w[2])} channels", op=op, facts=facts,
            todo=f"w must be (out, {int(channels) // groups}, kernel...).",
        )  # fmt: skip
    if b is not None and b != w[1:2]:
        raise ShapeError("there must be one bias for each output channel", op=op, facts=facts, todo=f"b must be ({int(w[1])},).")


def check_deltas(op, d, w, x, groups, strides, padding, dilations):
    """*Raises* ShapeError unless deltas have the shape of the correlation of x and w."""
    check_weights(op, x[1], w, groups)
    expected = (x[0], w[1], *out_sizes(op, x[2:], w[3:], strides, padding, dilations))
    if d != expected:
        raise ShapeError(f"the deltas are {shape_text(d)}", op=op, todo=f"They must be {shape_text(expected)}.")


def part_borders(count, parts):
    """Returns the borders between the parts of a batch."""
    return [count * p // parts for p in range(parts + 1)]


def weights_of(w, count, groups):
    """Returns the weights of each image, for references: (batch, groups, out / groups, channels / groups, kernel...)."""
    borders = part_borders(count, w.shape[0])
    each = np.repeat(w, np.diff(borders), axis=0)
    return each.reshape(count, groups, w.shape[1] // groups, *w.shape[2:])


def pool_geometry(op, x, kernel, strides, padding, dilations):
    """Returns size, strides, padding and dilations for three axes, from the user's values for pooling the spatial axes of x."""
    check_rank(op, x, None if isinstance(kernel, int) else len(kernel))
    kernel = per_axis(kernel, x.ndim - 2, "kernel", op)
    where = geometry(op, x, kernel, kernel if strides is None else strides, padding, dilations)
    return {"size": (1,) * (AXES + 2 - x.ndim) + kernel, **where}


def check_pool(op, size, padding, dilations):
    """*Raises* ShapeError if a window could cover nothing but padding."""
    for axis in range(AXES):
        extent = dilations[axis] * (size[axis] - 1) + 1
        if max(padding[axis], padding[AXES + axis]) >= extent:
            raise ShapeError(
                "a window could see nothing but padding", op=op,
                facts=[f"along spatial axis {axis - AXES} the padding is {padding[axis]} and {padding[AXES + axis]}, "
                       f"the window {extent}"],
                todo="Use less padding than the window is wide.",
            )  # fmt: skip


def check_windows(op, given, x, size, strides, padding, dilations):
    """*Raises* ShapeError unless each operand has one element per window."""
    expected = (*x[:2], *out_sizes(op, x[2:], size, strides, padding, dilations))
    for shape in given:
        if shape != expected:
            raise ShapeError(
                "operands do not have one element for each window", op=op, facts=[f"shape {shape_text(shape)}"],
                todo=f"They must be {shape_text(expected)}.",
            )  # fmt: skip


def in_windows(x, size, strides, padding, dilations, fill=0):
    """Returns the elements of each window along a new last axis, for references."""
    seen = windows(x, size, strides, padding, dilations, fill)
    return np.moveaxis(seen.reshape(*x.shape[:2], math.prod(size), *seen.shape[5:]), 2, -1)
