"""The two forms in which MM-IMDb is published: one HDF5 file, and a folder of JSON and JPEG files with a list of splits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from equimodal.data.reading.images import read_image
from equimodal.data.reading.originals import Damaged, listed, locate, read_bytes, unusable
from equimodal.data.reading.pickles import read_npy_object
from equimodal.data.splitting import class_numbers
from equimodal.errors import InputError, first_line, require

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["GENRES", "Folder", "Hdf5", "Movies", "find"]

# Those that at least 338 movies have, the most frequent first: the order in which the authors number them.
GENRES = (
    *("Drama", "Comedy", "Romance", "Thriller", "Crime", "Action", "Adventure", "Horror", "Documentary", "Mystery", "Sci-Fi", "Fantasy"),
    *("Family", "Biography", "War", "History", "Music", "Animation", "Musical", "Western", "Sport", "Short", "Film-Noir"),
)
PARTS = {"train": "train", "dev": "val", "test": "test"}

_HDF5 = "multimodal_imdb.hdf5"
_METADATA = "metadata.npy"
_SPLIT = "split.json"
_ROOTS = ("", "mmimdb/")
# What the authors subtracted from blue, green and red, the order in which their network took them.
_MEANS = (103.939, 116.779, 123.68)


class Movies:
    """Movies in the order of their splits, with what is known of each.

    :ivar ids: each movie's number on IMDb, seven digits or more.
    :ivar parts: the split of each: ``"train"``, ``"val"`` or ``"test"``.
    :ivar labels: uint8 ``[movies, 23]``.
    :ivar notes: sentences for whoever prepares the data.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.parts: list[str] = []
        self.labels: NDArray[Any]
        self.notes: list[str] = []

    def text(self, number: int) -> str | None:
        """Return a movie's plot, or None where it has none.

        :raises Damaged: when it cannot be read.
        """
        raise NotImplementedError

    def poster(self, number: int) -> NDArray[Any] | None:
        """Return a movie's poster ``[3, height, width]``, red, green and blue from 0 to 255, or None where it has none.

        :raises Damaged: when it cannot be read.
        """
        raise NotImplementedError

    def files(self, number: int) -> list[Path]:
        """Return the originals of one movie."""
        raise NotImplementedError


def find(folder: Path) -> type[Folder | Hdf5]:
    """Return the form that a folder holds: JSON and JPEG files, which say more, else the HDF5 file.

    :raises InputError: when it holds neither.
    """
    names = [*(f"{root}{_SPLIT}" for root in _ROOTS), *(f"{root}{_HDF5}" for root in _ROOTS)]
    found = locate(folder, names, "MM-IMDb")
    return Hdf5 if found.name == _HDF5 else Folder


class Folder(Movies):
    """``split.json`` beside a folder ``dataset`` with ``0120737.json`` and ``0120737.jpeg`` for each movie.

    A movie whose JSON file is missing or damaged is a damaged sample: reading its plot says what is wrong.

    :param folder: that the user named.
    :raises InputError: for a list of splits that is damaged, names a movie twice, or a folder without any of its movies.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        numpy = require("numpy", extra="data")
        self._split, self._place = _places(folder)
        named = _split_lists(self._split)
        self._movies: list[tuple[str | None, list[str]] | Damaged] = []
        without = []
        for movie, part in named:
            found = self._read(movie)
            if isinstance(found, tuple) and not set(found[1]) & set(GENRES):
                without.append(movie)
                continue
            self.ids.append(movie)
            self.parts.append(part)
            self._movies.append(found)
        if all(isinstance(found, Damaged) for found in self._movies):
            raise InputError(f"{self._place} holds no movie that {self._split} names: name the folder with the whole of MM-IMDb")
        genres = [set() if isinstance(found, Damaged) else set(found[1]) for found in self._movies]
        self.labels = numpy.array([[genre in has for genre in GENRES] for has in genres], dtype="uint8").reshape(-1, len(GENRES))
        if without:
            self.notes.append(f"{_movies(len(without))} with none of the {len(GENRES)} genres left out, the first {without[0]!r}")
        known = {movie for movie, _ in named}
        strangers = [path.stem for path in listed(self._place, "*.json") if path.stem not in known]
        if strangers:
            self.notes.append(f"{_movies(len(strangers))} in no split left out, the first {strangers[0]!r}")

    @staticmethod
    def originals(folder: Path) -> list[Path]:
        """Return the list of splits, and the files of the movies in it that are there."""
        split, place = _places(folder)
        there = {path.name: path for path in listed(place, "*")}
        wanted = (f"{movie}{kind}" for movie, _ in _split_lists(split) for kind in (".json", ".jpeg"))
        return [split, *(there[name] for name in wanted if name in there)]

    def _read(self, movie: str) -> tuple[str | None, list[str]] | Damaged:
        """Return plot and genres of a movie."""
        path = self._place / f"{movie}.json"
        try:
            facts = json.loads(read_bytes(path, "movie"))
        except Damaged as error:
            return Damaged(f"{error}, and {self._split} names it") if not path.exists() else error
        except (ValueError, RecursionError) as error:
            return unusable(path, "movie", first_line(error))
        facts = facts if isinstance(facts, dict) else {"genres": None}
        genres, plots = facts.get("genres", []), facts.get("plot") or []
        plots = [plots] if isinstance(plots, str) else plots
        if not all(isinstance(value, list) and all(isinstance(part, str) for part in value) for value in (genres, plots)):
            return unusable(path, "movie", "its genres and plots are no lists of texts")
        return max((plot.strip() for plot in plots), key=len, default="") or None, genres

    def text(self, number: int) -> str | None:
        """Return the longest of a movie's plots."""
        found = self._movies[number]
        if isinstance(found, Damaged):
            raise found
        return found[0]

    def poster(self, number: int) -> NDArray[Any] | None:
        """Return a movie's poster in its own size."""
        path = self._place / f"{self.ids[number]}.jpeg"
        return read_image(path, what="poster") if path.exists() else None

    def files(self, number: int) -> list[Path]:
        """Return the originals of one movie."""
        return [self._split, *(self._place / f"{self.ids[number]}{kind}" for kind in (".json", ".jpeg"))]


def _places(folder: Path) -> tuple[Path, Path]:
    split = locate(folder, [f"{root}{_SPLIT}" for root in _ROOTS], "MM-IMDb's list of splits")
    return split, locate(split.parent, ["dataset"], "MM-IMDb's folder of movies")


def _split_lists(path: Path) -> list[tuple[str, str]]:
    """Return each movie with its split."""
    try:
        lists = json.loads(read_bytes(path, "list of splits"))
    except Damaged:
        raise
    except (ValueError, RecursionError) as error:
        raise unusable(path, "list of splits", first_line(error)) from None
    if not isinstance(lists, dict) or not all(isinstance(lists.get(part), list) for part in PARTS):
        raise InputError(f"{path} holds no lists {', '.join(PARTS)}: it is not MM-IMDb's")
    found: dict[str, str] = {}
    for part in PARTS:
        for movie in lists[part]:
            if not isinstance(movie, str) or not movie.isalnum():
                raise InputError(f"{path}: {part} names {movie!r:.40}: a movie's number such as '0120737' is needed")
            if movie in found:
                where = f"twice in {part}" if found[movie] == part else f"in {found[movie]} and in {part}"
                raise InputError(f"{path}: movie {movie!r} stands {where}: each must stand in one part, once")
            found[movie] = part
    return [(movie, PARTS[part]) for movie, part in found.items()]


def _movies(count: int) -> str:
    return f"{count:,} movie{'s' if count != 1 else ''}"


class Hdf5(Movies):
    """``multimodal_imdb.hdf5`` in the layout of Fuel, with ``metadata.npy``, which translates the numbers of words.

    Posters are of 160 × 256 points, cut to that shape by the authors; the means that they subtracted are added again. Plots are as the
    authors left them: lower case, numbers replaced by N, punctuation marks apart.

    :param folder: that the user named.
    :raises InputError: when a file is cut short or not of this layout, or a genre is unknown.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        numpy = require("numpy", extra="data")
        self._path, self._metadata = self.originals(folder)
        vocabulary = read_npy_object(self._metadata, "vocabulary")
        words = vocabulary.get("ix_to_word") if isinstance(vocabulary, Mapping) else None
        if not isinstance(words, Mapping):
            raise InputError(f"{self._metadata} holds no 'ix_to_word': it is not MM-IMDb's")
        self._words = words
        h5py = require("h5py", extra="media")
        try:
            self._file = h5py.File(self._path, "r")
            needed = ("images", "sequences", "genres", "imdb_ids")
            held = {name: self._file[name] for name in needed}
            ids = [movie.decode("ascii", "replace") for movie in held["imdb_ids"][...].tolist()]
            genres = held["genres"][...]
            names = [str(name) for name in json.loads(held["genres"].attrs["target_names"])]
            stretches = _stretches(self._file.attrs["split"])
        # h5py raises what it likes for a file that is damaged or holds something else.
        except Exception as error:
            raise unusable(self._path, "data set", first_line(error)) from None
        if len({len(ids), *(dataset.shape[0] for dataset in held.values())}) > 1 or held["images"].shape[1:2] != (3,) or genres.ndim != 2:
            raise InputError(f"{self._path}: images, sequences, genres and imdb_ids do not belong together: it is not MM-IMDb's")
        columns = class_numbers(names, GENRES, f"{self._path}, target_names")
        if sorted(columns.tolist()) != list(range(len(GENRES))) or genres.shape[1] != len(GENRES) or not numpy.isin(genres, (0, 1)).all():
            raise InputError(f"{self._path}: genres are not the {len(GENRES)} of MM-IMDb, each 0 or 1")
        self._rows: list[int] = []
        for part, row in _members(stretches, len(ids), self._path):
            self._rows.append(row)
            self.ids.append(ids[row])
            self.parts.append(part)
        self.labels = numpy.zeros((len(self._rows), len(GENRES)), dtype="uint8")
        self.labels[:, columns] = genres[self._rows]
        self._images, self._sequences = held["images"], held["sequences"]
        self.notes.append(
            "plots are those of the HDF5 file: lower case, numbers replaced by N, punctuation marks apart;"
            " the folder of JSON files has them as they were written"
        )

    @staticmethod
    def originals(folder: Path) -> list[Path]:
        """Return the file and its vocabulary."""
        path = locate(folder, [f"{root}{_HDF5}" for root in _ROOTS], "MM-IMDb")
        metadata = path.with_name(_METADATA)
        if not metadata.exists():
            raise InputError(f"{path} holds plots as numbers of words, and {metadata} is missing, which translates them: get it too")
        return [path, metadata]

    def text(self, number: int) -> str | None:
        """Return a movie's plot, its words separated by spaces."""
        try:
            numbers = self._sequences[self._rows[number]].tolist()
            words = [str(self._words[word]) for word in numbers]
        except OSError as error:
            raise unusable(self._path, "data set", first_line(error)) from None
        except KeyError as error:
            raise Damaged(
                f"data set {self._path}: the plot of {self.ids[number]!r} has word {error}, which {self._metadata} does not know"
            ) from None
        return " ".join("[UNK]" if word == "_UNK_" else word for word in words) or None

    def poster(self, number: int) -> NDArray[Any] | None:
        """Return a movie's poster, 160 × 256 points."""
        numpy = require("numpy", extra="data")
        try:
            stored = self._images[self._rows[number]]
        except OSError as error:
            raise unusable(self._path, "data set", first_line(error)) from None
        if not numpy.isfinite(stored).all():
            raise Damaged(f"data set {self._path}: the poster of {self.ids[number]!r} holds a value that is NaN or infinite")
        shifted = stored + numpy.array(_MEANS).reshape(3, 1, 1)
        if stored.dtype.kind in "iu":  # whole numbers were made by cutting off what stands behind the point, towards zero
            shifted = numpy.where(stored < 0, numpy.floor(shifted), numpy.ceil(shifted))
        pixels: NDArray[Any] = shifted.round().clip(0, 255).astype("uint8")[::-1]
        return pixels

    def files(self, number: int) -> list[Path]:  # noqa: ARG002
        """Return the originals of one movie, which are those of all."""
        return [self._path, self._metadata]


def _stretches(split: Any) -> list[tuple[str, int, int]]:
    """Return name, first row and end of each split from Fuel's table, which has a line for each split and array."""
    return [
        (line["split"].decode(), int(line["start"]), int(line["stop"]))
        for line in split
        if line["source"] == b"genres" and line["available"]
    ]


def _members(stretches: Iterable[tuple[str, int, int]], total: int, path: Path) -> list[tuple[str, int]]:
    """Return each row with its split, in the order of the splits."""
    found: dict[int, str] = {}
    bounds = {part: (start, stop) for part, start, stop in stretches}
    for part, name in PARTS.items():
        start, stop = bounds.get(part, (0, 0))
        if not 0 <= start < stop <= total:
            raise InputError(f"{path}: split {part!r} has rows {start} to {stop} of {total}: it is not MM-IMDb's")
        for row in range(start, stop):
            if found.setdefault(row, name) != name:
                raise InputError(f"{path}: row {row} is in splits {found[row]} and {name}: each must be in one")
    return [(name, row) for row, name in found.items()]
