"""Operators and methods of values, such as `x @ w + b`, `(c * c).sum(axis=0)` and `x[..., 1:]`: each calls an op.

A value follows Python's whole data model: each protocol makes the op that NumPy would, or raises at once with what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from graphexec.errors import DtypeError, NotComputedError, OpError
from graphexec.ir import numpy_functions
from graphexec.ir.indexing import index
from graphexec.ir.namespace import ops
from graphexec.ir.spec import Size, TensorSpec, check_dtype


class Arithmetic:
    """A mixin for values that ops accept; needs ``spec``.

    Values are compared element by element, as in NumPy, and hashed by identity: `x == y` is a graph value, without truth.
    """

    __slots__ = ()
    __hash__ = object.__hash__

    if TYPE_CHECKING:

        @property
        def spec(self) -> TensorSpec: ...

    @property
    def shape(self) -> tuple[int | str, ...]:
        """The shape, with names in place of the sizes of named dimensions."""
        return tuple(n.expression if isinstance(n, Size) else n for n in self.spec.shape)

    @property
    def dtype(self) -> str:
        return self.spec.dtype

    @property
    def ndim(self) -> int:
        return self.spec.ndim

    # -- arithmetic

    def __add__(self, other: Any) -> Any:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return ops.multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return ops.multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return ops.divide(other, self)

    def __floordiv__(self, other: Any) -> Any:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> Any:
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Any:
        return ops.remainder(other, self)

    def __matmul__(self, other: Any) -> Any:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return ops.matmul(other, self)

    def __lshift__(self, other: Any) -> Any:
        return ops.left_shift(self, other)

    def __rlshift__(self, other: Any) -> Any:
        return ops.left_shift(other, self)

    def __rshift__(self, other: Any) -> Any:
        return ops.right_shift(self, other)

    def __rrshift__(self, other: Any) -> Any:
        return ops.right_shift(other, self)

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return ops.floor_divide(self, other), ops.remainder(self, other)

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        return ops.floor_divide(other, self), ops.remainder(other, self)

    def __pow__(self, other: Any, modulus: Any = None) -> Any:
        _refuse_modulus(modulus)
        return ops.power(self, other)

    def __rpow__(self, other: Any, modulus: Any = None) -> Any:
        _refuse_modulus(modulus)
        return ops.power(other, self)

    def __and__(self, other: Any) -> Any:
        return (ops.logical_and if self.dtype == "bool" else ops.bitwise_and)(self, other)

    def __rand__(self, other: Any) -> Any:
        return (ops.logical_and if self.dtype == "bool" else ops.bitwise_and)(other, self)

    def __or__(self, other: Any) -> Any:
        return (ops.logical_or if self.dtype == "bool" else ops.bitwise_or)(self, other)

    def __ror__(self, other: Any) -> Any:
        return (ops.logical_or if self.dtype == "bool" else ops.bitwise_or)(other, self)

    def __xor__(self, other: Any) -> Any:
        return (ops.not_equal if self.dtype == "bool" else ops.bitwise_xor)(self, other)

    def __rxor__(self, other: Any) -> Any:
        return (ops.not_equal if self.dtype == "bool" else ops.bitwise_xor)(other, self)

    def __invert__(self) -> Any:
        return (ops.logical_not if self.dtype == "bool" else ops.bitwise_not)(self)

    def __neg__(self) -> Any:
        return ops.negate(self)

    def __pos__(self) -> Any:
        if self.dtype == "bool":
            raise DtypeError("+ does not take bool", todo="Convert it with cast(x, dtype=...).")
        return self

    def __abs__(self) -> Any:
        return ops.abs(self)

    def __round__(self, digits: int | None = None) -> Any:
        if self.dtype.startswith("int") and not (digits and digits < 0):
            return self
        if not digits:
            return ops.round(self)
        scale = 10.0 ** abs(digits)
        return ops.round(self * scale) / scale if digits > 0 else ops.round(self / scale) * scale

    def __floor__(self) -> Any:
        return self if self.dtype.startswith("int") else ops.floor(self)

    def __ceil__(self) -> Any:
        return self if self.dtype.startswith("int") else ops.ceil(self)

    def __trunc__(self) -> Any:
        return self if self.dtype.startswith("int") else ops.trunc(self)

    # -- comparison

    def __eq__(self, other: Any) -> Any:
        _refuse_none(other)
        return ops.equal(self, other)

    def __ne__(self, other: Any) -> Any:
        _refuse_none(other)
        return ops.not_equal(self, other)

    def __lt__(self, other: Any) -> Any:
        return ops.less(self, other)

    def __le__(self, other: Any) -> Any:
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Any:
        return ops.greater(self, other)

    def __ge__(self, other: Any) -> Any:
        return ops.greater_equal(self, other)

    # -- elements, which a value does not have before it is computed

    def __bool__(self) -> bool:
        todo = "Choose elements with gx.ops.where; combine conditions with & | ~; compare with `is None`."
        raise self._not_computed("no truth value", todo)

    def __int__(self) -> int:
        raise self._not_computed("no int()", "For another type write x.astype('int64').")

    def __float__(self) -> float:
        raise self._not_computed("no float()", "For another type write x.astype('float64').")

    def __complex__(self) -> complex:
        raise self._not_computed("no complex()", "Element types are real.")

    def __index__(self) -> int:
        raise self._not_computed("no index", "Take elements at computed places with gx.ops.gather(values, x).")

    def __contains__(self, item: object) -> bool:
        raise self._not_computed("no `in`", "Compare with x == item, which is a graph value.")

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise self._not_computed("no array", "Use gx.ops; or run a compiled graph and convert its result.")

    def _not_computed(self, what: str, todo: str) -> NotComputedError:
        return NotComputedError(f"a graph value has {what} before it is computed", facts=[str(self.spec)], todo=todo)

    def _first_size(self, what: str) -> int:
        if not self.ndim:
            raise NotComputedError(f"a value without axes has no {what}", todo="Give it an axis with gx.ops.expand_dims.")
        size = self.spec.shape[0]
        if isinstance(size, Size):
            raise NotComputedError(
                f"the first axis has no {what}: its size {size.expression!r} is known only when the graph runs",
                facts=[str(self.spec)], todo="Declare the size as a number, or use ops that work along the axis.",
            )  # fmt: skip
        return int(size)

    def __len__(self) -> int:
        return self._first_size("len()")

    def __iter__(self) -> Iterator[Any]:
        return map(self.__getitem__, range(self._first_size("iteration")))

    def __reversed__(self) -> Iterator[Any]:
        return map(self.__getitem__, reversed(range(self._first_size("iteration"))))

    def __getitem__(self, key: Any) -> Any:
        """Indexing as in NumPy: integers, slices, ``...``, ``None``, and one array, list or value of indices."""
        return index(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise NotComputedError("graph values never change", todo="Make a new one: gx.ops.where, concat or scatter_add.")

    def __delitem__(self, key: Any) -> None:
        raise NotComputedError("graph values never change", todo="Take the elements to keep: x[start:stop], gx.ops.gather.")

    # -- NumPy's functions

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        return numpy_functions.call_ufunc(ufunc, method, inputs, keywords)

    def __array_function__(self, function: Any, types: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        return numpy_functions.call_function(function, arguments, keywords)

    # -- methods

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        return ops.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Any:
        return ops.min(self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: Any) -> Any:
        return ops.reshape(self, shape=shape[0] if len(shape) == 1 and not isinstance(shape[0], (int, str)) else shape)

    def transpose(self, *axes: Any) -> Any:
        return ops.transpose(self, axes=axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes or None)

    @property
    def T(self) -> Any:
        return ops.transpose(self)

    def astype(self, dtype: Any) -> Any:
        return ops.cast(self, dtype=check_dtype(dtype))


def _refuse_modulus(modulus: object) -> None:
    if modulus is not None:
        raise OpError("pow() with a modulus has no op", todo="Write (x ** y) % modulus.")


def _refuse_none(other: object) -> None:
    if other is None or isinstance(other, (str, bytes)):
        todo = "Compare with `is None`; compare x.name with text."
        raise NotComputedError(f"== compares elements, and {other!r} has none", todo=todo)
