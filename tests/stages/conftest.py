"""Orders made of graphs, run as they stand."""

import numpy as np
import pytest
from helpers import poison

from graphexec.executable import Runner
from graphexec.infer import infer
from graphexec.interpret import interpret
from graphexec.program import aligned_array, lower
from graphexec.rewrite.expand import expand
from graphexec.spec import Sizes


@pytest.fixture
def prepared():
    """``prepared(graph, batch=3)``: its order with composite ops expanded and sizes known."""
    return lambda graph, **sizes: expand(infer(graph.order(), Sizes(sizes)))


@pytest.fixture
def execute():
    """``execute(order, arrays)``: outputs by name, run natively without any pass."""

    def run(order, arrays, threads=1, reuse=True):
        buffers = {leaf.name: aligned_array(arrays[leaf.name]) for leaf in order.leaves if leaf.kind != "constant"}
        program = lower(order, buffers, order.outputs.values(), threads=threads, reuse=reuse)
        program.check()
        poison(program)
        Runner(program, order, {}, threads).run()
        return {name: program.array(v).copy() for name, v in order.outputs.items()}

    return run


@pytest.fixture
def agrees(execute):
    """``agrees(graph, order, arrays)``: the rewritten order gives what the interpreter gives for the graph."""

    def check(graph, order, arrays, rtol=1e-13):
        expected, found = interpret(graph, arrays), execute(order, arrays)
        for name, array in found.items():
            np.testing.assert_allclose(array, expected[name], rtol=rtol, atol=1e-13, err_msg=name)
            assert array.dtype == expected[name].dtype

    return check
