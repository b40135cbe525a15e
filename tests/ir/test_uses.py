"""Uses: producers, readers, counts with live-out values, and readers of memory under several names."""

from graphexec.ir.function import ABSENT, Node
from graphexec.ir.registry import registry
from graphexec.ir.uses import LIVE_OUT_READS, Uses


def test_producers_and_readers(function):
    fn, v = function(("a", "add", "pd"), ("b", "multiply", "aa"), ("c", "add", "ab"))
    uses = Uses(fn)
    assert [uses.producer[v[n]] for n in "pdabc"] == [-1, -1, 0, 1, 2]
    assert uses.producer[ABSENT] == -1
    assert [uses.readers[v[n]] for n in "pdabc"] == [[0], [0], [1, 2], [2], []]
    assert [uses.operand_count[v[n]] for n in "pdabc"] == [1, 1, 3, 1, 0]


def test_live_out_values_count_as_read_by_more_than_one(function):
    fn, v = function(("a", "tanh", "p"), ("b", "tanh", "a"), ("c", "tanh", "b"))
    fn = fn.with_nodes(fn.nodes, outputs={"c": v["c"]})
    uses = Uses(fn, [v["a"]])
    assert uses.live_out == {v["a"], v["c"]}
    assert LIVE_OUT_READS > 1
    for count in (uses.operand_count, uses.read_count):
        assert [count[v[n]] for n in "abc"] == [1 + LIVE_OUT_READS, 1, LIVE_OUT_READS]


def test_an_operand_that_lends_its_shape_is_used_but_not_read(function):
    fn, v = function(("a", "tanh", "p"), ("b", "zeros_like", "a"), ("c", "sum_to", "da"))
    uses = Uses(fn)
    assert uses.readers[v["a"]] == [1, 2]
    assert uses.operand_count[v["a"]] == 2
    assert uses.read_count[v["a"]] == 0
    assert uses.first_shape_use == {v["a"]: 1}
    assert uses.last_use(v["a"]) == -1
    assert uses.first_use(v["a"]) == len(fn.nodes)


def test_memory_is_read_through_views_and_after_updates(function):
    fn, v = function(
        ("t", "transpose", "p"), ("a", "tanh", "t"), ("new", "sgd", ["p", "a"]), ("b", "tanh", ["new"]), ("c", "tanh", "b")
    )
    uses = Uses(fn)
    assert uses.memory_readers[v["p"]] == [0, 1, 2, 3]
    assert v["t"] not in uses.memory_readers
    for name in ("p", "t", "new"):
        assert (uses.first_use(v[name]), uses.last_use(v[name])) == (0, 3)
    assert (uses.first_use(v["a"]), uses.last_use(v["a"])) == (2, 2)


def test_absent_operands_are_used_by_nobody_that_counts(function):
    fn, v = function(("a", "tanh", "p"))
    node = Node("b", registry.get("tanh"), (v["a"], ABSENT), (len(fn.names),), {})
    uses = Uses(fn.with_nodes([*fn.nodes, node], names=[*fn.names, "b"]))
    assert ABSENT not in uses.memory_readers
    assert uses.first_shape_use == {}
    assert uses.readers[v["a"]] == [1]
