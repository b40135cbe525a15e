"""numba_failure: the error for a function that Numba does not compile, in the user's terms.

Numba describes a failure in dozens of lines, most of which list its own functions. What a user needs is in there: the line of
their file, and the cause. This module finds both, and says what to do instead. It never imports Numba: it reads the text of its
messages, and a message that it does not know it shows by its first line.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from graphexec.codegen.specialize import parse
from graphexec.errors import PluginError
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Op
from graphexec.ir.place import Place, is_users

MAX_CAUSE = 300
"""Characters of a cause: types of nested containers have long names."""

_CODE = "Use numbers, arrays, loops, graphexec.math, and the NumPy functions that Numba supports."
_HOIST = "Move it out of the function, to the top level of the file."
_TEXT = "Text can only be an attribute, which the function compares in an `if`; operands and results are numbers."
_CONTAINER = "In a dict, list or set of compiled code, all keys have one type, and so do all values."
_SCALAR = "An elementwise function gets one element of each operand; declare the op by @kernel to see whole arrays."
_RESULT = {
    True: "A kernel writes its results into its output arrays; it returns nothing, or an integer: 0 or the number of an error.",
    False: "An elementwise function returns a number, and a backward rule one number for each input.",
}  # fmt: skip
_OPCODES = {
    "LOAD_BUILD_CLASS": "a class is defined in the function",
    "IMPORT_NAME": "a module is imported in the function",
    "STORE_GLOBAL": "a global is assigned to in the function",
    "DELETE_GLOBAL": "a global is deleted in the function",
}


_NOISE = ("Failed in nopython mode", "During:", "File ", "- Resolution failure")
"""Beginnings of lines in which Numba speaks of itself."""


def plugin_error(op: Op, dtype: str, error: BaseException) -> PluginError:
    """The error for what Numba raised when it compiled an op's function."""
    message = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    cause, todo = _explained(message or type(error).__name__, isinstance(op, KernelOp))
    if cause == message and isinstance(error, (LookupError, AttributeError)):  # Numba stumbles: the text alone says nothing
        cause = f"it stops with {type(error).__name__}: {cause}"
    place = _in_text(message) or _in_source(op, message) or _at(error) or _in_traceback(error.__traceback__)
    facts = [place.text] if place and place.text else []
    source = f"{place.file}:{place.line}" if place else op.file
    cause = cause if len(cause) <= MAX_CAUSE else cause[:MAX_CAUSE] + " ..."
    return PluginError(f"Numba cannot compile it for {dtype}: {cause}", op=op.name, source=source, facts=facts, todo=todo)


def result_error(op: Op, dtype: str, returned: str) -> PluginError:
    """The error for a function whose results the engine cannot use."""
    return plugin_error(op, dtype, TypeError(f"the function returns {returned}"))


# -- the cause


def _explained(message: str, array_kernel: bool) -> tuple[str, str]:
    """The cause in a line, and what to do."""
    for pattern, explain in _CAUSES:
        found = re.search(pattern, message)
        if found:
            return explain(found, message, array_kernel)
    lines = [line.strip() for line in message.splitlines()]
    told = [line for line in lines if line and not line.startswith(_NOISE)]
    first = re.sub(r"\.*\s*Raised from .*", "", told[0]) if told else message
    return _plain(first), _TEXT if "str]" in first or "unicode" in first else _CODE


def _opcode(found: re.Match[str], message: str, array_kernel: bool) -> tuple[str, str]:
    known = _OPCODES.get(found[1])
    return (known, _HOIST) if known else (f"Numba does not know this statement ({found[1]})", _CODE)


def _unknown_attribute(found: re.Match[str], message: str, array_kernel: bool) -> tuple[str, str]:
    module = re.match(r"Module\(<module '([\w.]+)'", found[2])
    if module:
        todo = "Call graphexec.math, NumPy functions that Numba supports, or functions of the plugin's own file."
        return f"Numba does not know the function {module[1]}.{found[1]}", todo
    return f"{_plain(found[2])} has no attribute {found[1]!r}", _TEXT if "str]" in found[2] or "unicode" in found[2] else _CODE


def _no_implementation(found: re.Match[str], message: str, array_kernel: bool) -> tuple[str, str]:
    call = _plain(found[2])
    specific = re.search(r"raised a specific error:\s*\w+: (?!Failed in)(.+)", message)
    reason = f": {_plain(specific[1])}" if specific else ""
    if "DictType" in found[2] or "reflected" in found[2]:
        todo = _CONTAINER
    elif "str]" in found[2] or "unicode" in found[2]:
        todo = _TEXT
    elif found[1] == "getitem" and not array_kernel:
        todo = _SCALAR
    else:
        todo = _CODE
    return f"there is no {call}{reason}", todo


def _several_types(found: re.Match[str], message: str, array_kernel: bool) -> tuple[str, str]:
    named = f"variable {found[3].partition('.')[0]!r}"
    what = "an intermediate result" if "$" in found[3] else named
    return f"{what} is {_plain(found[1])} on one path and {_plain(found[2])} on another", "Give it one type on every path."


def _no_result(found: re.Match[str], message: str, array_kernel: bool) -> tuple[str, str]:
    if "generator(" in found[1]:
        return "the function contains `yield`", _RESULT[array_kernel]
    return f"the function returns {_plain(found[1])}", _RESULT[array_kernel]


def _constant(cause: str, todo: str) -> Callable[..., tuple[str, str]]:
    """Explains with the pattern's groups in place of {0}, {1} ..."""
    return lambda found, message, array_kernel: (cause.format(*map(_plain, found.groups())), todo)


_CAUSES: list[tuple[str, Callable[[re.Match[str], str, bool], tuple[str, str]]]] = [
    (r"scipy [\d.]+\+ is required", _constant(
        "np.linalg, np.dot and `@` call SciPy in compiled code, and SciPy is not installed",
        "Install it (pip install scipy), write the sum as loops, or compose the op of gx.ops.matmul.",
    )),
    (r"Untyped global name '([^']+)'.*?Cannot determine Numba type of <class 'function'>", _constant(
        "the function {0!r} calls itself", "Write the recursion as a loop.",
    )),
    (r"Untyped global name '([^']+)'.*?Cannot determine Numba type of <class '([^']+)'>", _constant(
        "the global {0!r} is of type {1}, which compiled code cannot use",
        "Globals are numbers, tuples, arrays, functions and modules; pass anything else as an attribute.",
    )),
    (r"assigned to variable '(\w+)' in globals", _constant(
        "the global {0!r} is a list, which compiled code cannot use", "Make it a tuple, or an array of NumPy.",
    )),
    (r"(?:runaway recursion|cannot type infer recursion)", _constant(
        "functions call one another in a circle", "Write the recursion as a loop.",
    )),
    (r"NumPyRandomGeneratorType", _constant(
        "a generator of random numbers is a global", "Draw the numbers outside, and pass them as an operand.",
    )),
    (r"Illegal IR, del found at: del (\w+)", _constant("the deleted variable {0!r} is used", "Leave out `del`.")),
    (r"patterns may only match literals", _constant("`match` compares numbers", "Write it as `if` and `elif`.")),
    (r"No definition for lowering (.+) = ", _constant(
        "{0} cannot be assigned to", "Reshape by x.reshape(...), which copies nothing.",
    )),
    (r"Type of variable '[^']+' cannot be determined", _constant(
        "the type of a result cannot be determined", "Combine numbers with numbers, and arrays with arrays or numbers.",
    )),
    (r"Cannot bind '.*' to signature '(.+)' due to \"TypeError: (.+)\"", _constant(
        "a function with the parameters {0} is called: {1}", "Give the arguments that it takes.",
    )),
    (r"NameError: (?:global )?name '([^']+)' is not defined", _constant(
        "the name {0!r} is not defined", "Define or import it at the top level of the file, or correct its spelling.",
    )),
    (r"Exception object cannot be stored", _constant(
        "`except ... as name` keeps an exception object", "Leave out `as name`; better, test the values before the operation.",
    )),
    (r"Exception matching is limited to", _constant(
        "`except` of a certain type", "Write `except Exception:`; better, test the values before the operation.",
    )),
    (r"The 'with .*' construct is not supported|[Uu]nsupported.*context manager|Undefined variable '_with_exit", _constant(
        "`with` is not compiled", "Do input and output outside of ops: a kernel only computes.",
    )),
    (r"f-string", _constant("a format in an f-string", "Leave it out: the text of `raise` and `print` is fixed.")),
    (r"Use of unsupported opcode \((\w+)\)", _opcode),
    (r"(?:use of yield in a closure|yield in closure)", _constant(
        "a generator expression", "Write it as a list in brackets, or as a loop.",
    )),
    (r"Use of unsupported NumPy function '([\w.]+)'", _constant(
        "Numba does not know {0}", "Write it as loops, or compose the op of other ops by @composite.",
    )),
    (r"Unknown attribute '(\w+)' of type (.+)", _unknown_attribute),
    (r"Cannot unify (.+) and (.+) for '([^']+)'", _several_types),
    (r"Can't unify return type from the following types: (.+)", _constant(
        "the function returns several types: {0}", "Return one type on every path.",
    )),
    (r"No implementation of function Function\(<[^>]*?(?:function|ufunc|class) '?(\w+)[^\n]*\s+>>> (.+)", _no_implementation),
    (r"the function returns (.+?)(?:, which is not a number|$)", _no_result),
    (r"could not convert string to float|string to float", _constant("text is converted to a number", _TEXT)),
]  # fmt: skip


def _plain(text: str) -> str:
    """Numba's names of types as a user writes them: a literal by its value, a text as text."""
    text = re.sub(r"Literal\[str\]\(([^)]*)\)", r"'\1'", text.strip())
    text = re.sub(r"Literal\[\w+\]\(([^)]*)\)", r"\1", text)
    text = re.sub(r"<iv=[^>]*>", "", text).replace("unicode_type", "text")
    return re.sub(r" at 0x[0-9a-f]+", "", text)


# -- the place


def _in_text(message: str) -> Place | None:
    """The first line of a user's file that a message names, which is the innermost; paths are relative to the working folder."""
    for found in re.finditer(r'File "([^"\n]+)", line (\d+)|\b(?:at|[Rr]aised from) (\S[^\n]*?) \((\d+)\)', message):
        file, line = found[1] or found[3], int(found[2] or found[4])
        if not file.startswith("<"):
            file = os.path.abspath(file)
        if is_users(file):
            return Place(file, line)
    return None


def _at(holder: Any) -> Place | None:
    """The place of an object of Numba's that has one."""
    place = getattr(holder, "loc", None)
    file, line = getattr(place, "filename", None), getattr(place, "line", None)
    return Place(file, line) if isinstance(file, str) and isinstance(line, int) and is_users(file) else None


def _in_traceback(trace: TracebackType | None) -> Place | None:
    """The place that Numba was at when it raised: an error of Python's own, such as ImportError, does not tell it."""
    found = None
    while trace is not None:
        for name in ("constraint", "expr", "inst", "stmt", "self"):
            found = _at(trace.tb_frame.f_locals.get(name)) or found
        trace = trace.tb_next
    return found


def _in_source(op: Op, message: str) -> Place | None:
    """The place in the op's own function of what a message names."""
    tree = parse(op.function)
    if tree is None:
        return None
    node = next(_matching(tree, message), None)
    return None if node is None else Place(op.function.__code__.co_filename, node.lineno)


def _matching(tree: ast.Module, message: str) -> Iterator[ast.stmt | ast.expr]:
    missing = re.search(r"name '([^']+)' is not defined", message)
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) if missing and name == missing[1]:
                yield node
            case ast.Match() if "patterns may only match" in message:
                yield node
            case ast.With() if "'with (" in message:
                yield node
            case ast.JoinedStr() if "f-string" in message:
                yield node
            case ast.Call(func=ast.Name(id="float" | "int")) if "convert string" in message:
                yield node
            case ast.Return(value=ast.expr()) | ast.Yield() if "the function returns" in message:
                yield node
