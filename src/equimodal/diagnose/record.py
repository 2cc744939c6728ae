"""What a diagnosis found, as plain values: everything that sentences, pages and tables are made from."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from equimodal.diagnose.plain import Unreadable, as_plain, from_plain
from equimodal.errors import InputError, first_line

if TYPE_CHECKING:
    from os import PathLike

__all__ = [
    "ABLATIONS",
    "FORMAT",
    "Ablation",
    "Bin",
    "Calibration",
    "Diagnosis",
    "Encoder",
    "Epoch",
    "Finding",
    "Interval",
    "Point",
    "Sample",
    "Shapley",
    "read_diagnosis",
]

FORMAT = 1
"""The version of the JSON; another one is refused."""
ABLATIONS = ("zero", "mean", "permutation", "absent")
"""The ways to leave a modality out. ``"absent"`` is the model's own, of a model that is called with a subset of its modalities."""


class Interval(NamedTuple):
    """A number with its percentile bootstrap interval over samples; None where it is undefined or was not resampled."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float | None, low: float | None = None, high: float | None = None) -> Interval:
        """Return the interval with None in place of numbers that are not finite.

        >>> Interval.of(0.5, float("nan"))
        Interval(value=0.5, low=None, high=None)
        """
        return cls(*(None if number is None or not math.isfinite(number) else float(number) for number in (value, low, high)))


@dataclass(frozen=True)
class Ablation:
    """The joint model without one modality.

    :param score: of the joint model with the modality ablated.
    :param loss: the joint model's score minus that, on the same samples; positive where the modality helps.
    """

    score: Interval
    loss: Interval


@dataclass(frozen=True)
class Shapley:
    """How the joint model's score is shared out among its modalities; the values add up to ``full`` minus ``empty``.

    :param empty: the score with every modality ablated.
    :param full: the score with all of them.
    :param values: by modality.
    :param interactions: by pair, ``"audio × image"``; positive where two together are worth more than one by one. Empty where sampled.
    :param exact: whether every subset was evaluated.
    :param orders: how many orders of the modalities were drawn, where it is not exact.
    :param errors: by modality the standard error that the drawing leaves, where it is not exact.
    """

    empty: Interval
    full: Interval
    values: dict[str, Interval]
    interactions: dict[str, Interval]
    exact: bool = True
    orders: int | None = None
    errors: dict[str, float] | None = None


@dataclass(frozen=True)
class Encoder:
    """One modality's encoder and what it returns.

    :param parameters: how many there are.
    :param trainable: how many of them ask for a gradient.
    :param feature_size: values per feature.
    :param feature_norm: mean Euclidean norm of the features.
    :param effective_rank: exponential of the entropy of the normalised singular values of the centred features.
    :param gradient_norm: norm of the gradient of the loss over the encoder's parameters, where it was asked for.
    :param update_size: that, relative to the norm of the parameters.
    """

    parameters: int
    trainable: int
    feature_size: int | None
    feature_norm: Interval | None = None
    effective_rank: float | None = None
    gradient_norm: float | None = None
    update_size: float | None = None


@dataclass(frozen=True)
class Bin:
    """The samples whose confidence lies in one of equally wide bins.

    :param confidence: their mean probability of the predicted class; None where there is none.
    :param accuracy: the share of them that is right; None where there is none.
    :param count: how many there are.
    """

    confidence: float | None
    accuracy: float | None
    count: int


@dataclass(frozen=True)
class Calibration:
    """Whether a head is as often right as it is sure.

    :param expected_error: expected calibration error.
    :param confidence: mean probability of the predicted class.
    :param bins: from the least to the most sure.
    """

    expected_error: Interval
    confidence: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Point:
    """The joint model's score where a share of the samples lacks a modality, or has noise added to it.

    :param modality: which one.
    :param kind: what was done to it.
    :param share: of samples that lack it, or the noise's standard deviation relative to that of the input.
    :param score: the score.
    """

    modality: str
    kind: Literal["missing", "noise"]
    share: float
    score: Interval


@dataclass(frozen=True)
class Epoch:
    """What a run recorded of one epoch; scores by head.

    :param epoch: its number, from 1.
    :param train: scores of the train split.
    :param val: scores of the validation split.
    :param gap: the utilization gap δ of the validation scores.
    :param multipliers: of the learning rates, by modality.
    """

    epoch: int
    train: dict[str, float | None]
    val: dict[str, float | None]
    gap: float | None = None
    multipliers: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """A sample on which the heads disagree.

    :param index: its number within the data that were diagnosed.
    :param target: its class.
    :param predicted: by head the predicted class.
    :param confidence: by head the probability of that class.
    """

    index: int
    target: int
    predicted: dict[str, int]
    confidence: dict[str, float]


@dataclass(frozen=True)
class Finding:
    """One sentence of the verdict.

    :param kind: a word for programs, such as ``"dominated"``.
    :param subject: the modality or head it is about; ``"multimodal"`` for the whole model.
    :param sentence: what was found, in plain words.
    :param evidence: the numbers behind it, by name.
    :param advice: what to try next; None where nothing should be done.
    """

    kind: str
    subject: str
    sentence: str
    evidence: dict[str, Any]
    advice: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`equimodal.diagnose` found. A quantity that is not there is empty or None, and ``skipped`` says why.

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
    :param robustness: where it was asked for.
    :param curves: epochs of the run, where a run folder is given.
    :param generalisation: by head, train score minus validation score; positive where it overfits. None where it is not known.
    :param disagreements: samples on which the heads disagree most, the most first.
    :param findings: the verdict.
    :param skipped: by quantity, one line that says why it is not there.
    :param cost: ``"seconds"``, ``"encoder_passes"`` and the like.
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
    robustness: tuple[Point, ...] = ()
    curves: tuple[Epoch, ...] | None = None
    generalisation: dict[str, float | None] | None = None
    disagreements: tuple[Sample, ...] = ()
    findings: tuple[Finding, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
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
            return from_plain(cls, values)
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
