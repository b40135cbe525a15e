"""How a matrix product is cut into pieces, known before it runs: so that who plans a program can tell what each thread touches.

The conditions are those of `gemm_driver`, asked with plain numbers in the place of the integers of the code being written.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

from graphexec.gemm.driver import BY_COLUMNS, BY_ROWS, Driver
from graphexec.gemm.target import target_for


class Number:
    """A number with the operators of `gemm_ir.Int`, of which the value is known."""

    def __init__(self, value: int) -> None:
        self.value = int(value)

    def __add__(self, other: Any) -> Number:
        return Number(self.value + _value(other))

    def __sub__(self, other: Any) -> Number:
        return Number(self.value - _value(other))

    def __mul__(self, other: Any) -> Number:
        return Number(self.value * _value(other))

    def __floordiv__(self, other: Any) -> Number:
        return Number(self.value // _value(other))

    def __mod__(self, other: Any) -> Number:
        return Number(self.value % _value(other))

    def __and__(self, other: Any) -> Number:
        return Number(self.value & _value(other))

    def __or__(self, other: Any) -> Number:
        return Number(self.value | _value(other))

    def __lt__(self, other: Any) -> Number:
        return Number(self.value < _value(other))

    def __le__(self, other: Any) -> Number:
        return Number(self.value <= _value(other))

    def __gt__(self, other: Any) -> Number:
        return Number(self.value > _value(other))

    def __ge__(self, other: Any) -> Number:
        return Number(self.value >= _value(other))

    def equals(self, other: Any) -> Number:
        return Number(self.value == _value(other))

    def differs(self, other: Any) -> Number:
        return Number(self.value != _value(other))

    def pick(self, yes: Any, no: Any) -> Number:
        return Number(_value(yes if self.value else no))

    def up(self, step: int) -> Number:
        return Number(-(-self.value // step))


def _value(x: Any) -> int:
    return x.value if isinstance(x, Number) else int(x)


def way(dtype: str, csa: int, csb: int, m: int, n: int, k: int) -> str:
    """The name of the way in which a product is done; see `gemm_driver.Driver.ways`."""
    numbers: list[Any] = [Number(x) for x in (csa, csb, m, n, k)]
    return next(name for name, holds in _driver(dtype).ways(*numbers) if holds is None or _value(holds()))


def most_pieces_by_rows(dtype: str, csa: int, csb: int, m: int, n: int, k: int) -> int:
    """Into how many pieces at most a product is cut by rows alone, `m i // pieces` to `m (i + 1) // pieces`; 0 if never."""
    driver = _driver(dtype)
    if way(dtype, csa, csb, m, n, k) != "shared":
        return 0
    rows, columns, depth = (cast(Any, Number(x)) for x in (m, n, k))
    return m // driver.target.local_rows if _value(driver.local(rows, columns, depth, 1)) else 0


def strips(dtype: str, rsa: int, csa: int, rsb: int, csb: int, m: int, n: int, k: int) -> tuple[int, int]:
    """In which direction a product can be cut into many strips, of which none packs what another packs, and into how many.

    (BY_ROWS, tiles), (BY_COLUMNS, tiles) or (0, 1): see `gemm_driver.Driver.shared`. Of two directions the one in which a
    thread with a share of the strips reads less.
    """
    driver = _driver(dtype)
    if way(dtype, csa, csb, m, n, k) != "shared":
        return 0, 1
    a_row, a_column, b_row, b_column, *shape = (cast(Any, Number(x)) for x in (rsa, csa, rsb, csb, m, n, k))
    rows, columns, depth = shape
    found = []
    if not _value(driver.packs_b(b_row, b_column, rows, columns, depth)):
        found.append((BY_ROWS, -(-m // driver.target.rows)))
    if not _value(driver.packs_a(a_row, a_column, rows, columns, depth)):
        found.append((BY_COLUMNS, -(-n // driver.target.columns)))
    return (0, 1) if not found else found[0] if m > n else found[-1]


@lru_cache(None)
def _driver(dtype: str) -> Driver:
    return Driver(None, target_for(dtype))
