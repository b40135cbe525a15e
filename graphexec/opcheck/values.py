"""Checks of the forward kernel: against the reference, the un-jitted function and its decomposition; memory and pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphexec.eager import compute
from graphexec.errors import GraphExecError, KernelError, PluginError
from graphexec.interpret import evaluate
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Op, raise_status
from graphexec.ir.op_kinds import CompositeOp, ElementwiseOp, ReductionOp, ShapeOp, ViewOp
from graphexec.ir.spec import TensorSpec
from graphexec.opcheck.bench import NANS, NUMBERS, Bench, Fill, Run, orders, same_bits
from graphexec.opcheck.cases import LONG, Case
from graphexec.opcheck.compare import TOLERANCE, WIDER, Difference, as_list, difference, first, lost_digits, overflown
from graphexec.opcheck.problem import posed
from graphexec.opcheck.report import short
from graphexec.opcheck.session import Session, place_of, raised

PLAIN_BELOW = 400
"""Elements up to which un-jitted code is tried: it is slow."""


class Forward:
    """What is known of one case: the results by the reference, and by kernels."""

    def __init__(self, session: Session, case: Case) -> None:
        self.session, self.op, self.case = session, session.op, case
        self.attributes = self.op.check_attributes(case.attributes)
        self.specs = self.op.infer(case.specs, self.attributes)
        self.copies = tuple(None if a is None else a.copy() for a in case.operands)

    def expected(self) -> list[np.ndarray] | None:
        """The results by the reference, or by a composite's function; None if it fails, which is noted."""
        op, case = self.op, self.case
        if op.reference is None or isinstance(op, ShapeOp):
            with self.session.guarded("reference", "its function", case):
                return [np.asarray(a) for a in evaluate(op, self.copies, self.attributes)]
            return None
        with self.session.guarded("reference", "its reference", case), np.errstate(all="ignore"):
            raw = as_list(self._referred(self.copies), op.outputs)
            changed = [op.input_name(k) for k, (a, b) in enumerate(zip(self.copies, case.operands, strict=True))
                       if a is not None and b is not None and not bool(same_bits(a, b).all())]  # fmt: skip
            if changed and not op.updates:
                self.session.fault("reference", f"its reference changes its operand {changed[0]!r}", case)
                return None
            return self._in_shape(raw)
        return None

    def _referred(self, operands: Sequence[Any]) -> Any:
        op = self.op
        if isinstance(op, ReductionOp) and op.shape_only:  # the reference does not learn which axes stay
            return op.evaluate_plain(operands, self.attributes, self.specs)[0].reshape(tuple(map(int, self.specs[0].shape)))
        return op.reference(*operands, **self.attributes) if op.reference is not None else None

    def _in_shape(self, raw: Sequence[Any]) -> list[np.ndarray] | None:
        """The results of the reference, if they have the inferred shapes; an elementwise one may still have to be broadcast."""
        op, session = self.op, self.session
        if len(raw) != len(self.specs):
            session.fault("reference", f"its reference returns {len(raw)} results for {len(self.specs)} outputs", self.case)
            return None
        found = []
        for name, result, spec in zip(op.outputs, raw, self.specs, strict=True):
            array, shape = np.asarray(result), tuple(map(int, spec.shape))
            if isinstance(op, ElementwiseOp) and array.shape != shape:
                try:
                    array = np.broadcast_to(array, shape)
                except ValueError:
                    pass
            if array.shape != shape:
                what = f"shape {list(array.shape)}, the op's rule gives {list(shape)}"
                session.fault("shape", f"its reference returns output {name!r} in another shape: {what}", self.case)
                return None
            if array.dtype.kind not in "fib":
                session.fault("reference", f"its reference returns output {name!r} as {array.dtype}", self.case)
                return None
            found.append(array)
        return found

    def wide(self) -> list[np.ndarray] | None:
        """The results of the reference in a wider type; None if it does not compute in one."""
        op = self.op
        if op.reference is None or isinstance(op, (ShapeOp, ViewOp)):
            return None
        kinds = {a.dtype.name for a in self.case.operands if a is not None and a.dtype.kind == "f"}
        if len(kinds) != 1:
            return None
        wider = WIDER[kinds.pop()]
        try:
            with np.errstate(all="ignore"):
                operands = [a.astype(wider) if a is not None and a.dtype.kind == "f" else a for a in self.case.operands]
                raw = as_list(self._referred(operands), op.outputs)
            arrays = [np.broadcast_to(np.asarray(r), tuple(map(int, s.shape))) for r, s in zip(raw, self.specs, strict=True)]
        except Exception:  # references need not take every type: the comparison is left out
            return None
        return arrays if all(a.dtype.kind in "fib" for a in arrays) else None

    def bench(self) -> Bench | None:
        """The call, lowered; None if it does not compile, which is noted once for each element type."""
        try:
            made = posed(self.op, self.case)
            return Bench(made.fn, made.arrays, made.results)
        except GraphExecError as error:
            key = types_of(self.case)
            if not (isinstance(error, PluginError) and key in self.session.broken):
                self.session.fault("compile", f"it {raised(error)}", self.case, place=place_of(error, self.op))
            self.session.broken.add(key)
            return None

    def plain(self) -> list[np.ndarray] | None:
        """The results of the un-jitted function; None if it runs only when compiled, or is not tried."""
        op = self.op
        if not isinstance(op, (ElementwiseOp, KernelOp)) or self.case.size > PLAIN_BELOW or _lacks_axes(op, self.case):
            return None
        operands = [None if a is None else a.copy() for a in self.case.operands]
        try:
            return [np.asarray(a) for a in as_list(op.call_plain(operands, self.attributes, self.specs), op.outputs)]
        except (NotImplementedError, ArithmeticError, KernelError, AttributeError):  # Python's numbers are not the machine's
            return None


def _lacks_axes(op: Op, case: Case) -> bool:
    """Whether an operand has fewer axes than the kernel takes: the engine inserts them."""
    core = op.core if isinstance(op, KernelOp) and not op.variadic else None
    return core is not None and any(a is not None and a.ndim < len(axes) for a, axes in zip(case.operands, core, strict=False))


def types_of(case: Case) -> str:
    return ",".join("-" if a is None else a.dtype.name for a in case.operands)


def check_case(session: Session, case: Case, *, memory: bool = True, check: str = "values") -> list[np.ndarray] | None:
    """All checks of the forward kernel for one case. Returns the native results; None if there are none."""
    op = session.op
    if types_of(case) in session.broken:
        return None
    session.begin(check, case)
    forward = Forward(session, case)
    expected = forward.expected()
    if expected is not None and not _repeats(forward, expected):
        text = "its reference, or its function, gives another result the second time: it keeps state, or reads a clock"
        session.fault("repeatable", text, case)
        return None
    bench = forward.bench()
    if bench is None:
        _check_plain(session, forward, expected)
        return None
    run = bench.run()
    if run.status and not _check_status(session, case, run, forward):
        return None
    found = [run.results[o].array for o in op.outputs]
    wrong = expected is not None and _compared(session, check, case, found, expected, forward.specs)
    if expected is not None and not wrong:
        _check_digits(session, case, found, forward)
    check_troubles(session, case, run)
    if memory:
        check_memory(session, case, bench, run)
        if case.layout == "" and isinstance(op, (KernelOp, CompositeOp)) and op.decomposition is not None:
            _check_decomposition(session, case, found)
    _check_plain(session, forward, expected)
    return found


def _repeats(forward: Forward, expected: Sequence[np.ndarray]) -> bool:
    """Whether the slow path gives the same once more."""
    if forward.case.size > PLAIN_BELOW or forward.op.updates:
        return True
    again = forward.expected()
    return again is None or all(a.shape == b.shape and bool(same_bits(a, b).all()) for a, b in zip(expected, again, strict=True))


def _check_status(session: Session, case: Case, run: Run, forward: Forward) -> bool:
    """Whether results are worth comparing although a kernel has reported an error; drawn operands may be refused by status."""
    op = session.op
    if run.status != -1 and run.status in op.errors:
        if op.examples is not None:
            session.fault("values", f"its kernel refuses an example of its own: {op.errors[run.status]}", case)
        return False
    try:
        if isinstance(op, KernelOp):
            op.call_plain([None if a is None else a.copy() for a in case.operands], forward.attributes, forward.specs)
        raise_status(op, run.status)
    except Exception as error:  # what the kernel raises, un-jitted
        name, fails = ("its kernel", f"with status {run.status}" if run.status != -1 else "")
        session.fault("exception", f"{name} fails {fails}: it {raised(error)}", case, place=place_of(error, op))
    return False


def _compared(
    session: Session, check: str, case: Case, found: Sequence[np.ndarray], expected: Sequence[np.ndarray],
    specs: Sequence[TensorSpec],
) -> bool:  # fmt: skip
    """Notes the first output that differs from the reference."""
    for name, a, b, spec in zip(session.op.outputs, found, expected, specs, strict=True):
        fraction = a.dtype.kind == "i" and b.dtype.kind == "f" and not (b == np.floor(b)).all()
        if fraction or (a.dtype.kind == "b" and b.dtype.kind != "b"):
            what = f"its reference returns {b.dtype} for output {name!r}, the op declares {spec.dtype}"
            session.fault("types", what, case)
            return True
        if a.dtype.kind == "f" and b.dtype.kind != "f" and session.op.op_class != "composite":
            what = f"its reference returns {b.dtype} for output {name!r}, the op gives {spec.dtype}; does types= miss it?"
            session.warning("types", what, case)
        wrong = difference(a, b, tolerance_of(a, case))
        if wrong is not None:
            session.fault(check, f"output {name!r} differs from the reference: {wrong.text}{_kind(case)}", case)
            return True
    return False


def _kind(case: Case) -> str:
    if not case.layout:
        return ""
    return f" ({case.layout})" if "operand" in case.layout else f" ({case.layout} operands)"


def tolerance_of(found: np.ndarray, case: Case) -> float:
    """The tolerance for a type; results in float64 of float32 operands are no better than these."""
    types = [a.dtype.name for a in case.operands if a is not None and a.dtype.kind == "f"]
    names = [*types, found.dtype.name] if found.dtype.kind == "f" else types
    return max((TOLERANCE[n] for n in names if n in TOLERANCE), default=1e-10)


def _check_digits(session: Session, case: Case, found: Sequence[np.ndarray], forward: Forward) -> None:
    """Compares with the reference in a wider type: results that overflow, and digits that are lost."""
    wide = forward.wide()
    for name, a, b in zip(session.op.outputs, found, wide or [], strict=False):
        index = overflown(a, b)
        if index is not None:
            what = f"output {name!r} overflows: {short(a[index])} where a wider type gives {short(b[index].astype(float))}"
            session.fault("overflow", f"{what} at {list(index)}", case)
        elif isinstance(session.op, ElementwiseOp) or case.size > LONG // 2:
            lost = lost_digits(a, b, None if isinstance(session.op, ElementwiseOp) else 40 * float(np.finfo(a.dtype).eps))
            if lost is not None:
                session.warning("precision", f"output {name!r} loses digits: {lost.text}", case)


def check_troubles(session: Session, case: Case, run: Run) -> None:
    for trouble in run.troubles:
        node = "" if trouble.node.op is session.op else f" (in {trouble.node.op.name})"
        check = "operands" if "changes" in trouble.what else "out of range"
        session.fault(check, f"its kernel {trouble.what}{node}", case, place=trouble.node.op.file)


def check_memory(
    session: Session, case: Case, bench: Bench, run: Run, what: str = "its kernel", outputs: Sequence[str] = ()
) -> None:
    """Runs once more with other patterns in memory, and in pieces: every run must give the same bits."""
    names = outputs or session.op.outputs
    again = bench.run()
    for name in names:
        if not same_bits(again.results[name].array, run.results[name].array).all():
            text = f"{what} gives {name!r} other bits in a second run: it keeps state, or reads a clock or random numbers"
            session.fault("repeatable", text, case)
            return
    other = bench.run(Fill(outputs=NUMBERS))
    skip = {name: other.results[name].untouched & run.results[name].untouched for name in names}
    for name in names:
        unwritten = skip[name]
        changed = ~same_bits(other.results[name].array, run.results[name].array)
        if unwritten.any():
            count = int(np.count_nonzero(unwritten))
            text = f"{what} leaves {count} elements of {name!r} unwritten, the first at {first(unwritten)}"
            session.fault("unwritten", text, case)
        elif changed.any():
            text = f"{what} reads {name!r} before it writes it: the result depends on what the memory held, at {first(changed)}"
            session.fault("uninitialized", text, case)
    ways = (
        (Fill(guards=NANS), "reads outside of its operands"), (Fill(scratch=NANS), "reads scratch memory before it writes it")
    )  # fmt: skip
    for fill, text in ways:
        moved = bench.run(fill)
        for name in names:
            changed = ~same_bits(moved.results[name].array, run.results[name].array) & ~skip[name]
            if changed.any():
                check = "out of range" if "outside" in text else "uninitialized"
                session.fault(check, f"{what} {text}: {name!r} depends on it at {first(changed)}", case)
                break
    _check_pieces(session, case, bench, run, what, skip)


def _check_pieces(
    session: Session, case: Case, bench: Bench, run: Run, what: str, skip: Mapping[str, np.ndarray]
) -> None:
    ways: list[tuple[int, str, Callable[[int], Sequence[int]], bool]] = [(*way, False) for way in orders()]
    if any(isinstance(i.node.op, KernelOp) and i.node.op.parallel for i in bench.program.instructions):
        ways += [(4, "4 pieces at the same time", range, True)] * 5
    for pieces, text, order, together in ways:
        parted = bench.run(Fill(outputs=NUMBERS), pieces, order, together)
        check_troubles(session, case, parted)
        for name in skip:
            changed = ~same_bits(parted.results[name].array, run.results[name].array) & ~skip[name]
            if changed.any():
                found, expected = parted.results[name].array[tuple(first(changed))], run.results[name].array[tuple(first(changed))]
                values = f"{short(found)} in place of {short(expected)} at {first(changed)}"
                session.fault("pieces", f"{what} gives another {name!r} in {text}: {values}", case)
                return


def _check_decomposition(session: Session, case: Case, found: Sequence[np.ndarray]) -> None:
    """The kernel against the ops that it consists of, as the optimizer puts them in its place."""
    attributes = session.op.check_attributes(case.attributes)
    with session.guarded("decomposition", "its decomposition", case):
        results = compute(session.op, case.operands, attributes)
        for name, a, b in zip(session.op.outputs, found, as_list(results, session.op.outputs), strict=True):
            wrong = difference(np.asarray(b), a, tolerance_of(a, case))
            if wrong is not None:
                session.fault("decomposition", f"output {name!r} of its decomposition differs from the kernel: {wrong.text}", case)


def _check_plain(session: Session, forward: Forward, expected: Sequence[np.ndarray] | None) -> None:
    """The un-jitted function against the reference; NumPy checks its indices."""
    op, case = session.op, forward.case
    try:
        plain = forward.plain()
    except IndexError as error:
        session.fault("out of range", f"its un-jitted function {raised(error)}", case, place=place_of(error, op))
        return
    except Exception as error:  # whatever the function raises
        session.fault("un-jitted", f"its un-jitted function {raised(error)}", case, place=place_of(error, op))
        return
    for name, a, b, spec in zip(op.outputs, plain or [], expected or [], forward.specs, strict=False):
        if a.shape != b.shape:
            continue
        wrong: Difference | None = difference(a.astype(spec.dtype), b, tolerance_of(b, case))
        if wrong is not None and bool(np.isfinite(np.asarray(b, float)).all()):
            session.fault("un-jitted", f"output {name!r} of the un-jitted function differs from the reference: {wrong.text}", case)
            return
