"""Weights files with damage of every kind: each is loaded whole, or refused by the library's own error and nothing has changed.

A failure prints its seed; add it to ``KEPT``, which are always tried.
"""

import json
import resource
import time

import numpy as np
import pytest

import graphexec as gx

ops = gx.ops
KEPT = [0, 1, 2, 3]
MAX_SECONDS = 2.0


@pytest.fixture(scope="module")
def exe():
    g = gx.Graph("fuzzed")
    x, y = g.input("x", ("n", 3)), g.input("y", ("n",), "int64")
    w, b = g.parameter("w", (3, 4), init="normal"), g.parameter("b", (4,), init="ones")
    g.parameter("k", (2,), "int64", trainable=False)
    g.output(ops.softmax_cross_entropy(x @ w + b, y, name="loss"))
    exe = gx.compile(g, loss="loss", optimizer="adam", threads=1)
    exe.step(x=np.ones((2, 3), "f"), y=np.array([0, 3]))
    return exe


@pytest.fixture(scope="module")
def sound(exe, tmp_path_factory):
    """The bytes of a file with all state."""
    path = tmp_path_factory.mktemp("weights") / "sound.safetensors"
    exe.save(path, optimizer=True)
    return path.read_bytes()


def parts(data):
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def joined(header, body, size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if size is None else size).to_bytes(8, "little", signed=False) + text + body


NUMBERS = (-1, 0, 1, 2, 3, 4, 7, 48, 2**31, 2**32, 2**53, 2**63, 2**64, 1.5, 1e300, None, True, "1", [], {})
DTYPES = ("F32", "F64", "I64", "I32", "BF16", "F16", "BOOL", "U64", "U8", "F8_E4M3", "C64", "I4", "", None, 4, "f32")


def bit_flips(rng, data):
    found = bytearray(data)
    for at in rng.integers(0, len(found), rng.integers(1, 6)):
        found[at] ^= 1 << int(rng.integers(8))
    return bytes(found)


def truncated(rng, data):
    return data[: int(rng.integers(len(data)))]


def extended(rng, data):
    return data + rng.bytes(int(rng.integers(1, 100)))


def other_length(rng, data):
    header, body = parts(data)
    sizes = (0, 1, 7, 2**20, 2**31, 2**40, 2**63 - 1, 2**64 - 1)
    return joined(header, body, size=sizes[rng.integers(len(sizes))])


def other_entry(rng, data):
    """One field of one tensor's entry: type, shape, offsets."""
    header, body = parts(data)
    names = [n for n in header if n != "__metadata__"]
    entry = header[names[rng.integers(len(names))]]
    field = ("dtype", "shape", "data_offsets")[rng.integers(3)]
    if field == "dtype":
        entry[field] = DTYPES[rng.integers(len(DTYPES))]
    elif rng.random() < 0.2:
        entry[field] = NUMBERS[rng.integers(len(NUMBERS))]
    elif entry[field] and rng.random() < 0.7:
        entry[field][rng.integers(len(entry[field]))] = NUMBERS[rng.integers(len(NUMBERS))]
    else:
        entry[field] = [NUMBERS[k] for k in rng.integers(len(NUMBERS), size=rng.integers(4))]
    return joined(header, body)


def other_shape(rng, data):
    """The same number of elements in another shape, or another type of the same size: the file itself is sound."""
    header, body = parts(data)
    names = [n for n in header if n != "__metadata__"]
    entry = header[names[rng.integers(len(names))]]
    count = int(np.prod(entry["shape"]))
    shapes = [[count], [1, count], [count, 1], entry["shape"][::-1], [*entry["shape"], 1]]
    entry["shape"] = shapes[rng.integers(len(shapes))]
    if rng.random() < 0.3:
        entry["dtype"] = {"F32": "I32", "I64": "F64"}[entry["dtype"]]
    return joined(header, body)


def other_names(rng, data):
    header, body = parts(data)
    names = [n for n in header if n != "__metadata__"]
    others = ("", "w", "w.m", "x", "loss", "__metadata__", "é", "w\0", "../w", "a" * 500)
    header[others[rng.integers(len(others))]] = header.pop(names[rng.integers(len(names))])
    return joined(header, body)


def dropped(rng, data):
    """Some tensors left out, with their bytes."""
    header, body = parts(data)
    names = [n for n in header if n != "__metadata__" and rng.random() < 0.7]
    kept, chunks, at = {}, [], 0
    for name in names:
        begin, end = header[name]["data_offsets"]
        chunks.append(body[begin:end])
        kept[name] = {**header[name], "data_offsets": [at, at + end - begin]}
        at += end - begin
    return joined(kept, b"".join(chunks))


def swapped(rng, data):
    """Two tensors' bytes under each other's name."""
    header, body = parts(data)
    names = [n for n in header if n != "__metadata__"]
    a, b = rng.choice(names, 2, replace=False)
    header[a], header[b] = header[b], header[a]
    return joined(header, body)


def other_text(rng, data):
    header, body = parts(data)
    text = json.dumps(header).encode()
    texts = [b"", b"{", b"[]", b"null", b"NaN", b"{}" * 50, b"[" * 20_000, b"{" + b'"a":{' * 5_000, b'{"__metadata__":{"a":1}}',
             text[:-1], text + b"}", b"\xff\xfe" + text,
             text.replace(b'"', b"'"), text.replace(b":", b":" + b" " * 999)]  # fmt: skip
    return joined(texts[rng.integers(len(texts))], body)


DAMAGE = (bit_flips, truncated, extended, other_length, other_entry, other_shape, other_names, dropped, swapped, other_text)


def bits(exe):
    return {name: (array.ctypes.data, array.dtype, array.shape, array.tobytes()) for name, array in exe.state().items()}


def attempt(exe, sound, path, seed):
    """Loads one damaged file; returns whether it was taken."""
    rng = np.random.default_rng(seed)
    data = sound
    for _ in range(1 + (rng.random() < 0.2)):
        try:
            data = DAMAGE[rng.integers(len(DAMAGE))](rng, data)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            break  # the first damage left nothing to parse
    path.write_bytes(data)
    before, begin = bits(exe), time.perf_counter()
    refused = None
    try:
        exe.load(path)
    except gx.GraphExecError as error:
        refused = error
    if refused is None:
        assert {n: b[:3] for n, b in bits(exe).items()} == {n: b[:3] for n, b in before.items()}
        exe.step()
    else:
        assert str(path) in str(refused)
        assert bits(exe) == before
    assert time.perf_counter() - begin < MAX_SECONDS
    return refused is None


@pytest.mark.parametrize(
    "seeds", [[*KEPT, *range(100, 300)], pytest.param(range(1_000, 21_000), marks=pytest.mark.exhaustive)], ids=["some", "many"]
)
def test_damaged_weights_are_refused_and_change_nothing(exe, sound, tmp_path, seeds):
    path = tmp_path / "damaged.safetensors"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = 0
    for seed in seeds:
        try:
            taken += attempt(exe, sound, path, seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        path.with_name("undo").write_bytes(sound)
        exe.load(path.with_name("undo"))
    assert 0 < taken < len(seeds) / 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 2**20  # KiB: a gibibyte
