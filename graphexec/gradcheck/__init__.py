"""check_gradient: compares backward rules with central differences, in float64.

    check_gradient("tanh")                        an op, with operands drawn from its domain, or an example of it
    check_gradient(swish, attributes={"beta": 2}) an op that is not registered yet
    check_gradient(graph, of="loss")              a graph

It checks two gradients on the same data: the native program's, and the interpreter's, which runs the rules un-jitted.
Random weights first reduce an op's outputs to one number, so that every entry of its Jacobian contributes. Small operands
are checked entry by entry, others along random directions. The differences,
`(8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h`, use the NumPy references and are accurate to fourth order in h.
Where that would evaluate too many nodes, all operands are checked together, along directions in which all of them move; then
the differences are taken node by node (`gradcheck/joint.py`).
Source: Fornberg, "Generation of finite difference formulas on arbitrarily spaced grids", 1988.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from graphexec.autodiff.reverse import differentiate_function
from graphexec.errors import GradientMismatch, GraphExecError
from graphexec.gradcheck import joint
from graphexec.gradcheck.finite import obstacle
from graphexec.gradcheck.problem import Problem, draw, draw_call, draw_operands, higher, pose_graph, pose_op
from graphexec.graph.graph import Graph
from graphexec.interpret import forward, reverse
from graphexec.ir.declare import Declaration
from graphexec.ir.examples import Call
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.infer import infer
from graphexec.ir.keys import freeze
from graphexec.ir.op import Op
from graphexec.ir.registry import registry
from graphexec.lower import lower
from graphexec.lower.alignment import aligned_array
from graphexec.progress import showing, watch
from graphexec.rewrite import REUSE, skipped
from graphexec.rewrite import optimize as rewrite
from graphexec.runtime.runner import Runner

__all__ = ["Check", "GradientReport", "check_gradient", "draw", "draw_call", "draw_operands"]

Array = np.ndarray
Arrays = Mapping[str, Any]
Generator = np.random.Generator

STEP = 1e-3
TOLERANCE = 1e-6
WHOLE_BELOW = 24
"""Operands with fewer entries are checked entry by entry."""
DIRECTIONS = 3
KINK = 1e-4
"""Suspect a kink if the slopes of neighbouring steps deviate from a straight line by more than this fraction."""
MAX_EVALUATIONS = 200_000
"""Nodes computed one by one for the differences of a check, about; beyond, its operands are checked together."""
MAX_NODES_PER_SIGNATURE = 3
"""Nodes of one op, attributes and operand specs that are tried to find the one whose rule is wrong."""
MAX_TRIED = 100
"""Nodes of any kind that are tried."""
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
    """The result of `check_gradient`; prints as a table."""

    target: str
    checks: tuple[Check, ...]
    tolerance: float
    notes: tuple[str, ...] = field(default=())

    @property
    def max_error(self) -> float:
        """The largest relative error of all checks."""
        return max((c.error for c in self.checks), default=0.0)

    @property
    def passed(self) -> bool:
        """Whether every error is within the tolerance."""
        return self.max_error <= self.tolerance

    def __str__(self) -> str:
        rows = [(c.operand, c.rule, f"{c.error:.1e}", c.analytic, c.numeric, c.where) for c in self.checks]
        table = tabulate(rows, headers=("operand", "rule", "relative error", "gradient", "difference", "at"), floatfmt=".9g")
        verdict = "passed" if self.passed else "FAILED"
        return "\n".join([f"{self.target}: {verdict}, tolerance {self.tolerance:.0e}", table, *self.notes])


def check_gradient(
    target: Any, *operands: Any, attributes: Mapping[str, Any] | None = None, shapes: Sequence[Any] | None = None,
    of: str | None = None, wrt: Iterable[str] | None = None, inputs: Arrays | None = None, parameters: Arrays | None = None,
    derivative: int = 1, seed: int = 0, tolerance: float = TOLERANCE, raises: bool = True, optimize: bool = True,
    skip_passes: str | Iterable[str] = (), progress: bool = False,
) -> GradientReport:  # fmt: skip
    """Compares gradients with central differences in float64.

    ``target`` is a graph or an op (its name or its declaration). For an op, give ``attributes`` and either ``operands`` or the
    ``shapes`` of operands to draw from its domain; without either, an example of the op, or shapes that suit it, are chosen, and
    ``attributes`` replace the example's. For a graph, give the scalar ``of`` (default: its only scalar output),
    ``wrt`` (default: its trainable parameters and floating inputs), ``inputs`` (default: drawn) and ``parameters`` (default:
    initial values). ``derivative=2`` checks the gradient of the gradient. If drawn operands seem to have hit a kink, where
    the slope changes abruptly, others are drawn. ``optimize`` and ``skip_passes`` are those of `compile`. In a large graph, all
    operands are checked together, along few random directions, and the report says so; the time grows with the number of nodes.
    ``progress`` shows a bar on standard error for each stage that takes more than a second.

    *Raises* GradientMismatch, unless ``raises=False``; DataError if NaN or infinity, in the data or in a result, keeps gradients
    from being compared; DifferentiationError if there is no gradient to check.
    """
    skip = skipped(optimize, skip_passes)
    if isinstance(target, Graph):
        wanted = None if wrt is None else list(wrt)

        def graph_problem(rng: Generator) -> Problem:
            return higher(pose_graph(target, of, wanted, inputs or {}, parameters or {}, rng), derivative, rng)._replace(skip=skip)

        with showing(progress):
            return _attempt(graph_problem, seed, tolerance, raises)
    op = target.op if isinstance(target, Declaration) else target if isinstance(target, Op) else registry.get(target)

    def op_problem(rng: Generator) -> Problem:
        if operands:
            call = Call(tuple(None if o is None else np.asarray(o) for o in operands), op.check_attributes(attributes or {}))
        else:
            call = draw_call(op, rng, attributes or {}, shapes)
        return higher(pose_op(op, *call, rng), derivative, rng)._replace(drawn=not operands, skip=skip)

    with showing(progress):
        return _attempt(op_problem, seed, tolerance, raises)


# -- the comparison


class _Found(NamedTuple):
    """Largest errors by operand and rule; for an un-jitted rule that is wrong, the node, if it has been found."""

    checks: list[Check]
    node: Node | None = None
    note: str = ""


@np.errstate(all="ignore")  # what is not finite becomes an error, with its place
def _attempt(problem: Any, seed: int, tolerance: float, raises: bool) -> GradientReport:
    """Checks, and repeats with other operands while a kink may explain every failure; a wrong rule fails on those too."""
    for attempt in range(ATTEMPTS):
        posed: Problem = problem(np.random.default_rng([seed, attempt]))
        found = _compare(posed, np.random.default_rng([seed, attempt, 1]), tolerance)
        failed = [c for c in found.checks if not c.error <= tolerance]
        if not posed.drawn or not failed or not all(c.kink for c in failed):
            break
    notes = [f"operands were drawn {attempt + 1} times, because the first ones hit a kink"] if attempt else []
    notes += [found.note] if found.note else []
    report = GradientReport(posed.target, tuple(found.checks), tolerance, tuple(notes))
    if failed and raises:
        unknown = None if all(np.isfinite(c.numeric) for c in failed) else obstacle(posed)
        raise _mismatch(posed, max(failed, key=lambda c: c.error), report, found.node) if unknown is None else unknown
    return report


def _mismatch(problem: Problem, worst: Check, report: GradientReport, wrong_node: Node | None) -> GradientMismatch:
    node = op = None
    if wrong_node is not None:
        node, op = wrong_node.name, wrong_node.op.name
    elif problem.target.startswith("graph"):
        node, op = _culprit(problem, report.tolerance)
    else:
        op = problem.fn.name
    facts = [
        f"{worst.rule} gradient by {worst.operand!r} at {worst.where}: {worst.analytic:.9g}",
        f"central difference: {worst.numeric:.9g}   (relative error {worst.error:.1e}, tolerance {report.tolerance:.0e})",
    ]
    wrong = {c.rule for c in report.checks if not c.error <= report.tolerance}
    both = "Correct the backward rule: it is wrong un-jitted as well."
    todo = both if len(wrong) > 1 else f"Look at the {worst.rule} rule: the other one agrees."
    return GradientMismatch("the gradient differs from central differences", node=node, op=op, facts=facts, todo=todo)


def _culprit(problem: Problem, tolerance: float) -> tuple[str | None, str | None]:
    """Finds the first node whose rule is wrong at the values that its operands have in the graph, by a few of each signature."""
    values = forward(problem.fn, problem.leaves)
    tried: Counter[Any] = Counter()
    for node in problem.fn.nodes:
        arrays = [None if v == ABSENT else values[v] for v in node.inputs]
        signature = (node.op, freeze(node.attributes), *[None if a is None else (a.shape, a.dtype.name) for a in arrays])
        tried[signature] += 1
        if tried[signature] > MAX_NODES_PER_SIGNATURE:
            continue
        if len(tried) > MAX_TRIED:
            break
        try:
            own = pose_op(node.op, arrays, node.attributes, np.random.default_rng(0))
            if any(not c.error <= tolerance for c in _compare(own, np.random.default_rng(1), tolerance).checks):
                return node.name, node.op.name
        except GraphExecError:
            continue
    return None, None


def _compare(problem: Problem, rng: Generator, tolerance: float) -> _Found:
    values = forward(problem.fn, problem.leaves, watch=partial(watch, "values"))
    wrt = list(problem.wrt.values())
    deltas = reverse(problem.fn, values, problem.of, wrt, watch=partial(watch, "un-jitted rules"))
    plain = {v: deltas.get(v, np.zeros_like(values[v])) for v in wrt}
    native = native_gradients(problem.fn, problem.of, wrt, problem.leaves, problem.skip)
    gradients = {"native": native, "un-jitted": plain}
    count = sum(size if size < WHOLE_BELOW else DIRECTIONS for size in (values[v].size for v in wrt))
    if 5 * count * len(problem.fn.nodes) > MAX_EVALUATIONS:
        return _compare_together(problem, values, deltas, gradients, rng, tolerance)
    rounding = 1e-6 * max(abs(float(values[problem.of])), 1.0)
    checks = []
    for name, v in watch("differences", list(problem.wrt.items()), "operand"):
        found = _directions(values[v], rng)
        probes = [_numeric(problem, v, values[v], direction) for _, direction in found]
        largest = max((abs(p.slope) for p in probes), default=0.0)
        for rule, gradient in gradients.items():
            entries = [Check(name, rule, 0.0, 0.0, 0.0, "nowhere: it is empty")]
            for (where, direction), probe in zip(found, probes, strict=True):
                analytic = float(np.sum(gradient[v] * direction))
                scale = max(abs(analytic), abs(probe.slope), 1e-3 * largest, rounding)
                error = abs(analytic - probe.slope) / scale
                entries.append(Check(name, rule, error if np.isfinite(error) else np.inf, analytic, probe.slope, where, probe.kink))
            # report a failure that no kink explains before one that a kink may explain
            checks.append(max(entries[1:] or entries, key=lambda c: (c.error > tolerance and not c.kink, c.error)))
    return _Found(checks)


def _compare_together(
    problem: Problem, values: Mapping[int, Array], deltas: Mapping[int, Array], gradients: Mapping[str, Mapping[int, Array]],
    rng: Generator, tolerance: float,
) -> _Found:  # fmt: skip
    """Compares along directions in which all operands move; the number of nodes decides how many."""
    checks: list[Check] = []
    noise = 0.0
    count = min(max(MAX_EVALUATIONS // (2 * len(problem.fn.nodes)), 1), DIRECTIONS)
    rounding = 1e-6 * max(abs(float(values[problem.of])), 1.0)
    name = f"all {len(problem.wrt)} together"
    for k in range(count):
        along = joint.direction(gradients["un-jitted"], rng)
        moved = joint.tangents(problem.fn, values, along, partial(watch, f"differences, direction {k}"))
        numeric = float(moved.of.get(problem.of, np.float64(0.0)))
        uncertain = moved.uncertainty(deltas)
        for rule, gradient in gradients.items():
            terms = np.array([np.sum(gradient[v] * d) for v, d in along.items()])
            analytic = float(np.sum(terms))
            scale = max(abs(analytic), abs(numeric), float(np.linalg.norm(terms)), rounding, uncertain / tolerance)
            error, noise = abs(analytic - numeric) / scale, max(noise, uncertain / max(float(np.linalg.norm(terms)), rounding))
            error = error if np.isfinite(error) else np.inf
            checks.append(Check(name, rule, error, analytic, numeric, f"random direction {k}", bool(moved.kinks)))
        if k == 0:
            stage = partial(watch, "rules, node by node")
            wrong = joint.wrong_rule(problem.fn, values, moved, problem.of, list(along), tolerance, stage)
    if wrong is not None:
        checks.append(Check(f"operands of {wrong.node.name}", "un-jitted", wrong.error, wrong.analytic, wrong.numeric, "the node"))
    note = (
        f"the graph is large: its {len(problem.wrt)} operands were checked together, along {count} random direction(s), "
        f"and the un-jitted rules of its {len(problem.fn.nodes)} nodes one by one, along the first"
    )
    if all(c.analytic == c.numeric == 0.0 for c in checks):
        note += "; all slopes are 0 there, so give parameters at which they are not"
    if noise > tolerance:
        note += f"; rounding makes these differences uncertain by {noise:.0e}, so together the gradients are checked no better"
    return _Found(checks, None if wrong is None else wrong.node, note)


def _directions(array: Array, rng: Generator) -> list[tuple[str, Array]]:
    """Named directions: unit directions for a small array, random ones for a large one."""
    if array.size < WHOLE_BELOW:
        units = np.eye(array.size).reshape(array.size, *array.shape)
        return [(f"index {tuple(map(int, index))}", unit) for index, unit in zip(np.ndindex(array.shape), units, strict=True)]
    return [(f"random direction {k}", rng.uniform(-1.0, 1.0, array.shape)) for k in range(DIRECTIONS)]


class _Probe(NamedTuple):
    slope: float
    kink: bool


def _numeric(problem: Problem, value: int, at: Array, direction: Array) -> _Probe:
    def f(steps: int) -> float:
        moved = {**problem.leaves, value: at + steps * STEP * direction}
        return float(forward(problem.fn, moved)[problem.of])

    low2, low, mid, high, high2 = (f(k) for k in (-2, -1, 0, 1, 2))
    slopes = np.diff([low2, low, mid, high, high2]) / STEP
    bend = float(np.max(np.abs(np.diff(slopes, 2))))
    return _Probe((8 * (high - low) - (high2 - low2)) / (12 * STEP), bend > KINK * float(np.max(np.abs(slopes))) and bend > 1e-8)


def native_gradients(
    fn: Function, of: int, wrt: Sequence[int], leaves: Mapping[int, Array], skip: Collection[str] = ()
) -> dict[int, Array]:
    """Computes gradients with a native program that keeps every value."""
    result = differentiate_function(fn, of, wrt)
    result = rewrite(result, range(len(result.names)), skip)
    arrays = {leaf.name: leaves[leaf.value_id] for leaf in fn.leaves if leaf.role != "constant"}
    named = [(leaf.shape, leaves[leaf.value_id].shape) for leaf in fn.leaves if leaf.value_id in leaves]
    sizes = {n: m for shape, found in named for n, m in zip(shape, found, strict=True) if isinstance(n, str)}
    buffers = {leaf.name: aligned_array(arrays[leaf.name]) for leaf in result.leaves if leaf.role != "constant"}
    result = infer(result, sizes)
    program = lower(result, buffers, result.gradients.values(), reuse=REUSE not in skip)
    Runner(program, result, {}).run()
    return {v: program.array(result.gradients[fn.names[v]]).copy() for v in wrt}
