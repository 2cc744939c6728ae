"""Models as people have them: none knows of this package."""

import torch
from torch import nn


class Network(nn.Module):
    """Two encoders and a layer on top. Absent modalities count as zero."""

    def __init__(self, audio=5, image=5, size=6, outputs=3):
        super().__init__()
        self.audio = nn.Sequential(nn.Linear(audio, size), nn.ReLU())
        self.visual = nn.ModuleDict({"trunk": nn.Sequential(nn.Linear(image, size), nn.ReLU())})
        self.output = nn.Linear(2 * size, outputs)
        self.size = size

    def forward(self, inputs):
        batch = len(next(iter(inputs.values())))
        absent = self.output.weight.new_zeros(batch, self.size)
        audio = self.audio(inputs["audio"]) if "audio" in inputs else absent
        image = self.visual["trunk"](inputs["image"]) if "image" in inputs else absent
        return self.output(torch.cat([audio, image], dim=1))


PARTS = {"audio": "audio", "image": "visual.trunk"}


class LateFusion(nn.Module):
    """As TorchMultimodal joins encoders: a dictionary of them, a module that fuses what they return, a head."""

    def __init__(self, encoders, fusion_module, head_module):
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusion_module = fusion_module
        self.head_module = head_module

    def forward(self, modalities):
        embeddings = {key: encoder(modalities[key]) for key, encoder in self.encoders.items()}
        return self.head_module(self.fusion_module(embeddings))


class ConcatFusionModule(nn.Module):
    """Concatenates embeddings in the order of their names."""

    def forward(self, embeddings):
        return torch.cat([embeddings[key] for key in sorted(embeddings)], dim=-1)
