"""Shows which stage of a check runs, and how far it is, once a stage has taken a second."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Progress:
    """Bars on standard error if ``shown``; otherwise nothing."""

    def __init__(self, shown: bool) -> None:
        self.shown = shown

    def watch(self, stage: str, items: Sequence[T], unit: str = "node") -> Iterable[T]:
        """The items, with a bar while they are taken."""
        if not self.shown:
            return items
        from tqdm import tqdm

        large = len(items) > 10_000
        bar: Iterable[T] = tqdm(
            items, desc=stage, unit=unit, unit_scale=large, delay=1.0, leave=False, file=sys.stderr, dynamic_ncols=True
        )
        return bar
