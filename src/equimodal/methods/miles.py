"""MILES, the modality-informed learning-rate scheduler: its rule, the scheduler for any loop, and the training method."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from equimodal.errors import InputError
from equimodal.groups import LearningRateMultipliers
from equimodal.methods._checks import is_number, is_whole, need
from equimodal.methods.base import EpochContext, Method
from equimodal.methods.space import Uniform
from equimodal.scores import MULTIMODAL, Scores, checked_scores, conditional_utilization, has_signal, pairwise_gaps

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from equimodal.methods.space import Distribution

__all__ = ["MILES", "MILESMethod", "MILESRule", "NoSignalWarning", "UncertainGapWarning", "sampling_error", "sampling_errors", "slower"]


class UncertainGapWarning(UserWarning):
    """The utilization gap lies so close to τ that the sampling error of the scores decides on which side."""


class NoSignalWarning(UserWarning):
    """The multimodal score has been zero or negative from the first epoch on, so that MILES has never acted."""


SILENT_EPOCHS = 5
"""After so many first epochs without a positive score :class:`NoSignalWarning` is given."""


def slower(joint: float, first: float, second: float, tau: float) -> Literal["neither", "first", "second"]:
    r"""Return which of two modalities Algorithm 1 slows, given the three scores.

    With :math:`u_1 = (s - s_2)/s`, :math:`u_2 = (s - s_1)/s` and :math:`\delta = |u_1 - u_2|`: neither when :math:`\delta \le \tau` or both
    rates are negative; else the one with the positive rate where the other's is negative; else the one with the larger rate, and the first
    at an exact tie.

    >>> slower(0.7, 0.6, 0.4, tau=0.2), slower(0.7, 0.6, 0.5, tau=0.2), slower(0.3, 0.4, 0.6, tau=0.2)
    ('first', 'neither', 'neither')

    :param joint: the multimodal score *s*, positive.
    :param first: the score of the first modality's head.
    :param second: the score of the second modality's head.
    :param tau: the target difference threshold τ.
    """
    u_first = (joint - second) / joint
    u_second = (joint - first) / joint
    if abs(u_first - u_second) <= tau or (u_first < 0 and u_second < 0):
        return "neither"
    if u_first > 0 and u_second < 0:
        return "first"
    if u_first < 0 and u_second > 0:
        return "second"
    return "second" if u_first < u_second else "first"


def sampling_errors(scores: Scores, counts: int | Mapping[str, int]) -> dict[tuple[str, str], float]:
    r"""Return a 95 % margin of every pair's utilization gap, were the samples drawn anew.

    Every score is taken as a proportion of independent samples and the scores as independent of each other, which errs on the wide side
    because heads agree on easy samples. To first order, with :math:`v_k = s_k (1 - s_k) / n_k`,

    .. math:: 1.96\,\sqrt{v_i + v_j + \delta_{ij}^2\, v} \; / \; s

    >>> {pair: round(margin, 3) for pair, margin in sampling_errors({"multimodal": 0.8, "audio": 0.5, "image": 0.7}, 100).items()}
    {('audio', 'image'): 0.168}

    :param scores: accuracies or other proportions between 0 and 1.
    :param counts: the number of samples behind every score, or behind each by name.
    :raises InputError: for a score outside 0 to 1 or a count below 1.
    """
    values = checked_scores(scores)
    sizes = dict(counts) if isinstance(counts, Mapping) else dict.fromkeys(values, counts)
    variance = {}
    for name, score in values.items():
        if name not in sizes or not int(sizes[name]) >= 1:
            raise InputError(f"the sample count of {name!r} is {sizes.get(name)}: give a whole number of at least 1")
        if not 0.0 <= score <= 1.0:
            raise InputError(
                f"the score of {name!r} is {score}: sampling errors are known for proportions between 0 and 1 only; leave counts out"
            )
        variance[name] = score * (1.0 - score) / int(sizes[name])
    return {
        (first, second): 1.96 * math.sqrt(variance[first] + variance[second] + gap**2 * variance[MULTIMODAL]) / values[MULTIMODAL]
        for (first, second), gap in pairwise_gaps(values).items()
    }


def sampling_error(scores: Scores, counts: int | Mapping[str, int]) -> float:
    """Return the margin of the largest utilization gap; see :func:`sampling_errors`."""
    gaps = pairwise_gaps(scores)
    return sampling_errors(scores, counts)[max(gaps, key=gaps.__getitem__)]


class _Pair(NamedTuple):
    first: float
    second: float


class MILESRule:
    """The rule of MILES alone: scores in, one multiplier per modality out; no optimizer in sight.

    Every pair of modalities runs Algorithm 1 with two multipliers of its own, and a modality's multiplier is the smallest that any of its
    pairs holds. For two modalities this is Algorithm 1 as printed; the paper leaves more than two to the reader (Section VII).

    The arguments are those of :class:`MILES`, with the modalities in place of the optimizer.
    """

    def __init__(
        self,
        modalities: tuple[str, ...],
        tau: float = 0.2,
        mu: float = 0.5,
        *,
        restore_other: bool = False,
        every: int = 1,
        start: int = 0,
        smoothing: float = 0.0,
    ) -> None:
        if len(modalities) < 2:
            raise InputError(f"MILES balances at least two modalities, got {', '.join(modalities) or 'none'}")
        need(is_number(tau) and 0.0 <= tau <= 1.0, "tau", tau, "a number from 0 to 1")
        need(is_number(mu) and 0.0 < mu <= 1.0, "mu", mu, "a number above 0 and at most 1 (1 disables MILES)")
        need(is_whole(every) and every >= 1, "every", every, "a whole number of epochs of at least 1")
        need(is_whole(start) and start >= 0, "start", start, "a whole number of epochs of at least 0")
        need(is_number(smoothing) and 0.0 <= smoothing < 1.0, "smoothing", smoothing, "a number of at least 0 (off) and below 1")
        self.modalities = tuple(modalities)
        self.tau = tau
        self.mu = mu
        self.restore_other = restore_other
        self.every = every
        self.start = start
        self.smoothing = smoothing
        self.history: list[dict[str, Any]] = []
        self._pairs = dict.fromkeys(combinations(self.modalities, 2), _Pair(1.0, 1.0))
        self._smoothed: dict[str, float] = {}

    @property
    def epoch(self) -> int:
        """The number of epochs seen."""
        return len(self.history)

    @property
    def multipliers(self) -> dict[str, float]:
        """The multiplier of every modality: μ or 1."""
        held = dict.fromkeys(self.modalities, 1.0)
        for (first, second), pair in self._pairs.items():
            held[first] = min(held[first], pair.first)
            held[second] = min(held[second], pair.second)
        return held

    def step(self, scores: Scores, counts: int | Mapping[str, int] | None = None) -> dict[str, float]:
        """Take one epoch's scores and return the multipliers for the next; see :meth:`MILES.step`."""
        epoch = self.epoch + 1
        values = checked_scores(scores, self.modalities, place=f"epoch {epoch}")
        seen = values
        if self.smoothing and self._smoothed:
            seen = {name: self.smoothing * self._smoothed[name] + (1.0 - self.smoothing) * value for name, value in values.items()}
        margins = sampling_errors(seen, counts) if counts is not None and has_signal(seen) else {}
        self._smoothed = seen
        if not has_signal(values) or not has_signal(seen):
            decision = "no signal"
        elif epoch <= self.start or (epoch - self.start) % self.every:
            decision = "waiting"
        else:
            decision = self._apply(seen)
        self._record(epoch, values, seen, decision, margins)
        return self.multipliers

    def _apply(self, scores: Mapping[str, float]) -> str:
        slowed = set()
        for (first, second), held in self._pairs.items():
            choice = slower(scores[MULTIMODAL], scores[first], scores[second], self.tau)
            if choice == "neither":
                self._pairs[first, second] = _Pair(1.0, 1.0)
            elif choice == "first":
                self._pairs[first, second] = _Pair(self.mu, 1.0 if self.restore_other else held.second)
                slowed.add(first)
            else:
                self._pairs[first, second] = _Pair(1.0 if self.restore_other else held.first, self.mu)
                slowed.add(second)
        return f"slow {', '.join(name for name in self.modalities if name in slowed)}" if slowed else "balanced"

    def _record(self, epoch: int, scores: dict[str, float], seen: dict[str, float], decision: str, margins: Mapping[Any, float]) -> None:
        signal = has_signal(seen)
        gaps = pairwise_gaps(seen)
        widest = max(gaps, key=gaps.__getitem__)
        record: dict[str, Any] = {
            "epoch": epoch,
            "scores": scores,
            "utilization": conditional_utilization(seen) if signal else dict.fromkeys(self.modalities),
            "gap": gaps[widest] if signal else None,
            "multipliers": self.multipliers,
            "decision": decision,
        }
        if self.smoothing:
            record["smoothed"] = seen
        if margins:
            record["margin"] = margins[widest]
            # Only where the rule was applied has chance decided anything.
            decided = decision not in ("waiting", "no signal")
            record["uncertain"] = [[*pair] for pair, margin in margins.items() if decided and abs(gaps[pair] - self.tau) <= margin]
        self.history.append(record)

    def state_dict(self) -> dict[str, Any]:
        """Return the pairs' multipliers, the smoothed scores and the history, as plain numbers, strings, lists and dicts."""
        return {
            "modalities": list(self.modalities),
            "pairs": [[first, second, *pair] for (first, second), pair in self._pairs.items()],
            "smoothed": dict(self._smoothed),
            "history": [dict(record) for record in self.history],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; the hyper-parameters stay those of the constructor.

        :raises InputError: for a state of other modalities, a foreign or a damaged one; nothing changes then.
        """
        missing = [key for key in ("modalities", "pairs", "smoothed", "history") if key not in state]
        if missing:
            raise InputError(f"this is no state of MILES: it has no {missing[0]!r} (its keys: {', '.join(map(str, state))})")
        try:
            modalities = tuple(map(str, state["modalities"]))
            pairs = {(first, second): _Pair(float(one), float(other)) for first, second, one, other in state["pairs"]}
            smoothed = {name: float(score) for name, score in dict(state["smoothed"]).items()}
            history = [dict(record) for record in state["history"]]
        except (TypeError, ValueError) as error:
            raise InputError(f"this state of MILES is damaged ({error}): use an earlier checkpoint") from None
        if modalities != self.modalities:
            raise InputError(f"the state is of modalities {', '.join(modalities)}, this scheduler of {', '.join(self.modalities)}")
        sound = all(0.0 < multiplier <= 1.0 for pair in pairs.values() for multiplier in pair)
        if not sound or pairs.keys() != self._pairs.keys() or (smoothed and smoothed.keys() != {MULTIMODAL, *modalities}):
            raise InputError("this state of MILES is damaged (its pairs or scores do not fit its modalities): use an earlier checkpoint")
        self._pairs, self._smoothed, self.history = pairs, smoothed, history


class MILES:
    r"""Modality-informed learning-rate scheduler (Guerra-Manzanares & Shamout, IJCNN 2025).

    After every epoch it compares how much the joint prediction gains from each modality, and lowers the learning rate of the dominant one
    until the gap has closed (Algorithm 1 of the paper).

    .. math::
        u_A = \frac{s - s_B}{s}, \qquad u_B = \frac{s - s_A}{s}, \qquad \delta = |u_A - u_B|

    - :math:`s, s_m`: score of the multimodal prediction and of modality *m*'s own head; larger is better.
    - :math:`u_m`: conditional utilization rate (Eq. 4); δ: utilization gap (Eq. 5).
    - τ (``tau``), μ (``mu``): threshold and reduction factor.
    - :math:`\alpha_m`: the learning rate that modality *m*'s groups have from the optimizer and any other scheduler;
      :math:`f_m \alpha_m` is the one used. Multipliers :math:`f_m` are μ or 1 and never compound.

    If :math:`\delta \le \tau`, or both rates are negative, both multipliers become 1. Otherwise the modality whose rate is positive
    while the other's is negative, or else the one with the larger rate, gets μ, and the other keeps the multiplier it has.

    >>> import torch
    >>> from equimodal import MILES, modality_groups
    >>> model = torch.nn.ModuleDict({"audio": torch.nn.Linear(4, 2), "image": torch.nn.Linear(8, 2), "fusion": torch.nn.Linear(4, 3)})
    >>> groups = modality_groups(model, {"audio": model["audio"], "image": model["image"]}, lr=0.1)
    >>> optimizer = torch.optim.Adam(groups)
    >>> scheduler = MILES(optimizer, tau=0.2, mu=0.5)
    >>> for epoch in range(2):
    ...     # train one epoch, then measure the validation split
    ...     scores = {"multimodal": 0.9, "audio": 0.85, "image": 0.4 + 0.4 * epoch}
    ...     scheduler.step(scores)
    ...     print(scheduler.multipliers)
    {'audio': 0.5, 'image': 1.0}
    {'audio': 1.0, 'image': 1.0}

    It composes with every scheduler of ``torch.optim.lr_scheduler``, in either order of construction: the multiplier takes effect inside
    ``optimizer.step`` only, so ``group["lr"]`` always holds what it would hold without MILES. Log :meth:`get_last_lr` for the effective
    rates. It is no ``LRScheduler``, so that trainers do not step it without scores.

    :param optimizer: a ``torch.optim`` optimizer whose groups come from :func:`equimodal.modality_groups`, two modalities or more.
    :param tau: target difference threshold τ, 0 to 1; default 0.2, the paper's recommended start.
    :param mu: reduction factor μ, above 0 and at most 1; default 0.5, the paper's best (Table V); 1 disables MILES.
    :param restore_other: give the other modality its full rate back whenever one is slowed. Off by default: in Algorithm 1 as printed the
        other multiplier stays, so that both are slowed when the dominance swaps without passing through balance. The sentence "only one
        modality's learning rate is adjusted per epoch" also admits this reading. Tables II to VI hold final scores and Figure 2 a run in
        which one modality is slowed, so no figure of the paper tells the two apart.
    :param every: apply the rule every so many epochs (default 1, as in the paper), keeping the multipliers in between.
    :param start: number of first epochs whose scores change nothing (default 0, as in the paper), e.g. while another scheduler warms up.
    :param smoothing: weight of the past in an exponential moving average of the scores, 0 (off, as in the paper) to below 1.
    :raises InputError: for a hyper-parameter out of range, an optimizer without tagged groups or with fewer than two modalities, or
        one whose rates are already multiplied by modality.

    .. note::
        Decided here where the paper is silent. A multimodal score of zero or less leaves every multiplier as it is ("no signal"). A
        modality's
        head belongs to its group. More than two modalities: every pair runs Algorithm 1 and a modality takes the smallest multiplier of its
        pairs. With decoupled weight decay (AdamW) the decay is scaled along with the rate.
    """

    # Accelerate gives back untouched what says this; it would wrap a scheduler of its own otherwise, and step it once per process.
    _is_accelerate_prepared: ClassVar[bool] = True

    def __init__(
        self,
        optimizer: Optimizer,
        tau: float = 0.2,
        mu: float = 0.5,
        *,
        restore_other: bool = False,
        every: int = 1,
        start: int = 0,
        smoothing: float = 0.0,
    ) -> None:
        self._actuator = LearningRateMultipliers(optimizer)
        try:
            self._rule = MILESRule(
                self._actuator.modalities, tau, mu, restore_other=restore_other, every=every, start=start, smoothing=smoothing
            )
        except BaseException:
            self._actuator.detach()
            raise
        self.optimizer = optimizer

    @property
    def tau(self) -> float:
        """Target difference threshold τ."""
        return self._rule.tau

    @property
    def mu(self) -> float:
        """Reduction factor μ."""
        return self._rule.mu

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of the optimizer's groups."""
        return self._rule.modalities

    @property
    def multipliers(self) -> dict[str, float]:
        """The multiplier of every modality that is in force in the optimizer: μ or 1."""
        return self._actuator.get()

    @property
    def history(self) -> list[dict[str, Any]]:
        """One record per :meth:`step`: epoch, scores, utilization, gap, multipliers, decision, and effective learning rates.

        The decision is ``"balanced"``, ``"slow NAME"``, ``"waiting"`` (``start``, ``every``) or ``"no signal"``.
        """
        return self._rule.history

    def step(self, scores: Scores, counts: int | Mapping[str, int] | None = None) -> None:
        """Take the scores of the epoch that has ended and set the multipliers of the next.

        Call it once per epoch, after validation; in distributed training with scores counted over all processes, so that they keep the
        same rates.

        :param scores: ``{"multimodal": s, "audio": s_audio, ...}``, larger is better. The paper uses the validation split, and in its third
            ablation the training split.
        :param counts: how many samples stand behind each score (one number, or by name): then a :class:`UncertainGapWarning` is given when
            chance decides on which side of τ the gap falls.
        :raises InputError: for a score that is NaN or infinite, or a missing or unknown modality; no learning rate is changed then.
        """
        self._actuator.set(self._rule.step(scores, counts))
        record = self._rule.history[-1]
        record["learning_rates"] = self._actuator.rates_by_modality()
        self._warn_of_silence()
        if record.get("uncertain") and not any(earlier.get("uncertain") for earlier in self._rule.history[:-1]):
            # Last of all, so that the epoch stands also where warnings are raised as errors.
            pairs = ", ".join(f"{first} and {second}" for first, second in record["uncertain"])
            warnings.warn(
                f"epoch {record['epoch']}: the utilization gap of {pairs} lies within its sampling error of tau = {self.tau} (largest gap "
                f"{record['gap']:.3f} ± {record['margin']:.3f}): chance decides whether a modality is slowed; use more validation samples, "
                "smoothing, or another tau (said once; history names the pairs of every epoch)",
                UncertainGapWarning,
                stacklevel=2,
            )

    def _warn_of_silence(self) -> None:
        """Say once that the multimodal score has never been positive for so long that it may never be."""
        history = self._rule.history
        if len(history) == SILENT_EPOCHS and all(record["decision"] == "no signal" for record in history):
            warnings.warn(
                f"the multimodal score was {history[-1]['scores'][MULTIMODAL]:g} or so in all of the first {SILENT_EPOCHS} epochs, where "
                "utilization is undefined and MILES changes nothing: give scores that are larger when better and above 0, as accuracy",
                NoSignalWarning,
                stacklevel=3,
            )

    def get_last_lr(self) -> list[Any]:
        """Return the effective learning rate of each parameter group."""
        return self._actuator.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the rule. The multipliers also stand in the optimizer's own state."""
        return self._rule.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state and put its multipliers in force; hyper-parameters stay those of the constructor.

        :raises InputError: for a state of other modalities, a foreign or a damaged one; nothing changes then.
        """
        self._rule.load_state_dict(state)
        self._actuator.set(self._rule.multipliers)

    def detach(self) -> None:
        """Take MILES off the optimizer, which then steps at its plain learning rates."""
        self._actuator.detach()

    def __repr__(self) -> str:
        return f"MILES(modalities={self.modalities}, tau={self.tau}, mu={self.mu}, multipliers={self.multipliers})"


class MILESMethod(Method):
    """Joint training of all heads (Eq. 3) under the MILES scheduler.

    The training method behind the name ``miles``. For a loop of your own, :class:`MILES` alone is enough.

    >>> MILESMethod(tau=0.1)
    MILESMethod(tau=0.1, mu=0.5, restore_other=False, every=1, start=0, smoothing=0.0, split='val')

    :param split: whose scores the rule sees: ``"val"`` as in the paper, or ``"train"`` as in its third ablation (Table VI), counted during
        the epoch's own forward passes.

    The other arguments are those of :class:`MILES`.
    """

    name: ClassVar[str] = "miles"
    title: ClassVar[str] = "MILES"
    paper: ClassVar[str] = "Guerra-Manzanares & Shamout, MILES: Modality-Informed Learning Rate Scheduler, IJCNN 2025"
    fidelity: ClassVar[Literal["exact", "reconstructed"]] = "exact"
    # The paper states no ranges; these cover its Table IV and the better part of Table V (μ of 0.1 and above).
    search_space: ClassVar[Mapping[str, Distribution]] = {"tau": Uniform(0.0, 0.5), "mu": Uniform(0.1, 1.0)}

    def __init__(
        self,
        tau: float = 0.2,
        mu: float = 0.5,
        restore_other: bool = False,
        every: int = 1,
        start: int = 0,
        smoothing: float = 0.0,
        split: Literal["val", "train"] = "val",
    ) -> None:
        if split not in ("val", "train"):
            raise InputError(f"split = {split!r}: 'val' or 'train' is needed")
        self.tau = tau
        self.mu = mu
        self.restore_other = restore_other
        self.every = every
        self.start = start
        self.smoothing = smoothing
        self.split = split
        MILESRule(("a", "b"), **self._rule_options())  # validates before a run is set up
        self._scheduler: MILES | None = None

    def _rule_options(self) -> dict[str, Any]:
        return {name: value for name, value in self.options().items() if name != "split"}

    @property
    def scheduler(self) -> MILES:
        """The scheduler on the run's optimizer."""
        if self._scheduler is None:
            raise InputError("the method has no optimizer yet: call attach(optimizer) first")
        return self._scheduler

    def attach(self, optimizer: Optimizer) -> None:
        """Put the scheduler on the optimizer."""
        self._scheduler = MILES(optimizer, **self._rule_options())

    def detach(self) -> None:
        """Take the scheduler off the optimizer."""
        if self._scheduler is not None:
            self._scheduler.detach()

    def epoch_end(self, context: EpochContext) -> None:
        """Apply the rule to the epoch's scores."""
        self.scheduler.step(context.scores[self.split])

    def multipliers(self) -> dict[str, float]:
        """Return the rule's multipliers: those in force during a run, and after it the last ones."""
        return self.scheduler._rule.multipliers

    def acted_on(self) -> dict[str, Any]:
        """Return the utilization and the gap that the rule saw, which are those of ``split``, smoothed where asked for."""
        return {key: self.scheduler.history[-1][key] for key in ("utilization", "gap")}

    def state_dict(self) -> dict[str, Any]:
        """Return the scheduler's state."""
        return self.scheduler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the scheduler's state."""
        self.scheduler.load_state_dict(state)
