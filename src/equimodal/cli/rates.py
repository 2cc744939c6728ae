"""``equimodal rates``: the best learning rate of each modality alone."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from equimodal.cli.parser import Parser, count, cut, folder, paragraph, say
from equimodal.cli.steps import data_steps
from equimodal.cli.train import PARTS, add_settings, changes_from, over_file
from equimodal.errors import InputError

if TYPE_CHECKING:
    from equimodal.study.rates import Candidate, UnimodalRates

__all__ = ["add_parser", "add_search", "asked", "learning_rates", "show_candidates"]

_EPILOG = """\
Trains each modality alone with each candidate and chooses by the best
validation score; the test split is not looked at. Options of the parts are
given by their path, as for equimodal train:
  --model.encoders.audio.depth 10      --optimizer.weight_decay 1e-4

Finished candidates are kept in the cache and never trained again for the same
data, encoder and settings. Killed, the same command goes on.

example:
  equimodal rates --dataset digits-av --epochs 10 --rates 1e-4,1e-3,1e-2
"""

_CELL = 10


def add_parser(commands: Any) -> None:
    """Declare the command."""
    summary = "find the best learning rate of each modality alone"
    parser: Parser = commands.add_parser("rates", help=summary, description=f"{summary.capitalize()}.", epilog=_EPILOG)
    add_search(parser)
    add_settings(parser)
    parser.set_defaults(run=run, parser=parser)


def add_search(parser: Parser) -> None:
    """Declare the flags of a search."""
    parser.add_argument("--rates", type=learning_rates, metavar="A,B,C", help="candidates; default 1e-4,3e-4,1e-3,3e-3,1e-2")
    parser.add_argument("--cache", type=folder, metavar="FOLDER", help="where finished candidates are kept; default the user's cache")
    parser.add_argument("--workers", type=count, default=1, metavar="N", help="processes that share the work; default 1")


def learning_rates(text: str) -> tuple[float, ...]:
    """Return learning rates from the command line, separated by commas."""
    found = []
    for word in text.split(","):
        try:
            rate = float(word)
        except ValueError:
            rate = -1.0
        if not 0.0 < rate < float("inf"):
            raise argparse.ArgumentTypeError(f"{word!r} is no learning rate: a finite number above 0 is needed, and commas between several")
        found.append(rate)
    return tuple(found)


def asked(arguments: argparse.Namespace, extra: list[str]) -> dict[str, Any]:
    """Return the configuration that is asked for, without a method; not yet resolved."""
    parts = [part for part in PARTS if part != "method"]
    changes = changes_from(arguments, extra, parts)
    if isinstance(optimizer := changes.get("optimizer"), Mapping) and "lr" in optimizer:
        raise InputError("--optimizer.lr is what is searched: give the candidates with --rates A,B,C")
    config = over_file(arguments.config, changes)
    config.pop("method", None)  # the file may be that of a run
    return config


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Search, and print what was found."""
    config = asked(arguments, extra)
    from equimodal.study import unimodal_rates
    from equimodal.study.search import RATES

    with data_steps():
        found = unimodal_rates(
            config,
            rates=RATES if arguments.rates is None else arguments.rates,
            data_dir=arguments.data_dir,
            cache=arguments.cache,
            on_run=show_candidates(),
            workers=arguments.workers,
        )
    say("\n".join(_table(found)))
    for line in (*found.warnings, _cost(found)):
        paragraph(line)
    options = " ".join(f"--method.rates.{modality} {rate:g}" for modality, rate in found.rates.items())
    say(f"\nto train with them, add to the same options of equimodal train:\n--method mslr-k {options}")
    return 0


def show_candidates() -> Any:
    """Return a function that prints each training of a search as it ends."""
    from equimodal.report.cost import duration

    started = False

    def show(modality: str, candidate: Candidate, done: int, total: int) -> None:
        nonlocal started
        if not started:
            say("learning rates of each modality alone:")
            started = True
        seconds = "" if candidate.cost.seconds is None else duration(candidate.cost.seconds)
        outcome = "diverged" if candidate.diverged else f"validation {_percent(candidate.score)}"
        what = f"{cut(modality, 20)} alone, lr {candidate.rate:g}"
        say(f"{f'{done}/{total}':>7}  {what:<40} {outcome:<17} {seconds:>8}")

    return show


def _table(found: UnimodalRates) -> list[str]:
    """Return the scores of all candidates, a column for each modality, the chosen ones marked."""
    lines = ["", f"best validation {found.metric} in percent, * chosen", ""]
    lines.append(" ".join(["rate".rjust(8), *(cut(modality, _CELL - 2).rjust(_CELL - 1) for modality in found.candidates)]))
    for row in zip(*found.candidates.values(), strict=True):
        cells = []
        for modality, candidate in zip(found.candidates, row, strict=True):
            mark = "*" if candidate is found.best[modality] else ""
            cells.append(f"{mark}{'diverged' if candidate.diverged else _percent(candidate.score)}".rjust(_CELL - 1))
        lines.append(" ".join([f"{row[0].rate:g}".rjust(8), *cells]))
    return [*lines, ""]


def _cost(found: UnimodalRates) -> str:
    from equimodal.report.cost import duration

    tried = sum(map(len, found.candidates.values()))
    cost = [f"{tried} trainings"]
    cost += [] if found.seconds is None else [duration(found.seconds)]
    cost += [] if found.steps is None else [f"{found.steps:,.0f} optimizer steps"]
    known = f"; known from before: {', '.join(name for name in found.candidates if name in found.found)}" if found.found else ""
    return f"cost: {', '.join(cost)}{known}"


def _percent(score: float | None) -> str:
    return "–" if score is None else f"{100 * score:.1f}" if abs(score) < 1000 else f"{100 * score:.1e}"
