"""A recurrent network in which one w is reused over 50 time steps: the gradient of w is the sum of 50 contributions.

The task: does a sequence of 50 numbers have a positive mean? The sequence enters one number at a time,

    h(t) = tanh(x(t) u^T + h(t-1) w^T + b),   z = h(50) v^T + c,

so the network has to learn to add up.
"""

import numpy as np

import graphexec as gx

STEPS, HIDDEN = 50, 16


def build() -> gx.Graph:
    """The unrolled network; `w` feeds 49 nodes."""
    g = gx.Graph("rnn")
    x = g.input("x", ("batch", STEPS))
    y = g.input("y", ("batch", 1))
    u = g.parameter("u", (HIDDEN, 1), init="glorot_uniform")
    w = g.parameter("w", (HIDDEN, HIDDEN), init="orthogonal")
    b = g.parameter("b", (HIDDEN,))
    v = g.parameter("v", (1, HIDDEN), init="glorot_uniform")
    c = g.parameter("c", (1,))
    h = gx.ops.tanh(gx.ops.linear(x[:, 0:1], u, b), name="h0")
    for t in range(1, STEPS):
        h = gx.ops.tanh(gx.ops.linear(x[:, t : t + 1], u, b) + h @ w.T, name=f"h{t}")
    z = gx.ops.linear(h, v, c, name="z")
    loss = gx.ops.binary_cross_entropy_with_logits(z, y, name="loss")
    accuracy = gx.ops.accuracy(gx.ops.sigmoid(z), y, name="accuracy")
    g.output(z, loss, accuracy)
    return g


def data(rows: int, seed: int) -> dict[str, np.ndarray]:
    """Random sequences, and whether their mean is positive."""
    x = np.random.default_rng(seed).normal(size=(rows, STEPS)).astype(np.float32)
    return {"x": x, "y": (x.mean(axis=1, keepdims=True) > 0).astype(np.float32)}


def main() -> float:
    exe = gx.compile(build(), loss="loss", optimizer=gx.Adam(lr=0.001), seed=0)
    exe.fit(data(2_000, seed=1), epochs=60, batch_size=50)
    result = exe.evaluate(data(500, seed=2), {"accuracy": "accuracy"})
    print(f"held-out accuracy {result['accuracy']:.3f}, loss {result['loss']:.4f}")
    return result["accuracy"]


if __name__ == "__main__":
    main()
