"""A process that measures a run's checkpoints beside the one that shows them; torch is needed there alone."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from equimodal.diagnose.measured import Measured
from equimodal.errors import InputError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NICE", "REST", "Beside"]

REST = 4.0
"""After a measurement that took s seconds comes a rest of at least so many times s: at most a fifth of the time is spent measuring."""

NICE = 19
"""How much lower its priority is while a run goes on: it then takes what a training leaves of the cores, and next to nothing else."""

_GRACE = 5.0
"""So many seconds a process that closed its output has to end, and one that was killed to be gone."""

# Ctrl-C reaches every process of a terminal: this one is ended by the one that asks.
_PROGRAM = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
if hasattr(os, "nice"):
    os.nice(int(sys.argv[2]))
sys.path[:] = sys.argv[3:]
from equimodal.diagnose.live import serve
serve(sys.argv[1])
"""


class Beside:
    """Measures a run's checkpoint whenever there is a new one and the last measurement is long enough ago.

    Another process does it, so that the terminal is redrawn meanwhile, Ctrl-C ends it at once, and nothing that data or model do can
    garble the screen. It is started for the first checkpoint.

    :param folder: the run's folder.
    :param options: of :class:`equimodal.diagnose.live.Live`, as plain values.
    :param rest: see :data:`REST`.
    :param clock: returns seconds.
    :ivar measured: what was measured last; None before the first time.
    :ivar reason: why the last measurement failed, in one line; None where it did not.
    """

    def __init__(
        self, folder: Path, options: dict[str, Any] | None = None, *, rest: float = REST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = folder
        self.options = {"folder": str(folder), **(options or {})}
        self.rest = rest
        self.clock = clock
        self.measured: Measured | None = None
        self.reason: str | None = None
        self.final = False
        self._errors: IO[bytes] | None = None
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._asked: tuple[Any, ...] | None = None
        self._asked_at = 0.0
        self._busy = False
        self._rest_until = -float("inf")

    @property
    def busy(self) -> bool:
        """Whether something is being measured."""
        return self._busy

    def look(self, *, complete: bool = False) -> None:
        """Take what was answered, and ask for the next measurement if it is due.

        :param complete: whether the run is finished, so that no rest is needed.
        """
        self.collect()
        checkpoint = self._checkpoint()
        due = checkpoint is not None and checkpoint != self._asked and (complete or self.clock() >= self._rest_until)
        if due and not self._busy and not self.final:
            self._asked = checkpoint
            self._ask()

    def settled(self) -> bool:
        """Tell whether the present checkpoint is measured, or cannot be."""
        return not self._busy and (self.final or self._checkpoint() in (None, self._asked))

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()  # it only reads
        _ended(process)
        if self._reader is not None:  # which closes what it reads
            self._reader.join(_GRACE)  # a process that this one started may hold the pipe open for longer
        for pipe in (process.stdin, self._errors):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._busy = False

    def _checkpoint(self) -> tuple[Any, ...] | None:
        """Return what tells the present checkpoint from those before: the last one, or the best of a run that keeps no last one."""
        for name in ("last.pt", "best.pt") if (self.folder / "complete").exists() else ("last.pt",):
            with contextlib.suppress(OSError):
                found = (self.folder / name).stat()
                return (name, found.st_ino, found.st_mtime_ns, found.st_size)
        return None

    def _ask(self) -> None:
        self._asked_at = self.clock()
        self._busy = True
        try:
            process = self._process or self._start()
            assert process.stdin is not None
            process.stdin.write("measure\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which its reader notices
        except OSError as error:
            self._fail(f"no process could be started: {error.strerror or error}", final=True)

    def _start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
        if self.options.get("device", "cpu") == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""  # the run's GPU is left alone
        lower = 0 if (self.folder / "complete").exists() else NICE
        command = [sys.executable, "-c", _PROGRAM, json.dumps(self.options), str(lower), *map(str, sys.path)]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        try:
            with contextlib.suppress(OSError, ValueError), process.stdout:
                for line in process.stdout:
                    if (answer := _answer_of(line)) is not None:
                        self._answers.put(answer)
        finally:
            self._answers.put(None)

    def collect(self) -> None:
        """Take what was answered, and ask for nothing."""
        while not self._answers.empty():
            answer = self._answers.get()
            if answer is None:
                self._fail(self._why_ended(), final=True)
            elif "measured" in answer:
                self._receive(answer["measured"])
            else:
                self._fail(answer["reason"], final=answer["final"])

    def _receive(self, values: dict[str, Any]) -> None:
        try:
            self.measured, self.reason = Measured.from_dict(values), None
        except (InputError, KeyError, TypeError) as error:  # as where the package was replaced while this process ran
            self._fail(f"what was measured cannot be read: {first_line(error)}", final=True)
        else:
            self._done()

    def _why_ended(self) -> str:
        """Return why nothing is answered any more, in one line."""
        process = self._process
        if process is None:
            return "the process that measures was ended"
        code = _ended(process)
        if code is None:  # it would wait for a request, and nobody hears the answer
            process.kill()
            _ended(process)
            return f"the process that measures closed its output{self._last_words()}"
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        why = ", perhaps for lack of memory" if code == -9 else self._last_words()
        return f"the process that measures {how}{why}"

    def _last_words(self) -> str:
        """Return what stood last in the errors that the process wrote, such as what an exception says."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").splitlines()
        return f": {lines[-1].strip()}" if lines else ""

    def _fail(self, reason: str, *, final: bool) -> None:
        self.reason, self.final = reason, final
        self._done()

    def _done(self) -> None:
        self._busy = False
        self._rest_until = self.clock() + self.rest * (self.clock() - self._asked_at)


def _ended(process: subprocess.Popen[str]) -> int | None:
    """Return the code that a process ends with within :data:`_GRACE`; None where it does not end."""
    try:
        return process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        return None


def _answer_of(line: str) -> dict[str, Any] | None:
    """Return the answer that a line holds; None for one that is none, such as what a library prints when it is imported."""
    if not line.startswith("{"):
        return None
    with contextlib.suppress(ValueError):
        answer: dict[str, Any] = json.loads(line)
        if isinstance(answer.get("measured"), dict) or {"reason", "final"} <= answer.keys():
            return answer
    return {"reason": "the process that measures gave an answer that cannot be read", "final": False}
