"""What the README shows works: Python runs, graph files load, commands parse."""

import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest

from graphexec.cli.commands import cli
from graphexec.errors import GraphExecError
from graphexec.gradcheck import check_gradient
from graphexec.graph.file.read import loads
from graphexec.ir.registry import registry

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "ops" / "README.md"]


def blocks(language):
    """Fenced blocks of a language, with where they are."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.M | re.S):
            line = text[: match.start()].count("\n") + 2
            found.append(pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{line}"))
    return found


@pytest.fixture
def elsewhere(tmp_path, monkeypatch, registry_kept):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code, elsewhere):
    """A block that declares ops is a plugin file, loaded and checked as one; others run as scripts."""
    if "graphexec.plugin" not in code:
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
        return
    (elsewhere / "plugin.py").write_text(code)
    for name in registry.load_file("plugin.py"):
        if registry.get(name).differentiable:
            assert check_gradient(name).passed


@pytest.mark.parametrize("text", blocks("yaml"))
def test_graph_files_load(text, elsewhere):
    rng = np.random.default_rng(0)
    np.savez("net.npz", x=rng.normal(size=(40, 4)).astype("float32"), label=rng.integers(0, 3, 40))
    (elsewhere / "net.yaml").write_text(text)
    graph = loads(text)
    graph.check()
    assert registry.get("linear").name == "linear"


def commands():
    for parameter in blocks("sh"):
        for line in parameter.values[0].splitlines():
            if line.startswith("graphexec "):
                yield pytest.param(line, id=line)


@pytest.mark.parametrize("line", list(commands()))
def test_commands_parse(line):
    _, *arguments = shlex.split(line, comments=True)
    command = cli
    while isinstance(command, click.Group):
        command = command.commands[arguments.pop(0)]
    with command.make_context(command.name, arguments) as context:
        assert context.params


def test_the_two_commands_are_there():
    """Each is one line that stands alone."""
    shown = [line for parameter in blocks("sh") for line in parameter.values[0].splitlines()]
    start = "python3 -m venv .venv && .venv/bin/pip install --quiet "
    assert f"{start}. && .venv/bin/graphexec train examples/digits.yaml" in shown
    assert f"{start}--editable '.[dev]' && .venv/bin/python -m pytest" in shown


def test_a_wrong_block_would_be_found():
    with pytest.raises(GraphExecError):
        loads("graphexec: 1\nnodes: {y: tahn(x)}\noutputs: [y]\n")
