"""Random graphs."""

import numpy as np

import graphexec as gx


class RandomGraph:
    """A random graph of ``size`` nodes over square weights: w is reused, x * x occurs, one value feeds five others.

    ``graph`` ends in the scalar "loss"; ``inputs`` and ``parameters`` are arrays; ``wrt`` names what to differentiate by.
    ``again`` more nodes repeat earlier ones, between what changes nothing and numbers made of numbers.
    """

    def __init__(self, seed, dtype, size=14, side=3, again=0):
        self.rng, self.dtype, self.n = np.random.default_rng(seed), dtype, side
        self.graph = g = gx.Graph(f"random {seed}")
        draw = self.rng.standard_normal
        self.batch = side if seed % 2 else 4  # equal axes are what memory reuse and layouts get wrong
        self.parameters = {"w": 0.5 * draw((side, side)), "b": draw(side)}
        self.inputs = {"x": draw((self.batch, side)), "row": draw((1, side)), "s": draw(()), "cube": draw((2, self.batch, side))}
        for values in (self.parameters, self.inputs):
            values.update({name: array.astype(dtype) for name, array in values.items()})
        leaves = [g.input("x", ("batch", side), dtype), g.input("row", (1, side), dtype), g.input("s", (), dtype)]
        leaves.append(g.input("cube", (2, "batch", side), dtype))
        self.w, self.b = g.parameter("w", value=self.parameters["w"]), g.parameter("b", value=self.parameters["b"])
        self.values = [*leaves, self.b]
        hub = gx.ops.tanh(leaves[0] @ self.w, name="hub")
        self.values.append(hub)
        for step in range(size):
            self.values.append(self.grow(hub if step % 3 == 0 else None))
        self.values += [self.repeat() for _ in range(again)]
        total = None
        for value in [*self.values[-4 - again:], hub * hub, hub + self.b, hub @ self.w, gx.ops.sin(hub), hub - leaves[1]]:
            part = gx.ops.sum(gx.ops.sin(value))
            total = part if total is None else total + part
        loss = gx.ops.multiply(total, 0.5, name="loss")
        g.output(loss)
        self.wrt = ["w", "b", "x", "row", "s", "cube", "hub"]

    def pick(self, test=lambda v: True):
        found = [v for v in self.values if test(v)]
        return found[int(self.rng.integers(len(found)))]

    def grow(self, value):
        """One more node, of a random kind."""
        ops, value = gx.ops, value if value is not None else self.pick()
        kinds = [self.unary, self.unary, self.binary, self.binary, self.square, self.matmul, self.move, self.move, self.reduce]
        return ops.tanh(value) if value.ndim > 4 else kinds[int(self.rng.integers(len(kinds)))](value)

    def repeat(self):
        """A node once more: the same op on the same operands."""
        dag, ops = self.graph.dag, gx.ops
        nodes = [n for n, d in dag.nodes(data=True) if d["op"] not in ("input", "parameter", "constant")]
        node = nodes[int(self.rng.integers(len(nodes)))]
        slots = sorted((slot, source) for source, _, slot in dag.in_edges(node, keys=True))
        again = getattr(ops, dag.nodes[node]["op"])(*(self.graph[s] for _, s in slots), **dag.nodes[node].get("attributes", {}))
        two, half = (self.graph.constant(np.asarray(number, self.dtype)) for number in (2.0, 0.5))
        value = -(-(again * (two * half)) + two * two)
        return ops.swap_axes(ops.swap_axes(value)) if value.ndim > 1 else ops.stop_gradient(value) + value

    def unary(self, value):
        ops = gx.ops
        return [ops.tanh, ops.sigmoid, ops.sin, ops.softplus, ops.relu, ops.negate, ops.gelu][int(self.rng.integers(7))](value)

    def binary(self, value):
        other = self.pick(lambda v: v is not value and fits(v, value))
        ops = gx.ops
        op = [ops.add, ops.subtract, ops.multiply, ops.maximum][int(self.rng.integers(4))]
        return ops.tanh(op(value, other)) if op is ops.multiply else op(value, other)

    def square(self, value):
        bounded = gx.ops.sin(value)
        return bounded * bounded

    def matmul(self, value):
        def fit(v):
            return v.ndim >= 2 and v.shape[-1] == self.n

        rows = value if fit(value) else self.pick(fit)
        return gx.ops.tanh(rows @ (self.w.T if self.rng.integers(2) else self.w))

    def move(self, value):
        """A view: the same elements seen otherwise."""
        ops, choice = gx.ops, int(self.rng.integers(5))
        if value.ndim == 0 or choice == 0:
            return ops.expand_dims(value, axis=0)
        if choice == 1 and value.ndim >= 2:
            return ops.swap_axes(ops.tanh(ops.swap_axes(value)))
        if choice == 2 and isinstance(value.shape[-1], int) and value.shape[-1] > 1:
            return value[..., ::-1]
        if choice == 3:
            return ops.reshape(value, shape=(-1, *value.shape[1:])) if value.ndim > 1 else ops.expand_dims(value, axis=1)
        return value[..., :1] if isinstance(value.shape[-1], int) else ops.tanh(value)

    def reduce(self, value):
        if value.ndim == 0:
            return gx.ops.tanh(value)
        axis = int(self.rng.integers(value.ndim))
        keep = bool(self.rng.integers(2))
        return gx.ops.tanh(getattr(value, ["sum", "mean", "max"][int(self.rng.integers(3))])(axis=axis, keepdims=keep))


def fits(a, b):
    """Whether two values broadcast."""
    return all(m == n or m == 1 or n == 1 for m, n in zip(a.shape[::-1], b.shape[::-1], strict=False))


def random_dag(seed, size, shape=(3,), dtype="float64", parameters=6, window=20):
    """A graph of ``size`` random small nodes, each reading one or two before it; "loss" is a sum over some of them."""
    rng, ops = np.random.default_rng(seed), gx.ops
    g = gx.Graph(f"dag {seed}")
    values = [g.parameter(f"p{k}", value=rng.uniform(-1, 1, shape).astype(dtype)) for k in range(parameters)]
    kinds = [lambda x, y: x + y, lambda x, y: ops.tanh(x * y), lambda x, y: ops.sin(x), lambda x, y: ops.sigmoid(x) - y]
    while len(values) < size:
        x, y = (values[int(rng.integers(max(0, len(values) - window), len(values)))] for _ in range(2))
        y = values[int(rng.integers(parameters))] if rng.random() < 0.2 else y
        values.append(kinds[int(rng.integers(len(kinds)))](x, y))
    total = values[-1]
    for value in values[parameters:-1:7]:
        total = total + 0.1 * value
    g.output(ops.sum(ops.tanh(total), name="loss"))
    return g
