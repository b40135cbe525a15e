"""Runs a function on many hostile inputs in another process, which may run out of memory, hang or end.

    found = survey("tests/fuzz/graph_file_worker.py", cases, seconds=2.0)

The worker is a file with a function ``examine(case: bytes) -> str``: it returns a word for the outcome, or raises what is a fault.
Each worker runs under a limit of memory beyond what it takes to start; a case that takes too long, raises, or ends its process is
a `Fault`, and the survey goes on with a fresh process. As a program, this file is the loop of a worker.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MEMORY = 2**30
"""Bytes that a case may take beyond what the worker takes when it has started."""
CASES = 2000
"""Cases that one worker examines: kernels stay loaded, and those of many graphs would fill the memory that a case may take."""


@dataclass
class Fault:
    """A case that did more than raise one of the library's own errors."""

    case: bytes
    what: str

    def __str__(self) -> str:
        return f"{self.what}\n  input: {self.case[:1500]!r}"


@dataclass
class Survey:
    """How often each outcome occurred, the faults, and the slowest case."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    slowest: float = 0.0

    def check(self) -> None:
        """Fails if there is a fault."""
        shown = "\n".join(map(str, self.faults[:5]))
        assert not self.faults, f"{len(self.faults)} faults, {dict(self.outcomes)}\n{shown}"


def survey(
    worker: str, cases: Iterable[bytes], *, seconds: float = 2.0, python: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
) -> Survey:  # fmt: skip
    """Examines each case. ``seconds`` bounds the processor time of one; ``python`` are options of the interpreter, as ``-O``."""
    found, process = Survey(), None
    for number, case in enumerate(cases):
        if process is not None and number % CASES == 0:
            process.close()
            process = None
        if process is None:
            process = _Process(worker, python, environment or {})
        answer = process.ask(case, seconds)
        found.outcomes[answer["outcome"]] += 1
        found.slowest = max(found.slowest, answer.get("seconds", 0.0))
        if answer.get("fault"):
            found.faults.append(Fault(case, answer["fault"]))
        if answer["outcome"] == "gone":
            process = None
    if process is not None:
        process.close()
    return found


class _Process:
    """A worker process."""

    def __init__(self, worker: str, python: tuple[str, ...], environment: dict[str, str]) -> None:
        self.errors = tempfile.TemporaryFile()
        command = [sys.executable, *python, __file__, str(ROOT / worker)]
        variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, cwd=ROOT, env=variables
        )

    def ask(self, case: bytes, seconds: float) -> dict[str, Any]:
        """The worker's answer about a case. The limit is on processor time, of which a busy machine gives little in a second."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(struct.pack("<dI", seconds, len(case)) + case)
            stdin.flush()
        except BrokenPipeError:
            return self._gone("it did not start")
        ready, _, _ = select.select([stdout], [], [], 60 + 30 * seconds)
        line = stdout.readline() if ready else b""
        if not line:
            return self._gone("no answer" if not ready else "the process ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _gone(self, what: str) -> dict[str, Any]:
        if self.process.poll() is None:
            self.process.kill()
        status = self.process.wait()
        self.errors.seek(0)
        text = self.errors.read().decode(errors="replace")[-3000:]
        self.close()
        return {"outcome": "gone", "fault": f"{what}, with status {status}\n{text}"}

    def close(self) -> None:
        """Ends the worker."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.wait()
        self.errors.close()


# -- in the worker


class _TooSlow(BaseException):
    """The case took more processor time than it may."""


def _serve(path: str) -> None:
    spec = importlib.util.spec_from_file_location("worker", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the library prints is no answer
    faulthandler.enable()
    signal.signal(signal.SIGXCPU, _too_slow)
    signal.signal(signal.SIGPROF, _too_slow)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for seconds, case in _cases():
        begin = time.process_time()
        answer = _answer(module.examine, case, seconds)
        answer["seconds"] = time.process_time() - begin
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _too_slow(*_: object) -> None:
    raise _TooSlow


def _cases() -> Iterator[tuple[float, bytes]]:
    stream = sys.stdin.buffer
    while head := stream.read(12):
        seconds, size = struct.unpack("<dI", head)
        yield seconds, stream.read(size)


def _answer(examine: Any, case: bytes, seconds: float) -> dict[str, Any]:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        outcome = examine(case)
    except _TooSlow:
        return {"outcome": "slow", "fault": f"it takes more than {seconds} s of processor time\n{traceback.format_exc()[-2500:]}"}
    except BaseException as error:
        return {"outcome": type(error).__name__, "fault": traceback.format_exc()[-3500:]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return {"outcome": outcome}


if __name__ == "__main__":
    sys.path.pop(0)  # tests/helpers
    _serve(sys.argv[1])
