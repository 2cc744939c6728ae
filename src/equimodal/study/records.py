"""What a study knows, as plain records: read from its storage or from an archive, and all that tables and figures are made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from equimodal.report.cost import Cost
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.report.records import RunRecord

__all__ = ["ALONE", "TRAINING_SCORES", "DataRecord", "Kind", "SeriesRecord", "State", "StudyRecord", "TrialRecord"]

ALONE = "alone"
"""Stands in the place of the fusion for the models of one modality, which have none."""

TRAINING_SCORES = "training-scores"
"""The row of MILES that looks at training instead of validation scores (Table VI)."""

Kind = Literal["search", "final", "sweep", "example"]
State = Literal["waiting", "running", "complete", "failed", "pruned"]


@dataclass(frozen=True)
class DataRecord:
    """One data set of a study.

    :param label: its name in the study, such as ``"avdigits"``; unique.
    :param name: the data set's registered name.
    :param modalities: the strongest first.
    :param metric: the score that rules and selection use.
    :param config: what the runs on it have in common: a configuration without method, seed and learning rate.
    """

    label: str
    name: str
    modalities: tuple[str, ...]
    metric: str
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialRecord:
    """One trial: a configuration that was to be trained once.

    :param number: its number in its series, from 0.
    :param state: what became of it. ``waiting`` also stands for one that was broken off and will be taken over.
    :param params: what was drawn or set for it, by path in the configuration, such as ``{"optimizer.lr": 0.001, "method.tau": 0.2}``.
    :param run: its configuration, epochs and result; None before it has ended. The result of a trial of a search has no test scores.
    :param reason: why it failed, in one line.
    :param attempts: how often it was begun; more than once where a process or machine was lost.
    :param cost: what it took, trainings beside it included; searches that a method needs beforehand are not.
    :param where: the machine that finished it.
    :param started: when its last attempt began, as an ISO 8601 text in UTC.
    :param ended: when it ended, likewise.
    :param environment: versions, hardware and threads, as in ``environment.json``.
    """

    number: int
    state: State = "waiting"
    params: Mapping[str, Any] = field(default_factory=dict)
    run: RunRecord | None = None
    reason: str | None = None
    attempts: int = 0
    cost: Cost = Cost(None, None)  # noqa: RUF009  frozen itself
    where: str | None = None
    started: str | None = None
    ended: str | None = None
    environment: Mapping[str, Any] | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more is to happen to it."""
        return self.state in ("complete", "failed", "pruned")

    def score(self, split: str = "val") -> float | None:
        """Return the multimodal score of the best epoch on a split; of a model of one modality, that modality's."""
        if self.run is None or self.state != "complete":
            return None
        return self.run.final_scores(split).get(_head(self.run))

    @property
    def loss(self) -> float | None:
        """The validation loss of the best epoch."""
        if self.run is None or self.state != "complete" or self.run.best_epoch is None:
            return None
        return self.run.series("losses", "val", _head(self.run))[self.run.best_epoch - 1]


def _head(run: RunRecord) -> str:
    return run.modalities[0] if run.is_unimodal else MULTIMODAL


@dataclass(frozen=True)
class SeriesRecord:
    """Trials that belong together.

    =========== =============================================================================================================
    ``search``  the random configurations of one row; ``trials[i].number`` is the trial number that rows share draws by
    ``final``   the selected configuration: trial 0 once more with the seed of the search, now with the test split (the paper's
                reading), the others with fresh seeds
    ``sweep``   the selected configuration with one option varied (Tables IV and V); ``trials[i].params`` has the option's value
    ``example`` one run with given hyper-parameters (Figure 2)
    =========== =============================================================================================================

    :param name: its name in the study, such as ``"avdigits/concat/miles"``, ``"avdigits/alone/audio"``; unique.
    :param kind: see above.
    :param data: the label of its data set.
    :param fusion: ``"concat"``, ``"sum"``, …; ``"alone"`` for a model of one modality.
    :param row: the method's name, or the modality of a model of one; ``"training-scores"`` for MILES that looks at training scores.
    :param label: the row's name in tables, such as ``"MSLR-K"``, ``"audio alone"``.
    :param trials: all that were planned, by number.
    :param option: the option that a sweep varies, by its path, such as ``"method.tau"``.
    :param selected: the number of the trial of its search that a ``final`` or ``sweep`` started from; None while that is not known.
    :param before: what trainings beforehand took that this row's method needs (searches for unimodal learning rates).
    :param blocked: why its trials cannot be begun, in one line; None where nothing is in their way.
    """

    name: str
    kind: Kind
    data: str
    fusion: str
    row: str
    label: str
    trials: tuple[TrialRecord, ...]
    option: str | None = None
    selected: int | None = None
    before: Cost = Cost(0.0, 0)  # noqa: RUF009  frozen itself
    blocked: str | None = None

    @property
    def done(self) -> int:
        """How many trials have ended, one way or another."""
        return sum(trial.done for trial in self.trials)

    @property
    def complete(self) -> tuple[TrialRecord, ...]:
        """The trials that have a result."""
        return tuple(trial for trial in self.trials if trial.state == "complete")

    @property
    def is_unimodal(self) -> bool:
        """Whether its models have one modality."""
        return self.fusion == ALONE


@dataclass(frozen=True)
class StudyRecord:
    """A study as far as it has come.

    :param name: its name.
    :param declaration: the resolved study file, as plain values.
    :param data: its data sets, in order.
    :param series: all series, in the order of data sets, fusions and rows.
    :param overridden: search spaces that are not the methods' own, one line each; printed below every table.
    :param rule: the rule of selection: ``"best-validation"``, or ``"oracle"``.
    """

    name: str
    declaration: Mapping[str, Any]
    data: tuple[DataRecord, ...]
    series: tuple[SeriesRecord, ...]
    overridden: tuple[str, ...] = ()
    rule: str = "best-validation"

    def find(self, kind: Kind, data: str | None = None, fusion: str | None = None, row: str | None = None) -> Iterator[SeriesRecord]:
        """Yield the series of a kind, of a data set, fusion and row where these are given."""
        for series in self.series:
            wanted = ((data, series.data), (fusion, series.fusion), (row, series.row))
            if series.kind == kind and all(value is None or value == found for value, found in wanted):
                yield series

    def one(self, kind: Kind, data: str, fusion: str, row: str) -> SeriesRecord | None:
        """Return the series of a kind, data set, fusion and row; None where the study has none. Of several sweeps, the first."""
        return next(self.find(kind, data, fusion, row), None)

    def fusions(self, data: str) -> tuple[str, ...]:
        """Return the fusions of a data set, without the models of one modality."""
        return tuple(dict.fromkeys(series.fusion for series in self.find("search", data) if not series.is_unimodal))

    def rows(self, data: str, fusion: str) -> tuple[str, ...]:
        """Return the methods of a data set and fusion in the order of the tables."""
        return tuple(series.row for series in self.find("search", data, fusion) if series.row != TRAINING_SCORES)

    @property
    def trials(self) -> Sequence[TrialRecord]:
        """All trials of all series."""
        return [trial for series in self.series for trial in series.trials]
