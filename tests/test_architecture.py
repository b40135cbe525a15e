"""Who may import whom, how long a file may be, and what `import graphexec` costs.

LEVELS is the order of the packages, from the bottom: each imports only what stands before it, inside functions too, and no
imports of modules go in a circle.
"""

import ast
import functools
import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]

LEVELS = (
    "process progress errors system_errors file_lock atomic_file abi math options ir plugin llvm gemm vecmath codegen lower "
    "runtime optim rewrite graph autodiff pipeline interpret eager compiled training executable gradcheck opcheck profile cli "
    "__init__ __main__ pytest_plugin"
).split()

ONLY = {  # third-party package: the modules that may import it
    "networkx": ["graph.*", "cli.run"],
    "click": ["cli", "cli.*"],
    "yaml": ["graph.file.text"],
    "tqdm": ["progress", "training.loop"],
    "tabulate": ["gradcheck", "cli.format"],
    "pytest": ["pytest_plugin"],
    "safetensors": ["training.checkpoint"],
    "llvmlite": [
        "llvm.*", "gemm", "gemm.*", "vecmath", "vecmath.*", "codegen.linker", "codegen.straight_line",
        "codegen.numba_frontend", "codegen.rare_paths", "codegen.scalar_compiler", "codegen.scalar_values",
        "runtime.*", "profile.peak_flops",
    ],
    "numba": [
        "llvm.numba_internals", "codegen.numba_frontend", "codegen.bounds_checks", "vecmath.numba_overloads", "gemm.standalone",
        "gemm.numba_intrinsics",
    ],
}

ONLY_LATE: dict[str, dict[str, str]] = {}  # the same, inside functions, each with its reason

MAX_LINES = 350
LONGER = {  # file: lines it may have, and why
    "tests/autodiff/test_scalar.py": (740, "one table of scalar functions that are differentiated, and what is refused"),
    "tests/graph/test_file.py": (620, "one table of what a graph file may hold, and of broken files"),
    "tests/ops/test_every_op.py": (480, "all that is tested of every op"),
    "tests/vecmath/test_math.py": (460, "one table of functions and their exact values"),
    "tests/test_math_of_nn.py": (420, "the tutorial's equations in their order"),
    "tests/rewrite/test_rowwise.py": (400, "softmax, normalisation and others against their parts"),
}


def modules():
    """(module name without the package, path) of all modules."""
    for path in sorted((ROOT / "graphexec").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "graphexec").with_suffix("").parts)
        yield name.removesuffix("__init__").removesuffix("."), path


NAMES = dict(modules())


@functools.cache
def imports(path):
    """(package, name inside it, inside a function?) of a file's imports; graphexec itself is ""."""
    found = []

    def add(name, late):
        if name == "graphexec" or name.startswith("graphexec."):
            inner = name[10:]
            found.append(("graphexec", inner if inner in NAMES else inner.rpartition(".")[0], late))
        else:
            package, _, inner = name.partition(".")
            found.append((package, inner, late))

    def visit(node, late):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                for alias in child.names:
                    add(alias.name, late)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                for alias in child.names:
                    add(f"{child.module}.{alias.name}", late)
            visit(child, late or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


def package(module):
    """The package, or the module beside the packages, that a module belongs to."""
    return module.split(".")[0] or "__init__"


def arrows():
    """(module, module that it imports), inside functions too."""
    for name, path in modules():
        for package, imported, _ in imports(path):
            if package == "graphexec" and imported != name:
                yield name, imported


def test_levels_name_each_package_once():
    assert sorted(LEVELS) == sorted({package(name) for name in NAMES})


def test_arrows_point_down():
    wrong = [
        f"{name} imports {imported or 'graphexec'}, which stands above it"
        for name, imported in arrows()
        if LEVELS.index(package(imported)) > LEVELS.index(package(name))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circles():
    """Imports of modules have an order, those inside functions counted."""
    found = nx.DiGraph(list(arrows()))
    assert nx.is_directed_acyclic_graph(found), nx.find_cycle(found)


@pytest.mark.parametrize("extra", [("ir.op", "rewrite.simplify.cse"), ("compiled", "executable"), ("graph.dag", "graph.graph")])
def test_a_wrong_arrow_is_found(extra):
    """The two tests above can fail."""
    found = nx.DiGraph([*arrows(), extra])
    assert not nx.is_directed_acyclic_graph(found) or LEVELS.index(package(extra[1])) > LEVELS.index(package(extra[0]))


def test_nobody_imports_the_ops():
    for name, path in modules():
        assert all(package not in ("graphexec_ops", "ops") for package, _, _ in imports(path)), name


@pytest.mark.parametrize("path", sorted((ROOT / "ops").rglob("*.py")), ids=lambda p: p.stem)
def test_ops_use_what_a_plugin_may(path):
    for package, inner, _ in imports(path):
        if package == "graphexec":
            assert inner in ("plugin", "math"), f"{path.name} imports graphexec.{inner}"
        elif package == "graphexec_ops":
            shared = inner.startswith(("_", f"{path.parent.name}._"))
            assert shared, f"{path.name} imports {inner}, which is no helper of its folder or of all ops"
        else:
            assert package in ("numpy", *sys.stdlib_module_names), f"{path.name} imports {package}"


@pytest.mark.parametrize("package", ONLY)
def test_third_parties_stay_where_they_belong(package):
    for name, path in modules():
        for imported, _, late in imports(path):
            if imported == package and not any(fnmatchcase(name, pattern) for pattern in ONLY[package]):
                assert late, f"graphexec.{name} imports {package}"
                assert name in ONLY_LATE.get(package, ()), f"graphexec.{name} imports {package} inside a function"


def test_size_budget():
    too_long = []
    for folder in ("graphexec", "ops", "tests", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            count = len(path.read_text(encoding="utf-8", errors="replace").splitlines()) if path.is_file() else 0
            allowed, _ = LONGER.get(path.relative_to(ROOT).as_posix(), (MAX_LINES, ""))
            if count > allowed:
                too_long.append(f"{path.relative_to(ROOT)}: {count} lines, {allowed} allowed")
    assert not too_long, "\n".join(too_long)


BY_NAME = re.compile(r"""op\.name *(==|!=|in |not in )|\.has\("|\.name *(==|!=) *["'](matmul|concat|add_n|unslice)""")


def test_the_engine_knows_ops_by_their_traits():
    """No file compares an op's name: what the engine may know of an op, the op declares, so that a plugin's op gets the same."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for _, path in modules()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if BY_NAME.search(line)
    ]
    assert not found, "\n".join(found)


PRIVATE_ALLOWED = {"_replace", "_asdict", "_fields", "_exit", "_thread"}
"""Names with an underscore that are public: those of named tuples, `os._exit`, the module `_thread`."""


def private_names(path):
    """(line, name) of each private name of another module or object that a test file takes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("graphexec"):
            yield from ((node.lineno, a.name) for a in node.names if a.name.startswith("_"))
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own and node.attr not in PRIVATE_ALLOWED:
                yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "setattr":  # of a monkeypatch
            names = (str(a.value).rpartition(".")[2] for a in node.args[:2] if isinstance(a, ast.Constant))
            yield from ((node.lineno, name) for name in names if name.startswith("_") and not name.startswith("__"))


@pytest.mark.parametrize("path", sorted(p for p in (ROOT / "tests").rglob("*.py") if "broken" not in p.parts), ids=lambda p: p.stem)
def test_tests_reach_for_no_private_name(path):
    assert list(private_names(path)) == []


def test_import_is_light_and_changes_nothing(tmp_path):
    """No compiler, no command line, no file formats; no files, no folders."""
    script = (
        "import os, sys\n"
        "before = dict(os.environ)\n"
        "import graphexec\n"
        "heavy = ['numba', 'llvmlite', 'networkx', 'click', 'yaml', 'tqdm', 'tabulate', 'safetensors']\n"
        "heavy = [m for m in heavy if m in sys.modules]\n"
        "assert not heavy, heavy\n"
        "assert dict(os.environ) == before\n"
        "assert not any(m.startswith('graphexec_ops') for m in sys.modules), 'ops load at the first question'\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GRAPHEXEC", "XDG"))}
    environment |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_every_folder_is_packaged():
    """setuptools is given a list, because `ops` and the pytest plugin are installed under other names."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    ours = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "graphexec").rglob("__init__.py")}
    ops = {".".join(["graphexec_ops", *p.parent.relative_to(ROOT / "ops").parts]) for p in (ROOT / "ops").rglob("__init__.py")}
    assert set(listed) == ours - {"graphexec.pytest_plugin"} | ops | {"pytest_graphexec"}


ASSERTS = {  # module: asserts that do more than tell mypy a type, and why `python -O` may drop them
    "rewrite.fusion.gemm_epilogue": "the pattern that matched says so",
    "llvm.fingerprint": "the packages of the engine have source files",
}


def narrows(test):
    """Whether an assert's condition only narrows a type: isinstance(...), or x is not None."""
    if isinstance(test, ast.Call):
        return isinstance(test.func, ast.Name) and test.func.id == "isinstance"
    return isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.IsNot)


def test_no_assert_guards_memory_or_user_input():
    found = {name for name, path in modules() for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Assert) and not narrows(node.test)}  # fmt: skip
    assert found == ASSERTS.keys()
