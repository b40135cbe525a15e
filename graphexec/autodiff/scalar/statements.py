"""Differentiates a scalar function in forward mode by rewriting its source: each variable gets tangents.

For a variable v and an input x, ``v_by_x`` is the derivative of v by x. Every assignment of v assigns its tangents too,
so branches, loops and early returns stay unchanged. The writer repeats until it finds no new tangent that can differ from
0; it omits the others. Source: Griewank and Walther, "Evaluating Derivatives",
2008, sections 3.1 and 6.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from graphexec.autodiff.scalar import rules
from graphexec.autodiff.scalar.expressions import DualExpressions
from graphexec.autodiff.scalar.rules import assign, load, number
from graphexec.autodiff.scalar.variables import Dual, NotDifferentiable

_FORBIDDEN: dict[type[ast.AST], str] = {
    ast.Try: "try", ast.With: "with", ast.Lambda: "lambda", ast.ListComp: "a comprehension", ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension", ast.GeneratorExp: "a comprehension", ast.NamedExpr: "an assignment inside an expression",
    ast.Yield: "yield", ast.YieldFrom: "yield", ast.Await: "await", ast.FunctionDef: "a function inside the function",
    ast.ClassDef: "a class inside the function", ast.Raise: "raise", ast.Assert: "assert", ast.Match: "match",
    ast.Global: "global", ast.Nonlocal: "nonlocal", ast.Import: "import", ast.ImportFrom: "import", ast.Delete: "del",
    ast.Starred: "a starred expression",
}  # fmt: skip


class DualWriter(DualExpressions):
    """Writes one function with the tangents of its variables."""

    def run(self) -> list[ast.stmt]:
        """Returns the statements of the new function. *Raises* NotDifferentiable."""
        self._check()
        self.changed = True
        while self.changed:
            self.changed = False
            self.count, self.known = 0, {}
            body = self._block(self.function.body)
            reassigned = [p for p in self.parameters if p in self.stores]
            pairs = [(p, x) for p in reassigned for x in self.wrt if x in self.active.get(p, ())]
            body[:0] = [assign([self._tangent(p, x)], [number(float(p == x))]) for p, x in pairs]
        if not self.results:
            raise NotDifferentiable("a function that returns nothing", self.function.lineno)
        return body

    @property
    def parts(self) -> tuple[tuple[str, ...], ...]:
        """For each result, the inputs that it depends on."""
        return tuple(tuple(x for x in self.wrt if x in found) for found in self.results)

    def _check(self) -> None:
        for statement in self.function.body:
            for node in ast.walk(statement):
                if type(node) in _FORBIDDEN:
                    raise NotDifferentiable(_FORBIDDEN[type(node)], getattr(node, "lineno", self.line))

    # -- statements

    def _block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        outer, self.block = self.block, []
        for statement in statements:
            self.line = statement.lineno
            self._statement(statement)
        written, self.block = self.block, outer
        return written

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                self._assign(targets, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign([target], value)
            case ast.AugAssign() if not self._is_active(node):
                self.block.append(node)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                self._assign([node.target], ast.copy_location(ast.BinOp(load(name), op, value), node))
            case ast.If(test=test, body=body, orelse=orelse):
                self.block.append(ast.If(test, self._block(body), self._block(orelse)))
            case ast.While(test=test, body=body, orelse=orelse):
                self.block.append(ast.While(test, self._block(body), self._block(orelse)))
            case ast.For():
                self._for(node)
            case ast.Return(value=ast.expr() as value):
                self._return(value)
            case ast.Break() | ast.Continue():
                self.block.append(node)
            case ast.Pass() | ast.AnnAssign(value=None) | ast.Expr(value=ast.Constant()):
                pass
            case _:
                self._refuse(f"`{ast.unparse(node).splitlines()[0]}`", node)

    def _assign(self, targets: Sequence[ast.expr], value: ast.expr) -> None:
        if len(targets) > 1 or isinstance(targets[0], ast.Name):
            dual = self._expression(value)
            for name in [self._target(t) for t in targets]:
                self._store([name], [dual])
                dual = Dual(load(name), self._tangents(name))
        elif isinstance(targets[0], (ast.Tuple, ast.List)):
            names, duals = [self._target(t) for t in targets[0].elts], self._values(value)
            if len(names) != len(duals):
                self._refuse(f"{len(duals)} values for {len(names)} variables", value)
            self._store(names, duals)
        else:
            self._target(targets[0])

    def _target(self, node: ast.expr) -> str:
        if not isinstance(node, ast.Name):
            self._refuse(f"the assignment to `{ast.unparse(node)}`", node)
        return node.id

    def _store(self, names: Sequence[str], duals: Sequence[Dual]) -> None:
        """Assigns tangents first, because they use the old values."""
        for name, dual in zip(names, duals, strict=True):
            known = self.active.setdefault(name, set())
            self.changed = self.changed or not known.issuperset(dual.tangents)
            known.update(dual.tangents)
        for x in self.wrt:
            pairs = [(n, d.tangents.get(x, number(0.0))) for n, d in zip(names, duals, strict=True) if x in self.active[n]]
            if pairs:
                self.block.append(assign([self._tangent(n, x) for n, _ in pairs], [t for _, t in pairs]))
            self.known.update({(n, x): t for n, t in pairs if n in self.once and self._is_cheap(t)})
        for name, dual in zip(names, duals, strict=True):
            if isinstance(dual.value, ast.Name) and dual.value.id in self.temporary and name in self.once and not self.has_loops:
                self.alias[name] = dual.value
        self.block.append(assign(list(names), [d.value for d in duals]))

    def _is_cheap(self, tangent: ast.expr) -> bool:
        """Whether it is written out wherever it is used: a number, also over a power of a variable, so that powers meet."""
        read = rules.quotient(tangent)
        if read is None:
            return rules.is_number(tangent)
        variable = read[1].id in self.once or read[1].id in self.temporary
        return rules.is_number(read[0]) and variable and not self.has_loops  # a loop may have changed the variable by then

    def _for(self, node: ast.For) -> None:
        flat = isinstance(node.iter, ast.Call) and self._rule(node.iter) == "flat"
        if self._is_active(node.iter) and not flat:
            self._refuse(f"a loop over `{ast.unparse(node.iter)}`", node)
        name = self._target(node.target)
        still = [assign([self._tangent(name, x)], [number(0.0)]) for x in self.wrt if x in self.active.get(name, ())]
        self.block.append(ast.For(node.target, node.iter, still + self._block(node.body), self._block(node.orelse), lineno=0))

    def _return(self, value: ast.expr) -> None:
        duals = self._values(value)
        self.single = len(duals) == 1
        self.results = self.results or [set() for _ in duals]
        if len(duals) != len(self.results):
            self._refuse(f"a function that returns {len(self.results)} values here and {len(duals)} there", value)
        for found, dual in zip(self.results, duals, strict=True):
            self.changed = self.changed or not found.issuperset(dual.tangents)
            found.update(dual.tangents)
        self.block.append(ast.Return(self.give(duals, self.parts)))
