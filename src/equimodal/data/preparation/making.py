"""One preparation: the rows of a plan and everything beside them, in a folder that is not yet the entry."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from equimodal._files import write_whole
from equimodal.data.preparation import manifest as manifests
from equimodal.data.preparation.prepared import COLUMNS
from equimodal.data.preparation.writer import FLAGS, MISSING, Rows
from equimodal.data.splitting import check_unique
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from pathlib import Path

    from equimodal.data.preparation.plan import Plan

__all__ = ["Making"]

_STATE = "state.json"
_NAMED = 9
_LONGEST = 1000
"""How many characters the name of a sample may have: an array of texts takes for each as much as for the longest."""


class Making:
    """A preparation in its folder, begun or gone on with.

    :param name: the data set's, for messages.
    :param partial: the folder.
    :param plan: what is to be written.
    :param folder: the folder that holds all originals.
    :param originals: size and time of each, by its path in there.
    :param command: what prepares the data set on the command line, for messages.
    :raises InputError: for names that cannot be used, a folder that cannot be made, and a disk that is too small.
    """

    def __init__(self, name: str, partial: Path, plan: Plan, folder: Path, originals: Mapping[str, Sequence[int]], command: str) -> None:
        self.name = name
        self.partial = partial
        self.plan = plan
        self.folder = folder
        self.originals = originals
        self.command = command
        check_unique(plan.ids, f"{name} in {folder}")
        if (longest := max(map(len, plan.ids), default=0)) > _LONGEST:
            raise InputError(f"{name} in {folder}: the name of a sample has {longest:,} characters: make it {_LONGEST:,} at most")
        for column, values in plan.columns.items():
            if len(values) != len(plan.ids):
                raise InputError(f"{name}: column {column!r} has {len(values)} values for {len(plan.ids)} samples")
        self.rows = self._begun()

    def _begun(self) -> Rows:
        """Return the rows as an earlier call left them, if it was to write the same."""
        sources = {name: list(stamp) for name, stamp in self.originals.items()}
        state = {"plan": self.plan.digest(), "sources": sources}
        try:
            earlier = json.loads((self.partial / _STATE).read_text(encoding="utf-8"))
            moved = {name for name in {*sources, *earlier["sources"]} if earlier["sources"].get(name) != sources.get(name)}
            goes_on = earlier["plan"] == state["plan"] and (not moved or self.plan.files is not None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            moved, goes_on = set(), False
        if not goes_on:
            shutil.rmtree(self.partial, ignore_errors=True)
        try:
            self.partial.mkdir(parents=True, exist_ok=True)
            (self.partial / manifests.MANIFEST).unlink(missing_ok=True)  # of other originals
        except OSError as error:
            raise InputError(
                f"{self.partial} cannot be made ({error.strerror or error}): set EQUIMODAL_CACHE to a folder of yours"
            ) from None
        rows = Rows(self.partial, self.plan)
        if goes_on and moved and self.plan.files is not None:
            others = {self.folder / name for name in moved}
            rows.forget([row for row in range(len(self.plan.ids)) if not others.isdisjoint(self.plan.files(row))])
        free, needed = shutil.disk_usage(self.partial).free, rows.needed()
        if not goes_on and needed > free:
            raise InputError(
                f"{self.name} takes {needed / 1e9:.2f} GB and the disk of {self.partial.parent} has {free / 1e9:.2f} GB left: free space,"
                " or choose another place with EQUIMODAL_CACHE"
            )
        write_whole(self.partial / _STATE, json.dumps(state))
        return rows

    def write(self, workers: int, on_progress: Callable[[int, int], None], *, skip_damaged: bool) -> None:
        """Read and write every sample that is not done.

        :param workers: how many threads read.
        :param on_progress: called with the number of samples done and of all.
        :param skip_damaged: go on where samples cannot be used.
        :raises InputError: naming the first of those, when all others are done; and when the disk is full.
        """
        self.rows.write(workers, on_progress)
        if self.rows.reasons and not skip_damaged:
            first, (_, *others) = next(iter(self.rows.reasons.values())), self.rows.reasons
            named = f"{', '.join(others[:_NAMED])}{', …' if len(others) > _NAMED else ''}"
            more = f" (and {len(others)} other{'s' if len(others) > 1 else ''}: {named})" if others else ""
            raise InputError(f"{first}{more}; mend the files and run the same again, or leave them out: {self.command} --skip-damaged")

    def finish(self, head: Mapping[str, Any], digests: Mapping[str, str], began: float) -> None:
        """Write the columns and the manifest, and leave nothing else behind.

        :param head: what the manifest says of the data set.
        :param digests: the sha256 of each original.
        :param began: when it began, in seconds since the epoch.
        """
        self._write_columns()
        arrays, rows = self.plan.arrays, self.rows
        moments = [f"{name}.moments.npy" for name, stored in arrays.items() if stored.moments]
        outputs = manifests.checksums(self.partial, sorted([COLUMNS, FLAGS, *(f"{name}.npy" for name in arrays), *moments]), 2)
        missing = {name: int((rows.flags[:, column] == MISSING).sum()) for column, name in enumerate(arrays)}
        manifest = {
            "format": manifests.FORMAT,
            **head,
            "samples": len(self.plan.ids),
            "arrays": {name: asdict(stored) for name, stored in arrays.items()},
            "facts": dict(self.plan.facts),
            "notes": list(self.plan.notes),
            "damaged": rows.reasons,
            "missing": {name: count for name, count in missing.items() if count},
            "outputs": {name: {"bytes": (self.partial / name).stat().st_size, "sha256": digest} for name, digest in outputs.items()},
            "libraries": manifests.libraries(),
            "seconds": round(time.time() - began, 3),
            "sources": {
                name: {"bytes": size, "modified_ns": modified, "sha256": digests[name]} for name, (size, modified) in self.originals.items()
            },
        }
        write_whole(self.partial / manifests.MANIFEST, json.dumps(manifest, indent=1, default=str))
        for path in self.partial.iterdir():
            if path.name not in outputs and path.name != manifests.MANIFEST:
                path.unlink()

    def _write_columns(self) -> None:
        numpy = require("numpy", extra="data")
        path = self.partial / COLUMNS
        try:
            with path.open("wb") as file:
                numpy.savez(file, ids=numpy.array(list(self.plan.ids), dtype=str), **self.plan.columns)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror or error}): free space; the same command goes on") from None
