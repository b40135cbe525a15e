"""reference: what an op's reference computes, as arrays of the shapes and types that the op declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphexec.errors import GraphExecError, OpError
from graphexec.ir.place import told
from graphexec.ir.spec import TensorSpec, shape_text

if TYPE_CHECKING:
    from graphexec.ir.op import Attributes, Op, Specs


def computed(
    op: Op, arrays: Sequence[Any], attributes: Attributes, specs: Specs, outputs: Sequence[TensorSpec]
) -> tuple[np.ndarray, ...]:
    """The outputs by NumPy and un-jitted code. *Raises* OpError if the reference fails or does not return what was inferred."""
    try:
        with np.errstate(all="ignore"):  # as in kernels, which do not warn
            results = op.evaluate_plain(arrays, attributes, outputs)
        if len(results) != len(outputs):
            raise ValueError(f"it returns {len(results)} results for {len(outputs)} outputs")
        return tuple(_array(name, r, s) for name, r, s in zip(op.outputs, results, outputs, strict=True))
    except (GraphExecError, MemoryError):
        raise
    except Exception as error:  # the reference of a plugin may fail in any way
        operands = [f"{op.input_name(k)}   {s}" for k, s in enumerate(specs) if s is not None]
        raise OpError(
            f"its reference failed: {type(error).__name__}: {error}", op=op.name, facts=[*operands, told(error, op.file)],
            todo="Correct the reference; it takes operands of any shape that the op takes, leading axes too.",
        ) from error  # fmt: skip


def _array(output: str, result: Any, spec: TensorSpec) -> np.ndarray:
    array = np.asarray(result, dtype=spec.dtype)
    if array.size != spec.size:
        raise ValueError(f"it returns an array of shape {shape_text(array.shape)} for output {output!r}, which is {spec}")
    return array.reshape(spec.shape)
