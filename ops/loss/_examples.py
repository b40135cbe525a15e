"""Operands on which losses are tried."""

import numpy as np


def targets(logits, y, **attributes):
    """Logits, and targets from 0 to 1, in these shapes."""
    return lambda rng: (rng.uniform(-3, 3, logits), rng.uniform(0, 1, y), attributes)


def one_hot_rows(rng, rows, classes):
    """Rows that are 0 but for a 1 in a random place."""
    return np.eye(classes)[rng.integers(0, classes, rows)]
