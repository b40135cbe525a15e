"""What a check has found so far, and where it is; whatever an op raises becomes a finding."""

from __future__ import annotations

import contextlib
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from graphexec.errors import GraphExecError
from graphexec.ir.op import Op
from graphexec.opcheck.cases import Case
from graphexec.opcheck.report import Finding, Severity


def _ignore(name: str, case: Case | str) -> None:
    """The default of `Session.tell`."""


@dataclass
class Session:
    """The check of one op."""

    op: Op
    seed: int = 0
    tell: Callable[[str, Case | str], None] = _ignore
    """Called before each case with the name of the check and the case, so that a crash or a hang can be named."""
    send: Callable[[Finding], None] | None = None
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    broken: set[str] = field(default_factory=set)
    """Element types in which the op does not compile; no case of theirs can run."""

    def begin(self, check: str, case: Case | str = "") -> None:
        """Says that a case of a check begins."""
        self.counts[check] += 1
        self.tell(check, case)

    def fault(self, check: str, text: str, case: Case | None = None, *, place: str = "", call: str | None = None) -> None:
        """Adds something that is wrong."""
        self._add("fault", check, text, case, place, call)

    def warning(self, check: str, text: str, case: Case | None = None, *, place: str = "", call: str | None = None) -> None:
        """Adds something that is suspicious."""
        self._add("warning", check, text, case, place, call)

    def _add(self, severity: Severity, check: str, text: str, case: Case | None, place: str, call: str | None) -> None:
        told = text if case is None else f"{text}; for {case}"
        code = "" if case is None else case.code(self.op, call) if call else case.code(self.op)
        found = Finding(severity, check, told, place or self.op.file, code)
        self.findings.append(found)
        if self.send is not None:
            self.send(found)

    @contextlib.contextmanager
    def guarded(self, check: str, what: str, case: Case | None = None, call: str | None = None) -> Iterator[None]:
        """Turns an exception into a fault: ``what`` names the part of the op that ran."""
        try:
            yield
        except Exception as error:  # whatever a part of an op raises
            self.fault(check, f"{what} {raised(error)}", case, place=place_of(error, self.op), call=call)


def raised(error: BaseException) -> str:
    """``raises ValueError: ...``, or what an error of the library says."""
    if isinstance(error, GraphExecError):
        facts = "; ".join(error.facts[:3])
        return f"fails: {error.what}" + (f" ({facts})" if facts else "") + (f" {error.todo}" if error.todo else "")
    text = str(error).strip().splitlines()
    return f"raises {type(error).__name__}" + (f": {text[0]}" if text else "")


def place_of(error: BaseException, op: Op) -> str:
    """The file and line: the last one in the op's own file, else the error's own."""
    cause = error.__cause__ if isinstance(error, GraphExecError) and error.__cause__ is not None else error
    file = op.file.rpartition(":")[0]
    lines = [f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(cause.__traceback__) if f.filename == file]
    if lines:
        return lines[-1]
    return (error.source if isinstance(error, GraphExecError) else None) or op.file
