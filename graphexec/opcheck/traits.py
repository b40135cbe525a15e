"""Checks of what an op declares about itself: traits, a reduction's identity, the state of an update rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from graphexec.errors import GraphExecError
from graphexec.interpret import evaluate
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ReductionOp
from graphexec.opcheck.bench import Bench, same_bits
from graphexec.opcheck.cases import Case
from graphexec.opcheck.compare import TOLERANCE, difference, first
from graphexec.opcheck.problem import posed
from graphexec.opcheck.report import short
from graphexec.opcheck.session import Session

STEPS = 3


def native(op: Op, case: Case) -> list[np.ndarray] | None:
    """The native results of a case; None if a kernel reports an error or does not compile."""
    try:
        made = posed(op, case)
        run = Bench(made.fn, made.arrays, made.results).run()
    except GraphExecError:
        return None
    return None if run.status else [run.results[o].array for o in op.outputs]


def check(session: Session, cases: Iterable[Case]) -> None:
    """All declared traits, on cases that the op takes."""
    op = session.op
    for case in cases:
        arrays = [a for a in case.operands if a is not None]
        if len(arrays) != len(case.operands):
            continue
        if op.commutative:
            _equal(session, case, replace(case, operands=case.operands[::-1]), "commutative=True, but swapped operands give")
        for slot, number in op.neutral.items():
            _check_neutral(session, case, slot, number)
        if op.identity_function:
            _check_result(session, case, "identity_function=True, but the result is not the operand", lambda c: c.operands[0])
        if op.involution:
            _check_twice(session, case)
        if op.exact and not isinstance(op, ReductionOp):
            _check_exact(session, case)


def _equal(session: Session, case: Case, other: Case, text: str) -> None:
    session.begin("traits", case)
    if any(a is not None and b is not None and a.dtype != b.dtype for a, b in zip(case.operands, other.operands, strict=True)):
        return
    a, b = native(session.op, case), native(session.op, other)
    for x, y in zip(a or [], b or [], strict=False):
        if x.shape == y.shape and not same_bits(x, y).all():
            index = tuple(first(~same_bits(x, y)))
            session.fault("traits", f"{text} {short(y[index])} in place of {short(x[index])}", case)
            return


def _check_neutral(session: Session, case: Case, slot: int, number: float) -> None:
    kept = case.operands[1 - slot]
    if kept is None:
        return
    session.begin("traits", case)
    operands = [kept, kept]
    operands[slot] = np.full_like(kept, number)
    given = Case(case.label, tuple(operands), case.attributes)
    found = native(session.op, given)
    if found and not same_bits(found[0], kept.astype(found[0].dtype)).all():
        index = tuple(first(~same_bits(found[0], kept.astype(found[0].dtype))))
        text = f"neutral={{{slot}: {number}}}, but with {number} in slot {slot} the op gives {short(found[0][index])}"
        session.fault("traits", f"{text} for {short(kept[index])}", given)


def _check_result(session: Session, case: Case, text: str, expected: Callable[[Case], np.ndarray | None]) -> None:
    session.begin("traits", case)
    found, wanted = native(session.op, case), expected(case)
    if not found or wanted is None or found[0].dtype != wanted.dtype:
        return
    equal = found[0].shape == wanted.shape and bool(same_bits(found[0], wanted).all())
    if not equal:
        index = tuple(first(~same_bits(found[0], wanted))) if found[0].shape == wanted.shape else ()
        pair = f": {short(found[0][index])} for {short(wanted[index])}" if found[0].shape == wanted.shape else ""
        session.fault("traits", text + pair, case)


def _check_twice(session: Session, case: Case) -> None:
    once = native(session.op, case)
    if once:
        again = replace(case, operands=(once[0],))
        session.begin("traits", case)
        found, wanted = native(session.op, again), case.operands[0]
        if found and wanted is not None and found[0].dtype == wanted.dtype and not same_bits(found[0], wanted).all():
            index = tuple(first(~same_bits(found[0], wanted)))
            text = f"involution=True, but applied twice it gives {short(found[0][index])} for {short(wanted[index])}"
            session.fault("traits", text, case)


def _check_exact(session: Session, case: Case) -> None:
    session.begin("traits", case)
    op = session.op
    found = native(op, case)
    try:
        expected = evaluate(op, case.operands, op.check_attributes(case.attributes))
    except GraphExecError:
        return
    for name, a, b in zip(op.outputs, found or [], expected, strict=False):
        if a.shape == b.shape and a.dtype == b.dtype and not same_bits(a, b).all():
            index = tuple(first(~same_bits(a, b)))
            text = f"exact=True, but the reference gives {b[index]!r} and the kernel {a[index]!r} for output {name!r}"
            session.fault("traits", text, case)
            return


# -- reductions


def check_reduction(session: Session, op: ReductionOp) -> None:
    """The identity element, and that the grouping does not matter."""
    session.begin("reduction", "combine")
    rng = np.random.default_rng(session.seed)
    low, high = op.domain if isinstance(op.domain, tuple) else (-1.0, 1.0)

    def combine(a: float, b: float) -> float:
        return float(op.function(np.float64(a), np.float64(b)))

    try:
        with np.errstate(all="ignore"):
            for x in (0.0, 1.0, -1.0, 0.5, 1e3, -1e3, *rng.uniform(low, high, 4)):
                if "f" in op.kinds and abs(combine(op.identity, x) - x) > 1e-12 * max(abs(x), 1):
                    text = f"identity={op.identity} is not the identity element"
                    session.fault("reduction", f"{text}: combining it with {x:g} gives {combine(op.identity, x):g}")
                    break
            drawn = rng.uniform(low, high, (20, 3)) * rng.uniform(0.9, 1.0, (20, 3))  # with bits to the last, so that sums round
            for a, b, c in drawn:
                left, right = combine(combine(a, b), c), combine(a, combine(b, c))
                if abs(left - right) > 1e-9 * max(abs(left), abs(right), 1):
                    text = "combine is not associative, so the result depends on how many elements there are"
                    pair = f"(({a:.4g}, {b:.4g}), {c:.4g}) gives {left:.6g}, ({a:.4g}, ({b:.4g}, {c:.4g})) {right:.6g}"
                    session.fault("reduction", f"{text}: {pair}")
                    break
                if op.exact and np.longdouble(combine(a, b)) != op.function(np.longdouble(a), np.longdouble(b)):
                    text = f"exact=True, but combining {a:.17g} and {b:.17g} rounds"
                    session.fault("traits", text)
                    break
    except Exception:  # what combine raises un-jitted says nothing: it may call what only runs compiled
        return
    if not op.nonempty and op.reference is not None and not op.shape_only:
        _check_empty(session, op)


def _check_empty(session: Session, op: ReductionOp) -> None:
    empty = Case("an empty axis", (np.zeros((2, 0)),), {"axis": 1})
    if "f" not in op.kinds:
        return
    session.begin("reduction", empty)
    found = native(op, empty)
    try:
        with np.errstate(all="ignore"):
            expected = np.asarray(op.reference(empty.operands[0], axis=1, keepdims=False) if op.reference else 0)
    except Exception as error:  # NumPy refuses, as for a maximum of nothing
        given = short(found[0]) if found else "nothing"
        text = f"it gives {given} for no elements, where its reference raises {type(error).__name__}; declare nonempty=True"
        session.fault("reduction", text, empty)
        return
    if found and np.isnan(expected).any() and not np.isnan(found[0]).any():
        text = f"it gives {short(found[0])} for no elements, where its reference gives nan; declare nonempty=True"
        session.fault("reduction", text, empty)


# -- update rules


def check_steps(session: Session, cases: Sequence[Case]) -> None:
    """The state of an update rule after several steps, against the reference."""
    op = session.op
    for case in cases:
        session.begin("steps", case)
        states: list[list[np.ndarray | None]] = [list(case.operands), list(case.operands)]
        for step in range(STEPS):
            ran = native(op, Case("", tuple(states[0]), case.attributes))
            if ran is None:
                return
            with session.guarded("steps", "its reference", case):
                referred = evaluate(op, states[1], op.check_attributes(case.attributes))
                for k, name in enumerate(op.updates):
                    slot = op.inputs.index(name)
                    states[0][slot], states[1][slot] = ran[k], np.asarray(referred[k])
                    tolerance = 10 * TOLERANCE.get(ran[k].dtype.name, 1e-10)
                    wrong = difference(ran[k], referred[k], tolerance)
                    if wrong is not None:
                        text = f"after step {step + 1}, {name!r} differs from the reference: {wrong.text}"
                        session.fault("steps", text, case)
                        return
