"""What .npy, .npz and .csv files may hold, exactly; what is refused, and with which words."""

import io
import zipfile

import numpy as np
import pytest

import graphexec as gx
from graphexec.errors import DataError
from graphexec.training.data import fitting, input_leaves, npy, read_inputs, source, training_data


def leaf(dtype, *shape):
    g = gx.Graph("one")
    x = g.input("x", shape, dtype=dtype)
    g.output(gx.ops.copy(x))
    return input_leaves(g)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(name, dtype="float64", shape=("n",), **options):
    return read_inputs([f"x={name}"], leaf(dtype, *shape), **options)["x"]


def write(name, data):
    with open(name, "wb") as stream:
        stream.write(data)


def text(name, data):
    write(name, data.encode())
    return name


# -- csv: whole numbers


@pytest.mark.parametrize(
    "number",
    [0, -1, 2**31, 2**52 + 1, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 10**18 + 1, 2**63 - 1, -(2**63), 2**62 + 1],
)
def test_whole_numbers_are_exact(number):
    found = read(text("a.csv", f"7\n{number}\n3\n"), "int64")
    assert found.dtype == "int64"
    assert found.tolist() == [7, number, 3]
    assert read(text("b.csv", f"id,v\n1,0.5\n{number},1.5\n") + ":id", "int64").tolist() == [1, number]


@pytest.mark.parametrize(
    "cell", ["9007199254740993.0", "9007199254740993e0", "+9007199254740993", " 9007199254740993 ", "90071992547409930e-1"]
)
def test_other_ways_to_write_a_whole_number(cell):
    assert read(text("a.csv", f"{cell}\n1\n"), "int64").tolist() == [2**53 + 1, 1]


@pytest.mark.parametrize(
    ("cell", "dtype", "message"),
    [
        ("9223372036854775808", "int64", "a.csv:2: column 1.*9223372036854775808 is too large for int64"),
        ("-9223372036854775809", "int64", "too large for int64"),
        ("18446744073709551615", "int64", "too large for int64"),
        ("1e30", "int64", "too large for int64"),
        ("1e999999", "int64", "overflows float64"),
        ("9007199254740993.5", "int64", "9007199254740993.5 is not a whole number"),
        ("0.5", "int64", "0.5 at index .* cannot be represented exactly as int64"),
        ("nan", "int64", "cannot be represented exactly as int64"),
        ("inf", "int64", "too large for int64|cannot be represented"),
        ("2147483648", "int32", "2147483648.* at index .* cannot be represented exactly as int32"),
        ("9007199254740993", "int32", "9007199254740993 at index .* cannot be represented exactly as int32"),
        ("2", "bool", "cannot be represented exactly as bool"),
        ("1e999", "float64", "1e999 overflows float64"),
        ("1e39", "float32", "overflows float32"),
        ("1" * 5000, "int64", "too large for int64|overflows float64"),
    ],
)
def test_a_number_that_does_not_fit(cell, dtype, message):
    with pytest.raises(DataError, match=message):
        read(text("a.csv", f"1\n{cell}\n"), dtype)


def test_rounding_to_a_floating_input_is_to_nearest():
    assert read(text("a.csv", "9007199254740993\n0.1\n"), "float64").tolist() == [2.0**53, 0.1]
    assert read(text("a.csv", "16777217\n0.1\n"), "float32").tolist() == [2.0**24, np.float32(0.1)]


# -- csv: form


@pytest.mark.parametrize(
    "content",
    ["1,2\n3,4\n", "1,2\r\n3,4\r\n", "\ufeff1,2\n3,4", "a,b\n1,2\n3,4\n", '"a","b"\n"1","2"\n"3","4"\n', "1;2\n3;4\n",
     "1\t2\n3\t4\n", "\n\n1,2\n\n3,4\n\n", " 1 , 2 \n 3 , 4 \n",
     "\ufeffa,b\r\n\r\n1,2\r\n3,4\r\n", '"a, the first","b"\n1,2\n3,4\n', "größe,b\n1,2\n3,4\n"],
)  # fmt: skip
def test_forms_of_one_table(content):
    assert read(text("a.csv", content), shape=("n", 2)).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1,2\n3\n", "a.csv:2: the row has 1 cells, not 2"),
        (b"a,b\n1,2\n3,4,5\n", "a.csv:3: the row has 3 cells, not 2"),
        (b"1,2\n3,\n", "a.csv:2: column 2: the cell is empty"),
        (b"1,2\n,\n", "a.csv:2: column 1: the cell is empty"),
        (b"1,2\n3,x\x00y\n", r"a.csv:2: column 2: 'x\\x00y' is not a number|line contains NUL"),
        (b"1,2\n3,1_000\n", "a.csv:2: column 2: '1_000' is not a number"),
        (b"1,2\n3,\xff\n", "not UTF-8"),
        (b"\xff\xfe1\x00,\x002\x00", "not UTF-8"),
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"\x00\x00\x00", "no row of numbers|is not a number|truncated"),
        (b"a,b\n\n", "no row of numbers"),
        (b"a,b,c\n1,2\n3,4\n", "a.csv:1: the header names 3 columns, and the rows have 2 cells"),
        (b"a\n1,2\n3,4\n", "a.csv:1: the header names 1 columns, and the rows have 2 cells"),
        (b"a,b\n1,0x10\n", "'0x10' is not a number"),
        (b"a,b\n1,TRUE\n", "'TRUE' is not a number"),
        (b'1,"2\n3,4\n', "a.csv"),
        (b"x" * 200_000, "larger than field limit|no row of numbers"),
        (b"1," * 100_000 + b"1\n2\n", "the row has 1 cells, not 100001"),
    ],
)
def test_files_that_are_no_tables(content, message):
    write("a.csv", content)
    with pytest.raises(DataError, match=message):
        read("a.csv", shape=("n", 2))


def test_a_column_of_a_name_that_occurs_twice():
    text("a.csv", "a,b,a\n1,2,3\n4,5,6\n")
    for name in ("a", "b,a"):
        with pytest.raises(DataError, match="2 columns 'a'"):
            read(f"a.csv:{name}", shape=("n", 2) if "," in name else ("n",))
    assert read("a.csv:2").tolist() == [3, 6]


# -- npy


def npy_bytes(header, data=b""):
    body = (header + "\n").encode("latin1")
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body + data


def header(descr="'<f8'", fortran="False", shape="(2,)"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}"


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(3, 2), np.asfortranarray(np.arange(6.0).reshape(3, 2)), np.arange(6).reshape(3, 2).astype(">i2"),
        np.arange(6).reshape(3, 2).astype(">f8"), np.arange(6, dtype="float16").reshape(3, 2), np.ones((3, 2), bool),
        np.arange(6, dtype="uint64").reshape(3, 2), np.arange(12.0).reshape(6, 2)[::2],
        np.arange(6, dtype="longdouble").reshape(3, 2),
        np.empty((0, 2)), np.empty((0, 2), "int8"),
    ],
    ids=lambda a: f"{a.dtype.str}-{a.shape}",
)  # fmt: skip
def test_arrays_of_any_layout(array):
    np.save("a.npy", array)
    np.savez("a.npz", x=array)
    np.savez_compressed("b.npz", x=array)
    for name in ("a.npy", "a.npz", "b.npz"):
        found = read(name, shape=("n", 2))
        assert found.dtype == "float64"
        np.testing.assert_array_equal(found, array.astype("float64"))


def test_an_array_without_axes():
    np.save("a.npy", np.array(3, ">i4"))
    assert read("a.npy", "int64", ()).tolist() == 3
    np.save("a.npy", np.array(2.5))
    with pytest.raises(DataError, match=r"2.5 at index \(\) cannot be represented exactly as int64"):
        read("a.npy", "int64", ())
    with pytest.raises(DataError, match="has 1 axes, but the array has 0"):
        read("a.npy")


def wrong_files():
    eight = np.arange(2.0).tobytes()
    records = io.BytesIO()
    np.save(records, np.zeros(2, [("a", "f8"), ("b", "i4")]))
    objects = io.BytesIO()
    np.save(objects, np.array([None, {}], object), allow_pickle=True)
    return {
        "records": (records.getvalue(), "holds records, not numbers"),
        "objects": (objects.getvalue(), "Python objects, which are never loaded"),
        "said to be larger": (npy_bytes(header(shape="(3,)"), eight), "header says 24 bytes of data, and 16 follow"),
        "said to be smaller": (npy_bytes(header(shape="(1,)"), eight), "header says 8 bytes of data, and 16 follow"),
        "huge": (npy_bytes(header(shape=f"({10**12}, {10**12})"), eight), "header says 8000000000000000000000000 bytes"),
        "wraps": (npy_bytes(header(shape=f"({2**61}, 8)"), eight), "header says"),
        "negative": (npy_bytes(header(shape="(-2,)"), eight), "its shape is"),
        "fraction": (npy_bytes(header(shape="(2.0,)"), eight), "truncated or not an .npy file"),
        "many axes": (npy_bytes(header(shape="(" + "1, " * 40 + ")"), eight), "its shape is"),
        "text shape": (npy_bytes(header(shape="'2'"), eight), "truncated or not an .npy file"),
        "code": (npy_bytes(header(descr="__import__('os').getcwd()"), eight), "truncated or not an .npy file"),
        "no such type": (npy_bytes(header(descr="'zz'"), eight), "truncated or not an .npy file"),
        "void": (npy_bytes(header(descr="'|V8'"), eight), "holds records, not numbers"),
        "dates": (npy_bytes(header(descr="'<M8[s]'"), eight), "holds dates, not numbers"),
        "deep header": (npy_bytes("(" * 5000 + ")" * 5000, eight), "truncated or not an .npy file"),
        "long header": (npy_bytes(header() + " " * 60_000, eight), "truncated or not an .npy file"),
        "version 9": (b"\x93NUMPY\x09\x00" + npy_bytes(header(), eight)[8:], "truncated or not an .npy file"),
        "only magic": (b"\x93NUMPY", "truncated or not an .npy file"),
        "pickle": (b"\x80\x04]q\x00.", "truncated or not an .npy file"),
        "empty": (b"", "the file is empty"),
    }


@pytest.mark.parametrize("name", wrong_files())
def test_npy_files_that_are_refused(name):
    content, message = wrong_files()[name]
    write("a.npy", content)
    with pytest.raises(DataError, match=message):
        read("a.npy")
    if name == "empty":
        return
    with zipfile.ZipFile("a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(DataError, match=r"a\.npz:x: "):
        read("a.npz:x")


# -- npz


def test_a_zip_bomb_is_refused_before_memory_is_taken(monkeypatch):
    np.savez_compressed("a.npz", x=np.zeros(100_000))
    monkeypatch.setattr(source, "free_memory", lambda: 100_000)
    with pytest.raises(DataError, match=r"a.npz:x: the array takes 0.763 MiB, and 0.0954 MiB of memory are free"):
        read("a.npz")
    np.save("a.npy", np.zeros(100_000, "float32"))
    with pytest.raises(DataError, match="the array takes"):
        read("a.npy")  # converted, it takes twice its size


def test_a_member_that_is_said_to_hold_more_than_it_can():
    np.savez_compressed("a.npz", x=np.arange(100.0))
    with open("a.npz", "rb") as stream:
        data = bytearray(stream.read())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (2**31).to_bytes(4, "little")
    write("a.npz", bytes(data))
    with pytest.raises(DataError, match="said to hold more than its bytes can"):
        read("a.npz:x")


def test_archives_that_are_refused():
    with zipfile.ZipFile("twice.npz", "w") as archive:
        archive.writestr("x.npy", b"1")
        archive.writestr("x", b"2")
    with pytest.raises(DataError, match="two arrays 'x'"):
        read("twice.npz")
    with zipfile.ZipFile("lzma.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", npy_bytes(header(), np.arange(2.0).tobytes()))
    with pytest.raises(DataError, match=r"compressed as np\.savez does not"):
        read("lzma.npz")
    write("text.npz", b"a,b\n1,2\n")
    with pytest.raises(DataError, match=r"truncated or not an \.npz file"):
        read("text.npz")
    np.savez("sum.npz", x=np.arange(20.0))
    with open("sum.npz", "rb") as stream:
        data = bytearray(stream.read())
    data[data.index(np.float64(7).tobytes())] ^= 1
    write("sum.npz", bytes(data))
    with pytest.raises(DataError, match="CRC"):
        read("sum.npz")


def test_names_like_paths_stay_in_the_archive():
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("../../x.npy", npy_bytes(header(), np.arange(2.0).tobytes()))
    assert read("a.npz:../../x").tolist() == [0, 1]
    with pytest.raises(DataError, match="no array 'y'"):
        read("a.npz:y")


def test_large_members_are_mapped_and_checked(monkeypatch):
    monkeypatch.setattr(npy, "MAPPED", 1)
    np.savez("a.npz", x=np.arange(20.0))
    assert isinstance(read("a.npz"), np.memmap)
    with open("a.npz", "rb") as stream:
        data = stream.read()
    write("a.npz", data.replace(b"'shape': (20,)", b"'shape': (90,)"))
    with pytest.raises(DataError, match="header says 720 bytes of data, and 160 follow"):
        read("a.npz")


# -- numbers that are not finite, and blocks


@pytest.mark.parametrize("block", [1, 16, 2**24])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named_by_row_and_column(monkeypatch, block, value):
    monkeypatch.setattr(fitting, "BLOCK", block)
    x = np.arange(20.0).reshape(10, 2)
    x[7, 1] = value
    np.save("a.npy", x)
    assert np.array_equal(read("a.npy", shape=("n", 2)), x, equal_nan=True)
    with pytest.raises(DataError, match=rf"a.npy: the data holds {value} at row 7, column 1"):
        read("a.npy", shape=("n", 2), finite=True)
    np.save("b.npy", x[:, 1])
    with pytest.raises(DataError, match=rf"b.npy: the data holds {value} at row 7 "):
        read("b.npy", finite=True)
    text("c.csv", "a,b\n" + "\n".join(f"{a},{b}" for a, b in x))
    with pytest.raises(DataError, match=rf"c.csv:b: the data holds {value} at row 7"):
        read("c.csv:b", finite=True)
    np.save("d.npy", np.broadcast_to(x[:, None], (10, 3, 2)))
    with pytest.raises(DataError, match=rf"holds {value} at index \(7, 0, 1\)"):
        read("d.npy", shape=("n", 3, 2), finite=True)


def test_a_train_section_may_allow_nan():
    g = gx.Graph("one")
    g.output(gx.ops.copy(g.input("x", ("n",))))
    g.dag.graph["directory"] = "."
    np.save("a.npy", np.array([1.0, np.nan, 3.0]))
    section = {"data": {"file": "a.npy"}}
    with pytest.raises(DataError, match="allow_nan: true under train, or --allow-nan"):
        training_data(g, section)
    assert np.isnan(training_data(g, section | {"allow_nan": True}).train["x"][1])
