"""Keys of attributes and specs, for dictionaries that hold one result for all nodes that are the same.

Python compares 1, 1.0 and True as equal, and so 0.0 and -0.0; an op tells them apart. Whatever compares attributes, here or
in the graph, its files, the passes and the kernels, goes through :func:`exactly`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphexec.ir.spec import TensorSpec


def exactly(value: Any) -> Any:
    """An attribute's value as a key: equal for values of the same type and the same bits only; NaN equals NaN."""
    kind = type(value)
    if kind is float:
        return kind, value.hex()
    if kind is tuple:
        return kind, tuple(map(exactly, value))
    return kind, value, getattr(value, "expression", None)


def freeze(attributes: Mapping[str, Any]) -> tuple[Any, ...]:
    """Attributes as a key; 1, 1.0 and True are told apart, and 0.0 and -0.0."""
    return tuple([(k, exactly(v)) for k, v in attributes.items()]) if attributes else ()


class Interner:
    """Gives one object for all specs that are the same, so that its id is the spec's key, for as long as the interner lives.

    Making a key of a spec takes longer than all else that is asked of a node. A spec that is not interned is one more key:
    it costs time, and changes nothing.
    """

    def __init__(self) -> None:
        self._known: dict[Any, TensorSpec] = {}

    def intern(self, spec: TensorSpec) -> TensorSpec:
        return self._known.setdefault(spec_key(spec), spec)

    def all(self, specs: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
        return tuple([self.intern(spec) for spec in specs])


def shape_keys(specs: Sequence[TensorSpec]) -> list[Any]:
    """For each spec the key of its shape; None where there is none, as for values that are not computed any more.

    It is made once for each object, and values share few.
    """
    keys = {id(spec): None if spec is None else spec_key(spec)[1:] for spec in {id(spec): spec for spec in specs}.values()}
    return [keys[id(spec)] for spec in specs]


def spec_key(spec: TensorSpec | None) -> Any:
    """Specs that differ in a name only must not share a result, although equal as numbers."""
    if spec is None:
        return None
    return (spec.dtype, *(getattr(n, "expression", n) for n in spec.shape))
