"""A run from its configuration: plain values in, every default filled in, objects out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from equimodal._configurable import construct, matches, option_defaults
from equimodal.data import datasets
from equimodal.errors import InputError, nearest
from equimodal.methods import methods
from equimodal.nn import JointFusion
from equimodal.nn.encoders import ENCODERS, make_encoder
from equimodal.train.loop import Run, fit
from equimodal.train.record import plain
from equimodal.train.seeds import derived_seed
from equimodal.train.setting import the_device

if TYPE_CHECKING:
    from equimodal.data import Dataset
    from equimodal.data.base import Splits

__all__ = ["DEFAULTS", "load_data", "resolve", "train"]

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
}
"""The configuration of ``equimodal train`` without options."""

_TYPES: Mapping[str, Any] = {
    "epochs": int,
    "batch_size": int,
    "metric": str | None,
    "seed": int,
    "accumulate": int,
    "clip": float | None,
    "autocast": str | None,
    "device": str,
    "threads": int,
    "stop": int | None,
}

_PRECISIONS = {"bfloat16": torch.bfloat16}


def _part(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a part of the configuration that is a name with options; the bare name is short for it."""
    value = config[key]
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise InputError(f"{key} = {value!r}: a name, or a mapping with a name and options, is needed")
    return dict(value)


def _filled(cls: type, options: Mapping[str, Any], skip: tuple[str, ...] = ()) -> dict[str, Any]:
    return {**plain(option_defaults(cls, skip)), **options}


def _torch_class(name: str, module: Any, bases: tuple[type, ...], what: str) -> type:
    known = {
        key: value for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, bases) and value not in bases[:1]
    }
    if name not in known:
        raise InputError(f"unknown {what} {name!r}: {nearest(name, known)}")
    return known[name]


def _optimizer_class(name: str) -> type:
    return _torch_class(name, torch.optim, (Optimizer,), "optimizer")


def _scheduler_class(name: str) -> type:
    return _torch_class(name, torch.optim.lr_scheduler, (LRScheduler, ReduceLROnPlateau), "scheduler")


def resolve(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with every default filled in, checked, as plain values.

    >>> resolve({"method": "miles", "epochs": 3})["method"]["tau"]
    0.2

    :param config: any of the keys of :data:`DEFAULTS`; ``dataset``, ``method``, ``optimizer`` and ``scheduler`` are a name or a
        mapping with a name and options.
    :raises InputError: for an unknown key, name or option (with the nearest right one), or a value of the wrong type.
    """
    config = {key: value for key, value in config.items() if key not in ("format", "identity")}
    for key in config:
        if key not in DEFAULTS:
            raise InputError(f"unknown key {key!r} in the configuration: {nearest(str(key), DEFAULTS)}")
    config = {**DEFAULTS, **config}
    for key, hint in _TYPES.items():
        if not matches(config[key], hint):
            kinds = str(getattr(hint, "__name__", hint)).replace(" | None", ", or null")
            raise InputError(f"{key} = {config[key]!r} is of type {type(config[key]).__name__}: {kinds} is needed")
    if config["autocast"] is not None and config["autocast"] not in _PRECISIONS:
        raise InputError(f"autocast = {config['autocast']!r}: {nearest(config['autocast'], _PRECISIONS)} or null")
    dataset_part, method_part, optimizer_part = (_part(config, key) for key in ("dataset", "method", "optimizer"))
    dataset_name, method_name, optimizer_name = (part.pop("name") for part in (dataset_part, method_part, optimizer_part))
    dataset = construct(datasets.get(dataset_name), dataset_part, f"data set {dataset_name!r}")
    method = construct(methods.get(method_name), method_part, f"method {method_name!r}")
    resolved = {
        **config,
        "dataset": {"name": dataset_name, **dataset.options()},
        "model": _resolve_model(config["model"], dataset),
        "method": {"name": method_name, **method.options()},
        "optimizer": {"name": optimizer_name, **_filled(_optimizer_class(optimizer_name), optimizer_part, ("params",))},
        "groups": _resolve_groups(config["groups"], dataset.modalities),
        "device": the_device(config["device"]).type if config["device"] == "auto" else config["device"],
        "metric": config["metric"] or dataset.metric,
    }
    if config["scheduler"] is not None:
        part = _part(config, "scheduler")
        name, interval = part.pop("name"), part.pop("interval", "epoch")
        resolved["scheduler"] = {"name": name, "interval": interval, **_filled(_scheduler_class(name), part, ("optimizer",))}
    ordered: dict[str, Any] = plain({key: resolved[key] for key in DEFAULTS})
    return ordered


def _resolve_model(model: Any, dataset: Dataset) -> dict[str, Any]:
    if not isinstance(model, Mapping):
        raise InputError(f"model = {model!r}: a mapping with 'fusion' and 'encoders' is needed")
    for key in model:
        if key not in ("fusion", "encoders"):
            raise InputError(f"unknown key {key!r} in model: {nearest(str(key), ('fusion', 'encoders'))}")
    given = model.get("encoders") or {}
    if not isinstance(given, Mapping):
        raise InputError(f"model.encoders = {given!r}: a mapping from modality to encoder is needed")
    encoders = {}
    for modality in given:
        if modality not in dataset.modalities:
            raise InputError(f"model.encoders has unknown modality {modality!r}: {nearest(str(modality), dataset.modalities)}")
    for modality in dataset.modalities:
        part = given.get(modality, {})
        part = {"name": part} if isinstance(part, str) else dict(part)
        standard = dict(dataset.encoders[modality])
        spec = {**standard, **part} if part.get("name", standard["name"]) == standard["name"] else part
        encoders[modality] = {"name": spec["name"], **_filled(ENCODERS.get(spec["name"]), {k: v for k, v in spec.items() if k != "name"})}
    return {"fusion": model.get("fusion", "concat"), "encoders": encoders}


def _resolve_groups(groups: Any, modalities: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(groups, Mapping):
        raise InputError(f"groups = {groups!r}: a mapping with 'overrides' and 'no_decay' is needed")
    for key in groups:
        if key not in ("overrides", "no_decay"):
            raise InputError(f"unknown key {key!r} in groups: {nearest(str(key), ('overrides', 'no_decay'))}")
    overrides, no_decay = groups.get("overrides") or {}, groups.get("no_decay", False)
    if not isinstance(no_decay, bool):
        raise InputError(f"groups.no_decay = {no_decay!r}: true or false is needed")
    for modality, options in overrides.items() if isinstance(overrides, Mapping) else [("overrides", overrides)]:
        if modality not in (*modalities, "multimodal") or not isinstance(options, Mapping):
            raise InputError(
                f"groups.overrides.{modality} = {options!r}: a mapping of options under one of multimodal, {', '.join(modalities)}"
            )
    return {"overrides": {modality: dict(options) for modality, options in overrides.items()}, "no_decay": no_decay}


def load_data(config: Mapping[str, Any], data_dir: Path | None = None) -> tuple[Dataset, Splits]:
    """Return the data set of a configuration and its splits."""
    part = _part(config, "dataset")
    name = part.pop("name")
    dataset = construct(datasets.get(name), part, f"data set {name!r}")
    return dataset, dataset.load(data_dir)


def _optimizer_factory(config: Mapping[str, Any]) -> Callable[[list[dict[str, Any]]], Optimizer]:
    part = _part(config, "optimizer")
    cls = _optimizer_class(part.pop("name"))
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in part.items()}

    def make(groups: list[dict[str, Any]]) -> Optimizer:
        made: Optimizer = construct(cls, options, f"optimizer {cls.__name__!r}", {"params": groups})
        return made

    return make


def _scheduler_factory(config: Mapping[str, Any]) -> tuple[Callable[[Optimizer], Any] | None, str]:
    if config["scheduler"] is None:
        return None, "epoch"
    part = _part(config, "scheduler")
    cls, interval = _scheduler_class(part.pop("name")), part.pop("interval", "epoch")

    def make(optimizer: Optimizer) -> Any:
        return construct(cls, part, f"scheduler {cls.__name__!r}", {"optimizer": optimizer})

    return make, interval


def train(
    config: Mapping[str, Any],
    *,
    data_dir: Path | None = None,
    out: Path | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    data: tuple[Dataset, Splits] | None = None,
) -> Run:
    """Run a configuration; the same call goes on where a killed one left off.

    :param config: see :func:`resolve`.
    :param data_dir: where the data set's files are; no part of the configuration.
    :param out: the run's folder.
    :param on_epoch: called with each epoch's record.
    :param data: what :func:`load_data` returned, to share it between runs.
    :raises InputError: see :func:`resolve` and :func:`equimodal.train.fit`.
    """
    config = resolve(config)
    dataset, splits = data if data is not None else load_data(config, data_dir)
    with torch.random.fork_rng([]):
        # Weights are drawn on the CPU, so that they are the same on every device.
        torch.manual_seed(derived_seed(config["seed"], "weights"))
        encoders = {modality: make_encoder(spec) for modality, spec in config["model"]["encoders"].items()}
        model = JointFusion(encoders, dataset.num_outputs, config["model"]["fusion"])
    method_part = _part(config, "method")
    method_name = method_part.pop("name")
    scheduler, interval = _scheduler_factory(config)
    passed = {
        key: config[key] for key in ("epochs", "batch_size", "metric", "seed", "accumulate", "clip", "device", "threads", "stop", "groups")
    }
    run = functools.partial(
        fit, model, splits.train, splits.val, test=splits.test, task=dataset.task, config=config, out=out, on_epoch=on_epoch
    )
    return run(
        method=construct(methods.get(method_name), method_part, f"method {method_name!r}"),
        optimizer=_optimizer_factory(config),
        scheduler=scheduler,
        scheduler_interval=interval,
        autocast=_PRECISIONS.get(config["autocast"]),
        **passed,
    )
