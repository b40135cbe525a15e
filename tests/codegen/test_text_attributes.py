"""An elementwise attribute that is text picks its branch while the kernel is compiled: the machine code is that of the branch."""

import re
from collections import Counter

import numpy as np
import pytest

import graphexec as gx
from graphexec.llvm import toolchain

BODIES = {
    "if": "    if mode == 'double':\n        return x * 2.0\n    return x * x\n",
    "if, turned round": "    if 'double' != mode:\n        return x * x\n    return x * 2.0\n",
    "else": "    if mode == 'square':\n        y = x * x\n    elif mode == 'double':\n        y = x * 2.0\n    return y\n",
    "expression": "    return x * 2.0 if mode == 'double' else x * x\n",
    "in": "    return x * 2.0 if mode in ('double', 'twice') else x * x\n",
    "and": "    if mode == 'double' and on:\n        return x * 2.0\n    return x * x\n",
    "or not": "    if mode == 'square' or not on:\n        return x * x\n    return x * 2.0\n",
    "variable": "    double = mode == 'double'\n    return x * 2.0 if double else x * x\n",
    "helper": "    return _helper(x, mode)\n",
    "match": "    match mode:\n        case 'double':\n            return x * 2.0\n        case _:\n            return x * x\n",
}
"""Ways to write one function of two branches."""

PLAIN = {}
"""The instructions of the plain functions, which a process compiles once."""

PLUGIN = """
from typing import Literal

import numpy as np

from graphexec.plugin import elementwise


def _helper(x, mode):
    return x * 2.0 if mode == 'double' else x * x


@elementwise(reference=lambda x: x * 2.0, domain=(-2.0, 2.0))
def plain_double(x):
    return x * 2.0


@elementwise(reference=lambda x: x * x, domain=(-2.0, 2.0))
def plain_square(x):
    return x * x


@elementwise(reference=lambda x, *, mode, on=True: x * 2.0 if mode == 'double' else x * x, domain=(-2.0, 2.0))
def of_two_modes(x, *, mode: Literal["double", "square"], on: bool = True):
{body}"""


@pytest.fixture
def instructions(monkeypatch):
    """``instructions(op, **attributes)``: how often each instruction occurs in the optimised IR of the op's kernel."""
    found = []
    build = toolchain.build

    def watched(modules, entry, **options):
        found.append(str(toolchain.optimized(modules, entry, **options)))
        return build(modules, entry, **options)

    monkeypatch.setattr(toolchain, "build", watched)

    def run(name, **attributes):
        found.clear()
        x = np.linspace(-2.0, 2.0, 1000, dtype="float32")
        np.testing.assert_array_equal(getattr(gx.ops, name)(x, **attributes), x * 2 if "double" in (name[6:], *attributes.values())
                                      else x * x)  # fmt: skip
        (text,) = found
        assert not re.search("unicode|memcmp|NRT_|llvm.assume", text)
        return Counter(re.findall(r"^ +(?:%\S+ = )?(?:tail )?([a-z]+)\b", text, re.M))

    return run


@pytest.mark.parametrize("mode", ["double", "square"])
@pytest.mark.parametrize("body", BODIES)
def test_the_code_is_that_of_the_branch(tmp_path, monkeypatch, registry_kept, instructions, body, mode):
    monkeypatch.setenv("GRAPHEXEC_CACHE_DIR", str(tmp_path))
    from graphexec.llvm import cache

    cache.directory.cache_clear()
    (tmp_path / "modes.py").write_text(PLUGIN.format(body=BODIES[body]))
    gx.load_plugin(tmp_path / "modes.py")
    try:
        if mode not in PLAIN:
            PLAIN[mode] = instructions(f"plain_{mode}")
        assert instructions("of_two_modes", mode=mode) == PLAIN[mode]
        assert sum(PLAIN[mode].values()) > 20
    finally:
        monkeypatch.undo()
        cache.directory.cache_clear()
