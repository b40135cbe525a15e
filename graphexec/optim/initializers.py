"""Computes initial values of parameters: ``zeros``, ``glorot_uniform``, ``normal(std=0.02)``, ...

For weights stored as (out, in, ...), as in `linear`, fan_in is the product of all sizes but the first, and fan_out is the first
size times the product of those after the second.
Sources: Glorot and Bengio 2010; He et al. 2015; Saxe et al. 2014 (orthogonal).
"""

from __future__ import annotations

import inspect
import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from graphexec.errors import OpError, with_hint
from graphexec.ir.call_text import parse_call
from graphexec.ir.spec import check_memory

Array = np.ndarray
Generator = np.random.Generator


def zeros(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Fills with zeros."""
    return np.zeros(shape)


def ones(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Fills with ones."""
    return np.ones(shape)


def constant(rng: Generator, shape: tuple[int, ...], value: float = 0.0) -> Array:
    """Fills with ``value``."""
    return np.full(shape, float(value))


def normal(rng: Generator, shape: tuple[int, ...], mean: float = 0.0, std: float = 1.0) -> Array:
    """Samples a normal distribution."""
    return rng.normal(mean, std, shape)


def uniform(rng: Generator, shape: tuple[int, ...], low: float = -0.05, high: float = 0.05) -> Array:
    """Samples a uniform distribution over [low, high)."""
    return rng.uniform(low, high, shape)


def glorot_uniform(rng: Generator, shape: tuple[int, ...], gain: float = 1.0) -> Array:
    """Samples uniformly within ±gain·sqrt(6 / (fan_in + fan_out))."""
    fan_in, fan_out = _fans(shape)
    limit = gain * math.sqrt(6.0 / max(fan_in + fan_out, 1))
    return rng.uniform(-limit, limit, shape)


def glorot_normal(rng: Generator, shape: tuple[int, ...], gain: float = 1.0) -> Array:
    """Samples a normal distribution of standard deviation gain·sqrt(2 / (fan_in + fan_out))."""
    fan_in, fan_out = _fans(shape)
    return rng.normal(0.0, gain * math.sqrt(2.0 / max(fan_in + fan_out, 1)), shape)


def he_uniform(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Samples uniformly within ±sqrt(6 / fan_in)."""
    limit = math.sqrt(6.0 / max(_fans(shape)[0], 1))
    return rng.uniform(-limit, limit, shape)


def he_normal(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Samples a normal distribution of standard deviation sqrt(2 / fan_in)."""
    return rng.normal(0.0, math.sqrt(2.0 / max(_fans(shape)[0], 1)), shape)


def orthogonal(rng: Generator, shape: tuple[int, ...], gain: float = 1.0) -> Array:
    """Fills with orthonormal rows, or columns if there are fewer, times gain; each row holds all axes but the first."""
    rows, columns = (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, math.prod(shape))
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    return gain * (q if rows >= columns else q.T).reshape(shape)


MAX = float(np.finfo(np.float64).max)

INITIALIZERS: dict[str, Callable[..., Array]] = {
    f.__name__: f
    for f in (zeros, ones, constant, normal, uniform, glorot_uniform, glorot_normal, he_uniform, he_normal, orthogonal)
}

FIXED = (zeros, ones, constant)
"""The initializers that draw no random numbers."""


def is_random(init: str | None) -> bool:
    """Whether an initializer draws random numbers."""
    return parse(init or "zeros")[0] not in FIXED


def parse(text: str) -> tuple[Callable[..., Array], dict[str, Any]]:
    """Parses an initializer; returns its function and options. *Raises* OpError with the nearest known name."""
    name, positional, keywords = parse_call(text, "an initializer such as glorot_uniform or normal(std=0.02)")
    function = INITIALIZERS.get(name)
    if function is None:
        raise OpError(
            with_hint(f"unknown initializer {name!r}", name, INITIALIZERS), todo=f"Use one of: {', '.join(INITIALIZERS)}."
        )
    try:
        bound = inspect.signature(function).bind(None, None, *positional, **keywords)
    except TypeError as error:
        raise OpError(f"initializer {text!r}: {error}", todo=f"{name} takes {inspect.signature(function)}.") from None
    options = dict(list(bound.arguments.items())[2:])
    for key, value in options.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise OpError(f"initializer {text!r}: {key} must be a number, not {value!r}")
        if not -MAX <= value <= MAX or (key == "std" and value < 0):
            raise OpError(f"initializer {text!r}: {key} is {value}", todo=f"Give a finite number{' from 0' * (key == 'std')}.")
    if options.get("low", -0.05) > options.get("high", 0.05):
        raise OpError(f"initializer {text!r}: low is above high", todo="Give low up to high.")
    return function, options


def initial_value(name: str, init: str | None, shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    """Computes the initial value of a parameter, which does not depend on the rest of the graph.

    *Raises* OpError if the parameter's type cannot hold it.
    """
    function, options = parse(init or "zeros")
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    check_memory(8 * math.prod(shape), f"the initial value of the parameter {name!r}")
    with np.errstate(all="ignore"):
        drawn = function(rng, tuple(int(n) for n in shape), **options)
        value = drawn.astype(dtype)
        held = np.isfinite(value).all() if value.dtype.kind == "f" else (value == drawn).all()
    if not held:
        what = f"initializer {init!r} gives numbers that {dtype} cannot hold"
        raise OpError(what, todo="Use another initializer or another type.")
    return value


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) < 2:
        return (math.prod(shape),) * 2
    return math.prod(shape[1:]), shape[0] * math.prod(shape[2:])
