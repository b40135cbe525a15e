"""gx.register where functions have no file: exec, python -c, a pipe, the prompt, doctest, a notebook, a file that has changed."""

import ast
import doctest
import linecache
import os
import subprocess
import sys

import numpy as np
import pytest

import graphexec as gx
from graphexec.errors import DifferentiationError, PluginError
from graphexec.ir.registry import registry
from graphexec.plugin import elementwise

OP = """\
import numpy as np
import graphexec as gx
from graphexec import math
from graphexec.plugin import elementwise

def shifted(x, by):
    return x - by

@gx.register
@elementwise(reference=lambda x, *, by=0.5: np.exp(x - by) * 3, domain=(-1.0, 1.0))
def typed(x, *, by=0.5):
    return 3 * math.exp(shifted(x, by))

"""
RUN = "print(gx.ops['typed'](np.zeros(2, 'float32'), by=1.0).dtype, gx.ops['typed'](np.zeros(2), by=1.0))\n"
GRADIENT = """\
try:
    print(gx.check_gradient('typed').passed)
except gx.GraphExecError as error:
    print(error)

"""
RULE = """\
@typed.backward
def _(d_out, out):
    return d_out * out

"""
RESULT = f"float32 {np.full(2, 3 / np.e)}\n"


def by_argument(text, folder):
    return run(["-c", text], None, folder)


def by_pipe(text, folder):
    return run(["-"], text, folder)


def at_the_prompt(text, folder):
    return run(["-i", "-q"], text, folder)


def by_exec(text, folder):
    return run(["-c", f"exec({text!r})"], None, folder)


def by_exec_in_a_file(text, folder):
    (folder / "script.py").write_text(f"exec({text!r})", encoding="utf-8")
    return run(["script.py"], None, folder)


def by_exec_of_a_code_object(text, folder):
    (folder / "script.py").write_text(f"exec(compile({text!r}, '<cell>', 'exec'))", encoding="utf-8")
    return run(["script.py"], None, folder)


def run(arguments, text, folder):
    """What Python prints."""
    done = subprocess.run(
        [sys.executable, *arguments], input=text, cwd=folder, env={**os.environ, "PYTHONSTARTUP": ""}, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("way", [by_argument, by_pipe, at_the_prompt, by_exec, by_exec_in_a_file, by_exec_of_a_code_object])
def test_an_op_without_text_runs_and_says_how_to_differentiate_it(way, tmp_path):
    printed = way(OP + RUN + GRADIENT + RULE + GRADIENT + OP.replace("3 *", "6 *") + RUN, tmp_path)
    assert RESULT in printed
    assert "a function without source text cannot be differentiated" in printed
    assert "Give the op a rule with @typed.backward, or put the op into a file" in printed
    assert "True" in printed.partition("put the op into a file")[2]  # with the rule
    assert str(np.full(2, 6 / np.e)) in printed  # the second op has replaced the first


@pytest.fixture
def fresh(registry_kept):
    """The registry is put back, with all that this test registers."""
    return registry_kept


@pytest.mark.parametrize("file", ["<ipython-input-1-0123456789ab>", os.path.join(os.sep, "tmp", "ipykernel_1", "123456.py")])
def test_a_notebook_cell_has_a_derived_gradient(file, fresh, monkeypatch):
    """IPython and Jupyter compile a cell under a name of its own, and give its text to linecache."""
    names = {"__name__": "__main__"}
    for number, factor in enumerate(("3", "6")):
        text, name = OP.replace("3 *", f"{factor} *").replace("* 3", f"* {factor}"), file.replace("1", str(number + 1), 1)
        monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(True), name))
        exec(compile(text, name, "exec"), names)
        np.testing.assert_allclose(gx.ops["typed"](np.zeros(2)), int(factor) * np.exp(-0.5), rtol=1e-15)
        assert gx.check_gradient("typed").passed


def test_an_op_of_a_doctest_has_a_derived_gradient(fresh):
    statements = [ast.get_source_segment(OP, node) for node in ast.parse(OP).body]
    statements[-1] = "@gx.register\n@elementwise(reference=lambda x, *, by=0.5: np.exp(x - by) * 3)\n" + statements[-1]
    text = "\n".join(">>> " + s.replace("\n", "\n... ") for s in [*statements, "gx.check_gradient('typed').passed"]) + "\nTrue\n"
    found = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, "typed", None, 0)
    printed = []
    assert doctest.DocTestRunner(verbose=False).run(found, out=printed.append).failed == 0, "".join(printed)


CHANGED = "from graphexec.plugin import elementwise\n\n@elementwise(reference=lambda x: 2 * x)\ndef typed(x):\n    return x * {}\n"


def loaded(path, text):
    """A module of a text that is not yet registered."""
    path.write_text(text, encoding="utf-8")
    names = {"__name__": "changed"}
    exec(compile(text, str(path), "exec"), names)
    return names["typed"]


@pytest.mark.parametrize(
    "text",
    [CHANGED.format(3), CHANGED.format("x"), CHANGED.format(2).replace("(x)", "(y)"), CHANGED.format(2).replace("x *", "x +")],
)
def test_the_text_of_another_function_is_refused(text, fresh, tmp_path):
    """A changed file, and code under another file's name: the engine would compile that text in place of the function."""
    op = loaded(tmp_path / "changed.py", CHANGED.format(2))
    (tmp_path / "changed.py").write_text(text, encoding="utf-8")
    before = {n: registry.get(n) for n in registry.names()}
    with pytest.raises(PluginError, match="is not that of the function 'typed'") as caught:
        gx.register(op)
    assert f"{tmp_path / 'changed.py'}:3" in str(caught.value)
    assert "Load the file again" in caught.value.todo
    assert {n: registry.get(n) for n in registry.names()} == before


def test_the_text_of_another_rule_is_refused(fresh, tmp_path):
    rule = "\n@typed.backward\ndef _(d_out):\n    return d_out * {}\n"
    op = loaded(tmp_path / "changed.py", CHANGED.format(2) + rule.format(2))
    (tmp_path / "changed.py").write_text(CHANGED.format(2) + rule.format(3), encoding="utf-8")
    with pytest.raises(PluginError, match="is not that of the function '_'"):
        gx.register(op)


def test_the_unchanged_text_is_accepted(fresh, tmp_path):
    gx.register(loaded(tmp_path / "same.py", CHANGED.format(2)))
    assert gx.check_gradient("typed").passed
    np.testing.assert_array_equal(gx.ops["typed"](np.ones(2)), [2.0, 2.0])


def closure(factor):
    def typed(x):
        def inner(y):
            return y * factor

        return inner(x) if factor else typed(x)

    return typed


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_closure_is_its_own_text(factor, fresh):
    assert gx.register(elementwise(reference=lambda x: factor * x)(closure(factor))).op is registry.get("typed")


def test_a_rule_typed_later_is_used(fresh):
    names = {}
    exec(OP, names)
    with pytest.raises(DifferentiationError, match="without source text"):
        gx.check_gradient("typed")
    exec(RULE, names)
    assert gx.check_gradient("typed").passed
