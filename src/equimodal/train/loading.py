"""A trained model from its run folder: the model with its weights, and what a user of it wants to know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from equimodal._configurable import construct
from equimodal.data import datasets
from equimodal.errors import InputError, UnusableRun, first_line, nearest
from equimodal.tasks import get_task
from equimodal.train.config import make_model
from equimodal.train.files import load_checkpoint
from equimodal.train.parts import made_method
from equimodal.train.record import FORMAT, identity

__all__ = ["RunFacts", "load", "run_facts"]

_FILES = {"best": "best.pt", "last": "last.pt"}
_COMPILED = "_orig_mod."
"""What ``torch.compile`` puts before the names of a model's weights."""


def load(run: str | Path, *, weights: Literal["best", "last"] = "best", model: nn.Module | None = None) -> Any:
    """Return the model of a run with its weights, on the CPU and in evaluation mode; the data set is not read.

    .. code-block:: python

        model = equimodal.load("runs/miles")
        with torch.no_grad():
            logits = model.predict({"audio": spectrograms})  # whatever is there

    The model is the one that was trained: a :class:`equimodal.nn.JointFusion`, or what the method made of it, such as the
    :class:`equimodal.nn.UnimodalModel` of a unimodal run. Of a run that is going on or was killed, it has the best weights so far.

    :param run: the folder of a run of ``equimodal train``, ``compare`` or :func:`equimodal.fit`.
    :param weights: ``"best"``, those of the epoch with the best validation score (default), or ``"last"``.
    :param model: for a run of :func:`equimodal.fit`, whose folder describes the model and cannot make it: the model as it was given to
        ``fit``, whose weights are replaced. A run of the command line makes its model itself.
    :raises UnusableRun: when the folder holds no run or no finished epoch, or is damaged, altered or of another version.
    :raises InputError: for a model that is missing, of other shapes, or given to a run that makes its own, and for a method, an encoder or
        options that are not here.
    """
    folder = Path(run)
    config = read_config(folder)
    state = read_weights(folder, config, weights)
    recipe = is_recipe(config)
    if model is None and not recipe:
        raise InputError(
            f"{folder} is a run of fit from a model object, which its folder describes and cannot make: give it, load(run, model=my_model)"
        )
    if model is not None and recipe:
        raise InputError(f"{folder} is a run of the command line, which makes its own model: leave out model")
    with torch.random.fork_rng([]):  # a method may draw when it is given its model
        built = _built(make_model(config, _num_outputs(folder, config, state)), config) if model is None else _fitted(model, config)
    put_weights(built, state, str(folder))
    return built.eval()


def _built(model: nn.Module, config: Mapping[str, Any]) -> nn.Module:
    """Return what the run's method trains of a model."""
    return made_method(config).build(model)


def _fitted(model: nn.Module, config: Mapping[str, Any]) -> nn.Module:
    """Return what the method of a call of ``fit`` trains of a model, as far as its description says which method that was."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model = {model!r}: the torch module that was given to fit is needed")
    try:
        method = made_method({"method": config["method"]})
    except (InputError, KeyError):  # a method of the caller's own, which need not have a name here
        return model
    return method.build(model)


@dataclass(frozen=True)
class RunFacts:
    """What a run's folder says of its model.

    :param modalities: their names in the order of the data set.
    :param num_outputs: classes, labels or numbers.
    :param task: ``"single-label"``, ``"multilabel"`` or ``"regression"``; None where the data set is not here.
    :param class_names: the names of the classes or labels in the order of the outputs; None where they have none that are known here.
    :param encoders: by modality, the encoder's name and options, which say what sizes it takes.
    :param fusion: the name of the fusion.
    :param dataset: the data set's name and options. It knows how inputs are prepared: ``datasets.get(name)(**options)``.
    :param method: the method's name and options.
    :param metric: the score that chose the best epoch.
    :param epoch: the epoch of the best weights.
    :param complete: whether the run is finished.
    """

    modalities: tuple[str, ...]
    num_outputs: int
    task: str | None
    class_names: tuple[str, ...] | None
    encoders: dict[str, Any]
    fusion: str
    dataset: dict[str, Any]
    method: dict[str, Any]
    metric: str
    epoch: int
    complete: bool


def run_facts(run: str | Path) -> RunFacts:
    """Return what a run of the command line says of its model; neither the data nor the weights' values are needed for it.

    :param run: the run's folder.
    :raises UnusableRun: see :func:`load`.
    :raises InputError: for a run of :func:`equimodal.fit`, whose folder does not know these things.
    """
    folder = Path(run)
    config = read_config(folder)
    if not is_recipe(config):
        raise InputError(
            f"{folder} is a run of fit, whose folder does not say what the model takes: look at the model, load(run, model=my_model)"
        )
    checkpoint = read_checkpoint(folder, config, "best")
    part = dict(config["dataset"])
    name = part.pop("name")
    try:
        dataset = construct(datasets.get(name), part, f"data set {name!r}")
    except InputError:  # such as a description of files that are elsewhere
        dataset = None
    outputs = _num_outputs(folder, config, checkpoint["model"])
    names = None if dataset is None else dataset.class_names
    trained = config["method"].get("modality") if config["method"]["name"] == "unimodal" else None
    return RunFacts(
        modalities=(trained,) if trained else tuple(config["model"]["encoders"]),
        num_outputs=outputs,
        task=None if dataset is None else get_task(dataset.task).name,
        class_names=tuple(map(str, names)) if names and len(names) == outputs else None,
        encoders=dict(config["model"]["encoders"]),
        fusion=config["model"]["fusion"],
        dataset=dict(config["dataset"]),
        method=dict(config["method"]),
        metric=config["metric"],
        epoch=checkpoint["epoch"],
        complete=(folder / "complete").exists(),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a run, which must be whole and unaltered.

    :raises UnusableRun: when there is none.
    """
    file = folder / "config.yaml"
    if not file.is_file():
        what = "it holds no config.yaml" if folder.is_dir() else "there is no such folder"
        raise UnusableRun(f"no run in {str(folder)!r}: {what}; give a folder that a training run wrote")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnusableRun(f"{file} cannot be read: {error.strerror or error}") from None
    except ValueError:
        config = None
    if not isinstance(config, dict) or "identity" not in config:
        raise UnusableRun(f"{file} is no configuration that a run wrote: give a folder that a training run wrote")
    if config.get("format") != FORMAT:
        raise UnusableRun(f"{folder} holds a run of format {config.get('format')!r}: this version reads format {FORMAT}")
    if config["identity"] != identity({key: value for key, value in config.items() if key not in ("format", "identity")}):
        raise UnusableRun(f"{file} was altered after the run began, so that its weights may not fit it: restore it, or train anew")
    return config


def read_weights(folder: Path, config: Mapping[str, Any], weights: str = "best") -> dict[str, Tensor]:
    """Return the weights of a run, on the CPU.

    :raises UnusableRun: when there are none, or those of another run.
    """
    state: dict[str, Tensor] = read_checkpoint(folder, config, weights)["model"]
    return state


def read_checkpoint(folder: Path, config: Mapping[str, Any], weights: str) -> dict[str, Any]:
    """Return a checkpoint of a run, on the CPU: its weights under ``"model"``, its number of epochs under ``"epoch"``.

    :raises UnusableRun: when there is none, or that of another run.
    """
    if weights not in _FILES:
        raise InputError(f"weights = {weights!r}: {nearest(str(weights), _FILES)}")
    path = folder / _FILES[weights]
    if not path.exists():
        waits = "wait for its first epoch, or begin it again with the same command"
        hint = "trials of a study's search keep none, its final runs do" if (folder / "complete").exists() else waits
        raise UnusableRun(f"{folder} holds no weights ({path.name}): {hint}")
    state = load_checkpoint(path)
    if state.get("identity") != config["identity"] or not isinstance(state.get("model"), dict):
        raise UnusableRun(f"{path} belongs to another run: give a folder as a training run wrote it")
    return state


def is_recipe(config: Mapping[str, Any]) -> bool:
    """Tell whether a configuration can make its model, as that of the command line, or only describes one, as that of ``fit``."""
    dataset, model = config.get("dataset"), config.get("model")
    return isinstance(dataset, Mapping) and "name" in dataset and isinstance(model, Mapping) and {"fusion", "encoders"} <= model.keys()


def _num_outputs(folder: Path, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> int:
    """Return the number of outputs, which the weights of any head tell without the data set."""
    for name in (*(f"heads.{modality}.weight" for modality in config["model"]["encoders"]), "head.weight"):
        if name in state:
            return len(state[name])
    raise UnusableRun(
        f"the weights in {folder} hold no head of {', '.join(config['model']['encoders'])}: load them into a model of your own"
    )


def put_weights(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Put weights into a model whose names they bear; a compiled model and an uncompiled one take each other's.

    :param where: what holds them, for messages.
    :raises InputError: when they do not fit.
    """
    known = model.state_dict().keys()
    state = {plain_name(name): value for name, value in state.items()}
    if any(_COMPILED in name for name in known):
        compiled = {plain_name(name): name for name in known}
        state = {compiled.get(name, name): value for name, value in state.items()}
    missing, strange = [name for name in known if name not in state], [name for name in state if name not in known]
    if missing or strange:
        lacks = f"lack {missing[0]!r}" if missing else f"hold {strange[0]!r}, which the model has not"
        raise InputError(f"the weights in {where} {lacks}: {type(model).__name__} is not the model that was trained")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        said = str(error).splitlines()[1].strip() if len(str(error).splitlines()) > 1 else first_line(error)
        raise InputError(f"the weights in {where} do not fit {type(model).__name__}: {said.rstrip('.')}") from None


def plain_name(name: str) -> str:
    """Return the name that a weight has in the model before ``torch.compile``."""
    return name.replace(_COMPILED, "")
