"""check_op: finds what is wrong with an op, as a strict reviewer would; what `graphexec ops check` runs.

    report = gx.check_op("swish")
    report.passed, report.findings
    print(report)

It draws operands of many sizes, ranks, layouts and element types (`cases`), or takes the op's own `examples=`; compares kernels
with the reference and with un-jitted code (`values`, `special`, `traits`), gradients with differences (`slopes`), and watches
what kernels do to memory (`bench`). All of this runs in a child process (`child`), so that a crash or a hang is a finding, too.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from graphexec.ir.declare import Declaration
from graphexec.ir.op import Op
from graphexec.ir.registry import registry
from graphexec.opcheck.bench import Bench
from graphexec.opcheck.child import Send, resumed
from graphexec.opcheck.report import Finding, OpReport, merged
from graphexec.opcheck.session import Session, place_of, raised
from graphexec.opcheck.stages import STAGES, Plan

__all__ = ["Finding", "OpReport", "check_op"]

TIMEOUT = 20.0
"""Seconds without an answer of a kernel that runs."""


def check_op(
    op: Any, *, derivative: int = 1, attributes: Mapping[str, Any] | None = None, shapes: Sequence[Any] | None = None,
    seed: int = 0, timeout: float = TIMEOUT,
) -> OpReport:  # fmt: skip
    """Checks an op, given by its name or its declaration, and returns a report; it raises nothing that the op does.

    Operands come from the op's ``examples=``, from ``shapes`` (one for each operand, None for one that is left out), or are drawn
    from its ``domain`` in the shapes that its rules accept. ``attributes`` are those to check with; without them, defaults and
    second values of every attribute. Gradients are checked up to the order ``derivative``, and to the second where the op has one.
    A kernel that gives no answer for ``timeout`` seconds is called a hang; compiling may take longer. The same ``seed`` gives the
    same cases.

    *Raises* UnknownOpError for a name that no op has, OpError for attributes that the op does not take.
    """
    target = op.op if isinstance(op, Declaration) else op if isinstance(op, Op) else registry.get(op)
    given = {} if attributes is None else target.non_defaults(target.check_attributes({**_required(target), **attributes}))
    chosen = None if shapes is None else [None if s is None else tuple(s) for s in shapes]
    plan = Plan(derivative, given, chosen, seed, attributes is not None)
    begin = time.perf_counter()
    findings: list[Finding] = []
    counts: Counter[str] = Counter()
    with_stages = functools.partial(_run, target, plan)
    for ended in resumed(STAGES, with_stages, timeout):
        last: dict[str, Any] = {"check": "start", "case": "", "code": ""}
        for message in ended.messages:
            if "finding" in message:
                findings.append(Finding(**message["finding"]))
            elif "check" in message:
                last = message
                counts[message["check"]] += 1
        if ended.trouble:
            check = "hang" if "no answer" in ended.trouble else "crash"
            about = f"; for {last['case']}" if last["case"] else ""
            text = f"it {ended.trouble}, in the check of {last['check']}{about}"
            findings.append(Finding("fault", check, text, target.file, last["code"]))
    return OpReport(target.name, merged(findings), dict(counts), time.perf_counter() - begin)


def _required(op: Op) -> dict[str, Any]:
    from graphexec.opcheck.attributes import defaults

    return defaults(op) or {}


def _run(op: Op, plan: Plan, stages: Collection[str], send: Send) -> None:
    """The stages in the child; what a stage raises by a fault of the checker's own is told as such."""
    told = False

    def tell(check: str, case: Any) -> None:
        code = case.code(op) if hasattr(case, "code") else ""
        nonlocal told
        told = False
        send({"check": check, "case": str(case), "code": code})

    def found(finding: Finding) -> None:
        send({"finding": finding.__dict__})

    def running() -> None:
        nonlocal told
        if not told:
            told = True
            send({"running": True})

    Bench.before_run = staticmethod(running)
    session = Session(op, plan.seed, tell, found)
    for stage in stages:
        send({"stage": stage})
        try:
            STAGES[stage](session, plan)
        except Exception as error:  # a fault of this package, or an op that misleads it: the other stages go on
            session.fault("unknown", f"the check of {stage} ended early: it {raised(error)}", place=place_of(error, op))
