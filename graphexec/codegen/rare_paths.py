"""rare_paths: the rare paths of the functions of `graphexec.math`, such as the reduction of far angles, as modules of their own.

Every kernel that calls sin holds the usual path, inlined and vectorised. The rare path and its variants for vectors are compiled
once: they are larger than most kernels.
"""

from __future__ import annotations

from llvmlite import ir

from graphexec.vecmath.functions import EMITTERS
from graphexec.vecmath.scalar import Scalar


def rare_path(name: str, symbol: str) -> str:
    """IR of the rare path called ``name``, or of its variant for vectors, under ``symbol``."""
    for function, emit in EMITTERS.items():
        for kind in (ir.FloatType(), ir.DoubleType()):
            module = ir.Module()
            caller = ir.Function(module, ir.FunctionType(kind, [kind] * function.__code__.co_argcount), "caller")
            builder = ir.IRBuilder(caller.append_basic_block())
            builder.ret(emit(*(Scalar(builder, a) for a in caller.args)).value)
            if name in module.globals:
                module.globals[name].linkage = ""
                return str(module).replace(f'@"{name}"', f'@"{symbol}"')
    raise RuntimeError(f"no function has a rare path {name}")
