"""What a user may ask of recomputation: `gx.compile(..., recompute=...)`, ``recompute:`` in a file, ``--recompute``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphexec.errors import DataError, did_you_mean

SQUARE_ROOT = "sqrt"
"""As many segments as the square root of the number of nodes that compute."""

Request = int | str | tuple[str, ...]
"""How many segments, "sqrt", or the names of values that are kept: a segment ends with each."""


def checked(request: Any, names: Iterable[str]) -> Request | None:
    """What a user asks for, with values by their names. *Raises* DataError, for an unknown name with the nearest one."""
    if request is None or request == SQUARE_ROOT or (isinstance(request, int) and not isinstance(request, bool) and request > 0):
        return request  # type: ignore[no-any-return]
    if isinstance(request, (bool, int, float, str)):
        raise DataError(
            f"recompute={request!r} is no number of segments", todo='Give a whole number from 1, "sqrt", or the values to keep.'
        )
    given = tuple(v if isinstance(v, str) else v.name for v in request)
    known = dict.fromkeys(names)
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known)
            raise DataError(
                f"recompute: the graph has no value {name!r}" + (f"; {hint}" if hint else ""), todo="Name values to keep."
            )
    return given
