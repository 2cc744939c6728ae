"""How the methods of a study compare: what their scores cost, and paired differences to joint training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from equimodal.report.cost import Cost
from equimodal.report.cost_figure import CostPanel, CostPoint, cost_against_score, pareto_front
from equimodal.report.difference_figure import Difference, DifferencePanel, differences_with_intervals
from equimodal.report.intervals import Estimate, percent
from equimodal.report.words import listing, metric_name
from equimodal.scores import MULTIMODAL
from equimodal.study.figures.drawing import Drawing, oracle_note
from equimodal.study.statistics import paired
from equimodal.study.tables.costs import RowCost
from equimodal.study.tables.shared import JOINT, Readings, label_of, readings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from equimodal.study.records import DataRecord, StudyRecord

__all__ = ["draw_costs", "draw_differences"]


def draw_costs(record: StudyRecord) -> Iterator[Drawing]:
    """Yield one figure per data set and fusion: what each method costs against what it scores, for one run and with its search."""
    for data in record.data:
        for fusion in record.fusions(data.label):
            yield _costs(record, data, fusion)


def _costs(record: StudyRecord, data: DataRecord, fusion: str) -> Drawing:
    stem, title = f"costs-{data.label}-{fusion}", f"Cost against score on {data.label}, {fusion}"
    rows = record.rows(data.label, fusion)
    scores = {row: score for row in rows if (score := _score(record, data, fusion, row)) is not None}
    if not scores:
        return Drawing("costs", stem, title, reason="No method has a test score yet.")
    if JOINT not in rows:
        return Drawing("costs", stem, title, reason="The study has no row joint, which costs are multiples of.")
    kinds: list[tuple[str, str, Callable[[str], Cost]]] = [
        ("One run", "the selected run", lambda row: _costs_of(record, data, fusion, row).run),
        ("Search and work beforehand", "the search", lambda row: _in_all(record, data, fusion, row)),
    ]
    panels = []
    for heading, said, cost in kinds:
        costs = {row: cost(row) for row in scores} | {JOINT: cost(JOINT)}
        # What a step takes differs between methods, so that seconds say more; where one lacks them, steps must do.
        unit = next((unit for unit in ("seconds", "steps") if all(getattr(costs[row], unit) for row in (JOINT, *scores))), None)
        unit = unit or next((unit for unit in ("seconds", "steps") if getattr(costs[JOINT], unit)), None)
        if unit is None:
            continue
        ratios = {row: getattr(costs[row].relative_to(costs[JOINT]), unit) for row in scores}
        points = [CostPoint(label_of(record, data.label, fusion, row), ratio, scores[row]) for row, ratio in ratios.items() if ratio]
        what = "optimizer steps" if unit == "steps" else unit
        if points:
            panels.append(CostPanel(heading, f"{what} of {said}, × {label_of(record, data.label, fusion, JOINT)}", points))
    if not panels:
        return Drawing("costs", stem, title, reason="The costs of joint training are not known yet.")
    return Drawing(
        "costs",
        stem,
        title,
        f"{_cost_caption(record, data, fusion, panels, list(scores))}{oracle_note(record)}",
        " ".join(_cost_words(panel) for panel in panels),
        lambda narrow: cost_against_score(panels, data.metric, columns=1 if narrow else 2),
    )


def _cost_caption(record: StudyRecord, data: DataRecord, fusion: str, panels: Sequence[CostPanel], rows: Sequence[str]) -> str:
    joint = label_of(record, data.label, fusion, JOINT)
    single = [row for row in rows if not _final(record, data, fusion, row).fresh]
    of = "mean over fresh seeds with 95 % intervals" if len(single) < len(rows) else "of the selected run"
    some = ""
    if 0 < len(single) < len(rows):
        some = f"; of {listing(label_of(record, data.label, fusion, row) for row in single)} the selected run"
    front = panels[-1]
    best = [front.points[place].label for place in pareto_front([(point.cost, point.score.mean) for point in front.points])]
    covered = "A run costs all its epochs and trainings beside it; a search all its trials and what a method needs beforehand. "
    covered = covered if len(panels) > 1 else ""
    lacking = [label_of(record, data.label, fusion, row) for row in record.rows(data.label, fusion) if row not in rows]
    missing = f" Not drawn, as they have no test score yet: {listing(lacking)}." if lacking else ""
    shown = {point.label for point in front.points}
    absent = [point.label for point in panels[0].points if point.label not in shown]
    missing += f" Only in the first panel, as the costs of their searches are not known yet: {listing(absent)}." if absent else ""
    return (
        f"Multimodal test {metric_name(data.metric)}, {of}{some}, by cost as a multiple of {joint}'s. {covered}Filled: no other method is "
        f"cheaper and scores as well; in the {'second' if len(panels) > 1 else 'only'} panel {listing(best)}. Seconds compare only where "
        f"all ran on one machine with one setting.{missing}"
    )


def _cost_words(panel: CostPanel) -> str:
    shown = [f"{point.label} {point.cost:.2f} and {percent(point.score)} %" for point in panel.points]
    return f"{panel.title}, {panel.axis}, and score: {'; '.join(shown)}."


def _final(record: StudyRecord, data: DataRecord, fusion: str, row: str) -> Readings:
    return readings(record.one("final", data.label, fusion, row), data.modalities)


def _score(record: StudyRecord, data: DataRecord, fusion: str, row: str) -> Estimate | None:
    """Return the mean over fresh seeds, and where there are none yet the selected run's score."""
    found = _final(record, data, fusion, row)
    mean, selected = found.mean(MULTIMODAL), found.selected.get(MULTIMODAL)
    return mean if mean is not None else None if selected is None else Estimate(selected, None, 1)


def _costs_of(record: StudyRecord, data: DataRecord, fusion: str, row: str) -> RowCost:
    search = record.one("search", data.label, fusion, row)
    assert search is not None  # rows are those that have a search
    return RowCost(record, search)


def _in_all(record: StudyRecord, data: DataRecord, fusion: str, row: str) -> Cost:
    """Return what it took to know the selected configuration; unknown until the search has ended."""
    search = record.one("search", data.label, fusion, row)
    if search is None or search.done < len(search.trials):
        return Cost(None, None)
    return _costs_of(record, data, fusion, row).total


def draw_differences(record: StudyRecord) -> Iterator[Drawing]:
    """Yield one figure per data set: the paired difference of each method to joint training over the fresh seeds, fusion by fusion."""
    for data in record.data:
        fusions = record.fusions(data.label)
        if not fusions:
            continue
        stem, title = f"differences-{data.label}", f"Differences to joint training on {data.label}"
        panels, lacking = [], []
        for fusion in fusions:
            rows, without = _differences(record, data, fusion)
            panels += [DifferencePanel(fusion, rows)] if rows else []
            lacking += [f"{label} ({fusion})" for label in without]
        if not panels:
            yield Drawing("differences", stem, title, reason="No method shares a fresh seed with joint training yet.")
            continue
        caption = (
            f"Multimodal test {metric_name(data.metric)} of each method minus that of joint training with the same fresh seed: mean "
            "and 95 % interval (Student's t). In colour where the interval leaves zero out; each interval is for its row alone, and of "
            "many rows some leave zero out by chance."
        )
        caption += f" Not drawn, as they share no fresh seed with joint training: {listing(lacking)}." if lacking else ""
        yield Drawing(
            "differences",
            stem,
            title,
            f"{caption}{oracle_note(record)}",
            " ".join(_difference_words(panel) for panel in panels),
            _draw_differences(panels, data, label_of(record, data.label, fusions[0], JOINT)),
        )


def _draw_differences(panels: Sequence[DifferencePanel], data: DataRecord, joint: str) -> Callable[[bool], Figure]:
    return lambda narrow: differences_with_intervals(panels, data.metric, joint, columns=1 if narrow else 2)


def _differences(record: StudyRecord, data: DataRecord, fusion: str) -> tuple[list[Difference], list[str]]:
    """Return the rows, and the labels of those that share no fresh seed with joint training."""
    theirs = {seed: scores.get(MULTIMODAL) for seed, scores in _final(record, data, fusion, JOINT).fresh.items()}
    rows, lacking = [], []
    for row in record.rows(data.label, fusion):
        if row == JOINT:
            continue
        label = label_of(record, data.label, fusion, row)
        ours = {seed: scores.get(MULTIMODAL) for seed, scores in _final(record, data, fusion, row).fresh.items()}
        found = paired(ours, theirs)
        if found.mean is None:
            lacking.append(label)
        else:
            low, high = found.interval or (None, None)
            rows.append(Difference(label, found.mean, low, high))
    return rows, lacking


def _difference_words(panel: DifferencePanel) -> str:
    shown = []
    for row in panel.rows:
        half = None if row.low is None or row.high is None else (row.high - row.low) / 2
        shown.append(f"{row.label} {percent(Estimate(row.mean, half, 1), signed=True)}")
    return f"{panel.title}, difference in points: {', '.join(shown)}."
