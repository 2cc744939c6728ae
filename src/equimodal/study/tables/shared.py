"""What the tables of a study share: readings of final runs, cells, notes that say what is missing, and the paper's columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from equimodal.report.grid import Cell, Column
from equimodal.report.intervals import MISSING, Estimate, estimate, percent
from equimodal.report.words import metric_name
from equimodal.scores import MULTIMODAL
from equimodal.study import paper

if TYPE_CHECKING:
    from equimodal.study.records import DataRecord, Kind, SeriesRecord, StudyRecord, TrialRecord

__all__ = [
    "JOINT",
    "MILES",
    "TUNED",
    "VANILLA",
    "Readings",
    "difference_meaning",
    "difference_of",
    "estimate_cells",
    "estimate_columns",
    "fresh_runs",
    "head_names",
    "label_of",
    "mark_best",
    "metric_title",
    "number_cell",
    "one_cell",
    "paper_cell",
    "parameters",
    "readings",
    "record_cells",
    "record_columns",
    "rows_with_joint",
    "test_scores",
]

VANILLA, JOINT, MILES = "vanilla", "joint", "miles"
TUNED: tuple[Kind, ...] = ("search", "final")
"""The kinds of series behind a row: its search, and the runs of what was selected."""

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class Readings:
    """What the final runs of one row say on the test split.

    :param selected: the scores of the selected run, Δ included; empty while there are none.
    :param fresh: the same of each run with a fresh seed, by seed.
    :param epochs: the best epochs of the runs with fresh seeds, by seed.
    :param selected_epoch: that of the selected run.
    """

    selected: Scores
    fresh: Mapping[int, Scores]
    epochs: Mapping[int, int | None]
    selected_epoch: int | None

    def mean(self, key: str) -> Estimate | None:
        """Return the mean of a score over the fresh seeds with its interval."""
        return estimate(found.get(key) for found in self.fresh.values())


def readings(series: SeriesRecord | None, modalities: Sequence[str]) -> Readings:
    """Return what the final runs of a row say; nothing without them."""
    first = None if series is None or not series.trials or series.trials[0].number != 0 else series.trials[0]
    fresh = fresh_runs(series)
    return Readings(
        selected=test_scores(first, modalities),
        fresh={seed: test_scores(trial, modalities) for seed, trial in fresh.items()},
        epochs={seed: None if trial.run is None else trial.run.best_epoch for seed, trial in fresh.items()},
        selected_epoch=None if first is None or first.state != "complete" or first.run is None else first.run.best_epoch,
    )


def fresh_runs(series: SeriesRecord | None) -> dict[int, TrialRecord]:
    """Return the complete runs of a final series with fresh seeds, by seed."""
    trials = [] if series is None else [trial for trial in series.complete if trial.number > 0 and trial.run is not None]
    return {_seed(trial): trial for trial in trials}


def _seed(trial: TrialRecord) -> int:
    seed = None if trial.run is None else trial.run.seed
    # Rows share their fresh seeds by number, which stands for a seed that a run does not state; seeds are never negative.
    return -trial.number if seed is None else seed


def test_scores(trial: TrialRecord | None, modalities: Sequence[str]) -> dict[str, float | None]:
    """Return a complete trial's test scores by head, with Δ; empty without them."""
    if trial is None or trial.run is None or trial.state != "complete":
        return {}
    found = trial.run.final_scores("test")
    return {**found, paper.DIFFERENCE: difference_of(found, modalities)} if found else {}


def difference_of(found: Scores, modalities: Sequence[str]) -> float | None:
    """Return Δ: the strongest modality's score minus the weakest one's; None where either is undefined or there is only one."""
    strong, weak = found.get(modalities[0]), found.get(modalities[-1])
    return None if len(modalities) < 2 or strong is None or weak is None else strong - weak


def rows_with_joint(record: StudyRecord, data: str, fusion: str) -> tuple[str, ...]:
    """Return the rows of a data set and fusion; ``joint`` stands beside ``vanilla`` even where the study lacks it."""
    rows = list(record.rows(data, fusion))
    if rows and JOINT not in rows:
        rows.insert(rows.index(VANILLA) + 1 if VANILLA in rows else 0, JOINT)
    return tuple(rows)


def label_of(record: StudyRecord, data: str, fusion: str, row: str) -> str:
    """Return a row's name in tables."""
    found = next((series.label for series in record.series if (series.data, series.fusion, series.row) == (data, fusion, row)), None)
    return found or row.capitalize()


# --- cells


def one_cell(value: float | None, *, signed: bool = False) -> Cell:
    """Return a score as a percentage with one decimal."""
    return Cell(percent(None if value is None else Estimate(value, None, 1), signed=signed), value)


def number_cell(value: float | None, show: Callable[[float], str] = str) -> Cell:
    """Return a number as it is shown by a function, or a dash."""
    return Cell(MISSING) if value is None else Cell(show(value), value)


def estimate_cells(value: Estimate | None, *, signed: bool = False) -> list[Cell]:
    """Return a mean with its interval, and for CSV half of the interval."""
    half = None if value is None else value.half_width
    return [Cell(percent(value, signed=signed), None if value is None else value.mean), Cell("", half)]


def estimate_columns(name: str, group: str, key: str) -> list[Column]:
    """Return the columns of a mean and of half its interval."""
    return [Column(name, group=group, key=key), Column(f"{name} half interval", key=f"{key}_half_interval", shown=False)]


def paper_cell(figure: float | None, *, signed: bool = False) -> Cell:
    """Return a figure of the paper as it is printed there; for programs as a fraction, as all scores are."""
    return one_cell(None if figure is None else round(figure / 100, 6), signed=signed)


def mark_best(rows: Sequence[list[Cell]], column: int) -> None:
    """Emphasise the cells of a column that show its highest number; none where there is nothing to compare."""
    values = {position: row[column].value for position, row in enumerate(rows)}
    shown = {position: round(100 * value, 1) for position, value in values.items() if isinstance(value, float)}
    if len(shown) < 2:
        return
    for position, value in shown.items():
        if value == max(shown.values()):
            cell = rows[position][column]
            rows[position][column] = Cell(cell.text, cell.value, strong=True)


def parameters(params: Mapping[str, Any]) -> str:
    """Return hyper-parameters in one line, without the parts of the configuration that they belong to.

    >>> parameters({"optimizer.lr": 0.00068983, "method.tau": 0.2, "method.window": 5})
    'lr 0.00068983, tau 0.2, window 5'
    """
    shown = {path.removeprefix("optimizer.").removeprefix("method."): value for path, value in params.items()}
    return ", ".join(f"{name} {f'{value:.5g}' if isinstance(value, float) else value}" for name, value in shown.items())


def record_columns() -> list[Column]:
    """Return the columns for CSV that say how configurations were selected and which search spaces are not the methods' own."""
    return [Column("rule", key="selection_rule", shown=False), Column("spaces", key="overridden_spaces", shown=False)]


def record_cells(record: StudyRecord) -> list[Cell]:
    """Return the cells of :func:`record_columns`."""
    return [Cell(record.rule), Cell("; ".join(record.overridden))]


def difference_meaning(modalities: Sequence[str]) -> str:
    """Return what Δ is, such as ``"image − audio"``."""
    return f"{modalities[0]} − {modalities[-1]}"


def metric_title(data: DataRecord) -> str:
    """Return what the scores are, such as ``"test accuracy (%)"``."""
    return f"test {metric_name(data.metric)} (%)"


def head_names(modalities: Sequence[str]) -> list[tuple[str, str, bool]]:
    """Return key, header and whether the number is signed of the multimodal score, each head and Δ."""
    heads = [(name, name, False) for name in modalities]
    return [(MULTIMODAL, MULTIMODAL, False), *heads, *([(paper.DIFFERENCE, "Δ", True)] if len(modalities) > 1 else [])]
