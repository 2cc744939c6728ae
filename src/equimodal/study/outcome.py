"""What came out of a comparison, and the files that say so."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.report.page import render_report
from equimodal.report.records import RunRecord, read_run
from equimodal.report.table import group_rows
from equimodal.report.words import clean
from equimodal.study.plan import REFERENCE
from equimodal.train.record import environment

if TYPE_CHECKING:
    from equimodal.report.cost import Cost
    from equimodal.report.table import ResultTable
    from equimodal.study.folder import ComparisonFolder
    from equimodal.study.plan import Entry
    from equimodal.study.rates import UnimodalRates

__all__ = ["Comparison", "Failure", "write_outcome"]

WIDTH = 80


@dataclass(frozen=True)
class Failure:
    """A run that did not finish.

    :param label: its row in the table.
    :param seed: its seed.
    :param reason: why, in one line.
    :param details: the traceback of an error that the library does not know.
    """

    label: str
    seed: int
    reason: str
    details: str | None = None

    def __str__(self) -> str:
        return f"{self.label}, seed {self.seed}: {self.reason}"


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    :param folder: where everything is.
    :param table: unimodal models and methods, on the test split.
    :param runs: the finished runs, in the order of the table.
    :param failures: the runs that did not finish.
    :param rates: the unimodal learning rates, where a method needed them.
    """

    folder: Path
    table: ResultTable
    runs: Sequence[RunRecord]
    failures: Sequence[Failure]
    rates: UnimodalRates | None

    def __str__(self) -> str:
        notes = []
        if self.rates is not None:
            chosen = ", ".join(f"{modality} {rate:g}" for modality, rate in self.rates.rates.items())
            tried = sum(map(len, self.rates.candidates.values()))
            notes.append(f"Learning rates of each modality alone, found by {tried} trainings: {chosen}.")
            notes += [f"Note: {warning}." for warning in self.rates.warnings]
        notes += [f"Failed: {failure}" for failure in self.failures]
        filled = [textwrap.fill(clean(note), WIDTH, break_long_words=False, break_on_hyphens=False) for note in notes]
        return "\n".join([str(self.table), *([""] if filled else []), *filled])


def write_outcome(
    folder: ComparisonFolder,
    plan: Sequence[Entry],
    seeds: Sequence[int],
    modalities: Sequence[str],
    failures: Sequence[Failure],
    rates: UnimodalRates | None,
) -> Comparison:
    """Read the finished runs back, and write the table in all its shapes, the report and the record.

    :param plan: the unimodal models and the methods that could be run.
    :raises InputError: when a file cannot be written.
    """
    failed = {(failure.label, failure.seed) for failure in failures}
    runs = [read_run(folder.run(entry.folder, seed), entry.label) for entry in plan for seed in seeds if (entry.label, seed) not in failed]
    costs = _costs(plan, runs, rates)
    table = group_rows(runs, modalities, **costs)
    comparison = Comparison(folder.path, table, runs, failures, rates)
    folder.write("table.txt", f"{comparison}\n")
    folder.write("table.csv", table.csv())
    folder.write("table.md", table.markdown())
    folder.write("table.tex", table.latex())
    folder.write("report.html", render_report(runs, modalities, **costs))
    folder.write_record(_record(comparison, plan, seeds))
    return comparison


def _costs(plan: Iterable[Entry], runs: Iterable[RunRecord], rates: UnimodalRates | None) -> dict[str, Any]:
    """Return what the table is told of costs: nothing where no run of the reference finished."""
    finished = {run.label for run in runs}
    reference = next((entry.label for entry in plan if entry.name == REFERENCE), None)
    if reference not in finished:
        return {}
    extra: dict[str, Cost] = {}
    if rates is not None:
        extra = {entry.label: rates.cost for entry in plan if entry.needs and entry.label in finished}
    return {"relative_to": reference, "extra_costs": extra}


def _record(comparison: Comparison, plan: Sequence[Entry], seeds: Sequence[int]) -> dict[str, Any]:
    rates = comparison.rates
    found: Mapping[str, Any] | None = None
    if rates is not None:
        found = {
            "rates": rates.rates,
            "metric": rates.metric,
            "seed": seeds[0],
            "candidates": {modality: [asdict(candidate) for candidate in tried] for modality, tried in rates.candidates.items()},
            "cost": asdict(rates.cost),
            "needed_by": [entry.name for entry in plan if entry.needs],
            "warnings": rates.warnings,
        }
    methods = {run.label: run.config["method"] for run in comparison.runs}
    return {
        "finished": not comparison.failures,
        "seeds": seeds,
        "methods": {entry.name: {"label": entry.label, **methods.get(entry.label, entry.method)} for entry in plan},
        "unimodal_learning_rates": found,
        "costs": {row.label: {"runs": row.count, **asdict(row.cost)} for row in comparison.table.rows},
        "failures": [asdict(failure) for failure in comparison.failures],
        "environment": environment(),
    }
