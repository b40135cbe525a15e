"""Random graphs, three ways: the lowered program, the interpreter, and central differences.

Each graph uses one weight several times, multiplies a value by itself, and has a value that feeds more than five others.
"""

import numpy as np
import pytest
from helpers.compare import assert_close, scale_of
from helpers.graphs import RandomGraph
from helpers.run import gradients_by_program, run_function

import graphexec as gx
from graphexec.gradcheck import check_gradient
from graphexec.interpret import interpret, interpret_gradients
from graphexec.ir.infer import infer
from graphexec.rewrite import OPTIONAL, required
from graphexec.rewrite.legalize.inline_composites import inline_composites
from graphexec.rewrite.simplify.constant_folding import constant_folding
from graphexec.rewrite.simplify.cse import cse

SEEDS = range(12)
DRAWN = [*range(5), *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(5, 12))]
"""Each graph compiles kernels of its own, so only some are drawn by default."""



@pytest.mark.parametrize("seed", DRAWN)
def test_forward(seed):
    dtype = ("float64", "float32")[seed // 2 % 2]  # the parity of a seed chooses the batch size
    random = RandomGraph(seed, dtype)
    fn = random.graph.function()
    expected = interpret(random.graph, random.inputs, random.parameters)
    names = [fn.names[v] for node in fn.nodes for v in node.outputs]
    scale = scale_of(*expected.values())
    for reuse, kept in [(True, names), (False, names), (True, ["loss"])]:
        found = run_function(fn, random.inputs, parameters=random.parameters, keep=kept, sizes={"batch": random.batch}, reuse=reuse)
        for name, array in found.items():
            assert_close(array, expected[name], f"seed {seed}: {name}", scale=scale)


@pytest.mark.parametrize("seed", DRAWN)
def test_gradients(seed):
    dtype = ("float64", "float32")[seed // 2 % 2]
    random = RandomGraph(seed, dtype)
    _, expected, deltas = interpret_gradients(random.graph, "loss", random.wrt, random.inputs, random.parameters)
    scale = scale_of(*deltas.values())
    results = []
    for reuse, rewrite in [(True, True), (False, False)]:
        given = (random.graph, "loss", random.wrt, random.inputs, random.parameters)
        loss, found = gradients_by_program(*given, reuse=reuse, rewrite=rewrite)
        results.append((loss, found))
        for name in random.wrt:
            assert_close(found[name], expected[name], f"seed {seed}: gradient of {name}", scale=scale)
    if dtype == "float64":
        (_, first), (_, second) = results
        for name in random.wrt:
            assert_close(first[name], second[name], f"seed {seed}: with and without reuse, {name}", scale=scale)


@pytest.mark.parametrize("seed", DRAWN)
def test_central_differences(seed):
    random = RandomGraph(seed, "float64")
    report = check_gradient(random.graph, of="loss", wrt=random.wrt, parameters=random.parameters, seed=seed)
    assert report.passed


@pytest.mark.parametrize("seed", [0, 5])
def test_compiled_executable(seed):
    """What users call gives the same, with its deltas, and again for another batch size."""
    random = RandomGraph(seed, "float64")
    exe = gx.compile(random.graph, loss="loss", wrt=random.wrt, keep_deltas=True)
    for batch in (4, 1, 7):
        draw = np.random.default_rng(batch).standard_normal
        inputs = {**random.inputs, "x": draw((batch, 3)), "cube": draw((2, batch, 3))}
        values, gradients, deltas = interpret_gradients(random.graph, "loss", random.wrt, inputs, random.parameters)
        loss, found = exe.gradients(**inputs)
        scale = scale_of(*deltas.values())
        assert_close(loss, values["loss"], scale=scale)
        for name in random.wrt:
            assert_close(found[name], gradients[name], f"batch {batch}: gradient of {name}", scale=scale)
        assert set(exe.deltas) >= {"hub", "w"}
        assert_close(exe.deltas["hub"], deltas["hub"], "delta of hub", scale=scale)


ALONE = [(), *OPTIONAL, OPTIONAL]
UNFUSED = [("fuse",), *((name, "fuse") for name in OPTIONAL), OPTIONAL]
"""Without fusion all variants are made of the same few kernels, which compile in seconds."""


@pytest.mark.parametrize(
    ("seed", "skips"), [(0, UNFUSED), *(pytest.param(seed, ALONE, marks=pytest.mark.exhaustive) for seed in range(6))]
)
def test_each_pass_left_out(seed, skips):
    """The interpreter, all passes, every single one left out, and none: outputs, gradients and deltas agree."""
    dtype = ("float64", "float32")[seed % 2]
    random = RandomGraph(seed, dtype, size=0 if skips is UNFUSED else 3, again=4)
    given = random.inputs
    names = [n for n in random.graph.function().names if n.startswith(("multiply", "tanh", "sin", "negate", "swap_axes"))]
    random.graph.output(*names)
    values, gradients, deltas = interpret_gradients(random.graph, "loss", random.wrt, given, random.parameters)
    scale, largest = scale_of(*deltas.values()), scale_of(*values.values())
    for skip in skips:
        exe = gx.compile(random.graph, loss="loss", wrt=random.wrt, keep_deltas=True, skip_passes=skip)
        for name, array in exe(**given).items():
            assert_close(array, values[name], f"seed {seed}, without {skip}: {name}", scale=largest)
        loss, found = exe.gradients(**given)
        exe.program.check()
        assert_close(np.asarray(loss, dtype), values["loss"], scale=largest)
        assert set(exe.deltas) == set(deltas)
        for kind, expected, actual in [("gradient", gradients, found), ("delta", deltas, exe.deltas)]:
            for name, array in expected.items():
                assert_close(actual[name], array, f"seed {seed}, without {skip}: {kind} of {name}", scale=scale)


@pytest.mark.parametrize("seed", SEEDS)
def test_passes_find_work_in_random_graphs(seed):
    """With repeated nodes and constants in it, a graph of n nodes becomes one of fewer."""
    random = RandomGraph(seed, "float64", again=5)
    fn = required(inline_composites(infer(random.graph.function(), {"batch": random.batch})))
    constants = len(fn.of_role("constant"))
    after = constant_folding(fn)
    assert len(after.nodes) <= len(fn.nodes) - 10  # two products of numbers for each repeated node, at least
    assert len(after.of_role("constant")) >= constants + 10
    assert len(cse(after).nodes) < len(after.nodes)


@pytest.mark.parametrize("seed", [1, 2])
def test_gradient_of_the_gradient(seed):
    random = RandomGraph(seed, "float64", size=6)
    wrt = ["w", "x"]
    assert check_gradient(random.graph, of="loss", wrt=wrt, parameters=random.parameters, derivative=2, tolerance=1e-5).passed


def test_generator_makes_what_it_promises():
    """Views, reductions, broadcasting, reuse: all of them, and fan-out of at least 5, over the seeds that are used."""
    seen = set()
    for seed in SEEDS:
        dag = RandomGraph(seed, "float32").graph.dag
        seen |= {data["op"] for _, data in dag.nodes(data=True)}
        assert dag.out_degree("hub") >= 5
        assert dag.out_degree("w") >= 2
        assert dag.number_of_edges("hub", next(n for n in dag.successors("hub") if dag.number_of_edges("hub", n) == 2)) == 2
    assert seen >= {"multiply", "matmul", "tanh", "maximum", "swap_axes", "slice", "expand_dims", "reshape", "sum", "mean", "max"}
