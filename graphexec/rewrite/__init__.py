"""optimize: runs the passes that rewrite a function before it is lowered. Each pass explains itself in its module.

All of them run on the function with its backward pass and its updates. Each optional one can be skipped by its name, to find
the one that causes a wrong result or a slow step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from graphexec.errors import DataError, with_hint
from graphexec.ir.function import Function
from graphexec.llvm.toolchain import LOCK
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
from graphexec.rewrite.schedule.updates_after_checks import updates_after_checks
from graphexec.rewrite.simplify.concat_of_slices import concat_of_slices
from graphexec.rewrite.simplify.constant_folding import constant_folding
from graphexec.rewrite.simplify.cse import cse
from graphexec.rewrite.simplify.dce import dce
from graphexec.rewrite.simplify.gemm_accumulate import gemm_accumulate
from graphexec.rewrite.simplify.hoist_shape_operands import hoist_shape_operands
from graphexec.rewrite.simplify.rank1_matmul import rank1_matmul
from graphexec.rewrite.simplify.transpose_folding import transpose_folding

Pass = Callable[[Function, list[int]], Function]

PASSES: dict[str, Pass] = {
    "concat_of_slices": lambda fn, live_out: concat_of_slices(fn),  # before required, which takes sums apart
    "required": lambda fn, live_out: required(fn, live_out),  # what lowering needs
    "transpose_folding": transpose_folding,
    "decompose": lambda fn, live_out: decomposed(fn, live_out),
    "constant_folding": constant_folding,  # after the passes that add transpositions and casts, some of which undo others
    "hoist_shape_operands": lambda fn, live_out: hoist_shape_operands(fn),  # before cse: it makes nodes equal
    "cse": cse,  # before gemm_accumulate: a product that is read twice cannot be accumulated in place
    "rank1_matmul": lambda fn, live_out: rank1_matmul(fn),
    "gemm_accumulate": gemm_accumulate,
    "dce": dce,
    "rematerialize_cheap": rematerialize_cheap,  # after cse, which would undo it
    "fuse_rows": fuse_rows,  # before fuse, which takes the rest
    "fuse": fuse,
    "superinstructions": superinstructions,  # of the nodes that fuse leaves apart
    "gemm_epilogue": gemm_epilogue,  # after fuse: the epilogue may be a fused node
    "horizontal_fusion": horizontal_fusion,  # of the updates that no other pass has fused
    "cluster_kernels": cluster_kernels,  # it moves the nodes that the others make
    "updates_after_checks": lambda fn, live_out: updates_after_checks(fn),  # last: nothing may move an update ahead again
}
ALWAYS = ("required", "dce", "updates_after_checks")
REUSE = "reuse_memory"
"""No pass, but skipped like one: without it every value gets memory of its own."""
OPTIONAL = (*(name for name in PASSES if name not in ALWAYS), REUSE)
"""The names that can be skipped; `optimize=False` skips all."""
RENAMED = {
    "accumulate": "gemm_accumulate", "alike": "cluster_kernels", "early_likes": "hoist_shape_operands", "epilogue": "gemm_epilogue",
    "fold": "constant_folding", "merge": "cse", "multi_tensor": "horizontal_fusion", "outer_products": "rank1_matmul",
    "pairs": "superinstructions", "prune": "dce", "recompute_cheap": "rematerialize_cheap", "slices_to_concat": "concat_of_slices",
    "turned_products": "transpose_folding", "unfold": "decompose",
}  # fmt: skip
"""Old names of passes, and the current ones, for the error message."""


def required(fn: Function, live_out: Iterable[int] = ()) -> Function:
    """The function after the passes that lowering needs, and no others: what `optimize=False` runs."""
    return expand_add_n(move_axis_last(unify_dtypes(dce(fn, live_out))))


def decomposed(fn: Function, live_out: Iterable[int]) -> Function:
    """The function with kernels replaced by their decompositions, whose ops need what all others need."""
    made = decompose(fn)
    return fn if made is fn else required(made, live_out)


def optimize(fn: Function, live_out: Iterable[int] = (), skip: Collection[str] = ()) -> Function:
    """The function as it is lowered. Values in ``live_out`` stay, as do the names of outputs, gradients and deltas.

    Passes named in ``skip`` do not run.
    """
    live_out = list(live_out)
    with LOCK:  # passes look at compiled ops
        for name, run in PASSES.items():
            if name not in skip:
                fn = run(fn, live_out)
    return fn


def skipped(optimize: bool, skip_passes: str | Iterable[str]) -> frozenset[str]:
    """The names to skip, one or several; all if not ``optimize``. *Raises* DataError for an unknown one."""
    names = [skip_passes] if isinstance(skip_passes, str) else list(skip_passes)
    for name in names:
        if name not in OPTIONAL:
            what = f"there is no pass {name!r} to leave out"
            new = RENAMED.get(name)
            if new is None:
                what = with_hint(what, name, OPTIONAL)
            else:
                what += f"; it is now called {new!r}" + (" and always runs" if new in ALWAYS else "")
            raise DataError(what, todo=f"The passes are: {', '.join(OPTIONAL)}.")
    return frozenset(names) if optimize else frozenset(OPTIONAL)
