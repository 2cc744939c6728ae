"""Small copies of MM-IMDb in both of its forms."""

import json

import h5py
import numpy
from PIL import Image

from equimodal.data.mmimdb_files import GENRES

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "movie", "with", "##out", "a", "plot", "and", "n", ",", ".", *"0123456789"]
SIZES = {"train": 30, "dev": 6, "test": 14}
MEANS = numpy.array([103.939, 116.779, 123.68], "float32").reshape(3, 1, 1)  # blue, green, red


def movies():
    """Number, split and genres of each movie; numbers in the order of the splits are in no other order."""
    numbers = numpy.random.default_rng(0).permutation(50) + 100_000
    parts = [part for part, size in SIZES.items() for _ in range(size)]
    return [
        (f"{number:07d}", part, [GENRES[row % 23], GENRES[(row + 5) % 23]])
        for row, (number, part) in enumerate(zip(numbers, parts, strict=True))
    ]


def write_vocabulary(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")


def write_poster(path, mode="RGB", size=(300, 450), color=(200, 100, 50)):
    """Write a JPEG poster: one colour above, black below."""
    image = Image.new("RGB", size, color)
    image.paste((0, 0, 0), (0, size[1] // 2, size[0], size[1]))
    image.convert(mode).save(path, "JPEG", quality=95)


def write_folder(folder):
    """Write ``dataset/*.json`` and ``*.jpeg`` as IMDbPY gave them, and ``split.json``."""
    place = folder / "dataset"
    place.mkdir(parents=True)
    lists = {part: [] for part in ("test", "train", "dev")}
    for row, (movie, part, genres) in enumerate(movies()):
        lists[part].append(movie)
        plots = ["The movie.::anonymous", f"The movie with a plot, {movie}."]
        facts = {
            "title": f"Movie {row}",
            "year": 1999,
            "genres": genres,
            "plot": plots[:: 1 - 2 * (row % 2)],
            "kind": "movie",
            "cast": [{}],
        }
        (place / f"{movie}.json").write_text(json.dumps(facts, indent=4))
        write_poster(place / f"{movie}.jpeg")
    (folder / "split.json").write_text(json.dumps(lists))
    write_vocabulary(folder)


def poster_of(row):
    """A poster ``[256, 160, 3]``, red, green and blue."""
    pixels = numpy.zeros((256, 160, 3), "uint8")
    pixels[..., 0] = 40 + 4 * row
    pixels[..., 1] = numpy.arange(160)
    pixels[..., 2] = numpy.arange(256)[:, None]
    return pixels


WORDS = ["_UNK_", "the", "movie", ",", "N", "with", "a", "plot"]


def write_hdf5(folder, names=GENRES, sizes=None, dtype="int32"):
    """Write ``multimodal_imdb.hdf5`` in the layout of Fuel, and ``metadata.npy``."""
    write_vocabulary(folder)
    rows = movies()
    stops = numpy.cumsum([0, *(sizes or SIZES).values()]).tolist()
    lookup = numpy.ones((7, 300), "float32")
    facts = {
        "ix_to_word": dict(enumerate(WORDS)),
        "word_to_ix": {word: k for k, word in enumerate(WORDS)},
        "vocab_size": 8,
        "lookup": lookup,
    }
    numpy.save(folder / "metadata.npy", facts)
    with h5py.File(folder / "multimodal_imdb.hdf5", "w") as file:
        file.create_dataset("features", (50, 300), dtype="float32")
        file.create_dataset("vgg_features", (50, 4096), dtype="float32")
        images = file.create_dataset("images", (50, 3, 256, 160), dtype=dtype)
        for row in range(50):
            images[row] = (poster_of(row).astype("float32")[..., ::-1].transpose(2, 0, 1) - MEANS)[None]
        sequences = file.create_dataset("sequences", (50,), dtype=h5py.vlen_dtype(numpy.dtype("int32")))
        for row in range(50):
            sequences[row] = numpy.array([1, 2, 3, 1, 7, 4, 0][: 1 + row % 7], "int32")
        genres = file.create_dataset("genres", (50, 23), dtype="int32")
        genres[...] = numpy.array([[name in has for name in names] for _, _, has in rows], "int32")
        genres.attrs["target_names"] = json.dumps(list(names))
        file.create_dataset("imdb_ids", (50,), dtype="S7")[...] = numpy.array([movie for movie, _, _ in rows], "S7")
        genres.dims[0].label, genres.dims[1].label = "batch", "classes"
        sources = ("features", "genres", "imdb_ids", "images", "sequences", "vgg_features")
        kinds = [("split", "S5"), ("source", "S12"), ("start", "int64"), ("stop", "int64"), ("indices", h5py.ref_dtype)]
        table = numpy.empty(18, dtype=[*kinds, ("available", bool), ("comment", "S1")])
        places = [(part, source, stops[k], stops[k + 1]) for k, part in enumerate(("train", "dev", "test")) for source in sources]
        for line, (part, source, start, stop) in enumerate(places):
            table[line] = (part.encode(), source.encode(), start, stop, h5py.Reference(), True, b".")
        file.attrs["split"] = table
