"""optimize: the passes over an order before it is lowered, in their order, each with its reason in its module.

All of them run on the order with its backward pass and its updates. Each can be left out by its name, to find the one
that a wrong result or a slow step comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from graphexec.errors import DataError, did_you_mean
from graphexec.ir.function import Function
from graphexec.rewrite.fusion.decompose import decompose
from graphexec.rewrite.fusion.elementwise import fuse
from graphexec.rewrite.fusion.gemm_epilogue import gemm_epilogue
from graphexec.rewrite.fusion.horizontal import horizontal_fusion
from graphexec.rewrite.fusion.rowwise import fuse_rows
from graphexec.rewrite.fusion.superinstructions import superinstructions
from graphexec.rewrite.legalize.expand_add_n import expand_add_n
from graphexec.rewrite.legalize.move_axis_last import move_axis_last
from graphexec.rewrite.legalize.unify_dtypes import unify_dtypes
from graphexec.rewrite.schedule.cluster_kernels import cluster_kernels
from graphexec.rewrite.schedule.rematerialize_cheap import rematerialize_cheap
from graphexec.rewrite.simplify.constant_folding import constant_folding
from graphexec.rewrite.simplify.cse import cse
from graphexec.rewrite.simplify.dce import dce
from graphexec.rewrite.simplify.gemm_accumulate import concat_of_slices, gemm_accumulate
from graphexec.rewrite.simplify.hoist_shape_operands import hoist_shape_operands
from graphexec.rewrite.simplify.rank1_matmul import rank1_matmul
from graphexec.rewrite.simplify.transpose_folding import transpose_folding

Pass = Callable[[Function, list[int]], Function]

PASSES: dict[str, Pass] = {
    "concat_of_slices": lambda fn, keep: concat_of_slices(fn),  # needs sums whole, as `required` does not leave them
    "required": lambda fn, keep: required(fn, keep),
    "transpose_folding": transpose_folding,
    "decompose": lambda fn, keep: decompose(fn),
    "constant_folding": constant_folding,  # after what adds transpositions and casts, of which some undo others
    "hoist_shape_operands": lambda fn, keep: hoist_shape_operands(fn),  # before cse, which it gives equal nodes
    "cse": cse,  # before gemm_accumulate: a product that is needed twice is no term to be added in place
    "rank1_matmul": lambda fn, keep: rank1_matmul(fn),
    "gemm_accumulate": gemm_accumulate,
    "dce": dce,
    "rematerialize_cheap": rematerialize_cheap,  # after cse, which would undo it
    "fuse_rows": fuse_rows,  # before fuse, which takes what is left
    "fuse": fuse,
    "superinstructions": superinstructions,  # of what fuse leaves apart
    "gemm_epilogue": gemm_epilogue,  # after fuse: what follows a product may be several nodes
    "horizontal_fusion": horizontal_fusion,  # of the updates that the others leave apart
    "cluster_kernels": cluster_kernels,  # last: it moves what the others make
}
ALWAYS = ("required", "dce")
REUSE = "reuse_memory"
"""The name under which values get memory of their own instead of sharing it: no pass, but left out alike."""
OPTIONAL = (*(name for name in PASSES if name not in ALWAYS), REUSE)
"""What can be left out; `optimize=False` leaves out all."""


def required(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order with only the passes that lowering needs: what `optimize=False` runs."""
    return expand_add_n(move_axis_last(unify_dtypes(dce(fn, keep))))


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
