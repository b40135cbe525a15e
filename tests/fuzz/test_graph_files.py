"""Mutated graph files: whatever a file holds, it gives a graph or one of the library's own errors, in bounded time and memory.

By default some hundred files are tried; `-m exhaustive` tries more, with `python -O` and with kernels that check bounds. All:

    GRAPHEXEC_FUZZ=200000 GRAPHEXEC_FUZZ_SEED=1 python -m pytest -m exhaustive tests/fuzz/test_graph_files.py

Files that once did harm are kept in `seeds/graph_files` and tried every time.
"""

import os
from pathlib import Path

import pytest
from helpers.fuzz import survey
from helpers.graph_mutations import cases, corpus, damaged

WORKER = "tests/fuzz/graph_file_worker.py"
SEEDS = sorted((Path(__file__).parent / "seeds/graph_files").iterdir())
COUNT, SEED = int(os.environ.get("GRAPHEXEC_FUZZ", "1200")), int(os.environ.get("GRAPHEXEC_FUZZ_SEED", "0"))


def kept():
    return [(b"j" if path.suffix == ".json" else b"y") + path.read_bytes() for path in SEEDS]


def test_files_that_once_did_harm_do_none():
    found = survey(WORKER, kept())
    found.check()
    assert found.outcomes.total() == len(SEEDS)


def test_a_few_mutated_files():
    survey(WORKER, cases(SEED, 60)).check()


def test_the_survey_finds_faults(tmp_path):
    """Crashes, hangs, floods of memory and exceptions are all faults, and the survey goes on after each."""
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import ctypes\n\n\ndef examine(case):\n"
        "    if case == b'crash':\n        ctypes.string_at(0)\n"
        "    while case == b'hang':\n        pass\n"
        "    if case == b'flood':\n        bytearray(2**31)\n"
        "    if case == b'raise':\n        raise KeyError(1)\n"
        "    return 'fine'\n"
    )
    found = survey(str(worker), [b"crash", b"fine", b"hang", b"flood", b"raise", b"fine"], seconds=0.2)
    assert found.outcomes == {"gone": 1, "fine": 2, "slow": 1, "MemoryError": 1, "KeyError": 1}
    assert [fault.case for fault in found.faults] == [b"crash", b"hang", b"flood", b"raise"]
    with pytest.raises(AssertionError, match="4 faults"):
        found.check()


@pytest.mark.slow
def test_sound_and_broken_files():
    """What the mutations begin with, most of which runs; and the broken files, none of which does."""
    found = survey(WORKER, [b"y" + text.encode() for text in corpus()])
    found.check()
    assert found.outcomes["ran"] + found.outcomes["trained"] > 0.8 * found.outcomes.total(), found.outcomes
    broken = survey(WORKER, damaged())
    broken.check()
    assert broken.outcomes == {"refused": len(damaged())}


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("python", "environment"), [((), {}), (("-O",), {}), ((), {"NUMBA_BOUNDSCHECK": "1"})], ids=["plain", "optimized", "bounds"]
)
def test_mutated_files(python, environment):
    found = survey(WORKER, cases(SEED + 1, COUNT), python=python, environment=environment)
    print(f"{dict(found.outcomes)}, slowest {found.slowest:.2f} s")
    found.check()
