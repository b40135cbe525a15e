"""Calls that copy all arrays, to compare with calls that borrow them."""

import graphexec as gx
from graphexec.runtime import borrowing


def copied(graph, monkeypatch, calls, **options):
    """What ``calls(exe)`` returns for an executable that copies."""
    with monkeypatch.context() as patch:
        patch.setattr(borrowing, "MIN_BYTES", 2**62)
        return calls(gx.compile(graph, **options))


def same(found, expected):
    """The same names in their order, types, shapes and bits."""
    assert list(found) == list(expected)
    for name in expected:
        assert (found[name].dtype, found[name].shape) == (expected[name].dtype, expected[name].shape)
        assert found[name].tobytes() == expected[name].tobytes()
