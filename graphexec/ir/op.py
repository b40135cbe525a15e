"""What an op is: its operands, attributes, shape rule, kernels and backward rule. `plugin.py` declares them.

An op is a constant: nothing of a run is kept on it. There are six kinds, by what the engine is told:

    ElementwiseOp   a scalar function; the engine owns loops, broadcasting and fusion
    ReductionOp     a scalar function that combines two elements, and its identity
    KernelOp        a function of whole arrays, with a gufunc signature or a shape rule
    ViewOp          the input's memory with other sizes and strides
    ShapeOp         a value that depends on shapes alone, computed while planning
    CompositeOp     a function of graph values: an op made of ops
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from graphexec.errors import DtypeError, OpError, ShapeError, did_you_mean
from graphexec.ir.keys import exactly
from graphexec.ir.spec import DTYPES, KIND_NAMES, Size, TensorSpec, broadcast, check_dtype, promote, shape_text
from graphexec.ir.view import View

REQUIRED: Any = inspect.Parameter.empty
"""Stands for the default of an attribute that has none."""

Attributes = Mapping[str, Any]
Specs = Sequence[TensorSpec | None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """An op. Compared by identity; found by name in the registry."""

    kind: ClassVar[str] = ""

    name: str
    function: Callable[..., Any]
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("out",)
    variadic: bool = False
    optional: frozenset[str] = frozenset()
    shape_only: frozenset[str] = frozenset()
    """Operands of which only the shape is used; their memory may be gone."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Element types of operands and outputs that do not follow the others."""
    kinds: str = "f"
    """Which kinds of element the promoted operands may have: f(loating), i(nteger), b(ool)."""
    updates: tuple[str, ...] = ()
    """Operands that the outputs overwrite, in the order of the outputs."""
    reference: Callable[..., Any] | None = None
    domain: Any = None
    onnx: str | None = None
    differentiable: bool = True
    errors: Mapping[int, str] = field(default_factory=dict)
    file: str = ""
    doc: str = ""
    rules: dict[str, Any] = field(default_factory=dict)
    """The backward rule, filled in while the op's file loads: "backward" (an Op) or "gradient" (a function)."""
    forward: Op | None = None
    """For a backward op: the op that it belongs to."""

    # -- calling

    def __call__(self, *operands: Any, name: str | None = None, **keywords: Any) -> Any:
        """On graph values: adds a node and returns its value. On arrays: computes at once."""
        bound, attributes = self.bind(operands, keywords)
        for operand in bound:
            apply = getattr(type(operand), "apply_op", None)
            if apply is not None:
                return apply(self, bound, attributes, name)
        return EAGER_HOOKS.compute(self, bound, attributes)

    def bind(self, operands: Sequence[Any], keywords: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Operands in their slots, and the checked attributes, from the arguments of a call."""
        bound, given = list(operands), dict(keywords)
        if given and not self.variadic:
            for slot, parameter in enumerate(self.inputs):
                if parameter in given:
                    if slot < len(bound):
                        raise OpError(f"operand {parameter!r} is given twice", op=self.name)
                    bound.extend([None] * (slot - len(bound)))
                    bound.append(given.pop(parameter))
        self.check_operands([b is not None for b in bound])
        while bound and bound[-1] is None:
            bound.pop()
        return tuple(bound), self.check_attributes(given)

    def check_operands(self, present: Sequence[bool]) -> None:
        """*Raises* OpError when an operand is missing or one too many is given."""
        if all(present) and (bool(present) if self.variadic else len(present) == len(self.inputs)):
            return
        least = 1 if self.variadic else len(self.inputs) - len(self.optional)
        most = None if self.variadic else len(self.inputs)
        missing = [p for p, there in zip(self.inputs, present, strict=False) if not there and p not in self.optional]
        missing += [p for p in self.inputs[len(present) :] if p not in self.optional]
        if missing or len(present) < least or (most is not None and len(present) > most):
            what = f"operand {missing[0]!r} is missing" if missing else f"{len(present)} operands are given"
            raise OpError(what, op=self.name, facts=[f"{self.name} takes {self.signature}"], todo="Give each operand once.")

    def check_attributes(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes with defaults filled in. *Raises* OpError for one that is unknown, missing or no literal."""
        for key in given:
            if key not in self.attributes:
                raise OpError(
                    f"unknown attribute {key!r}" + _hint(key, self.attributes),
                    op=self.name, facts=[f"{self.name} takes {self.signature}"],
                    todo="Leave it out." if not self.attributes else f"Use one of: {', '.join(self.attributes)}.",
                )
        attributes = {}
        for key, default in self.attributes.items():
            value = given.get(key, default)
            if value is REQUIRED:
                raise OpError(
                    f"attribute {key!r} is missing", op=self.name, facts=[f"{self.name} takes {self.signature}"],
                    todo=f"Give {key}=...",
                )
            value = literal(value, key, self.name)
            attributes[key] = float(value) if isinstance(default, float) and type(value) is int else value
        return attributes

    def non_defaults(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes that differ from their defaults: what is worth writing down."""
        return {k: v for k, v in attributes.items() if exactly(v) != exactly(self.attributes[k])}

    @property
    def signature(self) -> str:
        """How a call looks: ``(x, *, beta=1.0)``."""
        parts = [f"*{p}" if self.variadic else f"{p}=None" if p in self.optional else p for p in self.inputs]
        if self.attributes:
            parts += [] if self.variadic else ["*"]
            parts += [k if d is REQUIRED else f"{k}={d!r}" for k, d in self.attributes.items()]
        return f"({', '.join(parts)})"

    def input_name(self, slot: int) -> str:
        return f"{self.inputs[0]}[{slot}]" if self.variadic else self.inputs[slot]

    # -- backward rules

    @property
    def backward_op(self) -> Op | None:
        return self.rules.get("backward")

    @property
    def gradient_rule(self) -> Callable[..., Any] | None:
        return self.rules.get("gradient")

    @property
    def differentiable_inputs(self) -> tuple[str, ...]:
        """Inputs that a delta flows to: floating ones that are not there for their shape only."""
        return tuple(p for p in self.inputs if p not in self.shape_only and DTYPES[self.types.get(p, "float32")] == "f")

    # -- shapes and types

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        """Shape and dtype of every output. *Raises* ShapeError, DtypeError, OpError."""
        raise NotImplementedError

    def evaluate(self, arrays: Sequence[Any], attributes: Attributes, specs: Specs | None = None) -> tuple[np.ndarray, ...]:
        """The slow path: the outputs by NumPy and un-jitted code; the meaning of the op.

        Attributes that name dimensions need ``specs``, the operands' shapes with their names.
        """
        specs = [None if a is None else array_spec(a) for a in arrays] if specs is None else specs
        outputs = self.infer(specs, attributes)
        with np.errstate(all="ignore"):  # kernels do not warn either
            results = self.evaluate_plain(arrays, attributes, outputs)
        return tuple(np.asarray(r, dtype=s.dtype).reshape(s.shape) for r, s in zip(results, outputs, strict=True))

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        assert self.reference is not None
        result = self.reference(*arrays, **attributes)
        return result if len(self.outputs) > 1 else (result,)

    def promoted(self, specs: Specs) -> str:
        """The element type in which the op works: the common one of operands that have no fixed type."""
        free = []
        for slot, spec in enumerate(specs):
            parameter = self.inputs[0 if self.variadic else slot]
            if spec is None or parameter in self.shape_only:
                continue
            fixed = self.types.get(parameter)
            if fixed is None:
                free.append(spec.dtype)
            elif fixed != spec.dtype and not (DTYPES[fixed] == "i" and DTYPES[spec.dtype] == "i"):
                raise DtypeError(
                    f"operand {parameter!r} is {spec.dtype}, not {fixed}", op=self.name,
                    todo=f"Convert it with cast({parameter}, dtype={fixed!r}).",
                )
        if not free:
            return "float32"
        dtype = promote(free)
        if DTYPES[dtype] not in self.kinds:
            allowed = " or ".join(KIND_NAMES[k] for k in self.kinds)
            raise DtypeError(f"{self.name} does not take {dtype}", op=self.name, todo=f"Operands must be {allowed}: use cast.")
        return dtype

    def output_type(self, output: str, dtype: str) -> str:
        return self.types.get(output, dtype)


@dataclass(frozen=True, eq=False, kw_only=True)
class ElementwiseOp(Op):
    """A scalar function applied to every element of its broadcast operands."""

    kind: ClassVar[str] = "elementwise"

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        dtype = self.promoted(specs)
        shape = broadcast([s.shape for s in specs if s is not None])
        if "dtype" in attributes and attributes["dtype"] is not None:
            return (TensorSpec(shape, check_dtype(attributes["dtype"])),)
        return tuple(TensorSpec(shape, self.output_type(o, dtype)) for o in self.outputs)

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        if self.reference is not None:
            result = self.reference(*arrays, **attributes)
        else:
            result = self.call_plain(arrays, attributes, outputs)
        results = result if len(self.outputs) > 1 else (result,)
        return [np.broadcast_to(r, s.shape) for r, s in zip(results, outputs, strict=True)]

    def call_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec] | None = None) -> Any:
        """The scalar function, un-jitted, on whole arrays, or element by element where it branches."""
        specs = outputs or self.infer([array_spec(a) for a in arrays], attributes)
        with np.errstate(all="ignore"):
            try:
                return self.function(*arrays, **attributes)
            except (ValueError, TypeError):  # "the truth value of an array is ambiguous"
                lifted = np.vectorize(lambda *scalars: self.function(*scalars, **attributes), otypes=[s.dtype for s in specs])
                return lifted(*arrays)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReductionOp(Op):
    """Combines the elements along axes; ``function(accumulated, x)`` and its identity."""

    kind: ClassVar[str] = "reduction"

    identity: float = 0.0

    def axes(self, specs: Specs, attributes: Attributes) -> tuple[int, ...]:
        """The reduced axes, counted from 0, ascending."""
        x = specs[0]
        assert x is not None
        if self.shape_only:
            target = specs[1]
            assert target is not None
            lead = x.ndim - target.ndim
            kept = {lead + a for a, n in enumerate(target.shape) if n == x.shape[lead + a]} if lead >= 0 else set()
            if lead < 0 or any(lead + a not in kept and n != 1 for a, n in enumerate(target.shape)):
                raise ShapeError(f"{shape_text(x.shape)} does not sum to {shape_text(target.shape)}", op=self.name)
            return tuple(a for a in range(x.ndim) if a not in kept)
        return normalize_axes(attributes["axis"], x.ndim, self.name)

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        x = specs[0]
        assert x is not None
        dtype = self.promoted(specs)
        axes = self.axes(specs, attributes)
        if self.shape_only:
            assert specs[1] is not None
            shape = specs[1].shape
        elif attributes["keepdims"]:
            shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
        else:
            shape = tuple(n for a, n in enumerate(x.shape) if a not in axes)
        return (TensorSpec(shape, self.output_type("out", dtype)),)

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        assert self.reference is not None
        if self.shape_only:
            axes = self.axes([array_spec(a) for a in arrays], attributes)
            return (self.reference(arrays[0], axis=axes),)
        return (self.reference(arrays[0], **attributes),)

    def identity_of(self, dtype: str) -> float | int:
        """The neutral element; an infinite one becomes the end of an integer type's range."""
        if DTYPES[dtype] == "i" and np.isinf(self.identity):
            info = np.iinfo(dtype)
            return int(info.min if self.identity < 0 else info.max)
        return self.identity


@dataclass(frozen=True, eq=False, kw_only=True)
class KernelOp(Op):
    """A function of whole arrays, outputs to fill in last."""

    kind: ClassVar[str] = "kernel"

    core: tuple[tuple[str, ...], ...] | None = None
    """The gufunc signature: core axes of inputs, then of outputs."""
    shape: Callable[..., Any] | None = None
    strided: frozenset[str] = frozenset()
    """Operands that the kernel reads through their strides; others are made contiguous first."""
    parallel: bool = False
    """The kernel takes (piece, pieces) last and does its share of the work: all threads call it."""
    scratch: int = 0
    """Bytes of scratch memory that the kernel wants for each thread, as an address before (piece, pieces)."""

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        dtype = self.promoted(specs)
        if self.core is None:
            return self._from_rule(specs, attributes, dtype)
        sizes, batch = self.bind_core(specs)
        if "axis" in attributes:  # the engine moves it to the end, and must know that it is there
            normalize_axes(attributes["axis"], len(batch) + len(self.core[0]), self.name)
        shapes = [batch + tuple(self._size(sizes, n) for n in axes) for axes in self.core[len(self.inputs) :]]
        return tuple(TensorSpec(s, self.output_type(o, dtype)) for s, o in zip(shapes, self.outputs, strict=True))

    def _size(self, sizes: Mapping[str, int], name: str) -> int:
        return int(name) if name.isdigit() else sizes[name]

    def bind_core(self, specs: Specs) -> tuple[dict[str, int], tuple[int, ...]]:
        """Sizes of the signature's axes, and the broadcast leading shape. *Raises* ShapeError."""
        assert self.core is not None
        sizes: dict[str, int] = {}
        owner: dict[str, str] = {}
        batches: list[tuple[int, ...]] = [()]
        for slot, (axes, spec) in enumerate(zip(self.core, specs, strict=False)):
            if spec is None:
                continue
            parameter = self.input_name(slot)
            if spec.ndim < len(axes):
                raise ShapeError(
                    f"operand {parameter!r} needs at least {len(axes)} axes ({', '.join(axes)}), not {spec.ndim}",
                    op=self.name, todo="Reshape it.",
                )
            cut = spec.ndim - len(axes)
            batches.append(spec.shape[:cut])
            for axis, (letter, n) in enumerate(zip(axes, spec.shape[cut:], strict=True)):
                if sizes.setdefault(letter, n) != n:
                    raise ShapeError(
                        f"inner dimensions differ: {letter} is {sizes[letter]} in {owner[letter]!r} and {n} in {parameter!r}",
                        op=self.name, facts=[f"signature {self.signature_text}"],
                        todo=f"Axis {axis - len(axes)} of {parameter!r} ({n}) must equal {sizes[letter]}.",
                    )
                owner.setdefault(letter, parameter)
        return sizes, broadcast(batches)

    @property
    def signature_text(self) -> str:
        assert self.core is not None
        parts = [f"({','.join(axes)})" for axes in self.core]
        return ",".join(parts[: len(self.inputs)]) + "->" + ",".join(parts[len(self.inputs) :])

    def _from_rule(self, specs: Specs, attributes: Attributes, dtype: str) -> tuple[TensorSpec, ...]:
        assert self.shape is not None
        result = self.shape(*specs, **attributes)
        results = [result] if len(self.outputs) == 1 else list(result)
        if len(results) != len(self.outputs):
            raise OpError(f"the shape rule gives {len(results)} shapes for {len(self.outputs)} outputs", op=self.name)
        return tuple(
            r if isinstance(r, TensorSpec) else TensorSpec(tuple(r), self.output_type(o, dtype))
            for r, o in zip(results, self.outputs, strict=True)
        )

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        if self.reference is not None:
            return Op.evaluate_plain(self, arrays, attributes, outputs)
        return self.call_plain(arrays, attributes, outputs)

    def call_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> list[np.ndarray]:
        """The kernel, un-jitted, once for each index of the leading axes."""
        results = [np.empty(s.shape, s.dtype) for s in outputs]
        if self.variadic or self.core is None:
            keep = [a for p, a in zip(self.inputs, arrays, strict=False) if p not in self.shape_only]
            operands = list(arrays) if self.variadic else keep
            self._call([*operands, *results], attributes)
            return results
        _, batch = self.bind_core([None if a is None else array_spec(a) for a in arrays])
        lifted: list[np.ndarray] = []
        for axes, array in zip(self.core, [*arrays, *results], strict=True):
            array = np.asarray(array)
            core = array.shape[array.ndim - len(axes) :]
            lifted.append(np.broadcast_to(array, batch + core) if len(lifted) < len(arrays) else array)
        shape = tuple(int(n) for n in batch)
        wanted = [i for i in range(len(lifted)) if i >= len(arrays) or self.inputs[i] not in self.shape_only]
        for index in np.ndindex(shape):
            self._call([lifted[i][index] if lifted[i].ndim > len(index) else lifted[i][(*index, ...)] for i in wanted], attributes)
        return results

    def _call(self, arrays: list[Any], attributes: Attributes) -> None:
        extra = ([0] if self.scratch else []) + ([0, 1] if self.parallel else [])
        with np.errstate(all="ignore"):
            status = self.function(*arrays, *extra, **attributes)
        if status:
            raise_status(self, int(status))


@dataclass(frozen=True, eq=False, kw_only=True)
class ViewOp(Op):
    """The input's memory under other sizes and strides: ``function(view, **attributes) -> view``."""

    kind: ClassVar[str] = "view"

    ordered_after: bool = False
    """Whether it waits for its operands in ``shape_only``: no pass looks through it, or has it wait for another value."""

    def view(self, x: View, specs: Specs, attributes: Attributes) -> View:
        """The output's view, given the input's. *Raises* NotAView when the input must be copied first."""
        others = [s for s in specs[1:] if s is not None]
        result: View = self.function(x, *others, **attributes)
        return result

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        x = specs[0]
        assert x is not None
        dtype = self.promoted(specs)
        return (TensorSpec(self.view(View.contiguous(x.shape), specs, attributes).shape, dtype),)

    def evaluate(self, arrays: Sequence[Any], attributes: Attributes, specs: Specs | None = None) -> tuple[np.ndarray, ...]:
        if self.reference is not None:
            return Op.evaluate(self, arrays, attributes, specs)
        x = np.ascontiguousarray(arrays[0])
        specs = [array_spec(a) for a in arrays] if specs is None else specs
        assert specs[0] is not None
        seen = self.view(View.contiguous(specs[0].shape), specs, attributes)
        flat = x.reshape(-1)[seen.offset :]
        return (np.lib.stride_tricks.as_strided(flat, [int(n) for n in seen.shape], [s * x.itemsize for s in seen.strides]),)


@dataclass(frozen=True, eq=False, kw_only=True)
class ShapeOp(Op):
    """A value that depends on shapes alone: ``function(*specs, **attributes) -> array``, computed while planning."""

    kind: ClassVar[str] = "shape"

    shape: Callable[..., TensorSpec] | None = None
    """The spec of the value, where the value itself would be too large to ask."""

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        if self.shape is not None:
            return (self.shape(*specs, **attributes),)
        value = self.value(specs, attributes)
        return (TensorSpec(value.shape, value.dtype.name),)

    def value(self, specs: Specs, attributes: Attributes) -> np.ndarray:
        return np.asarray(self.function(*specs, **attributes))

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        return (self.value([array_spec(a) for a in arrays], attributes),)


@dataclass(frozen=True, eq=False, kw_only=True)
class CompositeOp(Op):
    """An op made of ops: ``function`` takes graph values and returns graph values. Expanded before it runs."""

    kind: ClassVar[str] = "composite"

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        return EAGER_HOOKS.infer_composite(self, specs, attributes)

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        if self.reference is not None:
            return Op.evaluate_plain(self, arrays, attributes, outputs)
        return EAGER_HOOKS.evaluate_composite(self, arrays, attributes)


class EagerHooks:
    """What an op asks of the levels above it; the package connects them when it is imported whole."""

    compute: Callable[[Op, Sequence[Any], Attributes], Any]
    infer_composite: Callable[[Op, Specs, Attributes], tuple[TensorSpec, ...]]
    evaluate_composite: Callable[[Op, Sequence[Any], Attributes], Sequence[Any]]


EAGER_HOOKS = EagerHooks()


def raise_status(op: Op, status: int, node: str | None = None, source: str | None = None) -> None:
    """The exception for an error status that a kernel returned."""
    from graphexec.errors import KernelError

    message = op.errors.get(status, f"the kernel failed with status {status}")
    raise KernelError(message, node=node, op=op.name, source=source, todo="Check the values of its operands.")


def array_spec(array: Any) -> TensorSpec:
    array = np.asarray(array)
    return TensorSpec(array.shape, check_dtype(array.dtype))


def normalize_axes(axis: Any, ndim: int, op: str) -> tuple[int, ...]:
    """Axes counted from 0, ascending, without repeats. *Raises* ShapeError when one is out of range."""
    given = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = []
    for a in given:
        if not -ndim <= a < ndim:
            raise ShapeError(f"axis {a} is out of range for {ndim} axes", op=op, todo=f"Use -{ndim} to {ndim - 1}.")
        axes.append(a % ndim)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"an axis is named twice in {axis}", op=op)
    return tuple(sorted(axes))


def resolve_names(shape: Any, known: Sequence[int], op: str) -> tuple[int, ...]:
    """A shape given as an attribute, its names of dimensions replaced by the sizes in ``known`` that bear them.

    *Raises* ShapeError for a name that no axis of ``known`` has.
    """
    given = (shape,) if isinstance(shape, (int, str)) else shape
    named = {n.expression: n for n in known if isinstance(n, Size)}
    for n in given:
        if isinstance(n, str) and n not in named:
            raise ShapeError(
                f"no axis is named {n!r}" + _hint(n, named), op=op,
                facts=[f"shape {shape_text(known)}, asked for {shape_text(given)}"],
                todo="Name a dimension of the operand, or give the size as a number.",
            )
    return tuple(named[n] if isinstance(n, str) else n for n in given)


def literal(value: Any, key: str, op: str) -> Any:
    """An attribute as plain data: bool, int, float, str, None, or a tuple of them."""
    if isinstance(value, (list, tuple)):
        return tuple(literal(v, key, op) for v in value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return check_dtype(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise OpError(
        f"attribute {key!r} cannot be {type(value).__name__} {value!r}", op=op,
        todo="Attributes are numbers, strings, booleans, None, or lists of them; arrays are operands.",
    )


def _hint(word: str, known: Any) -> str:
    hint = did_you_mean(word, known)
    return f"; {hint}" if hint else ""
