"""Implements `graphexec ops new`: writes a working op, as a file or in a package, whole or not at all."""

from __future__ import annotations

import contextlib
import importlib.util
import keyword
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from graphexec import process
from graphexec.cli.op_templates import KINDS
from graphexec.cli.package_templates import ARGUMENT, ARGUMENTS, FILES
from graphexec.cli.session import Result, Settings, load_plugins
from graphexec.errors import PluginError
from graphexec.ir.api_version import API_VERSION
from graphexec.ir.registry import registry
from graphexec.system_errors import unwritable

USE = "Try it: `graphexec ops check {name}.py`; use it: `graphexec train FILE --plugin {name}.py`.\n"


def new(name: str, settings: Settings, kind: str, package: bool) -> Result:
    """Writes NAME.py, a working plugin, or a package that has it.

    *Raises* PluginError for an invalid or taken name, and for a file or folder that exists.
    """
    load_plugins(settings)
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or not name.isascii():
        raise PluginError(
            f"{name!r} is not a valid op name", todo="Use letters, digits and underscores, as for a Python function."
        )
    if name in registry:
        raise PluginError(f"an op named {name!r} exists already", source=registry.get(name).file, todo="Choose another name.")
    return _new_package(name, kind) if package else _new_file(name, kind)


def _new_file(name: str, kind: str) -> Result:
    path = Path(f"{name}.py")
    try:
        with open(path, "x", encoding="utf-8") as stream, _removed_on_failure(path):
            stream.write(_filled(KINDS[kind], use=USE, name=name))
            stream.flush()
    except FileExistsError:
        raise PluginError("the file exists already", source=str(path), todo="Choose another name, or move the file away.") from None
    except OSError as error:
        raise unwritable(path, error, PluginError) from error
    return Result(f"wrote {path}\nTry it: graphexec ops check {path}", {"file": str(path), "op": name})


def _new_package(name: str, kind: str) -> Result:
    from importlib.metadata import version  # late: it takes as long as a third of NumPy

    package, folder = f"graphexec_{name}", Path(f"graphexec-{name.replace('_', '-')}")
    if importlib.util.find_spec(package) is not None:
        raise PluginError(f"a package named {package!r} is installed already", todo="Choose another name.")
    words = {
        "name": name, "package": package, "distribution": folder.name, "version": version("graphexec"), "api": str(API_VERSION),
        "use": "", "arguments": ARGUMENTS.get(kind, ARGUMENT),
    }  # fmt: skip
    texts = {_filled(path, **words): _filled(text, **words) for path, text in FILES.items()}
    texts[f"src/{package}/{name}.py"] = _filled(KINDS[kind], **words)
    try:
        _require_absent(folder)
        temporary = folder.with_name(f".{folder.name}.{os.urandom(6).hex()}")
        with _removed_on_failure(temporary):
            _write_all(temporary, texts)
            _require_absent(folder)
            temporary.rename(folder)
    except FileExistsError:
        raise PluginError("it exists already", source=str(folder), todo="Choose another name, or move it away.") from None
    except OSError as error:
        raise unwritable(folder, error, PluginError) from error
    lines = [f"wrote {folder}", *(f"  {path}" for path in sorted(texts))]
    lines.append(f"Try it: cd {folder} && pip install --editable '.[test]' && pytest")
    return Result("\n".join(lines), {"folder": str(folder), "files": sorted(texts), "op": name})


def _filled(text: str, **words: str) -> str:
    """The text with words in place of their names; other braces stay."""
    for key, word in words.items():
        text = text.replace(f"{{{key}}}", word)
    return text


def _write_all(folder: Path, texts: Mapping[str, str]) -> None:
    folder.mkdir()
    for path, text in texts.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    """Removes a file or a folder if the block ends with an error, or the command by a signal."""

    def remove() -> None:
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.unlink()

    process.before_leaving.append(remove)  # a signal ends the command without running the lines below
    try:
        yield
    except BaseException:
        remove()
        raise
    finally:
        process.before_leaving.remove(remove)


def _require_absent(path: Path) -> None:
    if os.path.lexists(path):
        raise FileExistsError(path)
