"""Inputs of a call: those like the last are copied without further checks, all others are looked at."""

import numpy as np
import pytest

import graphexec as gx
from graphexec import compiled

ops = gx.ops


def graph(rows="n"):
    g = gx.Graph("inputs")
    x, y = g.input("x", (rows, 3)), g.input("y", (rows,), "int64")
    w = g.parameter("w", (3, 4), init="normal")
    g.output(x @ w, ops.softmax_cross_entropy(x @ w, y, name="loss"), ops.sum(x, name="total"))
    return g


def exe_and_data(rng, rows=5):
    exe = gx.compile(graph(), loss="loss", seed=3, threads=1)
    return exe, {"x": rng.standard_normal((rows, 3)).astype("f"), "y": np.arange(rows) % 4}


def test_arrays_like_the_last_are_not_looked_at_again(rng, monkeypatch):
    exe, data = exe_and_data(rng)
    exe(**data)
    monkeypatch.setattr(compiled, "check_fits", lambda *a: pytest.fail("looked at"))
    for _ in range(3):
        data["x"] = rng.standard_normal((5, 3)).astype("f")
        assert exe(**data)["total"] == pytest.approx(data["x"].sum(), abs=1e-5)
        data["x"] += 1
        assert exe()["total"] == pytest.approx(data["x"].sum() - 15, abs=1e-5)  # it was copied


@pytest.mark.parametrize(
    "other",
    [lambda x: x.astype("float64"), lambda x: x.tolist(), lambda x: np.asfortranarray(x), lambda x: np.repeat(x, 2, 0)[::2],
     lambda x: np.repeat(x, 2, 1)[:, ::-2][:, ::-1], lambda x: x.astype(">f4"), lambda x: x.view(np.memmap),
     lambda x: x[:2], lambda x: x],
)  # fmt: skip
def test_other_arrays_mean_the_same(rng, other):
    exe, data = exe_and_data(rng)
    exe(**data)
    x = other(data["x"])
    given = {"x": x, "y": data["y"][: len(x)]}
    for _ in range(2):
        found = exe(**given)
        expected = gx.compile(graph(), loss="loss", seed=3, threads=1)(**{"x": np.array(x, "f", order="C"), "y": given["y"]})
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
        assert exe.gradients()[0] == expected["loss"]
    assert exe(**data)["total"] == pytest.approx(data["x"].sum(), abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((5, 2), "f")}, "input 'x' has size 2 on axis 1, not 3"),
        ({"x": np.zeros(5, "f")}, "input 'x' has 1 axes, not 2"),
        ({"y": np.zeros(4, np.int64)}, "dimension 'n' is 5 in 'x' and 4 in 'y'"),
        ({"y": np.zeros(5)}, "input 'y' is float64, not int64"),
        ({"z": np.zeros(5)}, "there is no input 'z'"),
        ({"y": None}, "input 'y' is missing"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(rng, change, message):
    exe, data = exe_and_data(rng)
    before = exe(**data)
    wrong = {"x": data["x"] + 1, "y": data["y"], **change}
    if wrong["y"] is None:
        del wrong["y"]
    for _ in range(2):
        with pytest.raises(gx.DataError, match=message):
            exe(**wrong)
        for name, array in exe().items():
            np.testing.assert_array_equal(array, before[name])


def test_a_wrong_name_in_place_of_a_right_one_is_found(rng):
    exe, data = exe_and_data(rng)
    exe(**data)
    with pytest.raises(gx.DataError, match="there is no input 'label'"):
        exe(x=data["x"], label=data["y"])


def test_a_program_that_was_looked_at_has_no_inputs_yet(rng):
    exe = gx.compile(graph(5), loss="loss", threads=1)
    assert len(exe.program.instructions) > 1
    with pytest.raises(gx.DataError, match="input 'x' is missing"):
        exe.gradients()
