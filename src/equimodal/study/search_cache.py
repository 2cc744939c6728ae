"""What searches for unimodal learning rates have found, kept so that each candidate is trained once."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal import __version__
from equimodal._files import write_whole
from equimodal.data.batch import map_tensors
from equimodal.errors import InputError
from equimodal.report.cost import Cost
from equimodal.study.rates import Candidate
from equimodal.train.record import identity, plain

if TYPE_CHECKING:
    from equimodal.data.base import Splits

__all__ = ["SearchCache", "content_hash"]

_FORMAT = 1
_TOGETHER = 256


def content_hash(splits: Splits, modality: str) -> str:
    """Return a hash of what one modality of the training and validation split holds, targets and masks included."""
    found = hashlib.sha256()

    def take(tensor: Tensor) -> Tensor:
        held = tensor.detach().cpu().contiguous()
        found.update(f"{tuple(held.shape)}{held.dtype}".encode())
        found.update(ctypes.string_at(held.data_ptr(), held.nbytes) if held.nbytes else b"")  # works without NumPy
        return tensor

    for split in (splits.train, splits.val):
        samples = split.only(modality)
        for start in range(0, len(samples), _TOGETHER):  # what is memory-mapped may not fit into memory at once
            batch = samples[start : start + _TOGETHER]
            map_tensors(take, (batch.inputs[modality], *batch.present.values()))
        take(samples.targets)
    return found.hexdigest()[:16]


class SearchCache:
    """The candidates of one modality, in one file, under everything that decides their numbers but the learning rate itself.

    That is the configuration of a candidate without its rate, the content of the data, and the versions of this package and of torch.
    A file that is damaged or altered is as good as none: its candidates are trained again.

    :param folder: where the files of all searches are.
    :param modality: the modality.
    :param config: the resolved configuration of one of its candidates.
    :param data: see :func:`content_hash`.
    """

    def __init__(self, folder: Path, modality: str, config: Mapping[str, Any], data: str) -> None:
        optimizer = {key: value for key, value in config["optimizer"].items() if key != "lr"}
        self.subject = plain(
            {"config": {**config, "optimizer": optimizer}, "data": data, "equimodal": __version__, "torch": str(torch.__version__)}
        )
        name = re.sub(r"\W+", "-", f"{config['dataset']['name']}-{modality}")
        self.modality = modality
        self.stem = folder / f"{name}-{identity(self.subject)}"
        self.file = self.stem.with_name(f"{self.stem.name}.json")

    def run_folder(self, rate: float) -> Path:
        """Return the folder of a candidate's run, which is there only while it is trained."""
        return self.stem / repr(rate)

    def candidates(self) -> dict[float, Candidate]:
        """Return the finished candidates by rate.

        :raises InputError: when the file is there and cannot be read.
        """
        try:
            found = json.loads(self.file.read_text(encoding="utf-8"))
            if found["format"] != _FORMAT or found["subject"] != self.subject:
                return {}
            return {candidate.rate: candidate for candidate in map(_candidate, found["candidates"])}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise InputError(f"cannot read {self.file}: {error.strerror or error}; choose another folder for the cache") from None
        except (ValueError, KeyError, TypeError):
            return {}

    def add(self, candidate: Candidate) -> None:
        """Keep a finished candidate, and remove the folder of its run.

        :raises InputError: when the file cannot be written.
        """
        known = {**self.candidates(), candidate.rate: candidate}
        listed = [asdict(known[rate]) for rate in sorted(known)]
        content = {"format": _FORMAT, "modality": self.modality, "subject": self.subject, "candidates": listed}
        write_whole(self.file, json.dumps(content, indent=2) + "\n")
        shutil.rmtree(self.run_folder(candidate.rate), ignore_errors=True)
        with contextlib.suppress(OSError):  # others are still at work in it
            self.stem.rmdir()


def _candidate(found: Any) -> Candidate:
    """Return a candidate from its plain values.

    :raises ValueError: for anything else than what was written.
    """
    candidate = Candidate(**{**found, "cost": Cost(**found["cost"])})
    numbers = (candidate.score, candidate.loss, candidate.epoch)
    if not (isinstance(candidate.rate, float) and candidate.rate > 0):
        raise ValueError(candidate.rate)
    if any(value is not None and not (isinstance(value, (int, float)) and math.isfinite(value)) for value in numbers):
        raise ValueError(numbers)
    return candidate
