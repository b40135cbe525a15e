"""Debug mode: it finds what array kernels do to memory, changes no result of a right graph, and shares no code with other runs."""

from itertools import islice

import numba
import numpy as np
import pytest
from click.testing import CliRunner
from helpers.run import registered

import graphexec as gx
from graphexec.cli.commands import cli
from graphexec.codegen import kernels
from graphexec.eager import compute, compute_checked
from graphexec.gradcheck import draw_operands
from graphexec.ir.examples import example_calls
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.registry import registry
from graphexec.plugin import array_at, kernel, ops

KEEP = {"reference": lambda x: x, "differentiable": False}


@numba.njit
def far_by_numba(x, k):
    return x[k + 1]  # line: by_numba


def far_by_hand(x, k):
    return x[k + 1]  # line: by_helper


@kernel("(n)->(n)", **KEEP)
def reads_past(x, out):
    for k in range(x.size):
        out[k] = x[k + 1]  # line: reads_past


@kernel("(n)->(n)", **KEEP)
def writes_past(x, out):
    for k in range(x.size):
        out[k] = x[k]
    out[x.size] = 1.0  # line: writes_past


@kernel("(n)->(n)", **KEEP)
def by_numba(x, out):
    for k in range(x.size):
        out[k] = far_by_numba(x, k)


@kernel("(n)->(n)", **KEEP)
def by_helper(x, out):
    for k in range(x.size):
        out[k] = far_by_hand(x, k)


@kernel(shape=lambda x: x.shape, scratch=64, parallel=True, **KEEP)
def past_scratch(x, out, scratch, piece, pieces):
    held = array_at(scratch, 2, x)
    for k in range(x.shape[0] * piece // pieces, x.shape[0] * (piece + 1) // pieces):
        held[k] = 1.0  # line: past_scratch
        out[k] = x[k]


@kernel(shape=lambda *parts: parts[0].shape, reference=lambda *parts: parts[0], differentiable=False)
def past_of_many(*parts):
    parts[-1][...] = parts[0]
    parts[-1][0, 3] = 0.0  # line: past_of_many


@kernel("(n)->(n)", **KEEP)
def leaves_the_last(x, out):
    for k in range(x.size - 1):
        out[k] = x[k]


@kernel("(n)->(n)", **KEEP)
def adds_to_nothing(x, out):
    for k in range(x.size):
        out[k] += x[k]


@kernel("(n)->(n)", scratch=64, **KEEP)
def reads_scratch(x, out, scratch):
    held = array_at(scratch, 2, x)
    for k in range(x.size):
        out[k] = x[k] + held[0]


@kernel("(n)->(n)", **KEEP)
def changes_its_operand(x, out):
    for k in range(x.size):
        out[k] = x[k]
        x[k] = 0.0


PAST = [reads_past, writes_past, by_numba, by_helper, past_scratch, past_of_many]
FAULTS = dict.fromkeys(PAST, "index 3 is out of bounds for axis 0 with size 3") | {
    past_scratch: "index 2 is out of bounds for axis 0 with size 2",
    past_of_many: "index 3 is out of bounds for axis 1 with size 3",
    leaves_the_last: "leaves 4 of the 12 elements of 'out' unwritten", adds_to_nothing: "reads memory that it has not written",
    reads_scratch: "reads memory that it has not written", changes_its_operand: "changes its operand 'x'",
}  # fmt: skip
X = np.arange(12.0).reshape(4, 3)


def line_of(name):
    """The file and line of this file that carries a mark."""
    with open(__file__, encoding="utf-8") as file:
        return f"{__file__}:{1 + next(k for k, text in enumerate(file) if text.rstrip().endswith(f'# line: {name}'))}"


def check(error, op, node):
    assert FAULTS[op] in error.what
    assert (error.node, error.op) == (node, op.op.name)
    if op in PAST:
        assert type(error.__cause__) is IndexError
        assert any(fact.startswith(f"{line_of(op.op.name)}: ") for fact in error.facts), error.facts
    else:
        assert any(fact.startswith(f"{__file__}:") for fact in error.facts), error.facts
    assert any("(4, 3)" in fact for fact in error.facts), error.facts


@pytest.mark.parametrize("op", FAULTS, ids=lambda op: op.op.name)
def test_faults_of_an_op_on_arrays(op):
    with pytest.raises(gx.KernelError) as caught:
        compute_checked(op.op, [X])
    check(caught.value, op, op.op.name)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("op", FAULTS, ids=lambda op: op.op.name)
def test_faults_of_a_node(op, threads):
    with registered(op):
        g = gx.Graph("g")
        x = g.input("x", ("rows", 3), "float64")
        g.output(ops.sum(op(ops.exp(x), name="node") * 2.0, name="s"))
        exe = gx.compile(g, threads=threads, debug=True)
        for _ in range(2):
            with pytest.raises(gx.KernelError) as caught:
                exe(x=X)
            check(caught.value, op, "node")


def test_a_function_of_numba_that_was_compiled_before_checks_its_indices():
    far_by_numba(X[0], 0)
    with pytest.raises(gx.KernelError, match="out of bounds"):
        compute_checked(by_numba.op, [X])


def test_constants_are_folded_with_checks():
    with registered(reads_past):
        g = gx.Graph("g")
        g.output(ops.sum(reads_past(g.constant(X)), name="s"), g.input("x", ()))
        with pytest.raises(gx.KernelError, match="out of bounds"):
            gx.compile(g, debug=True)(x=1.0)


@kernel("(n)->(n)", reference=lambda x: x)
def backward_leaves(x, out):
    for k in range(x.size):
        out[k] = x[k]


@backward_leaves.backward
def _(d_out, x, d_x):
    for k in range(x.size):
        if x[k] < 100.0:
            d_x[k] = d_out[k]


def training():
    g = gx.Graph("g")
    x = g.input("x", ("n", 3), "float64")
    first, second = (g.parameter(n, (3,), "float64", value=np.ones(3)) for n in ("first", "second"))
    g.output(ops.sum(backward_leaves(x * first, name="middle") * second, name="loss"))
    return g


@pytest.mark.parametrize("how", ["gradients", "step", "fit"])
def test_faults_of_a_backward_kernel_leave_the_state(how, tmp_path):
    large = np.where(np.arange(12).reshape(4, 3) == 7, 1000.0, X)
    with registered(backward_leaves):
        exe = gx.compile(training(), loss="loss", optimizer=gx.Adam(lr=0.1), debug=True)
        exe.step(x=X)
        before = {n: a.copy() for n, a in exe.state().items()}
        calls = {
            "gradients": lambda: exe.gradients(x=large), "step": lambda: exe.step(x=large),
            "fit": lambda: exe.fit({"x": large}, epochs=2, batch_size=2, shuffle=False, progress=False),
        }  # fmt: skip
        with pytest.raises(gx.KernelError, match=r"leaves 1 of the .* elements of 'd_x' unwritten") as caught:
            calls[how]()
        assert (caught.value.node, caught.value.op) == ("middle", "backward_leaves")
        assert caught.value.what.startswith("its backward kernel")
        if how == "fit":
            assert "epoch 1, batch 2 of 2" in str(caught.value)
            before = {n: a for n, a in exe.state().items() if n not in before}
        assert all(np.array_equal(a, before[n]) for n, a in exe.state().items() if n in before)


# -- right graphs


def bits(values):
    return [(name, np.asarray(a).tobytes()) for name, a in sorted(values.items())]


def network():
    """Convolution, pooling, normalisation, softmax, gather: array kernels forward and back."""
    g = gx.Graph("net")
    x, label = g.input("x", ("n", 1, 6, 6)), g.input("label", ("n",), "int64")
    w, b = g.parameter("w", (3, 1, 3, 3), init="he_normal"), g.parameter("b", (3,))
    v = g.parameter("v", (4, 12), init="glorot_uniform")
    h = ops.max_pool(ops.relu(ops.conv(x, w, b, padding=1)), kernel=3)
    scores = ops.linear(ops.reshape(h, shape=("n", 12)), v, name="scores")
    g.output(scores, ops.softmax_cross_entropy(scores, label, name="loss"))
    return g


@pytest.mark.exhaustive
def test_a_right_graph_gives_the_same_bits():
    rng = np.random.default_rng(0)
    data = {"x": rng.standard_normal((10, 1, 6, 6)).astype("f"), "label": rng.integers(0, 4, 10)}
    plain, looked_at = (gx.compile(network(), loss="loss", optimizer=gx.Adam(lr=0.01), seed=1, debug=d) for d in (False, True))
    for _ in range(2):
        assert bits(looked_at(data)) == bits(plain(data))
        (loss, gradients), (expected, others) = looked_at.gradients(data), plain.gradients(data)
        assert loss == expected
        assert bits(gradients) == bits(others)
        assert looked_at.step(data) == plain.step(data)
        histories = [e.fit(data, epochs=2, batch_size=4, progress=False) for e in (looked_at, plain)]
        assert [h["loss"] for h in histories[0]] == [h["loss"] for h in histories[1]]
        assert looked_at.evaluate(data, batch_size=4) == plain.evaluate(data, batch_size=4)
        assert bits(looked_at.state()) == bits(plain.state())


BUILT_IN = [op for op in map(registry.get, registry.names()) if isinstance(op, KernelOp) and not op.internal]


@pytest.mark.exhaustive
@pytest.mark.parametrize("op", BUILT_IN, ids=lambda op: op.name)
def test_built_in_kernels_do_nothing_wrong(op):
    rng = np.random.default_rng(0)
    made = list(islice(example_calls(op, rng, "float32"), 3))
    for operands, attributes in made or [(draw_operands(op, rng, dtype="float32"), {})]:
        given = [None if a is None else np.asarray(a) for a in operands]
        attributes = op.check_attributes(attributes)
        expected, found = compute(op, given, attributes), compute_checked(op, given, attributes)
        pairs = zip(*([e] if isinstance(e, np.ndarray) else e for e in (expected, found)), strict=True)
        assert all(a.tobytes() == b.tobytes() for a, b in pairs)


# -- what is shared


def test_code_with_checks_is_code_of_its_own():
    @kernel("(n)->(n)", **KEEP)
    def both_ways(x, out):
        for k in range(x.size):
            out[k] = x[(k + 1) % x.size]

    before = set(kernels.loaded.values())
    expected = both_ways(X)
    assert np.array_equal(compute_checked(both_ways.op, [X]), expected)
    assert np.array_equal(both_ways(X), expected)
    names = {k.name for k in set(kernels.loaded.values()) - before if k.name.startswith("both_ways")}
    assert len(names) == 2


def test_numba_keeps_its_setting():
    before = numba.config.BOUNDSCHECK

    @kernel("(n)->(n)", **KEEP)
    def does_not_compile(x, out):
        out[0] = nothing(x)  # noqa: F821

    with pytest.raises(gx.PluginError, match="'nothing' is not defined"):
        compute_checked(does_not_compile.op, [X])
    assert numba.config.BOUNDSCHECK == before


PLUGIN = """
from graphexec.plugin import kernel

@kernel("(n)->(n)", reference=lambda x: x)
def shifted(x, out):
    for k in range(x.size):
        out[k] = x[k + 1]

@shifted.backward
def _(d_out, d_x):
    for k in range(d_x.size):
        d_x[k] = d_out[k]
"""
NET = """
graphexec: 1
inputs: {x: "float32[batch, 3]"}
parameters: {w: {type: "float32[3]", init: ones}}
nodes: {scaled: "multiply(x, w)", moved: shifted(scaled), loss: mean(moved)}
outputs: [loss]
train: {loss: loss, optimizer: sgd, data: {file: data.npz, inputs: {x: x}}, epochs: 1, batch_size: 4}
"""


@pytest.mark.parametrize("command", ["run", "grad", "train"])
def test_the_command_line(command, tmp_path, registry_kept):
    (tmp_path / "p.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "net.yaml").write_text(NET, encoding="utf-8")
    np.savez(tmp_path / "data.npz", x=np.ones((8, 3), "f"))
    found = CliRunner().invoke(cli, [command, str(tmp_path / "net.yaml"), "--plugin", str(tmp_path / "p.py"), "--debug"])
    assert found.exit_code == 1
    assert "Traceback" in found.stderr
    assert "node 'moved' (op 'shifted'" in found.stderr
    assert "raised IndexError: index 3 is out of bounds for axis 0 with size 3" in found.stderr
    assert f"{tmp_path / 'p.py'}:7: out[k] = x[k + 1]" in found.stderr
