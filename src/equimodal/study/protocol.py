"""Running a study: checks before anything is trained, then workers in this process or several, until nothing is left."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from equimodal._files import write_whole
from equimodal.errors import InputError, MissingDependency, first_line, nearest
from equimodal.study.jobs import checked_count
from equimodal.study.locks import hidden
from equimodal.study.series import Series, check_fit, expand
from equimodal.study.storage import Storage, default_url
from equimodal.study.work import DeviceLost, Event, Worker
from equimodal.study.workers import IN_A_SCRIPT, Spawned, end_with_parent
from equimodal.train.config import load_data

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from equimodal.study.declaration import Declaration
    from equimodal.study.jobs import Data

__all__ = ["OnEvent", "needed", "open_storage", "run_study"]

OnEvent = Callable[[Event], None]

_GO = "go"

_MOST_DEATHS = 5
"""So many worker processes in a row may end before they have done anything."""


def needed(series: Sequence[Series], names: Iterable[str] | None) -> list[Series]:
    """Return the series of these names with all that they need; every one for None.

    :raises InputError: for a name that is none of theirs.
    """
    if names is None:
        return list(series)
    by_name = {one.name: one for one in series}
    wanted: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in by_name:
            raise InputError(f"the study has no series {name!r}: {nearest(name, by_name)}")
        if name not in wanted:
            wanted.add(name)
            waiting += by_name[name].needs
    return [one for one in series if one.name in wanted]


def open_storage(
    declaration: Declaration, folder: Path, url: str | None = None, say: Callable[[str], None] | None = None, *, wait: bool = False
) -> Storage:
    """Return the storage of a study, by default that in its folder.

    :param say: is told, once, that the database is away, and that it is back.
    :param wait: whether one that is away at first is waited for too.
    :raises InputError: when it cannot be used, or holds another study.
    """
    storage = Storage(url or default_url(folder), declaration, say, wait=wait)
    storage.check()
    return storage


def run_study(
    declaration: Declaration,
    folder: str | Path,
    *,
    workers: int = 1,
    url: str | None = None,
    data_dir: Path | None = None,
    only: Iterable[str] | None = None,
    on_event: OnEvent | None = None,
) -> bool:
    """Do the trials of a study until none is left; the same call, here or on other machines, shares the work and goes on after a kill.

    :param declaration: the study.
    :param folder: where run folders go, and, without a URL, the storage.
    :param workers: how many processes of this machine share the work. The numbers are the same with any.
    :param url: the storage, ``sqlite:///FILE`` or ``postgresql://…``; by default ``study.db`` in the folder.
    :param data_dir: where the data sets' files are.
    :param only: the names of the series that are wanted, such as ``"avdigits/concat/miles"``; what they need is done too.
    :param on_event: is told what happens.
    :returns: whether all of them have ended; False where the budget is spent.
    :raises InputError: for what does not go together, before anything is trained; and when the storage, the data or the folder cannot be
        used.
    """
    workers, folder = checked_count(workers, "workers"), Path(folder)
    tell = on_event or (lambda _: None)
    series = needed(expand(declaration), only)
    check_fit(series, {})

    def opened() -> Storage:
        return open_storage(declaration, folder, url, lambda text: tell(Event("said", text=text)))

    # A storage that is there says in a moment whether it is the right one; where there is none, nothing is made before all is checked.
    storage = opened() if url is not None or (folder / "study.db").exists() else None
    if (folder / "runs").exists() and (storage is None or not storage.begun):
        held = hidden(url) if url is not None else "study.db"
        raise InputError(f"{folder} holds runs that {held} knows nothing of: choose an empty or new folder, or remove its folder 'runs'")
    names = None if only is None else [one.name for one in series]
    with contextlib.ExitStack() as at_the_end:
        # Other processes start up while this one loads and checks the data, and begin when they are told to.
        crew = None if workers == 1 else at_the_end.enter_context(_Crew(workers, (declaration, str(folder), url, data_dir, names), tell))
        data = _checked_data(declaration, series, data_dir)
        _make(folder)
        storage = storage or opened()
        at_the_end.callback(storage.close)
        storage.begin()
        storage.patiently(lambda: _describe(storage, folder))
        if crew is None:
            return Worker(storage, series, folder, data_dir=data_dir, data=data, on_event=on_event).work()
        data.clear()
        return crew.work()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror or error}; choose another with --out") from None


def _describe(storage: Storage, folder: Path) -> None:
    """Write the study's file beside its runs, for people."""
    with storage.locked():  # several may begin in the same moment
        write_whole(folder / "study.json", json.dumps(storage.declaration.file, indent=2) + "\n")


def _checked_data(declaration: Declaration, series: Sequence[Series], data_dir: Path | None) -> dict[str, Data]:
    """Load every data set once and try all rows on it; return the first one, which is needed first."""
    kept: dict[str, Data] = {}
    for label in dict.fromkeys(one.data for one in series):
        loaded = load_data(declaration.base(label), data_dir)
        check_fit([one for one in series if one.data == label], {label: loaded})
        kept = kept or {label: loaded}
    return kept


class _Crew:
    """Several worker processes of one machine, which are there from the start; one that is ended from outside is replaced."""

    def __init__(self, number: int, arguments: tuple[Any, ...], tell: OnEvent) -> None:
        self.tell = tell
        self._number = number
        self._spawned = Spawned(_work, arguments)
        self._in_vain = 0

    def __enter__(self) -> Self:
        for _ in range(self._number):
            self._spawned.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._spawned.__exit__(*problem)

    def work(self) -> bool:
        """Let them work until each finds nothing left to do.

        :returns: whether the study is done; False where its budget is spent.
        """
        done = True
        for pipe in self._spawned.pipes:
            self._let_go(pipe)
        while self._spawned.pipes:
            for pipe in self._spawned.speaking():
                try:
                    kind, content = pipe.recv()
                except (EOFError, OSError):
                    self._replace(pipe)
                    continue
                if kind == "done":
                    done = done and bool(content)
                    self._spawned.end(pipe)
                else:
                    self._hear(kind, content)
        return done

    def _let_go(self, pipe: Any) -> None:
        with contextlib.suppress(OSError):  # one that has died meanwhile is met above
            pipe.send(_GO)

    def _hear(self, kind: str, content: Any) -> None:
        if kind == "missing":
            raise MissingDependency(content)
        if kind == "error":
            raise InputError(content)
        # A trial that ends every process that begins it is met by the number of its attempts.
        self._in_vain = self._in_vain if content.kind == "said" else 0
        self.tell(content)

    def _replace(self, pipe: Any) -> None:
        code = self._spawned.end(pipe)
        self._in_vain += 1
        if self._in_vain > _MOST_DEATHS:
            raise InputError(f"{self._in_vain} worker processes in a row ended before they began, with exit code {code}: {IN_A_SCRIPT}")
        self.tell(Event("said", text=f"a worker process was ended from outside (exit code {code}); another takes its place"))
        self._let_go(self._spawned.start())


def _work(
    pipe: Connection, declaration: Declaration, folder: str, url: str | None, data_dir: Path | None, only: Sequence[str] | None
) -> None:
    """Work in a process of its own."""
    with contextlib.suppress(ValueError, AttributeError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the one that started this one ends it
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        pipe.recv()
    except EOFError:  # it was not to be
        return

    def tell(event: Event) -> None:
        pipe.send(("event", event))

    try:
        storage = open_storage(declaration, Path(folder), url, lambda text: tell(Event("said", text=text)), wait=True)
        done = Worker(storage, needed(expand(declaration), only), Path(folder), data_dir=data_dir, on_event=tell).work()
    except MissingDependency as error:
        pipe.send(("missing", str(error)))
    except DeviceLost:
        sys.exit(1)  # another process takes its place
    except InputError as error:
        pipe.send(("error", str(error)))
    except OSError as error:
        pipe.send(("error", f"{first_line(error)}"))
    else:
        pipe.send(("done", done))
