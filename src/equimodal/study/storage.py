"""Where a study's trials are kept: an Optuna storage that any number of processes and machines share.

Each series is one Optuna study, and each attempt at a trial one Optuna trial, so that Optuna's own tools show them. Attempts are begun
under a lock of the database. An attempt whose process is gone (its heartbeat has ended, or it was on this machine and is no more) counts
as broken off, and the trial is begun again by whoever asks next. A trial counts once: its first complete attempt.
"""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from equimodal import __version__
from equimodal.errors import InputError, StorageAway, first_line, require
from equimodal.study.locks import engine_options, hidden, lock_of
from equimodal.study.machine import is_gone, own_mark
from equimodal.study.samplers import make_pruner, make_sampler, optuna_distribution
from equimodal.train.record import plain
from equimodal.train.seeds import derived_seed

if TYPE_CHECKING:
    from equimodal.methods.space import Distribution
    from equimodal.study.declaration import Declaration
    from equimodal.study.series import Draft, Series

__all__ = ["Attempt", "Storage", "default_url"]

T = TypeVar("T")

FORMAT = 1
PATIENCE = 600.0
"""For how many seconds a database that is away is waited for."""

_GRACE = 3
"""After so many heartbeats in a row that did not come, a process counts as lost."""

_ROOT = "equimodal"
_FORGIVEN = "forgiven"
_TEXT_LIMIT = 2000
_NEVER_PASSES = ("readonly", "read-only", "permission denied", "no such table", "is full", "malformed", "not a database")


def default_url(folder: Path) -> str:
    """Return the storage that a study in a folder has by default, an SQLite file."""
    return f"sqlite:///{(folder / 'study.db').absolute()}"


@dataclass(frozen=True)
class Attempt:
    """One attempt at a trial, as the storage has it.

    :param number: the trial's number in its series.
    :param key: see :class:`equimodal.study.series.Draft`.
    :param order: its number among all attempts of the series.
    :param state: Optuna's word for its state, such as ``"COMPLETE"``.
    :param facts: what was noted with it.
    :param forgiven: whether it failed, and the trial was to be begun again.
    """

    number: int
    key: str
    order: int
    state: str
    params: Mapping[str, Any]
    facts: Mapping[str, Any]
    started: Any = None
    ended: Any = None
    forgiven: bool = False

    @property
    def final(self) -> bool:
        """Whether it settles its trial."""
        return self.state in ("COMPLETE", "PRUNED") or (self.state == "FAIL" and "reason" in self.facts)


class Storage:
    """The storage of one study.

    :param url: of SQLite (``sqlite:///FILE``) or PostgreSQL (``postgresql://USER:PASSWORD@HOST/DATABASE``).
    :param declaration: the study.
    :param say: is told, once, that the database is away, and that it is back.
    :param wait: whether one that is away is waited for here too, as by a process that begins while it restarts.
    :raises InputError: when it cannot be reached, or is of another kind.
    """

    def __init__(self, url: str, declaration: Declaration, say: Callable[[str], None] | None = None, *, wait: bool = False) -> None:
        self.url = url
        self.name = declaration.name
        self.declaration = declaration
        self._say = say or (lambda _: None)
        self._optuna = require("optuna", extra="study")
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        self._errors = _errors_of_storages()
        self.begun = False
        """Whether the study was there when it was last asked for."""
        self._studies: dict[str, Any] = {}
        self._inside = threading.local()
        self._lock, engine = lock_of(url, self.name)
        interval = int(declaration.file["heartbeat"])

        def connect() -> None:
            with self._lock.held(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # heartbeats are marked as experimental
                self._backend = self._optuna.storages.RDBStorage(
                    engine, engine_kwargs=engine_options(url), heartbeat_interval=interval, grace_period=_GRACE * interval
                )
                self._storage = self._optuna.storages.get_storage(self._backend)

        try:
            if wait:
                self.patiently(connect)
            else:
                connect()
        except InputError:
            raise
        except Exception as error:  # drivers raise errors of their own
            raise InputError(
                f"the storage {hidden(url)} cannot be used: {_reason(error)}; is it the right address, and is it running?"
            ) from None
        self.heartbeat = interval

    def close(self) -> None:
        """Let go of the connections of this thread and of idle ones; what is asked afterwards makes new ones."""
        self._storage.remove_session()
        self._backend.engine.dispose()

    # -- the study as a whole

    def begin(self) -> None:
        """Write down what the study is, or check that it is the one that is there.

        :raises InputError: when the storage holds another one of that name, or was begun from another file; in an SQLite file, when it
            holds another study at all.
        """

        def go() -> None:
            with self.locked():
                earlier = self._declared()
                if earlier is not None:
                    self.declaration.check_extends(earlier)
                root = self._study(_ROOT)
                content = {"format": FORMAT, "equimodal": __version__, "file": dict(self.declaration.file)}
                if earlier != plain(content["file"]):
                    root.set_user_attr("declaration", json.dumps(plain(content)))
                self.begun = True

        self.patiently(go)

    def check(self) -> bool:
        """Check that the storage does not hold another study; nothing is written.

        :returns: whether this one is there.
        :raises InputError: see :meth:`begin`.
        """
        earlier = self.patiently(self._declared)
        if earlier is not None:
            self.declaration.check_extends(earlier)
        self.begun = earlier is not None
        return self.begun

    def _declared(self) -> Mapping[str, Any] | None:
        """Return the file that the study was begun with; None where it was not begun."""
        summaries = {
            summary.study_name: summary for summary in self._optuna.get_all_study_summaries(self._storage, include_best_trial=False)
        }
        mine = summaries.get(self._named(_ROOT))
        if mine is None:
            others = sorted(name.partition(":")[0] for name in summaries)
            if others and self.url.startswith("sqlite"):
                raise InputError(
                    f"the storage {hidden(self.url)} belongs to the study {others[0]!r}: choose another file for {self.name!r}"
                )
            return None
        if "declaration" not in mine.user_attrs:  # its process was killed before it wrote more
            return None
        try:
            found = json.loads(mine.user_attrs["declaration"])
            if found["format"] == FORMAT and isinstance(found["file"], dict):
                return dict(found["file"])
        except (KeyError, ValueError, TypeError):
            pass
        raise InputError(f"the storage {hidden(self.url)} holds a study {self.name!r} of another version: choose another storage")

    def _named(self, series: str) -> str:
        return f"{self.name}: {series}"

    def _study(self, series: str) -> Any:
        if series not in self._studies:
            self._studies[series] = self._optuna.create_study(
                storage=self._storage, study_name=self._named(series), direction="maximize", load_if_exists=True
            )
        return self._studies[series]

    # -- attempts

    def attempts(self, series: str) -> list[Attempt]:
        """Return all attempts at the trials of a series."""
        return self.patiently(lambda: self._attempts(series))

    def _attempts(self, series: str) -> list[Attempt]:
        try:
            study = self._studies.get(series) or self._optuna.load_study(storage=self._storage, study_name=self._named(series))
        except KeyError:
            return []
        self._studies[series] = study
        forgiven = set(study.user_attrs.get(_FORGIVEN, ()))
        return [_attempt(trial, forgiven=trial.number in forgiven) for trial in study.get_trials(deepcopy=False)]

    def forgive(self, series: str) -> int:
        """Let the failed trials of a series be begun again; return how many there were."""

        def go() -> int:
            with self.locked():
                failed = [attempt.order for attempt in self._attempts(series) if attempt.state == "FAIL" and attempt.final]
                if failed:
                    study = self._study(series)
                    study.set_user_attr(_FORGIVEN, sorted({*study.user_attrs.get(_FORGIVEN, ()), *failed}))
                return len(failed)

        return self.patiently(go)

    def claim(self, series: Series, draft: Draft, busy: Sequence[Attempt], epoch: int = 0) -> Any:
        """Begin an attempt at a trial; call it under :meth:`locked`.

        :param busy: the attempts of the series that came to nothing; a sampler's draws of those at this trial are used again.
        :param epoch: how many of its epochs earlier attempts have done, as far as is known here.
        :returns: the trial of Optuna.
        """
        study = self._study(series.name)
        facts = {"key": draft.key, "number": draft.number, "mark": own_mark(), "epoch": epoch, "began_at": _now()}
        params, distributions = draft.params, {path: optuna_distribution(space) for path, space in series.distributions.items()}
        if params is None:
            broken = [attempt for attempt in busy if attempt.key == draft.key and set(attempt.params) == set(distributions)]
            params = dict(broken[-1].params) if broken else None
        if series.kind != "search":
            distributions = {path: _point(value) for path, value in (params or {}).items()}
        if params is None:
            study.sampler = make_sampler(
                self.declaration.file["sampler"], derived_seed(series.root, "sampler", series.name, draft.key) % 2**32
            )
        else:
            study.enqueue_trial(dict(params), user_attrs=facts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            while True:
                trial = study.ask()
                if trial.user_attrs.get("key") == (None if params is None else draft.key):
                    break
                # Another process was killed between putting this one there and taking it.
                study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            for path, distribution in distributions.items():
                _suggest(trial, path, distribution)
        for name, value in facts.items():  # also where it was put there, perhaps by a process that was killed
            if trial.user_attrs.get(name) != value:
                trial.set_user_attr(name, value)
        self._storage.record_heartbeat(trial._trial_id)
        trial.set_user_attr("begun", True)
        return trial

    def bury(self, series: str) -> None:
        """Give up the attempts of a series whose processes are gone; call it under :meth:`locked`."""
        if not any(attempt.state == "RUNNING" for attempt in self._attempts(series)):
            return
        study = self._study(series)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._optuna.storages.fail_stale_trials(study)
        for attempt in self._attempts(series):
            if attempt.state != "RUNNING":
                continue
            # One that was not wholly begun was being begun by a process that held the lock, and no longer does.
            # This process asks for work, so it is at work on nothing; a claim that it could not be sure of is one of its own.
            mark = attempt.facts.get("mark") or {}
            if "begun" not in attempt.facts or mark == own_mark() or is_gone(mark):
                self._end(study, attempt.order, self._optuna.trial.TrialState.FAIL)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from beginning attempts in the meantime."""
        with self._lock.held():
            self._inside.lock = True
            try:
                yield
            except self._optuna.exceptions.UpdateFinishedTrialError as error:
                # The lock was lost unnoticed, as on a machine that slept, and others gave up what was being begun.
                raise self._optuna.exceptions.StorageInternalError("an attempt was given up while it was begun") from error
            finally:
                self._inside.lock = False

    def beat(self, trial: Any) -> bool:
        """Record that an attempt is alive; tell whether it still counts, as far as is known while the database is away."""
        try:
            self._storage.record_heartbeat(trial._trial_id)
            return not self._storage.get_trial(trial._trial_id).state.is_finished()
        except Exception:  # whatever it is, to go on beating is better than to be thought dead
            return True

    def should_prune(self, trial: Any, score: float, step: int) -> bool:
        """Note a score with an attempt, and tell whether the study's pruner ends it."""

        def go() -> bool:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it was noted before the database went away
                trial.report(score, step)
            return bool(trial.should_prune())

        return self.patiently(go)

    def finish(self, trial: Any, state: str, facts: Mapping[str, Any], value: float | None = None) -> bool:
        """End an attempt.

        :param state: ``"COMPLETE"``, ``"FAIL"`` or ``"PRUNED"``.
        :param facts: what came of it.
        :returns: whether it counts; not where it was given up meanwhile.
        """
        wanted = self._optuna.trial.TrialState[state]
        study = trial.study

        def go() -> bool:
            found = self._storage.get_trial(trial._trial_id)
            if found.state.is_finished():  # given up by others; or done by us, and the database went away before it said so
                return bool(
                    found.state == wanted and found.user_attrs.get("mark") == own_mark() and facts.keys() <= found.user_attrs.keys()
                )
            for name, fact in {**facts, "ended_at": _now()}.items():
                trial.set_user_attr(name, fact[:_TEXT_LIMIT] if name == "reason" else fact)
            return self._end(study, trial.number, wanted, value)

        try:
            return self.patiently(go)
        except self._optuna.exceptions.UpdateFinishedTrialError:
            return False

    def _end(self, study: Any, number: int, state: Any, value: float | None = None) -> bool:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                study.tell(number, value, state=state)
        except (ValueError, self._optuna.exceptions.UpdateFinishedTrialError):  # others were first
            return False
        return True

    def pruner(self) -> Any:
        """Return the pruner of the study; None without one."""
        part = self.declaration.file["pruner"]
        return None if part is None else make_pruner(part)

    def patiently(self, action: Callable[[], T]) -> T:
        """Do something with the storage, again and again while the database is away; under :meth:`locked` once.

        :raises StorageAway: when it has been away for too long.
        :raises InputError: for a trouble that does not pass, such as a file that cannot be written.
        """
        if getattr(self._inside, "lock", False):
            return action()  # a database that was away has let go of the lock: whoever waits does so from before it was taken
        began, told = time.monotonic(), False
        while True:
            try:
                found = action()
            except self._errors as error:
                if any(words in _reason(error).lower() for words in _NEVER_PASSES):
                    raise InputError(f"the storage {hidden(self.url)} cannot be used: {_reason(error)}") from None
                if time.monotonic() - began > PATIENCE:
                    raise StorageAway(f"the storage {hidden(self.url)} has been away for {PATIENCE:.0f} s: {_reason(error)}") from None
                if not told:
                    self._say(f"the storage does not answer ({_reason(error)}); waiting for it")
                    told = True
                time.sleep(0.5)
            else:
                if told:
                    self._say("the storage is back")
                return found


def _errors_of_storages() -> tuple[type[Exception], ...]:
    optuna = require("optuna", extra="study")
    sqlalchemy = require("sqlalchemy.exc", extra="study")
    return (optuna.exceptions.StorageInternalError, sqlalchemy.OperationalError, sqlalchemy.InterfaceError, sqlalchemy.InternalError)


def _reason(error: BaseException) -> str:
    found: BaseException = error
    while found.__cause__ is not None:
        found = found.__cause__
    return first_line(found)


def _now() -> str:
    # Optuna's own times are those of the machine's zone, which it does not say.
    return datetime.now(UTC).isoformat(timespec="seconds")


def _attempt(trial: Any, *, forgiven: bool) -> Attempt:
    facts = {name: fact for name, fact in trial.user_attrs.items() if not (forgiven and name == "reason")}
    return Attempt(
        number=int(facts.get("number", -1)),
        key=str(facts.get("key", "")),
        order=trial.number,
        state=trial.state.name,
        params=dict(trial.params),
        facts=facts,
        started=trial.datetime_start,
        ended=trial.datetime_complete,
        forgiven=forgiven,
    )


def _point(value: Any) -> Distribution | Any:
    """Return a range of Optuna that holds one value."""
    distributions = require("optuna.distributions", extra="study")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return distributions.CategoricalDistribution((value,))
    if isinstance(value, int):
        return distributions.IntDistribution(value, value)
    return distributions.FloatDistribution(value, value)


def _suggest(trial: Any, path: str, distribution: Any) -> Any:
    if hasattr(distribution, "choices"):
        return trial.suggest_categorical(path, distribution.choices)
    if isinstance(distribution.low, int) and isinstance(distribution.high, int):
        return trial.suggest_int(path, distribution.low, distribution.high)
    return trial.suggest_float(path, distribution.low, distribution.high, log=distribution.log)
