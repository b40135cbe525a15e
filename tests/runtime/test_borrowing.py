"""Calls that do not copy large arrays give the bits of calls that do, and write nothing that is not theirs.

Here arrays of any size are borrowed; `copied` calls an executable of the same graph that copies all.
"""

import threading

import numpy as np
import pytest
from helpers.copying import copied, same

import graphexec as gx
from graphexec.errors import KernelError
from graphexec.lower.movable import MAX_SINGLE_WORDS, Ranges
from graphexec.runtime import borrowing

ops = gx.ops


@pytest.fixture(autouse=True)
def any_size(monkeypatch):
    monkeypatch.setattr(borrowing, "MIN_BYTES", 1)


def is_borrowed(exe, name, array):
    return np.shares_memory(exe.compiled.last.inputs[name], array)


# -- layouts of inputs


def unaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    raw[1:] = x.view(np.uint8).reshape(-1)
    return raw[1:].view(x.dtype).reshape(x.shape)


def at_4(x):
    raw = np.zeros(x.size + 16, x.dtype)
    start = (-raw.ctypes.data % 64) // 4 + 1
    raw[start : start + x.size] = x.reshape(-1)
    return raw[start : start + x.size].reshape(x.shape)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {  # how the array is given, and whether it is read where it is
    "plain": (lambda x: x, True), "at 4 bytes": (at_4, True), "read-only": (read_only, True),
    "a subclass": (lambda x: x.view(np.memmap), True), "a part": (lambda x: np.concatenate([x, x])[3:8], True),
    "strided": (lambda x: np.repeat(x, 2, 0)[::2], False), "reversed": (lambda x: x[::-1].copy()[::-1], False),
    "Fortran": (np.asfortranarray, False), "columns": (lambda x: np.repeat(x, 2, 1)[:, ::2], False),
    "float16": (lambda x: x.astype("float16"), False), "float64": (lambda x: x.astype("float64"), False),
    "big-endian": (lambda x: x.astype(">f4"), False), "a list": (lambda x: x.tolist(), False),
    "unaligned": (unaligned, False), "broadcast": (lambda x: np.broadcast_to(x[:1], x.shape), False),
}  # fmt: skip


def layers():
    g = gx.Graph("layers")
    x, y = g.input("x", ("n", 6)), g.input("y", ("n", 4))
    w = g.parameter("w", (6, 4), init="normal")
    h = ops.tanh(x @ w, name="h")
    g.output(h, ops.sum(x, axis=0, name="total"), ops.softmax(x[:, 1:], name="p"), ops.half_squared_error(h, y, name="loss"))
    return g


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_layout_gives_the_bits_of_a_copy(layout, threads, rng, monkeypatch):
    x, y = rng.standard_normal((5, 6)).astype("float16").astype("f"), rng.standard_normal((5, 4)).astype("f")
    give, borrowed = LAYOUTS[layout]
    options = {"loss": "loss", "optimizer": "sgd(lr=0.1)", "wrt": ["w"], "threads": threads}
    given = give(x)

    def calls(exe):
        found = exe(x=given, y=y), exe.gradients(x=given, y=y), exe.step(x=given, y=y), exe(x=given, y=y)
        return found, exe.parameters["w"].copy(), exe

    (a, (b, c), d, e), w, _ = copied(layers(), monkeypatch, calls, **options)
    (a2, (b2, c2), d2, e2), w2, exe = calls(gx.compile(layers(), **options))
    same(a2, a)
    same(c2, c)
    same(e2, e)
    assert (b2, d2, w2.tobytes()) == (b, d, w.tobytes())
    if isinstance(given, np.ndarray):
        assert is_borrowed(exe, "x", given) is borrowed
    np.testing.assert_array_equal(exe.values()["x"], np.asarray(given))


def test_small_arrays_are_copied(monkeypatch, rng):
    monkeypatch.setattr(borrowing, "MIN_BYTES", 21)
    exe, x, y = gx.compile(layers(), threads=1), np.ones((1, 6), "f"), np.ones((1, 4), "f")
    exe(x=x, y=y)
    assert is_borrowed(exe, "x", x)
    assert not is_borrowed(exe, "y", y)


# -- what the caller does with arrays


def doubled(n=12, **inputs):
    g = gx.Graph("doubled")
    x = g.input("x", (n,))
    g.output(ops.multiply(x, 2.0, name="y"))
    return g


def test_an_array_can_be_given_twice_freed_and_replaced(rng):
    g = gx.Graph("two")
    a, b = g.input("a", (9,)), g.input("b", (9,))
    g.output(ops.add(a, b * 3.0, name="y"))
    exe = gx.compile(g, threads=1)
    x = rng.standard_normal(9).astype("f")
    np.testing.assert_array_equal(exe(a=x, b=x)["y"], x + x * 3)
    expected = x + x * 3
    del x
    np.testing.assert_array_equal(exe()["y"], expected)
    for k in range(50):
        np.testing.assert_array_equal(exe(a=np.full(9, k, "f"), b=np.ones(9, "f"))["y"], np.full(9, k + 3, "f"))


def test_a_borrowed_input_is_read_again_as_it_is_by_then():
    exe, x = gx.compile(doubled(), threads=1), np.ones(12, "f")
    exe(x=x)
    x[:] = 5
    assert exe()["y"].tolist() == [10] * 12
    assert exe.values()["x"].tolist() == [5] * 12
    exe.values()["x"][:] = 7
    assert x.tolist() == [5] * 12
    x.shape = (3, 4)  # of the caller's own object only
    assert exe()["y"].shape == exe.values()["x"].shape == (12,)


def test_an_own_copy_and_a_borrowed_array_take_turns(rng):
    """A call may copy where the last one borrowed, in any mode."""
    options = {"loss": "loss", "threads": 1, "optimizer": "sgd(lr=0.0)"}
    exe, y = gx.compile(layers(), **options), np.zeros((5, 4), "f")
    for k in range(12):
        x = rng.standard_normal((5, 6)).astype("f")
        given = (x, np.asfortranarray(x))[k % 2]
        (exe, exe.gradients, exe.step)[k % 3](x=given, y=y)
        np.testing.assert_array_equal(exe.values()["x"], x)
        np.testing.assert_allclose(exe()["total"], x.sum(0), rtol=1e-5)
        loss = exe()["loss"]
        assert exe.gradients()[0] == exe.step() == loss


def test_results_belong_to_the_caller(rng):
    exe, given = gx.compile(doubled(), threads=1), [rng.standard_normal(12).astype("f") for _ in range(20)]
    found = [exe(x=x)["y"] for x in given]
    exe.compiled.last.run(3)  # as `graphexec bench` does
    for x, y in zip(given, found, strict=True):
        np.testing.assert_array_equal(y, 2 * x)
        y[:] = 0  # writable, and no later result


@pytest.mark.parametrize("hold", [lambda y: y, lambda y: y[2:4], memoryview, lambda y: y.reshape(3, 4).T, lambda y: y.base,
                                  lambda y: [y[1:]], lambda y: np.frombuffer(y, "f")])  # fmt: skip
def test_memory_is_used_again_only_when_nobody_holds_it(hold):
    exe = gx.compile(doubled(), threads=1)
    held = [hold(exe(x=np.full(12, k, "f"))["y"]) for k in range(5)]
    for k, one in enumerate(held):
        assert set(np.asarray(one).reshape(-1).tolist()) == {2 * k}


def test_memory_that_nobody_holds_is_used_again():
    exe, x = gx.compile(doubled(), threads=1), np.ones(12, "f")
    seen = set()
    for _ in range(50):
        y = exe(x=x)["y"]
        seen.add(y.ctypes.data)
    assert len(seen) == borrowing.MAX_MEMORIES


# -- results that share memory


def test_outputs_that_are_inputs_parameters_or_each_other(rng, monkeypatch):
    g = gx.Graph("aliases")
    x, w = g.input("x", (4, 3)), g.parameter("w", (4, 3), init="normal")
    y = ops.add(x, w, name="y")
    views = ops.reshape(y, shape=(12,)), ops.transpose(y), y[1], ops.reshape(x, shape=(12,)), ops.stop_gradient(y), y * 1.0
    g.output(y, x, w, *views)
    a = rng.standard_normal((4, 3)).astype("f")
    expected = copied(g, monkeypatch, lambda exe: exe(x=a), threads=1)
    exe = gx.compile(g, threads=1)
    found = exe(x=a)
    same(found, expected)
    arrays = [*found.values(), a, exe.parameters["w"]]
    assert not any(np.shares_memory(one, other) for k, one in enumerate(arrays) for other in arrays[:k])
    out = {name: np.zeros_like(array) for name, array in found.items()}
    same(exe(x=a, out=out), expected)
    out = {"x": a, "y": exe.parameters["w"]}  # both are read by the call that writes them
    same(exe(x=a, out=out), expected)
    np.testing.assert_array_equal(exe.parameters["w"], expected["y"])


def test_deltas_and_gradients_that_share_memory_stay_as_they_are(rng, monkeypatch):
    g = gx.Graph("shared")
    x, w = g.input("x", (7,)), g.parameter("w", (7,), init="normal")
    g.output(ops.sum(x * w, name="loss"))
    a = rng.standard_normal(7).astype("f")
    options = {"loss": "loss", "wrt": ["w", "x"], "keep_deltas": True, "threads": 1}
    exe = gx.compile(g, **options)
    _, gradients = exe.gradients(x=a)
    before = a.copy()
    gradients["w"][:] = gradients["x"][:] = 0
    a[:] = 0
    exe.gradients(out={"w": np.empty(7, "f")}, x=np.ones(7, "f"))
    exe.gradients(x=before)
    np.testing.assert_array_equal(exe.deltas["w"], before)
    deltas = exe.deltas
    before[:] = 0
    exe(x=a)
    assert np.abs(deltas["w"]).sum() > 0


def test_a_delta_stays_when_the_gradient_in_its_memory_is_handed_over(rng):
    g = gx.Graph("squares")
    x, w = g.input("x", (7,)), g.parameter("w", (7,), init="normal")
    g.output(ops.sum(ops.square(x * w), name="loss"))
    exe, a = gx.compile(g, loss="loss", wrt=["w"], keep_deltas=True, threads=1), rng.standard_normal(7).astype("f")
    gradient = exe.gradients(x=a)[1]["w"]
    expected = gradient.copy()
    gradient[:] = 0
    np.testing.assert_allclose(expected, 2 * a * a * exe.parameters["w"], rtol=1e-5)
    np.testing.assert_array_equal(exe.deltas["w"], expected)


def test_a_run_after_an_interrupt_does_not_write_to_the_callers_array():
    exe, target = gx.compile(doubled(), threads=1), np.zeros(12, "f")
    exe(x=np.ones(12, "f"))
    runner = exe.compiled.last
    runner.write_to({"y": target})
    runner.enter(1)  # and before the results are read, Ctrl-C
    runner.forget_targets()
    target[:] = 7
    runner.run(1)
    assert target.tolist() == [7] * 12


def test_an_update_does_not_change_an_input_that_is_its_parameter(rng, monkeypatch):
    """`step` reads x after it has begun to write w; the caller gives w as x."""
    options = {"loss": "loss", "optimizer": "sgd(lr=0.5)", "threads": 1}
    g = gx.Graph("self")
    x, w = g.input("x", (8, 8)), g.parameter("w", (8, 8), init="normal")
    g.output(ops.sum(ops.square(x @ w), name="loss"))

    def calls(exe):
        return [exe.step(x=exe.parameters["w"]) for _ in range(3)], exe.parameters["w"].copy(), exe

    losses, end, _ = copied(g, monkeypatch, calls, **options)
    losses2, end2, exe = calls(gx.compile(g, **options))
    assert (losses2, end2.tobytes()) == (losses, end.tobytes())
    assert not is_borrowed(exe, "x", exe.parameters["w"])


@pytest.mark.parametrize("uses", [1, MAX_SINGLE_WORDS + 5])
def test_all_views_of_an_input_move(uses, rng):
    g = gx.Graph("views")
    x = g.input("x", (uses + 2, 5))
    g.output(*(ops.sum(x[k : k + 2], name=f"s{k}") for k in range(uses)))
    exe = gx.compile(g, threads=1, optimize=False)
    for _ in range(3):
        a = rng.integers(0, 9, (uses + 2, 5)).astype("f")
        assert [float(v) for v in exe(x=a).values()] == [a[k : k + 2].sum() for k in range(uses)]


def test_a_number_may_be_an_element_of_an_input():
    g = gx.Graph("element")
    x = g.input("x", (5,))
    g.output(ops.reshape(x[3:4], shape=(), name="loss"))
    exe = gx.compile(g, loss="loss", wrt=["x"], threads=1)
    for k in range(3):
        loss, found = exe.gradients(x=np.arange(5, dtype="f") + k)
        assert loss == 3 + k
        assert found["x"].tolist() == [0, 0, 0, 1, 0]


# -- failures, threads, fit


def test_a_kernel_that_fails_is_explained_by_the_callers_operands():
    g = gx.Graph("rows")
    table, which = g.input("table", (4, 2)), g.input("which", (3,), "int64")
    g.output(ops.gather(table, which, name="found"))
    exe, x = gx.compile(g, threads=1), np.arange(8, dtype="f").reshape(4, 2)
    out = {"found": np.zeros((3, 2), "f")}
    with pytest.raises(KernelError, match=r"which\[1\] = 9"):
        exe(table=x, which=np.array([0, 9, 1]), out=out)
    out["found"][:] = 7
    found = exe(table=x, which=np.array([0, 3, 1]))["found"]
    assert out["found"].tolist() == [[7, 7]] * 3  # the call that failed is over
    np.testing.assert_array_equal(found, x[[0, 3, 1]])
    with pytest.raises(gx.DataError, match="which"):
        exe(table=x, which=np.zeros(4, "int64"), out=out)
    exe(table=x, which=np.array([0, 3, 1]))
    assert out["found"].tolist() == [[7, 7]] * 3


@pytest.mark.parametrize("workers", [1, 2])
def test_threads_that_share_an_executable_get_their_own(workers):
    exe = gx.compile(doubled(40_000), threads=workers)
    failures = []

    def work(number):
        try:
            out = {"y": np.zeros(40_000, "f")}
            for k in range(60):
                x = np.full(80_000, number * 100 + k, "f")[:: 2 if number % 2 else 1][:40_000]  # half of them are copied
                found = exe(x=x, out=out) if k % 2 else exe(x=x)
                again = exe()
                assert (found["y"] == 2 * x).all()
                assert (again["y"] == 2 * x).all()
                assert (exe.values()["x"] == x).all()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


def test_fit_leaves_inputs_and_results_alone(rng):
    exe = gx.compile(layers(), loss="loss", optimizer="sgd(lr=0.1)", threads=1)
    x, y = rng.standard_normal((8, 6)).astype("f"), rng.standard_normal((8, 4)).astype("f")
    found = exe(x=x, y=y)
    before = {name: array.copy() for name, array in {**found, "x": x, "y": y}.items()}
    exe.fit({"x": x, "y": y}, epochs=3, batch_size=3, progress=False)
    exe.evaluate({"x": x, "y": y})
    for name, array in {**found, "x": x, "y": y}.items():
        np.testing.assert_array_equal(array, before[name])
    assert exe()["total"].tobytes() == before["total"].tobytes()


@pytest.mark.parametrize(
    ("bytes_", "touched"),
    [((0, 10), False), ((0, 11), True), ((20, 5), False), ((19, 1), True), ((12, 2), True), ((29, 2), True), ((45, 3), False),
     ((0, 99), True), ((35, 1), True)],
)  # fmt: skip
def test_ranges(bytes_, touched):
    assert Ranges([(30, 40), (10, 20), (35, 38)]).touch(*bytes_) is touched
    assert Ranges([]).touch(*bytes_) is False
