"""The optimizer of the Trainer, by modality, with the method's state in its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from transformers import Trainer

from equimodal.errors import InputError
from equimodal.groups import MODALITY_KEY, modality_groups, the_optimizer

if TYPE_CHECKING:
    from torch import nn

    from equimodal.groups import Part

__all__ = ["STATE_KEY", "StateKeeper", "has_keeper", "keeper_of", "refuse_fused", "trainer_groups", "trainer_optimizer"]

_Trainer: Any = Trainer  # whose functions also serve models that are no PreTrainedModel

STATE_KEY = "equimodal"
"""Where the state of the method stands in the optimizer's state, and so in ``optimizer.pt``."""


def trainer_groups(model: nn.Module, args: Any, modalities: Mapping[str, Part] | None = None) -> list[dict[str, Any]]:
    """Return the Trainer's own parameter groups, with and without weight decay, for each modality.

    :param model: the model that the Trainer is given.
    :param args: its ``TrainingArguments``, of which ``weight_decay`` counts.
    :param modalities: modules, parameters or name patterns by modality, as for :func:`equimodal.modality_groups`; default what the model
        names in ``modality_modules()``.
    :returns: groups for any ``torch.optim`` optimizer, each tagged with its modality. As in the Trainer, they leave out what is frozen.
    :raises InputError: as :func:`equimodal.modality_groups` does.
    """
    decayed = set(_Trainer.get_decay_parameter_names(None, model))
    groups = []
    for group in modality_groups(model, modalities, trainable_only=True):
        for wanted, decay in ((True, args.weight_decay), (False, 0.0)):
            parameters = [parameter for name, parameter in group["params"] if (name in decayed) is wanted]
            if parameters:
                groups.append({"params": parameters, MODALITY_KEY: group[MODALITY_KEY], "weight_decay": decay})
    return groups


def trainer_optimizer(model: nn.Module, args: Any, modalities: Mapping[str, Part] | None = None) -> Optimizer:
    """Return the optimizer that the training arguments name, over :func:`trainer_groups`.

    With ``optimizers=(trainer_optimizer(model, args, modalities), None)`` the Trainer makes its own schedule, with warm-up, as ever.

    :param model: the model that the Trainer is given.
    :param args: its ``TrainingArguments``: ``optim``, ``learning_rate``, ``weight_decay``, ``adam_beta1`` and so on.
    :param modalities: as for :func:`trainer_groups`.
    :raises InputError: for an ``optim`` that updates weights during the backward pass or makes its own groups.
    """
    refuse_fused(args)
    made, options = _Trainer.get_optimizer_cls_and_kwargs(args, model)
    plain = isinstance(made, type) and issubclass(made, Optimizer)
    if not plain or not {"params", "model", "optimizer_dict"}.isdisjoint(options):
        raise InputError(
            f"optim={_name(args.optim)!r} makes its own parameter groups, which cannot be split by modality: use another, as 'adamw_torch'"
        )
    optimizer: Optimizer = made(trainer_groups(model, args, modalities), **options)
    keeper_of(optimizer)
    return optimizer


def refuse_fused(args: Any) -> None:
    """Refuse what steps before any hook is called.

    :raises InputError: for layer-wise optimizers and LOMO.
    """
    name = _name(args.optim)
    if "layerwise" in name or "lomo" in name:
        raise InputError(f"optim={name!r} updates weights during the backward pass, where no method is let in: use 'adamw_torch'")


def _name(optim: Any) -> str:
    return str(getattr(optim, "value", optim))


class StateKeeper:
    """Keeps the state of a method in the optimizer's own: saved and loaded with it, whole, and before any callback is asked.

    It stays on the optimizer, where :func:`keeper_of` finds it. A checkpoint without modalities can be loaded too.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.give: Callable[[], dict[str, Any]] | None = None
        """Returns what to save; None saves nothing."""
        self.found: Mapping[str, Any] | None = None
        """What the last state that was loaded held."""
        self._tags = [group.get(MODALITY_KEY) for group in optimizer.param_groups]
        optimizer.register_state_dict_post_hook(self._save)
        optimizer.register_load_state_dict_pre_hook(self._take)
        optimizer.register_load_state_dict_post_hook(self._retag)

    def _save(self, _: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        return state if self.give is None else {**state, STATE_KEY: self.give()}

    def _take(self, optimizer: Optimizer, state: Mapping[str, Any]) -> None:
        self.found = state.get(STATE_KEY)
        saved, own = len(state["param_groups"]), len(optimizer.param_groups)
        if saved != own:
            raise InputError(
                f"the checkpoint's optimizer has {saved} parameter groups and this one {own}, so that it was trained with other modalities"
                " or without any: build the groups as they were, or begin anew from its weights"
            )

    def _retag(self, optimizer: Optimizer) -> None:
        for group, tag in zip(optimizer.param_groups, self._tags, strict=True):
            if tag is not None:
                group.setdefault(MODALITY_KEY, tag)


def has_keeper(optimizer: Any) -> bool:
    """Tell whether a state that was loaded into an optimizer has been looked at."""
    return hasattr(the_optimizer(optimizer), "_modality_keeper")


def keeper_of(optimizer: Any) -> StateKeeper:
    """Return the keeper of an optimizer, wrapped or not; a new one where it has none."""
    inner: Any = the_optimizer(optimizer)
    if not has_keeper(inner):
        inner._modality_keeper = StateKeeper(inner)
    found: StateKeeper = inner._modality_keeper
    return found
