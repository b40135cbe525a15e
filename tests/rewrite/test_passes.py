"""Passes by name: which are there, and that leaving them out reaches every program of an executable."""

import numpy as np
import pytest

import graphexec as gx
from graphexec import pipeline
from graphexec.rewrite import ALWAYS, OPTIONAL, PASSES, RENAMED, REUSE, optimize, required, skipped

ops = gx.ops


def net():
    g = gx.Graph("net")
    x, y = g.input("x", ("batch", 3), "float64"), g.input("y", ("batch", 2), "float64")
    w, b = g.parameter("w", value=np.arange(6.0).reshape(2, 3) / 10), g.parameter("b", value=np.array([0.5, -0.5]))
    h = ops.tanh(ops.linear(x, w, b))
    g.output(ops.mse(ops.sigmoid(h * 2.0) * ops.sin(h), y, name="loss"))
    return g


DATA = {"x": np.linspace(-1, 1, 33).reshape(11, 3), "y": np.linspace(0, 1, 22).reshape(11, 2)}


@pytest.fixture
def programs(monkeypatch):
    """The programs that are lowered while the test runs."""
    made = []

    def lowered(*arguments):
        made.append(original(*arguments))
        return made[-1]

    original = pipeline.lowered
    monkeypatch.setattr(pipeline, "lowered", lowered)
    return made


def is_plain(program):
    return not any(i.node.op.name == "fused" for i in program.instructions) and program.memory.arena == program.memory.without_reuse


def used(exe):
    """Everything an executable can be asked for; its parameters in the end."""
    exe(**DATA)
    exe.gradients(**DATA)
    exe.step(**DATA)
    exe.fit(DATA, epochs=2, batch_size=4, validation=DATA, progress=False)
    exe.evaluate(DATA, batch_size=4)
    return dict(exe.parameters)


@pytest.mark.parametrize(("options", "plain"), [({}, False), ({"optimize": False}, True)], ids=["optimized", "plain"])
def test_every_program_honours_optimize(programs, options, plain):
    """The forward pass, gradients, a step, and the two batch sizes of fit and of evaluate; and what shuffles the rows."""
    used(gx.compile(net(), loss="loss", optimizer=gx.Adam(lr=0.1), **options))
    assert len(programs) == 10
    assert [is_plain(p) is plain for p in programs if p.fn.name == "net"] == [True] * 9


def test_every_program_honours_skip_passes(programs):
    used(gx.compile(net(), loss="loss", optimizer=gx.SGD(lr=0.1), skip_passes=["fuse", REUSE]))
    assert all(is_plain(p) for p in programs)


def test_training_does_not_depend_on_passes():
    expected = used(gx.compile(net(), loss="loss", optimizer=gx.SGD(lr=0.1)))
    for options in ({"optimize": False}, {"skip_passes": "fuse"}, {"skip_passes": ("cse", "constant_folding")}):
        for name, array in used(gx.compile(net(), loss="loss", optimizer=gx.SGD(lr=0.1), **options)).items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-12, err_msg=f"{name}, {options}")


def test_deltas_are_stored_where_they_are_asked_for():
    arenas = []
    for keep_deltas in (True, False):
        g = gx.Graph("chain")
        z = g.parameter("w", value=np.linspace(-1, 1, 1000))
        for _ in range(4):
            z = ops.tanh(ops.sin(z))
        g.output(ops.sum(z, name="loss"))
        exe = gx.compile(g, loss="loss", keep_deltas=keep_deltas)
        exe.gradients()
        arenas.append(exe.program.memory.arena)
    assert arenas[1] < arenas[0] / 2


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_pass_that_is_left_out_does_not_run(name, monkeypatch):
    ran = []
    for known, run in PASSES.items():
        monkeypatch.setitem(PASSES, known, lambda fn, keep, known=known, run=run: (ran.append(known), run(fn, keep))[1])
    gx.compile(net(), loss="loss", skip_passes=name).gradients(**DATA)
    assert ran == [known for known in PASSES if known != name]


def test_optimize_false_leaves_what_is_required(prepared):
    fn = prepared(net(), batch=2)
    plain, expected = optimize(fn, skip=skipped(False, ())), required(fn)
    assert [(n.name, n.op, n.inputs) for n in plain.nodes] == [(n.name, n.op, n.inputs) for n in expected.nodes]
    assert set(OPTIONAL) == PASSES.keys() - set(ALWAYS) | {REUSE}


@pytest.mark.parametrize(
    ("name", "hint"), [("fused", "did you mean 'fuse'?"), ("merge_nodes", "'merge_nodes'"), ("required", "'required'")]
)
def test_an_unknown_pass_is_refused(name, hint):
    for compiled in (lambda **o: gx.compile(net(), **o), lambda **o: gx.check_gradient(net(), of="loss", **o)):
        for given in (name, ["fuse", name]):
            with pytest.raises(gx.DataError) as caught:
                compiled(skip_passes=given)
            assert hint in str(caught.value)
            assert "The passes are: concat_of_slices, transpose_folding, decompose, constant_folding, " in str(caught.value)


def test_the_error_for_an_old_name_gives_the_new_one():
    assert RENAMED.keys().isdisjoint({*PASSES, REUSE})
    for old, new in RENAMED.items():
        assert new in PASSES
        with pytest.raises(gx.DataError) as caught:
            skipped(True, old)
        always = " and always runs" if new in ALWAYS else ""
        assert caught.value.what == f"there is no pass {old!r} to leave out; it is now called {new!r}{always}"


def test_gradients_are_checked_without_passes():
    assert gx.check_gradient(net(), of="loss", optimize=False).passed
    assert gx.check_gradient("tanh", skip_passes=("fuse", "reuse_memory")).passed
