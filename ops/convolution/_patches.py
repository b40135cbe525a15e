"""Patches: the elements that each window sees, as the columns of a matrix. Compiled with the kernels that call them.

A kernel unfolds as many windows at a time as fit the second-level cache, and no matrix of all patches is ever stored.
"""

from graphexec.plugin import array_at

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


def inside(offset, stride, size, count):
    """The windows from which on, and before which, element `offset` of a window lies inside the input."""
    start = 0 if offset >= 0 else (stride - 1 - offset) // stride
    stop = (size - 1 - offset) // stride + 1 if offset < size else 0
    return min(start, count), max(min(stop, count), min(start, count))


def position(k, kernel):
    """Channel and place in the window of row k of the patches."""
    rest, e = k // kernel[2], k % kernel[2]
    rest, b = rest // kernel[1], rest % kernel[1]
    return rest // kernel[0], rest % kernel[0], b, e


def unfold(image, patches, low, high, first, last, kernel, outs, strides, padding, dilations):
    """Rows `low` to `high` of the patches of windows `first` to `last` of one image: a row for each element of a window.

    image is (channels, depth, height, width); what lies outside is 0.
    """
    size, at = image.itemsize, patches.ctypes.data
    for k in range(low, high):
        channel, a, b, e = position(k, kernel)
        offset = e * dilations[2] - padding[2]
        start, stop = inside(offset, strides[2], image.shape[3], outs[2])
        row, column, left = first // outs[2], first % outs[2], last - first
        plane, row = row // outs[1], row % outs[1]
        while left > 0:
            width = min(outs[2] - column, left)
            z = plane * strides[0] + a * dilations[0] - padding[0]
            y = row * strides[1] + b * dilations[1] - padding[1]
            begin, finish = column, column
            if 0 <= z < image.shape[1] and 0 <= y < image.shape[2]:
                begin = min(max(start, column), column + width)
                finish = max(min(stop, column + width), begin)
            zero_row(at, begin - column, image)
            if finish > begin:
                source = image.ctypes.data + ((channel * image.shape[1] + z) * image.shape[2] + y) * image.shape[3] * size
                copy_row(at + (begin - column) * size, source + (offset + begin * strides[2]) * size, strides[2],
                         finish - begin, image)  # fmt: skip
            zero_row(at + (finish - column) * size, column + width - finish, image)
            at += width * size
            left -= width
            column, row = 0, row + 1
            if row == outs[1]:
                row, plane = 0, plane + 1


def fold(image, patches, low, high, first, last, kernel, outs, strides, padding, dilations):
    """Adds patches to the image that they would have come from: the transpose of `unfold`."""
    size, at = image.itemsize, patches.ctypes.data
    for k in range(low, high):
        channel, a, b, e = position(k, kernel)
        offset = e * dilations[2] - padding[2]
        start, stop = inside(offset, strides[2], image.shape[3], outs[2])
        row, column, left = first // outs[2], first % outs[2], last - first
        plane, row = row // outs[1], row % outs[1]
        while left > 0:
            width = min(outs[2] - column, left)
            z = plane * strides[0] + a * dilations[0] - padding[0]
            y = row * strides[1] + b * dilations[1] - padding[1]
            begin = max(start, column)
            finish = min(stop, column + width)
            if 0 <= z < image.shape[1] and 0 <= y < image.shape[2] and finish > begin:
                target = image.ctypes.data + ((channel * image.shape[1] + z) * image.shape[2] + y) * image.shape[3] * size
                add_row(target + (offset + begin * strides[2]) * size, strides[2], at + (begin - column) * size,
                        finish - begin, image)  # fmt: skip
            at += width * size
            left -= width
            column, row = 0, row + 1
            if row == outs[1]:
                row, plane = 0, plane + 1


def zero_row(to, count, like):
    out = array_at(to, count, like)
    for i in range(count):
        out[i] = 0


def copy_row(to, source, step, count, like):
    """Copies elements that are `step` apart; rows are short, so vectors come in sizes 8, 4 and 2."""
    size = like.itemsize
    if step != 1:
        out, x = array_at(to, count, like), array_at(source, count * step, like)
        for i in range(count):
            out[i] = x[i * step]
        return
    while count >= 8:
        copy_8(array_at(to, 8, like), array_at(source, 8, like))
        to, source, count = to + 8 * size, source + 8 * size, count - 8
    if count >= 4:
        copy_4(array_at(to, 4, like), array_at(source, 4, like))
        to, source, count = to + 4 * size, source + 4 * size, count - 4
    out, x = array_at(to, 4, like), array_at(source, 4, like)
    for i in range(count):
        out[i] = x[i]


def add_row(to, step, source, count, like):
    """Adds a row to elements that are `step` apart."""
    size = like.itemsize
    if step != 1:
        out, x = array_at(to, count * step, like), array_at(source, count, like)
        for i in range(count):
            out[i * step] += x[i]
        return
    while count >= 8:
        add_8(array_at(to, 8, like), array_at(source, 8, like))
        to, source, count = to + 8 * size, source + 8 * size, count - 8
    if count >= 4:
        add_4(array_at(to, 4, like), array_at(source, 4, like))
        to, source, count = to + 4 * size, source + 4 * size, count - 4
    out, x = array_at(to, 4, like), array_at(source, 4, like)
    for i in range(count):
        out[i] += x[i]


def copy_8(out, x):  # all loads before all stores: LLVM cannot know that the rows do not overlap
    a, b, c, d, e, f, g, h = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
    out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7] = a, b, c, d, e, f, g, h


def copy_4(out, x):
    a, b, c, d = x[0], x[1], x[2], x[3]
    out[0], out[1], out[2], out[3] = a, b, c, d


def add_8(out, x):
    a, b, c, d = out[0] + x[0], out[1] + x[1], out[2] + x[2], out[3] + x[3]
    e, f, g, h = out[4] + x[4], out[5] + x[5], out[6] + x[6], out[7] + x[7]
    out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7] = a, b, c, d, e, f, g, h


def add_4(out, x):
    a, b, c, d = out[0] + x[0], out[1] + x[1], out[2] + x[2], out[3] + x[3]
    out[0], out[1], out[2], out[3] = a, b, c, d


def count_inside(at, axis, whole, size, strides, padding, dilations):
    """How many elements of window `at` along an axis lie inside."""
    count = 0
    for k in range(size[axis]):
        count += 0 <= at * strides[axis] + k * dilations[axis] - padding[axis] < whole
    return count
