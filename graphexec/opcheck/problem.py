"""A case as a function of nodes: the call alone, or with its gradient; operands that lie otherwise in memory through views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from graphexec.autodiff.reverse import differentiate_function
from graphexec.interpret import asked_deltas, floating_as, forward, reverse
from graphexec.ir.builder import FunctionBuilder, Traced
from graphexec.ir.function import Function, Leaf
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import CompositeOp
from graphexec.ir.registry import registry
from graphexec.ir.spec import DTYPES, TensorSpec
from graphexec.opcheck.cases import Case
from graphexec.rewrite.legalize.inline_composites import inline_composites

Array = np.ndarray


class Posed(NamedTuple):
    """A function of leaves, its results, and the arrays of the leaves."""

    fn: Function
    arrays: dict[str, Array]
    results: dict[str, int]
    """The op's outputs by name."""
    wrt: dict[str, int]
    """The operands that receive deltas; as an operand lies in memory, not as the op sees it."""
    of: int = -1
    """The outputs weighted and added up, if a gradient was asked for."""

    @property
    def leaves(self) -> dict[int, Array]:
        """The arrays by value."""
        return {leaf.value_id: self.arrays[leaf.name] for leaf in self.fn.leaves if leaf.role != "constant"}

    def value(self, moved: Mapping[int, Array] = {}) -> float:
        """The weighted sum by the slow path, with some leaves replaced."""
        return float(forward(self.fn, {**self.leaves, **moved})[self.of])

    def differentiated(self) -> Function:
        """The function with its backward pass."""
        return differentiate_function(self.fn, self.of, list(self.wrt.values()))

    def plain_gradients(self) -> dict[str, Array]:
        """The gradients by un-jitted rules; without those of operands that no delta reaches."""
        values = forward(self.fn, self.leaves)
        deltas = reverse(self.fn, values, self.of, list(self.wrt.values()))
        return {name: deltas[v] for name, v in self.wrt.items() if v in deltas}


def posed(op: Op, case: Case, *, dtype: str | None = None, gradient: bool = False, seed: int = 0) -> Posed:
    """The function of a case; ``dtype`` converts floating operands and attributes. *Raises* GraphExecError."""
    builder = FunctionBuilder(Function(op.name, [], [], [], {}), [])
    arrays: dict[str, Array] = {}
    wrt: dict[str, int] = {}
    values: list[Traced | None] = []
    for slot, array in enumerate(case.operands):
        name = op.input_name(slot)
        if array is None:
            values.append(None)
            continue
        if dtype is not None and array.dtype.kind == "f" and name not in op.types:
            array = array.astype(dtype)
        layout, _, only = case.layout.partition(" operand ")
        values.append(_placed(builder, arrays, name, array, layout if only in ("", str(slot)) else ""))
        receives = op.variadic or name in op.differentiable_inputs
        if receives and array.dtype.kind == "f":
            wrt[name] = next(leaf.value_id for leaf in builder.leaves if leaf.name == name)
    attributes = op.check_attributes(case.attributes)
    results = builder.apply(op, values, attributes if dtype is None else floating_as(attributes, dtype))
    found = list(results) if isinstance(results, tuple) else [results]
    outputs = {o: r.index for o, r in zip(op.outputs, found, strict=True)}
    of = -1
    if gradient:
        of = _weighted(op, builder, arrays, dict(zip(op.outputs, found, strict=True)), seed)
    names = {builder.names[v]: v for v in outputs.values()}
    fn = inline_composites(builder.build(Function(op.name, [], [], [], names)))
    by_name = {o: fn.outputs[builder.names[v]] for o, v in outputs.items()}
    if gradient:
        of = fn.value_id(builder.names[of])
    return Posed(fn, arrays, by_name, {n: fn.value_id(builder.names[v]) for n, v in wrt.items()}, of)


def _placed(builder: FunctionBuilder, arrays: dict[str, Array], name: str, array: Array, layout: str) -> Traced:
    """An operand; in a layout, a view of a leaf that has its elements in another order, or others between them."""
    if array.ndim == 0 or array.size < 2 or not layout:
        return _leaf(builder, arrays, name, array)
    if layout == "transposed":
        return _applied(builder, "transpose", _leaf(builder, arrays, name, np.ascontiguousarray(array.T)))
    if layout == "reversed":
        base = _leaf(builder, arrays, name, np.ascontiguousarray(array[..., ::-1]))
        return _applied(builder, "slice", base, starts=[None], ends=[None], axes=[-1], steps=[-1])
    if layout == "flipped":
        base = _leaf(builder, arrays, name, np.ascontiguousarray(array[::-1]))
        return _applied(builder, "slice", base, starts=[None], ends=[None], axes=[0], steps=[-1])
    base = _leaf(builder, arrays, name, np.repeat(array, 2, axis=-1))
    return _applied(builder, "slice", base, starts=[None], ends=[None], axes=[-1], steps=[2])


def _applied(builder: FunctionBuilder, name: str, value: Traced, **attributes: Any) -> Traced:
    op = registry.get(name)
    return builder.apply(op, [value], op.check_attributes(attributes))  # type: ignore[no-any-return]


def _leaf(builder: FunctionBuilder, arrays: dict[str, Array], name: str, array: Array) -> Traced:
    index, name = len(builder.names), builder.fresh(name)
    builder.leaves.append(Leaf(name, "input", index, array.shape, array.dtype.name))
    builder.names.append(name)
    builder.specs.append(TensorSpec(array.shape, array.dtype.name))
    arrays[name] = array
    return Traced(builder, index)


def _weighted(op: Op, builder: FunctionBuilder, arrays: dict[str, Array], results: Mapping[str, Traced], seed: int) -> int:
    """Adds up all elements of the floating outputs, each with its own weight; -1 if there are none."""
    rng = np.random.default_rng([seed, 1])
    passing = op.outputs if isinstance(op, CompositeOp) else asked_deltas(op)
    sums = []
    for output, value in results.items():
        if DTYPES[value.spec.dtype] == "f" and output in passing:
            shape = tuple(map(int, value.spec.shape))
            weight = rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)
            leaf = _leaf(builder, arrays, f"weight of {output}", np.asarray(weight.astype(value.spec.dtype)))
            sums.append((value * leaf).sum())
    if not sums:
        return -1
    total: Traced = sums[0] if len(sums) == 1 else registry.get("add_n")(*sums)
    return total.index
