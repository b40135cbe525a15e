"""Builds a Graph from the tree of a graph file: leaves, then nodes, then edges, so that entries may appear in any order.

A nested call becomes its own node, and a number used as an operand becomes a constant. Both are named after the node whose entry
contains them: ``loss.1``, ``loss.2``, ... in the order in which the calls close, skipping names that the file itself uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from graphexec.errors import GraphExecError
from graphexec.graph.file.calls import Call, Expression, Literal, Name, read_call
from graphexec.graph.file.fields import boolean, literals, mapping, misfit, read_array, read_init, read_type, sequence, text
from graphexec.graph.file.tree import Item, Mapping, Page, Scalar, kind_name, resolve
from graphexec.graph.graph import Graph
from graphexec.ir.function import LEAVES
from graphexec.ir.op import Op
from graphexec.ir.registry import registry


class GraphBuilder:
    """Builds a Graph and remembers the line of each name."""

    def __init__(self, page: Page, graph: Graph) -> None:
        self.page, self.graph, self.dag = page, graph, graph.dag
        self.lines: dict[str, int] = {}
        self.edges: list[tuple[str, int, str, int]] = []
        self.numbers: dict[str, tuple[int | float | bool, int]] = {}
        self.counts: dict[str, int] = {}

    # -- names

    def declare(self, name: str, line: int) -> None:
        """Records a name and its line. *Raises* GraphFileError if the name is taken or not valid."""
        if name in self.lines:
            self.page.fail(
                line, f"the name {name!r} is given twice", facts=[f"first in line {self.lines[name]}"], todo="Rename one of them."
            )
        if not name or ":" in name:
            self.page.fail(
                line, f"{name!r} is not a name", todo="Use a non-empty name without ':', which selects an output of a node."
            )
        self.lines[name] = line

    def fresh(self, node: str, line: int) -> str:
        """Makes a new name ``node.k`` and records its line."""
        while True:
            self.counts[node] = count = self.counts.get(node, 0) + 1
            name = f"{node}.{count}"
            if name not in self.lines:
                self.lines[name] = line
                return name

    def resolve(self, name: str, line: int, node: str | None = None, what: str = "there is no value named") -> tuple[str, int]:
        """Returns the node and the output number that a name refers to. *Raises* GraphFileError with the nearest name."""
        if name in self.dag:
            return name, 0
        base, _, output = name.rpartition(":")
        if base in self.dag and output.isascii() and output.isdigit() and len(output) < 10:
            return base, int(output)
        self.page.unknown(line, what, name, self.dag, node=node, todo="Declare it, or correct the name.")

    def known_output(self, name: str, line: int, node: str | None = None) -> tuple[str, int]:
        """Resolves a name and checks that the node has this output. *Raises* GraphFileError."""
        source, output = self.resolve(name, line, node)
        op = self.dag.nodes[source]["op"]
        count = 1 if op in LEAVES else len(registry.get(op).outputs)
        if output >= count:
            self.page.fail(
                line, f"{name!r}: {source!r} has {count} output{'s' * (count > 1)}", node=node, todo="Number outputs from 0."
            )
        return source, output

    # -- leaves

    def leaves(self, root: Mapping) -> None:
        """Adds the inputs, parameters and constants."""
        for section, add in (("inputs", self.add_input), ("parameters", self.add_parameter), ("constants", self.add_constant)):
            for name, item, line in self.entries(root, section):
                self.declare(name, line)
                self.guarded(lambda add=add, name=name, item=item: add(name, item), name, line)  # type: ignore[misc]
                self.dag.nodes[name]["source"] = self.page.place(line)

    def entries(self, root: Mapping, section: str) -> Iterator[tuple[str, Item, int]]:
        """Yields the name, item and line of each entry of a section."""
        if section in root.items:
            found = mapping(self.page, root.items[section], section)
            for name, item in found.items.items():
                yield name, item, found.lines[name]

    def guarded(self, step: Callable[[], Any], node: str | None, line: int) -> Any:
        """Calls ``step`` and adds node and line to the errors that it raises."""
        try:
            return step()
        except GraphExecError as error:
            raise error.at(node=node, source=self.page.place(line)) from None

    def add_input(self, name: str, item: Item) -> None:
        """Adds an input from its type."""
        dtype, shape = read_type(self.page, item, f"input {name!r}")
        self.graph.input(name, shape, dtype)

    def add_parameter(self, name: str, item: Item) -> None:
        """Adds a parameter from its type, or from a mapping with ``type``."""
        what = f"parameter {name!r}"
        if isinstance(item, Scalar):
            dtype, shape = read_type(self.page, item, what)
            self.graph.parameter(name, shape, dtype)
            return
        fields = mapping(self.page, item, what, ("type", "init", "value", "trainable"), ("type",)).items
        dtype, shape = read_type(self.page, fields["type"], what)
        init = read_init(self.page, fields["init"], what) if "init" in fields else None
        trainable = "trainable" not in fields or boolean(self.page, fields["trainable"], f"trainable of {what}")
        value = read_array(self.page, fields["value"], dtype, shape, what) if "value" in fields else None
        self.graph.parameter(name, shape, dtype, init=init, value=value, trainable=trainable)
        if init is not None:
            self.dag.nodes[name]["init"] = init

    def add_constant(self, name: str, item: Item) -> None:
        """Adds a constant from a number, or from a mapping with ``type`` and ``value``."""
        what = f"constant {name!r}"
        if isinstance(item, Mapping):
            fields = mapping(self.page, item, what, ("type", "value"), ("type", "value")).items
            dtype, shape = read_type(self.page, fields["type"], what)
            self.graph.constant(read_array(self.page, fields["value"], dtype, shape, what), name)
            return
        value = resolve(self.page, item) if isinstance(item, Scalar) else None
        if not isinstance(value, (bool, int, float)):
            todo = 'Write a number, or {type: "float32[2]", value: [1, 2]}.'
            self.page.fail(item.line, f"{what} must be a number or a mapping, not {kind_name(self.page, item)}", todo=todo)
        problem = None if isinstance(value, bool) else misfit(value, "float32" if isinstance(value, float) else "int64")
        if problem:
            self.page.fail(item.line, f"{what}: {value} {problem}", todo="Write {type: float64, value: ...}.")
        self.graph.constant(value, name)

    # -- nodes

    def nodes(self, root: Mapping) -> None:
        """Adds the nodes, then their edges."""
        entries = list(self.entries(root, "nodes"))
        for name, _, line in entries:
            self.declare(name, line)
        for name, item, line in entries:
            if isinstance(item, Scalar):
                self.call_node(name, self.read_node_call(name, item), name)
            else:
                self.mapping_node(name, item, line)
        self.connect()

    def read_node_call(self, name: str, item: Scalar) -> Call:
        """Parses the call of a node. *Raises* GraphFileError if the entry is not a string."""
        if not isinstance(resolve(self.page, item), str):
            self.page.fail(
                item.line, f"node {name!r} must be a call or a mapping, not {kind_name(self.page, item)}", todo="Write op(x, y)."
            )
        return read_call(self.page, item)

    def call_node(self, base: str, call: Call, name: str | None = None) -> str:
        """Adds the nodes of a call and of the calls nested in it; without ``name``, derives one from ``base`` when it closes."""
        op = self.op(call.op, base, call.line)
        operands: dict[int, tuple[str, int]] = {}
        attributes: dict[str, Any] = {}
        named = False
        for position, (keyword, argument) in enumerate(call.arguments):
            if named and keyword is None:
                self.page.fail(argument.line, "a positional operand follows a named one", node=base)
            named = keyword is not None
            if keyword is None or (keyword in op.inputs and not op.variadic):
                slot = position if keyword is None else op.inputs.index(keyword)
                self.set_operand(operands, slot, self.operand(base, argument), argument.line, op, base)
            elif keyword in attributes:
                self.page.fail(argument.line, f"attribute {keyword!r} is given twice", node=base)
            else:
                attributes[keyword] = self.attribute(keyword, argument, op, base)
        line = call.line if name is None else self.lines[name]
        name = name or self.fresh(base, line)
        self.add(name, op, operands, attributes, line)
        return name

    def op(self, name: str, node: str | None, line: int) -> Op:
        """Returns an op by name. *Raises* OpError with node and line."""
        return self.guarded(lambda: registry.of_node(name), node, line)  # type: ignore[no-any-return]

    def operand(self, base: str, argument: Expression) -> str | None:
        """Returns the name of the value that an argument refers to; None for an omitted operand."""
        if isinstance(argument, Name):
            return argument.text
        if isinstance(argument, Call):
            return self.call_node(base, argument)
        value = argument.value
        if value is None:
            return None
        if not isinstance(value, (bool, int, float)):
            self.page.fail(
                argument.line, f"{value!r} is not an operand", node=base, todo="Give a value or a number; name attributes."
            )
        name = self.fresh(base, argument.line)
        self.add_number(name, value, argument.line)
        return name

    def add_number(self, name: str, value: bool | int | float, line: int) -> None:
        """Adds a constant; `settle_numbers` sets its element type once those of the other operands are known."""
        self.graph.constant(value, name, "float64" if isinstance(value, float) else None)
        self.dag.nodes[name]["source"] = self.page.place(line)
        if not isinstance(value, bool):
            self.numbers[name] = (value, line)

    def set_operand(self, operands: dict[int, tuple[str, int]], slot: int, name: str | None, line: int, op: Op, node: str) -> None:
        """Sets the operand of a slot. *Raises* GraphFileError if it is set already."""
        if slot in operands:
            self.page.fail(line, f"operand {op.input_name(slot)!r} is given twice", node=node)
        if name is not None:
            operands[slot] = (name, line)

    def attribute(self, key: str, argument: Expression, op: Op, node: str) -> Any:
        """Returns an attribute's value. *Raises* GraphFileError if the op has no such attribute or the value is not a literal."""
        self.known_keyword(key, argument.line, op, node)
        if not isinstance(argument, Literal):
            word = argument.text if isinstance(argument, Name) else f"{argument.op}(...)"
            todo = f"Write {key}='{word}' for a string." if isinstance(argument, Name) else "Write a literal."
            self.page.fail(argument.line, f"attribute {key!r} cannot be the value {word!r}", node=node, todo=todo)
        return argument.value

    def known_keyword(self, key: str, line: int, op: Op, node: str) -> None:
        """*Raises* GraphFileError if the op has no such attribute."""
        if key not in op.attributes:
            known = [*op.attributes, *(() if op.variadic else op.inputs)]
            self.page.unknown(line, f"{op.name} takes no", key, known, node=node, facts=[f"{op.name} takes {op.signature}"])

    def mapping_node(self, name: str, item: Item, line: int) -> None:
        """Adds a node written as a mapping with ``op``, ``inputs`` and ``attributes``."""
        fields = mapping(self.page, item, f"node {name!r}", ("op", "inputs", "attributes"), ("op",)).items
        op = self.op(text(self.page, fields["op"], f"op of {name!r}"), name, fields["op"].line)
        operands: dict[int, tuple[str, int]] = {}
        for slot, given in self.mapping_inputs(fields.get("inputs"), op, name):
            self.set_operand(operands, slot, self.mapping_operand(given, name), given.line, op, name)
        attributes = {}
        if "attributes" in fields:
            found = mapping(self.page, fields["attributes"], f"attributes of {name!r}")
            for key, value in found.items.items():
                self.known_keyword(key, found.lines[key], op, name)
                attributes[key] = literals(self.page, value, f"attribute {key!r}")
        self.add(name, op, operands, attributes, line)

    def mapping_inputs(self, item: Item | None, op: Op, name: str) -> Iterator[tuple[int, Item]]:
        """Yields the slot and the item of each operand."""
        if item is None:
            return
        if isinstance(item, Mapping) and not op.variadic:
            for key, given in item.items.items():
                if key not in op.inputs:
                    self.page.unknown(item.lines[key], f"{op.name} has no operand", key, op.inputs, node=name)
                yield op.inputs.index(key), given
        else:
            yield from enumerate(sequence(self.page, item, f"inputs of {name!r}"))

    def mapping_operand(self, item: Item, node: str) -> str | None:
        """Returns the name of an operand in a mapping; a number becomes a constant."""
        value = resolve(self.page, item) if isinstance(item, Scalar) else ()
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, tuple):
            self.page.fail(item.line, f"an operand must be a name or a number, not {kind_name(self.page, item)}", node=node)
        name = self.fresh(node, item.line)
        self.add_number(name, value, item.line)
        return name

    def add(self, name: str, op: Op, operands: dict[int, tuple[str, int]], attributes: dict[str, Any], line: int) -> None:
        """Adds a node; `connect` adds its edges once all nodes exist, so that the nodes keep the order of the file."""
        if attributes:
            attributes = op.non_defaults(self.guarded(lambda: op.check_attributes(attributes), name, line))
        self.graph.add_node(name, op.name, (), attributes, source=self.page.place(line))
        self.edges.extend((name, slot, operand, at) for slot, (operand, at) in operands.items())

    def connect(self) -> None:
        """Adds the edges of the nodes added so far."""
        dag = self.dag
        for node, slot, reference, line in self.edges:
            source, output = (reference, 0) if reference in dag else self.resolve(reference, line, node)
            if output:
                dag.add_edge(source, node, key=slot, output=output)
            else:
                dag.add_edge(source, node, key=slot)
        self.edges.clear()
