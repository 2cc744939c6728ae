"""Made-up runs that look like real ones: two modalities, one of which learns fast, and the methods that treat them differently."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

from equimodal.report import RunRecord

MODALITIES = ("image", "audio")


def epoch_record(epoch: int, scores: dict[str, float | None], multipliers: dict[str, float], rate: float = 0.001) -> dict[str, Any]:
    """One line of metrics.jsonl for given validation scores."""
    joint = scores["multimodal"]
    names = [name for name in scores if name != "multimodal"]
    values = [scores[name] for name in names]
    utilization: dict[str, float | None] = {}
    gap = None
    if len(names) > 1:
        defined = joint is not None and joint > 0 and all(value is not None for value in values)
        for name in names:
            others = [scores[other] for other in names if other != name]
            utilization[name] = (joint - max(others)) / joint if defined else None
        gap = (max(values) - min(values)) / joint if defined else None
    train = {name: None if score is None else min(1.0, score + 0.04) for name, score in scores.items()}
    losses = {name: None if score is None else 2.3 * (1 - score) for name, score in scores.items()}
    return {
        "epoch": epoch,
        "scores": {"train": train, "val": dict(scores)},
        "losses": {"train": losses, "val": losses},
        "utilization": utilization,
        "gap": gap,
        "multipliers": dict(multipliers),
        "learning_rates": {"multimodal": rate, **{name: rate * multipliers.get(name, 1.0) for name in names}},
        "seconds": 1.25,
    }


def result_record(
    method: str, seed: int, epochs: int, best_epoch: int, scores: dict[str, float | None], metric: str = "accuracy"
) -> dict[str, Any]:
    """The result.json of a run with given test scores."""
    higher = {name: None if score is None else min(1.0, score + 0.02) for name, score in scores.items()}
    return {
        "format": 1,
        "dataset": "digits-av",
        "method": method,
        "seed": seed,
        "metric": metric,
        "epochs": epochs,
        "best_epoch": best_epoch,
        "scores": {"train": higher, "val": higher, "test": dict(scores)},
        "metrics": {},
    }


def learning(final: dict[str, float], speed: dict[str, float], epochs: int, seed: int) -> list[dict[str, float | None]]:
    """Noisy saturating curves."""
    random_ = random.Random(seed)
    return [
        {
            name: min(0.999, max(0.05, 0.1 + (final[name] - 0.1) * (1 - math.exp(-speed[name] * epoch)) + random_.gauss(0, 0.008)))
            for name in final
        }
        for epoch in range(1, epochs + 1)
    ]


def run(
    method: str,
    final: dict[str, float],
    speed: dict[str, float] | None = None,
    *,
    label: str | None = None,
    epochs: int = 20,
    seed: int = 0,
    tau: float | None = None,
    finished: bool = True,
) -> RunRecord:
    """A run whose scores approach the final ones; MILES where τ is given."""
    speed = speed or dict.fromkeys(final, 0.3)
    names = [name for name in final if name != "multimodal"]
    multipliers = dict.fromkeys(names, 1.0)
    records = []
    curves = learning(final, speed, epochs, seed)
    for epoch, scores in enumerate(curves, start=1):
        record = epoch_record(epoch, scores, multipliers if tau is not None or len(names) > 1 else {})
        records.append(record)
        if tau is not None and record["gap"] is not None:
            dominant = max(names, key=lambda name: scores[name])
            multipliers = {name: 0.5 if record["gap"] > tau and name == dominant else 1.0 for name in names}
    options: dict[str, Any] = {"name": method} if tau is None else {"name": method, "tau": tau, "mu": 0.5}
    if len(names) == 1:
        options["modality"] = names[0]
    config = {
        "format": 1,
        "dataset": {"name": "digits-av"},
        "method": options,
        "model": {"fusion": "concat", "encoders": {name: {"name": "resnet", "depth": 6} for name in names}},
        "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999]},
        "epochs": epochs,
        "seed": seed,
    }
    best = max(range(epochs), key=lambda index: curves[index]["multimodal"]) + 1
    test = {name: score - 0.011 for name, score in curves[best - 1].items()}
    if len(names) == 1:
        test["multimodal"] = test[names[0]]
        for record in records:
            for split in record["scores"].values():
                split["multimodal"] = split[names[0]]
    result = result_record(method, seed, epochs, best, test) if finished else None
    return RunRecord(label or method, method, config, records, result)


def demo(epochs: int = 20, seed: int = 0) -> list[RunRecord]:
    """The five runs of a demonstration."""
    image, audio = MODALITIES
    given = {"epochs": epochs, "seed": seed}
    fast = {"multimodal": 0.6, image: 0.55, audio: 0.2}
    balanced = {"multimodal": 0.5, image: 0.4, audio: 0.25}
    return [
        run("unimodal", {"multimodal": 0.95, image: 0.95}, {"multimodal": 0.6, image: 0.6}, label="image alone", **given),
        run("unimodal", {"multimodal": 0.89, audio: 0.89}, {"multimodal": 0.35, audio: 0.35}, label="audio alone", **given),
        run("vanilla", {"multimodal": 0.94, image: 0.93, audio: 0.54}, fast, **given),
        run("joint", {"multimodal": 0.955, image: 0.94, audio: 0.80}, fast, **given),
        run("miles", {"multimodal": 0.96, image: 0.93, audio: 0.84}, balanced, label="MILES", tau=0.2, **given),
    ]


def three_modalities() -> list[RunRecord]:
    """Two runs with text, image and audio."""
    final = {"multimodal": 0.8, "text": 0.75, "image": 0.6, "audio": 0.4}
    return [run("joint", final), run("miles", {**final, "audio": 0.6}, label="MILES", tau=0.2)]


def priced(one: RunRecord, *, seconds: float = 1.25, steps: int | None = 70, side_steps: int = 0) -> RunRecord:
    """The same run with the given seconds and steps in every epoch; without any steps, as older runs are, where they are None."""
    counts = {} if steps is None else {"steps": steps, "side_steps": side_steps}
    return replace(one, epochs=[{**record, "seconds": seconds, **counts} for record in one.epochs])


BASELINES = {
    "vanilla": (0.94, 0.93, 0.54),
    "joint": (0.955, 0.94, 0.80),
    "ogm": (0.951, 0.935, 0.70),
    "ogm-ge": (0.957, 0.93, 0.75),
    "mslr-k": (0.95, 0.92, 0.80),
    "mslr-s": (0.949, 0.93, 0.78),
    "mslr-d": (0.954, 0.93, 0.81),
    "mses": (0.948, 0.94, 0.81),
    "gblend": (0.956, 0.93, 0.83),
    "miles+ogm-ge": (0.958, 0.92, 0.84),
}


def comparison(seeds: int = 5, epochs: int = 4) -> list[RunRecord]:
    """The runs of a comparison of all methods: unimodal models, baselines with their costs, and MILES at the end."""
    runs = []
    for seed in range(seeds):
        image, audio, *_, miles = demo(epochs, seed)
        runs += [priced(image), priced(audio)]
        for method, scores in BASELINES.items():
            final = dict(zip(("multimodal", *MODALITIES), scores, strict=True))
            side = 161 if method == "gblend" else 0
            runs.append(priced(run(method, final, epochs=epochs, seed=seed), seconds=1.25 + side / 50, side_steps=side))
        runs.append(priced(miles))
    return runs
