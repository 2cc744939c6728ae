"""What a modality makes of the arrays it is given: how they are stored, what encoders take, and which encoder does by default."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from equimodal.data.decode import AsLong, Scaled, Standardise, mean_and_std
from equimodal.data.described.arrays import Numbers, OneEach, RowEach, Source
from equimodal.data.described.columns import Columns
from equimodal.data.preparation import Stored
from equimodal.data.reading.originals import Damaged
from equimodal.errors import InputError, require
from equimodal.nn.encoders.sequence import Sequences

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from equimodal.data.described.description import Described, Description
    from equimodal.data.described.table import Table
    from equimodal.data.preparation import Prepared

__all__ = ["Modality"]

_BY_DIMENSIONS = {0: "vector", 1: "vector", 2: "sequence", 3: "picture"}
_PICTURE_CHANNELS = 4
_DEEPER = 28  # pixels from which a picture is large enough for a ResNet-10
_PIECE = 2048  # rows in memory at once
_STORED = {"float16": "float16", "uint8": "uint8", "bool": "uint8", "int8": "int16", "int16": "int16"}


class Modality:
    """One modality of a description.

    :param described: what the description says of it.
    :param ids: the samples' names.
    :raises InputError: when its files are not there, have the wrong number of rows, or hold what no kind fits.
    """

    def __init__(self, described: Described, description: Description, table: Table, ids: list[str]) -> None:
        self.described = described
        self.name = described.name
        self.table = table
        self.source = _source(described, description, table, ids)
        self.shape, self.dtype, _ = self.source.header()
        self.kind = described.kind or self._guessed()
        self.masked = None if described.present is None else table.truths(described.present, "present", described.place)
        self.lengths = None if described.lengths is None else table.numbers(described.lengths, "lengths", described.place)
        self._steps = 0
        self._fits()

    def _guessed(self) -> str:
        dimensions, place = len(self.shape), self.described.place
        if dimensions not in _BY_DIMENSIONS:
            raise InputError(
                f"{place}: {self.name} has arrays of shape {list(self.shape)}: say what they are with 'kind', and give an encoder"
            )
        if dimensions == 3 and self.described.channels is None and self.shape[2] <= _PICTURE_CHANNELS < self.shape[0]:
            raise InputError(
                f"{place}: {self.name} has arrays of shape {list(self.shape)}, which looks like [height, width, channels]:"
                " set 'channels: last', or 'channels: first' if they are not"
            )
        return _BY_DIMENSIONS[dimensions]

    def _fits(self) -> None:
        described, place = self.described, self.described.place
        needed = {"sequence": (1, 2), "picture": (2, 3), "tokens": (1,)}.get(self.kind, tuple(range(10)))
        if len(self.shape) not in needed:
            raise InputError(f"{place}: {self.name} has arrays of shape {list(self.shape)}, which do not suit 'kind: {self.kind}'")
        if 0 in self.shape[1:] or (0 in self.shape and not self.source.ragged):
            raise InputError(f"{place}: {self.name} has arrays of shape {list(self.shape)}, which hold nothing")
        if self.kind == "tokens" and self.dtype.kind not in "iu":
            raise InputError(f"{place}: {self.name} holds {self.dtype} numbers: tokens are whole numbers")
        if described.channels is not None and (self.kind != "picture" or len(self.shape) != 3):
            raise InputError(f"{place}: {self.name} has arrays of shape {list(self.shape)}: 'channels' is for pictures of three dimensions")
        timed = self.kind in ("sequence", "tokens")
        for key in ("lengths", "max_length"):
            if getattr(described, key) is not None and not timed:
                raise InputError(
                    f"{place}: {self.name} is a {self.kind}: {key!r} is for sequences and tokens; set 'kind: sequence' if it is one"
                )

    # --- what is stored

    @property
    def sequential(self) -> bool:
        """Whether samples have a length of their own."""
        return self.kind == "sequence" and (self.source.ragged or self.lengths is not None)

    @property
    def features(self) -> tuple[int, ...]:
        """The shape of a sample as it is stored, or of one time step."""
        if self.kind == "vector":
            return (math.prod(self.shape),)
        if self.kind == "sequence":
            return self.shape[1:] or (1,)
        if self.kind == "picture" and len(self.shape) == 2:
            return (1, *self.shape)
        if self.described.channels == "last":
            return (self.shape[2], *self.shape[:2])
        return () if self.kind == "tokens" else self.shape

    def arrays(self) -> dict[str, Stored]:
        """Return what is stored for each sample; opens the source."""
        self.source.open()
        if self.kind in ("sequence", "tokens"):
            self._steps = self._counted()
        optional, moments = self.described.optional, self.described.standardise and self.kind in ("sequence", "picture")
        if self.kind == "tokens":
            return {
                f"{self.name}.input_ids": Stored((self._steps,), "int32", optional=optional),
                f"{self.name}.attention_mask": Stored((self._steps,), "uint8", optional=optional),
            }
        if self.kind == "sequence":
            values = Stored((self._steps, *self.features), self._stored, moments, "last", optional)
            if not self.sequential:
                return {self.name: values}
            return {f"{self.name}.values": values, f"{self.name}.lengths": Stored((), "int64", optional=optional)}
        return {self.name: Stored(self.features, self._stored, moments, "first", optional)}

    def _counted(self) -> int:
        """Return how many time steps are stored: as many as the longest sample has, or as it is cut to."""
        if self.described.max_length is not None and self.source.ragged:
            return self.described.max_length
        return min(self.source.longest(), self.described.max_length or 2**62)

    @property
    def _stored(self) -> str:
        return _STORED.get(self.dtype.name, "float32")

    def read(self, row: int) -> dict[str, NDArray[Any] | None]:
        """Return the arrays of a sample.

        :raises Damaged: when they cannot be used.
        """
        found = None if self.masked is not None and not self.masked[row] else self.source.read(row)
        if found is None:
            return dict.fromkeys(self._names())
        numpy, place = require("numpy", extra="data"), self.source.place(row)
        self._check_shape(found, place)
        if found.dtype.kind not in "biuf" or (self.kind == "tokens" and found.dtype.kind not in "iu"):
            raise Damaged(f"{place} holds values of type {found.dtype}, others are {self.dtype}")
        if self.kind in ("sequence", "tokens"):
            return self._timed(row, found, place)
        with numpy.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is refused
            cast = self._cast(found, place)
        if self.kind == "vector":
            return {self.name: cast.reshape(-1)}
        return {self.name: numpy.moveaxis(cast, -1, 0) if self.described.channels == "last" else cast.reshape(self.features)}

    def _names(self) -> list[str]:
        if self.kind == "tokens":
            return [f"{self.name}.input_ids", f"{self.name}.attention_mask"]
        return [f"{self.name}.values", f"{self.name}.lengths"] if self.sequential else [self.name]

    def _check_shape(self, found: NDArray[Any], place: str) -> None:
        free = self.source.ragged and self.kind in ("sequence", "tokens")
        if len(found.shape) != len(self.shape) or found.shape[free:] != self.shape[free:]:
            wanted = ["any", *self.shape[1:]] if free else list(self.shape)
            hint = "; where lengths differ, set 'kind: sequence'" if not free and self.source.ragged and len(self.shape) == 1 else ""
            raise Damaged(f"{place} has shape {list(found.shape)}, not [{', '.join(map(str, wanted))}]{hint}")
        if free and not len(found):
            raise Damaged(f"{place} has no time steps")

    def _cast(self, found: NDArray[Any], place: str) -> NDArray[Any]:
        numpy = require("numpy", extra="data")
        if found.dtype.kind == "f" and not bool(numpy.isfinite(found).all()):
            spot = [int(index) for index in numpy.argwhere(~numpy.isfinite(found))[0]]
            raise Damaged(f"{place} holds {found[tuple(spot)]} at {spot}: replace it by a number")
        if numpy.dtype(self._stored).kind in "iu" and found.dtype != self.dtype:
            raise Damaged(f"{place} holds values of type {found.dtype}, others are {self.dtype}")
        cast: NDArray[Any] = found.astype(self._stored, copy=False)
        if cast.dtype.kind == "f" and not bool(numpy.isfinite(cast).all()):
            raise Damaged(f"{place} holds {abs(found).max()}, which is too large for {self._stored}")
        return cast

    def _timed(self, row: int, found: NDArray[Any], place: str) -> dict[str, NDArray[Any] | None]:
        numpy = require("numpy", extra="data")
        length = len(found)
        if self.lengths is not None:
            length = int(self.lengths[row])
            if length != self.lengths[row] or not 1 <= length <= len(found):
                said = f"column {self.described.lengths!r} holds {self.lengths[row]:g}"
                raise Damaged(f"{self.table.where(row)}: {said}, and {place} has {len(found)} steps")
        length = min(length, self._steps)
        kept = found[:length]
        if self.kind == "tokens":
            if kept.size and (int(kept.min()) < 0 or int(kept.max()) >= 2**31):
                raise Damaged(
                    f"{place} holds the token {kept.min() if kept.min() < 0 else kept.max()}: numbers from 0 to 2147483647 are needed"
                )
            ids, mask = numpy.full(self._steps, self.described.padding, "int32"), numpy.zeros(self._steps, "uint8")
            ids[:length], mask[:length] = kept, kept != self.described.padding
            return {f"{self.name}.input_ids": ids, f"{self.name}.attention_mask": mask}
        with numpy.errstate(over="ignore", invalid="ignore"):
            cast = self._cast(kept, place)
        values = numpy.zeros((self._steps, *self.features), self._stored)
        values[:length] = cast.reshape(length, *self.features)
        if not self.sequential:
            return {self.name: values}
        return {f"{self.name}.values": values, f"{self.name}.lengths": numpy.array(length, "int64")}

    def files(self, row: int) -> list[Path]:
        """Return the files that a sample is read from."""
        return self.source.files(row)

    # --- what encoders take

    def inputs(self) -> Any:
        """Return the names of the stored arrays in the structure that the encoder takes."""
        if self.kind == "tokens":
            return {key: f"{self.name}.{key}" for key in ("input_ids", "attention_mask")}
        # The names stand where their arrays will be.
        return Sequences(*self._names()) if self.sequential else self.name  # type: ignore[arg-type]

    def decode(self, prepared: Prepared, train: Any) -> Callable[[Any], Any] | None:
        """Return what turns stored values into the encoder's input.

        :param train: the rows of the training split, over which the statistics go.
        """
        if self.kind == "tokens":
            return AsLong()
        name = self._names()[0]
        if self.described.standardise:
            measured = prepared.moments(name, train) if self.kind in ("sequence", "picture") else _moments(prepared, name, train)
            return Standardise(*measured)
        if self.dtype.name == "uint8":
            return Scaled(1 / 255)
        return None if self._stored == "float32" else _Float()

    def encoder(self) -> dict[str, Any]:
        """Return the encoder's name and options: what was asked for, with the size of the input where it is left out."""
        given = dict(self.described.encoder or {"name": {"vector": "mlp", "picture": "resnet"}.get(self.kind, "sequence")})
        steps = self.shape[0] if self.kind == "sequence" and not self.sequential else 1
        standard: dict[str, dict[str, Any]] = {
            "mlp": {"in_features": steps * math.prod(self.features)},
            "sequence": {"in_features": self.features[0] if self.features else 1},
            "resnet": {
                "depth": 10 if min(self.features[-2:], default=0) >= _DEEPER else 6,
                "in_channels": self.features[0] if self.features else 1,
            },
        }
        return {"name": given["name"], **standard.get(given["name"], {}), **given}


class _Float:
    """Widen stored numbers to 32-bit floats, leaving lengths as they are."""

    def __call__(self, value: Any) -> Any:
        return type(value)(value[0].float(), *value[1:]) if isinstance(value, tuple) else value.float()

    def __repr__(self) -> str:
        return "_Float()"


def _source(described: Described, description: Description, table: Table, ids: list[str]) -> Source:
    file = described.file
    if file is not None and "{" in file:
        return OneEach(described, description, table)
    parquet = (str(table.path) if file is None else file).lower().endswith((".parquet", ".pq"))
    if parquet:
        return Columns(described, description, table, ids)
    return Numbers(described, table) if file is None else RowEach(described, description, table)


def _moments(prepared: Prepared, name: str, rows: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation of every number of a vector over some samples, a piece of them in memory at a time."""
    array, wanted = prepared.array(name), prepared.chosen(rows)
    wanted = wanted[prepared.present(name)[wanted]]
    total, squares = torch.zeros(array.shape[1:], dtype=torch.float64), torch.zeros(array.shape[1:], dtype=torch.float64)
    for piece in torch.split(wanted, _PIECE):
        values = array[piece].double()
        total += values.sum(0)
        squares += values.square().sum(0)
    return mean_and_std(len(wanted), total, squares)
