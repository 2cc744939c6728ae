"""What a preparation is to write: which samples, which arrays, and how one sample is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Plan", "Stored"]


@dataclass(frozen=True)
class Stored:
    """One array of a prepared set.

    :param shape: of one sample.
    :param dtype: its type as numpy names it, such as ``"uint8"`` or ``"float32"``.
    :param moments: whether sums and squares of each channel are kept for every sample, so that any training split can standardise. Of a
        sequence ``"NAME.values"`` beside ``"NAME.lengths"`` only the steps before its end count.
    :param channels: whether the channels are the ``"first"`` dimension, as in pictures, or the ``"last"``, as in vectors and sequences.
    :param optional: whether a sample may lack it; its row is then zero and its presence mask false.
    """

    shape: tuple[int, ...]
    dtype: str
    moments: bool = False
    channels: Literal["first", "last"] = "first"
    optional: bool = False


@dataclass(frozen=True)
class Plan:
    """What a preparation is to write.

    :param ids: the samples' names, each once, in the order of the rows.
    :param arrays: the arrays by name; those of a modality that is more than one tensor are named ``"skeleton.values"``.
    :param read: returns the arrays of the sample of a number, None for an optional one that it lacks. Called from several threads at
        once; raises :class:`equimodal.data.reading.originals.Damaged` for a file that cannot be used.
    :param columns: what is known of the samples beside that: targets, splits, speakers; each ``[samples]`` or ``[samples, ...]``.
    :param facts: what is known of the whole: names of classes, a vocabulary; plain values that JSON can hold.
    :param notes: sentences for whoever prepares, such as in what the originals at hand differ from the published ones.
    :param files: returns the originals that a sample is read from, where each has its own: after a change only these are read again.
    """

    ids: Sequence[str]
    arrays: Mapping[str, Stored]
    read: Callable[[int], Mapping[str, NDArray[Any] | None]]
    columns: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    files: Callable[[int], Sequence[Path]] | None = None

    def digest(self) -> str:
        """Return a hash of what decides the rows: names and arrays."""
        arrays = {name: [list(stored.shape), stored.dtype, stored.moments] for name, stored in self.arrays.items()}
        return hashlib.sha256(json.dumps([list(self.ids), arrays]).encode()).hexdigest()
