"""What the quantities of a diagnosis are made of, as plain values."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

__all__ = [
    "ABLATIONS",
    "Ablation",
    "Bin",
    "Calibration",
    "Encoder",
    "Epoch",
    "Finding",
    "Interval",
    "Point",
    "Sample",
    "Shapley",
]

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

    def widened(self, half: float) -> Interval:
        """Return the interval with another, independent half width added as squares to both of its own; without ends none are made."""
        if self.value is None or self.low is None or self.high is None:
            return Interval(*self)
        return Interval(
            self.value, self.value - math.hypot(self.value - self.low, half), self.value + math.hypot(self.high - self.value, half)
        )


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

    def with_drawing(self, level: float) -> Shapley:
        r"""Return the same with intervals of the values that also hold what the drawing of orders leaves open; of exact values, themselves.

        Which samples there are and which orders are drawn are independent: the distances of an end from the value that each makes are
        added as squares, :math:`\sqrt{d^2 + (z\,e)^2}` with the error *e* and the normal quantile *z* of the level.

        >>> found = Shapley(Interval(0), Interval(1), {"audio": Interval(0.5, 0.47, 0.53)}, {}, False, 64, {"audio": 0.0204})
        >>> [round(end, 3) for end in found.with_drawing(0.95).values["audio"]]
        [0.5, 0.45, 0.55]
        """
        if not self.errors:
            return self
        z = NormalDist().inv_cdf((1 + level) / 2)
        values = {name: own.widened(z * self.errors.get(name, 0.0)) for name, own in self.values.items()}
        return dataclasses.replace(self, values=values)


@dataclass(frozen=True)
class Encoder:
    """One modality's encoder and what it returns.

    :param parameters: how many there are.
    :param trainable: how many of them ask for a gradient.
    :param feature_size: values per feature.
    :param feature_norm: mean Euclidean norm of the features.
    :param effective_rank: exponential of the entropy of the normalised singular values of the centred features. Its interval is of what
        many more samples would show, and may lie above the value: ``equimodal.diagnose.rank.rank_interval``.
    :param gradient_norm: norm of the gradient of the mean joint loss over the encoder's trainable parameters, where it was asked for. Its
        interval, too, is of many more samples, and may end below the value:
        ``equimodal.diagnose.gradient_intervals.gradient_intervals``.
    :param relative_gradient: that over the norm of these parameters.
    :param update_size: how far an epoch of training moved these parameters, over their norm: the way from the run's best checkpoint to its
        last one, divided by the epochs between, ``equimodal.diagnose.updates.run_update_sizes``. It is about weights, not samples, so
        that it has no interval. None where no run was given, or the best epoch is the last.
    """

    parameters: int
    trainable: int
    feature_size: int | None
    feature_norm: Interval | None = None
    effective_rank: Interval | None = None
    gradient_norm: Interval | None = None
    relative_gradient: Interval | None = None
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
