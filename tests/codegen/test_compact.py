"""Compact kernels, whose body is long, give the same bits as others."""

import itertools

import numpy as np
import pytest

import graphexec as gx
from graphexec.codegen import elementwise, kernels
from graphexec.llvm import fingerprint

ENVIRONMENT = fingerprint.environment()
SHAPES = [(2, 5), (3, 63), (2, 64), (3, 65), (4, 129), (5, 1000), (2100, 3), (3, 40_000)]


def losses(shape, dtype, tag, threshold, monkeypatch):
    """Sums of several functions of broadcast operands, with kernels compiled anew."""
    monkeypatch.setattr(elementwise, "COMPACT", threshold)
    monkeypatch.setattr(fingerprint, "environment", lambda: f"{ENVIRONMENT} {tag}")
    monkeypatch.setattr(kernels, "loaded", {})
    written = []
    real = elementwise.elementwise_ir

    def noted(*arguments, **options):
        written.append((len(arguments[3]), options["compact"]))
        return real(*arguments, **options)

    monkeypatch.setattr(elementwise, "elementwise_ir", noted)
    ops, graph = gx.ops, gx.Graph("sums")
    x, row = graph.input("x", ("n", "m"), dtype), graph.input("row", (1, "m"), dtype)
    value, rng = ops.tanh(x + row), np.random.default_rng(3)
    for k, (function, reduce) in enumerate(itertools.product((ops.sin, ops.tanh, ops.square), (ops.sum, ops.max, ops.sum))):
        value = function(value)
        graph.output(reduce(value, name=f"r{k}"))
    inputs = {"x": rng.standard_normal(shape).astype(dtype), "row": rng.standard_normal((1, shape[1])).astype(dtype)}
    results = gx.compile(graph, threads=1)(inputs)
    return written, {name: array.tobytes() for name, array in results.items()}


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_bits_are_the_same(shape, dtype, monkeypatch):
    written, compact = losses(shape, dtype, f"compact {shape}", 1, monkeypatch)
    assert any(closings > 1 and chosen for closings, chosen in written)
    written, plain = losses(shape, dtype, f"plain {shape}", 10**9, monkeypatch)
    assert not any(chosen for _, chosen in written)
    assert compact == plain
