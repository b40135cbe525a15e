"""Declare ops: the names that op files import, built-in and third-party alike.

    @elementwise(reference=..., domain=(-6, 6))     a scalar function; the engine writes the loop
    @reduction(identity=0.0, reference=np.sum)      combine(accumulated, x); the engine writes the loops
    @kernel("(m,k),(k,n)->(m,n)")                   a function of arrays that writes its outputs
    @kernel(shape=rule)                             the same, with its own shape rule
    @view                                           the input's memory with another shape and other strides
    @shape_value                                    a value that depends on shapes alone
    @composite                                      an op that consists of other ops

The function's name is the op's name and its keyword-only parameters are its attributes. A declared op takes one
backward rule: `@op.backward` (a kernel whose parameters name the values it needs) or `@op.gradient` (a rule written in
ops, which can be differentiated again). `@op.decomposition` rewrites a kernel as other ops.
A declaration is checked immediately but registers nothing: the registry registers the ops of a file when it loads it.
A plugin that states ``api_version = 1`` is refused, with a message that says so, where this interface is older than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from graphexec.errors import DtypeError, OpError, ShapeError
from graphexec.ir.api_version import API_VERSION
from graphexec.ir.attributes import Axes, DType, Range, Shape
from graphexec.ir.decorators import composite, elementwise, kernel, reduction, shape_value, view
from graphexec.ir.intrinsics import GEMM_SCRATCH, array_at, col2im, gemm, im2col, prefetch
from graphexec.ir.namespace import ops
from graphexec.ir.op import GemmTrait, normalize_axes, reduced_axes, resolve_names
from graphexec.ir.spec import Size, TensorSpec, broadcast, promote, shape_text
from graphexec.ir.view import NotAView, View, resolve_reshape

__all__ = [
    "API_VERSION",
    "GEMM_SCRATCH",
    "Axes",
    "DType",
    "DtypeError",
    "GemmTrait",
    "NotAView",
    "OpError",
    "Range",
    "Shape",
    "ShapeError",
    "Size",
    "TensorSpec",
    "View",
    "array_at",
    "broadcast",
    "col2im",
    "composite",
    "elementwise",
    "gemm",
    "im2col",
    "kernel",
    "normalize_axes",
    "ops",
    "prefetch",
    "promote",
    "reduced_axes",
    "reduction",
    "resolve_names",
    "resolve_reshape",
    "shape_text",
    "shape_value",
    "view",
]

_RENAMED = {"unfold": "im2col", "fold": "col2im"}
"""Names from before the first release, and the current ones."""

if not TYPE_CHECKING:  # a type checker would otherwise accept any name

    def __getattr__(name: str) -> NoReturn:
        if name in _RENAMED:  # not an AttributeError: `from graphexec.plugin import` would drop the message
            raise ImportError(f"{name!r} is now called {_RENAMED[name]!r}: write {_RENAMED[name]} in place of {name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
