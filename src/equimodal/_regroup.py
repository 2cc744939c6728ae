"""The state of an optimizer from before its parameters were grouped by modality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from equimodal.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn
    from torch.optim import Optimizer

__all__ = ["regroup"]


def regroup(state: Mapping[str, Any], model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of an optimizer with other groups of the same parameters, as this optimizer can load it.

    For a training that goes on from a checkpoint made before its groups were: moments stay with their parameters, and learning rates and
    other options with the groups that they come from.

    >>> import torch
    >>> from equimodal import modality_groups
    >>> model = torch.nn.ModuleDict({"audio": torch.nn.Linear(2, 1), "image": torch.nn.Linear(3, 1)})
    >>> before = torch.optim.Adam(model.parameters(), lr=0.01)
    >>> optimizer = torch.optim.Adam(modality_groups(model, {"audio": "audio", "image": "image"}, lr=0.1))
    >>> optimizer.load_state_dict(regroup(before.state_dict(), model, optimizer))
    >>> [(group["modality"], group["lr"]) for group in optimizer.param_groups]
    [('audio', 0.01), ('image', 0.01)]

    :param state: what ``state_dict()`` of the earlier optimizer returned. Its parameters are known by their names where it holds them, and
        else by their order in one group, which must be that of ``model.parameters()``, all of them or those that are trained.
    :param model: the model of both optimizers.
    :param optimizer: the one that is to go on.
    :returns: a state for ``optimizer.load_state_dict``; parameters that the earlier optimizer had not begin without a state.
    :raises InputError: for a state whose parameters cannot be told apart, that is of another model, or of which a group's parameters had
        different options.
    """
    groups, moments = list(state["param_groups"]), dict(state["state"])
    old = _names(groups, model)
    homes = {name: (index, group) for group in groups for index, name in zip(group["params"], _part(old, group), strict=True)}
    names = {parameter: name for name, parameter in model.named_parameters()}
    made: dict[str, Any] = {"state": {}, "param_groups": []}
    count = 0
    for group in optimizer.param_groups:
        indices, sources = [], []
        for parameter in group["params"]:
            if parameter not in names:
                raise InputError(f"the optimizer holds a parameter of shape {tuple(parameter.shape)} that is not part of the model")
            index, source = homes.get(names[parameter], (None, None))
            if index in moments:
                made["state"][count] = moments[index]
            if source is not None:
                sources.append(source)
            indices.append(count)
            count += 1
        options = _common(sources, [names[parameter] for parameter in group["params"]])
        own = {key: value for key, value in group.items() if key not in options}
        made["param_groups"].append({**own, **options, "params": indices})
    return made


def _names(groups: list[dict[str, Any]], model: nn.Module) -> dict[int, str]:
    """Return the name of every parameter of a state by its number."""
    if all("param_names" in group for group in groups):
        return {index: name for group in groups for index, name in zip(group["params"], group["param_names"], strict=True)}
    if len(groups) > 1:
        raise InputError(
            f"the state has {len(groups)} groups without names of parameters, which cannot be told apart: load the weights alone, and let "
            "the optimizer begin anew"
        )
    indices, named = groups[0]["params"], list(model.named_parameters())
    for chosen in (named, [(name, parameter) for name, parameter in named if parameter.requires_grad]):
        if len(chosen) == len(indices):
            return {index: name for index, (name, _) in zip(indices, chosen, strict=True)}
    raise InputError(f"the state is of {len(indices)} parameters and the model has {len(named)}: give the model that it was made for")


def _part(names: Mapping[int, str], group: Mapping[str, Any]) -> list[str]:
    return [names[index] for index in group["params"]]


def _common(sources: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Return the options that all these parameters had."""
    kept = [{key: value for key, value in source.items() if key not in ("params", "param_names")} for source in sources]
    for options in kept[1:]:
        if options != kept[0]:
            key = next(key for key in options if options[key] != kept[0].get(key))
            raise InputError(
                f"the parameters of one group, {names[0]!r} to {names[-1]!r}, had {key} = {kept[0].get(key)!r} and {options[key]!r}: split "
                "the groups as they were, with no_decay=True for one"
            )
    return kept[0] if kept else {}
