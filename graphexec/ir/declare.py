"""Reads and checks the declarations of ops; `graphexec.plugin` has the decorators."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from graphexec.errors import PluginError, did_you_mean
from graphexec.ir.op import Op, literal
from graphexec.ir.op_kinds import CompositeOp, ElementwiseOp, KernelOp, ReductionOp, ShapeOp, ViewOp
from graphexec.ir.spec import DTYPES, TensorSpec


class Declaration:
    """An op while its file is being read: call it like the op, or give it its backward rule."""

    def __init__(self, op: Op) -> None:
        self.op = op
        self.__doc__ = op.doc
        self.__name__ = op.name

    def __call__(self, *operands: Any, **keywords: Any) -> Any:
        return self.op(*operands, **keywords)

    def __repr__(self) -> str:
        return f"<op {self.op.name}{self.op.signature}>"

    def backward(self, function: Callable[..., Any]) -> Declaration:
        """The backward kernel. It names what it needs: ``d_out``, any input, any output, attributes.

        An elementwise backward returns one delta per floating input; an array kernel's takes ``d_<input>`` arrays
        last and fills them in. Deltas have the shape of the broadcast operands: the engine sums them back.
        """
        self._once()
        self.op.rules["backward"] = _backward_op(self.op, function)
        return self

    def gradient(self, function: Callable[..., Any]) -> Declaration:
        """The backward rule in terms of ops: takes graph values by name, returns one delta per floating input."""
        self._once()
        allowed = _rule_names(self.op)
        for p in inspect.signature(function).parameters.values():
            names = self.op.attributes if p.kind is p.KEYWORD_ONLY else allowed
            if p.name not in names and not (self.op.variadic and p.kind is p.VAR_POSITIONAL):
                _refuse(self.op, f"the gradient rule asks for {p.name!r}", p.name, [*allowed, *self.op.attributes])
        self.op.rules["gradient"] = function
        return self

    def decomposition(self, function: Callable[..., Any]) -> Declaration:
        """What an array kernel is made of, as ops: takes graph values by name, returns one value per output.

        The optimizer puts this in the kernel's place, after differentiation, where it can fuse with its neighbours.
        """
        if not isinstance(self.op, KernelOp):
            _refuse(self.op, "decomposition is for array kernels: composites are made of ops from the start")
        for p in inspect.signature(function).parameters.values():
            names = self.op.attributes if p.kind is p.KEYWORD_ONLY else self.op.inputs
            if p.name not in names:
                _refuse(self.op, f"decomposition asks for {p.name!r}", p.name, [*self.op.inputs, *self.op.attributes])
        self.op.rules["decomposition"] = function
        return self

    def _once(self) -> None:
        if not self.op.differentiable:
            _refuse(self.op, "it has a backward rule and says differentiable=False")
        if self.op.rules.keys() & {"backward", "gradient"}:
            _refuse(self.op, "it has two backward rules")


def elementwise(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Declare an elementwise op from a scalar function.

    Options: ``reference`` (the same in NumPy, on arrays), ``domain`` (where tests draw operands: ``(low, high)`` or a
    mapping by operand), ``kinds`` (of promoted operands: ``"f"``, ``"fi"``, ``"fib"``), ``types`` (fixed dtypes by
    operand or output name, such as ``{"condition": "bool"}``), ``outputs`` (names, when the function returns a
    tuple), ``updates`` (operands that the outputs overwrite in place), ``differentiable``, ``onnx``.

    *Raises* PluginError when the declaration is not sound.
    """
    allowed = ("reference", "domain", "kinds", "types", "outputs", "updates", "differentiable", "onnx", "commutative", "neutral",
               "identity_function", "involution", "sum_of_many", "shared_operand")  # fmt: skip
    return _declare(ElementwiseOp, function, options, allowed)


def reduction(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Declare a reduction from ``combine(accumulated, x)`` and its ``identity``.

    The engine adds the attributes ``axis=None`` and ``keepdims=False``, or, with ``shape_only=True``, a second operand to
    whose shape the first is reduced. The order of the sum is fixed by the shape, whatever the number of threads.
    """
    shape_only = options.pop("shape_only", False)

    def declare(function: Callable[..., Any]) -> Declaration:
        op = _declare(
            ReductionOp, function, options, ("identity", "reference", "domain", "kinds", "types", "differentiable", "onnx")
        ).op
        if len(op.inputs) != 2 or op.attributes:
            _refuse(op, "a reduction takes (accumulated, x) and nothing else")
        changes: dict[str, Any] = {"inputs": (op.inputs[1],), "attributes": {"axis": None, "keepdims": False}}
        if shape_only:
            changes = {"inputs": (op.inputs[1], "like"), "shape_only": frozenset({"like"})}
        return Declaration(replace(op, **changes))

    return declare if function is None else declare(function)


def kernel(signature: Any = None, **options: Any) -> Any:
    """Declare an op from a function of arrays: inputs first, then outputs to fill in, then attributes.

    ``signature`` is a NumPy gufunc signature such as ``"(m,k),(k,n)->(m,n)"``: leading axes are batch axes, looped by
    the engine. ``shape=rule`` instead gives a function of the operands' TensorSpecs and the attributes that returns
    the output's shape (or TensorSpec, or one per output); the kernel then sees whole arrays.

    Further options: ``shape_only`` (operands used for their shape alone, which the kernel does not take), ``strided``
    (operands that may come with any strides), ``outputs`` (names; default: those after the inputs in the signature),
    ``errors`` (``{status: message}`` for statuses that the kernel returns), ``parallel=True`` (the kernel takes
    ``piece, pieces`` last and does its share), ``scratch`` (bytes of scratch memory a thread, as an address before
    them), and those of :func:`elementwise`.
    """

    def declare(function: Callable[..., Any]) -> Declaration:
        return _declare_kernel(function, signature, options)

    if callable(signature):
        raise PluginError("@kernel needs a gufunc signature or shape=rule", op=signature.__name__, source=_place(signature))
    return declare


def view(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Declare an op that only looks at its input differently: ``function(x: View, *like specs, **attributes) -> View``.

    With ``ordered_after=True`` the output is there when the operands in ``shape_only`` are, not before.
    """
    allowed = ("reference", "domain", "differentiable", "onnx", "shape_only", "kinds", "ordered_after")
    return _declare(ViewOp, function, options, allowed)


def shape_value(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Declare a value that depends on shapes alone: ``function(*specs, **attributes) -> array``, differentiable nowhere.

    It is called with very large sizes too, while named dimensions are unbound: of an array as large as an operand, give
    a broadcast view (`np.broadcast_to`), not the array, or say ``shape=rule``, which is asked instead.
    """

    def declare(function: Callable[..., Any]) -> Declaration:
        options["differentiable"] = False
        declaration: Declaration = _declare(ShapeOp, function, options, ("reference", "domain", "differentiable", "onnx", "shape"))
        declaration.op.rules["gradient"] = lambda: ()  # it reads no elements, so nothing asks for a delta
        return declaration

    return declare if function is None else declare(function)


def composite(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Declare an op made of ops: the function takes graph values and attributes and returns graph values."""
    return _declare(CompositeOp, function, options, ("reference", "domain", "outputs", "differentiable", "onnx", "kinds", "types"))


# -- reading a declaration


def _declare(kind: type[Op], function: Callable[..., Any] | None, options: dict[str, Any], allowed: tuple[str, ...]) -> Any:
    if function is None:
        return lambda f: _declare(kind, f, options, allowed)
    inputs, optional, variadic, attributes = _parameters(function)
    unknown = [k for k in options if k not in allowed]
    fields = {k: v for k, v in options.items() if k in allowed}
    if kind is ViewOp or kind is ShapeOp:
        fields["kinds"] = "fib"
    if kind is ShapeOp:
        fields["shape_only"] = frozenset(inputs)
    elif kind is ViewOp and "shape_only" in fields:
        fields["shape_only"] = frozenset(fields["shape_only"])
    for key in ("outputs", "updates"):
        if key in fields:
            fields[key] = tuple(fields[key])
    op = kind(
        name=function.__name__, function=function, inputs=inputs, optional=optional, variadic=variadic,
        attributes=attributes, file=_place(function), doc=_doc(function), **fields,
    )
    if unknown:
        _refuse(op, f"unknown option {unknown[0]!r}", unknown[0], allowed)
    _check(op)
    return Declaration(op)


def _declare_kernel(function: Callable[..., Any], signature: Any, options: dict[str, Any]) -> Declaration:
    allowed = ("reference", "domain", "kinds", "types", "outputs", "updates", "differentiable", "onnx",
               "shape_only", "strided", "errors", "parallel", "scratch", "shape", "gemm", "concat", "scatters_slice")  # fmt: skip
    inputs, _, variadic, attributes = _parameters(function)
    shape_only = tuple(options.get("shape_only", ()))
    extra = ("scratch",) * bool(options.get("scratch")) + ("piece", "pieces") * bool(options.get("parallel"))
    names = list(inputs)
    draft = KernelOp(name=function.__name__, function=function, inputs=inputs, file=_place(function))
    for unknown in (k for k in options if k not in allowed):
        _refuse(draft, f"unknown option {unknown!r}", unknown, allowed)
    if (signature is None) == ("shape" not in options):
        _refuse(draft, "@kernel needs a gufunc signature or shape=rule, one of them")
    if extra and tuple(names[len(names) - len(extra) :]) != extra:
        _refuse(draft, f"its last parameters must be {', '.join(extra)}")
    names = names[: len(names) - len(extra)] if extra else names
    core = None if signature is None else _parse_signature(draft, signature)
    if variadic:
        outputs = tuple(options.get("outputs", ("out",)))
        taken: tuple[str, ...] = tuple(names)
        rest: list[str] = list(outputs)
    elif core is not None:
        count, results = core
        taken, rest = tuple(names[: len(count)]), names[len(count) :]
        if len(rest) != len(results):
            _refuse(
                draft, f"its signature {signature!r} has {len(results)} outputs and its function has {len(rest)}: {', '.join(rest)}"
            )
    else:
        outputs = tuple(options.get("outputs", ("out",)))
        taken, rest = tuple(n for n in names if n not in outputs), [n for n in names if n in outputs]
        if tuple(rest) != outputs or names != [*taken, *rest]:
            _refuse(draft, f"its function must take its inputs and then {', '.join(outputs)}")
    _refuse_unless(draft, not set(shape_only) & set(taken), "its kernel must not take operands that are there for their shape only")
    fields = {k: v for k, v in options.items() if k in allowed and k not in ("shape_only", "strided", "outputs", "updates")}
    op = KernelOp(
        name=function.__name__, function=function, inputs=(*taken, *shape_only), outputs=tuple(rest),
        shape_only=frozenset(shape_only),
        attributes=attributes, variadic=variadic, strided=frozenset(options.get("strided", ())),
        updates=tuple(options.get("updates", ())), core=None if core is None else (*core[0], *core[1]),
        file=_place(function), doc=_doc(function), **fields,
    )  # fmt: skip
    _check(op)
    return Declaration(op)


def _parameters(function: Callable[..., Any]) -> tuple[tuple[str, ...], frozenset[str], bool, dict[str, Any]]:
    """Operands, which of them are optional, whether there is any number of them, and attributes with defaults."""
    inputs, optional, variadic, attributes = [], set(), False, {}
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.KEYWORD_ONLY:
            attributes[p.name] = p.default if p.default is p.empty else literal(p.default, p.name, function.__name__)
        elif p.kind is p.VAR_KEYWORD:
            raise PluginError(
                "attributes must be named: **keywords cannot be checked", op=function.__name__, source=_place(function)
            )
        else:
            inputs.append(p.name)
            variadic = variadic or p.kind is p.VAR_POSITIONAL
            if p.default is None:
                optional.add(p.name)
    return tuple(inputs), frozenset(optional), variadic, attributes


def _parse_signature(op: Op, text: str) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    compact = re.sub(r"\s", "", text) if isinstance(text, str) else ""
    group = r"\((?:\w+(?:,\w+)*)?\)"
    if not re.fullmatch(rf"(?:{group}(?:,{group})*)?->{group}(?:,{group})*", compact):
        _refuse(op, f"{text!r} is not a gufunc signature such as '(m,k),(k,n)->(m,n)'")
    left, right = compact.split("->")
    sides = [tuple(tuple(a for a in g[1:-1].split(",") if a) for g in re.findall(group, side)) for side in (left, right)]
    known = {a for axes in sides[0] for a in axes}
    for axes in sides[1]:
        for a in axes:
            if a not in known and not a.isdigit():
                _refuse(op, f"axis {a!r} of an output stands in no input of {text!r}", a, known)
    return sides[0], sides[1]


def _backward_op(op: Op, function: Callable[..., Any]) -> Op:
    """The op of a backward node: operands are what the rule asks for, outputs the deltas of floating inputs."""
    names, _, _, attributes = _parameters(function)
    deltas = tuple(f"d_{p}" for p in op.differentiable_inputs)
    asked = names
    if isinstance(op, KernelOp):
        extra = ("scratch",) * bool(op.scratch) + ("piece", "pieces") * op.parallel
        if extra and names[-len(extra) :] == extra:
            names = names[: -len(extra)]
        asked, filled = names[: len(names) - len(deltas)], names[len(names) - len(deltas) :]
        if filled != deltas:
            _refuse(op, f"its backward kernel must take {', '.join(deltas)} last, to fill in", None, deltas)
    allowed = _rule_names(op)
    for name in asked:
        if name not in allowed:
            _refuse(op, f"its backward rule asks for {name!r}", name, allowed)
    for key in attributes:
        if key not in op.attributes:
            _refuse(op, f"its backward rule asks for the attribute {key!r}", key, tuple(op.attributes))
    types = (
        {f"d_{p}": t for p, t in op.types.items()} | dict(op.types) | {f"d_{o}": op.types[o] for o in op.outputs if o in op.types}
    )
    common: dict[str, Any] = {
        "name": f"{op.name}.backward", "function": function, "outputs": deltas, "types": types, "forward": op,
        "attributes": {k: op.attributes[k] for k in attributes}, "file": op.file, "doc": f"Backward rule of {op.name}.",
    }  # fmt: skip
    if isinstance(op, ElementwiseOp):
        return ElementwiseOp(inputs=asked, kinds="f", **common)
    if not isinstance(op, KernelOp):
        _refuse(op, f"a {op.kind} op takes a .gradient rule, not a backward kernel")
        raise AssertionError
    return _backward_kernel(op, asked, common)


def _backward_kernel(op: KernelOp, asked: tuple[str, ...], common: dict[str, Any]) -> Op:
    """A backward kernel sees its forward op's axes; an input it does not read is kept for its shape alone."""
    shares = op.parallel and "pieces" in inspect.signature(common["function"]).parameters
    common_options: dict[str, Any] = {"parallel": shares, "scratch": op.scratch, "errors": op.errors}
    missing = tuple(p for p in op.differentiable_inputs if p not in asked)
    if op.core is not None:
        axes = dict(zip((*op.inputs, *op.outputs), op.core, strict=True))
        core = tuple(axes[n.removeprefix("d_") if n not in axes else n] for n in asked)
        known = {a for group in core for a in group}
        missing = tuple(p for p in missing if not set(axes[p]) <= known)
        core += tuple(axes[p] for p in missing) + tuple(axes[p] for p in op.differentiable_inputs)
        return KernelOp(inputs=(*asked, *missing), shape_only=frozenset(missing), core=core, **common_options, **common)
    names = (*asked, *missing)

    def rule(*specs: TensorSpec, **attributes: Any) -> Any:
        by_name = dict(zip(names, specs, strict=True))
        found = [by_name[p] for p in op.differentiable_inputs]
        return found if len(found) > 1 else found[0]

    return KernelOp(inputs=names, shape_only=frozenset(missing), shape=rule, **common_options, **common)


def _rule_names(op: Op) -> tuple[str, ...]:
    return (*(f"d_{o}" for o in op.outputs), *op.inputs, *op.outputs)


def _check(op: Op) -> None:
    names = [*op.inputs, *op.outputs]
    for name in names:
        if name in op.attributes or (names.count(name) > 1 and name not in op.updates):
            _refuse(op, f"the name {name!r} stands for two things")
        if name in ("name", "piece", "pieces") or (name.startswith("d_") and op.name.find(".") < 0 and not op.updates):
            _refuse(op, f"a parameter cannot be called {name!r}")
    if "name" in op.attributes:
        _refuse(op, "an attribute cannot be called 'name'")
    for name, dtype in op.types.items():
        if name not in names:
            _refuse(op, f"types names {name!r}", name, names)
        if dtype not in DTYPES:
            _refuse(op, f"types gives {dtype!r}", dtype, list(DTYPES))
    for name in op.updates:
        if name not in op.inputs:
            _refuse(op, f"updates names {name!r}", name, op.inputs)
    for name in getattr(op, "strided", ()):
        if name not in op.inputs:
            _refuse(op, f"strided names {name!r}", name, op.inputs)
    if not op.inputs:
        _refuse(op, "it has no operand")
    if set(op.kinds) - set("fib"):
        _refuse(op, f"kinds={op.kinds!r} must be made of 'f', 'i' and 'b'")


def _refuse(op: Op, what: str, word: str | None = None, allowed: Any = ()) -> None:
    hint = did_you_mean(word, allowed) if word else ""
    raise PluginError(
        what, op=op.name, source=op.file or None,
        facts=[f"allowed names: {', '.join(allowed)}"] if allowed else [],
        todo=hint or "Correct the declaration.",
    )


def _refuse_unless(op: Op, sound: bool, what: str) -> None:
    if not sound:
        _refuse(op, what)


def _place(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""


def _doc(function: Callable[..., Any]) -> str:
    """The op's own docstring, or that of its file: one op, one file."""
    return inspect.cleandoc(function.__doc__ or function.__globals__.get("__doc__") or "")
