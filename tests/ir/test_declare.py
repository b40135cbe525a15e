"""Declarations as a type checker and as Python see them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from graphexec.errors import PluginError
from graphexec.ir.declare import Declaration
from graphexec.ir.decorators import KernelOptions, ViewOptions
from graphexec.plugin import GemmTrait, elementwise, kernel, reduction, view

ROOT = Path(__file__).parents[2]

PLUGIN = '''
from typing import Any

import numpy as np
from graphexec.plugin import GemmTrait, composite, elementwise, kernel, ops, reduction, shape_value, view


@elementwise(reference=lambda x, *, beta=1.0: x * beta, domain=(-1.0, 1.0), commutative=False)
def scaled(x: float, *, beta: float = 1.0) -> float:
    return beta * x


@scaled.backward
def _(d_out: float, *, beta: float) -> float:
    return beta * d_out


@composite
def twice(x: Any, *, axis: int = -1) -> Any:
    return ops["plugin_op"](ops.concat(ops.softmax(x, axis=axis), [1.0], axis=0, name="both"))


@kernel("(m,k),(k,n)->(m,n)", reference=np.matmul, gemm=GemmTrait(), parallel=True, differentiable=False)
def product(a: np.ndarray, b: np.ndarray, out: np.ndarray, piece: int, pieces: int) -> None:
    out[:] = a @ b


reveal_type(scaled)
reveal_type(scaled.gradient)
reveal_type(product)
'''
WRONG = {
    "elementwise(refrence=np.abs)": "refrence",
    "kernel('(n)->(n)', shape_only=3)": "shape_only",
    "view(shape_only=3)": "shape_only",
    "reduction(shape_only=('like',))": "shape_only",
    "kernel('(n)->(n)', shared=True)": "shared",
    "elementwise(neutral=0.0)": "neutral",
    "shape_value(differentiable=True)": "differentiable",
    "scaled.made_of": "made_of",
    "scaled.backwards": "backwards",
    "ops.sofmax(1.0)": "sofmax",
    "ops.softmax(1.0, axsi=0)": "axsi",
    "ops.softmax(1.0, axis='last')": "axis",
    "ops.matmul(1.0)": "matmul",
}


def test_a_type_checker_knows_the_options(tmp_path):
    """One run of mypy: the sound plugin passes, and each wrong line is reported on its own line."""
    path = tmp_path / "typed_plugin.py"
    lines = [*PLUGIN.splitlines(), *WRONG, "from graphexec.plugin import unfold", ""]
    path.write_text("\n".join(lines))
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache"), str(path)]
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    reported = {}
    for line in done.stdout.splitlines():
        found = re.match(rf".*{path.name}:(\d+): (.*)", line)
        if found:
            reported.setdefault(int(found[1]), []).append(found[2])
    first = len(PLUGIN.splitlines()) + 1
    notes = [text for number, texts in sorted(reported.items()) if number < first for text in texts]
    assert all("note: Revealed type" in text for text in notes), done.stdout + done.stderr
    assert len(notes) == 3
    assert all("Declaration" in text for text in notes)
    for number, (line, word) in enumerate([*WRONG.items(), ("import unfold", "unfold")], first):
        assert word in " ".join(reported.get(number, [])), f"{line}: {done.stdout}"


def test_a_decorator_takes_a_function_bare_or_with_options():
    assert isinstance(elementwise(_square, reference=np.square), Declaration)
    assert isinstance(elementwise(reference=np.square)(_square), Declaration)
    assert isinstance(elementwise(_square), Declaration)
    assert isinstance(view(lambda x: x), Declaration)


def _square(x):
    return x * x


def test_each_option_is_in_the_docstring():
    for decorator, options in ((kernel, KernelOptions), (view, ViewOptions)):
        for option in options.__annotations__:
            assert f"``{option}``" in decorator.__doc__, option


def test_a_message_names_op_place_and_new_name():
    with pytest.raises(PluginError, match=r"op '_square', .*test_declare\.py:\d+: the option waits= is now called") as caught:
        view(waits=True)(_square)
    assert caught.value.todo == "Write ordered_after= in place of waits=."


def test_an_old_name_that_means_nothing_here_is_an_unknown_option():
    with pytest.raises(PluginError, match="unknown option 'waits'"):
        elementwise(waits=True)(_square)


@pytest.mark.parametrize("name", ["made_of_nothing", "op_", "__wrapped__"])
def test_a_declaration_has_no_other_attributes(name):
    assert not hasattr(elementwise(_square), name)


def test_sound_traits_are_kept():
    def product(c, a, b, out):
        pass

    trait = GemmTrait(a=1, b=2, accumulate=0)
    op = kernel("(m,n),(m,k),(k,n)->(m,n)", gemm=trait, updates=("c",), differentiable=False)(product).op
    assert op.gemm is trait
    assert elementwise(lambda x, y: x * y, commutative=True, neutral={0: 1.0, 1: 1.0}).op.neutral == {0: 1.0, 1: 1.0}


def test_a_view_keeps_its_kinds():
    assert view(_square).op.kinds == "fib"
    assert view(kinds="f")(_square).op.kinds == "f"


def test_a_reduction_to_a_shape_has_a_second_operand():
    op = reduction(lambda accumulated, x: accumulated + x, shape_only=True, reference=np.sum).op
    assert (op.inputs, op.shape_only, dict(op.attributes)) == (("x", "like"), {"like"}, {})


def test_rules_are_no_part_of_a_run():
    """Deriving a rule writes nothing on the op, and is done once."""
    from graphexec.autodiff.scalar import backward_of

    op = elementwise(_square, reference=np.square).op
    derived = backward_of(op)
    assert derived is not None
    assert derived is backward_of(op)
    assert op.backward_op is None
