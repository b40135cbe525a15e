"""Arrays of files fitted to the inputs that read them: exact, whatever the size of the blocks."""

import numpy as np
import pytest

from graphexec.errors import DataError
from graphexec.ir.function import Leaf
from graphexec.training.data import fitted, fitting


@pytest.mark.parametrize("block", [1, 40, 2**24])
def test_conversion_is_the_same_in_blocks_of_any_size(monkeypatch, block):
    monkeypatch.setattr(fitting, "BLOCK", block)
    x = np.arange(30.0).reshape(10, 3)
    declared = Leaf("x", "input", 0, ("n", 3), "int32")
    np.testing.assert_array_equal(fitted(x, declared, ""), x)
    x[6, 2] = 2.0**31
    with pytest.raises(DataError, match=r"2147483648.0 at index \(6, 2\) cannot be represented exactly as int32"):
        fitted(x, declared, "")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["int64", "uint64", "int32", "uint8"])
def test_integers_stay_exact_in_floating_inputs(tmp_path, kind, dtype):
    """As `exe(x=array)` has it: an integer that the input cannot hold is refused, whatever its sign and size."""
    info, digits = np.iinfo(kind), {"float32": 24, "float64": 53}[dtype]
    for number in {0, 1, info.max, info.min, min(2**digits, info.max), min(2**digits + 1, info.max)}:
        path = tmp_path / "x.npy"
        np.save(path, np.array([number], kind))
        array = np.load(path)
        leaf = Leaf("x", "input", 0, (1,), dtype)
        if int(np.dtype(dtype).type(number)) == number:
            assert int(fitted(array, leaf, "x.npy")[0]) == number
        else:
            with pytest.raises(DataError, match=f"{number} at index .*exactly"):
                fitted(array, leaf, "x.npy")
