"""Sum of any number of operands, from left to right, such as the deltas of a value with several readers.

    out = terms[0] + terms[1] + ...
    d_terms[i] = d_out

Shapes: broadcast, as in NumPy. Dtypes: floating and integer, of one kind. The order is fixed, so runs repeat bit for bit.
"""

import functools

import numpy as np

from graphexec.plugin import elementwise


@elementwise(
    reference=lambda *terms: functools.reduce(np.add, terms), domain=(-4.0, 4.0), kinds="fi", exact=True, onnx="Sum",
    sum_of_many=True,
)  # fmt: skip
def add_n(*terms):
    out = terms[0]
    for term in terms[1:]:
        out = out + term
    return out


@add_n.gradient
def _(d_out, *terms):
    return (d_out,) * len(terms)
