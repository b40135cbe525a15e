"""Reads the parameters of a declared function, and gufunc signatures."""

from __future__ import annotations

import inspect
import re
from typing import Any

from graphexec.errors import PluginError
from graphexec.ir.declaration_checks import Function, place, refuse
from graphexec.ir.op import Op, literal

Axes = tuple[str, ...]


def read_parameters(function: Function) -> tuple[tuple[str, ...], frozenset[str], bool, dict[str, Any]]:
    """Returns operands, the optional ones among them, whether their number is arbitrary, and attributes with defaults.

    *Raises* PluginError for ``**keywords``.
    """
    inputs, optional, variadic, attributes = [], set(), False, {}
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.KEYWORD_ONLY:
            attributes[p.name] = p.default if p.default is p.empty else literal(p.default, p.name, function.__name__)
        elif p.kind is p.VAR_KEYWORD:
            raise PluginError(
                "attributes must be named: **keywords cannot be checked", op=function.__name__, source=place(function),
                todo="Write each attribute as a keyword-only parameter.",
            )
        else:
            inputs.append(p.name)
            variadic = variadic or p.kind is p.VAR_POSITIONAL
            if p.default is None:
                optional.add(p.name)
    return tuple(inputs), frozenset(optional), variadic, attributes


def engine_parameters(scratch: object, parallel: object) -> tuple[str, ...]:
    """The parameters that the engine supplies, after all others."""
    return ("scratch",) * bool(scratch) + ("piece", "pieces") * bool(parallel)


def optional_axes(signature: str) -> frozenset[str]:
    """The core axes marked ``?`` in a gufunc signature, which operands may lack."""
    return frozenset(re.findall(r"(\w+)\s*\?", signature))


def parse_signature(op: Op, text: str) -> tuple[tuple[Axes, ...], tuple[Axes, ...]]:
    """Parses the core axes of inputs and outputs. *Raises* PluginError for text that is not a gufunc signature."""
    compact = re.sub(r"\s", "", text) if isinstance(text, str) else ""
    compact = re.sub(r"(?<=[^\W\d])\?(?=[,)])", "", compact)
    group = r"\((?:\w+(?:,\w+)*)?\)"
    if not re.fullmatch(rf"(?:{group}(?:,{group})*)?->{group}(?:,{group})*", compact):
        refuse(op, f"{text!r} is not a gufunc signature such as '(m,k),(k,n)->(m,n)'")
    left, right = compact.split("->")
    inputs, outputs = (
        tuple(tuple(a for a in g[1:-1].split(",") if a) for g in re.findall(group, side)) for side in (left, right)
    )
    known = {a for axes in inputs for a in axes}
    for axes in outputs:
        for a in axes:
            if a not in known and not a.isdigit():
                refuse(op, f"axis {a!r} of an output appears in no input of {text!r}", a, sorted(known))
    return inputs, outputs


def doc_of(function: Function) -> str:
    """The function's docstring, or else that of its file, because a file declares one op."""
    return inspect.cleandoc(function.__doc__ or function.__globals__.get("__doc__") or "")
