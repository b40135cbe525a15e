"""Calls on which reductions are tried: along all axes, one, the last, several; batch axes, axes of size 1, empty ones."""

from graphexec_ops._examples import calls, floats

_AXES = (
    {}, {"axis": 0}, {"axis": -1}, {"axis": (0, 2)}, {"axis": (-1, 0), "keepdims": True}, {"keepdims": True},
    {"axis": 1, "keepdims": True},
)  # fmt: skip


def reductions(draw, *more, empty=True):
    """Examples with operands by ``draw(shape, **attributes)``, and ``more``; ``empty``: no elements may be reduced."""
    draws = [draw((2, 3, 4), **attributes) for attributes in _AXES]
    draws += [draw((5,)), draw(()), draw((3, 1), axis=1), draw((1, 4), axis=0, keepdims=True), draw((2, 0, 3), axis=0)]
    draws += [draw((33, 17), axis=0)]
    draws += [draw((0,)), draw((2, 0), axis=1), draw((0, 3), axis=0, keepdims=True)] if empty else []
    return calls(*draws, *more, sized=lambda size: draw((size, 3), axis=0))


along_axes = calls(
    floats(()), floats((), axis=0), floats((2, 3), axis=None), floats((2, 3, 4), axis=(0, 2)), floats((2, 3), axis=()),
    floats((2, 3)), floats((4,)), floats((2, 3, 4)), floats((2, 3, 4), axis=0), floats((2, 3, 4), axis=-2), floats((3, 1)),
    floats((0, 3)), floats((2, 0)), floats((2, 33)), sized=lambda size: floats((3, size)),
)  # fmt: skip
"""For an op whose output has the shape of its operand."""
