"""The matrix product beside NumPy's OpenBLAS, one thread, for a list of shapes and every transposition.

    python tests/benchmarks/bench_gemm.py [--dtype float64] [--shapes 32x64x64,1x512x784] [--cores SkylakeX,Haswell]

Prints times and ratios (above 1: ours is faster). OpenBLAS runs as NumPy finds it and, each in a process of its own,
with every kernel set named by --cores; where PyTorch is installed its `mm` runs too, called from Python as its users do,
so that small shapes say more of that call than of the product. Ours runs beside them every time, turn by turn: a ratio
is the median of those of all turns, a time the best. `peak` is the share of what a loop of nothing but fused
multiply-adds in registers reaches in the same process.
"""

import argparse
import ctypes
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHAPES = ("32x64x64,128x512x784,128x256x512,128x10x256,1x512x784,33x65x63,256x256x256,512x784x128,1024x1024x1024,"
          "32x64x16,16x64x64,4x8x2,4x1x8,784x1x512")


def openblas(dtype: str) -> tuple[Any, Any]:
    """The library's own gemm and gemv, as NumPy's wheel carries them: both sides are called from compiled code."""
    import numpy as np

    folder = Path(np.__file__).resolve().parents[1] / "numpy.libs"
    library = ctypes.CDLL(str(next(folder.glob("*openblas*"))))
    letter, integer = "sd"[dtype == "float64"], ctypes.c_int64
    real = ctypes.c_float if dtype == "float32" else ctypes.c_double
    gemm = getattr(library, f"scipy_cblas_{letter}gemm64_")
    gemm.argtypes = [ctypes.c_int] * 3 + [integer] * 3 + [real] + [integer] * 4 + [real] + [integer] * 2
    gemv = getattr(library, f"scipy_cblas_{letter}gemv64_")
    gemv.argtypes = [ctypes.c_int] * 2 + [integer] * 2 + [real] + [integer] * 4 + [real] + [integer] * 2
    gemm.restype = gemv.restype = None
    return gemm, gemv


def turns(rounds: int, *calls: Callable[[int], Any]) -> Any:
    """Seconds of each call, one row a turn; each call repeats as many times as it is told."""
    import numpy as np

    repeats = []
    for call in calls:
        call(1)
        start = time.perf_counter()
        call(4)
        repeats.append(max(1, int(3e-4 * 4 / (time.perf_counter() - start))))
    seconds = np.empty((rounds, len(calls)))
    for row in seconds:
        for which, (call, count) in enumerate(zip(calls, repeats, strict=True)):
            start = time.perf_counter()
            call(count)
            row[which] = (time.perf_counter() - start) / count
    return seconds


def torch_product() -> Callable[..., Callable[[int], None]] | None:
    """PyTorch's product of NumPy arrays on one thread, if it is installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)

    def given(a: Any, b: Any, c: Any) -> Callable[[int], None]:
        left, right, out = map(torch.from_numpy, (a, b, c))

        def call(times: int) -> None:
            for _ in range(times):
                torch.mm(left, right, out=out)

        return call

    return given


def compiled(dtype: str, isa: str | None) -> tuple[Any, Any, Any]:
    """Loops over our product, over OpenBLAS's gemm and its gemv, with our arguments."""
    import numba
    import numpy as np

    from graphexec.gemm.standalone import gemm_function

    product = numba.njit(nogil=True)(gemm_function(dtype, isa))
    gemm, gemv = openblas(dtype)
    one, zero = np.dtype(dtype).type(1), np.dtype(dtype).type(0)

    @numba.njit
    def ours(times, c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, work):  # type: ignore[no-untyped-def]
        for _ in range(times):
            product(c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, 0, 0, work, 0, 1)

    @numba.njit
    def theirs(times, c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, way):  # type: ignore[no-untyped-def]
        for _ in range(times):
            gemm(101, 111 + way // 2, 111 + way % 2, m, n, k, one, a, max(rsa, csa), b, max(rsb, csb), zero, c, ldc)

    @numba.njit
    def theirs_vector(times, out, matrix, by_columns, lines, length, x):  # type: ignore[no-untyped-def]
        rows, columns = (length, lines) if by_columns else (lines, length)
        for _ in range(times):
            gemv(101, 111 + by_columns, rows, columns, one, matrix, columns, x, 1, zero, out, 1)

    return ours, theirs, theirs_vector


def placed(array: Any, offset: int) -> Any:
    """The array so many bytes behind a multiple of 64, where all of graphexec's memory begins."""
    import numpy as np

    room = np.empty(array.nbytes + 128, np.uint8)
    start = -room.ctypes.data % 64 + offset
    found = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


def measure(dtype: str, isa: str | None, shapes: str, rounds: int, offset: int = 0) -> list[dict[str, Any]]:
    """One row for each shape and transposition: our time, how many times as long the others take, the share of the peak."""
    import numpy as np

    from graphexec.gemm.standalone import work_size
    from graphexec.profile.peak_flops import fma_loop

    ours, theirs, theirs_vector = compiled(dtype, isa)
    burn, operations = fma_loop(dtype)
    torch = torch_product()
    rng = np.random.default_rng(0)
    scratch = np.empty(work_size(dtype, isa) + 64, np.uint8)
    work = scratch.ctypes.data + -scratch.ctypes.data % 64
    rows = []
    for shape, way in itertools.product(shapes.split(","), range(4)):
        m, n, k = map(int, shape.split("x"))
        a, b = rng.standard_normal((k, m) if way // 2 else (m, k)), rng.standard_normal((n, k) if way % 2 else (k, n))
        a, b, c = (placed(x, offset) for x in (a.astype(dtype), b.astype(dtype), np.zeros((m, n), dtype)))
        rsa, csa = (1, m) if way // 2 else (k, 1)
        rsb, csb = (1, k) if way % 2 else (n, 1)
        pointers = c.ctypes.data, n, a.ctypes.data, rsa, csa, b.ctypes.data, rsb, csb, m, n, k
        calls = [lambda times, given=pointers: ours(times, *given, work),
                 lambda times, given=pointers, way=way: theirs(times, *given, way)]
        if m == 1:
            calls[1] = lambda times, x=(c.ctypes.data, b.ctypes.data, 1 - way % 2, n, k, a.ctypes.data): \
                theirs_vector(times, *x)
        elif n == 1:
            calls[1] = lambda times, x=(c.ctypes.data, a.ctypes.data, way // 2, m, k, b.ctypes.data): \
                theirs_vector(times, *x)
        calls.append(lambda times: burn(times * 50_000))
        if torch:
            calls.append(torch(a.T if way // 2 else a, b.T if way % 2 else b, np.zeros_like(c)))
        seconds = turns(max(5, min(rounds, int(rounds * 2e8 / (m * n * k)))), *calls)
        best, ratios = seconds.min(axis=0), np.median(seconds / seconds[:, :1], axis=0)
        peak = operations * 50_000 / best[2]
        error = abs(c - (a.T if way // 2 else a) @ (b.T if way % 2 else b)).max()
        assert error < k * np.finfo(dtype).eps * 16, (shape, way, error)
        flops = 2 * m * n * k / best[0]
        rows.append({"shape": shape, "way": "NT"[way // 2] + "NT"[way % 2], "us": best[0] * 1e6, "gflops": flops * 1e-9,
                     "peak": flops / peak, "ratios": [ratios[1], *ratios[3:]]})
    return rows


def in_process(core: str | None, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """`measure` in a process whose OpenBLAS is told to be `core`."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    if core:
        environment["OPENBLAS_CORETYPE"] = core
    root = Path(__file__).resolve().parents[2]
    environment["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [environment.get("PYTHONPATH")])])
    command = [sys.executable, __file__, "--worker", "--dtype", arguments.dtype, "--shapes", arguments.shapes,
               "--rounds", str(arguments.rounds), "--offset", str(arguments.offset)]
    command += ["--isa", arguments.isa] if arguments.isa else []
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--isa", choices=("avx512", "avx2", "neon", "scalar"), help="in place of the host's")
    parser.add_argument("--shapes", default=SHAPES, help="m x n x k, comma separated")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--offset", type=int, default=0, help="bytes of operands past a multiple of 64; NumPy's are often 16")
    parser.add_argument("--cores", default="SkylakeX", help="OpenBLAS kernel sets to force, comma separated")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(arguments.dtype, arguments.isa, arguments.shapes, arguments.rounds, arguments.offset)))
        return
    cores = [None, *filter(None, arguments.cores.split(","))]
    tables = [in_process(core, arguments) for core in cores]
    torch = len(tables[0][0]["ratios"]) > 1
    print(f"{arguments.dtype}; us: best of {arguments.rounds} turns; ratios: medians")
    print(f"{'shape':>15} way        us GFLOP/s  peak" + "".join(f"{core or 'NumPy':>11}" for core in cores)
          + f"{'torch':>11}" * torch)
    for rows in zip(*tables, strict=True):
        us, gflops, peak = min(r["us"] for r in rows), max(r["gflops"] for r in rows), max(r["peak"] for r in rows)
        others = [min(row["ratios"][1] for row in rows)] if torch else []
        print(f"{rows[0]['shape']:>15}  {rows[0]['way']} {us:9.2f} {gflops:7.1f} {peak:5.2f}"
              + "".join(f"{ratio:11.2f}" for ratio in (*(row["ratios"][0] for row in rows), *others)))


if __name__ == "__main__":
    main()
