"""gx.register: ops of scripts and notebooks."""

import numpy as np
import pytest

import graphexec as gx
from graphexec.ir.registry import registry
from graphexec.plugin import elementwise, kernel


@pytest.fixture(autouse=True)
def _only_for_the_test():
    yield
    if "registered" in registry:
        registry.unregister("registered")


def declared(factor, name="registered"):
    def function(x):
        return x * factor

    function.__name__ = name
    return elementwise(reference=lambda x: x * factor)(function)


def in_cell(text, file):
    """What a notebook does: each run of a cell has a file name of its own."""
    names = {}
    exec(compile(text, file, "exec"), names)
    return names["registered"]


CELL = "from graphexec.plugin import elementwise\n@elementwise(reference=lambda x: x)\ndef registered(x):\n    return x\n"


def test_a_registered_op_is_an_op_like_any_other():
    op = declared(2.0)
    assert gx.register(op) is op
    g = gx.Graph("g")
    g.output(gx.ops["registered"](g.input("x", (3,)), name="y"))
    assert registry.get("registered") is op.op
    assert np.array_equal(gx.compile(g)(x=np.ones(3, "float32"))["y"], np.full(3, 2, "float32"))


def test_a_cell_may_run_again():
    gx.register(in_cell(CELL, "<cell 1>"))
    again = gx.register(in_cell(CELL, "<cell 2>"))
    assert registry.get("registered") is again.op


def incomplete(x, out):
    out[:] = x


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (kernel("(n)->(n)", reference=np.abs)(incomplete), "it has no backward rule"),
        (elementwise(lambda x: x, reference=np.abs), "is not a name"),
        (declared(2.0, "softmax"), "exists already"),
        (registry.get("softmax"), "is not a declared op"),
        (np.abs, "is not a declared op"),
    ],
)
def test_an_unsound_op_is_refused_and_nothing_changes(op, message):
    before = {n: registry.get(n) for n in registry.names()}
    with pytest.raises(gx.PluginError, match=message):
        gx.register(op)
    assert {n: registry.get(n) for n in registry.names()} == before


def test_an_unsound_op_does_not_replace_a_sound_one():
    first = gx.register(in_cell(CELL, "<cell 1>"))
    with pytest.raises(gx.PluginError, match="no reference"):
        gx.register(in_cell(CELL.replace("reference=lambda x: x", ""), "<cell 2>"))
    assert registry.get("registered") is first.op


def test_the_op_of_a_file_is_not_replaced(tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text(CELL)
    gx.load_plugin(path)
    with pytest.raises(gx.PluginError, match="exists already"):
        gx.register(in_cell(CELL, "<cell 1>"))
