"""Mutated data files and checkpoints: each is read or refused with a message, soon, and without much memory.

A failure prints the kind and the number of the mutation, which give the same bytes again. GRAPHEXEC_FUZZ=20000 sets the number of
mutations of each kind.
"""

import io
import json
import resource
import time
import warnings
import zipfile

import numpy as np
import pytest
from helpers.mutations import count, generator, mutated

import graphexec as gx
from graphexec.errors import GraphExecError
from graphexec.training.checkpoint import load_checkpoint, save_checkpoint
from graphexec.training.data import input_leaves, read_inputs, training_data

SECONDS, KIBIBYTES = 2.0, 2**20
"""The most that reading one file may take: time, and growth of the process's peak memory."""


def graph():
    g = gx.Graph("net")
    x = g.input("x", ("batch", 2))
    g.input("label", ("batch",), dtype="int64")
    g.input("mask", ("batch",), dtype="bool")
    g.output((x * x).sum(axis=1))
    return g


GRAPH = graph()
LEAVES = input_leaves(GRAPH)
X = np.arange(20.0).reshape(10, 2)
LABEL = np.arange(10) % 3


def npy(array, version=(1, 0)):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    return stream.getvalue()


def npz(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), data, compression)
    return stream.getvalue()


def executable():
    g = gx.Graph("net")
    x = g.input("x", ("batch", 2), dtype="float64")
    w = g.parameter("w", (2,), dtype="float64", init="normal(std=1.0)")
    g.output(gx.ops.half_squared_error(x * w, x, name="loss"))
    return gx.compile(g, loss="loss", optimizer="momentum(lr=0.1)")


NPY = [
    npy(X), npy(X.astype("float32"), (2, 0)), npy(np.asfortranarray(X)), npy(X.astype(">f4")), npy(LABEL), npy(LABEL == 1),
    npy(np.array(3.0)), npy(X[:0]), npy(X.astype("float16")), npy(X + 1j), npy(np.array([("a", 1)], [("n", "U1"), ("k", "i4")])),
    npy(LABEL.astype("uint64")), npy(np.array(["a", "bc"])),
]  # fmt: skip
CSV = [
    b"a,b\n1,2\n3.5,-4e-2\n", b"1;2\n3;4\n", b"\xef\xbb\xbfa\tb\r\n1\t2\r\n\r\n3\t4\r\n", b'"a","b"\n"1","2"\n',
    b"label\n0\n1\n2\n", b"9007199254740993\n-9223372036854775808\n", b"x,label,mask\n1,2,0\n3,4,1\n", b"1,2", b"nan,inf\n1,-inf\n",
]  # fmt: skip
SPECS = {"npy": ["x=f.npy", "label=f.npy", "mask=f.npy"], "npz": ["f.npz", "x=f.npz", "label=f.npz:label"],
         "csv": ["x=f.csv", "label=f.csv", "f.csv", "x=f.csv:a,b", "label=f.csv:0"]}  # fmt: skip


def npz_file(rng):
    """A mutated archive, or an archive of mutated members with sound checksums."""
    stored = zipfile.ZIP_DEFLATED if rng.random() < 0.5 else zipfile.ZIP_STORED
    if rng.random() < 0.4:
        return npz({"x": mutated(NPY[int(rng.integers(len(NPY)))], NPY, rng), "label": NPY[4]}, stored)
    files = [npz({"x": NPY[0], "label": NPY[4], "mask": NPY[5]}, stored), npz({"x": NPY[2]}, stored), npz({}, stored)]
    return mutated(files[int(rng.integers(3)) if rng.random() < 0.2 else 0], files, rng)


def check(kind, number, read):
    """Reads, and fails if that raises something else, takes long, or takes much memory."""
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
        outcome, message = "read", "no message"
    except GraphExecError as error:
        outcome, message = "refused", str(error)
    except Exception as error:
        pytest.fail(f"{kind} {number}: {type(error).__name__}: {error}")
    assert 0 < len(message) < 5000, f"{kind} {number}: a message of {len(message)} characters"
    assert time.process_time() - begin < SECONDS, f"{kind} {number}: too slow"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < KIBIBYTES, f"{kind} {number}: too much memory"
    return outcome


def try_data_file(kind, number, folder):
    rng = generator(kind, number)
    seeds = {"npy": NPY, "csv": CSV}.get(kind)
    data = npz_file(rng) if seeds is None else mutated(seeds[int(rng.integers(len(seeds)))], seeds, rng)
    (folder / f"f.{kind}").write_bytes(data)
    spec = SPECS[kind][int(rng.integers(len(SPECS[kind])))]

    def read():
        for array in read_inputs([spec], LEAVES, folder, finite=bool(rng.integers(2))).values():
            assert array.dtype.name in ("float32", "int64", "bool")
            array.sum()  # a mapped file is read now

    def train():
        part = training_data(GRAPH, {"data": {"inputs": dict.fromkeys(LEAVES, f"f.{kind}")}, "hold_out": 0.5}).train
        assert len(part["x"]) == len(part["label"])

    GRAPH.dag.graph["directory"] = folder
    return {check(kind, number, read), check(kind, number, train)}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    exe = executable()
    history = exe.fit({"x": X}, epochs=2, progress=False)
    save_checkpoint(folder, exe.compiled, 2, history)
    return exe, folder


def try_checkpoint(kind, number, exe, folder):
    rng = generator(kind, number)
    path = folder / ("latest.json" if kind == "record" else json.loads((folder / "latest.json").read_text())["arrays"])
    sound, state = path.read_bytes(), {n: a.copy() for n, a in exe.state().items()}
    try:
        path.write_bytes(mutated(sound, [sound], rng))
        outcome = check(kind, number, lambda: load_checkpoint(folder, exe.compiled))
    finally:
        path.write_bytes(sound)
    if outcome == "refused":
        for name, array in exe.state().items():
            assert array.tobytes() == state[name].tobytes(), f"{kind} {number}: refused, but {name} has changed"
    for name, array in exe.state().items():
        np.copyto(array, state[name])
    return outcome


@pytest.mark.parametrize("kind", ["npy", "npz", "csv"])
def test_data_files(kind, tmp_path):
    outcomes = [try_data_file(kind, number, tmp_path) for number in range(count(300))]
    assert set().union(*outcomes) == {"read", "refused"}, "the mutations are too strong or too weak"


@pytest.mark.parametrize("kind", ["record", "arrays"])
def test_checkpoints(kind, checkpoint):
    outcomes = {try_checkpoint(kind, number, *checkpoint) for number in range(count(150))}
    assert "refused" in outcomes


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["npy", "npz", "csv"])
def test_many_data_files(kind, tmp_path):
    for number in range(1_000_000, 1_000_000 + count(6_000)):
        try_data_file(kind, number, tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["record", "arrays"])
def test_many_checkpoints(kind, checkpoint):
    for number in range(1_000_000, 1_000_000 + count(4_000)):
        try_checkpoint(kind, number, *checkpoint)
