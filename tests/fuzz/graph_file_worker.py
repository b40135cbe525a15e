"""What is done with each graph file: load, compile, call, step, save. See `helpers.fuzz`."""

import os
import signal
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

import graphexec as gx
from graphexec.graph.file.read import loads
from graphexec.graph.file.write import dumps
from graphexec.ir.infer import infer

LARGE = 2**24
"""Bytes of all values beyond which a graph is not run: each takes the time that its size demands."""

COMPILING = 60.0
"""Seconds that compiling the kernels may take, which are not counted."""

HOSTILE = np.array([0, 1, -1, 2, 3, 7, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63), -(2**63) + 1])


def examine(case: bytes) -> str:
    """Returns how far a file got. The first byte of a case is the format: y or j."""
    form = "json" if case[:1] == b"j" else "yaml"
    try:
        graph = loads(case[1:], form)
    except gx.GraphExecError as error:
        return _own(error, "refused")
    text = dumps(graph.dag, graph.function(), form)
    assert dumps((again := loads(text, form)).dag, again.function(), form) == text, "saved and loaded, the graph is another one"
    left, _ = signal.setitimer(signal.ITIMER_PROF, COMPILING)
    try:
        return _run(graph, zlib.crc32(case), left)
    except gx.GraphExecError as error:
        return _own(error, "refused when it ran")


def _own(error: gx.GraphExecError, outcome: str) -> str:
    """One of the library's errors, which must not hide another one."""
    text = str(error)
    for hidden in ("its shape rule failed", "failed with status", "Numba cannot compile", "is wrong"):
        if hidden in text:
            raise AssertionError(text) from error
    return outcome


def _run(graph: gx.Graph, seed: int, seconds: float) -> str:
    fn = graph.function()
    names = {n for leaf in fn.leaves for n in leaf.shape if isinstance(n, str)}
    specs = infer(fn, dict.fromkeys(names, 2)).specs
    if sum(spec.nbytes for spec in specs) > LARGE:
        return "large"
    rng = np.random.default_rng(seed)
    feed = {leaf.name: _values(rng, specs[leaf.value_id]) for leaf in fn.leaves if leaf.role == "input"}
    train = graph.dag.graph.get("train", {})
    loss = train.get("loss")
    if loss is None:
        loss = next((n for n, v in fn.outputs.items() if specs[v].shape == () and specs[v].dtype.startswith("float")), None)
    trained = any(leaf.role == "parameter" and leaf.trainable and leaf.dtype.startswith("float") for leaf in fn.leaves)
    plain = gx.compile(graph, threads=1)
    plain(**feed)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    plain(**feed)
    with tempfile.TemporaryDirectory() as folder:
        plain.save(os.path.join(folder, "w.safetensors"))
        plain.load(os.path.join(folder, "w.safetensors"))
        graph.save(os.path.join(folder, "g.yaml"))
    if loss is None or not trained:
        return "ran"
    signal.setitimer(signal.ITIMER_PROF, COMPILING)
    exe = gx.compile(graph, loss=loss, optimizer=train.get("optimizer", "adam(lr=0.01)"), threads=1)
    exe.step(**feed)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    exe.step(**feed)
    return "trained"


def _values(rng: np.random.Generator, spec: object) -> np.ndarray:
    shape, dtype = tuple(int(n) for n in spec.shape), spec.dtype
    if dtype.startswith("int"):
        info = np.iinfo(dtype)
        few = HOSTILE[(HOSTILE >= info.min) & (HOSTILE <= info.max)] if rng.integers(3) == 0 else np.arange(3)
        return rng.choice(few, shape).astype(dtype)
    return rng.uniform(-2, 2, shape).astype(dtype) if dtype != "bool" else rng.integers(0, 2, shape).astype(bool)


if __name__ == "__main__":  # one file, by hand
    print(examine((b"j" if sys.argv[1].endswith(".json") else b"y") + Path(sys.argv[1]).read_bytes()))
