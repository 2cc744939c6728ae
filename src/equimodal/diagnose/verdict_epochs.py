"""Findings from a run's epochs: which scores were still rising when training ended."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from equimodal.diagnose.quantities import Finding
from equimodal.report.words import listing
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.diagnose.verdict_facts import Facts

__all__ = ["FEWEST", "RISING", "Rising", "rise", "rising_heads", "undertrained"]

RISING = 0.03
"""A score is still rising when a quarter of the epochs, or the last epoch, brings more than this share of the gain over chance."""
FEWEST = 8
"""Fewer epochs are too few to compare quarters of them, of which each would be a single epoch."""
_NAMED = 3


def rise(values: Sequence[float | None]) -> float | None:
    """Return how much higher the last quarter of a curve lies than the quarter before it; None for fewer than eight known values.

    >>> rise([0.0, 0.0, 0.0, 0.25, 0.25, 0.25, 0.5, 1.0]), rise([0.0, 0.5, 1.0])
    (0.5, None)
    """
    present = [value for value in values if value is not None]
    if len(present) < FEWEST:
        return None
    quarter = len(present) // 4
    return statistics.fmean(present[-quarter:]) - statistics.fmean(present[-2 * quarter : -quarter])


class Rising(NamedTuple):
    """How much the scores of a head rose at last, and what they came to; *train* is None where the last epoch is what tells."""

    train: float | None
    val: float
    reached: float | None


def rising_heads(facts: Facts) -> dict[str, Rising]:
    """Return the heads that were still rising when training ended: over the last quarter on both splits, or else in the last epoch."""
    epochs = facts.record.curves
    if not epochs or not facts.gain or facts.gain <= 0:
        return {}
    found = {}
    for head in (MULTIMODAL, *facts.names):
        train, val = ([getattr(epoch, split).get(head) for epoch in epochs] for split in ("train", "val"))
        taught, checked = rise(train), rise(val)
        best = max((value for value in val if value is not None), default=None)
        if best is None:
            continue
        late = best in val[-max(1, len(val) // 4) :]
        if taught is not None and checked is not None and late and min(taught, checked) > RISING * facts.gain:
            found[head] = Rising(taught, checked, train[-1])
        elif len(val) > 1 and val[-1] == best and val[-2] is not None and best - val[-2] > RISING * facts.gain:
            found[head] = Rising(None, best - val[-2], best)
    return found


def undertrained(facts: Facts) -> Iterator[Finding]:
    """Yield that the model, or some of its heads, were still learning when training ended."""
    rising = rising_heads(facts)
    if not rising:
        return
    proof: dict[str, Any] = {}
    for head, own in rising.items():
        proof |= {} if own.train is None else {f"last rise in training, {head}": own.train}
        proof[f"last rise in validation, {head}"] = own.val
    count = len(facts.record.curves or ())
    few = f" {count} epochs are too few to tell more about the state of training." if count < FEWEST else ""
    longer = f"Train longer before judging: twice the {count} epochs, in a new folder."
    if MULTIMODAL in rising:
        joint = rising[MULTIMODAL]
        if joint.train is None:
            said = (
                f"in the last of {count} epochs the joint score still rose by {facts.points(joint.val)}{facts.unit} in validation, to its"
                f" best, {facts.score(joint.reached)}"
            )
        else:
            said = (
                f"over the last quarter of {count} epochs the joint score still rose by {facts.points(joint.train)}{facts.unit} in"
                f" training, to {facts.score(joint.reached)}, and by {facts.points(joint.val)} in validation"
            )
        yield Finding("undertrained", MULTIMODAL, f"The model is undertrained: {said}. What it uses may change.{few}", proof, longer)
        return
    (first, own), *others = list(rising.items())[:_NAMED]
    told = [f"that of {first} rose by {facts.points(own.val)}{facts.unit} in validation"]
    told += [f"that of {name} by {facts.points(own.val)}{facts.unit}" for name, own in others]
    told += [f"{len(rising) - len(told)} more likewise"] if len(rising) > len(told) else []
    last = "in the last" if all(own.train is None for own in rising.values()) else "over the last quarter or in the last"
    last = "over the last quarter" if all(own.train is not None for own in rising.values()) else last
    sentence = (
        f"{'A head was' if len(rising) == 1 else 'Some heads were'} still learning when training ended: {last} of {count}"
        f" epochs {listing(told)}, while the joint score had nearly come to rest.{few}"
    )
    yield Finding("undertrained", next(iter(rising)), sentence, proof, f"{longer} If the joint score falls meanwhile, slow what is ahead.")
