"""Graph files: what is written reads back the same; what is broken is refused with file, line and one message."""

import json
import math
import os
import time
from pathlib import Path

import jsonschema
import networkx as nx
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphexec as gx
from graphexec.graph.file import read, write
from graphexec.graph.file.calls import Call, Literal, Name, read_call
from graphexec.graph.file.read import load, loads, schema
from graphexec.graph.file.text import read_tree
from graphexec.graph.file.train_section import metric_values
from graphexec.graph.file.tree import Page, Scalar, plain
from graphexec.ir.registry import registry

BROKEN = Path(__file__).parents[1] / "broken"
EXPECTED = yaml.safe_load((BROKEN / "expected.yaml").read_text())
FORMATS = ("yaml", "json")

NET = """\
graphexec: 1
name: net
inputs:
  x: float32[batch, 4]
  y: float32[batch, 2]
parameters:
  w: {type: "float32[4, 2]", init: normal(std=0.02)}
  v: {type: "float64[2]", value: [0.1, .inf], trainable: false}
constants:
  two: 2.0
  table: {type: "int64[2, 2]", value: [[1, 2], [3, 4]]}
nodes:
  z: leaky_relu(matmul(x, w), alpha=0.1)
  c: subtract(z, y)
  c2: {op: multiply, inputs: {x: c, y: c}}
  clipped: clip(multiply(c2, two), low=-1, high=inf)
  half: multiply(0.5, v)
  loss: reshape(row, shape=[])
  row: matmul(ones, reshape(w, shape=[8, 1]))
  ones: reshape(w, shape=[1, 8])
outputs: [z, clipped, loss, half]
unused: [table]
train:
  loss: loss
  optimizer: sgd(lr=0.1)
  data: {file: net.npz, inputs: {x: x, y: y}}
  hold_out: 0.2
  metrics: {largest: loss, absolute: abs(loss)}
  epochs: 20
  batch_size: 32
  seed: 0
  shuffle: true
  recompute: [z, c2]
"""


def dumps(graph, form="yaml"):
    """The text of a graph."""
    return write.dumps(graph.dag, graph.function(), form)


def meaning(graph):
    """All that a graph says, as data that compares; NaN equals NaN, 1 differs from 1.0 and True."""
    fn = graph.function()
    leaves = [
        (f.name, f.role, f.shape, f.dtype, f.init or ("zeros" if f.value is None and f.role == "parameter" else None), f.trainable,
         None if f.value is None else (f.value.dtype.name, f.value.shape, repr(f.value.tolist())))
        for kind in ("input", "parameter", "constant") for f in fn.of_role(kind)
    ]  # fmt: skip
    nodes = [
        (n.name, n.op.name, [fn.names[v] if v >= 0 else None for v in n.inputs], repr(n.attributes)) for n in fn.nodes
    ]
    kept = {k: v for k, v in graph.dag.graph.items() if k in ("gradients", "deltas", "train")}
    return {"name": graph.name, "leaves": leaves, "nodes": nodes, "outputs": graph.outputs, **kept}


def assert_survives(graph):
    for form in FORMATS:
        text = dumps(graph, form)
        again = loads(text, form)
        assert meaning(again) == meaning(graph)
        assert dumps(again, form) == text
        validate(text, form)


def validate(text, form="yaml"):
    jsonschema.Draft202012Validator(schema()).validate(tree(text, form))


def tree(text, form="yaml"):
    page = Page("test", text, form == "json")
    return plain(page, read_tree(page))


# -- reading


def test_reads_calls_mappings_and_numbers():
    graph = loads(NET, name="net.yaml")
    dag = graph.dag
    assert graph.name == "net"
    assert list(dag) == [
        "x", "y", "w", "v", "two", "table", "z.1", "z", "c", "c2", "clipped.1", "clipped", "half.1", "half",
        "loss", "row.1", "row", "ones",
    ]  # fmt: skip
    assert dag.nodes["z"]["attributes"] == {"alpha": 0.1}
    assert dag.nodes["z"]["source"] == "net.yaml:13"
    assert dag.nodes["clipped"]["attributes"] == {"low": -1}  # high=inf is the default
    assert dag.get_edge_data("c", "c2").keys() == {0, 1}
    assert dag.nodes["half.1"]["dtype"] == "float64"  # a number takes the type of what it meets
    assert graph.outputs == ["z", "clipped", "loss", "half"]
    assert graph["loss"].shape == ()


def test_train_section_is_kept_as_plain_data():
    train = loads(NET).dag.graph["train"]
    assert train == {
        "loss": "loss", "optimizer": "sgd(lr=0.1)", "data": {"file": "net.npz", "inputs": {"x": "x", "y": "y"}}, "hold_out": 0.2,
        "metrics": {"largest": "loss", "absolute": "abs(loss)"}, "epochs": 20, "batch_size": 32, "seed": 0, "shuffle": True,
        "recompute": ["z", "c2"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("d.npz", {"file": "d.npz"}),
        ("{file: d.npz}", {"file": "d.npz"}),
        ("{inputs: {x: x.npy, y: y.npy}}", {"inputs": {"x": "x.npy", "y": "y.npy"}}),
        ("{x: x.npy, y: y.npy}", {"inputs": {"x": "x.npy", "y": "y.npy"}}),
    ],
)
@pytest.mark.parametrize("key", ["data", "hold_out"])
def test_data_forms(key, written, kept):
    text = NET.replace("data: {file: net.npz, inputs: {x: x, y: y}}\n  hold_out: 0.2", f"{key}: {written}")
    graph = loads(text)
    assert graph.dag.graph["train"][key] == kept
    assert_survives(graph)
    validate(text)


def test_metric_values_adds_the_nodes_of_calls():
    graph = loads(NET)
    train, copy = graph.dag.graph["train"], graph.copy()
    assert metric_values(copy, train) == {"largest": "loss", "absolute": "metrics.absolute"}
    assert copy["metrics.absolute"].shape == ()
    assert "metrics.absolute" not in graph
    with pytest.raises(gx.OpError, match="did you mean 'abs'"):
        metric_values(graph.copy(), {"metrics": {"a": "abss(loss)"}})


def test_without_outputs_the_nodes_that_nothing_reads():
    graph = loads("graphexec: 1\ninputs: {x: float32}\nnodes: {a: abs(x), b: exp(a), c: exp(a)}")
    assert graph.outputs == ["b", "c"]


def test_nested_names_leave_out_those_of_the_file():
    graph = loads("graphexec: 1\ninputs: {x: float32}\nnodes:\n  a: abs(exp(exp(x)))\n  a.1: exp(x)\n")
    assert list(graph.dag) == ["x", "a.2", "a.3", "a", "a.1"]
    assert graph.dag.has_edge("a.2", "a.3")


def test_optional_operands_and_operands_by_name(op_with_options):
    graph = loads(
        "graphexec: 1\ninputs: {x: float32, y: float32}\nnodes:\n"
        "  a: graphfile_test(x, z=y)\n  b: graphfile_test(x, null, y)\n  c: {op: graphfile_test, inputs: [x, null, y]}\n"
        "  d: graphfile_test(x, y)\n"
    )
    inputs = {n.name: n.inputs for n in graph.function().nodes}
    assert inputs == {"a": (0, -1, 1), "b": (0, -1, 1), "c": (0, -1, 1), "d": (0, 1)}
    assert_survives(graph)


def test_yaml_scalars_follow_version_1_2():
    assert tree("[1e-3, on, yes, 1_000, 012, 0o7, 1:30, .5, 2021-01-01, ~, '1', \"true\"]") == [
        1e-3, "on", "yes", "1_000", 12, "0o7", "1:30", 0.5, "2021-01-01", None, "1", "true",
    ]  # fmt: skip


def test_keys_are_texts():
    graph = loads(
        "graphexec: 1\ninputs: {1: float32, no: float32, null: float32}\n"
        "nodes: {2: 'add(no, on)', on: {op: add, inputs: ['1', 'null']}}"
    )
    assert list(graph.dag) == ["1", "no", "null", "2", "on"]


def test_json_and_yaml_of_json_agree():
    text = dumps(loads(NET), "json")
    assert tree(text, "json") == json.loads(text)
    assert tree(text, "yaml") == json.loads(text)


def test_calls_in_braces_need_no_quotes():
    """To YAML a comma ends them, which nobody means."""
    assert tree("{é: f(x, y), b: g(h(x,y), z, k='a,b'), c: init(a=1,\n  b=2), d: e}") == {
        "é": "f(x, y)", "b": "g(h(x,y), z, k='a,b')", "c": "init(a=1,\n  b=2)", "d": "e",
    }  # fmt: skip
    graph = loads(NET.replace("absolute: abs(loss)", "absolute: add(loss, loss), other: add(loss, 1)"))
    assert graph.dag.graph["train"]["metrics"] == {"largest": "loss", "absolute": "add(loss, loss)", "other": "add(loss, 1)"}
    assert_survives(graph)


def test_byte_order_mark_and_windows_line_ends():
    graph = loads(b"\xef\xbb\xbf" + NET.replace("\n", "\r\n").encode(), name="n")
    assert graph.dag.nodes["z"]["source"] == "n:13"


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=30,
))  # fmt: skip
def test_json_scanner_agrees_with_the_standard_one(data):
    for text in (json.dumps(data), json.dumps(data, ensure_ascii=False, indent=1)):
        assert repr(tree(text, "json")) == repr(data)


@given(st.text(max_size=60), st.sampled_from(FORMATS))
@settings(max_examples=300)
def test_any_text_is_refused_cleanly(text, form):
    with pytest.raises(gx.GraphExecError):
        loads(text, form)


@given(st.integers(0, len(NET)), st.integers(0, 40), st.text(alphabet="{}[]()'\"&*!|>:,-#\n x1=\t", max_size=6))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_damage_is_refused_cleanly_or_read(at, cut, new):
    try:
        loads(NET[:at] + new + NET[at + cut :], name="net.yaml")
    except gx.GraphExecError as error:
        if not str(error.source).startswith("net.yaml"):
            raise


def call(text):
    return read_call(Page("test", text), Scalar(text, True, 1))


def test_call_literals():
    found = call("f(x, y:1, -1, 2.5e3, [1, [true, null]], 'a\\n\\'b', k=-inf, m=.nan, a.b, p=None, q=False, r=\"é\",)")
    values = [(k, a.text if isinstance(a, Name) else a.value) for k, a in found.arguments]
    nan = values[7][1]
    assert math.isnan(nan)
    assert values == [
        (None, "x"), (None, "y:1"), (None, -1), (None, 2500.0), (None, (1, (True, None))), (None, "a\n'b"),
        ("k", -math.inf), ("m", nan), (None, "a.b"), ("p", None), ("q", False), ("r", "é"),
    ]  # fmt: skip
    assert type(values[2][1]) is int


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
))  # fmt: skip
def test_call_literals_survive(value):
    from graphexec.graph.file.write import literal_text

    found = call(f"f(k={literal_text(value)})").arguments[0][1]
    assert isinstance(found, Literal)
    assert repr(found.value) == repr(value)


def test_nested_call_lines():
    text = "graphexec: 1\nnodes:\n  a: f(x,\n\n     g(y,\n       z))\n"
    page = Page("test", text)
    item = read_tree(page).items["nodes"].items["a"]
    found = read_call(page, item)
    inner = found.arguments[1][1]
    assert isinstance(inner, Call)
    assert (found.line, inner.line, inner.arguments[1][1].line) == (3, 5, 6)


# -- writing


def test_the_example_of_the_documentation_reads_back_as_it_was_written():
    text = (
        "graphexec: 1\nname: nested\ninputs:\n  x: float32[batch, 2]\n  y: float32[batch, 2]\nparameters:\n"
        '  w: {type: "float32[2, 2]", init: glorot_uniform}\n  b: float32[2]\nnodes:\n  z1: matmul(x, w)\n  z2: add(z1, b)\n'
        "  loss: subtract(z2, y)\noutputs: [z2, loss]\n"
    )
    assert dumps(loads(text)) == text


def test_net_survives():
    assert_survives(loads(NET))
    validate(NET)


def test_graph_of_the_api_survives():
    g = gx.Graph("api")
    x = g.input("x", ("batch", 2))
    w = g.parameter("w", value=np.array([[0.1, -0.0], [np.nan, -np.inf]], "float32"))
    t = g.parameter("t", value=np.array(1 / 3), trainable=False)
    g.parameter("unread", (3,))
    e = g.constant(np.zeros((0, 3)), "nothing")
    c = g.constant(np.float32(0.1), "tenth")
    f = g.constant(np.array([True, False]))
    i = g.constant(7)
    k = g.constant(np.int32(7))
    n = g.constant(np.float32("nan"))
    z = gx.ops.multiply(x @ w, x @ w, name="z")
    zz = gx.ops.multiply(z, z)
    a = gx.ops.clip(zz, low=-0.0, high=np.inf, name="clipped")
    b = gx.ops.leaky_relu(zz, name="default")
    g.output(a, b, t, e, c, f, i, k, n)
    assert_survives(g)


def test_default_attributes_are_left_out_by_type_and_sign():
    g = gx.Graph()
    x = g.input("x")
    for k, low in enumerate([0, 0.0, -0.0, float("inf"), 1, float("-inf"), 5e-324, 1e300, -(2**63)]):
        g.output(gx.ops.clip(x, low=low, name=f"c{k}"))
    assert_survives(g)
    assert "c5: clip(x)" in dumps(g)


NAMES = ["two words", "d(z1)", "z1.backward", "1", "-", "null", "true", "inf", "nan", "é", "日本", "a,b", "[x]", "{", "#", "a #b",
         "'", '"', "\\", "\n", "\t", "\x7f", "\u2028", "\ufeff", "😀", "&a", "*a", "!x", "%", "@", "`", "? ", "- a", "a" * 3000,
         " ", "<<", "~", "=", "é" * 1200, "\x00", "\x85", "on", "1e3", "0x1", "graphexec", "x.1", "_"]  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_names_of_any_kind_survive(form):
    dag = nx.MultiDiGraph()
    for name in NAMES:
        dag.add_node(name, op="input", shape=("batch",))
        dag.add_node(name + " ", op="add", attributes={})
    dag.nodes[" "].pop("shape", None)
    for name in NAMES:
        if name != " ":
            dag.add_edge(name, name + " ", key=0)
            dag.add_edge(name, name + " ", key="y")
    dag.nodes[" "].update(op="input", shape=())
    dag.add_edge(" ", "  ", key=0)
    dag.add_edge(" ", "  ", key=1)
    assert_survives(gx.Graph.from_networkx(dag, "any:\nname"))


def test_a_graph_that_was_differentiated_survives():
    g = gx.Graph("d")
    x, w = g.input("x", (1, 2)), g.parameter("w", (2, 1), init="ones")
    g.output(gx.ops.reshape(gx.ops.swish(x) @ w, shape=(), name="loss"))
    d = gx.differentiate(g, of="loss", wrt=["x", "w"])
    assert any(".backward" in n.op.name for n in d.function().nodes)
    assert_survives(d)


def test_second_outputs_survive(op_with_options):
    g = gx.Graph()
    x = g.input("x")
    a, b = gx.ops.graphfile_test_two(x, name="pair")
    c, d = gx.ops.graphfile_test_two(b, name="odd pair")
    g.output(gx.ops.add(b, a, name="sum"), d, b, c)
    assert g.outputs == ["sum", "odd pair:1", "pair:1", "odd pair"]
    assert_survives(g)


def test_nodes_are_written_in_the_order_in_which_they_run():
    dag = nx.MultiDiGraph()
    for name, op in [("b", "exp"), ("x", "input"), ("a", "abs")]:
        dag.add_node(name, op=op, **({"shape": ()} if op == "input" else {}))
    dag.add_edge("x", "a", key=0)
    dag.add_edge("a", "b", key=0)
    assert_survives(gx.Graph.from_networkx(dag))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda g: g.parameter("big", value=np.zeros(1001, "float32")), "safetensors"),
        (lambda g: g.constant(np.zeros((40, 40)), "big"), "safetensors"),
        (lambda g: g.dag.add_node("a:b", op="input", shape=()), "a graph file cannot contain the name"),
        (lambda g: g.dag.add_node("", op="input", shape=()), "a graph file cannot contain the name"),
        (lambda g: g.dag.add_node("\ud800", op="input", shape=()), "a graph file cannot contain the name"),
        (lambda g: g.dag.add_node("i", op="input", value=3.0), "has a value"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(tmp_path, change, text):
    g = gx.Graph()
    change(g)
    target = tmp_path / "g.yaml"
    target.write_text("before")
    with pytest.raises(gx.GraphError, match=text):
        g.save(target)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["before"]


def test_a_large_value_with_init_is_written_as_init():
    g = gx.Graph()
    g.parameter("big", value=np.zeros(1001, "float32"))
    g.dag.nodes["big"]["init"] = "ones"
    assert 'big: {type: "float32[1001]", init: ones}' in dumps(g)


@st.composite
def graphs(draw):
    """Graphs of elementwise ops over odd names, attributes and sharing, with leaves of any type."""
    g = gx.Graph(draw(st.text(min_size=1, max_size=5)))
    texts = st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"]), min_size=1, max_size=4)
    names = draw(st.lists(st.one_of(st.sampled_from("abcxyz"), texts), min_size=3, max_size=14, unique=True))
    values = []
    for name in names[: draw(st.integers(1, 3))]:
        kind = draw(st.sampled_from(["input", "parameter", "value", "constant"]))
        dtype = draw(st.sampled_from(["float32", "float64"]))
        number = draw(st.floats(width=32))
        if kind == "input":
            values.append(g.input(name, draw(st.sampled_from([(), (3,), ("n", 3)])), dtype))
        elif kind == "parameter":
            init = draw(st.sampled_from(["zeros", "glorot_uniform", "normal(std=0.1)"]))
            values.append(g.parameter(name, (3,), dtype, init=init, trainable=draw(st.booleans())))
        elif kind == "value":
            values.append(g.parameter(name, value=np.array([number, 1, 1 / 3], dtype)))
        else:
            values.append(g.constant(np.array(number, dtype), name))
    for name in names[len(values) :]:
        if draw(st.booleans()):
            values.append(gx.ops.add(draw(st.sampled_from(values)), draw(st.sampled_from(values)), name=name))
        else:
            low = draw(st.none() | st.integers(-3, 3) | st.floats(allow_nan=False))
            values.append(gx.ops.clip(draw(st.sampled_from(values)), name=name, **({} if low is None else {"low": low})))
    g.output(*draw(st.lists(st.sampled_from(values), max_size=3)))
    return g


@given(graphs())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_drawn_graphs_survive(graph):
    assert_survives(graph)


# -- files


def test_save_and_load(tmp_path):
    graph = loads(NET)
    for name in ("a.yaml", "a.yml", "a.json", "A.JSON", "ünicode.yaml"):
        graph.save(tmp_path / name)
        again = load(tmp_path / name)
        assert meaning(again) == meaning(graph)
        assert again.dag.graph["directory"] == str(tmp_path)
        assert again.dag.nodes["z"]["source"].startswith(f"{tmp_path / name}:")
    assert len(list(tmp_path.iterdir())) == len({"a.yaml", "a.yml", "a.json", "A.JSON", "ünicode.yaml"})


def test_save_replaces_whole_files_only(tmp_path, monkeypatch):
    graph, target = loads(NET), tmp_path / "g.yaml"
    target.write_text("before")
    target.chmod(0o640)
    graph.save(target)
    assert target.stat().st_mode & 0o777 == 0o640
    written = target.read_text()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(gx.GraphFileError, match="disk full"):
        gx.Graph("other").save(target)
    assert target.read_text() == written
    assert len(list(tmp_path.iterdir())) == 1


def test_save_through_a_link_keeps_the_link(tmp_path):
    (tmp_path / "real.yaml").write_text("before")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "real.yaml")
    loads(NET).save(tmp_path / "link.yaml")
    assert (tmp_path / "link.yaml").is_symlink()
    assert (tmp_path / "real.yaml").read_text().startswith("graphexec: 1")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("absent.yaml", "no such file"),
        ("folder.yaml", "directory"),
        ("a.txt", "unknown extension '.txt'"),
        ("a", "unknown extension ''"),
        ("a\0b.yaml", "no such file|null"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, text):
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(gx.GraphFileError, match=text) as caught:
        load(tmp_path / name)
    assert caught.value.source == str(tmp_path / name)


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "MAX_BYTES", 2**20)
    (tmp_path / "large.yaml").write_text("graphexec: 1\n" + "#" * 2**20)
    with pytest.raises(gx.GraphFileError, match="larger than 1 MiB"):
        load(tmp_path / "large.yaml")


def test_too_many_items_are_refused(monkeypatch):
    monkeypatch.setattr("graphexec.graph.file.tree.MAX_ITEMS", 100)
    for form, text in (("yaml", "- 1\n" * 200), ("json", "[" + "1,\n" * 200 + "1]")):
        with pytest.raises(gx.GraphFileError, match="more than 100 items"):
            loads(text, form)


@pytest.mark.parametrize("form", FORMATS)
def test_ten_thousand_nodes_load(form):
    lines = ["  n0: add(x, b)"] + [f"  n{k}: {'add' if k % 2 else 'multiply'}(n{k - 1}, b)" for k in range(1, 10_000)]
    text = "graphexec: 1\ninputs: {x: 'float32[8, 8]'}\nparameters: {b: 'float32[8]'}\nnodes:\n" + "\n".join(lines)
    graph = loads(text)
    written = dumps(graph, form)
    assert len(loads(written, form)) == 10_002


# -- the schema


def test_the_schema_is_sound():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    "name",
    [
        "list_at_top.yaml", "text_at_top.yaml", "no_version.yaml", "version_2.yaml", "version_text.yaml", "version_true.yaml",
        "misspelt_section.yaml", "unknown_section.yaml", "no_nodes.yaml", "nodes_list.yaml", "name_number.yaml",
        "unknown_dtype.yaml", "bad_type.yaml",
        "input_mapping.yaml", "parameter_unknown_key.yaml", "parameter_no_type.yaml", "parameter_list.yaml",
        "init_number.yaml", "value_text.yaml", "constant_text.yaml", "constant_no_value.yaml", "trainable_yes.yaml",
        "name_with_colon.yaml", "empty_name.yaml", "no_call.yaml", "no_op_name.yaml", "node_number.yaml", "node_list.yaml",
        "mapping_no_op.yaml", "mapping_unknown_key.yaml", "mapping_inputs_text.yaml", "mapping_attribute_mapping.yaml",
        "mapping_operand_list.yaml", "outputs_number.yaml", "outputs_text.yaml", "outputs_twice.yaml", "train_unknown_key.yaml",
        "train_no_loss.yaml", "train_list.yaml", "train_epochs_fraction.yaml", "train_epochs_negative.yaml",
        "train_batch_zero.yaml", "train_recompute_zero.yaml", "train_recompute_text.yaml", "train_recompute_mapping.yaml",
        "train_recompute_number.yaml",
        "train_seed_text.yaml", "train_shuffle_number.yaml", "train_hold_out_one.yaml", "train_hold_out_true.yaml",
        "train_data_empty.yaml", "train_data_number.yaml", "train_metrics_list.yaml", "null.json", "operand_object.json",
    ],
)  # fmt: skip
def test_the_schema_refuses_broken_structure(name):
    text = (BROKEN / "graphs" / name).read_text()
    with pytest.raises(jsonschema.ValidationError):
        validate(text, name.rpartition(".")[2])


# -- broken files


def test_every_broken_file_is_in_the_table():
    assert {p.name for p in (BROKEN / "graphs").iterdir()} == set(EXPECTED["graphs"])
    plugins = {p.name for p in (BROKEN / "plugins").iterdir()} - {"__pycache__"}
    assert plugins == set(EXPECTED["plugins"]) - {"absent.py"}


def assert_refused(load, name, expected):
    begin = time.perf_counter()
    with pytest.raises(gx.GraphExecError) as caught:
        load(name)
    error = caught.value
    assert time.perf_counter() - begin < 2
    assert type(error).__name__ == expected["error"]
    assert error.source == (f"{name}:{expected['line']}" if expected["line"] else name)
    message = str(error)
    assert error.source in message
    assert expected["contains"] in message.replace(error.source, "")


@pytest.mark.parametrize("name", EXPECTED["graphs"])
def test_broken_graph_files_are_refused(name, monkeypatch):
    monkeypatch.chdir(BROKEN / "graphs")
    assert_refused(load, name, EXPECTED["graphs"][name])


@pytest.mark.parametrize("name", EXPECTED["plugins"])
def test_broken_plugins_are_refused_and_disturb_nothing(name, monkeypatch):
    monkeypatch.chdir(BROKEN / "plugins")
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    before = {n: registry.get(n) for n in registry.names()}
    assert_refused(registry.load_file, name, EXPECTED["plugins"][name])
    assert {n: registry.get(n) for n in registry.names()} == before


@pytest.fixture
def op_with_options(tmp_path):
    """An op with operands that may be left out, and one with two outputs."""
    path = tmp_path / "graphfile_ops.py"
    path.write_text(
        "from graphexec.plugin import elementwise\n\n"
        "@elementwise(reference=lambda x, y=None, z=None: x, differentiable=False)\n"
        "def graphfile_test(x, y=None, z=None):\n    return x\n\n"
        "@elementwise(reference=lambda x: (x, x), outputs=('a', 'b'), differentiable=False)\n"
        "def graphfile_test_two(x):\n    return x, x\n"
    )
    names = registry.load_file(path)
    yield
    for name in names:
        registry.unregister(name)
