"""MSES, modality-specific early stopping: each part of the network stops when its own validation loss no longer falls."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from equimodal.errors import InputError
from equimodal.groups import LearningRateMultipliers, leaves, modality_modules, parameter_owners
from equimodal.methods._checks import FEWEST_SAMPLES, is_number, is_whole, need
from equimodal.methods.base import Criterion, EpochContext, Method
from equimodal.methods.space import Choice
from equimodal.scores import MULTIMODAL
from equimodal.tasks import single_label_loss

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from equimodal.methods.space import Distribution

__all__ = ["FEWEST_SAMPLES", "MSES", "Decision", "MSESRule"]


class Decision(NamedTuple):
    """What one epoch showed: the parts with a new best loss, and those that stop now."""

    improved: tuple[str, ...]
    stopped: tuple[str, ...]


class MSESRule:
    r"""The rule of MSES alone: validation losses in, which parts improved and which stop now out.

    For every part *p*, with its validation loss :math:`L_p(e)` after epoch *e* (from 1) and the weight *w* (``smoothing``):

    .. math:: \tilde L_p(1) = L_p(1), \qquad \tilde L_p(e) = w\, L_p(e - 1) + (1 - w)\, L_p(e)

    A part improves where :math:`\tilde L_p(e)` is smaller than ever before; it stops when more than ``patience`` epochs have passed
    since, and stays stopped.

    >>> rule = MSESRule(("audio", "multimodal"), patience=1)
    >>> for losses in ({"audio": 1.0, "multimodal": 2.0}, {"audio": 1.2, "multimodal": 1.9}, {"audio": 1.1, "multimodal": 1.8}):
    ...     print(rule.step(losses))
    Decision(improved=('audio', 'multimodal'), stopped=())
    Decision(improved=('multimodal',), stopped=())
    Decision(improved=('multimodal',), stopped=('audio',))
    >>> rule.multipliers, rule.best_epochs, rule.finished
    ({'audio': 0.0, 'multimodal': 1.0}, {'audio': 1, 'multimodal': 3}, False)

    :param parts: the names of the parts.
    :param patience: see :class:`MSES`, like ``smoothing``.
    :raises InputError: for no parts, or a value out of range.
    """

    def __init__(self, parts: Sequence[str], patience: int = 10, smoothing: float = 0.0) -> None:
        need(is_whole(patience) and patience >= 0, "patience", patience, "a whole number of epochs of at least 0")
        need(is_number(smoothing) and 0 <= smoothing < 1, "smoothing", smoothing, "a number of at least 0 (off) and below 1")
        self.parts = (parts,) if isinstance(parts, str) else tuple(parts)
        if not self.parts or len(set(self.parts)) < len(self.parts):
            raise InputError(f"MSES stops parts by name, got {', '.join(self.parts) or 'none'}: give each name once")
        self.patience = patience
        self.smoothing = smoothing
        self.epoch = 0
        self.best = dict.fromkeys(self.parts, math.inf)
        self.best_epochs = dict.fromkeys(self.parts, 0)
        self._previous: dict[str, float] = {}
        self._stopped: dict[str, int] = {}

    @property
    def active(self) -> tuple[str, ...]:
        """The parts that have not stopped."""
        return tuple(part for part in self.parts if part not in self._stopped)

    @property
    def finished(self) -> bool:
        """Whether all parts have stopped."""
        return not self.active

    @property
    def multipliers(self) -> dict[str, float]:
        """By part, 0 where it has stopped and 1 elsewhere."""
        return {part: float(part not in self._stopped) for part in self.parts}

    def step(self, losses: Mapping[str, float]) -> Decision:
        """Take one epoch's validation losses.

        :param losses: by part, smaller is better; what is no part is passed over.
        :raises InputError: for a part without a loss, or a loss that is NaN; nothing changes then.
        """
        seen = {}
        for part in self.parts:
            try:
                seen[part] = float(losses[part])
            except (KeyError, TypeError, ValueError):
                seen[part] = math.nan
            if math.isnan(seen[part]):
                raise InputError(f"epoch {self.epoch + 1}: the validation loss of {part!r} is {losses.get(part)}: a number is needed")
        self.epoch += 1
        improved, stopped = [], []
        for part in self.active:
            before = self._previous.get(part, seen[part])
            smoothed = self.smoothing * before + (1 - self.smoothing) * seen[part] if self.smoothing else seen[part]
            if smoothed < self.best[part]:
                self.best[part], self.best_epochs[part] = smoothed, self.epoch
                improved.append(part)
            elif self.epoch - self.best_epochs[part] > self.patience:
                self._stopped[part] = self.epoch
                stopped.append(part)
        self._previous = seen
        return Decision(tuple(improved), tuple(stopped))

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes, as plain values."""
        return {
            "epoch": self.epoch,
            "best": dict(self.best),
            "best_epochs": dict(self.best_epochs),
            "previous": dict(self._previous),
            "stopped": dict(self._stopped),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        :raises InputError: for a state of other parts.
        """
        if tuple(state["best"]) != self.parts:
            raise InputError(f"the state is of the parts {', '.join(map(str, state['best']))}, this rule of {', '.join(self.parts)}")
        self.epoch = int(state["epoch"])
        self.best, self.best_epochs = dict(state["best"]), dict(state["best_epochs"])
        self._previous, self._stopped = dict(state["previous"]), dict(state["stopped"])


class MSES(Method):
    r"""MSES, modality-specific early stopping (Fujimori et al., ACPR 2019).

    All heads are trained together (Eq. 3). Every part of the network, each modality with its head and the multimodal part, watches its
    own head's loss on the validation split. A part whose loss has not fallen for longer than the patience is stopped: it gets the
    weights of its best epoch back, its learning rate becomes 0, and its normalisation layers stay in evaluation mode; the others go on.
    When all have stopped, one more epoch at rest scores what has been put together, and the run ends. The rule alone is
    :class:`MSESRule`.

    A part's own loss is that of its head: :math:`L_m` of modality *m*, :math:`L_{AB}` of the multimodal part, to which everything
    belongs that is of no single modality.

    .. math:: \tilde L_p(1) = L_p(1), \qquad \tilde L_p(e) = w\, L_p(e - 1) + (1 - w)\, L_p(e), \qquad
        \text{stop } p \text{ where } e - \operatorname{argmin}_{i \le e} \tilde L_p(i) > P

    - :math:`L_p(e)`: validation loss of part *p* after epoch *e*, from 1; of equal minima the first counts.
    - *w* (``smoothing``), *P* (``patience``).

    In a loop of one's own::

        method = MSES(patience=10)
        model = method.build(model)
        optimizer = torch.optim.SGD(modality_groups(model, lr=1e-2), momentum=0.9)
        method.attach(optimizer)
        for epoch in range(1, epochs + 1):
            model.train()
            method.epoch_start(EpochContext(epoch))
            ...  # train an epoch of Eq. 3, then measure the validation losses
            method.epoch_end(context := EpochContext(epoch, losses={"val": losses}))
            if context.stop_reason:
                break

    :param patience: how many epochs without a smaller loss are borne, at least 0; default 10. The paper's is not known; a third-party
        implementation has 10 (AV-MNIST), 30 (UR-FUNNY) and 80 (CREMA-D).
    :param smoothing: weight *w* of the epoch before in the loss that is watched, 0 (default, off) to below 1; 0.6 in the third-party
        implementation, with the raw loss of the epoch before.
    :param restore: ``"part"`` (default): a part that stops gets its own best weights back. ``"model"``: the whole model and the optimizer
        go back to that part's best epoch, as in the third-party implementation, which undoes the others' epochs too, those of stopped
        parts included; of several parts that stop at once, the last one's best epoch stays.
    :raises InputError: for a value out of range; from ``build`` for a model that does not name its modalities; from ``check`` for a
        validation split of fewer than 10 samples, whose loss is noise.

    .. note::
        The abstract tells of classifiers per modality beside the multimodal one, trained together, and of a learning rate of zero for a
        modality that begins to overfit. Patience and what becomes of the weights are not in it, hence ``reconstructed``. A gradient of
        zero would not stop a part under momentum or weight decay; a learning rate of zero does, also under AdamW, whose decay is
        multiplied by it. With ``restore="part"`` the multimodal part may get weights back that were learnt on encoders as they no longer
        are; the run's best epoch is still chosen by the multimodal validation score. Nothing can stop within ``patience + 1`` epochs:
        a shorter run is joint training.
    """

    name: ClassVar[str] = "mses"
    title: ClassVar[str] = "MSES"
    paper: ClassVar[str] = "Fujimori et al., Modality-Specific Learning Rate Control for Multimodal Classification, ACPR 2019"
    fidelity: ClassVar[Literal["exact", "reconstructed"]] = "reconstructed"
    search_space: ClassVar[Mapping[str, Distribution]] = {"patience": Choice((3, 5, 10, 20))}

    def __init__(self, patience: int = 10, smoothing: float = 0.0, restore: Literal["part", "model"] = "part") -> None:
        need(restore in ("part", "model"), "restore", restore, "'part' or 'model'")
        MSESRule(("part",), patience, smoothing)  # refuses values out of range
        self.patience = patience
        self.smoothing = smoothing
        self.restore = restore
        self._model: nn.Module | None = None
        self._owners: dict[nn.Parameter, str] = {}
        self._module_owners: dict[int, str] = {}
        self._rule: MSESRule | None = None
        self._optimizer: Optimizer | None = None
        self._actuator: LearningRateMultipliers | None = None
        self._best: dict[str, dict[str, Any]] = {}

    @classmethod
    def example(cls, modalities: Sequence[str]) -> Self:
        """Return an instance that stops early."""
        return cls(patience=1)

    @property
    def rule(self) -> MSESRule:
        """The rule of the model that was built."""
        if self._rule is None:
            raise InputError(f"{self.name} has no model yet: call build(model) first")
        return self._rule

    def build(self, model: nn.Module, criterion: Criterion = single_label_loss) -> nn.Module:
        """Find the parts of a model."""
        model = super().build(model, criterion)
        modules = modality_modules(model)
        if not modules:
            raise InputError(f"{type(model).__name__} does not name its modalities in modality_modules(): MSES stops them one by one")
        self._owners = parameter_owners(model, modules)
        named = {part: [leaf for leaf in leaves(given, part) if isinstance(leaf, nn.Module)] for part, given in modules.items()}
        self._module_owners = {id(module): part for part, tops in named.items() for top in tops for module in top.modules()}
        # Late fusion, for one, has no part of its own that could be stopped.
        parts = tuple(modules) + ((MULTIMODAL,) if any(parameter not in self._owners for parameter in model.parameters()) else ())
        self._model, self._best = model, {}
        self._rule = MSESRule(parts, self.patience, self.smoothing)
        return model

    def check(self, samples: Mapping[str, int]) -> None:
        """Refuse a validation split whose mean loss is noise."""
        count = samples.get("val", FEWEST_SAMPLES)
        if count < FEWEST_SAMPLES:
            raise InputError(f"the validation split has {count} samples: MSES watches its loss, give at least {FEWEST_SAMPLES}")

    def attach(self, optimizer: Optimizer) -> None:
        """Get hold of the learning rates."""
        if isinstance(optimizer, (torch.optim.Rprop, torch.optim.ASGD)):
            raise InputError(f"{type(optimizer).__name__} does not stop at a learning rate of 0: MSES needs another optimizer, such as SGD")
        self._optimizer = optimizer
        self._actuator = LearningRateMultipliers(optimizer)

    def detach(self) -> None:
        """Give the optimizer its own rates back."""
        if self._actuator is not None:
            self._actuator.detach()

    def epoch_start(self, context: EpochContext) -> None:
        """Put the normalisation layers of stopped parts in evaluation mode; call it when the model is in training mode."""
        active = self.rule.active
        for module in self._built.modules():
            # Their running statistics would go on moving, and batch statistics would not be those of the weights that came back.
            if isinstance(module, _NormBase) and (part := self._part_of(module)) in self.rule.parts and part not in active:
                module.eval()

    def epoch_end(self, context: EpochContext) -> None:
        """Stop the parts whose validation loss no longer falls; ask for the end an epoch after all have stopped."""
        try:
            losses = context.losses["val"]
        except KeyError:
            raise InputError("MSES watches validation losses: give EpochContext(epoch, losses={'val': {'multimodal': ..., ...}})") from None
        finished = self.rule.finished
        decision = self.rule.step(losses)
        for part in decision.improved:
            self._best[part] = self._snapshot(part)
        for part in decision.stopped:
            if part in self._best:  # a loss that was never finite has no best epoch
                self._restore(self._best.pop(part))
        self._set()
        if finished:
            best = ", ".join(f"{part} {epoch}" for part, epoch in self.rule.best_epochs.items())
            context.stop(f"all parts have stopped; their best epochs: {best}")

    @property
    def _built(self) -> nn.Module:
        if self._model is None:
            raise InputError(f"{self.name} has no model yet: call build(model) first")
        return self._model

    def _set(self) -> None:
        if self._actuator is None:
            raise InputError(f"{self.name} has no optimizer yet: call attach(optimizer) first")
        self._actuator.set(self.rule.multipliers)

    def _part_of(self, module: nn.Module) -> str:
        """Return the part that a module, and with it its buffers, belongs to; a modality may have been given by parameters alone."""
        given = self._module_owners.get(id(module))
        own = (self._owners.get(parameter) for parameter in module.parameters(recurse=False))
        return given or next((part for part in own if part is not None), MULTIMODAL)

    def _tensors(self, part: str | None) -> dict[str, Tensor]:
        """Return the parameters and buffers of a part, or of the whole model, by name."""
        found: dict[str, Tensor] = {}
        for name, parameter in self._built.named_parameters():
            if part is None or self._owners.get(parameter, MULTIMODAL) == part:
                found[name] = parameter.detach()
        for prefix, module in self._built.named_modules():
            if part is None or self._part_of(module) == part:
                found |= {f"{prefix}.{name}" if prefix else name: buffer for name, buffer in module.named_buffers(recurse=False)}
        return found

    def _snapshot(self, part: str) -> dict[str, Any]:
        whole = self.restore == "model"
        tensors = {name: tensor.clone() for name, tensor in self._tensors(None if whole else part).items()}
        return {"tensors": tensors, **({"optimizer": copy.deepcopy(self._optimizer.state_dict())} if whole and self._optimizer else {})}

    def _restore(self, snapshot: Mapping[str, Any]) -> None:
        tensors = self._tensors(None)
        for name, best in snapshot["tensors"].items():
            tensors[name].copy_(best)
        if "optimizer" in snapshot and self._optimizer is not None:
            rates = [group["lr"] for group in self._optimizer.param_groups]
            self._optimizer.load_state_dict(snapshot["optimizer"])
            for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
                group["lr"] = rate  # another scheduler's business

    def multipliers(self) -> dict[str, float]:
        """Return 0 for each part that has stopped and 1 for the others."""
        return self.rule.multipliers

    def record(self) -> dict[str, Any]:
        """Return the best epoch of every part, and which parts are still trained."""
        return {"best_epochs": dict(self.rule.best_epochs), "active": list(self.rule.active)}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the rule, and the best weights of the parts that go on."""
        return {} if self._rule is None else {"rule": self.rule.state_dict(), "best": dict(self._best)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state, with its stopped parts at rest."""
        self.rule.load_state_dict(state["rule"])
        self._best = dict(state["best"])
        self._set()
