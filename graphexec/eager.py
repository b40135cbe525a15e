"""Ops called on NumPy arrays: each compiles and runs a function of one node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphexec.ir import sending
from graphexec.ir.builder import trace_composite
from graphexec.ir.by_name import REDUCE_HOOK
from graphexec.ir.convert import as_array
from graphexec.ir.function import RUN_HOOK, Function, Leaf, Node
from graphexec.ir.infer import infer
from graphexec.ir.namespace import ops
from graphexec.ir.op import EAGER_HOOKS, Attributes, Op
from graphexec.ir.operands import with_arrays
from graphexec.ir.registry import registry
from graphexec.ir.spec import DTYPES

# The compiler is imported when it is first used, so that `import graphexec` is quick.


def install() -> None:
    """Installs the hooks through which ops, a lower layer, reach the compiler."""
    ops.connect(registry.get, registry.names)
    EAGER_HOOKS.compute = compute
    RUN_HOOK.run = run
    EAGER_HOOKS.infer_composite = trace_composite
    EAGER_HOOKS.evaluate_composite = _evaluate_composite
    EAGER_HOOKS.derived = _derived
    REDUCE_HOOK.reduced = sending.reduced


def _evaluate_composite(op: Op, arrays: Sequence[Any], attributes: Attributes) -> Sequence[Any]:
    from graphexec.interpret import evaluate_composite

    return evaluate_composite(op, arrays, attributes)


def _derived(op: Op, steps: Sequence[str]) -> Op | None:
    from graphexec.autodiff.scalar.pullback import derived

    return derived(op, steps)


def compute_checked(op: Op, operands: Sequence[Any], attributes: Attributes | None = None) -> Any:
    """Applies an op to arrays in debug mode; see `graphexec.runtime.debug`.

    *Raises* KernelError for an index out of range, for an element of an output that is not written, for a result that depends on
    memory that the kernel has not written, and for an operand that it changes.
    """
    with RUN_HOOK.checking():
        return compute(op, operands, op.check_attributes({}) if attributes is None else attributes)


def compute(op: Op, operands: Sequence[Any], attributes: Attributes) -> Any:
    """Applies an op to arrays with its native kernels; called when an op is called on NumPy arrays."""
    from graphexec.rewrite.legalize.inline_composites import inline_composites

    leaves: list[Leaf] = []
    names: list[str] = []
    inputs: list[int] = []
    given: dict[str, np.ndarray] = {}
    for slot, array in enumerate(_arrays(op, operands)):
        inputs.append(-1 if array is None else len(names))
        if array is not None:
            name = op.input_name(slot)
            leaves.append(Leaf(name, "input", len(names), array.shape, array.dtype.name))
            given[name] = array
            names.append(name)
    first = len(names)
    names += [op.name, *(f"{op.name}:{k}" for k in range(1, len(op.outputs)))]
    results = tuple(range(first, len(names)))
    node = Node(op.name, op, tuple(inputs), results, dict(attributes))
    fn = Function(op.name, leaves, [node], names, {names[v]: v for v in results})
    found = run(inline_composites(infer(fn, {})), given)
    return found if len(found) > 1 else found[0]


def run(fn: Function, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """The outputs of a function without parameters, by a program that runs once."""
    from graphexec.lower import lower
    from graphexec.lower.alignment import aligned_array
    from graphexec.rewrite import optimize
    from graphexec.runtime.debug import DebugRunner
    from graphexec.runtime.runner import Runner

    fn, checked = optimize(fn), RUN_HOOK.checks.get()
    buffers = {name: aligned_array(array) for name, array in inputs.items()}
    program = lower(fn, buffers, fn.outputs.values(), checked=checked)
    (DebugRunner if checked else Runner)(program, fn, {}).run()
    return tuple(program.array(v).copy() for v in fn.outputs.values())


def _arrays(op: Op, operands: Sequence[Any]) -> list[np.ndarray | None]:
    """The operands as arrays. Numbers take the type of the arrays, or of NumPy's scalars if there are no arrays."""
    own = np.ndarray if any(isinstance(o, np.ndarray) for o in operands) else np.generic

    def dtype_of(operand: Any) -> str | None:
        return operand.dtype.name if isinstance(operand, own) and operand.dtype.name in DTYPES else None

    return with_arrays(op, [as_array(o, "an operand") if isinstance(o, np.ndarray) else o for o in operands], dtype_of, np.asarray)
