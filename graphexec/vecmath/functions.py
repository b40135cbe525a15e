"""functions: the functions of `graphexec.math`, and what emits each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphexec.math as public
from graphexec.vecmath import exponential, logarithm
from graphexec.vecmath import trigonometric as circular
from graphexec.vecmath.scalar import Scalar, sqrt

EMITTERS: dict[Callable[..., Any], Callable[..., Scalar]] = {
    getattr(public, emit.__name__): emit
    for emit in (
        circular.acos, circular.asin, circular.atan, circular.cos, circular.sin, circular.tan,
        exponential.cosh, exponential.erf, exponential.exp, exponential.exp2, exponential.expm1, exponential.sigmoid,
        exponential.sinh, exponential.tanh,
        logarithm.log, logarithm.log1p, logarithm.log2, logarithm.log10, logarithm.pow, logarithm.rsqrt, logarithm.softplus, sqrt,
    )
}  # fmt: skip
"""By function of `graphexec.math`: what emits it, for operands of one floating type. `like` is a conversion, and not here."""
