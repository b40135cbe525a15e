"""Reads the parameters of a declared function, and gufunc signatures."""

from __future__ import annotations

import inspect
import re
from typing import Any, NamedTuple

from graphexec.errors import OpError, PluginError
from graphexec.ir.attributes import REQUIRED, AttributeType, convert, declared_type, parameter_annotations
from graphexec.ir.declaration_checks import Function, place, refuse
from graphexec.ir.op import Op

CoreAxes = tuple[str, ...]


class Parameters(NamedTuple):
    """What a declared function takes."""

    inputs: tuple[str, ...]
    optional: frozenset[str]
    """Operands that may be left out."""
    variadic: bool
    """Whether the number of operands is arbitrary."""
    attributes: dict[str, Any]
    """The defaults; REQUIRED for none."""
    types: dict[str, AttributeType]


def read_parameters(function: Function) -> Parameters:
    """Reads the parameters of a function. *Raises* PluginError for ``**keywords``, and for a default not of the declared type."""
    inputs, optional, variadic = [], set(), False
    attributes: dict[str, Any] = {}
    kinds: dict[str, AttributeType] = {}
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.KEYWORD_ONLY:
            kinds[p.name], attributes[p.name] = _attribute(function, p)
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
    return Parameters(tuple(inputs), frozenset(optional), variadic, attributes, kinds)


def _attribute(function: Function, p: inspect.Parameter) -> tuple[AttributeType, Any]:
    """Returns an attribute's type and default."""
    try:
        annotation = parameter_annotations(function)[p.name] if p.annotation is not p.empty else REQUIRED
        kind = declared_type(annotation, p.default)
        return kind, p.default if p.default is p.empty else convert(p.name, p.default, kind)
    except OpError as error:
        raise PluginError(f"the default of {error.what}", op=function.__name__, source=place(function), todo=error.todo) from None
    except (TypeError, NameError) as error:
        raise PluginError(
            f"the annotation of attribute {p.name!r} is not a type of attributes: {error}", op=function.__name__,
            source=place(function),
            todo="Use int, float, bool, str, DType, Literal, tuple[int, ...], unions of them with |, or Annotated[int, Range(0)].",
        ) from None


def engine_parameters(scratch: object, parallel: object) -> tuple[str, ...]:
    """The parameters that the engine supplies, after all others."""
    return ("scratch",) * bool(scratch) + ("piece", "pieces") * bool(parallel)


def optional_axes(signature: str) -> frozenset[str]:
    """The core axes marked ``?`` in a gufunc signature, which operands may lack."""
    return frozenset(re.findall(r"(\w+)\s*\?", signature))


def parse_signature(op: Op, text: str) -> tuple[tuple[CoreAxes, ...], tuple[CoreAxes, ...]]:
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
