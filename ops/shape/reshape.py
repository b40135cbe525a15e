"""The same elements, in row-major order, under other sizes.

    out = x, read in order
    d_x = d_out, read in order

Shapes: any with as many elements; one size may be -1 (what remains), and a size may be the name of a dimension of x, such as
"batch". Dtypes: any. A view where strides allow it, else a copy.
"""

from graphexec.plugin import ops, resolve_names, view


@view(domain=(-4.0, 4.0), onnx="Reshape")
def reshape(x, *, shape):
    return x.reshape(resolve_names(shape, x.shape, "reshape"))


@reshape.gradient
def _(d_out, x):
    return ops.reshape_like(d_out, x)
