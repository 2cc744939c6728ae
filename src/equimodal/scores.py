"""Conditional utilization rates and their gaps: pure functions on plain numbers (Eq. 4 and 5 of MILES).

``scores`` is always a mapping with the key ``"multimodal"`` (the score *s* of the joint prediction) and one key per
modality (the score *s_m* of that modality's own head). Larger is better: accuracy, F1, AUROC, R².
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any, SupportsFloat

from equimodal.errors import InputError, nearest

__all__ = [
    "MULTIMODAL",
    "checked_scores",
    "conditional_utilization",
    "defined_utilization",
    "has_signal",
    "modalities_of",
    "pairwise_gaps",
    "utilization_gap",
]

MULTIMODAL = "multimodal"
"""The reserved name of the joint prediction in scores, and of everything that belongs to no single modality in parameter groups."""

Scores = Mapping[str, SupportsFloat]


def checked_scores(scores: Scores, modalities: tuple[str, ...] | None = None, *, place: str = "") -> dict[str, float]:
    """Return the scores as Python floats, the multimodal one first, after checking names and values.

    :param scores: numbers, zero-dimensional tensors or NumPy scalars by name.
    :param modalities: the names that must be there, and no others; by default whatever is given, at least two.
    :param place: where the scores come from, for the error message, such as ``"epoch 3"``.
    :raises InputError: for a missing ``"multimodal"``, a missing or unknown modality, fewer than two modalities, or a score that is NaN
        or infinite.
    """
    where = f" ({place})" if place else ""
    if not isinstance(scores, Mapping):
        raise InputError(
            f"scores must be a mapping with {MULTIMODAL!r} and one entry per modality, not {type(scores).__name__} {scores!r}{where}"
        )
    if MULTIMODAL not in scores:
        given = ", ".join(map(str, scores)) or "none"
        prefixed = next((str(name) for name in scores if str(name).endswith(MULTIMODAL)), None)
        mend = f"call {prefixed!r} so, and the others by their modality" if prefixed else "add the score of the joint prediction"
        raise InputError(f"no score under the key {MULTIMODAL!r}{where}: {mend} (given: {given})")
    names = [name for name in scores if name != MULTIMODAL]
    if modalities is not None:
        unknown = [name for name in names if name not in modalities]
        if unknown:
            hint, known = nearest(unknown[0], modalities), f"known: {', '.join(modalities)}"
            raise InputError(
                f"unknown modality {unknown[0]!r} in the scores{where}: {f'{hint} ({known})' if hint.endswith('?') else known}"
            )
        missing = [name for name in modalities if name not in scores]
        if missing:
            raise InputError(f"no score for modality {missing[0]!r}{where}: give one for each of {', '.join(modalities)}")
        names = list(modalities)
    if len(names) < 2:
        raise InputError(f"scores of at least two modalities are needed, got {', '.join(names) or 'none'}{where}")
    checked = {}
    for name in (MULTIMODAL, *names):
        try:
            value = float(scores[name])
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"the score of {name!r} is {scores[name]!r}{where}: a number is needed") from None
        if not math.isfinite(value):
            raise InputError(f"the score of {name!r} is {value}{where}: every score must be a finite number")
        checked[name] = value
    return checked


def modalities_of(scores: Scores) -> tuple[str, ...]:
    """Return the names of the modalities in the order of the mapping."""
    return tuple(name for name in scores if name != MULTIMODAL)


def has_signal(scores: Scores) -> bool:
    """Tell whether utilization is defined: the multimodal score must be positive."""
    return float(scores[MULTIMODAL]) > 0.0


def conditional_utilization(scores: Scores, without: Scores | None = None) -> dict[str, float]:
    r"""Return the conditional utilization rate of every modality (Eq. 4): how much of the joint score is lost without it.

    .. math:: u_m = \frac{s - s_{\setminus m}}{s}

    where *s* is the multimodal score and :math:`s_{\setminus m}` the best score that does without modality *m*. With two modalities that
    is the other one's head, which is Eq. 4 as printed. The modality with the larger rate is the dominant one.

    >>> conditional_utilization({"multimodal": 0.7, "audio": 0.6, "image": 0.4})
    {'audio': 0.4285714285714285, 'image': 0.14285714285714282}

    :param scores: the score of the joint prediction under ``"multimodal"`` and of each modality's head under its name.
    :param without: by modality, the score of the joint model with that modality ablated; used instead of the best other head.
    :returns: one rate per modality, at most 1 for non-negative scores, negative where the rest alone beats the joint prediction; NaN for
        every modality when the multimodal score is zero or negative, where the rate is undefined. Computed in double precision in the
        order of Eq. 4.
    :raises InputError: see :func:`checked_scores`.
    """
    values = checked_scores(scores)
    joint = values.pop(MULTIMODAL)
    if without is None:
        rest = {name: max(score for other, score in values.items() if other != name) for name in values}
    else:
        rest = checked_scores({**without, MULTIMODAL: joint}, tuple(values), place="ablated scores")
    if joint <= 0.0:
        return dict.fromkeys(values, math.nan)
    return {name: (joint - rest[name]) / joint for name in values}


def defined_utilization(scores: Scores) -> dict[str, Any]:
    """Return ``utilization`` and ``gap`` of scores as they are recorded; empty where they are undefined.

    >>> defined_utilization({"multimodal": 1.0, "audio": 0.75, "image": 0.5})
    {'utilization': {'audio': 0.5, 'image': 0.25}, 'gap': 0.25}
    >>> defined_utilization({"multimodal": 0.0, "audio": 0.75, "image": 0.5}), defined_utilization({"multimodal": 1.0, "audio": 1.0})
    ({}, {})

    They are undefined without a multimodal score above zero, for a score that is not finite, and for fewer than two modalities.
    """
    if len(scores) < 3 or MULTIMODAL not in scores or not all(math.isfinite(score) for score in scores.values()) or not has_signal(scores):
        return {}
    return {"utilization": conditional_utilization(scores), "gap": utilization_gap(scores)}


def pairwise_gaps(scores: Scores) -> dict[tuple[str, str], float]:
    r"""Return the utilization gap of every pair of modalities (Eq. 5, and Section VII for more than two).

    .. math:: \delta_{ij} = \left| u_i - u_j \right|, \quad u_i = \frac{s - s_j}{s}, \quad u_j = \frac{s - s_i}{s}

    >>> pairwise_gaps({"multimodal": 1.0, "audio": 0.75, "image": 0.5, "text": 0.5})
    {('audio', 'image'): 0.25, ('audio', 'text'): 0.25, ('image', 'text'): 0.0}

    :returns: one gap per pair, in the order of the mapping; NaN when the multimodal score is zero or negative.
    :raises InputError: see :func:`checked_scores`.
    """
    values = checked_scores(scores)
    joint = values.pop(MULTIMODAL)
    if joint <= 0.0:
        return dict.fromkeys(combinations(values, 2), math.nan)
    return {(i, j): abs((joint - values[j]) / joint - (joint - values[i]) / joint) for i, j in combinations(values, 2)}


def utilization_gap(scores: Scores) -> float:
    """Return the utilization gap δ (Eq. 5); for more than two modalities the largest gap of any pair.

    The largest gap is at most τ exactly when every pair's gap is.

    >>> utilization_gap({"multimodal": 0.7, "audio": 0.6, "image": 0.4})
    0.2857142857142857

    :returns: a number ≥ 0 (above 1 when the heads lie further apart than the joint score is large); NaN when the multimodal score is
        zero or negative.
    :raises InputError: see :func:`checked_scores`.
    """
    return max(pairwise_gaps(scores).values())
