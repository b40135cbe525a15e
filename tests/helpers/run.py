"""Runs ops and functions natively; fake ops."""

import contextlib
import re
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from graphexec.autodiff.reverse import differentiate_function
from graphexec.ir.examples import example_calls
from graphexec.ir.function import Function, Leaf, Node
from graphexec.ir.infer import infer
from graphexec.ir.op import Op
from graphexec.ir.registry import registry
from graphexec.ir.spec import DTYPES
from graphexec.lower import lower
from graphexec.lower.alignment import aligned_array
from graphexec.rewrite import optimize
from graphexec.rewrite.legalize.inline_composites import inline_composites
from graphexec.runtime.runner import Runner

# -- one op


def one_node(op, arrays, attributes=None):
    """An order of one node, and its inputs by name."""
    leaves, names, slots, inputs = [], [], [], {}
    for slot, array in enumerate(arrays):
        slots.append(-1 if array is None else len(names))
        if array is not None:
            name = op.input_name(slot)
            leaves.append(Leaf(name, "input", len(names), array.shape, array.dtype.name))
            inputs[name] = array
            names.append(name)
    results = tuple(range(len(names), len(names) + len(op.outputs)))
    names += [f"{op.name} node" if k == 0 else f"{op.name} node:{k}" for k in range(len(results))]
    node = Node(names[results[0]], op, tuple(slots), results, op.check_attributes(attributes or {}))
    return Function(op.name, leaves, [node], names, {names[v]: v for v in results}), inputs


def native(op, arrays, attributes=None):
    """The outputs of an op by its native kernels, always a tuple; fails when an input is modified."""
    fn, inputs = one_node(op, arrays, attributes)
    return tuple(run_function(fn, inputs, updates=bool(op.updates)).values())


def run_function(fn, inputs, *, parameters=None, keep=None, reuse=True, rewrite=True, sizes=None, updates=False):
    """Values of an order by name, run natively: its outputs and gradients, or the names in ``keep``."""
    fn = infer(fn, sizes or {})
    fn = inline_composites(fn)
    wanted = dict(fn.outputs) | {f"d_{n}": v for n, v in fn.gradients.items()}
    if keep is not None:
        wanted = {name: fn.value_id(name) for name in keep}
    keepers = list(wanted.values()) if rewrite else range(len(fn.names))
    fn = optimize(fn.with_nodes(fn.nodes, outputs=wanted), keepers)
    wanted = {name: fn.outputs[name] for name in wanted}
    arrays = {**inputs, **(parameters or {})}
    buffers = {leaf.name: aligned_array(arrays[leaf.name]) for leaf in fn.leaves if leaf.role != "constant"}
    before = {name: array.copy() for name, array in buffers.items()}
    program = lower(infer(fn, sizes or {}), buffers, wanted.values(), reuse=reuse)
    program.check()
    poison(program)
    Runner(program, fn, {}).run()
    for name, array in before.items():
        if not updates:
            np.testing.assert_array_equal(buffers[name], array, err_msg=f"{name} was modified")
    return {name: program.array(v).copy() for name, v in wanted.items()}


def poison(program):
    """Fills memory that a program has to write before it reads."""
    program.arena[:] = 0xFF  # NaN in every floating type
    if program.scratch is not None:
        program.scratch[:] = 0xFF


def gradients_by_program(graph, of, wrt, inputs, parameters, **options):
    """(values of ``of``, gradients by name), by the native program of a graph."""
    fn = inline_composites(infer(graph.function(), _sizes(graph, inputs)))
    result = differentiated(fn, *wrt, of=of)
    names = {w: result.names[result.gradients[w]] for w in wrt}
    found = run_function(result, inputs, parameters=parameters, keep=[of, *names.values()], sizes=_sizes(graph, inputs), **options)
    return found[of], {w: found[n] for w, n in names.items()}


def _sizes(graph, inputs):
    sizes = {}
    for leaf in graph.function().of_role("input"):
        sizes |= {n: size for n, size in zip(leaf.shape, inputs[leaf.name].shape, strict=True) if isinstance(n, str)}
    return sizes


def differentiated(fn, *wrt, of="loss"):
    """The function with its backward pass, by the values named in ``wrt``; by all parameters where there are none."""
    values = [fn.value_id(name) for name in wrt] or [leaf.value_id for leaf in fn.of_role("parameter")]
    return differentiate_function(fn, fn.value_id(of), values)


def op_names(nodes):
    """The names of nodes' ops, in their order: of a function, or of the steps of a layout."""
    return [node.op.name for node in getattr(nodes, "nodes", nodes)]


def dtypes_of(op):
    """Element types in which an op works."""
    fixed = all(p in op.types or p in op.shape_only for p in op.inputs)
    if fixed:
        return ["float64"]
    return [d for d, kind in DTYPES.items() if kind in op.kinds]


class Example(NamedTuple):
    """One of an op's examples: `make(rng, dtype)` draws its operands."""

    op: Op
    number: int
    attributes: dict[str, Any]

    def make(self, rng, dtype):
        return list(next(islice(example_calls(self.op, rng, dtype), self.number, None)).operands)


def examples_of(op):
    """What the op's file gives to try it on; nothing if it takes operands of any shapes."""
    return [Example(op, k, call.attributes) for k, call in enumerate(example_calls(op, np.random.default_rng(0)))]


# -- fake ops


@contextlib.contextmanager
def registered(*declarations):
    """Ops that are known inside a ``with`` block only."""
    for declaration in declarations:
        registry.register(declaration.op)
    try:
        yield
    finally:
        for declaration in declarations:
            registry.unregister(declaration.op.name)


def steady(value):
    """A test's id without addresses: workers of a parallel run must find the same ids."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
