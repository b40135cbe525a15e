"""Who may import whom, how long a file may be, and what `import graphexec` costs.

The levels are written down once, in LEVELS. An import at the top of a module points to its own level or below, and no
imports at the top of modules go in a circle. Imports inside functions may point up where LATE says why.
"""

import ast
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]

LEVELS = [  # patterns of module names, lowest level first
    ["errors", "source", "codegen", "codegen_rows", "codegen_stages", "codegen_multi_tensor", "row_plan", "stages"],
    ["spec", "keys", "view", "op", "plugin", "call", "math", "native", "native.*"],
    ["registry"],
    ["arithmetic", "graph"],
    [
        "order", "infer", "builder", "derive", "derive_*", "differentiate", "rewrite", "rewrite.*", "fused", "product_op", "layout",
        "memory", "multi_tensor", "meetings",
        "kernels", "template", "template_*", "program", "execute", "pace", "graphfile", "graphfile_*", "training",
        "training.initializers", "training.optimizers",
    ],
    ["pipeline", "interpret"],
    ["executable", "machine", "timing", "gradcheck", "gradcheck_*", "training.*"],
    ["cli", "cli_*", "__main__", ""],
]  # fmt: skip

LATE = {  # imports inside functions that point up: (module, imported): reason
    ("graph", "infer"): "Graph.check and values infer what they are asked for",
    ("graph", "order"): "Graph.order reads itself",
    ("graph", "graphfile"): "Graph.save writes itself",
    ("pipeline", "executable"): "an op called on arrays runs its program once, with the Runner that executables use",
    ("interpret", "training.initializers"): "first values of parameters, when none are given",
}

ONLY = {  # third-party package: the modules that may import it
    "networkx": ["graph", "order", "graphfile_check", "cli_run"],
    "click": ["cli", "cli_*"],
    "yaml": ["graphfile_text"],
    "tqdm": ["training.loop"],
    "tabulate": ["gradcheck", "cli_print"],
    "safetensors": ["training.checkpoint"],
    "llvmlite": ["native.*"],
    "numba": ["native.frontend", "native.vector_math", "native.gemm", "native.product"],
}

ONLY_LATE = {  # the same, inside functions
    "numba": {
        "kernels": "numba's errors, when something is compiled",
        "native.library": "the runtime that kernels which allocate call",
    },
}

MOST_LINES = 500
LONGER = {  # file: lines it may have, and why
    "codegen.py": (680, "the loops of every kernel; each emitter reads as the loop it writes"),
    "op.py": (540, "the six kinds of op, one record and one shape rule each"),
    "program.py": (560, "lowering, one template maker for each kind of kernel"),
}


def modules():
    """(module name without the package, path) of all modules."""
    for path in sorted((ROOT / "graphexec").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "graphexec").with_suffix("").parts)
        yield name.removesuffix("__init__").removesuffix("."), path


NAMES = dict(modules())


def imports(path, package="graphexec"):
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


def level(module):
    for number, patterns in enumerate(LEVELS):
        if module in patterns:
            return number
    for number, patterns in enumerate(LEVELS):
        if any(fnmatchcase(module, p) for p in patterns):
            return number
    raise AssertionError(f"graphexec.{module} stands on no level: add it to LEVELS")


def test_every_module_stands_on_a_level():
    assert all(level(name) >= 0 for name in NAMES)


def test_arrows_point_down():
    wrong = []
    for name, path in modules():
        for package, imported, late in imports(path):
            if package == "graphexec" and level(imported) > level(name) and not (late and (name, imported) in LATE):
                wrong.append(f"{name} (level {level(name)}) imports {imported or 'graphexec'} (level {level(imported)})")
    assert not wrong, "\n".join(wrong)


def test_exceptions_are_needed():
    """A reason that no import needs any more is struck out."""
    there = {(name, i) for name, path in modules() for package, i, late in imports(path) if package == "graphexec" and late}
    assert there >= LATE.keys(), LATE.keys() - there


def test_no_circles():
    """Imports at the top of modules have an order."""
    arrows = nx.DiGraph()
    for name, path in modules():
        arrows.add_edges_from((name, i) for package, i, late in imports(path) if package == "graphexec" and not late and i != name)
    assert nx.is_directed_acyclic_graph(arrows), nx.find_cycle(arrows)


def test_nobody_imports_the_ops():
    for name, path in modules():
        assert all(package not in ("graphexec_ops", "ops") for package, _, _ in imports(path)), name


@pytest.mark.parametrize("path", sorted((ROOT / "ops").rglob("*.py")), ids=lambda p: p.stem)
def test_ops_use_what_a_plugin_may(path):
    for package, inner, _ in imports(path):
        if package == "graphexec":
            assert inner in ("plugin", "math"), f"{path.name} imports graphexec.{inner}"
        elif package == "graphexec_ops":
            assert inner.startswith(f"{path.parent.name}._"), f"{path.name} imports {inner}, which is no helper of its folder"
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
    for folder in ("graphexec", "ops"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            count = len(path.read_text(encoding="utf-8").splitlines())
            most, _ = LONGER.get(path.name, (MOST_LINES, ""))
            if count > most:
                too_long.append(f"{path.relative_to(ROOT)}: {count} lines, {most} allowed")
    assert not too_long, "\n".join(too_long)


def test_import_is_light_and_changes_nothing(tmp_path):
    """No compiler, no command line, no file formats; no files, no folders."""
    script = (
        "import os, sys\n"
        "before = dict(os.environ)\n"
        "import graphexec\n"
        "heavy = [m for m in ('numba', 'click', 'yaml', 'tqdm', 'tabulate', 'safetensors') if m in sys.modules]\n"
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
