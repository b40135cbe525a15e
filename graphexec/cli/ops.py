"""Implements the commands ops list, info, new and check."""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphexec.cli import format as out
from graphexec.cli.session import Result, Settings, load_plugins
from graphexec.errors import DifferentiationError, GradientMismatch, GraphExecError, OpError, PluginError
from graphexec.ir.attributes import REQUIRED
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import CompositeOp, ElementwiseOp
from graphexec.ir.registry import registry
from graphexec.ir.spec import DTYPES
from graphexec.system_errors import unwritable

Row = tuple[str, str, str, str]
"""Op, comparison, finding, result."""
TOLERANCE = {"float32": 2e-5, "float64": 1e-10}
"""Largest accepted difference between native, un-jitted and reference results, relative to the largest result."""


def list_ops(settings: Settings) -> Result:
    """Lists the registered ops, and notes the plugins that were refused."""
    load_plugins(settings)
    ops = [registry.get(name) for name in registry.names()]
    records = [
        {"name": op.name, "kind": op.op_class, "signature": op.signature, "doc": _first_line(op), "package": _package(op)}
        for op in ops
    ]
    rows = [(r["name"], r["kind"], r["signature"], r["doc"], r["package"]) for r in records]
    notes = [f"refused: {error}" for error in registry.refused.values()]
    return Result(out.table(rows, ("op", "kind", "signature", "", "from")), {"ops": records}, notes)


def _first_line(op: Op) -> str:
    return op.doc.partition("\n")[0]


def _package(op: Op) -> str:
    package = op.function.__module__.partition(".")[0]
    if package == "graphexec_ops":
        return "built in"
    return op.file.rpartition(":")[0] if package.startswith("graphexec_plugin_") else package


def info(name: str, settings: Settings) -> Result:
    """Describes an op."""
    load_plugins(settings)
    op = registry.get(name)
    types = [t for t, kind in DTYPES.items() if kind in op.kinds]
    record = {
        "name": op.name,
        "kind": op.op_class,
        "signature": op.signature,
        "inputs": list(op.inputs),
        "outputs": list(op.outputs),
        "attributes": {k: None if d is REQUIRED else d for k, d in op.attributes.items()},
        "dtypes": types,
        "types": dict(op.types),
        "backward": backward_text(op),
        "onnx": op.onnx,
        "file": op.file,
        "doc": op.doc,
        "package": _package(op),
    }
    fixed = f"; {', '.join(f'{p}: {t}' for p, t in op.types.items())}" if op.types else ""
    lines = [
        f"{op.name}{op.signature} -> {', '.join(op.outputs)}",
        "",
        op.doc,
        "",
        f"kind      {op.op_class}",
        f"dtypes    {', '.join(types)}{fixed}",
        f"backward  {record['backward']}",
        f"onnx      {op.onnx or 'none named'}",
        f"file      {op.file} ({_package(op)})",
    ]
    return Result("\n".join(lines), record)


def backward_text(op: Op) -> str:
    """Says in a few words how an op is differentiated."""
    if not op.differentiable or "f" not in op.kinds:
        return "none: not differentiable"
    if op.backward_op is not None:
        return f"a kernel; it reads {', '.join(p for p in op.backward_op.inputs if p not in op.backward_op.shape_only)}"
    if op.gradient_rule is not None:
        return "a rule written in ops; can be differentiated again"
    if isinstance(op, CompositeOp):
        return "through the ops it consists of"
    return "derived from the forward function" if isinstance(op, ElementwiseOp) else "none"


def new(name: str, settings: Settings, kernel: bool) -> Result:
    """Writes NAME.py, a working plugin. *Raises* PluginError for an invalid or taken name, or an existing file."""
    from graphexec.cli.scaffold import ELEMENTWISE, KERNEL

    load_plugins(settings)
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or not name.isascii():
        raise PluginError(
            f"{name!r} is not a valid op name", todo="Use letters, digits and underscores, as for a Python function."
        )
    if name in registry:
        raise PluginError(f"an op named {name!r} exists already", source=registry.get(name).file, todo="Choose another name.")
    path = Path(f"{name}.py")
    try:
        with open(path, "x", encoding="utf-8") as stream:
            stream.write((KERNEL if kernel else ELEMENTWISE).replace("{name}", name))
    except FileExistsError:
        raise PluginError("the file exists already", source=str(path), todo="Choose another name, or move the file away.") from None
    except OSError as error:
        raise unwritable(path, error, PluginError) from error
    return Result(f"wrote {path}\nTry it: graphexec ops check {path}", {"file": str(path), "op": name})


# -- check


def check(target: str, settings: Settings, attributes: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]) -> Result:
    """Checks an op, or every op that a plugin file declares."""
    load_plugins(settings)
    names = registry.load_file(target) if target.endswith(".py") else [registry.get(target).name]
    rows: list[Row] = []
    for name in names:
        rows += _check_op(registry.get(name), attributes, list(shapes) or None, settings.seed or 0)
    failed = [r for r in rows if r[3] == "FAILED"]
    record = {"passed": not failed, "checks": [dict(zip(("op", "check", "found", "result"), r, strict=True)) for r in rows]}
    error = None
    if failed:
        facts = [f"{check}: {found}" for _, check, found, _ in failed]
        error = OpError(f"{len(failed)} of {len(rows)} checks failed", op=failed[0][0], facts=facts)
    return Result(out.table(rows, ("op", "check", "found", "result")), record, error=error)


def _check_op(op: Op, attributes: Mapping[str, Any], shapes: Sequence[Any] | None, seed: int) -> list[Row]:
    try:
        checked = op.check_attributes(attributes)
    except OpError as error:
        return [(op.name, "attributes", f"{error.what}; give it with --attribute KEY=VALUE", "FAILED")]
    rows = [row for dtype in ("float32", "float64") for row in _check_values(op, checked, shapes, dtype, seed)]
    return [*rows, _check_gradient(op, checked, shapes, seed)]


def _check_values(op: Op, attributes: Mapping[str, Any], shapes: Sequence[Any] | None, dtype: str, seed: int) -> list[Row]:
    """Compares native and un-jitted results with the reference."""
    from graphexec.eager import compute
    from graphexec.gradcheck import draw_operands
    from graphexec.interpret import evaluate
    from graphexec.ir.op import array_spec

    integer = "int32" if dtype == "float32" else "int64"
    drawn = dtype if "f" in op.kinds else integer if "i" in op.kinds else "bool"
    rows = []
    try:
        operands = draw_operands(op, np.random.default_rng(seed), shapes, drawn)
        expected = evaluate(op, operands, attributes)
        found = compute(op, operands, attributes)
    except (GraphExecError, ValueError, TypeError, IndexError) as error:
        what = getattr(error, "what", str(error))
        return [(op.name, f"native = reference, {drawn}", f"{what}; give the shapes of its operands with --shape", "FAILED")]
    rows.append(_compared(op, f"native = reference, {drawn}", found, expected, dtype))
    if isinstance(op, (ElementwiseOp, KernelOp)):
        specs = op.infer([None if a is None else array_spec(a) for a in operands], attributes)
        try:
            plain = op.call_plain(operands, attributes, specs)
        except NotImplementedError:
            rows.append((op.name, f"un-jitted = reference, {drawn}", "it calls functions that run only when compiled", "skipped"))
        else:
            rows.append(_compared(op, f"un-jitted = reference, {drawn}", plain, expected, dtype))
    return rows


def _compared(op: Op, what: str, found: Any, expected: Sequence[np.ndarray], dtype: str) -> Row:
    results = list(found) if isinstance(found, (tuple, list)) else [found]
    error = 0.0
    for a, b in zip(results, expected, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if a.shape != b.shape:
            return (op.name, what, f"shapes {a.shape} and {b.shape}", "FAILED")
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(all="ignore"):
            gap = np.where(same, 0.0, np.abs(a - b))
        scale = max(float(np.max(np.abs(b[np.isfinite(b)]), initial=0.0)), 1.0)
        error = max(error, float(np.max(np.nan_to_num(gap, nan=np.inf), initial=0.0)) / scale)
    return (op.name, what, f"difference {error:.1e}", "passed" if error <= TOLERANCE[dtype] else "FAILED")


def _check_gradient(op: Op, attributes: Mapping[str, Any], shapes: Sequence[Any] | None, seed: int) -> Row:
    from graphexec.gradcheck import check_gradient

    what = "gradient = central differences"
    if not op.differentiable or "f" not in op.kinds:
        return (op.name, what, "not differentiable", "skipped")
    try:
        report = check_gradient(op, attributes=attributes, shapes=shapes, seed=seed)
    except DifferentiationError as error:
        return (op.name, what, error.what, "FAILED" if op.differentiable_inputs else "skipped")
    except GradientMismatch as error:
        return (op.name, what, "; ".join(error.facts), "FAILED")
    except GraphExecError as error:
        return (op.name, what, error.what, "FAILED")
    return (op.name, what, f"difference {report.max_error:.1e}", "passed")
