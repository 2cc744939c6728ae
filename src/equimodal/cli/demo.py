"""``equimodal demo``: vanilla, joint and MILES side by side, and a report to look at."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from equimodal.cli.parser import WIDTH, Parser, count, folder, no_more, number, say, whole_number
from equimodal.cli.progress import show_epochs
from equimodal.cli.steps import data_steps
from equimodal.errors import InputError, require

__all__ = ["add_parser"]

_EPILOG = """\
Trains each modality alone, then the multimodal network three times from the
same weights and in the same order of samples: vanilla (joint loss only), joint
(with the unimodal losses of Eq. 3) and MILES. Prints a table of test scores and
writes FOLDER/report.html, one file to open in any browser. Killed, the same
command goes on where it was.
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    summary = "train vanilla, joint and MILES, and write a report"
    description = "Train vanilla, joint and MILES side by side, and write a report to look at."
    parser: Parser = commands.add_parser("demo", help=summary, description=description, epilog=_EPILOG)
    parser.add_argument("--out", type=folder, default=Path("demo"), metavar="FOLDER", help="where runs and report go; default demo")
    parser.add_argument("--dataset", default="digits-av", metavar="NAME", help="data set; default digits-av, which is shipped")
    parser.add_argument("--data-dir", type=folder, metavar="FOLDER", help="where the data set's files are; only ever read")
    parser.add_argument("--epochs", type=count, default=20, metavar="N", help="default 20")
    parser.add_argument("--lr", type=number, default=0.001, metavar="RATE", help="learning rate of Adam; default 0.001")
    parser.add_argument("--seed", type=whole_number, default=0, metavar="N", help="root of all seeds; default 0")
    parser.add_argument("--threads", type=count, default=1, metavar="N", help="CPU threads; default 1")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Train the models, print the table, write the report."""
    no_more(extra, arguments.parser)
    for package in ("jinja2", "matplotlib"):  # asked for before minutes of training rather than after
        require(package, extra="cli")
    from equimodal.methods import methods
    from equimodal.report.page import write_report
    from equimodal.report.records import read_run
    from equimodal.report.table import group_rows
    from equimodal.train.config import load_data, resolve, train

    shared = {
        "dataset": {"name": arguments.dataset},
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "threads": arguments.threads,
        "optimizer": {"name": "Adam", "lr": arguments.lr},
    }
    resolve(shared)
    with data_steps():
        data = load_data(shared, arguments.data_dir)
    modalities = data[0].modalities
    plan: dict[str, dict[str, Any]] = {f"unimodal-{modality}": {"name": "unimodal", "modality": modality} for modality in modalities}
    plan |= {name: {"name": name} for name in ("vanilla", "joint", "miles")}
    _check_folder(arguments.out, plan)
    sizes = f"{len(data[1].train)} training, {len(data[1].val)} validation and {len(data[1].test)} test samples"
    say(textwrap.fill(f"{arguments.dataset}: {sizes} of {' + '.join(modalities)}.", WIDTH))
    say(f"Shown per epoch: validation {data[0].metric} in percent and utilization gap after")
    say("it, and the effective learning rates that it was trained with.")
    for number_, (name, method) in enumerate(plan.items(), start=1):
        config = resolve({**shared, "method": method})
        shown = (method["modality"],) if "modality" in method else modalities
        title = f"{number_} of {len(plan)}: {name}"
        finished = train(config, out=arguments.out / name, on_epoch=show_epochs(title, shown, arguments.epochs), data=data)
        if finished.found_complete:
            say(f"\n{title}: found complete in {arguments.out / name}")
    titles = {name: None if "modality" in method else methods.get(name).title for name, method in plan.items()}
    runs = [read_run(arguments.out / name, titles[name]) for name in plan]
    say(f"\n{group_rows(runs, modalities)}\n")
    say(f"report: {write_report(arguments.out / 'report.html', runs, modalities)}")
    return 0


def _check_folder(path: Path, plan: Iterable[str]) -> None:
    """Refuse a folder that holds something else than a demo.

    :raises InputError: for a folder in which none of the demo's runs stands, though it is not empty.
    """
    found = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    if found and found.isdisjoint(plan):
        raise InputError(f"{path} holds {min(found)!r} and no demo: choose an empty or new folder with --out")
