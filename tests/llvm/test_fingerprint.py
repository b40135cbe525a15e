"""What a kernel's cache key holds of the engine itself."""

import ast
import re
from pathlib import Path

import graphexec
from graphexec.llvm import fingerprint

PACKAGE = Path(graphexec.__file__).parent

HANDS_OVER = re.compile(r"\b(linker\.obtain|toolchain\.(build|optimized))\(")
MAKE_CODE = [p for p in sorted(PACKAGE.rglob("*.py")) if HANDS_OVER.search(p.read_text(encoding="utf-8"))]
"""The modules that hand IR to LLVM, wherever they are."""


def imported(path):
    """The files of graphexec that a file imports, at the top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "graphexec":
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.partition(".")[0] == "graphexec"]
        for name in names:
            for n in range(2, name.count(".") + 2):  # a package on the way is imported too
                stem = PACKAGE.joinpath(*name.split(".")[1:n])
                for file in (stem.with_suffix(".py"), stem / "__init__.py"):
                    if file.exists():
                        yield file


def reached(begin):
    """All files that these import, directly or not."""
    found, queue = set(), list(begin)
    while queue:
        file = queue.pop()
        if file not in found:
            found.add(file)
            queue += imported(file)
    return found


def test_all_modules_that_make_code_are_known():
    names = {p.relative_to(PACKAGE).as_posix() for p in MAKE_CODE}
    assert names >= {"codegen/kernels.py", "codegen/linker.py", "runtime/entry.py", "profile/peak_flops.py"}


def test_every_source_that_can_change_a_kernel_is_in_its_key():
    """A module that code generation imports, and the key leaves out, would let an edit run stale code."""
    missing = reached(MAKE_CODE) - set(fingerprint.sources())
    assert not missing, f"add to fingerprint.SOURCES: {sorted(str(f.relative_to(PACKAGE)) for f in missing)}"


def test_a_module_that_is_left_out_is_found(monkeypatch):
    """The test above can fail: for each source, by itself, that code generation reaches."""
    known = set(fingerprint.sources())
    for module in ("kernels", "specialize", "loop_distribution", "straight_line", "elementwise"):
        file = PACKAGE / "codegen" / f"{module}.py"
        assert file in known
        monkeypatch.setattr(fingerprint, "sources", lambda file=file: sorted(known - {file}))
        assert reached(MAKE_CODE) - set(fingerprint.sources()) == {file}


def test_a_change_in_any_source_changes_the_key(tmp_path, monkeypatch):
    found = set()
    for k, file in enumerate(fingerprint.sources()):
        edited = tmp_path / f"{k}.py"
        edited.write_text(file.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
        files = [edited if f == file else f for f in fingerprint.sources()]
        with monkeypatch.context() as patch:
            patch.setattr(fingerprint, "sources", lambda files=files: files)
            found.add(fingerprint.environment.__wrapped__())
    assert len(found) == len(fingerprint.sources())
    assert fingerprint.environment() not in found
