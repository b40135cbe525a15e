"""Declares ops: turns a function and the options of its decorator (see `decorators`) into an op."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from graphexec.abi import ALIGNMENT
from graphexec.ir.attributes import TRUTH, Axes, declared_type
from graphexec.ir.backward_rule import backward_op, rule_names
from graphexec.ir.declaration_checks import Function, check, place, refuse, refuse_unknown_options, refuse_unless
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ReductionOp, ShapeOp, ViewOp
from graphexec.ir.parameters import CoreAxes, doc_of, engine_parameters, optional_axes, parse_signature, read_parameters

Options = Mapping[str, Any]


class Declaration:
    """An op under declaration: call it like the op, or give it rules."""

    def __init__(self, op: Op) -> None:
        self.op = op
        self.__doc__ = op.doc
        self.__name__ = op.name

    def __call__(self, *operands: Any, name: str | None = None, **keywords: Any) -> Any:
        """On graph values, adds a node and returns its value; on arrays, computes immediately."""
        return self.op(*operands, name=name, **keywords)

    def __reduce__(self) -> tuple[Any, ...]:
        return Declaration, (self.op,)

    def __repr__(self) -> str:
        return f"<op {self.op.name}{self.op.signature}>"

    def backward(self, function: Function) -> Declaration:
        """Give the backward kernel. Its parameters name the values it needs: ``d_out``, any input, any output, attributes.

        The backward function of an elementwise op returns one delta for each floating input; that of an array kernel takes
        ``d_<input>`` arrays last and writes them. Deltas have the shape of the broadcast operands; the engine sums them
        back to the shape of each operand.

        *Raises* PluginError for a name that the op does not have, and for a second rule.
        """
        self._refuse_second_rule()
        self.op.rules.backward = backward_op(self.op, function)
        return self

    def gradient(self, function: Function) -> Declaration:
        """Give the backward rule as a function of graph values, taken by name, that returns one delta per floating input.

        *Raises* PluginError for a name that the op does not have, and for a second rule.
        """
        self._refuse_second_rule()
        allowed = rule_names(self.op)
        for p in inspect.signature(function).parameters.values():
            names = self.op.attributes if p.kind is p.KEYWORD_ONLY else allowed
            if p.name not in names and not (self.op.variadic and p.kind is p.VAR_POSITIONAL):
                refuse(self.op, f"the gradient rule asks for {p.name!r}", p.name, [*allowed, *self.op.attributes])
        self.op.rules.gradient = function
        return self

    def decomposition(self, function: Function) -> Declaration:
        """Give the ops that an array kernel consists of: a function of graph values that returns one value per output.

        After differentiation the optimizer replaces the kernel by these ops, which can fuse with their neighbours.

        *Raises* PluginError for a name that the op does not have, and for an op that is not an array kernel.
        """
        if not isinstance(self.op, KernelOp):
            refuse(self.op, "decomposition needs an array kernel: a composite already consists of ops")
        for p in inspect.signature(function).parameters.values():
            names = self.op.attributes if p.kind is p.KEYWORD_ONLY else self.op.inputs
            if p.name not in names:
                refuse(self.op, f"decomposition asks for {p.name!r}", p.name, [*self.op.inputs, *self.op.attributes])
        self.op.rules.decomposition = function
        return self

    if not TYPE_CHECKING:  # a type checker would otherwise accept any name

        def __getattr__(self, name: str) -> NoReturn:
            if name == "made_of" and "op" in vars(self):
                refuse(self.op, "@op.made_of is now called @op.decomposition", todo="Write decomposition in place of made_of.")
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def _refuse_second_rule(self) -> None:
        refuse_unless(self.op, self.op.differentiable, "it has a backward rule and sets differentiable=False")
        refuse_unless(self.op, not self.op.rules.differentiates, "it has two backward rules")


def declare(op_type: type[Op], function: Function, options: Options, allowed: Sequence[str]) -> Declaration:
    """Declares an op of a class; its operands are the function's positional parameters."""
    inputs, optional, variadic, attributes, kinds = read_parameters(function)
    fields = {k: v for k, v in options.items() if k in allowed}
    if op_type is ViewOp:
        fields.setdefault("kinds", "fib")
        fields["shape_only"] = frozenset(fields.get("shape_only", ()))
    if op_type is ShapeOp:
        fields |= {"kinds": "fib", "shape_only": frozenset(inputs), "differentiable": False}
    fields |= {key: tuple(fields[key]) for key in ("outputs", "updates") if key in fields}
    op = op_type(
        name=function.__name__, function=function, inputs=inputs, optional=optional, variadic=variadic,
        attributes=attributes, attribute_types=kinds, file=place(function), doc=doc_of(function), **fields,
    )
    refuse_unknown_options(op, options, allowed)
    check(op)
    return Declaration(op)


def declare_reduction(function: Function, options: Options, allowed: Sequence[str]) -> Declaration:
    """Declares a reduction of one operand, with attributes ``axis`` and ``keepdims`` or an operand that gives the target shape."""
    given = {k: v for k, v in options.items() if k != "shape_only"}
    op = declare(ReductionOp, function, given, allowed).op
    if len(op.inputs) != 2 or op.attributes:
        refuse(op, "a reduction takes (accumulated, x) and nothing else")
    if options.get("shape_only", False):
        return Declaration(replace(op, inputs=(op.inputs[1], "like"), shape_only=frozenset({"like"})))
    kinds = {"axis": declared_type(Axes, None), "keepdims": TRUTH}
    return Declaration(replace(op, inputs=(op.inputs[1],), attributes={"axis": None, "keepdims": False}, attribute_types=kinds))


def declare_kernel(function: Function, signature: str | None, options: Options, allowed: Sequence[str]) -> Declaration:
    """Declares an array kernel: inputs, outputs to write, then parameters that the engine supplies."""
    names, _, variadic, attributes, kinds = read_parameters(function)
    draft = KernelOp(name=function.__name__, function=function, inputs=names, variadic=variadic, file=place(function))
    refuse_unknown_options(draft, options, allowed)
    if (signature is None) == ("shape" not in options):
        refuse(draft, "@kernel needs either a gufunc signature or shape=rule")
    core = None if signature is None else parse_signature(draft, signature)
    inputs, outputs = _split(draft, _own_parameters(draft, options), core, signature, options)
    shape_only = tuple(options.get("shape_only", ()))
    refuse_unless(draft, not set(shape_only) & set(inputs), "its kernel must not take operands that are used only for their shape")
    fields = {k: v for k, v in options.items() if k not in ("shape_only", "strided", "outputs", "updates", "rows")}
    fields["scratch"] = _whole_lines(draft, options.get("scratch", 0))
    op = KernelOp(
        name=function.__name__, function=function, inputs=(*inputs, *shape_only), outputs=outputs,
        shape_only=frozenset(shape_only), attributes=attributes, attribute_types=kinds, variadic=variadic,
        strided=frozenset(options.get("strided", ())), rows=_rows(options),
        updates=tuple(options.get("updates", ())), core=None if core is None else (*core[0], *core[1]),
        may_lack=optional_axes(signature or ""), file=place(function), doc=doc_of(function), **fields,
    )  # fmt: skip
    check(op)
    return Declaration(op)


def _whole_lines(draft: KernelOp, scratch: Any) -> int:
    """The bytes of scratch memory, rounded up so that the part of every thread starts on a cache line."""
    refuse_unless(draft, type(scratch) is int and scratch >= 0, f"scratch={scratch!r} is not a number of bytes")
    return -int(-scratch // ALIGNMENT) * ALIGNMENT


def _rows(options: Options) -> Any:
    rows = options.get("rows", ())
    return rows if callable(rows) else frozenset(rows)


def _own_parameters(draft: KernelOp, options: Options) -> tuple[str, ...]:
    """The kernel's parameters without those that the engine supplies."""
    extra = engine_parameters(options.get("scratch"), options.get("parallel"))
    cut = len(draft.inputs) - len(extra)
    refuse_unless(draft, draft.inputs[max(cut, 0) :] == extra, f"its last parameters must be {', '.join(extra)}")
    return draft.inputs[:cut]


def _split(
    draft: KernelOp, names: tuple[str, ...], core: tuple[tuple[CoreAxes, ...], tuple[CoreAxes, ...]] | None, signature: str | None,
    options: Options,
) -> tuple[tuple[str, ...], tuple[str, ...]]:  # fmt: skip
    """Splits a kernel's parameters into inputs and outputs."""
    outputs = tuple(options.get("outputs", ("out",)))
    if draft.variadic:
        return names, outputs
    if core is not None:
        inputs, filled = names[: len(core[0])], names[len(core[0]) :]
        if len(filled) != len(core[1]):
            counts = f"{len(core[1])} outputs and its function has {len(filled)}: {', '.join(filled)}"
            refuse(draft, f"its signature {signature!r} has {counts}")
        return inputs, filled
    cut = len(names) - len(outputs)
    if names[cut:] != outputs or set(names[:cut]) & set(outputs):
        refuse(draft, f"its function must take its inputs and then {', '.join(outputs)}")
    return names[:cut], outputs
