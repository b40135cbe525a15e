"""Implements the commands ops list and info."""

from __future__ import annotations

from graphexec.cli import format as out
from graphexec.cli.session import Result, Settings, load_plugins
from graphexec.ir.attributes import REQUIRED
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import CompositeOp, ElementwiseOp
from graphexec.ir.registry import registry
from graphexec.ir.spec import DTYPES


def list_ops(settings: Settings, everything: bool) -> Result:
    """Lists the registered ops, without internal ones unless ``everything``, and notes the plugins that were refused."""
    load_plugins(settings)
    ops = [op for op in map(registry.get, registry.names()) if everything or not op.internal]
    records = [
        {
            "name": op.name, "kind": op.op_class, "signature": op.signature, "doc": _first_line(op), "package": _package(op),
            "internal": op.internal,
        }
        for op in ops
    ]  # fmt: skip
    rows = [tuple(str(r[key]) for key in ("name", "kind", "signature", "doc", "package")) for r in records]
    notes = [f"refused: {error}" for error in registry.refused.values()]
    shortened = {2: 11, 3: 18, 4: 8, 0: 12}  # the least important column first; a header takes two more than its letters
    return Result(out.fitted(rows, ("op", "kind", "signature", "", "from"), shortened), {"ops": records}, notes)


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
