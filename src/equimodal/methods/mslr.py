"""MSLR, modality-specific learning rates: every modality at the rate that suits it alone, kept, smoothed or following its scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from equimodal.errors import InputError, nearest
from equimodal.groups import MODALITY_KEY, LearningRateMultipliers
from equimodal.methods._checks import is_number, is_whole, need
from equimodal.methods._heads import Heads, HeadsMethod
from equimodal.methods.space import Choice, Uniform
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from equimodal.methods.base import EpochContext
    from equimodal.methods.space import Distribution

__all__ = ["MSLRDynamic", "MSLRKeep", "MSLRSmooth", "dynamic", "smooth"]

_PAPER = "Yao & Mihalcea, Modality-specific Learning Rates for Effective Multimodal Additive Late-fusion, Findings of ACL 2022"


def smooth(rates: Mapping[str, float], strength: float) -> dict[str, float]:
    r"""Return rates moved towards their average.

    .. math:: \eta_m = (1 - \lambda)\, \eta^*_m + \lambda \operatorname{mean}_j \eta^*_j

    >>> {name: round(rate, 4) for name, rate in smooth({"audio": 0.001, "image": 0.003}, strength=0.5).items()}
    {'audio': 0.0015, 'image': 0.0025}

    :param rates: by modality, the best unimodal learning rate η*.
    :param strength: λ, from 0 (kept as they are) to 1 (one common rate).
    :raises InputError: for no rates, a rate that is no positive number, or a strength out of range.
    """
    need(is_number(strength) and 0 <= strength <= 1, "strength", strength, "a number from 0 (keep) to 1 (one common rate)")
    if not rates:
        raise InputError("there are no rates to smooth: give one per modality")
    for modality, rate in rates.items():
        need(is_number(rate) and rate > 0, f"the rate of {modality!r}", rate, "a number above 0")
    mean = sum(rates.values()) / len(rates)
    return {name: (1 - strength) * rate + strength * mean for name, rate in rates.items()}


def dynamic(history: Sequence[float], window: int) -> float:
    r"""Return the ratio of one modality's current score to its recent mean.

    .. math:: r(e) = \frac{a(e)}{\frac{1}{N} \sum_{i=1}^{N} a(e - i)}

    >>> round(dynamic([0.40, 0.45, 0.50, 0.50, 0.55, 0.60], window=5), 6)
    1.25
    >>> dynamic([0.40, 0.60], window=5)
    1.0

    :param history: the modality's scores, the current one last; earlier ones than the window do not count.
    :param window: how many scores before the current one make the mean, N.
    :returns: 1 while there are fewer than N scores before the current one, and where the ratio is no positive number (scores of zero).
    :raises InputError: for a window below 1.
    """
    need(is_whole(window) and window >= 1, "window", window, "a whole number of epochs of at least 1")
    if len(history) <= window:
        return 1.0
    mean = sum(history[-window - 1 : -1]) / window
    ratio = history[-1] / mean if mean > 0 else 1.0
    return ratio if math.isfinite(ratio) and ratio > 0 else 1.0


class MSLRKeep(HeadsMethod):
    r"""MSLR-K: every modality keeps the learning rate that was best for it alone (Yao & Mihalcea, 2022).

    .. math:: \eta_m = \eta^*_m

    - :math:`\eta^*_m` (``rates``): the best learning rate of the unimodal model of modality *m*.
    - :math:`\eta_m`: the rate of its encoder and head, in place of the optimizer's.

    These are true learning rates of parameter groups, for any optimizer. Another scheduler goes on as it would: rates are set as
    multiples of those that the optimizer begins with, so that its factors hold for all modalities alike. The fusion keeps the
    optimizer's own rate.

    In a loop of one's own::

        method = MSLRKeep({"audio": 1e-3, "image": 1e-2})
        optimizer = torch.optim.SGD(modality_groups(model, lr=1e-3), momentum=0.9)
        method.attach(optimizer)

    Attach it before a scheduler that gives the optimizer rates of its own (``OneCycleLR``, ``CyclicLR``); beside all others the order makes
    no difference. ``equimodal rates`` and :func:`equimodal.study.unimodal_rates` find η*.

    :param rates: the best unimodal learning rate of every modality; ``"multimodal"`` too, to give the fusion another than the optimizer's.
    :param heads: ``"trained"`` (default): the losses of all heads (Eq. 3), as in the comparison with MILES; ``"probes"``: the multimodal
        loss alone, as in its own paper, there with the fusion ``late``.
    :raises InputError: for rates that are no positive numbers; from ``attach`` for a modality that has no rate, or one too many.

    .. note::
        The paper's text was not at hand, hence ``reconstructed``; its abstract says what is kept. There the multimodal training begins
        with branches that were trained alone; here it begins with the weights that the model has, and
        :class:`equimodal.methods.unimodal.Unimodal` trains branches in place. ``Rprop`` and ``ASGD`` of torch read their rate at other
        times than the step, and so do not follow these rates (:class:`equimodal.groups.LearningRateMultipliers`).
    """

    name: ClassVar[str] = "mslr-k"
    title: ClassVar[str] = "MSLR-K"
    paper: ClassVar[str] = _PAPER
    fidelity: ClassVar[Literal["exact", "reconstructed"]] = "reconstructed"
    prerequisites: ClassVar[Mapping[str, str]] = {"rates": "unimodal learning rates"}

    def __init__(self, rates: Mapping[str, float], heads: Heads = "trained") -> None:
        if not isinstance(rates, Mapping) or not rates:
            raise InputError(f"rates = {rates!r}: the best unimodal learning rate of every modality is needed, as {{'audio': 0.001, ...}}")
        for modality, rate in rates.items():
            need(is_number(rate) and rate > 0, f"the rate of {modality!r}", rate, "a number above 0")
        self.rates = dict(rates)
        self.heads = heads
        self._check_heads()
        self._actuator: LearningRateMultipliers | None = None
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}

    @classmethod
    def example(cls, modalities: Sequence[str]) -> Self:
        """Return an instance with rates that differ by modality."""
        return cls(rates={modality: 0.02 * (1 + index) for index, modality in enumerate(modalities)})

    def wanted_rates(self) -> dict[str, float]:
        """Return the learning rate that every modality is to have now, before any other scheduler's factor."""
        return dict(self.rates)

    def attach(self, optimizer: Optimizer) -> None:
        """Set the rates of an optimizer with groups from :func:`equimodal.modality_groups`."""
        actuator = LearningRateMultipliers(optimizer)
        try:
            self._first = _first_rates(optimizer)
            known = [modality for modality in self._first if modality != MULTIMODAL]
            for modality in self.rates:
                if modality not in self._first:
                    raise InputError(f"rates has the unknown modality {modality!r}: {nearest(modality, known)}")
            for modality in known:
                if modality not in self.rates:
                    raise InputError(f"rates = {self.rates} lacks {modality!r}: give its best unimodal rate (see: equimodal rates)")
            self._actuator = actuator
            self._set()
        except BaseException:
            actuator.detach()
            raise

    def _set(self) -> None:
        if self._actuator is None:
            raise InputError(f"{self.name} has no optimizer yet: call attach(optimizer) first")
        self._last = {modality: rate / self._first[modality] for modality, rate in self.wanted_rates().items()}
        self._actuator.set(self._last)

    def detach(self) -> None:
        """Give the optimizer its own rates back."""
        if self._actuator is not None:
            self._actuator.detach()

    def multipliers(self) -> dict[str, float]:
        """Return what the optimizer's rates are multiplied by."""
        return dict(self._last)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self._set()


def _first_rates(optimizer: Optimizer) -> dict[str, float]:
    """Return the learning rate that each modality's groups begin with, before any scheduler's factor."""
    found: dict[str, float] = {}
    for group in optimizer.param_groups:
        modality, rate = group[MODALITY_KEY], float(group.get("initial_lr", group["lr"]))
        if found.setdefault(modality, rate) != rate:
            raise InputError(
                f"the groups of {modality!r} have learning rates {found[modality]:g} and {rate:g}: MSLR sets one for all, give them one"
            )
        need(rate > 0, f"the optimizer's learning rate of {modality!r}", rate, "a number above 0")
    return found


def _score(context: EpochContext, modality: str) -> float:
    found: Any = context.scores.get("val", {}).get(modality)
    try:
        score = float(found)
    except (TypeError, ValueError):
        score = math.nan
    need(math.isfinite(score), f"the validation score of {modality!r} in epoch {context.epoch}", found, "a finite number")
    return score


class MSLRSmooth(MSLRKeep):
    r"""MSLR-S: the best unimodal learning rates, moved towards their average (Yao & Mihalcea, 2022).

    .. math:: \eta_m = (1 - \lambda)\, \eta^*_m + \lambda \operatorname{mean}_j \eta^*_j

    The mean is over the modalities; λ = 0 is :class:`MSLRKeep`, λ = 1 one rate for all. Symbols, use and errors as there.

    :param rates: the best unimodal learning rate of every modality. A rate of ``"multimodal"`` is kept, and does not count in the mean.
    :param strength: λ, from 0 (kept as they are) to 1 (one common rate); default 0.5, ours.
    :param heads: ``"trained"`` (default): the losses of all heads (Eq. 3); ``"probes"``: the multimodal loss alone.

    .. note::
        The original formula was not at hand. The MILES paper says that the rates are moved closer to their average; this is the simplest
        rule that does so, hence ``reconstructed``.
    """

    name: ClassVar[str] = "mslr-s"
    title: ClassVar[str] = "MSLR-S"
    search_space: ClassVar[Mapping[str, Distribution]] = {"strength": Uniform(0.0, 1.0)}

    def __init__(self, rates: Mapping[str, float], strength: float = 0.5, heads: Heads = "trained") -> None:
        super().__init__(rates, heads)
        self.strength = strength
        self.wanted_rates()  # refuses a strength out of range

    def wanted_rates(self) -> dict[str, float]:
        """Return the smoothed rates."""
        unimodal = {modality: rate for modality, rate in self.rates.items() if modality != MULTIMODAL}
        return {**self.rates, **smooth(unimodal, self.strength)}


class MSLRDynamic(MSLRKeep):
    r"""MSLR-D: learning rates that follow each modality's recent validation scores (Yao & Mihalcea, 2022).

    .. math:: \eta_m(e + 1) = \eta^*_m\, r_m(e), \qquad r_m(e) = \frac{a_m(e)}{\frac{1}{N} \sum_{i=1}^{N} a_m(e - i)}

    - :math:`a_m(e)`: validation score of modality *m*'s own head after epoch *e*.
    - N (``window``): how many epochs before *e* make the mean; until there are so many, :math:`r_m = 1`.

    A modality that improves is trained faster, one that degrades more slowly. The other symbols, use and errors are those of
    :class:`MSLRKeep`; in a loop of one's own, call ``method.epoch_end(context)`` after validation.

    :param rates: the best unimodal learning rate of every modality; ``"multimodal"`` too, to give the fusion another than the optimizer's.
    :param window: N, at least 1; default 5, that of both third-party implementations.
    :param compound: multiply the rate that is in force by the ratio, and only after the epochs N, 2N and so on, counted from 0, with the
        mean over the last N scores, the current one among them. Default off: the multiple is always one of η*.
    :param heads: ``"trained"`` (default): the losses of all heads (Eq. 3); ``"probes"``: the multimodal loss alone.

    .. note::
        Two implementations by others disagree, and the paper's text was not at hand, hence ``reconstructed``. The default is the rule of
        the one (AGM's baseline), but with true learning rates where that scales gradients; ``compound`` is the rule of the other.
        Where the mean or the current score is not positive, the ratio is 1.
    """

    name: ClassVar[str] = "mslr-d"
    title: ClassVar[str] = "MSLR-D"
    search_space: ClassVar[Mapping[str, Distribution]] = {"window": Choice((3, 5, 10))}

    def __init__(self, rates: Mapping[str, float], window: int = 5, compound: bool = False, heads: Heads = "trained") -> None:
        super().__init__(rates, heads)
        need(is_whole(window) and window >= 1, "window", window, "a whole number of epochs of at least 1")
        self.window = window
        self.compound = compound
        self._history: dict[str, list[float]] = {}
        self._epochs = 0
        self._ratios: dict[str, float] = {}

    @classmethod
    def example(cls, modalities: Sequence[str]) -> Self:
        """Return an instance with a window that fills soon."""
        return cls(super().example(modalities).rates, window=2)

    def wanted_rates(self) -> dict[str, float]:
        """Return the best unimodal rates times the ratios."""
        return {modality: rate * self._ratios.get(modality, 1.0) for modality, rate in self.rates.items()}

    def attach(self, optimizer: Optimizer) -> None:
        """Begin a run; see :meth:`MSLRKeep.attach`."""
        self._history, self._epochs, self._ratios = {}, 0, {}
        super().attach(optimizer)

    def epoch_end(self, context: EpochContext) -> None:
        """Follow the epoch's validation scores."""
        self._epochs += 1
        for modality in self.rates:
            if modality == MULTIMODAL:
                continue
            history = [*self._history.get(modality, []), _score(context, modality)][-self.window - 1 :]
            self._history[modality] = history
            if not self.compound:
                self._ratios[modality] = dynamic(history, self.window)
            elif self._epochs > 1 and (self._epochs - 1) % self.window == 0:
                # The mean holds the current score, so the ratio is that of a history whose last score is repeated.
                recent = dynamic([*history[-self.window :], history[-1]], self.window)
                self._ratios[modality] = self._ratios.get(modality, 1.0) * recent
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """Return the recent scores and the ratios."""
        history = {modality: list(scores) for modality, scores in self._history.items()}
        return {"history": history, "epochs": self._epochs, "ratios": dict(self._ratios)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state, with its rates in force."""
        self._history = {str(modality): [float(score) for score in scores] for modality, scores in state["history"].items()}
        self._epochs = int(state["epochs"])
        self._ratios = {str(modality): float(ratio) for modality, ratio in state["ratios"].items()}
        super().load_state_dict(state)
