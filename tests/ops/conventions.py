"""What every differentiable elementwise op and reduction is, and what its slope is, at kinks, ties, poles, infinities and NaN.

The tests check this table against kernels and interpreter, and that every op is in it; `docs_generator.py` writes it into the
page on conventions. A row is a point: operands, the value, and the slopes by each operand.
"""

from math import e, inf, log, log1p, nan, pi, sqrt
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A point: operands, value, slopes; None for what has no slope."""

    at: tuple[Any, ...]
    value: float
    slopes: tuple[float | None, ...]
    why: str = ""


def row(at, value, slopes, why=""):
    """A row of numbers or of tuples of them."""
    return Row(at if isinstance(at, tuple) else (at,), value, slopes if isinstance(slopes, tuple) else (slopes,), why)


ELEMENTWISE: dict[str, tuple[dict[str, Any], list[Row]]] = {
    "abs": ({}, [
        row(-inf, inf, -1), row(-0.0, 0, 0, "kink: 0, as in PyTorch and JAX"), row(0, 0, 0), row(inf, inf, 1),
        row(nan, nan, nan),
    ]),
    "add": ({}, [row((inf, -inf), nan, (1, 1)), row((nan, 1), nan, (1, 1))]),
    "add_n": ({}, [row((inf, -inf), nan, (1, 1))]),
    "cast": ({"dtype": "float64"}, [row(inf, inf, 1), row(nan, nan, 1)]),
    "clip": ({"low": -1.0, "high": 1.0}, [
        row(-inf, -1, 0), row(-1, -1, 1, "a bound belongs to the range"), row(1, 1, 1), row(inf, 1, 0),
        row(nan, nan, 1, "NaN passes its delta on"),
    ]),
    "copy": ({}, [row(-inf, -inf, 1), row(nan, nan, 1)]),
    "cos": ({}, [row(0, 1, 0), row(inf, nan, nan), row(nan, nan, nan)]),
    "divide": ({}, [
        row((1, 0.0), inf, (inf, -inf), "pole"), row((1, -0.0), -inf, (-inf, -inf)), row((0, 0.0), nan, (inf, nan)),
        row((1, inf), 0, (0, 0)), row((inf, 2), inf, (0.5, -inf)), row((inf, inf), nan, (0, nan)),
    ]),
    "elu": ({}, [row(-inf, -1, 0), row(0, 0, 1, "kink: alpha"), row(inf, inf, 1), row(nan, nan, nan)]),
    "erf": ({}, [row(-inf, -1, 0), row(0, 0, 2 / sqrt(pi)), row(inf, 1, 0), row(nan, nan, nan)]),
    "exp": ({}, [row(-inf, 0, 0), row(1000, inf, inf, "overflow"), row(inf, inf, inf), row(nan, nan, nan)]),
    "expm1": ({}, [
        row(-inf, -1, 0), row(-40, -1, e**-40, "from x: out + 1 would have no correct digit"), row(inf, inf, inf),
        row(nan, nan, nan),
    ]),
    "ceil": ({}, [row(1, 1, None, "a step: 0 everywhere"), row(-inf, -inf, None), row(nan, nan, None)]),
    "round": ({}, [row(0.5, 0, None, "a step: 0 everywhere"), row(inf, inf, None), row(nan, nan, None)]),
    "trunc": ({}, [row(-1.5, -1, None, "a step: 0 everywhere"), row(-inf, -inf, None), row(nan, nan, None)]),
    "floor_divide": ({}, [
        row((7, 2), 3, (None, None), "a step: 0 everywhere"), row((-7, inf), -1, (None, None)),
        row((1, 0.0), inf, (None, None), "pole, as in NumPy"), row((nan, 1), nan, (None, None)),
    ]),
    "remainder": ({}, [
        row((4, 2), 0, (1, -2), "a step: the slope to the right"), row((3, inf), 3, (1, 0)), row((1, 0.0), nan, (1, -inf), "pole"),
        row((inf, 2), nan, (1, nan)), row((nan, 1), nan, (1, nan)),
    ]),
    "floor": ({}, [row(1, 1, None, "a step: 0 everywhere"), row(-inf, -inf, None), row(nan, nan, None)]),
    "gelu": ({}, [
        row(-inf, nan, 0, "the value is -inf * 0, as in PyTorch"), row(-1000, 0, 0), row(0, 0, 0.5), row(inf, inf, 1),
        row(nan, nan, nan),
    ]),
    "leaky_relu": ({}, [row(-inf, -inf, 0.01), row(0, 0, 0.01, "kink: alpha"), row(inf, inf, 1), row(nan, nan, 0.01)]),
    "log": ({}, [
        row(0, -inf, inf, "pole"), row(-1, nan, -1, "1 / x, also where out is NaN, as in PyTorch"), row(inf, inf, 0),
        row(nan, nan, nan),
    ]),
    "log1p": ({}, [row(-1, -inf, inf, "pole"), row(inf, inf, 0), row(nan, nan, nan)]),
    "logistic_terms": ({}, [
        row((-1000, 1), 1000, (-1, 1000)), row((1000, 0), 1000, (1, -1000)), row((0, 1), log(2), (-0.5, 0)),
        row((30, 1), log1p(e**-30), (-(e**-30) / (1 + e**-30), -30), "sigmoid(z) - y would have no correct digit"),
        row((inf, 0), nan, (1, -inf), "the value is inf - inf * 0, as in PyTorch"), row((nan, 1), nan, (nan, nan)),
    ]),
    "maximum": ({}, [
        row((1, 1), 1, (0.5, 0.5), "tie: half each, as in PyTorch and JAX"), row((0.0, -0.0), 0, (0.5, 0.5)),
        row((inf, inf), inf, (0.5, 0.5)), row((-inf, 1), 1, (0, 1)), row((nan, 1), nan, (1, 1), "NaN: all to both, as in PyTorch"),
    ]),
    "minimum": ({}, [
        row((1, 1), 1, (0.5, 0.5), "tie: half each, as in PyTorch and JAX"), row((-inf, 1), -inf, (1, 0)),
        row((nan, 1), nan, (1, 1), "NaN: all to both, as in PyTorch"),
    ]),
    "multiply": ({}, [row((0, inf), nan, (inf, 0)), row((0, 0), 0, (0, 0)), row((nan, 2), nan, (2, nan))]),
    "negate": ({}, [row(-inf, inf, -1), row(nan, nan, -1)]),
    "power": ({}, [
        row((0, 0), 1, (0, 0), "0**0 = 1; 0 is a convention for both slopes"), row((0, 1), 0, (1, 0)), row((0, 2), 0, (0, 0)),
        row((0, 0.5), 0, (inf, 0), "pole of the slope"), row((0, -1), inf, (-inf, -inf), "pole"),
        row((-2, 3), -8, (12, nan), "no smooth function of y"), row((-8, 1 / 3), nan, (nan, nan)),
        row((inf, 2), inf, (inf, inf)), row((inf, -1), 0, (0, 0)), row((0.5, inf), 0, (0, 0)), row((2, -inf), 0, (0, 0)),
    ]),
    "reciprocal": ({}, [row(0.0, inf, -inf, "pole"), row(-0.0, -inf, -inf), row(inf, 0, 0), row(nan, nan, nan)]),
    "relu": ({}, [
        row(-inf, 0, 0), row(0, 0, 0, "kink: 0, as in PyTorch and JAX"), row(inf, inf, 1),
        row(nan, nan, 1, "NaN passes its delta on"),
    ]),
    "sigmoid": ({}, [row(-inf, 0, 0), row(-40, e**-40, e**-40), row(0, 0.5, 0.25), row(inf, 1, 0), row(nan, nan, nan)]),
    "sign": ({}, [row(0, 0, None, "a step: 0 everywhere"), row(-inf, -1, None), row(nan, nan, None)]),
    "sin": ({}, [row(0, 0, 1), row(inf, nan, nan), row(nan, nan, nan)]),
    "softplus": ({}, [row(-inf, 0, 0), row(-40, e**-40, e**-40), row(0, log(2), 0.5), row(inf, inf, 1), row(nan, nan, nan)]),
    "sqrt": ({}, [row(0, 0, inf, "pole of the slope"), row(-1, nan, nan), row(inf, inf, 0), row(nan, nan, nan)]),
    "square": ({}, [row(-inf, inf, -inf), row(0, 0, 0), row(nan, nan, nan)]),
    "subtract": ({}, [row((inf, inf), nan, (1, -1)), row((nan, 1), nan, (1, -1))]),
    "swish": ({}, [
        row(-inf, nan, 0, "the value is -inf * 0, as in PyTorch"), row(-1000, 0, 0), row(0, 0, 0.5), row(inf, inf, 1),
        row(nan, nan, nan),
    ]),
    "tan": ({}, [row(0, 0, 1), row(inf, nan, nan), row(nan, nan, nan)]),
    "tanh": ({}, [row(-inf, -1, 0), row(0, 0, 1), row(inf, 1, 0), row(nan, nan, nan)]),
    "where": ({}, [row((True, 1, nan), 1, (1, 0), "what is not chosen has no effect, also NaN"), row((False, inf, 2), 2, (0, 1))]),
}  # fmt: skip
"""Op to attributes and rows."""


class Line(NamedTuple):
    """An axis of elements: operands, values and slopes."""

    x: tuple[float, ...]
    value: Any
    slopes: tuple[float, ...]
    why: str = ""


REDUCTIONS: dict[str, list[Line]] = {
    "max": [
        Line((1, 3, 3), 3, (0, 0.5, 0.5), "ties share evenly, as in JAX"), Line((-inf, -inf), -inf, (0.5, 0.5)),
        Line((inf, 1), inf, (1, 0)), Line((nan, 1), nan, (nan, nan)),
    ],
    "min": [
        Line((1, 1, 3), 1, (0.5, 0.5, 0), "ties share evenly, as in JAX"), Line((inf, 1), 1, (0, 1)),
        Line((nan, 1), nan, (nan, nan)),
    ],
    "sum": [Line((inf, -inf), nan, (1, 1)), Line((nan, 1), nan, (1, 1))],
    "mean": [Line((inf, 1), inf, (0.5, 0.5)), Line((nan, 1), nan, (0.5, 0.5))],
    "prod": [
        Line((0, 2, 3), 0, (6, 0, 0), "products of the others, without a division"), Line((0, 0, 3), 0, (0, 0, 0)),
        Line((inf, 2, 3), inf, (6, inf, inf)), Line((inf, 0), nan, (0, inf)), Line((nan, 2), nan, (2, nan)),
    ],
    "variance": [Line((3, 3), 0, (0, 0)), Line((inf, 1), nan, (nan, nan))],
    "logsumexp": [
        Line((-inf, -inf), -inf, (0, 0), "no element counts"), Line((-inf, 0), 0, (0, 1)), Line((nan, 1), nan, (nan, nan)),
    ],
}  # fmt: skip
"""Reductions to one number, with the slopes of the elements."""


def text(value: Any) -> str:
    """A number as the page prints it."""
    if value is None:
        return "0"
    if isinstance(value, tuple):
        return ", ".join(text(v) for v in value)
    if isinstance(value, bool):
        return str(value)
    return "-0" if str(value) == "-0.0" else f"{value:.4g}"


def page() -> str:
    """The tables of the page on conventions."""
    lines = [_table("at")]
    for name, (attributes, rows) in ELEMENTWISE.items():
        given = "".join(f", {k}={v}" for k, v in attributes.items() if k != "dtype")
        lines += [f"| {name}{given} | {text(r.at)} | {text(r.value)} | {text(r.slopes)} | {r.why} |" for r in rows]
    lines += ["", "Reductions, by the elements along an axis:", "", _table("elements")]
    for name, found in REDUCTIONS.items():
        lines += [f"| {name} | {text(r.x)} | {text(r.value)} | {text(r.slopes)} | {r.why} |" for r in found]
    return "\n".join(lines)


def _table(where: str) -> str:
    return f"| op | {where} | value | slopes | |\n| --- | --- | --- | --- | --- |"
