"""Findings about the state of training: at chance, worse than one head, overfitted, undertrained, heads behind, calibration."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from equimodal.diagnose.quantities import Finding
from equimodal.diagnose.verdict_epochs import FEWEST, rising_heads, undertrained
from equimodal.diagnose.verdict_facts import evidence, known
from equimodal.report.words import listing
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from equimodal.diagnose.quantities import Calibration, Interval
    from equimodal.diagnose.verdict_facts import Facts

__all__ = ["MISCALIBRATED", "NOT_CARRIED_OVER", "at_chance", "findings"]

NOT_CARRIED_OVER = 0.2
"""A head overfits when more than this share of what it gained over chance in training is not there on other samples."""
MISCALIBRATED = 0.05
"""A head is badly calibrated when its expected calibration error is above this, and by as much above what chance alone makes it."""
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
    # As many can all be wrong by chance.
    below = joint.high is not None and max(joint.high, facts.unseen) < baseline
    what = "is below" if below else "cannot be told apart from"
    nothing = "always giving the commonest class" if facts.record.chance is not None else "knowing nothing"
    sentence = (
        f"The joint model {what} knowing nothing: it scores {facts.scored(joint)} on {facts.record.samples:,} samples, and {nothing}"
        f" scores {facts.score(baseline)}.{_so_few(facts, joint)} It is too early to ask which modality it uses."
    )
    advice = (
        "Look at the training first: labels, learning rate, number of epochs. With few samples, diagnose on more."
        if facts.record.samples >= 100
        else "Diagnose on more samples: a hundred or more. If it stays at chance there, look at labels, learning rate and number of epochs."
    )
    return Finding("at chance", MULTIMODAL, sentence, {**evidence("joint score", joint), "score of knowing nothing": baseline}, advice)


def _so_few(facts: Facts, joint: Interval) -> str:
    """Return that the interval of a score is too narrow for so few samples, where all or none of them are right."""
    if not facts.percent or joint.low is None or joint.low != joint.high or facts.unseen <= 0:
        return ""
    return (
        " Its interval says nothing, as all draws of these samples are alike: others may differ by"
        f" {facts.points(facts.unseen)}{facts.unit} (three divided by their number)."
    )


def findings(facts: Facts, said: Collection[Finding] = ()) -> Iterator[Finding]:
    """Yield the findings, the graver ones first.

    :param said: those on what the model uses: nothing is advised against overfitting in what has nothing to tell by itself.
    """
    yield from _worse_than_a_head(facts)
    yield from undertrained(facts)
    yield from _overfitted(facts, _mute(facts, said))
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


def _mute(facts: Facts, said: Collection[Finding]) -> set[str]:
    """Return the modalities whose heads have nothing to tell: those that are noise, and where several are needed together, those at chance.

    What such a head got right in training it learned by heart: no regularisation makes it carry over.
    """
    mute = {finding.subject for finding in said if finding.kind == "noise"}
    if facts.baseline is not None and any(finding.kind == "synergy" for finding in said):
        mute |= {name for name in facts.names if name in facts.record.heads and not facts.informative(facts.record.heads[name])}
    return mute


def _overfitted(facts: Facts, mute: Collection[str]) -> Iterator[Finding]:
    pairs, there, where = _generalisation(facts)
    rising = rising_heads(facts)
    found: dict[str, tuple[float, float]] = {}
    for head, (train, other) in pairs.items():
        score = facts.record.heads.get(head)
        # As long as the validation score rises, a gap does not mean that more training harms.
        if head in rising or head in mute or score is None:
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
    who = "The model overfits" if subject == MULTIMODAL else f"{heads}{_the_joint_model(facts, pairs, rising)}"
    least = f"more than {100 * NOT_CARRIED_OVER:.0f} % of what was gained over chance does not carry over"
    sentence = f"{who}: {'; '.join(parts)}. In each case {least}{where}."
    if len(found) == 1:
        sentence = sentence.replace("In each case more", "More")
    modalities = [head for head in found if head != MULTIMODAL]
    encoders = "encoder" if len(modalities) == 1 else "encoders"
    part = f", first in the {encoders} of {listing(modalities)}" if 0 < len(modalities) < len(facts.names) else ""
    epochs = len(facts.record.curves or ())
    shorter = "dropout, or a smaller encoder" if rising or 0 < epochs < FEWEST else "dropout, a smaller encoder, or fewer epochs"
    if 0 < epochs < FEWEST:
        sentence += f" After {epochs} {'epoch' if epochs == 1 else 'epochs'} it is too early to tell whether more of them would mend that."
    advice = (
        f"Regularise more{part}: augmentation, weight decay (0.01 with AdamW to begin with), {shorter}; method mses stops each modality by"
        " itself. Judge balance again afterwards."
    )
    yield Finding("overfits", subject, sentence, proof, advice)


def _the_joint_model(facts: Facts, pairs: Mapping[str, tuple[float, float]], rising: Collection[str]) -> str:
    """Return what the joint model does while a head overfits."""
    joint = facts.record.heads.get(MULTIMODAL)
    if MULTIMODAL in rising:
        return ", while the joint model is still learning"
    if MULTIMODAL not in pairs or joint is None:
        return ""
    train, other = pairs[MULTIMODAL]
    return (
        f", {'the joint model less so' if _beyond_chance(facts, MULTIMODAL, joint, train - other) else 'though the joint model does not'}"
    )


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
        if (own := facts.behind(name)) is not None:
            behind[name] = own
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
