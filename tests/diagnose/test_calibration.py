"""Calibration errors, agreement of heads and the samples they disagree about."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from equimodal.diagnose.calibration import agreement, calibration, cohen_kappa, disagreements
from equimodal.diagnose.intervals import Bootstrap
from equimodal.errors import InputError


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some(samples: int = 500, classes: int = 4):
    logits = 2 * torch.randn(samples, classes, generator=draws(0))
    targets = torch.multinomial(logits.softmax(dim=1), 1, generator=draws(1)).squeeze(1)
    return logits, targets


def by_hand(sure, right, bins):
    error, total = 0.0, len(sure)
    for number in range(bins):
        inside = [place for place, one in enumerate(sure) if number / bins < one <= (number + 1) / bins]
        if inside:
            error += abs(sum(right[place] - sure[place] for place in inside)) / total
    return error


@pytest.mark.parametrize("bins", [15, 10])
def test_the_error_is_the_definition(bins):
    logits, targets = some()
    found = calibration(logits, targets, Bootstrap(500, resamples=100), bins=bins)
    sure, said = logits.double().softmax(dim=1).max(dim=1)
    assert found.expected_error.value == pytest.approx(by_hand(sure.tolist(), (said == targets).double().tolist(), bins), abs=1e-9)
    assert found.confidence == pytest.approx(float(sure.mean()))
    assert len(found.bins) == bins
    assert sum(one.count for one in found.bins) == 500
    filled = [one for one in found.bins if one.count]
    assert sum(one.count * abs(one.accuracy - one.confidence) for one in filled) / 500 == pytest.approx(found.expected_error.value)
    assert all(one.confidence is None and one.accuracy is None for one in found.bins if not one.count)


def test_a_right_model_is_calibrated_and_a_sharpened_one_is_not():
    logits, targets = some(4000)
    bootstrap = Bootstrap(4000, resamples=200)
    fair, sharp = (calibration(factor * logits, targets, bootstrap).expected_error for factor in (1.0, 4.0))
    assert fair.value < 0.03
    assert sharp.low > 0.1
    assert sharp.low < sharp.value < sharp.high


def folded(distance):
    """Return by how much the absolute value of a deviate around ``distance`` exceeds it, from many of them in even steps."""
    deviates = torch.distributions.Normal(0, 1).icdf((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000)
    return float((distance + deviates).abs().mean()) - distance


def test_the_interval_keeps_the_signs_and_takes_off_what_chance_adds():
    logits, targets = some(300)
    bootstrap = Bootstrap(300, resamples=200)
    found = calibration(1.3 * logits, targets, bootstrap, bins=5).expected_error
    sure, said = (1.3 * logits).double().softmax(dim=1).max(dim=1)
    right, place = (said == targets).double(), (5 * sure).ceil() - 1
    signed, below, above = torch.zeros(201, dtype=torch.float64), 0.0, 0.0
    for number in range(5):
        excess = (right - sure) * (place == number)
        mean, error = float(excess.mean()), float(excess.std(correction=0)) / 300**0.5
        signed += (1 if mean > 0 else -1) * bootstrap.columns(excess[None])[:, 0]
        if error:
            above += error * folded(abs(mean) / error)
            below += error * folded(max(abs(mean) / error - 1, 0.0))
    assert found.value == pytest.approx(float(signed[0]))
    low, high = signed[1:].quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    assert found.low == pytest.approx(max(low - below, 0.0), abs=1e-6)
    assert found.high == pytest.approx(high - above, abs=1e-6)


def test_a_perfect_head_has_an_interval_that_begins_at_zero_or_near():
    logits, targets = some(500)
    found = calibration(logits, targets, Bootstrap(500, resamples=400)).expected_error
    assert found.low < 0.01 < found.value < found.high


def test_every_label_is_an_answer_of_its_own():
    logits = 2 * torch.randn(300, 5, generator=draws(0))
    targets = (torch.rand(300, 5, generator=draws(1)) < logits.sigmoid()).float()
    found = calibration(logits, targets, Bootstrap(300, resamples=50), task="multilabel")
    probability = logits.double().sigmoid()
    sure = torch.maximum(probability, 1 - probability).flatten()
    right = ((logits > 0) == targets.bool()).double().flatten()
    assert found.expected_error.value == pytest.approx(by_hand(sure.tolist(), right.tolist(), 15), abs=1e-9)
    assert sum(one.count for one in found.bins) == 1500


@pytest.mark.parametrize("task", ["regression", "ordinal", "positions"])
def test_what_has_no_probabilities_is_refused(task):
    with pytest.raises(InputError, match=f"calibration is not defined for {task} targets"):
        calibration(*some(), Bootstrap(500, resamples=0), task=task)


def test_agreement_and_kappa_are_those_of_scikit_learn():
    logits, _ = some(400)
    heads = {
        "multimodal": logits,
        "audio": logits + torch.randn(400, 4, generator=draws(3)),
        "image": torch.randn(400, 4, generator=draws(4)),
    }
    bootstrap = Bootstrap(400, resamples=100)
    same, kappa = agreement(heads, bootstrap), cohen_kappa(heads, bootstrap)
    assert list(same) == list(kappa) == ["multimodal & audio", "multimodal & image", "audio & image"]
    said = {head: own.argmax(dim=1) for head, own in heads.items()}
    for pair in same:
        one, other = (said[head] for head in pair.split(" & "))
        assert same[pair].value == pytest.approx(float((one == other).float().mean()), abs=1e-6)
        assert kappa[pair].value == pytest.approx(cohen_kappa_score(one.numpy(), other.numpy()), abs=1e-9)
        assert kappa[pair].low < kappa[pair].value < kappa[pair].high


def test_agreement_of_labels_steps_and_of_one_head():
    bootstrap = Bootstrap(2, resamples=0)
    one, other = torch.tensor([[1.0, -1.0], [1.0, 1.0]]), torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    assert agreement({"a": one, "b": other}, bootstrap, task="multilabel")["a & b"].value == 0.75
    assert agreement({"a": one, "b": other}, bootstrap, task="ordinal")["a & b"].value == 0.5
    assert agreement({"multimodal": one}, bootstrap) == {}
    with pytest.raises(InputError, match="agreement between heads is not defined for regression"):
        agreement({"a": one, "b": other}, bootstrap, task="regression")
    with pytest.raises(InputError, match="kappa is not defined for multilabel"):
        cohen_kappa({"a": one, "b": other}, bootstrap, task="multilabel")


def test_kappa_is_undefined_where_both_say_one_thing_throughout():
    assert cohen_kappa({"a": torch.eye(3)[[0] * 7], "b": torch.eye(3)[[0] * 7]}, Bootstrap(7, resamples=10))["a & b"].value is None


def sure_of(classes, strength):
    return torch.eye(3)[torch.tensor(classes)] * torch.tensor(strength)[:, None]


def test_the_samples_that_heads_are_sure_about_and_disagree_come_first():
    heads = {
        "multimodal": sure_of([0, 0, 0, 0, 0], [9.0, 9, 9, 9, 9]),
        "audio": sure_of([0, 0, 0, 0, 0], [9.0, 9, 1, 5, 9]),
        "image": sure_of([0, 1, 1, 1, 2], [9.0, 1, 9, 5, 6]),
    }
    found = disagreements(heads, torch.tensor([0, 1, 2, 0, 1]), indices=torch.tensor([10, 11, 12, 13, 14]))
    assert [sample.index for sample in found] == [14, 13, 11, 12]
    assert (found[0].target, found[0].predicted) == (1, {"multimodal": 0, "audio": 0, "image": 2})
    assert found[0].confidence["image"] == pytest.approx(float(torch.tensor([0.0, 0, 6]).softmax(dim=0)[2]))
    assert [sample.index for sample in disagreements(heads, torch.zeros(5, dtype=torch.int64), count=2)] == [4, 3]


def test_pairs_take_turns_so_that_none_fills_the_list():
    targets = torch.zeros(100, dtype=torch.int64)
    # Touch is surely wrong throughout; audio and image disagree mildly about ten samples.
    mild = [1.5 if number < 10 else 9.0 for number in range(100)]
    heads = {
        "audio": sure_of([0] * 100, mild),
        "image": sure_of([1 if number < 10 else 0 for number in range(100)], mild),
        "touch": sure_of([2] * 100, [9.0] * 100),
    }
    found = disagreements(heads, targets, count=12)
    pairs = Counter(sample.predicted["audio"] != sample.predicted["image"] for sample in found)
    assert len({sample.index for sample in found}) == 12
    assert pairs[True] >= 4


def test_a_single_head_is_compared_with_the_joint_model_and_agreement_gives_nothing():
    heads = {"multimodal": sure_of([0, 0], [3.0, 3.0]), "audio": sure_of([0, 1], [3.0, 3.0])}
    assert [sample.index for sample in disagreements(heads, torch.tensor([0, 0]))] == [1]
    assert disagreements({"multimodal": heads["multimodal"]}, torch.tensor([0, 0])) == ()
    with pytest.raises(InputError, match="not defined for multilabel"):
        disagreements(heads, torch.zeros(2, 3), task="multilabel")
