"""optimize: the passes over an order before it is lowered, in their order, each with its reason in its module.

All of them run on the order with its backward pass and its updates. Each can be left out by its name, to find the one
that a wrong result or a slow step comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from graphexec.errors import DataError, did_you_mean
from graphexec.ir.function import Function
from graphexec.rewrite.fusion.decompose import unfold
from graphexec.rewrite.fusion.elementwise import fuse
from graphexec.rewrite.fusion.gemm_epilogue import epilogue
from graphexec.rewrite.fusion.horizontal import multi_tensor
from graphexec.rewrite.fusion.rowwise import fuse_rows
from graphexec.rewrite.fusion.superinstructions import pairs
from graphexec.rewrite.legalize.expand_add_n import pairwise
from graphexec.rewrite.legalize.move_axis_last import last_axis
from graphexec.rewrite.legalize.unify_dtypes import same_types
from graphexec.rewrite.schedule.cluster_kernels import alike
from graphexec.rewrite.schedule.rematerialize_cheap import recompute_cheap
from graphexec.rewrite.simplify.constant_folding import fold
from graphexec.rewrite.simplify.cse import merge
from graphexec.rewrite.simplify.dce import prune
from graphexec.rewrite.simplify.gemm_accumulate import accumulate, slices_to_concat
from graphexec.rewrite.simplify.hoist_shape_operands import early_likes
from graphexec.rewrite.simplify.rank1_matmul import outer_products
from graphexec.rewrite.simplify.transpose_folding import turned_products

Pass = Callable[[Function, list[int]], Function]

PASSES: dict[str, Pass] = {
    "slices_to_concat": lambda fn, keep: slices_to_concat(fn),  # needs sums whole, as `required` does not leave them
    "required": lambda fn, keep: required(fn, keep),
    "turned_products": turned_products,
    "unfold": lambda fn, keep: unfold(fn),
    "fold": fold,  # after what adds transpositions and casts, of which some undo others
    "early_likes": lambda fn, keep: early_likes(fn),  # before merge: nodes that borrow one shape from two values are equal
    "merge": merge,  # before accumulate: a product that is needed twice is no term to be added in place
    "outer_products": lambda fn, keep: outer_products(fn),
    "accumulate": accumulate,
    "prune": prune,
    "recompute_cheap": recompute_cheap,  # after merge, which would undo it
    "fuse_rows": fuse_rows,  # before fuse, which takes what is left
    "fuse": fuse,
    "pairs": pairs,  # of what fuse leaves apart
    "epilogue": epilogue,  # after fuse: what follows a product may be several nodes
    "multi_tensor": multi_tensor,  # of the updates that the others leave apart
    "alike": alike,  # last: it moves what the others make
}
ALWAYS = ("required", "prune")
REUSE = "reuse_memory"
"""The name under which values get memory of their own instead of sharing it: no pass, but left out alike."""
OPTIONAL = (*(name for name in PASSES if name not in ALWAYS), REUSE)
"""What can be left out; `optimize=False` leaves out all."""


def required(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order with only the passes that lowering needs: what `optimize=False` runs."""
    return pairwise(last_axis(same_types(prune(fn, keep))))


def optimize(fn: Function, keep: Iterable[int] = (), skip: Collection[str] = ()) -> Function:
    """The order as it is lowered: values in ``keep`` stay, names of outputs, gradients and deltas stay.

    Passes named in ``skip`` are left out.
    """
    keep = list(keep)
    for name, run in PASSES.items():
        if name not in skip:
            fn = run(fn, keep)
    return fn


def skipped(optimize: bool, skip_passes: str | Iterable[str]) -> frozenset[str]:
    """The names to leave out, one or several; all where not ``optimize``. *Raises* DataError for an unknown one."""
    names = [skip_passes] if isinstance(skip_passes, str) else list(skip_passes)
    for name in names:
        if name not in OPTIONAL:
            hint = did_you_mean(name, OPTIONAL)
            raise DataError(
                f"there is no pass {name!r} to leave out" + (f"; {hint}" if hint else ""),
                todo=f"The passes are: {', '.join(OPTIONAL)}.",
            )
    return frozenset(names) if optimize else frozenset(OPTIONAL)
