"""``equimodal watch``: a run's scores, utilization and learning rates in the terminal while it trains."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.cli.parser import WIDTH, Parser, folder, no_more, number, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from equimodal.diagnose.watch import Watched

__all__ = ["add_parser"]

_EPILOG = """\
Follows the folder of a run of equimodal train, compare or a study, or of
equimodal.fit with out=, and only reads it. On a terminal it redraws in place;
into a pipe or a file it prints a line for every epoch. It ends when the run is
complete, or with Ctrl-C, which does not disturb the run.

columns: scores of the last and of the best epoch in percent, of the validation
and of the training split, and their difference; conditional utilization rate u;
multiple of the learning rate that the method set; learning rate in effect.

example:
  equimodal watch runs/miles    (in another terminal: equimodal train
                                 --dataset digits-av --out runs/miles)
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    summary = "follow a run in the terminal while it trains"
    parser: Parser = commands.add_parser("watch", help=summary, description=f"{summary.capitalize()}.", epilog=_EPILOG)
    parser.add_argument("run_folder", type=folder, metavar="RUN", help="the folder of a run, which need not be there yet")
    parser.add_argument("--once", action="store_true", help="show the present state and end")
    parser.add_argument("--every", type=_seconds, default=1.0, metavar="SECONDS", help="how often to look; default 1")
    parser.add_argument("--wait", type=_seconds, default=60.0, metavar="SECONDS", help="how long to wait for a run to begin; default 60")
    parser.set_defaults(run=run, parser=parser)


def _seconds(text: str) -> float:
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Look, and show what is new, until the run is complete."""
    no_more(extra, arguments.parser)
    from equimodal.diagnose.watch import frame, look, refused

    path: Path = arguments.run_folder
    if arguments.once:
        watched = look(path)
        if watched is None:
            raise refused(path)
        for line in frame(watched, _size()[0]):
            say(line)
        return 0
    show = _Screen() if _on_terminal() else _Lines()
    try:
        return _follow(path, show.show, arguments.every, arguments.wait)
    except KeyboardInterrupt:
        return 130


def _follow(path: Path, show: Callable[[Watched], None], every: float, wait: float) -> int:
    from equimodal.diagnose.watch import look, refused

    began = time.monotonic()
    while True:
        watched = look(path)
        if watched is None:
            if time.monotonic() - began >= wait:
                raise refused(path)
        else:
            show(watched)
            if watched.complete:
                return 0
        time.sleep(every)


class _Screen:
    """Redraws in place."""

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def show(self, watched: Watched) -> None:
        from equimodal.diagnose.watch import frame

        width, height = _size()
        lines = frame(watched, width)[: max(height - 1, 1)]
        if lines == self.drawn:
            return
        # Up to the first line of what was drawn, and everything below it away.
        back = f"\x1b[{len(self.drawn)}F\x1b[J" if self.drawn else ""
        say(back + "\n".join(lines))
        self.drawn = lines


class _Lines:
    """Prints a line for every epoch."""

    def __init__(self) -> None:
        self.known = 0
        self.print: Callable[[Mapping[str, Any]], None] | None = None

    def show(self, watched: Watched) -> None:
        from equimodal.cli.progress import show_epochs
        from equimodal.diagnose.watch import outcome, title

        run = watched.run
        if run.epochs and self.print is None:
            self.print = show_epochs(title(watched), run.modalities, watched.epochs or 0)
        for record in run.epochs[self.known :]:
            assert self.print is not None
            scores = {"val": {}, **(record.get("scores") or {})}
            self.print({"gap": None, **record, "scores": scores, "learning_rates": record.get("learning_rates") or {}})
        self.known = len(run.epochs)
        if watched.complete:
            say(outcome(watched))


def _on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _size() -> tuple[int, int]:
    size = shutil.get_terminal_size((WIDTH, 24))
    return max(size.columns, 40), size.lines
