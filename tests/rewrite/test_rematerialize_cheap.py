"""rematerialize_cheap: what is made again before its second product, what is not, and that the numbers stay."""

import numpy as np
import pytest

import graphexec as gx
from graphexec.rewrite import PASSES
from graphexec.rewrite.schedule import rematerialize_cheap as cheap

ops = gx.ops
OFF = ("rematerialize_cheap",)


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch):
    monkeypatch.setattr(cheap, "MIN_BYTES", 0)


def norm(x, gain, bias):
    c = x - x.mean(axis=-1, keepdims=True)
    return c / ops.sqrt(ops.square(c).mean(axis=-1, keepdims=True) + 1e-5) * gain + bias


def net(between=norm, **options):
    """between(x w, gain, bias) v, squared; all four are trained."""
    rng = np.random.default_rng(1)
    g = gx.Graph("net")
    x = g.input("x", (6, 5), "float64")
    p = {k: g.parameter(k, value=rng.standard_normal(s)) for k, s in {"w": (5, 8), "gain": (8,), "bias": (8,), "v": (8, 3)}.items()}
    h = between(x @ p["w"], p["gain"], p["bias"])
    g.output(ops.sum(ops.square(h @ p["v"]), name="loss"))
    return gx.compile(g, loss="loss", **options)


X = np.random.default_rng(2).standard_normal((6, 5))


def made_again(between=norm, **options):
    """The nodes that stand twice, by their first names."""
    exe = net(between, skip_passes=("fuse", "fuse_rows", "gemm_epilogue"), **options)
    exe.gradients(x=X)
    return sorted(node.name.partition(".")[0] for node in exe.program.fn.nodes if ".again" in node.name)


def test_a_normalised_operand_is_made_again_from_what_its_backward_pass_keeps():
    assert made_again() == ["add_1", "matmul_1", "multiply"]  # matmul_1: the view that transposes it


def test_it_takes_less_memory_and_gives_the_same():
    found = {}
    for skip in ((), OFF):
        rng = np.random.default_rng(3)
        g = gx.Graph("wide")
        x, y = g.input("x", (64, 256)), g.input("y", (64, 256))
        p = {k: g.parameter(k, value=rng.standard_normal(s).astype("float32") * 0.1) for k, s in SHAPES.items()}
        h = x
        for k in "12":
            h = h + norm(h, p["gain" + k], p["bias" + k]) @ p["w" + k]
        g.output(ops.sum(ops.square(h - y), name="loss"))
        exe = gx.compile(g, loss="loss", optimizer=gx.Adam(lr=1e-3), skip_passes=skip, threads=1)
        data = np.random.default_rng(4).standard_normal((2, 64, 256)).astype("float32")
        losses = [exe.step(x=data[0], y=data[1]) for _ in range(3)]
        found[skip] = losses, exe.program.memory.arena
    np.testing.assert_allclose(found[()][0], found[OFF][0], rtol=1e-5)
    assert found[()][1] <= found[OFF][1] - 64 * 256 * 4


SHAPES = {"gain1": (256,), "bias1": (256,), "w1": (256, 256), "gain2": (256,), "bias2": (256,), "w2": (256, 256)}


def test_updates_wait_for_it():
    """gain and bias are read once more, late: not after they have been updated."""
    expected, exe = (net(skip_passes=skip, optimizer=gx.SGD(lr=0.1)) for skip in (OFF, ()))
    first = {name: array.copy() for name, array in exe.state().items()}
    for _ in range(3):
        assert exe.step(x=X) == pytest.approx(expected.step(x=X), rel=1e-12)
    for name, array in exe.state().items():
        np.testing.assert_allclose(array, expected.state()[name], rtol=1e-12, err_msg=name)
        assert not np.array_equal(array, first[name]), name


def test_gradients_are_the_same():
    (loss, found), (expected_loss, expected) = (net(skip_passes=skip).gradients(x=X) for skip in ((), OFF))
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    "between",
    [
        lambda h, gain, bias: ops.tanh(h) * gain,  # kept is tanh(h), which its derivative reads: multiplied again
        lambda h, gain, bias: h * gain + bias,
    ],
    ids=["tanh", "affine"],
)
def test_arithmetic_of_kept_values_is_done_again(between):
    assert made_again(between)


@pytest.mark.parametrize(
    "between",
    [
        lambda h, gain, bias: ops.tanh(h + bias),  # dear
        lambda h, gain, bias: h + bias,  # h is kept for nothing else
    ],
    ids=["dear", "not kept"],
)
def test_what_would_keep_or_cost_more_stays(between):
    assert not made_again(between)


def test_small_values_stay(monkeypatch):
    monkeypatch.setattr(cheap, "MIN_BYTES", 6 * 8 * 8 + 1)
    assert not made_again()


def test_what_can_be_read_after_a_run_stays(monkeypatch):
    orders = []
    monkeypatch.setitem(PASSES, "rematerialize_cheap", lambda fn, keep: orders.append(fn) or fn)
    net().gradients(x=X)
    (fn,) = orders
    assert cheap.rematerialize_cheap(fn) is not fn
    assert cheap.rematerialize_cheap(fn, [fn.value_id("add_1")]) is fn
