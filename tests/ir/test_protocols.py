"""Python's data model, applied to graph values: each protocol makes the op that NumPy would, or raises at once."""

import copy
import math
import operator
import pickle

import numpy as np
import pytest

import graphexec as gx
from graphexec.errors import NotComputedError, OutOfRangeError
from graphexec.ir.operators import Arithmetic

ops = gx.ops
A = {
    "float64": np.array([[2.5, -1.5, 0.0], [3.0, -0.5, 7.25]]),
    "float32": np.array([[2.5, -1.5, 0.0], [3.0, -0.5, 7.25]], np.float32),
    "int64": np.array([[5, -3, 0], [1, 2, -7]]),
    "int32": np.array([[5, -3, 0], [1, 2, -7]], np.int32),
    "bool": np.array([[True, False, True], [False, False, True]]),
}
B = {
    "float64": np.array([[0.5, 1.5, 2.0], [-1.25, 3.0, 0.75]]),
    "float32": np.array([[0.5, 1.5, 2.0], [-1.25, 3.0, 0.75]], np.float32),
    "int64": np.array([[2, 2, 3], [-2, 5, 4]]),
    "int32": np.array([[2, 2, 3], [-2, 5, 4]], np.int32),
    "bool": np.array([[True, True, False], [False, True, True]]),
}
NUMBER = {"float64": 1.5, "float32": 0.1, "int64": 3, "int32": 3, "bool": True}

BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow, operator.and_,
    operator.or_, operator.xor, operator.lshift, operator.rshift, operator.eq, operator.ne, operator.lt, operator.le, operator.gt,
    operator.ge, lambda a, b: divmod(a, b)[0], lambda a, b: divmod(a, b)[1], lambda a, b: a @ b.T, operator.iadd, operator.isub,
    operator.imul, operator.itruediv, operator.ifloordiv, operator.imod, operator.ipow, operator.iand, operator.ior, operator.ixor,
]  # fmt: skip
UNARY = [operator.neg, operator.pos, operator.abs, operator.invert, np.rint, np.floor, np.ceil, np.trunc]
UFUNCS = [
    getattr(np, name)
    for name in dir(np)
    if isinstance(getattr(np, name), np.ufunc) and not name.startswith("_") and getattr(np, name).signature is None
]
INDICES = [
    0, -1, np.int64(1), np.int8(-2), True, None, ..., slice(None, None, -1), slice(1, None), slice(None, None, 2),
    slice(np.int64(0), 1), slice(5, 1), (0, 1), (0, np.int32(2)), (..., 0), (..., None), (None, 0), (slice(None), 1),
    (slice(None), slice(0, 2)), (0, ...), (),
    [1, 0], [], np.array([0, 1, 1, -1]), np.array([[0, 1], [1, 0]]), (slice(None), [2, 0]), (slice(0, 1), np.array([1, 2])),
    (..., [0]), np.array(1), ([0, 1], [1, 2]), (0, [1]), np.array([True, False]), 2, -3, (0, 3), [2], [-3], (0, 0, 0), 1.5, "a",
    np.float64(0.0), (..., ...), [0.5], [[0], [0, 1]], 1j, slice("a", None), slice(None, None, 0), slice(0.5, None),
]  # fmt: skip
FUNCTIONS = [
    lambda x: np.sum(x), lambda x: np.sum(x, axis=0), lambda x: np.sum(x, -1, keepdims=True), lambda x: np.mean(x, axis=1),
    lambda x: np.max(x), lambda x: np.min(x, axis=0), lambda x: np.prod(x, axis=1), lambda x: np.var(x, axis=0, ddof=1),
    lambda x: np.reshape(x, (3, 2)), lambda x: np.ravel(x), lambda x: np.transpose(x), lambda x: np.swapaxes(x, 0, 1),
    lambda x: np.expand_dims(x, 1), lambda x: np.squeeze(x[:1], 0), lambda x: np.broadcast_to(x, (2, 2, 3)),
    lambda x: np.where(x == 0, x, x + x), lambda x: np.concatenate([x, x], axis=1), lambda x: np.stack([x, x]),
    lambda x: np.take(x, [1, 0], axis=0), lambda x: np.round(x, 1), lambda x: np.add.reduce(x),
    lambda x: np.maximum.reduce(x, axis=1),
    lambda x: np.copy(x), lambda x: np.zeros_like(x), lambda x: np.linalg.norm(x), lambda x: np.sort(x), lambda x: np.cumsum(x),
    lambda x: np.einsum("ij->i", x), lambda x: np.add.accumulate(x), lambda x: np.add.outer(x, x), lambda x: np.isclose(x, x),
    lambda x: np.sum(x, dtype="float32"), lambda x: np.nanmax(x), lambda x: np.array_equal(x, x), lambda x: np.where(x > 0),
    lambda x: np.dot(x, x.T), lambda x: np.clip(x, 0, 1), lambda x: np.sin(x, out=np.zeros((2, 3))), lambda x: np.add.at(x, 0, 1),
]  # fmt: skip


class Checked:
    """Expressions of graph values and of arrays, compared in one run."""

    def __init__(self, dtype):
        self.g, self.dtype = gx.Graph("protocols"), dtype
        self.x, self.y = self.g.input("x", (2, 3), dtype), self.g.input("y", (2, 3), dtype)
        self.expected, self.refused = {}, []

    def compare(self, expression, *operands, label=""):
        """Adds an expression of values and arrays, given as pairs; both may refuse, and values may refuse more."""
        try:
            found = expression(*(v for v, _ in operands))
        except gx.GraphExecError:
            self.refused.append(label or str(expression))
            return
        with np.errstate(all="ignore"):
            wanted = np.asarray(expression(*(a.copy() if isinstance(a, np.ndarray) else a for _, a in operands)))
        assert isinstance(found, Arithmetic), f"{label or expression}: {found!r}"
        assert found.shape == wanted.shape, f"{label or expression}"
        name = f"result {len(self.expected)}"
        self.g.output(ops.copy(found, name=name))
        self.expected[name] = (label or str(expression), wanted)

    def finish(self):
        found = gx.compile(self.g, optimize=False)(x=A[self.dtype], y=B[self.dtype])
        for name, (label, wanted) in self.expected.items():
            assert found[name].dtype == wanted.dtype, label
            tolerance = 1e-6 if wanted.dtype == "float32" else 1e-13
            np.testing.assert_allclose(found[name], wanted, rtol=tolerance, atol=tolerance, err_msg=label)
        return len(self.expected)


@pytest.mark.parametrize("dtype", A)
def test_operators_of_values_arrays_and_numbers(dtype):
    checked = Checked(dtype)
    x, y, number = (checked.x, A[dtype]), (checked.y, B[dtype]), (NUMBER[dtype],) * 2
    array = (B[dtype], B[dtype])
    for f in BINARY:
        for pair in ((x, y), (x, array), (array, x), (x, number), (number, x)):
            if f not in BINARY[18:21] or pair[1] is not number:
                checked.compare(f, *pair, label=f"{f} {dtype} {[type(p[0]).__name__ for p in pair]}")
    for f in UNARY:
        checked.compare(f, x, label=f"{f} {dtype}")
    assert checked.finish() > {"f": 85, "i": 85, "b": 20}[dtype[0]]


@pytest.mark.parametrize("dtype", ["float64", "int64", "bool"])
def test_every_ufunc(dtype):
    checked = Checked(dtype)
    x, y, array = (checked.x, A[dtype]), (checked.y, B[dtype]), (B[dtype],) * 2
    for ufunc in UFUNCS:
        if ufunc.nout == 1:
            for operands in ([x, y], [array, x]) if ufunc.nin == 2 else ([x],):
                checked.compare(ufunc, *operands, label=f"{ufunc.__name__} {dtype}")
    if dtype == "float64":
        assert not {"add float64", "sin float64", "rint float64", "equal float64", "remainder float64"} & set(checked.refused)
        assert "arcsin float64" in checked.refused
    assert checked.finish() >= {"f": 45, "i": 40, "b": 6}[dtype[0]]


def test_indices():
    checked = Checked("float64")
    for key in INDICES:
        try:
            A["float64"][key]
        except (IndexError, TypeError, ValueError) as error:
            with pytest.raises(gx.GraphExecError) as caught:
                checked.x[key]
            if isinstance(error, IndexError) and "out of bounds" in str(error):
                assert isinstance(caught.value, IndexError), key
            continue
        checked.compare(operator.itemgetter(key), (checked.x, A["float64"]), label=f"x[{key!r}]")
    assert checked.refused == ["x[True]", "x[([0, 1], [1, 2])]", "x[(0, [1])]", "x[array([ True, False])]"]
    which, one = checked.g.constant(np.array([1, 0, 1])), checked.g.constant(1)
    checked.compare(lambda x, k: x[k], (checked.x, A["float64"]), (which, np.array([1, 0, 1])))
    checked.compare(lambda x, k: x[:, k], (checked.x, A["float64"]), (one, 1))
    with pytest.raises(gx.OpError, match="cannot index"):
        checked.x[checked.x > 0]
    assert checked.finish() > 20


def test_functions_of_numpy():
    checked = Checked("float64")
    for k, f in enumerate(FUNCTIONS):
        checked.compare(f, (checked.x, A["float64"]), label=str(k))
    assert checked.refused == [str(k) for k in range(24, len(FUNCTIONS))]
    checked.finish()


def test_comparison_with_zero_is_no_identity():
    g = gx.Graph("where")
    x = g.input("x", (3,))
    g.output(ops.where(x == 0, 1.0, x, name="y"), ops.where(x != 0, 1.0, 2.0, name="z"))
    found = gx.compile(g)(x=[0.0, 2.0, -0.0])
    assert found["y"].tolist() == [1, 2, 1]
    assert found["z"].tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    "ask",
    [
        bool, int, float, complex, operator.index, lambda x: 0.0 in x, lambda x: x in [1.0], lambda x: [1.0].index(x),
        lambda x: [1.0, x].remove(x), lambda x: 0 < x < 1, lambda x: x and x, lambda x: not x, lambda x: np.asarray(x),
        lambda x: np.array([x, x]), lambda x: range(x), lambda x: [1, 2][x], lambda x: math.sin(x), lambda x: x == None,  # noqa: E711
        lambda x: x != None, lambda x: x == "x", lambda x: operator.setitem(x, 0, 1.0), lambda x: operator.delitem(x, 0),  # noqa: E711
        lambda x: sorted([x, x]), lambda x: max(x, x), lambda x: sum([x, None]), lambda x: pow(x, 2, 3), lambda x: memoryview(x),
        lambda x: format(x, ".2f"), lambda x: x(), lambda x: next(x), lambda x: x.unknown, bytes,
    ],
)  # fmt: skip
def test_what_a_value_does_not_have_raises_at_once(ask):
    x = gx.Graph().input("x", (2, 3))
    with pytest.raises((gx.GraphExecError, TypeError, AttributeError)):
        ask(x)


def test_iteration_follows_a_known_first_axis():
    checked = Checked("float64")
    first, second = checked.x
    checked.compare(lambda a: next(iter(a)), (checked.x, A["float64"]))
    checked.compare(lambda a: next(reversed(list(a))), (checked.x, A["float64"]))
    assert (len(checked.x), first.shape, second.shape) == (2, (3,), (3,))
    assert len(list(reversed(checked.x))) == 2
    assert math.isclose(checked.finish(), 2)
    for shape in ((), ("n", 3)):
        value = gx.Graph().input("x", shape)
        for ask in (len, iter, list, lambda v: (*v,), lambda v: sum(v), enumerate, reversed):
            with pytest.raises(NotComputedError):
                ask(value)


def test_methods_take_what_numpy_takes():
    checked = Checked("float64")
    for f in (
        lambda x: x.transpose((1, 0)), lambda x: x.transpose(1, 0), lambda x: x.transpose(), lambda x: x.T, lambda x: x.astype(int),
        lambda x: x.astype(bool), lambda x: x.astype(np.float32), lambda x: x.astype("float64"), lambda x: x.astype(np.dtype("i4")),
        lambda x: x.reshape(np.int64(6)), lambda x: x.reshape((3, 2)), lambda x: x.reshape(3, -1),
        lambda x: x.sum(axis=np.int64(1)), lambda x: x.mean(axis=(0, 1)), lambda x: x.max(axis=0, keepdims=True), lambda x: x.min(),
    ):  # fmt: skip
        checked.compare(f, (checked.x, A["float64"]))
    assert checked.finish() == 16
    with pytest.raises(gx.DtypeError, match="'complex128' is not an element type"):
        checked.x.astype(complex)


def test_values_are_hashed_by_identity_and_found_by_it():
    g = gx.Graph("hash")
    x, y = g.input("x", (2,)), g.input("y", (2,))
    table = {x: 1, y: 2}
    assert (table[x], table[y], x in table, len({x, y, x}), [x, y].index(x)) == (1, 2, True, 2, 0)
    assert list(g.dag) == ["x", "y"]


def test_rounding_protocols_make_ops():
    checked = Checked("float64")
    x = A["float64"] * 1.2345
    for f, g in ((round, np.rint), (lambda v: round(v, 2), lambda v: np.round(v, 2)), (math.floor, np.floor), (math.ceil, np.ceil)):
        found = f(checked.x * 1.2345)
        checked.g.output(ops.copy(found, name=f"r{len(checked.expected)}"))
        checked.expected[f"r{len(checked.expected)}"] = ("round", g(x))
    checked.compare(lambda v: np.trunc(v), (checked.x, A["float64"]))
    assert math.trunc(checked.x).dtype == "float64"
    assert checked.finish() == 5


def test_copies_and_text():
    g = gx.Graph("copies")
    x = g.input("x", ("n", 2))
    y = ops.sin(x, name="y")
    g.output(y)
    other = copy.deepcopy(g)
    other.output(ops.cos(other["x"], name="z"))
    assert copy.copy(y).name == "y"
    assert (list(g.dag), list(other.dag)) == (["x", "y"], ["x", "y", "z"])
    again = pickle.loads(pickle.dumps(g))
    np.testing.assert_array_equal(gx.compile(again)(x=np.ones((1, 2)))["y"], gx.compile(g)(x=np.ones((1, 2)))["y"])
    assert copy.deepcopy(y).graph is not g
    assert f"{x}" == repr(x) == str(x) == "<value 'x' (n, 2) float32>"


SPECIAL = {
    name
    for kind in (int, float, complex, bool, list, dict, str, set, np.ndarray, np.float64)
    for name in dir(kind)
    if name.startswith("__") and name.endswith("__") and name not in dir(object)
}
LEFT_TO_PYTHON = {  # in-place forms fall back to a new value; the rest belong to other kinds of object
    *(f"__i{n}__" for n in "add sub mul truediv floordiv mod pow and or xor lshift rshift matmul concat".split()),
    "__getnewargs__", "__getformat__", "__class_getitem__", "__int_format__", "__copy__", "__deepcopy__", "__buffer__",
    "__array_finalize__", "__array_interface__", "__array_priority__", "__array_struct__", "__array_wrap__", "__array_namespace__",
    "__dlpack__", "__dlpack_device__", "__setformat__", "__setstate__",
}  # fmt: skip


def test_no_protocol_is_forgotten():
    own = {name for base in Arithmetic.__mro__[:-1] for name in vars(base)}
    assert own >= SPECIAL - LEFT_TO_PYTHON
    assert {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__"} <= own
    for name in ("round", "trunc", "floor", "ceil", "divmod", "rdivmod", "reversed", "array_ufunc", "array_function"):
        assert f"__{name}__" in own


def test_errors_are_what_python_expects():
    x = gx.Graph().input("x", (2, 3))
    with pytest.raises(TypeError, match=r"gx\.ops\.where"):
        bool(x)
    with pytest.raises(IndexError, match="out of range"):
        x[2]
    assert issubclass(OutOfRangeError, gx.OpError)
    assert issubclass(NotComputedError, gx.OpError)


def test_new_ops_at_their_edges():
    low32, low64 = np.int32(-(2**31)), np.int64(-(2**63))
    for low in (low32, low64):
        a, b = np.array([low, 7, 7, -7], low.dtype), np.array([-1, 0, -2, 2], low.dtype)
        assert ops.floor_divide(a, b).tolist() == [int(low), 0, -4, -4]
        assert ops.remainder(a, b).tolist() == [0, 0, -1, 1]
    assert ops.floor_divide(np.array([1.0, -1.0, 0.0, 1.0]), np.array([0.1, 0.0, 0.0, np.inf])).tolist()[:2] == [9, -np.inf]
    assert ops.right_shift(np.array([-5, 5]), np.array([64, -1])).tolist() == [-1, 0]
    assert ops.left_shift(np.array([3, 3], np.int32), np.array([31, 32], np.int32)).tolist() == [-(2**31), 0]
    assert ops.round(np.array([0.5, 1.5, 2.5, -0.5])).tolist() == [0, 2, 2, 0]


@pytest.mark.parametrize("value", [1.0, np.zeros(3)])
def test_gradient_of_a_remainder(value):
    g = gx.Graph("remainder")
    x, y = g.input("x", (3,), "float64"), g.input("y", (3,), "float64")
    g.output(ops.sum(x % y + value, name="loss"))
    _, d = gx.compile(g, loss="loss", wrt=["x", "y"]).gradients(x=[7.5, -7.5, 1.0], y=[2.0, 2.0, 3.0])
    assert d["x"].tolist() == [1, 1, 1]
    assert d["y"].tolist() == [-3, 4, 0]
