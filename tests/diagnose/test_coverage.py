"""How often 95 % intervals hold the truth, in a simulation of models that are right with known probabilities."""

from __future__ import annotations

import pytest
import torch

from equimodal.diagnose.ablation import borrowed_means, donors_of
from equimodal.diagnose.heads import gap, utilization
from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.shapley import shapley

pytestmark = pytest.mark.slow

SAMPLES, RESAMPLES, TRIALS = 500, 600, 1500
EMPTY, AUDIO, IMAGE, BOTH = frozenset(), frozenset({"audio"}), frozenset({"image"}), frozenset({"audio", "image"})

# By subset the probability to be right; accuracies from 0.3 to 0.9.
SCENES = {
    "weak": {EMPTY: 0.1, AUDIO: 0.32, IMAGE: 0.3, BOTH: 0.4},
    "dominated": {EMPTY: 0.1, AUDIO: 0.75, IMAGE: 0.3, BOTH: 0.8},
    "strong": {EMPTY: 0.25, AUDIO: 0.85, IMAGE: 0.7, BOTH: 0.9},
    "equal": {EMPTY: 0.25, AUDIO: 0.6, IMAGE: 0.6, BOTH: 0.75},
}


def outcomes(chances: dict, generator: torch.Generator) -> dict:
    """Return which samples are right by subset: an easy sample is easy for all, as half of the draw is common to them."""
    common = torch.randn(SAMPLES, generator=generator)
    found = {}
    for subset, chance in chances.items():
        own = (common + torch.randn(SAMPLES, generator=generator)) / 2**0.5
        found[subset] = own < torch.distributions.Normal(0, 1).icdf(torch.tensor(chance))
    return found


def quantities(found: dict, seed: int) -> dict:
    bootstrap = Bootstrap(SAMPLES, resamples=RESAMPLES, seed=seed)
    columns = dict(zip(found, bootstrap.columns(torch.stack(list(found.values()))).T, strict=True))
    heads = {"multimodal": columns[BOTH], "audio": columns[AUDIO], "image": columns[IMAGE]}
    parts = shapley(columns, ("audio", "image"), bootstrap)
    return {
        "head": bootstrap.interval(columns[AUDIO]),
        "loss": bootstrap.interval(columns[BOTH] - columns[IMAGE]),
        "shapley": parts.values["audio"],
        "interaction": parts.interactions["audio × image"],
        "utilization": bootstrap.interval(utilization(heads)["audio"]),
        "gap": gap(heads, bootstrap),
    }


def truths(chances: dict) -> dict:
    empty, audio, image, both = (chances[subset] for subset in (EMPTY, AUDIO, IMAGE, BOTH))
    return {
        "head": audio,
        "loss": both - image,
        "shapley": ((audio - empty) + (both - image)) / 2,
        "interaction": both - audio - image + empty,
        "utilization": (both - image) / both,
        "gap": abs(audio - image) / both,
    }


@pytest.mark.parametrize("scene", SCENES)
def test_intervals_of_95_percent_hold_the_truth_in_92_to_98(scene):
    generator = torch.Generator().manual_seed(1)
    expected, held = truths(SCENES[scene]), dict.fromkeys(truths(SCENES[scene]), 0)
    for trial in range(TRIALS):
        for name, interval in quantities(outcomes(SCENES[scene], generator), trial).items():
            held[name] += interval.low <= expected[name] <= interval.high
    coverage = {name: count / TRIALS for name, count in held.items()}
    assert all(0.92 <= share <= 0.98 for share in coverage.values()), coverage


@pytest.mark.parametrize("accuracies", [(0.6, 0.6, 0.6), (0.7, 0.6, 0.5), (0.9, 0.85, 0.3)], ids=["equal", "spread", "one behind"])
def test_the_gap_of_three_modalities_whose_widest_pair_the_samples_choose(accuracies):
    generator, held, trials = torch.Generator().manual_seed(3), 0, 600
    joint = max(accuracies) + 0.05
    expected = (max(accuracies) - min(accuracies)) / joint
    for trial in range(trials):
        found = outcomes(dict(zip(["multimodal", "audio", "image", "text"], (joint, *accuracies), strict=True)), generator)
        bootstrap = Bootstrap(SAMPLES, resamples=RESAMPLES, seed=trial)
        columns = bootstrap.columns(torch.stack(list(found.values()))).T
        interval = gap(dict(zip(found, columns, strict=True)), bootstrap)
        held += interval.low <= expected <= interval.high
    assert 0.92 <= held / trials <= 0.98


@pytest.mark.parametrize("permutations", [2, 5])
@pytest.mark.parametrize("balance", [(0.25, 0.25, 0.25, 0.25), (0.7, 0.1, 0.1, 0.1)], ids=["balanced", "one class is common"])
def test_the_ablation_by_permutation_also_where_classes_are_unequal(balance, permutations):
    """Every sample counts twice, as it lends as well; where one class is common that matters most."""
    shares, generator = torch.tensor(balance), torch.Generator().manual_seed(2)
    said = 0.8 * torch.eye(4) + 0.05  # the model repeats the image's class, which is that of the label in 85 %
    borrowed = float((shares @ said * shares).sum())
    expected = {"score": borrowed, "loss": 0.85 - borrowed}
    held = dict.fromkeys(expected, 0)
    for trial in range(TRIALS):
        targets = torch.multinomial(shares, SAMPLES, replacement=True, generator=generator)
        predicted = torch.multinomial(said[targets], 1, generator=generator).squeeze(1)
        lenders = donors_of(SAMPLES, permutations, seed=trial)
        each = borrowed_means(predicted[lenders] == targets, lenders)
        bootstrap = Bootstrap(SAMPLES, resamples=RESAMPLES, seed=trial)
        score, full = bootstrap.columns(torch.stack([each, (predicted == targets).double()])).T
        for name, column in {"score": score, "loss": full - score}.items():
            held[name] += bootstrap.interval(column).low <= expected[name] <= bootstrap.interval(column).high
    coverage = {name: count / TRIALS for name, count in held.items()}
    assert all(0.92 <= share <= 0.98 for share in coverage.values()), coverage
