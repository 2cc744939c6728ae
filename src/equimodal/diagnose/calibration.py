"""Whether heads are as often right as they are sure, and whether they agree with one another."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equimodal.diagnose.answers import Answers, answers_of, confidences, predicted
from equimodal.diagnose.record import Bin, Calibration, Interval, Sample
from equimodal.errors import InputError
from equimodal.scores import MULTIMODAL
from equimodal.tasks import get_task

if TYPE_CHECKING:
    from equimodal.diagnose.intervals import Bootstrap
    from equimodal.tasks import Task

__all__ = ["agreement", "calibration", "cohen_kappa", "disagreements", "pair_name"]


def pair_name(first: str, second: str) -> str:
    """Return the name of a pair of heads.

    >>> pair_name("audio", "image")
    'audio & image'
    """
    return f"{first} & {second}"


def calibration(logits: Tensor, targets: Tensor, bootstrap: Bootstrap, *, bins: int = 15, task: str | Task = "single-label") -> Calibration:
    r"""Return the expected calibration error of a head (Naeini et al., AAAI 2015; Guo et al., ICML 2017), and its bins.

    .. math:: \sum_{b=1}^{B} \frac{|b|}{n} \, \bigl| \mathrm{acc}(b) - \mathrm{conf}(b) \bigr|

    over *B* bins of equal width of the confidence in (0, 1], each with its upper end: the share of right answers minus the mean confidence.
    For classes the confidence is the largest probability of the softmax, and a bin holds samples. For labels every label of every sample is
    an answer of its own, sure by the larger of σ and 1 − σ, and *n* counts answers.

    Differences count absolutely, so that the error of few samples is too large even for a perfect head, and more so in bootstrap draws: its
    interval lies above the value at times. Compare heads on the same samples.

    >>> from equimodal.diagnose.intervals import Bootstrap
    >>> sure = torch.tensor([[4.0, 0.0]] * 100)  # 98 % sure of class 0
    >>> found = calibration(sure, torch.arange(100) % 2, Bootstrap(100, resamples=0))
    >>> round(found.expected_error.value, 3), found.bins[-1].count
    (0.482, 100)

    :param logits: ``[samples, outputs]``.
    :param targets: ``[samples]`` class numbers, or for multilabel ``[samples, labels]`` zeros and ones.
    :param bootstrap: the draws of samples behind the interval.
    :param bins: how many; 15 as Guo et al.
    :param task: single-label, multilabel, or a task that counts like one of them.
    :raises InputError: for another task: its outputs are no probabilities of its answers.
    """
    answers = _needed(task, ("classes", "labels"), "calibration")
    sure = confidences(logits, answers).reshape(len(logits), -1)
    right = (predicted(logits, answers) == targets).double().reshape(sure.shape)
    place = (sure * bins).ceil().long().clamp(1, bins) - 1
    each = sure.shape[1]

    def by_bin(values: Tensor) -> Tensor:
        return torch.zeros(len(values), bins, dtype=torch.float64).scatter_add_(1, place, values)

    excess = by_bin(right - sure)
    error = bootstrap.statistic(lambda counts: (counts @ excess).abs().sum(dim=1) / (counts.sum(dim=1) * each))
    counts, sums, hits = (by_bin(values).sum(dim=0) for values in (torch.ones_like(sure), sure, right))
    rows = [
        Bin(total / count, hit / count, int(count)) if count else Bin(None, None, 0)
        for count, total, hit in zip(counts.tolist(), sums.tolist(), hits.tolist(), strict=True)
    ]
    return Calibration(error, float(sure.mean()), tuple(rows))


def agreement(logits: Mapping[str, Tensor], bootstrap: Bootstrap, *, task: str | Task = "single-label") -> dict[str, Interval]:
    """Return for every pair of heads the share of samples of which they predict the same class, right or wrong.

    For multilabel: the share of labels of which they say the same, averaged over samples. Heads that are both nearly always right agree
    nearly always: :func:`cohen_kappa` takes out what chance alone would give.

    :param logits: by head ``[samples, outputs]``.
    :param bootstrap: the draws behind the intervals.
    :param task: single-label, ordinal, multilabel, or a task that counts like one of them.
    :returns: by pair, ``"audio & image"``; empty for a single head.
    :raises InputError: for another task.
    """
    answers = _needed(task, ("classes", "labels", "steps"), "agreement between heads")
    said = {head: predicted(own, answers) for head, own in logits.items()}
    pairs = list(combinations(said, 2))
    same = [(said[one] == said[other]).double().reshape(bootstrap.samples, -1).mean(dim=1) for one, other in pairs]
    found = bootstrap.means(torch.stack(same)) if pairs else []
    return {pair_name(*pair): interval for pair, interval in zip(pairs, found, strict=True)}


def cohen_kappa(logits: Mapping[str, Tensor], bootstrap: Bootstrap, *, task: str | Task = "single-label") -> dict[str, Interval]:
    r"""Return Cohen's kappa of every pair of heads (Cohen, 1960): agreement beyond chance.

    .. math:: \kappa = \frac{p_o - p_e}{1 - p_e}, \qquad p_e = \sum_k p_k q_k

    with the share :math:`p_o` of samples of which both predict the same class, and the shares :math:`p_k`, :math:`q_k` of samples of which
    each predicts class *k*. 1 is full agreement, 0 chance; undefined where both always predict one and the same class.

    >>> from equimodal.diagnose.intervals import Bootstrap
    >>> eye = torch.eye(2)
    >>> heads = {"audio": eye[torch.tensor([0, 0, 1, 1])], "image": eye[torch.tensor([0, 1, 1, 1])]}
    >>> cohen_kappa(heads, Bootstrap(4, resamples=0))["audio & image"].value
    0.5

    :param logits: by head ``[samples, outputs]``.
    :param bootstrap: the draws behind the intervals.
    :param task: single-label, ordinal, or a task that counts like one of them.
    :raises InputError: for another task.
    """
    answers = _needed(task, ("classes", "steps"), "Cohen's kappa")
    said = {head: predicted(own, answers) for head, own in logits.items()}
    classes = 1 + max((int(own.max()) for own in said.values()), default=0)
    found = {}
    for one, other in combinations(said, 2):
        first, second = said[one], said[other]

        def kappa(counts: Tensor, first: Tensor = first, second: Tensor = second) -> Tensor:
            total = counts.sum(dim=1)
            shares = [counts.new_zeros(len(counts), classes).index_add_(1, own, counts) / total[:, None] for own in (first, second)]
            observed, chance = counts @ (first == second).double() / total, (shares[0] * shares[1]).sum(dim=1)
            # Where both say one and the same class throughout, rounding must not pass for a rest.
            return torch.where(chance < 1 - 1e-12, (observed - chance) / (1 - chance), torch.nan)

        found[pair_name(one, other)] = bootstrap.statistic(kappa)
    return found


def disagreements(
    logits: Mapping[str, Tensor], targets: Tensor, *, count: int = 12, indices: Tensor | None = None, task: str | Task = "single-label"
) -> tuple[Sample, ...]:
    """Return the samples on which the modalities' heads disagree most: sure of different classes.

    A pair of heads disagrees about a sample as much as the less sure of them is sure, and not at all where both predict the same class.
    Pairs take turns with the sample they disagree about most and that was not taken yet, so that no pair fills the list; a pair that
    agrees about all the rest is passed over. The joint model's head makes pairs only where there is a single other one.

    :param logits: by head ``[samples, classes]``.
    :param targets: ``[samples]`` class numbers.
    :param count: at most so many samples.
    :param indices: ``[samples]`` numbers to give; by default 0, 1, …
    :param task: single-label, or a task that counts like it.
    :returns: those about which heads disagree most first; at equal rank in the data's order.
    :raises InputError: for another task.
    """
    answers = _needed(task, ("classes",), "disagreement between heads")
    said = {head: predicted(own, answers) for head, own in logits.items()}
    sure = {head: confidences(own, answers) for head, own in logits.items()}
    heads = [head for head in logits if head != MULTIMODAL]
    pairs = list(combinations(heads if len(heads) > 1 else list(logits), 2))
    strength = [torch.minimum(sure[one], sure[other]) * (said[one] != said[other]) for one, other in pairs]
    taken = _in_turns([_strongest(own, count * len(pairs)) for own in strength], count)
    most = {number: max(float(own[number]) for own in strength) for number in taken}
    return tuple(
        Sample(
            number if indices is None else int(indices[number]),
            int(targets[number]),
            {head: int(own[number]) for head, own in said.items()},
            {head: float(own[number]) for head, own in sure.items()},
        )
        for number in sorted(taken, key=lambda number: (-most[number], number))
    )


def _strongest(strength: Tensor, count: int) -> list[int]:
    ordered, order = strength.sort(descending=True, stable=True)
    return [int(number) for number in order[:count][ordered[:count] > 0]]


def _in_turns(queues: list[list[int]], count: int) -> list[int]:
    taken: dict[int, None] = {}
    while len(taken) < count and any(queues):
        for queue in queues:
            while queue and queue[0] in taken:
                queue.pop(0)
            if queue and len(taken) < count:
                taken[queue.pop(0)] = None
    return list(taken)


def _needed(task: str | Task, allowed: tuple[Answers, ...], what: str) -> Answers:
    answers = answers_of(task)
    if answers not in allowed:
        raise InputError(f"{what} is not defined for {get_task(task).name} targets")
    return answers
