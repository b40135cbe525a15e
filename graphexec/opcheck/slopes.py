"""Checks of the backward rule: against differences of the forward pass, un-jitted, in float32, at kinks; its memory and pieces.

The gradient is that of the outputs, weighted at random and added up. Small operands are checked entry by entry, so that the whole
Jacobian contributes; others along random directions. Central differences are accurate to fourth order in the step; where they bend,
as at a kink, the gradient must lie between the slopes of either side.
Source: Fornberg, "Generation of finite difference formulas on arbitrarily spaced grids", 1988.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from graphexec.errors import DifferentiationError, GraphExecError, KernelError
from graphexec.gradcheck import check_gradient
from graphexec.ir.op import Op
from graphexec.opcheck.bench import Bench, Run
from graphexec.opcheck.cases import Case
from graphexec.opcheck.compare import difference, first
from graphexec.opcheck.problem import Posed, posed
from graphexec.opcheck.report import short
from graphexec.opcheck.session import Session, place_of, raised
from graphexec.opcheck.values import check_memory, check_troubles

STEP = 1e-3
TOLERANCE = 1e-6
WHOLE_BELOW = 24
"""Operands with fewer entries are checked entry by entry."""
DIRECTIONS = 2
SMALL_STEP = 1e-5
"""The step for slopes on one side, short enough not to reach the next kink."""
SIDES = 1e-4
"""Accuracy of these slopes."""
FLOAT32 = 1e-3
"""Largest accepted difference between gradients in float32 and float64, relative to the largest entry."""
CALL = "print(gx.check_gradient(gx.ops.{op}, {arguments}, raises=False))"


class Slope(NamedTuple):
    """The slope of a function along a direction, and functions for those on either side, which cost more evaluations."""

    central: float
    sides: Callable[[], tuple[float, float] | None]
    """The slopes on the lower and the upper side, by small steps; None where the function jumps."""


def has_gradient(op: Op) -> bool:
    """Whether the op promises a gradient."""
    return op.differentiable and "f" in op.kinds and bool(op.differentiable_inputs)


def check_case(session: Session, case: Case, seen: Counter[str], *, memory: bool = True, check: str = "gradient") -> None:
    """All checks of the gradient for one case in float64; ``seen`` counts the operands whose gradient is not zero."""
    op = session.op
    session.begin(check, case)
    try:
        made = posed(op, case, dtype="float64", gradient=True, seed=session.seed)
        if made.of < 0 or not made.wrt:
            return
        bench = _bench(made)
    except DifferentiationError as error:
        if op.rules.differentiates or check != "gradient":
            session.fault(check, f"its gradient {raised(error)}", case, place=place_of(error, op))
        else:
            what = "it has no backward rule: give one, or declare differentiable=False"
            session.fault(check, f"{what} ({error.what})", None, place=place_of(error, op))
        return
    except GraphExecError as error:
        session.fault("compile", f"its gradient {raised(error)}", case, place=place_of(error, op))
        return
    run = bench.run()
    if run.status:
        _refused(session, case, run, made)
        return
    check_troubles(session, case, run)
    native = {name: run.results[name].array for name in made.wrt}
    for name in made.wrt:
        if np.isnan(native[name]).any() or (native[name] != 0).any():
            seen[name] += 1
    if memory:
        check_memory(session, case, bench, run, "its backward rule", list(made.wrt))
    if memory and any(f.check == "unwritten" for f in session.findings):
        return
    if _check_plain(session, case, made, native, check):
        _check_slopes(session, case, made, native, check)


def _bench(made: Posed) -> Bench:
    fn = made.differentiated()
    return Bench(fn, made.arrays, {name: fn.gradients[made.fn.names[v]] for name, v in made.wrt.items()})


def _refused(session: Session, case: Case, run: Run, made: Posed) -> None:
    """A kernel has reported an error; the forward kernel's own statuses are looked at by the checks of values."""
    op = session.op
    node = run.failed
    if node is None or (node.op is op and run.status in op.errors):
        return
    text = f"the kernel of {node.op.name!r} fails with status {run.status}"
    place = node.op.file
    try:
        made.plain_gradients()
    except Exception as error:  # what it raises, un-jitted
        text, place = f"the kernel of {node.op.name!r} {raised(error)}", place_of(error, node.op)
    session.fault("exception", text, case, place=place)


def _check_plain(session: Session, case: Case, made: Posed, native: Mapping[str, np.ndarray], check: str) -> bool:
    """The un-jitted rules against the native ones. Returns whether there are slopes to check: a rule may stop all deltas."""
    op = session.op
    try:
        with np.errstate(all="ignore"):
            plain = made.plain_gradients()
    except (NotImplementedError, ArithmeticError, KernelError):
        return True
    except IndexError as error:
        session.fault("out of range", f"its un-jitted backward rule {raised(error)}", case, place=place_of(error, op))
        return True
    except Exception as error:  # whatever the rule raises
        if not isinstance(error, GraphExecError) or not isinstance(error.__cause__, (AttributeError, ArithmeticError)):
            session.fault("un-jitted", f"its un-jitted backward rule {raised(error)}", case, place=place_of(error, op), call=CALL)
        return True
    if not plain and op.rules.differentiates:
        session.warning("proves little", "its backward rule stops every delta: is that meant?")
        return False
    for name, array in plain.items():
        wrong = difference(native[name], array, 1e-8)
        if wrong is not None and np.isfinite(array).all():
            text = f"d_{name} of the native rule differs from that of the un-jitted one: {wrong.text}"
            session.fault(check, text, case, call=CALL)
            return True
    return True


# -- differences


def _check_slopes(session: Session, case: Case, made: Posed, native: Mapping[str, np.ndarray], check: str) -> None:
    leaves = made.leaves
    rounding = 1e-6 * max(abs(made.value()), 1.0)
    for name, value in made.wrt.items():
        gradient, at = native[name], leaves[value]
        function = functools.partial(_moved, made, value)
        found = [(where, d, slope(function, at, d)) for where, d in directions(at, session.seed)]
        largest = max((abs(s.central) for _, _, s in found if np.isfinite(s.central)), default=0.0)
        for where, direction, along in found:
            with np.errstate(all="ignore"):
                analytic = float(np.sum(np.where(direction == 0, 0.0, gradient * direction)))
            wrong = judged(analytic, along, largest, rounding)
            if wrong is not None:
                kink, text = wrong
                session.fault("kink" if kink else check, f"d_{name} is wrong{where}: {text}", case, call=CALL)
                break


def _moved(made: Posed, value: int, array: np.ndarray) -> float:
    return made.value({value: array})


def judged(analytic: float, slope: Slope, largest: float, rounding: float) -> tuple[bool, str] | None:
    """Whether it is at a kink, and what is wrong with a gradient along a direction; None if nothing is, or there is no slope.

    Where central differences do not agree, as they bend near a kink, the gradient must lie between the slopes on either side.
    """
    if not np.isfinite(slope.central):
        return None
    scale = max(abs(analytic), abs(slope.central), 1e-3 * largest, rounding)
    error = abs(analytic - slope.central) / scale
    if error <= TOLERANCE:
        return None
    sides = slope.sides()
    if sides is None:
        return None
    low, high = sorted(sides)
    room = SIDES * max(abs(low), abs(high), 1e-3 * largest, rounding)
    if low - room <= analytic <= high + room:
        return None
    if high - low > 10 * room:
        text = f"the rule gives {analytic:.6g}, which is not between the slopes on either side"
        return True, f"{text}, {sides[0]:.6g} and {sides[1]:.6g}"
    return False, f"the rule gives {analytic:.9g}, differences {slope.central:.9g} (relative error {error:.1e})"


def directions(array: np.ndarray, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Directions and where they are: every entry of a small array, random ones for a large one, and all entries together."""
    if array.size < WHOLE_BELOW:
        for index in np.ndindex(array.shape):
            unit = np.zeros(array.shape)
            unit[index] = 1.0
            yield (f" at {list(index)}" if index else ""), unit
        if array.size > 1:
            yield " along all entries together", np.ones(array.shape)
        return
    rng = np.random.default_rng([seed, array.size])
    for _ in range(DIRECTIONS):
        yield " along a random direction", rng.uniform(-1.0, 1.0, array.shape)


def slope(f: Callable[[np.ndarray], float], at: np.ndarray, direction: np.ndarray) -> Slope:
    """Slopes of a function along a direction."""

    def value(steps: float) -> float:
        with np.errstate(all="ignore"):
            return f(at + steps * direction)

    def sides() -> tuple[float, float] | None:
        mid = value(0.0)
        found = []
        for h in (-SMALL_STEP, SMALL_STEP):
            near, far, nearer = value(h), value(2 * h), value(h / 8)
            side, closer = (4 * near - 3 * mid - far) / (2 * h), (nearer - mid) * 8 / h
            if not np.isfinite(side + closer) or abs(closer) > 3 * abs(side) + 1e-3 or abs(side) > 3 * abs(closer) + 1e-3:
                return None  # it jumps, or has a pole
            found.append(side)
        return found[0], found[1]

    low2, low, high, high2 = (value(k * STEP) for k in (-2, -1, 1, 2))
    return Slope((8 * (high - low) - (high2 - low2)) / (12 * STEP), sides)


# -- other types, and higher derivatives


def check_float32(session: Session, case: Case, good: bool = True) -> None:
    """The gradient in float32 against that in float64 of the same operands, and that against differences where it is not finite.

    What lies outside of the op's domain is a warning.
    """
    session.begin("float32 gradient", case)
    operands = tuple(a if a is None or a.dtype.kind != "f" else a.astype("float32") for a in case.operands)
    rounded = Case(case.label, operands, case.attributes, codes=case.codes)
    found: dict[str, dict[str, np.ndarray]] = {}
    for dtype in ("float32", "float64"):
        try:
            made = posed(session.op, rounded, dtype=dtype, gradient=True, seed=session.seed)
            if made.of < 0 or not made.wrt:
                return
            run = _bench(made).run()
        except GraphExecError as error:
            if dtype == "float32" and not isinstance(error, DifferentiationError):
                session.fault("compile", f"its gradient in float32 {raised(error)}", case, place=place_of(error, session.op))
            return
        if run.status:
            return
        found[dtype] = {name: run.results[name].array for name in made.wrt}
    for name, exact in found["float64"].items():
        _check_finite(session, rounded, made, name, exact, good)
        _compare_float32(session, rounded, name, found["float32"][name], exact, good)


def _check_finite(session: Session, case: Case, made: Posed, name: str, gradient: np.ndarray, good: bool) -> None:
    """Where a gradient is not finite, the slope is not either."""
    at = made.leaves[made.wrt[name]]
    tell = session.fault if good else session.warning
    for index in [tuple(map(int, i)) for i in np.argwhere(~np.isfinite(gradient))[:3]]:
        if not np.isfinite(at[index]):
            continue
        unit = np.zeros(at.shape)
        unit[index] = 1.0
        along = slope(functools.partial(_moved, made, made.wrt[name]), at, unit)
        if np.isfinite(along.central) and along.sides() is not None:
            text = f"d_{name} is {short(gradient[index])} at {short(at[index])}, where differences give {along.central:.6g}"
            tell("gradient", f"it overflows or divides by zero: {text}", case, call=CALL)
            return


def _compare_float32(session: Session, case: Case, name: str, single: np.ndarray, double: np.ndarray, good: bool) -> None:
    tell = session.fault if good else session.warning
    with np.errstate(all="ignore"):
        lost = ~np.isfinite(single) & np.isfinite(double) & (np.abs(double) < 1e38)
        fine = np.isfinite(single) & np.isfinite(double)
        largest = float(np.max(np.abs(double[fine]), initial=0.0))
        wrong = fine & (np.abs(single - double) > FLOAT32 * max(largest, 1e-30))
    if not lost.any() and not wrong.any():
        return
    index = tuple(first(lost if lost.any() else wrong))
    operands = ", ".join(short(a[index]) for a in case.operands if a is not None and a.shape == single.shape)
    at = f"at {list(index)}" + (f" (operands {operands})" if operands else "")
    values = f"it is {short(single[index])} in float32 and {short(double[index])} in float64 {at}"
    tell("float32 gradient", f"d_{name} {'overflows' if lost.any() else 'is inaccurate'}: {values}", case, call=CALL)


def check_higher(session: Session, case: Case, derivative: int) -> None:
    """A higher derivative, where the op has one, by `check_gradient`."""
    check = f"derivative {derivative}"
    session.begin(check, case)
    try:
        report = check_gradient(
            session.op, *case.operands, attributes=dict(case.attributes), derivative=derivative, seed=session.seed, raises=False
        )
    except DifferentiationError:
        return
    except Exception as error:  # whatever a rule raises
        session.fault(check, f"it {raised(error)}", case, place=place_of(error, session.op))
        return
    failed = [c for c in report.checks if not c.error <= report.tolerance and not c.kink and np.isfinite(c.numeric)]
    if failed:
        worst = max(failed, key=lambda c: c.error)
        text = f"by {worst.operand!r} at {worst.where}: the rule gives {worst.analytic:.9g}, differences {worst.numeric:.9g}"
        call = CALL.replace("raises=False", f"derivative={derivative}, raises=False")
        session.fault(check, f"the derivative of order {derivative} is wrong {text}", case, call=call)
