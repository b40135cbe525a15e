"""Writes the archives of code that the package brings: `python tests/shipped_code.py`, after a change of what they hold.

For `codegen/shipped_functions.zip` it runs every built-in array kernel on its samples, in float32 and float64, forward and
backward, and the benchmark's workloads, and stores what Numba makes of their functions: two minutes. `gemm/shipped_functions.zip`
holds the matrix product and its relatives. `tests/codegen/test_shipped.py` fails while an archive is stale.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import tempfile
from pathlib import Path

from graphexec.llvm.shipped import PLACEHOLDER

ROOT = Path(__file__).parents[1]
NEUTRAL = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_OPT": "0"}
"""IR that fits every processor: Numba's own passes would unroll loops, which then are not vectorized for this one any more."""
SLOWER = {"exclusive_scan"}
"""Kernels that are not stored: 1.4 times as slow as after Numba's own passes, which reduce the addresses of its loop."""


def record():
    """What Numba makes of each function of a built-in array kernel: key of the file -> element types of the results, IR."""
    import numpy as np
    from helpers.run import load_samples, native

    import graphexec as gx
    from graphexec.codegen import op_functions, shipped
    from graphexec.errors import GraphExecError
    from graphexec.ir.kernel_op import KernelOp
    from graphexec.ir.registry import registry

    found = {}

    def keep(op, parts, symbol):
        key = shipped.key_of(op, parts)
        if op.function.__module__.partition(".")[0] in ("graphexec", "graphexec_ops") and key is not None and op.name not in SLOWER:
            found[key] = symbol

    shipped.find = keep
    samples = load_samples()
    for name in registry.names():
        op = registry.get(name)
        for sample in samples.get(name, ()):
            for dtype in ("float32", "float64"):
                arrays = sample.make(np.random.default_rng(1), dtype)
                try:
                    if isinstance(op, KernelOp):
                        native(op, arrays, sample.attributes)
                    gradients(gx, op, arrays, sample.attributes)
                except GraphExecError as error:
                    print(f"{name}: {error}".splitlines()[0], file=sys.stderr)
    for name, models in workloads():
        w = models.get(name)
        executable = models.build(w, threads=1)
        (executable.step if w.opt else executable)(**w.data)
    return {key: made(op_functions, shipped, symbol) for key, symbol in sorted(found.items())}


def gradients(gx, op, arrays, attributes):
    """Runs an op and its backward rule, if it has one."""
    graph = gx.Graph("sample")
    values = [None if a is None else graph.input(f"i{k}", a.shape, a.dtype.name) for k, a in enumerate(arrays)]
    if op.internal or not op.differentiable:
        return
    out = op(*values, **attributes)
    out = out[0] if isinstance(out, tuple) else out
    wrt = [v.name for v in values if v is not None and v.dtype.startswith("float")]
    if out.dtype.startswith("float") and wrt:
        graph.output(gx.ops.sum(gx.ops.square(out), name="loss"))
        inputs = {f"i{k}": a for k, a in enumerate(arrays) if a is not None}
        gx.compile(graph, loss="loss", wrt=wrt).gradients(**inputs)


def workloads():
    path = Path(__file__).parent / "benchmarks" / "models.py"
    spec = importlib.util.spec_from_file_location("graphexec_models", path)
    models = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    return [(name, models) for name in models.WORKLOADS]


def made(op_functions, shipped, symbol):
    """The text of a member: the results' types, and the IR under the placeholder's name."""
    text, results = op_functions.compiled(None, symbol, None)
    text = shortened(text)
    vectors = re.search(r"<\d+ x ", text)
    assert vectors is None, f"{symbol}: {vectors}"
    return json.dumps(results) + "\n" + text.replace(symbol, PLACEHOLDER)


def shortened(text):
    """The IR after passes that suit every processor, a seventh of its length: no loop is unrolled or vectorized."""
    import llvmlite.binding as llvm

    if "NRT_MemInfo_alloc" not in text:  # nothing is allocated, so nothing is counted
        text = re.sub(r"^.*call [^\n]*@NRT_(inc|dec)ref\([^\n]*\n", "", text, flags=re.M)
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(cpu="", features="", opt=2)
    module = llvm.parse_assembly(text)
    module.data_layout = str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = options.loop_vectorization = options.loop_interleaving = options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return "".join(line for line in str(module).splitlines(True) if not line.startswith("target datalayout"))


def shared():
    """The matrix product and its relatives, for the instruction sets of x86."""
    from graphexec.gemm.shared import SHARED, key_of, write_shared
    from graphexec.gemm.target import target_for

    targets = [target_for(dtype, isa) for dtype in ("float32", "float64") for isa in ("avx512", "avx2")]
    return {key_of(kind, target): write_shared(kind, target, PLACEHOLDER) for kind in SHARED for target in targets}


def write(archive, texts):
    archive.write(texts)
    print(f"{archive.path.relative_to(ROOT)}: {len(texts)} functions, {archive.path.stat().st_size / 1e6:.2f} MB")


def main():
    os.environ.update(NEUTRAL)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAPHEXEC_CACHE_DIR"] = folder
        bodies = record()
    from graphexec.codegen import shipped
    from graphexec.gemm.shared import ARCHIVE

    write(ARCHIVE, shared())
    write(shipped.ARCHIVE, bodies)


if __name__ == "__main__":
    main()
