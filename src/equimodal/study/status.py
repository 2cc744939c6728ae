"""How far a study is, in lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from equimodal.report import terminal
from equimodal.report.cost import duration

if TYPE_CHECKING:
    from equimodal.study.records import SeriesRecord, StudyRecord

__all__ = ["status_lines"]

WIDTH = 80
MOST_FAILURES = 20


def status_lines(record: StudyRecord, *, everything: bool = False) -> Iterator[str]:
    """Yield the lines of a status: progress, the best so far, what runs where, and failures with their reasons.

    :param everything: list finished series too.
    """
    yield from _head(record)
    shown = [series for series in record.series if everything or series.done < len(series.trials)]
    if shown:
        yield ""
        yield from terminal.lay_out([["series", "done", "best", "trial"]], [_row(series) for series in shown], (), width=WIDTH)[:-1]
        yield ""
        yield "best: multimodal score on validation in percent, and the trial that has it"
    elif record.series:
        yield "every series is done; --all lists them with their best"
    for series in record.series:
        if series.blocked is not None:
            yield from terminal.paragraph(f"{series.name} cannot begin: {series.blocked}")
    running = [(series, trial) for series in record.series for trial in series.trials if trial.state == "running"]
    if running:
        yield ""
        yield "running:"
        for series, trial in running:
            again = f", attempt {trial.attempts}" if trial.attempts > 1 else ""
            yield from terminal.paragraph(f"  {series.name}, trial {trial.number}, on {trial.where} since {trial.started}{again}")
    failed = [(series, trial) for series in record.series for trial in series.trials if trial.state == "failed"]
    if failed:
        yield ""
        yield "failed:"
        for series, trial in failed[:MOST_FAILURES]:
            yield from terminal.paragraph(f"  {series.name}, trial {trial.number}: {trial.reason}")
        if len(failed) > MOST_FAILURES:
            yield f"  and {len(failed) - MOST_FAILURES} more: equimodal study table FILE failures"


def _head(record: StudyRecord) -> Iterator[str]:
    states = [trial.state for trial in record.trials]
    done = sum(trial.done for trial in record.trials)
    counts = [
        f"{states.count(state)} {word}"
        for state, word in (("running", "running"), ("failed", "failed"), ("pruned", "pruned"))
        if state in states
    ]
    yield f"study {record.name}: {done} of {len(states)} trials have ended{''.join(f', {text}' for text in counts)}"
    if record.rule != "best-validation":
        yield "ORACLE SELECTION: configurations are chosen by their test scores"
    spent = sum(trial.cost.seconds or 0.0 for trial in record.trials)
    if spent:
        yield f"training so far: {duration(spent)}, summed over processes"


def _row(series: SeriesRecord) -> list[str]:
    if series.kind == "final":  # the best of several seeds says nothing of a configuration
        return [series.name, f"{series.done}/{len(series.trials)}", "–", "–"]
    scored = [(score, -trial.number) for trial in series.trials if (score := trial.score()) is not None]
    best = max(scored) if scored else None
    cells = ["–", "–"] if best is None else [f"{100 * best[0]:.1f}", str(-best[1])]
    return [series.name, f"{series.done}/{len(series.trials)}", *cells]
