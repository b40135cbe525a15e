"""run, grad, check, show, bench and profile."""

import json

import numpy as np
import pytest


@pytest.fixture
def nested(tmp_path, monkeypatch):
    """Section 3 of the tutorial: w and b are used twice."""
    monkeypatch.chdir(tmp_path)
    np.savez("nested.npz", x=[[1.0, 2.0]], y=[[0.5, -1.0]])
    (tmp_path / "nested.yaml").write_text(
        "graphexec: 1\n"
        "inputs: {x: 'float64[batch, 2]', y: 'float64[batch, 2]'}\n"
        "parameters:\n"
        "  w: {type: 'float64[2, 2]', value: [[0.5, -0.25], [0.75, 1.0]]}\n"
        "  b: {type: 'float64[2]', value: [0.125, -0.5]}\n"
        "nodes: {z1: 'linear(x, w, b)', z2: 'linear(z1, w, b)', loss: 'half_squared_error(z2, y)'}\n"
        "outputs: [z2, loss]\n"
        "train: {loss: loss, data: {file: nested.npz}}\n"
    )
    return tmp_path / "nested.yaml"


def test_run_prints_a_line_and_small_values(call, nested):
    result = call("run", nested)
    assert "z2 = [[-0.375, 1.84375]]" in result.stdout
    assert "loss = 4.42626953125" in result.stdout
    assert all(line.startswith("compiling kernels: ") for line in result.stderr.splitlines())  # on a slow machine


def test_run_writes_outputs(call, record, net):
    found = record("run", net, "-o", "out.npz")["outputs"]
    with np.load("out.npz") as out:
        assert found["scores"]["shape"] == list(out["scores"].shape) == [44, 2]
        assert found["loss"]["values"] == pytest.approx(float(out["loss"]))
        assert found["scores"]["norm"] == pytest.approx(np.linalg.norm(out["scores"]))


def test_run_leaves_out_what_needs_a_missing_input(call, net):
    result = call("run", net, "-i", "x=data.npz:points")
    assert "scores" in result.stdout
    assert "loss is skipped: it needs label" in result.stderr
    assert "label" not in call("run", net, "-i", "x=data.npz:points", "--quiet").stderr
    assert "every output needs one of: x" in call("run", net, "-i", "label=data.npz:classes", code=1).stderr


def test_run_takes_npy_and_csv(record, net):
    with np.load("data.npz") as data:
        np.save("x.npy", data["points"])
        np.savetxt("label.csv", data["classes"], header="class", comments="")
    a = record("run", net)
    assert record("run", net, "-i", "x=x.npy", "-i", "label=label.csv") == a


def test_grad_shows_deltas_and_gradients(call, record, nested):
    text = call("grad", nested).stdout
    z1, z2 = np.array([[0.125, 2.25]]), np.array([[-0.375, 1.84375]])
    w, x, y = np.array([[0.5, -0.25], [0.75, 1.0]]), np.array([[1.0, 2.0]]), np.array([[0.5, -1.0]])
    d2 = z2 - y
    d1 = d2 @ w
    found = record("grad", nested)
    deltas = {n["name"]: n.get("delta") for n in found["nodes"]}
    np.testing.assert_allclose(deltas["z2"], d2, rtol=1e-15)
    np.testing.assert_allclose(deltas["z1"], d1, rtol=1e-15)
    np.testing.assert_allclose(found["gradients"]["w"]["values"], d2.T @ z1 + d1.T @ x, rtol=1e-15)
    np.testing.assert_allclose(found["gradients"]["b"]["values"], (d2 + d1)[0], rtol=1e-15)
    assert "delta at z1 = [[1.6953125, 3.0625]]" in text
    assert "dloss/dw = [[1.5859375, 1.421875], [3.41796875, 12.5234375]]" in text


def test_grad_by_chosen_values(record, net):
    found = record("grad", net, "--wrt", "x", "--wrt", "b1", "-o", "grads.npz", "--loss", "loss")
    assert set(found["gradients"]) == {"x", "b1"}
    with np.load("grads.npz") as grads:
        assert grads["x"].shape == (44, 3)


def test_check_passes(call, record, net):
    assert "valid; gradients of 'loss' checked" in call("check", net).stdout
    found = record("check", net)
    assert found["gradients"]["passed"]
    assert {c["operand"] for c in found["gradients"]["checks"]} >= {"x", "w1", "b1", "w2"}


def test_check_draws_inputs_where_there_is_no_data(call, net):
    (net.parent / "data.npz").unlink()
    result = call("check", net)
    assert "inputs are random" in result.stderr


def test_check_finds_a_wrong_gradient(call, net):
    plugin = net.parent / "wrong.py"
    plugin.write_text(
        "import numpy as np\n"
        "from graphexec.plugin import elementwise\n"
        "@elementwise(reference=lambda x: x * x * x, domain=(-2.0, 2.0))\n"
        "def cube_wrong(x):\n    return x * x * x\n"
        "@cube_wrong.backward\ndef _(d_out, x):\n    return 2.0 * d_out * x * x\n"
    )
    net.write_text(net.read_text().replace("tanh(", "cube_wrong("))
    result = call("check", net, "--plugin", plugin, code=1)
    assert "its gradients are wrong" in result.stdout
    assert "GradientMismatch" in result.stderr
    assert "cube_wrong" in result.stderr
    assert "FAULT  gradient" in call("ops", "check", "cube_wrong", code=1).stdout


def test_show(call, record, net):
    assert "hidden.1, w2" not in call("show", net).stdout
    nodes = {n["name"]: n for n in record("show", net)["nodes"]}
    assert nodes["scores"]["shape"] == ["batch", 2]
    assert nodes["scores"]["operands"] == ["hidden", "w2"]
    assert nodes["loss"]["output"]
    assert not nodes["hidden"]["output"]


def test_show_program(record, net):
    found = record("show", net, "--program")
    assert found["kind"] == "step"
    assert found["sizes"] == {"batch": 8}
    assert record("show", net, "--of", "forward", "--size", "batch=5")["sizes"] == {"batch": 5}
    assert any("(5, 2)" in line for line in record("show", net, "--of", "forward", "--size", "batch=5")["listing"])


def test_bench_and_profile(call, record, net):
    found = record("bench", net, "--seconds", "0.02")
    assert found["kind"] == "step"
    assert found["rows"] == 8
    assert 0 < found["p10"] <= found["median"] <= found["p90"]
    assert found["limit"] > 0  # a machine that was busy when its limits were measured may seem to beat them
    found = record("profile", net, "--seconds", "0.02", "--size", "batch=16")
    assert sum(n["seconds"] for n in found["nodes"]) == pytest.approx(sum(i["seconds"] for i in found["instructions"]))
    products = [i["flops"] for i in found["instructions"] if i["op"] == "matmul"]
    assert 2 * 16 * 3 * 4 in products
    assert found["limit"] == pytest.approx(sum(i["limit"] for i in found["instructions"]))
    assert all(i["limit"] >= i["flops"] / found["machine"]["peak"]["float32"] for i in found["instructions"])
    assert all(i["limit"] > 0 for i in found["instructions"] if i["bytes"])
    assert "GFLOP/s" in call("profile", net, "--seconds", "0.02", "--instructions").stdout


def test_json_is_strict(call, net):
    np.save("x.npy", np.full((2, 3), np.nan, "float32"))
    text = call("run", net, "-i", "x=x.npy", "--json", "--quiet").stdout
    assert json.loads(text, parse_constant=pytest.fail)["outputs"]["scores"]["values"] == [[None, None]] * 2


# -- passes left out

COMPILING = [("run",), ("grad",), ("train", "--epochs", "1"), ("check",), ("show", "--program"), ("bench", "--seconds", "0"),
             ("profile", "--seconds", "0")]  # fmt: skip


@pytest.mark.parametrize("arguments", COMPILING, ids=lambda a: a[0])
@pytest.mark.parametrize("options", [("--no-optimize",), ("--skip-pass", "fuse", "--skip-pass", "cse")], ids=["all", "some"])
def test_commands_that_compile_leave_out_passes(call, net, monkeypatch, arguments, options):
    """What they compile is optimised with exactly these passes left out."""
    import graphexec.rewrite as rewrite

    if arguments[0] in ("bench", "profile"):  # they measure the machine first, with a graph of their own, if nobody has
        call(arguments[0], net, *arguments[1:], "--quiet")
    ran = []
    for name, run in rewrite.PASSES.items():
        monkeypatch.setitem(rewrite.PASSES, name, lambda fn, keep, name=name, run=run: (ran.append(name), run(fn, keep))[1])
    call(arguments[0], net, *arguments[1:], *options, "--quiet")
    left_out = set(rewrite.OPTIONAL) if options == ("--no-optimize",) else {"fuse", "cse"}
    assert set(ran) == rewrite.PASSES.keys() - left_out


def test_results_do_not_depend_on_passes(record, net):
    plain, quick = (record("grad", net, *options)["gradients"] for options in (("--no-optimize",), ()))
    for name, found in plain.items():
        assert quick[name]["norm"] == pytest.approx(found["norm"], rel=1e-5)


def test_the_program_shows_what_a_pass_does(record, net):
    def listing(*options):
        return "\n".join(record("show", net, "--program", *options)["listing"])

    assert " fused " in listing()
    assert " fused " not in listing("--skip-pass", "fuse")
    arena, without_reuse = listing("--no-optimize").split(" arena ")[1].split(" bytes (")
    assert without_reuse.startswith(arena)


def test_untrained_weights_are_called_so(call, record, net):
    for command in ("run", "grad"):
        assert call(command, net).stderr.count("random initial weights (w1, w2; seed 3)") == 1
        assert record(command, net, "--quiet")["random_weights"] is True
    call("train", net, "--epochs", 1, "-o", "w.safetensors")
    assert "random" not in call("run", net, "-w", "w.safetensors").stderr
    assert record("run", net, "-w", "w.safetensors")["random_weights"] is False
    net.write_text(net.read_text().replace("normal(std=0.5)", "zeros"))
    assert "random" not in call("run", net).stderr
    assert record("run", net)["random_weights"] is False
