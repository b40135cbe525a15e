"""Operands on which ops are tried that gathering and slicing need for their gradients."""

from graphexec_ops._examples import calls, floats


def _added_at(like, which, axis):
    """Deltas, their indices along an axis of ``like``, and that."""
    axis %= len(like)
    d, n = (*like[:axis], *which, *like[axis + 1 :]), like[axis]
    return lambda rng: (rng.uniform(-2, 2, d), rng.integers(-n, n, which), rng.uniform(-2, 2, like), {"axis": axis})


scattered = calls(
    _added_at((5, 3), (4,), 0), _added_at((5, 3), (2, 3), 0), _added_at((5, 3), (), 0), _added_at((2, 4, 3), (6,), 1),
    _added_at((2, 4), (9,), -1), _added_at((5, 3), (0,), 0), _added_at((1, 3), (4,), 0), _added_at((5, 0), (4,), 0),
    _added_at((3, 4, 2), (90,), 1), sized=lambda size: _added_at((5, 3), (size,), 0),
)  # fmt: skip
"""Many deltas for one element, and none."""

cut = calls(
    floats((5, 3), (2, 3)), floats((2, 5), (2, 2), axis=-1), floats((3,), (0,)), floats((3,), (3,)), floats((0, 3), (0, 1), axis=1),
    sized=lambda size: floats((size, 3), (size - 1, 3)),
)  # fmt: skip
"""An operand, and one of its shape but for a shorter axis."""
