"""A prepared set, opened: memory-mapped arrays, and what is known of its samples."""

from __future__ import annotations

import errno
import hashlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.data.decode import mean_and_std
from equimodal.data.preparation.manifest import read_manifest
from equimodal.data.preparation.writer import DAMAGED, FLAGS, STORED
from equimodal.data.tensors import TensorSet
from equimodal.errors import InputError, nearest, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["COLUMNS", "Prepared"]

COLUMNS = "columns.npz"
_IDS = "ids"


class Prepared:
    """A prepared set, opened.

    :param folder: the entry's folder.
    :param changed: what had changed in the originals when it was prepared anew, one phrase per file.
    :param made: whether it was prepared just now.
    :raises InputError: when the entry is not whole, and later for an array when another process has prepared the set anew meanwhile.
    """

    def __init__(self, folder: Path, changed: Sequence[str] = (), *, made: bool = False) -> None:
        self.folder = folder
        self._identity = _identity(folder)
        self.manifest = read_manifest(folder)
        self.changed = list(changed)
        self.made = made
        numpy = require("numpy", extra="data")
        try:
            with numpy.load(folder / COLUMNS, allow_pickle=False) as file:
                self.columns: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
            flags = numpy.load(folder / FLAGS, allow_pickle=False)
        except Exception as error:  # zip, zlib and NumPy each have their own
            raise InputError(f"{folder} is damaged ({error}): remove it and prepare the data set again") from None
        self.ids: list[str] = self.columns.pop(_IDS).tolist()
        self.usable: NDArray[Any] = (flags != DAMAGED).all(axis=1)
        self._flags = dict(zip(self.manifest["arrays"], flags.T, strict=True))
        self._check_same()

    def _check_same(self) -> None:
        """Refuse to go on with rows of one preparation and arrays of another."""
        if _identity(self.folder) != self._identity:
            raise InputError(f"{self.folder} was prepared anew while it was being read: run the same again")

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Prepared({self.manifest['dataset']!r}, {len(self)} samples: {', '.join(self.manifest['arrays'])})"

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the whole set, such as the names of its classes."""
        return dict(self.manifest["facts"])

    @property
    def digest(self) -> str:
        """A checksum of everything that was written."""
        outputs = sorted((name, output["sha256"]) for name, output in self.manifest["outputs"].items())
        return hashlib.sha256(repr(outputs).encode()).hexdigest()[:16]

    def array(self, name: str) -> Tensor:
        """Return an array ``[rows, ...]``, memory-mapped: what is read of it, and no more, comes from the disk.

        Writing to it changes this process's copy of the pages alone, never the file; of an array larger than all memory no copy can be
        promised, and it is mapped to be read only.

        :raises InputError: for an unknown name, with the nearest one.
        """
        if name not in self.manifest["arrays"]:
            raise InputError(f"prepared set {self.manifest['dataset']!r} has no array {name!r}: {nearest(name, self.manifest['arrays'])}")
        return self._mapped(f"{name}.npy")

    def _mapped(self, file: str) -> Tensor:
        try:
            mapped = _mapped(self.folder / file)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.folder / file} cannot be read ({error}): remove {self.folder} and prepare the data set again"
            ) from None
        self._check_same()
        return mapped

    def present(self, name: str) -> Tensor:
        """Return for an array which samples have it: boolean ``[rows]``."""
        return torch.from_numpy(self._flags[name] == STORED)

    def chosen(self, rows: Any) -> Tensor:
        """Return the rows without those of damaged samples that were left out: int64 ``[samples]``."""
        wanted = torch.as_tensor(rows, dtype=torch.int64)
        return wanted[torch.from_numpy(self.usable)[wanted]]

    def moments(self, name: str, rows: Any) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each channel of an array over some samples, which may lack it.

        :param name: an array that was stored with ``moments``.
        :param rows: its rows, those of the training split.
        :returns: each of a shape that broadcasts against one sample, float32.
        """
        wanted = self.chosen(rows)
        sums = self._mapped(f"{name}.moments.npy")[wanted[self.present(name)[wanted]]].sum(0)
        mean, std = mean_and_std(*sums.unbind(1))
        facts = self.manifest["arrays"][name]
        trailing = len(facts["shape"]) - 1 if facts["channels"] == "first" else 0
        shape = [-1] + [1] * max(trailing, 0)
        return mean.reshape(shape), std.reshape(shape)

    def tensor_set(
        self,
        rows: Any,
        inputs: Mapping[str, Any],
        target: str | NDArray[Any] | Tensor = "target",
        decode: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> TensorSet:
        """Return some samples as a set to train on; damaged ones that were left out are not in it.

        :param rows: their rows, in the order wanted.
        :param inputs: for each modality the name of its array, or a (named) tuple or mapping of such names.
        :param target: the column that holds the targets, or the targets of all rows.
        :param decode: as in :class:`equimodal.data.TensorSet`.
        :raises InputError: when no sample is left.
        """
        wanted = self.chosen(rows)
        if not len(wanted):
            raise InputError(f"a split of prepared set {self.manifest['dataset']!r} in {self.folder} is empty: more originals are needed")
        targets = torch.as_tensor(self.columns[target] if isinstance(target, str) else target)
        masks = {}
        for modality, spec in inputs.items():
            held = torch.stack([self.present(name)[wanted] for name in _names(spec)]).all(0)
            if not bool(held.all()):
                masks[modality] = held
        return TensorSet(
            {modality: _filled(spec, self.array) for modality, spec in inputs.items()}, targets[wanted], masks, rows=wanted, decode=decode
        )


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return what tells a folder from another one that takes its name."""
    try:
        state = folder.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _mapped(path: Path) -> Tensor:
    numpy = require("numpy", extra="data")
    try:
        return torch.from_numpy(numpy.load(path, mmap_mode="c", allow_pickle=False))
    except OSError as error:
        if error.errno != errno.ENOMEM:  # Linux promises no copy of more than memory and swap
            raise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of tensors that must not be written to
        return torch.from_numpy(numpy.load(path, mmap_mode="r", allow_pickle=False))


def _names(spec: Any) -> list[str]:
    if isinstance(spec, str):
        return [spec]
    return [name for part in (spec.values() if isinstance(spec, Mapping) else spec) for name in _names(part)]


def _filled(spec: Any, array: Callable[[str], Tensor]) -> Any:
    """Return a structure of names with each name's array in its place."""
    if isinstance(spec, str):
        return array(spec)
    if isinstance(spec, Mapping):
        return {key: _filled(part, array) for key, part in spec.items()}
    parts = [_filled(part, array) for part in spec]
    return type(spec)(*parts) if hasattr(spec, "_fields") else type(spec)(parts)
