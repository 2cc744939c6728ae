"""``equimodal simulate``: what MILES would have done with given scores; nothing is trained."""

from __future__ import annotations

import argparse
import csv
import json
import textwrap
from pathlib import Path
from typing import Any

from equimodal.cli.parser import WIDTH, Parser, count, cut, folder, no_more, number, say, whole_number
from equimodal.errors import InputError
from equimodal.scores import MULTIMODAL

__all__ = ["add_parser", "read_trace"]

_EPILOG = """\
SCORES is a run folder, a JSON-lines file (one mapping of scores per line, or a
run's metrics.jsonl), a JSON list of such mappings, or a CSV file with the
columns multimodal and one per modality; one epoch per line.

examples:
  equimodal simulate runs/joint --tau 0.1
  equimodal simulate scores.csv --mu 0.3 --plot replay.svg
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    summary = "replay scores through MILES without training"
    description = "Show what MILES would have done with given scores; nothing is trained."
    parser: Parser = commands.add_parser("simulate", help=summary, description=description, epilog=_EPILOG)
    parser.add_argument("scores", type=folder, metavar="SCORES", help="a run folder or a file of scores")
    parser.add_argument("--tau", type=number, default=0.2, help="target difference threshold; default 0.2")
    parser.add_argument("--mu", type=number, default=0.5, help="reduction factor; default 0.5")
    parser.add_argument("--every", type=count, default=1, metavar="N", help="apply the rule every N epochs; default 1")
    parser.add_argument("--start", type=whole_number, default=0, metavar="N", help="leave the first N epochs alone; default 0")
    parser.add_argument(
        "--smoothing", type=number, default=0.0, metavar="W", help="weight of the past in the scores, below 1; default 0, off"
    )
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
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; give a run folder or a file of scores") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text: give a run folder or a file of scores") from None
    rows = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _json_rows(path, text, split)
    if not rows:
        raise InputError(f"{path} holds no scores: give at least one epoch")
    return rows


def _csv_rows(path: Path, text: str) -> list[dict[str, Any]]:
    lines = csv.reader(text.splitlines(), skipinitialspace=True)
    names = [name.strip() for name in next(lines, [])]
    if names and MULTIMODAL not in names:
        raise InputError(f"{path} has no column {MULTIMODAL!r}: its first line must name the columns, separated by commas")
    if len(set(names)) < len(names):
        raise InputError(f"{path} names a column twice in {', '.join(names)}: give each modality one column")
    rows = []
    for cells in lines:
        if not cells:
            continue
        if len(cells) != len(names):
            raise InputError(f"{path}, line {lines.line_num}: {len(cells)} values for the {len(names)} columns {', '.join(names)}")
        row: dict[str, Any] = {}
        for name, cell in zip(names, cells, strict=True):
            try:
                row[name] = float(cell)
            except ValueError:
                raise InputError(f"{path}, line {lines.line_num}: {name} = {cell!r} is no number") from None
        row.pop("epoch", None)
        rows.append(row)
    return rows


def _json_rows(path: Path, text: str, split: str) -> list[dict[str, Any]]:
    rows: list[Any] = []
    try:
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            for line in text.splitlines():
                if line.strip():
                    rows.append(json.loads(line))
    except (ValueError, RecursionError) as error:
        reason = f"epoch {len(rows) + 1}: {error}" if rows else error
        raise InputError(f"{path} is neither JSON nor JSON lines: {reason}") from None
    traced = []
    for number_, row in enumerate(rows, start=1):
        scores = row.get("scores", row) if isinstance(row, dict) else row
        scores = scores.get(split, scores) if isinstance(scores, dict) else scores
        if not isinstance(scores, dict) or not all(type(value) in (int, float) for value in scores.values()):
            raise InputError(f"{path}, epoch {number_}: {textwrap.shorten(json.dumps(scores), 60)} is no mapping from names to scores")
        traced.append({name: value for name, value in scores.items() if name != "epoch"})
    return traced


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Print the replay, and draw it where asked."""
    no_more(extra, arguments.parser)
    from equimodal.methods.simulate import simulate

    options = {name: getattr(arguments, name) for name in ("every", "start", "smoothing", "restore_other")}
    replay = simulate(read_trace(arguments.scores, arguments.split), arguments.tau, arguments.mu, **options)
    if arguments.plot is not None:
        replay.plot(arguments.plot)
    cell = 8 if len(replay.modalities) <= 5 else 6
    names = " ".join(cut(name, cell).rjust(cell) for name in replay.modalities)
    heading = f"{'epoch':>5} {'multimodal':>10} {names} {'gap':>6}"
    say(f"{heading}  decision" if len(heading) < WIDTH - 20 else heading)
    for record in replay.records:
        say(_line(record, replay.modalities, cell))
    if arguments.plot is not None:
        say(f"plot: {arguments.plot}")
    return 0


def _line(record: dict[str, Any], names: tuple[str, ...], cell: int) -> str:
    scores = " ".join(f"{record['scores'][name]:>{cell}.{cell // 2}f}" for name in names)
    gap = "–" if record["gap"] is None else f"{record['gap']:.3f}"
    numbers = f"{record['epoch']:>5} {record['scores'][MULTIMODAL]:>10.4f} {scores} {gap:>6}"
    slowed = [f"{name} ×{value:g}" for name, value in record["multipliers"].items() if value != 1.0]
    decision = f"{record['decision']} ({', '.join(slowed)})" if slowed else record["decision"]
    line = f"{numbers}  {decision}"
    return line if len(line) <= WIDTH else f"{numbers}\n{textwrap.fill(decision, WIDTH, initial_indent=' ' * 6, subsequent_indent=' ' * 8)}"
