"""The calls of an elementwise or rowwise body with their types."""

from __future__ import annotations

from typing import NamedTuple

from graphexec.codegen import kernels
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.fused.rowwise import RowwiseOp
from graphexec.ir.fused.scalar import BodyCall, ScalarRef
from graphexec.ir.op import Attributes, Specs
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp


class TypedBody(NamedTuple):
    """Calls with types, and the attributes that are data: their values, and their element types."""

    calls: tuple[BodyCall, ...]
    numbers: list[float]
    dtypes: tuple[str, ...]


def typed_body(op: ElementwiseOp | RowwiseOp, attributes: Attributes, specs: Specs) -> TypedBody:
    """The calls that an op makes for one element (or one row), with operands of these specs.

    An op that is not fused is a body of one call.
    """
    if isinstance(op, (FusedOp, RowwiseOp)):
        calls, known = op.calls, op.trace(specs)
    else:
        calls, known = (BodyCall(op, attributes, tuple(ScalarRef("operand", k) for k, _ in enumerate(specs))),), []
    typed, all_numbers, all_dtypes = [], [], []  # type: tuple[list[BodyCall], list[float], list[str]]
    for k, call in enumerate(calls):
        if isinstance(call.op, ReductionOp):
            typed.append(BodyCall(call.op, {}, call.arguments, known[k][0].dtype))
            continue
        found = [specs[a.index] if a.kind == "operand" else known[a.index][a.output] for a in call.arguments]
        dtype = call.op.promoted(found)
        constants, numbers, dtypes, _ = kernels.split_attributes(call.op, call.attributes, dtype)
        first = len(all_numbers)
        arguments = (*call.arguments, *(ScalarRef("attribute", first + j) for j in range(len(numbers))))
        typed.append(BodyCall(call.op, dict(constants), arguments, dtype, dtypes))
        all_numbers += numbers
        all_dtypes += dtypes
    return TypedBody(tuple(typed), all_numbers, tuple(all_dtypes))
