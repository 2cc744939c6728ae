"""`smnist`: the written and spoken digits of Khacef and others, as the MILES paper uses them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from equimodal.data._options import check_choice, check_seed, check_sizes
from equimodal.data.base import Splits
from equimodal.data.decode import Scaled
from equimodal.data.preparation import Plan, Prepared, PreparedDataset, Stored
from equimodal.data.reading.images import fitted
from equimodal.data.reading.originals import Damaged, locate, unusable
from equimodal.data.splitting import by_group, by_hash
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["SMNIST"]

WHAT = "the written and spoken digits (Zenodo 3515934)"
PARTS = {"train": 60_000, "test": 10_000}
# The last sixth of the training part, shuffled, is kept for validation, so that no size of one split moves the other.
AVAILABLE = {"train": 50_000, "val": 10_000, "test": 10_000}
SIZES = {"train": 8000, "val": 2000, "test": 2000}
FRAMES, COEFFICIENTS, SIDE = 39, 13, 28


@dataclass(frozen=True)
class _Part:
    """One of the two parts: three files whose rows belong together.

    :param written: ``[pairs, 784]``, memory-mapped.
    :param spoken: ``[pairs, 507]``, memory-mapped.
    :param labels: ``[pairs]``, int64.
    :param paths: of the three files.
    :param scale: what makes the pictures range from 0 to 255.
    """

    written: NDArray[Any]
    spoken: NDArray[Any]
    labels: NDArray[Any]
    paths: tuple[Path, Path, Path]
    scale: float


class SMNIST(PreparedDataset):
    """MNIST's pictures, each with a spoken digit of the same class from Google's Speech Commands: 60,000 and 10,000 pairs.

    As in the paper: both modalities 28 × 28 × 1, 8000 training and 2000 validation pairs from the training part, 2000 test pairs from the
    test part. The sounds are the 39 frames of 13 MFCC of the files (507 numbers, standardised by their authors), resized to 28 × 28.

    Ours, where the paper is silent: which pairs are drawn (by a hash of ``draw_seed`` and the pair's row); pictures range from 0 to 1;
    the sounds are taken as they are, and resized bilinearly, averaging over time where 39 frames become 28. Inputs are ``image`` and
    ``audio``, each ``[samples, 1, 28, 28]``, the sound as time by coefficient.

    The files repeat utterances, 34,801 of them in 60,000 training pairs, so a validation sound is often one that the network was trained
    on. That is the paper's setting (``split="pair"``); ``split="utterance"`` draws training and validation from different utterances.

    :param split: ``"pair"``, at random as in the paper, or ``"utterance"``: no sound of the validation split is in the training split.
    :param train: training pairs, at most 50,000.
    :param val: validation pairs, at most 10,000.
    :param test: test pairs, at most 10,000.
    :param draw_seed: decides which pairs are drawn. A smaller size is a part of a larger one. Under ``"utterance"`` sizes near the
        largest are reduced, all in the same proportion, to what the utterances allow.
    :raises InputError: for an unknown split, a size that is not available, or a seed that is no whole number.
    """

    name = "smnist"
    summary = "MNIST digits paired by class with spoken digits of Google's Speech Commands (39 × 13 MFCC), as in the MILES paper"
    licence = "MNIST: CC BY-SA 3.0; Speech Commands: CC BY 4.0"
    citation = "Khacef, Rodriguez and Miramond, Written and spoken digits database for multimodal learning, Zenodo 3515934, 2019"
    modalities = ("image", "audio")
    num_outputs = 10
    encoders: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "image": {"name": "resnet", "depth": 10, "in_channels": 1},
        "audio": {"name": "resnet", "depth": 10, "in_channels": 1},
    }
    class_names = tuple(str(digit) for digit in range(10))
    selecting = ("split", "train", "val", "test", "draw_seed")
    obtain = "its six .npy files are at https://doi.org/10.5281/zenodo.3515934"
    choices: ClassVar[tuple[str, ...]] = ("pair", "utterance")

    def __init__(
        self,
        split: str = "pair",
        train: int = SIZES["train"],
        val: int = SIZES["val"],
        test: int = SIZES["test"],
        draw_seed: int = 20240501,
    ) -> None:
        check_choice(self.name, "split", split, self.choices)
        check_sizes(self.name, {"train": train, "val": val, "test": test}, AVAILABLE)
        check_seed(self.name, "draw_seed", draw_seed)
        self.split = split
        self.train = train
        self.val = val
        self.test = test
        self.draw_seed = draw_seed

    def originals(self, folder: Path) -> list[Path]:
        """Return the six files: ``data_wr``, ``data_sp`` and ``labels`` of ``train`` and ``test``."""
        return [path for part in PARTS for path in _paths(folder, part)]

    def plan(self, folder: Path) -> Plan:
        """Open the six files and check that their shapes, values and labels fit together."""
        numpy = require("numpy", extra="data")
        parts = {name: _part(folder, name) for name in PARTS}
        places = [(part, row) for name, part in parts.items() for row in range(len(part.labels))]
        ids = [f"{name}/{row:05d}" for name, part in parts.items() for row in range(len(part.labels))]

        def read(number: int) -> dict[str, NDArray[Any] | None]:
            part, row = places[number]
            return {"image": _picture(part, row), "audio": _sound(part, row)}

        utterances = _utterances([part.spoken for part in parts.values()])
        pairs = {name: len(part.labels) for name, part in parts.items()}
        return Plan(
            ids=ids,
            arrays={"image": Stored((1, SIDE, SIDE), "uint8"), "audio": Stored((1, SIDE, SIDE), "float32")},
            read=read,
            columns={
                "target": numpy.concatenate([part.labels for part in parts.values()]),
                "split": numpy.repeat(list(pairs), list(pairs.values())),
                "utterance": utterances,
            },
            facts={"class_names": list(self.class_names)},
            notes=_notes(pairs, utterances),
        )

    def splits(self, prepared: Prepared) -> Splits:
        """Draw the pairs of each split."""
        rows = self.rows(prepared)
        inputs = {"image": "image", "audio": "audio"}
        decode = {"image": Scaled(1 / 255)}
        return Splits(*(prepared.tensor_set(rows[name], inputs, decode=decode) for name in AVAILABLE))

    def rows(self, prepared: Prepared) -> dict[str, NDArray[Any]]:
        """Return the rows of each split in the prepared set, ascending; where it is smaller than the published one, in proportion."""
        numpy = require("numpy", extra="data")
        held = {name: numpy.flatnonzero(prepared.columns["split"] == name) for name in PARTS}
        parts = {"train": AVAILABLE["train"], "val": AVAILABLE["val"]}
        if self.split == "pair":
            drawn = by_hash([prepared.ids[row] for row in held["train"]], parts, (self.draw_seed, "train"))
        else:
            drawn = by_group(
                [f"{utterance}" for utterance in prepared.columns["utterance"][held["train"]]], parts, (self.draw_seed, "train")
            )
        pools = {"train": held["train"][drawn["train"]], "val": held["train"][drawn["val"]], "test": held["test"]}
        wanted = {"train": self.train, "val": self.val, "test": self.test}
        # Utterances are repeated unevenly: a pool of theirs is a little larger or smaller than its share of the pairs.
        share = min(1.0, *(len(pools[name]) / size for name, size in wanted.items()))
        return {name: self._some(prepared, pools[name], max(1, round(size * share)), name) for name, size in wanted.items()}

    def _some(self, prepared: Prepared, pool: NDArray[Any], size: int, name: str) -> NDArray[Any]:
        """Return some rows of a pool, in an order of their own that the size does not change."""
        sizes = {"drawn": size, "left": max(0, len(pool) - size)}
        chosen: NDArray[Any] = pool[by_hash([prepared.ids[row] for row in pool], sizes, (self.draw_seed, name, "drawn"))["drawn"]]
        return chosen


def _paths(folder: Path, part: str) -> tuple[Path, Path, Path]:
    written, spoken, labels = (locate(folder, [f"{name}_{part}.npy"], WHAT) for name in ("data_wr", "data_sp", "labels"))
    return written, spoken, labels


def _part(folder: Path, name: str) -> _Part:
    paths = _paths(folder, name)
    written, spoken, labels = (_opened(path) for path in paths)
    for array, path, width in ((written, paths[0], SIDE * SIDE), (spoken, paths[1], FRAMES * COEFFICIENTS)):
        if array.ndim < 2 or array[0].size != width or array.dtype.kind not in "uif":
            raise InputError(f"{path} holds {array.dtype} of shape {list(array.shape)}: numbers of shape [pairs, {width}] are needed")
        if len(array) != len(labels):
            raise InputError(f"{path} has {len(array)} rows and {paths[2]} has {len(labels)}: rows belong together, get both anew")
    return _Part(
        written.reshape(len(written), -1), spoken.reshape(len(spoken), -1), _labels(labels, paths[2]), paths, _scale(written, paths[0])
    )


def _opened(path: Path) -> NDArray[Any]:
    numpy = require("numpy", extra="data")
    try:
        # As a plain array, whose rows are taken faster; it stays on the disk.
        array: NDArray[Any] = numpy.asarray(numpy.lib.format.open_memmap(path, mode="r"))
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise unusable(path, "array file", error) from None
    if not array.size or not array.ndim:
        raise unusable(path, "array file", "no rows in it")
    return array


def _labels(labels: NDArray[Any], path: Path) -> NDArray[Any]:
    numpy = require("numpy", extra="data")
    flat = numpy.asarray(labels).reshape(len(labels), -1)
    if flat.shape[1] != 1 or flat.dtype.kind not in "uif":
        raise InputError(f"{path} holds {labels.dtype} of shape {list(labels.shape)}: one digit per row is needed")
    wrong = numpy.flatnonzero(~numpy.isin(flat[:, 0], range(10)))
    if len(wrong):
        raise InputError(
            f"{path}: unknown label {flat[wrong[0], 0].item()!r} in row {wrong[0]} ({len(wrong)} such rows): digits are 0 to 9"
        )
    digits: NDArray[Any] = flat[:, 0].astype("int64")
    return digits


def _scale(written: NDArray[Any], path: Path) -> float:
    """Return what makes the pictures range from 0 to 255: copies of the files hold either that range or 0 to 1."""
    numpy = require("numpy", extra="data")
    # In pieces, as the file may be larger than memory; a NaN is some row's matter, not the file's.
    pieces = [written[start : start + 4096] for start in range(0, len(written), 4096)]
    low = float(numpy.fmin.reduce([numpy.fmin.reduce(piece, axis=None) for piece in pieces]))
    high = float(numpy.fmax.reduce([numpy.fmax.reduce(piece, axis=None) for piece in pieces]))
    if low < 0 or high > 255 or high <= 0:
        raise InputError(f"{path} holds values from {low:g} to {high:g}: pictures from 0 to 255, or from 0 to 1, are needed")
    return 255.0 if high <= 1 and written.dtype.kind == "f" else 1.0


def _picture(part: _Part, row: int) -> NDArray[Any]:
    numpy = require("numpy", extra="data")
    values = numpy.asarray(part.written[row], dtype="float64")
    if not numpy.isfinite(values).all():
        raise Damaged(f"{part.paths[0]}: row {row} holds a value that is NaN or infinite")
    picture: NDArray[Any] = (values * part.scale).round().astype("uint8").reshape(1, SIDE, SIDE)
    return picture


def _sound(part: _Part, row: int) -> NDArray[Any]:
    numpy = require("numpy", extra="data")
    values = numpy.asarray(part.spoken[row], dtype="float32").reshape(1, FRAMES, COEFFICIENTS)
    if not numpy.isfinite(values).all():
        raise Damaged(f"{part.paths[1]}: row {row} holds a value that is NaN or infinite")
    return fitted(values, (SIDE, SIDE))


def _utterances(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Return for each pair the number of the first one, of all parts, that has the same sound, number for number."""
    numpy = require("numpy", extra="data")
    first: dict[bytes, int] = {}
    digests = (hashlib.blake2b(numpy.ascontiguousarray(row), digest_size=16).digest() for spoken in parts for row in spoken)
    found: NDArray[Any] = numpy.array([first.setdefault(digest, number) for number, digest in enumerate(digests)], dtype="int64")
    return found


def _notes(pairs: Mapping[str, int], utterances: NDArray[Any]) -> list[str]:
    notes = [
        f"{count:,} of {PARTS[name]:,} {name} pairs: where they do not suffice, all splits are smaller in the same proportion"
        for name, count in pairs.items()
        if count != PARTS[name]
    ]
    training, testing = set(utterances[: pairs["train"]].tolist()), utterances[pairs["train"] :].tolist()
    if heard := sum(utterance in training for utterance in testing):
        notes.append(f"{heard:,} test pairs have a sound that is also in the training part")
    return notes
