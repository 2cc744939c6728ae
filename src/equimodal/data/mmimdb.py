"""`mmimdb`: the genres of movies from plot and poster, as the MILES paper uses MM-IMDb."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from equimodal.data.base import Splits
from equimodal.data.decode import AsLong, Standardise
from equimodal.data.mmimdb_files import GENRES, find
from equimodal.data.preparation import Plan, Prepared, PreparedDataset, Stored
from equimodal.data.reading.images import fitted
from equimodal.data.reading.originals import locate
from equimodal.data.tokens import WordPieces, joined
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

__all__ = ["MMIMDb"]

SIZES = {"train": 15_552, "val": 2608, "test": 7799}
SIDE = 224
# Of ImageNet's pictures, as every ResNet that was trained on them takes them.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class MMIMDb(PreparedDataset):
    """MM-IMDb: 25,959 movies with their plot, their poster and those of 23 genres that they belong to.

    As in the paper: plots for a pre-trained BERT base, posters for a ResNet-50, the authors' own split of 15,552, 2608 and 7799 movies.
    Either published form is read: the folder ``dataset`` of JSON and JPEG files with ``split.json``, or ``multimodal_imdb.hdf5`` with
    ``metadata.npy``; where a folder holds both, the first. As in the authors' preparation, the longest of a movie's plots is taken, and
    genres other than the 23 are ignored.

    Ours, where the paper is silent: plots are cut to 256 word pieces with ``[CLS]`` and ``[SEP]``; posters keep their proportions,
    are resized until they cover 224 × 224 and lose what stands over at both ends, and are standardised with ImageNet's mean and standard
    deviation; genres are compared by weighted F1 at a probability of 0.5 (of the four averages that are reported, the one for a single
    figure). A movie without a poster, or without a plot, lacks that modality. Inputs are ``text``: ``input_ids`` and
    ``attention_mask``, each ``[samples, length]``, and ``image`` ``[samples, 3, 224, 224]``; targets ``[samples, 23]``.

    :param vocabulary: the file of word pieces in the folder of originals, one per line: ``vocab.txt`` of the BERT model that is trained.
    :param length: word pieces kept of a plot, at most 512 for BERT.
    :param lower_case: whether the vocabulary is of lower-case words, as that of ``bert-base-uncased``.
    :raises InputError: for an option of the wrong type or out of range.
    """

    name = "mmimdb"
    summary = "MM-IMDb: plots and posters of movies, 23 genres, as in the MILES paper"
    licence = "none stated; plots and posters remain with their owners"
    citation = "Arevalo, Solorio, Montes-y-Gómez and González, Gated multimodal units for information fusion, ICLR workshop 2017"
    modalities = ("text", "image")
    num_outputs = len(GENRES)
    task = "multilabel"
    metric = "weighted_f1"
    encoders: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "text": {"name": "transformers", "model": "bert-base-uncased"},
        "image": {"name": "resnet", "depth": 50, "in_channels": 3},
    }
    class_names = GENRES
    obtain = (
        "unpack mmimdb.tar.gz of https://archive.org/details/mmimdb, or get multimodal_imdb.hdf5 and metadata.npy, and put vocab.txt of"
        " bert-base-uncased beside"
    )

    def __init__(self, vocabulary: str = "vocab.txt", length: int = 256, lower_case: bool = True) -> None:
        if not isinstance(vocabulary, str) or not vocabulary or Path(vocabulary).is_absolute() or ".." in Path(vocabulary).parts:
            raise InputError(
                f"{self.name}: vocabulary={vocabulary!r} is no file in the folder of originals: put it there and give its name"
            )
        if not isinstance(length, int) or isinstance(length, bool) or not 3 <= length <= 512:
            raise InputError(f"{self.name}: length={length!r} word pieces are not possible: choose a whole number from 3 to 512")
        if not isinstance(lower_case, bool):
            raise InputError(f"{self.name}: lower_case={lower_case!r}: choose true or false")
        self.vocabulary = vocabulary
        self.length = length
        self.lower_case = lower_case
        self._pieces: list[str] | None = None

    def originals(self, folder: Path) -> list[Path]:
        """Return the vocabulary, and the files of the form that is there."""
        return [*find(folder).originals(folder), self._vocabulary_file(folder)]

    def plan(self, folder: Path) -> Plan:
        """Read splits, genres and plots and check them."""
        numpy = require("numpy", extra="data")
        vocabulary = self._vocabulary_file(folder)
        pieces = WordPieces(vocabulary, self.length, lower_case=self.lower_case)
        movies = find(folder)(folder)

        def read(number: int) -> dict[str, NDArray[Any] | None]:
            text, poster = movies.text(number), movies.poster(number)
            ids, mask = (None, None) if text is None else pieces(text)
            image = None if poster is None else fitted(poster, (SIDE, SIDE), "cover")
            return {"text.input_ids": ids, "text.attention_mask": mask, "image": image}

        counts = {part: movies.parts.count(part) for part in SIZES}
        notes = list(movies.notes)
        if counts != SIZES:
            here = ", ".join(f"{counts[part]:,} of {size:,} {part}" for part, size in SIZES.items())
            notes.append(f"{len(movies.ids):,} of {sum(SIZES.values()):,} movies, each in the split that its authors gave it: {here}")
        return Plan(
            ids=movies.ids,
            arrays={
                "text.input_ids": Stored((self.length,), "int32", optional=True),
                "text.attention_mask": Stored((self.length,), "uint8", optional=True),
                "image": Stored((3, SIDE, SIDE), "uint8", optional=True),
            },
            read=read,
            columns={"target": movies.labels, "split": numpy.array(movies.parts, dtype=str)},
            facts={"class_names": list(GENRES), "vocabulary": pieces.vocabulary},
            notes=notes,
            files=lambda number: [vocabulary, *movies.files(number)],
        )

    def splits(self, prepared: Prepared) -> Splits:
        """Take the authors' splits."""
        numpy = require("numpy", extra="data")
        self._pieces = prepared.facts["vocabulary"]
        mean, std = (255 * torch.tensor(values).reshape(3, 1, 1) for values in (_MEAN, _STD))
        inputs = {"text": {"input_ids": "text.input_ids", "attention_mask": "text.attention_mask"}, "image": "image"}
        decode: dict[str, Callable[[Any], Any]] = {"text": AsLong(), "image": Standardise(mean, std)}
        rows = {part: numpy.flatnonzero(prepared.columns["split"] == part) for part in SIZES}
        return Splits(*(prepared.tensor_set(rows[part], inputs, decode=decode) for part in SIZES))

    def shown(self, modality: str, value: Any) -> Any:
        """Return a plot as a text to read, once the data set has been loaded; anything else as it is."""
        if modality != "text" or self._pieces is None:
            return value
        return joined(self._pieces[number] for number in value["input_ids"].tolist())

    def _vocabulary_file(self, folder: Path) -> Path:
        return locate(folder, [self.vocabulary], "the vocabulary of word pieces (vocab.txt of bert-base-uncased, or --dataset.vocabulary)")
