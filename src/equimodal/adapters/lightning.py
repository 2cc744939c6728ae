"""Lightning: a callback that lets a method into ``Trainer.fit``.

.. code-block:: python

    trainer = Trainer(callbacks=[BalanceCallback("miles")])  # reads val_multimodal, val_audio, ... as the module logs them

It works with ``lightning`` and with ``pytorch_lightning``.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from equimodal import processes
from equimodal.adapters._logged import Names, check_names, named, not_logged
from equimodal.adapters._versions import at_least
from equimodal.balancer import Balancer
from equimodal.errors import InputError, MissingDependency, nearest, require
from equimodal.groups import modality_modules
from equimodal.head_scores import HeadScores
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from equimodal.methods.base import Method
    from equimodal.nn.prediction import Prediction
    from equimodal.tasks import Task

__all__ = ["BalanceCallback"]


def _package() -> Any:
    """Return the Lightning that has been imported already, else one that is installed."""
    for name in ("lightning.pytorch", "pytorch_lightning"):
        if name in sys.modules:
            return sys.modules[name]
    with contextlib.suppress(MissingDependency):
        return require("lightning.pytorch", extra="lightning")
    return require("pytorch_lightning", extra="lightning")


_lightning = _package()
at_least(_lightning.__name__, "2.5", extra="lightning")
if not TYPE_CHECKING:
    Callback = _lightning.Callback

_ENGINES = ("DeepSpeed", "FSDP", "ModelParallel", "XLA")
"""Strategies that step in an engine of their own, or whose optimizers hold shards."""


class BalanceCallback(Callback):
    """Drives a method of this package from Lightning's loop, with automatic or manual optimization.

    Learning-rate methods need two things of a module: parameter groups from :func:`equimodal.modality_groups` in
    ``configure_optimizers``, and a score per head that validation logs, by default as ``val_multimodal``, ``val_audio`` and so on. A
    module without such scores calls :meth:`score` in ``validation_step``. Methods that weight losses or change gradients need
    :meth:`loss` in ``training_step`` too, and a network that names its parts in ``modality_modules``.

    The rule is applied once per epoch, to the scores of the epoch's last validation and before that epoch's checkpoint is written; where
    the Trainer validates by steps (``check_val_every_n_epoch=None``), at every validation. An epoch without validation changes nothing,
    nor does a validation that logs none of the scores anew, nor the sanity check.

    ``learning_rate/NAME``, ``multiplier/NAME``, ``utilization/NAME`` and ``utilization_gap`` are logged at the end of the training epoch:
    effective rates and multipliers as they hold from then on. When the method asks for the end, ``trainer.should_stop`` is set.

    :param method: a method, or the name of one with its default hyper-parameters; ``"a+b"`` or a list for several that go together.
    :param scores: how the logged scores are called: a pattern with ``{}`` in place of the head's name (``"multimodal"``, ``"audio"``,
        ...), or a mapping from head to name. Of several validation loaders name one: ``"val_{}/dataloader_idx_0"``. Larger is better.
    :param losses: likewise for validation losses by head, for methods that look at them (MSES); :meth:`score` counts them too.
    :param train_scores: likewise for scores of the training epoch, for ``MILESMethod(split="train")``.
    :param model: the module's attribute that holds the network, such as ``"net"``; by default the module itself or its one child that
        has ``modality_modules``.
    :param task: what targets look like, for :meth:`loss` and :meth:`score`; default ``"single-label"``.
    :param metric: what :meth:`score` computes, as in :class:`equimodal.HeadScores`; default the task's first metric.
    :param optimizer: which of several optimizers holds the modalities, counted from 0.
    :param options: hyper-parameters of a method that is given by its name, such as ``tau=0.1``.
    :raises InputError: for a method that cannot be let in, and for a pattern without ``{}``; in ``fit`` for untagged groups, several
        optimizers, metrics that were not logged or differ between processes, and strategies that leave no way in.
    """

    def __init__(
        self,
        method: str | Method | Sequence[str | Method] = "miles",
        *,
        scores: Names = "val_{}",
        losses: Names | None = None,
        train_scores: Names | None = None,
        model: str | None = None,
        task: str | Task = "single-label",
        metric: Any = None,
        optimizer: int | None = None,
        **options: Any,
    ) -> None:
        self.scores = check_names("scores", scores) or "val_{}"
        self.losses = check_names("losses", losses)
        self.train_scores = check_names("train_scores", train_scores)
        self.model, self.metric, self.index = model, metric, optimizer
        self._make = partial(Balancer, method, task=task, **options)
        self._begin({})

    def _begin(self, state: dict[str, Any]) -> None:
        self.balancer = self._make()
        """What drives the method; its ``logs()``, ``method`` and ``multipliers`` tell how things stand."""
        self._state = state  # waits for the optimizer
        self._optimizer: Any = None
        self._running: int | None = None
        self._ended = True
        self._applied = False
        self._counter: HeadScores | None = None
        self._counted: dict[str, Any] = {}
        self._before: dict[str, Any] = {}
        self._seen: dict[str, Any] | None = None

    @property
    def state_key(self) -> str:
        """The name of this callback's state in checkpoints."""
        return "equimodal.BalanceCallback"

    def loss(self, prediction: Prediction | Mapping[str, Tensor], targets: Tensor, **options: Any) -> Tensor:
        """Return the method's loss, for ``training_step``; see :meth:`equimodal.Balancer.loss`. Lightning divides it for accumulation."""
        return self.balancer.loss(prediction, targets, **options)

    def score(self, prediction: Prediction | Mapping[str, Tensor], targets: Tensor, **options: Any) -> None:
        """Count a batch, in ``validation_step``: scores over all processes are logged under the names of ``scores``, losses of ``losses``.

        See :meth:`equimodal.HeadScores.update`.
        """
        if self._counter is None:
            given: Any = getattr(prediction, "unimodal", prediction)
            heads = self.balancer.modalities or tuple(name for name in given if name != MULTIMODAL)
            self._counter = HeadScores(heads, self.balancer.task, self.metric)
        self._counter.update(prediction, targets, **options)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the method prepare for the network, before the optimizer is made."""
        if stage != "fit":
            return
        strategy = type(trainer.strategy)
        if any(engine in kind.__name__ for kind in strategy.__mro__ for engine in _ENGINES):
            raise InputError(f"{strategy.__name__} shards parameters or steps in an engine of its own: use one device, or strategy='ddp'")
        # The same Trainer asked for more epochs goes on; another one begins anew, unless it loads a checkpoint.
        state = self.state_dict() if trainer.current_epoch else {}
        self.balancer.detach()
        self._begin(state)
        found = self._network(pl_module)
        if found is not None and self.balancer.build(found) is not found:
            raise InputError(f"{self.balancer.method.name} trains another model than the module's own: train it with equimodal.fit")

    def _network(self, module: LightningModule) -> nn.Module | None:
        children = [name for name, child in module.named_children() if modality_modules(child)]
        if self.model is not None:
            try:
                return module.get_submodule(self.model)
            except AttributeError:
                hint = nearest(self.model, children or dict(module.named_children()))
                raise InputError(f"model = {self.model!r}: {type(module).__name__} has none of that name when fit begins; {hint}") from None
        if modality_modules(module) or len(children) == 1:
            return module if modality_modules(module) else module.get_submodule(children[0])
        if self.balancer.needs_model:
            hint = f"choose one, as model={children[0]!r}" if children else "make one in the module's __init__"
            raise InputError(
                f"{self.balancer.method.name} needs the one network that has modality_modules(), and {type(module).__name__} holds "
                f"{', '.join(children) or 'none'}: {hint}"
            )
        return None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Get hold of the optimizer. Lightning has loaded this callback's state by now, and loads the optimizer's afterwards."""
        held, name = trainer.optimizers, self.balancer.method.name
        index = 0 if self.index is None and len(held) == 1 else self.index
        if index is None or not 0 <= index < len(held):
            raise InputError(f"configure_optimizers made {len(held)} optimizers: say which one holds the modalities, as optimizer=0")
        self._optimizer = held[index]
        if any(getattr(parameter, "_in_backward_optimizers", None) for parameter in pl_module.parameters()):
            raise InputError(f"{name} cannot be let in where optimizers step within backward: let one step after it")
        unscaled = getattr(trainer.precision_plugin, "scaler", None) is None
        if "the gradients" in self.balancer.method.claims() and not unscaled and getattr(held[index], "_step_supports_amp_scaling", False):
            raise InputError(f"{name} changes gradients, which a fused optimizer keeps scaled under 16-mixed: leave fused=True out")
        if trainer.model is not pl_module and self.balancer.method.transforms() and modality_modules(pl_module):
            raise InputError(f"{name} stands inside the network, which {type(trainer.strategy).__name__} wraps: keep it in self.net, say")
        if self.balancer.learns_from_validation and self.train_scores is None and not trainer.enable_validation:
            raise InputError(f"{name} learns from validation scores: the Trainer needs a validation loader, the module a validation_step")
        try:
            self.balancer.attach(held[index])
        except InputError as error:
            raise InputError(f"configure_optimizers: {error}") from None
        if self._state:
            self._load(self._state)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin an epoch with its first batch, also where a resumed run stands within one."""
        number = self.balancer.epoch + self._ended if _by_steps(trainer) else trainer.current_epoch + 1
        if number != self._running:
            self.balancer.epoch_start(number, epochs=trainer.max_epochs if (trainer.max_epochs or 0) > 0 else None)
            self._running, self._ended = number, False

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Let gradient methods in: gradients are unscaled by now and not yet clipped. Steps of manual optimization come by here too."""
        if optimizer is self._optimizer and any(x.grad is not None for group in optimizer.param_groups for x in group["params"]):
            self.balancer.before_step()  # a training_step that returned None left no gradient

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what was logged before, so that no score counts twice."""
        self._before, self._counted = dict(trainer.callback_metrics), {}
        if self._counter is not None:
            self._counter.reset()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what :meth:`score` has counted."""
        if self._counter is None or trainer.sanity_checking or not any(self._counter.counts().values()):
            return
        self._counted = {"scores": self._counter.compute(), "losses": self._counter.losses()}
        for names, values in ((self.scores, self._counted["scores"]), (self.losses, self._counted["losses"])):
            called = {} if names is None else named(names, values)
            self._log(pl_module, {name.partition("/dataloader_idx_")[0]: values[head] for head, name in called.items()})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the scores, of which the module has logged the last by now, and apply the method before a checkpoint is written."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._seen = self._read(trainer) or self._seen
        if _by_steps(trainer) and self._apply(trainer):
            for logger in trainer.loggers:  # the module may not log here, and the epoch may never end
                logger.log_metrics(self.balancer.logs(), step=trainer.fit_loop.epoch_loop._batches_that_stepped)
        elif trainer.is_last_batch and self.train_scores is None:
            self._applied = self._apply(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the method where the epoch went on after its last validation, and log."""
        if self.train_scores is not None and self._running is not None:
            names, logged = named(self.train_scores, (MULTIMODAL, *self.balancer.modalities)), trainer.callback_metrics
            missing = [name for name in names.values() if name not in logged]
            if missing:
                raise InputError(not_logged(missing, logged, "training"))
            self._seen = {"missing": "", **(self._seen or {}), "train_scores": {head: float(logged[name]) for head, name in names.items()}}
        self._applied = self._apply(trainer) or self._applied
        if not _by_steps(trainer):
            rates = ("learning_rate/", "multiplier/")
            self._log(pl_module, {name: x for name, x in self.balancer.logs().items() if self._applied or name.startswith(rates)})
        self._applied = False

    def _read(self, trainer: Trainer) -> dict[str, Any] | None:
        """Return the scores and losses of this validation, or None where it logged none of them anew."""
        # What is logged anew is a new tensor.
        logged = {name: value for name, value in trainer.callback_metrics.items() if value is not self._before.get(name)}
        seen, wanted = dict(self._counted), dict[str, str]()
        for what, names in (("scores", self.scores), ("losses", self.losses)):
            if what not in seen and names is not None:
                called = named(names, (MULTIMODAL, *self.balancer.modalities))
                seen[what] = {head: float(logged[name]) for head, name in called.items() if name in logged}
                wanted |= dict.fromkeys(called.values(), what)
        missing = [name for name in wanted if name not in logged]
        if not self._counted and missing == list(wanted) and all(name in self._before for name in missing):
            return None
        # One process may have logged what another has not.
        missing = list(processes.each(dict.fromkeys(missing, 1.0)))
        seen |= {wanted[name]: None for name in missing}
        return {**seen, "missing": not_logged(missing, logged, taken=wanted) if missing else ""}

    def _apply(self, trainer: Trainer) -> bool:
        """Show the method the last validation, once; return whether there was one."""
        if self._seen is None:
            return False
        seen, self._seen = self._seen, None
        scores: Any = seen.get("scores")
        losses = seen.get("losses")
        try:
            with torch.inference_mode(False):  # validation runs in it, and what a method keeps for training must not be born there
                reason = self.balancer.epoch_end(scores, losses, train_scores=seen.get("train_scores"))
        except InputError as error:
            if seen["missing"]:
                raise InputError(f"{seen['missing']}; {error}") from None
            if losses is None and "losses" in str(error):
                raise InputError(f"{error}; name them, as in losses='val_loss_{{}}', or call score() in validation_step") from None
            raise
        self._ended = True
        if reason is not None:
            trainer.should_stop = True
            _lightning.utilities.rank_zero_info(f"{self.balancer.method.name} ends the training: {reason}")
        return True

    def _log(self, module: LightningModule, values: Mapping[str, float]) -> None:
        if values and not module.trainer.barebones:
            dtype = torch.float32 if module.device.type == "mps" else torch.float64  # Apple's has no double precision
            # All processes have the same; Lightning warns of what is not said to be synchronised.
            module.log_dict({name: torch.tensor(x, dtype=dtype, device=module.device) for name, x in values.items()}, sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the method's state for Lightning's checkpoint: multipliers, utilization, and scores that wait for the epoch's end."""
        if self.balancer.optimizer is None:
            return self._state
        return {"balancer": self.balancer.state_dict(), "ended": self._ended, "seen": self._seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state, as soon as the optimizer is there.

        :raises InputError: for the state of another method.
        """
        self._state = dict(state_dict)
        if self.balancer.optimizer is not None:
            self._load(self._state)

    def _load(self, state: Mapping[str, Any]) -> None:
        self.balancer.load_state_dict(state.get("balancer", {}))
        self._ended, self._seen = bool(state.get("ended", True)), state.get("seen")


def _by_steps(trainer: Trainer) -> bool:
    """Whether validation follows the number of steps and not the epochs."""
    return trainer.check_val_every_n_epoch is None
