"""Who may import whom, how long a file may be, and what `import graphexec` costs.

The levels are written down once, in LEVELS. An import at the top of a module points to its own level or below, and no
imports at the top of modules go in a circle. Imports inside functions may point up where LATE says why.
"""

import ast
import os
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]

LEVELS = [  # names of modules, lowest level first
    [
        "autodiff", "codegen", "codegen.distributed_loops", "codegen.elementwise", "codegen.horizontal",
        "codegen.loop_distribution",
        "codegen.rowwise", "codegen.specialize", "errors", "graph", "ir", "ir.fused", "ir.fused.row_schedule", "lower", "optim",
        "profile", "rewrite.fusion", "rewrite.legalize", "rewrite.schedule", "rewrite.simplify", "runtime",
    ],
    [
        "codegen.linker", "codegen.numba_frontend", "codegen.straight_line", "gemm", "gemm.driver", "gemm.emitter", "gemm.im2col",
        "gemm.loops", "gemm.microkernels", "gemm.numba_intrinsics", "gemm.packing", "gemm.partition", "gemm.special_shapes",
        "gemm.standalone", "gemm.target", "ir.call_text", "ir.keys", "ir.op", "ir.spec", "ir.view", "llvm",
        "llvm.cache", "llvm.fingerprint",
        "llvm.interrupt", "llvm.numba_runtime", "llvm.toolchain", "math", "plugin", "profile.peak_flops", "runtime.entry",
        "runtime.thread_pool_ir", "vecmath", "vecmath.exponential", "vecmath.lane", "vecmath.numba_overloads",
        "vecmath.logarithm", "vecmath.slow_path",
        "vecmath.trigonometric",
    ],
    [
        "ir.registry",
    ],
    [
        "graph.graph", "ir.operators",
    ],
    [
        "autodiff.reverse", "autodiff.scalar", "autodiff.scalar.expressions", "autodiff.scalar.rules",
        "autodiff.scalar.statements",
        "autodiff.scalar.variables", "codegen.kernels", "graph.file", "graph.file.build", "graph.file.calls", "graph.file.fields",
        "graph.file.read", "graph.file.text", "graph.file.train_section", "graph.file.tree", "graph.file.validate",
        "graph.file.write", "ir.aliases", "ir.builder", "ir.function", "ir.fused.elementwise", "ir.fused.gemm_epilogue",
        "ir.fused.horizontal", "ir.infer", "lower.array_kernel", "lower.barriers", "lower.buffer_assignment",
        "lower.gemm_epilogue",
        "lower.horizontal", "lower.kernel_args", "lower.layout_assignment", "lower.program", "lower.rowwise",
        "optim.initializers",
        "optim.optimizers", "rewrite", "rewrite.fusion.decompose", "rewrite.fusion.elementwise", "rewrite.fusion.gemm_epilogue",
        "rewrite.fusion.horizontal", "rewrite.fusion.rowwise", "rewrite.fusion.superinstructions",
        "rewrite.legalize.expand_add_n",
        "rewrite.legalize.inline_composites", "rewrite.legalize.move_axis_last", "rewrite.legalize.unify_dtypes",
        "rewrite.schedule.checkpoint_segments", "rewrite.schedule.cluster_kernels", "rewrite.schedule.rematerialize",
        "rewrite.schedule.rematerialize_cheap", "rewrite.simplify.constant_folding", "rewrite.simplify.cse",
        "rewrite.simplify.dce",
        "rewrite.simplify.gemm_accumulate", "rewrite.simplify.hoist_shape_operands", "rewrite.simplify.rank1_matmul",
        "rewrite.simplify.transpose_folding", "runtime.call", "runtime.thread_tuner", "training",
    ],
    [
        "interpret", "pipeline",
    ],
    [
        "executable", "gradcheck", "gradcheck.problem", "profile.roofline", "profile.timer", "training.checkpoint",
        "training.data",
        "training.data.csv", "training.data.npy", "training.data.readers", "training.loop",
    ],
    [
        "", "__main__", "cli", "cli.command", "cli.commands", "cli.format", "cli.ops", "cli.profile", "cli.run", "cli.scaffold",
        "cli.session",
        "cli.train",
    ],
]  # fmt: skip

LATE = {  # imports inside functions that point up: (module, imported): reason
    ("graph.graph", "ir.infer"): "Graph.check and values infer what they are asked for",
    ("graph.graph", "ir.function"): "Graph.order reads itself",
    ("graph.graph", "graph.file"): "Graph.save writes itself",
    ("pipeline", "executable"): "an op called on arrays runs its program once, with the Runner that executables use",
    ("interpret", "optim.initializers"): "first values of parameters, when none are given",
}

ONLY = {  # third-party package: the modules that may import it
    "networkx": ["graph.graph", "ir.function", "graph.file.validate", "cli.run"],
    "click": ["cli", "cli.*"],
    "yaml": ["graph.file.text"],
    "tqdm": ["training.loop"],
    "tabulate": ["gradcheck", "cli.format"],
    "safetensors": ["training.checkpoint"],
    "llvmlite": [
        "llvm.*", "gemm", "gemm.*", "vecmath", "vecmath.*", "codegen.linker", "codegen.straight_line",
        "codegen.numba_frontend", "runtime.*",
        "profile.peak_flops",
    ],
    "numba": ["codegen.numba_frontend", "vecmath.numba_overloads", "gemm.standalone", "gemm.numba_intrinsics"],
}

ONLY_LATE = {  # the same, inside functions
    "numba": {
        "codegen.kernels": "numba's errors, when something is compiled",
        "codegen.linker": "the runtime that kernels which allocate call",
    },
}

MOST_LINES = 500
LONGER = {  # file: lines it may have, and why
    "elementwise.py": (680, "the loops of every kernel; each emitter reads as the loop it writes"),
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


def test_every_folder_is_packaged():
    """setuptools is given a list, because `ops` is installed under another name."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    ours = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "graphexec").rglob("__init__.py")}
    ops = {".".join(["graphexec_ops", *p.parent.relative_to(ROOT / "ops").parts]) for p in (ROOT / "ops").rglob("__init__.py")}
    assert set(listed) == ours | ops
