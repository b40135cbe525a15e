"""Graph: a computational graph stored in a `networkx.MultiDiGraph`, and `Value`, an output of one of its nodes.

A node has ``op`` (the name of an op, or "input", "parameter", "constant") and ``attributes``. The key of an edge is the
operand slot that it feeds, so `multiply(x, x)` keeps both operands; its ``output`` selects one of several outputs of the source.
Names, edges and outputs are stored in ``Graph.dag`` alone, so changes made there with NetworkX take effect when the graph is
next compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from graphexec.errors import DtypeError, GraphError, GraphExecError
from graphexec.graph.dag import to_function
from graphexec.graph.networkx_data import independent, op_names, output_names, taken_over, unread
from graphexec.ir.convert import constant
from graphexec.ir.function import ABSENT, Function, value_name
from graphexec.ir.infer import infer
from graphexec.ir.keys import freeze
from graphexec.ir.op import Op, array_spec
from graphexec.ir.operands import with_arrays
from graphexec.ir.operators import Arithmetic
from graphexec.ir.registry import registry
from graphexec.ir.sending import needed
from graphexec.ir.spec import Size, Sizes, TensorSpec, check_dtype, check_shape, check_size

if TYPE_CHECKING:
    import networkx as nx


class Value(Arithmetic):
    """A named array of a graph: an output of a node."""

    __slots__ = ("graph", "node", "output", "spec")

    def __init__(self, graph: Graph, node: str, output: int, spec: TensorSpec) -> None:
        self.graph, self.node, self.output, self.spec = graph, node, output, spec  # type: ignore[misc] # a slot here, a property in the base class

    @property
    def name(self) -> str:
        """The node's name; ``node:k`` for its output k > 0."""
        return value_name(self.node, self.output)

    def __repr__(self) -> str:
        return f"<value {self.name!r} {self.spec}>"

    @staticmethod
    def apply_op(op: Op, operands: tuple[Any, ...], attributes: dict[str, Any], name: str | None) -> Any:
        """Adds a node to the graph of the operands; see `Graph.apply`."""
        graph = next(o.graph for o in operands if isinstance(o, Value))
        return graph.apply(op, operands, attributes, name)


class Graph:
    """A computational graph.

        g = Graph("net")
        x = g.input("x", ("batch", 2))
        w = g.parameter("w", (2, 2), init="glorot_uniform")
        g.output(x @ w)
    """

    def __init__(self, name: str = "graph") -> None:
        import networkx as nx  # late: it takes as long as the rest of the package

        self.dag: nx.MultiDiGraph[Any] = nx.MultiDiGraph(name=name, outputs=[])
        self._sizes = Sizes()
        self._counts: dict[str, int] = {}
        self._inferred: dict[Any, tuple[TensorSpec, ...]] = {}

    @property
    def name(self) -> str:
        """The graph's name."""
        return str(self.dag.graph.get("name") or "graph")

    @property
    def outputs(self) -> list[str]:
        """Names of the values that a run returns."""
        return output_names(self.dag)

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}: {self.dag.number_of_nodes()} nodes, {self.dag.number_of_edges()} edges>"

    def __len__(self) -> int:
        return int(self.dag.number_of_nodes())

    def __contains__(self, name: str) -> bool:
        return name in self.dag

    def __getitem__(self, name: str) -> Value:
        """Returns the value of that name, with its shape inferred. *Raises* GraphError for an unknown name."""
        fn = infer(self.function(), Sizes())
        index = fn.value_id(name)
        node, _, output = name.rpartition(":") if name not in self.dag else (name, "", "0")
        return Value(self, node, int(output), fn.specs[index])

    # -- building

    def input(self, name: str, shape: Any = (), dtype: Any = "float32") -> Value:
        """Adds an input: a value passed to each run. Sizes are integers or names of dimensions."""
        return self._leaf(name, "input", shape, dtype)

    def parameter(
        self, name: str, shape: Any = None, dtype: Any = None, *, init: str | None = None, value: Any = None, trainable: bool = True
    ) -> Value:
        """Adds a parameter: a value that is kept between runs and trained.

        It starts as zeros, from an initializer such as ``init="glorot_uniform"``, or as ``value=array``. *Raises* GraphError if
        neither a shape nor a value is given, or if the two disagree.
        """
        if value is not None:
            try:
                value = np.array(constant(value, None if dtype is None else check_dtype(dtype)))
            except DtypeError as error:
                raise error.at(node=name) from error.__cause__
            if shape is not None and check_shape(shape) != value.shape:
                raise GraphError(
                    f"parameter {name!r}: value and shape disagree", facts=[f"value {value.shape}", f"shape {tuple(shape)}"],
                    todo="Leave the shape out.",
                )
            shape, dtype = value.shape, value.dtype.name
        if shape is None:
            raise GraphError(f"parameter {name!r} has neither shape nor value", todo="Give one of them.")
        extra: dict[str, Any] = {"value": value} if value is not None else {"init": init or "zeros"}
        if not trainable:
            extra["trainable"] = False
        if any(isinstance(n, str) for n in check_shape(shape)):
            raise GraphError(f"parameter {name!r} has a named dimension in {tuple(shape)}", todo="Give its size as a number.")
        return self._leaf(name, "parameter", shape, dtype or "float32", **extra)

    def constant(self, value: Any, name: str | None = None, dtype: Any = None) -> Value:
        """Adds a constant: a number or an array that never changes.

        Without ``dtype``, arrays and NumPy scalars keep their type, Python floats become float32, and integers int64. *Raises*
        DtypeError for what ``dtype`` cannot hold: 2.5 as an integer, 2**40 as int32, 1e300 as float32.
        """
        try:
            array = constant(value, None if dtype is None else check_dtype(dtype))
        except DtypeError as error:
            raise error.at(node=name) from error.__cause__
        array = array if array.base is None and not array.flags.writeable else array.copy()
        array.flags.writeable = False
        return self._leaf(name or self._fresh("constant"), "constant", array.shape, array.dtype, value=array)

    def output(self, *values: Value | str) -> None:
        """Marks values as outputs, which a run returns."""
        added = [value.name if isinstance(value, Value) else value for value in values]
        self.dag.graph["outputs"] = list(dict.fromkeys([*self.outputs, *added]))  # a new list: copies of the dag share the old one

    def apply(
        self, op: Op | str, operands: Iterable[Any], attributes: Mapping[str, Any] | None = None, name: str | None = None
    ) -> Any:
        """Adds a node and returns its value, or a tuple of values. Numbers and arrays become constants."""
        if isinstance(op, str):
            op = registry.get(op)
            operands, attributes = op.bind(tuple(operands), attributes or {})
        if op.internal:
            registry.of_node(op.name)
        attributes = attributes or {}
        given = self._values_and_arrays(op, tuple(operands))
        node = self._fresh(op.name) if name is None else self._new_name(name)
        names = [v.name if isinstance(v, Value) else None for v in given]
        specs = self.infer_node(op, [_spec(v) for v in given], attributes, node, names)
        values = [self.constant(v) if isinstance(v, np.ndarray) else v for v in given]
        self.add_node(node, op.name, [None if v is None else (v.node, v.output) for v in values], op.non_defaults(attributes))
        results = tuple([Value(self, node, k, s) for k, s in enumerate(specs)])
        return results if len(results) > 1 else results[0]

    def add_node(
        self, node: str, op: str, operands: Iterable[tuple[str, int] | None], attributes: Mapping[str, Any], **extra: Any
    ) -> None:
        """Writes a node and the edges from its operands to the dag."""
        dag = self.dag
        dag.add_node(node, op=op, **({"attributes": dict(attributes)} if attributes else {}), **extra)
        for slot, operand in enumerate(operands):
            if operand is None:
                continue
            source, output = operand
            if output:
                dag.add_edge(source, node, key=slot, output=output)
            else:
                dag.add_edge(source, node, key=slot)

    def infer_node(
        self, op: Op, specs: list[TensorSpec | None], attributes: Mapping[str, Any], node: str,
        names: Sequence[str | None] | None = None,
    ) -> tuple[TensorSpec, ...]:
        """Infers the specs of a node's outputs, and caches those without named dimensions. An error names the operands."""
        key = (op, tuple(specs), freeze(attributes))
        found = self._inferred.get(key)
        if found is None:
            try:
                found = op.infer(specs, attributes)
            except GraphExecError as error:
                names = names or [None] * len(specs)
                raise op.describe_operands(error, specs, names).at(node=node, op=op.name) from error.__cause__
            if not any(isinstance(n, Size) for s in (*specs, *found) if s is not None for n in s.shape):
                self._inferred[key] = found
        return found

    def _values_and_arrays(self, op: Op, operands: tuple[Any, ...]) -> list[Value | np.ndarray | None]:
        """The operands, with numbers and lists as arrays; they become constants once the node is known to be sound."""
        for operand in operands:
            if isinstance(operand, Value) and operand.graph is not self:
                raise GraphError(
                    f"operand {operand.name!r} belongs to another graph", op=op.name, todo="Build both in one Graph."
                )
        return with_arrays(op, operands, lambda o: o.spec.dtype if isinstance(o, Value) else None, lambda array: array)

    def _leaf(self, name: str, kind: str, shape: Any, dtype: Any, **extra: Any) -> Value:
        dims, dtype = check_shape(shape), check_dtype(dtype)
        check_size(TensorSpec(tuple(n for n in dims if isinstance(n, int)), dtype))
        node = self._new_name(name)
        self.dag.add_node(node, op=kind, shape=dims, dtype=dtype, **extra)
        return Value(self, node, 0, TensorSpec(self._sizes.bind(dims), dtype))

    def _new_name(self, name: str) -> str:
        if not isinstance(name, str) or not name or ":" in name:
            raise GraphError(f"{name!r} is not a name", todo="Use a non-empty string without ':'.")
        if name in self.dag:
            raise GraphError(f"a node named {name!r} already exists", node=name, todo="Choose another name.")
        return name

    def _fresh(self, base: str) -> str:
        while True:
            count = self._counts.get(base, 0)
            self._counts[base] = count + 1
            name = base if count == 0 else f"{base}_{count}"
            if name not in self.dag:
                return name

    # -- the whole graph

    @classmethod
    def from_networkx(cls, dag: nx.DiGraph[Any], name: str | None = None, outputs: Iterable[str] | None = None) -> Graph:
        """Makes a graph from one built or edited with NetworkX, which is copied and never changed.

        Nodes need ``op``: "input", "parameter", "constant", the name of an op, or an op. An op's attributes stand in a dict under
        ``attributes``, or beside ``op``; leaves need ``shape`` or ``value``. The key of an edge is an operand slot or an operand
        name; ``slot=`` on the edge says the same, and in a DiGraph, whose edges have no key, an operation of two operands needs it.
        Names that are not strings become strings. Keys that begin with ``_`` are ignored; any other that nothing reads is refused.

        The outputs are ``outputs``, else ``dag.graph["outputs"]``, else the values that nothing reads.

        *Raises* GraphError if the graph is not directed, an edge does not say which operand it feeds, a key is unknown, or a node
        that nothing reads is missing from ``dag.graph["outputs"]``, as after `networkx.compose`; and what :meth:`function` raises.
        """
        import networkx as nx

        if not isinstance(dag, nx.DiGraph):
            raise GraphError("the graph is not directed", todo="Use networkx.MultiDiGraph.")
        graph = cls()
        graph.dag = taken_over(dag)
        graph.dag.graph["name"] = str(name if name is not None else graph.dag.graph.get("name") or "graph")
        if outputs is not None:
            graph.dag.graph["outputs"] = [outputs] if isinstance(outputs, str) else [str(o) for o in outputs]
        elif not graph.outputs:
            graph.dag.graph["outputs"] = [n for n, d in graph.dag.out_degree() if d == 0]
        else:
            _check_outputs(graph)
        graph.function()
        return graph

    def function(self) -> Function:
        """Translates the dag into the compiler's `Function`; see `graphexec.graph.dag`.

        *Raises* CycleError, GraphError or OpError if the dag is not well formed.
        """
        return to_function(self.dag, self.name)

    @classmethod
    def from_function(cls, fn: Function) -> Graph:
        """Converts a function back into a graph."""
        graph = cls(fn.name)
        place: dict[int, tuple[str, int]] = {}
        for leaf in fn.leaves:
            place[leaf.value_id] = (leaf.name, 0)
            extra: dict[str, Any] = {} if leaf.value is None else {"value": leaf.value}
            if leaf.init is not None:
                extra["init"] = leaf.init
            if not leaf.trainable:
                extra["trainable"] = False
            graph.dag.add_node(leaf.name, op=leaf.role, shape=leaf.shape, dtype=leaf.dtype, **extra)
        for node in fn.nodes:
            for k, v in enumerate(node.outputs):
                place[v] = (node.name, k)
            operands = [None if v == ABSENT else place[v] for v in node.inputs]
            extra = {"source": node.location} if node.location else {}
            graph.add_node(node.name, node.op.name, operands, node.attributes, **extra)
        graph.dag.graph["outputs"] = list(fn.outputs)
        for key in ("gradients", "deltas"):
            named = getattr(fn, key)
            if named:
                graph.dag.graph[key] = {name: fn.names[v] for name, v in named.items()}
        return graph

    def copy(self) -> Graph:
        """Returns a copy that can be changed independently."""
        graph = Graph()
        graph.dag = independent(self.dag)
        return graph

    def __getstate__(self) -> dict[str, Any]:
        """Everything but a cache; with the ops that are not installed, so that another process finds them first."""
        state = {key: value for key, value in vars(self).items() if key != "_inferred"}
        return {"ops": needed(op_names(self.dag)), **state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({key: value for key, value in state.items() if key != "ops"}, _inferred={})

    def check(self) -> None:
        """Checks the graph without running it. *Raises* GraphError, CycleError, OpError, ShapeError or DtypeError."""
        infer(self.function(), Sizes())

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the graph to a file, in the format of its extension: .yaml, .yml or .json."""
        from graphexec.graph.file.write import save  # only programs that write graphs need it

        save(self.dag, self.function(), path)


def _check_outputs(graph: Graph) -> None:
    """*Raises* GraphError if the outputs that stand in the dag do not fit it: NetworkX may have joined, cut or renamed it."""
    dag = graph.dag
    for name in graph.outputs:
        if name not in dag and name.rpartition(":")[0] not in dag:
            raise GraphError(f"the output {name!r} in dag.graph['outputs'] is no node of the graph", todo="Pass outputs=[...].")
    if "train" in dag.graph:
        return
    derived = [dag.graph.get(key) for key in ("gradients", "deltas")]
    named = [str(name) for found in derived if isinstance(found, Mapping) for name in found.values()]
    missing = unread(dag, [*graph.outputs, *named])
    if missing is not None:
        raise GraphError(
            f"nothing reads the node {missing!r}, and dag.graph['outputs'] does not list it", node=missing,
            todo="Pass outputs=[...], or remove the node.",
        )


def _spec(operand: Value | np.ndarray | None) -> TensorSpec | None:
    return None if operand is None else array_spec(operand) if isinstance(operand, np.ndarray) else operand.spec
