"""lower: the listing of a small program, and errors that a kernel reports."""

import numpy as np
import pytest

import graphexec as gx
from graphexec.abi import SERIAL, Column
from graphexec.codegen import kernels
from graphexec.llvm import toolchain
from graphexec.lower import elementwise, kernel_args

ops = gx.ops

LISTING = """\
   0  matmul             z.matmul(3, 2)@0 <- x(3, 2), z.transpose(2, 2)
   1  fused              loss.square.backward(3, 2)@0, loss.partial(3,)@64 <- z.matmul(3, 2)@0, b(2,), y(3, 2), constant(), loss.backward.expand_like(3, 2)
   2  sum                loss()@128 <- loss.partial(3,)@64
   3  sum_to             z.backward.sum(2,)@64 <- loss.square.backward(3, 2)@0
   4  sgd                b.update(2,) <- b(2,), z.backward.sum(2,)@64
   5  matmul             z.transpose.backward.transpose(2, 2)@64 <- z.transpose.backward.transpose.factor(2, 3)@0, x(3, 2)
   6  sgd                w.update(2, 2) <- w(2, 2), z.transpose.backward.transpose(2, 2)@64
7 instructions, 6 kernels, arena 192 bytes (384 without reuse)"""  # noqa: E501 - as it is printed

PLAIN = """\
   0  matmul             z.matmul(3, 2)@0 <- x(3, 2), z.transpose(2, 2)
   1  add                z(3, 2)@64 <- z.matmul(3, 2)@0, b(2,)
   2  subtract           loss.subtract(3, 2)@128 <- z(3, 2)@64, y(3, 2)
   3  square             loss.square(3, 2)@192 <- loss.subtract(3, 2)@128
   4  multiply           loss.multiply(3, 2)@256 <- constant(), loss.square(3, 2)@192
   5  sum                loss()@320 <- loss.multiply(3, 2)@256
6 instructions, 6 kernels, arena 384 bytes (384 without reuse)"""


def line():
    g = gx.Graph("line")
    x, y = g.input("x", (3, 2), "float64"), g.input("y", (3, 2), "float64")
    w, b = g.parameter("w", value=np.eye(2)), g.parameter("b", value=np.zeros(2))
    g.output(ops.half_squared_error(ops.linear(x, w, b, name="z"), y, name="loss"))
    return g


def test_listing():
    """One line an instruction: kernel, results <- operands, with shapes and places in the arena."""
    exe = gx.compile(line(), loss="loss", optimizer=gx.SGD(lr=0.1), threads=1)
    assert exe.program.listing() == LISTING
    assert str(exe.program) == exe.program.listing()


def test_listing_without_passes():
    """optimize=False: the graph as it stands, each value in memory of its own."""
    exe = gx.compile(line(), threads=1, optimize=False)
    exe(x=np.ones((3, 2)), y=np.ones((3, 2)))
    assert exe.program.listing() == PLAIN


# -- statuses


def embedding(rows=60_000):
    """A look-up, beside something large enough to be shared between threads."""
    g = gx.Graph("embedding")
    table, which, x = g.input("table", (4, 2)), g.input("which", ("n",), "int64"), g.input("x", (rows,))
    g.output(ops.gather(table, which, name="found"), ops.tanh(ops.exp(x), name="y"))
    return g


@pytest.mark.parametrize("threads", [1, 2])
def test_an_index_out_of_range_names_the_node(threads):
    exe = gx.compile(embedding(), threads=threads)
    given = {"table": np.arange(8.0).reshape(4, 2), "x": np.zeros(60_000)}
    assert exe(which=[3, -1], **given)["found"].tolist() == [[6.0, 7.0], [6.0, 7.0]]
    assert exe.program.parallel is (threads > 1)
    with pytest.raises(gx.KernelError) as caught:
        exe(which=[0, 4], **given)
    assert caught.value.node == "found"
    assert caught.value.op == "gather"
    assert "an index is out of range" in str(caught.value)
    assert exe(which=[1, 0], **given)["found"].tolist() == [[2.0, 3.0], [0.0, 1.0]]  # and it goes on working


def test_a_declared_short_row_chooses_how_many_vectors_run_at_a_time(monkeypatch, rng):
    """The kernels differ, the numbers do not; a named axis has the kernel that serves every size."""
    found = []
    real = elementwise.vectors_for
    monkeypatch.setattr(elementwise, "vectors_for", lambda *a: found.append(real(*a)) or found[-1])
    monkeypatch.setattr(toolchain, "vector_bytes", lambda: 32)
    for n in (8, 10, 16, 24, 32, 63, 64, "n"):
        g = gx.Graph("short")
        x, b = g.input("x", (5, n)), g.input("b", (5, 1))
        g.output(gx.ops.tanh(x + b, name="y"))
        x, b = rng.standard_normal((5, n if n != "n" else 16)), rng.standard_normal((5, 1))
        x, b = x.astype("float32"), b.astype("float32")
        y = gx.compile(g, threads=1)(x=x, b=b)["y"]
        np.testing.assert_allclose(y, np.tanh(x + b), rtol=1e-5, atol=1e-6)
    assert found == [1, 1, 2, 1, 4, 1, 4, 4]


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_short_rows_are_reduced_in_registers_or_side_by_side(monkeypatch, rng, width, dtype):
    """Whatever the width of vectors: rows of every size, rows that are not contiguous, and one row alone."""
    found = []
    real = kernels.reduction_kernel
    monkeypatch.setattr(kernels, "reduction_kernel", lambda *a: found.append(a[10]) or real(*a))
    monkeypatch.setattr(toolchain, "vector_bytes", lambda: width)
    close = 64 * np.finfo(dtype).eps
    for rows, n in [(21, n) for n in (1, 4, 7, 8, 12, 16, 31, 32, 33)] + [(1, 8), (1, 16)]:
        x = rng.uniform(0.5, 1.5, (rows, n)).astype(dtype)
        for turned in (False, True):
            g = gx.Graph("rows")
            v = g.input("x", x.T.shape if turned else x.shape, dtype)
            v = gx.ops.transpose(v) if turned else v
            g.output(*(getattr(gx.ops, op)(v, axis=1, name=op) for op in ("sum", "max", "prod")))
            exe = gx.compile(g, threads=1)
            out = exe(x=x.T if turned else x)
            for op, numpy_op in (("sum", np.sum), ("max", np.max), ("prod", np.prod)):
                np.testing.assert_allclose(out[op], numpy_op(x.astype(float), axis=1), rtol=close)
            for threads in (2, 3):
                again = gx.compile(g, threads=threads)(x=x.T if turned else x)
                assert all(again[k].tobytes() == out[k].tobytes() for k in out)
    lanes = width // np.dtype(dtype).itemsize
    assert set(found) == {0} | {n for n in (8, 16, 32) if n <= lanes or width == 64}


def test_few_declared_elements_have_kernels_with_their_number(monkeypatch, rng):
    """One thread does them; what is named, or is not made of whole vectors, has the kernel that serves every size."""
    found = []
    real = elementwise.fixed_size
    monkeypatch.setattr(elementwise, "fixed_size", lambda *a: found.append(real(*a)) or found[-1])
    monkeypatch.setattr(kernel_args, "MIN_SHARED_NANOSECONDS", 0.0)
    monkeypatch.setattr(toolchain, "vector_bytes", lambda: 32)
    for shape in ((), (1,), (4,), (5,), (2, 4), (16,), (24,), (4, 8), (33,), (64,), (0,), ("n",)):
        g = gx.Graph("few")
        x, y = g.input("x", shape), g.input("y", shape)
        g.output(gx.ops.tanh(x * y, name="z"))
        sizes = tuple(16 if n == "n" else n for n in shape)
        a, b = (rng.standard_normal(sizes).astype("float32") for _ in range(2))
        exe = gx.compile(g, threads=3)
        np.testing.assert_allclose(exe(x=a, y=b)["z"], np.tanh(a * b), rtol=1e-5, atol=1e-6)
        assert bool(exe.program.table[-1, Column.FLAGS] & SERIAL) is bool(found[-1])
    assert found == [1, 1, 1, 4, 0, 8, 16, 24, 32, 0, 0, 0, 0]  # numbers stay apart, as two instructions
