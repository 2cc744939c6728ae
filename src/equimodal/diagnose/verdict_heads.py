"""What the heads say beside the joint model: their utilization gap, whether they lie apart, and what they tell where nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from equimodal.diagnose.quantities import Finding
from equimodal.diagnose.verdict_advice import balance, with_heads_apart
from equimodal.diagnose.verdict_facts import Facts, evidence, first_epochs, known
from equimodal.diagnose.verdict_single import each_loss
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from equimodal.diagnose.quantities import Interval

__all__ = ["HOW_TO_ASK", "clearly", "gap_said", "heads_apart", "without_ablations"]

HOW_TO_ASK = (
    "Give a model that can be asked without a modality: one that returns a Prediction with features, or takes modalities=; see the guide to"
    " diagnosing."
)


def gap_said(facts: Facts, leader: str | None, proof: dict[str, Any]) -> str:
    """Return where the utilization gap lies beside τ, in a sentence; empty where it is not known.

    :param leader: the modality that the joint model uses most.
    :param proof: the evidence, to which this adds.
    """
    gap = facts.record.gap
    if gap is None or gap.value is None:
        return ""
    proof.update(evidence("utilization gap", gap), tau=facts.tau)
    ends, ahead = known(gap), _head_ahead(facts)
    if ends is not None and ends.low <= facts.tau < ends.high:
        return f"The utilization gap of the heads is δ = {facts.plain(gap)}: on which side of τ = {facts.tau:g} it lies cannot be told."
    if gap.value > facts.tau:
        since = first_epochs(facts, ahead) if ahead == leader and ahead is not None else ""
        if since:
            proof["since"] = since
        head = "" if ahead == leader else f", with the head of {ahead} ahead"
        return f"The utilization gap of the heads is δ = {facts.plain(gap)}, above τ = {facts.tau:g}{f' {since}' if since else ''}{head}."
    return f"The utilization gap of the heads, δ = {facts.plain(gap)}, is not above τ = {facts.tau:g}."


def _head_ahead(facts: Facts) -> str | None:
    scores = {name: facts.record.heads[name].value for name in facts.names if name in facts.record.heads}
    present = {name: value for name, value in scores.items() if value is not None}
    return max(present, key=lambda name: present[name]) if present else None


def clearly(facts: Facts, gap: Interval) -> bool:
    """Tell whether the whole interval of a gap is above τ."""
    ends = known(gap)
    return ends is not None and ends.low > facts.tau


def heads_apart(facts: Facts, leader: str | None, *, weighed: bool) -> Iterator[Finding]:
    """Yield that the heads lie apart where the joint model does not lean as they do.

    :param leader: the modality that dominates, if one does.
    :param weighed: whether it is known what every modality is worth.
    """
    gap, ahead = facts.record.gap, _head_ahead(facts)
    if gap is None or not clearly(facts, gap) or ahead is None or ahead == leader:
        return
    proof = {**evidence("utilization gap", gap), "tau": facts.tau}
    since = first_epochs(facts, ahead)
    how = "suggest more than the joint model shows" if leader is None else f"disagree with the joint model, which leans on {leader}"
    sentence = (
        f"The heads {how}: that of {ahead} is ahead with"
        f" {facts.scored(facts.record.heads[ahead])}, and δ = {facts.plain(gap)}, above τ = {facts.tau:g}{f' {since}' if since else ''}."
        " A head sees its own feature alone, the fusion sees all of them: the two need not agree."
    )
    if leader is not None:
        advice = f"Go by what is lost without a modality: balancing by the heads would slow {ahead}."
        yield Finding("heads apart", ahead, sentence, proof, advice)
    elif weighed:
        yield Finding("heads apart", ahead, sentence, proof, with_heads_apart(facts))


def without_ablations(facts: Facts) -> Iterator[Finding]:
    """Yield what can be said where it is not known what any modality does."""
    if facts.losses:
        told = f"The score {each_loss(facts, list(facts.losses))}." if all(loss.value is not None for loss in facts.losses.values()) else ""
        sentence = f"No intervals were made, so that nothing can be told apart from chance. {told}".rstrip()
        proof = {key: value for name, loss in facts.losses.items() for key, value in evidence(f"loss without {name}", loss).items()}
        yield Finding("uncertain", MULTIMODAL, sentence, proof, "Diagnose with resamples of at least 1000 to know what can be told.")
    else:
        joint = f"The joint model scores {facts.scored(facts.joint)}. " if facts.joint_value is not None else ""
        sentence = f"{joint}What each modality adds to it is not known: leaving one out was not possible{_why(facts)}."
        yield Finding("uncertain", MULTIMODAL, sentence, evidence("joint score", facts.joint), HOW_TO_ASK)
    gap, ahead = facts.record.gap, _head_ahead(facts)
    if gap is not None and clearly(facts, gap) and ahead is not None:
        since = first_epochs(facts, ahead)
        proof = {**evidence("utilization gap", gap), "tau": facts.tau}
        sentence = (
            f"The head of {ahead} is ahead of the others: δ = {facts.plain(gap)}, above τ = {facts.tau:g}{f' {since}' if since else ''}."
            " What the fusion makes of it is not known."
        )
        yield Finding("dominated", ahead, sentence, proof, balance(facts, ahead, [n for n in facts.names if n != ahead], {})[0])


def _why(facts: Facts) -> str:
    """Return why nothing could be left out, in brackets behind a sentence."""
    skipped = facts.record.skipped
    why = skipped.get("ablations") or next((why for key, why in skipped.items() if key.startswith("ablations")), "")
    return f" ({why})" if why else ""
