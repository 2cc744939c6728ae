"""Findings about what the model uses as a whole: one modality above all, all of them, or only several together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from equimodal.diagnose.record import Finding
from equimodal.diagnose.verdict_advice import balance, look_at, with_heads_apart
from equimodal.diagnose.verdict_facts import TAU, Facts, Known, evidence, first_epochs, known
from equimodal.diagnose.verdict_single import Role, each_loss, more_samples, roles_of, single_findings
from equimodal.report.words import listing
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from equimodal.diagnose.record import Interval

__all__ = ["TWICE", "findings"]

TWICE = 2.0
"""A modality dominates when it is worth at least so many times what the next one is."""
_WHICH_WAY = (
    "Go by the way of leaving out that is like what will happen: the mean or zero where a modality may be absent, that of other samples"
    " where it may be wrong."
)
_HOW_TO_ASK = (
    "Give a model that can be asked without a modality: one that returns a Prediction with features, or takes modalities=; see the guide to"
    " diagnosing."
)


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield the findings, the answer to "what does it use?" first."""
    roles = roles_of(facts)
    if all(role == "unknown" for role in roles.values()):
        yield from _without_ablations(facts)
        return
    leader = _leader(facts, _weights(facts))
    needed = list(_together(facts, roles))
    yield from needed
    if leader is not None:
        yield _dominated(facts, leader, roles)
    elif not needed and list(roles.values()).count("redundant") > 1:
        yield _redundant(facts, [name for name, role in roles.items() if role == "redundant"])
        roles = {name: role for name, role in roles.items() if role != "redundant"}
    else:
        yield from _shared(facts, roles)
    yield from single_findings(facts, roles)
    yield from _heads_apart(facts, leader)
    if not _weights(facts):
        unknown = [name for name, role in roles.items() if role == "unknown"]
        yield Finding("uncertain", MULTIMODAL, f"What {listing(unknown or facts.names)} adds is not known.", {}, _HOW_TO_ASK)


def _weights(facts: Facts) -> dict[str, Known]:
    """Return what every modality is worth, by its Shapley value, else by what is lost without it; empty where one is not known."""
    return _all_known(facts, facts.worth or facts.losses)


def _all_known(facts: Facts, of: Mapping[str, Interval]) -> dict[str, Known]:
    found = {name: own for name in facts.names if (own := known(of.get(name))) is not None}
    return found if len(found) == len(facts.names) else {}


def _ordered(weights: dict[str, Known]) -> list[str]:
    return sorted(weights, key=lambda name: -weights[name].value)


def _leader(facts: Facts, weights: dict[str, Known]) -> str | None:
    if not weights:
        return None
    first, second = _ordered(weights)[:2]
    ahead = weights[first].low > max(weights[second].high, facts.negligible, facts.unseen)
    return first if ahead and weights[first].value >= TWICE * weights[second].value else None


def _otherwise(facts: Facts, leader: str | None, proof: dict[str, Any]) -> str:
    """Return in words by which other ways of leaving out another modality dominates, or none, or one although none should."""
    said = []
    for kind, shares in facts.other_ways.items():
        weights = _all_known(facts, shares.values)
        if not weights:
            continue
        first, second = _ordered(weights)[:2]
        same = first == leader and weights[first].value >= TWICE * weights[second].value
        if same if leader is not None else _leader(facts, weights) is None:
            continue
        for name in (first, second):
            proof |= evidence(f"Shapley value of {name}, {kind}", weights[name])
        worth = f"{first} is worth {facts.points(weights[first].value)}{facts.unit} and {second} {facts.points(weights[second].value)}"
        said.append(f"with one {facts.how(kind)}, {worth}")
    return f"Other ways of leaving out say otherwise: {'; '.join(said)} (Shapley values)." if said else ""


def _dominated(facts: Facts, leader: str, roles: dict[str, Role]) -> Finding:
    others = [name for name in _ordered(_weights(facts)) if name != leader]
    parts = [
        f"The model is dominated by {leader}: with it {facts.left_out}, the score of {facts.score(facts.joint_value)} falls by"
        f" {facts.lost(facts.losses[leader])}, without {each_loss(facts, others)}."
    ]
    proof: dict[str, Any] = {"left out by": facts.kind}
    for name in (leader, *others):
        proof |= evidence(f"loss without {name}", facts.losses[name])
        if name in facts.worth:
            proof |= evidence(f"Shapley value of {name}", facts.worth[name])
    if (share := facts.share(leader)) is not None:
        whole = "all" if share > 0.995 else f"{100 * share:.0f} %"
        parts.append(f"By Shapley values it carries {whole} of what the modalities give.")
        proof["share by Shapley values"] = share
    if said := _otherwise(facts, leader, proof):
        parts.append(said)
    if said := _gap_said(facts, leader, proof):
        parts.append(said)
    advice, remark = balance(facts, leader, others, roles)
    if remark:
        parts.append(remark)
    return Finding("dominated", leader, " ".join(parts), proof, advice)


def _gap_said(facts: Facts, leader: str | None, proof: dict[str, Any]) -> str:
    gap = facts.record.gap
    if gap is None or gap.value is None:
        return ""
    proof.update(evidence("utilization gap", gap), tau=TAU)
    ends, ahead = known(gap), _head_ahead(facts)
    if ends is not None and ends.low <= TAU < ends.high:
        return f"The utilization gap of the heads is δ = {facts.plain(gap)}: on which side of τ = {TAU:g} it lies cannot be told."
    if gap.value > TAU:
        since = first_epochs(facts, ahead) if ahead == leader and ahead is not None else ""
        if since:
            proof["since"] = since
        head = "" if ahead == leader else f", with the head of {ahead} ahead"
        return f"The utilization gap of the heads is δ = {facts.plain(gap)}, above τ = {TAU:g}{f' {since}' if since else ''}{head}."
    return f"The utilization gap of the heads, δ = {facts.plain(gap)}, is not above τ = {TAU:g}."


def _head_ahead(facts: Facts) -> str | None:
    scores = {name: facts.record.heads[name].value for name in facts.names if name in facts.record.heads}
    present = {name: value for name, value in scores.items() if value is not None}
    return max(present, key=lambda name: present[name]) if present else None


def _shared(facts: Facts, roles: dict[str, Role]) -> Iterator[Finding]:
    """Yield how the modalities share the work where none dominates."""
    weights = _weights(facts)
    order = _ordered(weights)
    if not weights or all(weights[name].high <= facts.negligible for name in order):
        return
    proof: dict[str, Any] = {"left out by": facts.kind}
    for name in order:
        proof |= evidence(f"loss without {name}", facts.losses[name]) | evidence(f"Shapley value of {name}", facts.worth.get(name))
    lost = f"with one of them {facts.left_out} the score of {facts.score(facts.joint_value)} falls, without {each_loss(facts, order)}"
    top, least, second = weights[order[0]], weights[order[-1]], weights[order[1]]
    unsure = [name for name, role in roles.items() if role in ("unsure", "nothing")]
    if all(role == "adds" for role in roles.values()) and top.high <= TWICE * least.low:
        two = len(order) == 2
        every = "Both modalities are" if two else f"All {len(order)} modalities are"
        none = "neither twice as much as the other" if two else "none twice as much as another"
        otherwise = _otherwise(facts, None, proof)
        said = f"{otherwise} {_gap_said(facts, order[0], proof)}".strip()
        sentence = f"Balanced. {every} used, {none}: {lost}. {said}".rstrip()
        advice = with_heads_apart(facts) if facts.record.gap is not None and _clearly(facts.record.gap) else None
        advice = advice or (_WHICH_WAY if otherwise else None)
        yield Finding("balanced", MULTIMODAL, sentence if advice else f"{sentence} Nothing needs balancing.", proof, advice)
    elif top.low > (least if len(order) > 2 else second).high:
        shares = [(name, facts.share(name)) for name in order]
        worth = listing(f"{name} {100 * share:.0f} %" for name, share in shares if share is not None) if facts.worth else ""
        worth = f" By Shapley values: {worth} of what they give together." if worth and None not in dict(shares).values() else ""
        said = _gap_said(facts, order[0], proof)
        sentence = f"The model leans on {order[0]} more than on {order[-1]}, but uses more than one: {lost}.{worth} {said}"
        yield Finding("leaning", order[0], sentence.rstrip(), proof, look_at(order[-1], roles))
    elif not unsure:
        said = f"Which modality the model leans on most cannot be told from {facts.record.samples:,} samples: {lost}."
        yield Finding("uncertain", MULTIMODAL, said, proof, more_samples(facts, [weights[name] for name in order]))


def _clearly(gap: Interval) -> bool:
    ends = known(gap)
    return ends is not None and ends.low > TAU


def _together(facts: Facts, roles: dict[str, Role]) -> Iterator[Finding]:
    """Yield the pairs that are worth more together than one by one."""
    pairs = [(first, second) for first, second in itertools.combinations(facts.names, 2)]
    found = [
        (own, first, second)
        for first, second in pairs
        if (own := known(facts.interactions.get(f"{first} × {second}"))) is not None
        and own.low > facts.negligible
        and roles[first] == roles[second] == "adds"
    ]
    for own, first, second in sorted(found, reverse=True)[:2]:
        proof = evidence(f"interaction of {first} and {second}", own)
        alone = {name: reads for name in (first, second) if (reads := facts.reads(name)) is not None}
        for name, (_, interval) in alone.items():
            proof |= evidence(f"score of {name} alone", interval)
        sentence = (
            f"The model needs {first} and {second} together: joined, they are worth {facts.lost(own)} more than one by one"
            " (Shapley interaction)."
        )
        others = {kind: known(ways.interactions.get(f"{first} × {second}")) for kind, ways in facts.other_ways.items()}
        none = {kind: other for kind, other in others.items() if other is not None and other.high <= facts.negligible}
        for kind, other in none.items():
            proof |= evidence(f"interaction of {first} and {second}, {kind}", other)
        if none:
            told = listing(f"with them {facts.how(kind)} it is {facts.lost(other)}" for kind, other in none.items())
            sentence += f" That hangs on how they are left out: {told}."
        informative = [facts.informative(interval) for _, interval in alone.values()]
        if len(alone) == 2 and facts.baseline is not None and not any(informative):
            told = listing(f"{facts.score(interval.value)} from {name}" for name, (_, interval) in alone.items())
            what = "a linear probe" if "probe" in alone[first][0] else "the head"
            sentence += (
                f" Neither can be seen to say anything by itself: {what} reads {told}, and knowing nothing scores"
                f" {facts.score(facts.baseline)}. Weak heads are no sign of neglect here, and there is nothing to balance."
            )
            yield Finding("synergy", MULTIMODAL, sentence, proof, None)
            continue
        if alone and all(informative):
            told = listing(f"{what} {facts.score(interval.value)} of {name}" for name, (what, interval) in _short(alone))
            sentence += f" Yet each says something by itself ({told})"
            sentence += "." if none else ": it is the fusion that has not learned to do with one."
        advice = (
            "Nothing, as long as every sample has both. Where one may be missing, train with some of them missing"
            " (docs: missing modalities) and give every head a loss of its own."
        )
        yield Finding("synergy", MULTIMODAL, sentence, proof, advice)


def _short(alone: dict[str, tuple[str, Interval]]) -> list[tuple[str, tuple[str, Interval]]]:
    return [(name, ("a linear probe reads" if "probe" in what else "its head reads", interval)) for name, (what, interval) in alone.items()]


def _redundant(facts: Facts, names: Sequence[str]) -> Finding:
    proof: dict[str, Any] = {"left out by": facts.kind}
    for name in names:
        proof |= evidence(f"loss without {name}", facts.losses[name]) | evidence(f"Shapley value of {name}", facts.worth[name])
    for first, second in itertools.combinations(names, 2):
        proof |= evidence(f"interaction of {first} and {second}", facts.interactions.get(f"{first} × {second}"))
    rest = "" if len(names) == len(facts.names) else ", each beside all others"
    both = "both" if len(names) == 2 else "all of them"
    empty = ""
    if len(names) == len(facts.names) and facts.empty is not None and facts.empty.value is not None:
        empty = f", and {both} left out leaves {facts.score(facts.empty.value)}"
        proof |= evidence("score without any", facts.empty)
    misled, wrong = "", facts.record.ablations.get("permutation", {}) if facts.kind != "permutation" else {}
    if all((own := known(wrong[name].loss)) is not None and own.low > facts.negligible for name in names if name in wrong) and wrong:
        told = listing(facts.points(wrong[name].loss.value or 0.0) for name in names if name in wrong)
        misled = f" (of the wrong sample they mislead it, by {told}{facts.unit})"
    sentence = (
        f"{listing(names)} tell the model the same: leaving out one costs nothing that can be seen (the score falls without"
        f" {each_loss(facts, names)}{rest}){empty}. Each is used{misled}, and each can stand in for the other: a low"
        " utilization rate is no sign of neglect here."
        " Nothing needs balancing for the score."
    )
    return Finding("redundant", MULTIMODAL, sentence, proof, None)


def _heads_apart(facts: Facts, leader: str | None) -> Iterator[Finding]:
    """Yield that the heads lie apart where the joint model does not lean as they do."""
    gap, ahead = facts.record.gap, _head_ahead(facts)
    if gap is None or not _clearly(gap) or ahead is None or ahead == leader:
        return
    weights = _weights(facts)
    order = _ordered(weights)
    proof = {**evidence("utilization gap", gap), "tau": TAU}
    since = first_epochs(facts, ahead)
    sentence = (
        f"The heads lie apart although the joint model does not lean on {ahead} as they do: the head of {ahead} scores"
        f" {facts.scored(facts.record.heads[ahead])}, δ = {facts.plain(gap)}, above τ = {TAU:g}{f' {since}' if since else ''}."
        " A head reads its feature by itself, the fusion beside the others: they need not agree."
    )
    if order and leader is None:
        yield Finding("heads apart", ahead, sentence, proof, with_heads_apart(facts))
    elif leader is not None:
        yield Finding(
            "heads apart", ahead, sentence, proof, f"Go by what is lost without a modality: balancing by the heads would slow {ahead}."
        )


def _without_ablations(facts: Facts) -> Iterator[Finding]:
    """Yield what heads alone tell."""
    why = facts.record.skipped.get("ablations") or next(
        (why for key, why in facts.record.skipped.items() if key.startswith("ablations")), ""
    )
    why = f" ({why})" if why else ""
    if facts.losses:
        told = (
            listing(f"{name} {facts.points(loss.value)}" for name, loss in facts.losses.items() if loss.value is not None)
            if all(loss.value is not None for loss in facts.losses.values())
            else "an unknown part"
        )
        sentence = f"No intervals were made, so that nothing is told apart from chance. The score falls without {told}{facts.unit}."
        proof = {key: value for name, loss in facts.losses.items() for key, value in evidence(f"loss without {name}", loss).items()}
        yield Finding("uncertain", MULTIMODAL, sentence, proof, "Diagnose with resamples of at least 1000 to know what can be told.")
    else:
        joint = f"The joint model scores {facts.scored(facts.joint)}. " if facts.joint_value is not None else ""
        sentence = f"{joint}What each modality adds to it is not known: leaving one out was not possible{why}."
        yield Finding("uncertain", MULTIMODAL, sentence, evidence("joint score", facts.joint), _HOW_TO_ASK)
    gap, ahead = facts.record.gap, _head_ahead(facts)
    if gap is not None and _clearly(gap) and ahead is not None:
        since = first_epochs(facts, ahead)
        proof = {**evidence("utilization gap", gap), "tau": TAU}
        sentence = (
            f"The head of {ahead} is ahead of the others: δ = {facts.plain(gap)}, above τ = {TAU:g}{f' {since}' if since else ''}. What the"
            " fusion makes of it is not known."
        )
        yield Finding("dominated", ahead, sentence, proof, balance(facts, ahead, [n for n in facts.names if n != ahead], {})[0])
