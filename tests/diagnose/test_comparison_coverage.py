"""How often the paired 95 % intervals of differences hold the truth, in a simulation of two models with known probabilities."""

from __future__ import annotations

import pytest
import torch

from equimodal.diagnose.comparison import compare
from equimodal.diagnose.heads import gap, utilization
from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.page.pair import difference
from equimodal.diagnose.record import Diagnosis
from equimodal.diagnose.shapley import shapley

pytestmark = pytest.mark.slow

SAMPLES, RESAMPLES, TRIALS = 500, 600, 1000
EMPTY, AUDIO, IMAGE, BOTH = frozenset(), frozenset({"audio"}), frozenset({"image"}), frozenset({"audio", "image"})

# By model and subset the probability to be right; accuracies from 0.3 to 0.9.
SCENES = {
    "the same": ({EMPTY: 0.1, AUDIO: 0.6, IMAGE: 0.4, BOTH: 0.75}, {EMPTY: 0.1, AUDIO: 0.6, IMAGE: 0.4, BOTH: 0.75}),
    "balanced": ({EMPTY: 0.1, AUDIO: 0.75, IMAGE: 0.3, BOTH: 0.8}, {EMPTY: 0.1, AUDIO: 0.7, IMAGE: 0.55, BOTH: 0.82}),
    "strong": ({EMPTY: 0.25, AUDIO: 0.85, IMAGE: 0.5, BOTH: 0.88}, {EMPTY: 0.25, AUDIO: 0.85, IMAGE: 0.7, BOTH: 0.9}),
    "weak": ({EMPTY: 0.1, AUDIO: 0.32, IMAGE: 0.2, BOTH: 0.4}, {EMPTY: 0.1, AUDIO: 0.4, IMAGE: 0.3, BOTH: 0.45}),
}


def outcomes(chances, common, generator):
    """Return which samples are right by subset: an easy sample is easy for both models, as two thirds of the draw are common to them."""
    found = {}
    for subset, chance in chances.items():
        own = (2**0.5 * common + torch.randn(SAMPLES, generator=generator)) / 3**0.5
        found[subset] = own < torch.distributions.Normal(0, 1).icdf(torch.tensor(chance))
    return found


def diagnosed(found, seed):
    bootstrap = Bootstrap(SAMPLES, resamples=RESAMPLES, seed=seed)
    columns = dict(zip(found, bootstrap.columns(torch.stack(list(found.values()))).T, strict=True))
    heads = {"multimodal": columns[BOTH], "audio": columns[AUDIO], "image": columns[IMAGE]}
    return Diagnosis(
        title="",
        modalities=("audio", "image"),
        task="single-label",
        metric="accuracy",
        split="",
        samples=SAMPLES,
        incomplete=0,
        level=0.95,
        resamples=RESAMPLES,
        seed=seed,
        heads={head: bootstrap.interval(column) for head, column in heads.items()},
        utilization={name: bootstrap.interval(column) for name, column in utilization(heads).items()},
        gap=gap(heads, bootstrap),
        shapley={"mean": shapley(columns, ("audio", "image"), bootstrap)},
    )


def truth(chances):
    empty, audio, image, both = (chances[subset] for subset in (EMPTY, AUDIO, IMAGE, BOTH))
    value = ((audio - empty) + (both - image)) / 2
    return {
        ("heads", "multimodal"): both,
        ("heads", "audio"): audio,
        ("utilization", "audio"): (both - image) / both,
        ("gap", "δ"): abs(audio - image) / both,
        ("shapley", "mean/audio"): value,
        ("interactions", "mean/audio × image"): both - audio - image + empty,
        ("largest share", "mean"): value / (both - empty),
    }


@pytest.mark.parametrize("scene", SCENES)
def test_paired_intervals_hold_the_true_difference_in_92_to_98_percent(scene):
    generator = torch.Generator().manual_seed(3)
    truths = [truth(chances) for chances in SCENES[scene]]
    held = dict.fromkeys(truths[0], 0)
    paired = unpaired = 0.0
    for trial in range(TRIALS):
        common = torch.randn(SAMPLES, generator=generator)
        both = [diagnosed(outcomes(chances, common, generator), trial) for chances in SCENES[scene]]
        found = compare(*both)
        for (quantity, part), count in held.items():
            interval = found.differences[quantity][part]
            held[quantity, part] = count + (interval.low <= truths[1][quantity, part] - truths[0][quantity, part] <= interval.high)
        apart, loose = found.differences["heads"]["multimodal"], difference(*(one.heads["multimodal"] for one in both))
        paired, unpaired = paired + apart.high - apart.low, unpaired + loose.high - loose.low
    coverage = {name: count / TRIALS for name, count in held.items()}
    assert all(0.92 <= share <= 0.98 for share in coverage.values()), coverage
    assert paired < 0.85 * unpaired
