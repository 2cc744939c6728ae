"""The files of CIFAR-10 and CIFAR-100, in their Python and their binary version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from equimodal.data.reading.originals import Damaged, locate, read_bytes
from equimodal.data.reading.pickles import read_pickle
from equimodal.errors import require

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Cifar", "Pictures", "find"]

SIDE = 32
PIXELS = 3 * SIDE**2


@dataclass(frozen=True)
class Pictures:
    """The pictures of one file.

    :param name: where they come from, such as ``"cifar-10/data_batch_1"``.
    :param pixels: ``[pictures, 3, 32, 32]``, red, green and blue, from 0 to 255.
    :param labels: the name of each picture's class.
    """

    name: str
    pixels: NDArray[Any]
    labels: Sequence[str]


@dataclass(frozen=True)
class _Layout:
    """How one version of one of the two sets is laid out.

    :param name: of the set.
    :param folder: that its archive unpacks to.
    :param parts: the files with pictures.
    :param names: the file with the names of the classes.
    :param key: of the labels, in the Python version.
    :param name_key: of the names of the classes, there.
    :param before: bytes before each picture, in the binary version; the last of them is the label.
    """

    name: str
    folder: str
    parts: tuple[str, ...]
    names: str
    key: str = ""
    name_key: str = ""
    before: int = 0


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_LAYOUTS = {
    10: (
        _Layout("cifar-10", "cifar-10-batches-py", (*_BATCHES, "test_batch"), "batches.meta", "labels", "label_names"),
        _Layout(
            "cifar-10", "cifar-10-batches-bin", (*(f"{name}.bin" for name in _BATCHES), "test_batch.bin"), "batches.meta.txt", before=1
        ),
    ),
    100: (
        _Layout("cifar-100", "cifar-100-python", ("train", "test"), "meta", "fine_labels", "fine_label_names"),
        _Layout("cifar-100", "cifar-100-binary", ("train.bin", "test.bin"), "fine_label_names.txt", before=2),
    ),
}


class Cifar:
    """One of the two sets, in a folder.

    :param folder: that its archive unpacked to.
    """

    def __init__(self, folder: Path, layout: _Layout) -> None:
        self.folder = folder
        self._layout = layout

    def originals(self) -> list[Path]:
        """Return the files that are read."""
        return [self.folder / name for name in (self._layout.names, *self._layout.parts)]

    def pictures(self) -> list[Pictures]:
        """Read every picture, training files first.

        :raises Damaged: for a file that is missing, cut short, or none of CIFAR's.
        """
        names = self._names()
        return [self._part(self.folder / part, names) for part in self._layout.parts]

    def _names(self) -> list[str]:
        path = self.folder / self._layout.names
        if not self._layout.key:
            return read_bytes(path, "list of classes").decode("utf-8", "replace").split()
        found = read_pickle(path, "list of classes")
        names = found.get(self._layout.name_key) if isinstance(found, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Damaged(f"list of classes {path} holds no {self._layout.name_key!r}: it is not CIFAR's")
        return names

    def _part(self, path: Path, names: list[str]) -> Pictures:
        numpy = require("numpy", extra="data")
        if self._layout.key:
            found = read_pickle(path, "pictures")
            found = found if isinstance(found, dict) else {}
            pixels: Any = found.get("data")
            numbers: Any = found.get(self._layout.key)
            whole = isinstance(pixels, numpy.ndarray) and pixels.dtype == "uint8" and pixels.ndim == 2 and pixels.shape[1] == PIXELS
            if not whole or not isinstance(numbers, list) or len(numbers) != len(pixels):
                raise Damaged(f"pictures {path} hold no 'data' of {PIXELS} bytes with {self._layout.key!r} each: they are not CIFAR's")
        else:
            record = self._layout.before + PIXELS
            content = read_bytes(path, "pictures")
            if len(content) % record:
                raise Damaged(f"pictures {path} are cut short or not CIFAR's: {len(content)} bytes are no multiple of {record}")
            rows = numpy.frombuffer(content, dtype="uint8").reshape(-1, record)
            pixels, numbers = rows[:, self._layout.before :], rows[:, self._layout.before - 1].tolist()
        for number in numbers:
            if not isinstance(number, int) or not 0 <= number < len(names):
                raise Damaged(f"pictures {path} have the label {number!r:.40}, and there are {len(names)} classes")
        return Pictures(
            f"{self._layout.name}/{path.name.removesuffix('.bin')}",
            pixels.reshape(-1, 3, SIDE, SIDE),
            [names[number] for number in numbers],
        )


def find(folder: Path, classes: int, roots: Sequence[str] = ("",)) -> Cifar:
    """Return CIFAR-10 or CIFAR-100, where either version of it lies.

    :param folder: the folder that the user named.
    :param classes: 10 or 100.
    :param roots: what may stand before the name of its folder, such as ``"data/"``.
    :raises InputError: when neither version is there.
    """
    layouts = _LAYOUTS[classes]
    place = locate(folder, [f"{root}{layout.folder}" for root in roots for layout in layouts], f"CIFAR-{classes}")
    return Cifar(place, next(layout for layout in layouts if layout.folder == place.name))
