"""Operators and methods of values, such as `x @ w + b`, `(c * c).sum(axis=0)` and `x[..., 1:]`: each calls an op."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphexec.errors import OpError
from graphexec.ir.namespace import ops
from graphexec.ir.spec import Size, TensorSpec


class Arithmetic:
    """A mixin for values that ops accept; needs ``spec``."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy then defers `array * value` to us instead of looping over the value

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

    def __pow__(self, other: Any) -> Any:
        return ops.power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return ops.power(other, self)

    def __matmul__(self, other: Any) -> Any:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return ops.matmul(other, self)

    def __neg__(self) -> Any:
        return ops.negate(self)

    def __abs__(self) -> Any:
        return ops.abs(self)

    def __lt__(self, other: Any) -> Any:
        return ops.less(self, other)

    def __le__(self, other: Any) -> Any:
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Any:
        return ops.greater(self, other)

    def __ge__(self, other: Any) -> Any:
        return ops.greater_equal(self, other)

    def __bool__(self) -> bool:
        raise TypeError("a graph value has no truth value before it is computed: use gx.ops.where")

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

    def transpose(self, *axes: int) -> Any:
        return ops.transpose(self, axes=axes or None)

    @property
    def T(self) -> Any:
        return ops.transpose(self)

    def astype(self, dtype: Any) -> Any:
        return ops.cast(self, dtype=dtype)

    def __getitem__(self, key: Any) -> Any:
        """Basic indexing: integers, slices, ``...`` and ``None``, as in NumPy."""
        keys = list(key) if isinstance(key, tuple) else [key]
        given = sum(1 for k in keys if k is not None and k is not Ellipsis)
        if keys.count(Ellipsis) > 1 or given > self.ndim:
            raise OpError(f"{len(keys)} indices do not fit {self.ndim} axes", todo="Give at most one index for each axis.")
        if Ellipsis not in keys:
            keys.append(Ellipsis)
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (self.ndim - given)
        return _index(self, keys)


def _index(value: Any, keys: list[Any]) -> Any:
    starts, ends, axes, steps, dropped, inserted = [], [], [], [], [], []
    axis = kept = 0
    for k in keys:
        if k is None:
            inserted.append(kept)
            kept += 1
            continue
        if isinstance(k, slice):
            if k != slice(None):
                starts.append(k.start)
                ends.append(k.stop)
                steps.append(1 if k.step is None else k.step)
                axes.append(axis)
            kept += 1
        elif isinstance(k, int) and not isinstance(k, bool):
            starts.append(k)
            ends.append(None if k == -1 else k + 1)
            steps.append(1)
            axes.append(axis)
            dropped.append(axis)
        else:
            raise OpError(f"cannot index with {k!r}", todo="Use integers, slices, ... and None; ops.gather takes index arrays.")
        axis += 1
    if axes:
        value = ops.slice(value, starts=starts, ends=ends, axes=axes, steps=steps)
    if dropped:
        value = ops.squeeze(value, axis=dropped)
    for place in inserted:
        value = ops.expand_dims(value, axis=place)
    return value
