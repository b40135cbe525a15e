"""Places the parts of a concatenation: if possible, each is computed directly in its place in the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.fused.elementwise import FusedOp
from graphexec.ir.op_kinds import ShapeOp, ViewOp
from graphexec.ir.spec import TensorSpec
from graphexec.ir.view import View
from graphexec.lower.layout import Layout


class Place(NamedTuple):
    """A part of a concatenation."""

    whole: int
    axis: int
    start: int
    stop: int


def concat_places(fn: Function) -> dict[int, Place]:
    """The places of values that may be computed inside the concatenation that reads them."""
    places: dict[int, Place] = {}
    joins = [n for n in fn.nodes if n.op.concat]
    if not joins:
        return places
    maker = {v: n for n in fn.nodes for v in n.outputs}
    for node in joins:
        whole = View.contiguous(fn.specs[node.outputs[0]].shape)
        for part, place in _parts(node, fn.specs):
            source = part
            is_contiguous = whole.slice(place.axis, place.start, place.stop).is_contiguous
            while is_contiguous and source in maker and _same_elements(maker[source], fn):
                source = maker[source].inputs[0]
            if source in maker and source not in places and _can_be_placed(maker[source], source, is_contiguous):
                places[source] = place
    return places


def _parts(node: Node, specs: Sequence[TensorSpec]) -> Iterator[tuple[int, Place]]:
    """The operands of a concatenation, and the place of each."""
    whole = node.outputs[0]
    axis, start = node.attributes["axis"] % specs[whole].ndim, 0
    for part in node.inputs:
        stop = start + int(specs[part].shape[axis])
        yield part, Place(whole, axis, start, stop)
        start = stop


def _can_be_placed(maker: Node, value: int, is_contiguous: bool) -> bool:
    """Whether a node may write its result anywhere; partial results and what updates overwrite have their own memory."""
    op = maker.op
    if isinstance(op, (ViewOp, ShapeOp)) or op.updates or (op.concat and not is_contiguous):
        return False
    return not (isinstance(op, FusedOp) and maker.outputs.index(value) >= len(op.results))


def _same_elements(node: Node, fn: Function) -> bool:
    """Whether a node is a view of all elements of a contiguous value, in the same order."""
    if not isinstance(node.op, ViewOp) or fn.specs[node.inputs[0]].size != fn.specs[node.outputs[0]].size:
        return False
    specs = [None if v == ABSENT else fn.specs[v] for v in node.inputs]
    view = node.op.view(View.contiguous(fn.specs[node.inputs[0]].shape), specs, node.attributes)
    return view.is_contiguous and view.offset == 0


def _same_place(a: View, b: View) -> bool:
    """Whether two views of one buffer select the same elements; the stride of an axis of size 1 does not matter."""
    return a.offset == b.offset and all(s == t or n == 1 for n, s, t in zip(a.shape, a.strides, b.strides, strict=True))


def _assign_whole(layout: Layout, value: int, places: Mapping[int, Place]) -> None:
    """Gives a concatenation its memory when its first part is placed: inside another one, if it is a part of that."""
    if layout.storage[value] >= 0:
        return
    if value in places:
        put_in_place(layout, value, places, any_strides=False)
    else:
        layout.add_contiguous(value)


def put_in_place(layout: Layout, value: int, places: Mapping[int, Place], *, any_strides: bool) -> None:
    """Places a part inside its concatenation if its kernel can write it there: contiguous, or with ``any_strides``."""
    whole, axis, start, stop = places[value]
    _assign_whole(layout, whole, places)
    inside = layout.views[whole].slice(axis, start, stop)
    spec = layout.specs[value]
    if inside.is_contiguous:
        layout.views[value], layout.storage[value] = (
            View.contiguous(spec.shape)._replace(offset=inside.offset),
            layout.storage[whole],
        )
    elif any_strides and inside.shape == spec.shape:
        layout.views[value], layout.storage[value] = inside, layout.storage[whole]
    else:
        layout.add_contiguous(value)


def copy_parts(layout: Layout, node: Node, places: Mapping[int, Place]) -> None:
    """Inserts copies of the parts of a concatenation that are not in their place already."""
    whole = node.outputs[0]
    _assign_whole(layout, whole, places)
    for part, place in _parts(node, layout.specs):
        inside = layout.views[whole].slice(place.axis, place.start, place.stop)
        there = layout.storage[part] == layout.storage[whole] and _same_place(layout.views[part], inside)
        if not there and layout.specs[part].size != 0:
            layout.add_copy(part, f"{layout.names[whole]}.part", inside, layout.storage[whole])
