"""Findings about the state of training: at chance, worse than one head, overfitted, undertrained, heads behind, calibration."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from equimodal.diagnose.quantities import Finding
from equimodal.diagnose.verdict_facts import evidence, known
from equimodal.report.words import listing
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from equimodal.diagnose.quantities import Calibration, Interval
    from equimodal.diagnose.verdict_facts import Facts

__all__ = ["MISCALIBRATED", "NOT_CARRIED_OVER", "RISING", "at_chance", "findings"]

NOT_CARRIED_OVER = 0.2
"""A head overfits when more than this share of what it gained over chance in training is not there on other samples."""
RISING = 0.03
"""A score is still rising when a quarter of the epochs brings more than this share of the gain over chance."""
MISCALIBRATED = 0.05
"""A head is badly calibrated when its expected calibration error is above this, and by as much above what chance alone makes it."""
_FEWEST = 4
_NAMED = 3
_Found = TypeVar("_Found")


def at_chance(facts: Facts) -> Finding | None:
    """Return that the joint model is not told apart from knowing nothing, in which case nothing else about its use makes sense."""
    joint, baseline = facts.joint, facts.baseline
    if joint is None or joint.value is None or baseline is None:
        return None
    low = joint.low if joint.low is not None else joint.value
    # So many samples can all be right by chance.
    low = min(low, 1 - facts.unseen) if facts.percent else low
    if low > baseline:
        return None
    below = joint.high is not None and joint.high < baseline
    what = "is below" if below else "cannot be told apart from"
    nothing = "always giving the commonest class" if facts.record.chance is not None else "knowing nothing"
    sentence = (
        f"The joint model {what} knowing nothing: it scores {facts.scored(joint)} on {facts.record.samples:,} samples, and {nothing}"
        f" scores {facts.score(baseline)}. It is too early to ask which modality it uses."
    )
    advice = (
        "Look at the training first: labels, learning rate, number of epochs. With few samples, diagnose on more."
        if facts.record.samples >= 100
        else "Diagnose on more samples: a hundred or more. If it stays at chance there, look at labels, learning rate and number of epochs."
    )
    return Finding("at chance", MULTIMODAL, sentence, {**evidence("joint score", joint), "score of knowing nothing": baseline}, advice)


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield the findings, the graver ones first."""
    yield from _worse_than_a_head(facts)
    yield from _undertrained(facts)
    yield from _overfitted(facts)
    yield from _fusion_behind(facts)
    yield from _heads_behind(facts)
    yield from _calibration(facts)


def _worse_than_a_head(facts: Facts) -> Iterator[Finding]:
    """Yield that one modality's head does better than the joint model: the utilization rate of what is left is below zero."""
    joint = known(facts.joint)
    heads = {name: own for name in facts.names if (own := known(facts.record.heads.get(name))) is not None}
    if joint is None or not heads:
        return
    best = max(heads, key=lambda name: heads[name].value)
    # Heads and joint model are scored on the same samples: the rate's interval is of their difference.
    rates = [known(facts.record.utilization.get(name)) for name in facts.names if name != best]
    told = [rate for rate in rates if rate is not None]
    if not told or any(rate.high >= 0 for rate in told) or heads[best].value - joint.value <= facts.negligible:
        return
    proof = {**evidence("joint score", facts.joint), **evidence(f"score of the head of {best}", facts.record.heads[best])}
    sentence = (
        f"The head of {best} alone does better than the joint model: {facts.scored(facts.record.heads[best])} against"
        f" {facts.scored(facts.joint)}. What the fusion makes of all of them is worse than what one tells by itself."
    )
    advice = (
        f"Until that is mended, predict with {best} alone. See whether the fusion overfits, or has not learned enough: give it a learning"
        " rate of its own, more epochs, or take a simpler one (late, additive)."
    )
    yield Finding("worse than one", best, sentence, proof, advice)


def _overfitted(facts: Facts) -> Iterator[Finding]:
    pairs, there, where = _generalisation(facts)
    rising = _rising(facts)
    found: dict[str, tuple[float, float]] = {}
    for head, (train, other) in pairs.items():
        score = facts.record.heads.get(head)
        # As long as the validation score rises, a gap does not mean that more training harms.
        if head in rising or score is None:
            continue
        gap, learned = train - other, train - (facts.baseline or 0.0)
        if _beyond_chance(facts, head, score, gap) and learned > 0 and gap / learned > NOT_CARRIED_OVER:
            found[head] = (train, gap)
    if not found:
        return
    proof: dict[str, Any] = {f"train score minus score, {head}": gap for head, (_, gap) in found.items()}
    proof |= {f"train score, {head}": train for head, (train, _) in found.items()}
    subject = MULTIMODAL if MULTIMODAL in found else max(found, key=lambda head: found[head][1])
    parts = [
        f"{'the joint model' if head == MULTIMODAL else f'the head of {head}'} scores {facts.score(train)} in training and"
        f" {facts.score(train - gap)} {there}"
        for head, (train, gap) in _few(found)
    ]
    more = len(found) - len(parts)
    parts += [f"{more} more {'head' if more == 1 else 'heads'} likewise"] if more else []
    heads = "A head overfits" if len(found) == 1 else "Heads overfit"
    who = "The model overfits" if subject == MULTIMODAL else f"{heads}, though the joint model does not"
    least = f"more than {100 * NOT_CARRIED_OVER:.0f} % of what was gained over chance does not carry over"
    sentence = f"{who}: {'; '.join(parts)}. In each case {least}{where}."
    if len(found) == 1:
        sentence = sentence.replace("In each case more", "More")
    modalities = [head for head in found if head != MULTIMODAL]
    encoders = "encoder" if len(modalities) == 1 else "encoders"
    part = f", first in the {encoders} of {listing(modalities)}" if 0 < len(modalities) < len(facts.names) else ""
    advice = (
        f"Regularise more{part}: augmentation, weight decay (0.01 with AdamW to begin with), dropout, a smaller encoder, or fewer epochs;"
        " method mses stops each modality by itself. Judge balance again afterwards."
    )
    yield Finding("overfits", subject, sentence, proof, advice)


def _beyond_chance(facts: Facts, head: str, score: Interval, gap: float) -> bool:
    """Tell whether a gap is more than the choice of samples makes: its own interval begins above zero.

    A gap without an interval, as from a run's records, is to be larger than the width of that of the score here.
    """
    own = (facts.record.generalisation or {}).get(head)
    if own is not None and own.low is not None and facts.record.mean_of == "train":
        return own.low > 0
    width = 0.0 if score.low is None or score.high is None else score.high - score.low
    return gap > width


def _few(found: Mapping[str, _Found]) -> list[tuple[str, _Found]]:
    """Return the heads that are named, the others being counted."""
    return list(found.items())[:_NAMED]


def _generalisation(facts: Facts) -> tuple[dict[str, tuple[float, float]], str, str]:
    """Return by head the train score and the other one, on what that is, and where they are from if not from these weights and samples."""
    gaps = facts.record.generalisation
    if gaps is not None and facts.record.mean_of == "train":
        scores = {head: score.value for head, score in facts.record.heads.items() if score.value is not None}
        return (
            {head: (scores[head] + gap.value, scores[head]) for head, gap in gaps.items() if gap.value is not None and head in scores},
            "here",
            "",
        )
    scored = [epoch for epoch in facts.record.curves or () if epoch.val.get(MULTIMODAL) is not None]
    if not scored:
        return {}, "", ""
    best = max(scored, key=lambda epoch: (epoch.val[MULTIMODAL] or 0.0, -epoch.epoch))
    pairs = {head: (train, other) for head, train in best.train.items() if train is not None and (other := best.val.get(head)) is not None}
    where = f" (from the run's record of epoch {best.epoch}, in which training scores are those of the epoch's own passes)"
    return pairs, "in validation", where


def rise(values: Sequence[float | None]) -> float | None:
    """Return how much higher the last quarter of a curve lies than the quarter before it; None for fewer than four known values.

    >>> rise([0.0, 0.25, 0.5, 1.0]), rise([0.5, None])
    (0.5, None)
    """
    present = [value for value in values if value is not None]
    if len(present) < _FEWEST:
        return None
    quarter = len(present) // 4
    return statistics.fmean(present[-quarter:]) - statistics.fmean(present[-2 * quarter : -quarter])


class _Rising(NamedTuple):
    """How much the train and the validation score of a head rose at last, and the train score at the end."""

    train: float
    val: float
    reached: float | None


def _rising(facts: Facts) -> dict[str, _Rising]:
    """Return the heads that were still rising on both splits when training ended."""
    epochs = facts.record.curves
    if not epochs or not facts.gain or facts.gain <= 0:
        return {}
    found = {}
    for head in (MULTIMODAL, *facts.names):
        train, val = ([getattr(epoch, split).get(head) for epoch in epochs] for split in ("train", "val"))
        taught, checked = rise(train), rise(val)
        best = max((value for value in val if value is not None), default=None)
        if taught is None or checked is None or best not in val[-max(1, len(val) // 4) :]:
            continue
        if min(taught, checked) > RISING * facts.gain:
            found[head] = _Rising(taught, checked, train[-1])
    return found


def _undertrained(facts: Facts) -> Iterator[Finding]:
    rising = _rising(facts)
    if not rising:
        return
    proof: dict[str, Any] = {}
    for head, own in rising.items():
        proof |= {f"last rise in training, {head}": own.train, f"last rise in validation, {head}": own.val}
    count = len(facts.record.curves or ())
    longer = f"Train longer before judging: twice the {count} epochs, in a new folder."
    if MULTIMODAL in rising:
        joint = rising[MULTIMODAL]
        sentence = (
            f"The model is undertrained: over the last quarter of {count} epochs the joint score still rose by"
            f" {facts.points(joint.train)}{facts.unit} in training, to {facts.score(joint.reached)}, and by {facts.points(joint.val)} in"
            " validation. What it uses may change."
        )
        yield Finding("undertrained", MULTIMODAL, sentence, proof, longer)
        return
    (first, own), *others = _few(rising)
    told = [f"that of {first} rose by {facts.points(own.val)}{facts.unit} in validation"]
    told += [f"that of {name} by {facts.points(own.val)}{facts.unit}" for name, own in others]
    told += [f"{len(rising) - len(told)} more likewise"] if len(rising) > len(told) else []
    sentence = (
        f"{'A head was' if len(rising) == 1 else 'Some heads were'} still learning when training ended: over the last quarter of {count}"
        f" epochs {listing(told)}, while the joint score had nearly come to rest."
    )
    yield Finding("undertrained", next(iter(rising)), sentence, proof, f"{longer} If the joint score falls meanwhile, slow what is ahead.")


def _fusion_behind(facts: Facts) -> Iterator[Finding]:
    joint, probe = known(facts.joint), known(facts.record.probes.get(MULTIMODAL))
    if joint is None or probe is None or probe.low <= joint.high or probe.value - joint.value <= facts.negligible:
        return
    proof = {**evidence("joint score", joint), **evidence("score of a linear probe on all features", probe)}
    sentence = (
        f"The fusion makes less of the features than a linear layer could: the joint model scores {facts.scored(joint)}, a linear probe on"
        f" the frozen features of all modalities {facts.scored(probe)}."
    )
    yield Finding(
        "fusion behind",
        MULTIMODAL,
        sentence,
        proof,
        "Train the fusion longer on frozen encoders, with a learning rate of its own; it costs little.",
    )


def _heads_behind(facts: Facts) -> Iterator[Finding]:
    behind = {}
    for name in facts.names:
        head, probe = known(facts.record.heads.get(name)), known(facts.record.probes.get(name))
        if head is not None and probe is not None and probe.low > head.high and probe.value - head.value > facts.negligible:
            behind[name] = (head, probe)
    if not behind:
        return
    proof: dict[str, Any] = {}
    for name, (head, probe) in behind.items():
        proof |= evidence(f"score of the head of {name}", head) | evidence(f"score of the probe of {name}", probe)
    told = listing(f"{facts.score(head.value)} against {facts.score(probe.value)} from {name}" for name, (head, probe) in _few(behind))
    told += f"; {len(behind) - _NAMED} more likewise" if len(behind) > _NAMED else ""
    one = len(behind) == 1
    sentence = (
        f"{'A head makes' if one else 'Heads make'} less of the features than a linear probe does: {told}. Utilization rates and δ, which"
        f" go by heads, make {'this modality' if one else 'these modalities'} look weaker than {'it is' if one else 'they are'}."
    )
    advice = "Train the heads longer, or judge by probes and by what is lost without a modality. Methods that go by heads would be misled."
    yield Finding("head behind", next(iter(behind)), sentence, proof, advice)


def _by_chance(found: Calibration) -> tuple[float, float]:
    """Return the mean and the deviation of the expected calibration error of a head that is as often right as it is sure.

    The share right in a bin then differs from its confidence *p* by a normal deviate of variance *p(1 − p)/count*, whose absolute value has
    the mean √(2/π) and the variance 1 − 2/π times that. The error counts these absolutely, in the samples as in every bootstrap draw, so
    that of a few hundred samples neither is near zero: with five classes and 200 samples it is 0.07.
    """
    counts = sum(part.count for part in found.bins) or 1
    variances = [part.count * max(part.confidence * (1 - part.confidence), 0.0) for part in found.bins if part.confidence is not None]
    mean = math.sqrt(2 / math.pi) * sum(map(math.sqrt, variances)) / counts
    return mean, math.sqrt((1 - 2 / math.pi) * sum(variances)) / counts


def _calibration(facts: Facts) -> Iterator[Finding]:
    found = facts.record.calibration.get(MULTIMODAL)
    error = None if found is None else known(found.expected_error)
    if found is None or error is None or error.low <= MISCALIBRATED:
        return
    expected, spread = _by_chance(found)
    if error.value - expected <= max(MISCALIBRATED, 1.645 * spread):
        return
    counts = sum(part.count for part in found.bins)
    right = sum((part.accuracy or 0.0) * part.count for part in found.bins) / counts if counts else None
    proof = {**evidence("expected calibration error", error), "error by chance alone": expected, "mean confidence": found.confidence}
    sure = ""
    if right is not None:
        proof["share right"] = right
        much = "too sure" if found.confidence > right else "not sure enough"
        sure = f" It is {much}: on average {100 * found.confidence:.1f} % sure, and right in {100 * right:.1f} % of its answers."
    sentence = (
        f"The joint model's probabilities should not be taken at face value: the expected calibration error is {100 * error.value:.1f}"
        f" points ({100 * error.low:.1f} to {100 * error.high:.1f}).{sure} What it predicts does not depend on that."
    )
    advice = "Where probabilities matter, divide the logits by a temperature fitted on the validation split."
    yield Finding("calibration", MULTIMODAL, sentence, proof, advice)
