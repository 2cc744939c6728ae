"""A run's present state while it trains, as lines for a terminal; torch is not needed for it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.diagnose.verdict_facts import TAU
from equimodal.errors import InputError
from equimodal.report.cost import duration
from equimodal.report.records import RunRecord, number, read_run
from equimodal.report.terminal import fit, lay_out, wrap
from equimodal.report.words import clean, listing, metric_name
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Watched", "frame", "look", "on_screen", "outcome", "spark", "title"]

_MISSING = "–"
_BLOCKS = "▁▂▃▄▅▆▇█"
_SILENT = 60.0
"""A run that says nothing for so many seconds, and for ten of its epochs, may have ended."""


@dataclass(frozen=True)
class Watched:
    """A run's folder as it is at a moment.

    :param folder: where it is.
    :param run: its records; those of no epoch before the first one.
    :param complete: whether it is finished.
    :param changed: when its last epoch was written, in seconds as :func:`time.time` has them; None before the first one.
    """

    folder: Path
    run: RunRecord
    complete: bool
    changed: float | None

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that have scores, the multimodal one first."""
        modalities = self.run.modalities
        return modalities if len(modalities) < 2 else (MULTIMODAL, *modalities)

    @property
    def epochs(self) -> int | None:
        """How many epochs the run is to have, where its configuration says so."""
        asked = self.run.config.get("epochs")
        return asked if isinstance(asked, int) else None


def look(folder: str | PathLike[str]) -> Watched | None:
    """Return a run's present state; None where there is no run yet.

    Every file of a run is replaced as a whole, so that what is read is never half of one.

    :param folder: the run's folder.
    :raises InputError: for a damaged record.
    """
    folder = Path(folder)
    complete = (folder / "complete").exists()  # before the records, so that a finished run is read with its result
    if not (folder / "config.yaml").is_file():
        return None
    try:
        changed = (folder / "metrics.jsonl").stat().st_mtime
    except OSError:
        changed = None
    return Watched(folder, read_run(folder), complete, changed)


def on_screen(lines: Sequence[str], height: int) -> list[str]:
    """Return the lines that a screen of a height has room for: without empty ones from the top on as far as needed, then cut at the end.

    >>> on_screen(["a", "", "b", "", "c"], 4), on_screen(["a", "", "b", "c"], 2)
    (['a', 'b', '', 'c'], ['a', '… 2 more lines: a taller terminal or --once shows them'])
    """
    lines, height = list(lines), max(height, 1)
    while len(lines) > height and "" in lines:
        lines.remove("")
    if len(lines) > height:
        more = len(lines) - height + 1
        lines[height - 1 :] = [f"… {more} more lines: a taller terminal or --once shows them"]
    return lines


def spark(values: Sequence[float | None], width: int) -> str:
    """Return numbers as a line of bars, from the smallest to the largest; a space where one is unknown.

    >>> spark([0.0, 0.5, None, 1.0], 10), spark([1.0, 1.0], 10), spark([0, 1, 2, 3], 2)
    ('▁▅ █', '▅▅', '▁█')

    :param values: from the first on.
    :param width: the largest number of bars; more values are averaged.
    """
    if len(values) > width:
        edges = [round(place * len(values) / width) for place in range(width + 1)]
        values = [_mean(values[low:high]) for low, high in itertools.pairwise(edges)]
    present = [value for value in values if value is not None]
    low, high = (min(present), max(present)) if present else (0.0, 0.0)

    def bar(value: float) -> str:
        place = 0.5 if high == low else (value - low) / (high - low)
        return _BLOCKS[int(place * (len(_BLOCKS) - 1) + 0.5)]

    return "".join(" " if value is None else bar(value) for value in values)


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def title(watched: Watched) -> str:
    """Return what is trained, in words."""
    run = watched.run
    data = "" if run.dataset is None else f" on {run.dataset}"
    return clean(f"{run.label}{data}, {metric_name(run.metric)}{'' if run.seed is None else f', seed {run.seed}'}")


def frame(watched: Watched, width: int = 80, *, now: float | None = None) -> list[str]:
    """Return the lines that show a run's present state.

    :param watched: what :func:`look` found.
    :param width: the number of character cells of a line.
    :param now: the moment, as :func:`time.time` has it; by default the present one. It tells how old the last epoch is.
    """
    run = watched.run
    lines = [fit(title(watched), width), *wrap(clean(str(watched.folder)), width).split("\n"), ""]
    lines = [fit(line, width) for line in lines]
    if not run.epochs:
        return [fit(line, width) for line in [*lines, "complete without an epoch" if watched.complete else "waiting for the first epoch"]]
    lines += _table(watched, width)
    if (said := _gap(watched, width)) is not None:
        lines += [said, ""]
    lines += _progress(watched, time.time() if now is None else now)
    return [part for line in lines for part in wrap(line, width).split("\n")]


def _table(watched: Watched, width: int) -> list[str]:
    run, last = watched.run, watched.run.epochs[-1]
    heads, best = watched.heads, run.best_epoch
    rates, multipliers, utilization = (_mapping(last.get(key)) for key in ("learning_rates", "multipliers", "utilization"))
    room = max(8, min(width - 66, 60))
    at_best = run.epoch_numbers.index(best) if best in run.epoch_numbers else None
    body = []
    for head in heads:
        curve = run.series("scores", "val", head)
        val, train = curve[-1], run.series("scores", "train", head)[-1]
        gap = None if val is None or train is None else train - val
        multiplier = number(multipliers.get(head))
        body.append(
            [
                fit(clean(head), 16),
                _percent(val),
                _percent(None if at_best is None else curve[at_best]),
                _percent(train),
                _percent(gap, signed=True),
                _shown(number(utilization.get(head)), "{:.2f}"),
                "" if head == MULTIMODAL or multiplier is None else f"×{multiplier:.3g}",
                _shown(number(rates.get(head)), "{:.3g}"),
                spark(curve, room),
            ]
        )
    headers = ["", "val", "best", "train", "train−val", "u", "factor", "rate", "validation by epoch"]
    keep = list(range(len(headers))) if len(heads) > 1 else [0, 1, 2, 3, 4, 7, 8]
    names, rows = [headers[column] for column in keep], [[row[column] for column in keep] for row in body]
    shorter = [[*names[:-1], last] for last in ("val by epoch", "")]
    return lay_out([names, *shorter], rows, set(), width=width, left=(0, len(names) - 1))


def _gap(watched: Watched, width: int) -> str | None:
    run = watched.run
    gaps = run.series("gap")
    if len(watched.heads) < 3 or not any(gap is not None for gap in gaps):
        return None
    tau = TAU if run.tau is None else run.tau
    if gaps[-1] is None:
        return f"utilization gap δ: no signal in epoch {run.epoch_numbers[-1]}"
    count = 0
    for gap in reversed(gaps):
        if gap is None or (gap > tau) != (gaps[-1] > tau):
            break
        count += 1
    side = "above" if gaps[-1] > tau else "not above"
    since = f"since epoch {run.epoch_numbers[-count]}" if count < len(gaps) else "in every epoch"
    said = f"utilization gap δ = {gaps[-1]:.3f}, {side} τ = {tau:g} {since}"
    return f"{said}  {spark(gaps, max(8, min(width - len(said) - 2, 60)))}"


def _progress(watched: Watched, now: float) -> Iterator[str]:
    run, total = watched.run, watched.epochs
    done = run.epoch_numbers[-1]
    seconds = [value for value in run.series("seconds")[-5:] if value is not None]
    each = sum(seconds) / len(seconds) if seconds else None
    said = f"epoch {done}{'' if total is None else f' of {total}'}, best {run.best_epoch or _MISSING}"
    if each is not None:
        said += f"; {duration(each)} per epoch"
        if total is not None and not watched.complete and total > done:
            said += f", at most {duration((total - done) * each)} to go"
    yield said
    if watched.complete:
        yield outcome(watched)
    elif watched.changed is not None:
        silent = now - watched.changed
        if silent > max(_SILENT, 10 * (each or 0.0)):
            yield f"nothing new for {duration(silent)}: the training may have ended; the same command goes on with it"


def outcome(watched: Watched) -> str:
    """Return how a finished run came out, in one line."""
    result = watched.run.result or {}
    scores = watched.run.final_scores("test")
    tested = listing(f"{clean(head)} {_percent(score)}" for head, score in scores.items()) if scores else ""
    stopped = result.get("stopped")
    why = f" ({clean(str(stopped))})" if isinstance(stopped, str) else ""
    return f"complete{why}: best epoch {watched.run.best_epoch or _MISSING}{f', test: {tested}' if tested else ''}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _percent(score: float | None, *, signed: bool = False) -> str:
    if score is None:
        return _MISSING
    value = round(100 * score, 1) + 0.0
    shown = f"{value:{'+' if signed and value else ''}.1f}" if abs(score) < 1000 else f"{100 * score:.1e}"
    return shown.replace("-", "−")


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else form.format(round(value, 6) + 0.0).replace("-0.00", "0.00").replace("-", "−")


def refused(folder: Path) -> InputError:
    """Return what to say of a folder without a run."""
    what = "it holds no config.yaml" if folder.is_dir() else "there is no such folder"
    return InputError(f"no run in {str(folder)!r}: {what}; give a folder that a training run writes")
