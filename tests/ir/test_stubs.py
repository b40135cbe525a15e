"""The stubs of the built-in ops, which editors and type checkers read."""

import ast

import graphexec as gx
from graphexec.ir.stubs import PATH, stub_text


def test_the_stubs_are_up_to_date():
    assert PATH.read_text(encoding="utf-8") == stub_text(), "write them anew: python -m graphexec.ir.stubs"


def test_each_built_in_op_has_a_method():
    (stub,) = (node for node in ast.parse(stub_text()).body if isinstance(node, ast.ClassDef))
    names = [method.name for method in stub.body]
    assert names == sorted(n for n in dir(gx.ops) if gx.ops[n].function.__module__.startswith("graphexec_ops"))


def test_an_op_is_found_by_attribute_and_by_name():
    assert gx.ops["softmax"] is gx.ops.softmax
    assert not hasattr(gx.ops, "sofmax")
