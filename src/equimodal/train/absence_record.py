"""What :func:`equimodal.absence_table` found, as plain values and as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from equimodal.errors import InputError

__all__ = ["AbsenceRow", "AbsenceTable"]


@dataclass(frozen=True)
class AbsenceRow:
    """The score with some modalities left out.

    :param present: the modalities that the model was given.
    :param absent: those that were left out.
    :param score: the metric of :meth:`equimodal.nn.JointFusion.predict`.
    :param difference: score minus that of all modalities, on the same samples; negative is a loss. None in the row of all.
    :param low: lower end of the difference's interval.
    :param high: its upper end.
    """

    present: tuple[str, ...]
    absent: tuple[str, ...]
    score: float
    difference: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def label(self) -> str:
        """The row's name: ``"without audio"``, ``"audio alone"``, ``"audio + image"``."""
        if not self.absent:
            return "all"
        if len(self.present) == 1:
            alone = f"{self.present[0]} alone"
            return f"without {self.absent[0]}: {alone}" if len(self.absent) == 1 else alone
        return f"without {self.absent[0]}" if len(self.absent) == 1 else " + ".join(self.present)


@dataclass(frozen=True)
class AbsenceTable:
    """What :func:`absence_table` found.

    :param modalities: the model's, in its order.
    :param metric: the score.
    :param split: what the data are called.
    :param samples: how many samples have all modalities; every row is about these.
    :param incomplete: how many others lack one or more.
    :param as_they_are: the score of all samples, complete or not, each from what it has; None where none lacks any.
    :param rows: all modalities first, then the subsets, larger ones first.
    :param level: of the intervals.
    :param resamples: of the bootstrap.
    :param seed: of its draws.
    """

    modalities: tuple[str, ...]
    metric: str
    split: str
    samples: int
    incomplete: int
    as_they_are: float | None
    rows: tuple[AbsenceRow, ...]
    level: float
    resamples: int
    seed: int

    def row(self, *present: str) -> AbsenceRow:
        """Return the row of a subset, given by the modalities that are present.

        :raises InputError: for a subset without a row.
        """
        for row in self.rows:
            if set(row.present) == set(present):
                return row
        raise InputError(f"there is no row of {' + '.join(present) or 'no modality'}: the rows are those of {len(self.rows)} subsets")

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)

    def render(self, width: int = 80) -> str:
        """Return the table as text.

        :param width: the number of character cells of a line.
        """
        from equimodal.report.intervals import Estimate, percent
        from equimodal.report.terminal import lay_out, wrap
        from equimodal.report.words import metric_name

        def shown(value: float | None, *, signed: bool = False) -> str:
            return "" if value is None else percent(Estimate(value, None, 1), signed=signed)

        body = [["each from what it has", shown(self.as_they_are), "", ""]] if self.as_they_are is not None else []
        for row in self.rows:
            interval = "" if row.low is None else f"{shown(row.low, signed=True)} to {shown(row.high, signed=True)}"
            first, *more = wrap(row.label, max(width - 48, 16)).split("\n")
            body.append([first, shown(row.score), shown(row.difference, signed=True), interval])
            body += [[f"  {line}", "", "", ""] for line in more]
        headers = [["modalities", "score", "difference", f"{100 * self.level:g} % interval"]]
        title = f"{self.split} {metric_name(self.metric)} in percent, {self.samples:,} samples that have every modality".strip()
        rules = {1} if self.as_they_are is not None else set()
        lines = [*wrap(title[0].upper() + title[1:], width).split("\n"), "", *lay_out(headers, body, rules, width=width)]
        notes = [f"Differences are to the row all, on the same samples; intervals by {self.resamples:,} paired bootstrap samples."]
        if self.as_they_are is not None:
            notes.append(f"The first row counts {self.incomplete:,} more samples, which lack a modality.")
        return "\n".join([*lines, *(line for note in notes for line in wrap(note, width).split("\n"))])

    def __str__(self) -> str:
        return self.render()
