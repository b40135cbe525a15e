"""Tile sizes of the patch matrix, whose columns hold the elements of each window; compiled into the kernels that call them.

A kernel runs im2col on as many windows at a time as fit in the L2 cache; the whole patch matrix is never stored.
"""

PATCHES = 1 << 18
"""Bytes of one tile of patches."""

DEPTH = 512
"""Rows of one tile of patches; with 64 columns of float64 they just fit."""

LONG = 8192
"""Products in the longest chain of additions; a longer sum is divided into slabs, whose rounding errors are added apart."""

SLAB = 64
"""Products in a slab."""

SPARE = PATCHES // 4
"""Bytes of the sum of a slab, and of the errors: together half of the tile of patches, which a slab does not fill."""


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


def add_part(sums, errors, part):
    """Adds a slab to the sums, and the rounding errors of these additions to the errors (two-sum)."""
    for i in range(part.shape[0]):
        for j in range(part.shape[1]):
            before, added = sums[i, j], part[i, j]
            total = before + added
            seen = total - before
            errors[i, j] += (before - (total - seen)) + (added - seen)
            sums[i, j] = total


def add_errors(sums, errors):
    """Adds the errors to the sums; those of infinite sums are NaN and left out."""
    for i in range(errors.shape[0]):
        for j in range(errors.shape[1]):
            if errors[i, j] == errors[i, j]:
                sums[i, j] += errors[i, j]
