"""optimize: the passes over an order before it is lowered, in their order, each with its reason in its module."""

from __future__ import annotations

from collections.abc import Iterable

from graphexec.order import Order
from graphexec.rewrite.axes import last_axis
from graphexec.rewrite.fuse import fuse
from graphexec.rewrite.likes import early_likes
from graphexec.rewrite.prune import prune
from graphexec.rewrite.sums import pairwise


def optimize(order: Order, keep: Iterable[int] = ()) -> Order:
    """The order as it is lowered: values in ``keep`` stay, names of outputs and gradients stay."""
    return fuse(early_likes(pairwise(last_axis(prune(order, keep)))), keep)
