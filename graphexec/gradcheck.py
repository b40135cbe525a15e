"""check_gradient: backward rules against central differences, in float64.

    check_gradient("tanh")                        an op, on operands drawn from its domain
    check_gradient(swish, attributes={"beta": 2}) an op that is not registered yet
    check_gradient(graph, of="loss")              a graph

Two gradients are compared with the same numbers: the native program's, and the interpreter's, which runs the rules
un-jitted. An op's outputs are first reduced to one number by random weights, so that every entry of its Jacobian takes
part. Small operands are checked entry by entry, others along random directions. The differences,
`(8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h`, are taken of the NumPy references and are of fourth order in h.
Source: Fornberg, "Generation of finite difference formulas on arbitrarily spaced grids", 1988.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from graphexec.builder import OrderBuilder, Traced
from graphexec.differentiate import differentiate_order
from graphexec.errors import DataError, DifferentiationError, GradientMismatch, GraphExecError
from graphexec.executable import Runner
from graphexec.graph import Graph
from graphexec.infer import infer
from graphexec.interpret import floating_as, forward, prepare, reverse
from graphexec.op import KernelOp, Op
from graphexec.order import ABSENT, Leaf, Order
from graphexec.plugin import Declaration
from graphexec.program import aligned_array, lower
from graphexec.registry import registry
from graphexec.rewrite import optimize
from graphexec.rewrite.expand import expand
from graphexec.spec import DTYPES, TensorSpec

Array = np.ndarray

STEP = 1e-3
TOLERANCE = 1e-6
WHOLE_BELOW = 24
"""Operands with fewer entries are checked entry by entry."""
DIRECTIONS = 3
KINK = 0.05
"""A kink is suspected where slopes of neighbouring steps differ by more than this part."""
ATTEMPTS = 4


@dataclass(frozen=True)
class Check:
    """The largest difference found for one operand and one way of computing its gradient."""

    operand: str
    rule: str
    error: float
    analytic: float
    numeric: float
    where: str
    kink: bool = False


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradient` found; prints as a table."""

    target: str
    checks: tuple[Check, ...]
    tolerance: float
    notes: tuple[str, ...] = field(default=())

    @property
    def max_error(self) -> float:
        return max((c.error for c in self.checks), default=0.0)

    @property
    def passed(self) -> bool:
        return self.max_error <= self.tolerance

    def __str__(self) -> str:
        rows = [(c.operand, c.rule, f"{c.error:.1e}", c.analytic, c.numeric, c.where) for c in self.checks]
        table = tabulate(rows, headers=("operand", "rule", "relative error", "gradient", "difference", "at"), floatfmt=".9g")
        verdict = "passed" if self.passed else "FAILED"
        return "\n".join([f"{self.target}: {verdict}, tolerance {self.tolerance:.0e}", table, *self.notes])


def check_gradient(
    target: Any, *operands: Any, attributes: Mapping[str, Any] | None = None, shapes: Sequence[Any] | None = None, of: str | None = None,
    wrt: Iterable[str] | None = None, inputs: Mapping[str, Any] | None = None, parameters: Mapping[str, Any] | None = None,
    derivative: int = 1, seed: int = 0, tolerance: float = TOLERANCE, raises: bool = True,
) -> GradientReport:  # fmt: skip
    """Compares gradients with central differences in float64.

    ``target`` is an op (its name, or as declared) or a graph. An op takes ``operands``, or draws them from its domain
    in ``shapes``, and ``attributes``. A graph takes the scalar ``of`` (default: its only scalar output), ``wrt``
    (default: its trainable parameters and floating inputs), ``inputs`` and ``parameters`` (default: drawn, and first
    values). ``derivative=2`` checks the gradient of the gradient. Where neighbouring steps have different slopes, drawn
    operands may have met a kink, and others are drawn.

    *Raises* GradientMismatch, unless ``raises=False``; DifferentiationError where there is no gradient to check.
    """
    if isinstance(target, Graph):
        wanted = None if wrt is None else list(wrt)

        def graph_problem(rng: np.random.Generator) -> _Problem:
            return _higher(_graph_problem(target, of, wanted, inputs or {}, parameters or {}, rng), derivative, rng)

        return _attempt(graph_problem, seed, tolerance, raises)
    op = target.op if isinstance(target, Declaration) else target if isinstance(target, Op) else registry.get(target)
    checked = op.check_attributes(attributes or {})

    def op_problem(rng: np.random.Generator) -> _Problem:
        arrays = [None if o is None else np.asarray(o) for o in operands] or draw_operands(op, rng, shapes)
        return _higher(_op_problem(op, arrays, checked, rng), derivative, rng)._replace(drawn=not operands)

    return _attempt(op_problem, seed, tolerance, raises)


def draw_operands(op: Op, rng: np.random.Generator, shapes: Sequence[Any] | None = None, dtype: str = "float64") -> list[Array | None]:
    """Operands of an op from its domain; ``shapes`` has one shape for each, None for an optional one to leave out."""
    if shapes is None:
        shapes = _shapes(op)
    names = [op.inputs[0 if op.variadic else k] for k in range(len(shapes))]
    return [None if s is None else draw(op, n, rng, tuple(s), dtype) for n, s in zip(names, shapes, strict=True)]


def draw(op: Op, operand: str, rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "float64") -> Array:
    """An array from an operand's domain, a little inside its ends."""
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
    """One shape for each operand: different sizes for different axes of a signature."""
    if op.variadic:
        return [(2, 3)] * 3
    if not isinstance(op, KernelOp) or op.core is None:
        return [(2, 3)] * len(op.inputs)
    letters = dict.fromkeys(a for axes in op.core for a in axes)
    sizes = {a: int(a) if a.isdigit() else k + 2 for k, a in enumerate(letters)}
    return [(2, *(sizes[a] for a in axes)) for axes in op.core[: len(op.inputs)]]


# -- what is checked


class _Problem(NamedTuple):
    """A scalar value of an order in float64, what to differentiate it by, and arrays for the leaves."""

    target: str
    order: Order
    of: int
    wrt: dict[str, int]
    leaves: dict[int, Array]
    drawn: bool


def _op_problem(op: Op, arrays: Sequence[Array | None], attributes: Mapping[str, Any], rng: np.random.Generator) -> _Problem:
    builder = OrderBuilder(Order(op.name, [], [], [], {}), [])
    leaves: dict[int, Array] = {}
    values = [None if a is None else _leaf(builder, leaves, op.input_name(k), a) for k, a in enumerate(arrays)]
    wrt = {v.name: v.index for k, v in enumerate(values) if v is not None and _differentiable(op, k) and v.dtype == "float64"}
    results = builder.apply(op, values, floating_as(attributes, "float64"))
    floating = [r for r in (results if isinstance(results, tuple) else (results,)) if DTYPES[r.dtype] == "f"]
    if not op.differentiable or not floating or not wrt:
        raise DifferentiationError(f"op {op.name!r} has no gradient to check", op=op.name, todo="It says differentiable=False, or is not floating.")
    total = _weighted(builder, leaves, floating, rng)
    order = expand(builder.order(Order(op.name, [], [], [], {})))
    return _Problem(f"op {op.name!r}", order, order.value_id(total.name), wrt, leaves, True)


def _higher(problem: _Problem, derivative: int, rng: np.random.Generator) -> _Problem:
    """The problem of the gradient's gradient: the first gradients, reduced to one number by random weights."""
    for _ in range(derivative - 1):
        first = differentiate_order(problem.order, problem.of, list(problem.wrt.values()))
        builder, leaves = OrderBuilder(first), dict(problem.leaves)
        builder.nodes = list(first.nodes)
        total = _weighted(builder, leaves, [builder.value(g) for g in first.gradients.values()], rng)
        problem = problem._replace(order=builder.order(problem.order), of=total.index, leaves=leaves)
    return problem


def _leaf(builder: OrderBuilder, leaves: dict[int, Array], name: str, array: Array) -> Traced:
    if array.dtype.kind == "f":
        array = array.astype("float64")
    index, name = len(builder.names), builder.fresh(name)
    builder.leaves.append(Leaf(name, "input", index, array.shape, array.dtype.name))
    builder.names.append(name)
    builder.specs.append(TensorSpec(array.shape, array.dtype.name))
    leaves[index] = array
    return Traced(builder, index)


def _weighted(builder: OrderBuilder, leaves: dict[int, Array], values: Sequence[Any], rng: np.random.Generator) -> Any:
    """The sum of all entries of values, each times a weight of its own, away from 0."""
    sums = []
    for value in values:
        weight = rng.uniform(0.5, 1.5, value.spec.shape) * rng.choice([-1.0, 1.0], value.spec.shape)
        sums.append((value * _leaf(builder, leaves, f"weight of {value.name}", weight)).sum())
    return sums[0] if len(sums) == 1 else registry.get("add_n")(*sums)


def _differentiable(op: Op, slot: int) -> bool:
    return op.variadic or op.inputs[slot] in op.differentiable_inputs


def _graph_problem(
    graph: Graph, of: str | None, wrt: Sequence[str] | None, inputs: Mapping[str, Any], parameters: Mapping[str, Any], rng: np.random.Generator
) -> _Problem:
    plain = graph.order()
    given = {leaf.name: np.asarray(inputs[leaf.name]) if leaf.name in inputs else _draw_leaf(leaf, rng) for leaf in plain.of_kind("input")}
    order, leaves = prepare(plain, {**inputs, **given}, parameters, "float64")
    if of is None:
        scalars = [n for n, v in order.outputs.items() if order.specs[v].shape == () and DTYPES[order.specs[v].dtype] == "f"]
        if len(scalars) != 1:
            raise DataError(
                f"the graph has {len(scalars)} scalar floating outputs", facts=[f"outputs: {', '.join(order.outputs) or 'none'}"],
                todo="Name the value to differentiate with of=.",
            )
        of = scalars[0]
    if wrt is None:
        reached = _reached(order, order.value_id(of))
        floating = [leaf for leaf in order.leaves if leaf.kind != "constant" and leaf.trainable and DTYPES[leaf.dtype] == "f"]
        wrt = [leaf.name for leaf in floating if leaf.value_id in reached]
    drawn = any(leaf.name not in inputs for leaf in plain.of_kind("input"))
    return _Problem(f"graph {graph.name!r}", order, order.value_id(of), {n: order.value_id(n) for n in wrt}, leaves, drawn)


def _reached(order: Order, of: int) -> set[int]:
    reached = {of}
    for node in reversed(order.nodes):
        if not reached.isdisjoint(node.outputs):
            reached.update(v for v in node.inputs if v != ABSENT)
    return reached


def _draw_leaf(leaf: Leaf, rng: np.random.Generator) -> Array:
    shape = tuple(3 if isinstance(n, str) else n for n in leaf.shape)
    kind = DTYPES[leaf.dtype]
    return np.asarray(rng.standard_normal(shape) if kind == "f" else rng.integers(0, 2, shape)).astype("float64" if kind == "f" else leaf.dtype)


# -- the comparison


def _attempt(problem: Any, seed: int, tolerance: float, raises: bool) -> GradientReport:
    """Checks, and again on other operands while every failure may be a kink; a wrong rule is wrong there too."""
    for attempt in range(ATTEMPTS):
        posed: _Problem = problem(np.random.default_rng([seed, attempt]))
        checks = _compare(posed, np.random.default_rng([seed, attempt, 1]), tolerance)
        failed = [c for c in checks if not c.error <= tolerance]
        if not posed.drawn or not failed or not all(c.kink for c in failed):
            break
    notes = (f"checked on operands drawn {attempt + 1} times: the first met a kink",) if attempt else ()
    report = GradientReport(posed.target, tuple(checks), tolerance, notes)
    if failed and raises:
        raise _mismatch(posed, max(failed, key=lambda c: c.error), report)
    return report


def _mismatch(problem: _Problem, worst: Check, report: GradientReport) -> GradientMismatch:
    node = op = None
    if problem.target.startswith("graph"):
        node, op = _culprit(problem, report.tolerance)
    else:
        op = problem.order.name
    facts = [
        f"{worst.rule} gradient by {worst.operand!r} at {worst.where}: {worst.analytic:.9g}",
        f"central difference: {worst.numeric:.9g}   (relative error {worst.error:.1e}, tolerance {report.tolerance:.0e})",
    ]
    todo = "Both rules disagree: correct the backward rule." if len({c.rule for c in report.checks if not c.error <= report.tolerance}) > 1 else (
        f"Only the {worst.rule} rule disagrees."
    )  # fmt: skip
    return GradientMismatch("the gradient differs from central differences", node=node, op=op, facts=facts, todo=todo)


def _culprit(problem: _Problem, tolerance: float) -> tuple[str | None, str | None]:
    """The first node whose own rule is wrong on the values that it has in the graph."""
    values = forward(problem.order, problem.leaves)
    for node in problem.order.nodes:
        arrays = [None if v == ABSENT else values[v] for v in node.inputs]
        try:
            own = _op_problem(node.op, arrays, node.attributes, np.random.default_rng(0))
            if any(not c.error <= tolerance for c in _compare(own, np.random.default_rng(1), tolerance)):
                return node.name, node.op.name
        except GraphExecError:
            continue
    return None, None


def _compare(problem: _Problem, rng: np.random.Generator, tolerance: float) -> list[Check]:
    values = forward(problem.order, problem.leaves)
    deltas = reverse(problem.order, values, problem.of, list(problem.wrt.values()))
    plain = {v: deltas.get(v, np.zeros_like(values[v])) for v in problem.wrt.values()}
    native = native_gradients(problem.order, problem.of, list(problem.wrt.values()), problem.leaves)
    rounding = 1e-6 * max(abs(float(values[problem.of])), 1.0)
    checks = []
    for name, v in problem.wrt.items():
        found = _directions(values[v], rng)
        probes = [_numeric(problem, v, values[v], direction) for _, direction in found]
        largest = max((abs(p.slope) for p in probes), default=0.0)
        for rule, gradient in (("native", native[v]), ("un-jitted", plain[v])):
            entries = [Check(name, rule, 0.0, 0.0, 0.0, "nowhere: it is empty")]
            for (where, direction), probe in zip(found, probes, strict=True):
                analytic = float(np.sum(gradient * direction))
                scale = max(abs(analytic), abs(probe.slope), 1e-3 * largest, rounding)
                error = abs(analytic - probe.slope) / scale
                entries.append(Check(name, rule, error if np.isfinite(error) else np.inf, analytic, probe.slope, where, probe.kink))
            # a failure that no kink explains comes before any that one may explain
            checks.append(max(entries[1:] or entries, key=lambda c: (c.error > tolerance and not c.kink, c.error)))
    return checks


def _directions(array: Array, rng: np.random.Generator) -> list[tuple[str, Array]]:
    """Unit directions of a small array, random ones of a large one, each with a name."""
    if array.size < WHOLE_BELOW:
        units = np.eye(array.size).reshape(array.size, *array.shape)
        return [(f"index {tuple(map(int, index))}", unit) for index, unit in zip(np.ndindex(array.shape), units, strict=True)]
    return [(f"random direction {k}", rng.uniform(-1.0, 1.0, array.shape)) for k in range(DIRECTIONS)]


class _Probe(NamedTuple):
    slope: float
    kink: bool


def _numeric(problem: _Problem, value: int, at: Array, direction: Array) -> _Probe:
    def f(steps: int) -> float:
        moved = {**problem.leaves, value: at + steps * STEP * direction}
        return float(forward(problem.order, moved)[problem.of])

    low2, low, mid, high, high2 = (f(k) for k in (-2, -1, 0, 1, 2))
    slopes = np.diff([low2, low, mid, high, high2]) / STEP
    spread, size = float(np.ptp(slopes)), float(np.max(np.abs(slopes)))
    return _Probe((8 * (high - low) - (high2 - low2)) / (12 * STEP), spread > KINK * size and spread > 1e-6)


def native_gradients(order: Order, of: int, wrt: Sequence[int], leaves: Mapping[int, Array]) -> dict[int, Array]:
    """The gradients by a native program that keeps every value."""
    result = differentiate_order(order, of, wrt)
    result = optimize(result, range(len(result.names)))
    arrays = {leaf.name: leaves[leaf.value_id] for leaf in order.leaves if leaf.kind != "constant"}
    sizes = {n: m for leaf in order.leaves for n, m in zip(leaf.shape, leaves.get(leaf.value_id, leaf).shape, strict=True) if isinstance(n, str)}
    buffers = {leaf.name: aligned_array(arrays[leaf.name]) for leaf in result.leaves if leaf.kind != "constant"}
    result = infer(result, sizes)
    program = lower(result, buffers, result.gradients.values())
    Runner(program, result, {}).run()
    return {v: program.array(result.gradients[order.names[v]]).copy() for v in wrt}
