"""How often 95 % intervals of what is read from features and gradients hold the truth, in simulations with 500 samples."""

from __future__ import annotations

import pytest
import torch

from diagnose.coverage import held
from equimodal.diagnose.encoders import encoder_facts
from equimodal.diagnose.gradient_intervals import Pulls
from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.probes import fit_probe
from equimodal.diagnose.rank import effective_rank, rank_interval

pytestmark = pytest.mark.slow

SAMPLES = 500


def fixed(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def falling(count: int, size: int, generator) -> torch.Tensor:
    """Return independent values, the last of which vary 30 times less than the first."""
    return torch.randn(count, size, generator=generator) * torch.logspace(0, -1.5, size)


def clusters(count: int, size: int, generator) -> torch.Tensor:
    """Return ten clusters."""
    return fixed(10, size, seed=6)[torch.randint(10, (count,), generator=generator)] + 0.3 * torch.randn(count, size, generator=generator)


def rectified(count: int, size: int, generator) -> torch.Tensor:
    """Return what a layer of rectified units makes of four clusters in twelve dimensions."""
    seen = 1.5 * fixed(4, 12, seed=6)[torch.randint(4, (count,), generator=generator)] + torch.randn(count, 12, generator=generator)
    return (seen @ fixed(12, size, seed=5) / 3).relu()


@pytest.mark.parametrize("size", [16, 64, 128])
@pytest.mark.parametrize("features", [falling, clusters, rectified])
def test_the_effective_rank(features, size):
    generator, samples = torch.Generator().manual_seed(1), 1000 if size == 128 else SAMPLES
    truth = effective_rank(features(400_000, size, generator))

    def simulate(trial):
        return {"rank": rank_interval(features(samples, size, generator), Bootstrap(samples, resamples=400, seed=trial))}

    coverage = held({"rank": truth}, simulate, trials=500)
    assert 0.92 <= coverage["rank"] <= 0.98, coverage


@pytest.mark.parametrize("samples", [128, 256])
def test_with_few_samples_per_value_the_interval_of_the_rank_is_wide_and_not_wrong(samples):
    generator = torch.Generator().manual_seed(2)
    truth = effective_rank(clusters(400_000, 128, generator))
    found = [rank_interval(clusters(samples, 128, generator), Bootstrap(samples, resamples=200, seed=trial)) for trial in range(40)]
    assert sum(one.low <= truth <= one.high for one in found) >= 38
    assert all(one.value < 0.95 * truth for one in found)


def test_the_norm_of_features():
    generator = torch.Generator().manual_seed(3)
    truth = float(rectified(1_000_000, 16, generator).norm(dim=1).mean())

    def simulate(trial):
        return {"norm": encoder_facts(None, rectified(SAMPLES, 16, generator), Bootstrap(SAMPLES, resamples=400, seed=trial)).feature_norm}

    coverage = held({"norm": truth}, simulate, trials=500)
    assert 0.92 <= coverage["norm"] <= 0.98, coverage


class Linear:
    """A linear model of three classes in eight dimensions, some of the way to the weights that fit best."""

    def __init__(self, way: float) -> None:
        self.generator = torch.Generator().manual_seed(4)
        self.centres = fixed(3, 8, seed=7)
        inputs, targets = self.drawn(100_000)
        self.weights = torch.zeros(8, 3)
        for _ in range(300):
            self.weights -= 0.4 * inputs.T @ self.errors(inputs, targets) / len(inputs)
        self.weights *= way

    def drawn(self, count: int):
        targets = torch.randint(3, (count,), generator=self.generator)
        return self.centres[targets] + torch.randn(count, 8, generator=self.generator), targets

    def errors(self, inputs, targets):
        return (inputs @ self.weights).softmax(dim=1) - torch.eye(3)[targets]

    def pulls(self, samples: int) -> Pulls:
        """Return the gradient of the cross-entropy; a sample's own is the product of its input and its error."""
        inputs, targets = self.drawn(samples)
        errors = self.errors(inputs, targets)
        mean = inputs.T @ errors / samples
        squares = float((inputs.square().sum(dim=1) * errors.square().sum(dim=1)).mean())
        noise = (squares - float(mean.square().sum())) * samples / (samples - 1)
        return Pulls(float(mean.norm()), (inputs @ (mean / mean.norm()) * errors).sum(dim=1), noise)


@pytest.mark.parametrize(("way", "most"), [(0.0, 0.98), (0.3, 0.98), (0.6, 0.98), (0.9, 1.0), (1.0, 1.0)])
def test_the_norm_of_a_gradient(way, most):
    """Near the best weights, where a gradient is mostly noise, the interval may hold the truth more often."""
    model = Linear(way)
    large = model.pulls(3_000_000)
    truth = max(large.norm**2 - large.noise / 3_000_000, 0.0) ** 0.5

    def simulate(trial):
        bootstrap = Bootstrap(SAMPLES, resamples=500, seed=trial)
        return {"norm": bootstrap.interval(model.pulls(SAMPLES).column(bootstrap))}

    coverage = held({"norm": truth}, simulate, trials=600)
    assert 0.92 <= coverage["norm"] <= most, coverage


def classes(count: int, size: int, spread: float, generator):
    targets = torch.randint(4, (count,), generator=generator)
    return spread * fixed(4, size, seed=8)[targets] + torch.randn(count, size, generator=generator), targets


@pytest.mark.parametrize("spread", [0.4, 1.0])
def test_probes_fitted_on_other_samples(spread):
    """The truth is what the very probe scores on many samples."""
    generator = torch.Generator().manual_seed(5)
    shares = []
    many, of_many = classes(20_000, 8, spread, generator)
    for trial in range(250):
        (seen, targets), (fitted, of_fitted) = classes(SAMPLES, 8, spread, generator), classes(SAMPLES, 8, spread, generator)
        both = {"a": torch.cat([seen, many])}
        logits = fit_probe(both, torch.cat([targets, of_many]), "single-label", num_outputs=4, train=({"a": fitted}, of_fitted))
        right = logits.argmax(dim=1) == torch.cat([targets, of_many])
        truth = float(right[SAMPLES:].double().mean())
        interval = Bootstrap(SAMPLES, resamples=400, seed=trial).share(right[:SAMPLES])
        shares.append(interval.low <= truth <= interval.high)
    assert 0.92 <= sum(shares) / len(shares) <= 0.98


def test_probes_cross_fitted_on_the_same_samples():
    """The truth is what probes of four fifths of the samples score on average."""
    generator = torch.Generator().manual_seed(6)
    many, of_many = classes(20_000, 8, 0.5, generator)
    found, scores = [], []
    for trial in range(250):
        seen, targets = classes(SAMPLES, 8, 0.5, generator)
        right = fit_probe({"a": seen}, targets, "single-label", num_outputs=4).argmax(dim=1) == targets
        found.append(Bootstrap(SAMPLES, resamples=400, seed=trial).share(right))
        part = ({"a": seen[:400]}, targets[:400])
        logits = fit_probe({"a": many}, of_many, "single-label", num_outputs=4, train=part)
        scores.append(float((logits.argmax(dim=1) == of_many).double().mean()))
    truth = sum(scores) / len(scores)
    assert 0.92 <= sum(one.low <= truth <= one.high for one in found) / len(found) <= 0.98
