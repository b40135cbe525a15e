"""What every test gets: a kernel cache of this run, seeds that are fixed and printed, and a guard around the registry."""

import os
import shutil
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # `from helpers.run import ...`: importlib mode leaves the path alone


def pytest_configure(config):
    """A private kernel cache shared by this run; set GRAPHEXEC_CACHE_DIR to keep one between runs."""
    if "GRAPHEXEC_CACHE_DIR" not in os.environ:
        config.graphexec_cache = os.environ["GRAPHEXEC_CACHE_DIR"] = tempfile.mkdtemp(prefix="graphexec-tests-")


def pytest_unconfigure(config):
    folder = getattr(config, "graphexec_cache", None)
    if folder is not None:
        del os.environ["GRAPHEXEC_CACHE_DIR"]
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def rng(request):
    """Random numbers of this test, the same in every run."""
    seed = zlib.crc32(request.node.name.encode())
    print(f"seed {seed}")  # pytest shows it when the test fails
    return np.random.default_rng(seed)


@pytest.fixture(autouse=True)
def _unchanged():
    """Fails a test that leaves the registry or NumPy's error settings changed, and puts them back."""
    from graphexec.ir.registry import registry

    before, settings = registry.snapshot(), np.geterr()
    yield
    after = registry.snapshot()
    registry.restore(before)
    now = np.seterr(**settings)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) is not after.get(name))
    assert not changed, f"the test left the registry changed: {', '.join(changed)}"
    assert now == settings, f"the test left NumPy's error settings changed: {now}"


# -- functions made of graphs, run as they stand; the engine is imported when it is used, after the cache has its place


@pytest.fixture
def prepared():
    """``prepared(graph, batch=3)``: its order with composite ops expanded and sizes known."""
    from graphexec.ir.infer import infer
    from graphexec.ir.spec import Sizes
    from graphexec.rewrite.legalize.inline_composites import inline_composites

    return lambda graph, **sizes: inline_composites(infer(graph.function(), Sizes(sizes)))


@pytest.fixture
def execute():
    """``execute(order, arrays)``: outputs by name, run natively without any pass."""

    from helpers.run import poison

    from graphexec.lower import lower
    from graphexec.lower.alignment import aligned_array
    from graphexec.runtime.runner import Runner

    def run(fn, arrays, threads=1, reuse=True):
        buffers = {leaf.name: aligned_array(arrays[leaf.name]) for leaf in fn.leaves if leaf.role != "constant"}
        program = lower(fn, buffers, fn.outputs.values(), threads=threads, reuse=reuse)
        program.check()
        poison(program)
        Runner(program, fn, {}, threads).run()
        return {name: program.array(v).copy() for name, v in fn.outputs.items()}

    return run


@pytest.fixture
def agrees(execute):
    """``agrees(graph, order, arrays)``: the rewritten order gives what the interpreter gives for the graph."""

    from graphexec.interpret import interpret

    def check(graph, fn, arrays, rtol=1e-13):
        expected, found = interpret(graph, arrays), execute(fn, arrays)
        for name, array in found.items():
            np.testing.assert_allclose(array, expected[name], rtol=rtol, atol=1e-13, err_msg=name)
            assert array.dtype == expected[name].dtype

    return check


@pytest.fixture
def registry_kept():
    """Lets a test change which ops are known; they are as before afterwards."""
    from graphexec.ir.registry import registry

    before = registry.snapshot()
    yield registry
    registry.restore(before)
