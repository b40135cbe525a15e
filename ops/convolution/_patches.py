"""Tile sizes of the patch matrix, whose columns hold the elements of each window; compiled into the kernels that call them.

A kernel runs im2col on as many windows at a time as fit in the L2 cache; the whole patch matrix is never stored.
"""

PATCHES = 1 << 18
"""Bytes of one tile of patches."""

DEPTH = 512
"""Rows of one tile of patches; with 64 columns of float64 they just fit."""


def row_block(rows):
    """The number of rows of a tile; all tiles have about the same depth."""
    return max(-(-rows // max(-(-rows // DEPTH), 1)), 1)


def column_block(columns, rows, items, size):
    """The number of windows of a tile; fewer than fit if that gives work to more threads."""
    fit = PATCHES // size // rows
    if items < 8:
        fit = min(fit, -(-columns * items // 8))
    return max(fit // 16 * 16, 64)


def part_of(image, images, parts):
    """The part of the batch that an image belongs to; part p begins at images * p // parts."""
    return ((image + 1) * parts - 1) // images
