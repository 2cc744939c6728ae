"""How far training moves each modality's encoder, from checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from equimodal.errors import InputError
from equimodal.train.loading import plain_name, read_checkpoint, read_config

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["encoder_parameters", "encoder_parts", "norm_of", "run_update_sizes", "update_sizes"]


def encoder_parts(model: Any) -> dict[str, Any]:
    """Return by modality the module or parameters, or several, of its encoder; empty for a model without ``modality_modules()``."""
    of_model = getattr(model, "modality_modules", None)
    return {name: roles.get("encoder") for name, roles in of_model().items()} if callable(of_model) else {}


def encoder_parameters(model: Any) -> dict[str, dict[str, nn.Parameter]]:
    """Return by modality the trainable parameters of its encoder by their names in the model; a name that the compiler changed as before.

    >>> from equimodal.nn import MLP, JointFusion
    >>> model = JointFusion({"audio": MLP(3, hidden=()), "image": MLP(5, hidden=()).requires_grad_(False)}, num_outputs=2)
    >>> {name: list(own) for name, own in encoder_parameters(model).items()}
    {'audio': ['encoders.audio.layers.1.weight', 'encoders.audio.layers.1.bias'], 'image': []}

    :param model: one that names its modalities' modules by ``modality_modules()``, such as a :class:`equimodal.nn.JointFusion`.
    :returns: empty for another model.
    """
    if not isinstance(model, nn.Module):
        return {}
    named = {parameter: plain_name(name) for name, parameter in model.named_parameters() if parameter.requires_grad}
    found = {}
    for modality, parts in encoder_parts(model).items():
        every = [own for part in (parts if isinstance(parts, (list, tuple)) else [parts]) for own in _of(part)]
        found[modality] = {named[parameter]: parameter for parameter in every if parameter in named}
    return found


def run_update_sizes(model: Any, run: str | PathLike[str]) -> dict[str, float | None]:
    r"""Return by modality how far an epoch of a run moved its encoder's trainable parameters, relative to their norm.

    .. math:: \frac{1}{T - t} \, \frac{\| \theta_m^{(T)} - \theta_m^{(t)} \|}{\| \theta_m^{(t)} \|}

    with the weights after the best epoch *t* and after the last epoch *T*, which a run keeps. It is the way made good, divided by the
    epochs that it took: where steps go to and fro, single epochs moved the weights further. It says what gradients, optimizer, learning
    rates and multipliers did together, late in training. Compare modalities of one run: how much it is depends on *t* and *T*.

    :param model: the model that was trained, with any weights; its names say which parameters are whose encoder's.
    :param run: the run's folder, of ``equimodal train`` or :func:`equimodal.fit`, finished or not.
    :returns: None for an encoder without trainable parameters, or whose weights were all zero.
    :raises InputError: when the best epoch is the last, for a model that does not name its encoders, or is not the run's, and for a folder
        without both checkpoints.
    """
    names = encoder_parameters(model)
    if not any(names.values()):
        raise InputError("no trainable parameters of an encoder are known: the model needs modality_modules(), and unfrozen encoders")
    folder = Path(run)
    config = read_config(folder)
    best, last = (read_checkpoint(folder, config, which) for which in ("best", "last"))
    epochs = int(last["epoch"]) - int(best["epoch"])
    if epochs <= 0:
        raise InputError(
            f"the best epoch of the run, {best['epoch']}, is its last: two checkpoints are needed to see how far weights moved"
        )
    before, after = ({plain_name(name): value for name, value in state["model"].items()} for state in (best, last))
    return {name: None if size is None else size / epochs for name, size in update_sizes(before, after, names).items()}


def update_sizes(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], modalities: Mapping[str, Iterable[str]]
) -> dict[str, float | None]:
    r"""Return by modality how far its weights moved between two checkpoints, relative to where they were.

    .. math:: \frac{\| \theta_m^{\text{after}} - \theta_m^{\text{before}} \|}{\| \theta_m^{\text{before}} \|}

    It says what optimizer, learning rate and multipliers made of the gradients together; compare modalities between the same two
    checkpoints.

    >>> import torch
    >>> update_sizes({"audio.weight": torch.tensor([3.0, 4.0])}, {"audio.weight": torch.tensor([3.0, 5.0])}, {"audio": ["audio.weight"]})
    {'audio': 0.2}

    :param before: the state of the model at the earlier one.
    :param after: that at the later one.
    :param modalities: the names of the parameters of each encoder.
    :returns: None for an encoder without parameters, or whose weights are all zero.
    :raises InputError: for a name that is missing in one of them, or of another shape.
    """
    found: dict[str, float | None] = {}
    for modality, names in modalities.items():
        names = list(names)
        for name in names:
            if name not in before or name not in after or before[name].shape != after[name].shape:
                raise InputError(f"the parameter {name!r} of {modality!r} is missing from a checkpoint or has another shape in it")
        size = norm_of(before[name] for name in names)
        moved = norm_of(after[name].cpu().double() - before[name].cpu().double() for name in names)  # a tensor at a time
        found[modality] = moved / size if size else None
    return found


def norm_of(tensors: Iterable[Tensor]) -> float:
    """Return the Euclidean norm over all values of several tensors."""
    return math.sqrt(sum(float(tensor.detach().double().square().sum()) for tensor in tensors))


def _of(part: Any) -> Iterable[nn.Parameter]:
    return [part] if isinstance(part, nn.Parameter) else part.parameters() if isinstance(part, nn.Module) else ()
