"""ops new: what it writes works as it stands, and it writes all or nothing."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from helpers.installed import describe

from graphexec.cli.op_templates import KINDS

TOOLS = {"ruff": ("ruff", "check", "."), "mypy": ("mypy", "--follow-imports=silent")}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


CHECKED = ["elementwise", *(pytest.param(kind, marks=pytest.mark.exhaustive) for kind in KINDS if kind != "elementwise")]
"""Each check of an op takes seconds."""


@pytest.mark.parametrize("kind", CHECKED)
def test_each_kind_works_and_passes_its_check(call, record, kind):
    call("ops", "new", "my_new_op", "--kind", kind)
    found = record("ops", "check", "my_new_op.py")
    assert found["passed"], found
    assert record("ops", "info", "my_new_op")["kind"] == kind
    assert "exists already" in call("ops", "new", "my_new_op", "--kind", kind, code=1).stderr
    assert "my_new_op" in call("ops", "list", "--plugin", "my_new_op.py").stdout


def test_an_elementwise_op_is_written_where_nothing_is_said(call):
    call("ops", "new", "my_new_op")
    assert "@elementwise" in Path("my_new_op.py").read_text()


@pytest.mark.parametrize("package", [(), ("--package",)], ids=["file", "package"])
@pytest.mark.parametrize("name", ["1op", "a-b", "def", "../x", "tanh", "_x", "δ", ""])
def test_names_are_checked(call, here, name, package):
    assert "PluginError" in call("ops", "new", *package, "--", name, code=1).stderr
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("kind", CHECKED)
def test_a_package_is_installed_and_its_op_found(record, kind):
    """pip itself is left out: it would need the network. The metadata are those that it makes of pyproject.toml."""
    written = record("ops", "new", "my_new_op", "--kind", kind, "--package")
    assert sorted(written["files"]) == sorted(str(p.relative_to(written["folder"])) for p in Path(written["folder"]).rglob("*.*")
                                              if p.is_file())  # fmt: skip
    project = tomllib.loads(Path(written["folder"], "pyproject.toml").read_text())["project"]
    assert project["name"] == written["folder"] == "graphexec-my-new-op"
    source = Path(written["folder"], "src")
    describe(source, project["name"], project["version"], project["entry-points"])
    done = graphexec(source, "ops", "info", "my_new_op", "--json")
    assert '"package": "graphexec_my_new_op"' in done.stdout, done.stderr
    done = graphexec(source, "ops", "check", "my_new_op")
    assert done.returncode == 0, done.stdout + done.stderr


def graphexec(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return python("graphexec", *arguments, env=environment)


def python(*arguments, **options):
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=300, **options)


@pytest.mark.parametrize("tool", [pytest.param("ruff", id="ruff"), pytest.param("mypy", id="mypy", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_clean(call, kind, tool):
    call("ops", "new", "my_new_op", "--kind", kind, "--package")
    call("ops", "new", "my_new_op", "--kind", kind)
    repository = str(Path(__file__).parents[2])
    environment = {**os.environ, "MYPYPATH": os.pathsep.join(["src", repository])}  # mypy sees no editable installation
    for folder in (".", "graphexec-my-new-op"):
        files = ("my_new_op.py",) if tool == "mypy" and folder == "." else ()
        done = python(*TOOLS[tool], *files, cwd=folder, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("what", ["file", "folder", "empty folder", "dangling link"])
@pytest.mark.parametrize("package", [(), ("--package",)], ids=["file", "package"])
def test_what_exists_is_left_alone(call, here, what, package):
    path = "graphexec-my-new-op" if package else "my_new_op.py"
    target = here / path
    if what == "file":
        target.write_text("mine")
    elif what == "dangling link":
        target.symlink_to("nowhere")
    else:
        target.mkdir()
        if what == "folder":
            (target / "mine").touch()
    before = sorted(p.relative_to(here) for p in here.rglob("*"))
    assert "exists already" in call("ops", "new", "my_new_op", *package, code=1).stderr
    assert sorted(p.relative_to(here) for p in here.rglob("*")) == before
    assert what != "file" or target.read_text() == "mine"


@pytest.mark.parametrize("package", [(), ("--package",)], ids=["file", "package"])
def test_a_full_disk_leaves_nothing(call, here, monkeypatch, package):
    """The limit on the size of files stands for the full disk: the text is longer."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        found = call("ops", "new", "my_new_op", *package, code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "it cannot be written: the file would be larger than the system allows" in found.stderr
    assert list(here.iterdir()) == []


def test_a_package_whose_name_is_taken_is_refused(call, here, monkeypatch):
    (here / "site" / "graphexec_my_new_op").mkdir(parents=True)
    (here / "site" / "graphexec_my_new_op" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(here / "site"))
    assert "'graphexec_my_new_op' is installed already" in call("ops", "new", "my_new_op", "--package", code=1).stderr
    assert not (here / "graphexec-my-new-op").exists()
