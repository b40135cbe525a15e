"""Bits moved to the right, element by element; the sign fills in.

    out = floor(x / 2**y)

Shapes: broadcast, as in NumPy. Dtypes: integer. A shift by the type's width or more, or by a negative number, gives 0 or, of a
negative x, -1, as in NumPy. No derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.right_shift, domain=(0, 9), kinds="i", differentiable=False, exact=True)
def right_shift(x, y):
    return x >> (y if 0 <= y < 64 else 63)
