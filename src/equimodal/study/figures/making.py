"""The figures of a study: Figures 1 and 2 of the MILES paper, and what a search and a comparison show beyond them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from equimodal._files import make_folder
from equimodal.errors import InputError, nearest, require
from equimodal.report.svg import write_figure
from equimodal.study.declaration import RULES
from equimodal.study.figures.comparisons import draw_costs, draw_differences
from equimodal.study.figures.drawing import Drawing
from equimodal.study.figures.runs import draw_curves, draw_dynamics
from equimodal.study.figures.searches import draw_budgets, draw_sensitivity, draw_trials

if TYPE_CHECKING:
    from os import PathLike

    from equimodal.study.records import StudyRecord

__all__ = ["FORMATS", "Drawing", "figure_names", "make_figures", "write_figures"]

FORMATS = ("svg", "pdf", "png")
"""The kinds of files that figures can be written as."""

_FIGURES: Mapping[str, tuple[str, Callable[[StudyRecord], Iterator[Drawing]]]] = {
    "figure1": ("learning curves of Vanilla beside the models of one modality (the paper's Figure 1)", draw_curves),
    "figure2": ("learning dynamics of MILES with given and with selected hyper-parameters (the paper's Figure 2)", draw_dynamics),
    "differences": ("paired differences of each method to joint training, with intervals", draw_differences),
    "budget": ("score against search budget: the expected best of k trials of each method", draw_budgets),
    "costs": ("cost against score, for one run and with the search", draw_costs),
    "sensitivity": ("what τ and μ do to the multimodal score and to each head (Tables IV and V)", draw_sensitivity),
    "trials": ("the score of every trial by each of its hyper-parameters", draw_trials),
}


def figure_names() -> dict[str, str]:
    """Return the kinds of figures with one line on each, in the order in which they are shown."""
    return {name: line for name, (line, _) in _FIGURES.items()}


def make_figures(record: StudyRecord, names: Iterable[str] | None = None) -> list[Drawing]:
    """Return the figures of a study, of each kind as many as it has data sets, fusions and searches for; nothing is drawn yet.

    :param record: the study, as far as it has come. What it lacks for a figure is said in its ``reason``.
    :param names: the kinds to make, as in :func:`figure_names`; by default all.
    :raises InputError: for an unknown kind.
    """
    return [drawing for name in _checked(names) for drawing in _FIGURES[name][1](record)]


def write_figures(
    record: StudyRecord,
    folder: str | PathLike[str],
    names: Iterable[str] | None = None,
    formats: Iterable[str] = ("svg", "pdf"),
) -> list[Path]:
    """Write the figures of a study that can be drawn, each file whole or not at all.

    :param record: the study.
    :param folder: where the files go; made where it does not exist. Files of the same name are replaced.
    :param names: the kinds to write; by default all.
    :param formats: the kinds of files, of :data:`FORMATS`.
    :returns: the files that were written.
    :raises InputError: for an unknown kind or format, or when a file cannot be written.
    :raises MissingDependency: without matplotlib.
    """
    chosen = _checked_formats(formats)
    drawings = make_figures(record, names)
    require("matplotlib.figure", extra="plots")
    folder = make_folder(Path(folder))
    paths = []
    for drawing in drawings:
        figure = drawing.figure
        if figure is not None:
            title = drawing.title
            if record.rule != RULES[0]:  # a file goes about without the caption that says so
                title = f"{title} (oracle selection)"
                figure.text(0.995, 0.995, "oracle selection", ha="right", va="top", fontsize=7.0, weight="bold")
            files = [folder / f"{drawing.stem}.{suffix}" for suffix in chosen]
            paths += [write_figure(file, figure, title, drawing.description) for file in files]
    return paths


def _checked(names: Iterable[str] | None) -> list[str]:
    chosen = list(_FIGURES) if names is None else [names] if isinstance(names, str) else list(names)
    for name in chosen:
        if name not in _FIGURES:
            raise InputError(f"unknown figure {name!r}: {nearest(str(name), _FIGURES)}")
    return list(dict.fromkeys(chosen))


def _checked_formats(formats: Iterable[str]) -> list[str]:
    chosen = [formats] if isinstance(formats, str) else list(formats)
    for name in chosen:
        if name not in FORMATS:
            raise InputError(f"unknown format {name!r} of figures: {nearest(str(name), FORMATS)}")
    return list(dict.fromkeys(chosen))
