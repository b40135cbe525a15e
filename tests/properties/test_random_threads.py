"""Random graphs of products, rows, slices and sums on several threads: the bits of one thread, in every run.

What threads do at the same time differs from run to run, so that a missing barrier shows in some of many.
"""

import numpy as np
import pytest

import graphexec as gx
from graphexec.lower import kernel_args

ops = gx.ops


def random_layers(seed):
    """A graph with a batch along the first axis of nearly all values, and its input."""
    rng = np.random.default_rng(seed)
    batch, width, steps = int(rng.choice([16, 24, 33, 64, 100])), int(rng.choice([8, 17, 32, 64, 96])), int(rng.integers(2, 9))
    g = gx.Graph(f"layers {seed}")
    w = [g.parameter(f"w{k}", (width, width), init="normal(std=0.2)") for k in range(3)]
    b = [g.parameter(f"b{k}", (width,), init="normal(std=0.2)") for k in range(3)]
    z = (g.input("x", (steps * batch, width)) @ w[0]).reshape(steps, batch, width)
    values = [ops.tanh(z[0])]
    half = width // 2
    kinds = [
        lambda u, v, k: ops.tanh(u @ w[k] + b[k]),
        lambda u, v, k: ops.tanh(z[k % steps] + u @ ops.swap_axes(w[k])),
        lambda u, v, k: ops.sigmoid(u) * v,
        lambda u, v, k: ops.softmax(u + v, axis=1),
        lambda u, v, k: u - ops.mean(v, axis=k % 2, keepdims=True),
        lambda u, v, k: ops.concat(ops.sin(u[:, :half]), v[:, half:], axis=1),
        lambda u, v, k: ops.tanh(ops.swap_axes(ops.swap_axes(u) * 0.5 + 1.0)) + v,
    ]
    for _ in range(int(rng.integers(3, 25))):
        u, v = values[int(rng.integers(max(0, len(values) - 4), len(values)))], values[int(rng.integers(len(values)))]
        kind = kinds[max(0, int(rng.integers(-2, len(kinds))))]  # products above all
        values.append(kind(u, v, int(rng.integers(3))))
    g.output(ops.mean((values[-1] + values[-2]) ** 2, name="loss"))
    return g, rng.standard_normal((steps * batch, width)).astype(np.float32)


@pytest.mark.parametrize(
    ("seeds", "piece"),
    [
        (range(8), kernel_args.MIN_PIECE_NANOSECONDS),
        pytest.param(range(8, 70), kernel_args.MIN_PIECE_NANOSECONDS, marks=pytest.mark.slow),
        pytest.param(range(8, 70), 60, marks=pytest.mark.exhaustive),
    ],
    ids=["few", "shares", "pieces"],
)
def test_bits_in_every_run(seeds, piece, monkeypatch):
    """With every instruction shared that can be, in a share each, or in many small pieces that are taken one by one."""
    monkeypatch.setattr(kernel_args, "MIN_SHARED_NANOSECONDS", 0)
    monkeypatch.setattr(kernel_args, "MIN_PIECE_NANOSECONDS", piece)
    monkeypatch.setattr("graphexec.lower.barriers.BARRIER_NANOSECONDS", 0)
    for seed in seeds:
        g, x = random_layers(seed)
        loss, gradients = gx.compile(g, loss="loss", threads=1, seed=1).gradients(x=x)
        for threads in (2, 3, 4):
            exe = gx.compile(g, loss="loss", threads=threads, seed=1)
            exe.gradients(x=x)
            exe.compiled.last.fix(threads)
            for run in range(12):
                again, found = exe.gradients(x=x)
                assert again == loss, (seed, threads, run)
                for name, array in gradients.items():
                    np.testing.assert_array_equal(found[name], array, err_msg=f"{name}, seed {seed}, {threads} threads, run {run}")
