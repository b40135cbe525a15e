"""The problem that `check_gradient` checks: a scalar value of a float64 function, made from an op or a graph, and its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphexec.autodiff.reverse import differentiate_function
from graphexec.errors import DataError, DifferentiationError, GraphExecError, PluginError
from graphexec.graph.graph import Graph
from graphexec.interpret import asked_deltas, floating_as, prepare
from graphexec.ir.builder import FunctionBuilder, Traced
from graphexec.ir.examples import Call, example_calls
from graphexec.ir.function import ABSENT, Function, Leaf
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Op, array_spec
from graphexec.ir.op_kinds import CompositeOp
from graphexec.ir.registry import registry
from graphexec.ir.spec import DTYPES, TensorSpec
from graphexec.rewrite.legalize.inline_composites import inline_composites

Array = np.ndarray
Arrays = Mapping[str, Any]
Generator = np.random.Generator


def draw_operands(op: Op, rng: Generator, shapes: Sequence[Any] | None = None, dtype: str = "float64") -> list[Array | None]:
    """Draws operands of an op; ``shapes`` has one shape per operand, None to omit an optional one.

    With shapes, or for an op without examples, they come from its domain, otherwise from an example.
    """
    if shapes is None and op.examples is not None:
        return list(_example(op, rng, {}, dtype).operands)
    if shapes is None:
        shapes = _shapes(op)
    names = [op.inputs[0 if op.variadic else k] for k in range(len(shapes))]
    return [None if s is None else draw(op, n, rng, tuple(s), dtype) for n, s in zip(names, shapes, strict=True)]


def draw_call(
    op: Op, rng: Generator, attributes: Mapping[str, Any], shapes: Sequence[Any] | None = None, dtype: str = "float64"
) -> Call:
    """Draws operands as `draw_operands` does; an example's attributes hold where ``attributes`` has none."""
    if shapes is None and op.examples is not None:
        return _example(op, rng, attributes, dtype)
    return Call(tuple(draw_operands(op, rng, shapes, dtype)), op.check_attributes(attributes))


def _example(op: Op, rng: Generator, attributes: Mapping[str, Any], dtype: str) -> Call:
    """The first example that ``attributes`` fit whose operands have several elements each; failing that, the largest one.

    *Raises* the op's own error if they fit none; PluginError if the op's examples are empty.
    """
    fitting: list[Call] = []
    refusal: GraphExecError = PluginError("examples= yields nothing", op=op.name, source=op.file, todo="Yield a call of the op.")
    for call in example_calls(op, rng, dtype):
        try:
            chosen = Call(call.operands, op.check_attributes({**call.attributes, **attributes}))
            op.infer([None if a is None else array_spec(a) for a in chosen.operands], chosen.attributes)
        except GraphExecError as error:
            refusal = error
            continue
        fitting.append(chosen)
        if _least(chosen) > 1:
            return chosen
    if not fitting:
        raise refusal
    return max(fitting, key=_least)


def _least(call: Call) -> int:
    return min((a.size for a in call.operands if a is not None), default=0)


def draw(op: Op, operand: str, rng: Generator, shape: tuple[int, ...], dtype: str = "float64") -> Array:
    """Draws an array from an operand's domain, slightly inside its bounds."""
    domain = op.domain.get(operand, (-1.0, 1.0)) if isinstance(op.domain, Mapping) else op.domain or (-1.0, 1.0)
    dtype = op.types.get(operand, dtype)
    low, high = domain
    if DTYPES[dtype] == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if DTYPES[dtype] == "i":
        return rng.integers(int(np.ceil(low)), int(np.floor(high)) + 1, shape).astype(dtype)
    margin = 0.02 * (high - low)
    return rng.uniform(low + margin, high - margin, shape).astype(dtype)


def _shapes(op: Op) -> list[tuple[int, ...]]:
    """Chooses a shape for each operand, with a different size for each axis of the signature."""
    if op.variadic:
        return [(2, 3)] * 3
    if not isinstance(op, KernelOp) or op.core is None:
        return [(2, 3)] * len(op.inputs)
    letters = dict.fromkeys(a for axes in op.core for a in axes)
    sizes = {a: int(a) if a.isdigit() else k + 2 for k, a in enumerate(letters)}
    return [(2, *(sizes[a] for a in axes)) for axes in op.core[: len(op.inputs)]]


class Problem(NamedTuple):
    """A scalar value of a function in float64, the values to differentiate by, and arrays for the leaves."""

    target: str
    fn: Function
    of: int
    wrt: dict[str, int]
    leaves: dict[int, Array]
    drawn: bool
    skip: frozenset[str] = frozenset()
    """Names of passes that the native program skips."""
    weights: Mapping[str, int] = {}
    """The weights of an op's outputs, which are the deltas that its rule takes: its second derivative depends on them as well."""


def pose_op(op: Op, arrays: Sequence[Array | None], attributes: Mapping[str, Any], rng: Generator) -> Problem:
    """Makes the problem of an op: its outputs, reduced to one number by random weights."""
    builder = FunctionBuilder(Function(op.name, [], [], [], {}), [])
    leaves: dict[int, Array] = {}
    values = [None if a is None else _leaf(builder, leaves, op.input_name(k), a) for k, a in enumerate(arrays)]
    wrt = {v.name: v.index for k, v in enumerate(values) if v is not None and _differentiable(op, k) and v.dtype == "float64"}
    results = builder.apply(op, values, floating_as(attributes, "float64"))
    results = results if isinstance(results, tuple) else (results,)
    passing = op.outputs if isinstance(op, CompositeOp) or not op.differentiable else asked_deltas(op)
    floating = [r for o, r in zip(op.outputs, results, strict=True) if DTYPES[r.dtype] == "f" and o in passing]
    if not op.differentiable or not floating or not wrt:
        todo = "Check an op with floating operands and outputs that does not set differentiable=False."
        raise DifferentiationError(f"op {op.name!r} has no gradient to check", op=op.name, todo=todo)
    total = _weighted(builder, leaves, floating, rng)
    weights = {leaf.name: leaf.value_id for leaf in builder.leaves[-len(floating) :]}
    fn = inline_composites(builder.build(Function(op.name, [], [], [], {})))
    return Problem(f"op {op.name!r}", fn, fn.value_id(total.name), wrt, leaves, True, weights=weights)


def higher(problem: Problem, derivative: int, rng: Generator) -> Problem:
    """Makes the problem of a higher derivative: the gradients, reduced to one number by random weights."""
    for _ in range(derivative - 1):
        first = differentiate_function(problem.fn, problem.of, list(problem.wrt.values()))
        builder, leaves = FunctionBuilder(first), dict(problem.leaves)
        builder.nodes = list(first.nodes)
        total = _weighted(builder, leaves, [builder.value(g) for g in first.gradients.values()], rng)
        wrt = {**problem.wrt, **problem.weights}
        problem = problem._replace(fn=builder.build(problem.fn), of=total.index, leaves=leaves, wrt=wrt)
    return problem


def _leaf(builder: FunctionBuilder, leaves: dict[int, Array], name: str, array: Array) -> Traced:
    if array.dtype.kind == "f":
        array = array.astype("float64")
    index, name = len(builder.names), builder.fresh(name)
    builder.leaves.append(Leaf(name, "input", index, array.shape, array.dtype.name))
    builder.names.append(name)
    builder.specs.append(TensorSpec(array.shape, array.dtype.name))
    leaves[index] = array
    return Traced(builder, index)


def _weighted(builder: FunctionBuilder, leaves: dict[int, Array], values: Sequence[Any], rng: Generator) -> Any:
    """Sums all entries of values, each multiplied by its own weight, whose absolute value is at least 0.5."""
    sums = []
    for value in values:
        weight = rng.uniform(0.5, 1.5, value.spec.shape) * rng.choice([-1.0, 1.0], value.spec.shape)
        sums.append((value * _leaf(builder, leaves, f"weight of {value.name}", weight)).sum())
    return sums[0] if len(sums) == 1 else registry.get("add_n")(*sums)


def _differentiable(op: Op, slot: int) -> bool:
    return op.variadic or op.inputs[slot] in op.differentiable_inputs


def pose_graph(
    graph: Graph, of: str | None, wrt: Sequence[str] | None, inputs: Arrays, parameters: Arrays, rng: Generator
) -> Problem:
    """Makes the problem of a graph; draws the inputs that are not given."""
    plain = graph.function()
    drawn = {leaf.name: _draw_leaf(leaf, rng) for leaf in plain.of_role("input") if leaf.name not in inputs}
    fn, leaves = prepare(plain, {**inputs, **drawn}, parameters, "float64")
    if of is None:
        scalars = [n for n, v in fn.outputs.items() if fn.specs[v].shape == () and DTYPES[fn.specs[v].dtype] == "f"]
        if len(scalars) != 1:
            raise DataError(
                f"the graph has {len(scalars)} scalar floating outputs", facts=[f"outputs: {', '.join(fn.outputs) or 'none'}"],
                todo="Name the value to differentiate with of=.",
            )
        of = scalars[0]
    if wrt is None:
        reached = _reached(fn, fn.value_id(of))
        floating = [leaf for leaf in fn.leaves if leaf.role != "constant" and leaf.trainable and DTYPES[leaf.dtype] == "f"]
        wrt = [leaf.name for leaf in floating if leaf.value_id in reached]
    index = {name: v for v, name in enumerate(fn.names)}
    ids = {n: index[n] if n in index else fn.value_id(n) for n in wrt}
    return Problem(f"graph {graph.name!r}", fn, fn.value_id(of), ids, leaves, bool(drawn))


def _reached(fn: Function, of: int) -> set[int]:
    reached = {of}
    for node in reversed(fn.nodes):
        if not reached.isdisjoint(node.outputs):
            reached.update(v for v in node.inputs if v != ABSENT)
    return reached


def _draw_leaf(leaf: Leaf, rng: Generator) -> Array:
    shape = tuple(3 if isinstance(n, str) else n for n in leaf.shape)
    kind = DTYPES[leaf.dtype]
    if kind == "f":
        return np.asarray(rng.standard_normal(shape))
    return np.asarray(rng.integers(0, 2, shape)).astype(leaf.dtype)
