"""What a user reads about a function that Numba does not compile: their own line, the cause, and advice that applies."""

import importlib.util

import numpy as np
import pytest

import graphexec as gx
from graphexec.errors import PluginError
from graphexec.ir.registry import registry

HEAD = """
import json
import numpy as np
from graphexec import math
from graphexec.plugin import elementwise, kernel, reduction

class Thing:
    pass

THING, STATE, TABLE, GENERATOR = Thing(), [1.0, 2.0], {"a": 1.0}, np.random.default_rng(0)

def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)

def there(n):
    return back_again(n)

def back_again(n):
    return there(n)

def helper(v):
    return v + json.dumps(v)

"""

KERNEL = "@kernel('(n)->(n)', reference=lambda x: x, differentiable=False)\ndef {name}(x, out):\n{body}\n"
ELEMENTWISE = "@elementwise(reference=lambda x: x, domain=(-1, 1), differentiable=False)\ndef {name}(x):\n{body}\n"
BACKWARD = ELEMENTWISE.replace(", differentiable=False", "").format(name="{name}", body="    return x") + (
    "@{name}.backward\ndef _(d_out, x):\n{body}\n"
)
BACKWARD_KERNEL = KERNEL.replace(", differentiable=False", "").format(name="{name}", body="    out[:] = x") + (
    "@{name}.backward\ndef _(d_out, d_x):\n{body}\n"
)
REDUCTION = "@reduction(identity=0.0, reference=np.sum, domain=(0, 1), differentiable=False)\ndef {name}(a, x):\n{body}\n"
ATTRIBUTE = ELEMENTWISE.replace("lambda x:", "lambda x, *, how='a':").replace("(x):", "(x, *, how='a'):")

LOOPS, TEXT, HOIST = "Use numbers, arrays, loops", "Text can only be an attribute", "top level of the file"

BROKEN = [  # name, declaration, body with the wrong line marked, cause, advice
    ("except_as", KERNEL, "try:\n    out[0] = x[0]\nexcept ValueError as error:  # here\n    out[0] = 0.0",
     "`except ... as name`", "Leave out"),
    ("except_type", KERNEL, "try:\n    out[0] = x[0]\nexcept ValueError:  # here\n    out[0] = 0.0",
     "`except` of a certain type", "Exception:"),
    ("with_file", KERNEL, "with open('a') as f:  # here\n    out[0] = 1.0", "`with` is not compiled", "a kernel only computes"),
    ("with_lock", KERNEL, "with THING:  # here\n    out[0] = 1.0", "`with` is not compiled", "a kernel only computes"),
    ("inner_class", KERNEL, "class A:  # here\n    pass\nout[0] = 1.0", "a class is defined in the function", HOIST),
    ("inner_import", KERNEL, "import os  # here\nout[0] = 1.0", "a module is imported in the function", HOIST),
    ("store_global", KERNEL, "global THING\nTHING = 3  # here\nout[0] = 1.0", "a global is assigned to", HOIST),
    ("f_string", KERNEL, "print(f'{x[0]:.3f}')  # here\nout[0] = x[0]", "a format in an f-string", "is fixed"),
    ("mixed_dict", KERNEL, "d = {'a': x, 1: 2}  # here\nout[0] = 1.0",
     "there is no setitem(DictType[text,", "all keys have one type"),
    ("untyped", KERNEL, "out[0] = x[0] * THING  # here", "the global 'THING' is of type", "as an attribute"),
    ("undefined", KERNEL, "out[0] = x[0] * missing  # here", "the name 'missing' is not defined", "Define or import it"),
    ("other_module", KERNEL, "json.dumps(1)  # here\nout[0] = 1.0", "does not know the function json.dumps", "graphexec.math"),
    ("no_such_math", KERNEL, "out[0] = math.nothing(x[0])  # here", "no attribute 'nothing'", LOOPS),
    ("no_such_numpy", KERNEL, "out[:] = np.gradient(x)  # here", "does not know numpy.gradient", "@composite"),
    ("no_attribute", KERNEL, "out[:] = x.foo  # here", "array(float32, 1d, C) has no attribute 'foo'", LOOPS),
    ("add_text", KERNEL, "out[0] = x[0] + 'a'  # here", "there is no add(float32, 'a')", TEXT),
    ("store_text", KERNEL, "out[0] = 'a'  # here", "there is no setitem(", TEXT),
    ("keyword", KERNEL, "out[0] = np.sum(x, where=True)  # here", "unexpected keyword argument 'where'", LOOPS),
    ("generator", KERNEL, "yield 1  # here", "contains `yield`", "nothing, or an integer"),
    ("generated", KERNEL, "out[0] = sum(v for v in x)  # here", "a generator expression", "in brackets"),
    ("two_types", KERNEL, "a = 1\nif x[0] > 0:\n    a = 'text'\nout[0] = a  # here",
     "variable 'a' is 1 on one path and 'text'", "one type"),
    ("gives_array", KERNEL, "return out  # here", "the function returns array(float32, 1d, C)", "nothing, or an integer"),
    ("gives_float", KERNEL, "return 1.5  # here", "the function returns float", "nothing, or an integer"),
    ("gives_two", KERNEL, "return 1, 2  # here", "the function returns int64, int64", "nothing, or an integer"),
    ("scalar_try", ELEMENTWISE, "try:  # here\n    return x\nexcept ValueError as e:\n    return 0.0",
     "cannot catch exceptions", "declare the op by @kernel"),
    ("scalar_text", ELEMENTWISE, "return x + 'a'  # here", "there is no add(float32, 'a')", TEXT),
    ("scalar_gives_text", ELEMENTWISE, "return 'a'  # here", "the function returns 'a'", "returns a number"),
    ("scalar_f_string", ELEMENTWISE, "return float(f'{x}')  # here", "text is converted to a number", TEXT),
    ("scalar_nothing", ELEMENTWISE, "x + 1", "the function returns nothing", "returns a number"),
    ("scalar_array", ELEMENTWISE, "return np.array([x])  # here", "the function returns array(float32", "returns a number"),
    ("scalar_index", ELEMENTWISE, "return x[0]  # here", "there is no getitem(float32, 0)", "declare the op by @kernel"),
    ("scalar_complex", ELEMENTWISE, "return x * 1j  # here", "the function returns complex", "returns a number"),
    ("scalar_undefined", ELEMENTWISE, "return missing(x)  # here", "the name 'missing' is not defined", "Define or import it"),
    ("recursion", KERNEL, "out[0] = factorial(3)", "the function 'factorial' calls itself", "as a loop"),
    ("circle", KERNEL, "out[0] = there(3)", "call one another in a circle", "as a loop"),
    ("global_list", KERNEL, "out[0] = STATE[0]  # here", "the global 'STATE' is a list", "a tuple, or an array"),
    ("append", KERNEL, "STATE.append(1.0)  # here\nout[0] = 1.0", "the global 'STATE' is a list", "a tuple, or an array"),
    ("global_dict", KERNEL, "out[0] = TABLE['a']  # here", "the global 'TABLE' is of type dict", "as an attribute"),
    ("random", KERNEL, "out[0] = GENERATOR.normal()  # here", "a generator of random numbers", "as an operand"),
    ("scalar_random", ELEMENTWISE, "return x + GENERATOR.normal()  # here", "a generator of random numbers", "as an operand"),
    ("new_generator", KERNEL, "out[0] = np.random.default_rng(0).normal()  # here", "does not know the function", "graphexec.math"),
    ("object", KERNEL, "out[0] = THING.value  # here", "the global 'THING' is of type", "as an attribute"),
    ("percent", KERNEL, "print('%f' % x[0])  # here\nout[0] = 1.0", "there is no mod('%f', float32)", TEXT),
    ("format", KERNEL, "print('{}'.format(x[0]))  # here\nout[0] = 1.0", "'{}' has no attribute 'format'", TEXT),
    ("arguments", KERNEL, "out[0] = helper(x[0], 1)  # here", "too many positional arguments", "that it takes"),
    ("mixed_set", KERNEL, "s = {1, 'a'}  # here\nout[0] = 1.0", "it stops with KeyError", LOOPS),
    ("deleted", KERNEL, "y = x[0]\ndel y  # here\nout[0] = y", "the deleted variable 'y' is used", "Leave out `del`"),
    ("shape", KERNEL, "x.shape = (3, 1)  # here\nout[0] = 1.0", "array(float32, 1d, C).shape cannot be assigned", "Reshape"),
    ("walrus", KERNEL, "if (y := x[0]) > 'a':  # here\n    out[0] = y", "the type of a result cannot be determined", "numbers"),
    ("match", KERNEL, "match x[0]:  # here\n    case 0.0:\n        out[0] = 1.0", "`match` compares numbers", "`elif`"),
    ("dtype", KERNEL, "out[:] = x.astype('float99')  # here", "Invalid NumPy dtype specified: 'float99'", LOOPS),
    ("unpack", KERNEL, "a, *b = x  # here\nout[0] = a", "does not know this statement (UNPACK_EX)", LOOPS),
    ("einsum", KERNEL, "out[:] = np.einsum('i->i', x)  # here", "does not know numpy.einsum", "@composite"),
    ("inner", KERNEL, "def f(v):\n    return v.foo  # here\nout[0] = f(x[0])", "float32 has no attribute 'foo'", LOOPS),
    ("two_deltas", BACKWARD, "return d_out, d_out  # here", "the function returns 2 numbers, not 1", "one number for each input"),
    ("text_delta", BACKWARD, "return d_out + 'a'  # here", "there is no add(float32, 'a')", TEXT),
    ("unknown_delta", BACKWARD, "return d_out * missing  # here", "the name 'missing' is not defined", "Define or import it"),
    ("delta_of_kernel", BACKWARD_KERNEL, "d_x[0] = d_out.foo  # here", "has no attribute 'foo'", LOOPS),
    ("two_combined", REDUCTION, "return a, x  # here", "the function returns 2 numbers, not 1", "returns a number"),
    ("combined_attribute", REDUCTION, "return a.foo + x  # here", "float32 has no attribute 'foo'", LOOPS),
    ("text_attribute", ATTRIBUTE, "return x + how  # here", "there is no add(float32, 'a')", TEXT),
]  # fmt: skip

NOISE = ("Failed in nopython", "candidate", "During:", "Overload", "Enable logging", "site-packages", "<source elided>")


def plugin(tmp_path, name, declaration, body):
    """The path of a plugin, and the line that its body marks, or that of its definition."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    text = HEAD + declaration.format(name=name, body=lines)
    path = tmp_path / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    marked = [k for k, line in enumerate(text.splitlines(), 1) if line.endswith("# here")]
    return path, marked[0] if marked else None


def apply(op, operand):
    """The op on an array and, if it has one, its gradient."""
    op(operand)
    g = gx.Graph("g")
    g.output(gx.ops.sum(op(g.input("x", operand.shape)), name="s"))
    gx.compile(g, loss="s", wrt=["x"]).gradients(x=operand)


def message(path, name, operand):
    before = registry.snapshot()
    gx.load_plugin(path)
    try:
        with pytest.raises(PluginError) as caught:
            apply(getattr(gx.ops, name), operand)
    finally:
        registry.restore(before)
    return caught.value, str(caught.value)


@pytest.mark.filterwarnings("ignore:unsafe cast")  # of Numba, about the dict
@pytest.mark.parametrize(("name", "declaration", "body", "cause", "advice"), BROKEN, ids=[b[0] for b in BROKEN])
def test_message(tmp_path, name, declaration, body, cause, advice):
    path, line = plugin(tmp_path, f"broken_{name}", declaration, body)
    error, text = message(path, f"broken_{name}", np.ones(3, np.float32))
    assert error.op.removesuffix(".backward") == f"broken_{name}"
    assert cause in error.what
    assert advice in error.todo
    if line is not None:
        assert error.source == f"{path}:{line}"
        assert path.read_text(encoding="utf-8").splitlines()[line - 1].strip() in error.facts
    assert len(text.splitlines()) <= 3, text
    assert not [n for n in NOISE if n in text], text
    assert error.__cause__ is not None or cause.startswith(("the function returns", "cannot catch"))


def test_helper_is_shown_where_it_fails(tmp_path):
    path, _ = plugin(tmp_path, "broken_helper", KERNEL, "out[0] = helper(x[0])")
    error, _ = message(path, "broken_helper", np.ones(3, np.float32))
    assert "json.dumps" in error.what
    assert error.facts == ["return v + json.dumps(v)"]


@pytest.mark.skipif(importlib.util.find_spec("scipy") is not None, reason="SciPy is installed, and these compile")
@pytest.mark.parametrize("call", ["np.dot(x, x)", "np.linalg.norm(x)", "np.linalg.solve(np.eye(3), x)[0]", "x @ x"])
def test_missing_scipy(tmp_path, call):
    path, line = plugin(tmp_path, "broken_algebra", KERNEL, f"out[0] = {call}  # here")
    error, _ = message(path, "broken_algebra", np.ones(3, np.float32))
    assert "SciPy is not installed" in error.what
    assert "pip install scipy" in error.todo
    assert error.source == f"{path}:{line}"
