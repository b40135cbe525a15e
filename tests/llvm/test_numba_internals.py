"""What is taken from the inside of Numba and llvmlite stands in one module."""

import ast
from importlib.metadata import version
from pathlib import Path

import pytest

from graphexec.llvm import numba_internals

ROOT = Path(__file__).parents[2]
INSIDE = ROOT / "graphexec" / "llvm" / "numba_internals.py"
PUBLIC = {  # modules that their documentation names
    "numba": {"numba", "numba.errors", "numba.extending", "numba.types"},
    "llvmlite": {"llvmlite", "llvmlite.binding", "llvmlite.ir"},
}
INNER = {"core", "np", "cpython", "misc", "typed"}
"""Packages of Numba that are attributes of it."""


def inner_names(text):
    """(line, name) of each import or attribute that reaches inside Numba or llvmlite."""
    tree, bound = ast.parse(text), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound[alias.asname or alias.name.partition(".")[0]] = alias.name if alias.asname else alias.name.partition(".")[0]
                yield from refused(node.lineno, alias.name, alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield from refused(node.lineno, node.module, f"{node.module}.{alias.name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            if bound.get(first, "").partition(".")[0] in PUBLIC:
                yield from refused(node.lineno, "numba", f"{bound[first]}.{rest}")


def refused(line, module, name):
    """A module that is not public, or a name with an underscore, or one that goes on through `core`."""
    package = module.partition(".")[0]
    parts = name.split(".")
    private = any(part.startswith("_") and not part.startswith("__") for part in parts)
    if package in PUBLIC and (module not in PUBLIC[package] or private or INNER & set(parts[1:2])):
        yield line, name


@pytest.mark.parametrize("path", sorted([*(ROOT / "graphexec").rglob("*.py"), *(ROOT / "ops").rglob("*.py")]), ids=lambda p: p.stem)
def test_nobody_else_reaches_inside(path):
    found = list(inner_names(path.read_text(encoding="utf-8")))
    assert (found == []) == (path != INSIDE)


@pytest.mark.parametrize(
    "text",
    [
        "from numba.core import cgutils", "import numba.core.types", "from numba.np.arrayobj import make_array",
        "import numba\nnumba.core.config", "from numba import core", "from numba.cpython import unsafe",
        "from llvmlite.ir import _utils", "import llvmlite.binding as llvm\nllvm._x()", "import llvmlite.binding.ffi",
    ],
)  # fmt: skip
def test_a_reach_inside_is_found(text):
    assert list(inner_names(text))


@pytest.mark.parametrize(
    "text",
    ["import numba\nnumba.njit", "from numba import types, errors", "import numba.extending", "from llvmlite import ir"],
)
def test_what_is_public_is_not(text):
    assert list(inner_names(text)) == []


def numbers(text):
    return tuple(int(part) for part in text.split(".")[:2])


@pytest.mark.parametrize("package", ["numba", "llvmlite"])
def test_the_versions_are_those_that_were_seen(package):
    """A newer one is noted in the module once the tests pass with it."""
    lowest, newest = numba_internals.SEEN_WITH[package]
    assert numbers(lowest) <= numbers(version(package)) <= numbers(newest)


def test_all_names_work():
    from numba import types

    text, name, returned = numba_internals.compile_to_ir(lambda x: x + 1.0, (types.float64,))
    assert f"@{name}(" in text.replace('"', "")
    assert returned == types.float64
    for name in numba_internals.__all__:
        assert getattr(numba_internals, name) is not None
