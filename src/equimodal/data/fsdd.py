"""The Free Spoken Digit Dataset: reading, verifying and fetching its 3000 recordings."""

from __future__ import annotations

import hashlib
import io
import re
import wave
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from equimodal.data.downloads import download
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

__all__ = ["ARCHIVE", "SAMPLE_RATE", "Recordings", "fetch", "load"]

ARCHIVE = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/26eb9aaf76e81b692f806f9140c2d2777410d7a1.zip"
FILE = "fsdd_8khz_int16.npz"
SAMPLE_RATE = 8000
# Of the decoded recordings in the order of digit, speaker and take (see _digest), so that it does not depend on the container.
SHA256 = "b21199f59bfbfc03bcc36d526bae8c9924c7d37b675d1ff862577e9798537a03"


@dataclass(frozen=True)
class Recordings:
    """Utterances of different lengths, one after the other.

    :param wav: ``[samples]`` int16, all utterances; utterance k is ``wav[offsets[k] : offsets[k + 1]]``.
    :param offsets: ``[utterances + 1]`` int64.
    :param labels: ``[utterances]`` int64, the digit.
    :param takes: ``[utterances]`` int64, 0 to 49: which repetition of the digit by its speaker.
    :param speakers: the speaker of each utterance.
    """

    wav: Tensor
    offsets: Tensor
    labels: Tensor
    takes: Tensor
    speakers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def waveform(self, utterance: int) -> Tensor:
        """Return one utterance ``[length]``, float32 within -1 and 1."""
        start, end = self.offsets[utterance : utterance + 2].tolist()
        return self.wav[start:end].float() / 32768


def load(directory: Path) -> Recordings:
    """Read the recordings.

    :param directory: the folder with ``fsdd_8khz_int16.npz``.
    :raises InputError: when the file is missing, cut short or altered.
    """
    arrays = _arrays(directory / FILE)
    return Recordings(
        wav=torch.from_numpy(arrays["wav"]),
        offsets=torch.from_numpy(arrays["offsets"]).long(),
        labels=torch.from_numpy(arrays["labels"]).long(),
        takes=torch.from_numpy(arrays["index"]).long(),
        speakers=tuple(arrays["speakers"].tolist()),
    )


def fetch(directory: Path, url: str = ARCHIVE, attempts: int = 3) -> None:
    """Download the repository's archive and keep its recordings as one file, unless that file is there and whole.

    :param directory: where the file goes.
    :param url: address of a zip archive with ``recordings/{digit}_{speaker}_{take}.wav``.
    :param attempts: how many times it is tried.
    :raises InputError: when the archive cannot be fetched or holds other recordings.
    """
    try:
        _arrays(directory / FILE)
    except InputError:
        download([url], directory / FILE, _convert, attempts=attempts)


def _arrays(path: Path) -> dict[str, Any]:
    numpy = require("numpy", extra="data")
    try:
        with numpy.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {key: file[key] for key in ("wav", "offsets", "labels", "speakers", "index")}
    except FileNotFoundError:
        raise InputError(f"spoken digits {path} are missing") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, AttributeError):
        raise InputError(f"spoken digits {path} are cut short or damaged") from None
    except OSError as error:
        raise InputError(f"spoken digits {path} cannot be read ({error.strerror})") from None
    _verify(arrays, path)
    return arrays


def _verify(arrays: Mapping[str, Any], path: Path) -> None:
    digest = hashlib.sha256()
    for key, kind in (("wav", "<i2"), ("offsets", "<i8"), ("labels", "u1"), ("index", "u1")):
        digest.update(arrays[key].astype(kind).tobytes())
    digest.update("\n".join(map(str, arrays["speakers"].tolist())).encode())
    if digest.hexdigest() != SHA256:
        raise InputError(f"spoken digits {path} are not the original: their content has sha256 {digest.hexdigest()}, not {SHA256}")


def _convert(source: Path, kept: Path) -> None:
    numpy = require("numpy", extra="data")
    try:
        with zipfile.ZipFile(source) as archive:
            found = sorted(
                (int(match[1]), match[2], int(match[3]), name)
                for name in archive.namelist()
                if (match := re.search(r"(?:^|/)recordings/(\d)_([a-z]+)_(\d+)\.wav$", name))
            )
            sounds = [_samples(archive.read(name), name) for *_, name in found]
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise InputError(f"archive {source} is cut short or damaged") from None
    arrays = {
        "wav": numpy.frombuffer(b"".join(sounds), dtype="<i2"),
        "offsets": numpy.cumsum([0, *(len(sound) // 2 for sound in sounds)], dtype="int64"),
        "labels": numpy.array([digit for digit, *_ in found], dtype="uint8"),
        "speakers": numpy.array([speaker for _, speaker, *_ in found], dtype=str),
        "index": numpy.array([take for *_, take, _ in found], dtype="uint8"),
        "sample_rate": numpy.array(SAMPLE_RATE, dtype="int32"),
    }
    _verify(arrays, source)
    with kept.open("wb") as file:
        numpy.savez_compressed(file, **arrays)


def _samples(content: bytes, name: str) -> bytes:
    try:
        with wave.open(io.BytesIO(content)) as file:
            form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            samples: bytes = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise InputError(f"recording {name} is not a wave file ({error})") from None
    if form != (SAMPLE_RATE, 1, 2):
        raise InputError(f"recording {name} is not mono of 16 bits at {SAMPLE_RATE} Hz")
    return samples
