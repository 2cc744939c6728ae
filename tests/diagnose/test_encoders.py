"""Sizes of encoders and the spread of their features."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from equimodal.diagnose import encoders
from equimodal.diagnose.encoders import effective_rank, encoder_facts, parameter_counts
from equimodal.diagnose.intervals import Bootstrap


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_svd(feature) -> float:
    values = torch.linalg.svdvals(feature.double() - feature.double().mean(dim=0))
    shares = values / values.sum()
    shares = shares[shares > 1e-9]
    return float((-shares * shares.log()).sum().exp())


@pytest.mark.parametrize("shape", [(300, 20), (20, 300), (50, 50)])
def test_the_effective_rank_is_that_of_the_singular_values(shape):
    feature = torch.randn(shape, generator=draws()) * torch.logspace(0, -3, shape[1]) + 100.0
    assert effective_rank(feature) == pytest.approx(by_svd(feature), rel=1e-5)


def test_features_of_known_rank():
    line = torch.randn(100, 1, generator=draws()) @ torch.randn(1, 30, generator=draws(1)) + 7.0
    assert effective_rank(line) == pytest.approx(1.0, abs=1e-3)
    assert effective_rank(torch.randn(20_000, 16, generator=draws())) == pytest.approx(16, abs=0.05)
    assert effective_rank(torch.full((50, 4), 0.1)) == 0.0
    assert effective_rank(torch.zeros(50, 4)) == 0.0
    assert effective_rank(torch.ones(1, 4)) is None
    assert effective_rank(torch.full((5, 4), math.nan)) is None


def test_more_samples_than_needed_are_thinned_out_and_parts_add_up(monkeypatch):
    feature = torch.randn(3000, 8, generator=draws()) * torch.logspace(0, -1, 8)
    wanted = effective_rank(feature)
    monkeypatch.setattr(encoders, "_AT_ONCE", 17)
    assert effective_rank(feature) == pytest.approx(wanted, rel=1e-9)
    monkeypatch.setattr(encoders, "_SAMPLES", 1000)
    assert effective_rank(feature) == pytest.approx(wanted, rel=0.05)


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
    assert found.effective_rank == pytest.approx(6, abs=0.2)
    unknown = encoder_facts(None, None, Bootstrap(400, resamples=0))
    assert unknown.feature_size is None
    assert unknown.feature_norm is None
