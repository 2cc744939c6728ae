"""Methods of this package in the Trainer of Hugging Face transformers: a callback, parameter groups, scores by head, a model to train.

The order of events in the Trainer, as of transformers 5.23: a checkpoint's optimizer is loaded before ``on_train_begin``; gradients are
clipped before ``on_pre_optimizer_step``; an evaluation's metrics are logged before ``on_evaluate``; a checkpoint is written after it.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from equimodal._names import the_model
from equimodal.adapters._logged import check_names, named, not_logged
from equimodal.adapters._versions import at_least
from equimodal.balancer import Balancer
from equimodal.errors import InputError
from equimodal.groups import MODALITY_KEY, tagged_modalities, the_optimizer
from equimodal.scores import MULTIMODAL

at_least("transformers", "5.0", extra="transformers")
at_least("accelerate", "1.1", extra="transformers")

from accelerate.state import AcceleratorState  # noqa: E402
from transformers.trainer_callback import ExportableState, TrainerCallback  # noqa: E402

from equimodal.adapters._trainer_model import TrainerModel, head_metrics  # noqa: E402
from equimodal.adapters._trainer_optimizer import has_keeper, keeper_of, refuse_fused, trainer_groups, trainer_optimizer  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

    from equimodal.adapters._logged import Names
    from equimodal.groups import Part
    from equimodal.methods.base import Method
    from equimodal.tasks import Task

__all__ = ["BalanceCallback", "TrainerModel", "head_metrics", "trainer_groups", "trainer_optimizer"]

_HOW = (
    "pass optimizers=(trainer_optimizer(model, args, modalities), None) to the Trainer, "
    "or let BalanceCallback(...).add_to(trainer, modalities) make it"
)
_MODEL_INIT = "with model_init, return trainer_optimizer(...) from the Trainer's create_optimizer"
_ENGINES = {"DEEPSPEED": "DeepSpeed", "FSDP": "FSDP", "MEGATRON_LM": "Megatron-LM"}
# With restore_callback_states_from_checkpoint the Trainer builds callbacks anew: by its arguments they find the one that the user made.
_made: dict[int, BalanceCallback] = {}


class BalanceCallback(TrainerCallback, ExportableState):
    """A method of this package in the Trainer.

    ::

        trainer = Trainer(
            model, args, train_dataset=train, eval_dataset=val, compute_metrics=head_metrics(("audio", "image")),
            optimizers=(trainer_optimizer(model, args), None), callbacks=[BalanceCallback("miles")],
        )

    The method learns at every evaluation that the Trainer makes during training: with ``eval_strategy="epoch"`` once per epoch, with
    ``"steps"`` at every one. A second evaluation of the same step, that of ``eval_on_start`` and those outside training count for nothing.
    What holds from then on is logged as ``learning_rate/audio``, ``multiplier/audio``, ``utilization/audio`` and ``utilization_gap``.

    Learning-rate methods need no more than that. Those that decide the loss or change gradients need their loss to be trained: by a
    :class:`TrainerModel`, or with ``compute_loss_func=callback.loss``. Gradients are changed after the Trainer has clipped them, not before
    as in :func:`equimodal.fit`, because it offers no earlier place; and it clips probes together with the rest.

    The method's state is saved in ``optimizer.pt``, and comes back with it in ``train(resume_from_checkpoint=...)``.

    :param method: a method, or the name of one; ``"a+b"`` or a list for several that go together.
    :param scores: the metrics with the validation scores of the heads, larger is better: a pattern with ``{}`` for the head's name, or a
        mapping by head. Default ``"eval_{}"``, as :func:`head_metrics` names them; ``"eval_NAME_{}"`` where there are several data sets.
    :param losses: likewise the mean validation losses, for methods that look at them; default ``"eval_loss_{}"``.
    :param task: what targets look like, for :meth:`loss`.
    :param options: hyper-parameters of a method that is given by its name, such as ``tau=0.1``.
    :raises InputError: for an unknown method, one that takes the optimizer's step itself, and a pattern without ``{}``.
    """

    def __init__(
        self,
        method: str | Method | Sequence[str | Method] = "miles",
        *,
        scores: Names = "eval_{}",
        losses: Names = "eval_loss_{}",
        task: str | Task = "single-label",
        **options: Any,
    ) -> None:
        self.balancer = Balancer(method, task=task, **options)
        self.scores = check_names("scores", scores) or "eval_{}"
        self.losses = check_names("losses", losses) or "eval_loss_{}"
        self.rounds = 0
        """From how many evaluations the method has learnt."""
        self._plain = Balancer("joint", task=self.balancer.task)
        self._heads: tuple[str, ...] = ()
        self._trainer: Callable[[], Any] = lambda: None
        self._running = self._due = self._applied = self._rebuilt = False
        self._last_step = 0
        self._unread: Mapping[str, Any] | None = None

    def add_to(self, trainer: Any, modalities: Mapping[str, Part] | None = None) -> BalanceCallback:
        """Join a Trainer that exists: give it an optimizer by modality where it has none, and log through it.

        In ``Trainer(callbacks=[...])`` callbacks stand behind those of TensorBoard, Weights & Biases and others and cannot reach them:
        what is logged is then in ``trainer.state.log_history`` alone.

        :param trainer: a ``transformers.Trainer``, before ``train()``.
        :param modalities: as for :func:`trainer_groups`.
        :returns: this callback.
        :raises InputError: as :func:`trainer_optimizer` does.
        """
        if trainer.optimizer is None and trainer.model_init is None:
            trainer.optimizer = trainer_optimizer(trainer.model, trainer.args, modalities)
        self._trainer = weakref.ref(trainer)
        if self not in trainer.callback_handler.callbacks:
            trainer.add_callback(self)
        self.on_init_end(trainer.args, trainer.state, trainer.control, optimizer=trainer.optimizer)
        return self

    def loss(self, outputs: Any, labels: Tensor | None, num_items_in_batch: Any = None) -> Tensor:
        """Return the method's loss; pass it to the Trainer as ``compute_loss_func``.

        :param outputs: what the model returned: a :class:`equimodal.Prediction`, or a mapping with the logits by head, at its top level or
            under ``"logits"``; masks ``[batch]`` by modality may stand under ``"present"``.
        :param labels: targets.
        :param num_items_in_batch: how many labels the whole step has, of which this micro-batch counts for its share.
        :returns: the method's combined loss in training, plainly the sum of all heads' losses (Eq. 3) in evaluation.
        :raises InputError: for outputs without logits by head, and where the Trainer has dropped the labels.
        """
        if labels is None:
            raise InputError("no labels reach the loss: the model's forward must have an argument 'labels', or set label_names=['labels']")
        prediction, present = outputs, None
        if isinstance(outputs, Mapping):
            logits = outputs.get("logits")
            found = logits if isinstance(logits, Mapping) else outputs
            prediction = {name: value for name, value in found.items() if (name in self._heads if self._heads else name != "loss")}
            present = outputs.get("present")
        balancer = self.balancer if self._running and torch.is_grad_enabled() else self._plain
        loss = balancer.loss(prediction, labels, present=present)
        # The Trainer takes such a loss as scaled to the step already.
        return loss if num_items_in_batch is None else loss * (labels.ne(-100).sum() / num_items_in_batch)

    def state(self) -> dict[str, Any]:
        """Return what stands in ``trainer_state.json``, for people to read; all that matters is in ``optimizer.pt``."""
        record = {"method": self.balancer.method.name, "rounds": self.rounds, "multipliers": self.balancer.multipliers}
        return {"args": {}, "attributes": {"_rebuilt": True, "record": record}}

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stand ready for a checkpoint."""
        if id(args) not in _made:
            weakref.finalize(args, _made.pop, id(args), None)
        _made[id(args)] = self
        if kwargs.get("optimizer") is not None:
            keeper_of(kwargs["optimizer"])

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Let the method get hold of model and optimizer, and go on where a checkpoint ended."""
        if self._rebuilt:  # others refer to the one that this replaces, and both are one from here on
            if id(args) not in _made:
                raise InputError(
                    "BalanceCallback came after the Trainer: pass it in callbacks=[...] or with add_to(trainer) before train()"
                )
            self.__dict__ = _made[id(args)].__dict__
        model, optimizer = the_model(kwargs["model"]), kwargs["optimizer"]
        self._refuse(args, optimizer)
        if state.global_step and not has_keeper(optimizer):
            raise InputError(f"the checkpoint was loaded before this callback could look at it: {_HOW}")
        keeper = keeper_of(optimizer)
        self._reset()
        trained = model.model if isinstance(model, TrainerModel) else kwargs["model"]
        if self.balancer.build(trained) is not trained:
            raise InputError(
                f"{self.balancer.method.name} trains a part of the model: give the Trainer that part, or train with equimodal.fit"
            )
        self.balancer.attach(optimizer)
        self._heads = (MULTIMODAL, *tagged_modalities(the_optimizer(optimizer)))
        if state.global_step and keeper.found is not None:
            self.balancer.load_state_dict(keeper.found["balancer"])
            self.rounds = int(keeper.found["rounds"])
        keeper.found, keeper.give = None, self._state
        if isinstance(model, TrainerModel):
            model.balancer = self.balancer
        # The Trainer fails to save the state of a callback that the checkpoint it resumed from did not know.
        state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        self._running = self._due = True
        self._applied, self._last_step, self._unread = False, state.global_step, None
        if self.balancer.stop_reason is not None:
            control.should_training_stop = True
        return control

    def _reset(self) -> None:
        self.balancer.detach()  # a training that raised has left things behind
        self.balancer.epoch, self.balancer.stop_reason = 0, None
        self.rounds = 0

    def _state(self) -> dict[str, Any]:
        return {"balancer": self.balancer.state_dict(), "rounds": self.rounds}

    def _refuse(self, args: Any, optimizer: Any) -> None:
        engine = _ENGINES.get(getattr(AcceleratorState().distributed_type, "name", ""))
        if engine is not None:
            raise InputError(f"the Trainer runs {engine}, which steps without torch's hooks: use one process, or torchrun (DDP)")
        refuse_fused(args)
        if args.eval_strategy == "no":
            raise InputError(
                "eval_strategy='no': the method counts its epochs by evaluations, set eval_strategy='epoch' and give an eval_dataset"
            )
        if args.n_gpu > 1 and set(self.balancer.method.claims()) - {"the learning rates"}:
            raise InputError(
                f"{self.balancer.method.name} decides more than learning rates, and DataParallel copies the model to {args.n_gpu} GPUs:"
                " start the Trainer with torchrun"
            )
        if not all(isinstance(group.get(MODALITY_KEY), str) for group in the_optimizer(optimizer).param_groups):
            raise InputError(f"the Trainer's optimizer has parameter groups without a modality: {_HOW}; {_MODEL_INIT}")

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin, with the first step after an evaluation, what the method takes for an epoch."""
        self._complain()
        if self._due:
            self._due = False
            self.balancer.epoch_start(self.rounds + 1, epochs=state.num_train_epochs if args.eval_strategy == "epoch" else None)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let the method change the gradients, which are clipped by now; and unscaled, unless nothing was to be clipped."""
        self.balancer.before_step()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Show the method the scores of an evaluation, once per step at most, and log what holds from then on."""
        metrics: Mapping[str, Any] = kwargs["metrics"]
        if not self._running or state.global_step == self._last_step:
            return control
        scores = self._read("scores", metrics)
        if scores is None:  # those of another data set, perhaps
            self._unread = dict(metrics)
            return control
        keeper = keeper_of(kwargs["optimizer"])
        keeper.give = None  # a method may copy the optimizer's state into its own
        try:
            reason = self.balancer.epoch_end(scores, self._read("losses", metrics))
        finally:
            keeper.give = self._state
        self.rounds += 1
        self._due = self._applied = True
        self._last_step, self._unread = state.global_step, None
        if reason is not None:
            logging.getLogger(__name__).info("%s asks for the end: %s", self.balancer.method.name, reason)
            control.should_training_stop = True
        logs, trainer = self.balancer.logs(), self._trainer()
        if trainer is not None:
            trainer.log(logs)
        else:
            state.log_history.append({**logs, "epoch": state.epoch, "step": state.global_step})
        return control

    def _read(self, what: str, metrics: Mapping[str, Any]) -> dict[str, float] | None:
        """Return the value of every head; None where the metrics have none of them, or not all losses."""
        called = named(getattr(self, what), self._heads)
        unnamed = [head for head in self._heads if head not in called]
        if unnamed:
            raise InputError(f"{what} names no metric for {unnamed[0]!r}: name one for each of {', '.join(self._heads)}")
        missing = [called[head] for head in self._heads if called[head] not in metrics]
        if missing and (what == "losses" or len(missing) == len(self._heads)):
            return None
        if missing:
            raise InputError(not_logged(missing, metrics, "the evaluation"))
        return {head: metrics[called[head]] for head in self._heads}

    def _complain(self) -> None:
        if self._unread is not None and not self._applied:
            missing = list(named(self.scores, self._heads).values())
            hint = "pass compute_metrics=head_metrics(modalities) to the Trainer, or say what they are called with scores="
            raise InputError(f"{not_logged(missing, self._unread, 'the evaluation')}: {hint}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let go of model and optimizer."""
        self._running = False
        self.balancer.detach()
        keeper_of(kwargs["optimizer"]).give = None
        model = the_model(kwargs["model"])
        if isinstance(model, TrainerModel):
            model.balancer = None
        self._complain()
