"""Small models of one's own."""

from __future__ import annotations

from torch import nn

from equimodal.nn import MLP, JointFusion, Prediction


class Bilinear(nn.Module):
    """A fusion that is no sum."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Bilinear(6, 6, 3)

    def forward(self, features):
        return self.layer(features["audio"], features["image"])


def joint(fusion="concat", **encoders):
    return JointFusion({"audio": MLP(5, hidden=(8,), out_features=6), "image": MLP(5, hidden=(8,), out_features=6), **encoders}, 3, fusion)


class Own(nn.Module):
    """Two encoders and a sum, without unimodal heads; its parts come in another order than its modalities."""

    num_outputs = 3

    def __init__(self):
        super().__init__()
        self.audio, self.image = (nn.Sequential(nn.Linear(5, 6), nn.Tanh()) for _ in range(2))
        self.of_audio, self.of_image = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, inputs):
        features = {"image": self.image(inputs["image"]), "audio": self.audio(inputs["audio"])}
        return Prediction(sum(self.contributions(features).values()), {}, features)

    def contributions(self, features):
        return {"image": self.of_image(features["image"]), "audio": self.of_audio(features["audio"])}

    def modality_modules(self):
        return {"audio": self.audio, "image": self.image}
