"""What may be written to parameters and to the optimizer's state: all that fits, or nothing."""

import numpy as np
import pytest
from safetensors.numpy import save_file

import graphexec as gx

ops = gx.ops


def trained(dtype="float32"):
    g = gx.Graph("line")
    x, w, b = g.input("x", ("n", 2), dtype), g.parameter("w", (2, 3), dtype, init="ones"), g.parameter("b", (3,), dtype)
    k, t = (g.parameter(name, (2,), kind, trainable=False) for name, kind in (("k", "int32"), ("t", "int64")))
    g.output(ops.add(ops.mean(ops.square(x @ w + b)), ops.sum(ops.cast(k, dtype=dtype)), name="loss"), ops.copy(t))
    exe = gx.compile(g, loss="loss", optimizer="adam", threads=1)
    exe.step(x=np.ones((4, 2), dtype))
    return exe


def bits(exe):
    return {name: (array.ctypes.data, array.dtype, array.shape, array.tobytes()) for name, array in exe.state().items()}


WRONG = {
    "another shape": ("w", np.ones((3, 2), "f")),
    "one that would broadcast": ("w", np.ones(3, "f")),
    "a number": ("w", 1.0),
    "ragged": ("w", [[1, 2], [3]]),
    "text": ("b", ["a", "b", "c"]),
    "objects": ("b", np.array([None, 1, 2])),
    "complex": ("b", np.ones(3, complex)),
    "floats for integers": ("k", np.ones(2)),
    "too large for int32": ("k", np.array([1, 2**32 + 5])),
    "too small for int32": ("k", np.array([-(2**31) - 1, 0])),
    "unsigned beyond int64": ("t", np.array([0, 2**63], np.uint64)),
    "beyond float32": ("b", np.array([1, 2, 1e300])),
    "integers that float32 rounds": ("b", np.array([1, 2, 2**24 + 1])),
    "unsigned that float32 rounds": ("b", np.array([1, 2, 2**64 - 1], np.uint64)),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_changes_nothing(case):
    name, value = WRONG[case]
    exe = trained()
    before = bits(exe)
    with pytest.raises(gx.DataError, match=f"parameter {name!r}"):
        exe.parameters[name] = value
    with pytest.raises(gx.DataError):
        exe.parameters.update({"w": np.zeros((2, 3)), name: value})
    assert bits(exe) == before


def test_what_fits_is_copied():
    exe = trained()
    where = exe.parameters["w"].ctypes.data
    exe.parameters["w"] = [[1, 2, 3], [4, 5, 2**24]]
    exe.parameters.update(b=np.array([0.1, np.nan, np.inf]), k=np.array([-(2**31), 2**31 - 1]))
    exe.parameters["t"] = np.array([0, 2**63 - 1], np.uint64)
    assert exe.parameters["w"].ctypes.data == where
    assert exe.parameters["w"][1].tolist() == [4, 5, 2**24]
    np.testing.assert_array_equal(exe.parameters["b"], np.array([0.1, np.nan, np.inf], "f"))
    assert exe.parameters["k"].tolist() == [-(2**31), 2**31 - 1]
    assert exe.parameters["t"].tolist() == [0, 2**63 - 1]


def test_parameters_keep_the_protocol_of_a_mapping():
    parameters = trained().parameters
    assert parameters.get("nope") is None
    with pytest.raises(KeyError):
        parameters["nope"]
    with pytest.raises(gx.DataError, match="there is no parameter 'nope'"):
        parameters["nope"] = 1
    with pytest.raises(TypeError, match="belong to the graph"):
        del parameters["w"]


def changed(arrays, **changes):
    found = {**arrays, **changes}
    return {name: array for name, array in found.items() if array is not None}


def all_of(state):
    return {
        "a parameter is missing": changed(state, b=None),
        "an unknown name": changed(state, other=np.ones(3, "f")),
        "part of the optimizer's state": changed(state, **{"w.v": None}),
        "no step number": changed(state, **{"optimizer.step": None}),
        "a parameter of another shape": changed(state, w=np.ones((3, 2), "f")),
        "a parameter that would be rounded": changed(state, w=np.full((2, 3), 0.1)),
        "a parameter that would broadcast": changed(state, w=np.ones((1, 3), "f")),
        "state of another shape": changed(state, **{"w.m": np.zeros((3, 2), "f")}),
        "state that would broadcast": changed(state, **{"w.m": np.zeros(3, "f")}),
        "state of one element": changed(state, **{"w.v": np.zeros((), "f")}),
        "state of another type": changed(state, **{"w.m": np.zeros((2, 3), "f8")}),
        "a step number of another type": changed(state, **{"optimizer.step": np.zeros((), "f")}),
        "a step number with an axis": changed(state, **{"optimizer.step": np.zeros(1, "int64")}),
        "no parameters": {},
        "state alone": {name: array for name, array in state.items() if "." in name},
    }


CASES = list(all_of({}))


@pytest.mark.parametrize("fresh", [False, True], ids=["after a step", "before the first"])
@pytest.mark.parametrize("case", CASES)
def test_a_file_is_loaded_whole_or_not_at_all(case, fresh, tmp_path):
    exe = trained()
    path = tmp_path / "weights.safetensors"
    save_file(all_of(exe.state())[case], path)
    if fresh:
        exe = gx.compile(exe.graph, loss="loss", optimizer="adam", threads=1)
    before = bits(exe)
    with pytest.raises(gx.DataError) as caught:
        exe.load(path)
    assert str(path) in str(caught.value)
    assert bits(exe) == before
    exe.step(x=np.ones((4, 2), "f"))


def test_a_file_may_have_parameters_alone_or_in_a_type_that_keeps_them(tmp_path):
    exe, other = trained(), trained()
    exe.step(x=np.full((4, 2), 3, "f"))
    exe.save(tmp_path / "all", optimizer=True)
    other.load(tmp_path / "all")
    assert {n: a.tobytes() for n, a in other.state().items()} == {n: a.tobytes() for n, a in exe.state().items()}
    half = {name: array.astype("float16") if array.dtype.kind == "f" else array for name, array in exe.parameters.items()}
    save_file(half, tmp_path / "half")
    kept = other.state()["w.m"].tobytes()
    other.load(tmp_path / "half")
    np.testing.assert_array_equal(other.parameters["w"], half["w"].astype("f"))
    assert other.state()["w.m"].tobytes() == kept
    double = trained("float64")
    exe.save(tmp_path / "single")
    double.load(tmp_path / "single")
    np.testing.assert_array_equal(double.parameters["w"], exe.parameters["w"])
