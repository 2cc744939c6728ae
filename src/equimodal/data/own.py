"""`own`: a user's own arrays, described by a few lines of YAML."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from equimodal.data.base import Splits
from equimodal.data.described.description import Description, read_description
from equimodal.data.described.labels import check_classes, read_splits, read_targets
from equimodal.data.described.table import Table, read_table
from equimodal.data.preparation import Plan, Prepared, PreparedDataset
from equimodal.errors import InputError, require
from equimodal.tasks import get_task

if TYPE_CHECKING:
    from equimodal.data.described.modality import Modality

__all__ = ["Own"]

_LOADING = ("splits", "seed", "metric")
"""What of a description decides nothing that is stored; of a modality, that is its encoder."""


class Own(PreparedDataset):
    """Your own arrays: one file per sample, one file with a row per sample, or columns of a Parquet file; and a table of labels.

    A few lines of YAML say where they are; the guide on own data has every key::

        table: samples.csv                # id, label, split
        modalities:
          audio: audio/{id}.npy           # one file per sample
          image: {file: images.npy}       # or a row per sample

    Modalities, outputs, task, metric and encoders are those of the description. What it says is part of a run's configuration, and the
    table's checksum with it, so that a run is never continued on other labels.

    :param file: the description.
    :param content: what the description said when the run began. It is filled in by itself; where it is given, the file must still
        say the same.
    :raises InputError: for a description, a table or files that cannot be used.
    """

    name = "own"
    summary = "your own arrays and a table of labels, described by a few lines of YAML"
    licence = "yours"
    citation = "yours"
    modalities = ()
    num_outputs = 0
    encoders: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    obtain = "its files lie beside the description"

    def __init__(self, file: str = "", content: Mapping[str, Any] | None = None) -> None:
        if not file or not isinstance(file, str):
            raise InputError(f"file = {file!r}: name the YAML file that describes the data, as in --dataset.file mydata.yaml")
        self.file = file
        self.described: Description = read_description(Path(file).expanduser())
        self.table: Table = read_table(self.described.folder / self.described.table)
        self.ids = list(self.table.ids(self.described.id, self.described.place("id")))
        self.targets = read_targets(self.described, self.table)
        self.parts = _modalities(self.described, self.table, self.ids)
        # What other data sets state of their class is here known of the object alone.
        vars(self).update(
            modalities=tuple(part.name for part in self.parts),
            num_outputs=len(self.targets.names) - (self.described.task == "ordinal"),  # a logit for each step between two classes
            task=self.described.task,
            metric=get_task(self.described.task).metric(self.described.metric),
            encoders={part.name: part.encoder() for part in self.parts},
            class_names=self.targets.names,
        )
        self.rows = read_splits(self.described, self.table, self.ids)
        check_classes(self.described, self.table, self.targets, self.rows["train"])
        self.content = {**self.described.content(), "table_sha256": self.table.digest[:16]}
        if content is not None and (there := json.loads(json.dumps(content))) != self.content:
            raise InputError(f"{file} is not what the configuration was made with ({_difference(there, self.content)}): {_MEND}")

    @classmethod
    def description(cls) -> str:
        """Return a few lines on how to use it."""
        lines = [
            f"{cls.name}: {cls.summary}",
            "  modalities  those of the description, two or more",
            "  task        single-label, multilabel, regression or ordinal",
            "  options     file='mydata.yaml', the description",
            *textwrap.wrap("licence     your data stay where they are; they are only read", 78, initial_indent="  "),
            "  example     equimodal train --dataset own --dataset.file mydata.yaml --out run",
        ]
        return "\n".join(lines)

    @property
    def folder(self) -> Path:
        """The folder that holds all files."""
        return self.described.folder

    def home(self) -> Path:
        """Return the folder that holds all files."""
        return self.folder

    def stored_options(self) -> dict[str, Any]:
        """Return what decides the stored arrays: the description without what only chooses from them, and where the files are."""
        kept = {key: value for key, value in self.content.items() if key not in _LOADING}
        kept["modalities"] = [{key: value for key, value in part.items() if key != "encoder"} for part in self.content["modalities"]]
        return {"content": kept, "folder": str(self.folder.resolve())}

    def originals(self, folder: Path) -> list[Path]:
        """Return the table and every array file that is there."""
        self._check_folder(folder)
        return list(dict.fromkeys([self.table.path, *(path for part in self.parts for path in part.source.originals())]))

    def plan(self, folder: Path) -> Plan:
        """Return what is to be written."""
        self._check_folder(folder)
        numpy = require("numpy", extra="data")
        if read_table(self.table.path).digest != self.table.digest:
            raise InputError(f"table {self.table.path} changed after it was read: run the same again")
        parts = self.parts
        arrays = {name: stored for part in parts for name, stored in part.arrays().items()}
        columns = {"target": self.targets.values}
        if self.described.splits is None:  # proportions choose from what is stored
            columns["split"] = numpy.empty(len(self.ids), dtype="<U5")
            for name, rows in self.rows.items():
                columns["split"][rows] = name
        if self.described.disjoint is not None:
            columns["group"] = numpy.array(self.table.cells(self.described.disjoint))

        def read(row: int) -> dict[str, Any]:
            return {name: value for part in parts for name, value in part.read(row).items()}

        def files(row: int) -> list[Path]:
            return [path for part in parts for path in part.files(row)]

        return Plan(self.ids, arrays, read, columns, {"classes": list(self.targets.names)}, files=files)

    def splits(self, prepared: Prepared) -> Splits:
        """Return the splits that the table or the proportions make."""
        rows = self.rows
        inputs = {part.name: part.inputs() for part in self.parts}
        decode: dict[str, Callable[[Any], Any]] = {}
        for part in self.parts:
            if (function := part.decode(prepared, rows["train"])) is not None:
                decode[part.name] = function
        return Splits(*(prepared.tensor_set(rows[name], inputs, "target", decode) for name in ("train", "val", "test")))

    def opened(self, data_dir: Path | None = None) -> Prepared:
        """Return the prepared set, which is made on first use; the description says where its files are."""
        return super().opened(self._check_folder(self.folder if data_dir is None else data_dir))

    def prepare(self, source: Path | None = None, **options: Any) -> Prepared:
        """Turn the arrays into memory-mapped ones; see :meth:`PreparedDataset.prepare`.

        :param source: nothing else than the folder that the description names.
        """
        return super().prepare(self._check_folder(self.folder if source is None else source), **options)

    def _check_folder(self, folder: Path) -> Path:
        if Path(folder).resolve() != self.folder.resolve():
            raise InputError(
                f"{folder} is not the folder of {self.file}, which is {self.folder}: set 'folder' in the description, and no --data-dir"
            )
        return self.folder

    def _flags(self) -> str:
        return f" --dataset.file {self.file}"


_MEND = "put it back as it was, or take 'content' out of the configuration (--dataset.content null) to use it as it is"


def _modalities(description: Description, table: Table, ids: list[str]) -> list[Modality]:
    from equimodal.data.described.modality import Modality

    return [Modality(part, description, table, ids) for part in description.modalities]


def _difference(there: Any, here: Any, path: str = "content") -> str:
    """Return in words where two contents first differ."""
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        there, here = dict(enumerate(there)), dict(enumerate(here))
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*here, *there]):
            if there.get(key) != here.get(key):
                return _difference(there.get(key), here.get(key), f"{path}.{key}")
    return f"{path} = {textwrap.shorten(repr(there), 60)} there, {textwrap.shorten(repr(here), 60)} here"
