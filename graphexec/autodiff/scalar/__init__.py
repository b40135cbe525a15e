"""derive_backward: derives the backward op of an elementwise op from the source of its scalar function.

    out = f(x, y, ...)
    d_x = d_out * df/dx,  d_y = d_out * df/dy,  ...      summed over the outputs if there are several

Forward mode suits an elementwise op: it has few inputs, and one pass computes the value and its derivatives. The derived
op is an ordinary elementwise op with source text, so it can be differentiated again. Source: Griewank and Walther,
"Evaluating Derivatives", 2008, section 3.1.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from graphexec.autodiff.scalar import rules
from graphexec.autodiff.scalar.dead_code import names_read
from graphexec.autodiff.scalar.derivation import Derivation, compile_function, identifier, is_floating, make_arguments, rename
from graphexec.autodiff.scalar.statements import DualWriter
from graphexec.autodiff.scalar.variables import Dual, NotDifferentiable
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.llvm.toolchain import once


def derive_backward(op: ElementwiseOp) -> ElementwiseOp:
    """Returns the op ``<op>.backward``: it takes the deltas of the outputs and the values it reads, and gives one delta per input.

    *Raises* DifferentiationError for a construct or a called function without a known derivative.
    """
    return _Backward(op).make()


def backward_of(op: Op) -> Op | None:
    """Returns the declared backward op, else one derived from an elementwise function, else None.

    *Raises* DifferentiationError as :func:`derive_backward`.
    """
    if op.backward_op is not None or not isinstance(op, ElementwiseOp) or not op.differentiable:
        return op.backward_op
    return _derived(op)


_derived = once(derive_backward)
"""Cached by op identity: each op is derived once."""


class _Backward(Derivation):
    """The derivation of one op's backward op."""

    def make(self) -> ElementwiseOp:
        op, outputs = self.op, _delta_names(self.op)
        self._check()
        tree, namespace = self.source(op.function)
        given = [f"d_{o}" if is_floating(op, o) else None for o in op.outputs]
        deltas = [d for d in given if d is not None]
        rename(tree, namespace, deltas)

        def give(duals: Sequence[Dual], parts: Sequence[Sequence[str]]) -> ast.expr:
            if len(duals) != len(given):
                raise NotDifferentiable(f"{len(duals)} values for {len(given)} outputs", tree.lineno)
            return _deltas(given, duals, op.differentiable_inputs)

        body = self.write(op.function, DualWriter(tree, namespace, op.differentiable_inputs, give, self.helper))
        read = names_read(body)
        inputs = tuple(d for d in deltas if d in read) or (*deltas[:1],)
        inputs += tuple(p for p in op.inputs if p in read)
        attributes = {k: v for k, v in op.attributes.items() if k in read}
        arguments = make_arguments(inputs, attributes, tree.args)
        function = compile_function(identifier(f"{op.name}.backward"), arguments, body, namespace, f"derived {op.name}.backward")
        types = {n: op.types[p] for n, p in zip(outputs, op.differentiable_inputs, strict=True) if p in op.types}
        types |= {p: t for p, t in op.types.items() if p in inputs}
        types |= {d: op.types[o] for d, o in zip(given, op.outputs, strict=True) if d in inputs and o in op.types}
        return ElementwiseOp(
            name=f"{op.name}.backward", function=function, inputs=inputs, outputs=outputs, types=types, kinds="f",
            attributes=attributes, attribute_types=op.attribute_types, file=op.file,
            doc=f"Backward rule of {op.name}, derived from its function.", forward=op,
        )  # fmt: skip

    def _check(self) -> None:
        if self.op.variadic:
            raise self.error(self.op.function, "any number of operands", None)
        if not self.op.differentiable_inputs:
            raise self.error(self.op.function, "a function without floating operands", None)
        if not any(is_floating(self.op, o) for o in self.op.outputs):
            raise self.error(self.op.function, "a function without floating results", None)


def _delta_names(op: ElementwiseOp) -> tuple[str, ...]:
    """``d_x``; ``d2_x`` for a backward op, which already has an operand ``d_out``; and so on."""
    depth, forward = 1, op.forward
    while forward is not None:
        depth, forward = depth + 1, forward.forward
    taken = {*op.inputs, *(f"d_{o}" for o in op.outputs)}
    while True:
        names = tuple(f"d{depth if depth > 1 else ''}_{p}" for p in op.differentiable_inputs)
        if not taken.intersection((*names, *(f"d_{n}" for n in names))):  # the next derivation's deltas must be free too
            return names
        depth += 1


def _deltas(given: Sequence[str | None], duals: Sequence[Dual], inputs: Sequence[str]) -> ast.expr:
    """The return value of a backward function: for each input, the sum over outputs of delta times derivative."""
    deltas: list[ast.expr] = []
    for x in inputs:
        total: ast.expr | None = None
        for name, dual in zip(given, duals, strict=True):
            if name is not None and x in dual.tangents:
                total = rules.add(total, rules.multiply(rules.load(name), dual.tangents[x]))
        deltas.append(rules.number(0.0) if total is None else total)
    return deltas[0] if len(deltas) == 1 else ast.Tuple(deltas, ast.Load())
