"""Layout and buffer assignment: where values are, which share memory, and the checker that looks for overlap."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from helpers.graphs import RandomGraph
from helpers.run import op_names

import graphexec as gx
from graphexec.abi import ALIGNMENT
from graphexec.lower import lower
from graphexec.lower.alignment import aligned_array
from graphexec.lower.buffer_assignment import Blocks, against_time, assign_buffers, in_time, largest_first, placed
from graphexec.lower.layout_assignment import assign_layout
from graphexec.rewrite import optimize

ops = gx.ops


def at(layout, name):
    return layout.names.index(name)


# -- lay_out


def test_a_view_has_no_memory_and_no_step(prepared):
    g = gx.Graph("view")
    x = g.input("x", (2, 3))
    g.output(ops.tanh(ops.transpose(x, name="t"), name="y"))
    layout = assign_layout(prepared(g))
    assert op_names(layout.steps) == ["tanh"]
    x, t, y = (at(layout, n) for n in "xty")
    assert layout.storage[t] == layout.storage[x] != layout.storage[y]
    assert layout.views[t].strides == (1, 3)
    assert layout.views[y].strides == (2, 1)
    assert layout.persistent[layout.storage[x]]
    assert not layout.persistent[layout.storage[y]]


def test_a_copy_is_made_once(prepared, agrees, rng):
    """A transposed matrix cannot be reshaped as a view; two reshapes of it share one copy."""
    g = gx.Graph("copy")
    t = ops.transpose(g.input("x", (2, 3), "float64"))
    g.output(ops.reshape(t, shape=(6,), name="a"), ops.reshape(t, shape=(1, 6), name="b"))
    fn = prepared(g)
    layout = assign_layout(fn)
    assert op_names(layout.steps) == ["copy"]
    assert layout.storage[at(layout, "a")] == layout.storage[at(layout, "b")]
    agrees(g, fn, {"x": rng.standard_normal((2, 3))})


def test_a_product_reads_its_transposed_operand_where_it_lies(prepared):
    g = gx.Graph("product")
    x, w = g.input("x", (3, 2)), g.input("w", (4, 2))
    g.output(x @ w.T)
    assert op_names(assign_layout(prepared(g)).steps) == ["matmul"]


def test_parts_of_a_concatenation_are_computed_where_it_lies(prepared, agrees, rng):
    """Also with an axis of size 1 added, and through a concatenation that is part of another."""
    g = gx.Graph("parts")
    x = g.input("x", (4, 6), "float64")
    rows = [ops.concat(ops.sin(x * k), ops.exp(x - k), axis=1, name=f"row_{k}") for k in range(3)]
    g.output(ops.concat(*(ops.expand_dims(r, axis=0) for r in rows), axis=0, name="y"))
    fn = prepared(g)
    layout = assign_layout(fn)
    assert "copy" not in op_names(layout.steps)
    y = at(layout, "y")
    assert layout.specs[y].shape == (3, 4, 12)
    for k in range(3):
        row = at(layout, f"row_{k}")
        assert layout.storage[row] == layout.storage[y]
        assert layout.views[row].offset == 48 * k
    agrees(g, fn, {"x": rng.standard_normal((4, 6))})


def test_a_part_of_two_concatenations_is_copied_into_one(prepared, agrees, rng):
    g = gx.Graph("twice")
    x = g.input("x", (4, 6), "float64")
    part = ops.concat(ops.sin(x), ops.exp(x), axis=0, name="part")
    g.output(ops.concat(part, ops.tanh(x), axis=0), ops.concat(ops.cos(x), part, axis=0), part)
    fn = prepared(g)
    assert op_names(assign_layout(fn).steps).count("copy") == 1
    agrees(g, fn, {"x": rng.standard_normal((4, 6))})


def test_an_update_writes_over_its_parameter(prepared):
    g = gx.Graph("update")
    p, d = g.parameter("p", (3,)), g.input("d", (3,))
    ops.sgd(p, d, lr=0.1, name="new")
    layout = assign_layout(prepared(g))
    assert layout.storage[at(layout, "new")] == layout.storage[at(layout, "p")]


def test_a_number_that_depends_on_shapes_alone_is_a_constant(prepared):
    g = gx.Graph("size")
    x = g.input("x", ("batch", 3))
    g.output(ops.size(x, name="n"))
    layout = assign_layout(prepared(g, batch=5))
    assert layout.steps == []
    assert layout.constants[layout.storage[at(layout, "n")]] == 15


# -- plan_memory


def plain(length=4, shape=(100,)):
    g = gx.Graph("chain")
    y = g.input("x", shape, "float64")
    for k in range(length):
        y = ops.tanh(y, name=f"t{k}")
    g.output(y)
    return g


def test_a_chain_runs_in_place(prepared):
    fn = prepared(plain())
    layout = assign_layout(fn)
    plan = assign_buffers(layout, fn.outputs.values())
    size = -(-800 // ALIGNMENT) * ALIGNMENT
    assert plan.arena == size
    assert plan.without_reuse == 4 * size
    assert {plan.offsets[layout.storage[v]] for n in fn.nodes for v in n.outputs} == {0}
    assert plan.offsets[layout.storage[fn.value_id("x")]] == -1


def test_without_reuse_each_value_has_its_own_memory(prepared):
    fn = prepared(plain())
    layout = assign_layout(fn)
    plan = assign_buffers(layout, fn.outputs.values(), reuse=False)
    offsets = [o for o in plan.offsets if o >= 0]
    assert len(set(offsets)) == len(offsets) == 4
    assert plan.arena == plan.without_reuse


def test_what_is_kept_is_not_overwritten(prepared):
    fn = prepared(plain())
    layout = assign_layout(fn)
    kept = [fn.value_id("t0"), fn.value_id("t2")]
    plan = assign_buffers(layout, [*kept, *fn.outputs.values()])
    places = {plan.offsets[layout.storage[v]] for v in [*kept, *fn.outputs.values()]}
    assert len(places) == 3


def test_a_product_does_not_write_over_what_it_reads(prepared):
    g = gx.Graph("product")
    t = ops.tanh(g.input("x", (8, 8)), name="t")
    g.output(ops.matmul(t, t, name="z"))
    fn = prepared(g)
    layout = assign_layout(fn)
    plan = assign_buffers(layout, fn.outputs.values())
    assert plan.offsets[layout.storage[fn.value_id("t")]] != plan.offsets[layout.storage[fn.value_id("z")]]


def test_every_buffer_starts_on_a_cache_line(prepared):
    random = RandomGraph(3, "float32", size=30)
    layout = assign_layout(optimize(prepared(random.graph, batch=random.batch)))
    assert all(o % ALIGNMENT == 0 for o in assign_buffers(layout).offsets if o >= 0)


@pytest.mark.parametrize("seed", range(6))
def test_no_two_live_values_overlap(seed, prepared):
    """Lifetimes and places by brute force, against the plan of a random graph."""
    random = RandomGraph(seed, "float64", size=30)
    fn = optimize(prepared(random.graph, batch=random.batch))
    layout = assign_layout(fn)
    keep = {layout.storage[v] for v in fn.outputs.values()}
    plan = assign_buffers(layout, fn.outputs.values())
    born, last = {}, {}
    for position, step in enumerate(layout.steps):
        for value in step.outputs:
            born.setdefault(layout.storage[value], position)
            last[layout.storage[value]] = position
        for value in step.reads:
            last[layout.storage[value]] = position
    live = [s for s in born if plan.offsets[s] >= 0 and layout.bytes[s]]
    last.update(dict.fromkeys(keep, len(layout.steps)))
    for a in live:
        for b in live:
            in_place = last[a] == born[b]  # the reader may write over what it reads for the last time
            if a < b and born[b] < last[a] and born[a] < last[b] and not in_place:
                start, other = plan.offsets[a], plan.offsets[b]
                assert start + layout.bytes[a] <= other or other + layout.bytes[b] <= start, (layout.names, a, b)
    arrays = {**random.inputs, **random.parameters}
    buffers = {leaf.name: aligned_array(arrays[leaf.name]) for leaf in fn.leaves if leaf.role != "constant"}
    lower(fn, buffers, fn.outputs.values()).check()


# -- places


def drawn_blocks(seed, count=60):
    """Random lives and sizes, a few of them large and long."""
    rng = np.random.default_rng(seed)
    born = rng.integers(0, 100, count)
    last = np.minimum(born + rng.integers(0, 12, count) + 60 * (rng.random(count) < 0.1), 100)
    sizes = ALIGNMENT * np.where(rng.random(count) < 0.2, rng.integers(50, 100, count), rng.integers(1, 9, count))
    return Blocks(*(x.tolist() for x in (sizes, born, last)))


@pytest.mark.parametrize("place", [in_time, against_time, largest_first])
@pytest.mark.parametrize("seed", range(4))
def test_blocks_that_live_at_the_same_time_lie_apart(seed, place):
    blocks = drawn_blocks(seed)
    spans = list(zip(place(blocks), blocks.sizes, blocks.born, blocks.last, strict=True))
    assert all(offset >= 0 for offset, *_ in spans)
    for (a, size, born, last), (b, other, begin, end) in itertools.combinations(spans, 2):
        assert last < begin or end < born or a + size <= b or b + other <= a


@pytest.mark.parametrize("seed", range(4))
def test_the_smallest_arena_is_taken(seed):
    blocks = drawn_blocks(seed)
    alive = [sum(n for n, b, e in zip(blocks.sizes, blocks.born, blocks.last, strict=True) if b <= t <= e) for t in range(101)]
    assert blocks.peak(101) == max(alive)
    ends = [max(o + n for o, n in zip(p(blocks), blocks.sizes, strict=True)) for p in (in_time, against_time, largest_first)]
    offsets, arena = placed(blocks, 101)
    assert max(alive) <= arena == min(ends)
    assert max(o + n for o, n in zip(offsets, blocks.sizes, strict=True)) == arena


def test_against_time_a_block_that_comes_late_and_stays_fits():
    """One large block, then small ones that outlive it, then a large one again: in time, it finds no gap."""
    sizes, born, last = [640, *[64] * 9, 576], [0, *range(1, 10), 10], [1, *[12] * 9, 12]
    blocks = Blocks(sizes, born, last)
    assert max(o + n for o, n in zip(in_time(blocks), sizes, strict=True)) > blocks.peak(13)
    assert placed(blocks, 13)[1] == blocks.peak(13) == 1152


def step_of(graph, **options):
    """Layout and memory of a training step; no kernel is made."""
    fn = gx.compile(graph, loss="loss", optimizer="sgd(lr=0.1)", **options).compiled.functions.sized("step", {})
    layout = assign_layout(fn)
    return layout, assign_buffers(layout, fn.outputs.values(), reuse=options.get("optimize", True))


def deep(layers, side=8):
    """A chain of layers with one weight, its gradient a sum over all of them."""
    g = gx.Graph("deep")
    w, z = g.parameter("w", (side, side), init="normal(std=0.3)"), g.input("x", (side, side))
    for k in range(layers):
        z = ops.tanh(w @ z, name=f"z{k}")
    g.output(ops.half_squared_error(z, g.input("y", (side, side)), name="loss"))
    return g


def test_a_weight_used_often_does_not_hold_its_contributions():
    """What grows with the depth is one activation a layer: no delta, no product waits for the others."""
    few, many = (step_of(deep(n))[1].arena for n in (20, 120))
    assert many - few == 100 * 8 * 8 * 4


@pytest.mark.parametrize("optimize", [True, False])
def test_a_gradient_is_over_when_its_parameter_is_updated(optimize):
    """Of eight layers one gradient is there at a time; each parameter is updated after the last product that reads it."""
    g = gx.Graph("wide")
    z = g.input("x", (2, 32))
    for k in range(8):
        z = ops.tanh(z @ g.parameter(f"w{k}", (32, 32), init="orthogonal"))
    g.output(ops.sum(z, name="loss"))
    layout, memory = step_of(g, optimize=optimize)
    assert memory.arena < 2 * 32 * 32 * 4 or not optimize
    text = layout.steps
    for k in range(8):
        update = next(n for n in text if n.name == f"w{k}.update")
        weight = layout.storage[update.inputs[update.op.inputs.index(update.op.updates[0])]]
        readers = [n for n in text if weight in {layout.storage[v] for v in n.reads}]
        assert readers[-1] is update
        gradient = layout.storage[update.inputs[1] if update.op.name == "sgd" else update.outputs[-1]]  # or made by the update
        made = max(p for p, n in enumerate(text) if gradient in {layout.storage[v] for v in n.outputs})
        assert text.index(update) <= made + 2


@pytest.mark.parametrize("optimize", [True, False])
def test_no_gradient_sees_an_updated_parameter(optimize, rng):
    """A weight that is read as it is, transposed, and in a sum of its slices; its last reader is far from its gradient."""
    g = gx.Graph("views")
    w, v = (g.parameter(n, (4, 4), "float64", init="orthogonal") for n in "wv")
    h = ops.tanh(g.input("x", (3, 4), "float64") @ w.T + w[0])
    g.output(ops.sum(ops.sin(h @ v) @ w, name="loss"))
    arrays = {"x": rng.standard_normal((3, 4))}
    exe = gx.compile(g, loss="loss", optimizer="sgd(lr=0.5)", optimize=optimize)
    _, gradients = exe.gradients(**arrays)
    before = {name: array.copy() for name, array in exe.parameters.items()}
    exe.step(**arrays)
    for name, array in exe.parameters.items():
        np.testing.assert_allclose(array, before[name] - 0.5 * gradients[name], rtol=1e-13, atol=1e-13)


# -- the checker is checked


def two_values():
    g = gx.Graph("two")
    x = g.input("x", (100,), "float64")
    a, b = ops.tanh(x, name="a"), ops.sin(x, name="b")
    g.output(ops.add(a, b, name="z"))
    return g


def program_of(fn):
    return lower(fn, {"x": aligned_array(np.ones(100))}, fn.outputs.values())


def test_the_checker_finds_a_value_that_is_overwritten(prepared):
    program = program_of(prepared(two_values()))
    program.check()
    layout = program.layout
    offsets = list(program.memory.offsets)
    offsets[layout.storage[at(layout, "b")]] = offsets[layout.storage[at(layout, "a")]]
    program.memory = replace(program.memory, offsets=offsets)
    with pytest.raises(AssertionError, match="reads 'a', which is overwritten"):
        program.check()


def test_the_checker_finds_an_address_outside_its_buffer(prepared):
    program = program_of(prepared(two_values()))
    program.layout.views[at(program.layout, "b")] = program.layout.views[at(program.layout, "b")]._replace(offset=1)
    with pytest.raises(AssertionError, match="leaves its buffer"):
        program.check()
