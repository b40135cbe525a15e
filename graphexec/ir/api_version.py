"""The version of the plugin interface, and what becomes of a plugin that was written for another one."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from graphexec.errors import PluginError

API_VERSION = 1
"""Version of everything that `graphexec.plugin` and `graphexec.math` offer. It grows when a plugin could notice a change."""

STATEMENT = "api_version"
"""The name under which a plugin states the version that it was written for."""


def require_known(module: ModuleType) -> None:
    """Checks the version that a module states, if it does. *Raises* PluginError for a newer one, and for what is no version."""
    stated = vars(module).get(STATEMENT)
    if stated is not None:
        _require(stated, getattr(module, "__file__", None) or module.__name__)


def newer(path: str | Path | None) -> PluginError | None:
    """The reason why a file could not be run, if it states a version that is unknown here: what it imports may not exist yet."""
    try:
        tree = ast.parse(Path(path or "").read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        named = any(isinstance(t, ast.Name) and t.id == STATEMENT for t in targets)
        if named and isinstance(value := getattr(node, "value", None), ast.Constant):
            try:
                _require(value.value, f"{path}:{node.lineno}")
            except PluginError as error:
                return error
    return None


def newer_module(name: str) -> PluginError | None:
    """The same for a module, of which only the name is known, and for the packages around it."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:count]))
        except Exception:  # finding a module runs the packages around it, which may fail in any way
            return None
        error = newer(spec.origin) if spec is not None and spec.has_location else None
        if error is not None:
            return error
    return None


def _require(stated: Any, source: str) -> None:
    if type(stated) is not int or stated < 1:
        raise PluginError(
            f"{STATEMENT} = {stated!r} is not a version of the plugin interface", source=source,
            todo=f"State the one that the plugin was written for: {STATEMENT} = {API_VERSION}.",
        )  # fmt: skip
    if stated > API_VERSION:
        raise PluginError(
            f"the plugin needs version {stated} of the plugin interface; this graphexec has version {API_VERSION}", source=source,
            todo="Upgrade graphexec, or install an older release of the plugin.",
        )  # fmt: skip
