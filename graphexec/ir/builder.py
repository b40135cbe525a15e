"""FunctionBuilder: adds nodes to a function by calling ops on traced values.

Backward rules and composite ops are Python functions of values. Called with :class:`Traced` values, they append nodes
directly to a function and infer each one, without the cost of an intermediate NetworkX graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graphexec.errors import GraphExecError, OpError
from graphexec.ir import convert
from graphexec.ir.function import ABSENT, Function, Leaf, Node, value_name
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.keys import Interner, freeze
from graphexec.ir.namespace import ops
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import CompositeOp
from graphexec.ir.operands import with_arrays
from graphexec.ir.operators import Arithmetic
from graphexec.ir.spec import TensorSpec


class Traced(Arithmetic):
    """A value of the function under construction."""

    __slots__ = ("builder", "index")

    def __init__(self, builder: FunctionBuilder, index: int) -> None:
        self.builder, self.index = builder, index

    @property
    def spec(self) -> TensorSpec:
        return self.builder.specs[self.index]

    @property
    def name(self) -> str:
        return self.builder.names[self.index]

    @staticmethod
    def apply_op(op: Op, operands: tuple[Any, ...], attributes: dict[str, Any], name: str | None) -> Any:
        builder = next(o.builder for o in operands if isinstance(o, Traced))
        return builder.apply(op, operands, attributes, name)


class FunctionBuilder:
    """Adds nodes to a function; ``prefix`` and ``location`` give the new nodes their names and source locations."""

    def __init__(self, fn: Function, specs: Iterable[TensorSpec] | None = None) -> None:
        self.leaves = list(fn.leaves)
        self.nodes: list[Node] = []
        self.names: list[str] = list(fn.names)
        self.specs: list[TensorSpec] = list(fn.specs if specs is None else specs)
        self.taken = set(fn.names)
        self.prefix, self.location = "", None  # type: tuple[str, str | None]
        self._counts: dict[str, int] = {}
        self._known: dict[Any, tuple[TensorSpec, ...]] = {}  # keyed by ids of interned specs, which stay alive
        self._interner = Interner()
        self._constants: dict[Any, int] = {}

    def value(self, index: int) -> Traced | None:
        """The traced value of a number; None for ABSENT."""
        return None if index == ABSENT else Traced(self, index)

    def values(self, indices: Iterable[int]) -> list[Traced | None]:
        """The traced values of numbers."""
        return [self.value(i) for i in indices]

    def apply(self, op: Op, operands: Sequence[Any], attributes: Mapping[str, Any], name: str | None = None) -> Any:
        """Adds a node from operands as a call gives them, or the nodes that the op consists of.

        Returns its value, or a tuple of its values.
        """
        given = with_arrays(op, operands, _dtype_of, lambda array: Traced(self, self.constant(array)))
        if consists_of_ops(op, [None if o is None else o.spec for o in given]):
            results = self.expand(op, given, attributes, self._fresh_for(op, name))
        else:
            inputs = tuple([ABSENT if o is None else o.index for o in given])
            results = tuple([Traced(self, v) for v in self.add(op, inputs, dict(attributes), name).outputs])
        return results if len(results) > 1 else results[0]

    def expand(self, op: Op, values: Sequence[Traced | None], attributes: Mapping[str, Any], name: str) -> tuple[Traced, ...]:
        """Adds the nodes that an op consists of; those that compute its results take its name. *Raises* GraphExecError."""
        prefix, self.prefix = self.prefix, name
        first = len(self.nodes)
        try:
            results = call_kernel(op, values, attributes) if isinstance(op, KernelOp) else call_composite(op, values, attributes)
        except GraphExecError as error:
            raise inside(op, error) from error.__cause__
        finally:
            self.prefix = prefix
        for output, result in enumerate(results):
            self._take_name(first, result.index, value_name(name, output))
        return results

    def _take_name(self, first: int, value: int, name: str) -> None:
        """Gives a name to a value, and to the node from ``first`` on whose only output it is."""
        for position in range(first, len(self.nodes)):
            if self.nodes[position].outputs == (value,):
                self.names[value] = name
                self.nodes[position] = self.nodes[position].with_name(name)

    def _fresh_for(self, op: Op, name: str | None) -> str:
        return self.fresh(name or f"{self.prefix}.{op.name}" if self.prefix else name or op.name)

    def add(self, op: Op, inputs: tuple[int, ...], attributes: dict[str, Any], name: str | None = None) -> Node:
        """Adds a node from the numbers of its operands, and infers its outputs."""
        key = (op, *[ABSENT if v == ABSENT else id(self.specs[v]) for v in inputs], freeze(attributes))
        found = self._known.get(key)
        name = self._fresh_for(op, name)
        if found is None:
            found = self._known[key] = self._inferred(op, inputs, attributes, name)
        first = len(self.names)
        self.names.append(name)
        if len(found) > 1:
            self.names.extend(value_name(name, k) for k in range(1, len(found)))
        self.specs += found
        node = Node(name, op, inputs, tuple(range(first, len(self.names))), attributes, self.location)
        self.nodes.append(node)
        return node

    def _inferred(self, op: Op, inputs: Sequence[int], attributes: Mapping[str, Any], name: str) -> tuple[TensorSpec, ...]:
        specs = [None if v == ABSENT else self._interner.intern(self.specs[v]) for v in inputs]
        try:
            return self._interner.all(op.infer(specs, attributes))
        except GraphExecError as error:
            names = [None if v == ABSENT else self.names[v] for v in inputs]
            raise op.describe_operands(error, specs, names).at(node=name, op=op.name, source=self.location) from None

    def constant(self, value: Any, dtype: str | None = None, name: str | None = None) -> int:
        """Returns the number of a constant, and adds it the first time."""
        array = value if isinstance(value, np.ndarray) and dtype is None else convert.constant(value, dtype)
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._constants or name is not None:
            index = len(self.names)
            name = self.fresh(name or "constant")
            self.leaves.append(Leaf(name, "constant", index, array.shape, array.dtype.name, array))
            self.names.append(name)
            self.specs.append(TensorSpec(array.shape, array.dtype.name))
            self._constants[key] = index
        return self._constants[key]

    def leaf(self, name: str, role: str, shape: tuple[int, ...], dtype: str) -> int:
        """Adds a leaf that is not trained and returns its number; the name must be free."""
        index = len(self.names)
        self.leaves.append(Leaf(name, role, index, shape, dtype, trainable=False))
        self.names.append(name)
        self.taken.add(name)
        self.specs.append(TensorSpec(shape, dtype))
        return index

    def fresh(self, name: str) -> str:
        """Reserves a free name: ``name``, or ``name`` with a number appended."""
        if name in self.taken:
            base, count = name, self._counts.get(name, 0)
            while name in self.taken:
                count += 1
                name = f"{base}.{count}"
            self._counts[base] = count
        self.taken.add(name)
        return name

    def build(self, like: Function, **changes: Any) -> Function:
        """Builds the function; fields that the builder does not hold come from ``like``."""
        return like.with_nodes(self.nodes, leaves=self.leaves, names=self.names, specs=self.specs, **changes)


def _dtype_of(operand: Any) -> str | None:
    return operand.dtype if isinstance(operand, Traced) else None


def trace_composite(op: Op, specs: Sequence[TensorSpec | None], attributes: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    """Infers the outputs of a composite op by tracing it on operands of the given specs."""
    leaves: list[Leaf] = []
    names: list[str] = []
    known: list[TensorSpec] = []
    inputs: list[int] = []
    for slot, spec in enumerate(specs):
        inputs.append(ABSENT if spec is None else len(names))
        if spec is not None:
            name = op.input_name(slot)
            leaves.append(Leaf(name, "input", len(names), spec.shape, spec.dtype))
            names.append(name)
            known.append(spec)
    builder = FunctionBuilder(Function(op.name, leaves, [], names, {}), known)
    try:
        results = call_composite(op, builder.values(inputs), attributes)
    except RecursionError:
        raise OpError(
            "composite ops are nested too deep", op=op.name, facts=[f"declared in {op.file}"],
            todo="Does it call itself, perhaps through another composite? End such a chain with an attribute that counts down.",
        ) from None  # fmt: skip
    except GraphExecError as error:
        raise inside(op, error) from error.__cause__
    return tuple(r.spec for r in results)


def inside(op: Op, error: GraphExecError) -> GraphExecError:
    """Turns an error of an op that ``op`` consists of into the error of ``op``, whose node is the one that a user wrote."""
    if error.op is not None and error.op != op.name:
        within = f"inside {op.name!r}, op {error.op!r}:"
        error.facts = ([within] if within not in error.facts else []) + error.facts
    error.node, error.op, error.source = None, op.name, None
    return error


def consists_of_ops(op: Op, specs: Sequence[TensorSpec | None]) -> bool:
    """Whether an op runs as other ops: a composite, or a kernel whose operands lack axes, such as a product of vectors."""
    return isinstance(op, CompositeOp) or (isinstance(op, KernelOp) and bool(op.lacks(specs)))


def call_composite(op: Op, values: Sequence[Any], attributes: Mapping[str, Any]) -> tuple[Any, ...]:
    """Calls a composite's function and returns a tuple. *Raises* OpError when it does not return graph values."""
    padded = list(values) + [None] * (0 if op.variadic else len(op.inputs) - len(values))
    return graph_values(op, "composite", op.function(*padded, **attributes))


def graph_values(op: Op, what: str, result: Any) -> tuple[Any, ...]:
    """What a function of an op returned, as a tuple of a graph value for each output. *Raises* OpError if it is not."""
    results = tuple(result) if isinstance(result, (tuple, list)) else (result,)
    if len(results) != len(op.outputs) or not all(isinstance(r, Arithmetic) for r in results):
        raise OpError(f"the {what} must return {len(op.outputs)} graph value(s), not {result!r}", op=op.name)
    return results


def call_kernel(op: KernelOp, values: Sequence[Traced | None], attributes: Mapping[str, Any]) -> tuple[Traced, ...]:
    """Applies a kernel to operands with the axes that they lack, and removes these from the results. *Raises* ShapeError."""
    specs = [None if v is None else v.spec for v in values]
    op.infer(specs, attributes)  # for its own error message
    lacking = op.lacks(specs)
    operands = []
    for slot, v in enumerate(values):
        lacks = v is not None and op.lacks([*[None] * slot, v.spec])
        operands.append(ops.expand_dims(v, axis=op.places_of(lacking, slot)) if lacks else v)
    made = op(*operands, **attributes)
    results = made if isinstance(made, tuple) else (made,)
    places = [op.places_of(lacking, len(op.inputs) + k) for k in range(len(results))]
    return tuple(ops.squeeze(r, axis=p) if p else r for r, p in zip(results, places, strict=True))
