"""Takes a part of a value: from starts to ends by steps, along axes.

    out[..., i, ...] = x[..., start + i step, ...]
    d_x = zeros, with d_out in that part

Shapes: bounds as in NumPy: None is an open one, negative ones count from the end, and all are clipped; a step may be negative.
axes=None means the first axes, steps=None means 1. A named axis keeps a name: `batch-1` for all elements but one. Dtypes: any.
A view: nothing is copied.
"""

import builtins

from graphexec_ops._examples import calls, floats, integers

from graphexec.plugin import Axes, OpError, Size, normalize_axes, ops, view

Bounds = int | tuple[int | None, ...] | None


def _parts(ndim, starts, ends, axes, steps):
    """Returns (axis, start, end, step) for each axis, with bounds as given. *Raises* OpError."""
    lists = [list(v) if isinstance(v, (list, tuple)) else [v] for v in (starts, ends)]
    axes = range(len(lists[0])) if axes is None else [axes] if isinstance(axes, int) else axes
    steps = [1] * len(lists[0]) if steps is None else [steps] if isinstance(steps, int) else steps
    if {len(lists[1]), len(axes), len(steps)} != {len(lists[0])}:
        raise OpError("starts, ends, axes and steps differ in length", op="slice", todo="Give one entry for each axis.")
    if 0 in steps:
        raise OpError("a step is 0", op="slice", todo="Steps are positive or negative.")
    normalize_axes(tuple(axes), ndim, "slice")
    return [(a % ndim, start, end, 1 if step is None else step) for a, start, end, step in zip(axes, *lists, steps, strict=True)]


def _reference(x, *, starts, ends, axes=None, steps=None):
    index = [builtins.slice(None)] * x.ndim
    for axis, start, end, step in _parts(x.ndim, starts, ends, axes, steps):
        index[axis] = builtins.slice(start, end, step)
    return x[tuple(index)]


def _size(whole, start, end, step):
    """Returns the size of the part; it keeps a name if the part grows with the axis."""
    first, last, step = builtins.slice(start, end, step).indices(whole)
    count = len(range(first, last, step))
    low, high = (start, end) if step > 0 else (end, start)
    grows = (low is None or low >= 0) and (high is None or high < 0)
    if not isinstance(whole, Size) or not grows or count == 0:
        return count
    if abs(step) == 1:
        return whole - (int(whole) - count)
    return Size(count, f"{whole.expression}[{'' if start is None else start}:{'' if end is None else end}:{step}]")


_examples = calls(
    floats((5, 4), starts=[1], ends=[4]), floats((5, 4), starts=[1, 0], ends=[-1, 3], axes=[0, -1]),
    floats((7,), starts=[None], ends=[None], steps=[2]), floats((7,), starts=[None], ends=[None], steps=[-1]),
    floats((7, 2), starts=[-2], ends=[0], axes=[0], steps=[-2]), floats((4,), starts=[3], ends=[1]),
    floats((4,), starts=[-9], ends=[9]), floats((0, 3), starts=[0], ends=[2]), floats((1, 3), starts=[0], ends=[1]),
    floats((5, 4, 3), starts=[1, None, 2], ends=[None, -1, None], axes=[0, 1, 2], steps=[2, 1, -2]),
    floats((4,), starts=[2], ends=[-3], steps=[-1]), floats((4,), starts=[9], ends=[None], steps=[-1]),
    integers((5,), starts=[1], ends=[3]), sized=lambda size: floats((size, 3), starts=[-1], ends=[None], steps=[-2]),
)  # fmt: skip


@view(reference=_reference, domain=(-4.0, 4.0), onnx="Slice", examples=_examples)
def slice(x, *, starts: Bounds, ends: Bounds, axes: Axes = None, steps: Bounds = None):
    for axis, start, end, step in _parts(x.ndim, starts, ends, axes, steps):
        whole = x.shape[axis]
        x = x.slice(axis, *builtins.slice(start, end, step).indices(whole))
        x = x._replace(shape=(*x.shape[:axis], _size(whole, start, end, step), *x.shape[axis + 1 :]))
    return x


@slice.gradient
def _(d_out, x, *, starts, ends, axes, steps):
    parts, wholes = _parts(x.ndim, starts, ends, axes, steps), []
    for axis, start, end, step in parts:
        wholes.append(x)
        x = ops.slice(x, starts=start, ends=end, axes=axis, steps=step)
    for (axis, start, end, step), whole in zip(reversed(parts), reversed(wholes), strict=True):
        d_out = ops.unslice(d_out, whole, axis=axis, start=start, end=end, step=step)
    return d_out
