"""A metric is the value of the graph on the whole set, whatever it is made of and whatever the batches are."""

import numpy as np
import pytest
from helpers.run import examples_of

import graphexec as gx
from graphexec.errors import DataError
from graphexec.gradcheck import draw_operands
from graphexec.ir.op import array_spec
from graphexec.ir.registry import registry
from graphexec.training import evaluation
from graphexec.training.batches import Batches
from graphexec.training.row_analysis import RowAnalysis

o = gx.ops
ROWS = 103
RNG = np.random.default_rng(3)
X = RNG.standard_normal((ROWS, 4))
Y = (X.sum(axis=1, keepdims=True) + 0.3 * RNG.standard_normal((ROWS, 1)) > 0).astype(float)
DATA = {"x": X, "y": Y}


def f1(z, y):
    hit = o.cast(o.greater(z, 0.0), dtype="float64")
    both = o.sum(hit * y)
    return 2.0 * both / (o.sum(hit) + o.sum(y))


METRICS = {  # name: (expression of scores z, targets y and parameter w; whether it can be computed batch by batch)
    "mse": (lambda z, y, w: o.mse(z, y), True),
    "rmse": (lambda z, y, w: o.sqrt(o.mean(o.square(z - y))), True),
    "r2": (lambda z, y, w: 1.0 - o.sum(o.square(z - y)) / o.sum(o.square(y - o.mean(y))), True),
    "f1": (lambda z, y, w: f1(z, y), True),
    "sum": (lambda z, y, w: o.half_squared_error(z, y), True),
    "largest": (lambda z, y, w: o.max(o.abs(z - y)), True),
    "spread": (lambda z, y, w: o.max(z) - o.min(z), True),
    "variance": (lambda z, y, w: o.variance(z), True),
    "skewness": (lambda z, y, w: o.mean((z - o.mean(z)) ** 3) / o.sqrt(o.variance(z)) ** 3, True),
    "correlation": (lambda z, y, w: o.sum((z - o.mean(z)) * (y - o.mean(y))) / o.sqrt(o.variance(z) * o.variance(y)), True),
    "logsumexp": (lambda z, y, w: o.logsumexp(z), True),
    "regularized": (lambda z, y, w: o.mean(o.square(z - y)) + 0.1 * o.sum(o.square(w)), True),
    "only weights": (lambda z, y, w: o.sum(o.square(w)), True),
    "accuracy": (lambda z, y, w: o.accuracy(o.sigmoid(z), y), True),
    "macro": (lambda z, y, w: o.mean(o.sum(z * y, axis=0) / (1.0 + o.sum(o.square(y), axis=0))), True),
    "counted": (lambda z, y, w: o.cast(o.sum(o.cast(o.greater(z, 0.0), dtype="int64")), dtype="float64"), True),
    "transposed": (lambda z, y, w: o.sqrt(o.mean(o.square(o.transpose(z) - o.transpose(y)))), True),
    "rows": (lambda z, y, w: o.sum(z) / o.size(z, axis=0), True),
    "softmax of rows": (lambda z, y, w: o.sum(o.square(o.softmax(z, axis=0))), False),
    "product": (lambda z, y, w: o.sum(o.square(o.matmul(o.transpose(z), y))), False),
    "first row": (lambda z, y, w: o.sum(z[0]), False),
}
VALUES = {name: f"value of {name}" for name in METRICS}


def executable(metrics, dtype="float64"):
    g = gx.Graph("metrics")
    x, y = g.input("x", ("batch", 4), dtype=dtype), g.input("y", ("batch", 1), dtype=dtype)
    w = g.parameter("w", (4, 1), dtype=dtype, value=np.array([[0.5], [1.0], [-0.25], [2.0]], dtype))
    z = o.matmul(x, w, name="z")
    g.output(*(o.copy(METRICS[m][0](z, y, w), name=VALUES[m]) for m in metrics))
    return gx.compile(g)


@pytest.mark.parametrize("batch_size", [None, 7, 50, ROWS, 1000])
def test_a_metric_is_its_value_on_all_rows(batch_size):
    exe = executable(METRICS)
    expected = exe(**DATA)
    found = exe.evaluate(DATA, VALUES, batch_size=batch_size)
    expected = {name: float(expected[v]) for name, v in VALUES.items()}
    assert found.pop("accuracy") == pytest.approx(expected.pop("accuracy"), rel=1e-7)  # float32
    assert found == pytest.approx(expected, rel=1e-12)


def test_one_row_at_a_time():
    names = ["rmse", "r2", "f1", "accuracy"]
    exe = executable(names)
    expected = {n: float(v) for n, v in exe(**DATA).items()}
    assert exe.evaluate(DATA, list(expected), batch_size=1) == pytest.approx(expected, rel=1e-7)


def test_figures_of_scikit_learn():
    """r2_score, root_mean_squared_error and f1_score of these numbers."""
    z = X @ [[0.5], [1.0], [-0.25], [2.0]]
    found = executable(["rmse", "r2", "f1"]).evaluate(DATA, {n: VALUES[n] for n in ("rmse", "r2", "f1")}, batch_size=10)
    hit = (z > 0) * 1.0
    precision, recall = (hit * Y).sum() / hit.sum(), (hit * Y).sum() / Y.sum()
    assert found["rmse"] == pytest.approx(np.sqrt(((z - Y) ** 2).mean()))
    assert found["r2"] == pytest.approx(1 - ((z - Y) ** 2).sum() / ((Y - Y.mean()) ** 2).sum())
    assert found["f1"] == pytest.approx(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("name", METRICS)
def test_what_needs_all_rows_at_once_says_so_when_they_do_not_fit(name, monkeypatch):
    """With next to no memory the others are still computed."""
    monkeypatch.setattr(evaluation, "free_memory", lambda: 1)
    exe = executable([name])
    if METRICS[name][1]:
        exe.evaluate(DATA, {name: VALUES[name]}, batch_size=10)
    else:
        with pytest.raises(DataError, match=f"{name!r} cannot be computed batch by batch, and not from all {ROWS} rows at once"):
            exe.evaluate(DATA, {name: VALUES[name]}, batch_size=10)


def test_means_of_a_network_with_convolutions_are_streamed(monkeypatch):
    monkeypatch.setattr(evaluation, "free_memory", lambda: 1)
    g = gx.Graph("cnn")
    x, label = g.input("x", ("n", 1, 8, 8)), g.input("label", ("n",), dtype="int64")
    z = o.max_pool(o.relu(o.conv(x, g.parameter("w", (2, 1, 3, 3), init="normal(std=1.0)"))), kernel=2)
    z = o.average_pool(z, kernel=3)
    scores = o.linear(o.flatten(z), g.parameter("v", (3, 2), init="normal(std=1.0)"))
    g.output(o.softmax_cross_entropy(scores, label, name="loss"), o.accuracy(scores, label, name="accuracy"))
    exe = gx.compile(g, loss="loss")
    data = {"x": RNG.standard_normal((29, 1, 8, 8)).astype("f"), "label": np.arange(29) % 3}
    found, expected = exe.evaluate(data, ["accuracy"], batch_size=4), exe(**data)
    assert found == pytest.approx({n: float(v) for n, v in expected.items()}, rel=1e-5)


def test_totals_are_kept_in_float64():
    """A float32 total of so many batches would be off in its third digit."""
    g = gx.Graph("sum")
    g.output(o.sum(g.input("x", ("n",)), name="total"))
    exe = gx.compile(g)
    x = np.full(300_000, 0.1, "float32")
    x[0] = 2.0**24
    assert exe.evaluate({"x": x}, ["total"], batch_size=3)["total"] == pytest.approx(float(x.sum(dtype="float64")), rel=1e-7)


def test_a_loss_that_is_a_sum_and_metrics_of_other_names():
    exe = gx.compile(executable(["sum", "rmse"]).graph, loss=VALUES["sum"], optimizer=gx.SGD(lr=0.0))
    found = exe.evaluate(DATA, {"error": VALUES["rmse"]}, batch_size=10)
    assert list(found) == ["loss", "error"]
    assert found["loss"] == pytest.approx(float(exe(**DATA)[VALUES["sum"]]))
    history = exe.fit(DATA, epochs=1, batch_size=10, validation=DATA, metrics={"error": VALUES["rmse"]}, progress=False)
    assert history[0]["held_out"] == pytest.approx(found)
    with pytest.raises(DataError, match="a metric called 'loss' shows 'value of rmse'"):
        exe.evaluate(DATA, {"loss": VALUES["rmse"]})


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, "8"])
def test_a_batch_size_that_is_none(batch_size):
    with pytest.raises(DataError, match="is not a whole number from 1"):
        executable(["mse"]).evaluate(DATA, [VALUES["mse"]], batch_size=batch_size)


def test_no_rows():
    with pytest.raises(DataError, match="the data is empty"):
        executable(["mse"]).evaluate({"x": X[:0], "y": Y[:0]}, [VALUES["mse"]])


# -- what the analysis takes for independent rows is independent


def rowwise_ops():
    return [registry.get(n) for n in registry.names() if getattr(registry.get(n), "rows", None)]


def test_ops_that_declare_rows_are_known():
    known = {"argmax_along", "class_labels", "concat", "correlate", "gather", "max_windows", "pad"}
    assert {op.name for op in rowwise_ops()} >= known


@pytest.mark.parametrize(
    ("what", "streamed"),
    [
        (lambda x: o.sum(o.argmax(x, axis=1)), True), (lambda x: o.sum(o.argmax(x, axis=0)), False),
        (lambda x: o.sum(o.concat(x, x * 2.0, axis=1)), True), (lambda x: o.sum(o.concat(x, x * 2.0, axis=0)), False),
        (lambda x: o.sum(o.softmax(x, axis=-1)), True), (lambda x: o.sum(o.softmax(x, axis=0)), False),
        (lambda x: o.sum(o.softmax(o.transpose(x), axis=0)), True), (lambda x: o.sum(o.softmax(o.transpose(x), axis=1)), False),
        (lambda x: o.sum(o.transpose(x)[1]), True), (lambda x: o.sum(x[1]), False), (lambda x: o.sum(x[:, 1:3]), True),
        (lambda x: o.sum(o.reshape(x, shape=("batch", 2, 2))[:, 1]), True),
        (lambda x: o.sum(o.reshape(x, shape=(4, -1))[0]), False),
        (lambda x: o.sum(o.reshape(x, shape=(-1,))), False), (lambda x: o.sum(o.flatten(x)), True),
        (lambda x: o.sum(o.pad(x, padding=(0, 1, 0, 1))), True), (lambda x: o.sum(o.pad(x, padding=(1, 0, 0, 0))), False),
        (lambda x: o.sum(o.square(o.transpose(x) @ x)), False), (lambda x: o.sum(x @ o.transpose(x)), False),
        (lambda x: o.sum(x + o.transpose(x)), None),
    ],
)  # fmt: skip
def test_places(what, streamed):
    g = gx.Graph("places")
    x = g.input("x", ("batch", 4), dtype="float64")
    try:
        g.output(o.copy(what(x), name="value"))
        exe = gx.compile(g)
    except gx.GraphExecError:
        assert streamed is None
        return
    fn = exe.compiled.functions.forward
    place = RowAnalysis(fn, "batch", [fn.value_id("value")]).places[fn.value_id("value")]
    assert (place is not None) == streamed
    whole = float(exe(x=X)["value"])
    assert exe.evaluate({"x": X}, ["value"], batch_size=10)["value"] == pytest.approx(whole, rel=1e-12)


def test_data_of_other_orders_and_parts():
    """Rows of an index are those that a copy would give."""
    from graphexec.training.data import Rows

    exe, index = executable(["r2"]), RNG.permutation(ROWS)[:40]
    part = Rows(DATA, index, frozenset(DATA))
    copy = {"x": X[index], "y": Y[index]}
    assert Batches(exe.compiled, part, 7).rows == 40
    assert exe.evaluate(part, [VALUES["r2"]], batch_size=7) == exe.evaluate(copy, [VALUES["r2"]], batch_size=7)


@pytest.mark.parametrize("op", rowwise_ops(), ids=lambda op: op.name)
def test_rows_that_an_op_declares_do_not_depend_on_one_another(op):
    """Taking rows of its operands in another order takes those rows of its outputs, in every example with two rows or more."""
    tried = 0
    drawn = [Drawn(op)] if op.examples is None or op.name == "pad" else []  # the examples of pad all pad the first axis
    for example in [*examples_of(op), *drawn]:
        arrays = example.make(np.random.default_rng(1), "float64")
        attributes = op.check_attributes(example.attributes)
        names = op.independent_rows([None if a is None else array_spec(a) for a in arrays], attributes)
        slots = [k for k, a in enumerate(arrays) if a is not None and op.input_name(k).partition("[")[0] in names and a.ndim]
        counts = {len(arrays[k]) for k in slots}
        if len(counts) != 1 or counts.pop() < 2:
            continue
        order = np.array([1, 0])
        some = [a[order] if k in slots else a for k, a in enumerate(arrays)]
        outputs, others = op.evaluate(arrays, attributes), op.evaluate(some, attributes)
        if any(a.ndim == 0 or len(a) != len(arrays[slots[0]]) or len(b) != 2 for a, b in zip(outputs, others, strict=True)):
            continue  # the axis of rows is reduced, padded or joined: the analysis sees that its size changes
        tried += 1
        for a, b in zip(outputs, others, strict=True):
            np.testing.assert_array_equal(a[order], b)
    assert tried


class Drawn:
    """Operands drawn from an op's domain, as an example."""

    def __init__(self, op):
        self.op, self.attributes = op, {"padding": (0, 1, 0, 2)} if "padding" in op.attributes else {}

    def make(self, rng, dtype):
        return draw_operands(self.op, rng, dtype=dtype, shapes=[(4, 3)] * len(self.op.inputs))
