"""Converts what users give, numbers, lists and arrays, to arrays of an element type: exactly, or with an error.

Every border of the engine comes through here: operands and constants, values of parameters, inputs of a run. The rules:

- An array carries its element type. So does a NumPy scalar among operands of its kind.
- A Python number, or a list of numbers, takes the type of the other operands. So does `np.float64`, which is a Python float,
  and a NumPy scalar of another kind than the operands or of a type that graphexec lacks.
- Between floating types values are rounded to the nearest; a finite number never becomes an infinity. All other conversions are
  exact, or refused. None goes from floating to integer: `cast` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphexec.errors import DataError, DtypeError, GraphExecError
from graphexec.ir.spec import DTYPES, check_dtype, itemsize

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}
"""NumPy's kinds of number; a value converts to its own or a higher one."""

_INTEGERS_TO = {"float32": 2**24, "float64": 2**53}
"""All integers up to this size have an exact floating value."""

_FLOAT32_END = 2.0**128 - 2.0**103
"""The least number that rounds to infinity in float32."""

Failure = Callable[..., GraphExecError]


def as_array(value: Any, what: str, failure: Failure = DataError) -> np.ndarray:
    """Turns numbers, nested lists or an array into an array of numbers in the machine's byte order.

    *Raises* ``failure`` for lists of unequal lengths, for masked elements, and for what is not a number.
    """
    array: np.ndarray = value if type(value) is np.ndarray else _plain_array(value, what, failure)
    if array.dtype.kind not in _RANK:
        raise _not_numbers(array, what, failure)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _plain_array(value: Any, what: str, failure: Failure) -> np.ndarray:
    if isinstance(value, np.ndarray) and np.any(getattr(value, "mask", False)):
        raise failure(f"{what} has masked elements", todo="Fill them first: array.filled(0).")
    try:
        return np.asarray(value)
    except GraphExecError:
        raise
    except Exception as error:  # whatever a sequence or an array-like object raises
        raise failure(f"{what} is not an array: {error}", todo="Give lists of equal lengths, or a NumPy array.") from error


def _not_numbers(array: np.ndarray, what: str, failure: Failure) -> GraphExecError:
    first = array.flat[0] if array.size else None
    if isinstance(first, int) or any(isinstance(n, int) and abs(n) >= 2**63 for n in array.flat if array.dtype.kind == "O"):
        large = next((n for n in array.flat if isinstance(n, int) and not -(2**63) <= n < 2**63), first)
        return failure(f"{what} holds {_text(large)}, which int64 cannot hold", todo="Use smaller integers, or floating numbers.")
    kinds = {"c": "complex numbers", "O": f"Python objects ({type(first).__name__})", "U": "text", "S": "bytes"}
    held = kinds.get(array.dtype.kind, array.dtype.name)
    return failure(f"{what} holds {held}, which no element type can", todo=f"Give one of {', '.join(DTYPES)}.")


def converted(array: np.ndarray, dtype: str, what: str, failure: Failure = DataError) -> np.ndarray:
    """Converts an array to an element type; without a copy if it has that type. *Raises* ``failure`` for what does not convert."""
    source, target = array.dtype, np.dtype(dtype)
    if source == target:
        return array
    if _RANK[source.kind] > _RANK[target.kind] and not (target.kind == "b" and source.kind in "iu" and _only_0_and_1(array)):
        raise failure(f"{what} is {source}, not {dtype}", todo=f"Convert it with .astype({dtype!r}), which may lose digits.")
    if source.kind == "f":
        return _rounded(array, target, what, failure)
    if source.kind != "b" and target.kind != "b":
        lost = _lost_integer(array, target)
        if lost is not None:
            raise _refused(lost, dtype, what, failure)
    return array.astype(target)


def _only_0_and_1(array: np.ndarray) -> bool:
    return array.size == 0 or (array.min() >= 0 and array.max() <= 1)


def _rounded(array: np.ndarray, target: np.dtype[Any], what: str, failure: Failure) -> np.ndarray:
    try:
        with np.errstate(over="raise", under="ignore", invalid="ignore"):
            return array.astype(target)
    except FloatingPointError:
        with np.errstate(all="ignore"):
            beyond = array[np.isfinite(array) & np.isinf(array.astype(target))]
        raise _refused(beyond[0], target.name, what, failure) from None


def _lost_integer(array: np.ndarray, target: np.dtype[Any]) -> int | None:
    """An integer that the type cannot hold exactly; None if there is none."""
    info = np.iinfo(array.dtype)
    low, high = _ends(target)
    if not array.size or (low <= info.min and info.max <= high):  # the types alone tell
        return None
    least, most = int(array.min()), int(array.max())
    if low <= least and most <= high:
        return None
    if target.kind == "i":
        return most if most > high else least
    lost = array[rounded_integers(array, array.astype(target))]
    return int(lost[0]) if lost.size else None


def rounded_integers(array: np.ndarray, floating: np.ndarray) -> np.ndarray:
    """Marks the integers that are not the same number any more after a conversion to a floating type."""
    info, wide = np.iinfo(array.dtype), floating.astype(np.float64)
    end = 2.0**info.bits / (1 if info.min == 0 else 2)
    back = np.where(wide < end, wide, 0).astype(array.dtype)
    rounded: np.ndarray = (wide >= end) | (back != array)
    return rounded


def _ends(target: np.dtype[Any]) -> tuple[int, int]:
    """The ends of the range in which a type holds every integer."""
    if target.kind == "i":
        return int(np.iinfo(target).min), int(np.iinfo(target).max)
    return -_INTEGERS_TO[target.name], _INTEGERS_TO[target.name]


def _text(number: object) -> str:
    return f"an integer of {number.bit_length()} bits" if isinstance(number, int) and abs(number) >= 10**40 else str(number)


def _refused(number: object, dtype: str, what: str, failure: Failure) -> GraphExecError:
    text = _text(number)
    if isinstance(number, int) and DTYPES[dtype] == "f" and abs(number) < 2**127:
        return failure(
            f"{what} holds {text}, which {dtype} cannot hold exactly",
            todo=f"Use a wider type, or round it: float({text}), array.astype({dtype!r}).",
        )
    return failure(f"{what} holds {text}, which {dtype} cannot hold", todo="Use a wider type, or other units.")


# -- constants and operands


def own_dtype(value: Any) -> str:
    """The element type of a value that stands alone: that of an array; float32 for Python floats, int64 for integers."""
    if type(value) is float:
        return "float32"
    if isinstance(value, bool) or type(value) is int:
        return "bool" if isinstance(value, bool) else "int64"
    array = as_array(value, "the value", DtypeError)
    first = value
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if isinstance(first, (np.ndarray, np.generic)) or array.dtype.kind == "b":
        return check_dtype(array.dtype)
    return "float32" if array.dtype.kind == "f" else "int64"


def weak_kind(value: Any, dtypes: Iterable[str]) -> str | None:
    """The kind, "i" or "f", of a number or list that takes the type of operands of types ``dtypes``; None if it carries its own."""
    if isinstance(value, float):
        return "f"
    if isinstance(value, int) and not isinstance(value, bool):
        return "i"
    if isinstance(value, np.generic):
        kind = value.dtype.kind.replace("u", "i")
        alike = value.dtype.name in DTYPES and any(DTYPES[d] == kind for d in dtypes)
        return kind if kind in "if" and not alike else None
    if isinstance(value, (list, tuple)):
        kind = as_array(value, "the list", DtypeError).dtype.kind.replace("u", "i")
        return kind if kind in "if" else None
    return None


def weak_dtype(value: Any, dtypes: Iterable[str]) -> str | None:
    """The type that a number or a list takes among operands of these types; None if it keeps its own."""
    dtypes = list(dtypes)
    kind = "f" if type(value) is float else weak_kind(value, dtypes)
    if kind is None:
        return None
    fitting = [d for d in dtypes if DTYPES[d] == "f" or DTYPES[d] == kind]
    return fitting[0] if len(fitting) == 1 else max(fitting, key=itemsize, default=None)


def holds(number: int | float, dtype: str) -> bool:
    """Whether a type holds a Python number: an integer exactly, a floating number rounded to a finite one."""
    kind = DTYPES[dtype]
    if isinstance(number, float):
        return kind == "f" and (dtype == "float64" or not _FLOAT32_END <= abs(number) < np.inf)
    if kind == "f":
        return abs(number) <= _INTEGERS_TO[dtype] or _is_exact(number, dtype)
    low, high = (0, 1) if kind == "b" else (-(2 ** (8 * itemsize(dtype) - 1)), 2 ** (8 * itemsize(dtype) - 1) - 1)
    return low <= number <= high


def _is_exact(number: int, dtype: str) -> bool:
    """Whether a large integer is a finite number of a floating type."""
    try:
        with np.errstate(over="ignore"):
            found = float(np.dtype(dtype).type(float(number)))
    except OverflowError:
        return False
    return bool(np.isfinite(found)) and int(found) == number


def constant(value: Any, dtype: str | None, what: str = "the value") -> np.ndarray:
    """The array of a constant, of type ``dtype`` or its own. *Raises* DtypeError if it does not convert."""
    if dtype is None and type(value) is np.ndarray and value.dtype.isnative:
        check_dtype(value.dtype)
        return value
    dtype = own_dtype(value) if dtype is None else dtype
    if type(value) is float or type(value) is int:  # the usual cases, without the cost of the others
        if holds(value, dtype):
            return np.asarray(value, dtype=dtype)
        if type(value) is int:
            raise _refused(value, dtype, what, DtypeError)
    return converted(as_array(value, what, DtypeError), dtype, what, DtypeError)
