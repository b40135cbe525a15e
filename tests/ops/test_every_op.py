"""Every op that is registered, whoever wrote it: values, gradients, types, shapes, layouts.

Operands come from an op's examples, or from its domain if it gives none. A new op file is tested by being there.
"""

import warnings
from collections.abc import Mapping

import numpy as np
import pytest
from helpers.compare import assert_close, scale_of
from helpers.run import differentiated, dtypes_of, examples_of, native, one_node, registered, run_function

from graphexec import gradcheck
from graphexec.errors import DifferentiationError, GradientMismatch, GraphExecError, OpError
from graphexec.gradcheck import check_gradient, draw_operands
from graphexec.interpret import asked_deltas, evaluate, interpret, interpret_gradients
from graphexec.ir.infer import infer
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import REQUIRED
from graphexec.ir.op_kinds import CompositeOp, ElementwiseOp, ReductionOp, ShapeOp, ViewOp
from graphexec.ir.registry import registry
from graphexec.ir.spec import DTYPES
from graphexec.plugin import elementwise, kernel, ops
from graphexec.rewrite.legalize.inline_composites import inline_composites

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # test_no_plugin_is_refused fails instead of every test here
    OPS = [registry.get(name) for name in registry.names()]


def samples(op):
    """(number, how to draw operands, attributes) of what an op is tried on."""
    if op.examples is not None:
        return [(e.number, e.make, e.attributes) for e in examples_of(op)]
    return [(0, lambda rng, dtype: draw_operands(op, rng, dtype=dtype), {})]


def cases(wanted=lambda op: True, dtypes=dtypes_of, every=1):
    """Parameters of a test: each op on ``every`` so many of its examples, in each of ``dtypes(op)``."""
    found = []
    for op in filter(wanted, OPS):
        for number, make, attributes in samples(op)[::every]:
            for dtype in fitting(op, make, dtypes(op)):
                found.append(pytest.param(op, make, attributes, dtype, id=f"{op.name}-{number}-{dtype}"))
    return found


def fitting(op, make, dtypes):
    """The types worth drawing: that of floating operands, unless every operand has it."""
    if op.examples is None or isinstance(op, ElementwiseOp):
        return dtypes
    if floating(make):
        return [d for d in dtypes if d.startswith("float")]
    return ["as drawn"] if len(dtypes) > 1 else []  # as `operands` understands it


def floating(make):
    return any(a is not None and a.dtype.kind == "f" for a in make(np.random.default_rng(0), "float64"))


def has_gradient(op):
    floating = "f" in op.kinds and any(o not in op.types or DTYPES[op.types[o]] == "f" for o in op.outputs)
    return op.differentiable and floating and bool(op.differentiable_inputs) and op.name != "stop_gradient"


def double(op):
    return ["float64"]


def operands(make, rng, dtype):
    return [None if a is None else np.asarray(a) for a in make(rng, "float64" if dtype == "as drawn" else dtype)]


def copies(arrays):
    return [None if a is None else a.copy() for a in arrays]


def same(op, arrays, attributes, what):
    """Native outputs against the reference, and both against what was inferred."""
    kept, attributes = copies(arrays), op.check_attributes(attributes)
    expected = evaluate(op, copies(arrays), attributes)
    actual = native(op, arrays, attributes)
    fn = infer(one_node(op, arrays, attributes)[0], {})
    scale = scale_of(*arrays, *expected)
    for k, (found, wanted) in enumerate(zip(actual, expected, strict=True)):
        spec = fn.specs[fn.nodes[0].outputs[k]]
        assert found.shape == spec.shape
        assert found.dtype == spec.dtype
        assert_close(found, wanted, f"{op.name} {what}: output {op.outputs[k]!r}", scale)
    for array, before in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(array, before)
    return actual


def test_no_plugin_is_refused():
    assert registry.refused == {}


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_an_op_can_be_tested(op):
    """It has a reference or is made of ops; where operands cannot be guessed, it has examples."""
    assert op.reference is not None or isinstance(op, (CompositeOp, ReductionOp, ViewOp, ShapeOp))
    needs = [k for k, default in op.attributes.items() if default is REQUIRED]
    assert not needs or op.examples is not None, f"give {op.name!r} examples=: it needs {needs}"


@pytest.mark.parametrize(("op", "make", "attributes", "dtype"), cases())
def test_native_equals_reference(op, make, attributes, dtype, rng):
    same(op, operands(make, rng, dtype), attributes, "native and reference")


@pytest.mark.parametrize(("op", "make", "attributes", "dtype"), cases(lambda op: isinstance(op, (ElementwiseOp, KernelOp))))
def test_function_equals_reference(op, make, attributes, dtype, rng):
    """The op's own function, un-jitted: what `NUMBA_DISABLE_JIT=1` runs."""
    arrays = operands(make, rng, dtype)
    attributes = op.check_attributes(attributes)
    axis, ndim = attributes.get("axis", -1), arrays[0].ndim
    if getattr(op, "core", None) and (not isinstance(axis, int) or ndim == 0 or axis % ndim != ndim - 1):
        return  # the engine moves the axis to the end, where the kernel works
    if any(a is not None and a.ndim < len(axes) for a, axes in zip(arrays, getattr(op, "core", None) or (), strict=False)):
        return  # the engine gives an operand the axes that it lacks
    expected = evaluate(op, copies(arrays), attributes)
    if isinstance(op, ElementwiseOp):
        found = op.call_plain(arrays, attributes)
        found = found if len(op.outputs) > 1 else (found,)
    else:
        specs = infer(one_node(op, arrays, attributes)[0], {}).specs[-len(op.outputs) :]
        try:
            found = op.call_plain(arrays, attributes, specs)
        except NotImplementedError:
            pytest.skip("the kernel calls the engine's matrix product, which is compiled code only")
    for actual, wanted in zip(found, expected, strict=True):
        assert_close(np.broadcast_to(np.asarray(actual, wanted.dtype), wanted.shape), wanted, op.name, scale_of(wanted))


# -- shapes and layouts


def broadcasting(op):
    return isinstance(op, ElementwiseOp) and (op.variadic or len(op.inputs) > 1) and not op.updates


SHAPES = [(3, 1, 5), (4, 1), ()]


def cut(op, shapes):
    count = 3 if op.variadic else len(op.inputs)
    return (list(shapes) * count)[:count]


@pytest.mark.parametrize("op", [op for op in OPS if broadcasting(op)], ids=lambda op: op.name)
def test_broadcasting(op, rng):
    attributes = samples(op)[0][2]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        shapes = cut(op, [SHAPES[k] for k in order])
        for dtype in dtypes_of(op)[:1]:
            same(op, draw_operands(op, rng, shapes, dtype), attributes, f"broadcasting {shapes}")
    if has_gradient(op):
        check_gradient(op, attributes=attributes, shapes=cut(op, [(2, 1, 3), (2, 1), ()]))


@pytest.mark.parametrize("op", [op for op in OPS if isinstance(op, ElementwiseOp)], ids=lambda op: op.name)
def test_an_element_gives_the_same_bits_wherever_it_lies(op, rng):
    """In vectors, in what is left over behind them, and in a kernel for few elements."""
    attributes = samples(op)[0][2]
    count = 3 if op.variadic else len(op.inputs)
    for dtype in dtypes_of(op):
        draws = draw_operands(op, rng, [(8,)] * count, dtype)
        for k in range(8):
            many, few = (native(op, [np.full(n, d[k]) for d in draws], attributes) for n in (77, 16))
            for found, again in zip(many, few, strict=True):
                np.testing.assert_array_equal(found, np.full_like(found, again[0]))
                np.testing.assert_array_equal(again, np.full_like(again, again[0]))


def by_axis(op):
    """Ops whose operands can be drawn in any size."""
    if isinstance(op, KernelOp):
        return op.core is not None and not op.types and not op.errors
    return isinstance(op, (ElementwiseOp, ReductionOp)) and not op.shape_only


@pytest.mark.parametrize("op", [op for op in OPS if by_axis(op)], ids=lambda op: op.name)
def test_empty_and_single(op, rng):
    attributes = samples(op)[0][2]
    dtype = dtypes_of(op)[0]
    for arrays in sized(op, rng, dtype):
        same(op, arrays, attributes, f"sizes {[None if a is None else a.shape for a in arrays]}")


def sized(op, rng, dtype):
    """Operands with empty axes and axes of size 1."""
    if isinstance(op, KernelOp):
        for batch in ((), (0,), (1,), (1, 2)):
            for size in (1, 2):
                core = [tuple(int(a) if a.isdigit() else size for a in axes) for axes in op.core[: len(op.inputs)]]
                yield draw_operands(op, rng, [batch + axes for axes in core], dtype)
        return
    shapes = [(), (1,), (1, 1), (5,), (0,), (3, 0), (0, 3), (2, 1, 3)]
    for shape in shapes:
        if isinstance(op, ReductionOp) and 0 in shape and np.isinf(op.identity):
            continue  # the largest of no numbers is no number
        yield draw_operands(op, rng, [shape] * (3 if op.variadic else len(op.inputs)), dtype)


def movable(op):
    return not op.updates and not isinstance(op, ShapeOp)


@pytest.mark.parametrize(("op", "make", "attributes", "dtype"), cases(movable, lambda op: dtypes_of(op)[:1]))
def test_operands_through_views(op, make, attributes, dtype, rng):
    """Operands that arrive transposed, backwards and repeated give what contiguous ones give."""
    arrays = operands(make, rng, dtype)
    expected = evaluate(op, copies(arrays), op.check_attributes(attributes))
    for how in (transposed, backwards):
        fn, inputs = viewed(op, arrays, attributes, how)
        found = run_function(fn, inputs, rewrite=False)
        for actual, wanted in zip(found.values(), expected, strict=True):
            assert_close(actual, wanted, f"{op.name} {how.__name__}", scale_of(wanted))


def transposed(array):
    """What to store, and the op and attributes that look at it as the array."""
    return (np.ascontiguousarray(array.T), "transpose", {}) if array.ndim > 1 else (array, None, {})


def backwards(array):
    if array.ndim == 0:
        return array, None, {}
    last = {"starts": [-1], "ends": [None], "axes": [array.ndim - 1], "steps": [-1]}
    return np.ascontiguousarray(array[..., ::-1]), "slice", last


def viewed(op, arrays, attributes, how):
    """A graph order in which every operand is a view of an input."""
    from graphexec.ir.builder import FunctionBuilder
    from graphexec.ir.function import Function, Leaf
    from graphexec.ir.spec import TensorSpec

    builder = FunctionBuilder(Function(op.name, [], [], [], {}), [])
    values, inputs = [], {}
    for slot, array in enumerate(arrays):
        if array is None:
            values.append(None)
            continue
        stored, view, options = how(array)
        name = f"stored {slot}"
        builder.leaves.append(Leaf(name, "input", len(builder.names), stored.shape, stored.dtype.name))
        builder.names.append(name)
        builder.specs.append(TensorSpec(stored.shape, stored.dtype.name))
        value = builder.value(len(builder.names) - 1)
        values.append(value if view is None else registry.get(view)(value, **options))
        inputs[name] = stored
    results = builder.apply(op, values, op.check_attributes(attributes))
    results = results if isinstance(results, tuple) else (results,)
    return builder.build(Function(op.name, [], [], [], {}), outputs={r.name: r.index for r in results}), inputs


# -- gradients


@pytest.mark.parametrize(("op", "make", "attributes", "dtype"), cases(has_gradient, double))
def test_gradient(op, make, attributes, dtype, rng):
    """Native and un-jitted rules, in float64, against central differences."""
    arrays = operands(make, rng, dtype) if op.examples is not None else []
    check_gradient(op, *arrays, attributes=attributes)


@pytest.mark.parametrize(("op", "make", "attributes", "dtype"), cases(has_gradient, lambda op: ["float32"], every=3))
def test_gradient_in_float32(op, make, attributes, dtype, rng):
    """The native rule in float32 against the un-jitted one."""
    arrays = operands(make, rng, dtype)
    fn, inputs = one_node(op, arrays, attributes)
    fn, of, wrt, inputs = summed(fn, inputs)
    _, expected, _ = interpret_gradients(fn, of, wrt, inputs)
    result = differentiated(fn, *wrt, of=of)
    names = {w: result.names[result.gradients[w]] for w in wrt}
    found = run_function(result, inputs, keep=names.values(), rewrite=False)
    for w in wrt:
        assert_close(found[names[w]], expected[w], f"{op.name}: gradient of {w}", scale_of(expected[w]))


def summed(fn, inputs):
    """An order with its outputs reduced to a number, Σ sin(out) in the order's own types; what to differentiate by."""
    from graphexec.ir.builder import FunctionBuilder

    fn = inline_composites(infer(fn, {}))
    builder = FunctionBuilder(fn)
    builder.nodes = list(fn.nodes)
    op = registry.get(fn.name)
    passing = op.outputs if isinstance(op, CompositeOp) else asked_deltas(op)  # a rule may keep an output for its own use
    results = [v for o, v in zip(op.outputs, fn.outputs.values(), strict=True) if o in passing]
    parts = [ops.sin(builder.value(v)).sum() for v in results if DTYPES[fn.specs[v].dtype] == "f"]
    total = parts[0] if len(parts) == 1 else ops.add_n(*parts)
    wrt = [n for n, array in inputs.items() if array.dtype.kind == "f" and (op.variadic or n in op.differentiable_inputs)]
    return builder.build(fn, outputs={total.name: total.index}), total.name, wrt, inputs


@pytest.mark.parametrize(("op", "make", "attributes", "dtype"), list(cases(has_gradient, double, every=2)))
def test_gradient_as_in_a_large_graph(op, make, attributes, dtype, rng, monkeypatch):
    """All operands together, with differences taken node by node."""
    monkeypatch.setattr(gradcheck, "MAX_EVALUATIONS", -1)
    arrays = operands(make, rng, dtype) if op.examples is not None else []
    report = check_gradient(op, *arrays, attributes=attributes)
    assert any("operands were checked together" in note for note in report.notes)


@pytest.mark.parametrize(("op", "make", "attributes", "dtype"), list(cases(has_gradient, double, every=3)))
def test_second_derivative(op, make, attributes, dtype, rng):
    """The gradient of the gradient; a rule that is a kernel says that it has none."""
    arrays = operands(make, rng, dtype) if op.examples is not None else []
    refusal = None
    try:
        check_gradient(op, *arrays, attributes=attributes, derivative=2)
    except DifferentiationError as error:
        refusal = error
    if refusal is not None:
        rule = registry.get(refusal.op)
        assert not rule.differentiable or (rule.forward is not None and isinstance(rule, KernelOp)), str(refusal)


# -- the checker is checked


@elementwise(reference=lambda x: x * x, domain=(-2.0, 2.0))
def planted(x):
    return x * x


@planted.backward
def _(d_out, x):
    return d_out * 1.99 * x


@elementwise(reference=lambda x: np.maximum(x, 0) * x, domain=(-2.0, 2.0))
def planted_on_one_side(x):
    return x * x if x > 0 else 0.0


@planted_on_one_side.backward
def _(d_out, x):
    return d_out * 2.0 * x


@elementwise(reference=lambda x, y: np.abs(x) * y, domain=(-1e-3, 1e-3))
def kinked(x, y):
    return abs(x) * y


@kinked.backward
def _(d_out, x, y):
    return d_out * y * 2.0 if x > 0 else -d_out * y * 2.0, d_out * abs(x)


@kernel("(n)->(n)", reference=lambda x: np.cumsum(x, axis=-1), domain=(-2.0, 2.0))
def planted_kernel(x, out):
    total = 0.0 * x[0]
    for i in range(x.shape[0]):
        total += x[i]
        out[i] = total


@planted_kernel.backward
def _(d_out, d_x):
    for i in range(d_out.shape[0]):
        d_x[i] = d_out[i]


@pytest.mark.parametrize("declared", [planted, planted_on_one_side, kinked, planted_kernel], ids=lambda d: d.op.name)
def test_a_wrong_rule_is_caught(declared):
    """However it hides: by a part in a hundred, on one side of zero, near a kink, in one entry of a Jacobian."""
    with registered(declared), pytest.raises(GradientMismatch) as caught:
        check_gradient(declared.op.name)
    assert caught.value.op == declared.op.name
    assert "central difference" in str(caught.value)
    report = check_gradient(declared, raises=False)
    assert not report.passed
    assert "FAILED" in str(report)


@elementwise(reference=lambda x: (x, x * x), outputs=("out", "square"), domain=(-1.0, 1.0))
def forgetful(x):
    return x, x * x


@forgetful.backward
def _(d_out):
    return d_out


def test_a_rule_that_forgets_an_output_is_refused():
    """Its gradient is right while nobody differentiates through the other output, and an error when somebody does."""
    import graphexec as gx

    with registered(forgetful):
        assert check_gradient(forgetful).passed
        g = gx.Graph()
        first, second = gx.ops.forgetful(g.input("x", (3,)))
        g.output(gx.ops.sum(first * second, name="loss"))
        with pytest.raises(DifferentiationError, match="d_square"):
            interpret_gradients(g, "loss", ["x"], {"x": np.ones(3)})


def test_a_wrong_kernel_is_caught(rng):
    @elementwise(reference=lambda x: x + 1e-4, domain=(-2.0, 2.0), differentiable=False)
    def off(x):
        return x

    with pytest.raises(AssertionError, match="off"):
        same(off.op, [rng.standard_normal(3)], {}, "native and reference")


def test_a_graph_names_the_node_whose_rule_is_wrong():
    import graphexec as gx

    with registered(planted):
        g = gx.Graph()
        x = g.input("x", ("batch", 2))
        bad = gx.ops.planted(gx.ops.tanh(x), name="culprit")
        g.output(gx.ops.sum(bad, name="loss"))
        with pytest.raises(GradientMismatch, match="node 'culprit'"):
            check_gradient(g)


def test_interpreter_runs_in_float64():
    import graphexec as gx

    g = gx.Graph()
    x = g.input("x", (3,))
    g.output(gx.ops.tanh(gx.ops.cast(x * 2.0, dtype="float32"), name="out"))
    values = interpret(g, {"x": np.array([0.1, 0.2, 0.3])}, dtype="float64")
    assert_close(values["out"], np.tanh(np.array([0.1, 0.2, 0.3]) * 2))
    assert interpret(g, {"x": np.ones(3)})["out"].dtype == "float32"
    with pytest.raises(GraphExecError, match="did you mean 'x'"):
        interpret(g, {"xx": np.ones(3)})
    assert isinstance(values, Mapping)


def test_ops_answer_hasattr():
    assert hasattr(ops, "tanh")
    assert not hasattr(ops, "tanhh")
    with pytest.raises(OpError, match="did you mean 'tanh'"):
        ops.tanhh  # noqa: B018
