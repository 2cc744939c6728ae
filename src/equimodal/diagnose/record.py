"""What a diagnosis found, as plain values: everything that sentences, pages and tables are made from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from equimodal.diagnose.plain import Unreadable, as_plain, from_plain
from equimodal.diagnose.quantities import (  # noqa: TC001 (from_plain looks the types up when it reads)
    Ablation,
    Calibration,
    Encoder,
    Epoch,
    Finding,
    Interval,
    Point,
    Sample,
    Shapley,
)
from equimodal.errors import InputError, first_line

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["FORMAT", "Diagnosis", "read_diagnosis"]

FORMAT = 2
"""The version of the JSON; another one is refused."""


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`~equimodal.diagnose.diagnose` found. A quantity that is not there is empty or None, and ``skipped`` says why.

    :param title: the model and the data in words.
    :param modalities: the model's, in its order.
    :param task: the kind of targets.
    :param metric: the score; larger is better.
    :param split: what the data are called.
    :param samples: how many samples have every modality; all quantities are about these.
    :param incomplete: how many others lack one or more.
    :param classes: the names of the classes, where they are known.
    :param level: of all intervals.
    :param resamples: bootstrap samples behind every interval; the same draws for all.
    :param seed: of the draws.
    :param ablated: where modalities are left out: in the encoders' features, in the inputs, or by the model itself, which is told so.
    :param mean_of: the samples whose mean stands in for a modality.
    :param donors: how many other samples lend each sample their modality in the ablation by permutation.
    :param probes_fitted_on: the train split, or the same data in five folds.
    :param chance: the score of always predicting the commonest class, where the metric is accuracy.
    :param heads: scores, ``"multimodal"`` first; heads that the model has not are left out.
    :param probes: scores of linear probes on frozen features, by modality, and on all of them together under ``"multimodal"``.
    :param ablations: by kind (:data:`ABLATIONS`) and modality.
    :param utilization: conditional utilization rates by modality (Eq. 4), from the heads; empty without them.
    :param gap: utilization gap δ (Eq. 5); None without heads.
    :param shapley: by kind of ablation.
    :param valuation: shares of samples by what they need: ``"audio alone"``, ``"either"``, ``"both needed"``, ``"neither"`` and the like.
    :param encoders: by modality.
    :param calibration: by head.
    :param agreement: by pair of heads, ``"audio & image"``, the share of samples of which they predict the same class.
    :param kappa: by pair of heads Cohen's κ, their agreement beyond that of chance.
    :param robustness: where it was asked for.
    :param curves: epochs of the run, where a run folder is given.
    :param tau: the threshold of MILES in the run, where it had one; the verdict then goes by it.
    :param generalisation: by head the score of the train split minus that of these samples, positive where it overfits; from the records of
        the run, without intervals, where no train split was given. None where neither is known.
    :param disagreements: samples on which the heads disagree most, the most first.
    :param findings: the verdict.
    :param skipped: by quantity, one line that says why it is not there.
    :param cost: ``"seconds"``, ``"encoder_passes"`` and the like.
    :param digest: of the samples' numbers and targets: two diagnoses of the same samples have the same.
    :param train_digest: the same of the train split; empty where none was used.
    :param version: of the package that made it.
    :param format: of the JSON.
    """

    title: str
    modalities: tuple[str, ...]
    task: str
    metric: str
    split: str
    samples: int
    incomplete: int
    level: float
    resamples: int
    seed: int
    ablated: Literal["features", "inputs", "subsets"] = "features"
    mean_of: Literal["train", "given"] = "given"
    donors: int = 0
    probes_fitted_on: Literal["train", "cross-fitted"] = "cross-fitted"
    classes: tuple[str, ...] | None = None
    chance: float | None = None
    heads: dict[str, Interval] = field(default_factory=dict)
    probes: dict[str, Interval] = field(default_factory=dict)
    ablations: dict[str, dict[str, Ablation]] = field(default_factory=dict)
    utilization: dict[str, Interval] = field(default_factory=dict)
    gap: Interval | None = None
    shapley: dict[str, Shapley] = field(default_factory=dict)
    valuation: dict[str, Interval] = field(default_factory=dict)
    encoders: dict[str, Encoder] = field(default_factory=dict)
    calibration: dict[str, Calibration] = field(default_factory=dict)
    agreement: dict[str, Interval] = field(default_factory=dict)
    kappa: dict[str, Interval] = field(default_factory=dict)
    robustness: tuple[Point, ...] = ()
    curves: tuple[Epoch, ...] | None = None
    tau: float | None = None
    generalisation: dict[str, Interval] | None = None
    disagreements: tuple[Sample, ...] = ()
    findings: tuple[Finding, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    digest: str = ""
    train_digest: str = ""
    version: str = ""
    format: int = FORMAT

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON holds it; numbers that are not finite become None."""
        plain: dict[str, Any] = as_plain(self)
        return {"format": plain.pop("format"), **plain}

    @classmethod
    def from_dict(cls, values: Any, *, place: str = "it") -> Diagnosis:
        """Return the diagnosis of which :meth:`as_dict` made this.

        :param place: where the values come from, for the message.
        :raises InputError: for anything else, in one line that says what is wrong.
        """
        if not isinstance(values, dict) or not {"format", "modalities", "ablations"} <= values.keys():
            raise InputError(f"{place} holds no diagnosis: give the diagnosis.json that equimodal diagnose wrote")
        if values["format"] != FORMAT:
            raise InputError(f"{place} holds a diagnosis of format {values['format']!r}: this version reads {FORMAT}; diagnose anew")
        try:
            return from_plain(cls, {"tau": None, "train_digest": "", **values})  # records made before they were kept have none
        except Unreadable as error:
            raise InputError(f"{place} holds a damaged diagnosis: {error}; diagnose anew") from None

    def to_json(self) -> str:
        """Return the diagnosis as JSON, which :meth:`from_json` reads."""
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, place: str = "it") -> Diagnosis:
        """Return the diagnosis in a JSON text.

        :param place: where the text comes from, for the message.
        :raises InputError: for a text that is no JSON, or none of a diagnosis.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise InputError(f"{place} is no whole JSON ({first_line(error)}): diagnose anew") from None
        return cls.from_dict(values, place=place)

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write ``diagnosis.json`` and ``diagnosis.csv`` into a folder, and ``diagnosis.html`` where the extra ``plots`` is installed.

        :param folder: made where it is not there; files of these names are replaced.
        :returns: the folder.
        :raises CannotWrite: when a file cannot be written.
        """
        from equimodal.diagnose.saving import save

        return save(self, folder)

    def __str__(self) -> str:
        from equimodal.diagnose.text import render

        text: str = render(self)
        return text


def read_diagnosis(path: str | PathLike[str]) -> Diagnosis:
    """Return the diagnosis in a file, or in a folder's ``diagnosis.json``.

    :raises InputError: for a file that is not there, or holds none.
    """
    file = Path(path)
    file = file / "diagnosis.json" if file.is_dir() else file
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from None
    return Diagnosis.from_json(text, place=str(file))
