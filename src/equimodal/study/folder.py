"""The folder of a comparison: what it is, whose it is, and what is written into it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from equimodal._files import FolderLock, write_whole
from equimodal.errors import InputError
from equimodal.train.record import RunFolder, first_difference, plain

__all__ = ["ComparisonFolder"]

_FORMAT = 1
_RECORD = "comparison.json"


class ComparisonFolder:
    """One comparison on disk, which one process at a time may write to.

    =========================== ================================================================
    ``comparison.json``         configuration, methods, seeds, rates found, costs, versions
    ``runs/METHOD/seed-N``      a run folder each
    ``table.txt .csv .md .tex`` the table
    ``report.html``             table, figures and every run, in one file for a browser
    =========================== ================================================================

    :param path: the folder.
    :param config: what all its runs have in common: a resolved configuration without method and seed.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self.path = path
        self.config = plain(dict(config))
        self._lock = FolderLock(path, "the comparison")

    def run(self, name: str, seed: int) -> Path:
        """Return the folder of one run."""
        return self.path / "runs" / name / f"seed-{seed}"

    def recognise(self, runs: Iterable[tuple[Path, Mapping[str, Any]]]) -> None:
        """Check that the folder is free or holds this comparison; nothing is written.

        :param runs: the folders of runs and their resolved configurations.
        :raises InputError: when it holds something else, another comparison, or another configuration's run.
        """
        try:
            others = [entry.name for entry in self.path.iterdir() if not entry.name.endswith(".tmp")] if self.path.exists() else []
        except OSError as error:
            raise self._unusable(error) from None
        if _RECORD in others:
            self._check_record()
        elif others:
            raise InputError(f"{self.path} holds {min(others)!r} and no comparison: choose an empty or new folder")
        for folder, config in runs:
            if (folder / "config.yaml").exists():
                RunFolder(folder, dict(config)).recognise()

    def _check_record(self) -> None:
        file = self.path / _RECORD
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or found.get("format") != _FORMAT or not isinstance(found.get("config"), dict):
            raise InputError(f"{file} is no record of a comparison of this version: choose an empty or new folder, or remove the file")
        if found["config"] != self.config:
            difference = first_difference(found["config"], self.config)
            raise InputError(f"{self.path} holds another comparison ({difference}): choose another folder, or remove that one")

    def __enter__(self) -> Self:
        """Make the folder and keep other processes from it.

        :raises InputError: when it cannot be made, or another process is at work on it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.take()
        except OSError as error:
            raise self._unusable(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _unusable(self, error: OSError) -> InputError:
        return InputError(f"cannot use the folder {self.path}: {error.strerror or error}; choose another with --out")

    def write(self, name: str, content: str) -> Path:
        """Write a file, whole or not at all."""
        return write_whole(self.path / name, content)

    def write_record(self, content: Mapping[str, Any]) -> Path:
        """Write what is known about the comparison."""
        record = plain({"format": _FORMAT, **content, "config": self.config})
        return self.write(_RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
