"""Safetensors files as they are written here, read by the library of that name."""

import json
import os

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import graphexec as gx
from graphexec.training.checkpoint import load_arrays, save_arrays, save_checkpoint
from graphexec.training.weights_file import TYPES


def test_every_type_and_layout_comes_back(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {name: (rng.standard_normal((2, 3)) * 9).astype(name) for name in TYPES}
    arrays |= {"turned": arrays["float32"].T, "every other": np.arange(10.0)[::2], "big-endian": np.arange(3, dtype=">i4"),
               "empty": np.zeros((0, 3)), "scalar": np.float32(2.5), "ü/.": np.ones(1)}  # fmt: skip
    save_arrays(tmp_path / "w.safetensors", arrays, note="a note")
    for found in (load_file(tmp_path / "w.safetensors"), load_arrays(tmp_path / "w.safetensors")):
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype.newbyteorder("=")
            assert found[name].shape == array.shape
            assert found[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
    with safe_open(tmp_path / "w.safetensors", "numpy") as stream:
        assert stream.metadata() == {"graphexec": "a note"}


def test_each_array_is_aligned_to_its_type(tmp_path):
    save_arrays(tmp_path / "w", {"a": np.ones(3, "int8"), "b": np.ones(3, "float64"), "c": np.ones(3, "float32")})
    content = (tmp_path / "w").read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    for name, entry in json.loads(content[8 : 8 + length]).items():
        assert name == "__metadata__" or entry["data_offsets"][0] % {"F64": 8, "F32": 4, "I8": 1}[entry["dtype"]] == 0


def test_types_that_the_format_lacks_are_refused(tmp_path):
    with pytest.raises(gx.DataError, match="'c' is complex128, which a safetensors file cannot hold"):
        save_arrays(tmp_path / "w", {"c": np.ones(2, complex)})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("dtype", "size"), [("BF16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1), ("F99", 4)])
def test_unsupported_types_are_named_with_their_array(tmp_path, dtype, size):
    header = {"good": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
              "odd": {"dtype": dtype, "shape": [2], "data_offsets": [4, 4 + 2 * size]}}  # fmt: skip
    text = json.dumps(header).encode()
    (tmp_path / "w.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4 + 2 * size))
    with pytest.raises(gx.DataError) as caught:
        load_arrays(tmp_path / "w.safetensors")
    assert caught.value.what == f"array 'odd' has the element type {dtype}, which is not supported"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_every_output_has_the_permissions_of_any_new_file(tmp_path, umask):
    from graphexec.cli.session import write_npz

    g = gx.Graph("g")
    w = g.parameter("w", (3,), init="ones")
    g.output(gx.ops.sum(w, name="loss"))
    exe = gx.compile(g, loss="loss", optimizer=gx.SGD(), threads=1)
    before = os.umask(umask)
    try:
        exe.save(tmp_path / "w.safetensors")
        g.save(tmp_path / "g.yaml")
        write_npz(str(tmp_path / "out.npz"), {"w": np.ones(1)})
        save_checkpoint(tmp_path, exe.compiled, 1, [])
    finally:
        os.umask(before)
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len(files) == 5
    assert {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~umask}
