"""What a data set is: a class with a name, a few facts about itself, and a way to load its three splits."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from equimodal._configurable import Configurable, option_defaults
from equimodal.data.downloads import cache_dir
from equimodal.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from equimodal.data.tensors import TensorSet

__all__ = ["Dataset", "Splits"]


@dataclass(frozen=True)
class Splits:
    """The three splits of a data set.

    :param train: what the network learns from.
    :param val: what decides between epochs, configurations and learning rates.
    :param test: what is read once, at the end.
    :param digest: a checksum of what the splits were taken from, where there is one: a run is not continued on other data.
    """

    train: TensorSet
    val: TensorSet
    test: TensorSet
    digest: str | None = field(default=None, kw_only=True)

    def parts(self) -> dict[str, TensorSet]:
        """Return the splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}


class Dataset(Configurable):
    """Base of the data sets; its constructor's arguments are the data set's options.

    A subclass sets the class attributes and writes :meth:`load`. Put into a public module of ``equimodal.data``, or registered
    under the entry point ``equimodal.data``, it is found by its name; from anywhere else, by ``"module:Class"``.

    :cvar name: the name by which it is asked for.
    :cvar summary: one plain sentence.
    :cvar licence: the licence of each part.
    :cvar citation: what to cite.
    :cvar modalities: the names of the modalities, the stronger one first. The order is fixed once for each data set, so that a
        difference between the two heads can turn negative when the dominance swaps.
    :cvar num_outputs: classes, labels or numbers to predict; for ordinal targets one less than there are classes.
    :cvar task: ``"single-label"``, ``"multilabel"``, ``"regression"`` or ``"ordinal"``.
    :cvar metric: the score by which models are compared; larger is better.
    :cvar encoders: for each modality the encoder used when none is asked for: its registered ``name`` and its options.
    :cvar class_names: the names of the classes or labels in the order of their numbers, where they have names.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    licence: ClassVar[str]
    citation: ClassVar[str]
    modalities: ClassVar[tuple[str, ...]]
    num_outputs: ClassVar[int]
    task: ClassVar[str] = "single-label"
    metric: ClassVar[str] = "accuracy"
    encoders: ClassVar[Mapping[str, Mapping[str, Any]]]
    class_names: Sequence[str] | None = None

    def load(self, data_dir: Path | None = None) -> Splits:
        """Read the data and return its splits.

        :param data_dir: the folder that holds the original files; the cache when not given. It is only ever read.
        :returns: train, validation and test split, on the CPU.
        :raises InputError: when a file is missing, cut short or altered.
        """
        raise NotImplementedError

    def fetch(self, data_dir: Path | None = None) -> Path:  # noqa: ARG002
        """Download the original files, verify them, and return the folder that holds them.

        :param data_dir: where to put them; the cache when not given.
        :raises InputError: when the data set is part of the package and there is nothing to fetch.
        """
        shipped = type(self).__module__.startswith("equimodal.")
        why = "is shipped with the package" if shipped else "says itself where its files are"
        raise InputError(f"data set {self.name!r} {why}: there is nothing to fetch, use it as it is")

    def verify(self, data_dir: Path | None = None) -> Path:
        """Check the files of the data set against their checksums.

        :param data_dir: the folder that holds the original files; the cache when not given.
        :returns: the folder that was verified.
        :raises InputError: when a file is missing, cut short or altered.
        """
        self.load(data_dir)
        return cache_dir() if data_dir is None else data_dir

    def shown(self, modality: str, value: Any) -> Any:  # noqa: ARG002
        """Return one sample's value of a modality as a reader takes it in: itself, or a text for tokens.

        :param value: as the encoder takes it, without the batch dimension.
        """
        return value

    @classmethod
    def description(cls) -> str:
        """Return a few lines about the data set, as ``equimodal data`` prints them, at most 80 columns wide."""
        facts = {
            "modalities": f"{', '.join(cls.modalities)} (stronger first)",
            "task": f"{cls.task}, {cls.num_outputs} outputs, {cls.metric}",
            "options": ", ".join(f"{name}={value!r}" for name, value in option_defaults(cls).items()) or "none",
            "licence": cls.licence,
            "cite": cls.citation,
        }
        lines = [textwrap.fill(f"{cls.name}: {cls.summary}", 80, subsequent_indent="  ")]
        lines += [textwrap.fill(text, 80, initial_indent=f"  {label:<10}  ", subsequent_indent=" " * 14) for label, text in facts.items()]
        return "\n".join(lines)
