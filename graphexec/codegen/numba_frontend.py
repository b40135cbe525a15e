"""numba_frontend: compiles a Python function for given argument types to LLVM IR.

The engine writes loops and calls itself, so Numba compiles only scalar functions and array kernels. This module imports Numba, and
is itself imported only when something must be compiled.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numba
from numba import errors, types

from graphexec.codegen.scalar_compiler import Compiled
from graphexec.llvm import numba_internals, toolchain

SCALARS = {"float32": types.float32, "float64": types.float64, "int32": types.int32, "int64": types.int64, "bool": types.boolean}


def element_type(dtype: str) -> Any:
    """The Numba type that literals are converted to."""
    return SCALARS[dtype]


def array_type(dtype: str, ndim: int, contiguous: bool) -> Any:
    return types.Array(SCALARS[dtype], ndim, "C" if contiguous else "A")


def tuple_of(items: Sequence[Any]) -> Any:
    return types.Tuple(tuple(items))  # type: ignore[no-untyped-call]


_KNOWN = ("graphexec", "numba", "numpy")
"""Packages whose functions Numba supports, or that are registered with it."""


def compile_helpers(function: Callable[..., Any], prepare: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Compiles the plain functions that a function calls, after ``prepare``, and puts them into its globals, which are its own."""
    compiled: dict[Any, Any] = {}
    callers: list[Any] = [function]
    while callers:
        caller = callers.pop()
        for name in {i.argval for i in dis.get_instructions(caller) if i.opname == "LOAD_GLOBAL"}:
            helper = caller.__globals__.get(name)
            plain = isinstance(helper, FunctionType) and helper is not caller
            if plain and (helper.__module__ or "").partition(".")[0] not in _KNOWN:
                if helper not in compiled:
                    callers.append(prepare(helper))
                    compiled[helper] = numba.njit(error_model="numpy", fastmath={"contract"})(callers[-1])
                caller.__globals__[name] = compiled[helper]


def compile_function(function: Callable[..., Any], arguments: Sequence[Any], name: str) -> Compiled:
    """Compiles a function of numbers and arrays. *Raises* NumbaError if it is not nopython code."""
    from graphexec.gemm import numba_intrinsics as product
    from graphexec.vecmath import numba_overloads as vector_math

    with toolchain.LOCK:
        vector_math.register()
        product.register()
        ir, entry, returned = numba_internals.compile_to_ir(function, arguments)
        return Compiled(toolchain.isolate(ir, entry, name), _results(returned))


def _results(type_: Any) -> tuple[str, ...]:
    if isinstance(type_, types.NoneType):
        return ()
    several = isinstance(type_, types.BaseTuple)
    members = list(type_) if several else [type_]
    names = []
    for member in members:
        member = getattr(member, "literal_type", member)
        if str(member) not in SCALARS:
            raise errors.NumbaError(f"the function returns {type_}, which is not a number or a tuple of numbers")
        names.append(str(member))
    return tuple(names)

