"""Optimizers: an update op with its attributes.

Any op that declares ``updates`` is an update rule. Its first operand is the parameter, its second the parameter's gradient.
Further operands are its state, which has the parameter's shape and starts at zero, except ``step``, the number of the step
counted from 1. To write your own optimizer, write an op: `Optimizer("my_rule", lr=0.1)`.
"""

from __future__ import annotations

from typing import Any

from graphexec.errors import OpError
from graphexec.ir.call_text import parse_call
from graphexec.ir.op import Op
from graphexec.ir.registry import registry


class Optimizer:
    """An update op with its attributes. *Raises* OpError when there is no such update op."""

    def __init__(self, op: str, **attributes: Any) -> None:
        self.op: Op = registry.get(op)
        if not self.op.updates or len(self.op.inputs) < 2 or self.op.updates[0] != self.op.inputs[0]:
            known = ", ".join(n for n in registry.names() if registry.get(n).updates and len(registry.get(n).inputs) > 1)
            raise OpError(f"{op!r} is not an update rule", todo=f"Use one of: {known}.")
        self.attributes = self.op.check_attributes(attributes)
        if self.attributes.get("nesterov") and not self.attributes.get("momentum"):
            raise OpError(
                "nesterov needs a momentum above 0", op=op, facts=[repr(self)], todo="Give momentum=0.9, or leave nesterov out."
            )

    def __repr__(self) -> str:
        return f"{self.op.name}({', '.join(f'{k}={v!r}' for k, v in self.attributes.items())})"

    @property
    def state(self) -> tuple[str, ...]:
        """Names of the state arrays kept for each parameter."""
        return tuple(p for p in self.op.inputs[2:] if p not in ("step", self.op.shared_operand))

    def with_attributes(self, **attributes: Any) -> Optimizer:
        """Returns a copy with some attributes changed."""
        return Optimizer(self.op.name, **{**self.attributes, **attributes})

    @classmethod
    def parse(cls, text: str) -> Optimizer:
        """Parses an optimizer such as ``sgd(lr=0.1)``. *Raises* OpError."""
        name, positional, keywords = parse_call(text, "an optimizer such as sgd(lr=0.1)")
        if positional:
            raise OpError(f"optimizer {text!r}: attributes must be named", todo=f"Write {name}(lr=...).")
        return cls(name, **keywords)


def SGD(lr: float = 0.01, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Optimizer:
    """Stochastic gradient descent, ``p ← p − lr·d``; with momentum, ``v ← momentum·v + d, p ← p − lr·v``.

    *Raises* OpError for ``nesterov`` without momentum.
    """
    if momentum or nesterov:
        return Optimizer("momentum", lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
    return Optimizer("sgd", lr=lr, weight_decay=weight_decay)


def Adam(lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0) -> Optimizer:
    """Adam (Kingma and Ba, 2015), bias-corrected."""
    return Optimizer("adam", lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)


def AdamW(lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.01) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""
    return Optimizer("adamw", lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)
