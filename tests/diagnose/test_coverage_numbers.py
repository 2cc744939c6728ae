"""How often 95 % intervals of what is read from answers hold the truth, in simulations with 500 samples."""

from __future__ import annotations

import pytest
import torch

from diagnose.coverage import held
from equimodal.diagnose.calibration import agreement, calibration, cohen_kappa
from equimodal.diagnose.heads import head_columns
from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.measure import Measure
from equimodal.diagnose.robustness import missing
from equimodal.diagnose.valuation import valuation

pytestmark = pytest.mark.slow

SAMPLES, RESAMPLES, TRIALS = 500, 500, 600
MANY = 2_000_000


def answers(targets, classes: int, accuracy: float, generator):
    """Return answers that are right with a chance, and else any other class."""
    other = (targets + torch.randint(1, classes, targets.shape, generator=generator)) % classes
    return torch.where(torch.rand(targets.shape, generator=generator) < accuracy, targets, other)


@pytest.mark.parametrize("shares", [(0.25, 0.25, 0.25, 0.25), (0.7, 0.1, 0.1, 0.1)], ids=["balanced", "one class is common"])
@pytest.mark.parametrize("accuracy", [0.3, 0.6, 0.9])
def test_macro_f1_agreement_and_kappa(shares, accuracy):
    generator, shares = torch.Generator().manual_seed(1), torch.tensor(shares)

    def drawn(count):
        targets = torch.multinomial(shares, count, replacement=True, generator=generator)
        return targets, answers(targets, 4, accuracy, generator), answers(targets, 4, 0.7, generator)

    targets, one, other = drawn(MANY)
    table = torch.zeros(16, dtype=torch.float64).index_add_(0, 4 * targets + one, torch.ones(MANY, dtype=torch.float64)).view(4, 4)
    same = float((one == other).double().mean())
    chance = float((one.bincount(minlength=4).double() * other.bincount(minlength=4).double()).sum()) / MANY**2
    f1 = float((2 * table.diag() / (table.sum(dim=0) + table.sum(dim=1))).mean())
    measure, logits = Measure("single-label", "macro_f1"), torch.eye(4)

    def simulate(trial):
        targets, one, other = drawn(SAMPLES)
        bootstrap, heads = Bootstrap(SAMPLES, resamples=RESAMPLES, seed=trial), {"a": logits[one], "b": logits[other]}
        return {
            "macro-F1": bootstrap.interval(head_columns({"a": heads["a"]}, targets, measure, bootstrap)["a"]),
            "agreement": agreement(heads, bootstrap)["a & b"],
            "kappa": cohen_kappa(heads, bootstrap)["a & b"],
        }

    coverage = held({"macro-F1": f1, "agreement": same, "kappa": (same - chance) / (1 - chance)}, simulate, TRIALS)
    assert all(0.92 <= share <= 0.98 for share in coverage.values()), coverage


# How much too sure a head is (1 is right), and how often intervals of 500 and of 2000 samples are to hold its true error.
HEADS = {"perfect": (1.0, 0.92, 1.0), "near": (1.1, 0.92, 1.0), "too sure": (1.5, 0.92, 0.98), "far too sure": (3.0, 0.92, 0.98)}


@pytest.mark.parametrize("samples", [500, 2000])
@pytest.mark.parametrize("head", [*HEADS, "not sure enough"])
def test_the_calibration_error(head, samples):
    """Of a head whose error is small against its noise the interval may hold it more often than 98 %."""
    sharpness, least, most = {**HEADS, "not sure enough": (0.7, 0.92, 0.98)}[head]
    generator = torch.Generator().manual_seed(2)

    def drawn(count):
        logits = 2 * torch.randn(count, 5, generator=generator)
        return sharpness * logits, torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)

    truth = calibration(*drawn(MANY), Bootstrap(MANY, resamples=0)).expected_error.value

    def simulate(trial):
        return {"error": calibration(*drawn(samples), Bootstrap(samples, resamples=300, seed=trial)).expected_error}

    share = held({"error": 0.0 if head == "perfect" else truth}, simulate, TRIALS)["error"]
    assert least <= share <= most, share


@pytest.mark.parametrize("scores", [(0.9, 0.3), (0.95, 0.7), (0.6, 0.6)])
def test_the_generalisation_gap_is_of_two_independent_splits(scores):
    generator, measure, logits = torch.Generator().manual_seed(3), Measure("single-label"), torch.eye(2)

    def simulate(trial):
        columns = []
        for number, (count, score) in enumerate(zip((800, SAMPLES), scores, strict=True)):
            right = (torch.rand(count, generator=generator) < score).long()
            bootstrap = Bootstrap(count, resamples=RESAMPLES, seed=2 * trial + number)
            columns.append(head_columns({"a": logits[right]}, torch.ones(count, dtype=torch.int64), measure, bootstrap)["a"])
        return {"gap": bootstrap.interval(columns[0] - columns[1])}

    coverage = held({"gap": scores[0] - scores[1]}, simulate, TRIALS)
    assert 0.92 <= coverage["gap"] <= 0.98, coverage


def test_shares_of_valuation():
    generator = torch.Generator().manual_seed(4)
    subsets = [frozenset(), frozenset({"audio"}), frozenset({"image"}), frozenset({"audio", "image"})]
    limits = torch.distributions.Normal(0, 1).icdf(torch.tensor([0.2, 0.6, 0.45, 0.75]))

    def drawn(count):
        ease = (torch.randn(count, 1, generator=generator) + torch.randn(count, 4, generator=generator)) / 2**0.5
        return valuation(dict(zip(subsets, (ease < limits).T, strict=True)), ("audio", "image"))

    truths = {name: float(flags.double().mean()) for name, flags in drawn(MANY).items()}
    assert min(truths.values()) > 0.02

    def simulate(trial):
        bootstrap = Bootstrap(SAMPLES, resamples=RESAMPLES, seed=trial)
        return {name: bootstrap.share(flags) for name, flags in drawn(SAMPLES).items()}

    coverage = held(truths, simulate, TRIALS)
    assert all(0.92 <= share <= 0.98 for share in coverage.values()), coverage


@pytest.mark.parametrize("chances", [(0.9, 0.3), (0.8, 0.7), (0.4, 0.3)])
def test_the_score_where_some_samples_lack_a_modality(chances):
    generator = torch.Generator().manual_seed(5)
    limits = torch.distributions.Normal(0, 1).icdf(torch.tensor(chances))

    def simulate(trial):
        ease = (torch.randn(SAMPLES, 1, generator=generator) + torch.randn(SAMPLES, 2, generator=generator)) / 2**0.5
        full, without = (ease < limits).T
        bootstrap = Bootstrap(SAMPLES, resamples=RESAMPLES, seed=trial)
        points = missing(full, {"audio": without}, bootstrap.mean, seed=trial, means=True)
        return {point.share: point.score for point in points}

    coverage = held({share: (1 - share) * chances[0] + share * chances[1] for share in (0.0, 0.25, 0.5, 0.75, 1.0)}, simulate, TRIALS)
    assert all(0.92 <= share <= 0.98 for share in coverage.values()), coverage
