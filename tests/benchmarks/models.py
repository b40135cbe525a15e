"""The benchmark's workloads: their data, drawn from seeds that depend on the name only, and their graphs.

A workload is anything with ``name, model, params, data, opt, lr, cfg``; :func:`get` makes ours, and :func:`build` takes
those of another harness just as well.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import graphexec as gx

HERE = Path(__file__).resolve().parent
Arrays = dict[str, np.ndarray]


@dataclass
class Workload:
    """``opt`` is "sgd", "adam", or None for the forward pass alone."""

    name: str
    model: str
    params: Arrays
    data: Arrays
    opt: str | None = "sgd"
    lr: float = 0.1
    cfg: dict[str, Any] = field(default_factory=dict)


# -- data


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def _dense(r: np.random.Generator, rows: int, columns: int, gain: float = 1.0) -> np.ndarray:
    return (r.standard_normal((rows, columns)) * gain / np.sqrt(rows)).astype(np.float32)


def _normal(r: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * r.standard_normal(shape)).astype(np.float32)


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def _mlp(name: str, sizes: tuple[int, ...], act: str, batch: int, opt: str | None, lr: float, model: str = "mlp") -> Workload:
    r = _rng(name)
    params: Arrays = {}
    for k, (i, o) in enumerate(itertools.pairwise(sizes), 1):
        params[f"W{k}"] = _dense(r, i, o, 1.4 if act == "relu" else 1.0)
        params[f"b{k}"] = _normal(r, o, scale=0.1)
    data = {"x": r.random((batch, sizes[0])).astype(np.float32), "y": r.integers(0, sizes[-1], batch).astype(np.int64)}
    return Workload(name, model, params, data, opt, lr, {"n": len(sizes) - 1, "act": act, "loss": "ce"})


def _xor() -> Workload:
    r = _rng("xor")
    params = {"W1": _normal(r, 2, 8), "b1": _normal(r, 8, scale=0.1), "W2": _normal(r, 8, 1), "b2": _normal(r, 1, scale=0.1)}
    data = {"x": np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), "y": np.array([[0], [1], [1], [0]], np.float32)}
    return Workload("xor", "mlp", params, data, "sgd", 0.5, {"n": 2, "act": "sigmoid", "loss": "mse"})


def _nested(layers: int = 1000, n: int = 32, batch: int = 16) -> Workload:
    r = _rng("nested")
    q, _ = np.linalg.qr(r.standard_normal((n, n)))  # orthogonal: the gradient does not vanish over the layers
    params = {"w": q.astype(np.float32), "b": _normal(r, n, 1, scale=0.01)}
    data = {"x": _normal(r, n, batch), "y": _normal(r, n, batch, scale=0.2)}
    return Workload("nested", "nested", params, data, "sgd", 1e-3, {"layers": layers, "n": n, "batch": batch})


def _recurrent(name: str, T: int, B: int, I: int, H: int, gates: int, lr: float) -> Workload:  # noqa: E741
    r = _rng(name)
    params = {
        "Wx": _dense(r, I, gates * H),
        "Wh": _dense(r, H, gates * H),
        "b": _zeros(gates * H),
        "Wo": _dense(r, H, 10),
        "bo": _zeros(10),
    }
    data = {"x": _normal(r, T, B, I), "y": r.integers(0, 10, B).astype(np.int64)}
    return Workload(name, name, params, data, "sgd", lr, {"T": T, "B": B, "I": I, "H": H})


def _chain(name: str, n: int = 1_000_000) -> Workload:
    r = _rng(name)
    return Workload(name, name, {k: _normal(r, n) for k in "xab"}, {}, "sgd", 1e3, {"n": n})


def _attn(B: int = 8, S: int = 128, D: int = 128, H: int = 4, FF: int = 512) -> Workload:
    r = _rng("attn")
    params = {
        "g1": np.ones(D, np.float32),
        "e1": _zeros(D),
        "Wqkv": _dense(r, D, 3 * D),
        "bqkv": _zeros(3 * D),
        "Wp": _dense(r, D, D),
        "bp": _zeros(D),
        "g2": np.ones(D, np.float32),
        "e2": _zeros(D),
        "W1": _dense(r, D, FF),
        "b1": _zeros(FF),
        "W2": _dense(r, FF, D),
        "b2": _zeros(D),
    }
    data = {"x": _normal(r, B, S, D), "y": _normal(r, B, S, D)}
    return Workload("attn", "attn", params, data, "adam", 1e-3, {"B": B, "S": S, "D": D, "H": H, "FF": FF})


def _cnn(name: str, batch: int, opt: str | None, lr: float, model: str) -> Workload:
    r = _rng(name)
    params = {
        "K1": _normal(r, 16, 1, 3, 3, scale=np.sqrt(2 / 9)),
        "c1": _normal(r, 16, scale=0.1),
        "K2": _normal(r, 32, 16, 3, 3, scale=np.sqrt(2 / 144)),
        "c2": _normal(r, 32, scale=0.1),
        "Wo": _dense(r, 32 * 7 * 7, 10),
        "bo": _zeros(10),
    }
    data = {"x": r.random((batch, 1, 28, 28)).astype(np.float32)}
    if opt is not None:
        data["y"] = r.integers(0, 10, batch).astype(np.int64)
    return Workload(name, model, params, data, opt, lr)


DAG_OPS = ("add", "mul", "tanh", "sigmoid", "sin")
"""mul(a, b) means tanh(a * b), so that it stays bounded."""
DAG_SHARES = np.cumsum([0.25, 0.20, 0.20, 0.10, 0.25])


def _dag(name: str, n: int, leaves: int = 20, width: int = 16, window: int = 50) -> Workload:
    """A random DAG; value k is leaf k for k < leaves, else node k - leaves. The first seed that leaves nearly all live."""
    for seed in range(1000):
        r = _rng(f"{name}/{seed}")
        nodes = _dag_nodes(r, n, leaves, window)
        params = {f"l{k:02d}": _normal(r, width) for k in range(leaves)}
        if _live(nodes, leaves) >= n - 300:
            return Workload(name, "dag", params, {}, "sgd", 1e-2, {"nodes": nodes, "leaves": leaves, "width": width})
    raise AssertionError("no seed gives a mostly live graph")


def _dag_nodes(r: np.random.Generator, n: int, leaves: int, window: int) -> list[tuple[str, int, int]]:
    nodes: list[tuple[str, int, int]] = []
    used: set[int] = set()
    for k in range(leaves, n):
        op = DAG_OPS[min(4, int(np.searchsorted(DAG_SHARES, r.random())))]
        low = max(0, k - window)
        i, j = low if low not in used else int(r.integers(low, k)), -1
        if op in ("add", "mul"):
            j = int(r.integers(0, leaves)) if r.random() < 0.2 else int(r.integers(low, k))
            used.add(j)
        used.add(i)
        nodes.append((op, i, j))
    return nodes


def _live(nodes: list[tuple[str, int, int]], leaves: int) -> int:
    live = {leaves + len(nodes) - 1}
    for k in range(len(nodes) - 1, -1, -1):
        if leaves + k in live:
            live.update(v for v in nodes[k][1:] if v >= 0)
    return len(live)


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "xor": _xor,
    "digits": lambda: _mlp("digits", (64, 64, 10), "sigmoid", 32, "sgd", 0.1),
    "mnist": lambda: _mlp("mnist", (784, 512, 256, 10), "relu", 128, "adam", 1e-3),
    "mnist_b1": lambda: _mlp("mnist_b1", (784, 512, 256, 10), "relu", 1, "sgd", 1e-3),
    "infer_mlp_b1": lambda: _mlp("infer_mlp_b1", (784, 512, 256, 10), "relu", 1, None, 0.0, "infer_mlp"),
    "nested": _nested,
    "rnn": lambda: _recurrent("rnn", 100, 32, 32, 64, 1, 0.01),
    "lstm": lambda: _recurrent("lstm", 50, 32, 64, 128, 4, 0.1),
    "chain": lambda: _chain("chain"),
    "custom": lambda: _chain("custom"),
    "attn": _attn,
    "cnn": lambda: _cnn("cnn", 64, "sgd", 0.01, "cnn"),
    "infer_cnn_b1": lambda: _cnn("infer_cnn_b1", 1, None, 0.0, "infer_cnn"),
    "biggraph1k": lambda: _dag("biggraph1k", 1_000),
    "biggraph10k": lambda: _dag("biggraph10k", 10_000),
}


def get(name: str) -> Workload:
    return WORKLOADS[name]()


# -- graphs

Values = dict[str, Any]


def _mlp_graph(w: Any, p: Values, d: Values) -> Any:
    h, n = d["x"], w.cfg["n"]
    for k in range(1, n + 1):
        h = h @ p[f"W{k}"] + p[f"b{k}"]
        if k < n or w.cfg["loss"] == "mse":
            h = getattr(gx.ops, w.cfg["act"])(h)
    if w.model == "infer_mlp":
        return h
    if w.cfg["loss"] == "mse":
        return gx.ops.half_squared_error(h, d["y"], reduction="mean")
    return gx.ops.softmax_cross_entropy(h, d["y"])


def _nested_graph(w: Any, p: Values, d: Values) -> Any:
    z = d["x"]
    for _ in range(w.cfg["layers"]):
        z = gx.ops.tanh(p["w"] @ z + p["b"])
    return gx.ops.half_squared_error(z, d["y"]) * (1 / w.cfg["batch"])


def _projected(w: Any, p: Values, x: Any) -> list[Any]:
    """x @ Wx + b of all time steps, as one product, step by step."""
    T, B, I = (w.cfg[k] for k in "TBI")  # noqa: E741
    z = (x.reshape(T * B, I) @ p["Wx"] + p["b"]).reshape(T, B, p["b"].shape[0])
    return [z[t] for t in range(T)]


def _rnn_graph(w: Any, p: Values, d: Values) -> Any:
    first, *rest = _projected(w, p, d["x"])
    h = gx.ops.tanh(first)
    for z in rest:
        h = gx.ops.tanh(z + h @ p["Wh"])
    return gx.ops.softmax_cross_entropy(h @ p["Wo"] + p["bo"], d["y"])


def _lstm_graph(w: Any, p: Values, d: Values) -> Any:
    H, h, c = w.cfg["H"], None, None
    for x in _projected(w, p, d["x"]):
        z = x if h is None else x + h @ p["Wh"]
        i, f, g, o = (z[:, k * H : (k + 1) * H] for k in range(4))
        i, f, g, o = gx.ops.sigmoid(i), gx.ops.sigmoid(f), gx.ops.tanh(g), gx.ops.sigmoid(o)
        c = i * g if c is None else f * c + i * g
        h = o * gx.ops.tanh(c)
    return gx.ops.softmax_cross_entropy(h @ p["Wo"] + p["bo"], d["y"])


def _chain_graph(w: Any, p: Values, d: Values) -> Any:
    act = gx.ops.swish15 if w.model == "custom" else lambda v: v
    x, a, b = p["x"], p["a"], p["b"]
    u = act(gx.ops.tanh(x) * a)
    u = act(u + b)
    u = act(gx.ops.sigmoid(u))
    u = act(u * x)
    u = act(gx.ops.exp(-u))
    return gx.ops.gelu(u, approximate="tanh").mean()


def _layer_norm(x: Any, g: Any, e: Any) -> Any:
    c = x - x.mean(axis=-1, keepdims=True)
    return c / gx.ops.sqrt(gx.ops.square(c).mean(axis=-1, keepdims=True) + 1e-5) * g + e


def _attn_graph(w: Any, p: Values, d: Values) -> Any:
    B, S, D, H = (w.cfg[k] for k in "BSDH")
    x = d["x"].reshape(B * S, D)
    n = _layer_norm(x, p["g1"], p["e1"])
    qkv = (n @ p["Wqkv"] + p["bqkv"]).reshape(B, S, 3, H, D // H).transpose(2, 0, 3, 1, 4)
    q, k, v = (qkv[i] for i in range(3))
    a = gx.ops.softmax((q @ k.transpose(0, 1, 3, 2)) * float((D // H) ** -0.5))
    o = (a @ v).transpose(0, 2, 1, 3).reshape(B * S, D)
    h = x + o @ p["Wp"] + p["bp"]
    n = _layer_norm(h, p["g2"], p["e2"])
    u = gx.ops.gelu(n @ p["W1"] + p["b1"], approximate="tanh")
    out = h + u @ p["W2"] + p["b2"]
    return gx.ops.square(out - d["y"].reshape(B * S, D)).mean()


def _cnn_graph(w: Any, p: Values, d: Values) -> Any:
    h = d["x"]
    for k in "12":
        h = gx.ops.max_pool(gx.ops.relu(gx.ops.conv(h, p[f"K{k}"], p[f"c{k}"], padding=1)), kernel=2)
    logits = gx.ops.flatten(h) @ p["Wo"] + p["bo"]
    return logits if w.model == "infer_cnn" else gx.ops.softmax_cross_entropy(logits, d["y"])


def _dag_graph(w: Any, p: Values, d: Values) -> Any:
    v = [p[k] for k in sorted(p)]
    for op, i, j in w.cfg["nodes"]:
        a = v[i]
        if op == "add":
            v.append(a + v[j])
        elif op == "mul":
            v.append(gx.ops.tanh(a * v[j]))
        else:
            v.append(getattr(gx.ops, op)(a))
    return v[-1].sum()


GRAPHS: dict[str, Callable[[Any, Values, Values], Any]] = {
    "mlp": _mlp_graph, "infer_mlp": _mlp_graph, "nested": _nested_graph, "rnn": _rnn_graph, "lstm": _lstm_graph,
    "chain": _chain_graph, "custom": _chain_graph, "attn": _attn_graph, "dag": _dag_graph,
    "cnn": _cnn_graph, "infer_cnn": _cnn_graph,
}  # fmt: skip


def build(w: Any, threads: int | None = None, batch: str | None = None, recompute: Any = None) -> gx.Executable:
    """A workload made ready to run; its last value is the output. ``batch`` names the axis of samples."""
    if w.model == "custom" and "swish15" not in dir(gx.ops):
        gx.load_plugin(HERE / "swish15.py")
    g = gx.Graph(w.name)
    params = {k: g.parameter(k, value=v) for k, v in w.params.items()}
    data = {k: g.input(k, (batch or v.shape[0], *v.shape[1:]), v.dtype) for k, v in w.data.items()}
    result = GRAPHS[w.model](w, params, data)
    g.output(result)
    if w.opt is None:
        return gx.compile(g, threads=threads)
    optimizer = gx.SGD(lr=w.lr) if w.opt == "sgd" else gx.Adam(lr=w.lr)
    return gx.compile(g, loss=result, optimizer=optimizer, threads=threads, recompute=recompute)
