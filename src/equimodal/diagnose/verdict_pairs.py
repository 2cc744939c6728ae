"""Findings about modalities together: those that are worth more joined than one by one, and those that tell the model the same."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from equimodal.diagnose.quantities import Finding
from equimodal.diagnose.verdict_advice import heads_with_losses
from equimodal.diagnose.verdict_facts import Facts, evidence, known
from equimodal.diagnose.verdict_single import each_loss
from equimodal.report.words import listing
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from equimodal.diagnose.quantities import Interval
    from equimodal.diagnose.verdict_single import Role

__all__ = ["redundant", "together"]


def together(facts: Facts, roles: Mapping[str, Role]) -> Iterator[Finding]:
    """Yield the pairs that are worth more together than one by one, the two foremost of them."""
    found = [
        (own, first, second)
        for first, second in itertools.combinations(facts.names, 2)
        if (own := known(facts.interactions.get(f"{first} × {second}"))) is not None
        and own.low > facts.negligible
        and roles[first] == roles[second] == "adds"
    ]
    for own, first, second in sorted(found, reverse=True)[:2]:
        proof = evidence(f"interaction of {first} and {second}", own)
        sentence = (
            f"The model needs {first} and {second} together: joined, they are worth {facts.lost(own)} more than one by one"
            " (Shapley interaction)."
        )
        otherwise = _otherwise(facts, first, second, proof)
        yield _together(facts, (first, second), f"{sentence}{otherwise}", proof, disputed=bool(otherwise))


def _together(facts: Facts, pair: Sequence[str], sentence: str, proof: dict[str, Any], *, disputed: bool) -> Finding:
    alone = {name: reads for name in pair if (reads := facts.reads(name)) is not None}
    for name, (_, interval) in alone.items():
        proof |= evidence(f"score of {name} alone", interval)
    informative = [facts.informative(interval) for _, interval in alone.values()]
    if len(alone) == 2 and facts.baseline is not None and not any(informative):
        sentence += (
            f" Neither can be seen to say anything by itself: {_read(facts, alone)}, and knowing nothing scores"
            f" {facts.score(facts.baseline)}. Weak heads are no sign of neglect here, and there is nothing to balance."
        )
        return Finding("synergy", MULTIMODAL, sentence, proof, None)
    if alone and all(informative):
        sentence += f" Yet each says something by itself ({_read(facts, alone)})"
        sentence += "." if disputed else ": it is the fusion that has not learned to do with one of them."
    advice = (
        "Nothing, as long as every sample has both. Where one may be missing, train with some of them missing"
        f" (docs: missing modalities) and {heads_with_losses(facts)}."
    )
    return Finding("synergy", MULTIMODAL, sentence, proof, advice)


def _otherwise(facts: Facts, first: str, second: str, proof: dict[str, Any]) -> str:
    """Return by which other ways of leaving out two modalities are worth no more together, as a sentence."""
    others = {kind: known(ways.interactions.get(f"{first} × {second}")) for kind, ways in facts.other_ways.items()}
    none = {kind: other for kind, other in others.items() if other is not None and other.high <= facts.negligible}
    for kind, other in none.items():
        proof |= evidence(f"interaction of {first} and {second}, {kind}", other)
    told = listing(f"with them {facts.how(kind, several=True)} it is {facts.lost(other)}" for kind, other in none.items()) if none else ""
    return f" That depends on how they are left out: {told}." if told else ""


def _read(facts: Facts, alone: Mapping[str, tuple[str, Interval]]) -> str:
    """Return what is told from each of some modalities by itself, such as ``"a linear probe scores 60 % from audio and …"``."""
    by_reader: dict[str, list[str]] = {}
    for name, (what, interval) in alone.items():
        reader = "a linear probe" if "probe" in what else "a head"
        by_reader.setdefault(reader, []).append(f"{facts.score(interval.value)} from {name}")
    return listing(f"{reader} scores {listing(told)}" for reader, told in by_reader.items())


def redundant(facts: Facts, names: Sequence[str]) -> Finding:
    """Return that several modalities tell the model the same.

    :param names: two or more.
    """
    proof: dict[str, Any] = {"left out by": facts.kind}
    for name in names:
        proof |= evidence(f"loss without {name}", facts.losses[name]) | evidence(f"Shapley value of {name}", facts.worth[name])
    for first, second in itertools.combinations(names, 2):
        proof |= evidence(f"interaction of {first} and {second}", facts.interactions.get(f"{first} × {second}"))
    two, all_of_them = len(names) == 2, len(names) == len(facts.names)
    rest = "" if all_of_them else ", with all others there"
    empty = ""
    if all_of_them and facts.empty is not None and facts.empty.value is not None:
        empty = f"; leaving out {'both' if two else 'all of them'} leaves {facts.score(facts.empty.value)}"
        proof |= evidence("score without any", facts.empty)
    sentence = (
        f"{listing(names)} tell the model the same: leaving out {'one' if two else 'any one of them'} costs nothing that can be seen (the"
        f" score {each_loss(facts, names)}{rest}){empty}. Each is used{_misled(facts, names)}, and each can stand in for the"
        f" {'other' if two else 'others'}: a low utilization rate is no sign of neglect here. Nothing needs balancing for the score."
    )
    return Finding("redundant", MULTIMODAL, sentence, proof, None)


def _misled(facts: Facts, names: Sequence[str]) -> str:
    """Return by how much modalities of the wrong sample mislead the model, where all that are known do."""
    wrong = {} if facts.kind == "permutation" else facts.record.ablations.get("permutation", {})
    losses = [known(wrong[name].loss) for name in names if name in wrong]
    clear = [loss for loss in losses if loss is not None and loss.low > facts.negligible]
    if not losses or len(clear) < len(losses):
        return ""
    least, most = (facts.points(end(loss.value for loss in clear)) for end in (min, max))
    return f" (that of another sample misleads it, by {least if least == most else f'{least} to {most}'}{facts.unit})"
