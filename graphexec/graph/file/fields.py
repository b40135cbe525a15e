"""Reads the fields of a graph file: types such as ``float32[batch, 2]``, arrays as nested lists, initializers, scalars."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from graphexec.errors import GraphExecError
from graphexec.graph.file.calls import Call, Literal, read_call
from graphexec.graph.file.tree import Item, Mapping, Page, Scalar, Sequence, kind_name, resolve, shorten
from graphexec.ir.convert import holds
from graphexec.ir.spec import DTYPES

_TYPE = re.compile(r"\s*(\w+)\s*(?:\[(.*)\])?\s*", re.DOTALL)
_NONFINITE = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}


def mapping(page: Page, item: Item, what: str, keys: Iterable[str] | None = None, need: Iterable[str] = ()) -> Mapping:
    """Returns a mapping with known keys. *Raises* GraphFileError for any other item, and for an unknown or missing key."""
    if not isinstance(item, Mapping):
        page.fail(
            item.line,
            f"{what} must be a mapping, not {kind_name(page, item)}",
            todo="Leave it out, or write {}." if _nothing(item) else None,
        )
    if keys is not None:
        for key, line in item.lines.items():
            if key not in keys:
                page.unknown(line, f"{what}: unknown key", key, keys)
    for key in need:
        if key not in item.items:
            page.fail(item.line, f"{what}: the key {key!r} is missing", todo=f"Add {key}: ...")
    return item


def _nothing(item: Item) -> bool:
    return isinstance(item, Scalar) and item.plain and not item.text


def sequence(page: Page, item: Item, what: str) -> list[Item]:
    """Returns the items of a list. *Raises* GraphFileError for any other item."""
    if not isinstance(item, Sequence):
        page.fail(item.line, f"{what} must be a list, not {kind_name(page, item)}", todo="Write [a, b].")
    return item.items


def text(page: Page, item: Item, what: str) -> str:
    """Returns a string. *Raises* GraphFileError for any other item."""
    value = resolve(page, item) if isinstance(item, Scalar) else None
    if not isinstance(value, str):
        page.fail(
            item.line,
            f"{what} must be a string, not {kind_name(page, item)}",
            todo="Write a name; quote it if it looks like a number.",
        )
    return value


def boolean(page: Page, item: Item, what: str) -> bool:
    """Returns a boolean. *Raises* GraphFileError for any other item."""
    value = resolve(page, item) if isinstance(item, Scalar) else None
    if not isinstance(value, bool):
        page.fail(item.line, f"{what} must be true or false, not {kind_name(page, item)}")
    return value


def integer(page: Page, item: Item, what: str, least: int) -> int:
    """Returns an integer. *Raises* GraphFileError for any other item, and for an integer below ``least``."""
    value = resolve(page, item) if isinstance(item, Scalar) else None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        page.fail(item.line, f"{what} must be a whole number from {least}, not {kind_name(page, item)}")
    return value


def read_type(page: Page, item: Item, what: str) -> tuple[str, tuple[int | str, ...]]:
    """Reads dtype and shape from ``float32[batch, 2]``; a scalar is ``float32`` or ``float32[]``. *Raises* GraphFileError."""
    written = text(page, item, f"the type of {what}")
    found = _TYPE.fullmatch(written)
    if found is None:
        page.fail(item.line, f"{what}: {shorten(written)!r} is not a type", todo="Write a type as float32[batch, 2] or float32.")
    if found[1] not in DTYPES:
        page.unknown(item.line, f"{what}: unknown element type", found[1], DTYPES)
    inside = (found[2] or "").strip()
    return found[1], tuple(_size(page, part.strip(), item.line, what) for part in inside.split(",")) if inside else ()


def _size(page: Page, part: str, line: int, what: str) -> int | str:
    if re.fullmatch(r"[0-9]{1,15}", part):
        return int(part)
    if not part.isidentifier():
        page.fail(
            line,
            f"{what}: {shorten(part)!r} is not a size",
            todo="Use a whole number from 0 (up to 15 digits) or the name of a dimension.",
        )
    return part


def read_array(page: Page, item: Item, dtype: str, shape: tuple[Any, ...] | None, what: str) -> np.ndarray:
    """Converts nested lists to an array. *Raises* GraphFileError with the line of a wrong length or number."""
    if any(isinstance(n, str) for n in shape or ()):
        page.fail(item.line, f"{what} has a named dimension and a value", todo="Give its size as a number.")
    if shape is None:
        shape = _shape_of(item)
    elif 0 in shape:
        # an axis of size 0 hides the axes after it: [] is the only way to write (0, 3)
        shape, wanted = _shape_of(item), shape
        if 0 not in shape or shape != wanted[: len(shape)]:
            page.fail(item.line, f"{what}: the value has shape {shape}, but the type says {wanted}")
        return np.zeros(wanted, dtype)
    values: list[Any] = []
    _flatten(page, item, dtype, shape, values, what)
    return np.asarray(values, dtype=dtype).reshape(shape)


def _shape_of(item: Item) -> tuple[int, ...]:
    shape = []
    while isinstance(item, Sequence):
        shape.append(len(item.items))
        if not item.items:
            break
        item = item.items[0]
    return tuple(shape)


def _flatten(page: Page, item: Item, dtype: str, shape: tuple[Any, ...], values: list[Any], what: str) -> None:
    if not shape:
        values.append(element(page, item, dtype, what))
        return
    if not isinstance(item, Sequence) or len(item.items) != shape[0]:
        found = f"a list of {len(item.items)}" if isinstance(item, Sequence) else kind_name(page, item)
        page.fail(
            item.line, f"{what}: expected a list of {shape[0]}, found {found}", todo="Give a value with the shape of the type."
        )
    for inner in item.items:
        _flatten(page, inner, dtype, shape[1:], values, what)


def element(page: Page, item: Item, dtype: str, what: str) -> Any:
    """Reads one number of an array; nan, inf and -inf may be strings, since JSON cannot express them otherwise."""
    value = resolve(page, item) if isinstance(item, Scalar) else None
    if isinstance(value, str) and DTYPES[dtype] == "f":
        value = _NONFINITE.get(value)
    problem = misfit(value, dtype)
    if problem:
        page.fail(item.line, f"{what}: {kind_name(page, item)} {problem}")
    return value


def misfit(value: Any, dtype: str) -> str | None:
    """Says why a Python number cannot be an element of this type; None if it can."""
    kind = DTYPES[dtype]
    if kind == "b" or isinstance(value, bool):
        return None if kind == "b" and isinstance(value, bool) else f"is not of type {dtype}"
    if not isinstance(value, int if kind == "i" else (int, float)):
        return f"is not of type {dtype}"
    if holds(value, dtype):
        return None
    rounds = kind == "f" and isinstance(value, int) and abs(value) < 2**127
    return f"is not exactly a {dtype} number; to round it, write it with a decimal point" if rounds else f"does not fit in {dtype}"


def read_init(page: Page, item: Item, what: str) -> str:
    """Checks an initializer, such as ``glorot_uniform`` or ``normal(std=0.02)``, and returns its text. *Raises* GraphFileError."""
    written = text(page, item, f"init of {what}")
    assert isinstance(item, Scalar)
    call = None if written.isidentifier() else read_call(page, item)
    if call is not None and any(not isinstance(a, Literal) for _, a in call.arguments):
        page.fail(item.line, f"{what}: the arguments of init must be numbers", todo="Write normal(std=0.02).")
    parse = _initializer_parser()
    try:
        if parse is not None:
            parse(written)
    except GraphExecError as error:
        raise error.at(source=page.place(item.line)) from None
    except (ValueError, TypeError, KeyError) as error:
        page.fail(item.line, f"{what}: {written!r} is not an initializer: {error}")
    return written


def _initializer_parser() -> Any:
    """Imports the parser on demand: reading graphs must not import `graphexec.optim`."""
    try:
        return getattr(importlib.import_module("graphexec.optim.initializers"), "parse", None)
    except ModuleNotFoundError:
        return None


def literals(page: Page, item: Item, what: str) -> Any:
    """Reads an attribute: a scalar, lists of scalars (as tuples), or ``{float: nan}`` for numbers that JSON cannot express."""
    if isinstance(item, Scalar):
        return resolve(page, item)
    if isinstance(item, Sequence):
        return tuple(literals(page, i, what) for i in item.items)
    inner = item.items.get("float")
    if len(item.items) == 1 and isinstance(inner, Scalar) and inner.text in _NONFINITE:
        return float(inner.text)
    page.fail(item.line, f"{what} must be a number, string, boolean, null, or a list of them, not a mapping")


def call_or_name(page: Page, item: Item, what: str) -> Call:
    """Reads ``sgd(lr=0.1)``, or ``sgd`` alone."""
    written = text(page, item, what)
    assert isinstance(item, Scalar)
    return Call(written, [], item.line) if written.isidentifier() else read_call(page, item)
