"""Labels and targets outside their domain are refused, whichever loss or metric reads them; those at its ends are taken."""

import numpy as np
import pytest

from graphexec import KernelError
from graphexec.plugin import ops

Z = np.array([[0.3], [-1.2], [2.0]], "float32")
LOGITS = np.array([[0.3, 1.0, -2.0], [1.5, 0.0, 0.2], [0.1, 0.2, 0.4]], "float32")
WRONG_TARGETS = [1.0000001, 2.0, -1e-7, -1.0, np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("wrong", WRONG_TARGETS)
@pytest.mark.parametrize("row", [0, 2])
@pytest.mark.parametrize("loss", [ops.binary_cross_entropy_with_logits, ops.logistic_loss, ops.accuracy], ids=lambda op: op.name)
def test_a_target_that_is_no_probability(loss, row, wrong):
    y = np.array([[0], [1], [0.25]], "float32")
    assert np.isfinite(loss(Z, y)).all()
    y[row] = wrong
    with pytest.raises(KernelError, match="below 0, above 1, or NaN"):
        loss(Z, y)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("wrong", [-1, 3, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("loss", [ops.softmax_cross_entropy, ops.softmax_cross_entropy_rows, ops.accuracy], ids=lambda op: op.name)
def test_a_label_that_is_no_class(loss, wrong, dtype):
    for row in range(3):
        labels = np.array([0, 1, 2], dtype)
        loss(LOGITS, labels)
        labels[row] = wrong
        with pytest.raises(KernelError, match="not between 0 and the number of classes"):
            loss(LOGITS, labels)


@pytest.mark.parametrize(
    ("row", "message"),
    [([0, 0, 0], "sum to 1"), ([1, 1, 0], "sum to 1"), ([2, -1, 0], "below 0"), ([np.nan, 1, 0], "NaN"), ([0, 2, 0], "above 1")],
)
def test_a_row_that_is_neither_one_hot_nor_probabilities(row, message):
    labels = np.array([[1, 0, 0], [0.2, 0.3, 0.5], row], "float32")
    with pytest.raises(KernelError, match=message):
        ops.accuracy(LOGITS, labels)
    labels[2] = [0, 0, 1]
    assert ops.accuracy(LOGITS, labels) == np.float32(1 / 3)


def test_integers_are_targets_too():
    assert ops.accuracy(Z, np.array([[0], [0], [1]])) == 1
    with pytest.raises(KernelError, match="above 1"):
        ops.accuracy(Z, np.array([[0], [0], [2]]))
