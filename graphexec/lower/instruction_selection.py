"""Chooses the kernel of each node. Nodes with the same op, attributes and layout share one spec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphexec.errors import GraphExecError
from graphexec.ir.function import ABSENT, Node
from graphexec.ir.fused.gemm_epilogue import GemmEpilogueOp
from graphexec.ir.fused.horizontal import HorizontalOp
from graphexec.ir.fused.rowwise import RowwiseOp
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.keys import freeze
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp
from graphexec.lower.array_kernel import array_kernel_spec
from graphexec.lower.elementwise import elementwise_spec
from graphexec.lower.gemm_epilogue import gemm_epilogue_spec
from graphexec.lower.horizontal import horizontal_spec
from graphexec.lower.kernel_args import KernelSpec
from graphexec.lower.layout import Layout
from graphexec.lower.reduction import reduction_spec
from graphexec.lower.rowwise import rowwise_spec
from graphexec.progress import watch

MAX_INSTRUCTIONS_WITH_VARIANTS = 1_000
"""Up to this many instructions, a kernel is compiled for each set of outputs that are read; larger programs store all outputs."""

_MAKERS: tuple[tuple[type, Callable[[Layout, Node, set[int]], KernelSpec]], ...] = (
    (ElementwiseOp, elementwise_spec),
    (ReductionOp, reduction_spec),
    (RowwiseOp, rowwise_spec),
    (GemmEpilogueOp, gemm_epilogue_spec),
    (HorizontalOp, horizontal_spec),
    (KernelOp, array_kernel_spec),
)


def select_kernels(layout: Layout) -> list[KernelSpec]:
    """The spec of each step. *Raises* PluginError when a kernel does not compile."""
    read, forms = _read_values(layout), _forms(layout)
    keys = [_key(node, forms, read) for node in layout.steps]
    firsts: dict[Any, Node] = {}
    for key, node in zip(keys, layout.steps, strict=True):
        firsts.setdefault(key, node)
    specs = {}
    for key, node in watch("compiling kernels", list(firsts.items()), "kernel", lambda item: item[1].op.name):
        specs[key] = _spec(layout, node, read)
    return [specs[key] for key in keys]


def _read_values(layout: Layout) -> set[int]:
    """The values that are read or kept; outputs of nodes with several outputs are stored only if they are among these."""
    if len(layout.steps) > MAX_INSTRUCTIONS_WITH_VARIANTS:
        return set(range(len(layout.names)))
    read = set(layout.fn.live_out)
    for node in layout.fn.nodes:
        read.update(node.inputs)
    for node in layout.steps:
        read.update(node.inputs)
    return read


def _forms(layout: Layout) -> list[int]:
    """A number for each value, equal for values of equal shape, element type and strides.

    The last entry, which ABSENT selects, is for an absent operand.
    """
    by_object: dict[tuple[int, int], int] = {}  # many values share one view and one spec
    numbers: dict[Any, int] = {}
    forms = []
    for view, spec in zip(layout.views, layout.specs, strict=True):
        number = by_object.get((id(view), id(spec)))
        if number is None:
            key = (view.shape, view.strides, None if spec is None else spec.dtype)  # None: pruned
            number = by_object[id(view), id(spec)] = numbers.setdefault(key, len(numbers))
        forms.append(number)
    return [*forms, ABSENT]


def _key(node: Node, forms: Sequence[int], read: set[int]) -> Any:
    stored = tuple([v in read for v in node.outputs]) if len(node.outputs) > 1 else None
    form = forms.__getitem__
    return node.op, freeze(node.attributes), stored, *map(form, node.inputs), *map(form, node.outputs)


def _spec(layout: Layout, node: Node, read: set[int]) -> KernelSpec:
    make = next(make for op_class, make in _MAKERS if isinstance(node.op, op_class))
    try:
        return make(layout, node, read)
    except GraphExecError as error:
        raise error.at(node=node.name, op=node.op.name, source=node.location) from error.__cause__
