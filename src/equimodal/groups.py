"""Optimizer parameter groups tagged with their modality, and learning-rate multipliers that take effect while the optimizer steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from equimodal.errors import InputError, nearest
from equimodal.scores import MULTIMODAL

__all__ = [
    "MODALITY_KEY",
    "MULTIPLIER_KEY",
    "LearningRateMultipliers",
    "ParameterRegistry",
    "effective_rates",
    "leaves",
    "modality_groups",
    "modality_modules",
    "parameter_owners",
    "tagged_modalities",
]

MODALITY_KEY = "modality"
"""The key of a parameter group that names its modality, or ``"multimodal"``."""

MULTIPLIER_KEY = "modality_lr_multiplier"
"""The key of a parameter group that holds its learning-rate multiplier; absent means 1."""

Part = nn.Module | nn.Parameter | Iterable["Part"]


def leaves(part: Any, modality: str) -> Iterator[nn.Module | nn.Parameter]:
    """Yield the modules and parameters that are given for a modality, through mappings and lists.

    :raises InputError: for anything else in them.
    """
    if isinstance(part, (nn.Module, nn.Parameter)):
        yield part
    elif isinstance(part, Mapping):
        for item in part.values():
            yield from leaves(item, modality)
    elif isinstance(part, Iterable) and not isinstance(part, (str, bytes, Tensor)):
        for item in part:
            yield from leaves(item, modality)
    else:
        raise InputError(f"modality {modality!r} is given {type(part).__name__} {part!r}: give modules, parameters, or lists of them")


def _parameters(part: Any, modality: str) -> Iterator[nn.Parameter]:
    for leaf in leaves(part, modality):
        if isinstance(leaf, nn.Module):
            yield from leaf.parameters()
        else:
            yield leaf


def parameter_owners(model: nn.Module, modalities: Mapping[str, Part]) -> dict[nn.Parameter, str]:
    """Return the modality of every parameter that belongs to one.

    :param model: the whole model.
    :param modalities: as for :func:`modality_groups`.
    :raises InputError: as :func:`modality_groups` does.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    owners: dict[nn.Parameter, str] = {}
    for modality, part in modalities.items():
        if modality == MULTIMODAL:
            raise InputError(f"{MULTIMODAL!r} is the name of what belongs to no single modality: choose another name for this one")
        found = list(dict.fromkeys(_parameters(part, modality)))
        if not found:
            raise InputError(f"modality {modality!r} has no parameters: give the modules that process it")
        for parameter in found:
            if parameter not in names:
                raise InputError(f"modality {modality!r} has a parameter of shape {tuple(parameter.shape)} that is not part of the model")
            if parameter in owners:
                raise InputError(
                    f"parameter {names[parameter]!r} belongs to both {owners[parameter]!r} and {modality!r}: "
                    f"leave shared parameters out, and they count as {MULTIMODAL!r}"
                )
            owners[parameter] = modality
    return owners


def modality_modules(model: nn.Module) -> dict[str, Any]:
    """Return the modules that a model names for each of its modalities by its method ``modality_modules``; empty where it names none."""
    name_them = getattr(model, "modality_modules", None)
    return dict(name_them()) if callable(name_them) else {}


def modality_groups(
    model: nn.Module,
    modalities: Mapping[str, Part] | None = None,
    *,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    no_decay: bool = False,
    **options: Any,
) -> list[dict[str, Any]]:
    """Return optimizer parameter groups, each tagged with its modality under ``group["modality"]``.

    Every parameter of the model stands in exactly one group: those of the named modules under their modality, what is left over under
    ``"multimodal"``. Frozen parameters are kept, so that they may be unfrozen later.

    >>> import torch
    >>> model = nn.ModuleDict({"audio": nn.Linear(4, 2), "image": nn.Linear(8, 2), "fusion": nn.Linear(4, 3)})
    >>> groups = modality_groups(model, {"audio": model["audio"], "image": model["image"]}, lr=0.1, overrides={"audio": {"lr": 0.01}})
    >>> [(group["modality"], group["lr"]) for group in groups]
    [('multimodal', 0.1), ('audio', 0.01), ('image', 0.1)]
    >>> optimizer = torch.optim.SGD(groups)

    :param model: the whole model.
    :param modalities: by modality, its modules or parameters (one, or a list). Which of them are encoders and which heads makes no
        difference here. By default what ``model.modality_modules()`` says, as for :class:`equimodal.nn.JointFusion`.
    :param overrides: by modality (or ``"multimodal"``), options of its groups that differ from the rest, such as ``{"audio": {"lr":
        1e-4}}``.
    :param no_decay: split every group in two, the second with ``weight_decay=0`` for parameters of fewer than two dimensions (biases and
        normalisation), as is usual with AdamW.
    :param options: options of all groups, such as ``lr`` and ``weight_decay``.
    :returns: a list for any ``torch.optim`` optimizer; the multimodal group comes first where there is one. Parameters carry their names,
        so that optimizers keep them in ``group["param_names"]``.
    :raises InputError: for an overlap between two modalities (a shared parameter too), a modality without parameters, a parameter from
        outside the model, or an override for an unknown modality.
    """
    if modalities is None:
        modalities = modality_modules(model)
        if not modalities:
            raise InputError(
                f"{type(model).__name__} does not name its modalities: pass them as {{'audio': [modules], 'image': [modules]}}"
            )
    owners = parameter_owners(model, modalities)
    known = (MULTIMODAL, *modalities)
    for name in overrides or {}:
        if name not in known:
            raise InputError(f"override for unknown modality {name!r}: {nearest(name, known)}")
    members: dict[str, list[tuple[str, nn.Parameter]]] = {name: [] for name in known}
    for name, parameter in model.named_parameters():
        members[owners.get(parameter, MULTIMODAL)].append((name, parameter))
    groups = []
    for modality in known:
        settings = {**options, **(overrides or {}).get(modality, {})}
        splits = [(members[modality], settings)]
        if no_decay:
            matrices = [(name, parameter) for name, parameter in members[modality] if parameter.dim() >= 2]
            vectors = [(name, parameter) for name, parameter in members[modality] if parameter.dim() < 2]
            splits = [(matrices, settings), (vectors, {**settings, "weight_decay": 0.0})]
        groups += [{"params": named, MODALITY_KEY: modality, **chosen} for named, chosen in splits if named]
    return groups


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
    the first step only and cannot be slowed this way, ``ASGD`` uses it one step late, ``LBFGS`` takes a single group. Code of an
    optimizer subclass that runs after its ``super().step()`` sees the plain rate.

    >>> import torch
    >>> weight = nn.Parameter(torch.zeros(1))
    >>> optimizer = torch.optim.SGD([{"params": [weight], "modality": "audio", "lr": 1.0}])
    >>> multipliers = LearningRateMultipliers(optimizer)
    >>> multipliers.set({"audio": 0.5})
    >>> weight.grad = torch.ones(1)
    >>> optimizer.step()
    >>> weight.item(), optimizer.param_groups[0]["lr"]
    (-0.5, 1.0)

    :param optimizer: any ``torch.optim`` optimizer whose groups carry a modality.
    :raises InputError: for something that is no torch optimizer, untagged groups, or an optimizer that already has multipliers.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise InputError(
                f"{type(optimizer).__name__} is no torch.optim.Optimizer: pass the optimizer itself, not a wrapper or an engine"
            )
        self.modalities = tagged_modalities(optimizer)
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


class ParameterRegistry:
    """Which parameters belong to which modality, and in which role.

    >>> model = nn.ModuleDict({"audio": nn.Linear(4, 2), "head": nn.Linear(2, 3)})
    >>> registry = ParameterRegistry({"audio": {"encoder": model["audio"], "head": model["head"]}})
    >>> [tuple(parameter.shape) for parameter in registry.of("audio", "encoder")]
    [(2, 4), (2,)]

    :param modules: by modality and role (``"encoder"``, ``"head"``), the module; or a model that says so in ``modality_modules()``, as
        :class:`equimodal.nn.JointFusion` does. Modules that are given without roles count as encoders.
    """

    def __init__(self, modules: nn.Module | Mapping[str, Any]) -> None:
        if isinstance(modules, nn.Module) and type(modules) is not nn.ModuleDict:  # a model may be made from one
            modules = modality_modules(modules)
        self._parameters: dict[str, dict[str, list[nn.Parameter]]] = {}
        for modality, parts in modules.items():
            roles = parts if isinstance(parts, Mapping) else {"encoder": parts}
            self._parameters[modality] = {role: list(_parameters(part, modality)) for role, part in roles.items()}

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in the model's order."""
        return tuple(self._parameters)

    def of(self, modality: str, role: str = "encoder") -> list[nn.Parameter]:
        """Return the parameters of a modality in a role; none where the model has no such part."""
        return self._parameters[modality].get(role, [])
