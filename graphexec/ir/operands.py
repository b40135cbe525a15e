"""Operands that are not graph values: the numbers, lists and arrays of a call, as arrays of the type that the op wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphexec.errors import DtypeError
from graphexec.ir import convert
from graphexec.ir.op import Op


def free_dtypes(op: Op, dtypes: Sequence[str | None]) -> list[str]:
    """The types of those operands that are promoted together, from the types by slot; None for an operand without one yet."""
    if not op.types and not op.shape_only:
        return [d for d in dtypes if d is not None]
    fixed = op.types.keys() | op.shape_only
    return [d for slot, d in enumerate(dtypes) if d is not None and op.inputs[0 if op.variadic else slot] not in fixed]


def literal_dtype(op: Op, slot: int, value: Any, dtypes: Sequence[str]) -> str | None:
    """The type of a number, list or array among operands of types ``dtypes``; None if it keeps its own."""
    return op.types.get(op.inputs[0 if op.variadic else slot]) or convert.weak_dtype(value, dtypes)


def operand_array(op: Op, slot: int, value: Any, dtypes: Sequence[str]) -> np.ndarray:
    """The array of a number, list or array among operands of types ``dtypes``. *Raises* DtypeError if it does not convert."""
    try:
        return convert.constant(value, literal_dtype(op, slot, value, dtypes), f"operand {op.input_name(slot)!r}")
    except DtypeError as error:
        raise error.at(op=op.name) from error.__cause__


def with_arrays(
    op: Op, operands: Sequence[Any], dtype_of: Callable[[Any], str | None], make: Callable[[np.ndarray], Any]
) -> list[Any]:
    """The operands with each number, list and array replaced by ``make(array)``.

    ``dtype_of`` gives the type of an operand that is a value already, and None for others. *Raises* DtypeError.
    """
    dtypes = [dtype_of(o) for o in operands]
    if None not in dtypes:
        return list(operands)
    free = free_dtypes(op, dtypes)
    return [
        o if o is None or known is not None else make(operand_array(op, slot, o, free))
        for slot, (o, known) in enumerate(zip(operands, dtypes, strict=True))
    ]
