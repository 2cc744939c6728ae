"""A rehearsal before a run's folder is made: what torch would refuse in the middle of training is refused here, in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from equimodal.errors import InputError, first_line

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from equimodal.data.batch import Batch
    from equimodal.nn import JointFusion

__all__ = ["rehearse_model", "rehearse_optimizer"]


def rehearse_optimizer(
    groups: list[dict[str, Any]],
    make_optimizer: Callable[[list[dict[str, Any]]], Optimizer],
    make_scheduler: Callable[[Optimizer], Any] | None,
    device: torch.device,
    steps: int,
) -> None:
    """Take two steps with an optimizer and its scheduler on small stand-ins for the parameters.

    :param groups: the parameter groups of the run.
    :param steps: how often the run will step the scheduler.
    :raises InputError: when the optimizer or the scheduler refuses.
    """
    with _refusals("the optimizer refuses its options"):
        optimizer = make_optimizer([{**group, "params": _stand_ins(group["params"], device)} for group in groups])
        optimizer.step()
    if make_scheduler is None:
        return
    with _refusals("the scheduler refuses its options"):
        scheduler = make_scheduler(optimizer)
        for _ in range(2):
            optimizer.step()
            scheduler.step(*([1.0] if isinstance(scheduler, ReduceLROnPlateau) else []))
    # OneCycleLR alone has an end, and raises when it is stepped beyond it.
    planned = getattr(scheduler, "total_steps", None)
    if isinstance(planned, int) and steps > planned:
        raise InputError(f"scheduler.total_steps = {planned}, and this run steps it {steps} times: give at least as many")


def _stand_ins(parameters: Iterable[Any], device: torch.device) -> list[nn.Parameter]:
    """Return one parameter of every number of dimensions that occurs, with a gradient."""
    found = []
    for dimensions in sorted({(entry[1] if isinstance(entry, tuple) else entry).dim() for entry in parameters}):
        stand_in = nn.Parameter(torch.zeros([2] * dimensions, device=device))
        stand_in.grad = torch.ones_like(stand_in)
        found.append(stand_in)
    return found


def rehearse_model(model: JointFusion, batch: Batch) -> None:
    """Run a model on a few samples, one modality after the other, without leaving a trace.

    :raises InputError: when an encoder cannot process its input, naming the encoder's place in the configuration.
    """
    modes = {module: module.training for module in model.modules()}
    features: dict[str, Tensor] = {}
    try:
        with torch.no_grad(), torch.random.fork_rng([]):
            model.eval()
            for modality, value in batch.inputs.items():
                with _refusals(f"model.encoders.{modality}", always=True):
                    encoded = model.encode({modality: value})  # zeros for the other modalities
                features = {**encoded, **features, modality: encoded[modality]}
            model.fuse(features)
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _refusals(what: str, *, always: bool = False) -> Iterator[None]:
    """Turn whatever is raised into one line; what is one already is left as it is, unless the part must always be named."""
    try:
        yield
    except Exception as error:  # what torch finds wrong it says in any class of exception
        if isinstance(error, InputError) and not always:
            raise
        said = first_line(error)
        raise InputError(f"{what}: {said}") from None
