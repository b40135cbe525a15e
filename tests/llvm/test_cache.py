"""The kernel cache, from process to process."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from graphexec.codegen import linker as library
from graphexec.llvm import cache, toolchain

SCRIPT = """\
import json, sys, warnings
import numpy as np
warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import graphexec as gx
    from graphexec.codegen import kernels
    names = gx.load_plugin(sys.argv[1])
    g = gx.Graph("cached")
    x = g.input("x", (4,), "float64")
    g.output(gx.ops.bent(x, name="y"), gx.ops.sum(x, name="s"))
    out = gx.compile(g, threads=1)(x=[1.0, 2.0, 3.0, 4.0])
print(json.dumps({
    "y": out["y"].tolist(), "s": float(out["s"]), "compiled": len(kernels.compiled), "numba": "numba" in sys.modules,
    "warnings": [str(w.message) for w in caught],
}))
"""

PLUGIN = """\
from graphexec.plugin import elementwise
from bent_helper import bend

@elementwise(reference=lambda x: 2.0 * x, domain=(-1, 1), differentiable=False)
def bent(x):
    return bend(x)
"""

HELPER = """\
from numba.extending import register_jitable

@register_jitable
def bend(x):
    return {factor} * x
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A plugin that calls a helper of another module, and an empty cache."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "plugin.py").write_text(PLUGIN)
    (folder / "bent_helper.py").write_text(HELPER.format(factor="2.0"))
    return folder


def process(folder, cache):
    environment = {**os.environ, "GRAPHEXEC_CACHE_DIR": str(cache), "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", SCRIPT, str(folder / "plugin.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def first(folder):
    """What the first process with an empty cache does."""
    return process(folder, folder / "kernels")


def test_the_first_process_compiles(first, folder):
    assert first["y"] == [2.0, 4.0, 6.0, 8.0]
    assert first["s"] == 10.0
    assert first["compiled"] == 2
    assert first["warnings"] == []
    assert (folder / "kernels").stat().st_mode & 0o777 == 0o700


def test_a_damaged_file_is_compiled_again(first, folder):
    for file in (folder / "kernels").iterdir():
        content = file.read_bytes()
        file.write_bytes(content[:-7] + b"garbage" if file.suffix == ".o" else content[: len(content) // 2])
    again = process(folder, folder / "kernels")
    assert again == first


def test_a_folder_that_cannot_be_used_costs_one_warning(first, folder):
    (folder / "file").write_text("not a folder")
    found = process(folder, folder / "file")
    assert (found["y"], found["compiled"]) == (first["y"], first["compiled"])
    assert len(found["warnings"]) == 1
    assert "kernels are not cached" in found["warnings"][0]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX permissions")
def test_a_folder_that_others_may_write_to_is_not_used(first, folder):
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    found = process(folder, shared)
    assert found["y"] == first["y"]
    assert len(found["warnings"]) == 1
    assert list(shared.iterdir()) == []


def test_a_change_in_a_helper_of_another_module_is_compiled(first, folder):
    (folder / "bent_helper.py").write_text(HELPER.format(factor="3.0"))
    try:
        found = process(folder, folder / "kernels")
    finally:
        (folder / "bent_helper.py").write_text(HELPER.format(factor="2.0"))
    assert found["y"] == [3.0, 6.0, 9.0, 12.0]
    assert found["compiled"] == 1


NO_NUMBA = """\
import sys
import numpy as np
import graphexec as gx
from graphexec.codegen import kernels
g = gx.Graph("warm")
x, w = g.input("x", ("n", 3)), g.parameter("w", (2, 3), init="normal")
g.output(gx.ops.sum(gx.ops.square(gx.ops.tanh(gx.ops.linear(x, w))), name="loss"))
exe = gx.compile(g, loss="loss", optimizer=gx.Adam(), threads=1)
exe.step(x=np.ones((4, 3)))
exe(x=np.ones((5, 3)))
print(len(kernels.compiled), "numba" in sys.modules)
"""


def test_the_second_process_compiles_nothing(tmp_path):
    environment = {**os.environ, "GRAPHEXEC_CACHE_DIR": str(tmp_path / "kernels")}
    lines = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", NO_NUMBA], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        lines.append(done.stdout.split())
    assert int(lines[0][0]) > 0
    assert lines[1] == ["0", "False"]


class Dropped:
    """What is raised in a destructor is printed and lost."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def heeded():
    """Ctrl-C raises KeyboardInterrupt, also in tests that run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
def test_an_interrupt_while_code_is_made_takes_effect_afterwards(tmp_path):
    made = []

    def make(name):
        Dropped()
        made.append(name)
        return [f"define i64 @{name}() {{\n  ret i64 7\n}}"], name

    name = toolchain.symbol_name("interrupted", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        library.obtain(name, lambda: make(name))
    assert made == [name]
    assert cache.read(f"{name}.o") is not None
    assert library.obtain(name, lambda: make(name)) > 0
    assert made == [name]


def test_other_threads_make_code_without_touching_signals(tmp_path):
    name, found = toolchain.symbol_name("elsewhere", str(tmp_path)), []
    text = f"define i64 @{name}() {{\n  ret i64 7\n}}"
    thread = threading.Thread(target=lambda: found.append(library.obtain(name, lambda: ([text], name))))
    thread.start()
    thread.join()
    assert found[0] > 0


# -- what is trusted


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An empty cache of this process, with one entry ``a.o``."""
    monkeypatch.setenv("GRAPHEXEC_CACHE_DIR", str(tmp_path / "own"))
    cache.directory.cache_clear()
    cache.write("a.o", b"content")
    yield tmp_path / "own"
    monkeypatch.undo()
    cache.directory.cache_clear()


def as_fifo(path):
    path.unlink()
    os.mkfifo(path)


def as_folder(path):
    path.unlink()
    path.mkdir()


def as_full_folder(path):
    as_folder(path)
    (path / "inner").write_text("")


def as_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def as_dangling_link(path):
    path.unlink()
    path.symlink_to(path.parents[1] / "elsewhere")


def flipped(position):
    def flip(path):
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(bytes(content))

    flip.__name__ = f"flipped_{position}"
    return flip


def shortened(path):
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path):
    path.write_bytes(b"")


def shared(path):
    path.chmod(0o666)




SPOILT = [as_fifo, as_folder, as_full_folder, as_link, as_dangling_link, flipped(0), flipped(25), flipped(-1), shortened, emptied,
          shared]  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("spoil", SPOILT, ids=lambda f: f.__name__)
def test_what_is_not_sound_is_compiled_again_without_a_word(own, spoil):
    assert cache.read("a.o") == b"content"
    spoil(own / "a.o")
    assert cache.read("a.o") is None
    cache.write("a.o", b"new")
    assert cache.read("a.o") == b"new"
    assert not (own / "a.o").is_symlink()
    assert not (own.parent / "elsewhere").exists()


def test_a_sound_file_under_another_name_is_not_trusted(own):
    """Object code without the expected function would end the process."""
    (own / "a.o").rename(own / "b.o")
    assert cache.read("b.o") is None
    assert cache.read("a.o") is None


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_not_trusted(own):
    os.chown(own / "a.o", 12345, -1)
    assert cache.read("a.o") is None
    cache.write("a.o", b"new")
    assert cache.read("a.o") == b"new"


def where(tmp_path, **environment):
    """The cache folder in an environment, and the warnings."""
    script = (
        "import os, pwd, sys, warnings\n"
        "from graphexec.llvm import cache\n"
        "uid = sys.argv[1]\n"
        "if uid != '-': os.setuid(int(uid))\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    cache.directory(); cache.write('x', b''); cache.read('x')\n"
        "    print(cache.directory()); [print(w.message) for w in caught]\n"
    )
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME", "GRAPHEXEC_CACHE_DIR")}
    uid = environment.pop("uid", "-")
    command = [sys.executable, "-c", script, uid]
    done = subprocess.run(command, env=kept | environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_where_the_cache_is(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    assert where(tmp_path, HOME=str(home)) == [str(home / ".cache" / "graphexec")]
    assert where(tmp_path, HOME=str(home), XDG_CACHE_HOME=str(tmp_path / "xdg")) == [str(tmp_path / "xdg" / "graphexec")]
    assert where(tmp_path, HOME=str(home), XDG_CACHE_HOME="relative") == [str(home / ".cache" / "graphexec")]
    assert where(tmp_path, HOME=str(home), GRAPHEXEC_CACHE_DIR="here") == [str(tmp_path / "here")]


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root becomes another user")
def test_no_home_is_one_warning(tmp_path):
    """A user id without an entry, as containers have; `Path.home` raises."""
    found = where(tmp_path, uid="54321")
    assert len(found) == 2
    assert found[0] == "None"
    assert "kernels are not cached" in found[1]


@pytest.mark.parametrize("home", ["/proc/none", "relative", "/dev/null"])
def test_a_home_that_cannot_hold_a_cache_is_one_warning(tmp_path, home):
    found = where(tmp_path, HOME=home)
    assert found[0] == "None"
    assert len(found) == 2
    assert found[1].startswith("graphexec: kernels are not cached: ")
    assert found[1].endswith(". Set GRAPHEXEC_CACHE_DIR to a private folder.")
