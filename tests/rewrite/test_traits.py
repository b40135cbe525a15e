"""Passes know ops by their traits: ops under other names are optimized as the built-in ones are."""

import functools

import numpy as np
import pytest
from helpers.run import registered

import graphexec as gx
from graphexec.ir.function import Function, Leaf, Node
from graphexec.ir.op import GemmTrait
from graphexec.ir.registry import registry
from graphexec.ir.spec import TensorSpec
from graphexec.ir.traits import factors, is_product, with_factors
from graphexec.plugin import GEMM_SCRATCH, elementwise, gemm, kernel
from graphexec.rewrite.legalize.expand_add_n import expand_add_n
from graphexec.rewrite.simplify.constant_folding import constant_folding
from graphexec.rewrite.simplify.cse import cse
from graphexec.rewrite.simplify.rank1_matmul import rank1_matmul

ops = gx.ops


@kernel(
    "(m,k),(k,n)->(m,n)", reference=np.matmul, domain=(-2.0, 2.0), strided=("a", "b"), parallel=True, scratch=GEMM_SCRATCH,
    gemm=GemmTrait(),
)  # fmt: skip
def times(a, b, out, scratch, piece, pieces):
    return gemm(a, b, out, scratch, piece, pieces)


@times.gradient
def _(d_out, a, b):
    return ops.times(d_out, ops.swap_axes(b)), ops.times(ops.swap_axes(a), d_out)


@kernel(
    "(k,n),(m,k)->(m,n)", reference=lambda b, a: np.matmul(a, b), domain=(-2.0, 2.0), strided=("a", "b"), parallel=True,
    scratch=GEMM_SCRATCH, gemm=GemmTrait(a=1, b=0), differentiable=False,
)  # fmt: skip
def behind(b, a, out, scratch, piece, pieces):
    return gemm(a, b, out, scratch, piece, pieces)


@elementwise(reference=np.add, domain=(-2.0, 2.0), commutative=True, neutral={0: -0.0, 1: -0.0}, differentiable=False)
def plus(x, y):
    return x + y


@elementwise(reference=np.negative, domain=(-2.0, 2.0), involution=True, differentiable=False)
def opposite(x):
    return -x


@elementwise(
    reference=lambda *terms: functools.reduce(np.add, terms), domain=(-2.0, 2.0), sum_of_many=True, differentiable=False
)
def total(*terms):
    out = terms[0]
    for term in terms[1:]:
        out += term
    return out


@pytest.fixture(autouse=True)
def _known():
    with registered(times, behind, plus, opposite, total):
        yield


def net(product):
    """Two layers, a weight that is used in three steps, and a bias: epilogues, accumulated products, folded transpositions."""
    rng = np.random.default_rng(0)
    g = gx.Graph("net")
    draw = lambda *shape: (0.3 * rng.standard_normal(shape)).astype("float32")  # noqa: E731
    x = g.input("x", (32, 24))
    w, u, v = (g.parameter(n, value=draw(*s)) for n, s in (("w", (24, 40)), ("u", (40, 40)), ("v", (40, 20))))
    h = ops.tanh(product(x, w) + g.parameter("b", value=draw(40)))
    for _ in range(3):
        h = ops.tanh(product(h, u))
    g.output(ops.mean(ops.square(product(h, v)), name="loss"))
    return g, {"x": draw(32, 24)}


def kinds(exe, name):
    return [i.node.op.name.replace(name, "*") for i in exe.program.instructions]


def test_a_product_of_ones_own_is_fused_and_accumulated_as_matmul_is():
    found = {}
    for name in ("matmul", "times"):
        g, data = net(getattr(ops, name))
        exe = gx.compile(g, loss="loss", optimizer=gx.SGD(lr=0.1), threads=1)
        losses = [exe.step(**data) for _ in range(3)]
        found[name] = (kinds(exe, name), losses, dict(exe.parameters))
    plain, own = found["matmul"], found["times"]
    assert any(kind.startswith("*+") for kind in own[0])
    assert len(own[0]) == len(plain[0])
    assert sum(k.startswith("*+") for k in own[0]) == sum(k.startswith("*+") for k in plain[0])
    assert own[0].count("matmul_add") == plain[0].count("*_add") > 0
    for k, array in plain[2].items():
        np.testing.assert_allclose(own[2][k], array, rtol=1e-5, atol=1e-6, err_msg=k)
    np.testing.assert_allclose(own[1], plain[1], rtol=1e-5)


def test_factors_are_found_in_the_slots_that_the_trait_names():
    g = gx.Graph("behind")
    a, b, bias = g.input("a", (8, 24)), g.input("b", (24, 32)), g.input("bias", (32,))
    g.output(ops.tanh(ops.behind(b, a) + bias, name="out"))
    exe = gx.compile(g, threads=1)
    rng = np.random.default_rng(1)
    data = {n: rng.standard_normal(s).astype("float32") for n, s in (("a", (8, 24)), ("b", (24, 32)), ("bias", (32,)))}
    out = exe(**data)["out"]
    assert [k for k in kinds(exe, "behind") if k.startswith("*+")] == ["*+fused"]
    np.testing.assert_allclose(out, np.tanh(data["a"] @ data["b"] + data["bias"]), rtol=1e-5, atol=1e-5)
    node = Node("n", behind.op, (7, 5), (9,), {})
    assert factors(node) == (5, 7)
    assert with_factors(behind.op, *factors(node)) == node.inputs


def test_only_plain_products_count():
    assert all(map(is_product, (registry.get("matmul"), times.op, behind.op)))
    assert not any(map(is_product, (registry.get("matmul_add"), registry.get("multiply"), plus.op)))


def function(*calls, shape=(2, 2), constants=()):
    """A function of nodes (name, op, operands) over x and y, and constants (name, number)."""
    names = ["x", "y", *(n for n, _ in constants), *(name for name, _, _ in calls)]
    number = {name: k for k, name in enumerate(names)}
    leaves = [Leaf(n, "input", number[n], shape, "float64") for n in "xy"]
    leaves += [Leaf(n, "constant", number[n], shape, "float64", np.full(shape, value)) for n, value in constants]
    nodes = [Node(n, registry.get(op), tuple(number[v] for v in operands), (number[n],), {}) for n, op, operands in calls]
    return Function("f", leaves, nodes, names, {"out": number[names[-1]]}, [TensorSpec(shape, "float64")] * len(names))


def test_operands_of_a_commutative_op_may_be_swapped():
    fn = cse(function(("a", "plus", "xy"), ("b", "plus", "yx"), ("out", "subtract", "ab")))
    assert [n.name for n in fn.nodes] == ["a", "out"]
    assert len({*fn.nodes[1].inputs}) == 1
    assert len(cse(function(("a", "subtract", "xy"), ("b", "subtract", "yx"), ("out", "add", "ab"))).nodes) == 3


@pytest.mark.parametrize(("operands", "number", "stays"), [("xn", -0.0, 1), ("nx", -0.0, 1), ("xn", 0.0, 2), ("nx", 1.0, 2)])
def test_neutral_elements_go(operands, number, stays):
    fn = constant_folding(function(("a", "plus", operands), ("out", "tanh", "a"), constants=[("n", number)]))
    assert len(fn.nodes) == stays


def test_an_involution_applied_twice_goes():
    fn = constant_folding(function(("a", "opposite", "x"), ("b", "opposite", "a"), ("out", "tanh", "b")))
    assert fn.nodes[-1].inputs == (0,)
    mixed = constant_folding(function(("a", "opposite", "x"), ("b", "negate", "a"), ("out", "tanh", "b")))
    assert len(mixed.nodes) == 3


def test_sums_of_many_become_chains_of_additions():
    fn = expand_add_n(function(("out", "total", "xyxy")))
    assert [n.op.name for n in fn.nodes] == ["add"] * 3


def test_a_product_of_rank_one_is_a_multiplication():
    fn = function(("out", "times", "xy"), shape=(1, 1))
    assert [n.op.name for n in rank1_matmul(fn).nodes] == ["multiply"]
