"""Models of every kind that can be diagnosed, made from one that was trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equimodal.nn import JointFusion, Prediction, probe


class Counted(nn.Module):
    """An encoder that counts the samples it is given."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.samples = 0

    def forward(self, value: Tensor) -> Tensor:
        self.samples += len(value)
        return self.encoder(value)


class LogitsAlone(nn.Module):
    """A model that returns nothing but its logits."""

    def __init__(self, model: JointFusion) -> None:
        super().__init__()
        self.inner = model
        self.modalities = model.modalities

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.inner(inputs).multimodal


class PredictionAlone(LogitsAlone):
    """A model that returns a prediction with features, and has no way to fuse others."""

    def forward(self, inputs: dict[str, Tensor]) -> Prediction:
        return self.inner(inputs)


class Fusing(PredictionAlone):
    """A model of one's own with a fuse that makes the joint logits of the features."""

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        return self.inner.fuse(features)


class FusingSomethingElse(PredictionAlone):
    """A model whose fuse does not give back its own logits."""

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        return -self.inner.fuse(features)


class Plain(nn.Module):
    """A network without heads, with its encoders as submodules."""

    def __init__(self, model: JointFusion) -> None:
        super().__init__()
        self.audio, self.image = model.encoders["audio"], model.encoders["image"]
        self.output = model.fusion.linear

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.output(torch.cat([self.audio(inputs["audio"]), self.image(inputs["image"])], dim=1))


def probed(model: JointFusion):
    found = probe(Plain(model), {"audio": "audio", "image": "image"}, model.num_outputs, feature_sizes=model.feature_sizes)
    found.heads.load_state_dict(model.heads.state_dict())
    return found.eval()


def by_subset(model: JointFusion):
    """Return a function that answers from any subset but none."""

    def answer(inputs: dict[str, Tensor], modalities: tuple[str, ...]) -> Tensor:
        assert tuple(inputs) == modalities
        return model.predict(inputs)

    return answer
