"""Two models that are much alike, and samples on which to compare them."""

from __future__ import annotations

import torch

from equimodal.data import TensorSet
from equimodal.nn import MLP, JointFusion

NAMES = ("audio", "image")


def made(noise=0.0):
    """Return a model of two modalities with random weights; with noise, one like it whose weights were shaken."""
    torch.manual_seed(0)
    model = JointFusion({name: MLP(6) for name in NAMES}, num_outputs=3).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += noise * torch.randn_like(parameter)
    return model


def data_of(samples):
    """Return samples of which the first model is right about most."""
    torch.manual_seed(2)
    inputs = {name: torch.randn(samples, 6) for name in NAMES}
    with torch.no_grad():
        said = made()(inputs).multimodal.argmax(dim=1)
    return TensorSet(inputs, torch.where(torch.rand(samples) < 0.7, said, torch.randint(3, (samples,))))
