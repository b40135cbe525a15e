"""KernelOp: an op whose kernel works on whole arrays, with a gufunc signature or a shape rule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graphexec.errors import OpError, ShapeError
from graphexec.ir.op import Attributes, Op, Specs, array_spec, normalize_axes, raise_status, reduced_axes
from graphexec.ir.spec import TensorSpec, broadcast, shape_text


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class KernelOp(Op):
    """A function of whole arrays that writes its outputs, which are its last parameters."""

    op_class: ClassVar[str] = "kernel"

    core: tuple[tuple[str, ...], ...] | None = None
    """The gufunc signature: core axes of inputs, then of outputs."""
    may_lack: frozenset[str] = frozenset()
    """Core axes that an operand may lack, marked ``?`` in the signature; see `lacks`."""
    shape: Callable[..., Any] | None = None
    strided: frozenset[str] = frozenset()
    """Operands that may have any strides; others are made contiguous first."""
    parallel: bool = False
    """The kernel takes (piece, pieces) last and does that share of the work; all threads call it."""
    scratch: int = 0
    """Bytes of scratch memory per thread; the kernel takes their address before (piece, pieces)."""
    raises: bool = True
    """Whether an operation in the kernel may raise; see `failures.may_fail`."""
    rows: frozenset[str] | Callable[..., Sequence[str]] = frozenset()
    """Operands whose leading axis may count rows that do not depend on one another, or a function that names them."""

    def infer_outputs(self, specs: Specs, attributes: Attributes) -> tuple[TensorSpec, ...]:
        dtype = self.promoted(specs)
        if self.core is None:
            return self._from_rule(specs, attributes, dtype)
        if self.is_along_axis and not self._works_on_last(specs, attributes):
            shape = self._equal_shape(specs)
            reduced_axes(attributes["axis"], len(shape), self.name)
            return tuple(TensorSpec(shape, self.output_type(o, dtype)) for o in self.outputs)
        lacking = self.lacks(specs)
        sizes, batch = self.bind_core(self._with_lacking(specs, lacking))
        if "axis" in attributes:  # the engine moves this axis to the end, so it must exist
            normalize_axes(attributes["axis"], len(batch) + len(self.core[0]), self.name)
        shapes = [batch + tuple(self._size(sizes, n) for n in axes if n not in lacking) for axes in self.core[len(self.inputs) :]]
        return tuple(TensorSpec(s, self.output_type(o, dtype)) for s, o in zip(shapes, self.outputs, strict=True))

    @property
    def is_along_axis(self) -> bool:
        """Whether the op works along its attribute ``axis`` and keeps all shapes, as a softmax does.

        It then takes any axes that a reduction takes: the pass `move_axis_last` makes one last axis of them.
        """
        core = self.core or ()
        return "axis" in self.attributes and len(core) > 1 and len(core[0]) == 1 and core.count(core[0]) == len(core)

    def _works_on_last(self, specs: Specs, attributes: Attributes) -> bool:
        """Whether an op along an axis works on the last one, so that leading axes of its operands broadcast."""
        ndim = max((s.ndim for s in specs if s is not None), default=0)
        return ndim > 0 and reduced_axes(attributes["axis"], ndim, self.name) == (ndim - 1,)

    def _equal_shape(self, specs: Specs) -> tuple[int, ...]:
        """The shape of all operands. *Raises* ShapeError unless they have one."""
        shapes = {self.input_name(k): s.shape for k, s in enumerate(specs) if s is not None}
        first, *others = shapes.values()
        if any(other != first for other in others):
            text = ", ".join(f"{name} {shape_text(shape)}" for name, shape in shapes.items())
            raise ShapeError(
                f"operands along an axis other than the last must have equal shapes, not {text}", op=self.name,
                todo="Give them equal shapes, or move the axis to the end.",
            )
        return first

    def lacks(self, specs: Specs) -> frozenset[str]:
        """The core axes that the operands lack, as a vector lacks the rows of a matrix in a product; the outputs lack them too."""
        if not self.may_lack:
            return frozenset()
        found: set[str] = set()
        for axes, s in zip(self.core or (), specs, strict=False):
            if s is not None and self._least(axes) <= s.ndim < len(axes):
                found.update(self.may_lack.intersection(axes))
        return frozenset(found)

    def _least(self, axes: Sequence[str]) -> int:
        """The number of core axes that an operand must have."""
        return len(axes) - len(self.may_lack.intersection(axes))

    def places_of(self, lacking: Collection[str], slot: int) -> tuple[int, ...]:
        """The places of axes in the core of an operand, or of an output behind the operands, counted from the end."""
        axes = (self.core or ())[slot]
        return tuple(k - len(axes) for k, a in enumerate(axes) if a in lacking)

    def _with_lacking(self, specs: Specs, lacking: Collection[str]) -> Specs:
        """The specs with axes of size 1 in the place of those that they lack."""
        if not lacking:
            return specs
        found: list[TensorSpec | None] = []
        for slot, s in enumerate(specs):
            shape = [] if s is None else list(s.shape)
            for place in self.places_of(lacking, slot) if s is not None and self.lacks([None] * slot + [s]) else ():
                shape.insert(len(shape) + 1 + place, 1)
            found.append(None if s is None else s._replace(shape=tuple(shape)))
        return found

    def _size(self, sizes: Mapping[str, int], name: str) -> int:
        return int(name) if name.isdigit() else sizes[name]

    def bind_core(self, specs: Specs) -> tuple[dict[str, int], tuple[int, ...]]:
        """Binds the signature's axes to sizes and broadcasts the leading axes. *Raises* ShapeError."""
        assert self.core is not None
        sizes: dict[str, int] = {}
        owner: dict[str, str] = {}
        batches: list[tuple[int, ...]] = [()]
        for slot, (axes, spec) in enumerate(zip(self.core, specs, strict=False)):
            if spec is None:
                continue
            parameter = self.input_name(slot)
            if spec.ndim < len(axes):
                raise ShapeError(
                    f"operand {parameter!r} needs at least {self._least(axes)} axes ({', '.join(axes)}), not {spec.ndim}",
                    op=self.name, todo="Reshape it.",
                )
            cut = spec.ndim - len(axes)
            batches.append(spec.shape[:cut])
            for axis, (letter, n) in enumerate(zip(axes, spec.shape[cut:], strict=True)):
                if sizes.setdefault(letter, n) != n:
                    raise ShapeError(
                        f"inner dimensions differ: {letter} is {sizes[letter]} in {owner[letter]!r} and {n} in {parameter!r}",
                        op=self.name, facts=[f"signature {self.signature_text}"],
                        todo=f"Axis {axis - len(axes)} of {parameter!r} ({n}) must equal {sizes[letter]}.",
                    )
                owner.setdefault(letter, parameter)
        return sizes, broadcast(batches)

    def independent_rows(self, specs: Specs, attributes: Attributes) -> frozenset[str]:
        """The names of the operands in ``rows``, for operands of these specs."""
        return frozenset(self.rows(*specs, **attributes)) if callable(self.rows) else self.rows

    @property
    def signature_text(self) -> str:
        """The gufunc signature: ``(m,k),(k,n)->(m,n)``."""
        assert self.core is not None
        parts = [f"({','.join(axes)})" for axes in self.core]
        return ",".join(parts[: len(self.inputs)]) + "->" + ",".join(parts[len(self.inputs) :])

    def _from_rule(self, specs: Specs, attributes: Attributes, dtype: str) -> tuple[TensorSpec, ...]:
        assert self.shape is not None
        result = self.shape(*specs, **attributes)
        results = [result] if len(self.outputs) == 1 else list(result)
        if len(results) != len(self.outputs):
            raise OpError(f"the shape rule gives {len(results)} shapes for {len(self.outputs)} outputs", op=self.name)
        return tuple(
            r if isinstance(r, TensorSpec) else TensorSpec(self._sizes_of(r), self.output_type(o, dtype))
            for r, o in zip(results, self.outputs, strict=True)
        )

    def _sizes_of(self, given: Any) -> tuple[int, ...]:
        """A shape that the shape rule gives. *Raises* OpError if it is none."""
        sizes = tuple(given) if isinstance(given, (tuple, list)) else None
        if sizes is None or not all(hasattr(n, "__index__") and n >= 0 for n in sizes):
            raise OpError(
                f"the shape rule gives {given!r}, which is not a shape", op=self.name, facts=[f"declared in {self.file}"],
                todo="Return a tuple of whole numbers from 0, or a TensorSpec, for each output.",
            )  # fmt: skip
        return sizes

    def evaluate_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> Sequence[Any]:
        if self.reference is not None:
            return Op.evaluate_plain(self, arrays, attributes, outputs)
        return self.call_plain(arrays, attributes, outputs)

    def call_plain(self, arrays: Sequence[Any], attributes: Attributes, outputs: Sequence[TensorSpec]) -> list[np.ndarray]:
        """Calls the un-jitted kernel once for each index of the leading axes."""
        results = [np.empty(s.shape, s.dtype) for s in outputs]
        if self.variadic or self.core is None:
            keep = [a for p, a in zip(self.inputs, arrays, strict=False) if p not in self.shape_only]
            operands = list(arrays) if self.variadic else keep
            self._call([*operands, *results], attributes)
            return results
        _, batch = self.bind_core([None if a is None else array_spec(a) for a in arrays])
        lifted: list[np.ndarray] = []
        for axes, array in zip(self.core, [*arrays, *results], strict=True):
            array = np.asarray(array)
            core = array.shape[array.ndim - len(axes) :]
            lifted.append(np.broadcast_to(array, batch + core) if len(lifted) < len(arrays) else array)
        shape = tuple(int(n) for n in batch)
        wanted = [i for i in range(len(lifted)) if i >= len(arrays) or self.inputs[i] not in self.shape_only]
        for index in np.ndindex(shape):
            self._call([lifted[i][index] if lifted[i].ndim > len(index) else lifted[i][(*index, ...)] for i in wanted], attributes)
        return results

    def _call(self, arrays: list[Any], attributes: Attributes) -> None:
        extra = ([0] if self.scratch else []) + ([0, 1] if self.parallel else [])
        with np.errstate(all="ignore"):
            status = self.function(*arrays, *extra, **attributes)
        if status:
            raise_status(self, int(status))
