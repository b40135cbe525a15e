"""Checks all gradients of a large graph at once, along directions in which all its operands move.

A graph of n nodes with m operands would need m evaluations of all n nodes. Here the change of every value along a direction,
its tangent, is carried forward through the graph: a node's tangent is the central difference of its reference along the
tangents of its operands. So a direction costs each node two evaluations, and, unlike a difference of the whole graph, it neither
loses accuracy with depth nor steps over the kinks of thousands of nodes. The tangent of the loss must equal the sum of the
products of gradients and direction; and what a node's rule gives its operands, times their tangents, must equal its deltas times
its own tangents. The second test finds a wrong rule in one pass over the nodes, even where gradients are almost zero.
Source: Griewank and Walther, "Evaluating Derivatives", 2008, section 3.2: <delta, tangent> is the same across every cut of a graph.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from graphexec.interpret import evaluate, reverse, with_sizes
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.op import Op, array_spec
from graphexec.ir.op_kinds import ElementwiseOp

Array = np.ndarray
Values = Mapping[int, Array]
Watch = Callable[[Sequence[Node]], Iterable[Node]]

STEPS = (6e-6, 1e-7, 1e-9)
"""Steps, for tangents of size 1: the first balances truncation and rounding; the others are for elements near a kink or a pole."""
BEND = 1e-3
"""The slopes on both sides of an element may differ by this fraction; otherwise a shorter step is tried."""
MAX_WEIGHT = 1e3
"""An operand with a small gradient moves farther, so that it counts as much, but at most so many times as far."""

TINY = 1e-290
"""Smaller numbers have lost digits."""

__all__ = ["Tangents", "direction", "tangents", "wrong_rule"]


class Tangents(NamedTuple):
    """The change of each value along a direction, how much of it may be rounding, and the values made at a kink."""

    of: dict[int, Array]
    noise: dict[int, float]
    kinks: set[int]

    def uncertainty(self, deltas: Values) -> float:
        """The part of the loss's tangent that may be rounding: of every node, passed on by its delta; independent of each other."""
        parts = [noise * float(np.linalg.norm(deltas[v])) for v, noise in self.noise.items() if v in deltas]
        return float(np.linalg.norm(parts))


class WrongRule(NamedTuple):
    """A node whose rule does not fit, with the slope along the direction according to its rule, and by differences."""

    node: Node
    error: float
    analytic: float
    numeric: float


def direction(gradients: Values, rng: np.random.Generator) -> dict[int, Array]:
    """A random direction for every operand, scaled so that small gradients count beside large ones."""
    norms = {v: float(np.linalg.norm(g)) for v, g in gradients.items()}
    largest = max(norms.values(), default=0.0)
    drawn = {}
    for v, gradient in gradients.items():
        weight = min(largest / norms[v], MAX_WEIGHT) if norms[v] > 0 and np.isfinite(largest) else 1.0
        drawn[v] = weight * rng.uniform(-1.0, 1.0, gradient.shape)
    return drawn


def tangents(fn: Function, values: Values, along: Values, watch: Watch = iter) -> Tangents:
    """Carries a direction forward through all nodes."""
    found, noise, kinks = dict(along), dict[int, float](), set[int]()
    for node in watch(fn.nodes):
        moving = [v if v != ABSENT and v in found else ABSENT for v in node.inputs]
        if all(v == ABSENT for v in moving) or _stops(node.op):
            continue
        floating = [v for v in node.outputs if values[v].dtype.kind == "f"]
        if not floating:
            continue
        slopes, step, kink = _slopes(node, fn, values, [None if v == ABSENT else found[v] for v in moving])
        if kink:
            kinks.update(floating)
        for v, slope in zip(node.outputs, slopes, strict=True):
            if v in floating and v not in along:
                found[v], noise[v] = slope, _rounding(values[v]) / step
    return Tangents(found, noise, kinks)


def _rounding(array: Array) -> float:
    """A bound of the rounding error of differences between values of this size."""
    return 16 * float(np.finfo(float).eps) * float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array)))


@functools.lru_cache(maxsize=256)
def _stops(op: Op) -> bool:
    """Whether an op stops deltas by declaration: its rule takes nothing."""
    return op.gradient_rule is not None and not inspect.signature(op.gradient_rule).parameters


def _slopes(node: Node, fn: Function, values: Values, along: Sequence[Array | None]) -> tuple[list[Array], float, bool]:
    """The slopes of a node's outputs along its operands' tangents, the last step, and whether a slope differs on both sides."""
    arrays = [None if v == ABSENT else values[v] for v in node.inputs]
    middle = [values[v] for v in node.outputs]
    size = max((float(np.max(np.abs(t), initial=0.0)) for t in along if t is not None), default=0.0)
    slopes = [np.zeros(m.shape) for m in middle]
    if size == 0.0 or not np.isfinite(size):
        return [s + size for s in slopes], 1.0, False
    moved = [float(np.max(np.abs(a), initial=0.0)) for a, t in zip(arrays, along, strict=True) if a is not None and t is not None]
    reach = max(1.0, *(m for m in moved if np.isfinite(m)), 0.0)
    function = _evaluator(node, fn, middle)
    open_ = [np.ones(m.shape, dtype=bool) for m in middle]
    for step in STEPS:
        h = step * reach / size
        high, low = (function([a if t is None else _at(a, s * h, t) for a, t in zip(arrays, along, strict=True)]) for s in (1, -1))
        for k, m in enumerate(middle):
            if m.dtype.kind == "f":
                right, left = _over(high[k], m, h), _over(m, low[k], h)
                slopes[k] = np.where(open_[k], (right + left) / 2, slopes[k])
                top = float(np.max(np.abs(slopes[k]), initial=0.0, where=np.isfinite(slopes[k])))
                open_[k] &= ~(np.abs(right - left) <= BEND * top + _rounding(m) / h)
            else:
                open_[k][...] = False
        if not any(o.any() for o in open_):
            return slopes, h, False
    return slopes, h, True


def _at(array: Array | None, step: float, tangent: Array) -> Array:
    assert array is not None
    return np.asarray(array + step * tangent)


def _over(high: Array, low: Array, step: float) -> Array:
    """The slope between two results; 0 where both are the same infinity."""
    return np.asarray(np.where(high == low, 0.0, high - low) / step)


def _evaluator(node: Node, fn: Function, outputs: Sequence[Array]) -> Callable[[Sequence[Array | None]], Sequence[Array]]:
    """Evaluates a node at other operands of the same shapes, so that none need be inferred again."""
    op, attributes = node.op, with_sizes(node, fn).attributes
    if op.reference is None and not isinstance(op, ElementwiseOp):
        return lambda arrays: evaluate(op, arrays, attributes)
    specs = [array_spec(o) for o in outputs]

    def call(arrays: Sequence[Array | None]) -> Sequence[Array]:
        results = op.evaluate_plain(arrays, attributes, specs)
        return [np.asarray(r).reshape(s.shape) for r, s in zip(results, specs, strict=True)]

    return call


def wrong_rule(
    fn: Function, values: Values, along: Tangents, of: int, wrt: Sequence[int], tolerance: float, watch: Watch = iter
) -> WrongRule | None:
    """The first node whose un-jitted rule does not fit the tangents; None if all do. A kink proves nothing."""
    found: WrongRule | None = None
    moved = frozenset(wrt)

    def test(node: Node, given: Sequence[tuple[int, Array | None]], deltas: Values) -> None:
        nonlocal found
        reached = [v for v in node.outputs if v in deltas and v in along.of]
        if not along.kinks.isdisjoint(reached) or _stops(node.op) or not moved.isdisjoint(node.outputs):
            return
        out = [deltas[v] * along.of[v] for v in reached]
        into = [delta * along.of[v] for v, delta in given if delta is not None and v in along.of]
        numeric, analytic = (sum(float(np.sum(p)) for p in parts) for parts in (out, into))
        rounding = sum(float(np.sum(np.abs(deltas[v]))) * along.noise.get(v, 0.0) for v in reached)
        scale = max((float(np.sum(np.abs(p))) for p in (*out, *into)), default=0.0)
        if not abs(analytic - numeric) <= 10 * tolerance * scale + rounding + TINY:
            found = WrongRule(node, abs(analytic - numeric) / scale, analytic, numeric)

    reverse(fn, values, of, wrt, watch=watch, seen=test)
    return found
