"""Records made by hand for the rules of the verdict, and what the rules say of them."""

import dataclasses

from equimodal.diagnose.quantities import Ablation, Epoch, Interval, Shapley
from equimodal.diagnose.record import Diagnosis
from equimodal.diagnose.verdict import verdict

__all__ = ["PAIR", "curves_of", "finding", "interval", "kinds", "record"]

PAIR = ("audio", "image")


def interval(value, half=0.02):
    return Interval(value, round(value - half, 6), round(value + half, 6))


def record(
    losses=(0.3, 0.28), worth=(0.4, 0.38), interaction=-0.1, *, joint=0.9, heads=(0.7, 0.68), probes=(0.7, 0.68), both=0.9, half=0.02,
    names=PAIR, kind="mean", **changes,
):  # fmt: skip
    """Return a record of a model at 90 %, chance 10 %: a loss of up to 0.04 is negligible."""
    rates = {}
    if heads:
        rates = {
            name: (joint - max(own for place, own in enumerate(heads) if place != number)) / joint for number, name in enumerate(names)
        }
    return dataclasses.replace(
        Diagnosis(
            "a model", names, "single-label", "accuracy", "val", 600, 0, 0.95, 1000, 0, chance=0.1, mean_of="train",
            heads={"multimodal": interval(joint, half), **{name: interval(own, half) for name, own in zip(names, heads, strict=False)}},
            probes={**{name: interval(own, half) for name, own in zip(names, probes, strict=False)}, "multimodal": interval(both, half)},
            utilization={name: interval(rate, half) for name, rate in rates.items()},
            gap=interval((max(heads) - min(heads)) / joint, half) if heads else None,
            ablations={
                kind: {name: Ablation(interval(joint - loss, half), interval(loss, half)) for name, loss in zip(names, losses, strict=True)}
            },
            shapley={}
            if worth is None
            else {
                kind: Shapley(
                    interval(0.1, half),
                    interval(joint, half),
                    {name: interval(value, half) for name, value in zip(names, worth, strict=True)},
                    {"audio × image": interval(interaction, half)},
                )
            },
        ),
        **changes,
    )  # fmt: skip


def kinds(found):
    return [(finding.kind, finding.subject) for finding in verdict(found)]


def finding(found, kind):
    return next(one for one in verdict(found) if one.kind == kind)


def curves_of(**series):
    """Return epochs whose scores are the same on both splits but for a tenth of a point."""
    count = len(next(iter(series.values())))
    return tuple(
        Epoch(number + 1, {head: values[number] + 0.001 for head, values in series.items()}, {h: v[number] for h, v in series.items()})
        for number in range(count)
    )
