"""Product along axes.

    out = Π x
    d_x = d_out × the product of the other elements

Shapes and dtypes: as sum. No elements give 1. Factors are multiplied pairwise in blocks, in an order that the shape
alone determines. Deltas of every order are products of elements, without a division, and so are correct at elements
that are 0; the first ones also at infinite elements.
"""

import numpy as np
from graphexec_ops._examples import floats, integers
from graphexec_ops.reduce._examples import reductions

from graphexec.plugin import ops, reduced_axes, reduction


def _factors(shape, **attributes):
    return floats(shape, low=0.6, high=1.4, **attributes)


def _with_zeros(*zeros, **attributes):
    def draw(rng):
        x = rng.uniform(0.5, 2, (2, 3))
        for at in zeros:
            x[at] = 0
        return x, attributes

    return draw


_examples = reductions(
    _factors, integers((2, 3), axis=0), _with_zeros((0, 0)), _with_zeros((0, 0), (1, 1), (1, 2), axis=1),
    _with_zeros((0, 0), (1, 1), (1, 2), axis=0, keepdims=True),
)  # fmt: skip


@reduction(identity=1.0, reference=np.prod, domain=(-4.0, 4.0), kinds="fib", widens=True, onnx="ReduceProd", examples=_examples)
def prod(accumulated, x):
    return accumulated * x


def _others(x, axis):
    """The product of the other elements along an axis: of those before, and of those after each one."""
    nothing = ops.zeros_like(x)
    before = ops.exclusive_scan(x, nothing, axis=axis, initial=1.0)
    return before * ops.exclusive_scan(x, nothing, axis=axis, initial=1.0, reverse=True)


@prod.gradient
def _(d_out, x, *, axis, keepdims):  # one axis after the other, and without a division, so that it is right at 0 and inf
    axes = reduced_axes(axis, x.ndim, "prod")
    d, partial = d_out if keepdims or not axes else ops.expand_dims(d_out, axis=axes), [x]
    for a in axes[:-1]:
        partial.append(ops.prod(partial[-1], axis=a, keepdims=True))
    for a, values in zip(reversed(axes), reversed(partial[: len(axes)]), strict=True):
        d = d * _others(values, a)
    return d
