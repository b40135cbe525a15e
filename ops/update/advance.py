"""Advances a cursor by a number of rows, in place.

    cursor = cursor + by

Shapes: any. Dtype: int64.
"""

from graphexec.plugin import elementwise


@elementwise(
    reference=lambda cursor, *, by=1: cursor + by, outputs=("cursor",), updates=("cursor",), types={"cursor": "int64"},
    differentiable=False, internal=True,
)
def advance(cursor, *, by=1):
    return cursor + by
