"""Processes that do jobs: they end with the process that started them, and one that dies takes only its own job with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from equimodal.errors import InputError, first_line

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from equimodal.study.jobs import Data, Job, Outcome

__all__ = ["IN_A_SCRIPT", "Spawned", "Workers", "end_with_parent"]

_READY = "ready"

IN_A_SCRIPT = "in a script, start the work below if __name__ == '__main__':, or use one process, workers=1"
"""Why a process may end before it begins: it reads the script anew, and would start the work once more."""


class Spawned:
    """Processes that begin alike, with a pipe to each; they end with the ``with`` block.

    :param target: what each does, given its end of the pipe and the arguments.
    :param arguments: the same for all.
    """

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.target = target
        self.arguments = arguments
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for pipe in list(self._processes):
            self.end(pipe)

    @property
    def pipes(self) -> list[Any]:
        """The pipes of those that are there."""
        return list(self._processes)

    def start(self) -> Any:
        """Begin one more, and return its pipe."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=self.target, args=(theirs, *self.arguments), daemon=True)
        process.start()
        theirs.close()
        self._processes[ours] = process
        return ours

    def end(self, pipe: Any) -> int | None:
        """Wait for the end of one, and return its exit code."""
        process = self._processes.pop(pipe)
        process.join()
        code = process.exitcode
        process.close()
        pipe.close()
        return code

    def speaking(self) -> list[Any]:
        """Wait until one says something or ends, and return the pipes of all that do."""
        return list(connection.wait(list(self._processes)))


class Workers:
    """A few processes, each of which does one job at a time.

    :param number: how many.
    :param data: the data set with its splits, a copy of which goes to each process; otherwise each loads them.
    :param data_dir: where data are loaded from.
    """

    def __init__(self, number: int, data: Data | None, data_dir: Path | None) -> None:
        self.number = number
        self.data_dir = data_dir
        try:
            # Plain bytes: torch would otherwise lend its tensors' memory to the other processes.
            self._data = None if data is None else pickle.dumps(data)
        except Exception as error:  # what pickle cannot hold it says in several classes of exception
            said = first_line(error)
            raise InputError(f"the data cannot be sent to other processes: {said}; use one process, workers=1") from None
        self._spawned = Spawned(_work, (self._data, data_dir))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self._spawned.__exit__(*problem)

    def do(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Outcome | str]]:
        """Yield each job's number and outcome as it is done; a reason in words where its process died.

        :raises InputError: when processes cannot be started.
        """
        waiting, at_work, begun = deque(range(len(jobs))), dict[Any, int](), set[Any]()
        for _ in range(self.number):
            self._spawned.start()
        while waiting or at_work:
            for pipe in self._spawned.speaking():
                try:
                    answer = pipe.recv()
                except (EOFError, OSError):
                    code = self._spawned.end(pipe)
                    if pipe not in begun:
                        raise InputError(f"a worker process ended with exit code {code} before it began: {IN_A_SCRIPT}") from None
                    if pipe in at_work:
                        yield at_work.pop(pipe), f"its process was ended from outside (exit code {code}), perhaps for lack of memory"
                    if waiting:
                        self._spawned.start()
                    continue
                begun.add(pipe)
                if answer != _READY:
                    yield at_work.pop(pipe), answer
                if waiting:
                    at_work[pipe] = waiting.popleft()
                    with contextlib.suppress(OSError):  # a process that has died meanwhile is met above
                        pipe.send(jobs[at_work[pipe]])


def _work(pipe: Connection, pickled: bytes | None, data_dir: Path | None) -> None:
    """Do jobs as they come, in a process of its own."""
    with contextlib.suppress(ValueError, AttributeError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the one that started this one ends it
    threading.Thread(target=end_with_parent, daemon=True).start()
    from equimodal.study.jobs import Outcome, perform
    from equimodal.train.config import load_data

    data: Data | None = None if pickled is None else pickle.loads(pickled)
    pipe.send(_READY)
    while True:
        try:
            job: Job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            data = data if data is not None else load_data(job.config, data_dir)
        except Exception as error:  # the process that started this one could load them
            pipe.send(Outcome(job, failure=f"the data cannot be loaded: {first_line(error)}"))
        else:
            pipe.send(perform(job, data))


def end_with_parent() -> None:
    """End at once when the process that started this one is gone, so that the same command finds its run folders free."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
