"""Tables like the row sets of Table II of the MILES paper: models, multimodal and unimodal scores, and their difference Δ.

The modalities are given once, the strongest first, and stay in that order: Δ is the first one's score minus the last one's, signed, so
that it turns negative where a method makes the weaker modality the stronger one.
"""

from __future__ import annotations

import csv
import html
import io
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from equimodal.errors import InputError
from equimodal.report.intervals import Estimate, estimate
from equimodal.report.records import SPLIT_NAMES, RunRecord, checked_modalities, clean, metric_name, title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["ResultTable", "Row", "group_rows", "percent"]

MISSING = "–"
LONGEST_NAME = 24


@dataclass(frozen=True)
class Row:
    """One row: scores as fractions, averaged over the runs of one label."""

    label: str
    is_unimodal: bool
    count: int
    multimodal: Estimate | None
    modalities: tuple[Estimate | None, ...]
    difference: Estimate | None


@dataclass(frozen=True)
class ResultTable:
    """Rows of one data set, the unimodal models above the methods.

    Shown values are percentages with one decimal; ``str(table)`` is the text for a terminal of 80 columns.

    :param modalities: the strongest first.
    :param metric: the metric's name, such as ``"accuracy"``.
    :param split: the split of the scores.
    :param rows: unimodal rows first.
    """

    modalities: tuple[str, ...]
    metric: str
    split: str
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """What the numbers are, such as ``"Test accuracy (%)"``."""
        return title_case(f"{SPLIT_NAMES.get(self.split, self.split)} {metric_name(self.metric)} (%)")

    @property
    def difference_name(self) -> str:
        """The meaning of Δ, such as ``"Δ (image − audio)"``."""
        return f"Δ ({self.difference_meaning})"

    @property
    def difference_meaning(self) -> str:
        """What is subtracted from what, such as ``"image − audio"``."""
        return f"{clean(self.modalities[0])} − {clean(self.modalities[-1])}"

    @property
    def note(self) -> str:
        """How many runs stand behind a row, and what the signs mean."""
        counts = sorted({row.count for row in self.rows})
        if counts in ([], [1]):
            return "One run per row: differences may be chance."
        runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        alone = "; a row of one run has no interval" if counts[0] == 1 else ""
        return f"Means over {runs} runs per row, ± half of the 95 % interval (Student's t){alone}."

    def best(self) -> frozenset[int]:
        """The positions of the rows with the best multimodal score as shown; none where there is nothing to compare."""
        shown = {position: round(100 * row.multimodal.mean, 1) for position, row in enumerate(self.rows) if row.multimodal is not None}
        if len(shown) < 2:
            return frozenset()
        return frozenset(position for position, value in shown.items() if value == max(shown.values()))

    def text(self, width: int = 80) -> str:
        """Return the table for a terminal; columns that do not fit the width follow in a second block below.

        :param width: the number of character cells of a line, at least 40.
        """
        header, body = self._cells()
        best = self.best()
        cells = [[_fit(name, LONGEST_NAME) for name in header]]
        if _cells_of(self.difference_name) > LONGEST_NAME:
            cells[0][2 + len(self.modalities)] = "Δ"
        for position, row in enumerate(body):
            cells.append([_fit(row[0], LONGEST_NAME), *row[1:]])
            if position in best:
                cells[-1][1] = f"*{row[1]}"
        widths = [max(_cells_of(row[column]) for row in cells) for column in range(len(header))]
        lines = [self.title, ""]
        for columns in _blocks(widths, max(width, 40)):
            rule = "─" * (sum(widths[column] for column in columns) + 2 * (len(columns) - 1))
            lines.append(_line(cells[0], columns, widths))
            lines.append(rule)
            for position, row in enumerate(cells[1:]):
                if position > 0 and self.rows[position - 1].is_unimodal and not self.rows[position].is_unimodal:
                    lines.append(rule)
                lines.append(_line(row, columns, widths))
            lines.append("")
        meaning = f"{self.difference_name}. " if cells[0][2 + len(self.modalities)] == "Δ" else ""
        lines.append(("* best multimodal score. " if best else "") + meaning + self.note)
        return "\n".join(_wrap(line, max(width, 40)) for line in lines)

    def __str__(self) -> str:
        return self.text()

    def markdown(self) -> str:
        """Return the table in Markdown (pipes), the best multimodal score in bold."""
        header, body = self._cells()
        lines = [header, ["---", *["---:"] * (len(header) - 1)]]
        for position, row in enumerate(body):
            cells = [_markdown(cell) for cell in row]
            if position in self.best():
                cells[1] = f"**{cells[1]}**"
            lines.append(cells)
        lines[0] = [_markdown(name) for name in header]
        rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"{rows}\n\n{self.title}. {self.note}\n"

    def csv(self) -> str:
        """Return the table for programs: percentages with four decimals, each mean followed by its half interval; empty where undefined."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        names = [MULTIMODAL, *self.modalities, "difference"]
        writer.writerow(["model", "kind", "runs", *(column for name in names for column in (name, f"{name}_half_interval"))])
        for row in self.rows:
            numbers = [
                "" if value is None else f"{100 * value + 0.0:.4f}"
                for cell in (row.multimodal, *row.modalities, row.difference)
                for value in ((None, None) if cell is None else (cell.mean, cell.half_width))
            ]
            writer.writerow([row.label, "unimodal" if row.is_unimodal else "multimodal", row.count, *numbers])
        return buffer.getvalue()

    def html(self) -> str:
        """Return a ``<table>`` with a caption and headers, the best multimodal score in ``<strong>``; every name is escaped."""
        header, body = self._cells()
        header[2 + len(self.modalities)] = "Δ"
        columns = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in header)
        caption = f"{self.title}; Δ is {self.difference_meaning}. {self.note}"
        parts = [f'<table class="scores"><caption>{html.escape(caption)}</caption>']
        parts.append(f"<thead><tr>{columns}</tr></thead>")
        for kind in (True, False):
            positions = [position for position, row in enumerate(self.rows) if row.is_unimodal is kind]
            rows = [self._html_row(body[position], best=position in self.best()) for position in positions]
            if rows:
                parts.append(f"<tbody>{''.join(rows)}</tbody>")
        return "\n".join([*parts, "</table>"])

    def _html_row(self, row: Sequence[str], *, best: bool) -> str:
        cells = [html.escape(cell) for cell in row]
        if best:
            cells[1] = f"<strong>{cells[1]}</strong>"
        return f'<tr><th scope="row">{cells[0]}</th>{"".join(f"<td>{cell}</td>" for cell in cells[1:])}</tr>'

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        show_count = len({row.count for row in self.rows}) > 1
        header = ["Model", MULTIMODAL, *map(clean, self.modalities), self.difference_name, *(["runs"] if show_count else [])]
        body = [
            [
                clean(row.label),
                percent(row.multimodal),
                *map(percent, row.modalities),
                percent(row.difference, signed=True),
                *([str(row.count)] if show_count else []),
            ]
            for row in self.rows
        ]
        return header, body


def group_rows(runs: Iterable[RunRecord], modalities: Iterable[str], split: str = "test") -> ResultTable:
    """Gather finished runs into a table: runs of one label, such as several seeds, make one row of means with intervals.

    Runs that are not finished are left out. A unimodal run counts in its modality's column only. Δ is averaged over the runs' own
    differences, so that its interval is that of paired values.

    >>> result = {"metric": "accuracy", "scores": {"test": {"multimodal": 0.984, "image": 0.985, "audio": 0.539}}}
    >>> print(group_rows([RunRecord("vanilla", "vanilla", result=result)], ["image", "audio"]))
    Test accuracy (%)
    <BLANKLINE>
    Model    multimodal  image  audio  Δ (image − audio)
    ────────────────────────────────────────────────────
    vanilla        98.4   98.5   53.9              +44.6
    <BLANKLINE>
    One run per row: differences may be chance.

    :param runs: in the order of the rows.
    :param modalities: all modalities, the strongest first.
    :param split: ``"test"``, ``"val"`` or ``"train"``.
    :raises InputError: for runs of different data sets or metrics, two runs of one label and seed, or an unknown modality.
    """
    finished = [run for run in runs if run.result is not None]
    names = checked_modalities(modalities, finished)
    for what, values in (("data sets", {run.dataset for run in finished}), ("metrics", {run.metric for run in finished})):
        if len(values) > 1:
            raise InputError(
                f"runs of different {what} cannot share a table ({', '.join(sorted(map(str, values)))}): make one table for each"
            )
    groups: dict[tuple[str, tuple[str, ...]], list[RunRecord]] = {}
    for run in finished:
        groups.setdefault((run.label, run.modalities if run.is_unimodal else ()), []).append(run)
    for (label, _), members in groups.items():
        seeds = [run.seed for run in members if run.seed is not None]
        if len(set(seeds)) < len(seeds):
            raise InputError(f"two runs of {label!r} have the same seed, which would count one result twice: give each its own label")
    labels = [label for label, _ in groups]
    rows = []
    for (label, alone), members in groups.items():
        # Two unimodal models under one label need their modality to be told apart.
        shown = f"{label} ({alone[0]})" if alone and labels.count(label) > 1 else label
        rows.append(_row(shown, members, names, split, is_unimodal=bool(alone)))
    rows.sort(key=lambda row: not row.is_unimodal)
    return ResultTable(names, finished[0].metric if finished else "score", split, tuple(rows))


def _row(label: str, runs: Sequence[RunRecord], modalities: Sequence[str], split: str, *, is_unimodal: bool) -> Row:
    scores = [run.final_scores(split) for run in runs]
    differences = []
    for values in scores:
        strong, weak = values.get(modalities[0]), values.get(modalities[-1])
        differences.append(None if is_unimodal or strong is None or weak is None else strong - weak)
    return Row(
        label=label,
        is_unimodal=is_unimodal,
        count=len(runs),
        multimodal=None if is_unimodal else estimate(values.get(MULTIMODAL) for values in scores),
        modalities=tuple(estimate(values.get(name) for values in scores) for name in modalities),
        difference=estimate(differences),
    )


def percent(value: Estimate | None, *, signed: bool = False) -> str:
    """Return a score as a percentage with one decimal, with its interval where it has one.

    >>> percent(Estimate(0.984, None, 1)), percent(Estimate(-0.009, 0.0123, 5), signed=True), percent(None)
    ('98.4', '−0.9 ± 1.2', '–')
    """
    if value is None:
        return MISSING
    # Adding zero turns -0.0 into 0.0.
    mean = round(100 * value.mean, 1) + 0.0
    text = f"{mean:+.1f}" if signed and mean != 0.0 else f"{mean:.1f}"
    text = text.replace("-", "−")
    return text if value.half_width is None else f"{text} ± {100 * value.half_width:.1f}"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cells_of(text: str) -> int:
    """Return the number of character cells that a terminal gives the text: two for wide letters, none for combining marks."""
    return sum(0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _fit(text: str, cells: int) -> str:
    if _cells_of(text) <= cells:
        return text
    while _cells_of(text) > cells - 1:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _blocks(widths: Sequence[int], width: int) -> list[list[int]]:
    """Deal the columns out to blocks that fit the width, the first column leading each."""
    blocks = [[0]]
    for column in range(1, len(widths)):
        used = sum(widths[other] + 2 for other in blocks[-1])
        if used + widths[column] > width and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1].append(column)
    return blocks


def _line(cells: Sequence[str], columns: Sequence[int], widths: Sequence[int]) -> str:
    parts = []
    for column in columns:
        space = " " * (widths[column] - _cells_of(cells[column]))
        parts.append(cells[column] + space if column == 0 else space + cells[column])
    return "  ".join(parts).rstrip()


def _wrap(line: str, width: int) -> str:
    if _cells_of(line) <= width or set(line) == {"─"}:
        return line
    words, lines = line.split(" "), [""]
    for word in words:
        if lines[-1] and _cells_of(f"{lines[-1]} {word}") > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".lstrip() if lines[-1] or word else lines[-1]
    return "\n".join(lines)
