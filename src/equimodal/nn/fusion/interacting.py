"""Fusions in which modalities weigh or change each other. Their logits are no sum of one part per modality."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from equimodal.errors import InputError
from equimodal.nn._checks import positive_integer
from equimodal.nn.fusion.base import Fusion

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Attention", "FiLM", "Gated"]


class Gated(Fusion):
    r"""A gate per modality decides, value by value, how much of it goes on: the gated multimodal unit (Arevalo et al., ICLR workshop 2017).

    .. math::
        h_m = \tanh(W_m z_m), \qquad g_m = \sigma(V_m [z_1, \dots, z_M]), \qquad \hat y = U \sum_m g_m \odot h_m + c

    That is the paper's unit for more than two modalities, without biases as there; for two it ties the gates, :math:`g_2 = 1 - g_1`, and
    so does this. An absent modality, a zero feature, adds nothing to the sum.

    >>> fusion = Gated({"audio": 3, "image": 2}, num_outputs=10)
    >>> fusion({"audio": torch.zeros(4, 3), "image": torch.zeros(4, 2)}).shape
    torch.Size([4, 10])

    :param size: the size of :math:`h_m`; by default that of the largest feature.
    :raises InputError: also for a size that is no positive integer.
    """

    def __init__(self, feature_sizes: Mapping[str, int], num_outputs: int, size: int | None = None) -> None:
        super().__init__(feature_sizes, num_outputs)
        self.size = _size(size, self.feature_sizes)
        self.hidden = _projections(self.feature_sizes, self.size)
        gated = self.modalities[:1] if len(self.modalities) == 2 else self.modalities
        total = sum(self.feature_sizes.values())
        self.gates = nn.ModuleDict({name: nn.Linear(total, self.size, bias=False) for name in gated})
        self.linear = nn.Linear(self.size, self.num_outputs)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return ``[batch, outputs]`` from ``[batch, features]`` of every modality."""
        gates = self.weights(features)
        logits: Tensor = self.linear(
            reduce(torch.add, (gates[name] * self.hidden[name](features[name]).tanh() for name in self.modalities))
        )
        return logits

    def weights(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the gate ``[batch, size]`` of every modality, from 0 to 1."""
        everything = torch.cat([features[name] for name in self.modalities], dim=1)
        gates = {name: gate(everything).sigmoid() for name, gate in self.gates.items()}
        if len(self.modalities) == 2:
            first, second = self.modalities
            gates[second] = 1 - gates[first]
        return gates


class FiLM(Fusion):
    r"""Feature-wise linear modulation: the other modalities scale and shift the feature of one (Perez et al., AAAI 2018).

    .. math::
        [\Delta\gamma, \beta] = V [z_j]_{j \ne m} + b, \qquad \hat y = U \bigl((1 + \Delta\gamma) \odot z_m + \beta\bigr) + c

    Scales begin around 1, as in the paper. There the modulated network goes on with more layers; here one linear layer follows. While the
    modulated modality is absent, the logits come from the shift alone.

    >>> fusion = FiLM({"audio": 3, "image": 2}, num_outputs=10)
    >>> fusion.modulated, fusion({"audio": torch.zeros(4, 3), "image": torch.zeros(4, 2)}).shape
    ('audio', torch.Size([4, 10]))

    :param modulated: the modality whose feature is scaled and shifted, *m*; by default the first.
    :raises InputError: also for an unknown modality.
    """

    def __init__(self, feature_sizes: Mapping[str, int], num_outputs: int, modulated: str | None = None) -> None:
        super().__init__(feature_sizes, num_outputs)
        self.modulated = self.modalities[0] if modulated is None else modulated
        if self.modulated not in self.modalities:
            raise InputError(f"modulated = {modulated!r} is no modality: choose {' or '.join(self.modalities)}")
        self.conditions = tuple(name for name in self.modalities if name != self.modulated)
        size = self.feature_sizes[self.modulated]
        self.modulation = nn.Linear(sum(self.feature_sizes[name] for name in self.conditions), 2 * size)
        self.linear = nn.Linear(size, self.num_outputs)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return ``[batch, outputs]`` from ``[batch, features]`` of every modality."""
        condition = torch.cat([features[name] for name in self.conditions], dim=1)
        scale, shift = self.modulation(condition).chunk(2, dim=1)
        logits: Tensor = self.linear((1 + scale) * features[self.modulated] + shift)
        return logits


class Attention(Fusion):
    r"""A learnt weight per modality and sample: attention over modalities (Hori et al., ICCV 2017).

    .. math::
        h_m = W_m z_m, \qquad a = \operatorname{softmax}_m \bigl(q^\top \tanh(V h_m + b)\bigr), \qquad
        \hat y = U \sum_m a_m h_m + c

    The paper's weights also look at the state of a decoder, which a classifier has none of; *q*, *V* and *b* serve all modalities.

    >>> fusion = Attention({"audio": 3, "image": 2}, num_outputs=10)
    >>> features = {"audio": torch.ones(4, 3), "image": torch.ones(4, 2)}
    >>> fusion(features).shape, torch.allclose(fusion.weights(features).sum(dim=1), torch.ones(4))
    (torch.Size([4, 10]), True)

    :param size: the size of :math:`h_m`; by default that of the largest feature.
    :raises InputError: also for a size that is no positive integer.
    """

    def __init__(self, feature_sizes: Mapping[str, int], num_outputs: int, size: int | None = None) -> None:
        super().__init__(feature_sizes, num_outputs)
        self.size = _size(size, self.feature_sizes)
        self.hidden = _projections(self.feature_sizes, self.size)
        self.score = nn.Sequential(nn.Linear(self.size, self.size), nn.Tanh(), nn.Linear(self.size, 1, bias=False))
        self.linear = nn.Linear(self.size, self.num_outputs)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return ``[batch, outputs]`` from ``[batch, features]`` of every modality."""
        hidden = self._hidden(features)
        logits: Tensor = self.linear((self._weights(hidden).unsqueeze(2) * hidden).sum(dim=1))
        return logits

    def weights(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the weights ``[batch, modalities]``, which add up to 1."""
        return self._weights(self._hidden(features))

    def _hidden(self, features: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self.hidden[name](features[name]) for name in self.modalities], dim=1)

    def _weights(self, hidden: Tensor) -> Tensor:
        weights: Tensor = self.score(hidden).squeeze(2).softmax(dim=1)
        return weights


def _size(size: int | None, feature_sizes: Mapping[str, int]) -> int:
    return max(feature_sizes.values()) if size is None else positive_integer(size, "size")


def _projections(feature_sizes: Mapping[str, int], size: int) -> nn.ModuleDict:
    # Without biases, so that an absent modality stays zero.
    return nn.ModuleDict({name: nn.Linear(own, size, bias=False) for name, own in feature_sizes.items()})
