"""The product of a sparse matrix in CSR form, compressed sparse rows, and a dense one.

    out[r, j] = Σ data[e] x[columns[e], j] over the entries e of row r, which are starts[r] to starts[r + 1] - 1
    d_data[e] = Σ d_out[r, j] x[columns[e], j] over j
    d_x[c, j] = Σ data[e] d_out[r, j] over the entries e with columns[e] = c

Shapes: data and columns (entries), starts (rows + 1) and x (columns, n) give (rows, n); these are SciPy's `data`, `indices` and
`indptr`. Rows may be empty; columns of a row may come in any order, and more than once: their entries are added. Dtypes: data and
x floating; columns and starts int64. Sums run in the order of the entries. *Raises* KernelError where starts do not rise from 0 to
the number of entries, or a column is out of range.
"""

import numpy as np

from graphexec.plugin import ShapeError, TensorSpec, kernel, shape_text


def _shape(data, columns, starts, x):
    if not (data.ndim == columns.ndim == starts.ndim == 1 and x.ndim == 2) or data.shape != columns.shape or starts.shape[0] == 0:
        raise ShapeError(
            "the operands are no matrix in CSR form and a dense matrix",
            facts=[f"{name} {shape_text(spec.shape)}" for name, spec in
                   (("data", data), ("columns", columns), ("starts", starts), ("x", x))],
            todo="Give data and columns of one length, starts with one element more than rows, and x with two axes.",
        )  # fmt: skip
    return TensorSpec((starts.shape[0] - 1, x.shape[1]), x.dtype)


def fault(columns, starts, count):
    """0 if the entries lie in a matrix with `count` columns, otherwise the number of the error."""
    rows = starts.size - 1
    if starts[0] != 0 or starts[rows] != columns.size:
        return 1
    for r in range(rows):
        if starts[r] > starts[r + 1]:
            return 1
    for e in range(columns.size):
        if columns[e] < 0 or columns[e] >= count:
            return 2
    return 0


def _reference(data, columns, starts, x):
    rows = np.repeat(np.arange(starts.size - 1), np.diff(starts))
    out = np.zeros((starts.size - 1, x.shape[1]), np.result_type(data, x))
    np.add.at(out, rows, data[:, None] * x[columns])
    return out


def _csr(rng, rows, columns, entries, n):
    starts = np.concatenate([[0], np.sort(rng.integers(0, entries + 1, rows - 1)), [entries]]) if rows else np.zeros(1)
    return (
        rng.uniform(-2, 2, entries), rng.integers(0, columns, entries) if entries else np.zeros(0, np.int64),
        starts.astype(np.int64), rng.uniform(-2, 2, (columns, n)),
    )  # fmt: skip


def _examples(rng, size):
    for sizes in ((3, 4, 6, 2), (1, 1, 1, 1), (5, 3, 2, 3), (2, 2, 9, 1)):  # empty rows; duplicates
        yield _csr(rng, *sizes)
    for sizes in ((0, 3, 0, 2), (3, 4, 0, 2), (3, 0, 0, 2), (2, 3, 4, 0)):  # no rows, no entries, no columns, an empty x
        yield _csr(rng, *sizes)
    yield _csr(rng, size + 1, size + 1, 3 * size, 5)


@kernel(
    shape=_shape, reference=_reference, types={"columns": "int64", "starts": "int64"}, examples=_examples, parallel=True,
    domain={"data": (-2.0, 2.0), "x": (-2.0, 2.0), "columns": (0, 1), "starts": (0, 1)},
    errors={1: "starts do not rise from 0 to the number of entries", 2: "a column is out of range"},
)  # fmt: skip
def csr_matmul(data, columns, starts, x, out, piece, pieces):
    status = fault(columns, starts, x.shape[0])
    if status != 0:
        return status
    rows, n = out.shape
    for r in range(piece * rows // pieces, (piece + 1) * rows // pieces):
        for j in range(n):
            out[r, j] = 0.0
        for e in range(starts[r], starts[r + 1]):
            c, factor = columns[e], data[e]
            for j in range(n):
                out[r, j] += factor * x[c, j]
    return 0


@csr_matmul.backward
def _(d_out, data, columns, starts, x, d_data, d_x):
    status = fault(columns, starts, x.shape[0])  # where only a gradient is asked for, the product itself is not computed
    if status != 0:
        return status
    n = x.shape[1]
    d_x[:] = 0.0
    for r in range(starts.size - 1):
        for e in range(starts[r], starts[r + 1]):
            c, factor, total = columns[e], data[e], 0.0
            for j in range(n):
                total += d_out[r, j] * x[c, j]
                d_x[c, j] += factor * d_out[r, j]
            d_data[e] = total
    return 0
