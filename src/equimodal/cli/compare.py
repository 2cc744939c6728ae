"""``equimodal compare``: methods side by side, with the same seeds and budget."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from equimodal.cli.options import merge
from equimodal.cli.parser import WIDTH, Parser, count, cut, folder, number, say
from equimodal.cli.rates import add_search, show_candidates
from equimodal.cli.steps import data_steps
from equimodal.cli.train import PARTS, add_settings, changes_from, over_file
from equimodal.errors import InputError

if TYPE_CHECKING:
    from equimodal.study.jobs import Outcome

__all__ = ["add_parser", "asked"]

_EPILOG = """\
Trains the model of each modality alone, then every method, all with the same
data, model, optimizer, budget and seeds. What a method needs beforehand, such
as the learning rates of MSLR, is found once and counted in its cost.

Options of the parts are given by their path, and those of a method likewise:
  --model.fusion sum                   --optimizer.weight_decay 1e-4
  --methods.miles.tau 0.1              --methods.mslr-s.strength 0.3

The folder holds runs/ (a run folder for each), the table as table.txt, .csv,
.md and .tex, report.html to open in any browser, and comparison.json. Killed
at any moment, the same command goes on; a run that fails is named, and the
exit code is then 1.

example:
  equimodal compare --methods joint,vanilla,miles --seeds 3 --out runs/compared
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser: Parser = commands.add_parser(
        "compare",
        help="train methods side by side and write a table",
        description="Train methods side by side, with the same seeds, and write a table.",
        epilog=_EPILOG,
    )
    parser.add_argument("--out", type=folder, required=True, metavar="FOLDER", help="where runs, table and report go")
    parser.add_argument("--methods", metavar="A,B,...", help="names (see: equimodal methods), or all, which is the default")
    parser.add_argument("--seeds", type=count, metavar="N", help="runs per method, with the seeds from --seed on; default 3")
    parser.add_argument("--lr", type=number, metavar="RATE", help="learning rate, short for --optimizer.lr; default 0.001")
    add_search(parser)
    add_settings(parser)
    parser.set_defaults(run=run, parser=parser)


def asked(arguments: argparse.Namespace, extra: list[str]) -> dict[str, Any]:
    """Return what is asked for, as arguments of :func:`equimodal.study.compare`: configuration, methods, options and seeds."""
    changes = changes_from(arguments, extra, [*(part for part in PARTS if part != "method"), "methods"])
    own = changes.pop("methods", {})
    config = over_file(arguments.config, changes)
    listed, seeds = config.pop("methods", None), config.pop("seeds", 3)
    options = dict(listed) if isinstance(listed, Mapping) else {}
    methods = "all" if listed is None else list(options) if options else listed
    if arguments.methods is not None:
        from equimodal.study.plan import method_names

        methods = method_names(arguments.methods)
        options = {name: value for name, value in options.items() if name in methods}
    # On the command line an underscore may stand for a hyphen.
    spelled = {name.replace("-", "_"): name for name in map(str, options)}
    return {
        "config": config,
        "methods": methods,
        "options": merge(options, {spelled.get(name, name): chosen for name, chosen in own.items()}),
        "seeds": seeds if arguments.seeds is None else arguments.seeds,
    }


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Train, print a line per run and the table; 1 where a run failed."""
    wanted = asked(arguments, extra)
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError("compare starts processes of its own: give --workers N, and leave torchrun out")
    from equimodal.study import compare
    from equimodal.study.search import RATES

    threads = wanted["config"].get("threads", 1)
    cores = os.cpu_count() or 1
    if isinstance(threads, int) and arguments.workers * threads > cores > 1:
        busy = f"note: {arguments.workers} processes of {threads} thread{'s' if threads != 1 else ''} on {cores} cores slow each other down"
        say(textwrap.fill(busy, WIDTH))
    with data_steps():
        compared = compare(
            wanted.pop("config"),
            **wanted,
            out=arguments.out,
            rates=RATES if arguments.rates is None else arguments.rates,
            workers=arguments.workers,
            data_dir=arguments.data_dir,
            cache=arguments.cache,
            on_rate=show_candidates(),
            on_run=_show_runs(),
        )
    say(f"\n{compared}\n\nreport: {arguments.out / 'report.html'}")
    return 1 if compared.failures else 0


def _show_runs() -> Callable[[Outcome, int, int], None]:
    """Return a function that prints each run as it ends, and the heading with the first one."""
    from equimodal.report.cost import duration

    started = False

    def show(outcome: Outcome, done: int, total: int) -> None:
        nonlocal started
        if not started:
            config = outcome.job.config
            title = f"{config['dataset']['name']}: {config['metric']} of the best epoch in percent"
            say(f"\n{textwrap.fill(title, WIDTH)}\n")
            say(_line(("run", "seed", "validation", "test", "time", "done")))
            started = True
        seconds = outcome.cost.seconds
        time = "found" if outcome.found else "" if seconds is None else duration(seconds)
        if outcome.failure is None:
            scores = _percent(outcome.score("val")), _percent(outcome.score("test"))
        else:
            scores = "diverged" if outcome.diverged else "failed", ""
        say(_line((outcome.job.name, str(outcome.job.config["seed"]), *scores, time, f"{done}/{total}")))

    return show


def _line(cells: tuple[str, str, str, str, str, str]) -> str:
    name, seed, validation, test, time, done = cells
    return f"{cut(name, 30):<30} {seed:>5} {validation:>11} {test:>8} {time:>9} {done:>9}".rstrip()


def _percent(score: float | None) -> str:
    return "–" if score is None else f"{100 * score:.1f}" if abs(score) < 1000 else f"{100 * score:.1e}"
