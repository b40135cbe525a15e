"""What a kernel costs: allocation, loops that do not vectorise and what stops them, and time beside copying memory."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import numpy as np

from graphexec.codegen.kernels import Kernel
from graphexec.errors import GraphExecError
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.opcheck.bench import Bench
from graphexec.opcheck.cases import Case
from graphexec.opcheck.problem import posed
from graphexec.opcheck.session import Session

ALLOCATES = re.compile(r"NRT_(?:Allocate|MemInfo_alloc|MemInfo_new)\w*")
VECTOR = re.compile(r"<\d+ x (?:float|double|i32|i64|i1|i8)>")
LIBRARY = re.compile(r"@llvm\.(exp|exp2|exp10|log|log2|log10|sin|cos|tan|sinh|cosh|tanh|asin|acos|atan|atan2|pow)\.")
"""Intrinsics that LLVM lowers to a call for each element."""
CALL = re.compile(r"call (?:fast )?\w+ @([A-Za-z_][\w.]*)\(")
HARMLESS = ("llvm.", "graphexec_", "numba_unpickle", "NRT_")
SLOW = 40.0
"""Times the time of copying the memory from which an op is called slow."""


def check(session: Session, case: Case, largest: Case) -> None:
    """The kernels of a case and of its gradient as machine code; the time that the largest case takes."""
    op = session.op
    session.begin("cost", case)
    try:
        made = posed(op, case)
        bench = Bench(made.fn, made.arrays, made.results)
    except GraphExecError:
        return
    for instruction in bench.program.instructions:
        if instruction.node.op is op or op.op_class != "composite":
            _check_kernel(session, instruction.kernel, isinstance(instruction.node.op, KernelOp))
    if op.backward_op is not None:
        made = posed(op, case, gradient=True)
        fn = made.differentiated()
        backward = Bench(fn, made.arrays, {name: fn.gradients[made.fn.names[v]] for name, v in made.wrt.items()})
        for instruction in backward.program.instructions:
            if instruction.node.op is op.backward_op:
                _check_kernel(session, instruction.kernel, isinstance(instruction.node.op, KernelOp), "its backward kernel")
    if isinstance(op, ElementwiseOp) and largest.size > 10_000:
        made = posed(op, largest)
        _check_time(session, largest, Bench(made.fn, made.arrays, made.results))


def _check_kernel(session: Session, kernel: Kernel, array_kernel: bool, what: str = "its kernel") -> None:
    """Looks at the optimised IR of a kernel."""
    text = kernel.optimized()
    if not text:
        return
    if array_kernel:
        found = ALLOCATES.search(text)
        if found:
            session.warning("cost", f"{what} allocates memory in every call: use scratch= memory, or a local variable")
        return
    library = sorted(set(LIBRARY.findall(text)))
    if library:
        text = f"{what} calls the C library's {', '.join(library)}, once for each element; use graphexec.math"
        session.warning("cost", f"the loop of {text}")
        return
    if VECTOR.search(text):
        return
    calls = [c for c in dict.fromkeys(CALL.findall(text)) if not c.startswith(HARMLESS)]
    reason = f"it calls {', '.join(calls[:3])}" if calls else "a branch or a dependency stops it"
    todo = "use graphexec.math in place of math" if calls else "compute both sides and choose with a conditional expression"
    session.warning("cost", f"the loop of {what} is not vectorised: {reason}; {todo}")


def _check_time(session: Session, case: Case, bench: Bench) -> None:
    """Time for one element beside that of copying it."""
    arrays = [a for a in case.operands if a is not None]
    source, target = np.zeros(arrays[0].size, arrays[0].dtype), np.empty(arrays[0].size, arrays[0].dtype)
    copying = min(_seconds(lambda: np.copyto(target, source)) for _ in range(5))
    running = min(_seconds(bench.call_once) for _ in range(5))
    if running > SLOW * copying:
        per = 1e9 * running / arrays[0].size
        session.warning("cost", f"an element costs {per:.1f} ns, {running / copying:.0f} times the time of copying it")


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
