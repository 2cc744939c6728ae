"""Findings about what the model uses as a whole: one modality above all, all of them, or only several together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from equimodal.diagnose.quantities import Finding
from equimodal.diagnose.verdict_advice import balance, look_at, with_heads_apart
from equimodal.diagnose.verdict_facts import Facts, Known, evidence, known
from equimodal.diagnose.verdict_heads import HOW_TO_ASK, clearly, gap_said, heads_apart, without_ablations
from equimodal.diagnose.verdict_pairs import redundant, together
from equimodal.diagnose.verdict_single import Role, change, each_loss, more_samples, roles_of, single_findings
from equimodal.report.words import listing
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from equimodal.diagnose.quantities import Interval

__all__ = ["TWICE", "findings"]

TWICE = 2.0
"""A modality dominates when it is worth at least so many times what the next one is."""
_WHICH_WAY = (
    "Go by the way of leaving out that is like what will happen: the mean or zero where a modality may be absent, that of other samples"
    " where it may be wrong."
)


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield the findings, the answer to "what does it use?" first."""
    roles = roles_of(facts)
    if all(role == "unknown" for role in roles.values()):
        yield from without_ablations(facts)
        return
    leader = _leader(facts, _weights(facts))
    needed = list(together(facts, roles))
    yield from needed
    if leader is not None:
        yield _dominated(facts, leader, roles)
    elif not needed and list(roles.values()).count("redundant") > 1:
        yield redundant(facts, [name for name, role in roles.items() if role == "redundant"])
        roles = {name: role for name, role in roles.items() if role != "redundant"}
    else:
        yield from _shared(facts, roles, said=any(one.advice is None for one in needed))
    yield from single_findings(facts, roles)
    yield from heads_apart(facts, leader, weighed=bool(_weights(facts)))
    if not _weights(facts):
        unknown = [name for name, role in roles.items() if role == "unknown"]
        yield Finding("uncertain", MULTIMODAL, f"What {listing(unknown or facts.names)} adds is not known.", {}, HOW_TO_ASK)


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
        said.append(f"with modalities {facts.how(kind, several=True)}, {worth}")
    return f"Other ways of leaving out say otherwise: {'; '.join(said)} (Shapley values)." if said else ""


def _dominated(facts: Facts, leader: str, roles: dict[str, Role]) -> Finding:
    others = [name for name in _ordered(_weights(facts)) if name != leader]
    parts = [
        f"The model is dominated by {leader}: with it {facts.left_out}, the score of {facts.score(facts.joint_value)}"
        f" {change(facts, facts.losses[leader])}; it {each_loss(facts, others)}."
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
    if said := gap_said(facts, leader, proof):
        parts.append(said)
    advice, remark = balance(facts, leader, others, roles)
    if remark:
        parts.append(remark)
    return Finding("dominated", leader, " ".join(parts), proof, advice)


def _shared(facts: Facts, roles: dict[str, Role], *, said: bool) -> Iterator[Finding]:
    """Yield how the modalities share the work where none dominates.

    :param said: whether it has been said that nothing needs balancing.
    """
    weights = _weights(facts)
    order = _ordered(weights)
    if not weights or all(weights[name].high <= facts.negligible for name in order):
        return
    proof: dict[str, Any] = {"left out by": facts.kind}
    for name in order:
        proof |= evidence(f"loss without {name}", facts.losses[name]) | evidence(f"Shapley value of {name}", facts.worth.get(name))
    lost = f"with one of them {facts.left_out}, the score of {facts.score(facts.joint_value)} {each_loss(facts, order)}"
    top, least, second = weights[order[0]], weights[order[-1]], weights[order[1]]
    unsure = [name for name, role in roles.items() if role in ("unsure", "nothing")]
    if all(role == "adds" for role in roles.values()) and top.high <= TWICE * least.low:
        two = len(order) == 2
        every = "Both modalities are" if two else f"All {len(order)} modalities are"
        none = "neither twice as much as the other" if two else "none twice as much as another"
        otherwise = _otherwise(facts, None, proof)
        more = f"{otherwise} {gap_said(facts, order[0], proof)}".strip()
        sentence = f"Balanced. {every} used, {none}: {lost}. {more}".rstrip()
        advice = with_heads_apart(facts) if facts.record.gap is not None and clearly(facts, facts.record.gap) else None
        advice = advice or (_WHICH_WAY if otherwise else None)
        yield Finding("balanced", MULTIMODAL, sentence if advice or said else f"{sentence} Nothing needs balancing.", proof, advice)
    elif top.low > (least if len(order) > 2 else second).high:
        shares = [(name, facts.share(name)) for name in order]
        worth = listing(f"{name} {100 * share:.0f} %" for name, share in shares if share is not None) if facts.worth else ""
        worth = f" By Shapley values: {worth} of what they give together." if worth and None not in dict(shares).values() else ""
        gap = gap_said(facts, order[0], proof)
        sentence = f"The model leans on {order[0]} more than on {order[-1]}, but uses more than one: {lost}.{worth} {gap}"
        yield Finding("leaning", order[0], sentence.rstrip(), proof, look_at(facts, order[-1], roles))
    elif not unsure:
        sentence = f"Which modality the model leans on most cannot be told from {facts.record.samples:,} samples: {lost}."
        yield Finding("uncertain", MULTIMODAL, sentence, proof, more_samples(facts, [weights[name] for name in order]))
