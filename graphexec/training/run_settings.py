"""What decides a training run, kept in its checkpoint: resumed training is the same run, or it is refused.

Settings are plain data by name. Those that do not change what a run computes are left out: the number of epochs, of threads, and
metrics.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from graphexec.compiled import Compiled
from graphexec.errors import DataError
from graphexec.ir.function import Function
from graphexec.training.data.rows import Rows
from graphexec.training.row_analysis import needed

Settings = dict[str, Any]

WHOLE = 256 * 2**20
"""Arrays of up to this number of bytes are hashed whole; of larger ones, evenly spaced blocks that make up as much."""
BLOCK = 2**20
HASHES = ("graph", "data", "held-out data", "weights")
"""Settings that are hashes of what is too large to show."""


def of_compiled(compiled: Compiled) -> Settings:
    """The settings that a compiled graph has."""
    return {
        "seed": compiled.seed,
        "optimizer": None if compiled.optimizer is None else repr(compiled.optimizer),
        "loss": compiled.loss,
        "graph": graph_hash(compiled.graph.function(), compiled.loss),
        "recompute": _plain(compiled.functions.recompute),
        "skipped passes": sorted(compiled.skip),
    }


def of_data(train: Mapping[str, np.ndarray], held_out: Mapping[str, np.ndarray] | None, rows: tuple[int, int]) -> Settings:
    """The settings that the data decides; ``rows`` counts those to train on and those held out."""
    same = isinstance(train, Rows) and isinstance(held_out, Rows) and train.arrays is held_out.arrays
    return {
        "rows": rows[0],
        "held-out rows": rows[1],
        "data": data_hash(train),
        "held-out data": None if held_out is None or same else data_hash(held_out),
    }


def require_same(kept: Mapping[str, Any], now: Mapping[str, Any], source: str) -> None:
    """*Raises* DataError if a setting differs from the one that a checkpoint keeps."""
    differing = [name for name, value in now.items() if kept.get(name, "not kept") != value]
    if differing:
        raise DataError(
            f"the checkpoint was made with another {differing[0]}",
            source=source,
            facts=[_difference(name, kept.get(name, "not kept"), now[name]) for name in differing],
            todo="Resume with what the run began with: only epochs, threads and metrics may change. Or use a new folder.",
        )


def _difference(name: str, kept: Any, now: Any) -> str:
    if name in HASHES and kept != "not kept":
        return f"{name}: the content differs"
    return f"{name}: {kept} in the checkpoint, {now} now"


def graph_hash(fn: Function, loss: str | None) -> str:
    """A hash of what a loss is computed from: ops, attributes, sizes, types and constants, and the names of parameters."""
    nodes = fn.nodes if loss is None else needed(fn.nodes, [fn.value_id(loss)])
    read = {v for node in nodes for v in node.inputs}
    leaves = [leaf for leaf in fn.leaves if loss is None or leaf.value_id in read]
    numbers: dict[int, int] = {-1: -1}
    found = hashlib.blake2b(digest_size=16)
    for leaf in leaves:
        numbers[leaf.value_id] = len(numbers)
        value = None if leaf.value is None else array_hash(np.asarray(leaf.value))
        name = leaf.name if leaf.role != "constant" else None
        found.update(repr((name, leaf.role, leaf.shape, leaf.dtype, leaf.init, leaf.trainable, value)).encode())
    for node in nodes:
        found.update(repr((node.op.name, [numbers[v] for v in node.inputs], sorted(node.attributes.items()))).encode())
        for v in node.outputs:
            numbers[v] = len(numbers)
    return found.hexdigest()


def data_hash(data: Mapping[str, np.ndarray]) -> str:
    """A hash of arrays by input name."""
    found = hashlib.blake2b(digest_size=16)
    arrays = data.arrays if isinstance(data, Rows) else data
    for name in sorted(arrays):
        found.update(f"{name}:{array_hash(arrays[name])};".encode())
    if isinstance(data, Rows):
        found.update(data.index.tobytes())
    return found.hexdigest()


def array_hash(array: np.ndarray) -> str:
    """A hash of an array's type, shape and elements; of a large one, of a part of its elements."""
    found = hashlib.blake2b(repr((array.dtype.str, array.shape)).encode(), digest_size=16)
    for block in _blocks(array):
        found.update(np.ascontiguousarray(block).view(np.uint8).data if block.size else b"")
    return found.hexdigest()


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    rows = array.reshape(1) if array.ndim == 0 else array
    step = max(BLOCK // max(rows[:1].nbytes, 1), 1)
    begins = range(0, len(rows), step)
    stride = -(-array.nbytes // WHOLE) if array.nbytes > WHOLE else 1
    for begin in [*begins[::stride], *begins[-1:]]:
        yield rows[begin : begin + step]


def _plain(value: Any) -> Any:
    return [str(v) for v in value] if isinstance(value, tuple) else value
