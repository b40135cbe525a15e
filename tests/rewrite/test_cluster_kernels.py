"""cluster_kernels: runs of nodes of one kind, in a valid order, within a window; and nothing else."""

import itertools
import sys

import numpy as np
import pytest
from helpers.graphs import random_dag

import graphexec as gx
from graphexec.rewrite.schedule.cluster_kernels import MAX_NODES_AHEAD, cluster_kernels

ops = gx.ops
module = sys.modules["graphexec.rewrite.schedule.cluster_kernels"]


def runs(nodes):
    return len(list(itertools.groupby(nodes, key=lambda node: node.op)))


def step_order(seed, size):
    """The order of a step as the pass finds it."""
    exe = gx.compile(random_dag(seed, size), loss="loss", optimizer=gx.SGD(lr=0.1), skip_passes="cluster_kernels")
    return exe.compiled.functions.of("step")


@pytest.mark.parametrize("seed", range(3))
def test_nodes_come_after_what_they_read_and_updates_after_those_who_read(seed):
    fn = step_order(seed, 500)
    scheduled = cluster_kernels(fn)
    assert sorted(map(id, scheduled.nodes)) == sorted(map(id, fn.nodes))
    made = {leaf.value_id for leaf in fn.leaves}
    overwritten = set()
    for node in scheduled.nodes:
        assert made.issuperset(node.inputs)
        assert overwritten.isdisjoint(node.inputs)
        overwritten.update(node.inputs[node.op.inputs.index(u)] for u in node.op.updates)
        made.update(node.outputs)
    assert len(overwritten) == 6


def test_runs_are_longer_and_nodes_move_within_a_window(monkeypatch):
    monkeypatch.setattr(module, "MAX_NODES_AHEAD", 40)
    fn = step_order(0, 800)
    scheduled = cluster_kernels(fn).nodes
    assert runs(scheduled) < 0.5 * runs(fn.nodes)
    position = {id(node): k for k, node in enumerate(fn.nodes)}
    for k, node in enumerate(scheduled):
        first = min(position[id(n)] for n in scheduled[k:])
        assert position[id(node)] < first + 40 + MAX_NODES_AHEAD, "it is ahead of what could have gone first"


def test_bits_stay():
    found = []
    for skip in ((), "cluster_kernels"):
        exe = gx.compile(random_dag(2, 700), loss="loss", optimizer=gx.Adam(lr=0.01), skip_passes=skip)
        for _ in range(3):
            exe.step()
        exe.program.check()
        found.append((runs([i.node for i in exe.program.instructions]), exe.program.memory.arena, dict(exe.parameters)))
    (few, arena, ours), (many, least, theirs) = found
    assert few < 0.5 * many
    assert arena < 1.3 * least
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array)


def test_other_graphs_stay_as_they_are(prepared):
    named = gx.Graph("named")
    x, y = named.input("x", ("n",)), named.input("y", ("n",))
    for _ in range(200):
        x, y = ops.sin(x), ops.tanh(y)
    named.output(x, y)
    for fn in (prepared(random_dag(0, 90)), prepared(random_dag(0, 500, shape=(300,))), prepared(named, n=4)):
        assert cluster_kernels(fn) is fn
