"""rare_paths: the rare paths of the functions of `graphexec.math`, such as the reduction of far angles, as modules of their own.

Every kernel that calls sin holds the usual path, inlined and vectorised. The rare path and its variants for vectors are compiled
once: they are larger than most kernels.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from graphexec.vecmath.functions import EMITTERS
from graphexec.vecmath.scalar import Scalar


def rare_path(name: str, symbol: str) -> str:
    """IR of the rare path called ``name``, or of its variant for vectors, under ``symbol``."""
    for function in EMITTERS:
        for kind in ("float", "double"):
            if name in _module(function, kind).globals:
                text = re.sub(f'^define linkonce_odr (.*@"{name}")', r"define \1", _text(function, kind), flags=re.MULTILINE)
                return text.replace(f'@"{name}"', f'@"{symbol}"')
    raise RuntimeError(f"no function has a rare path {name}")


@functools.cache
def _module(function: Callable[..., Any], kind: str) -> Any:
    """A module in which a function of one floating type is called, with all that it needs."""
    element = {"float": ir.FloatType(), "double": ir.DoubleType()}[kind]
    module = ir.Module()
    caller = ir.Function(module, ir.FunctionType(element, [element] * function.__code__.co_argcount), "caller")
    builder = ir.IRBuilder(caller.append_basic_block())
    builder.ret(EMITTERS[function](*(Scalar(builder, a) for a in caller.args)).value)
    return module


@functools.cache
def _text(function: Callable[..., Any], kind: str) -> str:
    return str(_module(function, kind))  # 130 kB, of which each variant takes its part
