"""Graphs made by NetworkX: each of its operations gives the same results, or an error that says what to change."""

import io
import json

import networkx as nx
import numpy as np
import pytest
from helpers.run import steady
from networkx.readwrite.gml import literal_destringizer, literal_stringizer

import graphexec as gx

X = np.arange(6.0).reshape(2, 3)


def built(op="sum", **data):
    """y = op(x * x), of NetworkX's own making."""
    dag = nx.MultiDiGraph(name="built")
    dag.add_node("x", op="input", shape=(2, 3), dtype="float64")
    dag.add_node("square", op="multiply")
    dag.add_node("y", op=op, **({"attributes": {"axis": 0}} if op == "sum" and not data else data))
    dag.add_edge("x", "square", key=0)
    dag.add_edge("x", "square", key=1)
    dag.add_edge("square", "y", key=0)
    return dag


def result(dag, **options):
    return gx.compile(gx.Graph.from_networkx(dag, **options))(x=X)


def state(dag):
    return repr(
        (list(dag.nodes(data=True)), list(dag.edges(data=True, **({"keys": True} if dag.is_multigraph() else {}))), dag.graph)
    )


WANTED = (X * X).sum(axis=0)


def through(write, read):
    def both(dag):
        stream = io.BytesIO()
        write(dag, stream)
        stream.seek(0)
        return read(stream)

    return both


def flat(dag):
    """What GraphML can hold: attributes beside op, shapes as text."""
    flat = nx.MultiDiGraph(name="built")
    for name, data in dag.nodes(data=True):
        data = {**data, **data.get("attributes", {})}
        data.pop("attributes", None)
        flat.add_node(name, **{k: str(v) if isinstance(v, tuple) else v for k, v in data.items()})
    flat.add_edges_from(dag.edges(keys=True))
    return flat


def rekeyed(kind):
    def both(dag):
        new = nx.MultiDiGraph()
        new.add_nodes_from(dag.nodes(data=True))
        new.add_edges_from((a, b, kind(k)) for a, b, k in dag.edges(keys=True))
        return new

    return both


def slotted(dag):
    new = nx.MultiDiGraph()
    new.add_nodes_from(dag.nodes(data=True))
    for a, b, k in dag.edges(keys=True):
        new.add_edge(a, b, slot=k)
    return new


OPERATIONS = {
    "itself": lambda dag: dag,
    "copy": lambda dag: dag.copy(),
    "view": lambda dag: dag.copy(as_view=True),
    "frozen": lambda dag: nx.freeze(dag.copy()),
    "subgraph": lambda dag: dag.subgraph(list(dag)),
    "edge subgraph": lambda dag: dag.edge_subgraph(list(dag.edges(keys=True))),
    "reversed twice": lambda dag: dag.reverse().reverse(),
    "compose with a part": lambda dag: nx.compose(dag, dag.subgraph(["x", "square"])),
    "relabelled": lambda dag: nx.relabel_nodes(dag, {"square": ("a", 1)}),
    "integers": lambda dag: nx.relabel_nodes(dag, {"square": 1, "y": "y"}),
    "node-link data": lambda dag: nx.node_link_graph(json.loads(json.dumps(nx.node_link_data(dag, edges="edges"))), edges="edges"),
    "adjacency data": lambda dag: nx.adjacency_graph(json.loads(json.dumps(nx.adjacency_data(dag)))),
    "GML": through(
        lambda dag, f: nx.write_gml(dag, f, stringizer=literal_stringizer),
        lambda f: nx.read_gml(f, destringizer=literal_destringizer),
    ),
    "GraphML": through(lambda dag, f: nx.write_graphml(flat(dag), f), nx.read_graphml),
    "NumPy keys": rekeyed(np.int64),
    "digits": rekeyed(str),
    "names of operands": rekeyed(lambda k: "xy"[k]),
    "slots": slotted,
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_gives_the_same(operation):
    dag = built()
    given = OPERATIONS[operation](dag)
    before = state(given), state(dag)
    np.testing.assert_array_equal(result(given)["y"], WANTED)
    assert (state(given), state(dag)) == before, "from_networkx changed the caller's graph"


@pytest.mark.parametrize("data", [{"axis": 0}, {"attributes": {"axis": 0}}, {"axis": np.int64(0), "_note": "mine"}], ids=steady)
def test_attributes_stand_beside_op_or_in_a_mapping(data):
    np.testing.assert_array_equal(result(built(**data))["y"], WANTED)


@pytest.mark.parametrize("op", [gx.ops.sum, np.str_("sum")], ids=["op", "str_"])
def test_an_op_itself_is_taken(op):
    np.testing.assert_array_equal(result(built(op=op, axis=0))["y"], WANTED)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"attrs": {"axis": 0}}, "unknown key 'attrs'; did you mean 'attributes'"),
        ({"axes": 0}, "unknown key 'axes'; did you mean 'axis'"),
        ({"attribute": {"axis": 0}}, "did you mean 'attributes'"),
        ({"axis": 0, "attributes": {"axis": 0}}, "has 'axis' twice"),
        ({"attributes": [("axis", 0)]}, "not a mapping"),
        ({"attributes": {"axes": 0}}, "unknown attribute 'axes'"),
        ({"weight": 2.0}, "unknown key 'weight'"),
        ({3: 1}, "unknown key 3"),
        ({"op": 3}, "neither the name of an op nor an op"),
        ({"op": np.sum}, "neither the name of an op nor an op"),
        ({"op": None}, "has no op"),
        ({"op": "summ"}, "did you mean 'sum'"),
        ({"op": "take_batch"}, "only the engine writes"),
    ],
    ids=steady,
)
def test_keys_that_nothing_reads_are_refused(data, words):
    dag = built()
    dag.nodes["y"].clear()
    dag.nodes["y"].update({"op": "sum"} | data)
    with pytest.raises(gx.GraphExecError, match=words):
        gx.Graph.from_networkx(dag)
    g = gx.Graph.from_networkx(built())  # nor are they in the dag of a graph
    g.dag.nodes["y"].clear()
    g.dag.nodes["y"].update({"op": "sum"} | data)
    with pytest.raises(gx.GraphExecError, match=words):
        gx.compile(g)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"op": "input", "shapes": (2, 3)}, "did you mean 'shape'"),
        ({"op": "input"}, "has no shape"),
        ({"op": "input", "shape": (2, -3)}, "-3 is not a size"),
        ({"op": "input", "shape": (2,), "dtype": 3}, "'3' is not an element type"),
        ({"op": "input", "shape": (2,), "attributes": {"a": 1}}, "has attributes"),
        ({"op": "constant"}, "has no value"),
        ({"op": "constant", "value": "zz"}, "holds text"),
        ({"op": "constant", "value": [[1], [1, 2]]}, "is not an array"),
        ({"op": "parameter", "shape": (2, 3), "trainable": "no"}, "trainable of parameter"),
        ({"op": "parameter", "shape": (2,), "value": np.ones(3)}, "value and shape disagree"),
        ({"op": "parameter", "shape": (10**15,)}, "larger than any memory"),
    ],
    ids=steady,
)
def test_leaves_are_checked(data, words):
    dag = built()
    dag.nodes["x"].clear()
    dag.nodes["x"].update(data)
    with pytest.raises(gx.GraphExecError, match=words):
        gx.Graph.from_networkx(dag)


@pytest.mark.parametrize(
    ("key", "data", "words"),
    [
        (7, {}, "feeds an unknown operand: 7"),
        (10**12, {}, "feeds an unknown operand"),
        ("z", {}, "feeds an unknown operand: 'z'"),
        (-1, {}, "feeds an unknown operand"),
        (True, {}, "feeds an unknown operand: True"),
        (1.0, {}, "feeds an unknown operand"),
        (1, {"outputs": 1}, "unknown key 'outputs'; did you mean 'output'"),
        (1, {"weight": 2}, "unknown key 'weight'"),
        (1, {"output": 3}, "takes output 3"),
        (1, {"output": "zz"}, "takes output 'zz'"),
        (0, {}, "a second time"),
    ],
    ids=steady,
)
def test_edges_are_checked(key, data, words):
    dag = built()
    dag.add_node("z", op="abs")
    dag.add_edge("x", "z", key=0)
    dag.remove_edge("x", "square", key=1)
    dag.add_edge("z", "square", key=key, **data)
    with pytest.raises(gx.GraphError, match=words):
        gx.Graph.from_networkx(dag)


def test_a_variadic_op_has_as_many_operands_as_edges():
    dag = built()
    dag.add_node("z", op="add_n")
    dag.add_edge("x", "z", key=10**9)
    with pytest.raises(gx.GraphError, match="feeds an unknown operand"):
        gx.Graph.from_networkx(dag)


def test_a_second_call_sees_new_nodes():
    dag = built()
    assert set(result(dag)) == {"y"}
    dag.add_node("z", op="negate")
    dag.add_edge("square", "z", key=0)
    assert set(result(dag)) == {"y", "z"}
    assert "outputs" not in dag.graph


def test_what_is_added_to_one_graph_is_not_in_another():
    dag = built()
    dag.graph["outputs"] = ["y"]
    first, second = gx.Graph.from_networkx(dag), gx.Graph.from_networkx(dag.copy())
    first.output("square")
    copy = first.copy()
    copy.output("x")
    copy.dag.nodes["y"]["attributes"]["axis"] = 1
    assert (first.outputs, second.outputs, dag.graph["outputs"]) == (["y", "square"], ["y"], ["y"])
    assert (first.dag.nodes["y"], dag.nodes["y"]) == ({"op": "sum", "attributes": {"axis": 0}},) * 2
    view = first.dag.subgraph(["x", "square", "y"])
    gx.Graph.from_networkx(view).output("x")
    assert first.outputs == ["y", "square"]


def test_outputs_that_an_operation_loses_are_asked_for():
    one, two = gx.Graph.from_networkx(built()), gx.Graph("two")
    two.output(gx.ops.exp(two.input("t", (2,)), name="e"))
    both = nx.compose(one.dag, two.dag)
    with pytest.raises(gx.GraphError, match="nothing reads the node 'y'"):
        gx.Graph.from_networkx(both)
    assert gx.Graph.from_networkx(both, outputs=["y", "e"]).outputs == ["y", "e"]
    with pytest.raises(gx.GraphError, match=r"the output 'y' .* is no node"):
        gx.Graph.from_networkx(nx.relabel_nodes(one.dag, {"y": "z"}))
    with pytest.raises(gx.GraphError, match="is no node"):
        gx.Graph.from_networkx(one.dag.subgraph(["x", "square"]))
    assert gx.Graph.from_networkx(one.dag.subgraph(["x", "square"]), outputs="square").outputs == ["square"]


@pytest.mark.parametrize("outputs", ["y", "y, square", ["y", "square"], ("y",), {"y": 0}.keys(), None])
def test_outputs_are_one_name_or_several(outputs):
    dag = built()
    dag.graph["outputs"] = outputs
    assert "y" in result(dag)


def test_a_digraph_says_slots_where_there_are_several():
    dag = nx.DiGraph()
    dag.add_node("x", op="input", shape=(2, 3), dtype="float64")
    dag.add_node("e", op="exp")
    dag.add_node("y", op="subtract")
    dag.add_edge("x", "e")
    dag.add_edge("x", "y", slot=1)
    dag.add_edge("e", "y", slot="0")
    before = state(dag)
    np.testing.assert_allclose(result(dag)["y"], np.exp(X) - X, rtol=1e-14)
    assert state(dag) == before
    del dag.edges["x", "y"]["slot"]
    with pytest.raises(gx.GraphError, match="does not say which operand it feeds"):
        gx.Graph.from_networkx(dag)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: nx.relabel_nodes(d, {"square": "a:b"}), "is not a name"),
        (lambda d: nx.relabel_nodes(d, {"square": ""}), "is not a name"),
        (lambda d: nx.MultiGraph(d), "is not directed"),
        (lambda d: nx.MultiDiGraph(d, output=["y"]), "did you mean 'outputs'"),
        (lambda d: nx.MultiDiGraph(d, outputs=3), "not a list of names"),
    ],
)
def test_graphs_that_cannot_be_read(change, words):
    with pytest.raises(gx.GraphError, match=words):
        gx.Graph.from_networkx(change(built()))


def test_two_names_that_are_one_as_text():
    dag = built()
    dag.add_node(1, op="input", shape=())
    dag.add_node("1", op="input", shape=())
    with pytest.raises(gx.GraphError, match="have one name, '1'"):
        gx.Graph.from_networkx(dag)


def test_an_op_that_is_not_registered():
    from graphexec.plugin import elementwise

    def sum(x):  # noqa: A001 - the point: another op of that name
        return x

    with pytest.raises(gx.GraphError, match="not the one registered"):
        gx.Graph.from_networkx(built(op=elementwise(reference=np.abs)(sum)))
