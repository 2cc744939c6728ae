"""Paired tests between methods over the fresh seeds that both have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.report.grid import Cell, Column, Grid
from equimodal.report.intervals import MISSING, Estimate, percent
from equimodal.report.words import metric_name
from equimodal.scores import MULTIMODAL
from equimodal.study.statistics import Paired, holm, paired
from equimodal.study.tables import shared
from equimodal.study.tables.notes import heading, protocol_notes
from equimodal.study.tables.shared import JOINT, MILES, VANILLA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from equimodal.study.records import DataRecord, StudyRecord

__all__ = ["families", "paired_grid"]


def families(rows: Sequence[str]) -> list[list[tuple[str, str]]]:
    """Return the families of comparisons: all against joint, all against vanilla, MILES against all.

    >>> families(["vanilla", "joint", "miles"])
    [[('vanilla', 'joint'), ('miles', 'joint')], [('joint', 'vanilla'), ('miles', 'vanilla')], [('miles', 'vanilla'), ('miles', 'joint')]]
    """
    found = [[(row, reference) for row in rows if row != reference] if reference in rows else [] for reference in (JOINT, VANILLA)]
    found.append([(MILES, row) for row in rows if row != MILES] if MILES in rows else [])
    return [family for family in found if family]


def paired_grid(record: StudyRecord, data: DataRecord, fusion: str) -> Grid:
    """Return the tests of the multimodal test score on one data set with one fusion.

    :raises MissingDependency: without SciPy, where there is anything to test.
    """
    rows = record.rows(data.label, fusion)
    finals = {row: record.one("final", data.label, fusion, row) for row in rows}
    scores = {
        row: {seed: found.get(MULTIMODAL) for seed, found in shared.readings(final, data.modalities).fresh.items()}
        for row, final in finals.items()
    }
    labels = {row: shared.label_of(record, data.label, fusion, row) for row in rows}
    body: list[tuple[Cell, ...]] = []
    rules = set()
    smallest: set[int] = set()
    for family in families(rows):
        rules |= {len(body)} if body else set()
        tests = [paired(scores[one], scores[other]) for one, other in family]
        smallest |= {test.count for test in tests}
        student, flips = [test.t_test() for test in tests], [test.flip_test() for test in tests]
        corrected = zip(student, holm(student), flips, holm(flips), strict=True)
        for (one, other), test, values in zip(family, tests, corrected, strict=True):
            body.append((Cell(f"{labels[one]} − {labels[other]}"), Cell(one), Cell(other), *_cells(test), *map(_probability, values)))
    columns = (
        Column("Difference"),
        Column("method", shown=False),
        Column("against", shown=False),
        Column("seeds"),
        Column("points ± half interval", key="mean_difference"),
        Column("half interval", key="half_interval", shown=False),
        Column("p", group="paired t-test", key="t_p"),
        Column("Holm", group="paired t-test", key="t_p_holm"),
        Column("p", group="sign flips", key="flip_p"),
        Column("Holm", group="sign flips", key="flip_p_holm"),
    )
    title = f"Paired tests: {data.label}, fusion {fusion}, multimodal test {metric_name(data.metric)} (points)"
    series = [one for one in finals.values() if one is not None]
    return Grid(
        title=heading(record, title),
        columns=columns,
        rows=tuple(body),
        rules=frozenset(rules),
        notes=(*_notes(smallest, bool(body)), *protocol_notes(record, series)),
        name=f"paired-{fusion}-{data.label}",
    )


def _cells(test: Paired) -> list[Cell]:
    mean = None if test.mean is None else Estimate(test.mean, test.half_width, test.count)
    return [Cell(str(test.count), test.count), Cell(percent(mean, signed=True), test.mean), Cell("", test.half_width)]


def _probability(value: float | None) -> Cell:
    if value is None:
        return Cell(MISSING)
    return Cell("<0.001" if value < 0.0005 else f"{value:.3f}", value)


def _notes(counts: set[int], any_rows: bool) -> list[str]:
    if not any_rows:
        return ["This study has nothing to compare with joint, vanilla or MILES here."]
    notes = [
        "Differences over the fresh seeds that both have, with 95 % intervals (Student's t). p: two-sided, of the paired t-test and of the "
        "exact sign-flip test. Holm: corrected for all tests of the same block."
    ]
    few = max(counts, default=0)
    if few < 2:
        notes.append("Fewer than two common seeds: nothing can be tested yet.")
    else:
        notes.append(f"With {few} seeds the sign-flip test cannot fall below p = {min(1.0, 2 / 2**few):.2g}.")
    notes.append("A dash under the t-test: fewer than two common seeds, or differences that are all equal.")
    return notes
