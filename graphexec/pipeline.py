"""pipeline: the one module that knows the order of the stages.

    Graph -> order -> infer -> expand -> differentiate (-> recompute) (-> updates) -> optimize -> lower -> Program

Everything up to `optimize` is done once for a graph, with named dimensions unbound; for given sizes only shapes are
inferred again, memory planned and addresses filled in.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphexec.autodiff.reverse import differentiate_function
from graphexec.errors import DataError, GraphError
from graphexec.graph.graph import Graph
from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import Function, Leaf, Node
from graphexec.ir.infer import infer
from graphexec.ir.op import Attributes, Op, ViewOp
from graphexec.ir.registry import registry
from graphexec.ir.spec import Sizes, TensorSpec
from graphexec.lower.program import Program, aligned_array, lower
from graphexec.optim.optimizers import Optimizer
from graphexec.rewrite import REUSE, optimize
from graphexec.rewrite.legalize.inline_composites import inline_composites
from graphexec.rewrite.schedule.checkpoint_segments import checked
from graphexec.rewrite.schedule.rematerialize import rematerialize


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Python's cyclic collector walks every node again and again while a large graph is compiled; nothing is garbage yet.

    What was made meanwhile is passed on as long-lived, which `freeze` and `unfreeze` do without walking it.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if gc.get_freeze_count() == 0:
                gc.freeze()
                gc.unfreeze()
            gc.enable()


class Functions:
    """The orders of a graph: ``forward``, ``gradients`` and ``step``, each made when first asked for."""

    def __init__(
        self, graph: Graph, loss: str | None, wrt: Sequence[str] | None, optimizer: Optimizer | None,
        *, keep_deltas: bool, skip: Collection[str], recompute: Any = None,
    ) -> None:  # fmt: skip
        self.optimizer, self.loss, self.wrt = optimizer, loss, wrt
        self._keep_deltas, self._skip = keep_deltas, skip
        with without_collector():
            self.forward = inline_composites(infer(graph.function(), Sizes()))
        if loss is not None:
            self.forward.value_id(loss)
        self._recompute = checked(recompute, self.forward.names)
        self._made: dict[str, Function] = {}
        if optimizer is not None:
            self.of("step")

    def of(self, kind: str) -> Function:
        """The order of a kind, with unbound sizes. *Raises* DifferentiationError, DataError."""
        if kind not in self._made:
            with without_collector():
                self._made[kind] = self.finish(self._make(kind))
        return self._made[kind]

    def _make(self, kind: str) -> Function:
        fn = self.forward
        if kind == "forward":
            return fn
        if self.loss is None:
            raise DataError(
                "there is no loss to differentiate", todo="Give gx.compile(graph, loss=...) the name of a scalar value."
            )
        if kind == "gradients":
            return self._differentiated(self.wrt)
        if self.optimizer is None:
            raise DataError("there is no optimizer", todo="Give gx.compile(graph, loss=..., optimizer=gx.SGD(lr=0.1)).")
        names = [leaf.name for leaf in fn.of_kind("parameter")]
        for name in self.wrt or ():
            if name not in names:
                raise DataError(
                    f"{name!r} is no parameter: only parameters are updated", todo="Leave it out of wrt, or the optimizer."
                )
        return with_updates(self._differentiated(self.wrt), self.optimizer)

    def _differentiated(self, wrt: Sequence[str] | None) -> Function:
        fn = self.forward
        assert self.loss is not None
        if wrt is None:
            wrt = [leaf.name for leaf in fn.of_kind("parameter") if leaf.trainable]
        if not wrt:
            raise GraphError("the graph has no trainable parameter", todo="Name what to differentiate by with wrt=[...].")
        index = {name: k for k, name in enumerate(fn.names)}
        for name in wrt:
            if name not in index:
                fn.value_id(name)
        result = differentiate_function(fn, index[self.loss], [index[n] for n in wrt])
        deltas = result.deltas if self._keep_deltas else {}
        result = result.with_nodes(result.nodes, outputs={self.loss: index[self.loss]}, deltas=deltas)
        return result if self._recompute is None else rematerialize(result, fn.nodes, self._recompute, result.kept)

    def finish(self, fn: Function) -> Function:
        """The order with all passes, but for those that are left out."""
        return optimize(fn, skip=self._skip)

    def state_names(self) -> set[str]:
        return {leaf.name for fn in self._made.values() for leaf in fn.of_kind("parameter")}

    def sized(self, kind: str, sizes: Mapping[str, int]) -> Function:
        """The order of a kind with its shapes inferred for given sizes."""
        fn = self.of(kind)
        if not any(isinstance(n, str) for leaf in fn.leaves for n in leaf.shape):
            return fn  # without named dimensions there is nothing to infer again
        with without_collector():
            return infer(fn, Sizes(sizes))


def lowered(fn: Function, buffers: Mapping[str, np.ndarray], threads: int, skip: Collection[str] = ()) -> Program:
    """The program of a sized order."""
    with without_collector():
        return lower(fn, buffers, fn.kept, threads=threads, reuse=REUSE not in skip)


def with_updates(fn: Function, optimizer: Optimizer) -> Function:
    """The order with an update node for each gradient, and leaves for the optimizer's state.

    A parameter is updated as soon as its gradient is there and nothing reads it any more: the gradient is over before the
    next is made.
    """
    builder = FunctionBuilder(fn)
    due: list[list[Node]] = [[] for _ in range(len(fn.nodes) + 1)]
    step: int | None = None
    uses = _last_uses(fn)
    if "step" in optimizer.op.inputs:
        counter = _state_leaf(builder, "optimizer.step", (), "int64")
        step = builder.add(registry.get("increment"), (counter,), {}, "optimizer.count").outputs[0]
    for name, gradient in fn.gradients.items():
        parameter = fn.leaf(name)
        operands = [parameter.value_id, gradient]
        spec = fn.specs[parameter.value_id]
        for state in optimizer.op.inputs[2:]:
            if state == "step":
                assert step is not None
                operands.append(step)
            else:
                operands.append(_state_leaf(builder, f"{name}.{state}", spec.shape, spec.dtype))
        node = builder.add(optimizer.op, tuple(operands), dict(optimizer.attributes), f"{name}.update")
        due[max(uses[gradient], uses[parameter.value_id])].append(node)
    counting = [node for node in builder.nodes if node.op is not optimizer.op]
    builder.nodes = [*counting, *due[0]]
    for node, updates in zip(fn.nodes, due[1:], strict=True):
        builder.nodes += [node, *updates]
    return builder.build(fn, gradients={}, deltas={})


def _last_uses(fn: Function) -> list[int]:
    """For each value, how many nodes must have run before it is made and nothing reads its memory any more."""
    uses, base = [0] * len(fn.names), list(range(len(fn.names)))
    for count, node in enumerate(fn.nodes, 1):
        for v in node.reads:
            uses[base[v]] = uses[v] = count
        for v in node.outputs:
            uses[v] = count
        if isinstance(node.op, ViewOp):
            base[node.outputs[0]] = base[node.inputs[0]]
    return uses


def _state_leaf(builder: FunctionBuilder, name: str, shape: tuple[int, ...], dtype: str) -> int:
    index = len(builder.names)
    name = builder.fresh(name)
    builder.leaves.append(Leaf(name, "parameter", index, shape, dtype, trainable=False))
    builder.names.append(name)
    builder.specs.append(TensorSpec(shape, dtype))
    return index


def compute(op: Op, operands: Sequence[Any], attributes: Attributes) -> Any:
    """An op on arrays, by its native kernels: what calling it on NumPy arrays does."""
    arrays = [None if o is None else np.asarray(o) for o in _converted(op, operands)]
    leaves: list[Leaf] = []
    names: list[str] = []
    inputs: list[int] = []
    buffers: dict[str, np.ndarray] = {}
    for slot, array in enumerate(arrays):
        inputs.append(-1 if array is None else len(names))
        if array is not None:
            name = op.input_name(slot)
            leaves.append(Leaf(name, "input", len(names), array.shape, array.dtype.name))
            buffers[name] = aligned_array(array)
            names.append(name)
    first = len(names)
    names += [op.name, *(f"{op.name}:{k}" for k in range(1, len(op.outputs)))]
    results = tuple(range(first, len(names)))
    node = Node(op.name, op, tuple(inputs), results, dict(attributes))
    fn = Function(op.name, leaves, [node], names, {names[v]: v for v in results})
    fn = optimize(inline_composites(infer(fn, {})))
    program = lower(fn, buffers, fn.outputs.values())
    run_once(program, fn)
    arrays_out = tuple(program.array(v).copy() for v in fn.outputs.values())
    return arrays_out if len(arrays_out) > 1 else arrays_out[0]


def run_once(program: Program, fn: Function) -> None:
    """Runs a program. *Raises* KernelError."""
    from graphexec.executable import Runner

    Runner(program, fn, {}).run()


def _converted(op: Op, operands: Sequence[Any]) -> list[Any]:
    """Python numbers take the type of the arrays they meet."""
    from graphexec.graph.graph import _number_dtype

    dtypes = [np.asarray(o).dtype.name for o in operands if isinstance(o, (np.ndarray, np.generic))]
    converted = []
    for slot, operand in enumerate(operands):
        if operand is not None and not isinstance(operand, (np.ndarray, np.generic)):
            fixed = op.types.get(op.input_name(slot).partition("[")[0])
            operand = np.asarray(operand, dtype=fixed or _number_dtype(operand, dtypes))
        converted.append(operand)
    return converted
