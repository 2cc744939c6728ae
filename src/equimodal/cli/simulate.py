"""``equimodal simulate``: what MILES would have done with given scores; nothing is trained."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

from equimodal.cli.parser import Parser, folder, no_more, say, whole_number
from equimodal.errors import InputError

__all__ = ["add_parser", "read_trace"]

_EPILOG = """\
SCORES is a run folder, a JSON-lines file (one mapping of scores per line, or a run's metrics.jsonl), a JSON list of such mappings,
or a CSV file with the columns multimodal and one per modality; one epoch per line.
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser: Parser = commands.add_parser(
        "simulate", help="replay scores through MILES without training", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument("scores", type=folder, metavar="SCORES", help="a run folder or a file of scores")
    parser.add_argument("--tau", type=float, default=0.2, help="target difference threshold; default 0.2")
    parser.add_argument("--mu", type=float, default=0.5, help="reduction factor; default 0.5")
    parser.add_argument("--every", type=whole_number, default=1, metavar="N", help="apply the rule every N epochs; default 1")
    parser.add_argument("--start", type=whole_number, default=0, metavar="N", help="leave the first N epochs alone; default 0")
    parser.add_argument("--smoothing", type=float, default=0.0, help="weight of the past in the scores, 0 (off) to below 1")
    parser.add_argument("--restore-other", action="store_true", help="give the other modality its full rate back when one is slowed")
    parser.add_argument("--split", choices=("val", "train"), default="val", help="which scores of a run; default val")
    parser.add_argument("--plot", type=folder, metavar="FILE", help="draw the replay, as .svg, .png or .pdf")
    parser.set_defaults(run=run, parser=parser)


def read_trace(path: Path, split: str = "val") -> list[dict[str, Any]]:
    """Return the scores of every epoch in a file or run folder.

    :raises InputError: for a file that is missing or holds something else, naming the line.
    """
    if path.is_dir():
        path = path / "metrics.jsonl"
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if path.suffix == ".csv":
        rows: list[Any] = []
        for number, row in enumerate(csv.DictReader(text.splitlines()), start=2):
            try:
                rows.append({name: float(value) for name, value in row.items() if name != "epoch"})
            except (TypeError, ValueError):
                raise InputError(f"{path}, line {number}: {row!r} holds something that is no number") from None
        return rows
    try:
        whole = text.lstrip().startswith("[")
        rows = json.loads(text) if whole else [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise InputError(f"{path} is neither JSON nor JSON lines: {error}") from None
    traced = []
    for number, row in enumerate(rows, start=1):
        scores = row.get("scores", row) if isinstance(row, dict) else row
        scores = scores.get(split, scores) if isinstance(scores, dict) else scores
        if not isinstance(scores, dict) or not all(isinstance(value, (int, float)) for value in scores.values()):
            raise InputError(f"{path}, epoch {number}: {json.dumps(row)[:60]} is no mapping from names to scores")
        traced.append(scores)
    return traced


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Print the replay, and draw it where asked."""
    no_more(extra, arguments.parser)
    from equimodal.methods.simulate import simulate

    options = {name: getattr(arguments, name) for name in ("every", "start", "smoothing", "restore_other")}
    replay = simulate(read_trace(arguments.scores, arguments.split), arguments.tau, arguments.mu, **options)
    names = replay.modalities
    say(f"{'epoch':>5} {'multimodal':>10} " + " ".join(f"{name[:8]:>8}" for name in names) + f" {'gap':>6}  decision")
    for record in replay.records:
        scores = " ".join(f"{record['scores'][name]:>8.4f}" for name in names)
        gap = f"{record['gap']:>6.3f}" if record["gap"] is not None else f"{'–':>6}"
        slowed = [f"{name} ×{value:g}" for name, value in record["multipliers"].items() if value != 1.0]
        in_force = f" ({', '.join(slowed)})" if slowed else ""
        say(f"{record['epoch']:>5} {record['scores']['multimodal']:>10.4f} {scores} {gap}  {record['decision']}{in_force}")
    if arguments.plot is not None:
        replay.plot(arguments.plot)
        say(f"plot: {arguments.plot}")
    return 0
