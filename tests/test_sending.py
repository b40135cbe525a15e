"""Ops, graphs and executables in other processes of one's own, through Python's pickle protocol, and their copies."""

import copy
import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from helpers import sent_ops

import graphexec as gx
from graphexec import errors
from graphexec.ir.registry import registry

PLUGIN = """\
from graphexec.plugin import composite, elementwise, ops

@elementwise(reference=lambda x: 3 * x, domain=(-1.0, 1.0))
def sent_from_file(x):
    return 3 * x

@composite(domain=(-1.0, 1.0))
def sent_composite(x):
    return ops["sent_from_file"](x) + x
"""


@pytest.fixture(scope="module")
def worker():
    """One spawned process, which inherits nothing."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result(timeout=120)


@pytest.fixture
def plugin(tmp_path, registry_kept):
    path = tmp_path / "sent_plugin.py"
    path.write_text(PLUGIN, encoding="utf-8")
    gx.load_plugin(path)
    return path


def network():
    g = gx.Graph("sent")
    x, y = g.input("x", ("batch", 3)), g.input("y", ("batch", 2))
    w = g.parameter("w", (2, 3), init="glorot_uniform")
    b = g.parameter("b", value=np.array([0.1, -0.0], "float32"))
    z = gx.ops.tanh(gx.ops.linear(x, w, b) + g.constant(np.array([0.5, 0.25], "float32")))
    g.output(z, gx.ops.half_squared_error(z, y, name="loss"))
    return g


def data():
    generator = np.random.default_rng(0)
    return {name: generator.standard_normal((5, n)).astype("float32") for name, n in (("x", 3), ("y", 2))}


def same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name in found:
        assert (found[name].dtype, found[name].tobytes()) == (expected[name].dtype, expected[name].tobytes()), name


# -- ops


def test_every_op_is_found_by_name_again():
    for name in registry.names():
        op = registry.get(name)
        assert pickle.loads(pickle.dumps(op)) is op
        assert copy.copy(op) is op
        assert copy.deepcopy([op])[0] is op


@pytest.mark.parametrize("name", ["tanh", "softmax", "tanh.backward"])
def test_a_built_in_op_is_found_by_name(name, worker):
    operands = [np.linspace(-1, 1, 7)] * len(gx.ops[name].inputs)
    result, back = worker(call, gx.ops[name], operands)
    assert result.tobytes() == gx.ops[name](*operands).tobytes()
    assert back is gx.ops[name]


def call(op, operands):
    return op(*operands), op


def test_the_op_of_a_plugin_file_is_loaded_from_it(plugin, worker):
    x = np.linspace(-1, 1, 7)
    for name in ("sent_from_file", "sent_composite"):
        result, back = worker(sent_ops.applied, gx.ops[name], x)
        assert result.tobytes() == gx.ops[name](x).tobytes()
        assert back is gx.ops[name]


@pytest.mark.parametrize(("change", "message"), [
    (lambda path: path.write_text(PLUGIN + "#", encoding="utf-8"), "has changed since"),
    (lambda path: path.unlink(), "does not exist"),
])  # fmt: skip
def test_a_plugin_file_that_is_another_one_is_refused(change, message, plugin):
    text = pickle.dumps(gx.ops["sent_from_file"])
    change(plugin)
    assert pickle.loads(text) is gx.ops["sent_from_file"]  # here it is loaded already
    for name in ("sent_from_file", "sent_composite"):
        registry.unregister(name)
    with pytest.raises(gx.PluginError, match=message) as caught:
        pickle.loads(text)
    assert str(plugin) in str(caught.value)
    assert "sent_from_file" not in registry


def test_another_op_of_that_name_is_refused(plugin, tmp_path):
    text = pickle.dumps(gx.ops["sent_from_file"])
    for name in ("sent_from_file", "sent_composite"):
        registry.unregister(name)
    other = tmp_path / "other.py"
    other.write_text(PLUGIN, encoding="utf-8")
    gx.load_plugin(other)
    assert pickle.loads(text) is gx.ops["sent_from_file"]  # the same text
    for name in ("sent_from_file", "sent_composite"):
        registry.unregister(name)
    other.write_text(PLUGIN.replace("3 *", "4 *"), encoding="utf-8")
    gx.load_plugin(other)
    with pytest.raises(gx.PluginError, match="not the one that this process knows"):
        pickle.loads(text)


def test_a_registered_op_is_found_in_its_module(registry_kept, worker):
    gx.register(sent_ops.sent)
    x = np.linspace(-1, 1, 7)
    result, back = worker(sent_ops.applied, sent_ops.sent.op, x)
    assert result.tobytes() == sent_ops.sent(x).tobytes()
    assert back is sent_ops.sent.op
    assert copy.deepcopy(sent_ops.sent).op is sent_ops.sent.op


def test_what_another_process_cannot_find_says_so(registry_kept, monkeypatch):
    nested = sent_ops.declared()
    with pytest.raises(gx.PluginError, match=r"not registered.*\n.*gx\.register"):
        pickle.dumps(nested.op)
    gx.register(nested)
    with pytest.raises(gx.PluginError, match="another process could not find it") as caught:
        pickle.dumps(nested)
    assert "gx.load_plugin" in caught.value.todo
    assert copy.deepcopy(nested.op) is nested.op
    names = {"__name__": "__main__"}
    exec("from graphexec.plugin import elementwise\n@elementwise(reference=lambda x: x)\ndef sent_typed(x):\n    return x", names)
    gx.register(names["sent_typed"])
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    with pytest.raises(gx.PluginError, match="declared at a prompt"):
        pickle.dumps(names["sent_typed"])


def test_a_module_without_the_op_says_so(registry_kept, monkeypatch):
    gx.register(sent_ops.sent)
    text = pickle.dumps(sent_ops.sent)
    registry.unregister("sent")
    monkeypatch.delattr(sent_ops, "sent")
    with pytest.raises(gx.PluginError, match="has no op sent"):
        pickle.loads(text)


# -- graphs


def test_a_graph_keeps_everything(plugin, worker):
    g = network()
    g.output(gx.ops["sent_composite"](g["loss"], name="three"))
    g.dag.graph["train"] = {"loss": "loss", "metrics": {"m": "sent_from_file(loss)"}, "seed": 3}
    same_bits(worker(sent_ops.run, g, data()), gx.compile(g)(data()))
    for again in (pickle.loads(pickle.dumps(g)), copy.deepcopy(g), worker(copy.copy, g)):
        assert again.dag is not g.dag
        assert again.dag.graph == g.dag.graph
        assert list(again.dag.edges(keys=True, data=True)) == list(g.dag.edges(keys=True, data=True))
        assert again.dag.nodes["w"]["init"] == "glorot_uniform"
        same_bits(gx.compile(again)(data()), gx.compile(g)(data()))
        again.output(again["loss"] + 1.0)
        assert len(again) == len(g) + 2
    assert copy.copy(g).outputs == g.outputs


def test_the_ops_of_the_train_section_travel(plugin):
    g = network()
    g.dag.graph["train"] = {"metrics": {"m": "sent_from_file(loss)"}}
    text = pickle.dumps(g)
    for name in ("sent_from_file", "sent_composite"):
        registry.unregister(name)
    pickle.loads(text)
    assert "sent_from_file" in registry


# -- executables

OPTIONS = [
    {}, {"loss": "loss"}, {"loss": "loss", "wrt": ["w", "x"], "keep_deltas": True}, {"loss": "loss", "recompute": 2, "threads": 1},
    {"loss": "loss", "optimizer": "adam(lr=0.1)", "seed": 4},
    {"loss": "loss", "optimizer": gx.SGD(momentum=0.9), "optimize": False},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_executable_keeps_its_options_and_state(options, worker):
    exe = gx.compile(network(), **options)
    if exe.optimizer:
        exe.step(data())
    for again in (pickle.loads(pickle.dumps(exe)), copy.copy(exe), copy.deepcopy(exe)):
        assert repr(again) == repr(exe)
        assert (again.seed, again.threads, again.compiled.skip) == (exe.seed, exe.threads, exe.compiled.skip)
        same_bits(again.state(), exe.state())
        same_bits(again(data()), exe(data()))
        if exe.loss:
            (loss, found), (other, expected) = again.gradients(data()), exe.gradients(data())
            assert loss == other
            same_bits(found, expected)
            same_bits(dict(again.deltas), dict(exe.deltas))
        again.parameters["b"][:] = 7
        assert exe.parameters["b"][0] != 7
    if exe.optimizer:
        losses, state = worker(sent_ops.trained, exe, data(), 3)
        assert losses == [exe.step(data()) for _ in range(3)]
        same_bits(state, exe.state())


def test_an_epoch_can_be_sent_and_goes_on(worker):
    kept, exe = [], gx.compile(network(), loss="loss", optimizer=gx.Adam(lr=0.1))
    exe.fit(data(), epochs=3, batch_size=2, on_epoch=lambda entry: kept.append(pickle.dumps(exe)), progress=False)
    again = pickle.loads(kept[0])
    again.fit(data(), epochs=2, batch_size=2, start_epoch=1, progress=False)
    same_bits(again.state(), exe.state())


def test_a_graph_that_has_changed_since_is_refused():
    exe = gx.compile(network(), loss="loss")
    exe.graph.output(exe.graph["loss"] * 2.0)
    with pytest.raises(gx.GraphError, match="has changed since it was compiled"):
        pickle.dumps(exe)


def test_an_op_that_has_been_replaced_is_refused(registry_kept):
    gx.register(sent_ops.declared())
    g = gx.Graph("g")
    g.output(gx.ops["sent_nested"](g.input("x", (3,)), name="y"))
    exe = gx.compile(g)
    gx.register(sent_ops.declared())
    with pytest.raises(gx.GraphError, match="has changed since it was compiled"):
        copy.copy(exe)


def test_what_stays_in_its_process_says_so():
    exe = gx.compile(network(), loss="loss", keep_deltas=True)
    exe.gradients(data())
    for part in (exe.parameters, exe.deltas, exe.compiled):
        for attempt in (pickle.dumps, copy.deepcopy):
            with pytest.raises(gx.GraphExecError, match="cannot be copied or sent to another process") as caught:
                attempt(part)
            assert "Send" in caught.value.todo
    assert pickle.loads(pickle.dumps(dict(exe.parameters))).keys() == exe.parameters.keys()
    with exe.compiled.turns.alone(), pytest.raises(gx.GraphExecError, match="in the middle of a call"):
        pickle.dumps(exe)


# -- errors


def kinds(base=errors.GraphExecError):
    return [base, *(k for child in base.__subclasses__() for k in kinds(child))]


@pytest.mark.parametrize("kind", kinds(), ids=lambda k: k.__name__)
def test_every_error_arrives(kind, worker):
    more = {"epoch": 2, "batch": 3} if issubclass(kind, errors.DivergenceError) else {}
    more |= {} if more else {"todo": "Do it."}
    error = kind("what broke", facts=["a fact"], node="n", op="tanh", source="f.py:3", **more)
    with pytest.raises(kind) as caught:
        worker(sent_ops.raised, error)
    assert type(caught.value) is kind
    assert str(caught.value) == str(error)
    assert {k: getattr(caught.value, k) for k in more} == more
