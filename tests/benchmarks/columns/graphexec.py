"""graphexec as a column of a benchmark harness: versions(), supports(w), build(w) -> step.

The harness imports this file as `peers.graphexec`, so `import graphexec` inside it finds the installed package.
"""

import functools
import importlib.util
import os
import sys
from pathlib import Path

if os.environ.get("BENCH_CACHE_DIR"):
    os.environ["GRAPHEXEC_CACHE_DIR"] = os.path.join(os.environ["BENCH_CACHE_DIR"], "graphexec")

import graphexec as gx


def _models():
    """The graphs of the workloads, from the file beside this folder."""
    spec = importlib.util.spec_from_file_location("graphexec_models", Path(__file__).resolve().parents[1] / "models.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


models = _models()


def versions():
    import llvmlite
    import numba

    return {"graphexec": gx.__version__, "numba": numba.__version__, "llvmlite": llvmlite.__version__}


def supports(w):
    return w.model in models.GRAPHS


def build(w):
    exe = models.build(w, threads=int(os.environ.get("BENCH_THREADS", "2")))
    if w.opt is None:
        (name,) = exe(**w.data)  # leaves the inputs in place

        def step():
            return exe()[name]

        return step
    exe.compiled.bound("step", w.data)  # copies the inputs in, and runs nothing
    step = functools.partial(exe.step)
    step.params = lambda: dict(exe.parameters)
    return step
