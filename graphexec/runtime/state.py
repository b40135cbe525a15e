"""State: the arrays that programs keep from run to run, and what may be written to them.

Everything that sets state goes through `checked`, for all arrays before the first one is written: what is refused changes nothing,
and what a kernel finds has the shape and element type that its program was made for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np

from graphexec.errors import DataError, UnknownNameError, with_hint
from graphexec.ir.convert import as_array, converted
from graphexec.ir.spec import shape_text
from graphexec.runtime.turns import Turns, stays


class Parameters(MutableMapping[str, np.ndarray]):
    """Parameters by name: the arrays that programs read and write. Assignment copies into them, between two calls.

    *Raises* DataError for an array that does not fit, UnknownNameError, a KeyError, for a name that the graph lacks.
    """

    def __init__(self, arrays: dict[str, np.ndarray], turns: Turns[Any]) -> None:
        self._arrays, self._turns = arrays, turns

    def __reduce__(self) -> tuple[Any, ...]:
        raise stays("the parameters of an executable are its memory", "Send dict(exe.parameters), or the executable.")

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise unknown("parameter", name, self._arrays)
        return self._arrays[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, *given: Any, **named: Any) -> None:
        """Sets several parameters, all of them or, if one does not fit, none."""
        arrays = {name: checked(name, self[name], value) for name, value in dict(*given, **named).items()}
        with self._turns.alone():
            for name, array in arrays.items():
                self._arrays[name][...] = array

    def __delitem__(self, name: str) -> None:
        raise TypeError("parameters cannot be deleted: they belong to the graph")

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"<parameters {', '.join(f'{n} {a.shape} {a.dtype}' for n, a in self._arrays.items())}>"


def checked(name: str, target: np.ndarray, value: Any, what: str = "parameter") -> np.ndarray:
    """A value as an array that fits ``target`` and can be copied into it. *Raises* DataError.

    `converted` says which element types do.
    """
    array = as_array(value, f"{what} {name!r}")
    if array.shape != target.shape:
        raise _unfit(name, target, f"{shape_text(array.shape)} {array.dtype}", what, "Give an array of this shape.")
    return converted(array, target.dtype.name, f"{what} {name!r}")


def _unfit(name: str, target: np.ndarray, given: str, what: str, todo: str) -> DataError:
    facts = [f"{what} {shape_text(target.shape)} {target.dtype}", f"given {given}"]
    return DataError(f"this array does not fit {what} {name!r}", facts=facts, todo=todo)


def unknown(what: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Builds the error for an unknown name, with the nearest known one."""
    known = list(known)
    todo = f"The {what}s are: {', '.join(known) or 'none'}."
    return UnknownNameError(with_hint(f"there is no {what} {name!r}", name, known), todo=todo)


def checked_file(
    arrays: Mapping[str, np.ndarray], parameters: Iterable[str], targets: Mapping[str, np.ndarray], source: str
) -> dict[str, np.ndarray]:
    """The arrays of a file, if they are all parameters, with or without all of the optimizer's state. *Raises* DataError.

    Parameters may be of another element type if that keeps the numbers; only `save` writes state, so its type must be the same.
    """
    parameters = set(parameters)
    try:
        for name in parameters.union(() if parameters >= arrays.keys() else targets):
            if name not in arrays:
                what = "parameter" if name in parameters else "array of the optimizer's state"
                raise DataError(f"the file has no {what} {name!r}", todo="Load a file saved from this graph.")
        return {name: _from_file(name, array, name in parameters, targets) for name, array in arrays.items()}
    except DataError as error:
        raise error.at(source=source) from None


def _from_file(name: str, array: np.ndarray, is_parameter: bool, targets: Mapping[str, np.ndarray]) -> np.ndarray:
    if name not in targets:
        raise unknown("parameter", name, targets)
    target = targets[name]
    if is_parameter:
        fitting = checked(name, target, array)
        if fitting.dtype == array.dtype or np.array_equal(fitting.astype(array.dtype), array, equal_nan=array.dtype.kind == "f"):
            return fitting
    elif array.dtype == target.dtype:
        return checked(name, target, array, "state")
    raise _unfit(name, target, f"{shape_text(array.shape)} {array.dtype}", "parameter" if is_parameter else "state",
                 f"Convert it with .astype({target.dtype.name!r}) before you save it.")  # fmt: skip
