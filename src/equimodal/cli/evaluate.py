"""``equimodal evaluate``: the scores of a trained model, and what it loses when modalities are absent."""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from equimodal.cli.parser import WIDTH, Parser, folder, no_more, paragraph, say
from equimodal.cli.steps import data_steps
from equimodal.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from equimodal.train.absence import AbsenceTable
    from equimodal.train.evaluate import Evaluation

__all__ = ["add_parser"]

_EPILOG = """\
Scores every head, and the prediction from every subset of the modalities: with
all, with each one absent, with each one alone. Differences are to the
prediction from all, on the samples that have every modality, with 95 %
intervals from 1000 paired bootstrap samples.

The test split is read once more because you ask for it; nothing is chosen by
it, and the run's folder stays as it is. To choose between runs, use
--split val.

example:
  equimodal evaluate runs/miles
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    summary = "score a trained model, with all modalities and without some"
    parser: Parser = commands.add_parser("evaluate", help=summary, description=f"{summary.capitalize()}.", epilog=_EPILOG)
    parser.add_argument("run_folder", type=folder, metavar="RUN", help="the folder of a run of equimodal train or compare")
    parser.add_argument(
        "--split", choices=("test", "val", "train"), default="test", metavar="NAME", help="test, val or train; default test"
    )
    parser.add_argument("--data-dir", type=folder, metavar="FOLDER", help="where the data set's files are; only ever read")
    parser.add_argument("--weights", choices=("best", "last"), default="best", metavar="WHICH", help="best or last epoch; default best")
    parser.add_argument("--metric", metavar="NAME", help="the score of the table; default the run's")
    parser.add_argument("--device", metavar="NAME", help="cpu or cuda; default the GPU where there is one")
    parser.add_argument("--json", action="store_true", help="print everything as JSON and nothing else")
    parser.set_defaults(run=run, parser=parser, interrupted="nothing was written")


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Load, score and print."""
    no_more(extra, arguments.parser)
    from equimodal.diagnose.opening import open_run
    from equimodal.train.absence import absence_table
    from equimodal.train.loading import is_recipe, read_config
    from equimodal.train.record import plain
    from equimodal.train.setting import deterministic, the_device

    path = arguments.run_folder
    if not is_recipe(read_config(path)):
        raise InputError(
            f"{path} is a run of fit, which only Python can load, with your model and data:"
            f" print(equimodal.absence_table(equimodal.load({str(path)!r}, model=my_model), data))"
        )
    device = the_device(arguments.device)
    with nullcontext() if arguments.json else data_steps():
        opened = open_run(path, weights=arguments.weights, data_dir=arguments.data_dir)
    model: Any = opened.model.to(device)
    config = opened.config
    data = getattr(opened.splits, arguments.split)
    metric = arguments.metric or opened.metric
    with deterministic(config["threads"]):
        evaluation = _scores(model, data, opened.task, metric, config, device, arguments.split)
        table = None
        if len(model.modalities) > 1:
            asked = {"task": opened.task, "metric": metric, "split": arguments.split, "batch_size": config["batch_size"]}
            table = absence_table(model, data, device=device, **asked)
    said = {
        "run": str(path),
        "weights": arguments.weights,
        "best_epoch": opened.facts.epoch,
        "complete": opened.facts.complete,
        "same_data": opened.same_data,
        "split": arguments.split,
        "metric": metric,
        "samples": evaluation.samples,
        "metrics": evaluation.metrics,
        "losses": evaluation.losses,
        "absence": None if table is None else table.as_dict(),
    }
    if arguments.json:
        say(json.dumps(plain(said), indent=2))
    else:
        _show(said, opened.facts, table)
    return 0


def _scores(model: Any, data: Any, task: str, metric: str, config: Mapping[str, Any], device: Any, split: str) -> Evaluation:
    from functools import partial

    from equimodal.scores import MULTIMODAL
    from equimodal.tasks import get_task
    from equimodal.train.batches import make_source
    from equimodal.train.evaluate import evaluate

    kind = get_task(task)
    kind.metric(metric)
    check = partial(kind.check, outputs=model.num_outputs)
    source = make_source(
        data, split, check, batch_size=config["batch_size"], device=device, seed=config["seed"], modalities=model.modalities
    )
    return evaluate(model, source, kind, (MULTIMODAL, *model.modalities), kind.metrics, device)


def _show(said: Mapping[str, Any], facts: Any, table: AbsenceTable | None) -> None:
    """Print the scores of the heads, and below them the table."""
    from equimodal.report.intervals import Estimate, percent
    from equimodal.report.terminal import lay_out
    from equimodal.report.words import SPLIT_NAMES, metric_name

    epoch = f"weights of epoch {facts.epoch}" if said["weights"] == "best" else "weights of the last epoch"
    state = "" if facts.complete else "; the run is not finished"
    paragraph(f"{facts.method['name']} on {facts.dataset['name']}: {epoch}{state}")
    if not said["same_data"]:
        paragraph("note: the prepared data are not those that the run was trained on")
    say()
    metric = metric_name(said["metric"])
    body = []
    for head, scores in said["metrics"].items():
        if len(facts.modalities) > 1 or head in facts.modalities:
            body.append([head, percent(Estimate(scores[said["metric"]], None, 1)), f"{said['losses'][head]:.4g}"])
    for line in lay_out([["head", metric, "loss"]], body, set(), width=WIDTH):
        say(line)
    paragraph(f"{SPLIT_NAMES[said['split']].capitalize()} split, {said['samples']:,} samples; {metric} in percent.")
    if table is not None:
        say()
        say(table.render(WIDTH))
