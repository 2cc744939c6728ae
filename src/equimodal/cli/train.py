"""``equimodal train``: one run, any data set, method and option."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from equimodal.cli.parser import Parser, dotted_options, folder, say, value_of, whole_number
from equimodal.cli.progress import show_epochs
from equimodal.errors import InputError, require

__all__ = ["add_parser"]

_COMPONENTS = ("dataset", "method", "optimizer", "scheduler", "model", "groups")
_SETTINGS = ("epochs", "batch_size", "seed", "accumulate", "threads", "stop")

_EPILOG = """\
Options of the parts are given by their path, and read as JSON:
  --dataset.split unseen-speakers    --method.tau 0.1      --optimizer.lr 3e-4
  --scheduler CosineAnnealingLR      --scheduler.T_max 20  --scheduler.interval epoch
  --model.fusion sum                 --model.encoders.image.depth 10
  --groups.overrides.audio.lr 1e-4   --groups.no_decay true

The folder holds config.yaml (every option as it was used; give it back with --config), metrics.jsonl, result.json and the
checkpoints. Killed at any moment, the same command goes on from the last finished epoch and ends with the same numbers.

  equimodal train --dataset digits-av --method miles --method.tau 0.1 --epochs 20 --out runs/miles
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser: Parser = commands.add_parser("train", help="train one model and write a run folder", description=__doc__, epilog=_EPILOG)
    parser.add_argument("--out", type=folder, required=True, metavar="FOLDER", help="the run's folder")
    parser.add_argument("--config", type=folder, metavar="FILE", help="a YAML file with any of the options below; flags go before it")
    parser.add_argument("--data-dir", type=folder, metavar="FOLDER", help="where the data set's files are; only ever read")
    parser.add_argument("--dataset", metavar="NAME", help="data set (see: equimodal data); default digits-av")
    parser.add_argument("--method", metavar="NAME", help="method (see: equimodal methods) or module:Class; default miles")
    parser.add_argument("--optimizer", metavar="NAME", help="any class of torch.optim; default Adam")
    parser.add_argument("--scheduler", metavar="NAME", help="any class of torch.optim.lr_scheduler; default none")
    parser.add_argument("--lr", type=float, help="learning rate, short for --optimizer.lr; default 0.001")
    parser.add_argument("--epochs", type=whole_number, metavar="N", help="default 20")
    parser.add_argument("--batch-size", type=whole_number, metavar="N", help="samples per batch over all processes; default 64")
    parser.add_argument("--seed", type=whole_number, metavar="N", help="root of all seeds; default 0")
    parser.add_argument("--accumulate", type=whole_number, metavar="N", help="batches per optimizer step; default 1")
    parser.add_argument("--clip", type=float, metavar="NORM", help="largest norm of the gradient; default none")
    parser.add_argument("--autocast", metavar="TYPE", help="bfloat16 to compute in it; default none")
    parser.add_argument("--device", metavar="NAME", help="cpu or cuda; default the GPU where there is one")
    parser.add_argument("--threads", type=whole_number, metavar="N", help="CPU threads; default 1; part of the configuration")
    parser.add_argument("--stop", type=whole_number, metavar="N", help="end after N epochs without a better validation score")
    parser.add_argument("--metric", metavar="NAME", help="the score that rules and selection use; default the data set's")
    parser.set_defaults(run=run, parser=parser)


def read_config(path: Path) -> dict[str, Any]:
    """Return a YAML file's mapping.

    :raises InputError: for a file that is missing, no YAML, or no mapping.
    """
    yaml = require("ruamel.yaml", extra="cli")
    try:
        found = yaml.YAML(typ="safe", pure=True).load(path.read_text())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (yaml.error.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f", line {place.line + 1}" if place is not None else ""
        raise InputError(f"{path} is no YAML{where}: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {type(found).__name__} {found!r}: a mapping of options is needed, such as 'epochs: 20'")
    return found


def merge(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Lay changes over a configuration; a part that is given another name loses the options of the earlier one.

    >>> merge({"method": {"name": "miles", "tau": 0.1}}, {"method": {"mu": 0.3}})
    {'method': {'name': 'miles', 'tau': 0.1, 'mu': 0.3}}
    >>> merge({"method": {"name": "miles", "tau": 0.1}}, {"method": {"name": "joint"}})
    {'method': {'name': 'joint'}}
    """
    merged = dict(config)
    for key, change in changes.items():
        before = merged.get(key)
        if isinstance(before, str) and isinstance(change, dict):
            before = {"name": before}
        if isinstance(before, dict) and isinstance(change, dict) and change.get("name", before.get("name")) == before.get("name"):
            merged[key] = merge(before, change)
        else:
            merged[key] = change
    return merged


def configuration(arguments: argparse.Namespace, extra: list[str]) -> dict[str, Any]:
    """Return the configuration that a file, flags and dotted options say together; not yet resolved."""
    changes: dict[str, Any] = {}
    for key in ("dataset", "method", "optimizer", "scheduler"):
        if getattr(arguments, key, None) is not None:
            value = value_of(getattr(arguments, key))
            changes[key] = {"name": value} if isinstance(value, str) else value
    if getattr(arguments, "lr", None) is not None:
        changes = merge(changes, {"optimizer": {**changes.get("optimizer", {}), "lr": arguments.lr}})
    for key in (*_SETTINGS, "clip", "autocast", "device", "metric"):
        if getattr(arguments, key, None) is not None:
            changes[key] = getattr(arguments, key)
    changes = merge(changes, dotted_options(extra, arguments.parser, _COMPONENTS))
    config = read_config(arguments.config) if getattr(arguments, "config", None) is not None else {}
    for key, default in (("dataset", "digits-av"), ("method", "miles"), ("optimizer", "Adam")):
        if isinstance(changes.get(key), dict) and "name" not in changes[key] and key not in config:
            changes[key] = {"name": default, **changes[key]}
    return merge(config, changes)


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Train, and print the final scores."""
    from equimodal.cli.processes import joined_processes
    from equimodal.report.records import read_run
    from equimodal.report.table import group_rows
    from equimodal.train import processes
    from equimodal.train.config import load_data, resolve, train

    config = resolve(configuration(arguments, extra))
    with joined_processes():
        first = processes.rank() == 0
        data = load_data(config, arguments.data_dir)
        modalities = data[0].modalities
        shown = (config["method"]["modality"],) if "modality" in config["method"] else modalities
        title = (
            f"{config['method']['name']} on {config['dataset']['name']}, seed {config['seed']}; validation {config['metric']} in percent"
        )
        on_epoch = show_epochs(title, shown, config["epochs"]) if first else None
        finished = train(config, out=arguments.out, on_epoch=on_epoch, data=data)
        if first:
            if finished.found_complete:
                say(f"{arguments.out} holds this run, complete; nothing was trained")
            say(f"\nbest epoch {finished.result['best_epoch']} of {finished.result['epochs']}, by validation {config['metric']}\n")
            say(str(group_rows([read_run(arguments.out)], modalities)))
            say(f"\nresult: {arguments.out / 'result.json'}")
    return 0
