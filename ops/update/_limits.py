"""The limits of hyperparameters that the update rules share."""

from typing import Annotated

from graphexec.plugin import Range

NonNegative = Annotated[float, Range(0, below=float("inf"))]
Decay = Annotated[float, Range(0, below=1)]
