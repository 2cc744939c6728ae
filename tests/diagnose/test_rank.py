"""The effective rank, and its interval against slow bootstraps, differences and simulations."""

from __future__ import annotations

import math

import pytest
import torch

from equimodal.diagnose import rank
from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.rank import effective_rank, rank_interval


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some(samples: int = 500, size: int = 6, seed: int = 0) -> torch.Tensor:
    """Return features with a spectrum that falls, and tails heavier than the normal's."""
    return (torch.randn(samples, size, generator=draws(seed)) * torch.logspace(0, -1, size)).pow(3) + 5.0


def weighted_entropy(feature: torch.Tensor, counts: torch.Tensor) -> float:
    """Return the entropy of the singular values of drawn samples, by the definition."""
    feature, shares = feature.double(), counts.double() / counts.sum()
    centred = (feature - shares @ feature) * shares.sqrt()[:, None]
    values = torch.linalg.svdvals(centred)
    part = (values / values.sum())[values > 1e-7 * values.max()]
    return float(-(part * part.log()).sum())


def by_svd(feature: torch.Tensor) -> float:
    return math.exp(weighted_entropy(feature, torch.ones(len(feature))))


@pytest.mark.parametrize("shape", [(300, 20), (20, 300), (50, 50)])
def test_the_effective_rank_is_that_of_the_singular_values(shape):
    feature = torch.randn(shape, generator=draws()) * torch.logspace(0, -3, shape[1]) + 100.0
    assert effective_rank(feature) == pytest.approx(by_svd(feature), rel=1e-5)
    assert rank_interval(feature, Bootstrap(len(feature), resamples=50)).value == effective_rank(feature)


def test_features_of_known_rank():
    line = torch.randn(100, 1, generator=draws()) @ torch.randn(1, 30, generator=draws(1)) + 7.0
    assert effective_rank(line) == pytest.approx(1.0, abs=1e-3)
    assert effective_rank(torch.randn(20_000, 16, generator=draws())) == pytest.approx(16, abs=0.05)
    assert effective_rank(torch.full((50, 4), 0.1)) == 0.0
    assert effective_rank(torch.zeros(50, 4)) == 0.0
    assert effective_rank(torch.ones(1, 4)) is None
    assert effective_rank(torch.full((5, 4), math.nan)) is None


@pytest.mark.parametrize(("feature", "value"), [(torch.zeros(50, 4), 0.0), (torch.full((50, 4), 0.1), 0.0), (torch.eye(5), 4.0)])
def test_collapsed_features_and_few_samples_have_a_value_without_an_interval(feature, value):
    found = rank_interval(feature, Bootstrap(len(feature), resamples=100))
    assert found == (pytest.approx(value), None, None)


def test_nan_has_no_rank_and_a_line_stays_one():
    assert rank_interval(torch.full((50, 4), math.nan), Bootstrap(50, resamples=100)) == (None, None, None)
    line = torch.randn(100, 1, generator=draws()).double() @ torch.randn(1, 30, generator=draws(1)).double()
    found = rank_interval(line, Bootstrap(100, resamples=100))
    assert (found.low, found.high) == (pytest.approx(1.0), pytest.approx(1.0))


def test_parts_add_up_and_all_samples_count(monkeypatch):
    feature = some(3000, 8)
    wanted = rank_interval(feature, Bootstrap(3000, resamples=50))
    monkeypatch.setattr(rank, "_AT_ONCE", 17)
    found = rank_interval(feature, Bootstrap(3000, resamples=50))
    assert tuple(found) == pytest.approx(tuple(wanted), rel=1e-9)
    assert effective_rank(feature) == pytest.approx(by_svd(feature), rel=1e-6)


def test_where_samples_and_size_are_too_many_the_interval_is_that_of_those_used(monkeypatch):
    monkeypatch.setattr(rank, "_LARGEST", 400)
    feature = torch.randn(2000, 500, generator=draws()) * torch.logspace(0, -3, 500)
    found = rank_interval(feature, Bootstrap(2000, resamples=400))
    rows = torch.linspace(0, 1999, 400, dtype=torch.float64).round().long()
    alone = rank_interval(feature[rows], Bootstrap(400, resamples=400))
    assert found.value == pytest.approx(alone.value)
    assert found.high - found.low == pytest.approx(alone.high - alone.low, rel=0.15)


@pytest.mark.parametrize("shape", [(200, 5), (12, 40)])
def test_what_a_sample_moves_is_the_derivative_of_the_entropy_by_its_weight(shape, monkeypatch):
    monkeypatch.setattr(rank, "_LEVERAGE", 0.0)  # which is divided by is no part of the derivative
    feature = some(*shape).double()
    found = rank._expansion(rank._spread(feature), 0)[0]
    step = 1e-4
    for sample in (0, 3, 11):
        sides = []
        for sign in (1, -1):
            counts = torch.ones(len(feature), dtype=torch.float64)
            counts[sample] += sign * step
            sides.append(weighted_entropy(feature, counts))
        assert float(found[sample]) == pytest.approx(len(feature) * (sides[0] - sides[1]) / (2 * step), rel=1e-3, abs=1e-4)


def test_it_is_as_wide_as_the_bootstrap_that_computes_every_draw_anew():
    feature, bootstrap = (
        torch.randn(800, 6, generator=draws()).relu() @ torch.randn(6, 8, generator=draws(1)),
        Bootstrap(800, resamples=600),
    )
    found = rank_interval(feature, bootstrap)
    slow = [math.exp(weighted_entropy(feature, counts)) for part in bootstrap.counts() for counts in part]
    low, high = torch.tensor(slow).quantile(torch.tensor([0.025, 0.975])).tolist()
    assert found.high - found.low == pytest.approx(high - low, rel=0.12)
    # Its draws are too small twice over: once as the samples are, once more as draws of them.
    assert (found.low + found.high) / 2 == pytest.approx(2 * effective_rank(feature) - sum(slow) / len(slow), abs=0.25 * (high - low))
    draw = torch.corrcoef(torch.stack([torch.tensor(slow), found.column[1:].float()]))[0, 1]
    assert draw > 0.95


def test_the_bias_is_that_of_many_samples():
    """The mean entropy of small samples against that of a large one, of which they are like."""
    size, samples, trials = 16, 200, 400
    scale = torch.logspace(0, -1, size, dtype=torch.float64)
    truth = float(-(scale / scale.sum() * (scale / scale.sum()).log()).sum())
    generator, seen, said = draws(3), 0.0, 0.0
    for trial in range(trials):
        spread = rank._spread(torch.randn(samples, size, generator=generator, dtype=torch.float64) * scale)
        seen += float(rank._entropy(spread.roots)) / trials
        said += rank._expansion(spread, trial)[1] / trials
    assert seen - truth < -0.01
    assert said == pytest.approx(seen - truth, abs=0.0015)  # the mean over trials is sure to 0.0005


def test_divided_differences_are_continuous_where_eigenvalues_meet():
    roots = torch.tensor([0.5, 0.5 * (1 + 1e-7), 0.5 * (1 + 1e-4), 2.0], dtype=torch.float64)
    for which in (0, 1):
        found = rank._curvature(roots, which)
        assert torch.allclose(found, found.T, rtol=1e-5)
        slope = [1 / (2 * roots), (roots.log() + 1) / (2 * roots)][which]
        assert float(found[0, 3]) == pytest.approx(float((slope[0] - slope[3]) / (roots[0] ** 2 - roots[3] ** 2)))
        second = [-1 / (4 * roots**3), -roots.log() / (4 * roots**3)][which]
        assert torch.allclose(found.diagonal(), second)
        assert float(found[0, 1]) == pytest.approx(float(second[0]), rel=1e-5)
