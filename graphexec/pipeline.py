"""Runs the stages of compilation in order; no other module knows the order.

    Graph -> Function -> infer -> inline_composites -> differentiate (-> rematerialize) (-> with_updates) -> optimize
        -> lower: assign_layout -> assign_buffers -> select_kernels -> assemble -> Program

Everything up to `optimize` happens once for a graph, with named dimensions unbound. For given sizes, only shapes are inferred
again and the function is lowered.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphexec.autodiff.reverse import differentiate_function
from graphexec.errors import DataError, DifferentiationError, GraphError
from graphexec.graph.graph import Graph
from graphexec.ir.function import RUN_HOOK, Function, Leaf
from graphexec.ir.infer import infer
from graphexec.ir.keys import freeze
from graphexec.ir.spec import Sizes
from graphexec.lower import lower
from graphexec.lower.program import Program
from graphexec.optim.optimizers import Optimizer
from graphexec.optim.updates import with_updates
from graphexec.options import checked
from graphexec.rewrite import REUSE, optimize
from graphexec.rewrite.legalize.inline_composites import inline_composites
from graphexec.rewrite.schedule.rematerialize import rematerialize


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Disables Python's cyclic garbage collector, which would traverse all nodes repeatedly while a large graph is compiled.

    Afterwards `freeze` and `unfreeze` move all new objects to the oldest generation without traversing them.
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


def _content(fn: Function) -> tuple[Any, ...]:
    """What a function computes. Values of constants count; parameters have values of their own by now."""
    leaves = [
        (leaf.name, leaf.role, leaf.shape, leaf.dtype, leaf.trainable,
         None if leaf.value is None or leaf.role == "parameter" else leaf.value.tobytes())
        for leaf in fn.leaves
    ]  # fmt: skip
    return leaves, [(n.name, n.op, n.inputs, n.outputs, freeze(n.attributes)) for n in fn.nodes], dict(fn.outputs)


class Functions:
    """The functions of a graph by mode: "forward", "gradients" and "step", each made at its first use."""

    def __init__(
        self, graph: Graph, loss: str | None, wrt: Sequence[str] | None, optimizer: Optimizer | None,
        *, keep_deltas: bool, skip: Collection[str], recompute: Any = None, checked_kernels: bool = False,
    ) -> None:  # fmt: skip
        self.optimizer, self.loss, self.wrt = optimizer, loss, wrt
        self._keep_deltas, self._skip, self._checked_kernels = keep_deltas, skip, checked_kernels
        with without_collector():
            self.forward = inline_composites(infer(graph.function(), Sizes()))
        if loss is not None:
            self.forward.value_id(loss)
        self.recompute = checked(recompute, self.forward.names)
        self._made: dict[str, Function] = {}
        if optimizer is not None:
            self.of("step")

    def are_of(self, graph: Graph) -> bool:
        """Whether a graph, and the ops that it names, are still those that these functions were made of."""
        return _content(inline_composites(infer(graph.function(), Sizes()))) == _content(self.forward)

    def of(self, mode: str) -> Function:
        """Returns the function of a mode, with unbound sizes. *Raises* DifferentiationError, DataError."""
        if mode not in self._made:
            with without_collector():
                self._made[mode] = self.finish(self._make(mode))
        return self._made[mode]

    def _make(self, mode: str) -> Function:
        fn = self.forward
        if mode == "forward":
            return fn
        if self.loss is None:
            raise DataError(
                "there is no loss to differentiate", todo="Give gx.compile(graph, loss=...) the name of a scalar value."
            )
        if mode == "gradients":
            return self._differentiated(self.wrt)
        if self.optimizer is None:
            raise DataError("there is no optimizer", todo="Give gx.compile(graph, loss=..., optimizer=gx.SGD(lr=0.1)).")
        names = [leaf.name for leaf in fn.of_role("parameter")]
        for name in self.wrt or ():
            if name not in names:
                raise DataError(
                    f"{name!r} is not a parameter, and an optimizer updates only parameters",
                    todo="Remove it from wrt, or leave out the optimizer.",
                )
        return with_updates(self._differentiated(self.wrt, reached=True), self.optimizer)

    def _differentiated(self, wrt: Sequence[str] | None, reached: bool = False) -> Function:
        """Returns the function with gradients; ``reached`` refuses a loss whose gradients are all 0."""
        fn = self.forward
        assert self.loss is not None
        if wrt is None:
            wrt = [leaf.name for leaf in fn.of_role("parameter") if leaf.trainable]
        if not wrt:
            raise GraphError("the graph has no trainable parameter", todo="Name the values to differentiate by: wrt=[...].")
        index = {name: k for k, name in enumerate(fn.names)}
        for name in wrt:
            if name not in index:
                fn.value_id(name)
        result = differentiate_function(fn, index[self.loss], [index[n] for n in wrt])
        if reached and result.deltas.keys().isdisjoint(wrt):
            raise DifferentiationError(
                f"{self.loss!r} does not depend on any parameter: there is nothing to train", node=self.loss,
                facts=[f"parameters: {', '.join(map(repr, wrt))}"], todo="Compute the loss from parameters.",
            )
        deltas = result.deltas if self._keep_deltas else {}
        result = result.with_nodes(result.nodes, outputs={self.loss: index[self.loss]}, deltas=deltas)
        return result if self.recompute is None else rematerialize(result, fn.nodes, self.recompute, result.live_out)

    def finish(self, fn: Function) -> Function:
        """Runs all passes except those that are skipped."""
        with RUN_HOOK.checking(self._checked_kernels):
            return optimize(fn, skip=self._skip)

    def state_leaves(self) -> dict[str, Leaf]:
        """Returns the parameters, and the optimizer's state if the function of a step has been made."""
        return {leaf.name: leaf for fn in (self.forward, *self._made.values()) for leaf in fn.of_role("parameter")}

    def sized(self, mode: str, sizes: Mapping[str, int]) -> Function:
        """Returns the function of a mode with its shapes inferred for given sizes."""
        fn = self.of(mode)
        if not any(isinstance(n, str) for leaf in fn.leaves for n in leaf.shape):
            return fn  # without named dimensions, no shape changes
        with without_collector():
            return infer(fn, Sizes(sizes))


def lowered(
    fn: Function, buffers: Mapping[str, np.ndarray], threads: int, skip: Collection[str] = (), checked: bool = False
) -> Program:
    """Lowers a sized function to a program, whose array kernels check their indices if ``checked``."""
    with without_collector():
        return lower(fn, buffers, fn.live_out, threads=threads, reuse=REUSE not in skip, checked=checked)
