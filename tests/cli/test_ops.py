"""ops list, info and check."""


def test_list(call, record):
    ops = {o["name"]: o for o in record("ops", "list")["ops"]}
    assert ops["tanh"]["package"] == "built in"
    assert ops["swish"]["signature"] == "(x, *, beta=1.0)"
    assert "swish" in call("ops", "list").stdout


def test_info(call, record):
    found = record("ops", "info", "tanh")
    assert found["backward"] == "a kernel; it reads d_out, out"
    assert found["dtypes"] == ["float32", "float64"]
    assert found["onnx"] == "Tanh"
    assert "Hyperbolic tangent" in call("ops", "info", "tanh").stdout
    assert "did you mean 'tanh'?" in call("ops", "info", "tanhh", code=1).stderr


def test_check_with_attributes_and_shapes(record, call):
    assert record("ops", "check", "sum", "-a", "axis=1", "--shape", "4,5")["passed"]
    assert record("ops", "check", "reshape")["passed"]
    assert "unknown attribute 'wrong'" in call("ops", "check", "tanh", "-a", "wrong=1", code=1).stderr
    assert "not a shape" in call("ops", "check", "tanh", "--shape", "a,b", code=2).stderr


def test_check_finds_a_kernel_that_is_not_its_reference(call, tmp_path):
    plugin = tmp_path / "off.py"
    plugin.write_text(
        "from graphexec.plugin import elementwise\n"
        "@elementwise(reference=lambda x: x * 2.0, domain=(-2.0, 2.0))\n"
        "def off_by_little(x):\n    return x * 2.001\n"
    )
    result = call("ops", "check", plugin, code=1)
    assert "output 'out' differs from the reference" in result.stderr


def test_broken_plugin_is_one_message(call, tmp_path, monkeypatch):
    plugin = tmp_path / "broken.py"
    plugin.write_text("import graphexec\n1 / 0\n")
    error = call("ops", "list", "--plugin", plugin, code=1).stderr
    assert "broken.py:2: the plugin failed while it was loaded: ZeroDivisionError" in error
