"""The six kinds of op.

    ElementwiseOp   a scalar function; the engine does loops, broadcasting and fusion
    ReductionOp     a scalar function that combines two elements, and its identity element
    KernelOp        a function of whole arrays, with a gufunc signature or a shape rule (`kernel_op.py`)
    ViewOp          the input's memory with other sizes and strides
    ShapeOp         a value that depends on shapes alone, computed before the program runs
    CompositeOp     a function of graph values: an op that consists of other ops
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graphexec.errors import ShapeError
from graphexec.ir.op import EAGER_HOOKS, Attributes, Op, Specs, array_spec, reduced_axes
from graphexec.ir.spec import DTYPES, TensorSpec, broadcast, check_dtype, shape_text
from graphexec.ir.view import View


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ElementwiseOp(Op):
    """A scalar function applied to every element of its broadcast operands."""

    op_class: ClassVar[str] = "elementwise"

    def infer_outputs(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
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
        """Calls the un-jitted scalar function on whole arrays, or element by element if it branches."""
        specs = outputs or self.infer([array_spec(a) for a in arrays], attributes)
        with np.errstate(all="ignore"):
            try:
                return self.function(*arrays, **attributes)
            except (ValueError, TypeError):  # "the truth value of an array is ambiguous"
                lifted = np.vectorize(lambda *scalars: self.function(*scalars, **attributes), otypes=[s.dtype for s in specs])
                return lifted(*arrays)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PartialOp(ElementwiseOp):
    """Its first operand, a delta, times a partial derivative of another op: ``d_out * ∂ⁿout / ∂by[0] ... ∂by[n - 1]``."""

    root: ElementwiseOp
    output: str
    by: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ReductionOp(Op):
    """Combines elements along axes with ``function(accumulated, x)``, starting from its identity."""

    op_class: ClassVar[str] = "reduction"

    identity: float = 0.0
    exact: bool = False
    """Whether combining two elements rounds nothing, as in a maximum."""
    widens: bool = False
    """Integers and bools are combined as int64, as NumPy does, so that a sum of many does not overflow."""
    nonempty: bool = False
    """No elements have no result: a largest one, say. Without this, they give the identity element."""
    additive: bool = False
    """It adds elements."""

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
                raise ShapeError(f"{shape_text(x.shape)} does not sum to {shape_text(target.shape)}", op=self.name,
                                 todo="Make each size equal or 1, counted from the last axis.")  # fmt: skip
            return tuple(a for a in range(x.ndim) if a not in kept)
        return reduced_axes(attributes["axis"], x.ndim, self.name)

    def infer_outputs(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        x = specs[0]
        assert x is not None
        dtype = self.combined_as(self.promoted(specs))
        axes = self.axes(specs, attributes)
        self.check_elements(x.shape, axes)
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

    def rounds(self, dtype: str) -> bool:
        """Whether combining two elements of a type rounds."""
        return not self.exact and DTYPES[dtype] == "f"

    def combined_as(self, dtype: str) -> str:
        """The element type in which elements of a type are combined."""
        return "int64" if self.widens and DTYPES[dtype] != "f" else dtype

    def check_elements(self, shape: Sequence[int], axes: Collection[int]) -> None:
        """*Raises* ShapeError where an op that needs elements gets none for some result."""
        empty = self.nonempty and any(int(shape[a]) == 0 for a in axes)
        if empty and all(int(n) > 0 for a, n in enumerate(shape) if a not in axes):
            raise ShapeError(
                f"there is no {self.name} of no elements", op=self.name, facts=[f"shape {shape_text(shape)}, axes {tuple(axes)}"],
                todo="Give each reduced axis at least one element.",
            )

    def identity_of(self, dtype: str) -> float | int:
        """The identity element in a type; an infinity becomes the end of an integer type's range."""
        if DTYPES[dtype] == "i" and np.isinf(self.identity):
            info = np.iinfo(dtype)
            return int(info.min if self.identity < 0 else info.max)
        return self.identity


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ViewOp(Op):
    """The input's memory with other sizes and strides: ``function(view, **attributes) -> view``."""

    op_class: ClassVar[str] = "view"

    ordered_after: bool = False
    """Whether its output waits for the operands in ``shape_only``; no pass looks through such a view."""

    def view(self, x: View, specs: Specs, attributes: Attributes) -> View:
        """Returns the output's view, given the input's. *Raises* NotAView if the input must be copied first."""
        others = [s for s in specs[1:] if s is not None]
        result: View = self.function(x, *others, **attributes)
        return result

    def infer_outputs(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
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


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ShapeOp(Op):
    """A value that depends on shapes alone: ``function(*specs, **attributes) -> array``, computed before the program runs."""

    op_class: ClassVar[str] = "shape"

    shape: Callable[..., TensorSpec] | None = None
    """Returns the spec of a value that is too large to compute just for its shape."""

    def infer_outputs(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        if self.shape is not None:
            return (self.shape(*specs, **attributes),)
        value = self.value(specs, attributes)
        return (TensorSpec(value.shape, value.dtype.name),)

    def value(self, specs: Specs, attributes: Attributes) -> np.ndarray:
        """Computes the value from the specs of its operands."""
        return np.asarray(self.function(*specs, **attributes))

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        return (self.value([array_spec(a) for a in arrays], attributes),)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class CompositeOp(Op):
    """An op that consists of other ops: ``function`` takes and returns graph values. It is inlined before it runs."""

    op_class: ClassVar[str] = "composite"

    def infer_outputs(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        return EAGER_HOOKS.infer_composite(self, specs, attributes)

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        if self.reference is not None:
            return Op.evaluate_plain(self, arrays, attributes, outputs)
        return EAGER_HOOKS.evaluate_composite(self, arrays, attributes)
