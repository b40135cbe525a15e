"""Special points: zeros, ties, ones, large numbers, the ends of the type, infinities, NaN, constant rows, and kinks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.spec import DTYPES
from graphexec.opcheck.cases import Case, Drawing

ORDINARY = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 0.25, 6.0, -6.0, 1e-3, -1e-3)
LARGE = (100.0, -100.0, 1e4, -1e4, 20.0, -20.0)
TINY = (1e-8, -1e-8, 1e-20)
INTEGERS = (0, 1, -1, 2, -2, 3, 7, 100, -100, 46_341, 2**24 + 1, 2**31 - 1, -(2**31), 2**53 + 1)


def domain_of(op: Op, operand: str) -> tuple[float, float] | None:
    """The domain that an op declares for an operand; None if it declares none."""
    if isinstance(op.domain, Mapping):
        return op.domain.get(operand)
    return None if op.domain is None else tuple(op.domain)


def inside(op: Op, operand: str, points: np.ndarray) -> np.ndarray:
    """Where points lie in the domain of an operand; everywhere if it has none."""
    domain = domain_of(op, operand)
    if domain is None or points.dtype.kind != "f":
        return np.ones(points.shape, bool)
    with np.errstate(all="ignore"):
        return np.asarray((points >= domain[0]) & (points <= domain[1]))


def points(dtype: str) -> dict[str, np.ndarray]:
    """Groups of points of a type, by name."""
    if DTYPES[dtype] == "b":
        return {"both values": np.array([False, True])}
    if DTYPES[dtype] == "i":
        info = np.iinfo(dtype)
        ends = (info.max, info.min, info.max - 1, info.min + 1)
        return {
            "integers": np.array([n for n in INTEGERS if info.min <= n <= info.max], dtype),
            "the ends of the type": np.array(ends, dtype),
        }
    info_f = np.finfo(dtype)
    return {
        "ordinary points": np.array(ORDINARY, dtype), "large numbers": np.array(LARGE, dtype),
        "tiny numbers": np.array([*TINY, *_small(dtype)], dtype),
        "the ends of the type": np.array([info_f.max, info_f.min, info_f.tiny, -info_f.tiny], dtype),
        "infinities": np.array([np.inf, -np.inf], dtype), "NaN": np.array([np.nan], dtype),
    }  # fmt: skip


def _small(dtype: str) -> list[float]:
    """Normal numbers whose squares are 0."""
    small = float(np.finfo(dtype).tiny) ** 0.75
    return [small, -small]


def elementwise_cases(op: Op, dtype: str, seed: int) -> Iterator[tuple[str, bool, Case]]:
    """For each group of points: its name, whether all lie in the domain, and a case in which they meet one another."""
    drawing = Drawing(op, seed)
    count = len(op.inputs)
    plain = drawing.case("", [()] * count, dtype).operands
    for group, values in points(dtype).items():
        for part, all_inside in _parts(op, values):
            if not part.size:
                continue
            if count == 2:
                usual = np.array(ORDINARY[:8], dtype) if values.dtype.kind == "f" else values
                others = part if group in ("ordinary points", "integers") else np.concatenate([part, usual]).astype(dtype)
                pairs = list(itertools.product(part, others))
                pairs += [(b, a) for a, b in pairs]
                arrays = [np.array([p[k] for p in pairs], dtype) for k in range(2)]
                yield group, all_inside, _case(op, group, arrays, dtype)
                continue
            for slot in range(count):
                arrays = [np.full(part.shape, a) if a is not None else part for a in plain]
                arrays[slot] = part
                yield group, all_inside, _case(op, group, arrays, dtype)
            if count > 2:
                yield group, all_inside, _case(op, f"equal {group}", [part] * count, dtype)


def _case(op: Op, group: str, arrays: list[np.ndarray], dtype: str) -> Case:
    operands = tuple(a.astype(op.types.get(p, dtype)) for a, p in zip(arrays, op.inputs, strict=True))
    return Case(f"special points, {group}", operands)


def _parts(op: Op, values: np.ndarray) -> list[tuple[np.ndarray, bool]]:
    """The points in the domain of every operand, and the others."""
    good = np.ones(values.shape, bool)
    for name in op.inputs:
        good &= inside(op, name, values)
    return [(values[good], True), (values[~good], False)]


def row_cases(op: Op, dtype: str, make: Callable[[], list[Case]]) -> Iterator[tuple[str, bool, Case]]:
    """Cases whose floating operands are constant, have ties, or hold one NaN or infinity: for ops that see whole arrays."""
    if DTYPES[dtype] != "f":
        return
    fillings: list[tuple[str, Callable[[np.ndarray], np.ndarray]]] = [
        ("zeros", np.zeros_like), ("ones", np.ones_like), ("minus ones", lambda a: -np.ones_like(a)),
        ("a constant", lambda a: np.full_like(a, 0.75)), ("ties", lambda a: np.round(a * 2) / 2),
        ("large numbers", lambda a: a * 0 + 100.0), ("large differences", lambda a: _alternating(a, 100.0)),
        ("very large numbers", lambda a: _alternating(a, 1e4)), ("a large offset", lambda a: a + 1e3),
        ("the ends of the type", lambda a: np.full_like(a, np.finfo(a.dtype).max / 2)),
        ("NaN", lambda a: _with(a, np.nan)), ("infinity", lambda a: _with(a, np.inf)),
        ("minus infinity", lambda a: _with(a, -np.inf)),
    ]  # fmt: skip
    for base in make():
        free = [k for k, a in enumerate(base.operands) if a is not None and a.dtype.kind == "f" and a.size]
        for group, filled in fillings:
            operands = list(base.operands)
            for k in free:
                array = operands[k]
                if array is not None:
                    operands[k] = np.asarray(filled(array), array.dtype)
            names = {op.inputs[0 if op.variadic else k] for k in free}
            arrays = [a for k, a in enumerate(operands) if k in free and a is not None]
            good = group != "the ends of the type" and all(bool(inside(op, n, a).all()) for n in names for a in arrays)
            yield group, good, Case(f"special points, {group}", tuple(operands), base.attributes)


def _with(array: np.ndarray, value: float) -> np.ndarray:
    new = array.copy()
    new.reshape(-1)[new.size // 2] = value
    return new


def _alternating(array: np.ndarray, value: float) -> np.ndarray:
    new = np.full(array.size, value, array.dtype)
    new[1::2] = -value
    return new.reshape(array.shape)


def smooth_cases(op: Op, seed: int) -> Iterator[Case]:
    """Cases in float64 at which gradients are compared with the slopes on either side."""
    if isinstance(op, ElementwiseOp) and not op.variadic:
        for group, good, case in elementwise_cases(op, "float64", seed):
            if good and group == "ordinary points":
                yield from _few(case)


def _few(case: Case) -> Iterator[Case]:
    """Some of the points of a case, few enough that each entry is checked."""
    n = max((a.size for a in case.operands if a is not None), default=0)
    for start in range(0, min(n, 88), 11):
        operands = tuple(None if a is None else a[start : start + 11] for a in case.operands)
        yield Case(case.label, operands, case.attributes)
