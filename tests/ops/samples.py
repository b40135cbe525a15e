"""Operands on which the table test tries the ops that do not take any shapes: views, reductions, kernels, losses.

`SAMPLES[op]` lists them: usual shapes, batch axes and broadcasting, an empty axis where that is legal, an axis of size
1, negative axes. `make(rng, dtype)` draws the operands; `dtype` is that of the floating ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sample:
    """Operands, drawn by ``make(rng, dtype)``, and attributes of a call."""

    make: Callable[[np.random.Generator, str], list[np.ndarray | None]]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def drawn(*shapes: tuple[int, ...], low: float = -2.0, high: float = 2.0, **attributes: Any) -> Sample:
    """Floating operands of the given shapes."""
    return Sample(lambda rng, dtype: [rng.uniform(low, high, s).astype(dtype) for s in shapes], attributes)


def indexed(shape: tuple[int, ...], which: tuple[int, ...], low: int, high: int, kind: str = "int64", **attributes: Any) -> Sample:
    """A floating operand, and integers from low to high - 1."""
    return Sample(lambda r, t: [r.uniform(-2, 2, shape).astype(t), r.integers(low, high, which).astype(kind)], attributes)


def integers(shape: tuple[int, ...], low: int = -3, high: int = 4, /, kind: str = "int64", **attributes: Any) -> Sample:
    return Sample(lambda rng, dtype: [rng.integers(low, high, shape).astype(kind)], attributes)


def permuted(fn: tuple[int, ...], key: tuple[int, ...]) -> Sample:
    """An order of rows, whatever it is, and what the next is drawn from."""
    return Sample(lambda rng, dtype: [rng.integers(-9, 9, fn), rng.integers(-(2**63), 2**63, key)])


def spread(*shapes: tuple[int, ...], **attributes: Any) -> Sample:
    """Floating operands whose elements are far apart, so that a largest element stays the largest nearby."""

    def make(rng: np.random.Generator, dtype: str) -> list[np.ndarray | None]:
        return [(rng.permutation(int(np.prod(s))).reshape(s) / 4 - 1).astype(dtype) for s in shapes]

    return Sample(make, attributes)


def added_at(like: tuple[int, ...], which: tuple[int, ...], axis: int) -> Sample:
    """d, indices and like of a scatter_add."""
    axis %= len(like)
    shape = (*like[:axis], *which, *like[axis + 1 :])
    n = like[axis]

    def make(rng: np.random.Generator, dtype: str) -> list[np.ndarray | None]:
        return [rng.uniform(-2, 2, shape).astype(dtype), rng.integers(-n, n, which), rng.uniform(-2, 2, like).astype(dtype)]

    return Sample(make, {"axis": axis})


def windowed(x: tuple[int, ...], which: tuple[int, ...], volume: int, *like: tuple[int, ...], **attributes: Any) -> Sample:
    """Floating operands, the second of three an index into windows of ``volume`` elements, all of which lie inside."""

    def make(rng: np.random.Generator, dtype: str) -> list[np.ndarray | None]:
        first, *rest = (rng.uniform(-2, 2, s).astype(dtype) for s in (x, *like))
        return [first, rng.integers(0, volume, which).astype("int32"), *rest]

    return Sample(make, attributes)


def with_zeros(shape: tuple[int, ...], zeros: tuple[tuple[int, ...], ...], **attributes: Any) -> Sample:
    def make(rng: np.random.Generator, dtype: str) -> list[np.ndarray | None]:
        x = rng.uniform(0.5, 2, shape).astype(dtype)
        for at in zeros:
            x[at] = 0
        return [x]

    return Sample(make, attributes)


def one_hot_rows(rows: int, classes: int) -> Sample:
    return Sample(lambda r, t: [r.uniform(0, 1, (rows, classes)).astype(t), np.eye(classes, dtype=t)[r.integers(0, classes, rows)]])


def targets(*shapes: tuple[int, ...], **attributes: Any) -> Sample:
    """Logits in the first shape, targets from 0 to 1 in the second."""
    z, y = shapes
    return Sample(lambda r, t: [r.uniform(-3, 3, z).astype(t), r.uniform(0, 1, y).astype(t)], attributes)


_REDUCED = [
    {}, {"axis": 0}, {"axis": -1}, {"axis": (0, 2)}, {"axis": (-1, 0), "keepdims": True}, {"keepdims": True},
    {"axis": 1, "keepdims": True},
]  # fmt: skip


def _reductions(make: Callable[..., Sample], *, empty: bool = True) -> list[Sample]:
    samples = [make((2, 3, 4), **a) for a in _REDUCED]
    samples += [make((5,)), make(()), make((3, 1), axis=1), make((1, 4), axis=0, keepdims=True), make((2, 0, 3), axis=0)]
    samples += [make((33, 17), axis=0)]
    return [*samples, make((0,)), make((2, 0), axis=1), make((0, 3), axis=0, keepdims=True)] if empty else samples


_whole = {"strides": (1, 1, 1), "padding": (0, 0, 0, 0, 0, 0), "dilations": (1, 1, 1), "groups": 1}
_strided = {"strides": (1, 2, 2), "padding": (0, 1, 0, 0, 0, 1), "dilations": (1, 1, 1), "groups": 2}
_quads = {"strides": (1, 2, 2), "padding": (0, 0, 0, 0, 0, 0), "dilations": (1, 1, 1)}
_slid = {"strides": (1, 1, 1), "padding": (0, 0, 1, 1, 0, 1), "dilations": (1, 1, 1)}

SAMPLES: dict[str, list[Sample]] = {
    # linear
    "matmul": [
        drawn((3,), (3,)), drawn((3,), (3, 2)), drawn((2, 3), (3,)), drawn((3,), (4, 3, 2)), drawn((4, 2, 3), (3,)),
        drawn((2, 3), (3, 4)), drawn((1, 5), (5, 1)), drawn((4, 2, 3), (4, 3, 2)), drawn((2, 1, 2, 3), (3, 3, 2)),
        drawn((2, 3), (5, 3, 4)), drawn((0, 3), (3, 2)), drawn((2, 0), (0, 3)), drawn((2, 3), (3, 0)),
        drawn((0, 2, 3), (0, 3, 2)), drawn((17, 9), (9, 33)),
    ],
    "linear": [
        drawn((4, 3), (2, 3), (2,)), drawn((4, 3), (2, 3)), drawn((3,), (2, 3), (2,)), drawn((3,), (2, 3)),
        drawn((1, 1), (1, 1), (1,)), drawn((2, 5, 3), (4, 3), (4,)), drawn((0, 3), (2, 3), (2,)),
    ],
    # convolution
    "conv": [
        drawn((2, 3, 6, 5), (4, 3, 3, 2), (4,)), drawn((2, 3, 6, 5), (4, 3, 3, 3), padding=1), drawn((3, 2, 9), (2, 2, 3), (2,)),
        drawn((2, 4, 7, 7), (6, 2, 3, 3), (6,), strides=2, padding="same", groups=2),
        drawn((1, 2, 8, 9), (3, 2, 2, 3), strides=(2, 1), padding=(0, 1, 2, 0), dilations=(1, 2)),
        drawn((2, 2, 4, 5, 4), (3, 2, 2, 3, 2), (3,), strides=(1, 2, 1), padding=1), drawn((0, 2, 5, 5), (3, 2, 3, 3), (3,)),
        drawn((9, 1, 5, 1), (1, 1, 1, 1)), drawn((1, 2, 1, 1), (2, 2, 3, 3), padding=1), drawn((2, 3, 5), (3, 1, 3), groups=3),
    ],
    "correlate": [
        drawn((2, 3, 1, 6, 5), (1, 4, 3, 1, 3, 2), (4,), **_whole),
        drawn((5, 4, 1, 6, 5), (3, 2, 2, 1, 2, 2), (2,), **{**_whole, "groups": 2, "padding": (0, 1, 0, 0, 0, 2)}),
        drawn((0, 2, 1, 3, 3), (1, 2, 2, 1, 2, 2), (2,), **_whole),
    ],
    "correlate_input": [
        drawn((2, 4, 1, 4, 4), (1, 4, 3, 1, 3, 2), (2, 3, 1, 6, 5), **_whole),
        drawn((5, 2, 1, 3, 3), (3, 2, 2, 1, 2, 2), (5, 4, 1, 6, 5), **_strided),
        drawn((0, 2, 1, 2, 2), (1, 2, 2, 1, 2, 2), (0, 2, 1, 3, 3), **_whole),
    ],
    "correlate_weights": [
        drawn((2, 4, 1, 4, 4), (2, 3, 1, 6, 5), (1, 4, 3, 1, 3, 2), **_whole),
        drawn((9, 2, 1, 3, 3), (9, 4, 1, 6, 5), (1, 2, 2, 1, 2, 2), **_strided),
        drawn((5, 2, 1, 2, 2), (5, 2, 1, 3, 3), (3, 2, 2, 1, 2, 2), **_whole),
        drawn((0, 2, 1, 2, 2), (0, 2, 1, 3, 3), (1, 2, 2, 1, 2, 2), **_whole),
    ],
    "max_pool": [
        spread((2, 3, 6, 4), kernel=2), spread((2, 3, 7, 5), kernel=2), spread((2, 2, 9), kernel=3, strides=2, padding=1),
        spread((1, 2, 6, 7), kernel=(3, 2), strides=(1, 3), dilations=2), spread((2, 1, 4, 4, 4), kernel=2, strides=1),
        spread((2, 2, 5, 5), kernel=3, padding="same", strides=1), drawn((0, 2, 4, 4), kernel=2), spread((1, 1, 1, 1), kernel=1),
    ],
    "average_pool": [
        drawn((2, 3, 6, 4), kernel=2), drawn((2, 3, 7, 5), kernel=2), drawn((2, 2, 9), kernel=3, strides=2, padding=1),
        drawn((2, 2, 9, 8), kernel=3, strides=2, padding=1, count_include_pad=False), drawn((0, 2, 4, 4), kernel=2),
        drawn((1, 2, 6, 7), kernel=(3, 2), strides=(1, 3), dilations=2), drawn((2, 1, 4, 4, 4), kernel=2, strides=1),
    ],
    "max_windows": [spread((2, 3, 1, 6, 4), size=(1, 2, 2), **_quads), spread((2, 2, 3, 4, 5), size=(2, 2, 3), **_slid)],
    "scatter_windows": [
        windowed((2, 3, 1, 3, 2), (2, 3, 1, 3, 2), 4, (2, 3, 1, 7, 4), size=(1, 2, 2), **_quads),
        windowed((2, 3, 1, 3, 2), (2, 3, 1, 3, 2), 4, (2, 3, 1, 6, 4), size=(1, 2, 2), **_quads),
        windowed((2, 2, 2, 3, 3), (2, 2, 2, 3, 3), 12, (2, 2, 3, 4, 5), size=(2, 2, 3), **{**_slid, "padding": (0,) * 6}),
    ],
    "gather_windows": [
        windowed((2, 3, 1, 6, 4), (2, 3, 1, 3, 2), 4, size=(1, 2, 2), **_quads),
        windowed((2, 2, 3, 4, 5), (2, 2, 2, 3, 3), 12, size=(2, 2, 3), **{**_slid, "padding": (0,) * 6}),
    ],
    "window_counts": [drawn((2, 3, 1, 6, 4), size=(1, 2, 2), **_quads), drawn((0, 2, 3, 4, 5), size=(2, 2, 3), **_slid)],
    "no_bias": [drawn((1, 4, 3, 1, 3, 2))],
    "window_ones": [drawn((2, 3, 1, 6, 4), size=(1, 2, 2)), drawn((0, 1, 3, 4, 5), size=(2, 2, 3))],
    # shape
    "pad": [
        drawn((2, 3), padding=(1, 0, 2, 1), value=1.5), drawn((0, 3), padding=(1, 0, 0, 2)), drawn((3, 1), padding=(1, 0, 2, 0)),
        drawn((2, 3, 1, 2), padding=(0, 1, 2, 0, 1, 0, 0, 3)), integers((2, 3), padding=(1, 1, 1, 1), value=2.0),
    ],
    "transpose": [
        drawn((2, 3)), drawn((2, 3, 4)), drawn((2, 3, 4), axes=(1, 2, 0)), drawn((2, 3, 4), axes=(-1, 0, -2)), drawn(()),
        drawn((3,)), drawn((0, 3)), drawn((1, 3)), integers((2, 3)),
    ],
    "swap_axes": [
        drawn((2, 3)), drawn((4, 2, 3)), drawn((2, 3, 4), axis1=0, axis2=-1), drawn((1, 3)), drawn((0, 3)),
        drawn((2, 3), axis1=1, axis2=1),
    ],
    "reshape": [
        drawn((2, 6), shape=(3, 4)), drawn((2, 6), shape=(-1,)), drawn((2, 6), shape=(2, -1, 3)), drawn((), shape=(1, 1)),
        drawn((1, 1), shape=()), drawn((0, 3), shape=(3, 0)), drawn((4,), shape=4), integers((2, 6), shape=(4, -1)),
    ],
    "reshape_like": [drawn((2, 6), (3, 4)), drawn((1,), ()), drawn((), (1, 1)), drawn((0, 2), (3, 0))],
    "flatten": [
        drawn((2, 3, 4)), drawn((2, 3, 4), axis=0), drawn((2, 3, 4), axis=2), drawn((2, 3, 4), axis=-1), drawn((2, 3, 4), axis=3),
        drawn((5,)), drawn((), axis=0), drawn((0, 3)), drawn((1, 3)),
    ],
    "squeeze": [
        drawn((1, 3, 1)), drawn((1, 3, 1), axis=0), drawn((1, 3, 1), axis=-1), drawn((1, 3, 1), axis=(0, 2)), drawn((1, 0)),
        drawn((2, 3)), drawn(()),
    ],
    "expand_dims": [
        drawn((2, 3), axis=0), drawn((2, 3), axis=-1), drawn((2, 3), axis=(0, 2, -1)), drawn((), axis=0), drawn((0,), axis=1),
    ],
    "broadcast_to": [
        drawn((3,), shape=(2, 3)), drawn((2, 1), shape=(2, 3)), drawn((), shape=(2, 2)), drawn((2, 3), shape=(2, 3)),
        drawn((1, 3), shape=(0, 3)), drawn((1, 2, 1), shape=(4, 3, 2, 5)),
    ],
    "broadcast_like": [drawn((3,), (2, 3)), drawn((2, 1), (2, 3)), drawn((), (2, 2)), drawn((1, 3), (0, 3)), drawn((1, 1), (1, 4))],
    "expand_like": [
        drawn((), (2, 3)), drawn((3,), (2, 3), axis=0), drawn((2,), (2, 3), axis=-1),
        drawn((2, 1), (2, 3), axis=1, keepdims=True), drawn((3,), (2, 3, 4), axis=(0, -1)), drawn((1, 1), (2, 3), keepdims=True),
        drawn((0,), (0, 3), axis=1), drawn((2,), (2, 1), axis=1),
    ],
    "slice": [
        drawn((5, 4), starts=[1], ends=[4]), drawn((5, 4), starts=[1, 0], ends=[-1, 3], axes=[0, -1]),
        drawn((7,), starts=[None], ends=[None], steps=[2]), drawn((7,), starts=[None], ends=[None], steps=[-1]),
        drawn((7, 2), starts=[-2], ends=[0], axes=[0], steps=[-2]), drawn((4,), starts=[3], ends=[1]),
        drawn((4,), starts=[-9], ends=[9]), drawn((0, 3), starts=[0], ends=[2]), drawn((1, 3), starts=[0], ends=[1]),
        drawn((5, 4, 3), starts=[1, None, 2], ends=[None, -1, None], axes=[0, 1, 2], steps=[2, 1, -2]),
        drawn((4,), starts=[2], ends=[-3], steps=[-1]), drawn((4,), starts=[9], ends=[None], steps=[-1]),
        integers((5,), starts=[1], ends=[3]),
    ],
    "unslice": [
        drawn((3, 4), (5, 4), axis=0, start=1, end=4, step=1), drawn((2, 2), (2, 4), axis=-1, start=None, end=None, step=2),
        drawn((4,), (4,), axis=0, start=None, end=None, step=-1), drawn((2, 3), (5, 3), axis=0, start=-2, end=0, step=-2),
        drawn((0,), (4,), axis=0, start=3, end=1, step=1), drawn((4,), (4,), axis=0, start=-9, end=9, step=1),
        drawn((0, 3), (0, 3), axis=0, start=0, end=2, step=1), drawn((1, 3), (1, 3), axis=0, start=0, end=1, step=1),
        drawn((4, 2), (4, 2), axis=0, start=9, end=None, step=-1), drawn((2, 0), (2, 0), axis=0, start=None, end=None, step=1),
    ],
    "concat": [
        drawn((2, 3), (2, 2), axis=1), drawn((2, 3), (1, 3), (4, 3)), drawn((2, 3), (2, 1), axis=-1), drawn((3,)),
        drawn((0, 3), (2, 3)), drawn((0, 3), (0, 2), axis=1), drawn((2, 3, 4), (2, 1, 4), (2, 2, 4), axis=-2), drawn((1,), (1,)),
        Sample(lambda r, t: [r.integers(0, 9, (2, 2)), r.integers(0, 9, (1, 2))]),
    ],
    "head_like": [
        drawn((5, 3), (2, 3)), drawn((2, 5), (2, 2), axis=-1), drawn((3,), (0,)), drawn((3,), (3,)),
        drawn((0, 3), (0, 1), axis=1),
    ],
    "tail_like": [
        drawn((5, 3), (2, 3)), drawn((2, 5), (2, 2), axis=-1), drawn((3,), (0,)), drawn((3,), (3,)),
        drawn((0, 3), (0, 1), axis=1),
    ],
    "stack": [
        drawn((2, 3), (2, 3)), drawn((2, 3), (2, 3), (2, 3), axis=-1), drawn((), ()), drawn((0, 2), (0, 2), axis=1),
        drawn((1,), axis=1),
    ],
    "gather": [
        indexed((5, 3), (4,), -5, 5), indexed((5, 3), (2, 3), 0, 5), indexed((5, 3), (), 0, 5),
        indexed((2, 4, 3), (6,), -4, 4, axis=1), indexed((2, 4), (3,), 0, 4, "int32", axis=-1), indexed((5, 3), (0,), 0, 5),
        indexed((1, 3), (4,), 0, 1), indexed((5, 0), (4,), 0, 5),
        Sample(lambda r, t: [r.integers(0, 9, (4, 2)), r.integers(0, 4, (3,))]),
    ],
    "scatter_add": [
        added_at((5, 3), (4,), 0), added_at((5, 3), (2, 3), 0), added_at((5, 3), (), 0), added_at((2, 4, 3), (6,), 1),
        added_at((2, 4), (9,), -1), added_at((5, 3), (0,), 0), added_at((1, 3), (4,), 0), added_at((5, 0), (4,), 0),
    ],
    "shuffle": [
        permuted((7,), (2,)), permuted((3, 5), (3, 1)), permuted((2, 4), (2, 3)), permuted((0,), (2,)), permuted((1,), (0,)),
    ],
    "one_hot": [
        integers((4,), 0, 3, depth=3), integers((2, 3), -1, 5, "int32", depth=4), integers((), 0, 3, depth=3),
        integers((0,), 0, 3, depth=3), integers((4,), 0, 1, depth=1, dtype="float64"),
        integers((4,), 0, 3, depth=3, dtype="int64"),
    ],
    "stop_gradient": [drawn((2, 3)), drawn(()), drawn((0, 3))],
    "size": [drawn((2, 3)), drawn((2, 3), axis=0), drawn((2, 3, 4), axis=(0, -1)), drawn((0, 3)), drawn(()), integers((2, 3))],
    "zeros_like": [drawn((2, 3)), drawn(()), drawn((0, 3)), integers((2, 1))],
    # reduce
    "sum": [*_reductions(drawn), integers((3, 4), axis=0), drawn((1000,))],
    "sum_to": [
        drawn((2, 3), (3,)), drawn((2, 3), (2, 1)), drawn((2, 3), ()), drawn((2, 3), (2, 3)), drawn((4, 3, 2, 5), (1, 2, 1)),
        drawn((0, 3), (3,)), drawn((0, 3), (1, 3)), drawn((1, 4), (1, 1)),
    ],
    "mean": _reductions(drawn, empty=False),
    "variance": [*_reductions(drawn, empty=False), drawn((4, 3), axis=0, correction=1)],
    "max": [*_reductions(spread, empty=False), integers((3, 4), axis=0), integers((0, 2), axis=1)],
    "min": [*_reductions(spread, empty=False), integers((3, 4), axis=0), integers((0, 2), axis=1)],
    "supremum": [*_reductions(spread), integers((3, 4), axis=0), integers((2, 0), axis=1)],
    "prod": [
        *_reductions(lambda shape, **a: drawn(shape, low=0.6, high=1.4, **a)), integers((2, 3), axis=0),
        with_zeros((2, 3), ((0, 0),)), with_zeros((2, 3), ((0, 0), (1, 1), (1, 2)), axis=1),
        with_zeros((2, 3), ((0, 0), (1, 1), (1, 2)), axis=0, keepdims=True),
    ],
    "exclusive_scan": [
        drawn((2, 3), (2, 3)), drawn((4,), (4,), initial=1.0), drawn((2, 3, 4), (2, 3, 4), axis=0, reverse=True),
        drawn((2, 3, 4), (2, 3, 4), axis=1), drawn((3, 1), (3, 1)), drawn((0, 3), (0, 3)), drawn((2, 0), (2, 0)),
        drawn((3, 4), (4,), initial=0.5, reverse=True),
    ],
    "logsumexp": _reductions(drawn),
    "argmax_along": [drawn((2, 3)), drawn((2, 3, 4), axis=0), drawn((2, 3, 4), axis=1, keepdims=True), integers((4, 6), 0, 3)],
    "argmax": [
        drawn(()), drawn((), axis=0, keepdims=True), drawn((2, 3), axis=None), drawn((2, 3), axis=None, keepdims=True),
        drawn((2, 3)), drawn((2, 3, 4), axis=0), drawn((2, 3, 4), axis=1, keepdims=True), drawn((3, 1)), drawn((4,)),
        drawn((0, 3)), drawn((3, 0), axis=0), integers((4, 6), 0, 3),
    ],
    "softmax": [
        drawn(()), drawn((), axis=0), drawn((2, 3), axis=None), drawn((2, 3, 4), axis=(0, 2)), drawn((2, 3), axis=()),
        drawn((2, 3)), drawn((4,)), drawn((2, 3, 4)), drawn((2, 3, 4), axis=0), drawn((2, 3, 4), axis=-2), drawn((3, 1)),
        drawn((0, 3)), drawn((2, 0)), drawn((2, 33)),
    ],
    "log_softmax": [
        drawn(()), drawn((), axis=0), drawn((2, 3), axis=None), drawn((2, 3, 4), axis=(0, 2)), drawn((2, 3), axis=()),
        drawn((2, 3)), drawn((4,)), drawn((2, 3, 4)), drawn((2, 3, 4), axis=0), drawn((2, 3, 4), axis=-2), drawn((3, 1)),
        drawn((0, 3)), drawn((2, 0)), drawn((2, 33)),
    ],
    # loss
    "reduce_loss": [
        drawn((4, 3)), drawn((4, 3), reduction="sum"), drawn((4, 3), reduction="none"), drawn((4,)), drawn(()), drawn((1, 3)),
        drawn((0, 3), reduction="sum"),
    ],
    "half_squared_error": [
        drawn((4, 3), (4, 3)), drawn((4, 3), (4, 3), reduction="mean"), drawn((4, 3), (4, 3), reduction="none"),
        drawn((4, 3), (3,)), drawn((3,), (3,)), drawn((1, 1), (1, 1), reduction="mean"), drawn((0, 3), (0, 3)), drawn((), ()),
    ],
    "mse": [
        drawn((4, 3), (4, 3)), drawn((4, 3), (4, 3), reduction="sum"), drawn((4, 3), (4, 3), reduction="none"),
        drawn((4, 1), (4, 3)), drawn((3,), (3,)), drawn((0, 3), (0, 3), reduction="sum"),
    ],
    "class_labels": [
        Sample(lambda r, t: [r.integers(0, 4, (2, 3)), np.arange(4, dtype="int32")]),
        Sample(lambda r, t: [r.integers(0, 4, ()).astype("int32"), np.arange(4, dtype="int32")]),
        Sample(lambda r, t: [r.integers(0, 4, (0,)), np.arange(4, dtype="int32")]),
    ],
    "softmax_cross_entropy_rows": [
        indexed((4, 3), (4,), 0, 3), indexed((3,), (), 0, 3), indexed((2, 3, 5), (2, 3), 0, 5, "int32"),
        indexed((4, 1), (4,), 0, 1), indexed((0, 3), (0,), 0, 3), indexed((4, 33), (4,), 0, 33),
    ],
    "softmax_cross_entropy": [
        indexed((4, 3), (4,), 0, 3), indexed((3,), (), 0, 3), indexed((2, 3, 5), (2, 3), 0, 5, "int32"),
        indexed((4, 1), (4,), 0, 1), indexed((4, 3), (4,), 0, 3, reduction="sum"), indexed((4, 3), (4,), 0, 3, reduction="none"),
        indexed((0, 3), (0,), 0, 3, reduction="sum"),
    ],
    "target_probabilities": [
        Sample(lambda r, t: [r.uniform(0, 1, (4, 3)).astype(t)]), Sample(lambda r, t: [np.asarray(r.integers(0, 2), t)]),
        Sample(lambda r, t: [np.zeros((0, 3), t)]),
    ],
    "accumulate_finite": [Sample(lambda r, t: [r.uniform(-2, 2, 2), r.uniform(-2, 2, ()).astype(t)])],
    "target_rows": [
        Sample(lambda r, t: [one_hot_rows(6, 3).make(r, t)[1]]), Sample(lambda r, t: [np.full((2, 2, 4), 0.25, t)]),
        Sample(lambda r, t: [np.zeros((0, 3), t)]),
    ],
    "logistic_terms": [targets((4, 3), (4, 3)), targets((4, 3), (3,))],
    "logistic_loss": [
        targets((4, 3), (4, 3)), targets((4, 3), (3,)), targets((), ()), targets((0, 3), (0, 3)), targets((4, 1), (4, 1)),
    ],
    "binary_cross_entropy_with_logits": [
        targets((4, 1), (4, 1)), targets((4, 3), (4, 3), reduction="sum"), targets((4, 3), (4, 3), reduction="none"),
        targets((4,), (4,)), targets((0, 3), (0, 3), reduction="sum"),
    ],
    "accuracy": [
        indexed((6, 3), (6,), 0, 3), indexed((2, 5, 3), (2, 5), 0, 3, "int32"), indexed((3,), (), 0, 3), one_hot_rows(6, 3),
        one_hot_rows(1, 4), Sample(lambda r, t: [r.uniform(0, 1, (6, 1)).astype(t), r.integers(0, 2, (6, 1)).astype(t)]),
        Sample(lambda r, t: [r.uniform(0, 1, (6, 1)).astype(t), r.integers(0, 2, (6, 1))]),
    ],
}  # fmt: skip
SAMPLES["scatter_sums"] = SAMPLES["scatter_add"] = [*SAMPLES["scatter_add"], added_at((3, 4, 2), (90,), 1)]
