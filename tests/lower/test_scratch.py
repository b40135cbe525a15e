"""Scratch memory of kernels: the part of every thread starts on a cache line, whatever number of bytes a kernel asks for."""

import numpy as np
import pytest

import graphexec as gx

PLUGIN = """
import numpy as np

from graphexec.plugin import kernel


def _reference(x):
    return np.zeros_like(x)


@kernel(shape=lambda x: x.shape, scratch={first}, parallel=True, differentiable=False, reference=_reference, domain=(-1.0, 1.0))
def remainder_of_one(x, out, scratch, piece, pieces):
    for i in range(piece * x.size // pieces, (piece + 1) * x.size // pieces):
        out[i] = scratch % 64


@kernel(shape=lambda x: x.shape, scratch={second}, parallel=True, differentiable=False, reference=_reference, domain=(-1.0, 1.0))
def remainder_of_other(x, out, scratch, piece, pieces):
    for i in range(piece * x.size // pieces, (piece + 1) * x.size // pieces):
        out[i] = scratch % 64
"""


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize(("first", "second"), [(20, 64), (1, 100), (64, 65), (4097, 8)])
def test_every_part_starts_on_a_cache_line(tmp_path, registry_kept, first, second, threads):
    """Both kernels stand in one program, so that their memory shares one block."""
    (tmp_path / "scratch.py").write_text(PLUGIN.format(first=first, second=second))
    gx.load_plugin(tmp_path / "scratch.py")
    graph = gx.Graph("scratch")
    x = graph.input("x", (200_000,))
    graph.output(gx.ops.remainder_of_one(x, name="one"), gx.ops.remainder_of_other(x, name="other"))
    exe = gx.compile(graph, threads=threads)
    for _ in range(5):
        found = exe(x=np.zeros(200_000, "float32"))
        assert not found["one"].any()
        assert not found["other"].any()
