"""Several functions in one scalar function: their rare paths, lists and names do not collide."""

import itertools

import numpy as np
import pytest

import graphexec as gx
from graphexec import math
from graphexec.ir.registry import registry
from graphexec.plugin import elementwise

NAMES = ("sin", "cos", "tan", "exp", "log", "pow", "tanh", "expm1", "log1p")


def _numpy(name, x):
    return np.power(x, 1.5) if name == "pow" else getattr(np, name)(x)


@pytest.mark.parametrize(("first", "second"), [p for p in itertools.combinations(NAMES, 2) if {"sin", "cos", "tan", "pow"} & {*p}])
def test_two_functions(first, second, tmp_path):
    """The op of a file, so that its gradient is derived as well."""
    calls = {n: "math.pow(x, 1.5)" if n == "pow" else f"math.{n}(x)" for n in NAMES}
    source = f"""
import numpy as np
from graphexec import math
from graphexec.plugin import elementwise

@elementwise(reference=lambda x: x, domain=(0.5, 1.5))
def {first}_{second}(x):
    return {calls[first]} * {calls[second]}
"""
    path = tmp_path / f"{first}_{second}.py"
    path.write_text(source)
    (name,) = gx.load_plugin(path)
    try:
        x = np.array([0.5, 1.0, 1.25, 7.0, 1e3])
        expected = _numpy(first, x[:4]) * _numpy(second, x[:4])
        np.testing.assert_allclose(getattr(gx.ops, name)(x)[:4], expected, rtol=1e-13)
        np.testing.assert_allclose(getattr(gx.ops, name)(x.astype("float32"))[:4], expected, rtol=2e-5)
    finally:
        registry.unregister(name)


def test_all_functions_at_once():
    @elementwise(reference=lambda x: sum(_numpy(n, x) for n in NAMES), domain=(0.5, 1.5))
    def all_of_them(x):
        return (
            math.sin(x) + math.cos(x) + math.tan(x) + math.exp(x) + math.log(x) + math.pow(x, 1.5) + math.tanh(x)
            + math.expm1(x) + math.log1p(x)
        )  # fmt: skip

    x = np.array([0.5, 1.0, 1.25])
    np.testing.assert_allclose(all_of_them(x), all_of_them.op.reference(x), rtol=1e-13)
    assert gx.check_gradient(all_of_them).passed
