"""shuffle: every order is as likely as another, the same key gives the same one everywhere, and no number is drawn twice."""

import itertools
from collections import Counter

import numpy as np
import pytest

import graphexec as gx
from graphexec.ir.registry import registry


def order(n, *key):
    return gx.ops.shuffle(np.zeros(n, np.int64), np.array(key, np.int64))


def test_the_orders_of_two_keys_on_every_machine():
    """A checkpoint goes on with the orders that it began with: these may never change."""
    assert order(10, 3, 5).tolist() == [4, 0, 1, 7, 5, 8, 6, 9, 2, 3]
    assert order(10, 0, 1).tolist() == [0, 8, 6, 1, 7, 9, 3, 4, 5, 2]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 64, 1000, 100_003])
def test_every_row_once(n):
    np.testing.assert_array_equal(np.sort(order(n, 1, n)), np.arange(n))


def test_compiled_as_in_numpy():
    for n, key in ((1000, (3, 5)), (257, (-1, 2)), (300, (2**62, 0, 7))):
        expected = registry.get("shuffle").reference(np.zeros(n, np.int64), np.array(key, np.int64))
        np.testing.assert_array_equal(order(n, *key), expected)


def test_all_orders_of_four_rows_are_as_likely():
    """24 orders, 24,000 keys: chi squared with 23 degrees of freedom is above 49.7 once in a thousand tries."""
    keys = np.stack([np.full(24_000, 11), np.arange(24_000)], axis=-1)
    found = Counter(map(tuple, gx.ops.shuffle(np.zeros((24_000, 4), np.int64), keys).tolist()))
    assert set(found) == set(itertools.permutations(range(4)))
    assert sum((n - 1000) ** 2 / 1000 for n in found.values()) < 49.7


def test_where_each_row_goes_in_a_long_order():
    """The mean place of each of 100 rows over 2,000 orders: 49.5, with a deviation of 0.65."""
    keys = np.stack([np.arange(2000), np.zeros(2000, np.int64)], axis=-1)
    places = np.argsort(gx.ops.shuffle(np.zeros((2000, 100), np.int64), keys), axis=-1).mean(axis=0)
    assert abs(places - 49.5).max() < 4 * 0.65
    assert 0.4 < places.std() < 0.9


def test_neighbouring_keys_have_nothing_in_common():
    """Two orders of 1,000 rows agree in one place on average, in more than 8 hardly ever."""
    assert all((order(1000, s, e) == order(1000, *other)).sum() <= 8
               for s, e in itertools.product(range(4), range(4)) for other in ((s, e + 1), (s + 1, e), (e, s)) if other != (s, e))
