"""Makes the op of backward nodes from the function given to ``@op.backward``."""

from __future__ import annotations

import inspect
from typing import Any

from graphexec.ir.declaration_checks import Function, refuse
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.op import Op
from graphexec.ir.op_kinds import ElementwiseOp
from graphexec.ir.parameters import engine_parameters, read_parameters
from graphexec.ir.spec import TensorSpec


def backward_op(op: Op, function: Function) -> Op:
    """Makes the op: operands are the values that the rule takes, outputs the deltas of floating inputs. *Raises* PluginError."""
    names, _, _, attributes, _ = read_parameters(function)
    deltas = tuple(f"d_{p}" for p in op.differentiable_inputs)
    asked = _asked(op, names, deltas) if isinstance(op, KernelOp) else names
    allowed = rule_names(op)
    for name in asked:
        if name not in allowed:
            refuse(op, f"its backward rule asks for {name!r}", name, allowed)
    for key in attributes:
        if key not in op.attributes:
            refuse(op, f"its backward rule asks for the attribute {key!r}", key, tuple(op.attributes))
    fixed = {f"d_{o}": op.types[o] for o in op.outputs if o in op.types}
    common: dict[str, Any] = {
        "name": f"{op.name}.backward", "function": function, "outputs": deltas, "forward": op,
        "types": {f"d_{p}": t for p, t in op.types.items()} | dict(op.types) | fixed,
        "attributes": {k: op.attributes[k] for k in attributes}, "attribute_types": op.attribute_types,
        "file": op.file, "doc": f"Backward rule of {op.name}.",
    }  # fmt: skip
    if isinstance(op, ElementwiseOp):
        return ElementwiseOp(inputs=asked, kinds="f", **common)
    if isinstance(op, KernelOp):
        return _backward_kernel(op, asked, common)
    refuse(op, f"a {op.op_class} op takes a .gradient rule, not a backward kernel")


def rule_names(op: Op) -> tuple[str, ...]:
    """The names that a backward rule may take."""
    return (*(f"d_{o}" for o in op.outputs), *op.inputs, *op.outputs)


def _asked(op: KernelOp, names: tuple[str, ...], deltas: tuple[str, ...]) -> tuple[str, ...]:
    """The operands of a backward kernel: its parameters without the deltas that it writes and those that the engine supplies."""
    extra = engine_parameters(op.scratch, op.parallel)
    if extra and names[-len(extra) :] == extra:
        names = names[: -len(extra)]
    cut = len(names) - len(deltas)
    if names[cut:] != deltas:
        refuse(op, f"its backward kernel must take {', '.join(deltas)} last, to fill in", None, deltas)
    return names[:cut]


def _backward_kernel(op: KernelOp, asked: tuple[str, ...], common: dict[str, Any]) -> Op:
    """Makes a backward kernel with its forward op's axes; an input that it does not read becomes a shape-only operand."""
    shares = op.parallel and "pieces" in inspect.signature(common["function"]).parameters
    common |= {"parallel": shares, "scratch": op.scratch, "errors": op.errors}
    missing = tuple(p for p in op.differentiable_inputs if p not in asked)
    if op.core is not None:
        axes = dict(zip((*op.inputs, *op.outputs), op.core, strict=True))
        core = tuple(axes[n.removeprefix("d_") if n not in axes else n] for n in asked)
        known = {a for group in core for a in group}
        missing = tuple(p for p in missing if not set(axes[p]) <= known)
        core += tuple(axes[p] for p in missing) + tuple(axes[p] for p in op.differentiable_inputs)
        return KernelOp(inputs=(*asked, *missing), shape_only=frozenset(missing), core=core, **common)
    names = (*asked, *missing)

    def rule(*specs: TensorSpec, **attributes: Any) -> TensorSpec | list[TensorSpec]:
        by_name = dict(zip(names, specs, strict=True))
        found = [by_name[p] for p in op.differentiable_inputs]
        return found if len(found) > 1 else found[0]

    return KernelOp(inputs=names, shape_only=frozenset(missing), shape=rule, **common)
