"""A run from its configuration: plain values in, every default filled in, objects out."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from equimodal._configurable import matches
from equimodal.data import datasets
from equimodal.data.augment import augmented, make_augmentations
from equimodal.data.samples import as_samples
from equimodal.errors import InputError, nearest
from equimodal.groups import modality_groups, modality_modules
from equimodal.nn import JointFusion
from equimodal.nn.encoders import ENCODERS, make_encoder
from equimodal.nn.fusion import FUSIONS
from equimodal.scores import MULTIMODAL
from equimodal.tasks import get_task
from equimodal.train.loop import Run, fit
from equimodal.train.parts import (
    as_defaults,
    filled,
    made,
    made_method,
    method_options,
    optimizer_class,
    optimizer_factory,
    part_of,
    scheduler_class,
    scheduler_factory,
    with_tuples,
)
from equimodal.train.record import FORMAT, plain
from equimodal.train.rehearsal import rehearse_model, rehearse_optimizer
from equimodal.train.seeds import derived_seed
from equimodal.train.setting import the_device

if TYPE_CHECKING:
    from equimodal.data import Dataset
    from equimodal.data.base import Splits

__all__ = ["DEFAULTS", "check", "load_data", "make_model", "resolve", "train"]

DEFAULTS: Mapping[str, Any] = {
    "dataset": {"name": "digits-av"},
    "model": {"fusion": "concat", "encoders": {}},
    "method": {"name": "miles"},
    "optimizer": {"name": "Adam", "lr": 0.001},
    "scheduler": None,
    "groups": {"overrides": {}, "no_decay": False},
    "epochs": 20,
    "batch_size": 64,
    "metric": None,
    "seed": 0,
    "accumulate": 1,
    "clip": None,
    "autocast": None,
    "device": "auto",
    "threads": 1,
    "stop": None,
    "augment": {},
}
"""The configuration of ``equimodal train`` without options."""

_TYPES: Mapping[str, tuple[Any, str]] = {
    "epochs": (int, "a whole number"),
    "batch_size": (int, "a whole number"),
    "metric": (str | None, "a name, or null for the data set's,"),
    "seed": (int, "a whole number"),
    "accumulate": (int, "a whole number"),
    "clip": (float | None, "a number, or null for none,"),
    "autocast": (str | None, "a name, or null for none,"),
    "device": (str, "a name"),
    "threads": (int, "a whole number"),
    "stop": (int | None, "a whole number, or null for none,"),
}

_DATA = "prepared_data"
"""Where a run's configuration holds the checksum of its data, which says nothing of how to make such a run."""

_PRECISIONS = {"bfloat16": torch.bfloat16}
_DEVICES = ("cpu", "cuda", "mps", "xpu")
_MOST_THREADS = 1024


def _check_keys(given: Any, known: Sequence[str], where: str) -> Mapping[str, Any]:
    """Return a mapping whose keys are all known."""
    if not isinstance(given, Mapping):
        raise InputError(f"{where} = {given!r}: a mapping is needed, with any of {', '.join(known)}")
    for key in given:
        if key not in known:
            raise InputError(f"unknown key {key!r} in {where}: {nearest(str(key), known)}")
    return given


def _check_finite(value: Any, where: str = "") -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} = {value}: a finite number is needed")
    if isinstance(value, (Mapping, list, tuple)):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            _check_finite(item, f"{where}.{key}" if where else str(key))


def resolve(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with every default filled in, checked, as plain values.

    >>> resolve({"method": "miles", "epochs": 3})["method"]["tau"]
    0.2

    :param config: any of the keys of :data:`DEFAULTS`; ``dataset``, ``method``, ``optimizer`` and ``scheduler`` are a name or a
        mapping with a name and options.
    :raises InputError: for an unknown key, name or option (with the nearest right one), or a value of the wrong type.
    """
    if config.get("format", FORMAT) != FORMAT:
        raise InputError(f"this configuration has format {config['format']!r}: this version reads format {FORMAT}")
    config = {key: value for key, value in config.items() if key not in ("format", "identity", _DATA)}
    config = {**DEFAULTS, **_check_keys(config, tuple(DEFAULTS), "the configuration")}
    _check_settings(config)
    _check_described(part_of(config, "dataset")["name"])
    dataset, method = made(config, "dataset", datasets), made_method(config)
    optimizer = part_of(config, "optimizer")
    optimizer_type = optimizer_class(optimizer.pop("name"))
    resolved = {
        **config,
        "dataset": {"name": part_of(config, "dataset")["name"], **dataset.options()},
        "model": _resolve_model(config["model"], dataset),
        "method": method_options(config, method),
        "optimizer": {"name": optimizer_type.__name__, **filled(optimizer_type, optimizer)},
        "scheduler": None if config["scheduler"] is None else _resolve_scheduler(part_of(config, "scheduler")),
        "groups": _resolve_groups(config["groups"], dataset.modalities, optimizer_type),
        "clip": None if config["clip"] is None else float(config["clip"]),
        "device": _resolve_device(config["device"]),
        "metric": config["metric"] or dataset.metric,
        "augment": {
            modality: [{"name": step.name, **step.options()} for step in steps]
            for modality, steps in make_augmentations(config["augment"], dataset.modalities).items()
        },
    }
    ordered: dict[str, Any] = plain({key: resolved[key] for key in DEFAULTS})
    return ordered


def _check_described(name: str) -> None:
    """Refuse the path of a description where the name of a data set belongs."""
    if name.endswith((".yaml", ".yml")):
        raise InputError(f"dataset = {name!r} is a file: data of your own are named with --dataset own --dataset.file {name}")


def _check_settings(config: Mapping[str, Any]) -> None:
    for key, (hint, needed) in _TYPES.items():
        if not matches(config[key], hint):
            raise InputError(f"{key} = {config[key]!r} is of type {type(config[key]).__name__}: {needed} is needed")
    for key in ("epochs", "batch_size", "accumulate", "threads", "stop"):
        if config[key] is not None and config[key] < 1:
            raise InputError(f"{key} = {config[key]}: a whole number of at least 1 is needed")
    _check_finite(config)
    if config["autocast"] is not None and config["autocast"] not in _PRECISIONS:
        raise InputError(f"autocast = {config['autocast']!r}: {', '.join(_PRECISIONS)} or null is needed")
    if config["clip"] is not None and config["clip"] <= 0:
        raise InputError(f"clip = {config['clip']}: a norm above 0 is needed, or null for none")
    if config["threads"] > _MOST_THREADS:
        raise InputError(f"threads = {config['threads']}: at most {_MOST_THREADS} can be used")


def _resolve_device(name: str) -> str:
    if name == "auto":
        return the_device(name).type
    kind = name.partition(":")[0]
    if kind not in _DEVICES:
        raise InputError(f"device = {name!r}: one of {', '.join(_DEVICES)} is needed, or auto")
    return kind if kind == "cpu" else name


def _resolve_scheduler(part: dict[str, Any]) -> dict[str, Any]:
    name, interval = part.pop("name"), part.pop("interval", "epoch")
    cls = scheduler_class(name)
    if interval not in ("epoch", "step"):
        raise InputError(f"scheduler.interval = {interval!r}: epoch or step is needed")
    if interval == "step" and issubclass(cls, ReduceLROnPlateau):
        raise InputError(f"scheduler.interval = {interval!r}: {name} looks at validation scores, so epoch is needed")
    return {"name": name, "interval": interval, **filled(cls, part, ("optimizer",))}


def _resolve_model(model: Any, dataset: Dataset) -> dict[str, Any]:
    fusion = _check_keys(model, ("fusion", "encoders"), "model").get("fusion", "concat")
    if fusion not in FUSIONS:
        raise InputError(f"model.fusion = {fusion!r} is no fusion: {nearest(str(fusion), FUSIONS)}")
    given = _check_keys(model.get("encoders") or {}, dataset.modalities, "model.encoders")
    encoders = {}
    for modality in dataset.modalities:
        part = given.get(modality, {})
        part = {"name": part} if isinstance(part, str) else part
        standard = dict(dataset.encoders[modality])
        if not isinstance(part, Mapping) or not isinstance(part.get("name", ""), str):
            raise InputError(f"model.encoders.{modality} = {part!r}: the name of an encoder, or a mapping with options, is needed")
        spec = {**standard, **part} if part.get("name", standard["name"]) == standard["name"] else dict(part)
        name = spec.pop("name")
        encoders[modality] = {"name": name, **filled(ENCODERS.get(name), spec)}
    return {"fusion": fusion, "encoders": encoders}


def _resolve_groups(groups: Any, modalities: tuple[str, ...], optimizer_type: type) -> dict[str, Any]:
    given = _check_keys(groups, ("overrides", "no_decay"), "groups")
    no_decay = given.get("no_decay", False)
    if not isinstance(no_decay, bool):
        raise InputError(f"groups.no_decay = {no_decay!r}: true or false is needed")
    known = [name for name in inspect.signature(optimizer_type).parameters if name != "params"]
    overrides = {}
    for modality, options in _check_keys(given.get("overrides") or {}, (*modalities, MULTIMODAL), "groups.overrides").items():
        checked = _check_keys(options, known, f"groups.overrides.{modality}")
        overrides[modality] = as_defaults(optimizer_type, checked)
    return {"overrides": overrides, "no_decay": no_decay}


def load_data(config: Mapping[str, Any], data_dir: Path | None = None) -> tuple[Dataset, Splits]:
    """Return the data set of a configuration and its splits."""
    dataset = made(config, "dataset", datasets)
    return dataset, as_samples(dataset.load(data_dir))


def train(
    config: Mapping[str, Any],
    *,
    data_dir: Path | None = None,
    out: Path | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    data: tuple[Dataset, Splits] | None = None,
    test: bool = True,
) -> Run:
    """Run a configuration; the same call goes on where a killed one left off.

    :param config: see :func:`resolve`.
    :param data_dir: where the data set's files are; no part of the configuration.
    :param out: the run's folder.
    :param on_epoch: called with each epoch's record.
    :param data: what :func:`load_data` returned, to share it between runs.
    :param test: whether the test split is read at the end; a search leaves it alone. No part of the configuration.
    :raises InputError: see :func:`resolve` and :func:`equimodal.train.fit`.
    """
    config = resolve(config)
    dataset, splits = data if data is not None else load_data(config, data_dir)
    model = make_model(config, dataset.num_outputs)
    _rehearse(config, model, dataset, splits)
    scheduler, interval = scheduler_factory(config)
    passed = {key: config[key] for key in ("epochs", "batch_size", "metric", "seed", "accumulate", "clip", "device", "threads", "stop")}
    return fit(
        model,
        splits.train,
        splits.val,
        test=splits.test if test else None,
        method=made_method(config),
        optimizer=optimizer_factory(config),
        scheduler=scheduler,
        scheduler_interval=interval,
        groups=_groups(config),
        task=dataset.task,
        autocast=_PRECISIONS.get(config["autocast"]),
        augment=config["augment"],
        out=out,
        config=config if splits.digest is None else {**config, _DATA: splits.digest},
        on_epoch=on_epoch,
        **passed,
    )


def check(config: Mapping[str, Any], data: tuple[Dataset, Splits], *, test: bool = True) -> None:
    """Refuse what :func:`train` would refuse before its first epoch; nothing is trained or written.

    :param config: see :func:`resolve`.
    :param data: what :func:`load_data` returned.
    :param test: whether the run is to read the test split.
    :raises InputError: see :func:`resolve`, and for parts that do not go together or do not suit the data.
    """
    config = resolve(config)
    dataset, splits = data
    model, method, task = make_model(config, dataset.num_outputs), made_method(config), get_task(dataset.task)
    task.metric(config["metric"])
    given = {"train": splits.train, "val": splits.val, **({"test": splits.test} if test else {})}
    for name, split in given.items():
        if not len(split):
            raise InputError(f"the {name} split is empty")
        task.check(split.targets, name, dataset.num_outputs)
    _rehearse(config, model, dataset, splits)
    with torch.random.fork_rng([]):
        built = method.build(model, task.loss)
        given["train"] = method.training_data(splits.train)
    method.check({name: len(split) for name, split in given.items()})
    try:
        method.attach(optimizer_factory(config)(_parameter_groups(config, built)))
    finally:
        method.detach()


def make_model(config: Mapping[str, Any], num_outputs: int) -> JointFusion:
    """Return the model of a resolved configuration with its initial weights; torch's random state stays as it was.

    :param num_outputs: how many classes, labels or values the data set has.
    """
    with torch.random.fork_rng([]):
        # Weights are drawn on the CPU, so that they are the same on every device.
        torch.manual_seed(derived_seed(config["seed"], "weights"))
        encoders = {modality: make_encoder(spec) for modality, spec in config["model"]["encoders"].items()}
        return JointFusion(encoders, num_outputs, config["model"]["fusion"])


def _groups(config: Mapping[str, Any]) -> dict[str, Any]:
    overrides = {modality: with_tuples(options) for modality, options in config["groups"]["overrides"].items()}
    return {**config["groups"], "overrides": overrides}


def _parameter_groups(config: Mapping[str, Any], model: nn.Module) -> list[dict[str, Any]]:
    return modality_groups(model, **_groups(config)) if modality_modules(model) else [{"params": list(model.parameters())}]


def _rehearse(config: Mapping[str, Any], model: JointFusion, dataset: Dataset, splits: Splits) -> None:
    """Try the parts of a run together before a folder is made for it."""
    rehearse_model(model, splits.val[:2])
    _rehearse_augmentations(config, splits)
    device, (scheduler, interval) = the_device(config["device"]), scheduler_factory(config)
    with torch.random.fork_rng([]):
        trained = made_method(config).build(copy.deepcopy(model), get_task(dataset.task).loss)
    groups = _parameter_groups(config, trained)
    for modality, options in config["groups"]["overrides"].items():
        changed = optimizer_factory(config, options, f"groups.overrides.{modality}")
        rehearse_optimizer(groups[:1], changed, None, device, 0)
    batches = math.ceil(len(splits.train) / config["batch_size"])
    steps = config["epochs"] * (math.ceil(batches / config["accumulate"]) if interval == "step" else 1)
    rehearse_optimizer(groups, optimizer_factory(config), scheduler, device, steps)


def _rehearse_augmentations(config: Mapping[str, Any], splits: Splits) -> None:
    changes = make_augmentations(config["augment"], tuple(config["model"]["encoders"]))
    batch = splits.val[:2]
    generators = {(modality, place): torch.Generator() for modality, steps in changes.items() for place in range(len(steps))}
    augmented(batch, changes, generators, len(batch), slice(None))
