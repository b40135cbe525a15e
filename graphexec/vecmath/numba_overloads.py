"""numba_overloads: makes Numba use the functions of this package for calls of `graphexec.math`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from numba import types
from numba.extending import intrinsic, overload

import graphexec.math as public
from graphexec.vecmath.functions import EMITTERS
from graphexec.vecmath.scalar import Scalar

# Each function is compiled apart from its caller, so the caller's fast-math flags do not reach it, and always inlined.
_JIT: Any = {"error_model": "numpy", "fastmath": False, "forceinline": True}


def _common_type(*kinds: Any) -> Any:
    """float32 if every argument is, float64 for other real numbers, None if an argument is not a real number."""
    real = types.float32, types.float64
    if not all(kind in real or isinstance(kind, types.Integer | types.Boolean) for kind in kinds):
        return None
    return types.float32 if all(kind == types.float32 for kind in kinds) else types.float64


def _emitter(emit: Callable[..., Scalar]) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit(*(Scalar(builder, arg) for arg in args)).value

    return codegen


def _overload_one(function: Any, emit: Callable[..., Scalar]) -> None:
    def emitted(typing: Any, x: Any) -> Any:
        return x(x), _emitter(emit)

    call: Any = intrinsic(emitted)

    @overload(function, jit_options=_JIT)
    def choose(x):  # type: ignore[no-untyped-def] # Numba would compare the annotations too
        kind = _common_type(x)
        return None if kind is None else lambda x: call(kind(x))


def _overload_two(function: Any, emit: Callable[..., Scalar]) -> None:
    def emitted(typing: Any, x: Any, y: Any) -> Any:
        return x(x, y), _emitter(emit)

    call: Any = intrinsic(emitted)

    @overload(function, jit_options=_JIT)
    def choose(x, y):  # type: ignore[no-untyped-def] # as above
        kind = _common_type(x, y)
        return None if kind is None else lambda x, y: call(kind(x), kind(y))


@cache
def register() -> None:
    """Registers the functions with Numba; later calls do nothing."""
    for function, emit in EMITTERS.items():
        (_overload_two if function is public.pow else _overload_one)(function, emit)

    @overload(public.like)
    def like(x, y):  # type: ignore[no-untyped-def] # as above
        return lambda x, y: type(y)(x)
