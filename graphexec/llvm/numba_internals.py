"""numba_internals: everything that the engine takes from Numba's inside, which may change with any of its versions.

Elsewhere only what Numba documents is imported: `numba`, `numba.types`, `numba.extending` and `numba.errors`. Of llvmlite only
`llvmlite.ir` and `llvmlite.binding` are used, both public. This module imports Numba, so it is itself imported only when
something must be compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numba.core import cgutils, compiler, config, cpu_options
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys  # type: ignore[attr-defined]
from numba.np.arrayobj import make_array

from graphexec.llvm.toolchain import LOCK

__all__ = ["SEEN_WITH", "alloca_once", "array_struct", "compile_to_ir", "start_runtime", "unpack_tuple"]

SEEN_WITH = {"numba": ("0.63.0", "0.68.1"), "llvmlite": ("0.46.0", "0.50.0")}
"""The lowest and the newest version of each package with which the names in this module were seen to work."""

alloca_once = cgutils.alloca_once
"""Reserves stack memory in a function's first block: ``alloca_once(builder, type)``."""

unpack_tuple = cgutils.unpack_tuple
"""The members of a tuple in LLVM: ``unpack_tuple(builder, tuple, count)``."""

array_struct = make_array
"""The struct of an array type, with ``data``, ``shape`` and ``strides``: ``array_struct(type)(context, builder, value)``."""


def compile_to_ir(function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[str, str, Any]:
    """Compiles a function for argument types; gives LLVM IR, the name of the function in it, and the type that it returns.

    Its calling convention is Numba's: ``i32 name(ptr result, ptr exception, arguments...)``. *Raises* NumbaError.
    """
    flags: Any = compiler.Flags()  # type: ignore[no-untyped-call]
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    flags.fastmath = cpu_options.FastMathOptions({"contract"})  # type: ignore[no-untyped-call]
    flags.nrt = True
    flags.boundscheck = bool(getattr(config, "BOUNDSCHECK", False))  # for tests: a kernel then fails, and leaves no array
    typing, target = cpu_target.typing_context, cpu_target.target_context
    with LOCK:
        typing.refresh()
        target.refresh()
        result = compiler.compile_extra(typing, target, function, tuple(arguments), None, flags, {})  # type: ignore[no-untyped-call]
        return result.library.get_llvm_str(), result.fndesc.llvm_func_name, result.signature.return_type


def start_runtime() -> None:
    """Starts Numba's runtime, which kernels that allocate call."""
    rtsys.initialize(cpu_target.target_context)
