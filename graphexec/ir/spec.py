"""TensorSpec: the shape and element type of a value, known before anything runs."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphexec.errors import DtypeError, OutOfMemoryError, ShapeError

DTYPES: dict[str, str] = {"float32": "f", "float64": "f", "int32": "i", "int64": "i", "bool": "b"}
"""The element types and their kinds: floating, integer, boolean."""

_NAMES = {np.dtype(name): name for name in DTYPES}

KIND_NAMES = {"f": "floating", "i": "integer", "b": "bool"}


class Size(int):
    """The size of a named axis: an integer that carries the expression it came from.

    Inference binds every named dimension to a number. Because sizes are integers, shape rules need no second version for
    names. Because they carry expressions, ``(batch, 64)`` flattened prints as ``64*batch``, and two axes that happen to be
    equal for one batch size stay distinct.
    """

    expression: str
    terms: dict[str, int]
    """The expression as a sum: how often each term occurs in it. The term "1" counts what has no name."""

    def __new__(cls, value: int, expression: str) -> Size:
        size = super().__new__(cls, value)
        size.expression, size.terms = expression, {expression: 1}
        return size

    def __format__(self, form: str) -> str:
        """The expression while the size is unknown, as in the messages of shape rules; else the number."""
        return self.expression if not form and int(self) >= PROBE else format(int(self), form)

    def __str__(self) -> str:
        return format(self)

    def _plus(self, other: int, sign: int, swapped: bool = False) -> Size:
        """The sum or difference; terms are counted, so that the text of a long sum stays short."""
        terms, more = self.terms, _terms(other)
        if swapped:
            terms, more = more, terms
        terms = dict(terms)
        for term, count in more.items():
            terms[term] = terms.get(term, 0) + sign * count
        terms = {term: count for term, count in terms.items() if count}
        value = int(other) + sign * int(self) if swapped else int(self) + sign * int(other)
        size = Size(value, _sum_text(terms))
        size.terms = terms
        return size

    def __reduce__(self) -> tuple[Any, ...]:
        return Size, (int(self), self.expression), {"terms": self.terms}

    def _combine(self, value: int, sign: str, other: int, swapped: bool = False) -> Size:
        left, right = (_text(other), self.expression) if swapped else (self.expression, _text(other))
        if sign in "*//":
            left, right = (f"({t})" if "+" in t or "-" in t else t for t in (left, right))
        return Size(value, f"{left}{sign}{right}")

    def __add__(self, other: int) -> int:
        return self if _is_zero(other) else self._plus(other, 1)

    def __radd__(self, other: int) -> int:
        return self if _is_zero(other) else self._plus(other, 1, swapped=True)

    def __sub__(self, other: int) -> int:
        return self if _is_zero(other) else self._plus(other, -1)

    def __mul__(self, other: int) -> int:
        return self if other == 1 else self._combine(int(self) * int(other), "*", other)

    def __rmul__(self, other: int) -> int:
        return self if other == 1 else self._combine(int(other) * int(self), "*", other, swapped=True)

    def __floordiv__(self, other: int) -> int:
        return self if other == 1 else self._combine(int(self) // int(other), "//", other)


def _is_zero(size: int) -> bool:
    """Whether a size is the number 0; a named axis that happens to be empty is not."""
    return size == 0 and not isinstance(size, Size)


def _terms(size: int) -> dict[str, int]:
    return size.terms if isinstance(size, Size) else {"1": int(size)}


def _sum_text(terms: dict[str, int]) -> str:
    text = ""
    for term, count in terms.items():
        plain = f"({term})" if abs(count) != 1 and ("+" in term or "-" in term) else term
        part = str(abs(count)) if term == "1" else plain if abs(count) == 1 else f"{abs(count)}*{plain}"
        text += ("-" if count < 0 else "+" if text else "") + part
    return text or "0"


def _text(size: int) -> str:
    return size.expression if isinstance(size, Size) else str(int(size))


def is_one(size: int) -> bool:
    """Whether an axis is declared with size 1, and so broadcasts; a named axis that happens to be 1 does not."""
    return size == 1 and not isinstance(size, Size)


class TensorSpec(NamedTuple):
    """Shape and element type of a value. Sizes are integers; those of named dimensions are :class:`Size`."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(int(n) for n in self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * itemsize(self.dtype)

    def __str__(self) -> str:
        return f"{shape_text(self.shape)} {self.dtype}"


def itemsize(dtype: str) -> int:
    """Bytes per element."""
    return _ITEMSIZE[dtype]


MAX_AXES = 32
"""Maximum number of axes of a value, that of NumPy 1."""

MAX_BYTES = 2**47
"""Maximum size of a value: the address space of a process."""


def check_size(spec: TensorSpec, op: str | None = None) -> None:
    """*Raises* ShapeError for a value that no memory can hold; empty axes count as 1, as in NumPy, and so do unbound sizes."""
    shape, _ = spec
    count = 1
    for n in shape:
        if n > 1 and (type(n) is not Size or n < PROBE):
            count *= n
    if count * itemsize(spec.dtype) > MAX_BYTES:
        raise ShapeError(f"a value of shape {shape_text(shape)} is larger than any memory: {count} elements", op=op,
                         todo="Correct the sizes.")  # fmt: skip
    if len(shape) > MAX_AXES:
        raise ShapeError(f"a value with {len(shape)} axes", op=op, todo=f"A value has at most {MAX_AXES}.")


@functools.cache
def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on this system
        return MAX_BYTES


def check_memory(nbytes: int, what: str) -> None:
    """*Raises* OutOfMemoryError for more bytes than the machine has."""
    if nbytes > _physical_memory():
        raise out_of_memory(nbytes, what)


def out_of_memory(nbytes: int, what: str) -> OutOfMemoryError:
    """The error for memory that cannot be had."""
    return OutOfMemoryError(
        f"{what} needs {nbytes / 2**30:.1f} GiB; this machine has {_physical_memory() / 2**30:.1f} GiB of memory",
        todo="Use smaller sizes or smaller batches.",
    )


_ITEMSIZE = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "bool": 1}


def shape_text(shape: Iterable[Any]) -> str:
    """Formats a shape as Python would, with names where sizes have them: ``(batch, 2)``, ``(3,)``."""
    parts = [n if isinstance(n, str) else _text(n) for n in shape]
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"


def element_type(dtype: Any) -> str | None:
    """The name of an element type given as a name, NumPy dtype, NumPy scalar type, float, int or bool; None for anything else."""
    if isinstance(dtype, type) and (dtype in (float, int, bool) or issubclass(dtype, np.generic)):
        dtype = np.dtype(dtype)
    name = dtype.name if isinstance(dtype, np.dtype) else str(dtype) if isinstance(dtype, str) else None
    return name if name in DTYPES else None


def check_dtype(dtype: Any) -> str:
    """Returns the name of an element type, as `element_type` does. *Raises* DtypeError for anything else."""
    known = _NAMES.get(dtype) if isinstance(dtype, np.dtype) else None
    if known is not None:
        return known
    name = element_type(dtype)
    if name is None:
        try:
            shown = str(dtype) if isinstance(dtype, str) or dtype is None else np.dtype(dtype).name
        except TypeError:  # what NumPy cannot read as a type either
            shown = str(dtype)
        raise DtypeError(f"{shown!r:.80} is not an element type", todo=f"Use one of {', '.join(DTYPES)}.")
    return name


def check_shape(shape: Any) -> tuple[int | str, ...]:
    """Validates a declared shape: non-negative sizes and names of dimensions. *Raises* ShapeError."""
    if isinstance(shape, (int, str)):
        shape = (shape,)
    dims: list[int | str] = []
    for n in shape:
        if isinstance(n, Size):
            dims.append(n.expression)
        elif isinstance(n, str) and n.isidentifier():
            dims.append(n)
        elif isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 0:
            dims.append(int(n))
        else:
            raise ShapeError(
                f"{n!r} is not a size", facts=[f"shape = {shape!r}"],
                todo="Write a shape with non-negative integers and names of dimensions.",
            )
    return tuple(dims)


def promote(dtypes: Sequence[str]) -> str:
    """Returns the common element type of operands of one kind, as NumPy does.

    *Raises* DtypeError when kinds differ, because graphexec never converts between kinds silently.
    """
    kinds = {DTYPES[d] for d in dtypes}
    if len(kinds) > 1:
        raise DtypeError(
            "operands of different kinds: " + " and ".join(sorted(KIND_NAMES[k] for k in kinds)),
            todo="Convert one of them with cast(x, dtype=...).",
        )
    return max(dtypes, key=itemsize)


def broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Returns the common shape of operands by NumPy's rules; a named axis never counts as an axis of size 1.

    *Raises* ShapeError when two axes differ and neither has size 1.
    """
    first = shapes[0]
    if shapes.count(first) == len(shapes) and Size not in map(type, first):
        return first
    ndim = max(len(s) for s in shapes)
    out: list[int] = []
    for axis in range(-ndim, 0):
        size: int = 1
        for shape in shapes:
            if len(shape) < -axis:
                continue
            n = shape[axis]
            if is_one(size):
                size = n
            elif not is_one(n) and n != size:
                raise ShapeError(
                    f"shapes do not broadcast: axis {axis} is {_text(size)} and {_text(n)}",
                    facts=[f"shapes {' and '.join(shape_text(s) for s in shapes)}"],
                    todo="Make sizes equal or 1, counted from the last axis; give equal axes the same name.",
                )
            elif isinstance(n, Size):
                size = n
        out.append(size)
    return tuple(out)


PROBE_STEP = 720_720  # divisible by 1..16, so that a named axis can be split into equal parts during inference
PROBE = PROBE_STEP * 1_009
"""The smallest number that stands for a named dimension without a size."""


class Sizes(dict[str, int]):
    """Numbers bound to named dimensions. An unbound name gets a probe: a large number of its own.

    Probes make it possible to check a graph without data: two names never have equal probes, and no probe equals a declared
    size.
    """

    def __missing__(self, name: str) -> int:
        self[name] = PROBE + 2 * PROBE_STEP * len(self)
        return self[name]

    def bind(self, shape: Iterable[int | str]) -> tuple[int, ...]:
        """Replaces the names in a shape by sizes."""
        return tuple(Size(self[n], n) if isinstance(n, str) else n for n in shape)
