"""Many runs, one after the other or in several processes; a run that fails takes no other with it."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.data.base import Splits
from equimodal.errors import InputError, TrainingDiverged, first_line
from equimodal.report.cost import Cost, cost_of
from equimodal.scores import MULTIMODAL
from equimodal.study.workers import Workers
from equimodal.train.config import train
from equimodal.train.record import RunFolder

if TYPE_CHECKING:
    from equimodal.data import Dataset

__all__ = ["Data", "Job", "Outcome", "checked_count", "head_of", "part_of_data", "perform", "run_jobs"]

Data = tuple["Dataset", Splits]
"""What :func:`equimodal.train.config.load_data` returns."""


@dataclass(frozen=True)
class Job:
    """One run that is to be done.

    :param name: what it is, for people.
    :param config: the resolved configuration.
    :param out: its run folder.
    :param only: the one modality that it is to see; every one by default. Such a run does not read the test split.
    :param test: whether it reads the test split at its end.
    """

    name: str
    config: Mapping[str, Any]
    out: Path
    only: str | None = None
    test: bool = True


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    :param job: the job.
    :param history: the records of its finished epochs.
    :param result: as in ``result.json``; None where the run failed.
    :param cost: what its epochs took, the one in which it failed included.
    :param found: whether the run was found finished, and nothing was trained.
    :param failure: why it failed, in one line.
    :param diverged: whether that is because a loss became NaN or infinite.
    :param details: the traceback of an error that no user should meet.
    """

    job: Job
    history: Sequence[Mapping[str, Any]] = ()
    result: Mapping[str, Any] | None = None
    cost: Cost = Cost(None, None)  # noqa: RUF009  frozen itself
    found: bool = False
    failure: str | None = None
    diverged: bool = False
    details: str | None = None

    @property
    def best(self) -> Mapping[str, Any]:
        """The record of the best epoch."""
        return self.history[self.result["best_epoch"] - 1] if self.result else {}

    def score(self, split: str) -> float | None:
        """Return the multimodal score of the best epoch on a split; None where it is undefined or the run failed.

        Of a model of one modality it is that of its head, which counts the samples that have the modality, as the tables do.
        """
        scores = (self.result or {}).get("scores", {}).get(split, {})
        value = scores.get(head_of(self.job.config))
        return None if value is None else float(value)


def run_jobs(
    jobs: Sequence[Job],
    data: Data,
    *,
    workers: int = 1,
    data_dir: Path | None = None,
    send: bool = False,
    on_done: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Do all jobs and return what became of them, in their order.

    :param jobs: runs on one and the same data set.
    :param data: the data set with its splits.
    :param workers: how many processes; with 1 everything happens in this one. What comes out is the same with any number.
    :param data_dir: where other processes load the data from,
    :param send: unless a copy of ``data`` is sent to them.
    :param on_done: called with each outcome as it comes.
    :raises InputError: when processes cannot be started, or the data cannot be sent to them.
    """
    outcomes: dict[int, Outcome] = {}

    def note(number: int, outcome: Outcome) -> None:
        outcomes[number] = outcome
        if on_done is not None:
            on_done(outcome)

    if min(workers, len(jobs)) <= 1:
        for number, job in enumerate(jobs):
            note(number, perform(job, data))
    else:
        with Workers(min(workers, len(jobs)), data if send else None, data_dir) as pool:
            for number, answer in pool.do(jobs):
                note(number, answer if isinstance(answer, Outcome) else Outcome(jobs[number], failure=answer))
    return [outcomes[number] for number in range(len(jobs))]


def perform(
    job: Job, data: Data, on_epoch: Callable[[Mapping[str, Any]], None] | None = None, passing: tuple[type[Exception], ...] = ()
) -> Outcome:
    """Do one job; whatever goes wrong is in the outcome.

    :param on_epoch: called with each epoch's record.
    :param passing: what is not about the job and is let through.
    """
    last = time.perf_counter()

    def look(record: Mapping[str, Any]) -> None:
        nonlocal last
        last = time.perf_counter()
        if on_epoch is not None:
            on_epoch(record)

    try:
        run = train(job.config, out=job.out, data=part_of_data(data, job.only), test=job.test and job.only is None, on_epoch=look)
    except passing:
        raise
    except TrainingDiverged as error:
        history = RunFolder(job.out, dict(job.config)).epochs()
        lost = Cost(time.perf_counter() - last, _steps_per_epoch(job.config, data))
        return Outcome(job, history, cost=cost_of(history) + lost if history else lost, failure=str(error), diverged=True)
    except InputError as error:
        return Outcome(job, failure=str(error))
    except Exception as error:  # a method or an encoder of the user's own may fail in any way
        said = first_line(error)
        return Outcome(job, failure=f"{type(error).__name__}: {said}", details=traceback.format_exc())
    return Outcome(job, run.history, run.result, cost_of(run.history), run.found_complete)


def head_of(config: Mapping[str, Any]) -> str:
    """Return whose scores decide about a run: the multimodal ones, or those of the one modality that it has."""
    method = config["method"]
    return str(method.get("modality", MULTIMODAL)) if isinstance(method, Mapping) else MULTIMODAL


def part_of_data(data: Data, modality: str | None) -> Data:
    """Return a data set that holds one modality alone, but for its test split, which is left as it is; all of it for None."""
    if modality is None:
        return data
    dataset, splits = data
    return dataset, Splits(splits.train.only(modality), splits.val.only(modality), splits.test, digest=splits.digest)


def checked_count(value: Any, name: str) -> int:
    """Return a whole number of at least 1.

    :raises InputError: for anything else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} = {value!r}: a whole number of at least 1 is needed")
    return value


def _steps_per_epoch(config: Mapping[str, Any], data: Data) -> int:
    batches = math.ceil(len(data[1].train) / int(config["batch_size"]))
    return math.ceil(batches / int(config["accumulate"]))
