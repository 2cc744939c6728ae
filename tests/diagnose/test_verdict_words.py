"""How the verdict reads: sentences of many records, with few and many modalities and with scores of every kind."""

import dataclasses
import itertools
import random
import re

import pytest

from diagnose.verdicts import curves_of, finding, interval, record
from equimodal.diagnose.quantities import Ablation, Bin, Calibration, Encoder, Interval
from equimodal.diagnose.verdict import verdict

NAMES = ("audio", "image", "text", "depth", "touch", "smell", "taste")
BAD = (
    *(r"falls by −", r"rises by −", r"  ", r" [,.;:)]", r"\(\s", r"\.\.", r"\bnan\b", r"\bNone\b", r"\de-?\d", r"\band and\b"),
    *(
        r"\ba [aeio]",
        r"\breads? \d",
        r"\band \w+ adds\b",
        r"\bencoder of \w+ and\b",
        r"\bmodalities replaced by its\b",
        r"\b1 (more heads|others)\b",
    ),
)
"""What no sentence says."""


def any_record(draw, modalities):
    """Return a record of a model that may be anything."""
    names = NAMES[:modalities]
    joint = draw.choice([0.9, 0.6, 0.12, 1.0])
    gain = joint - 0.1
    worth = draw.choice([[gain] + [0.0] * (modalities - 1), [gain / modalities] * modalities, [draw.random() * gain for _ in names]])
    losses = draw.choice([worth, [0.0] * modalities, [gain] * modalities, [draw.uniform(-0.1, 0.5) for _ in names]])
    heads = [draw.choice([0.1, 0.5 * joint, joint, joint + 0.2, draw.random()]) for _ in names]
    kind = draw.choice(["mean", "absent", "zero", "permutation"])
    probes = [head + draw.choice([0.0, 0.2]) for head in heads]
    found = record(
        losses, worth, joint=joint, heads=heads, probes=probes, both=joint + draw.choice([0, 0.2]),
        half=draw.choice([0.005, 0.02, 0.12]), names=names, kind=kind, samples=draw.choice([24, 600]),
        metric=draw.choice(["accuracy", "macro_f1", "r2", "negative_error"]), chance=draw.choice([0.1, None]),
    )  # fmt: skip
    shares = found.shapley[kind]
    if modalities > 6:
        shares = dataclasses.replace(shares, interactions={}, exact=False, orders=32, errors=dict.fromkeys(names, 0.01))
    else:
        pairs = [f"{one} × {other}" for one, other in itertools.combinations(names, 2)]
        shares = dataclasses.replace(shares, interactions=dict.fromkeys(pairs, interval(draw.choice([-0.1, 0.3]))))
    shapley, ablated = {kind: shares}, dict(found.ablations)
    if draw.random() < 0.5:
        other = "zero" if kind == "mean" else "mean"
        backwards = dict(zip(names, list(shares.values.values())[::-1], strict=True))
        shapley[other] = dataclasses.replace(shares, values=backwards, interactions=dict.fromkeys(shares.interactions, interval(-0.1)))
        ablated[other] = dict.fromkeys(names, Ablation(interval(0.5), interval(0.3)))
    rising, done = [0.05 * number for number in range(1, 13)], [joint] * 12
    return dataclasses.replace(
        found,
        shapley=draw.choice([shapley, shapley, {}]),
        ablations=draw.choice([ablated, ablated, ablated, {}]),
        curves=draw.choice(
            [None, curves_of(multimodal=draw.choice([rising, done]), **{one: draw.choice([rising, done]) for one in names})]
        ),
        encoders={one: Encoder(12_000, draw.choice([0, 12_000]), 64) for one in names},
        generalisation={head: interval(draw.choice([0.0, 0.3])) for head in found.heads},
        calibration={"multimodal": Calibration(interval(draw.choice([0.0, 0.2])), 0.97, (Bin(0.97, 0.7, 600),))},
    )


@pytest.mark.parametrize("modalities", [2, 3, 7])
def test_every_sentence_is_english(modalities):
    draw = random.Random(modalities)
    kinds = set()
    for _ in range(300):
        for one in verdict(any_record(draw, modalities)):
            kinds.add(one.kind)
            for said in filter(None, (one.sentence, one.advice)):
                assert said[0].isupper(), said
                assert said.endswith("."), said
                for bad in BAD:
                    assert not re.search(bad, said), (bad, said)
                # Sentences begin with capitals, whichever name comes first.
                assert not re.search(rf"\. (?:{'|'.join(NAMES)})\b", said), said
    assert len(kinds) >= 14


def test_a_score_that_rises_without_a_modality_does_not_fall_by_less_than_nothing():
    found = record((0.5, 0.06, -0.01), (0.6, 0.1, 0.0), heads=(0.8, 0.5, 0.4), probes=(0.8, 0.5, 0.4), names=("audio", "image", "text"))
    said = finding(found, "dominated").sentence
    assert "it falls by 6.0 points (4.0 to 8.0) without image, and rises by 1.0 points (−1.0 to 3.0) without text." in said


def test_of_many_modalities_the_foremost_are_named():
    losses = (0.6, 0.05, 0.06, 0.07, 0.08, 0.02, 0.01)
    found = record(losses, losses, heads=[0.5] * 7, probes=[0.5] * 7, names=NAMES)
    said = finding(found, "dominated").sentence
    assert "8.0 points (6.0 to 10.0) without touch, 7.0 points (5.0 to 9.0) without depth, 6.0 points (4.0 to 8.0) without text" in said
    assert "at most 5.0 points without any one of the 3 others" in said
    assert "smell" not in said
    assert finding(found, "dominated").evidence["loss without smell"] == 0.02


def test_large_and_small_scores_have_the_digits_they_need():
    large = record((600.0, 40.0), (700.0, 50.0), joint=1234.4, heads=(), probes=(), both=1234.4, half=20.0, metric="negative_error")
    assert "the score of 1,234 falls by 600 (580 to 620); it falls by 40 (20 to 60) without image" in verdict(large)[0].sentence
    scale = 1e-4
    heads = {"multimodal": Interval(9 * scale, 8 * scale, 10 * scale)}
    losses = {name: Ablation(Interval(0.0), Interval(*(part * scale for part in parts))) for name, parts in
              {"audio": (5, 4.5, 5.5), "image": (0.4, 0.2, 0.6)}.items()}  # fmt: skip
    small = dataclasses.replace(record(metric="negative_error", chance=None), heads=heads, probes={}, shapley={}, gap=None, utilization={})
    small = dataclasses.replace(small, ablations={"mean": losses})
    assert "the score of 0.000900 falls by 0.000500 (0.000450 to 0.000550)" in verdict(small)[0].sentence
