"""Saves arrays as safetensors, and checkpoints from which training can resume.

A checkpoint is a folder with the arrays of its newest epoch in one file and ``latest.json``, which names that file and
holds the epoch, the history, and all settings that decide the run (`run_settings`). The arrays are written first, under a new
name, and the JSON is replaced last, so that a run stopped at any time leaves either the old checkpoint or the new one.

Mini-batches are shuffled by (seed, epoch) alone, so resumed training gives the same bits as uninterrupted training.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from graphexec.atomic_file import replacing
from graphexec.compiled import Compiled
from graphexec.errors import DataError
from graphexec.system_errors import require_file, unreadable, unwritable
from graphexec.training import run_settings, weights_file

POINTER = "latest.json"
MAX_RECORD = 2**30
"""Largest number of bytes that `latest.json` may have."""
VERSION = 1

Path_ = str | PathLike[str]


def save_arrays(path: Path_, arrays: Mapping[str, np.ndarray], *, note: str = "") -> None:
    """Writes arrays as safetensors, atomically. *Raises* DataError if the file cannot be written."""
    parts = weights_file.parts(arrays, {"graphexec": note or "parameters"})
    try:
        with replacing(path) as stream:
            for part in parts:
                stream.write(part)
    except (OSError, ValueError) as error:
        raise unwritable(path, error, needed=sum(len(part) for part in parts)) from error


def load_arrays(path: Path_) -> dict[str, np.ndarray]:
    """Reads a safetensors file. *Raises* DataError if it is missing, truncated or of another format."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    target = Path(path)
    require_file(target, todo="Give the path of a .safetensors file.")
    try:
        arrays: dict[str, np.ndarray] = load_file(target)
    except OSError as error:
        raise unreadable(target, error) from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        weights_file.require_known_types(target)
        raise DataError(
            "the file is truncated or not a safetensors file",
            source=str(target),
            facts=[f"{type(error).__name__}: {error}"],
            todo="Write weights with exe.save(path) or `graphexec train -o FILE.safetensors`; pickled files are not read.",
        ) from error
    return arrays


def save_checkpoint(
    directory: Path_, compiled: Compiled, epoch: int, history: list[dict[str, Any]],
    arrays: Mapping[str, np.ndarray] | None = None, settings: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Writes parameters and the optimizer's state after an epoch, then removes the arrays of older checkpoints.

    ``arrays`` is a copy of ``compiled.state`` from the end of that epoch, if the state has changed since. ``settings`` decide the
    run beside those of the compiled graph; see `run_settings`.
    """
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    name = f"epoch-{epoch:06d}.safetensors"
    save_arrays(folder / name, compiled.state if arrays is None else arrays, note=f"checkpoint of epoch {epoch}")
    record = {
        "graphexec": VERSION,
        "epoch": epoch,
        "seed": compiled.seed,
        "optimizer": _optimizer(compiled),
        "arrays": name,
        "history": history,
        "run": {**run_settings.of_compiled(compiled), **(settings or {})},
    }
    write_text(folder / POINTER, json.dumps(strict(record), indent=1) + "\n")
    for old in folder.glob("epoch-*.safetensors"):
        if old.name != name:
            with contextlib.suppress(OSError):
                old.unlink()


def load_checkpoint(
    directory: Path_, compiled: Compiled, settings: Mapping[str, Any] | None = None
) -> tuple[int, list[dict[str, Any]]]:
    """Restores the state from the newest checkpoint; returns its epoch and the history up to it.

    *Raises* DataError if there is none, if it is broken, or if a setting that decides the run differs: of the compiled graph, or in
    ``settings``.
    """
    record = checkpoint_record(directory)
    if record is None:
        raise DataError("there is no checkpoint in this folder", source=str(directory), todo="Train with --checkpoint first.")
    now = {**run_settings.of_compiled(compiled), **(settings or {})}
    run_settings.require_same(record["run"], now, str(Path(directory, POINTER)))
    path = Path(directory, record["arrays"])
    arrays = load_arrays(path)
    missing = [n for n in compiled.state_leaves() if n not in arrays]
    if missing:
        raise DataError(f"the checkpoint has no array {missing[0]!r}", source=str(path), todo="Resume with the same graph.")
    compiled.assign(arrays, str(path))
    return record["epoch"], record["history"]


def checkpoint_record(directory: Path_) -> dict[str, Any] | None:
    """Reads ``latest.json``; returns None if the folder has no checkpoint. *Raises* DataError if it is broken."""
    place = Path(directory, POINTER)
    if not place.is_file():
        return None
    try:
        if place.stat().st_size > MAX_RECORD:
            raise ValueError(f"it has more than {MAX_RECORD} bytes")
        record = json.loads(place.read_text(encoding="utf-8"))
        sound = (
            record["graphexec"] == VERSION
            and type(record["epoch"]) is int
            and record["epoch"] >= 0
            and isinstance(record["history"], list)
            and all(isinstance(entry, dict) for entry in record["history"])
            and isinstance(record["run"], dict)
            and re.fullmatch(r"epoch-[0-9]{1,12}\.safetensors", record["arrays"]) is not None
        )
    except OSError as error:
        raise unreadable(place, error) from error
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise DataError(
            "this is not a checkpoint",
            source=str(place),
            facts=[f"{type(error).__name__}: {error}"],
            todo="Use a new folder.",
        ) from error
    if not sound:
        raise DataError("this is not a checkpoint of this version", source=str(place), todo="Use a new folder.")
    found: dict[str, Any] = record
    return found


def _optimizer(compiled: Compiled) -> str | None:
    return None if compiled.optimizer is None else compiled.optimizer.op.name


def strict(value: Any) -> Any:
    """Replaces NaN and infinity, which JSON lacks, by null."""
    if isinstance(value, Mapping):
        return {str(k): strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_text(target: Path, text: str) -> None:
    data = text.encode("utf-8")
    try:
        with replacing(target) as stream:
            stream.write(data)
    except OSError as error:
        raise unwritable(target, error, needed=len(data)) from error
