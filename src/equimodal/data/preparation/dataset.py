"""The base of data sets that are prepared once and then memory-mapped."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from equimodal._configurable import option_defaults
from equimodal._files import FolderLock, write_whole
from equimodal.data.base import Dataset, Splits
from equimodal.data.downloads import cache_dir
from equimodal.data.preparation import manifest as manifests
from equimodal.data.preparation.prepared import COLUMNS, Prepared
from equimodal.data.preparation.writer import FLAGS, MISSING, Rows
from equimodal.data.reading import archives
from equimodal.data.splitting import check_unique
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from equimodal.data.preparation.plan import Plan

__all__ = ["PreparedDataset"]

logger = logging.getLogger(__name__)

_STATE = "state.json"
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
        return cache_dir() / "prepared" / self.name / manifests.key_of(self.name, self.format, self.stored_options())

    def load(self, data_dir: Path | None = None) -> Splits:
        """Return the splits from the prepared set, which is made on first use where the originals are given.

        :param data_dir: the folder of originals, only ever read. Without one, the set must have been prepared before.
        :raises InputError: when it has not, or the originals are no longer those that it was made from.
        """
        return self.splits(self.opened(data_dir))

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
                f" prepare it again with: equimodal data prepare {self.name} --from {data_dir}{self._flags()}"
            )
        return prepared

    def prepare(
        self,
        source: Path,
        *,
        skip_damaged: bool = False,
        workers: int | None = None,
        on_progress: Callable[[str, int, int], None] | None = None,
    ) -> Prepared:
        """Turn the originals into arrays, unless that has been done and they are unchanged.

        Killed at any moment, the same call goes on. Two processes at once: one prepares, the other waits and finds it done. Nothing stands
        under the final name before it is whole.

        :param source: the folder of originals, only ever read, or an archive of it, which is unpacked into the cache.
        :param skip_damaged: leave out samples whose files cannot be used, instead of refusing in the end; the manifest names them.
        :param workers: how many threads read; as many as there are processors, at most 8, when not given.
        :param on_progress: called with ``"samples"`` or ``"checksums"``, how many are done and how many there are.
        :raises InputError: when originals are missing, damaged or change meanwhile, or the disk is full; what is done stays.
        """
        source, entry = archives.opened(Path(source), self.originals), self.entry()
        workers = workers or min(8, os.cpu_count() or 1)
        place = entry.parent / f".{entry.name}.lock"
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{place} cannot be made ({error.strerror or error}): set EQUIMODAL_CACHE to a folder of yours") from None
        lock = FolderLock(place, f"the preparation of {self.name}")
        lock.take(wait=True)
        try:
            changed: list[str] = []
            if entry.exists():
                found = _whole(entry)
                changed = ["the prepared set was damaged"] if found is None else self._changes(found, source)
                if found is not None and not changed:
                    return found
                logger.info("%s is prepared anew: %s", self.name, _some(changed))
            self._write(source, entry, skip_damaged, workers, on_progress or _silent)
            return Prepared(entry, changed, made=True)
        finally:
            lock.release()

    def fetch(self, data_dir: Path | None = None) -> Path:  # noqa: ARG002
        """Download the original files, where a data set knows how.

        :param data_dir: where to put them; the cache when not given.
        :raises InputError: when they must be brought, saying from where.
        """
        raise InputError(
            f"data set {self.name!r} is not fetched but brought: {self.obtain}; then run equimodal data prepare {self.name} --from FOLDER"
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

    def _state(self, source: Path) -> tuple[Path, dict[str, list[int]]]:
        """Return the folder that holds all originals, and the size and time of each."""
        originals = self.originals(source)
        folder = manifests.common_folder(originals)
        return folder, manifests.stamps(folder, originals)

    def _not_prepared(self, entry: Path) -> str:
        others = sorted(path.name for path in entry.parent.glob("*/manifest.json")) if entry.parent.exists() else []
        known = " (it has been, with other options)" if others else ""
        return (
            f"data set {self.name!r} has not been prepared{known}: run equimodal data prepare {self.name} --from FOLDER{self._flags()},"
            f" or name the folder of its originals with --data-dir; {self.obtain}"
        )

    def _flags(self) -> str:
        """Return the options that are not the default, as the command line takes them."""
        standard = option_defaults(type(self))
        changed = {name: value for name, value in self.stored_options().items() if name not in standard or standard[name] != value}
        return "".join(f" --dataset.{name} {json.dumps(value, default=str)}" for name, value in changed.items())

    def _write(self, source: Path, entry: Path, skip_damaged: bool, workers: int, on_progress: Callable[[str, int, int], None]) -> None:
        began = time.time()
        folder, before = self._state(source)
        plan = self.plan(source)
        check_unique(plan.ids, f"{self.name} in {source}")
        partial = entry.parent / f".{entry.name}.partial"
        rows = self._resumed(partial, folder, plan, before)
        rows.write(workers, lambda done, total: on_progress("samples", done, total))
        if rows.reasons and not skip_damaged:
            first, more = next(iter(rows.reasons.values())), len(rows.reasons) - 1
            others = f" (and {more} other{'s' if more > 1 else ''})" if more else ""
            raise InputError(f"{first}{others}; mend the files and run the same again, or leave them out with --skip-damaged")
        digests = manifests.checksums(folder, list(before), workers, lambda done: on_progress("checksums", done, len(before)))
        if self._state(source) != (folder, before):
            raise InputError(f"the originals in {source} changed while {self.name} was being prepared: run the same again")
        self._finish(
            partial, plan, rows, {name: {"bytes": s, "modified_ns": m, "sha256": digests[name]} for name, (s, m) in before.items()}, began
        )
        if entry.exists():  # made from other originals, or damaged
            retired = entry.parent / f".{entry.name}.old"
            shutil.rmtree(retired, ignore_errors=True)
            entry.replace(retired)
            partial.replace(entry)
            shutil.rmtree(retired, ignore_errors=True)
        else:
            partial.replace(entry)

    def _resumed(self, partial: Path, folder: Path, plan: Plan, before: Mapping[str, Sequence[int]]) -> Rows:
        """Return the rows as an earlier call left them, if it was to write the same."""
        sources = {name: list(stamp) for name, stamp in before.items()}
        state = {"plan": plan.digest(), "sources": sources}
        try:
            earlier = json.loads((partial / _STATE).read_text(encoding="utf-8"))
            moved = {name for name in {*before, *earlier["sources"]} if earlier["sources"].get(name) != sources.get(name)}
            goes_on = earlier["plan"] == state["plan"] and (not moved or plan.files is not None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            moved, goes_on = set(), False
        if not goes_on:
            shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{partial} cannot be made ({error.strerror or error}): set EQUIMODAL_CACHE to a folder of yours") from None
        rows = Rows(partial, plan)
        if goes_on and moved and plan.files is not None:
            rows.forget(
                [row for row in range(len(plan.ids)) if any(path.relative_to(folder).as_posix() in moved for path in plan.files(row))]
            )
        free, needed = shutil.disk_usage(partial).free, rows.needed()
        if not goes_on and needed > free:
            raise InputError(
                f"{self.name} takes {needed / 1e9:.2f} GB and the disk of {partial.parent} has {free / 1e9:.2f} GB left: free space,"
                " or choose another place with EQUIMODAL_CACHE"
            )
        write_whole(partial / _STATE, json.dumps(state))
        return rows

    def _finish(self, partial: Path, plan: Plan, rows: Rows, sources: Mapping[str, Any], began: float) -> None:
        """Write the columns and the manifest, and leave nothing else behind."""
        numpy = require("numpy", extra="data")
        held: dict[str, Any] = {"ids": numpy.array(list(plan.ids), dtype=str), **plan.columns}
        for name, column in held.items():
            if len(column) != len(plan.ids):
                raise InputError(f"{self.name}: column {name!r} has {len(column)} values for {len(plan.ids)} samples")
        try:
            with (partial / COLUMNS).open("wb") as file:
                numpy.savez(file, **held)
        except OSError as error:
            raise InputError(
                f"{partial / COLUMNS} cannot be written ({error.strerror or error}): free space; the same command goes on"
            ) from None
        keep = {
            COLUMNS,
            FLAGS,
            *(f"{name}.npy" for name in plan.arrays),
            *(f"{n}.moments.npy" for n, s in plan.arrays.items() if s.moments),
        }
        outputs = manifests.checksums(partial, sorted(keep), 2)
        missing = {name: int((rows.flags[:, column] == MISSING).sum()) for column, name in enumerate(plan.arrays)}
        manifest = {
            "format": manifests.FORMAT,
            "dataset": self.name,
            "dataset_format": self.format,
            "options": self.stored_options(),
            "samples": len(plan.ids),
            "arrays": {name: asdict(stored) for name, stored in plan.arrays.items()},
            "facts": dict(plan.facts),
            "notes": list(plan.notes),
            "damaged": rows.reasons,
            "missing": {name: count for name, count in missing.items() if count},
            "outputs": {name: {"bytes": (partial / name).stat().st_size, "sha256": digest} for name, digest in outputs.items()},
            "libraries": manifests.libraries(),
            "seconds": round(time.time() - began, 3),
            "sources": sources,
        }
        write_whole(partial / manifests.MANIFEST, json.dumps(manifest, indent=1, default=str))
        for path in partial.iterdir():
            if path.name not in keep and path.name != manifests.MANIFEST:
                path.unlink()


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
