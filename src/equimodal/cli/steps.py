"""How far something is: in a terminal one line that is rewritten, elsewhere a line for every tenth."""

from __future__ import annotations

import logging
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from equimodal.cli.parser import WIDTH, say

__all__ = ["Listener", "Steps", "data_steps"]

_REST = 0.1
_WORTH_GUESSING = 3.0


class Steps:
    """Shows progress within a ``with`` block, at whose end an open line is closed.

    :param terminal: whether to rewrite a line; by default where the standard output is a terminal.
    """

    def __init__(self, terminal: bool | None = None) -> None:
        self.terminal = sys.stdout.isatty() if terminal is None else terminal
        self._what = ""
        self._first = self._tenth = 0
        self._began = self._shown = 0.0
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def show(self, what: str, done: int, total: int, unit: str = "") -> None:
        """Show how far it is.

        :param what: what is being done, in a word; another one begins another line.
        :param unit: ``"bytes"`` for bytes; nothing for things that are counted.
        """
        now = time.monotonic()
        if what != self._what:
            self.close()
            self._what, self._began, self._first, self._tenth, self._shown = what, now, done, 0, 0.0
        if not total:
            return
        ended = done >= total
        if self.terminal:
            if now - self._shown < _REST and not ended:
                return
            self._shown, self._open = now, True
            sys.stdout.write(f"\r{self._line(done, total, unit, now)[: WIDTH - 1]:<{WIDTH - 1}}")
            sys.stdout.flush()
        elif 10 * done // total > self._tenth:
            self._tenth = 10 * done // total
            say(self._line(done, total, unit, now))
        if ended:
            self.close()

    def say(self, text: str = "") -> None:
        """Print a line of its own."""
        self.close()
        say(text)

    def close(self) -> None:
        """End an open line."""
        if self._open:
            sys.stdout.write("\n")
            sys.stdout.flush()
        self._open, self._what = False, ""

    def _line(self, done: int, total: int, unit: str, now: float) -> str:
        from equimodal.report.cost import duration

        amount = f"{done:,} of {total:,}" if unit != "bytes" else f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
        line = f"{self._what:<10} {100 * done // total:>3} %  {amount}"
        elapsed = now - self._began
        if self._first < done < total and elapsed > _WORTH_GUESSING:
            line += f", about {duration(elapsed / (done - self._first) * (total - done))} left"
        return line


class Listener(logging.Handler):
    """Shows what a logger says, and how far its downloads are, for the time of a ``with`` block.

    :param name: the logger's name.
    :param steps: shows it.
    """

    def __init__(self, name: str, steps: Steps) -> None:
        super().__init__()
        self.logger = logging.getLogger(name)
        self.steps = steps
        self._before = self.logger.level

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        progress: tuple[int, int] | None = getattr(record, "progress", None)
        if progress is not None:
            what = getattr(record, "what", None)
            self.steps.show(what or "download", *progress, "" if what else "bytes")
        elif record.levelno >= logging.INFO:
            said = textwrap.wrap(record.getMessage(), WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
            self.steps.say("\n".join(said))

    def __enter__(self) -> Self:
        self._before = self.logger.level
        self.logger.addHandler(self)
        self.logger.setLevel(logging.DEBUG)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.logger.removeHandler(self)
        self.logger.setLevel(self._before)


@contextmanager
def data_steps() -> Iterator[Steps]:
    """Show what is done to data within a ``with`` block, such as preparing them on first use."""
    with Steps() as steps, Listener("equimodal.data", steps):
        yield steps
