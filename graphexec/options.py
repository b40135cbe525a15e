"""Checks requests for recomputation: `gx.compile(..., recompute=...)`, ``recompute:`` in a file, ``--recompute``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphexec.errors import DataError, with_hint

SQUARE_ROOT = "sqrt"
"""Requests as many segments as the square root of the number of nodes."""

Request = int | str | tuple[str, ...]
"""A number of segments, "sqrt", or the names of values to keep, each of which ends a segment."""


def checked(request: Any, names: Iterable[str]) -> Request | None:
    """Checks a request and replaces values by their names. *Raises* DataError, with the nearest name for an unknown one."""
    if request is None or request == SQUARE_ROOT or (isinstance(request, int) and not isinstance(request, bool) and request > 0):
        return request  # type: ignore[no-any-return]
    if isinstance(request, (bool, int, float, str)):
        raise DataError(
            f"recompute={request!r} is not a number of segments", todo='Give a whole number from 1, "sqrt", or the values to keep.'
        )
    given = tuple(v if isinstance(v, str) else v.name for v in request)
    known = dict.fromkeys(names)
    for name in given:
        if name not in known:
            raise DataError(with_hint(f"recompute: the graph has no value {name!r}", name, known), todo="Name values to keep.")
    return given
