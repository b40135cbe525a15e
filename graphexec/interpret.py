"""interpret: the slow path, which defines what a graph means.

It evaluates a graph forward with NumPy references and backward with un-jitted backward rules. It uses no kernels and no
shared buffers, and has no code in common with `differentiate`. Compare with it to judge an optimization or a suspect result.

    values = interpret(graph, {"x": X})
    values, gradients, deltas = interpret_gradients(graph, of="loss", wrt=["w"], inputs={"x": X})
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphexec.autodiff.absent import NOTHING, result_without
from graphexec.autodiff.scalar import backward_of
from graphexec.autodiff.scalar.pullback import Plan, plan
from graphexec.errors import DataError, DifferentiationError, GraphExecError, ShapeError, with_hint
from graphexec.graph.graph import Graph
from graphexec.ir.builder import call_composite
from graphexec.ir.convert import as_array, converted
from graphexec.ir.function import ABSENT, Function, Leaf, Node
from graphexec.ir.infer import infer
from graphexec.ir.op import Attributes, Op, array_spec
from graphexec.ir.op_kinds import CompositeOp, ElementwiseOp
from graphexec.ir.operands import with_arrays
from graphexec.ir.operators import Arithmetic
from graphexec.ir.spec import DTYPES, Size, Sizes, TensorSpec, shape_text
from graphexec.rewrite.legalize.inline_composites import inline_composites

Array = np.ndarray
Arrays = Mapping[str, Any]
Watch = Callable[[Sequence[Node]], Iterable[Node]]
Seen = Callable[[Node, Sequence[tuple[int, Array | None]], Mapping[int, Array]], None]


class Plain(Arithmetic):
    """An array on which ops are evaluated immediately by the slow path; rules written in ops run on these."""

    __slots__ = ("absent", "array")

    def __init__(self, array: Any, absent: bool = False) -> None:
        self.array, self.absent = np.asarray(array), absent

    @property
    def spec(self) -> TensorSpec:
        return array_spec(self.array)

    @staticmethod
    def apply_op(op: Op, operands: tuple[Any, ...], attributes: dict[str, Any], name: str | None) -> Any:
        given = with_arrays(op, operands, lambda o: o.dtype if isinstance(o, Plain) else None, Plain)
        results = tuple(Plain(a) for a in evaluate(op, [None if o is None else o.array for o in given], attributes))
        left = result_without(op, [slot for slot, o in enumerate(operands) if isinstance(o, Plain) and o.absent])
        if left == NOTHING:
            return Plain(np.zeros_like(results[0].array), absent=True)
        if left is not None and given[left].shape == results[0].array.shape:
            return given[left]
        return results if len(results) > 1 else results[0]


def interpret(
    graph: Graph | Function, inputs: Arrays | None = None, parameters: Arrays | None = None, *, dtype: str | None = None
) -> dict[str, Array]:
    """Returns every value of a graph by name. Parameters that are not given take their ``value`` or ``init``.

    ``dtype="float64"`` runs the whole graph in float64 instead of its declared types. *Raises* DataError for a missing or
    unknown array, ShapeError for one of the wrong shape, and any error that an op raises.
    """
    fn, leaves = prepare(graph, inputs, parameters, dtype)
    values = forward(fn, leaves)
    return {name: values[v] for v, name in enumerate(fn.names) if v in values}


def interpret_gradients(
    graph: Graph | Function, of: str, wrt: Iterable[str] | None = None, inputs: Arrays | None = None,
    parameters: Arrays | None = None, *, dtype: str | None = None,
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:  # fmt: skip
    """Returns values, gradients of the scalar ``of`` by ``wrt`` (default: the trainable parameters), and all deltas.

    *Raises* DifferentiationError if an op between them has no backward rule; otherwise as :func:`interpret`.
    """
    fn, leaves = prepare(graph, inputs, parameters, dtype)
    fn = inline_composites(fn)
    chosen = [leaf.name for leaf in fn.of_role("parameter") if leaf.trainable] if wrt is None else list(wrt)
    values, ids = forward(fn, leaves), {name: fn.value_id(name) for name in chosen}
    deltas = reverse(fn, values, fn.value_id(of), list(ids.values()))
    gradients = {name: deltas[v] if v in deltas else np.zeros_like(values[v]) for name, v in ids.items()}
    named = {fn.names[v]: array for v, array in deltas.items()}
    return {fn.names[v]: array for v, array in values.items()}, gradients, named


def evaluate(op: Op, arrays: Sequence[Any], attributes: Attributes) -> tuple[Array, ...]:
    """Computes the outputs of one op by the slow path; a composite without a reference runs its function on plain arrays."""
    if isinstance(op, CompositeOp) and op.reference is None:
        return tuple(evaluate_composite(op, arrays, attributes))
    return op.evaluate(arrays, attributes)


def evaluate_composite(op: Op, arrays: Sequence[Any], attributes: Attributes) -> list[Array]:
    """Computes the outputs of a composite op by running its function on plain arrays."""
    results = call_composite(op, [None if a is None else Plain(a) for a in arrays], attributes)
    return [r.array for r in results]


# -- leaves


def prepare(
    graph: Graph | Function, inputs: Arrays | None, parameters: Arrays | None, dtype: str | None
) -> tuple[Function, dict[int, Array]]:
    """Infers the function for the sizes of the given arrays; returns it with the array of each leaf."""
    fn = graph.function() if isinstance(graph, Graph) else graph
    given = {**(inputs or {}), **(parameters or {})}
    known = [leaf.name for leaf in fn.leaves if leaf.role != "constant"]
    for name in given:
        if name not in known:
            what = with_hint(f"there is no input or parameter named {name!r}", name, known)
            raise DataError(what, todo=f"Give: {', '.join(known)}.")
    if dtype is not None:
        fn = _in_dtype(fn, dtype)
    leaves = {leaf.value_id: _array(leaf, given) for leaf in fn.leaves}
    pairs = [pair for leaf in fn.leaves for pair in zip(leaf.shape, leaves[leaf.value_id].shape, strict=False)]
    sizes = Sizes({n: size for n, size in pairs if isinstance(n, str)})
    for leaf in fn.leaves:
        expected, found = tuple(sizes[n] if isinstance(n, str) else n for n in leaf.shape), leaves[leaf.value_id].shape
        if found != expected:
            raise ShapeError(
                f"{leaf.role} {leaf.name!r} has shape {shape_text(found)}", node=leaf.name, source=leaf.location,
                facts=[f"declared {shape_text(leaf.shape)}", f"expected {shape_text(expected)}"],
                todo="Give arrays whose sizes agree.",
            )
    fn = infer(fn, sizes)
    return (infer(_in_dtype(inline_composites(fn), dtype), sizes) if dtype is not None else fn), leaves


def _array(leaf: Leaf, given: Arrays) -> Array:
    if leaf.name in given:
        what = f"{leaf.role} {leaf.name!r}"
        return np.array(converted(as_array(given[leaf.name], what), leaf.dtype, what))
    if leaf.value is not None:
        return np.array(leaf.value, dtype=leaf.dtype)
    if leaf.role != "parameter":
        raise DataError(f"input {leaf.name!r} is missing", node=leaf.name, source=leaf.location, todo=f"Give {leaf.name}=array.")
    from graphexec.optim.initializers import initial_value  # late: most callers give all parameters

    return initial_value(leaf.name, leaf.init, tuple(int(n) for n in leaf.shape), leaf.dtype, 0)


def _in_dtype(fn: Function, dtype: str) -> Function:
    """Converts floating leaves, and casts to floating types, to another floating type."""
    leaves = [replace(leaf, dtype=dtype) if DTYPES[leaf.dtype] == "f" else leaf for leaf in fn.leaves]
    nodes = [Node(n.name, n.op, n.inputs, n.outputs, floating_as(n.attributes, dtype), n.location) for n in fn.nodes]
    return fn.with_nodes(nodes, leaves=leaves)


def floating_as(attributes: Attributes, dtype: str) -> dict[str, Any]:
    """Adapts a node's attributes to another floating type: a cast to a floating type now casts to that type."""
    return {k: dtype if k == "dtype" and DTYPES.get(v) == "f" else v for k, v in attributes.items()}


# -- forward and back


def forward(fn: Function, given: Mapping[int, Array], *, watch: Watch = iter) -> dict[int, Array]:
    """Computes every value of a function; given values, leaves or not, are used unchanged. ``watch`` passes the nodes on."""
    values = {leaf.value_id: np.asarray(leaf.value, leaf.dtype) for leaf in fn.leaves if leaf.value is not None}
    values.update(given)
    for node in watch(fn.nodes):
        arrays = [None if v == ABSENT else values[v] for v in node.inputs]
        try:
            results = evaluate(node.op, arrays, with_sizes(node, fn).attributes)
        except GraphExecError as error:
            raise error.at(node=node.name, op=node.op.name, source=node.location) from error.__cause__
        for v, result in zip(node.outputs, results, strict=True):
            values[v] = given.get(v, result)
    return values


def with_sizes(node: Node, fn: Function) -> Node:
    """Replaces dimension names in attributes, as in ``shape=(-1, "batch")``, by sizes, because arrays have no names."""
    if not any(isinstance(value, tuple) and any(isinstance(n, str) for n in value) for value in node.attributes.values()):
        return node
    sizes = {n.expression: int(n) for v in node.inputs if v != ABSENT for n in fn.specs[v].shape if isinstance(n, Size)}
    attributes = {k: tuple(sizes.get(n, n) for n in v) if isinstance(v, tuple) else v for k, v in node.attributes.items()}
    return Node(node.name, node.op, node.inputs, node.outputs, attributes, node.location)


def reverse(
    fn: Function, values: Mapping[int, Array], of: int, wrt: Sequence[int], *, watch: Watch = iter, seen: Seen | None = None
) -> dict[int, Array]:
    """Computes the delta of every value between ``wrt`` and ``of``.

    ``watch`` passes the nodes on; ``seen`` is told what each one contributes, and the deltas so far, which include its outputs'.
    """
    if values[of].shape != () or values[of].dtype.kind != "f":
        raise DifferentiationError(f"{fn.names[of]!r} is not a floating scalar", node=fn.names[of], todo="Reduce it first.")
    active = set(wrt)
    for node in fn.nodes:
        if not active.isdisjoint(node.reads):  # a shape has no derivative
            active.update(v for v in node.outputs if values[v].dtype.kind == "f")
    parts: dict[int, list[Array]] = {of: [np.ones_like(values[of])]}
    makers = {v: node for node in fn.nodes for v in node.outputs}
    deltas: dict[int, Array] = {}
    for node in watch(fn.nodes[::-1]):
        _settle(node.outputs, parts, deltas)
        if not active.isdisjoint(node.reads) and any(v in deltas for v in node.outputs):
            try:
                given = list(_pull_back(with_sizes(node, fn), values, deltas, active, makers))
            except GraphExecError as error:
                raise error.at(node=node.name, source=node.location) from error.__cause__
            if seen is not None:
                seen(node, given, deltas)
            for v, delta in given:
                if delta is not None and v in active:
                    parts.setdefault(v, []).append(_sum_to(delta, values[v]))
    _settle((leaf.value_id for leaf in fn.leaves), parts, deltas)
    return deltas


def _settle(values: Iterable[int], parts: Mapping[int, list[Array]], deltas: dict[int, Array]) -> None:
    """Sums contributions in the order in which they were found: from the last consumer to the first."""
    for v in values:
        if v in parts:
            deltas[v] = functools.reduce(np.add, parts[v])


def _sum_to(delta: Array, like: Array) -> Array:
    """Undoes broadcasting: sums over the axes along which a value was repeated."""
    lead = delta.ndim - like.ndim
    axes = tuple(a for a in range(delta.ndim) if a < lead or (like.shape[a - lead] == 1 and delta.shape[a] != 1))
    return np.asarray(delta.sum(axis=axes)).reshape(like.shape).astype(like.dtype)


def _receivers(node: Node) -> list[int]:
    """The operands that receive deltas; ABSENT for an optional one that is not given."""
    op = node.op
    if op.variadic:
        return list(node.inputs)
    given = dict(zip(op.inputs, node.inputs, strict=False))
    return [given.get(p, ABSENT) for p in op.differentiable_inputs]


def _pull_back(
    node: Node, values: Mapping[int, Array], deltas: Mapping[int, Array], active: Container[int], makers: Mapping[int, Node]
) -> Iterable[tuple[int, Array | None]]:
    """Computes a node's contributions, with the operands that receive them, by its op's own rule."""
    op, outputs = node.op, list(zip(node.op.outputs, node.outputs, strict=True))
    planned = isinstance(op, ElementwiseOp) and op.gradient_rule is None and op.differentiable
    takes_all = planned and op.backward_op is None
    lost = [] if takes_all else [o for o, v in outputs if v in deltas and o not in asked_deltas(op)]
    if lost:
        raise DifferentiationError(
            f"a delta reaches its output {lost[0]!r}, but its backward rule does not take 'd_{lost[0]}'", op=op.name,
            todo="Do not differentiate through that output, or add the parameter to the rule.",
        )  # fmt: skip
    if planned:
        return _planned(node, plan(node, makers.get, deltas, active), values, deltas)
    named: dict[str, Array | None] = {f"d_{o}": deltas[v] if v in deltas else np.zeros_like(values[v]) for o, v in outputs}
    named |= {o: values[v] for o, v in outputs} | dict.fromkeys(op.inputs)
    named |= {p: values.get(v) for p, v in zip(op.inputs, node.inputs, strict=False)}  # ABSENT has no value
    if op.gradient_rule is not None:
        absent = {f"d_{o}" for o, v in outputs if v not in deltas}
        given = _call_gradient(node, op.gradient_rule, named, values, absent)
    else:
        rule = _backward_op(op)
        given = list(evaluate(rule, [named[name] for name in rule.inputs], {k: node.attributes[k] for k in rule.attributes}))
    return zip(_receivers(node), given, strict=True)


def _planned(
    node: Node, planned: Plan, values: Mapping[int, Array], deltas: Mapping[int, Array]
) -> Iterable[tuple[int, Array]]:
    """Evaluates the backward nodes of an elementwise node."""
    own = {f"d_{o}": v for o, v in zip(node.op.outputs, node.outputs, strict=True)}
    for term in planned.terms:
        operands = [deltas.get(own[n], np.zeros_like(values[own[n]])) if n in own else values[planned.values[n]]
                    for n in term.operands]  # fmt: skip
        if term.factor is not None:
            operands[0] = operands[0] * values[planned.values[term.factor]]
        found = evaluate(term.op, operands, {k: planned.attributes[k] for k in term.op.attributes})
        yield from zip([planned.values[name] for name in term.targets], found, strict=True)


def asked_deltas(op: Op) -> tuple[str, ...]:
    """The outputs whose deltas the op's rule takes. A single output counts even if the rule ignores its delta."""
    if len(op.outputs) == 1:
        return op.outputs
    rule = op.gradient_rule
    names = tuple(inspect.signature(rule).parameters) if rule is not None else _backward_op(op).inputs
    return tuple(o for o in op.outputs if f"d_{o}" in names)


def _backward_op(op: Op) -> Op:
    found = backward_of(op)
    if found is None:
        raise DifferentiationError("it has no backward rule", op=op.name, todo="Stop the gradient before it with stop_gradient.")
    return found


def _call_gradient(
    node: Node, rule: Any, named: Mapping[str, Array | None], values: Mapping[int, Array], absent: Container[str]
) -> list[Array | None]:
    positional: list[Plain | None] = []
    keywords: dict[str, Any] = {}
    for p in inspect.signature(rule).parameters.values():
        if p.kind is p.KEYWORD_ONLY:
            keywords[p.name] = node.attributes[p.name]
        elif p.kind is p.VAR_POSITIONAL:
            positional += [Plain(values[v]) for v in node.inputs]
        else:
            array = named[p.name]
            positional.append(None if array is None else Plain(array, p.name in absent))
    result = rule(*positional, **keywords)
    results = result if isinstance(result, (tuple, list)) else (result,)
    receivers = _receivers(node)
    if len(results) < len(receivers):  # a rule may omit the deltas of absent optional operands
        rest = iter(results)
        results = [None if v == ABSENT else next(rest, None) for v in receivers]
    return [None if r is None or r.absent else r.array for r in results]
