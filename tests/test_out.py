"""``out=``: results in the caller's arrays, by NumPy's rules, whether they are large enough to be written there directly or not."""

import numpy as np
import pytest

import graphexec as gx
from graphexec.errors import KernelError
from graphexec.runtime import borrowing

ops = gx.ops


@pytest.fixture(params=["direct", "copied"], autouse=True)
def way(request, monkeypatch):
    monkeypatch.setattr(borrowing, "MIN_BYTES", 1 if request.param == "direct" else 2**62)
    return request.param


def exe_of(name="x", **options):
    g = gx.Graph("out")
    x = g.input(name, (4, 3))
    w = g.parameter("w", (3,), init="normal")
    y = ops.multiply(x, w, name="y")
    g.output(y, ops.add(x, 1.0, name="z"), ops.sum(y, name="total"))
    return gx.compile(g, threads=1, **options)


@pytest.fixture
def x(rng):
    return rng.standard_normal((4, 3)).astype("f")


TARGETS = {  # arrays that hold a float32 result (4, 3)
    "plain": lambda: np.zeros((4, 3), "f"),
    "Fortran": lambda: np.zeros((4, 3), "f", order="F"),
    "strided": lambda: np.zeros((8, 3), "f")[::2],
    "reversed": lambda: np.zeros((4, 3), "f")[::-1],
    "columns": lambda: np.zeros((4, 6), "f")[:, 1::2],
    "float64": lambda: np.zeros((4, 3)),
    "float16": lambda: np.zeros((4, 3), "e"),
    "big-endian": lambda: np.zeros((4, 3), ">f4"),
    "complex": lambda: np.zeros((4, 3), "F"),
    "unaligned": lambda: np.zeros(49, np.uint8)[1:].view("f").reshape(4, 3),
    "a subclass": lambda: np.zeros((4, 3), "f").view(np.memmap),
    "a matrix": lambda: np.asmatrix(np.zeros((4, 3), "f")),
    "a column of records": lambda: np.zeros((4, 3), [("a", "f"), ("b", "f")])["b"],
    "objects": lambda: np.zeros((4, 3), object),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("kind", TARGETS)
def test_every_array_that_numpy_takes(kind, x):
    exe, target = exe_of(), TARGETS[kind]()
    expected = np.zeros_like(target)
    expected[...] = exe(x=x)["y"]
    for _ in range(3):
        target[...] = 0
        found = exe(x=x, out={"y": target})
        assert found["y"] is target
        assert list(found) == ["y", "z", "total"]
        np.testing.assert_array_equal(target, expected)
        np.testing.assert_array_equal(found["z"], x + 1)
    again = exe(x=x)
    assert not np.shares_memory(again["y"], target)
    target[...] = 0
    np.testing.assert_array_equal(again["y"], x * exe.parameters["w"])


def masked():
    return np.ma.masked_array(np.zeros((4, 3), "f"), mask=True)


def read_only():
    array = np.zeros((4, 3), "f")
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (lambda: {"y": np.zeros((3, 4), "f")},
         r"out\['y'\] has another shape than the result\n.*result \(4, 3\) float32\n.*given  \(3, 4\)"),
        (lambda: {"y": np.zeros((1, 4, 3), "f")}, "another shape"),
        (lambda: {"total": np.zeros((1,), "f")}, "another shape"),
        (lambda: {"y": np.zeros((4, 3), "int64")}, r"out\['y'\] cannot hold float32\n.*\n.*int64"),
        (lambda: {"y": np.zeros((4, 3), "?")}, "cannot hold float32"),
        (lambda: {"y": read_only()}, r"out\['y'\] is read-only"),
        (lambda: {"y": [[0.0] * 3] * 4}, r"out\['y'\] is an object of type list"),
        (lambda: {"y": None}, r"out\['y'\] is an object of type NoneType"),
        (lambda: {"y": masked()}, "without a mask"),
        (lambda: {"Y": np.zeros((4, 3), "f")}, "no result 'Y'.*did you mean 'y'|no result 'Y'"),
        (lambda: {"x": np.zeros((4, 3), "f")}, "The results are: y, z, total"),
        (lambda: np.zeros((4, 3), "f"), "out= is not a mapping but an object of type ndarray"),
        (lambda: dict.fromkeys("yz", np.zeros((4, 3), "f")), r"out\['y'\] and out\['z'\] share memory"),
        (lambda: {"z": (a := np.zeros((5, 3), "f"))[1:], "y": a[:4]}, r"out\['y'\] and out\['z'\] share memory"),
        (lambda: {"z": (a := np.zeros((8, 3), "f"))[::2], "y": a[:4]}, r"share memory"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_changes_nothing(out, message, x):
    exe = exe_of()
    for known in (False, True):
        given = out()
        if known:
            exe(x=x)
        with pytest.raises(gx.GraphExecError, match=message):
            exe(x=x + 1, out=given)
        if known:
            np.testing.assert_array_equal(exe()["z"], x + 1)
            np.testing.assert_array_equal(exe.values()["x"], x)
        for array in given.values() if isinstance(given, dict) else ():
            assert array is None or not np.any(np.ma.getdata(array))


def test_interleaved_arrays_share_nothing(x):
    exe, both = exe_of(), np.zeros((8, 3), "f")
    exe(x=x, out={"y": both[::2], "z": both[1::2]})
    np.testing.assert_array_equal(both[1::2], x + 1)
    np.testing.assert_array_equal(both[::2], exe()["y"])


def test_no_array_a_scalar_and_a_mapping_of_another_kind(x):
    import types

    exe, total = exe_of(), np.zeros((), "f")
    assert list(exe(x=x, out={})) == ["y", "z", "total"]
    assert exe(x=x, out={"total": total})["total"] is total
    assert total == exe()["total"]
    target = np.zeros((4, 3), "f")
    assert exe({"x": x}, out=types.MappingProxyType({"z": target}))["z"] is target
    np.testing.assert_array_equal(target, x + 1)
    np.testing.assert_array_equal(exe(out={"z": target})["y"], exe()["y"])


@pytest.mark.parametrize("shift", [0, 1, -1, 3])
def test_an_output_may_overlap_an_input(shift, rng):
    """As in NumPy, the result is that of a call whose arrays do not overlap."""
    exe, memory = exe_of(), rng.standard_normal((10, 3)).astype("f")
    x = memory[3:7]
    before, expected = x.copy(), exe(x=x.copy())
    for _ in range(2):
        memory[3:7] = before
        found = exe(x=x, out={"y": memory[3 + shift : 7 + shift]})
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
        np.testing.assert_array_equal(exe.values()["x"], before)
    memory[3:7] = before
    exe(x=x)
    assert exe(out={"z": memory[2:6]})["y"].tobytes() == expected["y"].tobytes()  # of the last inputs
    assert memory[2:6].tobytes() == expected["z"].tobytes()
    assert exe()["z"].tobytes() == expected["z"].tobytes()


def test_an_output_may_be_a_parameter(x):
    g = gx.Graph("state")
    a, w = g.input("a", (4, 3)), g.parameter("w", (4, 3), init="normal")
    g.output(ops.add(a, w, name="y"), ops.subtract(w, a, name="d"), w)
    exe = gx.compile(g, threads=1)
    w = exe.parameters["w"].copy()
    found = exe(a=x, out={"y": exe.parameters["w"]})
    np.testing.assert_array_equal(exe.parameters["w"], x + w)
    np.testing.assert_array_equal(found["d"], w - x)
    np.testing.assert_array_equal(found["w"], w)


def test_gradients_too(x):
    exe = exe_of(loss="total", wrt=["w", "x"])
    loss, expected = exe.gradients(x=x)
    out = {"x": np.zeros((4, 3), "f"), "w": np.zeros(3)}
    found = exe.gradients(x=x, out=out)
    assert found[0] == loss
    for name in out:
        assert found[1][name] is out[name]
        np.testing.assert_array_equal(out[name], expected[name])
    with pytest.raises(gx.GraphExecError, match="no result 'y'"):
        exe.gradients(x=x, out={"y": np.zeros((4, 3), "f")})


def test_an_input_may_be_called_out(x):
    exe = exe_of("out", loss="total", optimizer="sgd(lr=0.0)")
    expected, target = exe({"out": x})["y"], np.zeros((4, 3), "f")
    np.testing.assert_array_equal(exe(out=x)["y"], expected)
    assert exe.step(out=x) == exe.gradients(out=x.tolist())[0] == exe(out=x)["total"]
    assert exe({"out": x}, out={"y": target})["y"] is target
    with pytest.raises(gx.DataError, match="input 'out' is given twice"):
        exe({"out": x}, out=x)
    with pytest.raises(gx.GraphExecError, match="no input 'out'"):
        exe_of(loss="total", optimizer="sgd(lr=0.0)").step(x=x, out={"y": target})


def test_a_call_that_fails_is_over():
    g = gx.Graph("rows")
    table, which = g.input("table", (4, 2)), g.input("which", (3,), "int64")
    g.output(ops.gather(table, which, name="found"))
    exe, x, target = gx.compile(g, threads=1), np.arange(8, dtype="f").reshape(4, 2), np.zeros((3, 2), "f")
    exe(table=x, which=[0, 1, 2])
    with pytest.raises(KernelError):
        exe(table=x, which=[0, 9, 1], out={"found": target})
    target[:] = 7
    np.testing.assert_array_equal(exe(table=x, which=[0, 3, 1])["found"], x[[0, 3, 1]])
    assert (target == 7).all()


def test_sizes_that_change(rng):
    g = gx.Graph("rows")
    a = g.input("a", ("n", 2))
    g.output(ops.multiply(a, 2.0, name="y"))
    exe, memory = gx.compile(g, threads=1), np.zeros((9, 2), "f")
    for n in (3, 5, 3, 9, 1, 5):
        x = rng.standard_normal((n, 2)).astype("f")
        exe(a=x, out={"y": memory[:n]})
        np.testing.assert_array_equal(memory[:n], 2 * x)
    with pytest.raises(gx.DataError, match="another shape"):
        exe(a=x, out={"y": memory[:4]})
