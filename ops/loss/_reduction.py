"""How a loss combines the terms of its rows."""

from typing import Literal

Reduction = Literal["sum", "mean", "none"]
