"""How hard the loss pulls at each modality's encoder, and how far a step or a stretch of training moves it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn

from equimodal.errors import InputError
from equimodal.tasks import get_task
from equimodal.train.step import forward

if TYPE_CHECKING:
    from equimodal.data.batch import Batch
    from equimodal.nn.prediction import Prediction
    from equimodal.tasks import Task

__all__ = ["GradientNorm", "gradient_norms", "undisturbed", "update_sizes"]


class GradientNorm(NamedTuple):
    """The norm of a gradient, and that relative to the norm of the parameters."""

    norm: float
    relative: float


def gradient_norms(
    model: nn.Module,
    batches: Iterable[Batch],
    task: str | Task,
    modalities: Mapping[str, Sequence[nn.Parameter]],
    *,
    loss: Literal["multimodal", "sum"] = "multimodal",
) -> dict[str, GradientNorm]:
    r"""Return by modality the norm of the gradient of the mean loss over all batches, in the parameters of its encoder.

    .. math:: g_m = \bigl\| \nabla_{\theta_m} L \bigr\|, \qquad \frac{g_m}{\| \theta_m \|}, \qquad L = \frac 1 n \sum_i \ell_i

    where :math:`\theta_m` are the trainable ones of the given parameters and norms are Euclidean over all their values. With
    ``loss="multimodal"`` :math:`\ell_i` is the loss of the joint logits alone: what the joint prediction asks of each encoder, the pull
    that modality competition is about. With ``loss="sum"`` those of the unimodal heads are added (Eq. 3), for samples that have the
    modality.

    The relative norm is how far one step of plain SGD at a learning rate of 1 would move the encoder, relative to its weights: at a rate
    of η the step moves it by η times that. Optimizers that rescale gradients, such as Adam, move it otherwise.

    It is the gradient of the mean over the data, not the mean of the gradients' norms: it does not depend on the batches. The model is in
    evaluation mode for it: no dropout, and batch normalisation by its running statistics. At the end of a training the gradient over the
    train split is small for every modality, and tells which one has stopped learning only together with its score.

    The model is left as it was: weights, gradients, buffers, modes, and torch's random state.

    >>> from equimodal.data.batch import Batch
    >>> from equimodal.nn import JointFusion, MLP
    >>> model = JointFusion({"audio": MLP(3), "image": MLP(5)}, num_outputs=2)
    >>> batch = Batch({"audio": torch.randn(8, 3), "image": torch.zeros(8, 5)}, torch.arange(8) % 2)
    >>> norms = gradient_norms(model, [batch], "single-label", {"audio": list(model.encoders["audio"].parameters())})
    >>> norms["audio"].norm > 0, next(model.parameters()).grad
    (True, None)

    :param model: returns a :class:`equimodal.nn.Prediction`, on the batches' device.
    :param batches: see :class:`equimodal.data.Batch`; read once, one forward and one backward pass each.
    :param task: whose loss.
    :param modalities: the parameters of each encoder, as :class:`equimodal.groups.ParameterRegistry` has them.
    :param loss: of the joint logits, or of all heads.
    :returns: zeros for an encoder that is frozen or has no parameters.
    :raises InputError: for no sample, and a loss that is NaN or infinite.
    """
    kind = get_task(task)
    trainable = {name: [parameter for parameter in own if parameter.requires_grad] for name, own in modalities.items()}
    every = list(dict.fromkeys(parameter for own in trainable.values() for parameter in own))
    sums = {parameter: torch.zeros_like(parameter, dtype=_accumulated(parameter), requires_grad=False) for parameter in every}
    samples = 0
    with undisturbed(model), torch.inference_mode(mode=False), torch.enable_grad():
        for batch in batches:
            samples += len(batch)
            if not every or not len(batch):
                continue
            total = _loss(forward(model, batch), batch, kind, loss)
            if not bool(total.isfinite()):
                raise InputError(f"the loss is {total.item()}: gradients need finite ones; look for NaN in the inputs or the weights")
            found = torch.autograd.grad(total, every, allow_unused=True) if total.requires_grad else [None] * len(every)
            for parameter, gradient in zip(every, found, strict=True):
                if gradient is not None:
                    sums[parameter] += gradient
    if not samples:
        raise InputError("no sample to take gradients of: the data are empty")
    return {name: _norms([sums[parameter] / samples for parameter in own], own) for name, own in trainable.items()}


def update_sizes(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], modalities: Mapping[str, Iterable[str]]
) -> dict[str, float | None]:
    r"""Return by modality how far its weights moved between two checkpoints, relative to where they were.

    .. math:: \frac{\| \theta_m^{\text{after}} - \theta_m^{\text{before}} \|}{\| \theta_m^{\text{before}} \|}

    It says what optimizer, learning rate and multipliers made of the gradients together; compare modalities between the same two
    checkpoints.

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
        pairs = []
        for name in names:
            if name not in before or name not in after or before[name].shape != after[name].shape:
                raise InputError(f"the parameter {name!r} of {modality!r} is missing from a checkpoint or has another shape in it")
            pairs.append((before[name].double().cpu(), after[name].double().cpu()))
        size = _norm([old for old, _ in pairs])
        found[modality] = _norm([new - old for old, new in pairs]) / size if size else None
    return found


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Bring a model into evaluation mode; after the block its modes and buffers and torch's random state are as they were before."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers()) if tensor.device.type == "cuda"}
    try:
        # The kernels for recurrent networks on GPUs have no backward pass in evaluation mode; torch's own have.
        with torch.random.fork_rng(devices=list(devices)), torch.backends.cudnn.flags(enabled=not devices):
            model.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, kept in buffers:
                buffer.copy_(kept)


def _loss(prediction: Prediction, batch: Batch, task: Task, which: str) -> Tensor:
    """Return the loss added up over the samples of a batch."""
    total = task.loss(_full(prediction.multimodal), batch.targets).sum()
    for modality, logits in prediction.unimodal.items() if which == "sum" else ():
        losses = task.loss(_full(logits), batch.targets)
        mask = batch.present.get(modality)
        total = total + (losses if mask is None else losses.where(mask, 0.0)).sum()
    return total


def _full(logits: Tensor) -> Tensor:
    return logits.float() if logits.element_size() < 4 else logits


def _accumulated(parameter: Tensor) -> torch.dtype:
    return torch.float32 if parameter.element_size() < 4 else parameter.dtype


def _norms(gradients: list[Tensor], parameters: Sequence[Tensor]) -> GradientNorm:
    norm, size = _norm(gradients), _norm(parameters)
    return GradientNorm(norm, norm / size if size else 0.0)


def _norm(tensors: Iterable[Tensor]) -> float:
    return math.sqrt(sum(float(tensor.detach().double().square().sum()) for tensor in tensors))
