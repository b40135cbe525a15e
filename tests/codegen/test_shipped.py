"""The functions of built-in array kernels that the package brings: fresh, never stale, and those that Numba would make."""

import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from helpers.run import registered

import graphexec as gx
from graphexec.codegen import shipped
from graphexec.ir.fused.gemm_epilogue import with_epilogue
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.registry import registry
from graphexec.llvm import fingerprint
from graphexec.llvm.shipped import Archive
from graphexec.plugin import kernel

OPS = {op.name: op for op in map(registry.get, registry.names()) if isinstance(op, KernelOp)}
PARTS = ("types", "float32")


def members():
    with zipfile.ZipFile(shipped.ARCHIVE.path) as archive:
        return archive.namelist(), archive.comment.decode()


def test_the_file_is_fresh():
    """After a change of an array kernel, or of what compiles it, run `python tests/shipped_code.py`."""
    names, made_with = members()
    if made_with.split()[:4] != fingerprint.frontend().split()[:4]:
        pytest.skip(f"made with other versions, or for another platform: {made_with.split()[:4]}")
    assert made_with == fingerprint.frontend()
    ops = [*OPS.values(), with_epilogue(OPS["matmul"])]
    assert {n.rpartition("_")[0] for n in names} <= {shipped.key_of(op, PARTS).rpartition("_")[0] for op in ops}
    assert len(names) > 60
    assert shipped.ARCHIVE.path.stat().st_size < 3e6


FACTOR = 2.0


def _times(x):
    return FACTOR * x


def declared(function):
    return kernel("(n)->(n)", reference=np.array, domain=(0.5, 1.0), differentiable=False)(function).op


@pytest.mark.parametrize("change", ["source", "constant", "helper"])
def test_a_change_of_a_function_changes_its_key(change, monkeypatch):
    def scaled(x, out):
        for i in range(x.size):
            out[i] = _times(x[i]) * FACTOR

    def scaled_otherwise(x, out):
        for i in range(x.size):
            out[i] = _times(x[i]) / FACTOR

    scaled_otherwise.__name__ = "scaled"
    op = declared(scaled)
    before = shipped.key_of(op, PARTS)
    assert shipped.key_of(op, PARTS) == before
    assert shipped.key_of(op, ("types", "float64")) != before
    if change == "constant":
        monkeypatch.setitem(globals(), "FACTOR", 3.0)
    elif change == "helper":
        monkeypatch.setitem(globals(), "_times", lambda x: x * FACTOR)
    else:
        op = declared(scaled_otherwise)
    assert shipped.key_of(op, PARTS) != before


def test_an_ops_options_do_not_change_its_key_but_a_helpers_decorator_does(monkeypatch):
    def plain(function):
        return function

    def declare_once():
        @kernel("(n)->(n)", reference=np.array, domain=(0.5, 1.0), differentiable=False)
        def scaled(x, out):
            for i in range(x.size):
                out[i] = _times(x[i])

        return scaled.op

    def declare_again():
        @kernel("(n)->(n)", reference=np.copy, domain=(0.25, 2.0), differentiable=False, onnx="Scaled")
        def scaled(x, out):
            for i in range(x.size):
                out[i] = _times(x[i])

        return scaled.op

    @plain
    def _times_decorated(x):
        return FACTOR * x

    before = shipped.key_of(declare_once(), PARTS)
    assert shipped.key_of(declare_again(), PARTS) == before
    _times_decorated.__qualname__, _times_decorated.__name__ = _times.__qualname__, _times.__name__
    monkeypatch.setitem(globals(), "_times", _times_decorated)
    assert shipped.key_of(declare_once(), PARTS) != before


@pytest.mark.parametrize("name", ["numba", "llvmlite"])
def test_another_version_ignores_the_file(name, monkeypatch):
    real = fingerprint.version
    monkeypatch.setattr(fingerprint, "version", lambda package: "0.0" if package == name else real(package))
    fingerprint.frontend.cache_clear()
    try:
        assert Archive(shipped.ARCHIVE.path, fingerprint.frontend).members is None
    finally:
        fingerprint.frontend.cache_clear()


def _damaged(sound, how):
    if how == "missing":
        return None
    if how == "short":
        return sound[: len(sound) // 2]
    if how == "text":
        return b"no archive"
    at = sound.index(b"gather_") + 300  # inside a member
    return sound[:at] + bytes(200) + sound[at + 200 :]


@pytest.mark.parametrize("how", ["missing", "short", "text", "member"])
def test_a_damaged_file_is_ignored(how, tmp_path):
    data = _damaged(shipped.ARCHIVE.path.read_bytes(), how)
    path = tmp_path / "functions.zip"
    if data is not None:
        path.write_bytes(data)
    names, made_with = members()
    (name,) = [n for n in names if n.startswith("gather_")][:1]
    assert Archive(path, lambda: made_with).read(name, "symbol") is None
    assert Archive(shipped.ARCHIVE.path, lambda: made_with).read(name, "symbol") is not None


def test_the_same_texts_give_the_same_bytes(tmp_path):
    archives = [Archive(tmp_path / name, lambda: "now") for name in ("a", "b")]
    archives[0].write({"x": "1", "y": "2" * 1000})
    archives[1].write({"y": "2" * 1000, "x": "1"})
    assert archives[0].path.read_bytes() == archives[1].path.read_bytes()
    assert archives[0].read("y", "symbol") == "2" * 1000
    assert archives[0].read("z", "symbol") is None


def _script(lines, tmp_path, **environment):
    variables = {**os.environ, "GRAPHEXEC_CACHE_DIR": str(tmp_path / "cache"), **environment}
    (tmp_path / "cache").mkdir(mode=0o700, exist_ok=True)
    done = subprocess.run([sys.executable, "-c", lines], env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


NETWORK = """
import sys
import numpy as np
import graphexec as gx
rng = np.random.default_rng(0)
g = gx.Graph("net")
x, label = g.input("x", ("n", 1, 8, 8)), g.input("label", ("n",), dtype="int64")
w, v = g.parameter("w", (4, 1, 3, 3), init="normal(std=0.1)"), g.parameter("v", (36, 3), init="normal(std=0.1)")
h = gx.ops.max_pool(gx.ops.relu(gx.ops.conv(x, w)), kernel=2)
loss = gx.ops.softmax_cross_entropy(gx.ops.flatten(h) @ v, label, name="loss")
g.output(loss)
exe = gx.compile(g, loss="loss", optimizer=gx.Adam(), threads=1, seed=1)
for _ in range(3):
    print(float(exe.step(x=rng.standard_normal((5, 1, 8, 8), "float32"), label=np.arange(5) % 3)))
"""


def test_a_network_of_built_in_ops_starts_without_numba(tmp_path):
    if shipped.ARCHIVE.members is None:
        pytest.skip("the file was made with other versions")
    assert _script(NETWORK + "print('numba' in sys.modules)", tmp_path).split()[-1] == "False"


@pytest.mark.slow
def test_results_are_those_of_numbas_code(tmp_path):
    ours = _script(NETWORK, tmp_path)
    (tmp_path / "cache").rename(tmp_path / "other")
    by_numba = "from pathlib import Path\nfrom graphexec.codegen import shipped\nshipped.ARCHIVE.path = Path('nowhere')\n"
    assert _script(by_numba + NETWORK + "assert 'numba' in sys.modules", tmp_path) == ours


def test_a_plugins_op_is_compiled():
    def gather_twice(x, out):
        out[:] = 2 * x

    declaration = kernel("(n)->(n)", reference=lambda x: 2 * x, domain=(0.5, 1.0), differentiable=False)(gather_twice)
    with registered(declaration):
        assert shipped.find(declaration.op, PARTS, "symbol") is None
        np.testing.assert_array_equal(gx.ops.gather_twice(np.array([1.0, 2.0])), [2.0, 4.0])
