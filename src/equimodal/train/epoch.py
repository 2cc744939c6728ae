"""One epoch of training and what surrounds it, for the run itself and for trainings beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import ReduceLROnPlateau

from equimodal import processes
from equimodal.errors import InputError, TrainingDiverged
from equimodal.groups import modality_modules
from equimodal.scores import MULTIMODAL
from equimodal.train.evaluate import Evaluation

if TYPE_CHECKING:
    import torch
    from torch import nn

    from equimodal.methods.base import EpochContext
    from equimodal.scoring import Scorer
    from equimodal.train.batches import Source
    from equimodal.train.step import TrainingStep

__all__ = ["check_losses", "every_step", "heads_of", "parallel", "step_scheduler", "train_epoch"]


def heads_of(model: nn.Module) -> tuple[str, ...]:
    """Return the modalities whose heads are scored: the model's own word, or the parts that it names."""
    return tuple(getattr(model, "modalities", None) or modality_modules(model))


def parallel(model: nn.Module, device: torch.device, *, masks: bool) -> nn.Module:
    """Return the model, wrapped where there are several processes.

    :param masks: whether some samples lack a modality, so that parameters may go without a gradient.
    """
    if processes.world_size() == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None, find_unused_parameters=masks)


def train_epoch(
    step: TrainingStep, source: Source, epoch: int, accumulate: int, scorer: Scorer, after_step: Callable[[], None] | None
) -> Evaluation:
    """Train one epoch with a model in training mode; return scores and losses as its own forward passes gave them."""
    step.start_epoch(scorer, source)
    samples = 0
    shares = source.epoch(epoch)
    while taken := list(islice(shares, accumulate)):
        step.take(taken)
        step.method.update(step)
        step.method.after_step(step)
        if after_step is not None:
            after_step()
        samples += sum(share.total for share in taken)
    trained = step.trained_loss()
    if not math.isfinite(trained):
        raise _diverged("training", trained, epoch)
    return Evaluation(scorer.compute(), step.mean_losses(scorer.heads), samples)


def check_losses(checked: Evaluation, metric: str, epoch: int) -> None:
    """Look at the validation losses: the last step of an epoch may have ruined weights that no training loss has met yet."""
    for head, loss in checked.losses.items():
        if not math.isfinite(loss) and not math.isnan(checked.metrics[head][metric]):
            raise _diverged(f"validation ({head})", loss, epoch)


def _diverged(what: str, loss: float, epoch: int) -> TrainingDiverged:
    kept = f"the checkpoint of epoch {epoch - 1} stays" if epoch > 1 else "no epoch was finished"
    return TrainingDiverged(f"the {what} loss became {loss} in epoch {epoch}: lower the learning rate or clip the gradient; {kept}")


def every_step(scheduler: Any, interval: str) -> Callable[[], None] | None:
    """Return what to call after every optimizer step."""
    if scheduler is None or interval == "epoch":
        return None
    if isinstance(scheduler, ReduceLROnPlateau):
        raise InputError("ReduceLROnPlateau looks at validation scores: step it every epoch, scheduler_interval='epoch'")
    step: Callable[[], None] = scheduler.step
    return step


def step_scheduler(scheduler: Any, context: EpochContext) -> None:
    """Step a scheduler at an epoch's end."""
    if isinstance(scheduler, ReduceLROnPlateau):
        seen = context.scores if scheduler.mode == "max" else context.losses
        scheduler.step(seen["val"][MULTIMODAL])
    else:
        scheduler.step()
