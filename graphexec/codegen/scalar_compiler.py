"""scalar_compiler: compiles the scalar function of an op to LLVM IR, without Numba.

It knows the part of Python that formulas are written in: numbers, operators, comparisons, conditional expressions and branches,
loops over a short range, `graphexec.math`, and helpers of these. Types are Numba's: an operation on a float32 and an integer is
one in float64, for example, and two integers give an int64. What it does not know it leaves to Numba, which takes a hundred times
as long: 0.1 s for each function, after half a second for its import.

The operations are those of Numba's code, and so are the results, but for the rounding of a sum of two products: LLVM fuses it with
the one or the other.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Sequence
from functools import partial
from inspect import isfunction
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

import graphexec.math as public
from graphexec.codegen.scalar_values import INT32, KINDS, PASSED, REAL, Typed, TypedBuilder, Unsupported, number
from graphexec.codegen.specialize import LITERAL, Specialized
from graphexec.llvm import toolchain

_LONGEST, _MOST_BLOCKS, _DEEPEST = 64, 200, 16
_ROUNDING = {np.ceil: "llvm.ceil", np.floor: "llvm.floor", np.rint: "llvm.rint", np.trunc: "llvm.trunc"}

class Compiled(NamedTuple):
    """IR of one function: ``i32 name(ptr result, ptr exception, arguments...)``, Numba's calling convention."""

    ir: str
    results: tuple[str, ...]
    """Element types of the results."""


Result = Typed | tuple[Typed, ...]
Variables = dict[str, Result]


def compile_scalar(
    function: Specialized, types: Sequence[str], element: str, name: str, specialized: Callable[[Any], Specialized | None]
) -> Compiled:
    """Compiles a function of numbers of given types; ``specialized`` gives the functions that it calls.

    *Raises* Unsupported for what only Numba can compile.
    """
    module = ir.Module()
    pointer = ir.PointerType()
    made = ir.Function(module, ir.FunctionType(ir.IntType(32), [pointer, pointer, *(PASSED[t] for t in types)]), name)
    for argument in made.args[:2]:
        argument.add_attribute("noalias")
    made.attributes.add("nounwind")
    builder = ir.IRBuilder(made.append_basic_block())
    names = [a.arg for a in [*function.tree.args.posonlyargs, *function.tree.args.args]]
    if len(names) != len(types):
        raise Unsupported("any number of operands")
    known: Variables = {n: _received(builder, t, a) for n, t, a in zip(names, types, made.args[2:], strict=True)}
    found = _Evaluation(builder, function, element, specialized).run(function.tree.body, known)
    results = found if isinstance(found, tuple) and not isinstance(found, Typed) else (found,)
    struct = ir.LiteralStructType([PASSED[r.type] for r in results])
    for k, result in enumerate(results):
        value = builder.zext(result.value, PASSED["bool"]) if result.type == "bool" else result.value
        place = builder.gep(made.args[0], [INT32(0), INT32(k)], inbounds=True, source_etype=struct)
        builder.store(value, place)
    builder.ret(ir.IntType(32)(0))
    return Compiled(toolchain.simplified(str(module), name), tuple(r.type for r in results))


def _received(builder: Any, dtype: str, argument: Any) -> Typed:
    return Typed(dtype, builder.trunc(argument, KINDS["bool"]) if dtype == "bool" else argument)


class _Evaluation:
    """Runs a function on typed values, and emits an instruction for each operation."""

    def __init__(
        self, builder: Any, function: Specialized, element: str, specialized: Callable[[Any], Specialized | None], depth: int = 0
    ) -> None:
        self.builder, self.namespace, self.element = builder, function.namespace, element
        self.specialized, self.depth, self.typed = specialized, depth, TypedBuilder(builder)
        self.locals = {n.id for n in ast.walk(function.tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}

    def run(self, body: Sequence[ast.stmt], variables: Variables) -> Result:
        """Returns the results. *Raises* Unsupported."""
        found = self._block(body, dict(variables))
        if found is None:
            raise Unsupported("a function that returns nothing")
        return found

    # -- statements

    def _block(self, body: Sequence[ast.stmt], known: Variables) -> Result | None:
        """Runs statements; the results if they return, else None."""
        for k, node in enumerate(body):
            match node:
                case ast.Return(value=ast.expr() as value):
                    return self._expression(value, known)
                case ast.If(test=test) if any(isinstance(n, ast.Return) for n in ast.walk(node)):
                    rest = body[k + 1 :]
                    sides = [partial(self.run, [*side, *rest], known) for side in (node.body, node.orelse)]
                    return self._either(self.typed.truth(self._one(test, known)), *sides)
                case ast.If():
                    self._if(node, known)
                case ast.For():
                    self._for(node, known)
                case ast.Assign(targets=targets, value=value):
                    found = self._expression(value, known)
                    for target in targets:
                        _bind(target, found, known)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    _bind(target, self._expression(value, known), known)
                case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                    given = ast.BinOp(ast.Name(name, ast.Load()), op, value)
                    _bind(target, self._expression(given, known), known)
                case ast.Pass() | ast.AnnAssign(value=None) | ast.Expr(value=ast.Constant()):
                    pass
                case _:
                    raise Unsupported(ast.unparse(node))
        return None

    def _if(self, node: ast.If, known: Variables) -> None:
        left, right = dict(known), dict(known)
        test = self.typed.truth(self._one(node.test, known))
        ends, merge = self._sides(test, lambda: self._block(node.body, left), lambda: self._block(node.orelse, right))
        known.clear()  # a variable of one side alone cannot be read afterwards
        known.update({n: self._joined(left[n], right[n], ends, merge) for n in left if n in right})

    def _for(self, node: ast.For, known: Variables) -> None:
        inside = [n for statement in node.body for n in ast.walk(statement)]
        if not isinstance(node.target, ast.Name) or node.orelse:
            raise Unsupported("a loop")
        if any(isinstance(n, (ast.Return, ast.Break, ast.Continue)) for n in inside):
            raise Unsupported("a loop that ends early")
        if not isinstance(node.iter, ast.Call) or self._object(node.iter.func, known) is not range:
            raise Unsupported("a loop")
        bounds = [_whole(a) for a in node.iter.args]
        if 0 in bounds[2:] or len(range(*bounds)) > _LONGEST:
            raise Unsupported("a long loop")
        for k in range(*bounds):
            known[node.target.id] = number("int64", k)
            self._block(node.body, known)

    # -- branches

    def _either(self, test: Typed, one: Callable[[], Result], other: Callable[[], Result]) -> Result:
        """The result of one side or of the other; each is computed only where it is wanted."""
        found: list[Result] = []
        ends, merge = self._sides(test, lambda: found.append(one()), lambda: found.append(other()))
        return self._joined(found[0], found[1], ends, merge)

    def _sides(self, test: Typed, one: Callable[[], Any], other: Callable[[], Any]) -> tuple[list[Any], Any]:
        """Emits a branch; gives the blocks in which its sides end, and the one where they meet, in which the builder now is."""
        function = self.builder.function
        if len(function.blocks) > _MOST_BLOCKS:
            raise Unsupported("many branches")
        starts = [function.append_basic_block() for _ in range(2)]
        self.builder.cbranch(test.value, *starts)
        ends = []
        for start, side in zip(starts, (one, other), strict=True):
            self.builder.position_at_end(start)
            side()
            ends.append(self.builder.block)
        merge = function.append_basic_block()
        for end in ends:
            self.builder.position_at_end(end)
            self.builder.branch(merge)
        self.builder.position_at_end(merge)
        return ends, merge

    def _joined(self, a: Result, b: Result, ends: Sequence[Any], merge: Any) -> Result:
        if isinstance(a, Typed) and isinstance(b, Typed):
            return self.typed.meeting((a, b), ends, merge)
        if isinstance(a, Typed) or isinstance(b, Typed) or len(a) != len(b):
            raise Unsupported("a number or several")
        return tuple(self.typed.meeting(pair, ends, merge) for pair in zip(a, b, strict=True))

    # -- expressions

    def _one(self, node: ast.expr, known: Variables) -> Typed:
        found = self._expression(node, known)
        if not isinstance(found, Typed):
            raise Unsupported(ast.unparse(node))
        return found

    def _expression(self, node: ast.expr, known: Variables) -> Result:
        match node:
            case ast.Constant(value=bool() as value):
                return number("bool", value)
            case ast.Constant(value=int() as value):
                return number("int64", value)
            case ast.Name(id=name) if name in known:
                return known[name]
            case ast.Name() | ast.Attribute():
                return self._global(self._object(node, known))
            case ast.Tuple(elts=parts):
                return tuple(self._one(p, known) for p in parts)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self.typed.power(self._one(left, known), _whole(right))
            case ast.BinOp(left=left, op=op, right=right):
                return self.typed.binary(type(op), self._one(left, known), self._one(right, known))
            case ast.UnaryOp(op=op, operand=operand):
                return self.typed.unary(op, self._one(operand, known))
            case ast.BoolOp(op=op, values=values):
                return self.typed.connected(op, [self._one(v, known) for v in values])
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self.typed.compared([self._one(v, known) for v in (left, *others)], ops)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                sides = (lambda: self._expression(body, known), lambda: self._expression(orelse, known))
                return self._either(self.typed.truth(self._one(test, known)), *sides)
            case ast.Call(func=func, args=args, keywords=[]):
                return self._call(func, args, known)
        raise Unsupported(ast.unparse(node))

    def _object(self, node: ast.expr, known: Variables) -> Any:
        """The object that a global name, or an attribute of one, refers to."""
        match node:
            case ast.Attribute(value=value, attr=attribute):
                found = getattr(self._object(value, known), attribute, None)
            case ast.Name(id=name) if name not in known and name not in self.locals:
                found = self.namespace.get(name, getattr(builtins, name, None))
            case _:
                found = None
        if found is None:
            raise Unsupported(ast.unparse(node))
        return found

    @staticmethod
    def _global(value: Any) -> Typed:
        kinds = {bool: "bool", int: "int64", float: "float64"}
        if type(value) not in kinds:
            raise Unsupported(repr(value))
        return number(kinds[type(value)], value)

    # -- calls

    def _call(self, func: ast.expr, args: Sequence[ast.expr], known: Variables) -> Result:
        if isinstance(func, ast.Name) and func.id == LITERAL:
            return number(self.element, _literal(args[0]))
        function = self._object(func, known)
        if not all(isinstance(a, ast.expr) and not isinstance(a, ast.Starred) for a in args):
            raise Unsupported(ast.unparse(func))
        given = [self._one(a, known) for a in args]
        if isfunction(function) and function.__module__ == public.__name__:
            return self.typed.math(function, given)
        if function in _ROUNDING and len(given) == 1 and given[0].type in REAL:
            return self.typed.intrinsic(_ROUNDING[function], given[0])
        if function is abs and len(given) == 1:
            return self.typed.magnitude(given[0])
        if function in (min, max) and len(given) > 1:
            return self.typed.extreme(">" if function is max else "<", given)
        if function is float and len(given) == 1:
            return given[0] if given[0].type in REAL else self.typed.converted(given[0], "float64")
        if not isfunction(function):
            raise Unsupported(repr(function))
        return self._helper(function, given)

    def _helper(self, function: Any, given: Sequence[Typed]) -> Result:
        made = self.specialized(function) if self.depth < _DEEPEST else None
        if made is None:
            raise Unsupported(function.__name__)
        names = [a.arg for a in [*made.tree.args.posonlyargs, *made.tree.args.args]]
        if len(names) != len(given):
            raise Unsupported(f"arguments of {function.__name__}")
        inner = _Evaluation(self.builder, made, self.element, self.specialized, self.depth + 1)
        return inner.run(made.tree.body, dict(zip(names, given, strict=True)))


def _bind(target: ast.expr, found: Result, known: Variables) -> None:
    match target:
        case ast.Name():
            known[target.id] = found
        case ast.Tuple() if not isinstance(found, Typed) and len(target.elts) == len(found):
            for name, value in zip(target.elts, found, strict=True):
                _bind(name, value, known)
        case _:
            raise Unsupported(ast.unparse(target))


def _literal(node: ast.expr) -> float:
    """The number in a literal of the element type."""
    try:
        return ast.literal_eval(node)  # type: ignore[no-any-return]
    except ValueError:
        raise Unsupported(ast.unparse(node)) from None


def _whole(node: ast.expr) -> int:
    """A whole number that is written as one."""
    value = _literal(node)
    if type(value) is not int:
        raise Unsupported(ast.unparse(node))
    return value
