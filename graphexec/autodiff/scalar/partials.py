"""partial: derives the op that multiplies a delta by a partial derivative of an elementwise op, of any order.

    power.d_out.x.x      out = d_out * ∂²power/∂x²

These ops are what the gradients of backward ops consist of. A backward rule is linear in its deltas, so the derivative of
``d_out * s(x)`` by ``d_out`` is the same op applied to the new delta, and the one by ``x`` is the op of the next order applied to
the product of both deltas: operands do not become more with the order, and each derivative is derived by what is asked, and only
through deltas that exist. Mixed derivatives are taken in the order of the operands, so that ∂²/∂x∂y and ∂²/∂y∂x are one op.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Sequence
from typing import Any

from graphexec.autodiff.scalar import rules
from graphexec.autodiff.scalar.chain_rule import Tangents
from graphexec.autodiff.scalar.dag import Dag, Unreadable
from graphexec.autodiff.scalar.dead_code import names_read
from graphexec.autodiff.scalar.derivation import Derivation, Namespace, compile_function, identifier, make_arguments, rename
from graphexec.autodiff.scalar.emission import emit
from graphexec.autodiff.scalar.evaluation import Evaluation
from graphexec.autodiff.scalar.inlining import inlined
from graphexec.autodiff.scalar.sharing import share
from graphexec.autodiff.scalar.statements import DualWriter
from graphexec.autodiff.scalar.variables import Dual, NotDifferentiable
from graphexec.errors import DifferentiationError
from graphexec.ir.op_kinds import ElementwiseOp, PartialOp
from graphexec.llvm.toolchain import once


def partial(root: ElementwiseOp, output: str, by: Sequence[str]) -> PartialOp | None:
    """Returns the op of a derivative; None for a derivative that is 0 everywhere.

    *Raises* DifferentiationError for a construct or a called function without a known derivative.
    """
    return _partial(root, output, tuple(sorted(by, key=root.inputs.index)))


@once
def _partial(root: ElementwiseOp, output: str, by: tuple[str, ...]) -> PartialOp | None:
    return _Partial(root, output, by).make()


@functools.cache
def is_linear(rule: ElementwiseOp, deltas: tuple[str, ...]) -> bool:
    """Whether a rule is linear in its deltas, as one that does not clip or otherwise change them."""
    derivation = Derivation(rule)

    def give(duals: Sequence[Dual], parts: Sequence[Sequence[str]]) -> ast.expr:
        return ast.Tuple([t for dual in duals for t in dual.tangents.values()], ast.Load())

    try:
        tree, namespace = derivation.source(rule.function)
        body = derivation.write(rule.function, DualWriter(tree, namespace, deltas, give, derivation.helper))
    except DifferentiationError:
        return False
    return names_read(body).isdisjoint(deltas)


class _Graph(Derivation):
    """The function of an op of the first order as a dag, and its derivatives; of the operands alone."""

    def __init__(self, first: PartialOp) -> None:
        super().__init__(first.root)
        self.dag = Dag()
        tree, scope = self.source(first.function)
        forward, around = self.source(self.op.function)
        self.arguments = (tree.args, forward.args)
        names = {n: self.dag.name(n) for n in (first.inputs[0], *self.op.inputs, *self.op.attributes)}
        given = {n: names[n] for n in (*self.op.inputs, *self.op.attributes)}
        found = Evaluation(self.dag, around, self.source).run(forward.body, given)
        if len(found) != len(self.op.outputs):
            raise Unreadable("another number of outputs")
        (value,) = Evaluation(self.dag, scope, self.source).run(tree.body, dict(zip(self.op.outputs, found, strict=True)) | names)
        self.known: dict[tuple[str, ...], int | None] = {(): value}
        self.tangents = {x: Tangents(self.dag, x, self.source) for x in self.op.differentiable_inputs}

    def derivative(self, by: tuple[str, ...]) -> int | None:
        """The node of a derivative of the first one. *Raises* Unreadable where none is known."""
        if by not in self.known:
            before = self.derivative(by[:-1])
            self.known[by] = None if before is None else self.tangents[by[-1]].of(before)
        return self.known[by]


_graph = once(_Graph)


class _Partial(Derivation):
    """The derivation of one op."""

    def __init__(self, root: ElementwiseOp, output: str, by: tuple[str, ...]) -> None:
        super().__init__(root)
        self.output, self.by, self.delta = output, by, f"d_{output}"
        self.name = ".".join((root.name, self.delta, *by))
        self.zero = True

    def make(self) -> PartialOp | None:
        if len(self.by) > 1:
            return self._next()
        rule = self.op.backward_op
        return self._of_rule(rule) if isinstance(rule, ElementwiseOp) else self._of_function()

    def _of_function(self) -> PartialOp | None:
        """From the op's own function: the tangent of the output, times the delta."""
        tree, namespace = self.source(self.op.function)
        rename(tree, namespace, [self.delta])
        (x,), k = self.by, self.op.outputs.index(self.output)

        def give(duals: Sequence[Dual], parts: Sequence[Sequence[str]]) -> ast.expr:
            if len(duals) != len(self.op.outputs):
                raise NotDifferentiable(f"{len(duals)} values for {len(self.op.outputs)} outputs", tree.lineno)
            return self._given(duals[k].tangents.get(x), times_delta=True)

        body = self.write(self.op.function, DualWriter(tree, namespace, (x,), give, self.helper))
        return self._made(body, namespace, tree.args)

    def _of_rule(self, rule: ElementwiseOp) -> PartialOp | None:
        """From the declared rule: its result for this input, without the terms of other deltas."""
        tree, namespace = self.source(rule.function)
        k = self.op.differentiable_inputs.index(self.by[0])
        deltas = [n for n in rule.inputs if n in {f"d_{o}" for o in self.op.outputs}]
        alone = deltas == [self.delta]
        if alone and len(rule.outputs) == 1:
            return self._op(rule.function, rule.inputs, list(rule.attributes))

        def give(duals: Sequence[Dual], parts: Sequence[Sequence[str]]) -> ast.expr:
            if len(duals) != len(rule.outputs):
                raise NotDifferentiable(f"{len(duals)} values for {len(rule.outputs)} deltas", tree.lineno)
            value = duals[k].value if alone else duals[k].tangents.get(self.delta)
            return self._given(value, times_delta=not alone)

        body = self.write(rule.function, DualWriter(tree, namespace, () if alone else (self.delta,), give, self.helper))
        return self._made(body, namespace, tree.args)

    def _next(self) -> PartialOp | None:
        """From the op of the first order, differentiated as a graph; from the source of the order before where that cannot be."""
        before = _partial(self.op, self.output, self.by[:-1])
        if before is None:
            return None
        try:
            return self._of_graph()
        except Unreadable:
            return self._of_source(before)

    def _of_graph(self) -> PartialOp | None:
        first = _partial(self.op, self.output, self.by[:1])
        assert first is not None
        graph = _graph(first)
        value = graph.derivative(self.by[1:])
        if value is None:
            return None
        self.zero = False
        body, namespace = emit(graph.dag, value, self.op.attributes)
        return self._made(body, namespace, *graph.arguments)

    def _of_source(self, before: PartialOp) -> PartialOp | None:
        """The operands are the inputs alone: the function computes the outputs that it reads."""
        tree, namespace = self.source(before.function)
        defaults = [tree.args]
        outputs = [o for o in self.op.outputs if o in before.inputs]
        if outputs:
            forward, scope = self.source(self.op.function)
            rename(forward, scope, [self.delta])
            defaults.append(forward.args)
            body = inlined(forward, scope, self.op.outputs, namespace)
            known = [ast.arg(p) for p in self.op.inputs if p not in before.inputs]
            kept = [a for a in tree.args.args if a.arg not in outputs]
            tree = ast.FunctionDef(
                name=tree.name, args=ast.arguments(posonlyargs=[], args=[*kept, *known], kwonlyargs=[
                    *tree.args.kwonlyargs, *(a for a in forward.args.kwonlyargs if a.arg not in before.attributes)],
                    kw_defaults=[None] * len({*before.attributes, *self.op.attributes}), defaults=[]),
                body=body + tree.body, decorator_list=[], lineno=tree.lineno,
            )  # fmt: skip
        x = self.by[-1]
        writer = DualWriter(tree, namespace, (x,), lambda duals, parts: self._given(duals[0].tangents.get(x)), self.helper)
        body = self.write(before.function, writer)
        return self._made(share(body, writer.taken), namespace, *defaults)

    def _given(self, value: ast.expr | None, times_delta: bool = False) -> ast.expr:
        if value is None or rules.is_number(value, 0.0):
            return rules.number(0.0)
        self.zero = False
        return rules.multiply(rules.load(self.delta), value) if times_delta else value

    def _made(self, body: list[ast.stmt], namespace: Namespace, *old: ast.arguments) -> PartialOp | None:
        if self.zero:
            return None
        read = names_read(body)
        inputs = (self.delta, *(n for n in (*self.op.inputs, *self.op.outputs) if n in read))
        attributes = [k for k in self.op.attributes if k in read]
        arguments = make_arguments(inputs, attributes, *old)
        function = compile_function(identifier(self.name), arguments, body, namespace, f"derived {self.name}")
        return self._op(function, inputs, attributes)

    def _op(self, function: Callable[..., Any], inputs: tuple[str, ...], attributes: list[str]) -> PartialOp:
        op, x = self.op, self.by[-1]
        types = {n: t for n, t in op.types.items() if n in inputs}
        types |= {self.delta: op.types[self.output]} if self.output in op.types else {}
        types |= {"out": op.types[x]} if x in op.types else {}
        return PartialOp(
            name=self.name, function=function, inputs=inputs, outputs=("d",), types=types, kinds="f",
            attributes={k: op.attributes[k] for k in attributes}, file=op.file,
            doc=f"The derivative of {op.name} by {', '.join(self.by)}, times a delta.", forward=op, root=op,
            output=self.output, by=self.by,
        )  # fmt: skip
