"""One self-contained HTML page: summary, table, figures, and every run with its configuration. Nothing is loaded from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import equimodal
from equimodal._files import write_whole
from equimodal.errors import InputError
from equimodal.report import prose
from equimodal.report.figures import figure_to_svg, learning_curves, learning_dynamics
from equimodal.report.page_runs import describe_groups, describe_runs
from equimodal.report.records import RunRecord, checked_modalities
from equimodal.report.rendering import rendered
from equimodal.report.table import group_rows
from equimodal.report.words import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike
    from pathlib import Path

    from matplotlib.figure import Figure

    from equimodal.report.cost import Cost

__all__ = ["render_report", "write_report"]

WIDTH_OF_AN_INCH = 6.2
"""How wide an inch of a figure may become in the page, in rem: two panels fill the column."""

OPEN_FIGURES = 4
"""How many figures are shown at once; where there are more, the others are folded."""


def write_report(
    path: str | PathLike[str],
    runs: Sequence[RunRecord],
    modalities: Iterable[str],
    title: str | None = None,
    *,
    tau: float | None = None,
    relative_to: str | None = None,
    extra_costs: Mapping[str, Cost] | None = None,
) -> Path:
    """Write the page of :func:`render_report` to a file, whole or not at all.

    :param path: the file to write, usually ``report.html``; a file that is there is replaced.
    :returns: the path.
    :raises InputError: as :func:`render_report`, or when the file cannot be written.
    :raises MissingDependency: without matplotlib or Jinja.
    """
    return write_whole(path, render_report(runs, modalities, title, tau=tau, relative_to=relative_to, extra_costs=extra_costs))


def render_report(
    runs: Sequence[RunRecord],
    modalities: Iterable[str],
    title: str | None = None,
    *,
    tau: float | None = None,
    relative_to: str | None = None,
    extra_costs: Mapping[str, Cost] | None = None,
) -> str:
    """Return the report of some runs on one data set as an HTML page; the same runs give the same text.

    Up to eight runs are shown one by one; more are gathered by label, and their tables are folded, as are all figures
    but the first four where there are six or more.

    :param runs: in the order of the table. The first multimodal one stands in Figure 1. Of several runs with one label (seeds) the table
        has the mean, and the figures show the first.
    :param modalities: all modalities, the strongest first.
    :param title: the page's title; by default it names the data set.
    :param tau: the threshold to draw for runs whose method has none; by default that of the other runs, where they agree on one.
    :param relative_to: the label of the row whose cost is 1, for a table with costs; see :func:`equimodal.report.table.group_rows`.
    :param extra_costs: by label, what is added to the cost of each of its runs.
    :raises InputError: without runs, for runs that do not belong together or costs that do not belong to them (see
        :func:`equimodal.report.table.group_rows`), or for an unknown modality.
    :raises MissingDependency: without matplotlib or Jinja.
    """
    runs = list(runs)
    if not runs:
        raise InputError("there are no runs to report: give at least one")
    names = checked_modalities(modalities, runs)
    for run in runs:
        if not run.modalities:
            raise InputError(f"run {run.label!r} has recorded no epoch yet: wait for its first one")
    table = group_rows(runs, names, relative_to=relative_to, extra_costs=extra_costs)
    figures = _figures(runs, names, tau)
    # Folding away a single one would save nothing.
    shown = OPEN_FIGURES if len(figures) > OPEN_FIGURES + 1 else len(figures)
    dataset = next((run.dataset for run in runs if run.dataset), None)
    content = {
        "title": clean(title or f"{dataset or 'A multimodal data set'}: how the modalities learn"),
        "summary": prose.summary(runs, table),
        "table": table.html() if table.rows else "",
        "figures": figures[:shown],
        "folded": figures[shown:],
        "runs": describe_runs(runs, names),
        "groups": describe_groups(runs, names),
        "version": equimodal.__version__,
    }
    return rendered("page.html.j2", content)


def _figures(runs: Sequence[RunRecord], modalities: Sequence[str], tau: float | None) -> list[dict[str, str]]:
    first: dict[str, RunRecord] = {}
    for run in runs:
        if not run.is_unimodal:
            first.setdefault(run.label, run)
    thresholds = {run.tau for run in first.values() if run.tau is not None}
    if tau is None and len(thresholds) == 1:
        tau = thresholds.pop()
    figures = []
    if first:
        run = next(iter(first.values()))
        alone = _alone_beside(run, runs, modalities)
        figures.append(
            _figure(
                1,
                f"Learning curves of {clean(run.label)}",
                prose.curves_caption(run, has_alone=bool(alone)),
                prose.describe_curves(run, alone),
                lambda columns: learning_curves(run, alone, modalities=modalities, columns=columns),
            )
        )
    for run in sorted(first.values(), key=lambda run: (run.tau is None, not _is_steered(run))):
        if run.names("utilization") or run.names("multipliers"):
            threshold = tau if run.tau is None else run.tau
            figures.append(_dynamics(len(figures) + 1, run, modalities, threshold))
    return figures


def _dynamics(number: int, run: RunRecord, modalities: Sequence[str], tau: float | None) -> dict[str, str]:
    return _figure(
        number,
        f"Learning dynamics of {clean(run.label)}",
        prose.dynamics_caption(run, tau),
        prose.describe_dynamics(run, tau),
        lambda columns: learning_dynamics(run, tau, modalities=modalities, columns=columns),
    )


def _figure(number: int, title: str, caption: str, description: str, draw: Callable[[int], Figure]) -> dict[str, str]:
    """Draw a figure twice: panels side by side for wide pages, below each other for narrow ones."""
    wide = draw(2)
    return {
        "name": f"Figure {number}",
        "title": title,
        "caption": caption,
        "width": f"{WIDTH_OF_AN_INCH * wide.get_figwidth():.1f}rem",
        "wide": figure_to_svg(wide, title, description, identifier=f"figure-{number}-wide"),
        "narrow": figure_to_svg(draw(1), title, description, identifier=f"figure-{number}-narrow"),
    }


def _is_steered(run: RunRecord) -> bool:
    return any(value is not None and value != 1.0 for name in run.names("multipliers") for value in run.series("multipliers", name))


def _alone_beside(run: RunRecord, runs: Sequence[RunRecord], modalities: Sequence[str]) -> list[RunRecord]:
    """Return one unimodal run per modality, that of the same seed where there is one."""
    chosen = []
    for name in modalities:
        candidates = [other for other in runs if other.is_unimodal and other.modalities == (name,)]
        candidates.sort(key=lambda other: other.seed != run.seed)
        chosen += candidates[:1]
    return chosen
