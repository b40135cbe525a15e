"""The benchmark's workloads give the same bits on any number of threads, after many steps."""

import hashlib
import importlib.util
import sys
from pathlib import Path

import pytest

from graphexec.ir.registry import registry
from graphexec.runtime import thread_tuner

STEPS = 200
FEWER = {"lstm": 30, "rnn": 60}  # a step takes long


def _models():
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "models.py"
    spec = importlib.util.spec_from_file_location("graphexec_models", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


models = _models()


def digest(name, threads, steps):
    """Hash of a workload's parameters after some steps, all of them on ``threads`` threads; whether threads had work."""
    w = models.get(name)
    exe = models.build(w, threads=threads)
    exe.step(**w.data)
    exe.compiled.last.run(steps - 1)
    found = hashlib.sha256()
    for parameter in sorted(exe.parameters):
        found.update(exe.parameters[parameter].tobytes())
    return found.hexdigest(), exe.program.parallel


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in models.WORKLOADS if not n.startswith("infer")])
def test_many_steps(name, monkeypatch):
    steps = FEWER.get(name, STEPS)
    monkeypatch.setattr(thread_tuner.ThreadTuner, "choose", lambda self: (self._counts[0], steps))
    try:
        expected, parallel = digest(name, 1, steps)
        assert not parallel
        for threads in (2, 3, 8):
            assert digest(name, threads, steps)[0] == expected, f"{threads} threads"
    finally:
        if name == "custom":  # it brings an op of its own
            registry.unregister("swish15")
