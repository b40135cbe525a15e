"""standalone: the matrix product as a Python function that Numba compiles, for tests and benchmarks."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from numba import types
from numba.extending import intrinsic
from numpy.typing import DTypeLike

from graphexec.gemm.driver import Driver
from graphexec.gemm.emitter import I64
from graphexec.gemm.target import Target, target_for

WORK_ALIGNMENT = 64  #: bytes


def work_size(dtype: DTypeLike, features: Mapping[str, bool] | str | None = None) -> int:
    """Bytes of scratch each thread hands to `gemm`."""
    return target_for(dtype, features).work_bytes


def gemm_function(dtype: DTypeLike, features: Mapping[str, bool] | str | None = None) -> Callable[..., int]:
    """The matrix product of `dtype` as a Python function that Numba compiles.

    `features` are LLVM feature flags, or the name of an instruction set (`avx512`, `avx2`, `neon`, `scalar`), in place
    of the host's. Raises ValueError for other dtypes.
    """
    return _build(target_for(dtype, features))


@lru_cache(None)
def _build(target: Target) -> Callable[..., int]:
    @intrinsic
    def product(typing, c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, accumulate, bias, work, piece, pieces):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.call(Driver(builder.module, target).gemm(), [*arguments, I64(0)])
            return I64(0)

        return types.int64(*[types.int64] * 16), generate

    def gemm(c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, accumulate, bias, work, piece, pieces):  # type: ignore[no-untyped-def]
        return product(c, ldc, a, rsa, csa, b, rsb, csb, m, n, k, accumulate, bias, work, piece, pieces)  # type: ignore[call-arg]

    return gemm
