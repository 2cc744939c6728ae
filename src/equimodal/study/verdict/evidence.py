"""What a verdict rests on: scores by seed, their paired differences, and how these read in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from equimodal.report.intervals import Estimate, percent
from equimodal.scores import MULTIMODAL
from equimodal.study import paper
from equimodal.study.statistics import Paired, paired
from equimodal.study.tables import shared

if TYPE_CHECKING:
    from equimodal.study.records import DataRecord, StudyRecord, TrialRecord

__all__ = ["MEASURES", "Finding", "Measure", "Status", "by_seed", "compared", "decided", "points", "seeds", "sweep_by_seed", "unknown"]

Status = Literal["helps", "hurts", "none shown", "agree", "disagree", "cannot be told"]


@dataclass(frozen=True)
class Finding:
    """One statement and how certain it is.

    :param heading: what it is about, such as ``"avdigits, concat: what the scheduler brings"``.
    :param statement: one or more sentences with the numbers.
    :param status: of a contribution ``"helps"``, ``"hurts"``, or ``"none shown"`` where these seeds show no difference; of a claim
        ``"agree"`` or ``"disagree"``; of either ``"cannot be told"``.
    :param kind: whether it takes a contribution apart, or holds the study against a claim of the paper.
    :param data: the label of the data set.
    :param fusion: the fusion; empty where it is about several.
    :param topic: what is compared, for programs, such as ``"miles − joint"`` or ``"best multimodal"``.
    :param measure: what is measured, for programs: ``"multimodal"``, ``"weakest"``, ``"difference"`` or ``"epoch"``.
    :param evidence: the differences behind it, by what was subtracted from what.
    """

    heading: str
    statement: str
    status: Status
    kind: Literal["contribution", "claim"]
    data: str
    fusion: str = ""
    topic: str = ""
    measure: str = ""
    evidence: Mapping[str, Paired] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.heading}: {self.statement} [{self.status}]"


@dataclass(frozen=True)
class Measure:
    """Something to compare methods by.

    :param key: its name for programs.
    :param name: its name in a sentence, by the modalities.
    :param better: 1 where more is better, -1 where less is.
    :param of: reads it from a trial's test scores.
    """

    key: str
    name: Callable[[Sequence[str]], str]
    better: int
    of: Callable[[Mapping[str, float | None], Sequence[str]], float | None]


def _gap(scores: Mapping[str, float | None], _: Sequence[str]) -> float | None:
    value = scores.get(paper.DIFFERENCE)
    return None if value is None else abs(value)


MEASURES = (
    Measure("multimodal", lambda _: "the multimodal score", 1, lambda scores, _: scores.get(MULTIMODAL)),
    Measure("weakest", lambda names: f"the weakest head ({names[-1]})", 1, lambda scores, names: scores.get(names[-1])),
    Measure("difference", lambda names: f"|Δ| ({names[0]} − {names[-1]})", -1, _gap),
)
"""What contributions are measured by: multimodal score, head of the weakest modality, and the size of Δ, which is better small."""


def by_seed(record: StudyRecord, data: DataRecord, fusion: str, row: str, measure: Measure) -> dict[int, float | None]:
    """Return what a row measures in each of its fresh seeds."""
    found = shared.readings(record.one("final", data.label, fusion, row), data.modalities)
    return {seed: measure.of(scores, data.modalities) for seed, scores in found.fresh.items()}


def sweep_by_seed(trials: Sequence[TrialRecord], data: DataRecord, measure: Measure) -> dict[int, float | None]:
    """Return what some trials of a sweep measure, by seed."""
    known = {trial.run.seed: trial for trial in trials if trial.run is not None and trial.run.seed is not None}
    return {seed: measure.of(shared.test_scores(trial, data.modalities), data.modalities) for seed, trial in known.items()}


def compared(record: StudyRecord, data: DataRecord, fusion: str, rows: tuple[str, str], measure: Measure) -> Paired:
    """Return the paired differences of two rows."""
    ours, theirs = (by_seed(record, data, fusion, row, measure) for row in rows)
    return paired(ours, theirs)


def points(test: Paired) -> str:
    """Return a difference in percentage points, such as ``"+1.0 ± 0.3 points (3 seeds)"``."""
    if test.mean is None:
        return "unknown"
    shown = percent(Estimate(test.mean, test.half_width, test.count), signed=True)
    return f"{shown} points ({seeds(test.count)})"


def seeds(count: int) -> str:
    """Return a number of seeds in words.

    >>> seeds(1), seeds(3)
    ('1 seed', '3 seeds')
    """
    return f"{count} seed{'' if count == 1 else 's'}"


def decided(sign: int, *, agree: int = 1) -> Status:
    """Return whether an interval on one side of zero agrees with a claim; without such an interval that cannot be told."""
    return "cannot be told" if sign == 0 else "agree" if sign == agree else "disagree"


def unknown(test: Paired) -> str:
    """Say why a comparison decides nothing; empty where it does."""
    if test.sign:
        return ""
    if test.count == 0:
        return "There is no common seed."
    if test.count == 1:
        return "One seed has no interval."
    if not test.can_tell:
        return f"All {seeds(test.count)} differ by the same, which gives no interval."
    return f"No difference that {seeds(test.count)} can show."
