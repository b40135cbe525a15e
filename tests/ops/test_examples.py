"""The examples in the ops' files: every built-in op can be tried with no option, in each element type that it takes."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from helpers.compare import assert_close, scale_of
from helpers.run import native, one_node

import graphexec as gx
from graphexec.errors import DtypeError, OpError, PluginError, ShapeError
from graphexec.gradcheck import draw_call, draw_operands
from graphexec.interpret import evaluate
from graphexec.ir.examples import example_calls
from graphexec.ir.infer import infer
from graphexec.ir.op import array_spec
from graphexec.ir.registry import registry
from graphexec.ir.spec import DTYPES
from graphexec.plugin import composite, kernel

pytestmark = pytest.mark.exhaustive  # every op or command: minutes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # test_every_op fails for an op that is refused
    OPS = [registry.get(name) for name in registry.names()]
WITH = [op for op in OPS if op.examples is not None]
WITHOUT = [op for op in OPS if op.examples is None]
FLAT = {"ceil", "floor", "floor_divide", "round", "sign", "trunc"}
"""Ops whose slope is 0 wherever there is one."""


def types_of(op):
    """All element types that an op takes for operands without a fixed one."""
    return [dtype for dtype, kind in DTYPES.items() if kind in op.kinds]


def tried(op, arrays, attributes, what):
    """The native outputs equal the reference's; shapes and types are the inferred ones."""
    specs = op.infer([None if a is None else array_spec(a) for a in arrays], attributes)
    expected = evaluate(op, [None if a is None else a.copy() for a in arrays], attributes)
    scale = scale_of(*arrays, *expected)
    for spec, found, wanted in zip(specs, native(op, arrays, attributes), expected, strict=True):
        assert (found.shape, found.dtype) == (spec.shape, spec.dtype), what
        assert_close(found, wanted, what, scale)


def converts(op, dtype):
    """Whether floating operands are converted to a type of another kind, for which all kernels must be compiled again."""
    return "f" in op.kinds and DTYPES[dtype] != "f"


def with_types():
    for op in WITH:
        for dtype in types_of(op):
            yield pytest.param(op, dtype, id=f"{op.name}-{dtype}")


@pytest.mark.parametrize(("op", "dtype"), list(with_types()))
def test_examples_are_legal_calls(op, dtype, rng):
    """All of them in floating types, a third of them converted to others."""
    every = 3 if converts(op, dtype) else 1
    for number, (operands, attributes) in list(enumerate(example_calls(op, rng, dtype)))[::every]:
        bound, filled = op.bind(operands, attributes)
        assert filled == attributes
        tried(op, list(bound), attributes, f"{op.name}, example {number} in {dtype}")


@pytest.mark.parametrize(("op", "dtype"), [pytest.param(op, d, id=f"{op.name}-{d}") for op in WITHOUT for d in types_of(op)])
@pytest.mark.parametrize("seed", range(3))
def test_an_op_without_examples_takes_any_draw_from_its_domain(op, dtype, seed):
    """In any shape, and with no attribute given."""
    arrays = draw_operands(op, np.random.default_rng(seed), dtype=dtype)
    tried(op, arrays, op.check_attributes({}), f"{op.name} in {dtype}")
    if getattr(op, "core", None) is None:
        for shape in ((1,), (0, 3), (2, 1, 5)):
            arrays = draw_operands(op, np.random.default_rng(seed), [shape] * len(arrays), dtype)
            tried(op, arrays, op.check_attributes({}), f"{op.name} in {dtype}, {shape}")


@pytest.mark.parametrize("op", WITH, ids=lambda op: op.name)
def test_examples_of_any_size_are_legal(op, rng):
    """From 0; where the size matters, it adds a call with operands of about that size."""
    usual = len(list(example_calls(op, rng)))
    for size in (0, 1, 2, 9, 40):
        drawn = list(example_calls(op, rng, size=size))
        for operands, attributes in drawn:
            infer(one_node(op, operands, attributes)[0], {})
        if len(drawn) > usual:
            assert size <= max(a.size for a in [*drawn[-1].operands, *op.evaluate(*drawn[-1])] if a is not None)
    tried(op, list(drawn[-1].operands), drawn[-1].attributes, f"{op.name}, size 40")


@pytest.mark.parametrize("op", WITH, ids=lambda op: op.name)
def test_examples_depend_on_the_generator_alone(op):
    first, again = (list(example_calls(op, np.random.default_rng(7))) for _ in range(2))
    for (operands, attributes), (others, same) in zip(first, again, strict=True):
        assert attributes == same
        for a, b in zip(operands, others, strict=True):
            np.testing.assert_array_equal(a, b)


def test_importing_the_ops_draws_nothing():
    script = (
        "import numpy as np\n"
        "def drawn(*_): raise AssertionError('a generator was made')\n"
        "np.random.default_rng = np.random.Generator = drawn\n"
        "from graphexec.ir.registry import registry\n"
        "assert registry.get('matmul').examples and not registry.refused, registry.refused\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


# -- gradients, with no option


def differentiable():
    for op in OPS:
        floating = any(DTYPES[op.types.get(o, "float32")] == "f" for o in op.outputs)
        if op.differentiable and "f" in op.kinds and floating and op.differentiable_inputs and op.name != "stop_gradient":
            yield op.name


@pytest.mark.parametrize("name", list(differentiable()))
def test_a_gradient_is_checked_with_no_option(name):
    report = gx.check_gradient(name)
    assert report.passed
    assert name in FLAT or any(c.numeric != 0 for c in report.checks), "the operands chosen prove nothing"
    assert all(c.where != "nowhere: it is empty" for c in report.checks)


def test_attributes_replace_those_of_the_example(rng):
    call = draw_call(registry.get("conv"), rng, {"padding": 1})
    assert call.attributes["padding"] == 1
    assert gx.check_gradient("reshape", attributes={"shape": (-1, 2)}).passed
    call = draw_call(registry.get("sum"), rng, {"axis": (1, 2)})
    assert (call.operands[0].shape, call.attributes) == ((2, 3, 4), {"axis": (1, 2), "keepdims": False})
    call = draw_call(registry.get("stack"), rng, {"axis": 2})  # the example with axis=-1 has two axes
    assert call.attributes == {"axis": 2}
    call = draw_call(registry.get("linear"), rng, {}, [(4, 3), (2, 3), None])  # shapes come first
    assert [None if a is None else a.shape for a in call.operands] == [(4, 3), (2, 3), None]


def test_an_example_that_the_attributes_do_not_fit_is_passed_over(rng):
    call = draw_call(registry.get("flatten"), rng, {"axis": 3})
    assert call.operands[0].ndim == 3
    call = draw_call(registry.get("sum_to"), rng, {})
    assert [a.shape for a in call.operands] == [(2, 3), (3,)]
    call = draw_call(registry.get("swap_axes"), rng, {"axis1": 2})  # the first example has two axes
    assert call.operands[0].shape == (4, 2, 3)
    call = draw_call(registry.get("softmax"), rng, {})  # the first example has one element
    assert call.operands[0].shape == (2, 3)


def test_attributes_that_fit_no_example_are_refused(rng):
    with pytest.raises(ShapeError, match="axis 7 is out of range"):
        gx.check_gradient("gather", attributes={"axis": 7})
    with pytest.raises(OpError, match="did you mean 'axis'"):
        gx.check_gradient("gather", attributes={"axes": 0})


# -- examples of somebody else's op


def yielding(*calls):
    return lambda rng, size: iter(calls)


FAULTS = {
    "nothing": (lambda rng, size: None, "returns None, not calls to draw"),
    "an array": (yielding(np.ones(3)), r"example 0 is an array of shape \(3,\), not a tuple of operands"),
    "a number": (yielding((np.ones(3), np.ones(3)), 3.0), "example 1 is 3.0, not a tuple"),
    "too few": (yielding((np.ones(3),)), "example 0 is no call of the op: operand 'y' is missing"),
    "too many": (yielding((1.0, 2.0, 3.0)), "example 0 is no call of the op: 3 operands are given"),
    "no operand": (yielding(()), "example 0 is no call of the op: operand 'x' is missing"),
    "attributes alone": (yielding({"by": 2.0}), "not a tuple"),
    "an attribute": (yielding((1.0, 2.0, {"bye": 2.0})), "unknown attribute 'bye'; did you mean 'by'"),
    "its value": (yielding((1.0, 2.0, {"by": "two"})), "example 0 is no call of the op: .*by"),
    "text": (yielding(("abc", 2.0)), "operand 'x' of an example is <U3"),
    "failing": (lambda rng, size: 1 / 0, "examples= failed with size 4: ZeroDivisionError"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_examples_that_are_no_calls_are_refused(fault, rng):
    examples, message = FAULTS[fault]
    op = kernel_op(examples)
    with pytest.raises(PluginError, match=message) as caught:
        list(example_calls(op, rng))
    assert "op 'weighed'" in str(caught.value)
    assert __file__ in str(caught.value)
    if fault != "a number":  # the example before it is what is drawn
        with pytest.raises(PluginError, match=message):
            gx.check_gradient(op)


def kernel_op(examples):
    @kernel(shape=lambda x, y, *, by=1.0: x.shape, reference=lambda x, y, *, by=1.0: x * by, examples=examples)
    def weighed(x, y, out, *, by=1.0):
        out[...] = x * by

    @weighed.backward
    def _(d_out, d_x, d_y, *, by):
        d_x[...] = d_out * by
        d_y[...] = 0

    return weighed.op


def test_an_op_whose_examples_are_empty_is_refused():
    with pytest.raises(PluginError, match="examples= yields nothing"):
        gx.check_gradient(kernel_op(yielding()))


def test_operands_get_the_type_asked_for_and_keep_others(rng):
    @composite(
        kinds="fib", types={"y": "int64", "z": "float64"}, differentiable=False,
        examples=yielding((np.arange(3.0), np.arange(3, dtype="int32"), 0.5), ([1, 2], [3, 4], None, 0.5), (True, 0)),
    )  # fmt: skip
    def typed(x, y, z=None, w=None):
        return x

    with pytest.raises(DtypeError, match="float16"):
        list(example_calls(typed.op, rng, "float16"))
    for dtype in DTYPES:
        first, second, third = example_calls(typed.op, rng, dtype)
        assert [a.dtype.name for a in first.operands] == [dtype, "int32", "float64"]
        assert [None if a is None else a.dtype.name for a in second.operands] == ["int64", "int64", None, dtype]
        assert [a.dtype.name for a in third.operands] == ["bool", "int64"]


class Drawer:
    def both(self, rng, size):
        yield np.ones(3), np.ones(3)

    def one(self, rng):
        yield np.ones(3), np.ones(3)


@pytest.mark.parametrize("examples", [Drawer().both, lambda *both: iter(()), lambda rng, size=3, *, low=0: iter(()), yielding()])
def test_a_function_of_a_generator_and_a_size_is_taken(examples):
    assert kernel_op(examples).examples is not None


@pytest.mark.parametrize(
    "examples", [Drawer().one, lambda rng: iter(()), lambda rng, size, low: iter(()), lambda rng, size, *, low: iter(()), [1.0]]
)
def test_another_function_is_refused(examples):
    with pytest.raises(PluginError, match=r"must take a random generator and a size|is not a function") as caught:
        kernel_op(examples)
    assert "def examples(rng, size)" in str(caught.value)
