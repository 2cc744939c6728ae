"""A finished table and its shapes: text for a terminal, Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from equimodal.report import latex, terminal
from equimodal.report.cost import Cost, duration, multiple
from equimodal.report.intervals import percent
from equimodal.report.words import SPLIT_NAMES, clean, listing, metric_name, title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from equimodal.report.intervals import Estimate

__all__ = ["Reference", "ResultTable", "Row", "as_markdown"]

LONGEST_NAME = 24
LONGEST_REFERENCE = 12


@dataclass(frozen=True)
class Row:
    """One row: scores as fractions, averaged over the runs of one label, and what one run cost on average."""

    label: str
    is_unimodal: bool
    count: int
    multimodal: Estimate | None
    modalities: tuple[Estimate | None, ...]
    difference: Estimate | None
    cost: Cost = field(default=Cost(None, None))


@dataclass(frozen=True)
class Reference:
    """The row whose cost is 1 in a table with costs.

    :param label: the row's label.
    :param cost: the mean cost of its runs.
    :param prepared: the labels of the rows whose cost includes work before the run.
    """

    label: str
    cost: Cost
    prepared: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResultTable:
    """Rows of one data set, the unimodal models above the methods.

    Shown values are percentages with one decimal; ``str(table)`` is the text for a terminal of 80 columns.

    :param modalities: the strongest first.
    :param metric: the metric's name, such as ``"accuracy"``.
    :param split: the split of the scores.
    :param rows: unimodal rows first.
    :param reference: the row that costs are multiples of; None for a table without costs.
    """

    modalities: tuple[str, ...]
    metric: str
    split: str
    rows: tuple[Row, ...]
    reference: Reference | None = None

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
        """How many runs stand behind a row, what the signs mean, and what costs cover."""
        return " ".join(filter(None, (self.certainty, self.coverage)))

    @property
    def certainty(self) -> str:
        """How many runs stand behind a row, and what the signs mean."""
        counts = sorted({row.count for row in self.rows})
        if counts in ([], [1]):
            return "One run per row: differences may be chance."
        runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        alone = "; a row of one run has no interval" if counts[0] == 1 else ""
        return f"Means over {runs} runs per row, ± half of the 95 % interval (Student's t){alone}."

    @property
    def coverage(self) -> str:
        """What costs cover; empty for a table without them."""
        if self.reference is None:
            return ""
        name, *prepared = (terminal.fit(clean(label), LONGEST_NAME) for label in (self.reference.label, *self.reference.prepared))
        cost = self.reference.cost
        known = [] if cost.seconds is None else [duration(cost.seconds)]
        known += [] if cost.steps is None else [f"{cost.steps:,.0f} optimizer steps"]
        before = f" and, for {listing(prepared)}, work before it" if prepared else ""
        beside = f", trainings beside it{before}" if before else " and trainings beside it"
        return (
            f"Cost covers all epochs of a run{beside}; ×{name}: as a multiple of {name}'s mean"
            f"{f' ({listing(known)})' if known else ''}. Seconds compare only within one machine and one setting."
        )

    def relative_cost(self, row: Row) -> Cost:
        """Return a row's cost as multiples of the reference's; None where either is unknown."""
        return Cost(None, None) if self.reference is None else row.cost.relative_to(self.reference.cost)

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
        width = max(width, 40)
        header, body = self._cells()
        delta = 2 + len(self.modalities)
        header = [terminal.fit(name, LONGEST_NAME) for name in header]
        meaning = ""
        if header[delta] != self.difference_name:
            header[delta], meaning = "Δ", f"{self.difference_name}. "
        headers = [header]
        if self.reference is not None:
            header[-2:] = self._cost_names(" ", LONGEST_REFERENCE)
            stacked = header[delta].replace(" − ", "\n− ", 1)
            headers.append([*header[:delta], stacked, *header[delta + 1 : -2], *self._cost_names("\n", LONGEST_REFERENCE)])
        best = self.best()
        for position, row in enumerate(body):
            row[0] = terminal.fit(row[0], LONGEST_NAME)
            row[1] = f"*{row[1]}" if position in best else row[1]
        lines = [self.title, "", *terminal.lay_out(headers, body, self._rules(), width=width, together=0 if self.reference is None else 2)]
        note = ("* best multimodal score. " if best else "") + meaning + self.certainty
        lines += [note, *([self.coverage] if self.coverage else [])]
        return "\n".join(terminal.wrap(line, width) for line in lines)

    def __str__(self) -> str:
        return self.text()

    def markdown(self) -> str:
        """Return the table in Markdown (pipes), the best multimodal score in bold."""
        header, body = self._cells()
        lines = [[as_markdown(name) for name in header], ["---", *["---:"] * (len(header) - 1)]]
        for position, row in enumerate(body):
            cells = [as_markdown(cell) for cell in row]
            if position in self.best():
                cells[1] = f"**{cells[1]}**"
            lines.append(cells)
        rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"{rows}\n\n{self.title}. {self.note}\n"

    def latex(self) -> str:
        r"""Return the table as a ``tabular`` for LaTeX, the best multimodal score in bold and a rule below the unimodal models.

        The document needs ``\usepackage{booktabs}``. Title and note stand in comments above, for the caption.
        """
        header, body = self._cells()
        rows = [[latex.escape(cell) for cell in row] for row in body]
        for position in self.best():
            rows[position][1] = rf"\textbf{{{rows[position][1]}}}"
        return latex.tabular([latex.escape(name) for name in header], rows, self._rules(), clean(f"{self.title}. {self.note}"))

    def csv(self) -> str:
        """Return the table for programs: percentages with four decimals, each mean followed by its half interval; empty where undefined.

        A table with costs has them in full precision: mean seconds and steps of a run, then both as multiples of the reference's, which is
        named in the last column.
        """
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        names = [MULTIMODAL, *self.modalities, "difference"]
        costs = [] if self.reference is None else ["seconds", "steps", "relative_seconds", "relative_steps", "relative_to"]
        writer.writerow(["model", "kind", "runs", *(column for name in names for column in (name, f"{name}_half_interval")), *costs])
        for row in self.rows:
            numbers = [
                "" if value is None else f"{100 * value + 0.0:.4f}"
                for cell in (row.multimodal, *row.modalities, row.difference)
                for value in ((None, None) if cell is None else (cell.mean, cell.half_width))
            ]
            if self.reference is not None:
                parts = [value for cost in (row.cost, self.relative_cost(row)) for value in (cost.seconds, cost.steps)]
                numbers += [*("" if value is None else repr(value) for value in parts), self.reference.label]
            writer.writerow([row.label, "unimodal" if row.is_unimodal else "multimodal", row.count, *numbers])
        return buffer.getvalue()

    def html(self) -> str:
        """Return a ``<table>`` with a caption and headers, the best multimodal score in ``<strong>``; every name is escaped."""
        header, body = self._cells()
        header[2 + len(self.modalities)] = "Δ"
        names = [html.escape(name) for name in header]
        if self.reference is not None:
            names[-2:] = [html.escape(name).replace("\n", "<br/>") for name in self._cost_names("\n", LONGEST_NAME)]
        columns = "".join(f'<th scope="col">{name}</th>' for name in names)
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
        header += [] if self.reference is None else self._cost_names(" ")
        body = []
        for row in self.rows:
            cells = [clean(row.label), percent(row.multimodal), *map(percent, row.modalities), percent(row.difference, signed=True)]
            cells += [str(row.count)] if show_count else []
            if self.reference is not None:
                relative = self.relative_cost(row)
                cells += [multiple(relative.seconds), multiple(relative.steps)]
            body.append(cells)
        return header, body

    def _cost_names(self, space: str, longest: int | None = None) -> list[str]:
        name = "" if self.reference is None else clean(self.reference.label)
        name = name if longest is None else terminal.fit(name, longest)
        return [f"{what}{space}×{name}" for what in ("seconds", "steps")]

    def _rules(self) -> frozenset[int]:
        """The position of the first row below the unimodal models, where there are both."""
        return frozenset(
            position for position in range(1, len(self.rows)) if self.rows[position - 1].is_unimodal > self.rows[position].is_unimodal
        )


def as_markdown(text: str) -> str:
    r"""Return a text as Markdown prints it.

    >>> as_markdown("a_b | <c>")
    'a\\_b \\| &lt;c&gt;'
    """
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
