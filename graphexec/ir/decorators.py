"""The decorators that declare ops; `graphexec.plugin` exports them.

The options of each are a TypedDict, so that editors complete them and type checkers reject a misspelt one. `declare` checks
them again at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack, overload

import numpy as np

from graphexec.errors import PluginError
from graphexec.ir.declaration_checks import Function, place
from graphexec.ir.declare import Declaration, declare, declare_kernel, declare_reduction
from graphexec.ir.op import GemmTrait
from graphexec.ir.op_kinds import CompositeOp, ElementwiseOp, ShapeOp, ViewOp
from graphexec.ir.spec import TensorSpec

Interval = tuple[float, float]
Decorator = Callable[[Function], Declaration]
Examples = Callable[[np.random.Generator, int], Iterable[Sequence[Any]]]
"""A function of a random generator and a size that yields the arguments of calls of the op."""


class CommonOptions(TypedDict, total=False):
    """Options of every decorator."""

    reference: Function
    domain: Interval | Mapping[str, Interval]
    examples: Examples
    onnx: str
    internal: bool


class ReductionOptions(CommonOptions, total=False):
    """Options of :func:`reduction`."""

    identity: float
    exact: bool
    widens: bool
    nonempty: bool
    additive: bool
    shape_only: bool
    kinds: str
    types: Mapping[str, str]
    differentiable: bool


class ViewOptions(CommonOptions, total=False):
    """Options of :func:`view`."""

    shape_only: Collection[str]
    ordered_after: bool
    kinds: str
    differentiable: bool


class ShapeValueOptions(CommonOptions, total=False):
    """Options of :func:`shape_value`."""

    shape: Callable[..., TensorSpec]


class CompositeOptions(CommonOptions, total=False):
    """Options of :func:`composite`."""

    kinds: str
    types: Mapping[str, str]
    outputs: Sequence[str]
    differentiable: bool


class ElementwiseOptions(CompositeOptions, total=False):
    """Options of :func:`elementwise`."""

    updates: Sequence[str]
    commutative: bool
    neutral: Mapping[int, float]
    identity_function: bool
    involution: bool
    exact: bool
    sum_of_many: bool
    shared_operand: str


class KernelOptions(CompositeOptions, total=False):
    """Options of :func:`kernel`."""

    shape: Function
    shape_only: Collection[str]
    strided: Collection[str]
    updates: Sequence[str]
    parallel: bool
    scratch: int
    errors: Mapping[int, str]
    raises: bool
    gemm: GemmTrait
    concat: bool
    scatters_slice: bool
    rows: Collection[str] | Function


@overload
def elementwise(function: Function, /, **options: Unpack[ElementwiseOptions]) -> Declaration: ...
@overload
def elementwise(function: None = None, /, **options: Unpack[ElementwiseOptions]) -> Decorator: ...
def elementwise(function: Function | None = None, /, **options: Unpack[ElementwiseOptions]) -> Declaration | Decorator:
    """Declare an elementwise op from a scalar function of numbers. The engine writes the loop.

    - ``reference`` (function; required): the same function in NumPy, on whole arrays.
    - ``domain`` (``(low, high)``, or a mapping from operands to such pairs; default ``(-1.0, 1.0)``): the interval from which
      tests draw operands.
    - ``examples`` (function of a ``np.random.Generator`` and an int; default none): yields operands that fit together, one
      tuple for each call, such as sorted tables, index ranges, or shapes that depend on one another. A mapping at the end of a
      tuple has the attributes; None stands for an operand that is left out. The int is the size to aim at, from 0. Floating
      operands without a fixed type are converted to each type that the op takes.
    - ``kinds`` (str; default ``"f"``): the kinds of dtype accepted, any of ``f`` (floating), ``i`` (integer), ``b`` (bool).
    - ``types`` (mapping; default none): fixed dtypes by operand or output name, such as ``{"condition": "bool"}``.
    - ``outputs`` (names; default ``("out",)``): one name for each result, when the function returns a tuple.
    - ``updates`` (operand names; default none): operands overwritten in place, in the order of the outputs. Such an op can be
      an optimizer's update rule.
    - ``differentiable`` (bool; default True): False declares that the op has no gradient.
    - ``onnx`` (str; default none): the name of the corresponding ONNX operator.
    - ``internal`` (bool; default False): True declares that only the engine writes nodes of it; graphs cannot name it.

    Traits, which let the optimizer rewrite calls of the op:

    - ``commutative`` (bool; default False): the two operands may be swapped.
    - ``neutral`` (``{slot: number}``; default none): with that number as the operand in that slot, the op returns its other
      operand unchanged, for every value of it. For subtraction: ``{1: 0.0}``.
    - ``identity_function`` (bool; default False): the op returns its operand unchanged, provided the dtypes are equal.
    - ``involution`` (bool; default False): applied twice, the op returns its operand, bit for bit.
    - ``exact`` (bool; default False): the reference gives the bits that the kernel gives, for all operands; nodes of constants
      are then computed with it while the graph is compiled, and otherwise by the kernel.
    - ``sum_of_many`` (bool; default False): the op adds any number of operands, from first to last.
    - ``shared_operand`` (operand name; default none): for an update rule, the operand that is the same for all parameters,
      such as the step number. Updates of many parameters can then run in one kernel.

    *Raises* PluginError when the declaration is not sound.
    """
    return _declare_with(lambda f: declare(ElementwiseOp, f, options, _names(ElementwiseOptions)), function)


@overload
def reduction(function: Function, /, **options: Unpack[ReductionOptions]) -> Declaration: ...
@overload
def reduction(function: None = None, /, **options: Unpack[ReductionOptions]) -> Decorator: ...
def reduction(function: Function | None = None, /, **options: Unpack[ReductionOptions]) -> Declaration | Decorator:
    """Declare a reduction from ``combine(accumulated, x)`` and its ``identity``. The engine writes the loops.

    The engine adds the attributes ``axis=None`` and ``keepdims=False``. The shape alone determines the order in which
    elements are combined, so results do not depend on the number of threads.

    - ``identity`` (float; default 0.0): the identity element of ``combine``; an infinity becomes the end of an integer range.
    - ``exact`` (bool; default False): combining two elements rounds nothing, as in a maximum. Many elements are combined
      pairwise unless this is so: the rounding error of n elements grows like log n.
    - ``widens`` (bool; default False): integers and bools are combined as int64, which the output then is, as in NumPy's sum.
    - ``nonempty`` (bool; default False): it is an error to combine no elements; otherwise they give the identity element.
    - ``additive`` (bool; default False): a trait: ``combine`` adds, so sums over parts may be added up in a wider type.
    - ``shape_only`` (bool; default False): True replaces the two attributes by a second operand, ``like``, used only for
      its shape: the first operand is reduced to that shape.
    - ``reference``, ``domain``, ``examples``, ``kinds``, ``types``, ``differentiable``, ``onnx``,
      ``internal``: as for :func:`elementwise`.

    *Raises* PluginError when the declaration is not sound.
    """
    return _declare_with(lambda f: declare_reduction(f, options, _names(ReductionOptions)), function)


def kernel(signature: str | None = None, /, **options: Unpack[KernelOptions]) -> Decorator:
    """Declare an op from a function of arrays: inputs first, then outputs to write; attributes are keyword-only.

    ``signature`` is a NumPy gufunc signature such as ``"(m,k),(k,n)->(m,n)"``: leading axes are batch axes, over which the
    engine loops. Alternatively ``shape=rule`` gives a shape rule, and the kernel sees whole arrays.

    - ``shape`` (function; default none): takes the operands' TensorSpecs and the attributes; returns the output's shape or
      TensorSpec, or one for each output.
    - ``shape_only`` (operand names; default none): operands used only for their shape; the kernel does not take them.
    - ``strided`` (operand names; default none): operands that may be transposed or lie in a larger array, but have no gaps
      along one axis; others are made contiguous first.
    - ``outputs`` (names; default: the parameters after the inputs in the signature, or ``("out",)``).
    - ``updates`` (operand names; default none): operands overwritten in place, in the order of the outputs.
    - ``parallel`` (bool; default False): the kernel takes ``piece, pieces`` last and does that share of the work. There may be
      more pieces than threads, and the result must not depend on their number.
    - ``scratch`` (int; default 0): bytes of scratch memory per thread; the kernel takes its address as ``scratch``, before
      ``piece, pieces``. `array_at` turns it into an array.
    - ``errors`` (``{status: message}``; default none): messages for the statuses that the kernel may return.
    - ``raises`` (bool; default True): False promises that nothing in the kernel raises, whatever the operands that the shape rule
      admits. Updates of parameters then need not wait for it.
    - ``reference`` (required), ``domain``, ``examples``, ``kinds``, ``types``, ``differentiable``, ``onnx``,
      ``internal``: as for :func:`elementwise`.

    Traits, which let the optimizer rewrite calls of the op:

    - ``gemm`` (GemmTrait; default none): the op is a matrix product of the operands that the trait names.
    - ``concat`` (bool; default False): the op joins any number of operands along its attribute ``axis``.
    - ``scatters_slice`` (bool; default False): the op writes its operand into zeros at ``start:end:step`` of ``axis``, as the
      gradient of a slice does.
    - ``rows`` (operand names, or a function of specs and attributes that returns them; default none): for a kernel with a shape
      rule. If the leading axis of these operands counts rows and the other operands have none, each row of an output depends on
      the same row of these operands alone.

    *Raises* PluginError when the declaration is not sound.
    """
    if callable(signature):
        raise PluginError("@kernel needs either a gufunc signature or shape=rule", op=signature.__name__, source=place(signature))
    return lambda function: declare_kernel(function, signature, options, _names(KernelOptions))


@overload
def view(function: Function, /, **options: Unpack[ViewOptions]) -> Declaration: ...
@overload
def view(function: None = None, /, **options: Unpack[ViewOptions]) -> Decorator: ...
def view(function: Function | None = None, /, **options: Unpack[ViewOptions]) -> Declaration | Decorator:
    """Declare an op that shows its input's memory with another shape and other strides, without copying it.

    ``function(x: View, *specs, **attributes) -> View``, where ``specs`` are the TensorSpecs of the operands in ``shape_only``.

    - ``shape_only`` (operand names; default none): operands used only for their shape.
    - ``ordered_after`` (bool; default False): the output is available only once the operands in ``shape_only`` are computed.
    - ``kinds`` (str; default ``"fib"``), ``reference``, ``domain``, ``examples``, ``differentiable``, ``onnx``,
      ``internal``: as for :func:`elementwise`;
      without a reference, the view itself defines the op.

    *Raises* PluginError when the declaration is not sound.
    """
    return _declare_with(lambda f: declare(ViewOp, f, options, _names(ViewOptions)), function)


@overload
def shape_value(function: Function, /, **options: Unpack[ShapeValueOptions]) -> Declaration: ...
@overload
def shape_value(function: None = None, /, **options: Unpack[ShapeValueOptions]) -> Decorator: ...
def shape_value(function: Function | None = None, /, **options: Unpack[ShapeValueOptions]) -> Declaration | Decorator:
    """Declare a value that depends on shapes alone: ``function(*specs, **attributes) -> array``. It has no gradient.

    While named dimensions are unbound, the engine also calls the function with very large sizes. Return a large array as a
    broadcast view (`np.broadcast_to`), or give ``shape``.

    - ``shape`` (function; default none): returns the TensorSpec of the value; by default, the engine computes the value for it.
    - ``reference``, ``domain``, ``examples``, ``onnx``, ``internal``: as for :func:`elementwise`.

    *Raises* PluginError when the declaration is not sound.
    """

    def declared(function: Function) -> Declaration:
        declaration = declare(ShapeOp, function, options, _names(ShapeValueOptions))
        declaration.op.rules.gradient = lambda: ()  # it reads no elements, so it needs no delta
        return declaration

    return _declare_with(declared, function)


@overload
def composite(function: Function, /, **options: Unpack[CompositeOptions]) -> Declaration: ...
@overload
def composite(function: None = None, /, **options: Unpack[CompositeOptions]) -> Decorator: ...
def composite(function: Function | None = None, /, **options: Unpack[CompositeOptions]) -> Declaration | Decorator:
    """Declare an op that consists of other ops: the function takes graph values and attributes and returns graph values.

    - ``outputs`` (names; default ``("out",)``): one name for each value that the function returns.
    - ``reference`` (optional here), ``domain``, ``examples``, ``kinds``, ``types``, ``differentiable``, ``onnx``,
      ``internal``: as for :func:`elementwise`.

    *Raises* PluginError when the declaration is not sound.
    """
    return _declare_with(lambda f: declare(CompositeOp, f, options, _names(CompositeOptions)), function)


def _declare_with(declare: Decorator, function: Function | None) -> Declaration | Decorator:
    return declare if function is None else declare(function)


def _names(options: type) -> tuple[str, ...]:
    return tuple(options.__annotations__)
