"""What the engine gives Numba's code in place of Numba's own runtime."""

import ctypes
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from graphexec.codegen import linker as library
from graphexec.llvm import fingerprint, toolchain
from graphexec.llvm import numba_runtime as runtime


@pytest.fixture(scope="module")
def attempt():
    """Our `numba_attempt_nocopy_reshape` as a function of an array and a shape: the new strides, or None."""
    name = toolchain.symbol_name("tested_reshape", fingerprint.environment())
    address = library.obtain(name, lambda: ([runtime.source("numba_attempt_nocopy_reshape", name)], name))
    words = np.ctypeslib.ndpointer(np.int64)
    call = ctypes.CFUNCTYPE(
        ctypes.c_int32, ctypes.c_int64, words, words, ctypes.c_int64, words, words, ctypes.c_int64, ctypes.c_int32
    )(address)

    def strides(array: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        given = [np.array(part or [0], np.int64) for part in (array.shape, array.strides, shape)]
        result = np.full(max(len(shape), 1), -7, np.int64)
        possible = call(array.ndim, *given[:2], len(shape), given[2], result, array.itemsize, 0)
        return tuple(result[: len(shape)].tolist()) if possible else None

    return strides


BASE = np.arange(48.0)
ARRAYS = [
    BASE, BASE[::2], BASE.reshape(6, 8), BASE.reshape(6, 8).T, BASE.reshape(2, 3, 8), BASE.reshape(2, 3, 8)[:, :, ::2],
    BASE.reshape(2, 3, 8)[:, 1:], BASE.reshape(2, 3, 8).transpose(1, 0, 2), BASE.reshape(6, 1, 8), BASE.reshape(1, 48, 1),
    BASE.reshape(6, 8)[::-1], BASE[:1], BASE[:1].reshape(()),
]  # fmt: skip


def _shapes(size: int):
    """Every way to write a size as up to four factors, 1 among them."""
    divisors = [d for d in range(1, size + 1) if size % d == 0]
    for count in range(5):
        yield from (s for s in itertools.product(divisors, repeat=count) if np.prod(s, dtype=int) == size)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.shape}:{a.strides}")
def test_reshaped_strides_are_numpys(attempt, array):
    for shape in _shapes(array.size):
        reshaped = array.reshape(shape)
        without_copy = np.shares_memory(reshaped, array)
        found = attempt(array, shape)
        assert (found is not None) == without_copy, shape
        if found is not None:
            seen = np.lib.stride_tricks.as_strided(array, shape, found)
            assert np.array_equal(seen, reshaped), (shape, found)


def test_an_empty_array_takes_every_empty_shape(attempt):
    for shape in ((0,), (0, 3), (3, 0), (2, 0, 5)):
        for new in ((0,), (0, 7), (2, 3, 0), (1, 0, 1)):
            assert attempt(np.zeros(shape), new) == (8,) * len(new)
        assert attempt(np.zeros(shape), (1, 3)) is None


def test_reshape_of_another_size_is_refused(attempt):
    assert attempt(BASE, (7, 7)) is None


_LOAD = """
import sys
import numpy as np
import graphexec as gx
g = gx.Graph("rows")
x, label = g.input("x", ("batch", 3)), g.input("label", ("batch",), "int64")
w = g.parameter("w", (3, 3), value=np.eye(3, dtype="float32"))
z = x @ w
g.output(gx.ops.softmax_cross_entropy(z, label, name="loss"), gx.ops.unslice(z[1:], z, axis=0, start=1))
exe = gx.compile(g, loss="loss", optimizer=gx.SGD(lr=0.1), threads=1)
data = {"x": np.ones((8, 3), "float32"), "label": np.zeros(8, "int64")}
exe.fit(data, batch_size=4, progress=False)
print(exe(**data)["loss"], "numba" in sys.modules)
"""


def test_kernels_that_reshape_are_loaded_without_numba(tmp_path):
    environment = {**os.environ, "GRAPHEXEC_CACHE_DIR": str(tmp_path / "cache")}
    runs = [
        subprocess.run([sys.executable, "-c", _LOAD], env=environment, capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    ]
    assert runs[0][1:] == ["True"]
    assert runs[1] == [runs[0][0], "False"]
