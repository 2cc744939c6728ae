"""What a report is drawn from: one run as plain records, read from its folder or handed over."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.errors import InputError, nearest
from equimodal.report.cost import Cost, cost_of
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from os import PathLike

__all__ = ["RunRecord", "checked_modalities", "number", "read_run"]


def number(value: Any) -> float | None:
    """Return a record's value as a float, or None where it is undefined (null, absent, not finite, no number).

    >>> number(3), number(None), number(float("nan")), number("x")
    (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


@dataclass(frozen=True)
class RunRecord:
    """One run: what it was asked to do, what it recorded at each epoch, and what came out.

    >>> epoch = {"epoch": 1, "scores": {"val": {"multimodal": 0.9, "audio": 0.4, "image": None}}}
    >>> run = RunRecord("MILES", "miles", {"seed": 3}, [epoch])
    >>> run.modalities, run.seed, run.series("scores", "val", "audio"), run.series("scores", "val", "image")
    (('audio', 'image'), 3, [0.4], [None])

    :param label: the name under which the run stands in tables and figures.
    :param method: the method's registered name, such as ``"miles"``; ``"unimodal"`` for one modality alone.
    :param config: the resolved configuration.
    :param epochs: one record per epoch, as in ``metrics.jsonl``.
    :param result: the final record, as in ``result.json``; None while the run is not finished.
    """

    label: str
    method: str
    config: Mapping[str, Any] = field(default_factory=dict)
    epochs: Sequence[Mapping[str, Any]] = ()
    result: Mapping[str, Any] | None = None

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the run has scores for, in the order of its records."""
        names: dict[str, None] = {}
        for record in (*self.epochs, self.result or {}):
            for scores in (record.get("scores") or {}).values():
                names.update(dict.fromkeys(name for name in scores or {} if name != MULTIMODAL))
        return tuple(names)

    @property
    def is_unimodal(self) -> bool:
        """Whether the run trained one modality alone."""
        return len(self.modalities) == 1

    @property
    def dataset(self) -> str | None:
        """The data set's name, where the run states it."""
        return _name("dataset", self.result or {}, self.config)

    @property
    def metric(self) -> str:
        """The metric of the scores; ``"score"`` where the run does not state it."""
        return _name("metric", self.result or {}, self.config) or "score"

    @property
    def seed(self) -> int | None:
        """The seed, where the run states it."""
        for source in (self.result or {}, self.config):
            if isinstance(source.get("seed"), int):
                return int(source["seed"])
        return None

    @property
    def best_epoch(self) -> int | None:
        """The epoch with the best multimodal validation score (the earliest on a tie)."""
        if self.result is not None and isinstance(self.result.get("best_epoch"), int):
            return int(self.result["best_epoch"])
        scored = [
            (score, -epoch)
            for epoch, score in zip(self.epoch_numbers, self.series("scores", "val", MULTIMODAL), strict=True)
            if score is not None
        ]
        return -max(scored)[1] if scored else None

    @property
    def epoch_numbers(self) -> list[int]:
        """The numbers of the recorded epochs."""
        return [int(record.get("epoch", position)) for position, record in enumerate(self.epochs, start=1)]

    @property
    def cost(self) -> Cost:
        """Seconds and optimizer steps of all epochs, trainings beside the run included; a part is None where a record lacks it."""
        return cost_of(self.epochs)

    @property
    def tau(self) -> float | None:
        """The threshold τ of the run's method, where it has one."""
        return number(self.option("tau"))

    def option(self, name: str) -> Any:
        """Return an option of the run's method from the configuration, wherever below ``method`` it stands; None without it."""
        return _find(self.config.get("method"), name)

    def series(self, *keys: str) -> list[float | None]:
        """Return one value per epoch, found by following the keys; None where it is undefined.

        :param keys: such as ``"scores", "val", "audio"`` or ``"gap"``.
        """
        values: list[float | None] = []
        for record in self.epochs:
            value: Any = record
            for key in keys:
                value = value.get(key) if isinstance(value, Mapping) else None
            values.append(number(value))
        return values

    def names(self, key: str) -> tuple[str, ...]:
        """Return every name that the epochs' mapping under the key ever holds, such as the groups of ``"learning_rates"``."""
        found: dict[str, None] = {}
        for record in self.epochs:
            found.update(dict.fromkeys(record.get(key) or {}))
        return tuple(found)

    def final_scores(self, split: str = "test") -> dict[str, float | None]:
        """Return the final score of every head on a split; empty while the run is not finished."""
        scores = ((self.result or {}).get("scores") or {}).get(split) or {}
        return {name: number(value) for name, value in scores.items()}


def _name(key: str, *sources: Mapping[str, Any]) -> str | None:
    for source in sources:
        value = source.get(key)
        if isinstance(value, Mapping):
            value = value.get("name")
        if isinstance(value, str):
            return value
    return None


def _find(value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        return None
    if value.get(name) is not None:
        return value[name]
    for below in value.values():
        found = _find(below, name)
        if found is not None:
            return found
    return None


def checked_modalities(modalities: Iterable[str], runs: Iterable[RunRecord]) -> tuple[str, ...]:
    """Return the modalities as a tuple after checking them against the runs.

    :param modalities: their names, the strongest one first; 2 to 8 of them.
    :raises InputError: for a wrong number of names, a name given twice, or a run with a modality that is not among them.
    """
    names = (modalities,) if isinstance(modalities, str) else tuple(modalities)
    if not 2 <= len(names) <= 8:
        raise InputError(
            f"a report shows 2 to 8 modalities, got {len(names)} ({', '.join(names) or 'none'}): give the names of all of them"
        )
    if len(set(names)) < len(names):
        raise InputError(f"a modality is named twice in {', '.join(names)}: give each name once")
    for run in runs:
        for name in run.modalities:
            if name not in names:
                raise InputError(f"run {run.label!r} has the unknown modality {name!r}: {nearest(name, names)}")
    return names


def read_run(folder: str | PathLike[str], label: str | None = None) -> RunRecord:
    """Read a run folder: ``config.yaml`` (JSON, which is valid YAML), ``metrics.jsonl`` and ``result.json``.

    A run that is still going on can be read as well: ``metrics.jsonl`` and ``result.json`` may be absent, and a last line that is
    still being written is left out.

    :param folder: the run's folder.
    :param label: the name to show; by default the method's name, for a unimodal run ``"audio alone"``.
    :raises InputError: when the folder is no run folder, cannot be read, or holds a damaged record.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no run in {str(folder)!r}: there is no such folder; give a folder that a training run wrote")
    if not (folder / "config.yaml").is_file():
        raise InputError(f"no run in {str(folder)!r}: it holds no config.yaml; give a folder that a training run wrote")
    config = _mapping(folder / "config.yaml")
    result = _scored(folder / "result.json", _mapping(folder / "result.json")) if (folder / "result.json").is_file() else None
    epochs = _epochs(folder / "metrics.jsonl") if (folder / "metrics.jsonl").is_file() else []
    method = _name("method", result or {}, config) or "unknown method"
    run = RunRecord(label or method, method, config, epochs, result)
    if label is None and run.is_unimodal:
        run = RunRecord(f"{run.modalities[0]} alone", method, config, epochs, result)
    return run


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}; check the run folder") from None
    except UnicodeDecodeError:
        raise InputError(f"{str(path)!r} is damaged: it is not UTF-8 text; run the training command again") from None


def _mapping(path: Path, text: str | None = None, place: str = "") -> dict[str, Any]:
    try:
        value = json.loads(_text(path) if text is None else text)
    except json.JSONDecodeError as error:
        place = place or f"line {error.lineno}"
        raise InputError(f"{str(path)!r} is damaged at {place}: {error.msg}; run the training command again") from None
    if not isinstance(value, dict):
        raise InputError(f"{str(path)!r} is no record: a mapping is needed, not {type(value).__name__}; run the training command again")
    return value


def _epochs(path: Path) -> list[dict[str, Any]]:
    text = _text(path)
    lines = text.split("\n")
    # Without its line break the last line is still being written.
    complete = lines[:-1]
    return [_scored(path, _mapping(path, line, f"line {position}")) for position, line in enumerate(complete, start=1) if line.strip()]


def _scored(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    scores = record.get("scores")
    if not isinstance(scores, dict) or not all(isinstance(values, dict) for values in scores.values()):
        raise InputError(f"{str(path)!r} is no record of a run: it has no scores by split and head; run the training command again")
    return record
