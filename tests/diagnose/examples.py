"""A diagnosis made by hand, with every quantity in it, for tests of what is written and drawn from one."""

from __future__ import annotations

import dataclasses
import math
from itertools import combinations

from equimodal.diagnose.quantities import Ablation, Bin, Calibration, Encoder, Epoch, Finding, Interval, Point, Sample, Shapley
from equimodal.diagnose.record import Diagnosis
from equimodal.scores import MULTIMODAL

NAMES = ("audio", "image", "text", "depth", "touch", "smell", "taste")
EXACT = 6  # so many modalities have exact Shapley values
JOINT = 0.78
SAMPLES = 600


def around(value: float, half: float = 0.03) -> Interval:
    return Interval(round(value, 4), round(value - half, 4), round(value + half, 4))


def ablations_of(names: tuple[str, ...], lost: dict[str, float]) -> dict[str, dict[str, Ablation]]:
    kinds = {"zero": 1.0, "mean": 0.9, "permutation": 1.1}
    return {
        kind: {name: Ablation(around(JOINT - factor * lost[name]), around(factor * lost[name])) for name in names}
        for kind, factor in kinds.items()
    }


def shapley_of(names: tuple[str, ...], share: dict[str, float]) -> Shapley:
    values = {name: around(share[name] * (JOINT - 0.1)) for name in names}
    if len(names) > EXACT:
        return Shapley(around(0.1), around(JOINT), values, {}, False, 32, {name: round(0.1 * share[name], 4) for name in names})
    return Shapley(around(0.1), around(JOINT), values, {f"{one} × {other}": around(-0.04) for one, other in combinations(names, 2)})


def encoder_of(number: int) -> Encoder:
    """Return the facts on one encoder; no two are of one size."""
    size = 12_000 * (number + 1)
    norm, rank = around(8.0 / (number + 1)), around(11.5 / (number + 1), 0.6)
    return Encoder(size, size, 64, norm, rank, around(0.02 / (number + 1), 0.003), around(0.0004, 0.0001), 0.031 / (number + 1))


def example_diagnosis(modalities: int = 2) -> Diagnosis:
    """Return a model of digits that leans on its first modality: the second adds little, though its own probe says it could."""
    names = NAMES[:modalities]
    heads = {MULTIMODAL: JOINT, **{name: 0.76 - 0.3 * number for number, name in enumerate(names)}}
    heads = {name: max(score, 0.12) for name, score in heads.items()}
    probes = {**{name: min(score + 0.1, 0.8) for name, score in heads.items() if name != MULTIMODAL}, MULTIMODAL: 0.83}
    lost = {name: 0.5 / (1 + 4 * number) for number, name in enumerate(names)}
    total = sum(1 / (1 + 4 * number) for number in range(modalities))
    share = {name: 1 / (1 + 4 * number) / total for number, name in enumerate(names)}
    utilization = {name: (JOINT - max(heads[other] for other in names if other != name)) / JOINT for name in names}
    shares = (0.55, 0.06, 0.12, 0.09, 0.18)
    sets = (f"{names[0]} alone", f"{names[1]} alone", "either", "both needed", "neither")
    return Diagnosis(
        title="JointFusion on digits",
        modalities=names,
        task="single-label",
        metric="accuracy",
        split="val",
        samples=SAMPLES,
        incomplete=12,
        classes=("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        level=0.95,
        resamples=1000,
        seed=0,
        ablated="features",
        mean_of="train",
        donors=5,
        probes_fitted_on="train",
        chance=0.11,
        heads={name: around(score) for name, score in heads.items()},
        probes={name: around(score) for name, score in probes.items()},
        ablations=ablations_of(names, lost),
        utilization={name: around(rate) for name, rate in utilization.items()},
        gap=around((max(heads[name] for name in names) - min(heads[name] for name in names)) / JOINT),
        shapley={kind: shapley_of(names, share) for kind in ("zero", "mean", "permutation")},
        valuation={name: around(value) for name, value in zip(sets, shares, strict=True)} if modalities <= EXACT else {},
        encoders={name: encoder_of(number) for number, name in enumerate(names)},
        calibration={
            name: Calibration(
                around(0.08),
                0.85,
                tuple(Bin(None, None, 0) if place < 3 else Bin((place + 0.5) / 15, place / 15, 50) for place in range(15)),
            )
            for name in heads
        },
        agreement={f"{first} & {second}": around(0.45) for first, second in combinations(heads, 2)},
        kappa={f"{first} & {second}": around(0.38) for first, second in combinations(heads, 2)},
        robustness=tuple(
            Point(name, kind, part, around(JOINT - part * lost[name]))
            for name in names
            for kind in ("missing", "noise")
            for part in (0.0, 0.25, 0.5, 1.0)
        ),
        curves=tuple(
            Epoch(
                epoch,
                {name: score * (1 - math.exp(-epoch / 2)) + 0.1 for name, score in heads.items()},
                {name: score * (1 - math.exp(-epoch / 2)) for name, score in heads.items()},
                0.1 + 0.02 * epoch,
                dict.fromkeys(names, 1.0),
            )
            for epoch in range(1, 13)
        ),
        generalisation={name: around(0.1) for name in heads},
        disagreements=tuple(
            Sample(7 * number, number, dict.fromkeys(heads, number) | {names[1]: (number + 1) % 10}, dict.fromkeys(heads, 0.9))
            for number in range(4)
        ),
        findings=(
            Finding(
                "dominated",
                names[0],
                f"The model leans on {names[0]}: without it the score falls by 50.0 points, without {names[1]} by 10.0.",
                {"loss without it": 0.5, "ablation": "mean"},
                "Slow it down: MILES with τ = 0.2 and μ = 0.5.",
            ),
        ),
        skipped={} if modalities == 2 else {"robustness": "not asked for: robustness=True"},
        cost={"seconds": 1.25, "encoder_passes": 2.0},
        version="0.1.0",
    )


def bare_diagnosis(modalities: int = 2) -> Diagnosis:
    """Return a diagnosis in which every quantity is missing but the joint model's score, which has no interval."""
    whole = example_diagnosis(modalities)
    empty = {field.name: type(getattr(whole, field.name))() for field in dataclasses.fields(whole) if field.name in QUANTITIES}
    return dataclasses.replace(
        whole,
        **empty,
        heads={MULTIMODAL: Interval(JOINT)},
        gap=None,
        curves=None,
        generalisation=None,
        classes=None,
        chance=None,
        resamples=0,
        skipped=dict.fromkeys(QUANTITIES, "there were too few samples"),
    )


QUANTITIES = (
    "probes",
    "ablations",
    "utilization",
    "shapley",
    "valuation",
    "encoders",
    "calibration",
    "agreement",
    "kappa",
    "robustness",
    "disagreements",
    "findings",
)
