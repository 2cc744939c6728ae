"""`luma`: spoken words and pictures of the same 22 classes, from LUMA and CIFAR, as the MILES paper uses them."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import functional

from equimodal.data import cifar
from equimodal.data._options import check_seed
from equimodal.data.audio import centred, log_mel, read_sound, resampled
from equimodal.data.base import Splits
from equimodal.data.decode import Standardise
from equimodal.data.preparation import Plan, Prepared, PreparedDataset, Stored
from equimodal.data.reading.originals import locate, read_bytes
from equimodal.data.reading.pickles import read_pickle
from equimodal.data.splitting import by_hash, check_unique, class_numbers
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["LUMA", "Enlarged"]

WHAT = "LUMA"
# All fifty, in the order of their numbers in LUMA.
WORDS = (
    *("man", "boy", "house", "woman", "girl", "table", "road", "horse", "dog", "ship", "bird", "mountain", "bed", "train", "bridge"),
    *("fish", "cloud", "chair", "cat", "baby", "castle", "forest", "television", "bear", "camel", "sea", "fox", "plain", "bus", "snake"),
    *("lamp", "clock", "lion", "tank", "palm", "rabbit", "pine", "cattle", "oak", "mouse", "frog", "ray", "bicycle", "truck"),
    *("elephant", "roses", "wolf", "telephone", "bee", "whale"),
)
# What CIFAR calls otherwise.
RENAMED = {
    "aquarium_fish": "fish",
    "pickup_truck": "truck",
    "oak_tree": "oak",
    "rose": "roses",
    "pine_tree": "pine",
    "palm_tree": "palm",
}
CLASSES, PER_CLASS = 22, 1500
SIZES = {"train": 25_000, "val": 4000, "test": 4000}
SIDE, BANDS, FRAMES = 96, 96, 96
RATE, FRAME, HOP, FFT = 16_000, 400, 160, 1024
SAMPLES = FRAME + (FRAMES - 1) * HOP

_ROOTS = ("", "data/", "LUMA/")
_LIST = "datalist.csv"
_GENERATED = "edm_images.pickle"


@dataclass(frozen=True)
class _Chosen:
    """The pairs.

    :param classes: the names of the classes.
    :param labels: the class of each pair.
    :param recordings: a path for each, relative to the folder ``audio``.
    :param pictures: an id for each, such as ``"cifar-100/train/17"``.
    :param available: how many pairs the originals allow in each class.
    """

    classes: list[str]
    labels: list[str]
    recordings: list[str]
    pictures: list[str]
    available: dict[str, int]


class LUMA(PreparedDataset):
    """LUMA's recordings of spoken words, each with a picture of what the word means: 22 classes, 1500 pairs of each.

    As in the paper: of LUMA's fifty classes the 22 with the most samples, 1500 of each; 25,000, 4000 and 4000 pairs; pictures from
    CIFAR-10, CIFAR-100 and LUMA's generated ones, enlarged to 96 × 96 × 3; a mel spectrogram with 96 bands, 96 × 96 × 1. Word and
    picture are paired by class: given the class, they are independent.

    Ours, where the paper is silent: classes are ranked by the pairs that their recordings and pictures allow, at most 1500, then by
    recordings; pictures are drawn from all files alike, CIFAR's test files included; which are drawn, and what is paired with what, follows
    a hash of ``pairing_seed`` and their names, which split a pair is in one of ``split_seed`` and its name, without balancing classes.
    The spectrogram is the logarithm of the power in mel bands from 20 Hz to 8 kHz, in Hamming frames of 25 ms every 10 ms, of the middle
    0.975 s at 16 kHz, padded with silence where the word is shorter (LUMA's own baselines take the power of 128 bands without a
    logarithm). Both are standardised with mean and standard deviation of each
    channel over the training pairs; pictures are enlarged bilinearly, batch by batch. Inputs are ``audio`` ``[samples, 1, 96, 96]``
    (bands from low to high, then time) and ``image`` ``[samples, 3, 96, 96]``.

    LUMA does not say who speaks: the same voice may be heard in several splits.

    :param pairing_seed: decides which recordings and pictures are drawn and which are paired.
    :param split_seed: decides which pairs are in which split.
    :raises InputError: for a seed that is no whole number.
    """

    name = "luma"
    summary = "LUMA: spoken words with CIFAR's pictures of the same class, 22 classes, as in the MILES paper"
    licence = "LUMA: CC BY-SA 4.0 (recordings: CC0, CC BY 4.0, CC BY-SA 4.0; generated pictures: Apache 2.0); CIFAR: none stated"
    citation = (
        "Bezirganyan, Sellami, Berti-Équille and Fournier, LUMA: A benchmark dataset for learning from uncertain and multimodal data, "
        "SIGIR 2025; Krizhevsky, Learning multiple layers of features from tiny images, 2009"
    )
    modalities = ("audio", "image")
    num_outputs = CLASSES
    encoders: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "audio": {"name": "resnet", "depth": 6, "in_channels": 1},
        "image": {"name": "resnet", "depth": 6, "in_channels": 3},
    }
    selecting = ("split_seed",)
    obtain = (
        "clone https://huggingface.co/datasets/bezirganyan/LUMA with Git LFS, and unpack cifar-10-python.tar.gz and"
        " cifar-100-python.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html beside its folder audio"
    )

    def __init__(self, pairing_seed: int = 20240501, split_seed: int = 20240501) -> None:
        for name, seed in {"pairing_seed": pairing_seed, "split_seed": split_seed}.items():
            check_seed(self.name, name, seed)
        self.pairing_seed = pairing_seed
        self.split_seed = split_seed
        self._known: tuple[object, _Chosen] | None = None

    def originals(self, folder: Path) -> list[Path]:
        """Return the lists, the files with pictures, and the recordings that are drawn."""
        files = _Files(folder)
        chosen = self._chosen(files)
        return files.shared() + [path for path in map(files.recording, chosen.recordings) if path.exists()]

    def plan(self, folder: Path) -> Plan:
        """Count the classes, draw the pairs and take their pictures."""
        files = _Files(folder)
        chosen = self._chosen(files)
        pixels = _taken(files, chosen.pictures)
        shared = files.shared()

        def read(number: int) -> dict[str, NDArray[Any] | None]:
            return {"audio": _spectrogram(files.recording(chosen.recordings[number])), "image": pixels[number]}

        pairs = len(chosen.labels)
        notes = []
        if pairs != CLASSES * PER_CLASS:
            least = min(chosen.classes, key=lambda name: chosen.available[name])
            notes.append(
                f"{pairs // CLASSES:,} pairs of each of the {CLASSES} classes instead of {PER_CLASS:,}, as many as there are of {least!r}:"
                " the splits are smaller in the same proportion"
            )
        return Plan(
            ids=[f"{sound} + {picture}" for sound, picture in zip(chosen.recordings, chosen.pictures, strict=True)],
            arrays={
                "audio": Stored((1, BANDS, FRAMES), "float16", moments=True),
                "image": Stored((3, cifar.SIDE, cifar.SIDE), "uint8", moments=True),
            },
            read=read,
            columns={"target": class_numbers(chosen.labels, chosen.classes, str(files.list))},
            facts={"class_names": chosen.classes},
            notes=notes,
            files=lambda number: [files.recording(chosen.recordings[number]), *shared],
        )

    def splits(self, prepared: Prepared) -> Splits:
        """Draw the pairs of each split and standardise with the training pairs."""
        self.class_names = tuple(prepared.facts["class_names"])
        rows = self.rows(prepared)
        decode: dict[str, Callable[[Any], Any]] = {
            "audio": Standardise(*prepared.moments("audio", rows["train"])),
            "image": Enlarged(Standardise(*prepared.moments("image", rows["train"])), SIDE),
        }
        inputs = {"audio": "audio", "image": "image"}
        return Splits(*(prepared.tensor_set(rows[name], inputs, decode=decode) for name in SIZES))

    def rows(self, prepared: Prepared) -> dict[str, NDArray[Any]]:
        """Return the rows of each split in the prepared set, ascending; pairs that were left out are still among them."""
        return by_hash(prepared.ids, SIZES, self.split_seed)

    def shown(self, modality: str, value: Any) -> Any:
        """Return a spectrogram with its low bands at the bottom, where a reader looks for them, and a picture as it is."""
        return value.flip(-2) if modality == "audio" else value

    def _chosen(self, files: _Files) -> _Chosen:
        """Draw the pairs, once for the same lists and pictures."""
        known = [(path, state.st_size, state.st_mtime_ns) for path in files.shared() if path.exists() and (state := path.stat())]
        if self._known is None or self._known[0] != known:
            self._known = known, _draw(files, self.pairing_seed)
        return self._known[1]


class Enlarged:
    """Decode pictures and enlarge them, bilinearly: small ones are stored and moved, large ones seen.

    >>> Enlarged(Standardise(0.0, 1.0), 96)(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape
    torch.Size([2, 3, 96, 96])

    :param decode: what is done first.
    :param side: the height and width wanted.
    """

    def __init__(self, decode: Standardise, side: int) -> None:
        self.decode = decode
        self.side = side

    def __call__(self, value: Tensor) -> Tensor:
        """Return ``[batch, channels, side, side]``.

        :param value: ``[batch, channels, height, width]``, as it is stored.
        """
        pictures: Tensor = self.decode(value)
        single = pictures.dim() == 3
        enlarged = functional.interpolate(
            pictures[None] if single else pictures, size=(self.side, self.side), mode="bilinear", align_corners=False
        )
        return enlarged[0] if single else enlarged

    def __repr__(self) -> str:
        return f"Enlarged({self.decode!r}, {self.side})"


class _Files:
    """Where the originals lie."""

    def __init__(self, folder: Path) -> None:
        self.list = locate(folder, [f"{root}audio/{_LIST}" for root in _ROOTS], f"the list of recordings of {WHAT}")
        self.generated = locate(folder, [f"{root}{_GENERATED}" for root in _ROOTS], f"the generated pictures of {WHAT}")
        self.cifar = [cifar.find(folder, classes, _ROOTS) for classes in (10, 100)]

    def shared(self) -> list[Path]:
        """Return the files that more than one pair is read from."""
        return [self.list, self.generated, *(path for found in self.cifar for path in found.originals())]

    def recording(self, name: str) -> Path:
        return self.list.parent / name

    def recordings(self) -> dict[str, list[str]]:
        """Return the recordings of each class, as the list names them."""
        text = read_bytes(self.list, "list of recordings").decode("utf-8-sig", "replace")
        table = csv.DictReader(io.StringIO(text, newline=""))
        lacking = {"path", "label"} - set(table.fieldnames or ())
        if lacking:
            raise InputError(f"{self.list} has no column {' and no column '.join(sorted(lacking))}: it is not LUMA's list of recordings")
        found: dict[str, list[str]] = {name: [] for name in WORDS}
        rows = [((row["path"] or "").strip(), (row["label"] or "").strip()) for row in table]
        class_numbers([label for _, label in rows], WORDS, str(self.list))
        check_unique([path for path, _ in rows], str(self.list))
        for path, label in rows:
            place = PurePosixPath(path)
            if not path or place.is_absolute() or ".." in place.parts:
                raise InputError(f"{self.list} names the recording {path!r}: a path below {self.list.parent} is needed")
            found[label].append(path)
        return found

    def pictures(self) -> Iterator[cifar.Pictures]:
        """Return all pictures, file by file, with the names that LUMA gives to the classes."""
        for found in self.cifar:
            for part in found.pictures():
                yield cifar.Pictures(part.name, part.pixels, [RENAMED.get(label, label) for label in part.labels])
        yield _generated(self.generated)


def _generated(path: Path) -> cifar.Pictures:
    """Read LUMA's generated pictures: a table with the columns ``image`` (32 × 32 × 3 bytes each) and ``label``."""
    numpy = require("numpy", extra="data")
    table = read_pickle(path, "generated pictures")
    images, labels = (table.get(name) if isinstance(table, dict) else None for name in ("image", "label"))
    if images is None or labels is None:
        raise InputError(f"{path} is no table with the columns image and label: it is not LUMA's")
    shape = (cifar.SIDE, cifar.SIDE, 3)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        if not isinstance(image, numpy.ndarray) or image.dtype != "uint8" or image.shape != shape or not isinstance(label, str):
            raise InputError(f"{path}: row {row} holds no picture of 32 × 32 × 3 bytes with a label: it is not LUMA's")
    pixels = numpy.stack(list(images)).transpose(0, 3, 1, 2) if len(images) else numpy.zeros((0, 3, cifar.SIDE, cifar.SIDE), "uint8")
    return cifar.Pictures("edm", pixels, [RENAMED.get(label, label) for label in labels])


def _draw(files: _Files, seed: int) -> _Chosen:
    """Choose the classes, and as many recordings and pictures of each."""
    recordings = files.recordings()
    pictures: dict[str, list[str]] = {name: [] for name in WORDS}
    for part in files.pictures():
        for row, label in enumerate(part.labels):
            if label in pictures:  # CIFAR has a hundred others
                pictures[label].append(f"{part.name}/{row}")
    available = {name: min(len(recordings[name]), len(pictures[name])) for name in WORDS}
    ranked = sorted(WORDS, key=lambda name: (-min(available[name], PER_CLASS), -len(recordings[name]), WORDS.index(name)))
    chosen = sorted(ranked[:CLASSES], key=WORDS.index)
    if lacking := [name for name in chosen if not available[name]]:
        raise InputError(
            f"{files.list.parent.parent} has recordings and pictures of {CLASSES - len(lacking)} classes: {CLASSES} are needed;"
            f" {lacking[0]!r} has {len(recordings[lacking[0]])} recordings and {len(pictures[lacking[0]])} pictures"
        )
    each = min(PER_CLASS, *(available[name] for name in chosen))
    return _Chosen(
        chosen,
        [name for name in chosen for _ in range(each)],
        [path for name in chosen for path in _shuffled(recordings[name], (seed, "audio"))[:each]],
        [picture for name in chosen for picture in _shuffled(pictures[name], (seed, "image"))[:each]],
        available,
    )


def _shuffled(names: Sequence[str], seed: object) -> list[str]:
    """Return names in an order that depends on the seed and on each name alone."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed!r} {name}".encode()).digest())


def _taken(files: _Files, wanted: Sequence[str]) -> NDArray[Any]:
    """Return the pictures that are wanted, in that order."""
    numpy = require("numpy", extra="data")
    taken: NDArray[Any] = numpy.empty((len(wanted), 3, cifar.SIDE, cifar.SIDE), dtype="uint8")
    places = {name: place for place, name in enumerate(wanted)}
    for part in files.pictures():
        for row in range(len(part.labels)):
            if (place := places.get(f"{part.name}/{row}")) is not None:
                taken[place] = part.pixels[row]
    return taken


def _spectrogram(path: Path) -> NDArray[Any]:
    """Return the log-mel spectrogram of the middle of a recording: ``[1, bands, frames]``, float32."""
    sound = torch.from_numpy(resampled(*read_sound(path), RATE))
    power = log_mel(centred(sound, SAMPLES), RATE, bands=BANDS, frame=FRAME, hop=HOP, fft_length=FFT, pre_emphasis=0)
    spectrogram: NDArray[Any] = power.T[None].float().contiguous().numpy()
    return spectrogram
