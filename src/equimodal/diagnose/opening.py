"""A trained model with its data, from a run's folder or a checkpoint in one, for every command that asks a model something."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from equimodal.errors import InputError, UnusableRun
from equimodal.train.config import load_data
from equimodal.train.loading import RunFacts, is_recipe, load, read_config, run_facts

if TYPE_CHECKING:
    from os import PathLike

    from torch import nn

    from equimodal.data.base import Splits

__all__ = ["Opened", "open_run"]


@dataclass(frozen=True)
class Opened:
    """What a run's folder gives: its model and its data.

    :param folder: the run's folder.
    :param model: with its weights, on the CPU and in evaluation mode.
    :param splits: the data set.
    :param dataset: the data set's class with its options, which knows how samples are shown.
    :param task: the kind of targets.
    :param metric: the score that chose the best epoch.
    :param classes: the names of the classes, where they are known.
    :param title: the method and the data set in words.
    :param epoch: of the best weights; None for the last ones.
    :param same_data: whether the data are those that the run was trained on.
    :param config: the run's configuration.
    :param facts: what else the folder says of the model.
    """

    folder: Path
    model: nn.Module
    splits: Splits
    dataset: Any
    task: str
    metric: str
    classes: tuple[str, ...] | None
    title: str
    epoch: int | None
    same_data: bool
    config: dict[str, Any]
    facts: RunFacts


def open_run(
    path: str | PathLike[str], *, weights: Literal["best", "last"] | None = None, data_dir: str | PathLike[str] | None = None
) -> Opened:
    """Return the model and the data of a run of the command line.

    :param path: the run's folder, or a checkpoint in it, ``best.pt`` or ``last.pt``.
    :param weights: which ones; default those of the checkpoint that is named, else the best.
    :param data_dir: where the data set's files are.
    :raises UnusableRun: for a folder without a run, and a checkpoint without the configuration of its run beside it.
    :raises InputError: for a run of :func:`equimodal.fit`, whose folder makes neither its model nor its data, and data that cannot be read.
    """
    folder, named = _folder(Path(path))
    config = read_config(folder)
    if not is_recipe(config):
        raise InputError(
            f"{folder} is a run of fit, whose folder makes neither its model nor its data: load the weights with"
            " model = equimodal.load(run, model=my_model), and call equimodal.diagnose(model, data)"
        )
    facts = run_facts(folder)
    chosen = weights or named
    model = load(folder, weights=chosen)
    dataset, splits = load_data(config, None if data_dir is None else Path(data_dir))
    return Opened(
        folder=folder,
        model=model,
        splits=splits,
        dataset=dataset,
        task=dataset.task,
        metric=config["metric"],
        classes=facts.class_names,
        title=f"{facts.method['name']} on {facts.dataset['name']}",
        epoch=facts.epoch if chosen == "best" else None,
        same_data=splits.digest == config.get("prepared_data"),
        config=config,
        facts=facts,
    )


def _folder(path: Path) -> tuple[Path, Literal["best", "last"]]:
    if not path.is_file():
        return path, "best"
    which: dict[str, Literal["best", "last"]] = {"best.pt": "best", "last.pt": "last"}
    if not (path.parent / "config.yaml").is_file():
        raise UnusableRun(
            f"{path} has no configuration (config.yaml) beside it, so that its model cannot be made: give the whole folder of its run, or"
            " load the weights into a model and call equimodal.diagnose(model, data)"
        )
    if path.name not in which:
        raise InputError(f"{path} is no checkpoint of a run: give best.pt, last.pt or their folder")
    return path.parent, which[path.name]
