"""Counts for ordered classes and for positions, against scikit-learn, torchmetrics and plain loops."""

from __future__ import annotations

import math

import pytest
import torch
import torchmetrics.functional.classification as peer
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, jaccard_score, mean_absolute_error

from equimodal.errors import InputError
from equimodal.nn import Prediction
from equimodal.scoring import IGNORED, MeanLosses, Scorer
from equimodal.tasks import TASKS, get_task

HEADS = ("multimodal", "image", "audio", "text")
SAMPLES, CLASSES = 53, 5


def draw(task, seed, positions=(4, 3)):
    generator = torch.Generator().manual_seed(seed)
    if task == "ordinal":
        logits = {head: torch.randint(-3, 4, (SAMPLES, CLASSES - 1), generator=generator) / 2 for head in HEADS}
        targets = torch.randint(0, CLASSES - 1, (SAMPLES,), generator=generator)  # the last class never occurs
    else:
        logits = {head: torch.randint(-4, 5, (SAMPLES, CLASSES, *positions), generator=generator) / 4 for head in HEADS}
        targets = torch.randint(0, CLASSES - 1, (SAMPLES, *positions), generator=generator)
        targets[torch.rand(targets.shape, generator=generator) < 0.3] = IGNORED
    present = {head: torch.rand(SAMPLES, generator=generator) < 0.6 for head in HEADS[1:]}
    return logits, targets, present


def scored(task, logits, targets, present, sizes=(SAMPLES,)):
    kind = get_task(task)
    scorer = Scorer(kind, HEADS, kind.metrics, torch.device("cpu"))
    for rows in torch.arange(len(targets)).split(list(sizes)):
        unimodal = {head: logits[head][rows] for head in HEADS[1:]}
        scorer.update(Prediction(logits["multimodal"][rows], unimodal), targets[rows], {name: mask[rows] for name, mask in present.items()})
    return scorer.compute()


def ordinal_by_others(logits, targets):
    predicted = [sum(1 for value in row if value > 0) for row in logits.tolist()]
    return {
        "accuracy": accuracy_score(targets, predicted),
        "linear_weighted_agreement": 1 - mean_absolute_error(targets, predicted) / (CLASSES - 1),
        "quadratic_weighted_kappa": cohen_kappa_score(targets, predicted, weights="quadratic", labels=range(CLASSES)),
        "macro_f1": f1_score(targets, predicted, average="macro", zero_division=0),
    }


def positions_by_others(logits, targets):
    counted = targets != IGNORED
    actual, predicted = targets[counted], logits.argmax(dim=1)[counted]
    return {
        "accuracy": accuracy_score(actual, predicted),
        "macro_f1": f1_score(actual, predicted, average="macro", zero_division=0),
        "mean_intersection_over_union": jaccard_score(actual, predicted, average="macro", zero_division=0),
    }


OTHERS = {"ordinal": ordinal_by_others, "positions": positions_by_others}


@pytest.mark.parametrize("masked", [False, True], ids=["complete", "masked"])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("task", OTHERS)
def test_equal_scikit_learn_over_batches_of_unequal_size(task, seed, masked):
    logits, targets, present = draw(task, seed)
    scores = scored(task, logits, targets, present if masked else {}, (1, 20, 32))
    for head in HEADS:
        rows = present[head] if masked and head in present else slice(None)
        assert scores[head] == pytest.approx(OTHERS[task](logits[head][rows], targets[rows]), abs=1e-12)


def test_kappa_and_intersection_over_union_equal_torchmetrics():
    logits, targets, _ = draw("ordinal", 7)
    kappa = peer.multiclass_cohen_kappa((logits["text"] > 0).sum(dim=1), targets, CLASSES, weights="quadratic")
    assert scored("ordinal", logits, targets, {})["text"]["quadratic_weighted_kappa"] == pytest.approx(kappa.item(), abs=1e-6)
    logits, targets, _ = draw("positions", 7)
    share = peer.multiclass_jaccard_index(logits["text"], targets, CLASSES, ignore_index=IGNORED)
    assert scored("positions", logits, targets, {})["text"]["mean_intersection_over_union"] == pytest.approx(share.item(), abs=1e-6)


@pytest.mark.parametrize("task", OTHERS)
def test_scores_over_batches_are_those_of_the_whole(task):
    drawn = draw(task, 0)
    assert scored(task, *drawn, [1] * SAMPLES) == scored(task, *drawn)


@pytest.mark.parametrize("task", OTHERS)
def test_a_head_without_any_sample_has_no_score(task):
    logits, targets, _ = draw(task, 0)
    scores = scored(task, logits, targets, {"audio": torch.zeros(SAMPLES, dtype=torch.bool)})
    assert all(math.isnan(value) for value in scores["audio"].values())
    assert all(math.isfinite(value) for value in scores["image"].values())


def test_agreement_lies_between_zero_and_one_and_gives_the_mean_absolute_error():
    targets = torch.tensor([0, 0, 4, 4])
    far, near = torch.tensor([[1.0] * 4] * 2 + [[-1.0] * 4] * 2), torch.tensor([[1.0, -1, -1, -1]] * 2 + [[1.0, 1, 1, -1]] * 2)
    scores = scored("ordinal", {"multimodal": near, "image": far, "audio": near, "text": far}, targets, {}, (4,))
    assert scores["image"]["linear_weighted_agreement"] == 0
    assert scores["image"]["quadratic_weighted_kappa"] == -1
    assert (1 - scores["audio"]["linear_weighted_agreement"]) * (CLASSES - 1) == 1  # one class off everywhere


def test_kappa_of_one_class_that_is_always_predicted_is_undefined():
    logits = dict.fromkeys(HEADS, torch.full((4, CLASSES - 1), -1.0))
    scores = scored("ordinal", logits, torch.zeros(4, dtype=torch.int64), {}, (4,))["audio"]
    assert math.isnan(scores.pop("quadratic_weighted_kappa"))
    assert scores == {"accuracy": 1, "linear_weighted_agreement": 1, "macro_f1": 1}


def test_samples_without_a_position_that_counts_change_nothing():
    logits, targets, _ = draw("positions", 1)
    targets[10:20] = IGNORED
    kept = torch.cat([torch.arange(10), torch.arange(20, SAMPLES)])
    fewer = {head: value[kept] for head, value in logits.items()}
    assert scored("positions", logits, targets, {}) == scored("positions", fewer, targets[kept], {}, (len(kept),))
    nothing = scored("positions", logits, torch.full_like(targets, IGNORED), {})["audio"]
    assert all(math.isnan(value) for value in nothing.values())


@pytest.mark.parametrize("positions", [(7,), (2, 3, 2)], ids=["tokens", "voxels"])
def test_positions_may_have_any_number_of_dimensions(positions):
    logits, targets, present = draw("positions", 3, positions)
    scores = scored("positions", logits, targets, present)
    expected = positions_by_others(logits["text"][present["text"]], targets[present["text"]])
    assert scores["text"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("masked", [False, True], ids=["complete", "masked"])
@pytest.mark.parametrize("task", TASKS)
def test_counting_reads_nothing_from_the_device(task, masked):
    """On torch's device without values, whatever waits for a value raises."""
    device, kind = torch.device("meta"), TASKS[task]
    shape, targets = {
        "multilabel": ((4, 3), torch.zeros(4, 3)),
        "regression": ((4, 3), torch.zeros(4, 3)),
        "positions": ((4, 3, 5), torch.zeros(4, 5, dtype=torch.int64)),
    }.get(task, ((4, 3), torch.zeros(4, dtype=torch.int64)))
    logits = torch.zeros(shape, device=device)
    prediction = Prediction(logits, dict.fromkeys(HEADS[1:], logits))
    present = {"audio": torch.zeros(4, dtype=torch.bool, device=device)} if masked else {}
    counters = Scorer(kind, HEADS, kind.metrics[:1], device), MeanLosses(kind, HEADS, device)
    for counter in counters:
        for _ in range(2):
            counter.update(prediction, targets.to(device), present)
        with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
            counter.compute()


def test_classes_in_the_last_place_are_refused_with_the_mend():
    logits = dict.fromkeys(HEADS, torch.zeros(2, 4, CLASSES))
    with pytest.raises(InputError, match=r"\[2, 4, 5\] do not fit targets of shape \[2, 4\].*movedim\(-1, 1\)"):
        scored("positions", logits, torch.zeros(2, 4, dtype=torch.int64), {}, (2,))
