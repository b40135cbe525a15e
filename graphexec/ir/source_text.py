"""source_text: whether the text that Python finds for a function is the text that the function was compiled from.

The engine compiles and differentiates the text of a function. Python looks it up by file name and line, so code that was executed
under the name of another file, or a file that has changed since, would give another function's text.
"""

from __future__ import annotations

import ast
import dis
import inspect
import textwrap
from types import CodeType
from typing import Any


def is_own_text(function: Any) -> bool:
    """Whether the text that `inspect` finds compiles to the function's own code; True if it finds none."""
    function = getattr(function, "py_func", function)
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or any("@" in name for name in code.co_varnames):  # pytest rewrites assert statements
        return True
    try:
        tree = ast.parse(textwrap.dedent("".join(inspect.getsourcelines(function)[0])))
    except (OSError, TypeError, SyntaxError):
        return True
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.FunctionDef):
        return True  # such as a lambda: the engine does without text, too
    found = _compiled(tree.body[0], code)
    return found is not None and _content(found) == _content(code)


def _compiled(node: ast.FunctionDef, code: CodeType) -> CodeType | None:
    """The code of a function's text, compiled within a function that has the variables of the closure."""
    node.decorator_list, node.returns = [], None
    variables = [f"{name} = None" for name in code.co_freevars]
    own = [] if node.name in code.co_freevars else [f"global {node.name}"]  # else a call of itself would be a closure
    around = ast.parse("\n    ".join(["def around():", *own, *variables, "pass"]))
    outer = around.body[0]
    assert isinstance(outer, ast.FunctionDef)
    outer.body.append(node)
    try:
        flags = code.co_flags & annotations.compiler_flag
        module = compile(ast.fix_missing_locations(around), "<text>", "exec", flags, dont_inherit=True)
    except SyntaxError:  # a variable of the closure is a parameter of this other function
        return None
    return next((c for outer_code in _codes(module) for c in _codes(outer_code) if c.co_name == code.co_name), None)


def _codes(code: CodeType) -> list[CodeType]:
    return [c for c in code.co_consts if isinstance(c, CodeType)]


_CALLS = {"LOAD_METHOD": "LOAD_ATTR", "PUSH_NULL": None, "PRECALL": None, "CALL_METHOD": "CALL"}
"""Instructions for a call of an attribute: Python chooses by whether the same text imports the module, which is elsewhere."""


def _content(code: CodeType) -> tuple[Any, ...]:
    """What a function does, and the names of its parameters; without places."""
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    steps = [
        (_CALLS.get(i.opname, i.opname), None if i.opcode in dis.hasjrel or i.opcode in dis.hasjabs else _argument(i.argval))
        for i in dis.get_instructions(code) if _CALLS.get(i.opname, i.opname) is not None
    ]  # fmt: skip
    return code.co_name, counts, code.co_varnames, steps


def _argument(value: Any) -> Any:
    return _content(value) if isinstance(value, CodeType) else (type(value), repr(value))
