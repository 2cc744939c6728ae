"""Scores against scikit-learn, on random predictions with ties, absent classes and absent modalities."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, r2_score

from equimodal.errors import InputError
from equimodal.nn import Prediction
from equimodal.scoring import Scorer, average_precision
from equimodal.tasks import get_task

from .examples import one_line

HEADS = ("multimodal", "image", "audio")
CPU = torch.device("cpu")


def draw(task, seed, samples=61, outputs=5):
    """Logits of three heads with many ties, targets, and presence masks."""
    generator = torch.Generator().manual_seed(seed)
    logits = {head: torch.randint(-4, 5, (samples, outputs), generator=generator) / 4.0 for head in HEADS}
    if task == "single-label":
        targets = torch.randint(0, outputs - 1, (samples,), generator=generator)  # the last class never occurs
    elif task == "multilabel":
        targets = (torch.rand(samples, outputs, generator=generator) < 0.3).float()
        targets[:, -1] = 0
    else:
        targets = torch.randn(samples, outputs, generator=generator) + 3
    present = {head: torch.rand(samples, generator=generator) < 0.6 for head in HEADS[1:]}
    return logits, targets, present


def scored(task, logits, targets, present, sizes, metrics=None):
    kind = get_task(task)
    scorer = Scorer(kind, HEADS, metrics or kind.metrics, CPU)
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        unimodal = {head: logits[head][rows] for head in HEADS[1:]}
        scorer.update(Prediction(logits["multimodal"][rows], unimodal), targets[rows], {name: mask[rows] for name, mask in present.items()})
        start += size
    return scorer.compute()


def by_scikit_learn(task, logits, targets):
    if task == "regression":
        return {"r2": r2_score(targets.double(), logits.double())}
    if task == "single-label":
        predicted = logits.argmax(dim=1)
        positives = torch.nn.functional.one_hot(targets, logits.shape[1])
    else:
        predicted = (logits > 0).int()
        positives = targets
    columns = [column for column in range(logits.shape[1]) if positives[:, column].any()]
    precisions = [average_precision_score(positives[:, column], logits[:, column]) for column in columns]
    averages = ("weighted", "samples") if task == "multilabel" else ()
    return {
        **{f"{average}_f1": f1_score(targets, predicted, average=average, zero_division=0) for average in averages},
        "accuracy": accuracy_score(targets, predicted),
        "macro_f1": f1_score(targets, predicted, average="macro", zero_division=0),
        "micro_f1": f1_score(targets, predicted, average="micro", zero_division=0),
        "mean_average_precision": sum(precisions) / len(precisions),
    }


@pytest.mark.parametrize("masked", [False, True], ids=["complete", "masked"])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("task", ["single-label", "multilabel", "regression"])
def test_equal_scikit_learn_over_batches_of_unequal_size(task, seed, masked):
    logits, targets, present = draw(task, seed)
    scores = scored(task, logits, targets, present if masked else {}, (1, 20, 7, 33))
    for head in HEADS:
        rows = present[head] if masked and head in present else slice(None)
        assert scores[head] == pytest.approx(by_scikit_learn(task, logits[head][rows], targets[rows]), abs=1e-9)


@pytest.mark.parametrize("task", ["single-label", "multilabel"])
def test_scores_over_batches_are_those_of_the_whole(task):
    logits, targets, present = draw(task, 0)
    assert scored(task, logits, targets, present, [1] * 61) == scored(task, logits, targets, present, [61])


def test_a_modality_that_whole_batches_lack_is_scored_where_it_is_there():
    logits, targets, _ = draw("single-label", 0)
    scorer = Scorer(get_task("single-label"), HEADS, ("accuracy", "mean_average_precision"), CPU)
    for rows, heads in ((slice(0, 40), ("image",)), (slice(40, 61), ("image", "audio"))):
        scorer.update(Prediction(logits["multimodal"][rows], {head: logits[head][rows] for head in heads}), targets[rows], {})
    scores = scorer.compute()
    assert scores["image"]["accuracy"] == accuracy_score(targets, logits["image"].argmax(1))
    expected = by_scikit_learn("single-label", logits["audio"][40:], targets[40:])
    assert scores["audio"] == pytest.approx({name: expected[name] for name in ("accuracy", "mean_average_precision")})


@pytest.mark.parametrize("task", ["single-label", "multilabel", "regression"])
def test_a_head_without_any_sample_has_no_score(task):
    logits, targets, _ = draw(task, 0)
    scores = scored(task, logits, targets, {"audio": torch.zeros(61, dtype=torch.bool)}, (61,))
    assert all(math.isnan(value) for value in scores["audio"].values())
    assert all(math.isfinite(value) for value in scores["image"].values())


def test_labels_of_a_sample_that_has_and_is_given_none_count_as_wrong():
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    logits = dict.fromkeys(HEADS, targets - 0.5)
    assert scored("multilabel", logits, targets, {}, (1, 1), ("samples_f1",))["image"] == {"samples_f1": 0.5}
    assert f1_score(targets, (logits["image"] > 0).int(), average="samples", zero_division=0) == 0.5


def test_weighted_f1_counts_frequent_labels_more():
    targets = torch.zeros(40, 2)
    targets[:30, 0] = 1
    targets[30:, 1] = 1
    logits = dict.fromkeys(HEADS, torch.tensor([1.0, -1.0]).expand(40, 2))
    scores = scored("multilabel", logits, targets, {}, (13, 27), ("weighted_f1", "macro_f1"))["audio"]
    f1 = 2 * 30 / (2 * 30 + 10)
    assert scores == pytest.approx({"weighted_f1": f1 * 0.75, "macro_f1": f1 / 2})


def test_micro_f1_of_single_labels_is_their_accuracy():
    scores = scored("single-label", *draw("single-label", 3), (61,))
    assert all(head["micro_f1"] == head["accuracy"] for head in scores.values())


@pytest.mark.parametrize(("error", "expected"), [(0.0, 1.0), (0.5, 0.0)])
@pytest.mark.parametrize("value", [0.0, 0.1, 1234.567])
def test_r2_of_constant_targets_is_that_of_scikit_learn(value, error, expected):
    targets = torch.full((50, 1), value)
    logits = dict.fromkeys(HEADS, targets + error)
    assert scored("regression", logits, targets, {}, (17, 33))["multimodal"]["r2"] == expected
    assert r2_score(torch.full((50, 1), 1.0), torch.full((50, 1), 1.0 + error)) == expected


def test_r2_takes_targets_of_one_output_as_a_vector():
    generator = torch.Generator().manual_seed(0)
    targets, logits = torch.randn(40, generator=generator), torch.randn(40, 1, generator=generator)
    scores = scored("regression", dict.fromkeys(HEADS, logits), targets, {}, (40,))
    assert scores["audio"]["r2"] == pytest.approx(r2_score(targets.double(), logits[:, 0].double()))


def test_average_precision_of_targets_without_a_positive_is_undefined():
    assert math.isnan(average_precision(torch.zeros(3, 2), torch.zeros(3, 2)))


def test_an_unknown_metric_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'accuracy'") as error:
        Scorer(get_task("single-label"), HEADS, ("acuracy",), CPU)
    one_line(error)


def test_nothing_scored_is_an_error():
    with pytest.raises(InputError, match="no sample was scored"):
        Scorer(get_task("single-label"), HEADS, ("accuracy",), CPU).compute()
