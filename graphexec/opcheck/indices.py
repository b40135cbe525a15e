"""Integers that are no valid index: a kernel that computes an address from a value must check the value first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from graphexec.errors import GraphExecError
from graphexec.opcheck.bench import NANS, Bench, Fill, same_bits
from graphexec.opcheck.cases import Case
from graphexec.opcheck.problem import posed
from graphexec.opcheck.session import Session

FAR = 2**40
"""Far outside of any buffer: reading there ends the process."""


def check(session: Session, cases: Sequence[Case]) -> None:
    """Puts integers just outside of every size, and far outside, into each integer operand in turn."""
    op = session.op
    for case in cases:
        sizes = [n for a in case.operands if a is not None for n in a.shape]
        near = max([1, *sizes]) + 1
        for slot, array in enumerate(case.operands):
            if array is None or array.dtype.kind != "i" or not array.size or op.input_name(slot) in op.shape_only:
                continue
            for value in (near, -near - 1, min(FAR, np.iinfo(array.dtype).max)):
                changed = array.copy()
                changed.reshape(-1)[-1] = value
                operands = (*case.operands[:slot], changed, *case.operands[slot + 1 :])
                label = f"{op.input_name(slot)} holds {value}, which may be no index"
                _check_one(session, replace(case, operands=operands, codes=(), label=label))


def _check_one(session: Session, case: Case) -> None:
    session.begin("indices", case)
    try:
        made = posed(session.op, case)
        bench = Bench(made.fn, made.arrays, made.results)
    except GraphExecError:
        return
    run, other = bench.run(), bench.run(Fill(guards=NANS))
    if run.status and other.status:
        return
    todo = "check it before it becomes an address, and return a status that errors= explains"
    for trouble in run.troubles:
        session.fault("out of range", f"its kernel {trouble.what} where {case.label}: {todo}", case)
        return
    for name in session.op.outputs:
        if not same_bits(run.results[name].array, other.results[name].array).all():
            session.fault("out of range", f"its kernel reads outside of its operands where {case.label}: {todo}", case)
            return
