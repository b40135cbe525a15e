"""Takes the next mini-batch: rows `order[cursor], order[cursor + 1], ...` of a data array.

    out[i] = data[order[cursor + i]]

Shapes: data (rows, ...), order (rows,) int64, cursor () int64, out (batch, ...). Dtypes: any.
"""

from typing import Annotated

import numpy as np

from graphexec.plugin import Range, ShapeError, kernel, prefetch

AHEAD = 8
"""Number of rows to prefetch ahead of the one that is copied."""


def _shape(data, order, cursor, *, batch):
    if data.ndim == 0 or order.ndim != 1 or cursor.ndim != 0:
        raise ShapeError(
            "data, order and cursor do not fit one another",
            todo="Give data with an axis of rows, an order with one axis, and a cursor without axes.",
        )
    return (batch, *data.shape[1:])


def _reference(data, order, cursor, *, batch):
    return np.asarray(data)[np.asarray(order)[int(cursor) : int(cursor) + batch]]


def _examples(rng, size):
    yield rng.uniform(-2, 2, (5, 3)), rng.permutation(5), 1, {"batch": 3}


@kernel(shape=_shape, reference=_reference, kinds="fib", types={"order": "int64", "cursor": "int64"}, differentiable=False,
        internal=True, errors={1: "the batch reaches past the end of the data"}, examples=_examples)  # fmt: skip
def take_batch(data, order, cursor, out, *, batch: Annotated[int, Range(0)]):
    first = cursor.item()
    if first < 0 or first > order.size - batch:  # a sum could wrap
        return 1
    count = data.size // max(data.shape[0], 1)
    rows, taken = data.reshape(data.shape[0], count), out.reshape(batch, count)
    for i in range(batch):
        if first + i + AHEAD < order.size:  # the last rows prefetch the first ones of the next batch
            prefetch(rows, order[first + i + AHEAD])
        source = order[first + i]
        if source < 0 or source >= data.shape[0]:
            return 1
        for j in range(count):
            taken[i, j] = rows[source, j]
    return 0
