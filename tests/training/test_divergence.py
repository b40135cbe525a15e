"""Training that diverges stops, says where, and leaves the last finite state."""

import numpy as np
import pytest

import graphexec as gx

o = gx.ops
OPTIMIZERS = ["sgd(lr={})", "momentum(lr={})", "adam(lr={})", "adamw(lr={})"]


def graph(loss=o.mse):
    g = gx.Graph("line")
    x, y = g.input("x", ("n", 3)), g.input("y", ("n", 1))
    w = g.parameter("w", (3, 1), init="normal(std=1.0)")
    g.output(loss(o.matmul(x, w), y, name="loss"))
    return g


def data(rows=40, seed=0):
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((rows, 3)).astype("f"), "y": rng.standard_normal((rows, 1)).astype("f")}


def fit(exe, arrays, epochs=50, **options):
    seen = []
    with pytest.raises(gx.DivergenceError) as caught:
        exe.fit(arrays, epochs=epochs, batch_size=8, progress=False, on_epoch=seen.append, **options)
    return caught.value, seen


def test_a_step_that_is_too_long():
    """The state is that after the last epoch reported, bit for bit, and every number of it is finite."""
    exe = gx.compile(graph(), loss="loss", optimizer="momentum(lr=2.0)")
    error, seen = fit(exe, data())
    assert error.epoch == len(seen) + 1 > 1
    assert f"epoch {error.epoch}, batch {error.batch} of 5" in str(error)
    assert f"as after epoch {len(seen)}, the last finite state kept" in str(error)
    again = gx.compile(graph(), loss="loss", optimizer="momentum(lr=2.0)")
    again.fit(data(), epochs=len(seen), batch_size=8, progress=False)
    for name, array in exe.state().items():
        assert np.isfinite(array).all()
        assert array.tobytes() == again.state()[name].tobytes(), name


def test_without_a_look_at_each_epoch_an_earlier_state_is_kept():
    """13 epochs of 5 steps are the first ones of 64 steps or more."""
    exe = gx.compile(graph(), loss="loss", optimizer="momentum(lr=1.0)")
    with pytest.raises(gx.DivergenceError) as caught:
        exe.fit(data(), epochs=500, batch_size=8, progress=False)
    kept = (caught.value.epoch - 1) // 13 * 13
    assert (f"as after epoch {kept}, the last" if kept else "as before training") in str(caught.value)
    again = gx.compile(graph(), loss="loss", optimizer="momentum(lr=1.0)")
    again.fit(data(), epochs=kept, batch_size=8, progress=False)
    for name, array in exe.state().items():
        assert np.isfinite(array).all()
        assert not kept or array.tobytes() == again.state()[name].tobytes(), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_row_that_is_not_finite_is_named(optimizer, shuffle):
    arrays = data()
    arrays["x"][19, 1] = np.nan
    exe = gx.compile(graph(), loss="loss", optimizer=optimizer.format(0.01))
    before = {n: a.copy() for n, a in exe.state().items()}
    error, seen = fit(exe, arrays, shuffle=shuffle)
    assert seen == []
    assert "input 'x' holds nan in row 19, at (1,)" in str(error)
    assert "as before training" in str(error)
    assert shuffle or error.batch == 3
    for name, array in before.items():
        np.testing.assert_array_equal(exe.parameters[name], array)


def test_a_last_step_that_overflows_is_no_success():
    """Every loss is finite, and the parameters that the last step leaves are not."""
    g = gx.Graph("steep")
    x, w = g.input("x", ("n",)), g.parameter("w", (1,), init="ones")
    g.output(o.mean(o.sqrt(x * w), name="loss"))
    exe = gx.compile(g, loss="loss", optimizer="sgd(lr=1e38)")
    x = np.full(4, 1e4, "f")
    with pytest.raises(gx.DivergenceError, match="'w' holds NaN or infinity after the epoch") as caught:
        exe.fit({"x": x}, epochs=1, progress=False)
    assert (caught.value.epoch, caught.value.batch) == (1, 1)
    assert exe.parameters["w"] == 1


def test_an_infinite_mask_is_no_divergence():
    g = gx.Graph("masked")
    x = g.input("x", ("n", 3))
    mask = g.parameter("mask", (3,), value=np.array([0, -np.inf, 0], "f"), trainable=False)
    w = g.parameter("w", (3,), init="ones")
    g.output(o.mean(o.square(o.softmax(x * w + mask)[:, 0]), name="loss"))
    exe = gx.compile(g, loss="loss", optimizer="sgd(lr=0.1)")
    assert len(exe.fit({"x": data()["x"]}, epochs=2, batch_size=8, progress=False)) == 2


def test_training_after_divergence():
    exe = gx.compile(graph(), loss="loss", optimizer="sgd(lr=0.1)")
    arrays = data()
    arrays["y"][3] = np.inf
    fit(exe, arrays)
    exe.fit(data(), epochs=1, progress=False)


@pytest.mark.parametrize("epochs", [-1, 1.5, True, "3", None])
def test_epochs_that_are_no_number_of_epochs(epochs):
    exe = gx.compile(graph(), loss="loss", optimizer="sgd(lr=0.1)")
    with pytest.raises(gx.DataError, match="is not a whole number from 0"):
        exe.fit(data(), epochs=epochs, progress=False)


def test_no_rows():
    exe = gx.compile(graph(), loss="loss", optimizer="sgd(lr=0.1)")
    with pytest.raises(gx.DataError, match="the data is empty"):
        exe.fit(data(0), progress=False)
