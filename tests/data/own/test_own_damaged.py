"""What is refused of a user's own arrays: one line that names the file, the sample's line in the table, and what is wrong."""

import os

import numpy
import pytest

from equimodal.data.own import Own
from equimodal.errors import InputError

from .own_files import DESCRIPTION, rows, track, write_table

pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")


# --- array files


def cut(path, keep=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def pickled(path):
    numpy.save(path, numpy.array([{"a": 1}], dtype=object), allow_pickle=True)


def boundless(path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (30, %d), }" % 10**30
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


def raw_pickle(path):
    import pickle

    path.write_bytes(pickle.dumps([1, 2]))


ONE_EACH = {
    "missing": (os.unlink, "audio file audio/c07.npy (samples.csv, line 9) is missing: add it, or set 'optional: true'"),
    "empty": (lambda path: path.write_bytes(b""), "audio file audio/c07.npy is empty"),
    "cut short": (cut, "audio file audio/c07.npy is cut short or damaged"),
    "cut in its head": (lambda path: cut(path, 0.2), "audio file audio/c07.npy is cut short or damaged"),
    "html": (lambda path: path.write_text("<html>403</html>"), "audio file audio/c07.npy is an HTML page, not data"),
    "objects": (pickled, "audio file audio/c07.npy holds Python objects, which only a pickle can, and pickles may run code"),
    "a pickle": (raw_pickle, "audio file audio/c07.npy is no NumPy array: write it with numpy.save"),
    "texts": (lambda path: numpy.save(path, numpy.array(["a"])), "audio file audio/c07.npy holds values of type <U1"),
    "named fields": (lambda path: numpy.save(path, numpy.zeros(2, dtype=[("é", "f4")])), "audio file audio/c07.npy"),
    "other features": (
        lambda path: numpy.save(path, numpy.zeros((4, 3), "f4")),
        "audio/c07.npy (samples.csv, line 9) has shape [4, 3], not [any, 2]",
    ),
    "no steps": (lambda path: numpy.save(path, numpy.zeros((0, 2), "f4")), "audio/c07.npy (samples.csv, line 9) has no time steps"),
    "NaN": (
        lambda path: numpy.save(path, numpy.array([[0, 1], [numpy.nan, 0]], "f4")),
        "audio/c07.npy (samples.csv, line 9) holds nan at [1, 0]",
    ),
    "infinite": (
        lambda path: numpy.save(path, numpy.array([[0, numpy.inf]], "f8")),
        "audio/c07.npy (samples.csv, line 9) holds inf at [0, 1]",
    ),
    "too large": (lambda path: numpy.save(path, numpy.array([[0, 1e300]], "f8")), "holds 1e+300, which is too large for float32"),
}


@pytest.mark.parametrize(("spoil", "said"), ONE_EACH.values(), ids=ONE_EACH)
def test_one_wrong_file_of_a_sample_is_named(folder, refusal, spoil, said):
    spoil(folder / "audio" / "c07.npy")
    line = refusal()
    assert said in line
    assert "--skip-damaged" in line


def test_samples_with_wrong_files_can_be_left_out(folder):
    cut(folder / "audio" / "c07.npy")
    own = Own(str(folder / "my.yaml"))
    own.prepare(skip_damaged=True)
    assert len(own.load().train) == 17


def test_no_file_at_all_is_refused_at_once(folder, refusal):
    assert "my.yaml, line 3: no audio file is there: " in refusal(DESCRIPTION.replace("audio/{id}", "audoi/{id}"))
    assert "has no column 'idd', which the file of modality 'audio' names: did you mean 'id'?" in refusal(
        DESCRIPTION.replace("{id}", "{idd}")
    )
    assert "names no .npy or .npz files" in refusal(DESCRIPTION.replace("{id}.npy", "{id}.wav"))


def with_rows(folder, values=None, lines="", name="values.npy"):
    if values is not None:
        numpy.save(folder / name, values)
    return f"table: samples.csv\nmodalities:\n  image: images.npy\n  audio:\n    file: {name}\n{lines}"


WITH_ROWS = {
    "too few rows": (numpy.zeros((29, 3)), "", "audio file values.npy has 29 rows and table samples.csv has 30"),
    "one number": (numpy.float64(3), "", "values.npy has 1 rows and table"),
    "NaN": (
        numpy.where(numpy.arange(90).reshape(30, 3) == 46, numpy.nan, 1),
        "",
        "row 15 of audio file values.npy (samples.csv, line 17) holds nan at [1]",
    ),
    "channels last": (numpy.zeros((30, 9, 9, 3), "uint8"), "", "looks like [height, width, channels]: set 'channels: last'"),
    "four dimensions": (numpy.zeros((30, 2, 2, 2, 2)), "", "say what they are with 'kind'"),
    "a kind that does not suit": (numpy.zeros((30, 3)), "    kind: picture\n", "arrays of shape [3], which do not suit 'kind: picture'"),
    "nothing in it": (numpy.zeros((30, 0)), "", "which hold nothing"),
    "tokens that are none": (
        numpy.zeros((30, 4)),
        "    kind: tokens\n    encoder: {name: text, vocabulary: 9}\n",
        "holds float64 numbers: tokens are whole numbers",
    ),
    "a token below zero": (
        -numpy.ones((30, 4), "i8"),
        "    kind: tokens\n    encoder: {name: text, vocabulary: 9}\n",
        "holds the token -1",
    ),
    "lengths of a vector": (numpy.zeros((30, 4)), "    max_length: 3\n", "audio is a vector: 'max_length' is for sequences"),
    "complex numbers": (numpy.zeros((30, 4), "c8"), "", "holds values of type complex64"),
}


@pytest.mark.parametrize(("values", "lines", "said"), WITH_ROWS.values(), ids=WITH_ROWS)
def test_a_wrong_file_of_rows_is_refused(folder, refusal, values, lines, said):
    assert said in refusal(with_rows(folder, values, lines))


def test_a_length_beyond_all_disks_is_refused(folder, refusal):
    text = DESCRIPTION.replace("    standardise: true\n", f"    max_length: {10**30}\n")
    assert "own takes" in refusal(text)


def test_a_length_beyond_the_array_is_refused(folder, refusal):
    write_table(folder, [{**row, "steps": 9 if k == 3 else 2} for k, row in enumerate(rows())])
    text = with_rows(folder, numpy.zeros((30, 4, 2)), "    lengths: steps\n")
    assert "samples.csv, line 5: column 'steps' holds 9" in refusal(text)


def test_a_file_of_rows_that_is_cut_short_is_refused(folder, refusal):
    text = with_rows(folder, numpy.zeros((30, 300)))
    cut(folder / "values.npy")
    assert "audio file values.npy is cut short or damaged" in refusal(text)
    boundless(folder / "values.npy")
    assert "audio file values.npy is cut short or damaged" in refusal()
    pickled(folder / "values.npy")
    assert "holds Python objects" in refusal()
    (folder / "values.npy").unlink()
    assert "audio file values.npy is missing" in refusal()
    (folder / "values.npy").write_text("<!doctype html>")
    assert "audio file values.npy is an HTML page, not data" in refusal()


def test_a_wrong_npz_file_is_refused(folder, refusal):
    numpy.savez_compressed(folder / "v.npz", first=numpy.zeros((30, 900)), second=numpy.zeros((30, 2)))
    assert "audio file v.npz holds first, second: name one with 'member'" in refusal(with_rows(folder, name="v.npz"))
    assert "has no member 'frist': did you mean 'first'?" in refusal(with_rows(folder, lines="    member: frist\n", name="v.npz"))
    content = bytearray((folder / "v.npz").read_bytes())
    content[200] ^= 255
    (folder / "v.npz").write_bytes(content)
    assert "audio file v.npz is cut short or damaged" in refusal(with_rows(folder, lines="    member: first\n", name="v.npz"))
    cut(folder / "v.npz")
    assert "audio file v.npz is cut short or damaged" in refusal()


def test_a_wrong_parquet_file_is_refused(folder, refusal):
    import pyarrow.parquet

    def write(**columns):
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / "v.parquet")

    text = with_rows(folder, lines="    columns: [a, b]\n", name="v.parquet")
    write(a=numpy.zeros(29), b=numpy.zeros(29))
    assert "has 29 rows and table samples.csv has 30" in refusal(text)
    write(a=numpy.zeros(30), c=numpy.zeros(30))
    assert "has no column 'b': " in refusal()
    write(a=numpy.zeros(30), b=["x"] * 30)
    assert "column 'b' of v.parquet is of type string: numbers are needed" in refusal()
    write(a=[None, *range(29)], b=numpy.zeros(30))
    assert "row 1 of audio file v.parquet (samples.csv, line 2) holds nan at [0]" in refusal()
    write(id=[f"c{k:02}" for k in range(29)] + ["c03"], a=numpy.zeros(30), b=numpy.zeros(30))
    assert "v.parquet, row 30: id 'c03' stands there more than once" in refusal()
    write(id=[f"c{k:02}" for k in range(29)], a=numpy.zeros(29), b=numpy.zeros(29))
    assert "has no row for the sample of samples.csv, line 31" in refusal()
    cut(folder / "v.parquet")
    assert "audio file v.parquet is cut short or damaged" in refusal()
    assert "name the columns" in refusal(with_rows(folder, name="v.parquet"))


def test_a_mended_file_is_read_again_and_the_rest_is_kept(folder):
    cut(folder / "audio" / "c07.npy")
    own = Own(str(folder / "my.yaml"))
    with pytest.raises(InputError):
        own.load()
    numpy.save(folder / "audio" / "c07.npy", track(7))
    read, part = [], own.parts[0]
    before = part.read
    part.read = lambda row: read.append(row) or before(row)
    assert len(own.load().train) == 18
    assert read == [7]
