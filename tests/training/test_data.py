"""Arrays from files, fitted to inputs; rows held out."""

import pickle

import numpy as np
import pytest

import graphexec as gx
from graphexec.errors import DataError
from graphexec.training.data import fitted, input_leaves, read_inputs, training_data
from graphexec.training.data import npy as arrays_module


@pytest.fixture
def graph():
    g = gx.Graph("net")
    x = g.input("x", ("batch", 2))
    g.input("label", ("batch",), dtype="int64")
    g.output((x * x).sum(axis=1))
    return g


@pytest.fixture
def leaves(graph):
    return input_leaves(graph)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


X = np.arange(20.0).reshape(10, 2)
LABEL = np.arange(10) % 3


def section(graph, **entries):
    graph.dag.graph["directory"] = "."
    return {"data": {"file": "d.npz"}, **entries}


# -- reading


def test_npy_is_mapped(leaves):
    np.save("x.npy", X.astype("float32"))
    x = read_inputs(["x=x.npy"], leaves)["x"]
    assert isinstance(x, np.memmap)
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_by_name_and_as_a_whole(leaves, save):
    save("d.npz", x=X, label=LABEL, other=[1])
    found = read_inputs(["d.npz"], leaves)
    assert set(found) == {"x", "label"}
    assert found["x"].dtype == "float32"
    assert found["label"].dtype == "int64"
    np.testing.assert_array_equal(read_inputs(["x=d.npz:x"], leaves)["x"], X)
    np.testing.assert_array_equal(read_inputs(["label=d.npz"], leaves)["label"], LABEL)


def test_large_members_of_npz_are_mapped(leaves, monkeypatch):
    monkeypatch.setattr(arrays_module, "MAPPED", 1)
    np.savez("d.npz", x=np.asfortranarray(X.astype("float32")), label=LABEL)
    found = read_inputs(["d.npz"], leaves)
    assert isinstance(found["x"], np.memmap)
    np.testing.assert_array_equal(found["x"], X)
    np.testing.assert_array_equal(found["label"], LABEL)


def test_csv_without_header(leaves):
    np.savetxt("x.csv", X, delimiter=",")
    np.testing.assert_array_equal(read_inputs(["x=x.csv"], leaves)["x"], X)
    np.savetxt("label.csv", LABEL, fmt="%d")
    np.testing.assert_array_equal(read_inputs(["label=label.csv"], leaves)["label"], LABEL)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_columns(leaves, delimiter):
    rows = [["a", '"b"', "label"], *([*map(str, x), str(n)] for x, n in zip(X, LABEL, strict=True))]
    text = "\ufeff\n" + "\r\n".join(delimiter.join(r) for r in rows) + "\n\n"
    with open("t.csv", "w", encoding="utf-8", newline="") as stream:
        stream.write(text)
    for columns in ("a,b", "0:2", "0,1"):
        np.testing.assert_array_equal(read_inputs([f"x=t.csv:{columns}"], leaves)["x"], X)
    found = read_inputs(["t.csv", "x=t.csv:a,b"], leaves)
    np.testing.assert_array_equal(found["label"], LABEL)


def test_lossless_conversion_and_what_loses(leaves):
    assert fitted(LABEL.astype("float64"), leaves["label"], "").dtype == "int64"
    assert fitted(LABEL.astype("uint8"), leaves["label"], "").dtype == "int64"
    assert fitted(X.astype("int16"), leaves["x"], "").dtype == "float32"
    with pytest.raises(DataError, match=r"0.5 at index \(1,\) cannot be represented exactly as int64"):
        fitted(np.array([1.0, 0.5]), leaves["label"], "")
    with pytest.raises(DataError, match="overflows float32"):
        fitted(np.array([[1e300, 1.0]]), leaves["x"], "")
    with pytest.raises(DataError, match="cannot be represented exactly"):
        fitted(np.array([2**63], "uint64"), leaves["label"], "")
    nan = fitted(np.array([[np.nan, np.inf]]), leaves["x"], "")
    assert np.isnan(nan[0, 0])
    assert np.isinf(nan[0, 1])


# -- what is refused, with what is said


def write_npy(name, array):
    np.save(name, array, allow_pickle=True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("x=none.npy", r"none.npy: no such file"),
        ("x=goood.npy", r"did you mean 'good.npy'\?"),
        ("x=good.txt", r"'.txt' is not a supported format"),
        ("z=good.npy", r"no input 'z'"),
        ("lable=good.npy", r"did you mean 'label'\?"),
        ("x=", r"names no file"),
        ("x=flat.npy", r"'x' has 2 axes, but the array has 1"),
        ("x=wide.npy", r"size 2 on axis 1, but the array has 3"),
        ("x=objects.npy", r"Python objects, which are never loaded"),
        ("x=objects.npz:x", r"Python objects, which are never loaded"),
        ("x=text.npy", r"holds text, not numbers"),
        ("x=complex.npy", r"holds complex numbers"),
        ("x=short.npy", r"truncated or not an .npy file"),
        ("x=short.npz:x", r"truncated or not an .npz file"),
        ("x=pickle.npy", r"Python objects|truncated or not"),
        ("x=empty.npy", r"the file is empty"),
        ("x=empty.csv", r"the file is empty"),
        ("x=good.npz:y", r"no array 'y'"),
        ("x=many.npz", r"has 2 arrays, and none is named 'x'"),
        ("many.npz", r"no array with the name of an input"),
        ("x=bad.csv", r"bad.csv:3: column 2 \('b'\): 'oops' is not a number"),
        ("x=hole.csv", r"hole.csv:2: column 1: the cell is empty"),
        ("x=ragged.csv", r"ragged.csv:2: the row has 3 cells, not 2"),
        ("x=names.csv", r"no row of numbers"),
        ("x=bad.csv:a,c", r"no column 'c'|oops"),
        ("x=latin.csv", r"not UTF-8"),
        ("x=folder.npy", r"this is a directory"),
    ],
)
def test_refusals_name_file_and_reason(leaves, spec, message, tmp_path):
    np.save("good.npy", X)
    np.savez("good.npz", x=X)
    np.savez("many.npz", a=X, b=X)
    np.save("flat.npy", X[0])
    np.save("wide.npy", np.zeros((2, 3)))
    np.save("text.npy", np.array([["a", "b"]]))
    np.save("complex.npy", X + 1j)
    write_npy("objects.npy", np.array([[None, 1]], dtype=object))
    np.savez("objects.npz", x=np.array([[None, 1]], dtype=object))
    for name in ("good.npy", "good.npz"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name.replace("good", "short")).write_bytes(whole[: len(whole) - 60])
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps([1, 2]))
    (tmp_path / "empty.npy").touch()
    (tmp_path / "empty.csv").touch()
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n3,oops\n")
    (tmp_path / "hole.csv").write_text("1,2\n,4\n")
    (tmp_path / "ragged.csv").write_text("1,2\n3,4,5\n")
    (tmp_path / "names.csv").write_text("a,b\n")
    (tmp_path / "latin.csv").write_bytes("größe,b\n1,2\n".encode("latin-1"))
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(DataError, match=message):
        read_inputs([spec], leaves)


def test_an_input_is_given_once(leaves):
    np.savez("d.npz", x=X, label=LABEL)
    with pytest.raises(DataError, match="given twice"):
        read_inputs(["d.npz", "x=d.npz:x"], leaves)


# -- the train section


def test_hold_out_is_the_last_part_of_a_seeded_shuffle(graph):
    np.savez("d.npz", x=X, label=LABEL)
    split = training_data(graph, section(graph, hold_out=0.2, seed=5))
    assert split.rows == (8, 2)
    together = np.concatenate([split.train["x"], split.held_out["x"]])
    assert not np.array_equal(together, X)
    np.testing.assert_array_equal(np.sort(together, axis=0), X)
    np.testing.assert_array_equal(split.train["label"], split.train["x"][:, 0] // 2 % 3)
    again = training_data(graph, section(graph, hold_out=0.2, seed=5))
    np.testing.assert_array_equal(again.train["x"], split.train["x"])
    other = training_data(graph, section(graph, hold_out=0.2, seed=6))
    assert not np.array_equal(other.train["x"], split.train["x"])


def test_data_is_split_by_one_rule_and_never_copied(graph):
    """A mapped file stays mapped, and its rows are shuffled like those of arrays in memory."""
    np.save("x.npy", X.astype("float32"))
    np.save("label.npy", LABEL)
    np.savez_compressed("d.npz", x=X, label=LABEL)
    mapped = training_data(graph, section(graph, hold_out=0.3) | {"data": {"inputs": {"x": "x.npy", "label": "label.npy"}}})
    assert isinstance(mapped.train.arrays["x"], np.memmap)
    assert mapped.train.arrays["x"] is mapped.held_out.arrays["x"]
    read = training_data(graph, section(graph, hold_out=0.3))
    for part in ("train", "held_out"):
        for name in ("x", "label"):
            np.testing.assert_array_equal(getattr(mapped, part)[name], getattr(read, part)[name])
    assert not np.array_equal(mapped.held_out["x"], X[7:])


def test_without_a_shuffle_the_last_rows_are_held_out(graph):
    np.savez("d.npz", x=X, label=LABEL)
    for seed in (0, 1):
        split = training_data(graph, section(graph, hold_out=0.3, shuffle=False, seed=seed))
        np.testing.assert_array_equal(split.train["x"], X[:7])
        np.testing.assert_array_equal(split.held_out["x"], X[7:])
        np.testing.assert_array_equal(split.held_out["label"], LABEL[7:])


def test_hold_out_with_data_of_its_own(graph):
    np.savez("d.npz", x=X, label=LABEL)
    np.savez("h.npz", x=X[:3], label=LABEL[:3])
    split = training_data(graph, section(graph, hold_out={"file": "h.npz"}))
    assert split.rows == (10, 3)
    np.testing.assert_array_equal(split.train["x"], X)
    assert training_data(graph, section(graph)).held_out is None


def test_arrays_named_otherwise(graph):
    np.savez("d.npz", images=X, classes=LABEL)
    train = section(graph) | {"data": {"file": "d.npz", "inputs": {"x": "images", "label": "classes"}}}
    np.testing.assert_array_equal(training_data(graph, train).train["x"], X)


@pytest.mark.parametrize(
    ("arrays", "entries", "message"),
    [
        ({"x": X, "label": LABEL[:9]}, {}, r"dimension 'batch' is 10 in 'x' and 9 in 'label'"),
        ({"x": X}, {}, r"no array for input 'label'"),
        ({"x": X[:0], "label": LABEL[:0]}, {}, r"the data is empty"),
        ({"x": X[:1], "label": LABEL[:1]}, {"hold_out": 0.5}, r"cannot hold out 0.5 of the data: there are 1 rows"),
        ({"x": X, "label": LABEL}, {"data": {"file": "d.npz", "inputs": {"x": "x", "label": "lable"}}}, r"did you mean 'label'\?"),
        ({"x": X, "label": LABEL}, {"data": None}, r"names no data"),
    ],
)
def test_data_that_does_not_fit(graph, arrays, entries, message):
    np.savez("d.npz", **arrays)
    with pytest.raises(DataError, match=message):
        training_data(graph, section(graph) | entries)
