"""``equimodal study``: the paper's protocol as a declared job, and what comes out of it."""

from __future__ import annotations

import argparse
import contextlib
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.cli.parser import WIDTH, Parser, count, folder, no_more, say
from equimodal.cli.steps import Steps, data_steps
from equimodal.errors import InputError
from equimodal.report.terminal import paragraph

if TYPE_CHECKING:
    from equimodal.study.declaration import Declaration
    from equimodal.study.records import StudyRecord
    from equimodal.study.series import Series
    from equimodal.study.work import Event

__all__ = ["add_parser", "add_place", "do_trials", "open_record", "the_folder"]

_EPILOG = """\
A study is a YAML file: data sets, fusions, methods, trials, seeds, epochs.
Files for the paper's experiments come with the package: smnist, cremad, luma,
mmimdb, and avdigits, which needs no data of yours and two hours of two cores.

  plan     what would be run, and for how long
  run      do the trials; the same command goes on after a kill, and shares the
           work with as many machines as run it with the same --storage
  status   how far it is, the best so far, failures with their reasons
  table    Tables I to VI beside the paper's, budget, trials, tests, costs
  figures  Figures 1 and 2, and what the paper lacks
  export   everything in one folder or zip, from which it can be made again

example:
  equimodal study run avdigits --workers 2
  equimodal study table avdigits table2
"""

_RUN = """\
Takes one trial after another, trains it and notes what came of it. Results do
not depend on how many processes share the work. Killed at any moment, the same
command goes on: what was being trained goes on from its last epoch.

Several machines share a study in a PostgreSQL database:
  equimodal study run avdigits --storage postgresql://me@host/studies

The exit code is 1 where a trial failed or the study's budget is spent.
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser: Parser = commands.add_parser(
        "study",
        help="the paper's protocol: search, selection, tables, figures",
        description="Equal random search, selection on validation, one test reading, fresh seeds.",
        epilog=_EPILOG,
    )
    actions = parser.add_subparsers(metavar="ACTION", parser_class=Parser)
    plan = _action(actions, "plan", "what would be run, and for how long", show_plan, archive=False)
    plan.add_argument("--workers", type=count, default=1, metavar="N", help="for so many processes; default 1")
    plan.add_argument("--data-dir", type=folder, metavar="FOLDER", help="where the data sets' files are; only ever read")
    plan.add_argument("--no-time", action="store_true", help="leave out the estimate, and with it the check against the data")
    run = _action(actions, "run", "do the trials", run_trials, epilog=_RUN, archive=False)
    add_running(run)
    run.add_argument("--only", metavar="A,B", help="parts alone, such as table2,figure1, and what they need; default all")
    run.add_argument("--retry-failed", action="store_true", help="begin failed trials again")
    status = _action(actions, "status", "how far it is", show_status)
    status.add_argument("--all", action="store_true", help="list finished series too")
    from equimodal.cli import study_results

    study_results.add_actions(actions, _action)

    def no_action(_: argparse.Namespace, extra: list[str]) -> int:
        no_more(extra, parser)
        parser.error(f"an action is needed: {', '.join(actions.choices)}")

    parser.set_defaults(run=no_action)


def _action(
    actions: Any,
    name: str,
    text: str,
    run: Callable[[argparse.Namespace, list[str]], int],
    epilog: str | None = None,
    *,
    archive: bool = True,
) -> Parser:
    parser: Parser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=epilog)
    known = "a study file, the name of one of the package, or an archive" if archive else "a study file, or the name of one of the package"
    parser.add_argument("study", metavar="FILE", help=known)
    add_place(parser)
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_place(parser: Parser) -> None:
    """Declare the flags that say where a study is."""
    parser.add_argument("--out", type=folder, metavar="FOLDER", help="the study's folder; default studies/NAME")
    parser.add_argument("--storage", metavar="URL", help="sqlite:///FILE or postgresql://…; default study.db in the folder")


def add_running(parser: Parser) -> None:
    """Declare the flags that say how trials are done."""
    parser.add_argument("--workers", type=count, default=1, metavar="N", help="processes of this machine; default 1")
    parser.add_argument("--data-dir", type=folder, metavar="FOLDER", help="where the data sets' files are; only ever read")


def the_folder(arguments: argparse.Namespace, declaration: Declaration) -> Path:
    """Return the study's folder."""
    return arguments.out if arguments.out is not None else Path("studies") / declaration.name


def declared(arguments: argparse.Namespace) -> Declaration:
    """Return the study whose trials are to be planned or done.

    :raises InputError: see :func:`equimodal.study.declaration.read_declaration`; and for an archive, of which nothing can be run.
    """
    from equimodal.study.archive import is_archive
    from equimodal.study.declaration import read_declaration

    if is_archive(Path(arguments.study)):
        raise InputError(f"{arguments.study} is an archive, of which nothing can be run: give the study's file")
    return read_declaration(arguments.study)


def open_record(arguments: argparse.Namespace, *, runs: bool = True) -> StudyRecord:
    """Return what is known of a study: from its storage, or from an archive where one is named.

    :raises InputError: when it was never begun.
    """
    from equimodal.study.archive import is_archive, read_archive
    from equimodal.study.declaration import read_declaration
    from equimodal.study.locks import hidden
    from equimodal.study.protocol import open_storage
    from equimodal.study.reading import read_study

    if is_archive(Path(arguments.study)):
        return read_archive(arguments.study)
    declaration = read_declaration(arguments.study)
    place = the_folder(arguments, declaration)
    where = hidden(arguments.storage or str(place))
    missing = f"the study {declaration.name!r} was not begun in {where}: equimodal study run {arguments.study} begins it"
    file = _file_of(arguments.storage, place)
    if file is not None and not file.exists():  # to open it would make it
        raise InputError(missing)
    storage = open_storage(declaration, place, arguments.storage)
    if not storage.begun:
        raise InputError(missing)
    return read_study(storage, runs=runs)


def _file_of(storage: str | None, place: Path) -> Path | None:
    """Return the file of a study's storage; None where that is on a server."""
    if not storage:
        return place / "study.db"
    return Path(storage.removeprefix("sqlite:///")).expanduser() if storage.startswith("sqlite:///") else None


def show_plan(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Print what would be run."""
    no_more(extra, arguments.parser)
    from equimodal.study.plan_text import plan_lines
    from equimodal.study.series import check_fit, expand

    declaration = declared(arguments)
    series = expand(declaration)
    check_fit(series, {})
    times = {} if arguments.no_time else _times(declaration, series, arguments.data_dir)
    for line in plan_lines(declaration, series, times, arguments.workers):
        say(line)
    return 0


def _times(declaration: Declaration, series: Sequence[Series], data_dir: Path | None) -> dict[str, float]:
    """Return the seconds of one run of every search by its name, as far as the data are at hand."""
    from equimodal.study.estimate import measure
    from equimodal.study.series import check_fit
    from equimodal.train.config import load_data

    found: dict[str, float] = {}
    for label in dict.fromkeys(one.data for one in series):
        mine = [one for one in series if one.data == label]
        with data_steps() as steps:
            try:
                data = load_data(declaration.base(label), data_dir)
            except InputError as error:
                steps.say(textwrap.fill(f"no estimate for {label}, whose data cannot be loaded: {error}", WIDTH))
                continue
            check_fit(mine, {label: data})
            found |= measure(mine, data, _steps_of_rows(steps))
    return found


def _steps_of_rows(steps: Steps) -> Callable[[int, int], None]:
    """Return what shows how many rows are measured."""
    return lambda done, rows: steps.show("measuring", done, rows, "rows")


def run_trials(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Do the trials of a study."""
    no_more(extra, arguments.parser)
    only = None if arguments.only is None else [part.strip() for part in arguments.only.split(",")]
    done, failed = do_trials(declared(arguments), arguments, only, retry=arguments.retry_failed)
    say()
    command = f"equimodal study table {arguments.study}{_place(arguments)}"
    say(f"tables:  {command}\nfailures and progress:  equimodal study status {arguments.study}{_place(arguments)}")
    return 0 if done and not failed else 1


def _place(arguments: argparse.Namespace) -> str:
    from equimodal.study.locks import hidden

    given = (("out", arguments.out), ("storage", arguments.storage))
    parts = [f" --{name} {hidden(str(value))}" for name, value in given if value is not None]
    return "".join(parts)


def do_trials(
    declaration: Declaration, arguments: argparse.Namespace, parts: Sequence[str] | None, *, retry: bool = False
) -> tuple[bool, int]:
    """Do the trials that parts of a study need, and print what happens.

    :returns: whether all have ended, and how many of them failed.
    """
    from equimodal.study.parts import series_for
    from equimodal.study.protocol import needed, open_storage, run_study
    from equimodal.study.reading import read_study
    from equimodal.study.series import expand

    series = expand(declaration)
    names = None if parts is None else series_for(parts, series)
    wanted = {one.name for one in needed(series, names)}
    place = the_folder(arguments, declaration)
    if retry:
        storage = open_storage(declaration, place, arguments.storage)
        again = sum(storage.forgive(name) for name in wanted)
        say(f"{again} failed trial{'' if again == 1 else 's'} will be begun again")
    with data_steps() as steps:
        shown = _Progress(declaration, place, arguments.storage, wanted, steps.say)
        done = run_study(
            declaration,
            place,
            workers=arguments.workers,
            url=arguments.storage,
            data_dir=arguments.data_dir,
            only=names,
            on_event=shown,
        )
    record = read_study(open_storage(declaration, place, arguments.storage, wait=True), runs=False)
    trials = [trial for one in record.series if one.name in wanted for trial in one.trials]
    failed = sum(trial.state == "failed" for trial in trials)
    ended = sum(trial.done for trial in trials)
    say(f"\n{ended} of {len(trials)} trials have ended{f', {failed} of them failed' if failed else ''}")
    if not done:
        budget = f"its budget of {declaration.file['budget']:g} hours of training is spent; raise it in the file to go on"
        say(textwrap.fill(f"the study is not done: {budget}", WIDTH))
    return done, failed


class _Progress:
    """Prints a line for each trial that ends; counts those of other machines when it begins."""

    def __init__(self, declaration: Declaration, place: Path, url: str | None, wanted: set[str], show: Callable[[str], None]) -> None:
        self._show = show
        self._wanted = wanted
        self._begin = (declaration, place, url)
        self._ended: set[tuple[str, int]] | None = None
        self._total = 0

    def __call__(self, event: Event) -> None:
        """Print an event."""
        if event.kind == "said":
            self._show("\n".join(paragraph(event.text)))
            return
        if self._ended is None:
            with contextlib.suppress(InputError):  # a database that has just gone away; the workers wait for it
                self._ended = self._count()
        if event.kind == "ended":
            count = ""
            if self._ended is not None:
                # One that ended while they were counted is among them already.
                self._ended.add((event.series, event.number))
                count = f"{len(self._ended):>{len(str(self._total))}} of {self._total}  "
            what = f"{count}{event.series}, {event.what or f'trial {event.number}'}: "
            text = f"failed: {event.text}" if event.failed else event.text
            self._show("\n".join(paragraph(what + text)))

    def _count(self) -> set[tuple[str, int]]:
        """Return the trials that have ended, by series and number."""
        from equimodal.study.protocol import open_storage
        from equimodal.study.reading import read_study

        record = read_study(open_storage(*self._begin, wait=True), runs=False)
        mine = [one for one in record.series if one.name in self._wanted]
        self._total = sum(len(one.trials) for one in mine)
        return {(one.name, trial.number) for one in mine for trial in one.trials if trial.done}


def show_status(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Print how far a study is."""
    no_more(extra, arguments.parser)
    from equimodal.study.status import status_lines

    for line in status_lines(open_record(arguments), everything=arguments.all):
        say(line)
    return 0
