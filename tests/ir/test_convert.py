"""Every border of the engine converts what it is given exactly, or says what would be lost."""

import datetime
import decimal

import numpy as np
import pytest

import graphexec as gx
from graphexec.interpret import interpret
from graphexec.ir.convert import converted
from graphexec.ir.spec import DTYPES

ops = gx.ops


def graph(dtype, shape=("n",)):
    g = gx.Graph("border")
    g.output(ops.copy(g.input("x", shape, dtype), name="y"), ops.copy(g.parameter("p", (2,), dtype), name="q"))
    return g


def through_input(value, dtype):
    return gx.compile(graph(dtype))(x=value)["y"]


def through_interpreter(value, dtype):
    return interpret(graph(dtype), {"x": value})["y"]


def through_parameter(value, dtype):
    exe = gx.compile(graph(dtype))
    exe.parameters["p"] = value
    return exe.parameters["p"]


def through_initial_value(value, dtype):
    g = gx.Graph("value")
    g.output(ops.copy(g.parameter("p", value=value, dtype=dtype), name="y"))
    return gx.compile(g)()["y"]


def through_constant(value, dtype):
    g = gx.Graph("value")
    g.output(ops.copy(g.constant(value, dtype=dtype), name="y"))
    return gx.compile(g)()["y"]


def through_networkx(value, dtype):
    g = graph(dtype, (2,))
    g.dag.add_node("x", op="constant", value=value, dtype=dtype)
    g.dag.nodes["x"].pop("shape")
    return gx.compile(g)()["y"]


BORDERS = [through_input, through_interpreter, through_parameter, through_initial_value, through_constant, through_networkx]

# what is given, the type it goes to, the exact result or None if it is refused
CASES = [
    (np.array([2**32 + 5, 0]), "int32", None),
    (np.array([2**31 - 1, -(2**31)]), "int32", [2**31 - 1, -(2**31)]),
    ([2**31, 0], "int32", None),
    (np.array([2**63, 0], np.uint64), "int64", None),
    (np.array([2**63 - 1, 0], np.uint64), "int64", [2**63 - 1, 0]),
    ([2**70, 1], "int64", None),
    ([2**63, 1], "int64", None),
    (np.array([255, 0], np.uint8), "int32", [255, 0]),
    ([2.5, 1.0], "int32", None),
    ([np.nan, 1.0], "int64", None),
    (np.array([2**24 + 1, 0]), "float32", None),
    (np.array([2**24, -(2**24)]), "float32", [2**24, -(2**24)]),
    (np.array([2**24 + 2, 0]), "float32", [2**24 + 2, 0]),
    (np.array([2**53 + 1, 0]), "float64", None),
    (np.array([2**63 - 1, 0]), "float64", None),
    (np.array([2**64 - 1, 0], np.uint64), "float64", None),
    (np.array([2**63, 0], np.uint64), "float64", [2.0**63, 0]),
    (np.array([0.1, 1e-60]), "float32", [np.float32(0.1), 0]),
    (np.array([1e300, 0.0]), "float32", None),
    (np.array([np.inf, -np.inf]), "float32", [np.inf, -np.inf]),
    (np.array([0.5, 65504], np.float16), "float32", [0.5, 65504]),
    (np.array([1.0, 2.0], ">f4"), "float64", [1, 2]),
    (np.array([1.0, 2.0], ">f8"), "float64", [1, 2]),
    (np.array([1, 2], ">i4"), "int32", [1, 2]),
    (np.array([True, False]), "float32", [1, 0]),
    (np.array([1, 2]), "bool", None),
    ([1j, 2], "float64", None),
    ([None, 1.0], "float64", None),
    ([object(), object()], "float32", None),
    ([decimal.Decimal(1), decimal.Decimal(2)], "float64", None),
    (np.array(["2020", "2021"], "datetime64[Y]"), "int64", None),
    ([datetime.date(2020, 1, 1)] * 2, "int64", None),
    (["1", "2"], "float32", None),
    ([[1.0], [2.0, 3.0]], "float32", None),
    (np.ma.array([1.0, 2.0], mask=[False, True]), "float64", None),
    (np.ma.array([1.0, 2.0], mask=False), "float64", [1, 2]),
]


@pytest.mark.parametrize("border", BORDERS)
def test_every_border_converts_exactly_or_refuses(border):
    for value, dtype, expected in CASES:
        if expected is None:
            with pytest.raises((gx.DataError, gx.DtypeError)):
                border(value, dtype)
        else:
            found = border(value, dtype)
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, np.array(expected, dtype), err_msg=repr((value, dtype)))


@pytest.mark.parametrize("source", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("target", ["int32", "int64", "float32", "float64"])
def test_every_integer_type_at_every_edge(source, target):
    info = np.iinfo(source)
    edges = [k + d for k in (0, 2**24, 2**31, 2**53, 2**63, 2**64) for d in (-1025, -512, -2, -1, 0, 1, 2, 2048)]
    for number in [n for n in (*edges, *(-n for n in edges)) if info.min <= n <= info.max]:
        array = np.array([0, number], source)
        if target[0] == "i":
            exact = np.iinfo(target).min <= number <= np.iinfo(target).max
        else:
            exact = int(np.dtype(target).type(number)) == number
        if exact:
            assert int(converted(array, target, "x")[1]) == number
        else:
            with pytest.raises(gx.DataError, match=str(number)):
                converted(array, target, "x")


def test_a_refusal_says_what_is_lost_and_changes_nothing():
    g = gx.Graph("message")
    g.output(ops.add(g.input("n", (2,), "int32"), g.input("m", (2,), "int32"), name="y"))
    exe = gx.compile(g)
    exe(n=[1, 2], m=[3, 4])
    with pytest.raises(gx.DataError, match=r"input 'm' holds 4294967301, which int32 cannot hold"):
        exe(n=[5, 6], m=np.array([2**32 + 5, 0]))
    assert exe()["y"].tolist() == [4, 6]


def test_training_data_does_not_wrap():
    g = gx.Graph("labels")
    x, label = g.input("x", ("n", 3)), g.input("label", ("n",), "int32")
    g.output(ops.softmax_cross_entropy(ops.linear(x, g.parameter("w", (3, 3))), label, name="loss"))
    exe = gx.compile(g, loss="loss", optimizer="sgd(lr=0.1)")
    with pytest.raises(gx.DataError, match="int32 cannot hold"):
        exe.fit({"x": np.zeros((4, 3)), "label": np.full(4, 2**32)})


def test_weights_of_a_file_do_not_wrap(tmp_path):
    wide, narrow = gx.compile(graph("int64")), gx.compile(graph("int32"))
    wide.parameters["p"] = [1, 2**32 + 5]
    wide.save(tmp_path / "p.safetensors")
    with pytest.raises(gx.DataError, match="4294967301"):
        narrow.load(tmp_path / "p.safetensors")
    assert narrow.parameters["p"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("kind", "number"), [("float32", "16777217"), ("float32", "1e39"), ("int32", "2147483648"), ("int32", "1.5")]
)
def test_numbers_of_graph_files(tmp_path, kind, number):
    declared = f"constants: {{c: {{type: {kind}, value: {number}}}}}\nnodes: {{y: 'add(x, c)'}}"
    for text in (declared, f"nodes: {{y: 'add(x, {number})'}}"):
        (tmp_path / "g.yaml").write_text(f"graphexec: 1\ninputs: {{x: '{kind}[2]'}}\n{text}\noutputs: [y]\n")
        with pytest.raises(gx.GraphExecError, match=r"g\.yaml"):
            gx.load(tmp_path / "g.yaml")


# -- operands


def operand(value, dtype):
    """The constant that a value becomes beside an operand of this type, and the type of the product."""
    g = gx.Graph("operand")
    product = ops.add(g.input("x", (2,), dtype), value)
    (constant,) = [n for n, d in g.dag.nodes(data=True) if d["op"] == "constant"]
    return g.dag.nodes[constant]["value"], product.dtype


@pytest.mark.parametrize(
    ("value", "dtype", "expected", "result"),
    [
        (np.sqrt(2.0), "float64", np.sqrt(2.0), "float64"),
        (np.sqrt(2.0), "float32", np.float32(np.sqrt(2.0)), "float32"),
        ([0.1], "float64", [0.1], "float64"),
        ([0.1], "float32", [np.float32(0.1)], "float32"),
        ((0.1, 0.2), "float64", [0.1, 0.2], "float64"),
        ([1, 2], "float64", [1.0, 2.0], "float64"),
        ([1, 2], "int32", [1, 2], "int32"),
        (0.1, "float64", 0.1, "float64"),
        (3, "float32", np.float32(3), "float32"),
        (2**40, "int64", 2**40, "int64"),
        (np.float32(0.1), "float64", np.float32(0.1), "float64"),
        (np.int64(3), "float32", np.float32(3), "float32"),
        (np.int64(2**40), "int32", 2**40, "int64"),
        (np.uint8(3), "int32", 3, "int32"),
        (np.float16(0.5), "float64", 0.5, "float64"),
        (np.array([0.1]), "float32", [0.1], "float64"),
        (np.array(0.1), "float32", 0.1, "float64"),
        (np.array([0.1, 0.2], ">f8"), "float64", [0.1, 0.2], "float64"),
    ],
)
def test_an_operand_takes_the_type_of_the_others_or_carries_its_own(value, dtype, expected, result):
    found, product = operand(value, dtype)
    assert product == result
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (2**24 + 1, "float32"), (2**31, "int32"), (2**63, "int64"), (10**400, "float64"), (1e39, "float32"), ([2**31], "int32"),
        pytest.param(10**5000, "int64", id="5001 digits"), ([2**70], "int64"), ([1e300], "float32"), (0.5, "int32"),
        (1j, "float64"), ("1", "float64"), ([[1], [1, 2]], "float64"), (np.array([1, 2]), "float64"),
        (np.datetime64("2020"), "int64"), (True, "float32"),
    ],
)  # fmt: skip
def test_an_operand_that_does_not_convert_is_refused_and_leaves_no_constant(value, dtype):
    g = gx.Graph("refused")
    x = g.input("x", (2,), dtype)
    for call in (lambda: ops.add(x, value), lambda: ops.add(np.zeros(2, dtype), value)):
        with pytest.raises(gx.DtypeError):
            call()
    assert list(g.dag) == ["x"]


def test_a_fixed_type_takes_no_fraction():
    x = np.arange(3.0)
    for indices in ([0.0, 1.5], np.array([0.0, 1.0])):
        with pytest.raises(gx.DtypeError):
            ops.gather(x, indices)
        with pytest.raises(gx.DtypeError):
            ops.gather(gx.Graph().input("x", (3,)), indices)
    assert ops.gather(x, np.array([2, 0], np.uint8)).tolist() == [2, 0]


def test_arrays_of_an_eager_call_keep_byte_order_and_mask_in_mind():
    assert ops.add(np.array([1.0, 2.0], ">f8"), 0.5).tolist() == [1.5, 2.5]
    assert ops.multiply(np.array([1.0]), [0.1]).tolist() == [0.1]
    assert ops.add(np.float64(0.1), 0.2) == 0.1 + 0.2
    with pytest.raises(gx.DataError, match="masked"):
        ops.add(np.ma.array([1.0], mask=[True]), 1.0)


@pytest.mark.parametrize(
    "value", [0.5, np.float32(0.5), np.float64(0.1), 3, np.int32(3), True, [0.5, 1], np.array([0.1]), [np.float64(0.1)]]
)
def test_a_constant_that_stands_alone(value):
    found = gx.Graph().constant(value)
    first = value[0] if isinstance(value, list) else value
    numpy = isinstance(first, (np.ndarray, np.generic))
    assert found.dtype == (np.asarray(first).dtype.name if numpy else {float: "float32", int: "int64", bool: "bool"}[type(first)])


@pytest.mark.parametrize("dtype", [None, 3, object, "complex128", "float", np.float16, "O", [1]])
def test_what_is_no_element_type(dtype):
    with pytest.raises(gx.DtypeError, match=f"Use one of {', '.join(DTYPES)}"):
        gx.Graph().input("x", (2,), dtype)


def test_attributes_that_a_kernel_reads_as_integers():
    from graphexec.plugin import elementwise

    @elementwise(reference=lambda x, *, times=2: x * times, differentiable=False)
    def repeated(x, *, times=2):
        return x * times

    assert repeated(np.ones(2), times=3).tolist() == [3, 3]
    for wrong in (2.5, float("nan"), 2**63, 1e300):
        with pytest.raises(gx.GraphExecError, match="times"):
            repeated(np.ones(2), times=wrong)
