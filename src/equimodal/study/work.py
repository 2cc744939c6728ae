"""A worker: takes one trial after another from the storage, trains it, and notes what came of it, until nothing is left to do."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from equimodal.errors import Busy, CannotWrite, InputError, MissingDependency, StorageAway, UnusableRun, first_line
from equimodal.report.cost import Cost, cost_of
from equimodal.report.records import read_run
from equimodal.study.jobs import Job, Outcome, head_of, perform
from equimodal.study.packing import pack
from equimodal.study.records import TrialRecord
from equimodal.study.selection import Starts, settled
from equimodal.study.series import expand
from equimodal.train.config import load_data
from equimodal.train.record import environment

if TYPE_CHECKING:
    from equimodal.study.jobs import Data
    from equimodal.study.series import Draft, Series, Start
    from equimodal.study.storage import Attempt, Storage

__all__ = ["MOST_ATTEMPTS", "Event", "Worker"]

MOST_ATTEMPTS = 20
"""After so many attempts that all ended at the same epoch a trial counts as failed: it may be what ends its process."""

_POLL = 2.0
_PATIENCE_BEATS = 10


class _Lost(Exception):
    """The attempt was given up by others, who thought this process gone."""


class _Pruned(Exception):
    """The pruner ended the trial."""


class DeviceLost(InputError):
    """An error has left the GPU unusable for this process; others can still use it."""


_NOT_THE_TRIALS = (_Lost, _Pruned, Busy, CannotWrite, MissingDependency, StorageAway, UnusableRun, OSError)
"""What ends an attempt without saying anything about its trial: disks, databases, other processes."""


@dataclass(frozen=True)
class Event:
    """Something that a worker tells.

    :param kind: ``"begun"``, ``"ended"`` or ``"said"``.
    :param series: the name of the series.
    :param number: the trial's number.
    :param text: the score, the reason of a failure, or what was said.
    :param failed: whether the trial failed.
    :param what: what was set in the trial, such as ``"seed 1"``; empty for those of a search.
    """

    kind: str
    series: str = ""
    number: int = 0
    text: str = ""
    failed: bool = False
    what: str = ""


@dataclass(frozen=True)
class _Claim:
    series: Series
    draft: Draft
    config: Mapping[str, Any] | str
    trial: Any


class Worker:
    """Does the trials of a study that nobody else does.

    :param storage: where the trials are.
    :param series: all series, in the order in which they are begun.
    :param folder: where the run folders go; a trial that was broken off here, or in a folder that is shared, goes on from its checkpoint.
    :param data_dir: where the data sets' files are.
    :param data: data sets that are loaded already, by label.
    :param on_event: is told what happens.
    """

    def __init__(
        self,
        storage: Storage,
        series: Sequence[Series],
        folder: Path,
        *,
        data_dir: Path | None = None,
        data: Mapping[str, Data] | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.storage = storage
        self.series = series
        self.folder = folder
        self.data_dir = data_dir
        self.data: dict[str, Data] = dict(data or {})
        self.tell = on_event or (lambda _: None)
        file = storage.declaration.file
        self.drawn = storage.declaration.drawn
        self.budget = math.inf if file["budget"] is None else 3600.0 * file["budget"]
        self._ended: set[str] = set()
        self._starts = Starts(series, storage.attempts, file["selection"], drawn=self.drawn)

    def work(self) -> bool:
        """Do trials until none is left.

        :returns: whether the study is done; False where its budget is spent.
        :raises InputError: when the storage or the data cannot be used, or files cannot be written.
        """
        while True:
            claim = self.storage.patiently(self._claim)
            if claim is None:
                self._sweep()
                return True
            if claim == "spent":
                return False
            if claim == "wait":
                time.sleep(min(_POLL, self.storage.heartbeat))
                continue
            assert isinstance(claim, _Claim)
            self._do(claim)

    def _sweep(self) -> None:
        """Remove what processes left behind that were killed between the end of a trial and the removal of its checkpoints."""
        for series in self.series:
            for place in (self.folder / "runs" / series.name).glob("trial-*/complete"):
                _drop_checkpoints(place.parent, keep_best=series.kind != "search")

    def _claim(self) -> _Claim | str | None:
        """Take a trial.

        :returns: ``"wait"`` where others are at work on the last ones, ``"spent"`` where the budget is, None where all have ended.
        """
        with self.storage.locked():
            waiting = False
            for series in self.series:
                found = None if series.name in self._ended else self._claim_of(series)
                if isinstance(found, _Claim) or found == "spent":
                    return found
                waiting = waiting or found == "wait"
            return "wait" if waiting else None

    def _claim_of(self, series: Series) -> _Claim | str | None:
        """Take a trial of one series.

        :returns: ``"wait"`` where there may be one later, ``"spent"`` where the budget is, None where all have ended or will never begin.
        """
        start = self._starts.of(series)
        if start is None:
            return "wait"
        going_on = False
        if not isinstance(start, str):
            self.storage.bury(series.name)
            attempts = self.storage.attempts(series.name)
            for number in range(series.count):
                draft = series.draft(number, start, drawn=self.drawn)
                mine = [attempt for attempt in attempts if attempt.key == draft.key]
                if settled(mine, draft.key) is not None:
                    continue
                if not any(attempt.state == "RUNNING" for attempt in mine):
                    spent = self.budget < math.inf and self._spent() >= self.budget
                    return "spent" if spent else self._begun(series, draft, start, mine)
                going_on = True
        if not going_on:
            self._ended.add(series.name)
        return "wait" if going_on else None

    def _begun(self, series: Series, draft: Draft, start: Start, earlier: Sequence[Attempt]) -> _Claim:
        epoch = _epochs_done(self.run_folder(series, draft))
        trial = self.storage.claim(series, draft, earlier, epoch)
        # Who stops a long study every evening is not to blame for the trial: only attempts that came no further count.
        forgiven = max((attempt.order for attempt in earlier if attempt.forgiven), default=-1)
        in_vain = sum(attempt.order > forgiven and attempt.facts.get("epoch", 0) == epoch for attempt in earlier)
        if in_vain >= MOST_ATTEMPTS:
            return _Claim(series, draft, f"its process ended {in_vain} times after epoch {epoch}, perhaps for lack of memory", trial)
        params = dict(trial.params) if draft.params is None else draft.params
        try:
            return _Claim(series, draft, series.config(params, start), trial)
        except InputError as error:  # what each range allows may not go together
            return _Claim(series, draft, str(error), trial)

    @functools.cached_property
    def _names(self) -> list[str]:
        """The names of all series of the study, also of those that others work on."""
        return [series.name for series in expand(self.storage.declaration)]

    def _spent(self) -> float:
        """Return the seconds of training of the whole study."""
        found = (attempt.facts.get("seconds") for name in self._names for attempt in self.storage.attempts(name))
        return math.fsum(seconds for seconds in found if seconds is not None)

    def _do(self, claim: _Claim) -> None:
        series, draft, storage = claim.series, claim.draft, self.storage
        if isinstance(claim.config, str):
            storage.finish(claim.trial, "FAIL", {"reason": claim.config})
            self.tell(Event("ended", series.name, draft.number, claim.config, failed=True))
            return
        self.tell(Event("begun", series.name, draft.number))
        job = Job(f"{series.name}, trial {draft.number}", claim.config, self.run_folder(series, draft), test=series.test)
        with _Heartbeat(storage, claim.trial) as heartbeat:
            try:
                data = self._load(series, claim.config)
                outcome, job = self._perform(job, data, claim, heartbeat)
            except _Lost:
                self.tell(Event("said", text=f"{job.name} was taken over by another worker"))
                return
            except _Pruned:
                self._pruned(job, claim)
                return
            except BaseException:  # broken off: nothing is wrong with the trial
                with contextlib.suppress(Exception):
                    storage.finish(claim.trial, "FAIL", {})
                raise
            self._report(outcome, claim)
            if outcome.failure is not None:
                _check_device(job.config)

    def _perform(self, job: Job, data: Data, claim: _Claim, heartbeat: _Heartbeat) -> tuple[Outcome, Job]:
        """Train; return what came of it, and the job with the folder that it was done in."""
        look = self._watch(job, claim, heartbeat)
        began, told = time.monotonic(), False
        while True:
            try:
                return perform(job, data, look, _NOT_THE_TRIALS), job
            except Busy:  # the process that was thought gone is still at it: what it finishes is found here
                if heartbeat.lost:
                    raise _Lost from None
                if not told:
                    self.tell(Event("said", text=f"{job.name}: waiting for the process that was thought gone and holds its folder"))
                    told = True
                if time.monotonic() - began > _PATIENCE_BEATS * self.storage.heartbeat:  # it may be stopped for good
                    job = replace(job, out=job.out.with_name(f"{job.out.name}-again"))
                time.sleep(min(_POLL, self.storage.heartbeat))
            except UnusableRun as error:
                self.tell(Event("said", text=f"{job.name} is begun anew: {error}"))
                _put_aside(job.out)

    def _watch(self, job: Job, claim: _Claim, heartbeat: _Heartbeat) -> Callable[[Mapping[str, Any]], None]:
        """Return what is called after every epoch, and ends an attempt that no longer counts or is pruned."""
        pruner = self.storage.pruner() if claim.series.kind == "search" else None
        if pruner is not None:
            claim.trial.study.pruner = pruner

        def look(record: Mapping[str, Any]) -> None:
            if heartbeat.lost:
                raise _Lost
            score = record["scores"]["val"].get(head_of(job.config))
            if pruner is not None and score is not None and self.storage.should_prune(claim.trial, score, int(record["epoch"])):
                raise _Pruned

        return look

    def _report(self, outcome: Outcome, claim: _Claim) -> None:
        series, number, job = claim.series, claim.draft.number, outcome.job
        known = outcome.cost if outcome.cost.seconds is not None else _cost_so_far(job.out)
        facts: dict[str, Any] = {"seconds": known.seconds, "steps": known.steps, "run": _packed(job.out, job.config)}
        score = None
        if outcome.failure is None:
            trial = TrialRecord(number, "complete", run=read_run(job.out, series.label))
            score = trial.score()
            facts |= {"score": score, "loss": trial.loss, "test": trial.score("test")}
        reason = outcome.failure if outcome.failure is not None else "its validation score is undefined" if score is None else None
        if reason is None:
            counts = self.storage.finish(claim.trial, "COMPLETE", facts, score)
        else:
            details = {} if outcome.details is None else {"details": outcome.details}
            counts = self.storage.finish(claim.trial, "FAIL", {**facts, **details, "reason": reason})
        if not counts:
            self.tell(Event("said", text=f"{job.name} was taken over by another worker"))
            return
        _drop_checkpoints(job.out, keep_best=series.kind != "search")
        text = reason if reason is not None else f"{100 * (score or 0.0):.1f} % on validation"
        self.tell(Event("ended", series.name, number, text, failed=reason is not None, what=_settings(claim)))

    def _pruned(self, job: Job, claim: _Claim) -> None:
        # Of several values that are noted with a trial Optuna takes the last one as its result.
        cost = cost_of(read_run(job.out).epochs)
        facts = {"seconds": cost.seconds, "steps": cost.steps, "run": _packed(job.out, job.config)}
        counts = self.storage.finish(claim.trial, "PRUNED", facts)
        if counts:
            _drop_checkpoints(job.out, keep_best=False)
            self.tell(Event("ended", claim.series.name, claim.draft.number, "pruned"))

    def _load(self, series: Series, config: Mapping[str, Any]) -> Data:
        if series.data not in self.data:
            self.data.clear()  # one at a time: several may not fit into memory
            self.data[series.data] = load_data(config, self.data_dir)
        return self.data[series.data]

    def run_folder(self, series: Series, draft: Draft) -> Path:
        """Return the run folder of a trial."""
        plain = draft.key == str(draft.number)
        mark = "" if plain else f"-{hashlib.sha256(draft.key.encode()).hexdigest()[:8]}"
        return self.folder / "runs" / series.name / f"trial-{draft.number:03d}{mark}"


class _Heartbeat:
    """Says again and again that an attempt is alive, and notices when others have given it up."""

    def __init__(self, storage: Storage, trial: Any) -> None:
        self.lost = False
        self._storage = storage
        self._trial = trial
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)

    def _go(self) -> None:
        while not self._end.wait(self._storage.heartbeat):
            if not self._storage.beat(self._trial):
                self.lost = True
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def _settings(claim: _Claim) -> str:
    if claim.series.kind == "search":
        return ""
    return ", ".join(f"{path.rpartition('.')[2]} {value:g}" for path, value in (claim.draft.params or {}).items())


def _packed(folder: Path, config: Mapping[str, Any]) -> str:
    """Return what a run folder holds; of a run that never began, its configuration."""
    content: dict[str, Any] = {"config": config, "epochs": [], "result": None, "environment": environment()}
    if (folder / "config.yaml").is_file():
        run = read_run(folder)
        content |= {"config": run.config, "epochs": run.epochs, "result": run.result}
        with contextlib.suppress(OSError, ValueError):
            content["environment"] = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    return pack(content)


def _cost_so_far(folder: Path) -> Cost:
    """Return what the epochs of a run took that are on disk."""
    epochs = read_run(folder).epochs if (folder / "config.yaml").is_file() else ()
    return cost_of(epochs) if epochs else Cost(0.0, 0)


def _put_aside(folder: Path) -> None:
    """Give a run folder that cannot be gone on with another name; nothing of it is lost."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.unusable-{number}")).exists():
        number += 1
    try:
        folder.rename(aside)
    except OSError as error:
        raise CannotWrite(f"cannot rename {folder}: {error.strerror or error}") from None


def _check_device(config: Mapping[str, Any]) -> None:
    """Refuse to go on where an error has left the GPU unusable for this process: every further trial would fail.

    :raises DeviceLost: then.
    """
    import torch

    if not str(config["device"]).startswith("cuda"):
        return
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except Exception as error:
        raise DeviceLost(f"the GPU cannot be used any more by this process ({first_line(error)}): the same command goes on") from None


def _epochs_done(folder: Path) -> int:
    """Return how many epochs of a run are on this machine's disk."""
    try:
        return (folder / "metrics.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def _drop_checkpoints(folder: Path, *, keep_best: bool) -> None:
    """Remove what only going on would need: the weights of thousands of trials fill any disk."""
    for name in ("last.pt",) if keep_best else ("last.pt", "best.pt"):
        with contextlib.suppress(OSError):
            (folder / name).unlink()
