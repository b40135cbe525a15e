"""Implements the command ops check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphexec.cli.session import Result, Settings, load_plugins
from graphexec.errors import OpError
from graphexec.ir.registry import registry
from graphexec.opcheck import check_op
from graphexec.progress import watch


def check(
    targets: Sequence[str], settings: Settings, attributes: Mapping[str, Any] | None, shapes: Sequence[tuple[int, ...]],
    derivative: int, timeout: float,
) -> Result:  # fmt: skip
    """Checks ops, and every op that a plugin file declares; its error, if an op has a fault, names the first."""
    load_plugins(settings)
    names = [n for t in targets for n in (registry.load_file(t) if t.endswith(".py") else [registry.get(t).name])]
    options: dict[str, Any] = {"derivative": derivative, "attributes": attributes, "shapes": list(shapes) or None}
    options["timeout"] = timeout
    reports = [check_op(name, seed=settings.seed or 0, **options) for name in watch("checks", names, "op")]
    record = {"passed": all(r.passed for r in reports), "ops": [r.as_dict() for r in reports]}
    failed = [r for r in reports if not r.passed]
    error = None
    if failed:
        count = sum(len(r.faults) for r in failed)
        what = f"{count} fault{'s' if count > 1 else ''} found" + (f" in {len(failed)} ops" if len(failed) > 1 else "")
        facts = [f"{f.check}: {f.text}" for r in failed[:1] for f in r.faults[:3]]
        error = OpError(what, op=failed[0].op, facts=facts, todo="The report above shows each with code that reproduces it.")
    return Result("\n\n".join(str(r) for r in reports), record, error=error)
