"""differentiate: writes the backward pass of a graph into the graph.

Textbook reverse mode: walk the nodes backwards; a node whose output has a delta gives each operand a contribution by its
op's backward rule. Where a value feeds several operands, one sum node adds the contributions in the order in which they
are found, from the last consumer to the first (`dL/dw = δ(2) z(1)ᵀ + δ(1) xᵀ`), so that each can be added and freed as soon
as it is computed. Rules are written for operands of equal shape; only this module undoes broadcasting, by summing a
contribution back to its value's shape.
Source: Griewank and Walther, "Evaluating Derivatives", 2008, chapter 3.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from graphexec.errors import DifferentiationError, GraphExecError
from graphexec.graph.graph import Graph
from graphexec.ir.builder import FunctionBuilder, Traced
from graphexec.ir.function import ABSENT, Function, Node
from graphexec.ir.infer import infer
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.registry import registry
from graphexec.ir.spec import DTYPES, Sizes
from graphexec.rewrite.legalize.inline_composites import inline_composites


def differentiate(graph: Graph, of: str, wrt: Iterable[str] | None = None) -> Graph:
    """Returns a new graph: ``graph`` with its backward pass written in as ordinary nodes.

    ``of`` names a scalar value; ``wrt`` names values (default: all trainable parameters). The new graph's outputs are
    the value and then each gradient; ``dag.graph["gradients"]`` and ``["deltas"]`` map names to the values that
    hold them.

    A gradient that is 0 everywhere, because ``of`` does not depend on the value or only through steps, is zeros.

    *Raises* GraphError for an unknown name; DifferentiationError if ``of`` is not a scalar or an op between
    ``of`` and ``wrt`` has no backward rule.
    """
    fn = inline_composites(infer(graph.function(), Sizes()))
    index = fn.value_id(of)
    names = [leaf.name for leaf in fn.of_role("parameter") if leaf.trainable] if wrt is None else list(wrt)
    result = differentiate_function(fn, index, [fn.value_id(name) for name in names])
    outputs = {of: result.value_id(of)} | {result.names[v]: v for v in result.gradients.values()}
    return Graph.from_function(result.with_nodes(result.nodes, outputs=outputs))


def differentiate_function(fn: Function, of: int, wrt: Sequence[int]) -> Function:
    """Adds backward nodes, ``gradients`` and ``deltas`` to a function; see :func:`differentiate`."""
    spec = fn.specs[of]
    if spec.shape != () or DTYPES[spec.dtype] != "f":
        raise DifferentiationError(
            f"only a floating scalar has gradients, and {fn.names[of]!r} is {spec}", node=fn.names[of],
            todo="Reduce it first, for example with sum() or a loss with reduction='mean'.",
        )
    return _Backward(fn, of, wrt).run()


class _Backward:
    def __init__(self, fn: Function, of: int, wrt: Sequence[int]) -> None:
        self.fn, self.of, self.wrt = fn, of, wrt
        self.builder = FunctionBuilder(fn)
        self.builder.nodes = list(fn.nodes)
        self.contributions: dict[int, list[int]] = {}
        self.deltas: dict[int, int] = {}
        self.active = _depends_on(fn, wrt)
        self.rules: dict[Op, _Rule] = {}
        self.makers: dict[int, Node] | None = None

    def run(self) -> Function:
        for v in self.wrt:
            if DTYPES[self.fn.specs[v].dtype] != "f":
                raise DifferentiationError(
                    f"{self.fn.names[v]!r} is {self.fn.specs[v].dtype}: only floating values have gradients",
                    node=self.fn.names[v], todo="Leave it out of wrt.",
                )
        spec = self.fn.specs[self.of]
        self.contributions[self.of] = [self.builder.constant(1.0, spec.dtype, name=f"d_{self.fn.names[self.of]}")]
        for node in reversed(self.fn.nodes):
            if not self.contributions.keys().isdisjoint(node.outputs):
                self._visit(node)
        gradients = {self.fn.names[v]: self._gradient(v) for v in self.wrt}
        for leaf in self.fn.leaves:
            self._sum(leaf.value_id, leaf.name)
        deltas = {self.fn.names[v]: d for v, d in self.deltas.items()}
        return self.builder.build(self.fn, gradients=gradients, deltas=deltas)

    def _visit(self, node: Node) -> None:
        self.builder.location = node.location
        for v in node.outputs:
            self._sum(v, self.fn.names[v])
        if not self.active.isdisjoint(node.reads):
            self.builder.prefix = f"{node.name}.backward"
            self._apply_rule(node)
            self.builder.prefix = ""
        self.builder.location = None

    def _sum(self, value: int, name: str) -> int | None:
        """Returns the delta of a value: its contributions, summed from the last consumer to the first."""
        parts = self.contributions.get(value)
        if parts is None:
            return None
        if value not in self.deltas:
            if len(parts) == 1:
                self.deltas[value] = parts[0]
            else:
                op = registry.get("add_n")
                node = self.builder.add(op, tuple(parts), op.check_attributes({}), name=f"d_{name}")
                self.deltas[value] = node.outputs[0]
        return self.deltas[value]

    def _gradient(self, value: int) -> int:
        found = self._sum(value, self.fn.names[value])
        if found is None:
            op = registry.get("zeros_like")
            found = self.builder.add(op, (value,), op.check_attributes({}), name=f"d_{self.fn.names[value]}").outputs[0]
        return found

    def _apply_rule(self, node: Node) -> None:
        op = node.op
        rule = self.rules.get(op)
        if rule is None:
            rule = self.rules[op] = self._read_rule(node)
        if not rule.takes_all:
            self._check_asked(node, rule)
        if rule.planned:
            self._add_planned(node)
            return
        given = self._call_gradient(node, rule) if rule.backward is None else self._add_backward(node, rule, rule.backward)
        for value, delta in zip(rule.targets(node), given, strict=True):
            if delta is not None:
                self._contribute(node, value, delta)

    def _contribute(self, node: Node, value: int, delta: int) -> None:
        if value in self.active:
            if self.builder.specs[delta] != self.fn.specs[value]:
                delta = self._fitted(node, delta, value)
            self.contributions.setdefault(value, []).append(delta)

    def _add_planned(self, node: Node) -> None:
        """Adds the backward nodes of an elementwise node: those through deltas that exist, for operands that need one."""
        from graphexec.autodiff.scalar.pullback import plan  # late: most graphs derive nothing

        try:
            planned = plan(node, self._maker, self.deltas, self.active)
        except GraphExecError as error:
            raise error.at(node=node.name, source=node.location) from None
        deltas = {f"d_{o}": v for o, v in zip(node.op.outputs, node.outputs, strict=True)}
        for term in planned.terms:
            operands = [self._delta_of(deltas[n]) if n in deltas else planned.values[n] for n in term.operands]
            if term.factor is not None:
                multiply = registry.get("multiply")
                operands[0] = self.builder.add(multiply, (operands[0], planned.values[term.factor]), {}).outputs[0]
            attributes = {k: planned.attributes[k] for k in term.op.attributes}
            made = self.builder.add(term.op, tuple(operands), attributes, f"{node.name}.backward")
            for name, delta in zip(term.targets, made.outputs, strict=True):
                self._contribute(node, planned.values[name], delta)

    def _maker(self, value: int) -> Node | None:
        """The node that computes a value."""
        if self.makers is None:
            self.makers = {v: node for node in self.fn.nodes for v in node.outputs}
        return self.makers.get(value)

    def _fitted(self, node: Node, delta: int, value: int) -> int:
        """Sums a contribution to its value's shape and converts it to its type."""
        spec = self.fn.specs[value]
        if self.builder.specs[delta].shape != spec.shape:
            sum_to = registry.get("sum_to")
            name = f"{node.name}.backward.sum"
            delta = self.builder.add(sum_to, (delta, value), sum_to.check_attributes({}), name).outputs[0]
        if self.builder.specs[delta].dtype != spec.dtype:
            cast = registry.get("cast")
            delta = self.builder.add(cast, (delta,), {"dtype": spec.dtype}, f"{node.name}.backward.cast").outputs[0]
        return delta

    def _check_asked(self, node: Node, rule: _Rule) -> None:
        """Rejects a delta that the rule does not take, because it would be lost silently."""
        op = node.op
        for value, output in zip(node.outputs, op.outputs, strict=True):
            if value in self.deltas and f"d_{output}" not in rule.names:
                raise DifferentiationError(
                    f"the backward rule of {op.name!r} takes no delta of its output {output!r}", node=node.name, op=op.name,
                    source=node.location, todo=f"Do not let the loss depend on {self.fn.names[value]!r}, or stop its gradient.",
                )

    def _delta_of(self, value: int) -> int:
        if value not in self.deltas:
            op = registry.get("zeros_like")
            self.deltas[value] = self.builder.add(op, (value,), op.check_attributes({})).outputs[0]
        return self.deltas[value]

    def _ask(self, node: Node, rule: _Rule) -> list[int]:
        """Returns the values that a rule takes."""
        asked = []
        for kind, k in rule.operands:
            if kind == "input":
                asked.append(node.inputs[k] if k < len(node.inputs) else ABSENT)
            else:
                asked.append(node.outputs[k] if kind == "output" else self._delta_of(node.outputs[k]))
        return asked

    def _call_gradient(self, node: Node, rule: _Rule) -> list[int | None]:
        assert rule.function is not None
        absent = {f"d_{o}": v for o, v in zip(node.op.outputs, node.outputs, strict=True) if v not in self.deltas}
        values = self.builder.values(self._ask(node, rule))
        nothing = {self.deltas[v] for name, v in absent.items() if name in rule.names}
        first = len(self.builder.nodes)
        if rule.variadic:
            values += self.builder.values(node.inputs)
        try:
            result = rule.function(*values, **{k: node.attributes[k] for k in rule.attributes})
        except GraphExecError as error:
            raise error.at(node=node.name, op=node.op.name, source=node.location) from None
        given = self._checked(node, rule, result)
        return self._without(nothing, first, given) if nothing else given

    def _without(self, nothing: set[int], first: int, given: list[int | None]) -> list[int | None]:
        """Takes absent deltas out of the nodes that a rule has added, and returns what is left of its result."""
        from graphexec.autodiff.absent import NOTHING, result_without  # late: few rules have several outputs

        same: dict[int, int] = {}
        added, self.builder.nodes[first:] = self.builder.nodes[first:], []
        for node in added:
            node = node.renumbered(same)
            left = result_without(node.op, [slot for slot, v in enumerate(node.inputs) if v in nothing])
            out = node.outputs[0]
            if left is not None and left != NOTHING and self.builder.specs[node.inputs[left]] == self.builder.specs[out]:
                same[out] = node.inputs[left]
                continue
            if left == NOTHING:  # zeros, should something read it after all
                op = registry.get("zeros_like")
                node = Node(node.name, op, (node.inputs[0],), node.outputs, {}, node.location)
                nothing.add(out)
            self.builder.nodes.append(node)
        return [None if v is None or v in nothing else same.get(v, v) for v in given]

    def _checked(self, node: Node, rule: _Rule, result: Any) -> list[int | None]:
        op, results = node.op, list(result) if isinstance(result, (tuple, list)) else [result]
        targets = rule.targets(node)
        if len(results) > len(targets) and not op.variadic:  # drop the deltas of absent optional operands
            present = [v != ABSENT for p, v in zip(op.inputs, [*node.inputs, *[ABSENT] * len(op.inputs)], strict=False)
                       if p in op.differentiable_inputs]  # fmt: skip
            results = [r for r, there in zip(results, present, strict=False) if there]
        if len(results) != len(targets) or not all(r is None or isinstance(r, Traced) for r in results):
            raise DifferentiationError(
                f"the gradient rule returns {len(results)} deltas for {len(targets)} floating operands", node=node.name, op=op.name,
                source=node.location, todo="Return one delta for each floating operand, or None for one without a delta.",
            )
        return [None if r is None else r.index for r in results]

    def _read_rule(self, node: Node) -> _Rule:
        op = node.op
        if op.gradient_rule is not None:
            return _Rule(op, None)
        if isinstance(op, ElementwiseOp) and op.differentiable:
            return _Rule(op, op.backward_op, planned=True)
        if op.backward_op is not None:
            return _Rule(op, op.backward_op)
        what = (
            "is not differentiable"
            if not op.differentiable
            else "has a kernel for a backward rule, which cannot be differentiated again"
        )
        if op.forward is None and op.differentiable:
            what = "has no backward rule"
        raise DifferentiationError(
            f"op {op.name!r} {what}", node=node.name, op=op.name, source=node.location,
            todo="Stop the gradient before it with stop_gradient, or give the op a rule written in ops with @op.gradient.",
        )

    def _add_backward(self, node: Node, rule: _Rule, backward: Op) -> list[int | None]:
        attributes = {k: node.attributes[k] for k in rule.attributes}
        made = self.builder.add(backward, tuple(self._ask(node, rule)), attributes, f"{node.name}.backward")
        return list(made.outputs)


class _Rule:
    """An op's backward rule, read once for all nodes: ``backward``, the op of a backward node, or ``function``, to be called."""

    def __init__(self, op: Op, backward: Op | None, planned: bool = False) -> None:
        self.op, self.backward, self.function = op, backward, op.gradient_rule
        self.planned = planned
        """Whether its backward nodes depend on which deltas exist and which are wanted."""
        self.names: list[str] = []
        """The operands, outputs and deltas that the rule takes."""
        self.attributes: list[str] = []
        self.variadic = False
        if backward is not None:
            self.names, self.attributes = list(backward.inputs), list(backward.attributes)
        elif self.function is not None:
            self._read_signature()
        derived = backward is None and self.function is None  # a derived rule omits only deltas without effect
        self.takes_all = derived or len(op.outputs) == 1 or all(f"d_{output}" in self.names for output in op.outputs)
        self.operands = [self._place(name) for name in self.names]
        wanted = op.differentiable_inputs
        self._slots = [slot for slot, name in enumerate(op.inputs) if name in wanted]

    def _read_signature(self) -> None:
        assert self.function is not None
        for p in inspect.signature(self.function).parameters.values():
            if p.kind is p.KEYWORD_ONLY:
                self.attributes.append(p.name)
            elif p.kind is p.VAR_POSITIONAL:
                self.variadic = True
            else:
                self.names.append(p.name)

    def _place(self, name: str) -> tuple[str, int]:
        """Locates a name in a node: the number of an input, of an output, or of the output whose delta it is."""
        op = self.op
        if name in op.inputs and not op.variadic:
            return "input", op.inputs.index(name)
        return ("output", op.outputs.index(name)) if name in op.outputs else ("delta", op.outputs.index(name.removeprefix("d_")))

    def targets(self, node: Node) -> Sequence[int]:
        """The operands of a node that receive deltas."""
        if self.op.variadic:
            return node.inputs
        return [node.inputs[s] for s in self._slots if s < len(node.inputs) and node.inputs[s] != ABSENT]


def _depends_on(fn: Function, wrt: Sequence[int]) -> set[int]:
    """Returns ``wrt`` and the floating values computed from them."""
    active = set(wrt)
    for node in fn.nodes:
        if not active.isdisjoint(node.reads):
            active.update([v for v in node.outputs if DTYPES[fn.specs[v].dtype] == "f"])
    return active
