"""The mathematics of neural networks: each equation of the tutorial that this project began with, as a test.

Everything in float64, exact to 1e-12 against values worked out by hand in NumPy, and against central differences.
Vectors are rank-1 values: `linear(x, w, b)` is z = w x + b for one sample.
"""

import itertools

import networkx as nx
import numpy as np
import pytest

import graphexec as gx
from graphexec.interpret import interpret_gradients

X = np.array([0.7, -1.1])
Y = np.array([0.3, 0.4])
W = np.array([[0.5, -0.2], [0.8, 0.3]])
B = np.array([0.1, -0.6])
RNG = np.random.default_rng(2017)


def exactly(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def leaves(graph, **arrays):
    """Parameters for names that start with w or b, inputs for the others."""
    make = {True: lambda n, a: graph.parameter(n, value=a), False: lambda n, a: graph.input(n, a.shape, "float64")}
    return [make[name[0] in "wb"](name, array) for name, array in arrays.items()]


def inputs_of(graph, arrays):
    return {leaf.name: arrays[leaf.name] for leaf in graph.function().of_role("input")}


def backpropagate(graph, arrays, wrt, loss="loss"):
    """The loss, gradients and deltas by the native program; the interpreter and central differences have to agree."""
    inputs = inputs_of(graph, arrays)
    exe = gx.compile(graph, loss=loss, wrt=wrt, keep_deltas=True)
    value, gradients = exe.gradients(**inputs)
    _, slow, slow_deltas = interpret_gradients(graph, loss, wrt, inputs)
    for name in wrt:
        exactly(gradients[name], slow[name])
        np.testing.assert_allclose(gradients[name], central_differences(graph, arrays, name, loss), rtol=1e-8, atol=1e-9)
    for name, delta in slow_deltas.items():
        if name in exe.deltas:
            exactly(exe.deltas[name], delta)
    return value, gradients, exe.deltas


def central_differences(graph, arrays, name, loss, h=1e-6):
    """dL/d(name), entry by entry, from forward runs of the native program only."""
    graph = graph.copy()
    graph.output(loss)
    exe = gx.compile(graph)
    out = np.zeros(arrays[name].shape)

    def run(array):
        for parameter in exe.parameters:
            exe.parameters[parameter] = array if parameter == name else arrays[parameter]
        given = {k: array if k == name else v for k, v in inputs_of(graph, arrays).items()}
        return float(exe(**given)[loss])

    for index in np.ndindex(out.shape):
        step = np.zeros(out.shape)
        step[index] = h
        out[index] = (run(arrays[name] + step) - run(arrays[name] - step)) / (2 * h)
    return out


# -- 1. one linear layer: z = w x + b


def test_derivative_with_respect_to_a_vector():
    """y = a · x has dy/dx = a."""
    g = gx.Graph()
    x, wa = leaves(g, x=X, wa=W[0])
    gx.ops.sum(wa * x, name="loss")
    _, gradients, _ = backpropagate(g, {"x": X, "wa": W[0]}, ["x", "wa"])
    exactly(gradients["x"], W[0])
    exactly(gradients["wa"], X)


def test_one_linear_layer():
    """dL/dw = δ xᵀ, dL/dx = wᵀ δ, dL/db = δ, where δ = dL/dz, for a loss of any slope at z: here L = v · z."""
    v = np.array([1.3, -0.4])
    arrays = {"x": X, "w": W, "b": B, "v": v}
    g = gx.Graph()
    x, w, b, vv = leaves(g, **arrays)
    z = gx.ops.linear(x, w, b, name="z")
    gx.ops.sum(vv * z, name="loss")
    loss, gradients, deltas = backpropagate(g, arrays, ["w", "x", "b"])
    exactly(loss, v @ (W @ X + B))
    exactly(deltas["z"], v)
    exactly(gradients["w"], np.outer(v, X))
    exactly(gradients["x"], W.T @ v)
    exactly(gradients["b"], v)


def test_entry_by_entry():
    """dL/dw_ij = δ_i x_j, with δ = z - y."""
    arrays = {"x": X, "w": W, "b": B, "y": Y}
    g = gx.Graph()
    x, w, b, y = leaves(g, **arrays)
    gx.ops.half_squared_error(gx.ops.linear(x, w, b), y, name="loss")
    _, gradients, _ = backpropagate(g, arrays, ["w"])
    z = [W[i][0] * X[0] + W[i][1] * X[1] + B[i] for i in range(2)]
    for i, j in itertools.product(range(2), range(2)):
        exactly(gradients["w"][i, j], (z[i] - Y[i]) * X[j])


@pytest.mark.parametrize("built", ["op", "by hand"])
def test_half_squared_error(built):
    """c = z - y, L = ½ Σ c²: δ = dL/dz = z - y."""
    arrays = {"x": X, "w": W, "b": B, "y": Y}
    g = gx.Graph()
    x, w, b, y = leaves(g, **arrays)
    z = gx.ops.linear(x, w, b, name="z")
    if built == "op":
        gx.ops.half_squared_error(z, y, name="loss")
    else:
        c = gx.ops.subtract(z, y, name="c")
        gx.ops.multiply((c * c).sum(), 0.5, name="loss")
    loss, gradients, deltas = backpropagate(g, arrays, ["w", "x", "b", "y"])
    delta = W @ X + B - Y
    exactly(loss, 0.5 * np.sum(delta**2))
    exactly(deltas["z"], delta)
    exactly(gradients["w"], np.outer(delta, X))
    exactly(gradients["x"], W.T @ delta)
    exactly(gradients["b"], delta)
    exactly(gradients["y"], -delta)


def test_sigmoid():
    """f' = f (1 - f); after a layer it multiplies the error element by element: δ = (a - y) ⊙ f'(z)."""
    arrays = {"x": X, "w": W, "b": B, "y": Y}
    g = gx.Graph()
    x, w, b, y = leaves(g, **arrays)
    z = gx.ops.linear(x, w, b, name="z")
    a = gx.ops.sigmoid(z, name="a")
    gx.ops.half_squared_error(a, y, name="loss")
    _, gradients, deltas = backpropagate(g, arrays, ["w", "x", "b"])
    f = 1 / (1 + np.exp(-(W @ X + B)))
    error = f - Y
    delta = error * f * (1 - f)
    exactly(deltas["a"], error)
    exactly(deltas["z"], delta)
    exactly(gradients["w"], np.outer(delta, X))
    exactly(gradients["x"], W.T @ delta)
    exactly(gradients["b"], delta)


def test_samples_as_rows():
    """A batch is the sum over its samples: dL/dw = δᵀ x, dL/db = Σ δ."""
    xs, ys = RNG.standard_normal((5, 2)), RNG.standard_normal((5, 2))
    arrays = {"x": xs, "w": W, "b": B, "y": ys}
    g = gx.Graph()
    x, w, b, y = leaves(g, **arrays)
    gx.ops.half_squared_error(gx.ops.linear(x, w, b, name="z"), y, name="loss")
    _, gradients, deltas = backpropagate(g, arrays, ["w", "b", "x"])
    delta = xs @ W.T + B - ys
    exactly(deltas["z"], delta)
    exactly(gradients["w"], sum(np.outer(d, s) for d, s in zip(delta, xs, strict=True)))
    exactly(gradients["b"], delta.sum(axis=0))
    exactly(gradients["x"], delta @ W)


# -- 2. two and n layers


def test_two_layers():
    """z1 = w1 x + b1, z2 = w2 z1 + b2: δ(2) = z2 - y, δ(1) = w2ᵀ δ(2)."""
    w2, b2 = RNG.standard_normal((3, 2)), RNG.standard_normal(3)
    y = RNG.standard_normal(3)
    arrays = {"x": X, "w1": W, "b1": B, "w2": w2, "b2": b2, "y": y}
    g = gx.Graph()
    x, w1v, b1v, w2v, b2v, yv = leaves(g, **arrays)
    z1 = gx.ops.linear(x, w1v, b1v, name="z1")
    z2 = gx.ops.linear(z1, w2v, b2v, name="z2")
    gx.ops.half_squared_error(z2, yv, name="loss")
    _, gradients, deltas = backpropagate(g, arrays, ["w1", "b1", "w2", "b2", "x"])
    h = W @ X + B
    d2 = w2 @ h + b2 - y
    d1 = w2.T @ d2
    exactly(deltas["z2"], d2)
    exactly(deltas["z1"], d1)
    exactly(gradients["w2"], np.outer(d2, h))
    exactly(gradients["b2"], d2)
    exactly(gradients["w1"], np.outer(d1, X))
    exactly(gradients["b1"], d1)
    exactly(gradients["x"], W.T @ d1)


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_n_layers(activation):
    """δ(n) = w(n+1)ᵀ δ(n+1), with a sigmoid after each layer δ(n) = w(n+1)ᵀ δ(n+1) ⊙ f'(z(n))."""
    sizes = [2, 4, 3, 5, 2]
    depth = len(sizes) - 1
    ws = [0.6 * RNG.standard_normal((sizes[n + 1], sizes[n])) for n in range(depth)]
    bs = [RNG.standard_normal(sizes[n + 1]) for n in range(depth)]
    arrays = {"x": X, "y": Y} | {f"w{n + 1}": w for n, w in enumerate(ws)} | {f"b{n + 1}": b for n, b in enumerate(bs)}
    g = gx.Graph()
    values = dict(zip(arrays, leaves(g, **arrays), strict=True))
    a = values["x"]
    for n in range(1, depth + 1):
        a = gx.ops.linear(a, values[f"w{n}"], values[f"b{n}"], name=f"z{n}")
        a = gx.ops.sigmoid(a, name=f"a{n}") if activation else a
    gx.ops.half_squared_error(a, values["y"], name="loss")
    _, gradients, deltas = backpropagate(g, arrays, [name for name in arrays if name[0] in "wb"])

    outs, slopes = [X], []
    for w, b in zip(ws, bs, strict=True):
        z = w @ outs[-1] + b
        f = 1 / (1 + np.exp(-z))
        outs.append(f if activation else z)
        slopes.append(f * (1 - f) if activation else np.ones_like(z))
    delta = (outs[-1] - Y) * slopes[-1]
    for n in range(depth, 0, -1):
        exactly(deltas[f"z{n}"], delta)
        exactly(gradients[f"w{n}"], np.outer(delta, outs[n - 1]))
        exactly(gradients[f"b{n}"], delta)
        if n > 1:
            delta = ws[n - 1].T @ delta * slopes[n - 2]


# -- 3. a nested network: z = w (w x + b) + b


def nested():
    arrays = {"x": X, "w": W, "b": B, "y": Y}
    g = gx.Graph("nested")
    x, w, b, y = leaves(g, **arrays)
    z1 = gx.ops.linear(x, w, b, name="z1")
    z2 = gx.ops.linear(z1, w, b, name="z2")
    gx.ops.half_squared_error(z2, y, name="loss")
    return g, arrays


def test_nested_network():
    """dL/dw = δ(2) z(1)ᵀ + (wᵀ δ(2)) xᵀ and dL/db = δ(2) + wᵀ δ(2).

    The tutorial's last line prints z(2) where its own derivation gives z(1); this shows that the derivation is right.
    """
    g, arrays = nested()
    _, gradients, deltas = backpropagate(g, arrays, ["w", "b", "x"])
    z1 = W @ X + B
    z2 = W @ z1 + B
    d2 = z2 - Y
    exactly(deltas["z2"], d2)
    exactly(deltas["z1"], W.T @ d2)
    exactly(gradients["w"], np.outer(d2, z1) + np.outer(W.T @ d2, X))
    exactly(gradients["b"], d2 + W.T @ d2)
    exactly(gradients["x"], W.T @ W.T @ d2)
    as_printed = np.outer(d2, z2) + np.outer(W.T @ d2, X)
    assert np.max(np.abs(gradients["w"] - as_printed)) > 0.01


def test_nested_network_entry_by_entry():
    """The same written out for 2 x 2, without a matrix anywhere."""
    g, arrays = nested()
    loss, gradients, _ = backpropagate(g, arrays, ["w", "b"])
    (w11, w12), (w21, w22) = W
    (x1, x2), (y1, y2), (b1, b2) = X, Y, B
    p1, p2 = w11 * x1 + w12 * x2 + b1, w21 * x1 + w22 * x2 + b2
    q1, q2 = w11 * p1 + w12 * p2 + b1, w21 * p1 + w22 * p2 + b2
    c1, c2 = q1 - y1, q2 - y2
    exactly(loss, (c1 * c1 + c2 * c2) / 2)
    e1, e2 = w11 * c1 + w21 * c2, w12 * c1 + w22 * c2  # wᵀ δ(2)
    exactly(gradients["w"], [[c1 * p1 + e1 * x1, c1 * p2 + e1 * x2], [c2 * p1 + e2 * x1, c2 * p2 + e2 * x2]])
    exactly(gradients["b"], [c1 + e1, c2 + e2])


def test_reused_weights_are_sums_over_their_uses():
    """Two networks, one whose layers share w and b, one with copies of them: the shared gradient is the sum."""
    g, arrays = nested()
    _, shared, _ = backpropagate(g, arrays, ["w", "b"])
    copies = {"x": X, "w1": W, "b1": B, "w2": W, "b2": B, "y": Y}
    h = gx.Graph()
    x, w1, b1, w2, b2, y = leaves(h, **copies)
    gx.ops.half_squared_error(gx.ops.linear(gx.ops.linear(x, w1, b1), w2, b2), y, name="loss")
    _, apart, _ = backpropagate(h, copies, ["w1", "w2", "b1", "b2"])
    exactly(shared["w"], apart["w1"] + apart["w2"])
    exactly(shared["b"], apart["b1"] + apart["b2"])


# -- 4. the computational graph


def computational_graph():
    """The nested network from single operations: w and b fan out, c * c takes one value twice."""
    nodes = {
        "x": {"op": "input", "shape": (2,), "dtype": "float64"},
        "y": {"op": "input", "shape": (2,), "dtype": "float64"},
        "w": {"op": "parameter", "value": W},
        "b": {"op": "parameter", "value": B},
        "half": {"op": "constant", "value": np.array(0.5)},
        "p1": {"op": "matmul", "reads": ["w", "x1"]},
        "x1": {"op": "expand_dims", "reads": ["x"], "attributes": {"axis": 1}},
        "b1": {"op": "expand_dims", "reads": ["b"], "attributes": {"axis": 1}},
        "y1": {"op": "expand_dims", "reads": ["y"], "attributes": {"axis": 1}},
        "z1": {"op": "add", "reads": ["p1", "b1"]},
        "p2": {"op": "matmul", "reads": ["w", "z1"]},
        "z2": {"op": "add", "reads": ["p2", "b1"]},
        "c": {"op": "subtract", "reads": ["z2", "y1"]},
        "cc": {"op": "multiply", "reads": ["c", "c"]},
        "s": {"op": "sum", "reads": ["cc"]},
        "loss": {"op": "multiply", "reads": ["s", "half"]},
    }
    return nodes


def as_networkx(nodes, order):
    dag = nx.MultiDiGraph(name="nested", outputs=["loss"])
    for name in order:
        dag.add_node(name, **{k: v for k, v in nodes[name].items() if k != "reads"})
    for name in order:
        for slot, source in enumerate(nodes[name].get("reads", ())):
            dag.add_edge(source, name, key=slot)
    return dag


def test_computational_graph():
    """Its gradients are those of the nested network, and its deltas are dL/d(node) at every node."""
    nodes = computational_graph()
    g = gx.Graph.from_networkx(as_networkx(nodes, list(nodes)))
    arrays = {"x": X, "w": W, "b": B, "y": Y}
    _, gradients, deltas = backpropagate(g, arrays, ["w", "b", "x"])
    z1 = W @ X + B
    d2 = W @ z1 + B - Y
    exactly(gradients["w"], np.outer(d2, z1) + np.outer(W.T @ d2, X))
    exactly(gradients["b"], d2 + W.T @ d2)
    exactly(deltas["z2"][:, 0], d2)
    exactly(deltas["c"][:, 0], d2)
    exactly(deltas["z1"][:, 0], W.T @ d2)
    exactly(deltas["s"], 0.5)
    assert g.dag.out_degree("w") == 2
    assert g.dag.number_of_edges("c", "cc") == 2


def orders_of(dag, count):
    """Topological orders: the first ones, and random ones."""
    first = list(itertools.islice(nx.all_topological_sorts(dag), count))
    for seed in range(count):
        rng = np.random.default_rng(seed)
        waiting, order = dict(dag.in_degree()), []
        while waiting:
            ready = sorted(n for n, d in waiting.items() if d == 0)
            chosen = ready[int(rng.integers(len(ready)))]
            order.append(chosen)
            del waiting[chosen]
            for _, reader in dag.out_edges(chosen):
                waiting[reader] -= 1
        first.append(order)
    return first


def test_every_topological_order_gives_the_same():
    """Whatever order the nodes are kept in, a topological one or not, results agree; for one DAG they repeat bit for bit."""
    nodes = computational_graph()
    dag = as_networkx(nodes, list(nodes))
    orders = [*orders_of(dag, 6), list(nodes)[::-1]]
    assert len({tuple(o) for o in orders}) > 10
    found = []
    for order in orders:
        g = gx.Graph.from_networkx(as_networkx(nodes, order))
        names = [node.name for node in g.function().nodes]
        if order != list(nodes)[::-1]:
            assert names == [n for n in order if "reads" in nodes[n]], "a topological order is kept as it is"
        exe = gx.compile(g, loss="loss")
        found.append(exe.gradients(x=X, y=Y))
        again = exe.gradients(x=X, y=Y)
        assert again[0] == found[-1][0]
        assert all(np.array_equal(again[1][k], found[-1][1][k]) for k in ("w", "b"))
    for loss, gradients in found[1:]:
        exactly(loss, found[0][0])
        for name in ("w", "b"):
            exactly(gradients[name], found[0][1][name])


def test_an_edited_graph_runs_as_edited():
    """The NetworkX graph is the truth: a relabelled and rewired copy computes what it now says."""
    nodes = computational_graph()
    dag = nx.relabel_nodes(as_networkx(nodes, list(nodes)), {"z1": "hidden"})
    dag.remove_edge("p2", "z2", key=0)
    dag.add_edge("p1", "z2", key=0)  # the second layer now reads what the first one read
    dag.remove_node("p2")
    g = gx.Graph.from_networkx(dag, outputs=["loss"])
    arrays = {"x": X, "w": W, "b": B, "y": Y}
    _, gradients, _ = backpropagate(g, arrays, ["w", "b"])
    d = W @ X + B - Y
    exactly(gradients["w"], np.outer(d, X))
    exactly(gradients["b"], d)


def test_backward_pass_is_in_the_graph():
    """differentiate() gives a graph: it runs like any other, and its gradient nodes can be differentiated again."""
    g, arrays = nested()
    d = gx.differentiate(g, of="loss", wrt=["w", "b"])
    assert isinstance(d.dag, nx.MultiDiGraph)
    assert nx.is_directed_acyclic_graph(d.dag)
    exe = gx.compile(d)
    out = exe(x=X, y=Y)
    _, gradients, _ = backpropagate(g, arrays, ["w", "b"])
    for name in ("w", "b"):
        exactly(out[d.dag.graph["gradients"][name]], gradients[name])
    hessian_row = d.copy()
    first = hessian_row[d.dag.graph["gradients"]["b"]]
    gx.ops.sum(first, name="total")
    _, second, _ = backpropagate(hessian_row, arrays, ["b"], loss="total")
    both = np.eye(2) + W  # dz2/db, and L = ½ |z2 - y|²: d²L/db² = (1 + w)ᵀ (1 + w)
    exactly(second["b"], both.T @ both @ np.ones(2))
