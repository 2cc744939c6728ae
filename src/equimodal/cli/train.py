"""``equimodal train``: one run, any data set, method and option."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal._yaml import read_yaml
from equimodal.cli.options import dotted_options, merge, value_of
from equimodal.cli.parser import WIDTH, Parser, count, folder, number, say, whole_number
from equimodal.cli.progress import show_epochs
from equimodal.cli.steps import data_steps
from equimodal.report.words import SPLIT_NAMES

if TYPE_CHECKING:
    from equimodal.data.base import Dataset, Splits

__all__ = ["PARTS", "add_parser", "add_settings", "changes_from", "configuration", "over_file"]

PARTS = ("dataset", "method", "optimizer", "scheduler", "model", "groups", "augment")
_NAMED = {"dataset": "digits-av", "method": "miles", "optimizer": "Adam", "scheduler": None}
_SETTINGS = ("epochs", "batch_size", "seed", "accumulate", "clip", "autocast", "device", "threads", "stop", "metric")

_EPILOG = """\
Options of the parts are given by their path, and read as JSON:
  --dataset.split unseen-speakers      --method.tau 0.1
  --optimizer.weight_decay 1e-4        --scheduler.T_max 20
  --scheduler.interval step            --model.fusion sum
  --model.encoders.image.dropout 0.1   --model.encoders.audio.depth 10
  --groups.overrides.audio.lr 1e-4     --groups.no_decay true
  --augment.image '["horizontal-flip", {"name": "crop", "padding": 4}]'

The folder holds config.yaml (every option as it was used; give it back with
--config), metrics.jsonl, result.json and the checkpoints. Killed at any
moment, the same command goes on from the last finished epoch and ends with
the same numbers.

example:
  equimodal train --method miles --method.tau 0.1 --epochs 20 --out runs/miles
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser: Parser = commands.add_parser(
        "train", help="train one model and write a run folder", description="Train one model and write a run folder.", epilog=_EPILOG
    )
    parser.add_argument("--out", type=folder, required=True, metavar="FOLDER", help="the run's folder")
    parser.add_argument("--method", metavar="NAME", help="method (see: equimodal methods) or module:Class; default miles")
    parser.add_argument("--lr", type=number, metavar="RATE", help="learning rate, short for --optimizer.lr; default 0.001")
    add_settings(parser)
    parser.add_argument("--tensorboard", type=folder, metavar="FOLDER", help="write every epoch to TensorBoard files there, too")
    parser.add_argument("--wandb", metavar="PROJECT", help="log every epoch to Weights & Biases; offline unless WANDB_MODE says otherwise")
    parser.set_defaults(run=run, parser=parser)


def add_settings(parser: Parser) -> None:
    """Declare the flags that say what is trained on, how and for how long, other than by method and learning rate."""
    parser.add_argument("--config", type=folder, metavar="FILE", help="a YAML file of options; what the flags say overrides it")
    parser.add_argument("--data-dir", type=folder, metavar="FOLDER", help="where the data set's files are; only ever read")
    parser.add_argument("--dataset", metavar="NAME", help="data set (see: equimodal data); default digits-av")
    parser.add_argument("--optimizer", metavar="NAME", help="any class of torch.optim; default Adam")
    parser.add_argument("--scheduler", metavar="NAME", help="any class of torch.optim.lr_scheduler; default none")
    parser.add_argument("--epochs", type=count, metavar="N", help="default 20")
    parser.add_argument("--batch-size", type=count, metavar="N", help="samples per batch over all processes; default 64")
    parser.add_argument("--seed", type=whole_number, metavar="N", help="root of all seeds; default 0")
    parser.add_argument("--accumulate", type=count, metavar="N", help="batches per optimizer step; default 1")
    parser.add_argument("--clip", type=number, metavar="NORM", help="largest norm of the gradient; default none")
    parser.add_argument("--autocast", metavar="TYPE", help="bfloat16 to compute in it; default none")
    parser.add_argument("--device", metavar="NAME", help="cpu or cuda; default the GPU where there is one")
    parser.add_argument("--threads", type=count, metavar="N", help="CPU threads, which results depend on; default 1")
    parser.add_argument("--stop", type=count, metavar="N", help="end after N epochs without a better validation score")
    parser.add_argument("--metric", metavar="NAME", help="the score that rules and selection use; default the data set's")


def configuration(arguments: argparse.Namespace, extra: Sequence[str]) -> dict[str, Any]:
    """Return the configuration that a file, flags and dotted options say together; not yet resolved."""
    return over_file(arguments.config, changes_from(arguments, extra))


def changes_from(arguments: argparse.Namespace, extra: Sequence[str], parts: Sequence[str] = PARTS) -> dict[str, Any]:
    """Return what flags and dotted options say.

    :param arguments: what the parser knew; the flags of :func:`add_settings` among them.
    :param extra: what it did not know.
    :param parts: what dotted options may begin with.
    """
    given = {key: value for key, value in vars(arguments).items() if value is not None}
    changes: dict[str, Any] = {key: value_of(given[key]) for key in _NAMED if key in given}
    if "lr" in given:
        changes = merge(changes, {"optimizer": {"lr": given["lr"]}})
    changes |= {key: given[key] for key in _SETTINGS if key in given}
    return merge(changes, dotted_options(extra, arguments.parser, parts))


def over_file(file: Path | None, changes: dict[str, Any]) -> dict[str, Any]:
    """Return a file's configuration, if there is one, with changes laid over it."""
    config = merge(read_yaml(file) if file is not None else {}, changes)
    for key, name in _NAMED.items():
        if name is not None and isinstance(config.get(key), dict):
            config[key] = {"name": name, **config[key]}
    return config


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Train, and print the final scores."""
    wanted = configuration(arguments, extra)
    from equimodal import processes
    from equimodal.cli.processes import joined_processes
    from equimodal.report.records import read_run
    from equimodal.report.table import group_rows
    from equimodal.train.config import load_data, resolve, train

    config = resolve(wanted)
    with joined_processes(), ExitStack() as at_the_end:
        first = processes.rank() == 0
        sinks = [at_the_end.enter_context(sink) for sink in _sinks(arguments, config)] if first else []
        with data_steps() if first else nullcontext():
            data = load_data(config, arguments.data_dir)
        if first:
            say(_sizes(*data))
        modalities = data[0].modalities
        method, dataset, metric = config["method"], config["dataset"]["name"], config["metric"]
        title = f"{method['name']} on {dataset}, seed {config['seed']}; validation {metric} in percent"
        shown = (method["modality"],) if "modality" in method else modalities
        on_epoch = _each(show_epochs(title, shown, config["epochs"]), *sinks) if first else None
        finished = train(config, out=arguments.out, on_epoch=on_epoch, data=data)
        if first:
            if finished.found_complete:
                say(f"{arguments.out} holds this run, complete; nothing was trained")
            say(f"\nbest epoch {finished.result['best_epoch']} of {finished.result['epochs']}, by validation {metric}\n")
            say(str(group_rows([read_run(arguments.out)], modalities)))
            say(f"\nresult: {arguments.out / 'result.json'}")
    return 0


def _sinks(arguments: argparse.Namespace, config: dict[str, Any]) -> list[Any]:
    """Return what is to be given every epoch's record, besides the terminal."""
    sinks: list[Any] = []
    if arguments.tensorboard is not None:
        from equimodal.adapters.tensorboard import TensorBoardSink

        sinks.append(TensorBoardSink(arguments.tensorboard, config=config))
    if arguments.wandb is not None:
        from equimodal.adapters.wandb import WandbSink

        # Its files lie in the run's folder, which is there when the first epoch ends; it would say much besides.
        sinks.append(WandbSink(arguments.wandb, folder=arguments.out, config=config, settings={"silent": True}))
    return sinks


def _each(*functions: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """Return a function that calls several ones."""

    def call(record: dict[str, Any]) -> None:
        for function in functions:
            function(record)

    return call


def _sizes(dataset: Dataset, splits: Splits) -> str:
    """Return what was read, in a line or two."""
    sizes = ", ".join(f"{len(getattr(splits, name)):,} {said}" for name, said in SPLIT_NAMES.items())
    kinds = {"single-label": "classes", "multilabel": "labels"}.get(dataset.task, "outputs")
    found = f"{dataset.name}: {sizes} samples of {' + '.join(dataset.modalities)}; {dataset.num_outputs} {kinds}"
    lacking = {name: sum(_lacking(getattr(splits, split), name) for split in SPLIT_NAMES) for name in dataset.modalities}
    absent = "".join(f"; {count:,} samples lack {name}" for name, count in lacking.items() if count)
    return textwrap.fill(found + absent, WIDTH)


def _lacking(split: Any, modality: str) -> int:
    mask = getattr(split, "present", {}).get(modality)
    return 0 if mask is None else int((~mask).sum())
