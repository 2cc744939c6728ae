"""What a comparison of two models comes to, in sentences: which one uses its modalities more evenly, and how much differs at all.

- A number differs where the interval of its difference excludes zero. Counted are the differences that have an interval and are not 0 in
  every draw, such as those of a head that both models share.
- The second model uses its modalities *more evenly* where its utilization gap or its largest Shapley share is lower, and neither is higher;
  *less evenly* the other way round; where one is lower and the other higher, both are said; where neither differs, it cannot be told.
  Of a model whose verdict begins with *at chance* it cannot be asked, and no such sentence is made.
- Shapley shares are those of the first way of leaving out, of mean, absent, zero and permutation, that both models have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.diagnose.verdict_facts import KINDS
from equimodal.report.words import clean, listing

if TYPE_CHECKING:
    from equimodal.diagnose.comparison import Comparison
    from equimodal.diagnose.quantities import Interval

__all__ = ["QUANTITIES", "apart", "chosen_kind", "sentences"]

QUANTITIES = {
    "heads": "heads",
    "probes": "probes",
    "ablations": "losses without a modality",
    "utilization": "utilization rates",
    "gap": "utilization gap",
    "shapley": "Shapley values",
    "interactions": "interactions",
    "largest share": "largest Shapley shares",
    "valuation": "shares of samples by what they need",
    "feature_norm": "feature norms",
    "effective_rank": "effective ranks",
    "gradient_norm": "gradient norms",
    "relative_gradient": "relative gradients",
    "calibration": "calibration errors",
    "agreement": "agreement",
    "kappa": "κ",
    "generalisation": "generalisation gaps",
    "missing": "scores with a modality missing",
    "noise": "scores with noise",
}
"""The quantities as they read in a sentence."""


def sentences(comparison: Comparison, *, at_chance: tuple[bool, bool] = (False, False)) -> tuple[str, ...]:
    """Return what a comparison comes to.

    :param at_chance: of the first and of the second model, whether it is not told apart from knowing nothing.
    """
    found = (_evenness(comparison, at_chance), _counted(comparison))
    return tuple(sentence for sentence in found if sentence)


def apart(difference: Interval) -> int:
    """Return on which side of zero an interval lies: 1, −1, or 0 where it holds zero or is not known.

    >>> from equimodal.diagnose.quantities import Interval
    >>> apart(Interval(0.2, 0.1, 0.3)), apart(Interval(-0.2, -0.3, 0.0)), apart(Interval(-0.2, -0.3, -0.1))
    (1, 0, -1)
    """
    if difference.low is None or difference.high is None:
        return 0
    return (difference.low > 0) - (difference.high < 0)


def chosen_kind(comparison: Comparison) -> str | None:
    """Return the way of leaving out that sentences speak of; None where there is none."""
    shares = comparison.differences.get("largest share", {})
    return next((kind for kind in KINDS if kind in shares), None)


def _evenness(comparison: Comparison, at_chance: tuple[bool, bool]) -> str:
    measures: list[tuple[str, Interval, int]] = []
    gap = comparison.differences.get("gap", {}).get("δ")
    if gap is not None and gap.low is not None:
        measures.append(("the utilization gap δ of its heads", gap, 1))
    kind = chosen_kind(comparison)
    share = None if kind is None else comparison.differences["largest share"][kind]
    if share is not None and share.low is not None:
        measures.append(("the largest Shapley share of its joint score", share, 100))
    if not measures:
        return ""
    if any(at_chance):
        who = "neither is" if all(at_chance) else f"the {'first' if at_chance[0] else 'second'} is not"
        return (
            f"Whether the second model ({clean(comparison.second)}) uses its modalities more evenly than the first"
            f" ({clean(comparison.first)}) cannot be asked of a model at chance, and {who} told apart from knowing nothing."
        )
    said = [f"{name} is {_differs(difference, factor)}" for name, difference, factor in measures]
    sides = {apart(difference) for _, difference, _ in measures}
    second = f"The second model ({clean(comparison.second)})"
    if sides >= {1, -1}:
        start = f"Whether {second[0].lower()}{second[1:]} uses its modalities more evenly than the first depends on what is asked"
    elif -1 in sides:
        start = f"{second} uses its modalities more evenly than the first ({clean(comparison.first)})"
    elif 1 in sides:
        start = f"{second} uses its modalities less evenly than the first ({clean(comparison.first)})"
    else:
        start = f"Whether {second[0].lower()}{second[1:]} uses its modalities more evenly than the first cannot be told"
    return (
        f"{start}: {listing(said)}. That is about these two trainings: with other seeds either model could come out otherwise, which only"
        " several seeds of both would tell."
    )


def _differs(difference: Interval, factor: int) -> str:
    """Return by how much something is lower or higher, as it reads after "is"."""
    digits, unit = (2, "") if factor == 1 else (1, " points")
    assert difference.value is not None
    assert difference.low is not None
    assert difference.high is not None
    value, low, high = (round(factor * number, digits) + 0.0 for number in difference)  # type: ignore[operator]
    side = apart(difference)
    if side:
        value, low, high = (value, low, high) if side > 0 else (-value, -high, -low)
        return f"{'higher' if side > 0 else 'lower'} by {value:.{digits}f}{unit} ({low:.{digits}f} to {high:.{digits}f})"
    ends = f"{low:+.{digits}f} to {high:+.{digits}f}" if low or high else "0 to 0"
    said = f"not told apart ({value:+.{digits}f}{unit}, {ends})" if value or low or high else "the same"
    return said.replace("-", "−")


def _counted(comparison: Comparison) -> str:
    """Return how many differences exclude zero, of which quantities, and how many would by chance."""
    every = {
        quantity: [difference for difference in parts.values() if difference.low is not None]
        for quantity, parts in comparison.differences.items()
    }
    by_quantity = {quantity: [one for one in own if one.low != 0 or one.high != 0] for quantity, own in every.items()}
    known = {quantity: own for quantity, own in by_quantity.items() if own}
    count = sum(map(len, known.values()))
    if not count:
        if any(every.values()):
            return "No difference is other than 0, in any draw."
        return "" if comparison.resamples else "No intervals were made, so that nothing is said of which differences are more than chance."
    beyond = {quantity: sum(bool(apart(difference)) for difference in own) for quantity, own in known.items()}
    found = sum(beyond.values())
    chance = (1 - comparison.level) * count
    start = f"Of {count} difference{'s' if count > 1 else ''}, {found or 'none'} {'excludes' if found in (0, 1) else 'exclude'} 0"
    some = [f"{QUANTITIES.get(quantity, quantity)} {number} of {len(known[quantity])}" for quantity, number in beyond.items() if number]
    none = [QUANTITIES.get(quantity, quantity) for quantity, number in beyond.items() if not number]
    parts = f": {', '.join(some)}" if some else ""
    rest = f"; none among {listing(none)}" if none and some else ""
    many = "fewer than one" if chance < 0.5 else f"about {max(round(chance), 1)}"
    return (
        f"{start}{parts}{rest}. Where nothing differed, {many} of as many would by chance, and they depend on one another: go by the"
        " question that you had before you saw them."
    )
