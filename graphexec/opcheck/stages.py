"""The stages of a check in their order; each can run without those before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphexec.errors import GraphExecError
from graphexec.gradcheck.problem import draw
from graphexec.interpret import asked_deltas
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import CompositeOp, ElementwiseOp, ReductionOp, ShapeOp, ViewOp
from graphexec.ir.spec import DTYPES
from graphexec.opcheck import attributes as attribute_values
from graphexec.opcheck import cost, indices, points, slopes, special, traits, values
from graphexec.opcheck.cases import Case, Shapes, accepted, element_types, grid, laid_out
from graphexec.opcheck.compare import difference
from graphexec.opcheck.session import Session, place_of, raised

MEMORY_BELOW = 3_000
"""Elements up to which memory is watched in every case; larger cases are run once more in pieces only."""


@dataclass(frozen=True)
class Plan:
    """What to check."""

    derivative: int
    attributes: Mapping[str, Any]
    shapes: Shapes | None
    seed: int
    fixed: bool
    """Whether the attributes are given, so that no others are tried."""


class Legal:
    """The cases of an op that its rules accept."""

    def __init__(self, session: Session, plan: Plan, check: str) -> None:
        self.session, self.plan, self.check = session, plan, check

    def of(self, dtype: str, given: Mapping[str, Any] | None = None) -> list[Case]:
        """The cases of an element type, from small to large; a rule or an example that fails is noted."""
        session, plan, op = self.session, self.plan, self.session.op
        chosen = dict(plan.attributes if given is None else given)
        if not plan.fixed and given is None:
            chosen |= attribute_values.defaults(op) or {}
        found: list[Case] = []
        try:
            cases = grid(op, dtype, plan.seed, plan.shapes, chosen)
        except Exception as error:  # the op's own function
            session.fault("examples", f"its examples {raised(error)}", place=place_of(error, op))
            return []
        for case in cases:
            try:
                if accepted(op, case):
                    found.append(case)
                elif op.examples is not None or plan.shapes is not None:
                    self._refused(case)
            except Exception as error:  # the shape rule
                session.fault("shape", f"its shape rule {raised(error)}", case, place=place_of(error, op))
        return sorted(found, key=lambda c: c.size) if op.examples is None else found

    def _refused(self, case: Case) -> None:
        op = self.session.op
        if not case.label.startswith("example"):
            return
        try:
            op.bind(list(case.operands), dict(case.attributes))
            op.infer(case.specs, op.check_attributes(case.attributes))
        except GraphExecError as error:
            kinds = {DTYPES[a.dtype.name] for a in case.operands if a is not None}
            if kinds & set(op.kinds) or not kinds:
                self.session.fault("examples", f"an example is refused: {error.what}", case)


def _few(cases: Sequence[Case], most: int, *, largest: int = 400) -> list[Case]:
    """Some cases of different ranks and batch axes, none of them empty or large."""
    kept: dict[Any, Case] = {}
    for case in cases:
        if 0 < case.size <= largest and all(a is None or a.size for a in case.operands):
            shapes = tuple(None if a is None else a.shape for a in case.operands)
            kept.setdefault((tuple(None if s is None else len(s) for s in shapes), len(set(shapes)) > 1, case.size > 3), case)
    return sorted(kept.values(), key=lambda c: (c.size < 4, c.size))[:most]


def _main(op: Op) -> str:
    """The element type in which most is tried."""
    types = element_types(op)
    return "float64" if "float64" in types else types[0]


def check_values(session: Session, plan: Plan) -> None:
    """Forward kernels in every element type."""
    op = session.op
    legal = Legal(session, plan, "values")
    tried = 0
    for dtype in element_types(op):
        cases = legal.of(dtype)
        for case in cases:
            if DTYPES[dtype] != "f" and case.size > MEMORY_BELOW:
                continue
            values.check_case(session, case, memory=case.size <= MEMORY_BELOW or "piece" in case.label or "many" in case.label)
            tried += 1
    if not tried and not session.findings:
        todo = "Give examples=, a function that yields operands that fit, or --shape for each operand."
        missing = attribute_values.defaults(op) is None
        text = "no operands were found that its rules accept"
        if missing:
            text = "no value was found for an attribute without a default"
        session.fault("examples", f"{text}. {todo}")


def check_layouts(session: Session, plan: Plan) -> None:
    """Operands that are transposed, reversed and strided."""
    if isinstance(session.op, ShapeOp) or session.op.updates:
        return
    for dtype in element_types(session.op)[:1]:
        for case in laid_out(Legal(session, plan, "strides").of(dtype)):
            values.check_case(session, case, check="strides")


def check_gradients(session: Session, plan: Plan) -> None:
    """Backward rules on cases of all sizes, and other element types."""
    op = session.op
    if not slopes.has_gradient(op):
        return
    cases = Legal(session, plan, "gradient").of("float64")
    small = [c for c in cases if 0 < c.size <= 60] + [c for c in cases if c.size == 0][:3]
    large = [c for c in cases if 60 < c.size <= MEMORY_BELOW]
    chosen = small[:24] + small[24::3] + large[-6:]
    seen: Counter[str] = Counter()
    for case in chosen:
        slopes.check_case(session, case, seen)
    whole = [c for c in chosen if c.size]
    for case in laid_out(whole):
        if case.layout != "transposed" or case.label:
            slopes.check_case(session, case, seen, check="gradient")
    present = {p for c in whole for p, a in zip(op.inputs, c.operands, strict=False) if a is not None and a.dtype.kind == "f"}
    still = [] if op.variadic else [p for p in op.differentiable_inputs if p in present and not seen[p]]
    taken = op.outputs if isinstance(op, CompositeOp) or op.internal else asked_deltas(op)
    ignored = [o for o in op.outputs if o not in taken and op.types.get(o, "float").startswith("float")]
    if whole and ignored:
        session.warning("gradient", f"its backward rule takes no d_{ignored[0]}: a loss that depends on {ignored[0]!r} is refused")
    if whole and still and not any(f.check in ("gradient", "compile", "exception") for f in session.findings):
        session.warning("proves little", f"d_{still[0]} is 0 in all cases, so the checks of it prove little: is that meant?")


def check_types(session: Session, plan: Plan) -> None:
    """The gradient in float32, also at points where it may overflow."""
    op = session.op
    if not slopes.has_gradient(op) or "float32" not in element_types(op):
        return
    cases = Legal(session, plan, "float32 gradient").of("float64")
    for case in _few(cases, 4):
        slopes.check_float32(session, case)
    if op.examples is not None or plan.shapes is not None:
        return
    if isinstance(op, ElementwiseOp) and not op.variadic:
        for group, good, case in special.elementwise_cases(op, "float64", plan.seed):
            if group in ("ordinary points", "large numbers", "tiny numbers"):
                slopes.check_float32(session, _with(op, plan, case), good)
    elif not isinstance(op, (ViewOp, ShapeOp)):
        for group, good, case in special.row_cases(op, "float64", lambda: _few(cases, 2)):
            if group in ("large numbers", "large differences", "very large numbers", "a constant", "a large offset"):
                slopes.check_float32(session, case, good)


def check_higher(session: Session, plan: Plan) -> None:
    """Second derivatives where there are some; higher ones where they are asked for."""
    op = session.op
    if not slopes.has_gradient(op) or any(f.check == "gradient" for f in session.findings):
        return
    cases = _few(Legal(session, plan, "derivatives").of("float64"), 3, largest=40)
    for order in range(2, max(plan.derivative, 2) + 1):
        for case in cases:
            slopes.check_higher(session, case, order)


def check_special(session: Session, plan: Plan) -> None:
    """Special points: values in every element type, gradients on either side of kinks."""
    op = session.op
    if op.examples is not None or plan.shapes is not None or op.updates or isinstance(op, (ViewOp, ShapeOp)):
        return
    elementwise = isinstance(op, ElementwiseOp) and not op.variadic
    legal = Legal(session, plan, "special")
    for dtype in element_types(op):
        found = (
            special.elementwise_cases(op, dtype, plan.seed) if elementwise
            else special.row_cases(op, dtype, lambda d=dtype: _few(legal.of(d), 2))  # type: ignore[misc]
        )  # fmt: skip
        for group, good, case in found:
            chosen = _with(op, plan, case)
            points.check_special(session, group, good, chosen)
    if slopes.has_gradient(op) and "float64" in element_types(op):
        seen: Counter[str] = Counter()
        if elementwise:
            kinks: Iterable[Case] = special.smooth_cases(op, plan.seed)
        else:
            rows = special.row_cases(op, "float64", lambda: _few(legal.of("float64"), 2, largest=23))
            kinks = (c for group, good, c in rows if good and group in ("zeros", "ones", "a constant", "ties", "minus ones"))
        for case in kinks:
            chosen = _with(op, plan, case)
            slopes.check_case(session, chosen, seen, memory=False)


def _with(op: Op, plan: Plan, case: Case) -> Case:
    """A case with the attributes that are given, or that the op needs."""
    return case.with_attributes(op, {**_required(op), **case.attributes, **plan.attributes})


def _required(op: Op) -> dict[str, Any]:
    return attribute_values.defaults(op) or {}


def check_attributes(session: Session, plan: Plan) -> None:
    """Second values of every attribute: values and gradients; attributes that change nothing."""
    op = session.op
    if plan.fixed or not op.attributes:
        return
    legal = Legal(session, plan, "attributes")
    dtype = _main(op)
    changed: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    everything = legal.of(dtype)
    usual = _few(everything, 3)
    before = [traits.native(op, case) for case in usual]
    elementwise = isinstance(op, ElementwiseOp) and not op.variadic and not op.updates
    own = {name for case in everything for name in case.attributes} if op.examples is not None else set()
    for name, given in attribute_values.variants(op, _required(op)):
        if op.examples is not None and (name in own or type(op.attributes[name]) not in (bool, float, str)):
            continue  # the examples show which values fit their operands
        for group, good, case in special.elementwise_cases(op, dtype, plan.seed) if elementwise else ():
            if group in ("ordinary points", "large numbers", "integers", "both values"):
                points.check_special(session, group, good, case.with_attributes(op, given))
        for case, results in zip(usual, before, strict=True):
            other = case.with_attributes(op, {**case.attributes, **given})
            try:
                if not accepted(op, other):
                    continue
            except Exception as error:  # the shape rule
                session.fault("attributes", f"with {name}={given[name]!r}, its shape rule {raised(error)}", other)
                continue
            found = values.check_case(session, other, memory=isinstance(op, KernelOp), check="attributes")
            if found is not None and results is not None:
                tried[name] += 1
                changed[name] += not _same(found, results)
            if slopes.has_gradient(op) and dtype == "float64":
                slopes.check_case(session, other, Counter(), memory=False)
    for name, count in tried.items():
        if count and not changed[name] and op.examples is None:
            session.warning("attributes", f"no value of {name!r} that was tried changes the result: is it ignored?")


def _same(found: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    """Whether results are equal, types and shapes included."""
    pairs = list(zip(found, others, strict=True))
    return all(a.shape == b.shape and a.dtype == b.dtype and difference(a, b, 0.0) is None for a, b in pairs)


def check_traits(session: Session, plan: Plan) -> None:
    """What the op declares about itself."""
    op = session.op
    if isinstance(op, ReductionOp):
        traits.check_reduction(session, op)
    exact = op.exact and not isinstance(op, ReductionOp)
    if op.commutative or op.neutral or op.identity_function or op.involution or exact:
        legal = Legal(session, plan, "traits")
        for dtype in element_types(op):
            cases = _few(legal.of(dtype), 2)
            if isinstance(op, ElementwiseOp) and not op.variadic:
                cases += [c for _, _, c in special.elementwise_cases(op, dtype, plan.seed)]
            traits.check(session, [_with(op, plan, c) for c in cases])
    if op.updates:
        traits.check_steps(session, _few(Legal(session, plan, "steps").of(_main(op)), 2))


def check_indices(session: Session, plan: Plan) -> None:
    """Integer operands that are no index of any operand, for kernels that a graph can call."""
    op = session.op
    if isinstance(op, KernelOp) and not op.internal and not op.updates:
        dtype = _main(op)
        cases = _few(Legal(session, plan, "indices").of(dtype), 2)
        indices.check(session, [c for c in cases if any(a is not None and a.dtype.kind == "i" for a in c.operands)])


def check_worth(session: Session, plan: Plan) -> None:
    """What the kernels cost, and which checks prove little."""
    op = session.op
    if isinstance(op, (ElementwiseOp, KernelOp)):
        cases = Legal(session, plan, "cost").of("float32" if "float32" in element_types(op) else _main(op))
        for case in [c for c in cases if 0 < c.size <= MEMORY_BELOW][-1:]:
            with session.guarded("cost", "looking at its machine code"):
                cost.check(session, case, cases[-1])
    if isinstance(op, CompositeOp) and op.reference is None:
        session.warning("proves little", "it has no reference=: its results are compared with its own function only")
    if op.examples is not None and plan.shapes is None:
        arrays = [a for c in Legal(session, plan, "worth").of(_main(op)) for a in c.operands if a is not None]
        if arrays and all(a.size <= 1 for a in arrays):
            session.warning("proves little", "no operand of its examples= has more than one element: yield arrays of ``size`` too")
    if not isinstance(op, ShapeOp):
        _check_constant(session, plan)


def _check_constant(session: Session, plan: Plan) -> None:
    op = session.op
    cases = _few(Legal(session, plan, "worth").of(_main(op)), 9)[:1]
    rng = np.random.default_rng([plan.seed, 99])
    for case in cases:
        if op.examples is not None or all(p in op.shape_only for p in op.inputs):
            continue
        names = [op.inputs[0 if op.variadic else k] for k in range(len(case.operands))]
        pairs = zip(case.operands, names, strict=True)
        again = [None if a is None else draw(op, n, rng, a.shape, a.dtype.name) for a, n in pairs]
        first, second = traits.native(op, case), traits.native(op, Case("", tuple(again), case.attributes))
        if first and second and all(a.size > 1 and a.dtype.kind == "f" for a in first) and _same(first, second):
            text = "its results do not depend on the elements of its operands in the cases that were drawn"
            session.warning("proves little", text, case)


STAGES: dict[str, Callable[[Session, Plan], None]] = {
    "values": check_values, "gradients": check_gradients, "strides": check_layouts, "special": check_special, "types": check_types,
    "attributes": check_attributes, "derivatives": check_higher, "traits": check_traits,
    "indices": check_indices, "worth": check_worth,
}  # fmt: skip
