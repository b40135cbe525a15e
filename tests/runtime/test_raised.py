"""What a kernel raises reaches the caller: type, text, the user's line, the node, the operands; and no state has changed."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

import graphexec as gx
from graphexec.abi import LEAST_STATUS, RAISED
from graphexec.ir.registry import registry
from graphexec.llvm import raised
from graphexec.plugin import kernel
from graphexec.runtime import repeat

LOOKUP = (1.0, 2.0, 4.0)


class Refused(Exception):
    """An exception of the plugin's own."""


def helper(value):
    if value > 100:
        raise ArithmeticError("the helper refuses it")  # line: helper
    return value


def rule(x, *rest, **attributes):
    return x.shape


def _plain(x):
    return x


KEEP = {"reference": _plain, "differentiable": False}


@kernel("(n)->(n)", **KEEP)
def says(x, out):
    for k in range(x.size):
        if x[k] > 100:
            raise ValueError("row sums must be positive")  # line: says
        out[k] = x[k]


@kernel("(n)->(n)", **KEEP)
def says_values(x, out):
    for k in range(x.size):
        if x[k] > 100:
            raise ValueError("too large at", k, x[k])  # line: says_values
        out[k] = x[k]


@kernel("(n)->(n)", **KEEP)
def says_own(x, out):
    out[:] = x
    if x.max() > 100:
        raise Refused("mine")  # line: says_own


@kernel("(n)->(n)", **KEEP)
def says_nothing(x, out):
    out[:] = x
    if x.max() > 100:
        raise RuntimeError  # line: says_nothing


@kernel("(n)->(n)", **KEEP)
def asserts(x, out):
    assert x.max() < 100, "at most 100"  # line: asserts
    out[:] = x


@kernel("(n)->(n)", **KEEP)
def calls(x, out):
    for k in range(x.size):
        out[k] = helper(x[k])


@kernel("(n)->(n)", **KEEP)
def looks_up(x, out):
    for k in range(x.size):
        out[k] = LOOKUP[int(x[k]) // 100 * 3] * 0 + x[k]  # line: looks_up


@kernel("(n)->(n)", **KEEP)
def does_not_fit(x, out):
    out[:] = x[int(x.max()) // 101 :]  # line: does_not_fit


@kernel("(n)->(n)", **KEEP)
def allocates(x, out):
    out[:] = x
    out[0] += 0 * np.empty(1 - int(x.max()) // 101 * 2).size  # line: allocates


@kernel(shape=rule, parallel=True, **KEEP)
def in_pieces(x, out, piece, pieces):
    rows = x.shape[0]
    for k in range(rows * piece // pieces, rows * (piece + 1) // pieces):
        out[k] = x[k]
        if x[k].max() > 100:
            raise ValueError("in a piece")  # line: in_pieces


@kernel(shape=rule, scratch=64, parallel=True, **KEEP)
def with_scratch(x, out, scratch, piece, pieces):
    if piece == 0:
        if x.max() > 100:
            raise ValueError("with scratch")  # line: with_scratch
        out[...] = x


@kernel(shape=lambda *parts: parts[0].shape, reference=lambda *parts: parts[0], differentiable=False)
def of_many(*parts):
    out = parts[-1]
    out[...] = parts[0]
    if parts[0].max() > 100:
        raise ValueError("of many")  # line: of_many


@kernel("(n)->(n)", reference=lambda x, *, axis=-1: x, differentiable=False)
def along(x, out, *, axis=-1):
    out[:] = x
    if x.max() > 100:
        raise ValueError("along an axis")  # line: along


@kernel("(n)->(n)", errors={3: "the third"}, **KEEP)
def both(x, out):
    out[:] = x
    if x.max() > 1000:
        return 3
    if x.max() > 100:
        raise ValueError("beside a status")  # line: both
    return 0


KERNELS = {
    says: (ValueError, "row sums must be positive"), says_values: (ValueError, "too large at"), says_own: (Refused, "mine"),
    says_nothing: (RuntimeError, "RuntimeError"), asserts: (AssertionError, "at most 100"),
    calls: (ArithmeticError, "the helper refuses it"), looks_up: (IndexError, "tuple index out of range"),
    does_not_fit: (ValueError, "into shape"), allocates: (ValueError, "negative dimensions are not allowed"),
    in_pieces: (ValueError, "in a piece"), with_scratch: (ValueError, "with scratch"), of_many: (ValueError, "of many"),
    along: (ValueError, "along an axis"), both: (ValueError, "beside a status"),
}  # fmt: skip

BY_THEMSELVES = (looks_up, does_not_fit, allocates)
"""These have no `raise`, and Numba does not tell the line of its own."""

GOOD, BAD = np.arange(24.0).reshape(2, 4, 3), np.arange(24.0).reshape(2, 4, 3) * 10


def line_of(name):
    """The file and line of this file that carries a mark."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return f"{__file__}:{1 + next(k for k, text in enumerate(lines) if text.endswith(f'# line: {name}'))}"


def check(error, op, kind, text):
    assert type(error.__cause__) is kind
    assert f"raised {kind.__name__}" in error.what
    assert text in error.what
    mark = "helper" if op.name == "calls" else op.name
    assert any(fact.startswith(f"{line_of(mark)}: ") for fact in error.facts), error.facts
    assert any("(2, 4, 3)" in fact for fact in error.facts), error.facts
    assert error.op == op.name


@pytest.fixture(autouse=True)
def _registered(registry_kept):
    for op in (*KERNELS, forward_is_fine, fails_without_saying_so):
        gx.register(op)


@pytest.mark.parametrize("op", KERNELS, ids=lambda op: op.op.name)
def test_of_an_op_on_arrays(op):
    assert np.array_equal(op(GOOD), GOOD)
    with pytest.raises(gx.KernelError) as caught:
        op(BAD)
    check(caught.value, op.op, *KERNELS[op])
    assert np.array_equal(op(GOOD), GOOD)


@pytest.mark.parametrize("limit", [0, repeat.MAX_REPEATED])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("op", KERNELS, ids=lambda op: op.op.name)
def test_of_a_node(op, threads, limit, monkeypatch):
    """Type and place of a `raise` do not depend on a second run in plain Python, which large operands do not get."""
    monkeypatch.setattr(repeat, "MAX_REPEATED", limit)
    g = gx.Graph("g")
    x = g.input("x", ("m", 4, 3), "float64")
    g.output(gx.ops.sum(op(x * 1.0, name="node"), name="s"))
    exe = gx.compile(g, threads=threads)
    exe(x=GOOD)
    with pytest.raises(gx.KernelError) as caught:
        exe(x=BAD)
    error = caught.value
    assert error.node == "node"
    if limit or op not in BY_THEMSELVES:
        check(error, op.op, *KERNELS[op])
    else:
        assert type(error.__cause__) is KERNELS[op][0]
    assert exe(x=GOOD)["s"] == GOOD.sum()


def test_values_that_only_compiled_code_knows_leave_gaps():
    x = np.zeros(repeat.MAX_REPEATED + 1)
    x[7] = 1000.0
    with pytest.raises(gx.KernelError, match=r"raised ValueError: too large at, ..., \.\.\.") as caught:
        says_values(x)
    assert any(line_of("says_values") in fact for fact in caught.value.facts)


def test_a_status_beside_exceptions():
    with pytest.raises(gx.KernelError, match="the third") as caught:
        both(GOOD * 1000)
    assert caught.value.__cause__ is None


@kernel("(n)->(n)", **KEEP)
def very_negative(x, out):
    out[:] = x
    return -(2**63) + int(x[0])


@pytest.mark.parametrize("number", [0, 1, 4096, 2**40])
def test_no_status_of_a_kernel_is_taken_for_an_exception(number):
    with pytest.raises(gx.KernelError, match=f"status {LEAST_STATUS}"):
        very_negative(np.array([float(number)]))


CALL = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04exit\x85R."


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"\x80\x04.", b"no pickle", CALL])
def test_a_record_that_is_none_gives_nothing_and_runs_nothing(content):
    text = ctypes.create_string_buffer(content)
    words = (ctypes.c_int64 * 5)(ctypes.addressof(text), len(content), 0, 0, 0)
    assert raised.is_raised(RAISED + ctypes.addressof(words))
    assert raised.read(RAISED + ctypes.addressof(words), {}) is None


@kernel("(n)->(n)", reference=_plain)
def forward_is_fine(x, out):
    for k in range(x.size):
        out[k] = x[k]


@forward_is_fine.backward
def _(d_out, x, d_x):
    for k in range(x.size):
        d_x[k] = d_out[k]
        if x[k] > 100:
            raise ValueError("no gradient there")  # line: backward


def training(op=forward_is_fine):
    g = gx.Graph("g")
    x = g.input("x", ("n", 3), "float64")
    first, second = (g.parameter(n, (3,), "float64", value=np.ones(3)) for n in ("first", "second"))
    g.output(gx.ops.sum(op(x * first, name="middle") * second, name="loss"))
    return g


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("how", ["gradients", "step", "fit"])
def test_of_a_backward_kernel_and_no_state_changes(how, threads):
    exe = gx.compile(training(), loss="loss", optimizer=gx.Adam(lr=0.1), threads=threads)
    exe.step(x=GOOD[0])
    before = {n: a.copy() for n, a in exe.state().items()}
    calls = {
        "gradients": lambda: exe.gradients(x=BAD[1]), "step": lambda: exe.step(x=BAD[1]),
        "fit": lambda: exe.fit({"x": BAD[1]}, epochs=1, batch_size=4, shuffle=False, progress=False),
    }  # fmt: skip
    with pytest.raises(gx.KernelError, match="its backward kernel raised ValueError: no gradient there") as caught:
        calls[how]()
    assert type(caught.value.__cause__) is ValueError
    assert any(line_of("backward") in fact for fact in caught.value.facts), caught.value.facts
    assert all(np.array_equal(a, before[n]) for n, a in exe.state().items())


@kernel("(n)->(n)", reference=_plain)
def fails_without_saying_so(x, out):
    for k in range(x.size):
        out[k] = x[k]


@fails_without_saying_so.backward
def _(d_out, x, d_x):
    for k in range(x.size):
        d_x[k] = d_out[k]
    d_x[:] = d_out[int(x.max()) // 101 :]


def test_state_waits_for_operations_that_raise_by_themselves():
    exe = gx.compile(training(fails_without_saying_so), loss="loss", optimizer="sgd", threads=1)
    exe.step(x=GOOD[0])
    before = {n: a.copy() for n, a in exe.state().items()}
    with pytest.raises(gx.KernelError, match="broadcast"):
        exe.step(x=BAD[1])
    assert all(np.array_equal(a, before[n]) for n, a in exe.state().items())


MOVED = '''
from graphexec.plugin import kernel
{gap}
@kernel("(n)->(n)", reference=lambda x: x, differentiable=False)
def moved_of_this_test(x, out):
    if x[0] > 0:
        raise ValueError("moved")
'''


def test_a_line_that_moves_is_told_where_it_stands_now(tmp_path, monkeypatch):
    """Compiled code holds the line, and is kept between processes."""
    monkeypatch.setattr(repeat, "MAX_REPEATED", 0)
    for gap in ("", "# a comment", "# two\n# comments"):
        path = tmp_path / "moved.py"
        path.write_text(MOVED.format(gap=gap), encoding="utf-8")
        before = registry.snapshot()
        gx.load_plugin(path)
        with pytest.raises(gx.KernelError, match="moved") as caught:
            gx.ops.moved_of_this_test(np.ones(3))
        registry.restore(before)
        line = path.read_text(encoding="utf-8").splitlines().index('        raise ValueError("moved")') + 1
        assert caught.value.facts[0].startswith(f"{path}:{line}: ")
