"""Processes that do jobs: they end with the process that started them, and one that dies takes only its own job with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from equimodal.errors import InputError, first_line

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from equimodal.study.jobs import Data, Job, Outcome

__all__ = ["Workers", "end_with_parent"]

_READY = "ready"


class Workers:
    """A few processes, each of which does one job at a time.

    :param number: how many.
    :param data: the data set with its splits, a copy of which goes to each process; otherwise each loads them.
    :param data_dir: where data are loaded from.
    """

    def __init__(self, number: int, data: Data | None, data_dir: Path | None) -> None:
        self.number = number
        self.data_dir = data_dir
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[Connection, BaseProcess] = {}
        try:
            # Plain bytes: torch would otherwise lend its tensors' memory to the other processes.
            self._data = None if data is None else pickle.dumps(data)
        except Exception as error:  # what pickle cannot hold it says in several classes of exception
            said = first_line(error)
            raise InputError(f"the data cannot be sent to other processes: {said}; use one process, workers=1") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe, process in self._processes.items():
            process.terminate()
            process.join()
            process.close()
            pipe.close()
        self._processes.clear()

    def do(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Outcome | str]]:
        """Yield each job's number and outcome as it is done; a reason in words where its process died.

        :raises InputError: when processes cannot be started.
        """
        waiting, at_work, begun = deque(range(len(jobs))), dict[Any, int](), set[Any]()
        for _ in range(self.number):
            self._start()
        while waiting or at_work:
            ready: list[Any] = connection.wait(list(self._processes))
            for pipe in ready:
                try:
                    answer = pipe.recv()
                except (EOFError, OSError):
                    code = self._end(pipe)
                    if pipe not in begun:
                        raise InputError(
                            f"a worker process ended with exit code {code} before it began: in a script, start the work below "
                            "if __name__ == '__main__':, or use one process, workers=1"
                        ) from None
                    if pipe in at_work:
                        yield at_work.pop(pipe), f"its process was ended from outside (exit code {code}), perhaps for lack of memory"
                    if waiting:
                        self._start()
                    continue
                begun.add(pipe)
                if answer != _READY:
                    yield at_work.pop(pipe), answer
                if waiting:
                    at_work[pipe] = waiting.popleft()
                    with contextlib.suppress(OSError):  # a process that has died meanwhile is met above
                        pipe.send(jobs[at_work[pipe]])

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._data, self.data_dir), daemon=True)
        process.start()
        theirs.close()
        self._processes[ours] = process

    def _end(self, pipe: Any) -> int | None:
        process = self._processes.pop(pipe)
        process.join()
        code = process.exitcode
        process.close()
        pipe.close()
        return code


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
