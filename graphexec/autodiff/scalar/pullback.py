"""pullback: the ops that give the deltas of an elementwise node, by which of its outputs have deltas and which operands need them.

A delta that does not exist is not a zero that is multiplied: the whole backward op serves only if all deltas exist and all are
wanted. Otherwise each wanted derivative through each existing delta is a node of its own (see `partials`), and so is each
derivative of a backward op.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple

from graphexec.autodiff.scalar import backward_of
from graphexec.autodiff.scalar.derivation import is_floating
from graphexec.autodiff.scalar.partials import is_linear, partial
from graphexec.errors import DifferentiationError
from graphexec.ir.function import Node
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ElementwiseOp, PartialOp
from graphexec.llvm.toolchain import once


class Term(NamedTuple):
    """A backward node: an op, the names of its operands, and the names of the operands that its results belong to.

    Names are the node's own (``d_<output>``, inputs, outputs); where the node belongs to a backward rule, those of the forward
    node's operands count as well.
    """

    op: ElementwiseOp
    operands: tuple[str, ...]
    targets: tuple[str, ...]
    factor: str | None = None
    """A delta by which the first operand is multiplied."""


class Form(NamedTuple):
    """A backward op as a sum of partial derivatives: ``result += delta * ∂output/∂by``."""

    root: ElementwiseOp
    parts: tuple[tuple[str, str, str, tuple[str, ...]], ...]
    """Result, delta operand, output of the root, operands of the root."""


@once
def form_of(op: Op) -> Form | None:
    """Returns the form of a backward op that is linear in its deltas; None for any other op."""
    if isinstance(op, PartialOp):
        return Form(op.root, ((op.outputs[0], op.inputs[0], op.output, op.by),))
    root = op.forward
    if not isinstance(op, ElementwiseOp) or not isinstance(root, ElementwiseOp) or root.variadic:
        return None
    deltas = {f"d_{o}": o for o in root.outputs if f"d_{o}" in op.inputs}
    if not deltas or (root.backward_op is op and not is_linear(op, tuple(deltas))):
        return None
    targets = zip(op.outputs, root.differentiable_inputs, strict=True)
    return Form(root, tuple((result, d, o, (x,)) for result, x in targets for d, o in deltas.items()))


@functools.cache
def terms(op: ElementwiseOp, present: frozenset[str], wanted: frozenset[str]) -> tuple[Term, ...]:
    """Returns the backward nodes of an op without a `gradient` rule, by the outputs with deltas and the inputs that need one.

    *Raises* DifferentiationError for a function that cannot be derived.
    """
    rule = backward_of(op)
    assert isinstance(rule, ElementwiseOp)
    deltas = tuple(f"d_{o}" for o in op.outputs if f"d_{o}" in rule.inputs)
    all_there = present.issuperset(o for o in op.outputs if f"d_{o}" in deltas)
    whole = (Term(rule, rule.inputs, op.differentiable_inputs),)
    if rule is not op.backward_op:
        pairs = [(o, x) for o in op.outputs if f"d_{o}" in deltas for x in op.differentiable_inputs]
        useful = all_there and wanted.issuperset(op.differentiable_inputs) and all(partial(op, o, (x,)) for o, x in pairs)
        return whole if useful else _apart(op, present, wanted)
    if op.variadic or (all_there and wanted.issuperset(op.differentiable_inputs)):
        return whole
    try:
        return _apart(op, present, wanted) if all_there or is_linear(rule, deltas) else whole
    except DifferentiationError:  # such as a rule without source text: it gets zeros for missing deltas
        return whole


def _apart(op: ElementwiseOp, present: frozenset[str], wanted: frozenset[str]) -> tuple[Term, ...]:
    pairs = [(o, x) for x in op.differentiable_inputs if x in wanted for o in op.outputs if o in present and is_floating(op, o)]
    found = [(partial(op, o, (x,)), x) for o, x in pairs]
    return tuple(Term(p, p.inputs, (x,)) for p, x in found if p is not None)


@functools.cache
def terms_of_form(form: Form, present: frozenset[str], wanted: frozenset[str]) -> tuple[Term, ...]:
    """Returns the backward nodes of a backward op: of its deltas by the same derivatives, of inputs by those of the next order.

    *Raises* DifferentiationError for a function that cannot be derived.
    """
    root, made = form.root, []
    for result, delta, output, by in form.parts:
        if result not in present:
            continue
        same = partial(root, output, by) if delta in wanted else None
        if same is not None:
            made.append(Term(same, (f"d_{result}", *same.inputs[1:]), (delta,)))
        for x in root.differentiable_inputs:
            after = partial(root, output, (*by, x)) if x in wanted else None
            if after is not None:
                made.append(Term(after, (f"d_{result}", *after.inputs[1:]), (x,), delta))
    return tuple(made)


def derived(op: Op, steps: Sequence[str]) -> Op | None:
    """Returns the derived op whose name continues an op's name with these steps; None if there is no such op.

    *Raises* DifferentiationError for a function that cannot be derived.
    """
    while steps and steps[0] == "backward":
        found = backward_of(op)
        if found is None:
            return None
        op, steps = found, steps[1:]
    if not steps:
        return op
    output, by = steps[0].removeprefix("d_"), steps[1:]
    known = isinstance(op, ElementwiseOp) and not op.variadic and f"d_{output}" == steps[0] and output in op.outputs
    if not known or not by or not set(by) <= set(op.differentiable_inputs):
        return None
    assert isinstance(op, ElementwiseOp)
    return partial(op, output, by)


class Plan(NamedTuple):
    """The backward nodes of one node, with the values and attributes that their names mean."""

    terms: tuple[Term, ...]
    values: dict[str, int]
    attributes: Mapping[str, Any]


def plan(node: Node, makers: Callable[[int], Node | None], deltas: Container[int], active: Container[int]) -> Plan:
    """Plans the backward nodes of an elementwise node whose op has no `gradient` rule.

    ``makers`` finds the node that computes a value, ``deltas`` has the values with a delta, ``active`` those that need one.

    *Raises* DifferentiationError for a function that cannot be derived.
    """
    op = node.op
    assert isinstance(op, ElementwiseOp)
    values = dict(zip(op.inputs, node.inputs, strict=False))
    present = frozenset([o for o, v in zip(op.outputs, node.outputs, strict=True) if v in deltas])
    form, attributes = form_of(op), node.attributes
    read = [o for o in form.root.outputs if o in op.inputs] if form is not None else []
    if form is not None and read:  # what the rule reads of the results depends on the operands, too
        maker = makers(values[read[0]])
        if maker is not None and maker.op is form.root:
            values = dict(zip(form.root.inputs, maker.inputs, strict=False)) | values
            attributes = {**maker.attributes, **attributes}
        else:
            form = None
    wanted = frozenset([name for name, v in values.items() if v in active])
    found = terms(op, present, wanted) if form is None else terms_of_form(form, present, wanted)
    values |= {f"d_{o}": v for o, v in zip(op.outputs, node.outputs, strict=True)}
    if form is None:
        values |= dict(zip(op.outputs, node.outputs, strict=True))
    return Plan(found, values, attributes)
