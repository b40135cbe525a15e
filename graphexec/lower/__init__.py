"""Lowers a function to a program: layout, buffers, kernels, table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from graphexec.ir.function import Function
from graphexec.llvm.toolchain import LOCK
from graphexec.lower.buffer_assignment import assign_buffers
from graphexec.lower.instruction_selection import select_kernels
from graphexec.lower.layout_assignment import assign_layout
from graphexec.lower.program import Program, assemble


def lower(
    fn: Function, buffers: Mapping[str, np.ndarray], live_out: Iterable[int] = (), *, threads: int = 1, reuse: bool = True,
    checked: bool = False,
) -> Program:  # fmt: skip
    """Lowers an inferred function without composite ops.

    ``buffers`` holds the arrays of its inputs and parameters by name; the program works on them in place. Values in
    ``live_out`` can be read after a run. ``reuse=False`` gives each value its own memory; ``checked`` compiles array kernels
    with bounds checks. *Raises* PluginError when a kernel does not compile.
    """
    layout = assign_layout(fn)
    layout.checked = checked
    memory = assign_buffers(layout, live_out, reuse=reuse)
    with LOCK:
        specs = select_kernels(layout)
        return assemble(layout, memory, specs, buffers, threads)
