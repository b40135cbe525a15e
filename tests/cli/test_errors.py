"""Exit codes, one message an error, what goes to which stream, what loads when."""

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from graphexec.cli.commands import cli


def graphexec(*arguments):
    return subprocess.run([sys.executable, "-m", "graphexec", *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("tanh(", "tanhh("), "did you mean 'tanh'?"),
        (("float32[4, 3]", "float32[4, 5]"), "net.yaml:"),
        (("data.npz", "dat.npz"), "dat.npz: no such file; did you mean 'data.npz'?"),
        (("x: points", "x: point"), "the file has no array 'point'; did you mean 'points'?"),
        (("x: points", "x: classes"), "input 'x' has 2 axes, but the array has 1"),
        (("momentum(", "momentun("), "did you mean"),
        (("hidden: tanh", "hidden: [tanh"), "net.yaml:"),
    ],
)
def test_errors_of_the_file(call, net, change, message):
    net.write_text(net.read_text().replace(*change))
    result = call("train", net, code=1)
    assert message in result.stderr
    assert result.stdout == ""


def test_errors_of_the_command_line(call, net):
    assert "no input 'lable'; did you mean 'label'?" in call("run", net, "-i", "lable=data.npz:classes", code=1).stderr
    assert "no dimension 'bach'; did you mean 'batch'?" in call("bench", net, "--size", "bach=3", code=1).stderr
    assert "no value named 'los'; did you mean 'loss'?" in call("grad", net, "--loss", "los", code=1).stderr
    for command in ("run", "grad", "train", "check", "show", "bench", "profile"):
        error = call(command, net, "--skip-pass", "fus", code=1).stderr
        assert error.startswith("DataError: there is no pass 'fus' to leave out; did you mean 'fuse'?\n  The passes are: ")
    assert "must be called NAME.npz" in call("run", net, "-o", "out.txt", code=1).stderr
    assert "its folder does not exist" in call("train", net, "-o", "no/w.safetensors", code=1).stderr
    assert "input 'label' is missing" in call("grad", net, "-i", "x=data.npz:points", code=1).stderr


USAGES = [("run",), ("frobnicate",), ("train", "f.yaml", "--resume"), ("show", "f.yaml", "--size", "batch"),
          ("run", "f.yaml", "--skip-pass"), ("ops", "list", "--no-optimize"),
          ("train", "f.yaml", "--recompute", "0"), ("train", "f.yaml", "--recompute", "some")]  # fmt: skip


@pytest.mark.parametrize("arguments", USAGES)
def test_wrong_usage_is_2(call, arguments):
    result = call(*arguments, code=2)
    assert result.stdout == ""


def test_unexpected_errors_are_one_message(call, net, monkeypatch):
    def fail(*arguments):
        raise ValueError("something odd")

    monkeypatch.setattr("graphexec.cli.run.run", fail)
    error = call("run", net, code=1).stderr
    assert error.startswith("ValueError: something odd\n")
    assert "--debug" in error
    shown = CliRunner().invoke(cli, ["run", str(net), "--debug"])
    assert shown.exit_code == 1


def test_debug_shows_the_traceback(net):
    plain, debug = graphexec("run", "no.yaml"), graphexec("run", "no.yaml", "--debug")
    assert plain.returncode == debug.returncode == 1
    assert plain.stderr == "GraphFileError: no.yaml: no such file\n  Give the path of a graph file.\n"
    assert "Traceback" in debug.stderr
    assert plain.stdout == ""


def test_ctrl_c_is_130(call, net, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("graphexec.cli.run.show", interrupt)
    assert call("show", net, code=130).stderr == "interrupted\n"


def test_help_teaches_without_loading_numba():
    names = ["run", "grad", "train", "check", "show", "bench", "profile", "ops"]
    for path in [[], *([n] for n in names), *(["ops", n] for n in ("list", "info", "new", "check"))]:
        text = CliRunner().invoke(cli, [*path, "--help"]).stdout
        assert "graphexec " in text.partition("\n")[2], path
    found = subprocess.run(
        [sys.executable, "-c", "import sys, graphexec.cli; print([m for m in ('numba', 'tabulate', 'yaml') if m in sys.modules])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "numba" not in found.stdout


def test_version():
    import graphexec as gx

    assert graphexec("--version").stdout.strip() == f"graphexec, version {gx.__version__}"


def test_errors_of_kernels_name_the_node(call, net):
    np.save("label.npy", np.full(44, 7))
    error = call("run", net, "-i", "x=data.npz:points", "-i", "label=label.npy", code=1).stderr
    assert error.startswith("KernelError: node 'loss")
    assert "label" in error


def test_large_values_are_summed_in_float64(record, net):
    np.save("x.npy", np.full((2, 3), 1e20, "float32"))
    assert np.isfinite(record("run", net, "-i", "x=x.npy", "--quiet")["outputs"]["scores"]["norm"])
