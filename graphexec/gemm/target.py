"""target: the machine as the matrix product sees it: vector width, register tile, cache blocks.

There is one frozen record for each dtype and instruction set; the other modules of `gemm` take their numbers from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias
from zlib import crc32

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import DTypeLike

Heights: TypeAlias = tuple[int, ...]
Strips: TypeAlias = tuple[tuple[int, int], ...]

#: (name, bytes in a vector, rows of the tile variants, (rows, vectors) of the strips, host features that all must be
#: there), best first. The largest tile and strips are those that fit the vector registers: 32, 16, 32 and, for the
#: scalar one, 16.
INSTRUCTION_SETS: tuple[tuple[str, int, Heights, Strips, tuple[str, ...]], ...] = (
    ("avx512", 64, (4, 8, 10, 12, 14), ((1, 8), (2, 8), (6, 4)), ("avx512f", "avx512vl")),
    ("avx2", 32, (4, 6), ((1, 6), (2, 4)), ("avx2", "fma")),
    ("neon", 16, (4, 8, 10, 12), ((1, 8), (2, 8), (4, 4)), ("neon",)),
    ("scalar", 0, (4,), ((1, 4), (2, 4)), ()),
)

#: Replacements for defaults of `Target`, which suit a core with at least 48 KiB of first-level and 1 MiB of second-level cache.
#: Those of AVX-512 were measured on Zen 4 (32 KiB and 1 MiB), those of AVX2 on Zen 3.
TUNED: Mapping[str, Mapping[str, int]] = {
    "avx512": {"group": 4, "unroll": 2, "depth_bytes": 4096, "row_block": 56, "block_columns": 384},
    "avx2": {  # 32 and 256 to 512 KiB; 16 registers, all of them taken by a tile
        "row_block": 48, "dot_rows_at_once": 4, "narrow_columns": 8, "a_columns": 48, "a_bytes": 1 << 16, "b_tiles": 8,
        "b_bytes": 1 << 14, "remainder_rows": 24,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Sizes of the blocks of one matrix product, all counted in elements unless said otherwise."""

    isa: str
    item: int  #: bytes of an element
    lanes: int  #: elements of a vector
    heights: Heights  #: rows of the tile variants; above 8, in steps of 2, for they take one row less at most
    strips: Strips  #: (rows, vectors) of the kernels for few rows
    fma: bool  #: whether the machine multiplies and adds with one rounding
    masks: bool  #: whether it loads part of a vector at the price of a whole one
    depth_bytes: int = 2048  #: bytes of the deepest pass over k (kc), so that panels of both dtypes are equally large
    row_block: int = 84  #: rows of the packed block of A (mc)
    block_columns: int = 512  #: columns of the packed block of B (nc)
    dot_depth: int = 4096  #: most of k in one pass of the dot product kernel
    row_depth: int = 4  #: rows of B that are added to a C of one row at a time
    row_reach: int = 12_800  #: most bytes ahead at which the next rows are prefetched
    strip_depth: int = 64  #: most of k in one pass of a strip
    dot_rows_at_once: int = 8  #: rows of the dot product kernel
    remainder_rows: int = 8  #: rows of a block of one panel with remainder columns; twice as many if rows are short
    remainder_bytes: int = 512  #: bytes of the shortest rows of A for which such a block is smaller than others
    narrow_rows: int = 512  #: rows of a product of few columns computed at a time; a multiple of the lanes
    narrow_columns: int = 16  #: most columns of such a product
    group: int = 3  #: rows of A addressed from one pointer: one each takes too many registers, one for all is a chain of additions
    unroll: int = 4  #: steps of k without a branch
    ahead: int = 8  #: how many steps of k ahead of its use an operand is fetched
    dot_rows: int = 4  #: most rows by a transposed B done as dot products
    a_columns: int = 96  #: fewest columns of C for which A is packed
    a_bytes: int = 1 << 19  #: largest A by columns read in place
    clash: int = 128  #: least k at which rows a multiple of a page apart push each other out of the cache
    b_tiles: int = 18  #: fewest tiles of C, one above the other, for which a B by rows is packed
    b_bytes: int = 1 << 20  #: largest B by rows read in place whatever C's rows
    local_bytes: int = 1 << 15  #: largest B that every piece reads whole, so that it can work on rows of A of its own
    local_rows: int = 8  #: fewest rows of such a piece
    deep: int = 8192  #: longest k in one chain of additions
    slab: int = 64  #: of a longer k, products in one chain
    deep_bytes: int = 1 << 18  #: of a block of the C of such a product

    @property
    def tag(self) -> str:
        """Names this target in symbols: one process may hold code of several."""
        return f"{self.isa}_f{self.item * 8}_{crc32(repr(self).encode()):08x}"

    @property
    def rows(self) -> int:
        """Most rows of the register tile."""
        return self.heights[-1]

    @property
    def columns(self) -> int:
        """Columns of the register tile: two vectors."""
        return 2 * self.lanes

    @property
    def depth(self) -> int:
        """Most of k in one pass."""
        return self.depth_bytes // self.item

    @property
    def column_block(self) -> int:
        """Columns of the packed block of B."""
        return max(self.block_columns // self.columns, 1) * self.columns

    @property
    def packed_rows(self) -> int:
        """Distance between two columns of a packed panel of A: the tile's rows in whole vectors."""
        return -(-self.rows // self.lanes) * self.lanes

    @property
    def panel_bytes(self) -> int:
        """One packed panel of A."""
        return self.packed_rows * self.depth * self.item

    @property
    def block_bytes(self) -> int:
        """Every packed panel of one row block of A."""
        return -(-self.row_block // self.rows) * self.panel_bytes

    @property
    def transposed_size(self) -> int:
        """Most elements of a C that is computed as C^T in scratch memory."""
        return self.narrow_rows * self.narrow_columns

    @property
    def transposed_place(self) -> int:
        """Offset of such a C^T in a thread's scratch memory: after a block of A and a block of B."""
        return self.block_bytes + self.column_block * self.depth * self.item

    @property
    def deep_columns(self) -> int:
        """Columns of a block of C for a long k: half of those whose panels of B fit into scratch memory."""
        return self.column_block // self.columns // 2 * self.columns

    @property
    def deep_place(self) -> int:
        """Offset of such blocks in a thread's scratch memory, in the free half."""
        return self.block_bytes + self.deep_columns * self.depth * self.item

    @property
    def work_bytes(self) -> int:
        """Scratch memory of one thread: a block of A, a block of B, a C^T and a few columns of it as rows."""
        return self.transposed_place + (self.transposed_size + self.narrow_rows * self.lanes) * self.item


@lru_cache(None)
def host_features() -> frozenset[str]:
    """Names of the instruction set extensions of this host, as LLVM spells them."""
    names = {name for name, present in llvm.get_host_cpu_features().items() if present}
    if llvm.get_process_triple().startswith(("aarch64", "arm64")):
        names.add("neon")  # part of the base architecture, which LLVM does not list on every system
    return frozenset(names)


def target_for(dtype: DTypeLike, features: Mapping[str, bool] | str | None = None) -> Target:
    """The target of `dtype` on this host, or with given LLVM feature flags, or of a named instruction set.

    Raises ValueError for a dtype other than float32 and float64 and for an unknown instruction set.
    """
    item = np.dtype(dtype).itemsize
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"the matrix product takes float32 or float64, not {np.dtype(dtype)}")
    if features is None:
        present = host_features()
    elif isinstance(features, str):
        present = host_features()
    else:
        present = frozenset(name for name, on in features.items() if on)
    for isa, width, heights, strips, needed in INSTRUCTION_SETS:
        if isa == features or (not isinstance(features, str) and present.issuperset(needed)):
            fused = isa != "scalar" or "fma" in present or "neon" in present
            lanes, masks = max(width // item, 1), isa.startswith("avx")
            return Target(isa, item, lanes, heights, strips, fused, masks, **TUNED.get(isa, {}))
    raise ValueError(f"unknown instruction set {features!r}; known: {[entry[0] for entry in INSTRUCTION_SETS]}")
