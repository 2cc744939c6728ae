"""What the sentences of a verdict are made from: the numbers of a record, their thresholds, and how they read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from equimodal.diagnose.digits import digits_of
from equimodal.report.words import METRIC_NAMES, metric_name
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from equimodal.diagnose.quantities import Interval
    from equimodal.diagnose.record import Diagnosis

__all__ = ["HARDLY", "NEGLIGIBLE", "TAU", "Facts", "Known", "evidence", "known"]

TAU = 0.2
"""The threshold of the utilization gap at which MILES begins, as the paper recommends."""
NEGLIGIBLE = 0.05
"""A loss is negligible up to this share of what the model gains over chance."""
HARDLY = 0.1
"""What one modality alone gains over chance is next to nothing up to this share of what the model gains."""
KINDS = ("mean", "absent", "zero", "permutation")
"""The ways to leave a modality out, that which the sentences speak of first."""
_NO_SHARES = ("r2",)
_NONE_OF_MANY = 3.0
"""What happens to none of n samples happens, with 95 % confidence, to at most 3/n of all (the rule of three)."""
_LEFT_OUT = {
    "mean": ("replaced by its mean", "replaced by their means"),
    "absent": ("left out", "left out"),
    "zero": ("replaced by zeros", "replaced by zeros"),
    "permutation": ("taken from other samples", "taken from other samples"),
}


class Known(NamedTuple):
    """A number with an interval that has both ends."""

    value: float
    low: float
    high: float


def known(interval: Interval | None) -> Known | None:
    """Return an interval that has its value and both ends, else None."""
    if interval is None or interval.value is None or interval.low is None or interval.high is None:
        return None
    return Known(interval.value, interval.low, interval.high)


def evidence(name: str, interval: Interval | Known | None) -> dict[str, Any]:
    """Return a number and its interval under names of their own."""
    if interval is None or interval.value is None:
        return {}
    ends = {f"{name}, low": interval.low, f"{name}, high": interval.high}
    return {name: interval.value, **{end: value for end, value in ends.items() if value is not None}}


class Facts:
    """The numbers that the rules ask for.

    :param diagnosis: the record.
    :ivar kind: the way of leaving out that the sentences speak of: the first of :data:`KINDS` that has every modality; None without any.
    :ivar losses: by modality what is lost without it, in that way.
    :ivar shares: the Shapley values of that way as they are in the record; None without.
    :ivar worth: by modality its Shapley value, in the same way; empty without. Of values from drawn orders the intervals hold the drawing
        too, see :meth:`equimodal.diagnose.Shapley.with_drawing`.
    :ivar other_ways: by every other way of leaving out its Shapley values.
    :ivar baseline: the score of knowing nothing: the commonest class, for R² the mean, else the model with every modality left out; None
        where unknown.
    :ivar negligible: the largest loss that counts as none.
    :ivar percent: whether scores are shares, which read in percent.
    :ivar digits: how many behind the point scores have.
    :ivar unseen: a loss that is smaller than this can leave every prediction as it is, so that no bootstrap shows it.
    :ivar tau: the threshold of the utilization gap: the run's own, else :data:`TAU`.
    """

    def __init__(self, diagnosis: Diagnosis) -> None:
        self.record = diagnosis
        self.names = diagnosis.modalities
        self.joint = diagnosis.heads.get(MULTIMODAL)
        self.joint_value = self.joint.value if self.joint is not None else None
        whole = [kind for kind in KINDS if set(self.names) <= diagnosis.ablations.get(kind, {}).keys()]
        self.kind = whole[0] if whole else None
        self.losses = {} if self.kind is None else {name: diagnosis.ablations[self.kind][name].loss for name in self.names}
        every = {kind: found.with_drawing(diagnosis.level) for kind, found in diagnosis.shapley.items()}
        kind = self.kind if self.losses else next((kind for kind in KINDS if kind in every), None)
        shares = every.get(kind or "")
        self.shares = diagnosis.shapley.get(kind or "")
        self.worth: Mapping[str, Interval] = shares.values if shares is not None else {}
        self.interactions: Mapping[str, Interval] = shares.interactions if shares is not None else {}
        self.other_ways = {kind: every[kind] for kind in KINDS if kind != self.kind and kind in every}
        self.empty = shares.empty if shares is not None else None
        self.baseline = self._baseline()
        self.gain = None if self.joint_value is None else self.joint_value - (self.baseline or 0.0)
        self.negligible = NEGLIGIBLE * max(self.gain or 0.0, 0.0)
        self.percent = self._is_percent()
        self.digits = 1 if self.percent else digits_of(diagnosis)
        self.unseen = min(1.0, _NONE_OF_MANY / diagnosis.samples) if self.percent and diagnosis.samples else 0.0
        self.tau = TAU if diagnosis.tau is None else diagnosis.tau

    def _baseline(self) -> float | None:
        if self.record.chance is not None:
            return self.record.chance
        if self.record.metric == "r2":
            return 0.0  # of always answering the mean; predictions of other samples are worse than that
        for kind in ("permutation", *KINDS):
            found = self.record.shapley.get(kind)
            if found is not None and found.empty.value is not None:
                return found.empty.value
        return None

    def _is_percent(self) -> bool:
        return self.record.metric in METRIC_NAMES and self.record.metric not in _NO_SHARES

    @property
    def metric(self) -> str:
        """The score as it reads in a sentence."""
        return metric_name(self.record.metric)

    @property
    def left_out(self) -> str:
        """What was done to a modality, in words."""
        return self.how(self.kind or "")

    @staticmethod
    def how(kind: str, *, several: bool = False) -> str:
        """Return what a way of leaving out does, in words.

        :param several: whether it is done to more than one modality.
        """
        return _LEFT_OUT.get(kind, ("left out", "left out"))[several]

    def share(self, name: str) -> float | None:
        """Return the part of what all modalities give that a modality has by its Shapley value; None where that makes no sense."""
        values = [interval.value for interval in self.worth.values()]
        if name not in self.worth or None in values:
            return None
        total = sum(value for value in values if value is not None)
        own = self.worth[name].value
        return own / total if own is not None and total > self.negligible else None

    # How numbers read.

    def score(self, value: float | None) -> str:
        """Return a score as it reads in a sentence."""
        if value is None:
            return "an unknown score"
        return f"{_number(100 * value, self.digits)} %" if self.percent else _number(value, self.digits)

    def scored(self, interval: Interval | Known | None) -> str:
        """Return a score with its interval."""
        if interval is None or interval.value is None:
            return self.score(None)
        return f"{self.score(interval.value)}{self._ends(interval.low, interval.high)}"

    def points(self, value: float, *, signed: bool = False) -> str:
        """Return a difference of scores."""
        number = _number(100 * value if self.percent else value, self.digits)
        return f"+{number}" if signed and value > 0 and number.strip("0.") else number

    def lost(self, interval: Interval | Known, *, signed: bool = False) -> str:
        """Return a difference of scores with its interval."""
        assert interval.value is not None
        return f"{self.points(interval.value, signed=signed)}{self.unit}{self._ends(interval.low, interval.high, signed=signed)}"

    @property
    def unit(self) -> str:
        """What differences of scores are counted in, with a space before it."""
        return " points" if self.percent else ""

    def _ends(self, low: float | None, high: float | None, *, signed: bool = False) -> str:
        return "" if low is None or high is None else f" ({self.points(low, signed=signed)} to {self.points(high, signed=signed)})"

    @staticmethod
    def plain(interval: Interval | Known) -> str:
        """Return a rate with its interval."""
        assert interval.value is not None
        ends = "" if interval.low is None or interval.high is None else f" ({_number(interval.low, 2)} to {_number(interval.high, 2)})"
        return f"{_number(interval.value, 2)}{ends}"

    # What single modalities tell beside the joint model.

    def reads(self, name: str) -> tuple[str, Interval] | None:
        """Return what is known of how much can be told from one modality: its linear probe, else its head, and what it is called."""
        if (probe := self.record.probes.get(name)) is not None and probe.value is not None:
            return "a linear probe on its features", probe
        head = self.record.heads.get(name)
        return None if head is None or head.value is None else ("its own head", head)

    def informative(self, interval: Interval) -> bool | None:
        """Tell whether a score of one modality is above knowing nothing; None where that cannot be told."""
        if self.baseline is None or (own := known(interval)) is None:
            return None
        if own.high <= self.baseline + HARDLY * (self.gain or 0.0) or own.low > self.baseline >= own.value - self.negligible:
            return False
        return True if own.low > self.baseline else None

    def head(self, name: str) -> float | None:
        """Return the score of a modality's own head; None where it has none."""
        own = self.record.heads.get(name)
        return None if own is None else own.value

    def behind(self, name: str) -> tuple[Known, Known] | None:
        """Return the scores of a modality's head and of a linear probe on the same features, where the probe is clearly better."""
        head, probe = known(self.record.heads.get(name)), known(self.record.probes.get(name))
        if head is None or probe is None or probe.low <= head.high or probe.value - head.value <= self.negligible:
            return None
        return head, probe

    def frozen(self, name: str) -> bool:
        """Tell whether no parameter of a modality's encoder asks for a gradient."""
        encoder = self.record.encoders.get(name)
        return encoder is not None and encoder.parameters > 0 and encoder.trainable == 0

    def slowed(self, name: str) -> tuple[int, float]:
        """Return in how many epochs a modality's learning rate was lowered by a method, and to what multiple at least."""
        values = [epoch.multipliers.get(name) for epoch in self.record.curves or ()]
        lowered = [value for value in values if value is not None and value < 1]
        return len(lowered), min(lowered, default=1.0)


def _number(value: float, digits: int) -> str:
    rounded = round(value, digits) + 0.0  # no minus before zero
    return f"{rounded:,.{digits}f}".replace("-", "−")


def first_epochs(facts: Facts, leader: str) -> str:
    """Return since which epoch the gap of the validation scores is above τ with one head ahead, in words; empty where it is not."""
    epochs: Sequence[Any] = facts.record.curves or ()
    since = None
    for epoch in reversed(epochs):
        scores = {name: epoch.val.get(name) for name in facts.names}
        ahead = [name for name, score in scores.items() if score is not None and score == max(v for v in scores.values() if v is not None)]
        if epoch.gap is None or epoch.gap <= facts.tau or leader not in ahead:
            break
        since = epoch.epoch
    if since is None:
        return ""
    last = epochs[-1].epoch
    return "in every epoch of its run" if since == epochs[0].epoch and last > since else f"since epoch {since} of {last}"
