"""Learning-rate multipliers by modality that take effect while the optimizer steps. Public as part of :mod:`equimodal.groups`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer, Rprop

from equimodal.errors import InputError, nearest
from equimodal.scores import MULTIMODAL

__all__ = [
    "MODALITY_KEY",
    "MULTIPLIER_KEY",
    "LearningRateMultipliers",
    "effective_rates",
    "tagged_modalities",
    "the_optimizer",
]

MODALITY_KEY = "modality"
"""The key of a parameter group that names its modality, or ``"multimodal"``."""

MULTIPLIER_KEY = "modality_lr_multiplier"
"""The key of a parameter group that holds its learning-rate multiplier; absent means 1."""


def the_optimizer(optimizer: Any) -> Optimizer:
    """Return the torch optimizer whose ``step`` really runs, out of whatever a harness wraps around it.

    Accelerate's ``AcceleratedOptimizer``, Lightning's ``LightningOptimizer`` and what ``Fabric.setup`` returns pass for torch optimizers
    and hold one: hooks that are registered on the wrapper itself would never run, or be lost. None of these packages is imported.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    >>> the_optimizer(optimizer) is optimizer
    True

    :param optimizer: a torch optimizer, or a wrapper around one.
    :raises InputError: for an engine, a wrapper without a torch optimizer inside, and anything else.
    """
    found = optimizer
    for _ in range(10):  # wrappers stand in wrappers; a loop of them would be no optimizer at all
        if not isinstance(found, Optimizer):
            break
        inner = getattr(found, "optimizer", None)
        own = vars(found).get("param_groups")
        # What holds parameter groups of its own steps by itself. Wrappers show those of the optimizer inside.
        if own is not None and not (isinstance(inner, Optimizer) and own is inner.param_groups):
            return found
        found = inner
    within = "" if found is optimizer else f", and holds {'no optimizer' if found is None else type(found).__name__}"
    raise InputError(
        f"{type(optimizer).__name__} is no torch.optim.Optimizer{within}: pass the optimizer itself, not an engine or a wrapper without one"
    )


def tagged_modalities(optimizer: Optimizer) -> tuple[str, ...]:
    """Return the modalities of an optimizer's groups in order of first appearance, without ``"multimodal"``.

    :raises InputError: for a group without a tag.
    """
    for index, group in enumerate(optimizer.param_groups):
        if not isinstance(group.get(MODALITY_KEY), str):
            raise InputError(
                f"parameter group {index} of the optimizer has no {MODALITY_KEY!r} tag: build the groups with equimodal.modality_groups"
            )
    return tuple(dict.fromkeys(group[MODALITY_KEY] for group in optimizer.param_groups if group[MODALITY_KEY] != MULTIMODAL))


def _effective_rate(group: Mapping[str, Any]) -> Any:
    """Return a group's learning rate times its multiplier, as a new object where they differ: groups may share one tensor."""
    multiplier = group.get(MULTIPLIER_KEY, 1.0)
    return group["lr"] if multiplier == 1.0 else group["lr"] * multiplier


def effective_rates(optimizer: Optimizer) -> dict[str, float]:
    """Return the effective learning rate of each modality, and of ``"multimodal"``, between two steps; each from its first group.

    Groups without a tag count as ``"multimodal"``, groups without a multiplier as multiplied by 1.
    """
    rates: dict[str, float] = {}
    for group in optimizer.param_groups:
        rates.setdefault(group.get(MODALITY_KEY, MULTIMODAL), float(_effective_rate(group)))
    return rates


class LearningRateMultipliers:
    """Multiplies the learning rate of each modality while the optimizer steps, and at no other time.

    The multiplier stands in the parameter groups beside the modality's tag, so that whatever saves the optimizer saves it. A hook
    before ``optimizer.step`` puts ``lr × multiplier`` in place of ``lr``, a hook after it puts the original object back. A scheduler
    therefore always sees and moves the learning rate it would have without this class, and every update uses that rate times the
    multiplier. With decoupled weight decay (AdamW) the decay scales along, because it is defined as a multiple of the learning rate.

    One set of multipliers may be attached to an optimizer at a time. Hooks are neither pickled nor deep-copied with an optimizer: attach
    anew to a copy. After an ``optimizer.step`` that raised, the scaled rate stays in the groups until this object is used again or the
    optimizer steps or is saved: a scheduler that is stepped before that builds on the scaled rate. ``torch.optim.Rprop`` reads its rate at
    the first step only and is refused, ``ASGD`` uses it one step late, ``LBFGS`` takes a single group. Code of an
    optimizer subclass that runs after its ``super().step()`` sees the plain rate.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = torch.optim.SGD([{"params": [weight], "modality": "audio", "lr": 1.0}])
    >>> multipliers = LearningRateMultipliers(optimizer)
    >>> multipliers.set({"audio": 0.5})
    >>> weight.grad = torch.ones(1)
    >>> optimizer.step()
    >>> weight.item(), optimizer.param_groups[0]["lr"]
    (-0.5, 1.0)

    :param optimizer: any ``torch.optim`` optimizer whose groups carry a modality, or a harness's wrapper around one; see
        :func:`the_optimizer`.
    :raises InputError: for something that is no torch optimizer, Rprop, untagged groups, or an optimizer that already has multipliers.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        optimizer = the_optimizer(optimizer)
        self.modalities = tagged_modalities(optimizer)
        if isinstance(optimizer, Rprop):
            raise InputError("Rprop reads its learning rate at the first step only and cannot be slowed: use another, such as Adam")
        owner = getattr(optimizer, "_modality_multipliers", None)
        if owner is not None:
            raise InputError("this optimizer's learning rates are already multiplied by modality: detach() the other scheduler first")
        self.optimizer = optimizer
        self._tags = [group[MODALITY_KEY] for group in optimizer.param_groups]
        self._originals: list[tuple[dict[str, Any], Any, Any]] = []
        optimizer._modality_multipliers = self  # type: ignore[attr-defined]
        self._handles = [
            optimizer.register_step_pre_hook(self._scale),
            optimizer.register_step_post_hook(self._restore),
            optimizer.register_state_dict_pre_hook(self._restore),
            optimizer.register_load_state_dict_pre_hook(self._refuse_other_tags),
            optimizer.register_load_state_dict_post_hook(self._retag),
        ]
        for group in optimizer.param_groups:
            group.setdefault(MULTIPLIER_KEY, 1.0)

    def _scale(self, *_: Any) -> None:
        self._restore()  # an earlier step may have raised before its post-hook
        for group in self.optimizer.param_groups:
            multiplier = group.get(MULTIPLIER_KEY, 1.0)
            if multiplier != 1.0:
                original = group["lr"]
                scaled = _effective_rate(group)
                group["lr"] = scaled
                self._originals.append((group, original, scaled))

    def _restore(self, *_: Any) -> None:
        for group, original, scaled in self._originals:
            if group["lr"] is scaled:
                group["lr"] = original
        self._originals.clear()

    def _refuse_other_tags(self, _: Optimizer, state: Mapping[str, Any]) -> None:
        tags = [group.get(MODALITY_KEY) for group in state["param_groups"]]
        own = [group.get(MODALITY_KEY) for group in self.optimizer.param_groups]
        if len(tags) != len(own):
            raise InputError(
                f"the checkpoint's optimizer has {len(tags)} parameter groups and this one {len(own)}: load "
                "equimodal.groups.regroup(state, model, optimizer) in its place, or the model's weights alone"
            )
        if any(tags) and tags != own:
            raise InputError(
                f"the checkpoint's parameter groups belong to {', '.join(map(str, tags))}, this optimizer's to {', '.join(map(str, own))}: "
                "build the groups as they were when it was saved"
            )

    def _retag(self, _: Optimizer) -> None:
        # A checkpoint made without this package lacks both keys, and loading replaces whole groups.
        self._originals.clear()
        for group, tag in zip(self.optimizer.param_groups, self._tags, strict=False):
            group.setdefault(MODALITY_KEY, tag)
            group.setdefault(MULTIPLIER_KEY, 1.0)

    def set(self, multipliers: Mapping[str, float]) -> None:
        """Set the multiplier of each modality; it takes effect at the next step.

        :raises InputError: for a modality that no group carries.
        """
        for modality in multipliers:
            if modality not in self.modalities and modality != MULTIMODAL:
                raise InputError(f"no parameter group carries modality {modality!r}: {nearest(modality, self.modalities)}")
        for group in self.optimizer.param_groups:
            modality = group.get(MODALITY_KEY, MULTIMODAL)  # a group added later may have no tag
            if modality in multipliers:
                group[MULTIPLIER_KEY] = float(multipliers[modality])

    def get(self) -> dict[str, float]:
        """Return the multiplier of each modality as the optimizer's groups hold it, each from its first group."""
        held: dict[Any, float] = {}
        for group in self.optimizer.param_groups:
            held.setdefault(group.get(MODALITY_KEY), float(group.get(MULTIPLIER_KEY, 1.0)))
        return {modality: held.get(modality, 1.0) for modality in self.modalities}

    def get_last_lr(self) -> list[Any]:
        """Return the effective learning rate of each parameter group: the scheduled one times the multiplier."""
        self._restore()
        found = (_effective_rate(group) for group in self.optimizer.param_groups)
        return [rate.clone() if isinstance(rate, Tensor) else rate for rate in found]  # schedulers move tensors in place

    def rates_by_modality(self) -> dict[str, float]:
        """Return the effective learning rate of ``"multimodal"`` and of each modality; see :func:`effective_rates`."""
        self._restore()
        return effective_rates(self.optimizer)

    def detach(self) -> None:
        """Take the multipliers off the optimizer: its next step is as if they had never been there."""
        self._restore()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if getattr(self.optimizer, "_modality_multipliers", None) is self:
            del self.optimizer._modality_multipliers
            for group in self.optimizer.param_groups:
                group.pop(MULTIPLIER_KEY, None)
