"""Inputs may have any name: keywords of Python, names of parameters."""

import numpy as np
import pytest

import graphexec as gx

NAMES = ["lambda", "class", "self", "None", "inputs", "named", "a b", "ü"]


@pytest.mark.parametrize("name", NAMES)
def test_inputs_may_have_any_name(name, tmp_path):
    """Python's keywords, and the names of the method's own parameters."""
    x = np.ones((2, 3), "float32")

    def built():
        g = gx.Graph("g")
        g.output(gx.ops.mean(gx.ops.linear(g.input(name, ("b", 3)), g.parameter("w", (2, 3), init="ones")), name="loss"))
        return g

    g = built()
    exe = gx.compile(g, loss="loss", optimizer=gx.SGD(lr=0.1), threads=1)
    for call in (exe, exe.gradients, exe.step):
        call({name: x})
        call(**{name: x})
    assert exe({name: x})["loss"] == exe(**{name: x})["loss"] == exe()["loss"]
    exe.fit({name: x})
    g.save(tmp_path / "g.yaml")
    again = gx.compile(gx.load(tmp_path / "g.yaml"), threads=1)
    assert again({name: x})["loss"] == 3.0


def test_inputs_without_a_name_are_refused():
    g = gx.Graph("g")
    g.output(gx.ops.sum(g.input("x", (3,)), name="loss"))
    exe = gx.compile(g, threads=1)
    with pytest.raises(gx.DataError, match=r"without its name: ndarray\n  Call exe\(x=array\)"):
        exe(np.ones(3))
    with pytest.raises(gx.DataError, match="input 'x' is given twice"):
        exe({"x": np.ones(3)}, x=np.ones(3))
