"""MNIST, the handwritten digits: reading, verifying and fetching its four original files."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import zlib
from typing import TYPE_CHECKING, Literal

import torch

from equimodal.data.downloads import download
from equimodal.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

__all__ = ["MIRRORS", "fetch", "load"]

MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")
# MD5 of the decompressed files: the same however a copy was compressed.
MD5 = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}
PREFIX = {"train": "train", "test": "t10k"}


def load(directory: Path, part: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
    """Read one of MNIST's two parts.

    :param directory: the folder with the four ``.gz`` files.
    :param part: ``"train"`` (60,000 images) or ``"test"`` (10,000 images).
    :returns: images ``[samples, 28, 28]``, bytes from 0 (background) to 255, and labels ``[samples]``, int64.
    :raises InputError: when a file is missing, cut short or altered.
    """
    images, labels = (_content(directory / name, name) for name in MD5 if name.startswith(PREFIX[part]))
    # The headers (16 and 8 bytes) need no parsing: the checksum has vouched for them.
    return (
        torch.frombuffer(images, dtype=torch.uint8, offset=16).reshape(-1, 28, 28),
        torch.frombuffer(labels, dtype=torch.uint8, offset=8).long(),
    )


def fetch(directory: Path, mirrors: Sequence[str] = MIRRORS, attempts: int = 3) -> None:
    """Download what is missing or damaged of the four files.

    :param directory: where they go.
    :param mirrors: addresses of folders that serve them.
    :param attempts: how many times each mirror is tried.
    :raises InputError: when no mirror gives the right file.
    """
    for name in MD5:
        try:
            _content(directory / name, name)
        except InputError:

            def prepare(source: Path, kept: Path, name: str = name) -> None:
                _content(source, name)
                shutil.copyfile(source, kept)

            download([f"{mirror.rstrip('/')}/{name}" for mirror in mirrors], directory / name, prepare, attempts=attempts)


def _content(path: Path, name: str) -> bytearray:
    try:
        # An empty file would decompress to nothing; one zero byte makes it the damaged file that it is.
        content = bytearray(gzip.decompress(path.read_bytes() or b"\0"))
    except FileNotFoundError:
        raise InputError(f"MNIST file {path} is missing") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"MNIST file {path} is cut short or damaged") from None
    except OSError as error:
        raise InputError(f"MNIST file {path} cannot be read ({error.strerror})") from None
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != MD5[name]:
        raise InputError(f"MNIST file {path} is not the original: its content has md5 {digest}, not {MD5[name]}")
    return content
