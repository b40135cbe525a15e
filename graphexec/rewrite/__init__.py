"""optimize: the passes over an order before it is lowered, in their order, each with its reason in its module."""

from __future__ import annotations

from collections.abc import Iterable

from graphexec.order import Order
from graphexec.rewrite.accumulate import accumulate, slices_to_concat
from graphexec.rewrite.axes import last_axis
from graphexec.rewrite.casts import same_types
from graphexec.rewrite.epilogue import epilogue
from graphexec.rewrite.fuse import fuse
from graphexec.rewrite.likes import early_likes
from graphexec.rewrite.outer import outer_products
from graphexec.rewrite.prune import prune
from graphexec.rewrite.rows import fuse_rows
from graphexec.rewrite.sums import pairwise
from graphexec.rewrite.transposes import turned_products
from graphexec.rewrite.unfold import unfold


def required(order: Order, keep: Iterable[int] = ()) -> Order:
    """The order with only the passes that lowering needs: what `optimize=False` runs."""
    return pairwise(last_axis(same_types(prune(order, keep))))


def optimize(order: Order, keep: Iterable[int] = ()) -> Order:
    """The order as it is lowered: values in ``keep`` stay, names of outputs and gradients stay."""
    keep = list(keep)
    order = turned_products(required(slices_to_concat(order), keep), keep)
    order = prune(early_likes(unfold(accumulate(outer_products(order), keep))), keep)
    return epilogue(fuse(fuse_rows(order, keep), keep), keep)
