"""A class per token: small data, and a model of one's own that returns logits of every position."""

from __future__ import annotations

import torch
from torch import nn

from equimodal.data import TensorSet
from equimodal.nn import Prediction, Routes
from equimodal.tasks import IGNORED

CLASSES, LENGTH = 3, 5


def tokens(number, seed, modalities=("words", "sound"), masks=False):
    """Sequences of five positions, of which the last ones of some samples do not count."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, CLASSES, (number, LENGTH), generator=generator)
    inputs = {}
    for level, name in enumerate(modalities):
        seen = nn.functional.one_hot(targets, 4).float()
        inputs[name] = seen + 0.5 * (level + 1) * torch.randn(number, LENGTH, 4, generator=generator)
    lengths = torch.randint(0, LENGTH + 1, (number, 1), generator=generator)  # some samples have no position that counts
    targets = targets.where(torch.arange(LENGTH) < lengths, IGNORED)
    present = {modalities[0]: torch.rand(number, generator=generator) < 0.7} if masks else {}
    return TensorSet(inputs, targets, present)


class Tagger(nn.Module):
    """Encoders and heads that work on every position by itself."""

    num_outputs = CLASSES

    def __init__(self, modalities=("words", "sound"), seed=0):
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.encoders = nn.ModuleDict({name: nn.Sequential(nn.Linear(4, 8), nn.ReLU()) for name in modalities})
            self.heads = nn.ModuleDict({name: nn.Linear(8, CLASSES) for name in modalities})
            self.fusion = nn.Linear(8 * len(modalities), CLASSES)

    def forward(self, inputs, present=None, transform=None):
        features = {}
        for name, encoder in self.encoders.items():
            features[name] = encoder(inputs[name])
            if name in (present or {}):
                features[name] = features[name] * present[name][:, None, None]
        routes = Routes(features, features) if transform is None else transform(dict(features))
        fused = self.fusion(torch.cat(list(routes.fusion.values()), dim=2))
        heads = {name: self.heads[name](feature).movedim(2, 1) for name, feature in routes.heads.items()}
        return Prediction(fused.movedim(2, 1), heads, features, dict(present or {}))

    def modality_modules(self):
        return {name: {"encoder": self.encoders[name], "head": self.heads[name]} for name in self.encoders}
