"""slow_path: a rare case inside vector code, as a call of a function that returns immediately unless some lane needs it.

Vector code has no branches, and both sides of a `select` are always computed. If one side is rare and expensive, or loads from a
table (a separate index for each lane keeps LLVM from vectorising at all), a call is better: LLVM vectorises a loop with a call if
the function declares variants of itself that take vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from graphexec.vecmath.scalar import INF, Scalar

_LANES = (2, 4, 8, 16)


def replace_rare(x: Scalar, usual: Scalar, name: str, bound: float, rare: Callable[[Scalar], Scalar]) -> Scalar:
    """rare(x) where bound <= |x| < inf, else the usual result.

    LLVM finds the variants by the function's name. Linking modules must therefore merge equal names rather than rename them, and
    must keep llvm.compiler.used, which preserves the variants until a loop is vectorised.
    """
    module = x.builder.module
    function = module.globals.get(name) or _define_all(module, x.type, name, bound, rare)
    return Scalar(x.builder, x.builder.call(function, [x.value, usual.value]))


def _define_all(module: Any, kind: Any, name: str, bound: float, rare: Callable[[Scalar], Scalar]) -> Any:
    """Defines the function (x, usual) of scalars and its variants for vectors, which its attribute names.

    The function that the variants call for one lane has no variants itself: LLVM also vectorises calls of neighbouring lanes, and a
    variant that called the original function would recurse forever.
    """
    scalar, single = _define(module, name, kind), _define(module, f"{name}_lane", kind)
    variants = [_define(module, f"{name}_x{lanes}", ir.VectorType(kind, lanes)) for lanes in _LANES]
    mapping = ",".join(f"_ZGV_LLVM_N{v.args[0].type.count}vv_{name}({v.name})" for v in variants)
    set.add(scalar.attributes, f'"vector-function-abi-variant"="{mapping}"')
    _keep(module, variants)
    _fill(single, bound, lambda builder, x, _: rare(Scalar(builder, x)).value)
    _fill(scalar, bound, lambda builder, x, usual: builder.call(single, [x, usual]))
    for variant in variants:
        _fill(variant, bound, lambda builder, x, usual: _lane_by_lane(builder, single, x, usual))
    return scalar


def _keep(module: Any, functions: list[Any]) -> None:
    """Adds functions to the module's list of those that LLVM must keep though nothing refers to them."""
    used = module.globals.get("llvm.compiler.used")
    kept = [*([] if used is None else used.initializer.constant), *(f.bitcast(ir.PointerType()) for f in functions)]
    kind = ir.ArrayType(ir.PointerType(), len(kept))
    if used is None:
        used = ir.GlobalVariable(module, kind, "llvm.compiler.used")
        used.linkage, used.section = "appending", "llvm.metadata"
    used.value_type = kind
    used.initializer = ir.Constant(kind, kept)


def _define(module: Any, name: str, kind: Any) -> Any:
    function = ir.Function(module, ir.FunctionType(kind, [kind, kind]), name)
    function.linkage = "linkonce_odr"
    for attribute in ("noinline", "nounwind", "readnone", "speculatable", "willreturn"):
        set.add(function.attributes, attribute)  # past llvmlite's list of known attributes
    return function


def _fill(function: Any, bound: float, rare: Callable[[Any, Any, Any], Any]) -> None:
    """Writes the body: returns the usual result unless some lane has bound <= |x| < inf."""
    builder = ir.IRBuilder(function.append_basic_block())
    x, usual = function.args
    lanes = x.type.count if isinstance(x.type, ir.VectorType) else 0
    low, high = (ir.Constant(x.type, [end] * lanes if lanes else end) for end in (bound, INF))
    size = _call(builder, "llvm.fabs", x.type, x)
    needed = builder.and_(builder.fcmp_ordered(">=", size, low), builder.fcmp_ordered("<", size, high))
    if lanes:
        needed = _call(builder, "llvm.vector.reduce.or", ir.IntType(1), needed)
    with builder.if_then(needed, likely=False):
        builder.ret(rare(builder, x, usual))
    builder.ret(usual)


def _lane_by_lane(builder: Any, single: Any, x: Any, usual: Any) -> Any:
    for lane in range(x.type.count):
        index = ir.Constant(ir.IntType(32), lane)
        args = [builder.extract_element(vector, index) for vector in (x, usual)]
        usual = builder.insert_element(usual, builder.call(single, args), index)
    return usual


def _call(builder: Any, name: str, returns: Any, x: Any) -> Any:
    """Calls an LLVM intrinsic that is overloaded on a vector type; llvmlite cannot form its name."""
    vector = isinstance(x.type, ir.VectorType)
    element = x.type.element if vector else x.type
    suffix = "i1" if isinstance(element, ir.IntType) else element.intrinsic_name
    full = f"{name}.v{x.type.count}{suffix}" if vector else f"{name}.{suffix}"
    function = builder.module.globals.get(full) or ir.Function(builder.module, ir.FunctionType(returns, [x.type]), full)
    return builder.call(function, [x])
