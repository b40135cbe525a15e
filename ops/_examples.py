"""Calls on which ops are tried whose operands must fit one another: ``examples=calls(floats((2, 3)), floats((0, 3), axis=0))``.

Each function here returns a draw: a function of a random generator that returns the operands of a call and, last, its attributes.
Importing an op draws nothing.
"""

import numpy as np

SMALL = 8
"""The listed calls cover sizes up to this one."""


def calls(*draws, sized=None):
    """Examples of an op: a call for each draw, and where larger operands are asked for, one by the draw ``sized(size)``."""

    def examples(rng, size):
        for draw in draws:
            yield draw(rng)
        if sized is not None and size > SMALL:
            yield sized(size)(rng)

    return examples


def floats(*shapes, low=-2.0, high=2.0, **attributes):
    """Floating operands of these shapes."""
    return lambda rng: (*(rng.uniform(low, high, shape) for shape in shapes), attributes)


def integers(*shapes, low=-3, high=4, kind="int64", **attributes):
    """Integer operands of these shapes, from ``low`` to ``high - 1``."""
    return lambda rng: (*(rng.integers(low, high, shape).astype(kind) for shape in shapes), attributes)


def indexed(shape, which, low, high, kind="int64", **attributes):
    """A floating operand, and integers from ``low`` to ``high - 1`` in the shape ``which``."""
    return lambda rng: (rng.uniform(-2, 2, shape), rng.integers(low, high, which).astype(kind), attributes)


def spread(*shapes, **attributes):
    """Floating operands whose elements are far apart, so that the largest one stays the largest nearby."""
    return lambda rng: (*(rng.permutation(int(np.prod(shape))).reshape(shape) / 4 - 1 for shape in shapes), attributes)
