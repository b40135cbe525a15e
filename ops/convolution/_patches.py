"""Patches: the elements that each window sees, as the columns of a matrix. Compiled with the kernels that call them.

A kernel unfolds as many windows at a time as fit the second-level cache, and no matrix of all patches is ever stored.
"""

PATCHES = 1 << 18
"""Bytes of patches at a time."""

DEPTH = 512
"""Rows of patches at a time; with 64 columns of float64 they just fit."""


def row_block(rows):
    """How many rows of patches to take at a time: blocks of about equal depth."""
    return max(-(-rows // max(-(-rows // DEPTH), 1)), 1)


def column_block(columns, rows, items, size):
    """How many windows to take at a time; fewer than fit where that gives several threads something to do."""
    fit = PATCHES // size // rows
    if items < 8:
        fit = min(fit, -(-columns * items // 8))
    return max(fit // 16 * 16, 64)


def part_of(image, images, parts):
    """Which of the parts of a batch, whose borders are images * p // parts, an image belongs to."""
    return ((image + 1) * parts - 1) // images
