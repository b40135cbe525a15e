"""The cases of a check: operands of many sizes, ranks, layouts and element types, and attributes, from small to large."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graphexec.errors import GraphExecError
from graphexec.gradcheck.problem import draw
from graphexec.ir.examples import example_calls
from graphexec.ir.kernel_op import KernelOp
from graphexec.ir.keys import freeze
from graphexec.ir.op import Op, array_spec
from graphexec.ir.op_kinds import ElementwiseOp, ReductionOp
from graphexec.ir.spec import DTYPES, TensorSpec
from graphexec.opcheck.report import MAX_WRITTEN, literal

SIZES = (0, 1, 2, 3, 9, 17, 100, 1003)
"""Nothing, one, few, more than a vector of any type, and more than a block of a reduction."""

LONG = 100_003
"""Elements of a row that is long enough for the errors of a plain sum in float32 to show."""

LAYOUTS = ("transposed", "reversed", "strided", "flipped")
"""Ways in which an operand may lie in memory, beside C order; reversed along the last axis, flipped along the first."""

Shapes = Sequence[tuple[int, ...] | None]


@dataclass(frozen=True)
class Case:
    """Operands and attributes of a call, and what is special about them."""

    label: str
    operands: tuple[np.ndarray | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    layout: str = ""
    """How the operands lie in memory: one of LAYOUTS, "reversed operand 0" if it is only that one, or C order."""
    codes: tuple[str, ...] = ()
    """Expressions that draw large operands again."""

    @property
    def specs(self) -> list[TensorSpec | None]:
        """The operands' specs."""
        return [None if a is None else array_spec(a) for a in self.operands]

    @property
    def size(self) -> int:
        """Elements of all operands."""
        return sum(a.size for a in self.operands if a is not None)

    def __str__(self) -> str:
        shapes = ", ".join("None" if a is None else f"{a.dtype.name}{list(a.shape)}" for a in self.operands)
        given = "".join(f", {k}={v!r}" for k, v in self.attributes.items())
        return f"{self.label}: ({shapes}{given})" if self.label else f"({shapes}{given})"

    def with_attributes(self, op: Op, attributes: Mapping[str, Any]) -> Case:
        """The case with other attributes; only those that differ from the defaults are kept."""
        return replace(self, attributes=op.non_defaults(op.check_attributes(attributes)))

    def code(self, op: Op, call: str = "print(gx.ops.{op}({arguments}))") -> str:
        """Python code that makes the call."""
        lines = ["import numpy as np", "import graphexec as gx"]
        large = [c for c, a in zip(self.codes, self.operands, strict=False) if a is not None and a.size > MAX_WRITTEN]
        if any("draw(" in code for code in large):
            lines.append("from graphexec.gradcheck import draw")
        file, _, _ = op.file.rpartition(":")
        if op.function.__module__.startswith("graphexec_plugin_"):
            lines.append(f"gx.load_plugin({file!r})")
        names = []
        for slot, array in enumerate(self.operands):
            name = op.input_name(slot).replace("[", "_").replace("]", "")
            names.append("None" if array is None else name)
            if array is not None:
                drawn = self.codes[slot] if slot < len(self.codes) and self.codes[slot] else ""
                lines.append(f"{name} = {_expression(array, drawn)}")
        arguments = ", ".join([*names, *(f"{k}={v!r}" for k, v in self.attributes.items())])
        lines.append(call.format(op=op.name, arguments=arguments, names=", ".join(names)))
        return "\n".join(lines)


def _expression(array: np.ndarray, drawn: str) -> str:
    """Code that makes an operand: its elements, or for many elements what draws them again, or the first of them."""
    if array.size <= MAX_WRITTEN:
        return literal(array)
    return drawn or f"np.resize({literal(array.reshape(-1)[:8])}, {array.shape})  # and so on"


class Drawing:
    """Draws the cases of an op, each operand from a generator of its own, so that the code of a finding can draw it again."""

    def __init__(self, op: Op, seed: int) -> None:
        self.op, self.seed, self._count = op, seed, 0

    def case(self, label: str, shapes: Shapes, dtype: str, attributes: Mapping[str, Any] = {}, **changes: Any) -> Case:
        """A case with operands drawn from the op's domain."""
        arrays: list[np.ndarray | None] = []
        codes = []
        for slot, shape in enumerate(shapes):
            self._count += 1
            name = self.op.inputs[0 if self.op.variadic else slot]
            if shape is None:
                arrays.append(None)
                codes.append("")
                continue
            rng = np.random.default_rng([self.seed, self._count])
            array = draw(self.op, name, rng, shape, dtype)
            arrays.append(array)
            codes.append(self._code(name, shape, array))
        return Case(label, tuple(arrays), dict(attributes), codes=tuple(codes), **changes)

    def _code(self, operand: str, shape: tuple[int, ...], array: np.ndarray) -> str:
        made = f"np.random.default_rng([{self.seed}, {self._count}])"
        return (
            f"draw(gx.ops.{self.op.name}, {operand!r}, {made}, {shape}, {array.dtype.name!r})"
            if array.size > MAX_WRITTEN else ""
        )  # fmt: skip


def element_types(op: Op) -> list[str]:
    """The element types that the op takes, the floating ones first; one if all operands have fixed types."""
    if all(p in op.types or p in op.shape_only for p in op.inputs):
        return ["float64"]
    order = {"f": 0, "i": 1, "b": 2}
    return sorted((t for t, kind in DTYPES.items() if kind in op.kinds), key=lambda t: order[DTYPES[t]])


def grid(op: Op, dtype: str, seed: int, shapes: Shapes | None = None, attributes: Mapping[str, Any] | None = None) -> list[Case]:
    """The cases of an op in an element type, as far as its rules accept them."""
    drawing = Drawing(op, seed)
    given = dict(attributes or {})
    if shapes is not None:
        found: Iterable[Case] = [drawing.case("the shapes given", [None if s is None else tuple(s) for s in shapes], dtype, given)]
    elif op.examples is not None:
        found = examples(op, dtype, seed, given)
    else:
        found = _drawn(op, drawing, dtype, given)
    return list(_distinct(found))


def examples(op: Op, dtype: str, seed: int, attributes: Mapping[str, Any], sizes: Sequence[int] = SIZES) -> Iterator[Case]:
    """The op's own examples, of several sizes. *Raises* PluginError for one that is no call of the op."""
    for size in sizes:
        for number, call in enumerate(example_calls(op, np.random.default_rng([seed, size]), dtype, size)):
            again = f"list(gx.ops.{op.name}.examples(np.random.default_rng([{seed}, {size}]), {size}))[{number}]"
            codes = tuple("" if a is None else f"np.asarray({again}[{k}], {a.dtype.name!r})" for k, a in enumerate(call.operands))
            given = {**attributes, **op.non_defaults(call.attributes)}
            yield Case(f"example {number} of size {size}", call.operands, given, codes=codes)


def _distinct(cases: Iterable[Case]) -> Iterator[Case]:
    """Cases of different shapes, types and attributes; examples by their numbers, as many are the same at every size."""
    seen = set()
    for case in cases:
        shapes = tuple(None if a is None else (a.shape, a.dtype.name) for a in case.operands)
        number = case.label.partition(" of size")[0] if case.label.startswith("example") else ""
        key = (shapes, freeze(dict(case.attributes)), number)
        if key not in seen:
            seen.add(key)
            yield case


def _drawn(op: Op, drawing: Drawing, dtype: str, attributes: Mapping[str, Any]) -> Iterator[Case]:
    make: Callable[[str, Shapes], Case] = lambda label, shapes: drawing.case(label, shapes, dtype, attributes)  # noqa: E731
    if isinstance(op, KernelOp) and op.core is not None:
        yield from _by_signature(op, make)
        return
    counts = [1, 2, 3] if op.variadic else [len(op.inputs)]
    for count in counts:
        for n in SIZES if count == counts[-1] else (0, 3, 17):
            yield make(f"size {n}", [(n,)] * count)
        for shape in ((2, 3), (2, 1, 3), (3, 2, 2, 2), (1, 1), (0, 3), (5, 17), (129, 3), (3, 1030), (4, 4), (2, 4, 4), ()):
            yield make("rank " + str(len(shape)), [shape] * count)
    if op.optional:
        for name in sorted(op.optional):
            slot = op.inputs.index(name)
            yield make(f"without {name}", [None if k >= slot and p in op.optional else (2, 3) for k, p in enumerate(op.inputs)])
    if counts[-1] > 1 and not isinstance(op, ReductionOp):
        for slot in range(counts[-1]):
            for other in ((), (1,), (3,), (2, 1), (1, 1)):
                shapes = [(2, 3)] * counts[-1]
                yield make(f"broadcasting operand {slot}", [*shapes[:slot], other, *shapes[slot + 1 :]])
    if isinstance(op, ElementwiseOp) and not op.variadic:
        yield make("more than a piece", [(40_009,)] * len(op.inputs))


def _by_signature(op: KernelOp, make: Callable[[str, Shapes], Case]) -> Iterator[Case]:
    """Sizes of the signature's axes, equal and different, and batch axes, each operand with and without them."""
    assert op.core is not None
    cores = op.core[: len(op.inputs)]
    letters = list(dict.fromkeys(a for axes in cores for a in axes if not a.isdigit()))

    def shapes(sizes: Mapping[str, int], batches: Sequence[tuple[int, ...]]) -> Shapes:
        return [(*b, *(int(a) if a.isdigit() else sizes[a] for a in axes)) for b, axes in zip(batches, cores, strict=True)]

    none: list[tuple[int, ...]] = [()] * len(cores)
    large = 1003 if max(map(len, cores)) < 2 else 67
    for n in (*(s for s in SIZES if s < 100), large):
        yield make(f"size {n}", shapes(dict.fromkeys(letters, n), none))
    if max(map(len, cores)) == 1:
        yield _of_one_sign(make("a long row", shapes(dict.fromkeys(letters, LONG), none)))
    usual = {a: 3 + k for k, a in enumerate(letters)}
    yield make("different sizes", shapes(usual, none))
    if len(letters) > 1:
        for letter in letters:
            for n in (0, 1, 33):
                yield make(f"axis {letter} of size {n}", shapes({**usual, letter: n}, none))
    for batch in ((1,), (2,), (5,), (0,), (2, 1), (3, 2), (2, 1, 3), (1, 1, 1)):
        yield make(f"batch axes {batch}", shapes(usual, [batch] * len(cores)))
    if len(cores) > 1:
        for slot in range(len(cores)):
            for other in ((), (1,), (2, 1), (1, 3)):
                batches: list[tuple[int, ...]] = [(2, 3)] * len(cores)
                batches[slot] = other
                yield make(f"broadcasting the batch axes of operand {slot}", shapes(usual, batches))
    if op.is_along_axis:
        yield from (replace(c, attributes={**c.attributes, "axis": 0}) for c in [make("axis 0", [(3, 4)] * len(cores))])
        yield from (replace(c, attributes={**c.attributes, "axis": 1}) for c in [make("axis 1", [(2, 3, 4)] * len(cores))])
    wide = dict.fromkeys(letters, 17)
    yield make("many batches", shapes(wide, [(37,)] * len(cores)))


def _of_one_sign(case: Case) -> Case:
    """A case without negative operands, so that errors of a sum are not hidden by those of a difference."""
    operands = tuple(a if a is None or a.dtype.kind != "f" else np.abs(a) for a in case.operands)
    return replace(case, operands=operands, codes=tuple(f"np.abs({code})" if code else "" for code in case.codes))


def laid_out(cases: Sequence[Case]) -> Iterator[Case]:
    """Cases of a few shapes once more, with operands that lie otherwise in memory."""
    ranks: dict[tuple[int, bool], Case] = {}
    for case in cases:
        rank = max((a.ndim for a in case.operands if a is not None), default=0)
        if case.size and rank and all(a is None or a.size != 1 or a.ndim == 0 for a in case.operands):
            if (rank, False) not in ranks or (_has_short_axis(ranks[rank, False]) and not _has_short_axis(case)):
                ranks[rank, False] = case
            if case.size <= 400 and case.attributes != ranks[rank, False].attributes:
                ranks[rank, True] = case
    for (rank, _), case in sorted(ranks.items(), key=lambda item: item[0]):
        for layout in LAYOUTS:
            if rank <= 3 and (rank > 1 or layout in ("reversed", "strided")):
                yield replace(case, layout=layout, label=f"{case.label}, {layout} operands")
                if len(case.operands) > 1 and rank > 1:
                    only = f"{layout} operand 0"
                    yield replace(case, layout=only, label=f"{case.label}, {only}")


def _has_short_axis(case: Case) -> bool:
    """Whether an operand has an axis along which elements cannot lie in another order."""
    return any(a is not None and 1 in a.shape for a in case.operands)


def accepted(op: Op, case: Case) -> bool:
    """Whether the op's rules accept the case. *Raises* what a rule raises by mistake: no refusal, but a fault."""
    try:
        op.bind(list(case.operands), dict(case.attributes)) if not op.variadic else op.check_attributes(case.attributes)
        op.infer(case.specs, op.check_attributes(case.attributes))
    except GraphExecError as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, GraphExecError):
            raise
        return False
    return True
