"""Writes the archives of code that the package brings: `python tests/shipped_code.py`, after a change of what they hold.

It runs every built-in op on its examples, in float32 and float64, forward and backward, and the benchmark's workloads. It stores
what Numba makes of the functions of array kernels (`codegen/shipped_functions.zip`), and the object code of the kernels of single
ops, of the matrix product and its relatives, and of what runs programs (`llvm/x86_64_v3.zip`, `x86_64_v4.zip`): four minutes.
`tests/codegen/test_shipped.py` and `tests/llvm/test_object_code.py` fail while an archive is stale.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from graphexec.llvm.shipped import PLACEHOLDER

ROOT = Path(__file__).parents[1]
NEUTRAL = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_OPT": "0"}
"""IR that fits every processor: Numba's own passes would unroll loops, which then are not vectorized for this one any more."""
SLOWER = {"exclusive_scan"}
"""Kernels that are not stored: 1.4 times as slow as after Numba's own passes, which reduce the addresses of its loop."""
OF_PROGRAMS = {"take_batch"}
"""Ops compiled for an attribute that a program chooses: those of the workloads are stored, not those of their examples."""


def record():
    """What Numba makes of each function of a built-in array kernel: key of the file -> element types of the results, IR."""
    from graphexec.codegen import op_functions, shipped

    found = {}

    def keep(op, parts, symbol):
        key = shipped.key_of(op, parts)
        if op.function.__module__.partition(".")[0] in ("graphexec", "graphexec_ops") and key is not None and op.name not in SLOWER:
            found[key] = symbol

    real = shipped.find
    shipped.find = keep
    try:
        run_everything()
    finally:
        shipped.find = real
    return {key: made(op_functions, shipped, symbol) for key, symbol in sorted(found.items())}


def run_everything():
    """Every op on its examples, its gradient, and the benchmark's workloads."""
    import numpy as np
    from helpers.run import examples_of, native

    import graphexec as gx
    from graphexec.codegen import kernels
    from graphexec.errors import GraphExecError
    from graphexec.ir.kernel_op import KernelOp
    from graphexec.ir.registry import registry

    kernels.loaded.clear()
    for name in registry.names():
        op = registry.get(name)
        for example in examples_of(op) if name not in OF_PROGRAMS else ():
            for dtype in ("float32", "float64"):
                arrays = example.make(np.random.default_rng(1), dtype)
                try:
                    if isinstance(op, KernelOp):
                        native(op, arrays, example.attributes)
                    gradients(gx, op, arrays, example.attributes)
                except GraphExecError as error:
                    print(f"{name}: {error}".splitlines()[0], file=sys.stderr)
    for name, models in workloads():
        w = models.get(name)
        for threads in (1, 2):
            executable = models.build(w, threads=threads)
            (executable.step if w.opt else executable)(**w.data)


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


def objects():
    """IR of the kernels to store as object code: key of the file -> modules under canonical names, entry, `written`."""
    from graphexec.llvm import object_code

    found = {}
    real = object_code.key_of

    def note(modules, entry, *, written):
        key = real(modules, entry, written=written)
        if not entry.startswith("fused_"):
            found[key] = object_code.canonical(modules, entry), object_code.placeholder(entry), written
        return "not in the archive"

    object_code.key_of = note
    try:
        run_everything()
    finally:
        object_code.key_of = real
    return found


def shared(isa):
    """The matrix product and its relatives: key of the file -> modules, entry, `written`."""
    from graphexec.gemm.shared import SHARED, key_of, write_shared
    from graphexec.gemm.target import target_for
    from graphexec.llvm import object_code

    found = {}
    for kind in SHARED:
        for dtype in ("float32", "float64"):
            entry = object_code.placeholder(f"shared_{kind}_{dtype}_{'0' * 32}")
            found[key_of(f"{kind}_{dtype}", isa)] = [write_shared(kind, target_for(dtype, isa), entry)], entry, kind == "gemm"
    return found


def built(kernels, level):
    """Packed object code of kernels for a level of x86-64."""
    from graphexec.codegen import linker
    from graphexec.llvm import object_code, toolchain

    real = toolchain.host
    features = ",".join(f"+{name}" for name in object_code.LEVELS[level])
    toolchain.host = lambda: (level, features)
    members, waiting = {}, dict(kernels)
    try:
        while waiting:
            key, (modules, entry, written) = waiting.popitem()
            members[key] = linker.pack(toolchain.build(modules, entry, written=written), linker.needs(modules))
            waiting |= {k: found for k, found in rare_paths(members[key]).items() if k not in members}
        return members
    finally:
        toolchain.host = real


def rare_paths(packed):
    """The rare paths that packed object code calls: key of the file -> modules, entry, `written`."""
    from graphexec.abi import RARE_PREFIX
    from graphexec.codegen.rare_paths import rare_path
    from graphexec.llvm import object_code

    found = {}
    for name in json.loads(packed.partition(b"\n")[0])["needs"]:
        if name.startswith(RARE_PREFIX):
            entry = object_code.placeholder(f"shared_{name.removeprefix(RARE_PREFIX)}_{'0' * 32}")
            modules = [rare_path(name, entry)]
            found[object_code.key_of(modules, entry, written=False)] = modules, entry, False
    return found


def write(archive, members):
    archive.write(members)
    print(f"{archive.path.relative_to(ROOT)}: {len(members)} members, {archive.path.stat().st_size / 1e6:.2f} MB")


def in_empty_cache(task):
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAPHEXEC_CACHE_DIR"] = folder
        return task()


def main():
    if sys.argv[1:] == ["objects"]:
        write_objects()
        return
    os.environ.update(NEUTRAL)
    bodies = in_empty_cache(record)
    from graphexec.codegen import shipped

    write(shipped.ARCHIVE, bodies)
    for name in NEUTRAL:
        del os.environ[name]
    subprocess.run([sys.executable, __file__, "objects"], check=True)  # Numba reads its settings once


def write_objects():
    from graphexec.llvm import object_code

    kernels = in_empty_cache(objects)
    for level, isa in (("x86-64-v4", "avx512"), ("x86-64-v3", "avx2")):
        write(object_code.ARCHIVES[level], built({**kernels, **shared(isa)}, level))


if __name__ == "__main__":
    main()
