"""partition: how a product will be divided into pieces, known before it runs, so that the planner knows what each thread touches.

The conditions are those of `driver`, evaluated with known numbers in place of the integers of the code being written.
"""

from __future__ import annotations

from functools import lru_cache

from graphexec.gemm.driver import BY_COLUMNS, BY_ROWS, Driver
from graphexec.gemm.target import target_for


class Number:
    """An `integers.Integer` whose value is known."""

    def __init__(self, value: int) -> None:
        self.value = int(value)

    def __add__(self, other: Number | int) -> Number:
        return Number(self.value + _value(other))

    def __sub__(self, other: Number | int) -> Number:
        return Number(self.value - _value(other))

    def __mul__(self, other: Number | int) -> Number:
        return Number(self.value * _value(other))

    def __floordiv__(self, other: Number | int) -> Number:
        return Number(self.value // _value(other))

    def __mod__(self, other: Number | int) -> Number:
        return Number(self.value % _value(other))

    def __and__(self, other: Number | int) -> Number:
        return Number(self.value & _value(other))

    def __or__(self, other: Number | int) -> Number:
        return Number(self.value | _value(other))

    def __lt__(self, other: Number | int) -> Number:
        return Number(self.value < _value(other))

    def __le__(self, other: Number | int) -> Number:
        return Number(self.value <= _value(other))

    def __gt__(self, other: Number | int) -> Number:
        return Number(self.value > _value(other))

    def __ge__(self, other: Number | int) -> Number:
        return Number(self.value >= _value(other))

    def equals(self, other: Number | int) -> Number:
        return Number(self.value == _value(other))

    def differs(self, other: Number | int) -> Number:
        return Number(self.value != _value(other))

    def pick(self, yes: Number | int, no: Number | int) -> Number:
        return Number(_value(yes if self.value else no))

    def up(self, step: int) -> Number:
        return Number(-(-self.value // step))


def _value(x: Number | int) -> int:
    return x.value if isinstance(x, Number) else int(x)


def way(dtype: str, csa: int, csb: int, m: int, n: int, k: int) -> str:
    """The name of the way in which a product is computed; see `Driver.ways`."""
    ways = _driver(dtype).ways(Number(csa), Number(csb), Number(m), Number(n), Number(k))
    return next(name for name, holds in ways if holds is None or holds().value)


def most_pieces_by_rows(dtype: str, csa: int, csb: int, m: int, n: int, k: int) -> int:
    """The most pieces into which a product is divided by rows alone, `m i // pieces` to `m (i + 1) // pieces`; 0 if never."""
    driver = _driver(dtype)
    if way(dtype, csa, csb, m, n, k) != "blocked":
        return 0
    return m // driver.target.local_rows if driver.local(Number(m), Number(n), Number(k), 1).value else 0


def panels(dtype: str, rsa: int, csa: int, rsb: int, csb: int, m: int, n: int, k: int) -> tuple[int, int]:
    """The direction in which C can be divided into panels none of which packs an operand that another packs, and their number.

    (BY_ROWS, tiles), (BY_COLUMNS, tiles) or (0, 1): see `Driver.blocked`. If both directions are possible, it is the one in which
    a thread with its share of the panels reads less.
    """
    driver = _driver(dtype)
    if way(dtype, csa, csb, m, n, k) != "blocked":
        return 0, 1
    shape = Number(m), Number(n), Number(k)
    found = []
    if not driver.packs_b(Number(rsb), Number(csb), *shape).value:
        found.append((BY_ROWS, -(-m // driver.target.rows)))
    if not driver.packs_a(Number(rsa), Number(csa), *shape).value:
        found.append((BY_COLUMNS, -(-n // driver.target.columns)))
    return (0, 1) if not found else found[0] if m > n else found[-1]


@lru_cache(None)
def _driver(dtype: str) -> Driver:
    return Driver(None, target_for(dtype))
