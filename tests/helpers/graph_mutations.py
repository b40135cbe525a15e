"""Graph files to begin with, one for each op at least, and mutations of them: of bytes, of words, and of what they mean."""

from __future__ import annotations

import copy
import json
import math
import random
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import graphexec as gx
from graphexec.graph.file.read import loads
from graphexec.graph.file.write import dumps
from graphexec.ir.examples import example_calls
from graphexec.ir.registry import registry

ROOT = Path(__file__).parents[2]
INTERESTING: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    7,
    64,
    2**31 - 1,
    2**31,
    2**62,
    2**63 - 1,
    -(2**63),
    2**64,
    10**12,
    10**30,
    0.0,
    -0.0,
    0.5,
    1.5,
    1e300,
    5e-324,
    math.nan,
    math.inf,
    -math.inf,
    "",
    "zz",
    "x",
    "y",
    "w",
    "batch",
    "float32",
    "float64",
    "int32",
    "int64",
    "bool",
    "uint8",
    "valid",
    "same",
    "mean",
    "none",
    "tanh",
    [],
    [0],
    [1],
    [-1],
    [0, 1],
    [1, 0],
    [0.0, 1.0],
    [None, 4],
    [2**62, 2],
    [[1]],
    ["x"],
    [1, 1, 1],
    [0, 0, 0, 0, 0, 0],
    {},
    {"float": "nan"},
    {"op": "sum"},
    {"x": "x"},
]
TYPES = [
    "float32",
    "float32[]",
    "float64[3]",
    "float32[2, 3]",
    "float32[batch, 3]",
    "int64[batch]",
    "int32[3]",
    "bool[2]",
    "float32[0]",
    "float32[1, 1]",
    "float32[1000000000]",
    "float32[1000000, 1000000, 1000000]",
    "float32[n, m]",
    "float32[999999999999999]",
    "float32[2, 3, 4, 5]",
    "int64",
    "float32[0, 999999999999999]",
    "float32[" + "1, " * 40 + "1]",
]
WORDS = [
    "null",
    "true",
    ".nan",
    ".inf",
    "-1",
    "0",
    "1",
    "3",
    "9223372036854775807",
    "-9223372036854775808",
    "1e300",
    "1.5",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ",",
    ":",
    "'",
    '"',
    "&a",
    "*a",
    "!!python/object",
    "- ",
    "? ",
    "|",
    ">",
    "#",
    "---",
    "\t",
    "\n",
    "\\",
    "\0",
    "é",
    "=",
    "axis=",
    "dtype='int32'",
    "shape=[-1]",
    "depth=3",
    "gradients",
    "deltas",
    "train",
    "outputs",
    "unused",
    "constants",
]


def corpus() -> list[str]:
    """Sound graph files."""
    files = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").glob("*.yaml"))]
    return files + [_written(graph) for graph in _derived()] + list(_of_ops())


def damaged() -> list[bytes]:
    """The files of `tests/broken`, each with its format."""
    found = []
    for path in sorted((ROOT / "tests/broken/graphs").iterdir()):
        found.append((b"j" if path.suffix == ".json" else b"y") + path.read_bytes())
    return found


def _written(graph: gx.Graph) -> str:
    return dumps(graph.dag, graph.function())


def _derived() -> Iterator[gx.Graph]:
    """Graphs with their backward pass written in, which name the ops of gradients."""
    for body in (
        "mean(conv(x, w, padding=1), axis=[2, 3])",
        "max_pool(conv(x, w), kernel=2)",
        "softmax(flatten(slice(x, starts=1, ends=3)))",
    ):
        text = f"graphexec: 1\ninputs:\n  x: float32[3, 1, 6, 5]\nparameters:\n  w: float32[2, 1, 3, 3]\nnodes:\n  y: {body}\n"
        text += "  loss: sum(square(y))\n" + ("outputs: [loss]\n" if "w" in body else "unused: [w]\noutputs: [loss]\n")
        yield gx.differentiate(loads(text), of="loss", wrt=["w"] if "w)" in body or "w," in body else ["x"])


def _of_ops() -> Iterator[str]:
    """A file for the first examples of each op that a file may name."""
    for name in registry.names():
        op = registry.get(name)
        if op.internal:
            continue
        drawn = list(islice(example_calls(op, np.random.default_rng(0), "float32"), 3))
        for operands, attributes in drawn or [([np.zeros((2, 3), "float32")] * len(op.inputs), {})]:
            graph = gx.Graph(name)
            try:
                values = [None if a is None else graph.input(f"x{k}", a.shape, a.dtype) for k, a in enumerate(operands)]
                out = gx.ops[name](*values, **attributes)
            except gx.GraphExecError:
                continue
            outs = out if isinstance(out, tuple) else (out,)
            p = graph.parameter("p", (), init="zeros")
            floats = [o for o in outs if o.dtype == "float32"]
            graph.output(*outs, *([gx.ops.sum(floats[0] * p, name="loss")] if floats else [p]))
            yield _written(graph)


# -- mutations


class Mutator:
    """Draws mutated files: ``mutator.draw()`` gives the format's letter and the file."""

    def __init__(self, seed: int) -> None:
        self.random, self.files = random.Random(seed), corpus()
        self.trees = [yaml.safe_load(text) for text in self.files]
        self.words = [re.findall(r"[A-Za-z_][\w.]*|[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?|\s+|.", text, re.DOTALL) for text in self.files]
        self.ops = [*list(registry.names()), "swish.backward", "tanh.backward", "a.backward.backward", "nothing"]
        self.attributes = sorted({(k, repr(v)) for n in registry.names() for k, v in registry.get(n).attributes.items()})

    def draw(self) -> bytes:
        """One file, mutated once to several times."""
        kind = self.random.choices([self.bytes, self.tokens, self.meaning], [2, 3, 6])[0]
        return kind()

    def bytes(self) -> bytes:
        data = bytearray(self.random.choice(self.files).encode())
        for _ in range(self.random.choice([1, 1, 2, 5, 20])):
            at = self.random.randrange(len(data) + 1)
            choice = self.random.randrange(4)
            if choice == 0 and data:
                data[at % len(data)] ^= 1 << self.random.randrange(8)
            elif choice == 1:
                del data[at : at + self.random.choice([1, 2, 10, 100])]
            elif choice == 2:
                data[at:at] = data[at : at + self.random.choice([1, 5, 50, 500])] * self.random.choice([1, 2, 50])
            else:
                data[at:at] = self.random.choice(WORDS).encode() * self.random.choice([1, 1, 1, 60])
        return b"y" + bytes(data)

    def tokens(self) -> bytes:
        words = list(self.random.choice(self.words))
        for _ in range(self.random.choice([1, 1, 2, 3, 8])):
            at = self.random.randrange(len(words))
            choice = self.random.randrange(6)
            if choice == 0:
                words[at] = self.random.choice(WORDS)
            elif choice == 1:
                words[at] = self.random.choice(self.random.choice(self.words))
            elif choice == 2:
                other = self.random.randrange(len(words))
                words[at], words[other] = words[other], words[at]
            elif choice == 3:
                words[at] = self.random.choice(self.ops)
            elif choice == 4:
                value = self.random.choice(INTERESTING)
                words[at] = json.dumps(value)
            else:
                key, value = self.random.choice(self.attributes)
                words[at] = f"{words[at]}, {key}={self.literal() if self.random.random() < 0.5 else value}"
        return b"y" + "".join(words).encode()

    def literal(self) -> str:
        value = self.random.choice(INTERESTING)
        return json.dumps(value).replace("Infinity", "inf").replace("NaN", "nan")

    def meaning(self) -> bytes:
        tree = copy.deepcopy(self.random.choice(self.trees))
        for _ in range(self.random.choice([1, 1, 1, 2, 4])):
            tree = self.changed(tree)
        if self.random.random() < 0.5:
            return b"j" + json.dumps(tree).encode()
        return b"y" + yaml.safe_dump(tree, sort_keys=False, width=10**9).encode()

    def changed(self, tree: Any) -> Any:
        """One change of what a file says."""
        nodes = tree.get("nodes") if isinstance(tree, dict) else None
        choice = self.random.randrange(8)
        if choice < 4 and isinstance(nodes, dict) and nodes:
            name = self.random.choice(list(nodes))
            nodes[name] = self.changed_node(nodes[name], list(nodes))
        elif choice < 6 and isinstance(tree, dict):
            section = tree.get(self.random.choice(["inputs", "parameters", "inputs"]))
            if isinstance(section, dict) and section:
                section[self.random.choice(list(section))] = self.random.choice(TYPES)
        else:
            place = self.place(tree)
            if place is None:
                return self.random.choice(INTERESTING)
            holder, key = place
            holder[key] = self.replaced(holder[key])
        return tree

    def changed_node(self, node: Any, names: list[str]) -> Any:
        """A node with another op, operand or attribute."""
        if not isinstance(node, str):
            return self.replaced(node)
        _op, _, rest = node.partition("(")
        choice = self.random.randrange(4)
        if choice == 0:
            return f"{self.random.choice(self.ops)}({rest}"
        if choice == 1:
            key, value = self.random.choice(self.attributes)
            return f"{node[:-1]}, {key}={self.literal() if self.random.random() < 0.7 else value})"
        if choice == 2 and "=" in node:
            return re.sub(r"=(\[[^\]]*\]|[^,)]*)", lambda m: f"={self.literal()}" if self.random.random() < 0.6 else m[0], node)
        operand = self.random.choice([*names, "x", "x0", "x1", "w", "1", "2.5", "null", "abs(x)", "true", "x0:1", "1e300"])
        return re.sub(r"\b[a-z]\w*\b(?=[,)])", lambda m: operand if self.random.random() < 0.5 else m[0], node)

    def place(self, tree: Any) -> tuple[Any, Any] | None:
        places: list[tuple[Any, Any]] = []
        todo = [tree]
        while todo:
            item = todo.pop()
            inside = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
            for key, value in inside:
                places.append((item, key))
                todo.append(value)
        return self.random.choice(places) if places else None

    def replaced(self, value: Any) -> Any:
        choice = self.random.randrange(6)
        if choice == 0:
            for _ in range(self.random.choice([3, 49, 60])):
                value = [value] if self.random.random() < 0.5 else {"a": value}
            return value
        if choice == 1:
            return [value] * self.random.choice([0, 2, 100])
        if choice == 2 and isinstance(value, dict):
            return {self.random.choice(["op", "inputs", "attributes", "type", "value", "init", "x"]): v for v in value.values()}
        return copy.deepcopy(self.random.choice(INTERESTING))


def cases(seed: int, count: int) -> Iterator[bytes]:
    """``count`` mutated files, the same for the same seed."""
    mutator = Mutator(seed)
    for _ in range(count):
        yield mutator.draw()
