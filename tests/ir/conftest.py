"""Functions written down in a line or two, for tests of what is found in them."""

import pytest

from graphexec.ir.function import Function, Leaf, Node
from graphexec.ir.registry import registry


def _function(*calls, leaves=("p", "d")):
    names = [*leaves, *(name for name, _, _ in calls)]
    number = {name: k for k, name in enumerate(names)}
    nodes = [Node(n, registry.get(op), tuple(number[x] for x in xs), (number[n],), {}) for n, op, xs in calls]
    return Function("f", [Leaf(x, "parameter", number[x], (2, 2), "float32") for x in leaves], nodes, names, {}), number


@pytest.fixture
def function():
    """``function(("a", "add", "pd"), ...)``: nodes by name, op and operands, each of one output; and numbers by name."""
    return _function
