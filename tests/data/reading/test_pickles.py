"""Pickles are read for their arrays, and nothing that they ask for is done."""

import base64
import io
import os
import pickle
import struct
import zlib

import numpy
import pytest

from equimodal.data.reading.originals import Damaged
from equimodal.data.reading.pickles import read_npy_object, read_pickle

VALUES = {
    "bytes": numpy.arange(12, dtype="uint8").reshape(3, 4),
    "big-endian": numpy.arange(3, dtype=">i4"),
    "columns first": numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)),
    "strided": numpy.arange(24).reshape(4, 6)[::2, ::3],
    "single": numpy.array(7, dtype="int16"),
    "none": numpy.zeros((0, 3), dtype="float32"),
    "texts": numpy.array(["a", "bcd"]),
    "truth": numpy.array([True, False]),
}


def written(folder, value, protocol=pickle.HIGHEST_PROTOCOL):
    path = folder / "file.pickle"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol=protocol))
    return path


def refused(path, message):
    with pytest.raises(Damaged, match=message) as caught:
        read_pickle(path, "pictures")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_are_read_as_they_were_written(tmp_path, protocol):
    found = read_pickle(
        written(tmp_path, {"arrays": VALUES, "list": [1, 2.5, "é", None, (True,)], "number": numpy.float32(2)}, protocol), "x"
    )
    assert found["list"] == [1, 2.5, "é", None, (True,)]
    assert found["number"] == 2.0
    assert found["arrays"].keys() == VALUES.keys()
    for name, value in VALUES.items():
        assert numpy.array_equal(found["arrays"][name], value), name
        assert found["arrays"][name].dtype == value.dtype, name


def test_arrays_of_objects_hold_what_they_held(tmp_path):
    value = numpy.empty((2, 2), dtype=object)
    value[0, 0], value[0, 1], value[1, 0] = "a", 1, numpy.arange(3)
    for form in (value, numpy.asfortranarray(value)):
        found = read_pickle(written(tmp_path, form), "x")
        assert found[0].tolist() == ["a", 1]
        assert numpy.array_equal(found[1, 0], numpy.arange(3))
        assert found[1, 1] is None


# By pandas 1.5.3 with NumPy 1.25.2: DataFrame({"image": [array, array], "label": ["boy", "man"], "number": [2.5, 3.5]}).to_pickle().
TABLE = (
    "c-n1KL2uJA6mFWP+uE_NAYcfD!~v;XDj{*;fW*WQf<+W*CoYp^r%oL$af0n=RALew=r+l>J@~uu?6ztv%?IZtdGGW0zW4cO^ygdH@XPiqD#uh0lTz_vs%XK%"
    "?!2dle(>=Py!ZtdFt9CBOcdCs>*<*^TuGYiVL>IGaHYZSzRSzx?DPB`%k6_j1<5m}S0!M3q?T2doaLM_SL2fJ%etthbM&IlO-7ZXQ$!_-C#BRz)roP5kxvA>"
    "h1fpj2I9tVI0_hC!U+uGAa2IZ8Hk>Z#%5Z%PHgkbYq-9e{|{~O14g6K@jqOCi{Bbx*QeO)-8B{%a+M`uyChX*!Rj>ieGUG$=L$C3TiZLGE{Fr$tY5D1#gk3+"
    "2BLdb;U(DM2n?o)XDgW9JA1wTK8WYbBr$L)He@CC8KT0#5yEb>IzwS3Dj4ZJOSo?xO9FRr+;qF>I^_Mv`f436&N=i{(+w%!!0lvb3l`#)<FtOn44hI2n|2uU"
    "?_3WV)o7v)k^G!|a^H}l_-LbL?Cms0i-Fh^eK$67Z#lFOUmp7*L|K6r!X|Udcn-FWlVB*l7ojDcIY;%(aXYq;Zlj^7boHGR_gp($d>x^3hAM-)*_JkCg*~}|"
    "V-R>u?l$y1ItQ<V<GQ>Wq~L~n@~6m+8iS_4Kz1a}>BNT*X`YwonvClT$3qP#z5@+cx@N=wq%u<G"
)


def test_a_table_that_pandas_1_wrote_becomes_its_columns(tmp_path):
    found = read_pickle(written(tmp_path, zlib.decompress(base64.b85decode(TABLE))), "x")
    assert list(found) == ["image", "label", "number"]
    assert found["label"].tolist() == ["boy", "man"]
    assert found["number"].tolist() == [2.5, 3.5]
    assert numpy.array_equal(numpy.stack(list(found["image"])), numpy.arange(6, 18, dtype="uint8").reshape(2, 1, 2, 3))


def test_a_table_that_the_pandas_at_hand_writes_becomes_its_columns(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pictures = numpy.arange(5 * 12, dtype="uint8").reshape(5, 2, 2, 3)
    labels = ["a", "b", "a", "b", "c"]
    columns = {"image": pandas.Series(list(pictures), dtype=object), "number": range(5), "label": pandas.Series(labels, dtype=object)}
    table = pandas.DataFrame(columns)
    table.columns = pandas.Index(list(columns), dtype=object)
    found = read_pickle(written(tmp_path, table), "x")
    assert list(found) == ["image", "number", "label"]
    assert found["label"].tolist() == labels
    assert found["number"].tolist() == list(range(5))
    assert numpy.array_equal(numpy.stack(list(found["image"])), pictures)


def test_a_table_with_a_column_that_is_no_array_is_refused(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    refused(written(tmp_path, pandas.DataFrame({"when": pandas.Categorical(["a", "b"])})), "is refused: it asks for pandas")


def test_npy_files_of_one_object(tmp_path):
    path = tmp_path / "metadata.npy"
    numpy.save(path, {"ix_to_word": {0: "_UNK_"}, "lookup": numpy.ones((2, 3), "float32")})
    found = read_npy_object(path, "vocabulary")
    assert found["ix_to_word"] == {0: "_UNK_"}
    assert found["lookup"].shape == (2, 3)
    numpy.save(path, numpy.arange(3))
    with pytest.raises(Damaged, match="a single object is needed"):
        read_npy_object(path, "vocabulary")
    path.write_bytes(b"<html>")
    with pytest.raises(Damaged, match="HTML page"):
        read_npy_object(path, "vocabulary")
    with pytest.raises(Damaged, match="is missing"):
        read_npy_object(tmp_path / "none.npy", "vocabulary")


# --- what must not be done ---


class Runs:
    """Unpickled in the usual way, this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("inside", [lambda evil: evil, lambda evil: {"image": [evil]}, lambda evil: numpy.array([evil, 1], dtype=object)])
def test_nothing_is_run(tmp_path, protocol, inside):
    mark = tmp_path / "ran"
    refused(written(tmp_path, inside(Runs(mark)), protocol), r"is refused: it asks for posix\.system; plain values and NumPy arrays alone")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
        (b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.", "numpy.core.multiarray._reconstruct.__globals__"),
        (b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.", "builtins.getattr"),
        (b"(ios\nsystem\n.", "the instruction INST"),
        (b"Pwhere\n.", "the instruction PERSID"),
        (b"\x82\x01.", "the instruction EXT1"),
    ],
)
def test_other_names_and_instructions_are_refused(tmp_path, asked, named):
    refused(written(tmp_path, asked), f"is refused: it (asks for|holds) {named.replace('.', '[.]')}")


def test_known_names_in_other_places_do_nothing(tmp_path):
    for content in (b"cnumpy\nndarray\n.", b"cnumpy\ndtype\n(S'u1'\ntR.", b"cbuiltins\nslice\n(I0\nI1\ntR.", b"cnumpy\nndarray\n(I9\ntR."):
        refused(written(tmp_path, content), "is refused: it holds")


def array_of(shape, content, dtype=b"u1"):
    """A pickle of an array whose shape and content need not agree, as Python 2 wrote it."""
    numbers = b"(" + b"".join(b"I%d\n" % side for side in shape) + b"t"
    kind = b"cnumpy\ndtype\n(S'" + dtype + b"'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
    held = b"T" + struct.pack("<i", len(content)) + content
    return b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n" + numbers + kind + b"I00\n" + held + b"tb."


def test_an_array_of_python_2(tmp_path):
    found = read_pickle(written(tmp_path, array_of((2, 3), bytes(range(250, 256)))), "x")
    assert found.tolist() == [[250, 251, 252], [253, 254, 255]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (array_of((10**9, 10**9), b"abc"), "claims 1000000000000000000 bytes and holds 3"),
        (array_of((-1, 3), b"abc"), "no shape that can be"),
        (array_of((1,) * 40, b"a"), "no shape that can be"),
        (array_of((3,), b"abc", b"O"), "claims 3 objects and holds none"),
        (array_of((3,), b"abc", b"V1"), "has the type 'V1'"),
        (array_of((1,), b"abc", b"i4,i4"), "has the type 'i4,i4'"),
    ],
)
def test_arrays_that_claim_what_they_do_not_hold_are_refused(tmp_path, content, message):
    refused(written(tmp_path, content), f"is refused: .*{message}")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04N\x94r\xff\xff\xff\x7f.",  # a memo of two thousand million places
        b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc.",  # bytes
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc.",  # a byte array
        b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.",  # a frame
        b"(" * 100_000 + b"t" * 100_000 + b".",  # nesting
        b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    ],
)
def test_bombs_are_refused_at_once(tmp_path, content):
    refused(written(tmp_path, content), "pictures .* is (refused|cut short or damaged)")


def test_parts_that_contain_each_other_many_times_are_made_once(tmp_path):
    part = [numpy.arange(3)]
    for _ in range(60):
        part = [part, part]
    found = read_pickle(written(tmp_path, part), "x")
    for _ in range(60):
        found = found[1]
    assert found[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[: len(content) // 2], "is cut short or damaged"),
        (lambda content: content[:-1], "is cut short or damaged"),
        (lambda content: b"", "is (empty|cut short or damaged)"),
        (lambda content: b"<!DOCTYPE html><html><body>Please log in</body></html>", "is an HTML page"),
        (lambda content: b"version https://git-lfs.github.com/spec/v1\n", "is cut short or damaged|Git LFS"),
    ],
)
def test_files_that_are_not_whole_are_told_in_one_line(tmp_path, change, message):
    refused(written(tmp_path, change(pickle.dumps(VALUES))), message)


def test_a_missing_file(tmp_path):
    refused(tmp_path / "none.pickle", "is missing")


def test_random_changes_never_do_more_than_refuse(tmp_path):
    """Whatever the bytes, either arrays come of it or one line."""
    draws = numpy.random.default_rng(0)
    buffer = io.BytesIO()
    pickle.dump({"data": numpy.arange(200, dtype="uint8"), "labels": list(range(20))}, buffer, protocol=2)
    messages = []
    for _ in range(300):
        content = bytearray(buffer.getvalue())
        for place in draws.integers(0, len(content), 3):
            content[place] = draws.integers(0, 256)
        try:
            read_pickle(written(tmp_path, bytes(content)), "pictures")
        except Damaged as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert not any("\n" in message for message in messages)
