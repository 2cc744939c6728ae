"""Findings about single modalities: what each does for the joint model, and where that is nothing, whether it could."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from equimodal.diagnose.quantities import Finding, Interval
from equimodal.diagnose.verdict_advice import spread
from equimodal.diagnose.verdict_facts import Facts, Known, evidence, known
from equimodal.report.words import listing
from equimodal.scores import MULTIMODAL

__all__ = ["Role", "change", "each_loss", "more_samples", "roles_of", "single_findings"]

Role = Literal["adds", "harmful", "redundant", "unused", "noise", "nothing", "unsure", "unknown"]
"""What a modality does for the joint model, and where that is nothing, whether it could."""
_NAMED = 3
"""Of many modalities so many are named."""


def roles_of(facts: Facts) -> dict[str, Role]:
    """Return what every modality does."""
    return {name: _role(facts, name) for name in facts.names}


def _role(facts: Facts, name: str) -> Role:
    loss = known(facts.losses.get(name))
    if loss is None:
        return "unknown"
    most = max(loss.high, facts.unseen)
    if loss.low > 0 and most > facts.negligible:
        return "adds"
    if loss.high < 0 and -loss.value > facts.negligible:
        return "harmful"
    if most > facts.negligible:
        return "unsure"
    worth = known(facts.worth.get(name))
    if worth is not None and worth.low > facts.negligible:
        return "redundant"
    reads = facts.reads(name)
    informative = None if reads is None else facts.informative(reads[1])
    return "nothing" if informative is None else "unused" if informative else "noise"


def single_findings(facts: Facts, roles: Mapping[str, Role]) -> Iterator[Finding]:
    """Yield what is to be said of single modalities."""
    for name, role in roles.items():
        if role in _SAID:
            yield _SAID[role](facts, name)
    if unsure := [name for name, role in roles.items() if role == "unsure"]:
        yield _unsure(facts, unsure)


def change(facts: Facts, loss: Interval) -> str:
    """Return how the score changes by a loss, such as ``"falls by 4.0 points (1.0 to 7.0)"``."""
    return f"falls by {facts.lost(loss)}" if _falls(facts, loss) else f"rises by {facts.lost(_negated(loss))}"


def each_loss(facts: Facts, names: Sequence[str]) -> str:
    """Return how the score changes without each of some modalities, as ``"falls by 4.0 points (1.0 to 7.0) without audio and …"``.

    Of many only those are named without which it changes most.
    """
    parts = []
    for verb, falls in (("falls", True), ("rises", False)):
        own = {name: facts.losses[name] for name in names if _falls(facts, facts.losses[name]) == falls}
        if not own:
            continue
        shown = {name: loss if falls else _negated(loss) for name, loss in own.items()}
        largest = sorted(shown, key=lambda name: -(shown[name].value or 0.0))
        named = list(shown) if len(shown) <= _NAMED + 1 else [name for name in shown if name in largest[:_NAMED]]
        told = [f"{facts.lost(shown[name])} without {name}" for name in named]
        if rest := largest[len(named) :]:
            told.append(f"at most {facts.points(shown[rest[0]].value or 0.0)}{facts.unit} without any one of the {len(rest)} others")
        parts.append(f"{verb} by {listing(told)}")
    return ", and ".join(parts)


def _falls(facts: Facts, loss: Interval) -> bool:
    return loss.value is None or not facts.points(loss.value).startswith("−")


def _loss_said(facts: Facts, name: str) -> str:
    """Return what is lost without a modality as part of a sentence, with a word where the ways of leaving it out disagree."""
    said = f"the score changes by {facts.lost(_negated(facts.losses[name]), signed=True)} with it {facts.left_out}"
    others = {kind: known(own[name].loss) for kind, own in facts.record.ablations.items() if kind != facts.kind and name in own}
    higher = {kind: loss for kind, loss in others.items() if loss is not None and loss.low > facts.negligible}
    if higher:
        told = listing(f"{facts.points(-loss.value, signed=True)}{facts.unit} with it {facts.how(kind)}" for kind, loss in higher.items())
        said += f" (but by {told})"
    return said


def _negated(loss: Interval) -> Interval:
    return Interval.of(*(None if end is None else -end for end in (loss.value, loss.high, loss.low)))


def _adds_nothing(facts: Facts, name: str) -> tuple[str, dict[str, Any]]:
    proof: dict[str, Any] = {"left out by": facts.kind, **evidence(f"loss without {name}", facts.losses[name])}
    proof |= evidence(f"Shapley value of {name}", facts.worth.get(name))
    reads = facts.reads(name)
    if reads is not None:
        proof |= evidence(f"score of {reads[0].replace('its', 'the')}", reads[1])
    if facts.baseline is not None:
        proof["score of knowing nothing"] = facts.baseline
    return f"{name} adds nothing to the joint prediction: {_loss_said(facts, name)}.", proof


def _redundant_one(facts: Facts, name: str) -> Finding:
    said, proof = _adds_nothing(facts, name)
    worth = facts.lost(facts.worth[name])
    others = listing(other for other in facts.names if other != name)
    said += f" It is used all the same (its Shapley value is {worth}), but what it tells now, {others} can tell without it."
    both, more = _from_both(facts, name, proof)
    advice = None
    if more is not None and more > facts.negligible:
        said += both
        advice = (
            f"Its features hold more than the model takes from them: train the fusion longer, or {name} alone to see what there is to gain."
        )
    return Finding("redundant", name, said, proof, advice)


def _unused(facts: Facts, name: str) -> Finding:
    said, proof = _adds_nothing(facts, name)
    reads = facts.reads(name)
    assert reads is not None
    said += f" It could tell something: {reads[0]} scores {facts.scored(reads[1])}, and knowing nothing {facts.score(facts.baseline)}."
    both, more = _from_both(facts, name, proof)
    said += both
    if facts.frozen(name):
        said += f" Its encoder is frozen: none of its {facts.record.encoders[name].parameters:,} parameters is trained."
    return Finding("unused", name, said, proof, spread(facts, name, more))


def _from_both(facts: Facts, name: str, proof: dict[str, Any]) -> tuple[str, float | None]:
    """Return what a probe on two modalities has over one on the other alone: in words, and as a number where it is clear."""
    other = next(one for one in facts.names if one != name)
    both, best = known(facts.record.probes.get(MULTIMODAL)), known(facts.record.probes.get(other))
    if len(facts.names) != 2 or both is None or best is None:
        return "", None
    proof |= evidence("score of a linear probe on all features", both) | evidence(f"score of a linear probe on {other}", best)
    more = both.value - best.value
    if more <= facts.negligible:
        said = (
            f" But a probe on both ({facts.score(both.value)}) is hardly better than one on {other} alone ({facts.score(best.value)}): what"
            f" can be read from {name}, {other} tells as well."
        )
        return said, more
    if both.low <= best.value:
        return "", None
    return f" A probe on both scores {facts.scored(both)}, one on {other} alone {facts.score(best.value)}.", more


def _noise(facts: Facts, name: str) -> Finding:
    said, proof = _adds_nothing(facts, name)
    reads = facts.reads(name)
    assert reads is not None
    above = known(reads[1])
    more = "hardly more" if above is not None and facts.baseline is not None and above.low > facts.baseline else "no more"
    said += (
        f" Nor does it seem able to: {reads[0]} scores {facts.scored(reads[1])}, {more} than knowing nothing"
        f" ({facts.score(facts.baseline)})."
    )
    if facts.frozen(name):
        advice: str | None = (
            f"The encoder of {name} is frozen, and a linear probe finds nothing in its features: let it train, or take another one, before"
            " anything is concluded about the modality."
        )
    else:
        said += " No weighting brings out what the features do not hold."
        advice = (
            f"Leave the balance as it is. If you expect {name} to say something, train it alone (method unimodal) and look at its inputs;"
            " if it stays at chance there too, this encoder finds nothing in it."
        )
    return Finding("noise", name, said, proof, advice)


def _nothing(facts: Facts, name: str) -> Finding:
    said, proof = _adds_nothing(facts, name)
    reads = facts.reads(name)
    why = (
        "neither a probe nor a head tells what it could"
        if reads is None
        else f"{reads[0]} scores {facts.scored(reads[1])}, which cannot be told apart from knowing nothing"
    )
    said += f" Whether it could is open: {why}."
    return Finding("nothing", name, said, proof, f"Train {name} alone (method unimodal, or equimodal rates): that shows what it can tell.")


def _harmful(facts: Facts, name: str) -> Finding:
    loss = facts.losses[name]
    proof: dict[str, Any] = {"left out by": facts.kind, **evidence(f"loss without {name}", loss)}
    others = {kind: known(own[name].loss) for kind, own in facts.record.ablations.items() if kind != facts.kind and name in own}
    calm = {kind: own for kind, own in others.items() if own is not None and own.high >= 0}
    for kind, own in calm.items():
        proof |= evidence(f"loss without {name}, {kind}", own)
    less = f" With it {' or '.join(map(facts.how, calm))}, that cannot be told apart from no harm." if calm else ""
    sentence = f"{name} harms the joint prediction: with it {facts.left_out}, the score rises by {facts.lost(_negated(loss))}.{less}"
    advice = (
        f"Compare with a model without {name}. If that is better, {name} may have been learned by heart: fewer parameters or more"
        f" regularisation in its encoder (weight decay 0.01 with AdamW to begin with, augmentation), or stop it early (method mses)."
    )
    return Finding("harmful", name, sentence, proof, advice)


def _unsure(facts: Facts, names: Sequence[str]) -> Finding:
    proof: dict[str, Any] = {"left out by": facts.kind, "samples": facts.record.samples}
    for name in names:
        proof |= evidence(f"loss without {name}", facts.losses[name])
    adds = "adds" if len(names) == 1 else "add"
    sentence = (
        f"Whether {listing(names)} {adds} anything cannot be told from {facts.record.samples:,} samples: the score"
        f" {each_loss(facts, names)}."
    )
    intervals = [own for name in names if (own := known(facts.losses[name])) is not None]
    if any(own.high <= facts.negligible for own in intervals):
        proof["unseen loss"] = facts.unseen
        sentence += (
            f" So few samples can hide a loss of up to {facts.points(facts.unseen)}{facts.unit} altogether (three divided by their number)."
        )
    intervals = [Known(own.value, own.low, max(own.high, facts.unseen)) for own in intervals]
    return Finding("uncertain", names[0], sentence, proof, more_samples(facts, intervals))


def more_samples(facts: Facts, intervals: Sequence[Known]) -> str:
    """Return how many samples would narrow these intervals to half of what is negligible, which goes with the root of their number."""
    widest = max((own.high - own.low) / 2 for own in intervals)
    wanted = facts.negligible / 2
    count = facts.record.samples * (widest / wanted) ** 2 if wanted > 0 else 0.0
    if facts.record.samples < count < 1e7:
        return f"Diagnose on more samples: about {_rounded(count):,} would narrow the interval to ±{facts.points(wanted)}{facts.unit}."
    return "Diagnose on more samples, or over several seeds."


def _rounded(count: float) -> int:
    power = 10 ** max(0, len(str(int(count))) - 2)
    return int(-(-count // power) * power)


_SAID: Mapping[str, Callable[[Facts, str], Finding]] = {
    "redundant": _redundant_one,
    "unused": _unused,
    "noise": _noise,
    "nothing": _nothing,
    "harmful": _harmful,
}
