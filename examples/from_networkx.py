"""A graph built with NetworkX alone, then edited with NetworkX: a branch removed, and two graphs composed.

Nodes carry `op`, leaves `shape` or `value`, and each edge is keyed by the operand slot that it feeds; nothing else is
needed. The first graph computes y = tanh(x * x) + x with x = 0.5, where `multiply` reads the same value twice.
"""

import math

import networkx as nx
import numpy as np

import graphexec as gx


def build() -> nx.MultiDiGraph:
    dag = nx.MultiDiGraph(name="from_networkx")
    dag.add_node("x", op="input", shape=(3,), dtype="float64")
    dag.add_node("square", op="multiply")
    dag.add_node("t", op="tanh")
    dag.add_node("y", op="add")
    dag.add_edge("x", "square", key=0)
    dag.add_edge("x", "square", key=1)
    dag.add_edge("square", "t", key=0)
    dag.add_edge("t", "y", key=0)
    dag.add_edge("x", "y", key=1)
    return dag


def main() -> tuple[float, float]:
    x = np.full(3, 0.5)
    dag = build()
    y = gx.compile(gx.Graph.from_networkx(dag))(x=x)["y"][0]

    # the same nodes under other names, fed by the first graph's y: z = tanh(y * y) + y
    second = nx.relabel_nodes(dag, {"x": "y", "square": "square2", "t": "t2", "y": "z"})
    second.add_nodes_from([("y", dag.nodes["y"])])
    both = nx.compose(second, dag)
    both.graph["outputs"] = ["z"]
    z = gx.compile(gx.Graph.from_networkx(both))(x=x)["z"][0]

    # without the branch over tanh, `add` misses an operand: found before anything runs
    dag.remove_node("t")
    try:
        gx.Graph.from_networkx(dag, outputs=["y"])
    except gx.GraphExecError as error:
        print(error)

    print(f"y = {y:.12f}, z = {z:.12f}")
    assert math.isclose(y, math.tanh(0.25) + 0.5)
    return float(y), float(z)


if __name__ == "__main__":
    main()
