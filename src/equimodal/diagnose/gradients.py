"""How hard the loss pulls at each modality's encoder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn

from equimodal.diagnose.updates import norm_of, update_sizes
from equimodal.errors import InputError
from equimodal.tasks import get_task
from equimodal.train.step import forward

if TYPE_CHECKING:
    from equimodal.data.batch import Batch
    from equimodal.nn.prediction import Prediction
    from equimodal.tasks import Task

__all__ = ["GradientNorm", "gradient_norms", "mean_gradients", "sample_losses", "undisturbed", "update_sizes"]


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
    trainable = {name: [parameter for parameter in own if parameter.requires_grad] for name, own in modalities.items()}
    gradients, _ = mean_gradients(model, batches, task, [parameter for own in trainable.values() for parameter in own], loss=loss)
    return {name: _norms([gradients[parameter] for parameter in own], own) for name, own in trainable.items()}


def mean_gradients(
    model: nn.Module,
    batches: Iterable[Batch],
    task: str | Task,
    parameters: Iterable[nn.Parameter],
    *,
    loss: Literal["multimodal", "sum"] = "multimodal",
) -> tuple[dict[nn.Parameter, Tensor], list[int]]:
    """Return by parameter the gradient of the mean loss over all batches, and how many samples each batch had.

    :param parameters: trainable ones.
    :raises InputError: see :func:`gradient_norms`.
    """
    kind, every, sizes = get_task(task), list(dict.fromkeys(parameters)), []
    sums = {parameter: torch.zeros_like(parameter, dtype=_accumulated(parameter), requires_grad=False) for parameter in every}
    with undisturbed(model), torch.inference_mode(mode=False), torch.enable_grad():
        for batch in batches:
            sizes.append(len(batch))
            if not every or not len(batch):
                continue
            total = sample_losses(forward(model, batch), batch, kind, loss).sum()
            if not bool(total.isfinite()):
                raise InputError(f"the loss is {total.item()}: gradients need finite ones; look for NaN in the inputs or the weights")
            found = torch.autograd.grad(total, every, allow_unused=True) if total.requires_grad else [None] * len(every)
            for parameter, gradient in zip(every, found, strict=True):
                if gradient is not None:
                    sums[parameter] += gradient
    if not sum(sizes):
        raise InputError("no sample to take gradients of: the data are empty")
    return {parameter: total / sum(sizes) for parameter, total in sums.items()}, sizes


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


def sample_losses(prediction: Prediction, batch: Batch, task: Task, which: str) -> Tensor:
    """Return the loss of every sample of a batch ``[batch]``: of the joint logits, or (``"sum"``) of all heads together."""
    total = task.loss(_full(prediction.multimodal), batch.targets)
    for modality, logits in prediction.unimodal.items() if which == "sum" else ():
        losses = task.loss(_full(logits), batch.targets)
        mask = batch.present.get(modality)
        total = total + (losses if mask is None else losses.where(mask, 0.0))
    return total


def _full(logits: Tensor) -> Tensor:
    return logits.float() if logits.element_size() < 4 else logits


def _accumulated(parameter: Tensor) -> torch.dtype:
    return torch.float32 if parameter.element_size() < 4 else parameter.dtype


def _norms(gradients: list[Tensor], parameters: Sequence[Tensor]) -> GradientNorm:
    norm, size = norm_of(gradients), norm_of(parameters)
    return GradientNorm(norm, norm / size if size else 0.0)
