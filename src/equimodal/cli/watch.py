"""``equimodal watch``: a run's records and the diagnosis of its last checkpoint in the terminal while it trains."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.cli.parser import WIDTH, Parser, count, folder, no_more, number, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from equimodal.diagnose.beside import Beside
    from equimodal.diagnose.watch import Watched

__all__ = ["add_parser"]

_EPILOG = """\
Follows the folder of a run of equimodal train, compare or a study, or of
equimodal.fit with out=, and only reads it. On a terminal it redraws in place;
into a pipe or a file it prints a line for every epoch, and one for every
measurement. It ends when the run is complete, or with Ctrl-C, which does not
disturb the run.

first table, from the run's records: scores of the last and of the best epoch
in percent, of the validation and of the training split, and their difference;
conditional utilization rate u; multiple of the learning rate that the method
set; learning rate in effect.

second table and below, measured on the last checkpoint as equimodal diagnose
does: what the joint score loses without each modality (replaced by its mean, by
zero, by that of other samples); Shapley value; score of a linear probe;
effective rank and norm of its features; how far an epoch moved its encoder's
weights, in percent of them; the verdict; interactions, agreement, calibration.
Another process does it, on the CPU, with one thread of the lowest priority and
200 bootstrap samples, and rests four times as long as it took. Of a run of
equimodal.fit, whose folder makes no model, the first table is all there is.

examples:
  equimodal watch runs/miles    (in another terminal: equimodal train
                                 --dataset digits-av --out runs/miles)
  equimodal watch runs/miles --record-only
  equimodal watch runs/miles --once --samples 10000
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    summary = "follow a run in the terminal while it trains"
    parser: Parser = commands.add_parser("watch", help=summary, description=f"{summary.capitalize()}.", epilog=_EPILOG)
    parser.add_argument("run_folder", type=folder, metavar="RUN", help="the folder of a run, which need not be there yet")
    parser.add_argument("--once", action="store_true", help="show the present state and end")
    parser.add_argument("--every", type=_seconds, default=1.0, metavar="SECONDS", help="how often to look; default 1")
    parser.add_argument("--wait", type=_seconds, default=60.0, metavar="SECONDS", help="how long to wait for a run to begin; default 60")
    parser.add_argument("--record-only", action="store_true", help="show what the run recorded; measure nothing")
    parser.add_argument(
        "--samples", type=count, default=2000, metavar="N", help="of each split, evenly spaced, to measure on; default 2000"
    )
    parser.add_argument("--data-dir", type=folder, metavar="FOLDER", help="where the data set's files are; only ever read")
    parser.add_argument("--gradients", action="store_true", help="also measure the gradient that reaches each encoder: another pass")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="where to measure: cpu or cuda; default cpu")
    parser.set_defaults(run=run, parser=parser)


def _seconds(text: str) -> float:
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Look, and show what is new, until the run is complete."""
    no_more(extra, arguments.parser)
    path: Path = arguments.run_folder
    beside = None if arguments.record_only else _beside(arguments)
    try:
        if arguments.once:
            return _show_once(path, beside)
        show = _Screen() if _on_terminal() else _Lines()
        return _follow(path, show.show, beside, arguments.every, arguments.wait)
    except KeyboardInterrupt:
        return 130
    finally:
        if beside is not None:
            beside.stop()


def _beside(arguments: argparse.Namespace) -> Beside:
    from equimodal.diagnose.beside import Beside

    data_dir = None if arguments.data_dir is None else str(arguments.data_dir)
    options = {"samples": arguments.samples, "data_dir": data_dir, "device": arguments.device, "gradients": arguments.gradients}
    return Beside(arguments.run_folder, options)


def _show_once(path: Path, beside: Beside | None) -> int:
    from equimodal.diagnose.watch import frame, look, refused

    watched = look(path)
    if watched is None:
        raise refused(path)
    width = _size()[0]
    for line in frame(watched, width):
        say(line)
    if beside is not None:
        beside.look(complete=True)
        while beside.busy:  # this one alone: a run may write checkpoints quicker than they are measured
            time.sleep(0.05)
            beside.collect()
        for line in _measured(watched, beside, width):
            say(line)
    return 0


def _follow(path: Path, show: Callable[[Watched, Beside | None], None], beside: Beside | None, every: float, wait: float) -> int:
    from equimodal.diagnose.watch import look, refused

    began = time.monotonic()
    while True:
        watched = look(path)
        if watched is None:
            if time.monotonic() - began >= wait:
                raise refused(path)
        else:
            if beside is not None:
                beside.look(complete=watched.complete)
            show(watched, beside)
            if watched.complete and (beside is None or beside.settled()):
                return 0
        time.sleep(every)


def _measured(watched: Watched, beside: Beside, width: int, *, compact: bool = False) -> list[str]:
    """Return what was measured as lines, the first of which is empty, or why there is nothing."""
    from equimodal.diagnose.measured import measured_lines
    from equimodal.report.terminal import paragraph

    lines = [] if beside.measured is None else measured_lines(beside.measured, width, compact=compact)
    said = ""
    if beside.reason is not None:
        said = f"{'newer weights are ' if lines else ''}not measured: {beside.reason}"
    elif beside.busy and not lines:
        said = "measuring the last checkpoint"
    elif watched.complete and not lines and not beside.busy:
        said = "not measured: the run keeps no checkpoint"
    lines += paragraph(said, width) if said else []
    return ["", *lines] if lines else []


class _Screen:
    """Redraws in place."""

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def show(self, watched: Watched, beside: Beside | None) -> None:
        from equimodal.diagnose.watch import frame, on_screen
        from equimodal.report.terminal import cells_of, fit

        width, height = _size()
        columns = shutil.get_terminal_size((WIDTH, 24)).columns
        lines = [*frame(watched, width), *([] if beside is None else _measured(watched, beside, width, compact=True))]
        lines = [fit(line, columns) for line in on_screen(lines, height - 1)]
        if lines == self.drawn:
            return
        # Up to the first line of what was drawn, and everything below it away. A terminal made narrower has broken its lines.
        rows = sum(max(-(-cells_of(line) // columns), 1) for line in self.drawn)
        back = f"\x1b[{min(rows, height - 1)}F\x1b[J" if rows else ""
        say(back + "\n".join(lines))
        self.drawn = lines


class _Lines:
    """Prints a line for every epoch, and one for every measurement."""

    def __init__(self) -> None:
        self.known = 0
        self.measured: int | None = None
        self.reason: str | None = None
        self.print: Callable[[Mapping[str, Any]], None] | None = None

    def show(self, watched: Watched, beside: Beside | None) -> None:
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
        if beside is not None:
            self.show_measured(watched, beside)
        if watched.complete and (beside is None or beside.settled()):
            say(outcome(watched))

    def show_measured(self, watched: Watched, beside: Beside) -> None:
        from equimodal.diagnose.measured import one_line

        if beside.measured is not None and beside.measured.epoch != self.measured:
            self.measured = beside.measured.epoch
            say(one_line(beside.measured))
        elif beside.reason is not None and beside.reason != self.reason:
            say(" ".join(_measured(watched, beside, 10_000)).strip())
        self.reason = beside.reason


def _on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _size() -> tuple[int, int]:
    size = shutil.get_terminal_size((WIDTH, 24))
    return max(size.columns, 40), size.lines
