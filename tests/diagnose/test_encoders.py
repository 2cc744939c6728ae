"""Sizes of encoders and of their features."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from equimodal.diagnose.encoders import encoder_facts, parameter_counts
from equimodal.diagnose.intervals import Bootstrap


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_parameters_are_counted_once_and_frozen_ones_apart():
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2))
    model[1].weight.requires_grad_(False)
    assert parameter_counts(model) == (16, 12)
    assert parameter_counts([model[0], model, model[1].bias]) == (16, 12)
    assert parameter_counts(None) == (0, 0)


def test_facts_of_an_encoder():
    feature = torch.randn(400, 6, generator=draws()) * 3
    found = encoder_facts(nn.Linear(5, 6), feature, Bootstrap(400, resamples=200))
    assert (found.parameters, found.trainable, found.feature_size) == (36, 36, 6)
    assert found.feature_norm.value == pytest.approx(float(feature.norm(dim=1).mean()), rel=1e-6)
    assert found.feature_norm.low < found.feature_norm.value < found.feature_norm.high
    assert found.effective_rank.value == pytest.approx(6, abs=0.2)
    assert found.effective_rank.low < found.effective_rank.high <= 6
    unknown = encoder_facts(None, None, Bootstrap(400, resamples=0))
    assert unknown.feature_size is None
    assert unknown.feature_norm is None
