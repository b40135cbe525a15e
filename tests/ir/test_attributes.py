"""Attributes: each declares its type and range, and is checked at every border before a rule of the op sees it."""

import contextlib
import math
from itertools import islice
from typing import Annotated, Literal

import networkx as nx
import numpy as np
import pytest
from helpers.run import steady

import graphexec as gx
from graphexec.graph.file.read import loads
from graphexec.ir.attributes import LITERAL
from graphexec.ir.examples import example_calls
from graphexec.ir.op import array_spec
from graphexec.ir.registry import registry
from graphexec.plugin import Axes, DType, Range, elementwise, kernel

WRONG = [
    ("sum", {"axis": 1.5}),
    ("sum", {"axis": True}),
    ("sum", {"axis": "0"}),
    ("sum", {"axis": 2**63}),
    ("sum", {"axis": [0.0, 1.0]}),
    ("sum", {"keepdims": "zz"}),
    ("sum", {"keepdims": 1}),
    ("sum", {"keepdims": None}),
    ("gather", {"axis": None}),
    ("gather", {"axis": [0]}),
    ("reshape", {"shape": [None, 4]}),
    ("reshape", {"shape": [-2]}),
    ("reshape", {"shape": [1.5]}),
    ("reshape", {"shape": [True]}),
    ("broadcast_to", {"shape": [-1, 3]}),
    ("transpose", {"axes": [0.0, 1.0]}),
    ("transpose", {"axes": 0}),
    ("conv", {"strides": 1.5}),
    ("conv", {"strides": 0}),
    ("conv", {"strides": [1, 0]}),
    ("conv", {"padding": -1}),
    ("conv", {"padding": "full"}),
    ("conv", {"groups": 0}),
    ("conv", {"dilations": 2**31}),
    ("max_pool", {"kernel": 2**62}),
    ("max_pool", {"kernel": None}),
    ("average_pool", {"kernel": 2, "count_include_pad": 0}),
    ("cast", {"dtype": 3}),
    ("cast", {"dtype": "float16"}),
    ("cast", {"dtype": None}),
    ("one_hot", {"depth": 1e300}),
    ("one_hot", {"depth": -3}),
    ("one_hot", {"depth": 10**12}),
    ("one_hot", {"depth": 3, "dtype": "complex64"}),
    ("gelu", {"approximate": "zz"}),
    ("mse", {"reduction": "average"}),
    ("leaky_relu", {"alpha": math.nan}),
    ("clip", {"low": "0"}),
    ("clip", {"high": 10**400}),
    ("variance", {"correction": 1e300}),
    ("pad", {"padding": [1, -1]}),
    ("pad", {"padding": 1}),
    ("slice", {"ends": 1, "starts": 0.0}),
    ("slice", {"starts": 0, "ends": 1, "steps": ["1"]}),
    ("correlate", {"strides": [1, 1]}),
    ("max_windows", {"padding": [0, 0, 0]}),
    ("swish", {"beta": True}),
    ("swish", {"beta": 1j}),
    ("swish", {"beta": np.ones(2)}),
    ("swish", {"beta": object()}),
    ("sgd", {"lr": math.nan}),
    ("sgd", {"lr": -0.1}),
    ("sgd", {"lr": math.inf}),
    ("adam", {"beta1": 1}),
    ("adam", {"beta2": -0.1}),
    ("momentum", {"nesterov": 1}),
]


@pytest.mark.parametrize(("op", "attributes"), WRONG, ids=steady)
def test_wrong_values_are_refused_in_one_form(op, attributes):
    key = list(attributes)[-1]
    with pytest.raises(gx.OpError, match=f"^op '{op}': attribute '{key}' cannot be ") as caught:
        registry.get(op).check_attributes(attributes)
    assert caught.value.facts == [f"{op} takes {registry.get(op).signature}"]
    assert caught.value.todo.startswith("Give ")


@pytest.mark.parametrize(
    ("op", "given", "kept"),
    [
        ("sum", {"axis": np.int64(1)}, 1),
        ("sum", {"axis": np.array(1)}, 1),
        ("sum", {"axis": [np.int32(0), 1]}, (0, 1)),
        ("sum", {"axis": np.array([0, 1])}, (0, 1)),
        ("sum", {"axis": range(2)}, (0, 1)),
        ("sum", {"keepdims": np.True_}, True),
        ("clip", {"low": 2}, 2.0),
        ("clip", {"low": np.float32(0.5)}, 0.5),
        ("clip", {"low": np.int64(3)}, 3.0),
        ("clip", {"low": -math.inf}, -math.inf),
        ("cast", {"dtype": np.float64}, "float64"),
        ("cast", {"dtype": float}, "float64"),
        ("cast", {"dtype": np.dtype("int32")}, "int32"),
        ("cast", {"dtype": bool}, "bool"),
        ("gelu", {"approximate": np.str_("tanh")}, "tanh"),
        ("reshape", {"shape": ("batch", -1)}, ("batch", -1)),
        ("pad", {"padding": [0, 1], "value": math.inf}, math.inf),
    ],
    ids=steady,
)
def test_exact_values_of_numpy_are_taken(op, given, kept):
    key = list(given)[-1]
    found = registry.get(op).check_attributes({"padding": [0, 1]} | given if op == "pad" else given)[key]
    assert found == kept
    assert type(found) is type(kept)


def test_padding_with_nan_is_no_mistake():
    assert np.isnan(gx.ops.pad(np.ones(1, "float32"), padding=[1, 0], value=math.nan)[0])


@pytest.mark.parametrize("name", registry.names())
def test_every_attribute_of_a_built_in_op_is_declared(name):
    op = registry.get(name)
    assert [key for key in op.attributes if op.attribute_types[key] is LITERAL] == []


HOSTILE = [
    None,
    True,
    -1,
    0,
    1,
    2,
    7,
    2**31 - 1,
    2**31,
    2**62,
    2**63 - 1,
    -(2**63),
    2**64,
    0.0,
    1.5,
    1e300,
    math.nan,
    math.inf,
    "",
    "zz",
    "batch",
    "float32",
    "int64",
    "same",
    (),
    (0,),
    (-1,),
    (0, 1),
    (0, 0),
    (1, 2, 3),
    (2**62,),
    (None, 4),
    (1.0,),
    ("batch",),
    (0,) * 6,
    (1,) * 6,
    (2**31 - 1,) * 3,
    (2**31 - 1,) * 6,
]


@pytest.mark.parametrize("name", [n for n in registry.names() if registry.get(n).attributes])
def test_no_value_of_an_attribute_makes_a_rule_fail(name):
    """Every op, every attribute: a value is refused, or the shape rule gives shapes or one of the library's own errors."""
    op = registry.get(name)
    for call in islice(example_calls(op, np.random.default_rng(0), "float32"), 2):
        specs = [None if a is None else array_spec(a) for a in call.operands]
        for key in op.attributes:
            for value in HOSTILE:
                with contextlib.suppress(gx.GraphExecError):
                    checked = op.check_attributes({**call.attributes, key: value})
                    assert all(s.ndim <= 32 for s in op.infer_outputs(specs, checked))


# -- the borders


def _networkx(**data):
    dag = nx.MultiDiGraph()
    dag.add_node("x", op="input", shape=(2, 3))
    dag.add_node("y", **data)
    dag.add_edge("x", "y", key=0)
    return gx.Graph.from_networkx(dag)


def _value():
    return gx.Graph().input("x", (2, 3))


FILE = "graphexec: 1\ninputs: {x: 'float32[2, 3]'}\nnodes:\n  y: "
BORDERS = {
    "call": lambda: gx.ops.sum(_value(), axis=1.5),
    "apply": lambda: _value().graph.apply("sum", [_value()], {"axis": 1.5}),
    "method": lambda: _value().sum(axis=1.5),
    "composite": lambda: gx.ops.mean(_value(), axis=1.5),
    "eager": lambda: gx.ops.sum(np.ones((2, 3)), axis=1.5),
    "eager composite": lambda: gx.ops.mean(np.ones((2, 3)), axis=1.5),
    "call in a file": lambda: loads(FILE + "sum(x, axis=1.5)"),
    "mapping in a file": lambda: loads(FILE + "{op: sum, inputs: [x], attributes: {axis: 1.5}}"),
    "JSON": lambda: loads('{"graphexec": 1, "inputs": {"x": "float32[2, 3]"}, "nodes": {"y": "sum(x, axis=1.5)"}}', "json"),
    "metric": lambda: loads(FILE + "sum(x)\ntrain: {loss: y, metrics: {a: 'sum(x, axis=1.5)'}}"),
    "NetworkX": lambda: _networkx(op="sum", attributes={"axis": 1.5}),
    "NetworkX beside op": lambda: _networkx(op="sum", axis=1.5),
    "check_gradient": lambda: gx.check_gradient("sum", attributes={"axis": 1.5}),
}


@pytest.mark.parametrize("border", BORDERS)
def test_each_border_checks_attributes(border):
    with pytest.raises(gx.OpError, match=r"attribute 'axis' cannot be 1\.5"):
        BORDERS[border]()


@pytest.mark.parametrize("text", ["sgd(lr=nan)", "sgd(lr=-1)", "adam(beta1=1)", "adam(lr='zz')", "momentum(nesterov=3)"])
def test_optimizers_are_checked_too(text):
    with pytest.raises(gx.OpError, match="cannot be"):
        loads(f'{FILE}sum(x)\ntrain: {{loss: y, optimizer: "{text}"}}')
    with pytest.raises(gx.OpError):
        gx.Optimizer.parse(text.replace("nan", "float('nan')"))


# -- declarations


def test_annotations_declare_types():
    @kernel(shape=lambda x, **_: x.shape, reference=lambda x, **_: x, differentiable=False)
    def declared(
        x,
        out,
        *,
        axis: Axes = None,
        kind: Literal["a", "b"] = "a",
        count: Annotated[int, Range(1, 8)],
        rate: float = 1,
        dtype: DType = "int32",
        sizes: Annotated[tuple[int, ...] | None, Range(0)] = None,
        three: tuple[int, int, int] = (1, 1, 1),
        free=None,
        plain=2,
    ):
        out[:] = x

    op = declared.op
    assert op.attributes["rate"] == 1.0
    assert type(op.attributes["rate"]) is float
    good = {"count": 8, "axis": (0, 1), "kind": "b", "sizes": [0, 3], "three": [1, 2, 3], "free": (1, "a", None), "plain": 3}
    assert op.check_attributes(good)["sizes"] == (0, 3)
    for wrong in (
        {"count": 9},
        {"kind": "c"},
        {"sizes": [-1]},
        {"three": [1, 2]},
        {"free": object()},
        {"plain": 2.5},
        {"axis": "x"},
    ):
        with pytest.raises(gx.OpError, match="cannot be"):
            op.check_attributes({**good, **wrong})


@pytest.mark.parametrize(
    ("annotation", "default", "words"),
    [
        (Annotated[int, Range(1)], 0, "the default of attribute 'a' cannot be 0"),
        (float, "x", "cannot be 'x'"),
        (dict, None, "is not a type"),
        ("Unknown", 1, "is not a type"),
        (Literal["a"], "b", "cannot be 'b'"),
    ],
)
def test_declarations_that_contradict_themselves_are_refused(annotation, default, words):
    def broken(x, *, a=default):
        return x

    broken.__annotations__["a"] = annotation
    with pytest.raises(gx.PluginError, match=words):
        elementwise(reference=np.abs)(broken)


def test_a_rule_that_fails_is_named(monkeypatch):
    """A shape rule of a plugin may fail in any way; the error says where."""

    @kernel(shape=lambda x, *, at: (x.shape[at],), reference=lambda x, *, at: x, differentiable=False)
    def picks(x, out, *, at: int):
        out[:] = 0

    with pytest.raises(gx.OpError, match=r"op 'picks'.*its shape rule failed: IndexError"):
        picks.op.infer([array_spec(np.ones(2))], {"at": 5})


# -- sizes


@pytest.mark.parametrize(
    "node",
    [
        "broadcast_to(x, shape=[1000000000, 1000000000, 2, 3])",
        "pad(x, padding=[0, 9223372036854775807, 0, 0])",
        "broadcast_to(x, shape=[9223372036854775807, 2, 3])",
        "reshape(x, shape=[9223372036854775807, -1])",
        "one_hot(1, depth=1000000000000)",
        "broadcast_to(x, shape=[0, 9223372036854775807, 2, 3])",
        "broadcast_to(x, shape=[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
        "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3])",
    ],
)
def test_sizes_that_no_memory_holds_are_refused_when_the_file_is_read(node):
    with pytest.raises(gx.GraphExecError, match="node 'y'"):
        loads(FILE + node)


def test_leaves_that_no_memory_holds_are_refused():
    with pytest.raises(gx.ShapeError, match="larger than any memory"):
        gx.Graph().input("x", (2**40, 2**40))
    with pytest.raises(gx.ShapeError, match="larger than any memory"):
        loads("graphexec: 1\nparameters: {w: 'float32[999999999999999]'}\nnodes: {y: abs(w)}")
    g = gx.Graph()
    g.output(g.parameter("w", (2**22, 2**22)))
    with pytest.raises(gx.OutOfMemoryError, match="GiB; this machine has"):
        gx.compile(g)
    h = gx.Graph()
    x = h.input("x", ("rows",))
    h.output(gx.ops.broadcast_to(gx.ops.sin(gx.ops.expand_dims(x, axis=-1)), shape=("rows", 2**40)) * 1.0)
    with pytest.raises(gx.OutOfMemoryError):
        gx.compile(h)(x=np.ones(8, "float32"))


def test_operands_are_not_overwritten_by_something_larger():
    """An update writes into the memory of its operand, so nothing may broadcast or widen it."""
    for d in (np.ones((5, 3), "float32"), np.ones(3, "float64")):
        with pytest.raises(gx.ShapeError, match="operand 'p' cannot be overwritten by"):
            gx.ops.sgd(np.ones(3, "float32"), d)
