"""Rare paths of functions: compiled once, called by symbol."""

import ctypes
import json

import numpy as np
import pytest
from llvmlite import ir

from graphexec import math
from graphexec.abi import RARE_PREFIX
from graphexec.codegen import linker
from graphexec.codegen.rare_paths import rare_path
from graphexec.codegen.scalar_compiler import compile_scalar
from graphexec.codegen.specialize import specialized
from graphexec.llvm import toolchain
from graphexec.vecmath.functions import EMITTERS
from graphexec.vecmath.scalar import Scalar

KINDS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}


def rare_names():
    """Every rare path and its variants, by the function that calls it."""
    found = {}
    for function, emit in EMITTERS.items():
        for kind in KINDS.values():
            module = ir.Module()
            caller = ir.Function(module, ir.FunctionType(kind, [kind] * function.__code__.co_argcount), "caller")
            builder = ir.IRBuilder(caller.append_basic_block())
            builder.ret(emit(*(Scalar(builder, a) for a in caller.args)).value)
            found.update({f.name: function for f in module.functions if f.name.startswith(RARE_PREFIX)})
    return found


NAMES = rare_names()


def test_sin_cos_and_tan_have_rare_paths_for_both_types_and_all_widths():
    assert set(NAMES.values()) == {math.sin, math.cos, math.tan}
    assert len(NAMES) == 3 * 2 * 6


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_module_of_its_own(name):
    symbol = "alone_" + name.removeprefix(RARE_PREFIX)
    code = toolchain.build([rare_path(name, symbol)], symbol)
    needs = json.loads(linker.pack(code, []).partition(b"\n")[0])["needs"]
    stem = name.partition("_lane")[0].partition("_x")[0]
    assert needs == ([] if name == stem + "_lane" else [stem + "_lane"]), "only the function for one lane has the code"


def test_an_unknown_name_is_told():
    with pytest.raises(RuntimeError, match="no function has a rare path graphexec_shared_nothing"):
        rare_path("graphexec_shared_nothing", "x")


def tangent(x):
    return math.tan(x)


@pytest.mark.parametrize("dtype", KINDS)
def test_a_caller_holds_no_rare_path_and_finds_it(dtype):
    name = f"caller_of_tan_{dtype}"
    made = compile_scalar(specialized(tangent, {}, scalar=True), [dtype], dtype, name, lambda helper: None)
    packed = linker.pack(toolchain.build([made.ir], name), [])
    assert len(packed) < 8_000 < len(made.ir)
    real = np.dtype(dtype).type
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, np.ctypeslib.as_ctypes_type(dtype))
    call = kind(linker.link(packed, name))
    out = np.zeros(1, dtype)
    for x in (0.5, 1e5, 2.0**27, 2.0**28, 1e17, 3e38):
        assert call(out.ctypes.data, 0, real(x)) == 0
        np.testing.assert_allclose(out[0], np.tan(np.float64(real(x))), rtol=4 * np.finfo(dtype).eps)
