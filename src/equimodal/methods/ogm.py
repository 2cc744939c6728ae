"""OGM and OGM-GE, on-the-fly gradient modulation: the encoder that is ahead gets smaller gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from equimodal import processes
from equimodal.errors import InputError
from equimodal.groups import ParameterRegistry
from equimodal.methods._checks import is_number, is_whole, need
from equimodal.methods._heads import Heads, HeadsMethod
from equimodal.methods.evidence import Evidence, check_evidence, make_evidence
from equimodal.methods.space import Choice
from equimodal.tasks import single_label_loss

if TYPE_CHECKING:
    from equimodal.data.batch import Batch
    from equimodal.methods.base import Criterion, EpochContext
    from equimodal.methods.space import Distribution
    from equimodal.nn.prediction import Prediction

__all__ = ["OGM", "OGMGE", "coefficients"]

Number = TypeVar("Number", float, Tensor)

_LEAST = 1e-30
"""A score of nothing at all counts as this, so that ratios stay finite."""


def coefficients(scores: Mapping[str, Number], alpha: float) -> dict[str, Number]:
    r"""Return the factor of every encoder's gradient (Eq. 10 of OGM).

    .. math:: \rho_m = \frac{s_m}{\operatorname{mean}_{j \ne m} s_j}, \qquad
        k_m = \begin{cases} 1 - \tanh(\alpha \rho_m) & \rho_m > 1 \\ 1 & \text{otherwise} \end{cases}

    Where all scores are equal the first modality is modulated, as in the official code, whose ``else`` branch is its audio's.

    >>> {name: round(factor, 6) for name, factor in coefficients({"audio": 2.0, "image": 3.0}, alpha=0.8).items()}
    {'audio': 1.0, 'image': 0.166345}

    :param scores: by modality, how sure it alone is of the true classes: the sum over the batch of their probabilities, or the mean. All
        floats, or all tensors without dimensions on one device, of which none is read back.
    :param alpha: the strength α, at least 0; 0 leaves all factors 1.
    :returns: by modality a number of the same kind, from 0 to 1.
    :raises InputError: for fewer than two modalities, an alpha out of range, or a float that is no score.
    """
    need(is_number(alpha) and alpha >= 0, "alpha", alpha, "a number of at least 0")
    names = tuple(scores)
    if len(names) < 2:
        raise InputError(f"OGM compares at least two modalities, got {', '.join(names) or 'none'}")
    if isinstance(scores[names[0]], Tensor):
        return dict(zip(names, _factors(torch.stack([torch.as_tensor(scores[name]) for name in names]), alpha).unbind(), strict=True))  # type: ignore[arg-type]
    values = []
    for name in names:
        score: Any = scores[name]
        need(is_number(score) and score >= 0, f"the score of {name!r}", score, "a number of at least 0, or a tensor,")
        values.append(float(score))
    return dict(zip(names, _float_factors(values, alpha), strict=True))  # type: ignore[arg-type]


def _float_factors(values: list[float], alpha: float) -> list[float]:
    found = []
    for index, value in enumerate(values):
        others = values[:index] + values[index + 1 :]
        ratio = value / max(sum(others) / len(others), _LEAST)
        ahead = index == 0 if len(set(values)) == 1 else ratio > 1
        found.append(1 - math.tanh(alpha * ratio) if ahead else 1.0)
    return found


def _factors(scores: Tensor, alpha: float) -> Tensor:
    # For two modalities the mean of the others is a swap.
    others = scores.flip(0) if len(scores) == 2 else torch.stack([_without(scores, index).mean() for index in range(len(scores))])
    ratios = scores / others.clamp(min=_LEAST)
    first = torch.arange(len(scores), device=scores.device) == 0
    ahead = torch.where((scores == scores[0]).all(), first, ratios > 1)
    return 1 - torch.tanh(alpha * ratios) * ahead


def _without(scores: Tensor, index: int) -> Tensor:
    return torch.cat([scores[:index], scores[index + 1 :]])


class OGM(HeadsMethod):
    r"""On-the-fly gradient modulation (Peng et al., CVPR 2022).

    At every step it asks how sure each modality alone is of the true classes, and shrinks the gradient of the encoder that is ahead.

    .. math::
        s_m = \sum_{i \in B} \operatorname{softmax}(v_{m,i})_{y_i}, \qquad \rho_m = \frac{s_m}{\operatorname{mean}_{j \ne m} s_j}, \qquad
        k_m = \begin{cases} 1 - \tanh(\alpha \rho_m) & \rho_m > 1 \\ 1 & \text{otherwise} \end{cases}, \qquad
        g_m \leftarrow k_m\, g_m

    - :math:`v_m`: logits of modality *m* alone (``evidence``); for fusion by concatenation :math:`W_m z_m + b/M`, the slice of the fusion
      that its feature :math:`z_m` meets.
    - :math:`s_m`, :math:`\rho_m`: score and discrepancy ratio; α (``alpha``): strength.
    - :math:`g_m`: gradient of encoder *m*'s parameters, after backward and before the optimizer's step. Heads and fusion stay as they are.

    In a loop of one's own::

        method = OGM(alpha=0.3)
        model = method.build(model)
        registry = ParameterRegistry(model)
        for epoch in range(1, epochs + 1):
            method.epoch_start(EpochContext(epoch))
            for batch in batches:
                optimizer.zero_grad()
                prediction = model(batch.inputs)
                cross_entropy(prediction.multimodal, batch.targets).backward()
                method.observe(prediction, batch)
                method.modulate(registry)
                optimizer.step()

    :param alpha: the strength α, at least 0; 0 is training on the multimodal loss alone. The paper gives no default; 0.3 is that of its
        example command, and 0.1 (VGGSound) and 0.8 (CREMA-D) are its settings.
    :param modulation_starts: the first epoch that is modulated, counted from 0; default 0, as in the official code.
    :param modulation_ends: the last one, included; default 50, as in the official code, of its 100 epochs.
    :param params: ``"all"`` parameters of an encoder (default), or ``"conv"``: those of four dimensions alone, as in the official code,
        whose test of shape fits the ResNets it was written for. In an encoder without convolutions that test finds nothing: the official
        code then does nothing, and here ``"conv"`` is refused. A method that means to slow an encoder should slow all of it, biases and
        normalisation included, hence the default.
    :param evidence: where :math:`v_m` comes from; default ``"slice"``, the paper's, for the fusions ``concat``, ``sum``, ``additive`` and
        ``late``. Others need another: ``"zeroed-feature"``, ``"zeroed-input"``, ``"head"``, ``"shared-head"`` or ``"prototype"``; see
        :data:`equimodal.methods.evidence.EVIDENCE`.
    :param heads: ``"probes"`` (default): the multimodal loss alone is trained, as in the paper, and unimodal heads only read the features;
        ``"trained"``: the losses of all heads (Eq. 3 of MILES).
    :raises InputError: for a value out of range; from ``build`` for a model whose fusion has no such evidence, that does not name its
        encoders, or, with ``params="conv"``, for an encoder without convolutions.

    .. note::
        Departures from paper and official code. ``exact`` is the rule, and with ``params="conv"`` what the official code does with it; the
        default applies the rule to whole encoders. More than two modalities: the paper has two; the mean of the others' scores stands for
        the other's, which for two is the paper's rule. The probability of the true class is :math:`e^{-\ell_i}` with the loss per sample of
        the task, which for cross-entropy is the softmax; for other tasks this is ours. Where samples lack a modality its mean over the
        others takes the sum's place. With accumulation and several processes scores are those of the whole step. The official code takes
        slices of the head for fusions that have none (FiLM, gated); here this is refused. A constant factor on gradients is divided away
        by Adam and its like, except while it changes: OGM was made for SGD, and weight decay is not scaled.
    """

    name: ClassVar[str] = "ogm"
    title: ClassVar[str] = "OGM"
    paper: ClassVar[str] = "Peng et al., Balanced Multimodal Learning via On-the-fly Gradient Modulation, CVPR 2022"
    fidelity: ClassVar[Literal["exact", "reconstructed"]] = "exact"
    search_space: ClassVar[Mapping[str, Distribution]] = {"alpha": Choice((0.1, 0.3, 0.5, 0.8, 1.0))}

    def __init__(
        self,
        alpha: float = 0.3,
        modulation_starts: int = 0,
        modulation_ends: int = 50,
        params: Literal["all", "conv"] = "all",
        evidence: str = "slice",
        heads: Heads = "probes",
    ) -> None:
        need(is_number(alpha) and alpha >= 0, "alpha", alpha, "a number of at least 0")
        need(is_whole(modulation_starts) and modulation_starts >= 0, "modulation_starts", modulation_starts, "an epoch of at least 0")
        need(
            is_whole(modulation_ends) and modulation_ends >= modulation_starts,
            "modulation_ends",
            modulation_ends,
            f"an epoch of at least modulation_starts = {modulation_starts}",
        )
        need(params in ("all", "conv"), "params", params, "'all' or 'conv'")
        check_evidence(evidence)
        self.alpha = alpha
        self.modulation_starts = modulation_starts
        self.modulation_ends = modulation_ends
        self.params = params
        self.evidence = evidence
        self.heads = heads
        self._check_heads()
        self._epoch: int | None = None
        self._source: Evidence | None = None
        self._modalities: tuple[str, ...] = ()
        self._sums: Tensor | None = None
        self._counts: Any = 0.0
        self._used: dict[str, Any] = {}
        self._steps = 0

    def build(self, model: nn.Module, criterion: Criterion = single_label_loss) -> nn.Module:
        """Find the encoders and the evidence of a model."""
        model = super().build(model, criterion)
        registry = ParameterRegistry(model)
        self._modalities = registry.modalities
        if len(self._modalities) < 2:
            named = ", ".join(self._modalities) or "no modality"
            raise InputError(f"{type(model).__name__} names {named} in modality_modules(): {self.title} compares two or more")
        for modality in self._modalities:
            if not self._modulated(registry, modality):
                lacks = "no convolution (a weight of four dimensions)" if self.params == "conv" else "no parameters"
                hint = "use params='all'" if self.params == "conv" else "leave the modality out of modality_modules()"
                raise InputError(f"params = {self.params!r}: the encoder of {modality!r} has {lacks}, nothing would be modulated: {hint}")
        if self.evidence == "prototype" and criterion is not single_label_loss:
            raise InputError("evidence = 'prototype' needs one class per sample: for another task choose 'head'")
        self._source = make_evidence(self.evidence, model)
        return model

    def _modulated(self, parameters: ParameterRegistry, modality: str) -> list[nn.Parameter]:
        found = parameters.of(modality, "encoder")
        return found if self.params == "all" else [parameter for parameter in found if parameter.dim() == 4]

    @property
    def _evidence(self) -> Evidence:
        if self._source is None:
            raise InputError(f"{self.name} has no model yet: call build(model) first")
        return self._source

    @property
    def _in_window(self) -> bool:
        if self._epoch is None:
            raise InputError(f"{self.name} does not know the epoch, which its window counts: call epoch_start(EpochContext(epoch)) first")
        return self.modulation_starts <= self._epoch <= self.modulation_ends

    def epoch_start(self, context: EpochContext) -> None:
        """Note the epoch."""
        self._epoch = context.epoch - 1  # the window counts from 0
        self._sums, self._counts = None, 0.0
        self._used, self._steps = {}, 0
        self._evidence.epoch_start()

    def epoch_end(self, context: EpochContext) -> None:
        """Close the epoch's evidence."""
        self._evidence.epoch_end()

    def observe(self, prediction: Prediction, batch: Batch) -> None:
        """Add up how sure each modality is of the true classes; several micro-batches make one step."""
        if not self._in_window:
            return
        logits = self._evidence.logits(prediction, batch)
        counts: float | Tensor = len(batch)
        if batch.present or len(logits) < len(self._modalities):
            sums, counts = self._masked(logits, batch)
        else:
            sums = self._sure([logits[modality] for modality in self._modalities], batch.targets)
        self._sums = sums if self._sums is None else self._sums + sums
        self._counts = self._counts + counts

    def _sure(self, logits: list[Tensor], targets: Tensor) -> Tensor:
        """Return the sum over the batch of the probability of the true class, ``[modalities]``."""
        if self.criterion is single_label_loss:
            # Few calls, and a softmax along the first of two dimensions, which on a CPU is much faster where classes are few.
            by_class = torch.stack([of_one.t() for of_one in logits]).softmax(dim=1)
            return by_class.gather(1, targets.expand(len(logits), 1, -1)).sum(dim=(1, 2))
        return torch.stack([torch.exp(-self.criterion(of_one, targets)).sum() for of_one in logits])

    def _masked(self, logits: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """Return sums and counts by modality where some samples, or all, lack one."""
        zero = next(iter(logits.values())).new_zeros(())
        sums, counts = [], []
        for modality in self._modalities:
            if modality in logits:
                sure = torch.exp(-self.criterion(logits[modality], batch.targets))
                mask = batch.present.get(modality, torch.ones_like(sure, dtype=torch.bool))
                sums.append(sure.where(mask, 0).sum())
                counts.append(mask.sum())
            else:
                sums.append(zero)
                counts.append(zero)
        return torch.stack(sums), torch.stack([count.to(zero) for count in counts])

    def modulate(self, parameters: ParameterRegistry) -> None:
        """Scale the gradients of the encoders."""
        if not self._in_window:
            return
        self._steps += 1
        for modality, factor in self._factors(parameters).items():
            self._used[modality] = self._used.get(modality, 0.0) + factor
            gradients = [parameter.grad for parameter in self._modulated(parameters, modality) if parameter.grad is not None]
            if gradients:
                self._modulate(gradients, factor)

    def _factors(self, parameters: ParameterRegistry) -> dict[str, Any]:
        """Return the factors of the step that has been observed, in every process the same: floats where reading them costs nothing."""
        sums, counts = self._sums, self._counts
        self._sums, self._counts = None, 0.0
        if sums is None and processes.world_size() == 1:
            raise InputError(
                f"{self.name} has seen no prediction of this step: call observe(prediction, batch) before modulate(parameters)"
            )
        if sums is None:  # this process had no sample of its own
            like = parameters.of(self._modalities[0], "encoder")[0]
            sums = torch.zeros(len(self._modalities), device=like.device, dtype=torch.promote_types(like.dtype, torch.float32))
        if processes.world_size() > 1 or isinstance(counts, Tensor):
            seen = processes.all_sum(torch.stack([sums, torch.zeros_like(sums) + counts]))
            sums, counts = seen[0] / seen[1].clamp(min=1), seen[1]
        everywhere = (counts > 0).all() if isinstance(counts, Tensor) else None
        if sums.device.type != "cpu":
            factors = coefficients(dict(zip(self._modalities, sums.unbind(), strict=True)), self.alpha)
            # A modality that no sample of the step has cannot be compared with.
            return factors if everywhere is None else {name: torch.where(everywhere, factor, 1.0) for name, factor in factors.items()}
        if everywhere is not None and not everywhere:
            return dict.fromkeys(self._modalities, 1.0)
        return dict(zip(self._modalities, _float_factors(sums.tolist(), self.alpha), strict=True))

    def _modulate(self, gradients: list[Tensor], factor: Any) -> None:
        if isinstance(factor, Tensor) or factor != 1:
            torch._foreach_mul_(gradients, factor)

    def record(self) -> dict[str, Any]:
        """Return the mean factor of the epoch by modality."""
        used = {modality: float(total) / self._steps for modality, total in self._used.items()}
        return {"coefficients": used} if used else {}

    def state_dict(self) -> dict[str, Any]:
        """Return what the evidence remembers: nothing, except for prototypes."""
        return {} if self._source is None else {"evidence": self._source.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self._evidence.load_state_dict(state["evidence"])


class OGMGE(OGM):
    r"""OGM with generalisation enhancement: noise gives back to the gradients what shrinking took (Peng et al., CVPR 2022).

    .. math:: g \leftarrow k_m\, g + n, \qquad n \sim \mathcal N(0, \sigma^2), \qquad \sigma = \operatorname{std}(g) + 10^{-8}

    for every tensor *g* of every encoder's gradient. Noise is drawn for every element, σ is the unbiased standard deviation over the
    tensor's elements before scaling. All modalities get noise, also those with :math:`k_m = 1`. Everything else is as in :class:`OGM`,
    and so are the arguments.

    The noise of an epoch is seeded by a number that ``build`` draws from torch's global generator and by the epoch, so that all processes
    of a run add the same and a resumed run goes on alike.

    .. note::
        Departures from paper and official code: those of :class:`OGM`. A tensor of one element has no standard deviation (the formula gives
        NaN); it gets noise of standard deviation 1e-8. With Adam the noise survives where the factor does not.
    """

    name: ClassVar[str] = "ogm-ge"
    title: ClassVar[str] = "OGM-GE"

    _seed = 0
    _generator: torch.Generator | None = None
    _noise: Tensor | None = None

    def build(self, model: nn.Module, criterion: Criterion = single_label_loss) -> nn.Module:
        """Find the encoders and the evidence of a model, and draw the seed of the noise."""
        model = super().build(model, criterion)
        # Drawn alike by all processes in our loop; in others people seed by process.
        self._seed = processes.from_first(int(torch.randint(2**62, ())))
        self._generator = None
        return model

    def epoch_start(self, context: EpochContext) -> None:
        """Note the epoch and begin its noise."""
        super().epoch_start(context)
        self._generator = None

    def _draw(self, gradients: list[Tensor]) -> list[Tensor]:
        """Return standard normal noise in the gradients' shapes, in memory that is used again at the next step."""
        count, like = sum(gradient.numel() for gradient in gradients), gradients[0]
        if self._noise is None or self._noise.numel() < count or self._noise.device != like.device or self._noise.dtype != like.dtype:
            self._noise = torch.empty(count, device=like.device, dtype=like.dtype)
        if self._generator is None:
            self._generator = torch.Generator(like.device).manual_seed((self._seed + (self._epoch or 0)) % 2**63)
        drawn = self._noise[:count].normal_(generator=self._generator)
        parts = drawn.split([gradient.numel() for gradient in gradients])  # type: ignore[no-untyped-call]
        return [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]

    def _modulate(self, gradients: list[Tensor], factor: Any) -> None:
        alone = gradients[0].new_zeros(())
        deviations = torch._foreach_add([gradient.std() if gradient.numel() > 1 else alone for gradient in gradients], 1e-8)
        noise = self._draw(gradients)
        super()._modulate(gradients, factor)
        torch._foreach_addcmul_(gradients, noise, deviations)

    def state_dict(self) -> dict[str, Any]:
        """Return the seed of the noise, and what the evidence remembers."""
        return {**super().state_dict(), "noise_seed": self._seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        super().load_state_dict(state)
        self._seed = int(state["noise_seed"])
        self._generator = None
