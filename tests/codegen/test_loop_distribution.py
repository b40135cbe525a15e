"""loop distribution: long bodies divided into several loops, against one loop, the interpreter and central differences."""

import itertools

import numpy as np
import pytest
from helpers.compare import assert_close

import graphexec as gx
from graphexec.codegen import distributed_loops, kernels
from graphexec.codegen.loop_distribution import CHAIN, plan_partitions
from graphexec.codegen.straight_line import straighten
from graphexec.interpret import interpret
from graphexec.llvm import toolchain

ops = gx.ops
SIZES = [0, 1, 63, 511, 513, 40_000]
fresh = itertools.count()


@pytest.fixture
def compiling(monkeypatch):
    """``compiling(least)``: kernels are made anew, in several loops from ``least`` instructions on; the plans so far."""
    plans = []

    def start(least=None):
        tag = f"made anew {next(fresh)}"
        monkeypatch.setattr(kernels, "loaded", {})
        monkeypatch.setattr(toolchain, "symbol_name", lambda label, *parts: named(label, *parts, *[tag] * (label == "fused")))
        if least is not None:
            monkeypatch.setattr(kernels, "MIN_INSTRUCTIONS", least)
        plans.clear()
        return plans

    def spy(name, body, closings, distributed):
        plans.append(distributed)
        return made(name, body, closings, distributed)

    made, named = distributed_loops.distributed_ir, toolchain.symbol_name
    monkeypatch.setattr(distributed_loops, "distributed_ir", spy)
    return start


def deep(x, y, a):
    """Some twenty ops a dozen of them expensive; x and y are read early and late."""
    u = ops.tanh(x) * y
    u = u * ops.sigmoid(1.5 * u) + a
    u = ops.where(u > 0.25, ops.sin(u) * x, ops.exp(-u))
    u = ops.softplus(u) - ops.erf(u * y)
    u = ops.log1p(u * u) * ops.cos(ops.where(y > 2.0, x + 3e9, x))
    return u * ops.sigmoid(u) + y * ops.tanh(u * a)


def trained(n, dtype="float64", steps=1, **options):
    """The losses of some steps, and the parameters after them."""
    rng = np.random.default_rng(n)
    g = gx.Graph("deep")
    x, y = (g.parameter(k, value=rng.standard_normal(n).astype(dtype)) for k in "xy")
    loss = ops.sum(deep(x, y, g.input("a", (), dtype)), name="loss")
    g.output(loss)
    exe = gx.compile(g, loss=loss, optimizer=gx.SGD(lr=0.05), **options)
    losses = [exe.step(a=0.3) for _ in range(steps)]
    return {"loss": np.array(losses, dtype), **{k: v.copy() for k, v in exe.state().items()}}


def test_cuts_lie_where_little_crosses():
    """A chain of four knots: in each, eight values are read twice; one value leads from knot to knot."""
    made, before = {}, "x"
    for k in range(4):
        names = [f"{k}.{i}" for i in range(CHAIN)]
        for i, name in enumerate(names):
            made[name] = (names[i - 1], names[max(i - 8, 0)]) if i else (before,)
        before = names[-1]
    partitions = plan_partitions(made, {"x"}, [before])
    assert [(s.first, s.last) for s in partitions] == [(CHAIN * k, CHAIN * (k + 1)) for k in range(4)]
    assert [s.inputs for s in partitions] == [("x",), *((f"{k}.{CHAIN - 1}",) for k in range(3))]
    assert [s.outputs for s in partitions] == [*((f"{k}.{CHAIN - 1}",) for k in range(3)), ()]


def test_partitions_find_their_inputs(rng):
    """Random bodies: a partition reads what it computed, an operand, or the output of an earlier partition."""
    for _ in range(40):
        count, operands = int(rng.integers(1, 300)), ["x", "y"]
        names = [f"v{k}" for k in range(count)]
        near = [names[max(k - int(rng.choice([3, 200])), 0) : k] + operands for k in range(count)]
        made = {name: tuple(rng.choice(known, size=2)) for name, known in zip(names, near, strict=True)}
        stored, kept = [names[-1], str(rng.choice(names)), "x"], [str(rng.choice(names))]
        partitions = plan_partitions(made, operands, stored, kept)
        assert [(a.last, b.first) for a, b in itertools.pairwise(partitions)] == [(s.last, s.last) for s in partitions[:-1]]
        left = set()
        for partition in partitions:
            assert set(partition.inputs) <= {*operands, *left}
            known = set(partition.inputs)
            for name in names[partition.first : partition.last]:
                assert known.issuperset(made[name])
                known.add(name)
            assert known.issuperset(partition.outputs)
            left |= set(partition.outputs)
        assert known.issuperset(stored)
        assert left.issuperset(kept)
        assert partitions[-1].last == count


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_several_loops_give_the_results_of_one(compiling, dtype):
    """Gradients and updates in place, a sum that closes the loop, numbers, bits, rare branches; spans that are cut short."""
    plans = compiling()
    found = {n: trained(n, dtype, threads=1) for n in SIZES}
    print([(len(p.partitions), len(p.varying), len(p.closed), len(p.stored)) for p in plans])
    assert len(plans[0].partitions) > 4
    assert plans[0].closed
    assert not compiling(least=10**9)
    for n in SIZES:
        plain = trained(n, dtype, threads=1)
        slow = trained(n, dtype, threads=1, optimize=False)
        for name, array in found[n].items():
            assert_close(array, plain[name], f"{name}, {n} elements", scale=max(n, 1))
            assert_close(array, slow[name], f"{name}, {n} elements, as the interpreter's order has it", scale=max(n, 1))


def test_same_bits_for_any_number_of_threads(compiling):
    assert not compiling()
    one, *more = (trained(40_003, "float32", steps=3, threads=n) for n in (1, 2, 3, 8))
    for other in more:
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name])


def test_operands_that_move_by_strides_of_their_own(compiling, rng):
    """Every second element, one element for all, whole numbers; no sum at the end."""
    plans = compiling()
    g = gx.Graph("strides")
    x, y, k = g.input("x", (2400,), "float64"), g.input("y", (1200,), "float64"), g.input("k", (1200,), "int32")
    g.output(ops.add(deep(x[::2], y, ops.cast(k, dtype="float64")), ops.where(x[::2] > y, 1.0, -1.0), name="out"))
    exe = gx.compile(g, threads=2)
    arrays = {"x": rng.standard_normal(2400), "y": rng.standard_normal(1200), "k": rng.integers(-3, 3, 1200).astype("int32")}
    assert_close(exe(**arrays)["out"], interpret(g, arrays)["out"])
    assert [p.closed for p in plans] == [[]]


BRANCH = """
define i32 @element(float %in0, ptr noalias %out0) {
  %positive = fcmp ogt float %in0, 0.0
  br i1 %positive, label %good, label %bad
good:
  %root = call float @llvm.sqrt.f32(float %in0)
  store float %root, ptr %out0
  ret i32 0
bad:
  ret i32 1
}
declare float @llvm.sqrt.f32(float)
"""


def test_what_can_fail_stays_one_loop():
    assert straighten([BRANCH], "element") is None


def test_a_straight_body_is_read_as_it_is():
    head, _, _ = BRANCH.partition("  br i1 %positive, label %good, label %bad\n")
    body = "  %up = select i1 %positive, float 2.0, float 0.5\n  %end = fdiv float %up, %in0\n  store float %end, ptr %out0\n"
    straight = straighten([f"{head}{body}  ret i32 0\n}}\n"], "element")
    assert [i.type for i in straight.instructions] == ["i1", "float", "float"]
    assert straight.instructions[2].with_names({"%in0": "%mine"}) == "fdiv float %e1, %mine"
    assert straight.stores == {"out0": ("float", "%e2")}
    assert not straight.declarations
