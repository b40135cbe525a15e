"""Aliases: views of views, outputs of updates, updates through views, and several updates of one value."""

from graphexec.ir.aliases import Aliases
from graphexec.ir.function import Node
from graphexec.ir.registry import registry


def test_without_views_and_updates_values_own_their_memory(function):
    fn, v = function(("a", "add", "pd"), ("b", "tanh", "a"))
    aliases = Aliases(fn)
    assert [aliases.base(k) for k in v.values()] == list(v.values())
    assert not aliases.written
    assert not aliases.is_written(v["p"])


def test_views_of_views_show_the_first_value(function):
    fn, v = function(("a", "transpose", "p"), ("b", "transpose", "a"), ("c", "tanh", "b"), ("e", "transpose", "c"))
    aliases = Aliases(fn)
    assert [aliases.shown(v[n]) for n in "abce"] == [v["p"], v["p"], v["c"], v["c"]]
    assert [aliases.base(v[n]) for n in "abce"] == [v["p"], v["p"], v["c"], v["c"]]


def test_an_output_of_an_update_has_the_memory_of_its_target_but_does_not_show_it(function):
    fn, v = function(("new", "sgd", "pd"), ("turned", "transpose", ["new"]))
    aliases = Aliases(fn)
    assert fn.nodes[0].update_targets == (v["p"],)
    assert fn.nodes[1].update_targets == ()
    assert aliases.base(v["turned"]) == aliases.base(v["new"]) == v["p"]
    assert aliases.shown(v["turned"]) == aliases.shown(v["new"]) == v["new"]
    assert aliases.targets(fn.nodes[0]) == [v["p"]]


def test_an_update_through_a_view_writes_over_what_it_shows(function):
    fn, v = function(("view", "transpose", "p"), ("other", "transpose", "p"), ("new", "sgd", ["view", "d"]), ("x", "tanh", "p"))
    aliases = Aliases(fn)
    assert list(aliases.written) == [v["p"]]
    assert all(aliases.is_written(v[n]) for n in ("p", "view", "other", "new"))
    assert not aliases.is_written(v["d"])
    assert aliases.writes(v["other"]) == [(2, v["view"])]
    assert aliases.written_between(v["p"], 1, 2)
    assert aliases.written_between(v["other"], 0, 3)
    assert not aliases.written_between(v["p"], 2, 3)
    assert not aliases.written_between(v["d"], 0, 3)


def test_two_updates_of_one_value_are_found_in_their_order(function):
    fn, v = function(("one", "sgd", "pd"), ("x", "tanh", ["one"]), ("two", "sgd", ["one", "x"]))
    aliases = Aliases(fn)
    assert aliases.base(v["two"]) == v["p"]
    assert aliases.writes(v["p"]) == [(0, v["p"]), (2, v["one"])]
    assert aliases.written_between(v["one"], 0, 2)
    assert not aliases.written_between(v["one"], 0, 1)


def test_a_rule_with_state_has_a_target_for_each_output(function):
    fn, v = function(leaves=("p", "d", "h"))
    momentum = registry.get("momentum")
    names = [*fn.names, "new_p", "new_h"]
    node = Node("u", momentum, (v["p"], v["d"], v["h"]), (3, 4), {})
    assert node.update_targets == (v["p"], v["h"])
    aliases = Aliases(fn.with_nodes([node], names=names))
    assert (aliases.base(3), aliases.base(4)) == (v["p"], v["h"])
