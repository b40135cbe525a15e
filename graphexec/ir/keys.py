"""Dictionary keys of attributes and specs, for sharing one result among equal nodes.

Python considers 1, 1.0 and True equal, and likewise 0.0 and -0.0; an op distinguishes them. So all code that compares
attributes (the graph, its files, the passes, the kernels) uses :func:`exactly`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphexec.ir.spec import TensorSpec


def exactly(value: Any) -> Any:
    """Turns an attribute's value into a key, equal only for values of the same type and the same bits; NaN equals NaN."""
    kind = type(value)
    if kind is float:
        return kind, value.hex()
    if kind is tuple:
        return kind, tuple(map(exactly, value))
    return kind, value, getattr(value, "expression", None)


def freeze(attributes: Mapping[str, Any]) -> tuple[Any, ...]:
    """Turns attributes into a key that distinguishes 1, 1.0 and True, and 0.0 and -0.0."""
    return tuple([(k, exactly(v)) for k, v in attributes.items()]) if attributes else ()


class Interner:
    """Returns one object for all equal specs, so that ``id(spec)`` is its key as long as the interner lives.

    Hashing a spec dominates the per-node cost. A spec that escapes interning only misses the cache; results are unaffected.
    """

    def __init__(self) -> None:
        self._known: dict[Any, TensorSpec] = {}

    def intern(self, spec: TensorSpec) -> TensorSpec:
        """Returns the one object for all specs equal to this one."""
        return self._known.setdefault(spec_key(spec), spec)

    def all(self, specs: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
        """Interns several specs."""
        return tuple([self.intern(spec) for spec in specs])


def shape_keys(specs: Sequence[TensorSpec]) -> list[Any]:
    """Returns the key of each spec's shape; None for a missing spec, as of a value that is no longer computed.

    Each object is hashed only once, because many values share few specs.
    """
    keys = {id(spec): None if spec is None else spec_key(spec)[1:] for spec in {id(spec): spec for spec in specs}.values()}
    return [keys[id(spec)] for spec in specs]


def spec_key(spec: TensorSpec | None) -> Any:
    """Returns a spec's key, with names of dimensions: specs that differ only in a name must not share results."""
    if spec is None:
        return None
    return (spec.dtype, *(getattr(n, "expression", n) for n in spec.shape))
