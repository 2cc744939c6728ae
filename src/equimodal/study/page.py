"""One self-contained HTML page of a study: what was run, what it says in plain words, all tables beside the paper's, and all figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import equimodal
from equimodal._files import write_whole
from equimodal.report.rendering import rendered
from equimodal.report.svg import figure_to_svg
from equimodal.report.words import clean
from equimodal.study.declaration import ready_files
from equimodal.study.figures import Drawing, make_figures
from equimodal.study.page_facts import facts_of, machines_of, progress_of, summary_of
from equimodal.study.tables import make_table
from equimodal.study.verdict import make_verdict

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    from equimodal.report.grid import Grid
    from equimodal.study.records import StudyRecord

__all__ = ["render_study", "write_study_page"]

WIDTH_OF_AN_INCH = 6.2
"""How wide an inch of a figure may become in the page, in rem."""

WIDTH_OF_A_PANEL = 4.2
"""Figures that are no wider, in inches, fit narrow pages as they are."""

SECTIONS: Sequence[tuple[str, str, str, tuple[tuple[str, str], ...]]] = (
    (
        "alone",
        "Each modality alone: Table I",
        "",
        (("table", "table1"),),
    ),
    (
        "methods",
        "Methods: Tables II and III",
        "The row Joint has all losses and no scheduler. What it adds to Vanilla is what the losses of single modalities bring; what a "
        "method adds to it is what the method itself brings.",
        (("table", "fusions"), ("figure", "differences"), ("table", "paired")),
    ),
    (
        "learning",
        "How the modalities learn: Figures 1 and 2",
        "",
        (("figure", "figure1"), ("figure", "figure2")),
    ),
    (
        "sensitivity",
        "MILES by its options: Tables IV to VI",
        "",
        (("table", "table4"), ("table", "table5"), ("figure", "sensitivity"), ("table", "table6")),
    ),
    (
        "budget",
        "What a smaller search would have found",
        "",
        (("figure", "budget"), ("table", "budget")),
    ),
    ("costs", "What it cost", "", (("figure", "costs"), ("table", "costs"))),
    ("trials", "All trials", "", (("table", "trials"), ("figure", "trials"))),
    ("failures", "Failures", "", (("table", "failures"),)),
)
"""Identifier, title, words and parts of each section; ``fusions`` stands for a table of every fusion of the study."""

FOLDED = frozenset({"trials"})
"""Figures of which there are many: their titles are shown and the rest is folded."""

MANY_ROWS = 15
"""Tables with more rows are folded."""


def write_study_page(path: str | PathLike[str], record: StudyRecord) -> Path:
    """Write the page of :func:`render_study` to a file, whole or not at all.

    :param path: the file to write; a file that is there is replaced.
    :returns: the path.
    :raises InputError: when the file cannot be written.
    :raises MissingDependency: without matplotlib, Jinja or SciPy.
    """
    return write_whole(path, render_study(record))


def render_study(record: StudyRecord) -> str:
    """Return the page of a study, as far as it has come; the same record gives the same text.

    :param record: the study. What it lacks is said where it would stand.
    :raises MissingDependency: without matplotlib, Jinja or SciPy.
    """
    drawings = make_figures(record)
    numbers = {drawing.stem: number for number, drawing in enumerate(drawings, start=1)}
    sections = []
    for identifier, title, words, parts in SECTIONS:
        shown: list[dict[str, Any]] = []
        for kind, name in parts:
            if kind == "table":
                shown += [
                    {"kind": "table", "grid": _table(grid, f"{identifier}-{name}-{place}")}
                    for place, grid in enumerate(_grids(record, name))
                ]
            else:
                mine = [drawing for drawing in drawings if drawing.name == name]
                shown += [
                    {"kind": "figure", "figure": _figure(drawing, numbers[drawing.stem])} for drawing in mine if drawing.draw is not None
                ]
                lacking = [(clean(drawing.title), clean(drawing.reason)) for drawing in mine if drawing.reason is not None]
                shown += [{"kind": "lacking", "figures": lacking}] if lacking else []
        if shown:
            sections.append({"id": identifier, "title": title, "words": words, "parts": shown})
    content = {
        "title": clean(f"Study {record.name}"),
        "oracle": _oracle(record),
        "summary": summary_of(record),
        "progress": progress_of(record),
        "facts": facts_of(record),
        "overridden": [clean(line) for line in record.overridden],
        "verdict": _verdict(record),
        "sections": sections,
        "machines": machines_of(record),
        "again": _again(record),
        "version": equimodal.__version__,
    }
    return rendered("study.html.j2", content)


def _verdict(record: StudyRecord) -> dict[str, Any]:
    """Return the verdict with its findings gathered under their headings."""
    verdict = make_verdict(record)
    groups = []
    for findings in (verdict.contributions, verdict.claims):
        by_heading: dict[str, list[tuple[str, str]]] = {}
        for finding in findings:
            by_heading.setdefault(clean(finding.heading), []).append((finding.status, clean(finding.statement)))
        groups.append([{"title": heading, "findings": found} for heading, found in by_heading.items()])
    return {
        "summary": [clean(sentence) for sentence in verdict.summary],
        "contributions": groups[0],
        "claims": groups[1],
        "notes": [clean(note) for note in verdict.notes],
    }


def _grids(record: StudyRecord, name: str) -> list[Grid]:
    if name != "fusions":
        return make_table(record, name)
    fusions = dict.fromkeys(fusion for data in record.data for fusion in record.fusions(data.label))
    return [grid for fusion in fusions for grid in make_table(record, {"concat": "table2", "sum": "table3"}.get(fusion, fusion))]


def _table(grid: Grid, identifier: str) -> dict[str, Any]:
    """Return a table with its title above and its notes below, which in the HTML of a grid alone are one."""
    columns = tuple(replace(column, meaning="") for column in grid.columns)
    return {
        "id": f"table-{identifier}",
        "title": clean(grid.title),
        "html": replace(grid, columns=columns, notes=()).html(),
        "rows": len(grid.rows),
        "folded": len(grid.rows) > MANY_ROWS,
        "notes": list(grid.explanations),
    }


def _figure(drawing: Drawing, number: int) -> dict[str, Any]:
    """Draw a figure twice: side by side for wide pages, below each other for narrow ones; a single panel is for both."""
    assert drawing.draw is not None
    wide = drawing.draw(False)
    texts = (clean(drawing.title), clean(drawing.description))
    shown = {
        "title": texts[0],
        "folded": drawing.name in FOLDED,
        "caption": clean(drawing.caption),
        "width": f"{WIDTH_OF_AN_INCH * wide.get_figwidth():.1f}rem",
        "wide": figure_to_svg(wide, *texts, identifier=f"figure-{number}-wide"),
        "narrow": "",
    }
    if wide.get_figwidth() > WIDTH_OF_A_PANEL:
        shown["narrow"] = figure_to_svg(drawing.draw(True), *texts, identifier=f"figure-{number}-narrow")
    return shown


def _oracle(record: StudyRecord) -> str:
    if record.rule == "best-validation":
        return ""
    return (
        "Configurations were chosen by their scores on the test split. Every figure below is therefore too high, by an unknown amount, and "
        "none may be held against a fair one."
    )


def _again(record: StudyRecord) -> dict[str, str]:
    ready = record.name in ready_files()
    name = record.name if ready else f"{record.name}.yaml"
    said = f"The file of this study comes with the package as {name}" if ready else f"With this study's file as {name}"
    return {
        "words": (
            f"{said}: the same file with the same seed draws the same trials and, on processors of one kind, gives the same scores, "
            "whatever the number of processes. Broken off, the first command goes on where it was."
        ),
        "commands": "\n".join(f"equimodal study {action} {name}" for action in ("run", "table", "figures", "export")),
        "declaration": json.dumps(_plain(record.declaration), indent=2, ensure_ascii=False, default=str),
    }


def _plain(value: Any) -> Any:
    """Return read-only mappings as dictionaries, which JSON knows."""
    return {key: _plain(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value
