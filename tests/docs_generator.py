"""Writes what `graphexec/docs/` takes from the code: `python tests/docs_generator.py` brings every page up to date.

Two pages are generated whole, `cli.md` from click and `api.md` from signatures and docstrings. In other pages a *region*
between ``<!-- name: argument -->`` and ``<!-- end -->`` is: tables of modules, of passes and of conventions. Outputs of the
tutorial and of `graph-files.md`, the ``text`` blocks after Python blocks, are what the code prints. `tests/test_docs.py`
fails while any of these is stale.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "graphexec"
DOCS = PACKAGE / "docs"
NOTE = "<!-- Written by tests/docs_generator.py; edits here are lost. -->"
REGION = re.compile(r"(<!-- (modules|passes|conventions|math):? ?([\w/. ]*?) ?-->\n).*?(<!-- end -->)", re.S)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def summary(docstring: str | None) -> str:
    """The first sentence of a docstring, without the name before its colon, on one line."""
    paragraph = inspect.cleandoc(docstring or "").split("\n\n")[0].replace("\n", " ")
    sentence = re.split(r"(?<=[^.][.])\s|:$", paragraph)[0].rstrip(".:;")
    name, colon, rest = sentence.partition(": ")
    text = rest if colon and re.fullmatch(r"[\w ]{1,24}", name) and " " not in name else sentence
    return text[:1].upper() + text[1:]


# -- regions


def modules_table(folders: str) -> str:
    """Every module of the packages, in the order of their names, with its first sentence."""
    rows = []
    for folder in folders.split():
        files = [PACKAGE / folder] if folder.endswith(".py") else sorted((PACKAGE / folder).rglob("*.py"))
        for path in files:
            doc = summary(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))))
            if path.name != "__init__.py" or len(path.read_text(encoding="utf-8").splitlines()) > 1:
                rows.append(f"| `{path.relative_to(PACKAGE)}` | {doc} |")
    return "\n".join(["| module | |", "| --- | --- |", *rows, ""])


def passes_table(_: str) -> str:
    """`graphexec.rewrite.PASSES`: name, module, first sentence, and the comment that says why it runs where it does."""
    from graphexec.rewrite import OPTIONAL, PASSES

    source = (PACKAGE / "rewrite" / "__init__.py").read_text(encoding="utf-8")
    reasons = dict(re.findall(r'^    "(\w+)": .*?,  # (.*)$', source, re.M))
    found = dict(_functions())
    rows = []
    for number, name in enumerate(PASSES, 1):
        path, text = found[name]
        optional = "" if name in OPTIONAL else " (always runs)"
        reason = reasons.get(name, "")
        rows.append(f"| {number} | `{name}`{optional} | `{path}` | {text} | {reason[:1].upper() + reason[1:]} |")
    return "\n".join(["| | pass | module | what it does | why it runs here |", "| --- | --- | --- | --- | --- |", *rows, ""])


def _functions() -> Iterator[tuple[str, tuple[str, str]]]:
    """Each public function of `rewrite`, where it is defined, and what it does: its module's first sentence if it is alone."""
    from graphexec.rewrite import PASSES

    for path in sorted((PACKAGE / "rewrite").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        passes = [f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name in PASSES]
        for function in passes:
            own = len(passes) > 1 or path.name == "__init__.py"
            yield function.name, (str(path.relative_to(PACKAGE)), summary(ast.get_docstring(function if own else tree)))


def conventions_table(_: str) -> str:
    """The table that the tests check: values and slopes at kinks, ties, poles, infinities and NaN."""
    sys.path.insert(0, str(ROOT / "tests" / "ops"))
    try:
        from conventions import page
    finally:
        sys.path.pop(0)
    return page() + "\n"


def math_table(_: str) -> str:
    """Every function of `graphexec.math`, with its docstring."""
    import graphexec.math

    rows = ["| function | |", "| --- | --- |"]
    for name in sorted(graphexec.math.__all__):
        function = getattr(graphexec.math, name)
        call = f"{name}({', '.join(inspect.signature(function).parameters)})"
        text = " ".join(function.__doc__.split()).replace("|", "\\|").replace("**", "\\*\\*")
        rows.append(f"| `{call}` | {text} |")
    return "\n".join([*rows, ""])


REGIONS: dict[str, Callable[[str], str]] = {
    "modules": modules_table, "passes": passes_table, "conventions": conventions_table, "math": math_table,
}  # fmt: skip


def with_regions(text: str) -> str:
    return REGION.sub(lambda m: m[1] + REGIONS[m[2]](m[3]) + m[4], text)


# -- the command line


def cli_page() -> str:
    from graphexec.cli.commands import cli

    lines = ["# Command line", "", NOTE, "", *_help(cli.help), ""]
    for path, command in _commands(cli, "graphexec"):
        lines += [f"## {path}", "", *_help(command.help), "", "| | |", "| --- | --- |"]
        lines += [_parameter_row(p) for p in command.params if not getattr(p, "hidden", False)]
        lines.append("")
    return "\n".join(lines)


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _help(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            lines += ["```sh", *paragraph.splitlines()[1:], "```", ""]
        else:
            lines += [*paragraph.splitlines(), ""]
    return lines[:-1]


def _parameter_row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"| `{parameter.metavar or parameter.name.upper()}` | argument{'' if parameter.required else ', optional'} |"
    choices = getattr(parameter.type, "choices", None)
    kind = {"float range": "X", "integer range": "N"}.get(parameter.type.name, parameter.type.name.upper())
    value = parameter.metavar or ("\\|".join(choices) if choices else kind)
    text = parameter.help or ""
    if parameter.show_default and parameter.default is not None:
        text += f" Default: {parameter.default}."
    return f"| `{', '.join(parameter.opts)}{'' if parameter.is_flag else ' ' + value}` | {text} |"


# -- the Python interface


def api_page() -> str:
    import graphexec
    import graphexec.errors
    import graphexec.math
    import graphexec.plugin

    lines = ["# Python interface", "", NOTE, "", "Signatures, and the first sentence of each docstring."]
    lines += ["`gx` is `import graphexec as gx`.", ""]
    lines += ["## graphexec", "", *_entries(graphexec, "gx")]
    for owner in ("Executable", "Graph", "Value", "Optimizer"):
        lines += _class(getattr(graphexec, owner), owner)
    lines += ["## graphexec.plugin", "", *_entries(graphexec.plugin, "")]
    functions = [n for n, f in vars(graphexec.math).items() if inspect.isfunction(f) and not n.startswith("_")]
    functions = [n for n in functions if getattr(graphexec.math, n).__module__ == "graphexec.math"]
    lines += ["## graphexec.math", "", summary(graphexec.math.__doc__) + ".", ""]
    lines += [", ".join(f"`{n}`" for n in functions), ""]
    lines += ["## graphexec.errors", "", *_errors(graphexec.errors)]
    return "\n".join(lines)


def _entries(module: Any, prefix: str) -> list[str]:
    lines: list[str] = []
    for name in sorted(module.__all__, key=lambda n: (n.lower(), n)):
        value = getattr(module, name)
        if inspect.isclass(value) and issubclass(value, Exception):
            continue  # a table of their own
        text = summary(inspect.getdoc(value)) if callable(value) or not isinstance(value, int) else f"The number {value}"
        call = _signature(value) if inspect.isroutine(value) else ""
        lines += _entry(f"{prefix}.{name}".lstrip("."), call, text)
        lines += _options(value) if call else []
    return lines


def _options(function: Any) -> list[str]:
    """The keys of ``**options: Unpack[SomeTypedDict]``."""
    for p in inspect.signature(function).parameters.values():
        typed = re.fullmatch(r"Unpack\[(\w+)\]", str(p.annotation))
        if typed:
            owner = function.__globals__[typed[1]]
            names = sorted(owner.__annotations__)
            return [f"> Options: {', '.join(f'`{key}`' for key in names)}.", ""]
    return []


def _class(owner: type, name: str) -> list[str]:
    lines = [f"## {name}", "", summary(owner.__doc__) + ".", ""]
    for member, value in vars(owner).items():
        if member.startswith("_") and member != "__call__":
            continue
        label = f"{name}.{member}"
        if isinstance(value, property):
            lines += _entry(label, "", summary(inspect.getdoc(value.fget)))
        elif isinstance(value, (staticmethod, classmethod)) or inspect.isfunction(value):
            function = value if inspect.isfunction(value) else value.__func__
            call = _signature(function, bound=not isinstance(value, staticmethod))
            lines += _entry(label, call, summary(inspect.getdoc(function)))
    return lines


def _entry(label: str, call: str, text: str) -> list[str]:
    return [f"`{label}{call}`", "", f"> {text}.", ""] if text else [f"`{label}{call}`", ""]


def _signature(function: Any, bound: bool = False) -> str:
    signature = inspect.signature(function)
    parts: list[str] = []
    star = False
    for k, p in enumerate(signature.parameters.values()):
        if bound and k == 0:
            continue
        if p.kind is p.KEYWORD_ONLY and not star:
            parts.append("*")
        star = star or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        mark = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        typed = "" if p.annotation is p.empty else f": {_annotation(p.annotation)}"
        default = "" if p.default is p.empty else f"{' = ' if typed else '='}{_default(p.default)}"
        parts.append(f"{mark}{p.name}{typed}{default}")
    returns = "" if signature.return_annotation is signature.empty else f" -> {_annotation(signature.return_annotation)}"
    return f"({', '.join(parts)}){returns}"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", None) or str(annotation)


def _default(value: Any) -> str:
    text = repr(value)
    return "..." if " at 0x" in text or text.startswith("<") else text


def _errors(module: Any) -> list[str]:
    rows = ["| exception | of | |", "| --- | --- | --- |"]
    for name, value in vars(module).items():
        if inspect.isclass(value) and issubclass(value, Exception):
            rows.append(f"| `{name}` | `{value.__mro__[1].__name__}` | {summary(value.__doc__)} |")
    return [*rows, ""]


# -- the tutorial


def run_tutorial(text: str) -> str:
    """A page such as the tutorial with its ``text`` blocks as its Python blocks print them, one after another in one namespace.

    A YAML block, and a Python block that declares an op, is a file: the one whose name stands last before it.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = None
    result, at = [], 0
    for block in BLOCK.finditer(text):
        language, content = block[1], block[2]
        if language == "yaml" or (language == "python" and "graphexec.plugin" in content):
            named = re.findall(r"`([\w.]+\.(?:py|yaml))`", text[: block.start()])
            Path(named[-1] if named else "net.yaml").write_text(content, encoding="utf-8")
            printed = None
        elif language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(content, "tutorial.md", "exec"), names)
            printed = out.getvalue()
        elif language == "text" and printed is not None:
            result += [text[at : block.start(2)], "\n".join(line.rstrip() for line in printed.splitlines()) + "\n"]
            at, printed = block.end(2), None
    return "".join([*result, text[at:]])


def tutorial(text: str) -> str:
    """See `run_tutorial`; the files that it writes go into a folder that is deleted."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return run_tutorial(text)
        finally:
            os.chdir(before)


# -- all


def pages() -> Iterator[tuple[Path, Callable[[], str]]]:
    """Each page that is generated, or has a generated part, and what it should be."""
    yield DOCS / "cli.md", cli_page
    yield DOCS / "api.md", api_page
    for path in (DOCS / "tutorial.md", DOCS / "graph-files.md"):
        yield path, lambda path=path: tutorial(path.read_text(encoding="utf-8"))  # type: ignore[misc]
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if REGION.search(text):
            yield path, lambda text=text: with_regions(text)  # type: ignore[misc]


def main() -> None:
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != ROOT / "tests"]  # tests/ops would hide no package
    for path, make in pages():
        new = make()
        if not path.exists() or path.read_text(encoding="utf-8") != new:
            path.write_text(new, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
