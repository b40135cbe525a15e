"""Mutated files: the same number always gives the same bytes."""

import os
import zlib

import numpy as np

NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
"""Field values at the ends of integer types."""
TEXTS = [
    b"0", b"-1", b"1e999", b"nan", b"inf", b"9223372036854775807", b"99999999999999999999", b"{", b"[", b'"', b",", b"\n", b"\x00",
    b"\xff\xfe", b"(", b")", b"None", b"True", b"'", b"\\u0000", b"../", b"1" * 400,
]  # fmt: skip
"""What text formats may choke on."""


def generator(kind, number):
    """Random numbers of one mutation."""
    return np.random.default_rng([zlib.crc32(kind.encode()), number])


def mutated(data, others, rng, most=4):
    """Bytes after up to ``most`` changes; ``others`` are files of the same kind from which pieces may come."""
    for _ in range(int(rng.integers(1, most + 1))):
        data = CHANGES[int(rng.integers(len(CHANGES)))](data, others, rng)
    return data


def _place(data, rng):
    """A place, more often near the beginning, where headers are, or near the end."""
    where = rng.random()
    span = min(len(data), 200) if where < 0.4 else len(data)
    at = int(rng.integers(span + 1))
    return len(data) - at if 0.4 <= where < 0.55 else at


def _flip(data, others, rng):
    if not data:
        return data
    at = min(_place(data, rng), len(data) - 1)
    return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]


def _byte(data, others, rng):
    at = _place(data, rng)
    return data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :]


def _cut(data, others, rng):
    at = _place(data, rng)
    return data[:at] + data[at + int(rng.integers(1, 40)) :]


def _truncate(data, others, rng):
    return data[: _place(data, rng)]


def _repeat(data, others, rng):
    at, size = _place(data, rng), int(rng.integers(1, 60))
    return data[:at] + data[at : at + size] * int(rng.integers(2, 6)) + data[at + size :]


def _field(data, others, rng):
    at, width = _place(data, rng), int(rng.choice([1, 2, 4, 8]))
    number = NUMBERS[int(rng.integers(len(NUMBERS)))] % 256**width
    return data[:at] + number.to_bytes(width, "little" if rng.random() < 0.7 else "big") + data[at + width :]


def _text(data, others, rng):
    at = _place(data, rng)
    return data[:at] + TEXTS[int(rng.integers(len(TEXTS)))] + data[at + int(rng.integers(3)) :]


def _digits(data, others, rng):
    places = [i for i, b in enumerate(data[:4000]) if 48 <= b < 58]
    if not places:
        return _text(data, others, rng)
    at = places[int(rng.integers(len(places)))]
    return data[:at] + TEXTS[int(rng.integers(len(TEXTS)))] + data[at + 1 :]


def _splice(data, others, rng):
    other = others[int(rng.integers(len(others)))]
    return data[: _place(data, rng)] + other[_place(other, rng) :]


CHANGES = [_flip, _byte, _cut, _truncate, _repeat, _field, _text, _digits, _splice]


def count(few):
    """How many mutations a test tries: ``few``, or the number in GRAPHEXEC_FUZZ."""
    return int(os.environ.get("GRAPHEXEC_FUZZ", few))
