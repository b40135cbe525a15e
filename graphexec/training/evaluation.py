"""Evaluation: scalars of a graph over a whole data set, whatever the batches.

A value is what the graph computes from all rows at once, also where that is no mean over rows: a root of a mean, a ratio of sums,
1 - Σ (z - y)² / Σ (y - mean y)². Reductions over the rows are added up batch by batch, in float64, and what the graph computes of
them is computed once, from the sums; `row_analysis` finds them. A value that is not made of reductions takes all rows as one batch,
if they fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphexec.errors import DataError
from graphexec.ir.builder import FunctionBuilder
from graphexec.ir.function import ABSENT, Function, Leaf, Node
from graphexec.ir.infer import infer
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp, ShapeOp
from graphexec.ir.registry import registry
from graphexec.ir.spec import DTYPES, Size, Sizes, TensorSpec
from graphexec.lower.buffer_assignment import assign_buffers
from graphexec.lower.layout_assignment import assign_layout
from graphexec.runtime.runner import Runner
from graphexec.training.batches import Batches
from graphexec.training.data.source import free_memory
from graphexec.training.row_analysis import FREE, RowAnalysis, needed

MEMORY_SHARE = 0.5
"""Share of the free memory that a batch of all rows may take."""


@dataclass
class Pass:
    """A pass over the data: its programs, and the totals of its reductions by value number."""

    runners: list[tuple[Runner, int]]
    totals: dict[int, np.ndarray]
    others: dict[int, ReductionOp]
    """Reductions that do not add, such as a maximum; they are combined after each batch."""


class Evaluation:
    """Computes wanted scalars (name: value of the graph) over a data set.

    *Raises* DataError if a value is no scalar, if arrays do not fit, or if a value needs all rows at once and they do not fit into
    memory.
    """

    def __init__(self, batches: Batches, wanted: Mapping[str, str]) -> None:
        self.batches, self.compiled = batches, batches.compiled
        self.fn = self.compiled.functions.forward
        self.wanted = {name: _scalar(self.fn, name, value) for name, value in wanted.items()}
        analysis = RowAnalysis(self.fn, batches.dimension, self.wanted.values())
        self.places, self._nodes = analysis.places, analysis.nodes
        self._at_once = {name: v for name, v in self.wanted.items() if self.places[v] is None}
        streamed = [v for v in self.wanted.values() if self.places[v] is not None]
        self._nodes = needed(self._nodes, streamed)
        self._sums = {v: op for v, op in analysis.sums if any(v in node.outputs for node in self._nodes)}
        self._specs = infer(self.fn.with_nodes(self._nodes, outputs={}), Sizes(batches.sizes(batches.rows))).specs
        self._sizes = {node.outputs[0]: self._size(node) for node in self._nodes if isinstance(node.op, ShapeOp)}
        self._later = self._computed_later()
        self._values: dict[int, np.ndarray] = {}
        self._operands: dict[int, np.ndarray] = {}
        """The whole values that a later pass reads, as it reads them."""
        read = {*streamed, *(v for nodes in self._later for node in nodes for v in node.inputs)}
        self._free_leaves = [leaf for leaf in self.fn.leaves if leaf.value_id in read]
        self._free = self._free_runner(read)
        self._passes = [self._pass(level) for level in range(1, max(map(self._level, self._sums), default=0) + 1)]
        self._whole = self._whole_runner() if self._at_once else None

    def run(self) -> dict[str, float]:
        """Returns the scalars by name."""
        self._values = {leaf.value_id: _wide(self._leaf_value(leaf)) for leaf in self._free_leaves} | self._sizes
        if self._free is not None:
            self._free.run()
            self._values |= {v: _wide(self._free.array(self._free.fn.outputs[name])) for name, v in self._free_outputs.items()}
        self._compute(0)
        for number, one in enumerate(self._passes, 1):
            self._run(one)
            self._compute(number)
        found = {v: float(self._values[v]) for v in self.wanted.values() if v in self._values}
        if self._whole is not None:
            self.batches.rewind()
            self._whole.run()
            outputs = self._whole.fn.outputs
            found |= {v: float(self._whole.array(outputs[self.fn.names[v]])) for v in self._at_once.values()}
        return {name: found[v] for name, v in self.wanted.items()}

    # -- values without rows

    def _level(self, value: int) -> int:
        """The passes that a whole value needs; -1 for any other value."""
        place = self.places[value]
        return place.level if place is not None and place.whole else -1

    def _leaf_value(self, leaf: Leaf) -> np.ndarray:
        if leaf.value is not None and leaf.role == "constant":
            return np.asarray(leaf.value, leaf.dtype)
        return self.compiled.state[leaf.name] if leaf.role == "parameter" else self.batches.arrays[leaf.name]

    def _computed_later(self) -> list[list[Node]]:
        """The nodes that whole values are computed by, by level."""
        levels = [(self._level(node.outputs[0]), node) for node in self._nodes]
        known = {*self._sums, *self._sizes}
        later: list[list[Node]] = [[] for _ in range(max([0, *(n for n, _ in levels)]) + 1)]
        for level, node in levels:
            if level >= 0 and node.outputs[0] not in known:
                later[level].append(node)
        return later

    def _size(self, node: Node) -> np.ndarray:
        """What shapes alone determine, for all rows."""
        assert isinstance(node.op, ShapeOp)
        return node.op.value([None if v == ABSENT else _wide_spec(self._specs[v]) for v in node.inputs], node.attributes)

    def _free_runner(self, read: set[int]) -> Runner | None:
        """The program of what depends on no row, among the values that are wanted or that whole values are computed of."""
        read = {v for node in self._nodes for v in node.outputs if self.places[v] == FREE and v not in self._sizes} & read
        self._free_outputs = {self.fn.names[v]: v for v in sorted(read)}
        return self.batches.runner(self._function(list(self._free_outputs.values())), self.batches.size, {}) if read else None

    def _compute(self, level: int) -> None:
        """Computes the whole values of a level from their operands, in float64, by the references of their ops."""
        with np.errstate(all="ignore"):  # as in kernels, which do not warn
            for node in self._later[level]:
                self._values.update(zip(node.outputs, self._result(node), strict=True))
        for value, operand in self._operands.items():
            if self._level(value) == level:
                operand[...] = self._values[value]

    def _result(self, node: Node) -> Sequence[np.ndarray]:
        arrays = [None if v == ABSENT else self._values[v] for v in node.inputs]
        if isinstance(node.op, ElementwiseOp) and node.op.reference is not None and len(node.outputs) == 1:
            return (np.asarray(node.op.reference(*arrays, **node.attributes)),)
        return node.op.evaluate(arrays, node.attributes)

    # -- passes over the rows

    def _function(self, outputs: list[int]) -> Function:
        """The optimized function of some values, with whole values as leaves."""
        whole = [v for v, place in self.places.items() if place is not None and place.whole]
        nodes = needed(self.fn.nodes, outputs, [v for v in whole if v not in outputs])
        read = {v for node in nodes for v in node.inputs}
        leaves = [leaf for leaf in self.fn.leaves if leaf.value_id in read or leaf.value_id in outputs]
        for v in sorted(read.intersection(whole).difference(outputs)):
            self._operands.setdefault(v, np.zeros(tuple(int(n) for n in self._specs[v].shape), self._specs[v].dtype))
            leaves.append(_operand_leaf(self.fn.names[v], v, self.fn.specs[v]))
        named = {self.fn.names[v]: v for v in outputs}
        return self.compiled.functions.finish(self.fn.with_nodes(nodes, leaves=leaves, outputs=named))

    def _pass(self, level: int) -> Pass:
        sums = {v: op for v, op in self._sums.items() if self._level(v) == level}
        adding = {v for v, op in sums.items() if op.additive}
        fn = self._function(list(sums))
        totals = {v: np.zeros(tuple(int(n) for n in self._specs[v].shape), np.float64) for v in adding}
        buffers = {self.fn.names[v]: array for v, array in self._operands.items()}
        buffers |= {_total_name(self.fn, v): array for v, array in totals.items()}
        runners = self.batches.runners(fn, buffers, self._accumulating(fn, adding))
        return Pass(runners, totals, {v: op for v, op in sums.items() if v not in adding})

    def _accumulating(self, fn: Function, adding: set[int]) -> Callable[[FunctionBuilder, int], None]:
        def more(builder: FunctionBuilder, batch: int) -> None:
            for v in adding:
                source, name = fn.outputs[self.fn.names[v]], _total_name(self.fn, v)
                shape = tuple(int(n) for n in self._specs[v].shape)
                total = builder.leaf(name, "parameter", shape, "float64")
                if DTYPES[self.fn.specs[v].dtype] != "f":
                    source = builder.add(registry.get("cast"), (source,), {"dtype": "float64"}, f"{name}.cast").outputs[0]
                builder.add(registry.get("accumulate"), (total, source), {"weight": 1.0}, f"{name}.add")

        return more

    def _run(self, one: Pass) -> None:
        self.batches.rewind()
        for total in one.totals.values():
            total[...] = 0.0
        parts: dict[int, list[np.ndarray]] = {v: [] for v in one.others}
        for runner, times in one.runners:
            runner.progress[1] = 0
            for _ in range(times) if one.others else (None,):
                runner.run(1 if one.others else times)
                for v in one.others:
                    parts[v].append(runner.array(runner.fn.outputs[self.fn.names[v]]).copy())
        for v, op in one.others.items():
            assert op.reference is not None
            self._values[v] = np.asarray(op.reference(_wide(np.stack(parts[v])), axis=0))
        for v, total in one.totals.items():
            self._values[v] = total if DTYPES[self.fn.specs[v].dtype] == "f" else total.astype(self.fn.specs[v].dtype)

    # -- all rows at once

    def _whole_runner(self) -> Runner:
        wanted = list(self._at_once.values())
        nodes = needed(self.fn.nodes, wanted)
        fn = self.compiled.functions.finish(self.fn.with_nodes(nodes, outputs={self.fn.names[v]: v for v in wanted}))
        self._require_memory(self.batches.function(fn, self.batches.rows))
        return self.batches.runner(fn, self.batches.rows, {})

    def _require_memory(self, fn: Function) -> None:
        free, needs = free_memory(), assign_buffers(assign_layout(fn), fn.live_out).arena
        if free is not None and needs > free * MEMORY_SHARE:
            name, value = next(iter(self._at_once.items()))
            raise DataError(
                f"{name!r} cannot be computed batch by batch, and not from all {self.batches.rows} rows at once",
                node=self.fn.names[value],
                facts=[f"all rows at once need {needs / 2**30:.3g} GiB, and {free / 2**30:.3g} GiB of memory are free"],
                todo="Write it with sums, means, maxima or minima over the rows, or evaluate fewer rows.",
            )


def _scalar(fn: Function, name: str, value: str) -> int:
    number = fn.value_id(value)
    if fn.specs[number].shape != ():
        raise DataError(f"metric {name!r} is {fn.specs[number]}, not a scalar", todo="Reduce it with mean().")
    return number


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _wide_spec(spec: TensorSpec) -> TensorSpec:
    return spec._replace(dtype="float64") if DTYPES[spec.dtype] == "f" else spec


def _operand_leaf(name: str, value: int, spec: TensorSpec) -> Leaf:
    shape = tuple(n.expression if isinstance(n, Size) else n for n in spec.shape)
    return Leaf(name, "parameter", value, shape, spec.dtype, trainable=False)


def _total_name(fn: Function, value: int) -> str:
    return f"epoch.total.{fn.names[value]}"
