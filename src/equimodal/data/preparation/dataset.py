"""The base of data sets that are prepared once and then memory-mapped."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from equimodal._configurable import option_defaults
from equimodal._files import FolderLock
from equimodal.data.base import Dataset, Splits
from equimodal.data.downloads import cache_dir
from equimodal.data.preparation import manifest as manifests
from equimodal.data.preparation.making import Making
from equimodal.data.preparation.prepared import Prepared
from equimodal.data.reading import archives
from equimodal.errors import InputError

if TYPE_CHECKING:
    from equimodal.data.preparation.plan import Plan

__all__ = ["PreparedDataset"]

logger = logging.getLogger(__name__)

_SHOWN = 3


class PreparedDataset(Dataset):
    """Base of the data sets whose originals are turned into arrays once.

    A subclass writes :meth:`originals`, :meth:`plan` and :meth:`splits`. What is prepared stands in the cache under ``prepared/NAME/KEY``,
    where the key is a hash of the options: other options make another entry beside it.

    :cvar format: raised when what a data set writes changes, so that older entries are not taken for newer ones.
    :cvar selecting: the options that only choose from what is stored, such as the split; all others decide what is stored.
    :cvar obtain: where the originals come from, in one line.
    """

    format: ClassVar[int] = 1
    selecting: ClassVar[tuple[str, ...]] = ()
    obtain: ClassVar[str]

    def originals(self, folder: Path) -> list[Path]:
        """Return every original file that is read; it is enough to list them.

        :param folder: the folder of originals; all of them lie in it.
        :raises InputError: when what is needed is missing.
        """
        raise NotImplementedError

    def plan(self, folder: Path) -> Plan:
        """Read lists and labels, check them, and return what is to be written.

        :param folder: the folder of originals.
        :raises InputError: for duplicates, unknown labels and whatever else forbids to go on.
        """
        raise NotImplementedError

    def splits(self, prepared: Prepared) -> Splits:
        """Choose the samples of each split.

        :param prepared: what :meth:`plan` had written.
        """
        raise NotImplementedError

    def home(self) -> Path | None:
        """Return the folder of originals where the data set itself knows it, so that nobody has to name it."""
        return None

    def stored_options(self) -> dict[str, Any]:
        """Return the options that decide what is stored."""
        return {name: value for name, value in self.options().items() if name not in self.selecting}

    def entry(self) -> Path:
        """Return the folder of the prepared set with these options, whether it is there or not."""
        return cache_dir() / "prepared" / self.name / manifests.key_of(self._called(), self.format, self.stored_options())

    def _called(self) -> str:
        """Return what the data set is asked for by: its name, or outside of this package its class."""
        kind = type(self)
        return self.name if kind.__module__.startswith("equimodal.") else f"{kind.__module__}:{kind.__qualname__}"

    def load(self, data_dir: Path | None = None) -> Splits:
        """Return the splits from the prepared set, which is made on first use where the originals are given.

        :param data_dir: the folder of originals, only ever read. Without one, the set must have been prepared before.
        :raises InputError: when it has not, or the originals are no longer those that it was made from.
        """
        prepared = self.opened(data_dir)
        return dataclasses.replace(self.splits(prepared), digest=prepared.digest)

    def opened(self, data_dir: Path | None = None) -> Prepared:
        """Return the prepared set; see :meth:`load`."""
        entry = self.entry()
        if not entry.exists():
            if data_dir is not None:
                logger.info("preparing %s from %s, once", self.name, data_dir)
                return self.prepare(data_dir, on_progress=_noted)
            raise InputError(self._not_prepared(entry))
        prepared = Prepared(entry)
        if data_dir is not None and (changed := self._changes(prepared, archives.opened(Path(data_dir), self.originals))):
            raise InputError(
                f"the originals in {data_dir} have changed since {self.name} was prepared: {_some(changed)};"
                f" prepare it again with: {self._command(data_dir)}"
            )
        return prepared

    def prepare(
        self,
        source: Path,
        *,
        skip_damaged: bool = False,
        replace: bool = False,
        workers: int | None = None,
        on_progress: Callable[[str, int, int], None] | None = None,
    ) -> Prepared:
        """Turn the originals into arrays, unless that has been done and they are unchanged.

        Killed at any moment, the same call goes on. Two processes at once: one prepares, the other waits and finds it done. Nothing stands
        under the final name before it is whole.

        :param source: the folder of originals, only ever read, or an archive of it, which is unpacked into the cache.
        :param skip_damaged: leave out samples whose files cannot be used, instead of refusing in the end; the manifest names them.
        :param replace: put what is prepared in the place of a set that was made from other files, none of which is here.
        :param workers: how many threads read; as many as there are processors, at most 8, when not given.
        :param on_progress: called with ``"samples"`` or ``"checksums"``, how many are done and how many there are.
        :raises InputError: when originals are missing, damaged or change meanwhile, or the disk is full; what is done stays. And when
            a set that was made from other files would be lost.
        """
        source, entry = archives.opened(Path(source), self.originals), self.entry()
        workers = workers or min(8, os.cpu_count() or 1)
        place = entry.parent / f".{entry.name}.lock"
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{place} cannot be made ({error.strerror or error}): set EQUIMODAL_CACHE to a folder of yours") from None
        lock = FolderLock(place, f"the preparation of {self.name}")
        try:
            lock.take()
        except InputError:
            logger.info("another process prepares %s: waiting for it", self.name)
            lock.take(wait=True)
        partial = entry.parent / f".{entry.name}.partial"
        try:
            changed: list[str] = []
            if entry.exists():
                found = _whole(entry)
                changed = ["the prepared set was damaged"] if found is None else self._changes(found, source)
                if found is not None and not changed:
                    return found
                if found is not None and not replace:
                    self._check_kin(found, source)
                logger.info("%s is prepared anew: %s", self.name, _some(changed))
            if not self._is_ready(partial, source):
                self._write(source, partial, skip_damaged, workers, on_progress or _silent)
            _put(partial, entry)
            return Prepared(entry, changed, made=True)
        finally:
            lock.release()

    def fetch(self, data_dir: Path | None = None) -> Path:  # noqa: ARG002
        """Download the original files, where a data set knows how.

        :param data_dir: where to put them; the cache when not given.
        :raises InputError: when they must be brought, saying from where.
        """
        raise InputError(
            f"data set {self.name!r} is not fetched but brought: {self.obtain};"
            f" then run equimodal data prepare {self._called()} --from FOLDER"
        )

    def verify(self, data_dir: Path | None = None, on_progress: Callable[[str, int, int], None] | None = None) -> Path:
        """Compute every checksum of the prepared set anew.

        :param data_dir: the originals, to compare them too.
        :param on_progress: called with ``"checksums"``, how many are done and how many there are.
        :returns: the folder of the prepared set.
        :raises InputError: when a file, or an original, is not what it was.
        """
        prepared = self.opened(data_dir)
        show, files = on_progress or _silent, len(prepared.manifest["outputs"])
        if damaged := manifests.damaged_outputs(prepared.folder, prepared.manifest, on_done=lambda done: show("checksums", done, files)):
            raise InputError(
                f"{prepared.folder} is damaged: {_some(damaged)} {'has' if len(damaged) == 1 else 'have'} the wrong checksum;"
                " remove the folder and prepare the data set again"
            )
        return prepared.folder

    def _changes(self, prepared: Prepared, source: Path) -> list[str]:
        folder, now = self._state(source)
        return manifests.changes(prepared.manifest, folder, now)

    def _check_kin(self, prepared: Prepared, source: Path) -> None:
        """Refuse to replace a set by one from other files: more likely than a new release is the wrong folder."""
        before = prepared.manifest["sources"]
        if before.keys().isdisjoint(self._state(source)[1]):
            raise InputError(
                f"{self.name} has been prepared from other files ({_some(list(before))}), none of which is in {source}:"
                f" name the same folder, add --replace to give that set up, or keep both with another EQUIMODAL_CACHE"
            )

    def _state(self, source: Path) -> tuple[Path, dict[str, list[int]]]:
        """Return the folder that holds all originals, and the size and time of each."""
        originals = self.originals(source)
        folder = manifests.common_folder(originals)
        return folder, manifests.stamps(folder, originals)

    def _not_prepared(self, entry: Path) -> str:
        others = sorted(path.name for path in entry.parent.glob("[!.]*/manifest.json")) if entry.parent.exists() else []
        known = " (it has been, with other options)" if others else ""
        return (
            f"data set {self.name!r} has not been prepared{known}:"
            f" run {self._command('FOLDER')},"
            f" or name the folder of its originals with --data-dir; {self.obtain}"
        )

    def _command(self, source: Path | str) -> str:
        """Return what prepares this data set on the command line."""
        return f"equimodal data prepare {self._called()} --from {source}{self._flags()}"

    def _flags(self) -> str:
        """Return the options that are not the default, as the command line takes them."""
        standard = option_defaults(type(self))
        changed = {name: value for name, value in self.stored_options().items() if name not in standard or standard[name] != value}
        return "".join(f" --dataset.{name} {json.dumps(value, default=str)}" for name, value in changed.items())

    def _is_ready(self, partial: Path, source: Path) -> bool:
        """Tell whether an earlier call was killed after everything was written and before it stood under the final name."""
        if not (partial / manifests.MANIFEST).exists():
            return False
        found = _whole(partial)
        return found is not None and not self._changes(found, source)

    def _write(self, source: Path, partial: Path, skip_damaged: bool, workers: int, on_progress: Callable[[str, int, int], None]) -> None:
        began = time.time()
        folder, before = self._state(source)
        making = Making(self.name, partial, self.plan(source), folder, before, self._command(source))
        making.write(workers, lambda done, total: on_progress("samples", done, total), skip_damaged=skip_damaged)
        digests = manifests.checksums(folder, list(before), workers, lambda done: on_progress("checksums", done, len(before)))
        if self._state(source) != (folder, before):
            raise InputError(f"the originals in {source} changed while {self.name} was being prepared: run the same again")
        head = {"dataset": self.name, "dataset_format": self.format, "options": self.stored_options()}
        making.finish(head, digests, began)


def _put(partial: Path, entry: Path) -> None:
    """Give what was written its final name, in the place of what was made from other originals, or is damaged."""
    retired = entry.parent / f".{entry.name}.old"
    shutil.rmtree(retired, ignore_errors=True)
    if entry.exists():
        entry.replace(retired)
    partial.replace(entry)
    shutil.rmtree(retired, ignore_errors=True)


def _silent(what: str, done: int, total: int) -> None:
    """Show nothing."""


def _noted(what: str, done: int, total: int) -> None:
    """Let whoever listens to the log know how far it is."""
    logger.debug("%s: %d of %d", what, done, total, extra={"progress": (done, total), "what": what})


def _whole(entry: Path) -> Prepared | None:
    """Return an entry, or None when it is not whole."""
    try:
        return Prepared(entry)
    except InputError as error:
        logger.info("%s", error)
        return None


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
