"""What to try next: starting values for MILES, what they rest on, and when to leave things as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from equimodal.diagnose.verdict_facts import TAU
from equimodal.report.words import listing, title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.diagnose.verdict_facts import Facts

__all__ = ["MU", "balance", "heads_with_losses", "look_at", "spread", "with_heads_apart"]

MU = 0.5
"""The reduction factor of MILES that was best in the paper's Table V."""
SMALLER = (0.1, 0.05)
"""Thresholds to try where the gap is below τ: the paper recommends a smaller one where the heads are close."""
_CONTROL = "Keep joint training at the same learning rate as the control: in our own runs the scheduler could not be told apart from it."


def balance(facts: Facts, leader: str, others: Sequence[str], roles: Mapping[str, str]) -> tuple[str | None, str]:
    """Return what to do about a modality that dominates, and a remark where nothing should be done.

    :param leader: the modality.
    :param others: the rest, the strongest first.
    :param roles: what they do.
    """
    by_role = {role: [name for name in others if roles.get(name) == role] for role in set(roles.values())}
    if len(by_role.get("noise", ())) == len(others):
        return None, f"That is as it should be while {listing(others)} {'has' if len(others) == 1 else 'have'} nothing to tell."
    if len(by_role.get("redundant", ())) == len(others):
        return None, f"At present no score is lost by that: what {listing(others)} can tell now, {leader} tells as well."
    if harmful := by_role.get("harmful"):
        return f"First see to {listing(harmful)} (below), before {leader} is slowed.", ""
    if by_role.get("unsure") and not by_role.get("adds") and not by_role.get("unused"):
        unsure = by_role["unsure"]
        return f"First find out whether {listing(unsure)} {'adds' if len(unsure) == 1 else 'add'} anything (below).", ""
    if frozen := [name for name in by_role.get("unused", ()) if facts.frozen(name)]:
        return f"First see to {listing(frozen)} (below), {'whose encoder is' if len(frozen) == 1 else 'whose encoders are'} frozen.", ""
    weak = others[-1]
    return f"{_heads_first(facts, weak)} {_miles(facts, leader)} {_CONTROL}", ""


def heads_with_losses(facts: Facts) -> str:
    """Return how heads come by losses of their own: a model without heads needs them first."""
    if any(facts.head(name) is not None for name in facts.names):
        return "give every head a loss of its own (method joint)"
    return "put heads on the model (equimodal.probe), each with a loss of its own"


def _heads_first(facts: Facts, weak: str) -> str:
    alone = f"Train {weak} alone (equimodal rates)"
    if (behind := facts.behind(weak)) is not None:
        head, probe = (facts.score(own.value) for own in behind)
        return (
            f"First mend the head of {weak}: it scores {head}, and a linear probe on the same features {probe}, so that δ and all that goes"
            f" by heads mislead; {heads_with_losses(facts)} where it has none, or train it longer. {alone}: if that is no better than the"
            f" probe's {probe}, there is nothing to balance."
        )
    probed = facts.record.probes.get(weak)
    if (own := facts.head(weak)) is not None:
        short = f"no better than its head ({facts.score(own)}) here"
    elif probed is not None and probed.value is not None:
        short = f"no better than a linear probe on its features ({facts.score(probed.value)}) here"
    else:
        short = "hardly better than knowing nothing"
    none = ", where it has none" if own is not None else ""
    return f"{alone}: if that is {short}, there is nothing to balance. If it is, {heads_with_losses(facts)}{none}."


def _miles(facts: Facts, leader: str) -> str:
    """Return MILES with values to begin with, as far as the gap of the heads lets it act."""
    gap = None if facts.record.gap is None else facts.record.gap.value
    epochs, least = facts.slowed(leader)
    if epochs:
        return (
            f"{title_case(leader)} was slowed in {epochs} of {len(facts.record.curves or ())} epochs already, to ×{least:g}: try a smaller"
            f" τ ({facts.tau / 2:g}), or μ = {min(least, 1) / 2:g}, and choose by validation."
        )
    rate = "or μ = the ratio of the best unimodal learning rates that equimodal rates finds"
    if gap is None:
        return f"Then slow {leader} with MILES, which needs heads: τ = {TAU:g} and μ = {MU:g} to begin with, {rate}."
    if gap > TAU:
        return f"Then slow {leader} with MILES: τ = {TAU:g} and μ = {MU:g} to begin with, {rate}."
    smaller = next((tau for tau in SMALLER if tau < gap), None)
    if smaller is None:
        return (
            f"MILES goes by the heads, which are level (δ = {gap:.2f}), and would do nothing here: it is the fusion that leans on {leader};"
            " train it longer, or try another one (gated, attention)."
        )
    return f"Then slow {leader} with MILES: as δ is below {TAU:g}, τ = {smaller:g}; μ = {MU:g} to begin with, {rate}."


def spread(facts: Facts, name: str, more: float | None) -> str | None:
    """Return what to do about a modality that could tell something and is not used.

    :param more: what a linear probe on both has over one on the other alone, where it is known.
    """
    if facts.frozen(name):
        return (
            f"Let its encoder train (requires_grad_(True)), with a tenth of the learning rate if it was pre-trained; check that the"
            f" fusion passes a gradient to {name}."
        )
    begin = f"Check that {name} reaches the fusion at all (the scale of its features, a layer that is not trained)."
    if more is not None and more <= facts.negligible:
        return f"Its features as they are have little to add. Train {name} alone (equimodal rates) to see if they could hold more."
    return f"{begin} Then {heads_with_losses(facts)} and train longer; after that balance, as above."


def look_at(facts: Facts, weak: str, roles: Mapping[str, str]) -> str | None:
    """Return what to do where a model leans on one modality without neglecting another."""
    if roles.get(weak) in ("noise", "redundant"):
        return None
    less = f"It may be that {weak} has less to tell. Train it alone (equimodal rates) and compare"
    if (behind := facts.behind(weak)) is not None:
        return (
            f"{less} with a linear probe on its features here ({facts.score(behind[1].value)}), not with its head, which is to be mended"
            " first: balance only if the probe falls far short of that."
        )
    if facts.head(weak) is not None:
        return f"{less} with its head: balance only if it falls far short of that."
    probe = facts.record.probes.get(weak)
    if probe is None or probe.value is None:
        return f"{less} with the joint model: balance only if {weak} alone is good."
    return (
        f"{less} with a linear probe on its features here ({facts.score(probe.value)}): balance only if the probe falls far short of that."
    )


def with_heads_apart(facts: Facts) -> str:
    """Return what to do where heads lie apart and the joint model does not."""
    behind = min(
        (name for name in facts.names if name in facts.record.heads),
        key=lambda name: facts.record.heads[name].value or 0.0,
        default=MULTIMODAL,
    )
    if (own := facts.behind(behind)) is not None:
        return (
            f"Train the head of {behind} better before going by δ: a linear probe on the same features scores {facts.score(own[1].value)}."
        )
    return f"The joint score needs nothing. Where {behind} must also work by itself, MILES with τ = {TAU:g} and μ = {MU:g} is worth a try."
