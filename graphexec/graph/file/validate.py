"""Checks a graph read from a file: cycles with their lines, the types of bare numbers, shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphexec.errors import CycleError, GraphExecError
from graphexec.graph.file.build import GraphBuilder
from graphexec.graph.file.fields import misfit
from graphexec.ir.function import ABSENT, Function
from graphexec.ir.infer import infer
from graphexec.ir.op import Op
from graphexec.ir.operands import free_dtypes, literal_dtype
from graphexec.ir.spec import Sizes, TensorSpec

_CYCLE_SHOWN = 20


def check_graph(builder: GraphBuilder) -> Function:
    """Checks a graph and returns its function with shapes inferred. *Raises* CycleError with lines, and the errors of `infer`."""
    try:
        fn = builder.graph.function()
    except CycleError as error:
        raise _cycle(builder, error.nodes) from None
    if builder.numbers:
        settle_numbers(builder, fn)
        fn = builder.graph.function()
    return infer(fn, Sizes())


def _cycle(builder: GraphBuilder, names: Sequence[str]) -> CycleError:
    # start at the line that comes first in the file
    first = min(range(len(names)), key=lambda k: builder.lines[names[k]])
    names = [*names[first:], *names[:first]]
    facts = [f"{name!r} (line {builder.lines[name]}) is read by" for name in names[:_CYCLE_SHOWN]]
    facts += [f"... and {len(names) - _CYCLE_SHOWN} more, the last read by"] if len(names) > _CYCLE_SHOWN else []
    return CycleError(
        "the graph has a cycle",
        node=names[0],
        source=builder.page.place(builder.lines[names[0]]),
        facts=[*facts, f"{names[0]!r} again"],
        todo="Remove one of these edges.",
    )


def settle_numbers(builder: GraphBuilder, fn: Function) -> None:
    """Gives each number in a call the element type that `Graph.apply` would give it, from the other operands.

    *Raises* GraphFileError if that type cannot hold the number.
    """
    sizes = Sizes()
    specs = {leaf.value_id: TensorSpec(sizes.bind(leaf.shape), leaf.dtype) for leaf in fn.leaves}
    numbers = {leaf.value_id: leaf.name for leaf in fn.leaves if leaf.name in builder.numbers}
    for node in fn.nodes:
        dtypes = free_dtypes(node.op, [None if v == ABSENT or v in numbers else specs[v].dtype for v in node.inputs])
        for slot, value in enumerate(node.inputs):
            if value in numbers:
                specs[value] = _settle(builder, numbers[value], node.op, slot, dtypes, node.name)
        try:
            found = node.op.infer([None if v == ABSENT else specs[v] for v in node.inputs], node.attributes)
        except GraphExecError:
            return  # `infer` raises it again, with the operands
        specs.update(zip(node.outputs, found, strict=True))


def _settle(builder: GraphBuilder, name: str, op: Op, slot: int, dtypes: list[str], node: str) -> TensorSpec:
    number, line = builder.numbers[name]
    data = builder.dag.nodes[name]
    dtype = literal_dtype(op, slot, number, dtypes) or ("float32" if isinstance(number, float) else "int64")
    problem = misfit(number, dtype)
    if problem:
        builder.page.fail(line, f"operand {op.input_name(slot)!r}: the number {number} {problem}", node=node)
    value = np.asarray(number, dtype=dtype)
    value.flags.writeable = False
    data["dtype"], data["value"] = dtype, value
    return TensorSpec((), dtype)
