"""Checks of values at special points, element by element."""

from __future__ import annotations

import numpy as np

from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.opcheck.cases import Case
from graphexec.opcheck.compare import difference, lost_digits, overflown
from graphexec.opcheck.report import short
from graphexec.opcheck.session import Session
from graphexec.opcheck.values import Forward, tolerance_of, types_of


def check_special(session: Session, group: str, good: bool, case: Case) -> None:
    """Values at special points, by element. What lies outside of the op's domain, where it declares one, is a warning."""
    op = session.op
    if types_of(case) in session.broken:
        return
    session.begin("special", case)
    forward = Forward(session, case)
    expected, bench = forward.expected(), forward.bench()
    if expected is None or bench is None:
        return
    run = bench.run()
    if run.status:
        return
    wide = forward.wide()
    where = f"{group}{'' if good or group == 'the ends of the type' else ', outside of its domain'}"
    for k, (name, b) in enumerate(zip(op.outputs, expected, strict=True)):
        a = run.results[name].array
        tell = session.fault if good else session.warning
        if a.shape == b.shape and a.dtype.kind == b.dtype.kind == "f":
            dropped = np.isnan(b) & ~np.isnan(a)
            if group == "NaN" and dropped.any():
                session.fault("special", f"output {name!r} drops NaN: {short(a[dropped][0])} where the reference gives nan", case)
                return
        wrong = difference(a, b, 50 * tolerance_of(a, case), each=isinstance(op, ElementwiseOp))
        if wrong is not None:
            operands = ", ".join(short(o[wrong.at]) for o in case.operands if o is not None and o.shape == a.shape)
            at = f" (operands {operands})" if operands else ""
            tell("special", f"output {name!r} differs from the reference at {where}: {wrong.text}{at}", _only(op, case, wrong.at))
            return
        if wide and (index := overflown(a, wide[k])) is not None:
            what = f"{short(a[index])} where a wider type gives {short(wide[k][index].astype(float))}"
            tell("overflow", f"output {name!r} overflows at {where}: {what}", _only(op, case, index))
            return
        if wide and good and isinstance(op, ElementwiseOp) and (lost := lost_digits(a, wide[k])) is not None:
            session.warning("precision", f"output {name!r} loses digits at {where}: {lost.text}", case)


def _only(op: Op, case: Case, index: tuple[int, ...]) -> Case:
    """The case of one element, for an elementwise op."""
    if not isinstance(op, ElementwiseOp) or len(index) != 1:
        return case
    operands = tuple(None if a is None else a[index[0] : index[0] + 1] for a in case.operands)
    return Case(case.label, operands, case.attributes)
