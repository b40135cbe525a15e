"""Op: an op's operands, attributes, shape rule and backward rule. `op_kinds` has the six kinds, `declare` makes them.

An op is a constant: it holds no state of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from graphexec.errors import DtypeError, GraphExecError, KernelError, OpError, ShapeError, with_hint
from graphexec.ir.attributes import REQUIRED, AttributeType, fill_in
from graphexec.ir.by_name import ByName
from graphexec.ir.keys import exactly
from graphexec.ir.place import told
from graphexec.ir.reference import computed
from graphexec.ir.spec import DTYPES, KIND_NAMES, Size, TensorSpec, check_dtype, check_size, promote, shape_text

Attributes = Mapping[str, Any]
Specs = Sequence[TensorSpec | None]


@dataclass(frozen=True)
class GemmTrait:
    """Declares that the op multiplies two operands as matrices, in their last two axes; the engine may use its own GEMM.

    The engine then fuses the ops that follow, reads factors transposed, and accumulates sums of products in place.
    """

    a: int = 0
    b: int = 1
    """The slots of the factors ``(m, k)`` and ``(k, n)``."""
    accumulate: int | None = None
    """The slot of the operand to which the op adds the product in place, if there is one."""


@dataclass
class Rules:
    """How an op is differentiated and decomposed; filled in while the op's file loads."""

    backward: Op | None = None
    """The op of a backward node."""
    gradient: Callable[..., Any] | None = None
    """A function of graph values that returns one delta for each floating input."""
    decomposition: Callable[..., Any] | None = None
    """A function of graph values that computes the same outputs with other ops."""

    @property
    def differentiates(self) -> bool:
        """Whether the op has a backward rule."""
        return self.backward is not None or self.gradient is not None


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Op(ByName):
    """An op, compared by identity. The registry finds it by name."""

    op_class: ClassVar[str] = ""
    """The kind of op as its author sees it: elementwise, reduction, kernel, view, shape, composite."""

    name: str
    function: Callable[..., Any]
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    attribute_types: Mapping[str, AttributeType] = field(default_factory=dict)
    """What each attribute may be; one without an entry may be any literal."""
    outputs: tuple[str, ...] = ("out",)
    variadic: bool = False
    optional: frozenset[str] = frozenset()
    shape_only: frozenset[str] = frozenset()
    """Operands used only for their shape; their buffers may already have been reused."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Fixed dtypes of operands and outputs that do not follow the promoted one."""
    kinds: str = "f"
    """Kinds of dtype that the promoted operands may have: f(loating), i(nteger), b(ool)."""
    updates: tuple[str, ...] = ()
    """Operands overwritten in place, in the order of the outputs."""
    reference: Callable[..., Any] | None = None
    domain: Any = None
    examples: Callable[[np.random.Generator, int], Iterable[Sequence[Any]]] | None = None
    """Yields operands that fit, for a generator and a size; a mapping at the end of a tuple has the attributes."""
    onnx: str | None = None
    differentiable: bool = True
    internal: bool = False
    """Only the engine writes nodes of it: graph files, NetworkX graphs and calls on graph values cannot name it."""
    # -- traits: properties that the optimizer may assume; passes check these, never an op's name
    commutative: bool = False
    """The two operands may be swapped; only the payload of a NaN may differ."""
    neutral: Mapping[int, float] = field(default_factory=dict)
    """Slot to number: with that number in that slot, the op returns its other operand unchanged, whatever its value."""
    identity_function: bool = False
    """Returns its operand unchanged, provided the dtypes are equal."""
    involution: bool = False
    """Applied twice, returns its operand."""
    exact: bool = False
    """The reference gives the bits that the kernel gives, for all operands; only the payload of a NaN may differ."""
    gemm: GemmTrait | None = None
    """The op is a matrix product."""
    concat: bool = False
    """Joins its operands along its attribute ``axis``."""
    sum_of_many: bool = False
    """Adds any number of operands, from first to last."""
    scatters_slice: bool = False
    """Writes its operand into zeros at ``start:end:step`` of ``axis``: the gradient of a slice."""
    shared_operand: str | None = None
    """The operand of an update rule that is the same for all parameters, such as the step number."""
    errors: Mapping[int, str] = field(default_factory=dict)
    file: str = ""
    doc: str = ""
    rules: Rules = field(default_factory=Rules)
    forward: Op | None = None
    """For a backward op: the op that it belongs to."""

    def __repr__(self) -> str:
        return f"<op {self.name}{self.signature}>"

    # -- calling

    def __call__(self, *operands: Any, name: str | None = None, **keywords: Any) -> Any:
        """On graph values, adds a node and returns its value; on arrays, computes immediately."""
        bound, attributes = self.bind(operands, keywords)
        for operand in bound:
            apply = getattr(type(operand), "apply_op", None)
            if apply is not None:
                return apply(self, bound, attributes, name)
        return EAGER_HOOKS.compute(self, bound, attributes)

    def bind(self, operands: Sequence[Any], keywords: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Sorts the arguments of a call into operands by slot and checked attributes."""
        bound, given = list(operands), dict(keywords)
        if given and not self.variadic:
            for slot, parameter in enumerate(self.inputs):
                if parameter in given:
                    if slot < len(bound):
                        raise OpError(f"operand {parameter!r} is given twice", op=self.name, todo="Give each operand once.")
                    bound.extend([None] * (slot - len(bound)))
                    bound.append(given.pop(parameter))
        self.check_operands([b is not None for b in bound])
        while bound and bound[-1] is None:
            bound.pop()
        return tuple(bound), self.check_attributes(given)

    def check_operands(self, present: Sequence[bool]) -> None:
        """*Raises* OpError when an operand is missing or there are too many."""
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
        """Fills in defaults. *Raises* OpError for an attribute that is unknown, missing, of another type or out of range."""
        for key in given:
            if key not in self.attributes:
                raise OpError(
                    with_hint(f"unknown attribute {key!r}", key, self.attributes),
                    op=self.name, facts=[f"{self.name} takes {self.signature}"],
                    todo="Leave it out." if not self.attributes else f"Use one of: {', '.join(self.attributes)}.",
                )
        try:
            return fill_in(self.attributes, self.attribute_types, given)
        except OpError as error:
            error.facts.append(f"{self.name} takes {self.signature}")
            raise error.at(op=self.name) from None

    def non_defaults(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes that differ from their defaults, which are the ones worth printing."""
        return {k: v for k, v in attributes.items() if exactly(v) != exactly(self.attributes[k])}

    @property
    def signature(self) -> str:
        """The parameters as in a call: ``(x, *, beta=1.0)``."""
        parts = [f"*{p}" if self.variadic else f"{p}=None" if p in self.optional else p for p in self.inputs]
        if self.attributes:
            parts += [] if self.variadic else ["*"]
            parts += [k if d is REQUIRED else f"{k}={d!r}" for k, d in self.attributes.items()]
        return f"({', '.join(parts)})"

    def input_name(self, slot: int) -> str:
        """The operand's name, such as ``x``, or ``parts[2]`` for a variadic op."""
        return f"{self.inputs[0]}[{slot}]" if self.variadic else self.inputs[slot]

    def describe_operands(
        self, error: GraphExecError, specs: Iterable[TensorSpec | None], names: Iterable[str | None]
    ) -> GraphExecError:
        """Prepends a line for each operand to an error's facts."""
        lines = []
        for slot, (spec, name) in enumerate(zip(specs, names, strict=True)):
            if spec is not None:
                label = f"{self.input_name(slot)} = {name!r}" if name else self.input_name(slot)
                lines.append(f"{label}   {spec}")
        if error.facts[: len(lines)] != lines:  # as a composite that calls itself would repeat them
            error.facts = lines + error.facts
        return error

    # -- backward rules

    @property
    def backward_op(self) -> Op | None:
        """The declared backward op; `autodiff.scalar.backward_of` derives one for an elementwise op without a rule."""
        return self.rules.backward

    @property
    def gradient_rule(self) -> Callable[..., Any] | None:
        """The declared backward rule in terms of ops."""
        return self.rules.gradient

    @property
    def decomposition(self) -> Callable[..., Any] | None:
        """The declared function that computes the same outputs with other ops."""
        return self.rules.decomposition

    @property
    def differentiable_inputs(self) -> tuple[str, ...]:
        """Inputs that receive deltas: floating ones that are not shape-only."""
        return tuple(p for p in self.inputs if p not in self.shape_only and DTYPES[self.types.get(p, "float32")] == "f")

    # -- shapes and types

    def infer(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        """Infers the shape and dtype of every output, and checks them. *Raises* ShapeError, DtypeError, OpError."""
        try:
            found = self.infer_outputs(specs, attributes)
        except GraphExecError:
            raise
        except Exception as error:  # a rule of a plugin may fail in any way
            what = f"its {'function' if self.op_class == 'composite' else 'shape rule'} failed: {type(error).__name__}: {error}"
            raise OpError(what, op=self.name, facts=[told(error, self.file)], todo="Check operands and attributes.") from error
        for spec in found:
            check_size(spec, self.name)
        for name, spec in zip(self.updates, found, strict=False):
            if spec != specs[self.inputs.index(name)]:
                raise ShapeError(
                    f"operand {name!r} cannot be overwritten by {spec}", op=self.name,
                    todo=f"The other operands must not be larger than {name!r}, nor of a wider type.",
                )
        return found

    def infer_outputs(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        """The shape rule of the op: the shape and dtype of every output. *Raises* ShapeError, DtypeError, OpError."""
        raise NotImplementedError

    def evaluate(self, arrays: Sequence[Any], attributes: Attributes, specs: Specs | None = None) -> tuple[np.ndarray, ...]:
        """Computes the outputs by the slow path, NumPy and un-jitted code, which defines the op.

        If attributes name dimensions, give ``specs``: the operands' shapes with their names.
        """
        specs = [None if a is None else array_spec(a) for a in arrays] if specs is None else specs
        outputs = self.infer(specs, attributes)
        return computed(self, arrays, attributes, specs, outputs)

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        """Computes the outputs with the reference, in any dtype and a shape that broadcasts or reshapes to the inferred one."""
        assert self.reference is not None
        result = self.reference(*arrays, **attributes)
        return result if len(self.outputs) > 1 else (result,)

    def promoted(self, specs: Specs) -> str:
        """The element type in which the op computes: the common type of the operands without a fixed one."""
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
        """The element type of an output: its fixed type, else ``dtype``."""
        return self.types.get(output, dtype)


class EagerHooks:
    """Functions of higher levels that an op needs; importing the package sets them."""

    compute: Callable[[Op, Sequence[Any], Attributes], Any]
    infer_composite: Callable[[Op, Specs, Attributes], tuple[TensorSpec, ...]]
    evaluate_composite: Callable[[Op, Sequence[Any], Attributes], Sequence[Any]]
    derived: Callable[[Op, Sequence[str]], Op | None]


EAGER_HOOKS = EagerHooks()


def raise_status(op: Op, status: int, node: str | None = None, source: str | None = None) -> None:
    """*Raises* KernelError for an error status that a kernel returned."""
    message = op.errors.get(status, f"the kernel failed with status {status}")
    raise KernelError(message, node=node, op=op.name, source=source, todo="Check the values of its operands.")


def array_spec(array: Any) -> TensorSpec:
    """The spec of an array. *Raises* DtypeError for an unsupported element type."""
    array = np.asarray(array)
    return TensorSpec(array.shape, check_dtype(array.dtype))


def normalize_axes(axis: Any, ndim: int, op: str) -> tuple[int, ...]:
    """Returns axes counted from 0, ascending. *Raises* ShapeError for an axis that is out of range or named twice."""
    given = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = []
    for a in given:
        if not -ndim <= a < ndim:
            raise ShapeError(f"axis {a} is out of range for {ndim} axes", op=op, todo=f"Use -{ndim} to {ndim - 1}.")
        axes.append(a % ndim)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"an axis is named twice in {axis}", op=op, todo="Name each axis once.")
    return tuple(sorted(axes))


def reduced_axes(axis: Any, ndim: int, op: str) -> tuple[int, ...]:
    """The axes of a reduction: as `normalize_axes`, but a scalar has axis 0 and -1, as in NumPy and PyTorch."""
    return () if ndim == 0 and isinstance(axis, int) and axis in (0, -1) else normalize_axes(axis, ndim, op)


def resolve_names(shape: Any, known: Sequence[int], op: str) -> tuple[int, ...]:
    """Replaces the names of dimensions in a shape attribute by the sizes of that name in ``known``.

    *Raises* ShapeError for a name that no axis of ``known`` has.
    """
    given = (shape,) if isinstance(shape, (int, str)) else shape
    named = {n.expression: n for n in known if isinstance(n, Size)}
    for n in given:
        if isinstance(n, str) and n not in named:
            raise ShapeError(
                with_hint(f"no axis is named {n!r}", n, named), op=op,
                facts=[f"shape {shape_text(known)}, asked for {shape_text(given)}"],
                todo="Name a dimension of the operand, or give the size as a number.",
            )
    return tuple(named[n] if isinstance(n, str) else n for n in given)

