"""The report of a check: what is wrong with an op, where, and the code that shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Severity = Literal["fault", "warning"]

MAX_WRITTEN = 64
"""Elements of an operand that the code of a finding writes out; of a larger one it draws them again."""


@dataclass(frozen=True)
class Finding:
    """Something that a check found in an op.

    ``severity`` is "fault" for what is wrong, "warning" for what is suspicious or proves little; ``check`` is the name of the
    check; ``text`` says what is wrong and where; ``place`` is a file and line; ``code`` are lines of Python that show it.
    """

    severity: Severity
    check: str
    text: str
    place: str = ""
    code: str = ""
    times: int = 1
    """In how many cases it was found; ``text`` and ``code`` are of the smallest."""

    def __str__(self) -> str:
        often = f" (and in {self.times - 1} more cases)" if self.times > 1 else ""
        lines = [f"{self.severity.upper()}  {self.check}: {self.text}{often}"]
        if self.place:
            lines.append(f"    at {self.place}")
        lines += ["    | " + line for line in self.code.splitlines()]
        return "\n".join(lines)


@dataclass(frozen=True)
class OpReport:
    """What `check_op` found; prints as text. ``checks`` counts the cases of each check that ran."""

    op: str
    findings: tuple[Finding, ...] = ()
    checks: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that are faults."""
        return tuple(f for f in self.findings if f.severity == "fault")

    @property
    def passed(self) -> bool:
        """Whether no fault was found; warnings do not count."""
        return not self.faults

    def __str__(self) -> str:
        faults, warnings = len(self.faults), len(self.findings) - len(self.faults)
        verdict = "passed" if self.passed else f"{faults} fault{'s' if faults > 1 else ''}"
        if warnings:
            verdict += f", {warnings} warning{'s' if warnings > 1 else ''}"
        cases = sum(self.checks.values())
        head = f"op {self.op!r}: {verdict} ({len(self.checks)} checks, {cases} cases, {self.seconds:.1f} s)"
        return "\n".join([head, *(str(f) for f in self.findings)])

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return {
            "op": self.op, "passed": self.passed, "findings": [asdict(f) for f in self.findings], "checks": dict(self.checks),
            "seconds": round(self.seconds, 3),
        }  # fmt: skip


_WHERE = re.compile(r" (?:at \[[^]]*\]|along [a-z ]+)|\[[^]]*\]|-?\d[\d.e+-]*")
"""Indices, directions and numbers, by which findings of one kind differ."""


def merged(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Faults first; of findings that tell the same, the first, which is of the smallest case, with their number."""
    kept: dict[tuple[str, str, str], Finding] = {}
    for f in findings:
        key = (f.severity, f.check, _WHERE.sub("", f.text.partition(":")[0]))
        known = kept.get(key)
        kept[key] = f if known is None else _again(known)
    return tuple(sorted(kept.values(), key=lambda f: f.severity == "warning"))


def _again(known: Finding) -> Finding:
    return Finding(known.severity, known.check, known.text, known.place, known.code, known.times + 1)


# -- code that reproduces


def literal(array: np.ndarray) -> str:
    """An expression of NumPy that makes an array again, bit for bit but for the payloads of NaN."""
    kind = f"np.{array.dtype.name}" if array.dtype != bool else "bool"
    if array.dtype.kind == "f":
        text = _nested(array.tolist())
    else:
        text = repr(array.tolist())
    made = f"np.array({text}, {kind})"
    return f"{made}.reshape({array.shape})" if array.size == 0 and array.shape != (0,) else made


def _nested(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_nested, value))}]"
    number = float(value)
    if number != number:
        return "np.nan"
    if number in (np.inf, -np.inf):
        return "np.inf" if number > 0 else "-np.inf"
    return repr(number)


def short(value: Any) -> str:
    """A number or a small array for a message."""
    array = np.asarray(value)
    if array.shape == ():
        return f"{array.item():.7g}" if array.dtype.kind == "f" else str(array.item())
    text = np.array2string(array, precision=6, threshold=12, edgeitems=3, separator=", ")
    return " ".join(text.split())
