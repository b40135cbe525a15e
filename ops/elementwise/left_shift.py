"""Bits moved to the left, element by element.

    out = x * 2**y, without the bits that leave the type

Shapes: broadcast, as in NumPy. Dtypes: integer. A shift by the type's width or more, or by a negative number, gives 0, as in NumPy.
No derivative.
"""

import numpy as np

from graphexec.plugin import elementwise


@elementwise(reference=np.left_shift, domain=(0, 9), kinds="i", differentiable=False, exact=True)
def left_shift(x, y):
    return x << (y if 0 <= y < 64 else 0) if 0 <= y < 64 else 0  # an int32 is shifted as an int64 and stored as its low half
