"""The native code that the package brings: fresh, never stale, found by its IR alone, and what this machine would compile."""

import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from helpers.run import native

from graphexec.codegen import kernels, linker
from graphexec.gemm.shared import SHARED, key_of, write_shared
from graphexec.gemm.target import target_for
from graphexec.ir.registry import registry
from graphexec.llvm import object_code, toolchain
from graphexec.llvm.shipped import Archive

ISA = {"x86-64-v4": "avx512", "x86-64-v3": "avx2"}
SHARED_FUNCTIONS = [f"{kind}_{dtype}" for kind in SHARED for dtype in ("float32", "float64")]
OPS = {
    "relu": [np.linspace(-1, 1, 64, dtype="float32").reshape(8, 8)],
    "sum": [np.ones((5, 7))],
    "gather": [np.ones((4, 3)), np.array([1, 0])],
    "max_pool": [np.ones((1, 1, 4, 4), "float32")],
}
ATTRIBUTES = {"max_pool": {"kernel": (2, 2)}}


@pytest.fixture(params=list(object_code.LEVELS))
def archive(request):
    found = object_code.ARCHIVES[request.param]
    comment = zipfile.ZipFile(found.path).comment.decode()
    if comment.split()[:3] != object_code.made_with().split()[:3]:
        pytest.skip(f"made with another version of llvmlite, or for another platform: {comment}")
    assert comment == object_code.made_with(), "run `python tests/shipped_code.py`"
    return request.param, found


def compiling_for(level, monkeypatch):
    features = ",".join(f"+{name}" for name in object_code.LEVELS[level])
    monkeypatch.setattr(toolchain, "host", lambda: (level, features))


def test_the_product_is_fresh(archive):
    """After a change of `graphexec/gemm` or `llvm/toolchain.py`, run `python tests/shipped_code.py`."""
    level, found = archive
    names = set(found.members.namelist())
    assert {key_of(name, ISA[level]) for name in SHARED_FUNCTIONS} <= names
    assert len(names) > 300
    assert found.path.stat().st_size < 1e6


@pytest.mark.parametrize("name", ["im2col_float32", *(pytest.param(n, marks=pytest.mark.slow) for n in SHARED_FUNCTIONS)])
def test_the_product_is_what_would_be_compiled(archive, name, monkeypatch):
    level, found = archive
    kind, _, dtype = name.partition("_")
    entry = object_code.placeholder(f"shared_{name}_{'0' * 32}")
    text = write_shared(kind, target_for(dtype, ISA[level]), entry)
    key = key_of(name, ISA[level])
    compiling_for(level, monkeypatch)
    assert linker.pack(toolchain.build([text], entry, written=kind == "gemm"), linker.needs([text])) == found.read_bytes(key)


def recorded(monkeypatch, name):
    """(modules, entry, written) of each kernel that an op compiles in an empty cache."""
    found, real = [], object_code.key_of
    for kept in (kernels.loaded, linker.loaded):
        for key in list(kept):
            monkeypatch.delitem(kept, key)
    monkeypatch.setattr(linker.cache, "read", lambda name: None)

    def key(modules, entry, *, written):
        found.append((object_code.canonical(modules, entry), object_code.placeholder(entry), written))
        return real(modules, entry, written=written)

    monkeypatch.setattr(object_code, "key_of", key)
    monkeypatch.setattr(linker, "obtain", unique(linker.obtain))
    native(registry.get(name), OPS[name], ATTRIBUTES.get(name))
    monkeypatch.setattr(object_code, "key_of", real)
    return found


def unique(obtain):
    """The process may have loaded a kernel of this name, and the names of loaded code must be new."""

    def wrapped(name, make, **options):
        other = name[:-32] + os.urandom(16).hex()
        return obtain(other, lambda: ([renamed(text, name, other) for text in make()[0]], other), **options)

    return wrapped


def renamed(text, name, other):
    changed = text.replace(name, other)
    return toolchain.Portable(changed, text.entry) if isinstance(text, toolchain.Portable) else changed


@pytest.mark.parametrize("name", OPS)
def test_a_kernel_is_what_would_be_compiled(archive, name, monkeypatch):
    level, found = archive
    made = recorded(monkeypatch, name)
    assert made
    compiling_for(level, monkeypatch)
    for modules, entry, written in made:
        content = found.read_bytes(object_code.key_of(modules, entry, written=written))
        assert content is not None, entry
        assert linker.pack(toolchain.build(modules, entry, written=written), linker.needs(modules)) == content


ENTRY = "twice_" + "a" * 32
IR = "define i64 @twice_{0}(i64 %x) {{\n  %y = call i64 @half_{1}(i64 %x)\n  ret i64 %y\n}}\ndeclare i64 @half_{1}(i64)\n"


def test_code_is_found_whatever_the_hashes_are():
    first = [IR.format("a" * 32, "b" * 32)]
    other = [IR.format("c" * 32, "d" * 32)]
    assert object_code.key_of(first, ENTRY, written=False) == object_code.key_of(other, "twice_" + "c" * 32, written=False)


@pytest.mark.parametrize("change", ["instruction", "symbols", "order", "options", "portable"])
def test_other_ir_is_other_code(change):
    module, second = IR.format("a" * 32, "b" * 32), "declare void @x()"
    before = object_code.key_of([module, second], ENTRY, written=False)
    after = {
        "instruction": lambda: object_code.key_of([module.replace("ret i64 %y", "ret i64 %x"), second], ENTRY, written=False),
        "symbols": lambda: object_code.key_of([IR.format("a" * 32, "a" * 32), second], ENTRY, written=False),
        "order": lambda: object_code.key_of([second, module], ENTRY, written=False),
        "options": lambda: object_code.key_of([module, second], ENTRY, written=True),
        "portable": lambda: object_code.key_of([module, toolchain.Portable(second, "x")], ENTRY, written=False),
    }[change]()
    assert after != before


def test_another_llvm_ignores_the_archives(monkeypatch):
    real = object_code.version
    before = object_code.made_with()
    monkeypatch.setattr(object_code, "version", lambda package: "0.0" if package == "llvmlite" else real(package))
    object_code.made_with.cache_clear()
    try:
        assert object_code.made_with() != before
        for found in object_code.ARCHIVES.values():
            assert Archive(found.path, object_code.made_with).members is None
    finally:
        object_code.made_with.cache_clear()


@pytest.mark.parametrize(
    ("features", "level"),
    [
        ("x86-64-v4", "x86-64-v4"), ("x86-64-v3", "x86-64-v3"), ("x86-64-v4 without avx512vl", "x86-64-v3"),
        ("x86-64-v3 without fma", None), ("none", None),
    ],
)  # fmt: skip
def test_the_level_of_a_processor(features, level, monkeypatch):
    name, _, missing = features.partition(" without ")
    text = ",".join(f"+{f}" if f != missing else f"-{f}" for f in object_code.LEVELS.get(name, ()))
    monkeypatch.setattr(toolchain, "host", lambda: ("some", text))
    object_code.level.cache_clear()
    try:
        assert object_code.level() == level
        if level is None:
            assert object_code.find("sum", ENTRY) is None
    finally:
        object_code.level.cache_clear()


SCRIPT = """
import sys
import numpy as np
import graphexec as gx
from graphexec.llvm import object_code, toolchain
built, build = [], toolchain.build
toolchain.build = lambda modules, entry, **options: (built.append(entry[:-33]), build(modules, entry, **options))[1]
if sys.argv[1] == "without":
    object_code.ARCHIVES.clear()
    object_code.level = lambda: None
g = gx.Graph("net")
x, label = g.input("x", ("n", 1, 8, 8)), g.input("label", ("n",), dtype="int64")
w, v = g.parameter("w", (4, 1, 3, 3), init="normal(std=0.1)"), g.parameter("v", (36, 3), init="normal(std=0.1)")
h = gx.ops.max_pool(gx.ops.relu(gx.ops.conv(x, w)), kernel=2)
g.output(gx.ops.softmax_cross_entropy(gx.ops.flatten(h) @ v, label, name="loss"))
exe = gx.compile(g, loss="loss", optimizer=gx.Adam(), threads=1, seed=1)
for _ in range(3):
    print(float(exe.step(x=np.random.default_rng(0).standard_normal((5, 1, 8, 8), "float32"), label=np.arange(5) % 3)))
print(*sorted(set(built) - {"fused", "rows"}))
"""


def run(folder, how):
    folder.mkdir(mode=0o700)
    variables = {**os.environ, "GRAPHEXEC_CACHE_DIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    *losses, built = done.stdout.splitlines()
    return losses, built.split()


def test_the_same_results_with_and_without(tmp_path):
    if object_code.level() is None or object_code.ARCHIVES[object_code.level()].members is None:
        pytest.skip("no archive for this processor or these versions")
    losses, built = run(tmp_path / "a", "with")
    others, compiled = run(tmp_path / "b", "without")
    assert losses == others
    assert not set(built) & {"correlate", "correlate_weights", "shared_gemm_float32", "max_windows", "serve"}, built
    assert set(compiled) > {"correlate", "correlate_weights", "shared_gemm_float32", "max_windows"}
