"""Metrics of one's own: functions, torchmetrics, names, and what is refused."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torchmetrics import KendallRankCorrCoef, MeanSquaredError, MetricCollection, R2Score
from torchmetrics.classification import BinaryAUROC, MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex, MultilabelF1Score

from equimodal.errors import InputError
from equimodal.nn import Prediction
from equimodal.scoring import IGNORED, Scorer
from equimodal.scoring.metrics import as_metric
from equimodal.tasks import get_task

HEADS = ("multimodal", "image", "audio")


def scorer(task, metric):
    kind, name = get_task(task).scored_by(metric)
    return Scorer(kind, HEADS, (name,), torch.device("cpu")), name


def fed(task, metric, logits, targets, present=None, size=7):
    counter, name = scorer(task, metric)
    for rows in torch.arange(len(targets)).split(size):
        prediction = Prediction(logits["multimodal"][rows], {head: logits[head][rows] for head in HEADS[1:]})
        counter.update(prediction, targets[rows], {head: mask[rows] for head, mask in (present or {}).items()})
    return {head: values[name] for head, values in counter.compute().items()}


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {head: torch.randn(*shape, generator=generator) for head in HEADS}, generator


def top_two(logits, targets):
    return (logits.topk(2, dim=1).indices == targets[:, None]).any(dim=1).double().mean()


def test_a_function_sees_all_logits_and_targets_of_its_head():
    logits, generator = draw(31, 4)
    targets = torch.randint(0, 4, (31,), generator=generator)
    present = {"audio": torch.rand(31, generator=generator) < 0.5}
    scores = fed("single-label", top_two, logits, targets, present)
    rows = present["audio"]
    assert scores == {
        "multimodal": top_two(logits["multimodal"], targets).item(),
        "image": top_two(logits["image"], targets).item(),
        "audio": top_two(logits["audio"][rows], targets[rows]).item(),
    }


TORCHMETRICS = {
    "single-label": (MulticlassF1Score(4, average="macro"), (40, 4), lambda g: torch.randint(0, 4, (40,), generator=g), "macro_f1"),
    "multilabel": (MultilabelF1Score(4, average="macro"), (40, 4), lambda g: (torch.rand(40, 4, generator=g) < 0.4).float(), "macro_f1"),
    "regression": (R2Score(), (40, 1), lambda g: torch.randn(40, generator=g), "r2"),
    "positions": (
        MulticlassJaccardIndex(4, ignore_index=IGNORED),
        (40, 4, 3),
        lambda g: torch.randint(-1, 4, (40, 3), generator=g).apply_(lambda number: IGNORED if number < 0 else number),
        "mean_intersection_over_union",
    ),
}


@pytest.mark.parametrize("masked", [False, True], ids=["complete", "masked"])
@pytest.mark.parametrize("task", TORCHMETRICS)
def test_torchmetrics_equal_the_ready_metric(task, masked):
    metric, shape, make, ready = TORCHMETRICS[task]
    logits, generator = draw(*shape)
    targets = make(generator)
    present = {"audio": torch.rand(40, generator=generator) < 0.5} if masked else {}
    expected = fed(task, ready, logits, targets, present)
    assert fed(task, metric, logits, targets, present) == pytest.approx(expected, abs=1e-5)
    assert metric.update_count == 0, "the metric that was given is left as it was"


def test_a_metric_that_has_seen_something_begins_anew():
    metric = MulticlassAccuracy(2)
    metric.update(torch.tensor([0, 0]), torch.tensor([1, 1]))
    logits = dict.fromkeys(HEADS, torch.eye(2))
    assert fed("single-label", metric, logits, torch.tensor([0, 1])) == dict.fromkeys(HEADS, 1.0)


@pytest.mark.parametrize("metric", [top_two, MulticlassAccuracy(4)], ids=["function", "torchmetrics"])
def test_a_head_without_any_sample_has_no_score(metric):
    logits, _ = draw(9, 4)
    scores = fed("single-label", metric, logits, torch.arange(9) % 4, {"image": torch.zeros(9, dtype=torch.bool)})
    assert math.isnan(scores["image"])
    assert math.isfinite(scores["audio"])


def test_a_difference_of_regression_is_taken_number_by_number():
    logits, targets = dict.fromkeys(HEADS, torch.tensor([[1.0], [2.0], [4.0]])), torch.tensor([1.0, 2.0, 3.0])
    closeness = ("closeness", lambda predicted, actual: 1 / (1 + (predicted - actual).abs().mean()))
    assert fed("regression", closeness, logits, targets)["audio"] == pytest.approx(0.75)


NAMES = [
    (top_two, "top_two"),
    (MulticlassF1Score(3), "multiclass_f1_score"),
    (R2Score(), "r2_score"),
    (BinaryAUROC(), "binary_auroc"),
    (("mine", BinaryAUROC()), "mine"),
    (["mine", lambda logits, targets: 1.0], "mine"),
]


@pytest.mark.parametrize(("metric", "name"), NAMES, ids=[name for _, name in NAMES])
def test_names_in_records(metric, name):
    assert as_metric(metric).name == name


REFUSED = {
    "lambda": (lambda logits, targets: 1.0, r"has no name.*metric=\('name', function\)"),
    "partial": (functools.partial(top_two), "has no name"),
    "class": (MulticlassAccuracy, r"give an instance, MulticlassAccuracy\(\.\.\.\)"),
    "number": (3, "a name, a function of"),
    "smaller is better": (MeanSquaredError(), r"MeanSquaredError\(\) is smaller when better"),
    "empty name": ((" ", top_two), "the name is empty"),
}


@pytest.mark.parametrize(("metric", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_metric_is_refused_in_one_line(metric, message):
    with pytest.raises(InputError, match=message) as error:
        as_metric(metric)
    assert "\n" not in str(error.value)


def test_what_torchmetrics_does_not_take_is_said_in_one_line_with_the_shapes():
    said = r"'multiclass_accuracy' does not take logits \[8, 3\] and targets \[8\], torch.int64: If .preds."
    with pytest.raises(InputError, match=said) as error:
        fed("ordinal", MulticlassAccuracy(4), draw(8, 3)[0], torch.arange(8) % 4, size=8)
    assert "\n" not in str(error.value)
    by_position, ignored = draw(4, 3, 2)[0], torch.tensor([[0, -100], [1, 2], [2, -100], [0, 1]])
    with pytest.raises(InputError, match=r"'multiclass_accuracy' does not take logits \[4, 3, 2\].*ignore_index=-100"):
        fed("positions", MulticlassAccuracy(3), by_position, ignored)
    score = fed("positions", MulticlassAccuracy(3, ignore_index=-100, average="micro"), by_position, ignored)["audio"]
    counted = ignored >= 0
    assert score == pytest.approx(float((by_position["audio"].argmax(dim=1) == ignored)[counted].float().mean()))


@pytest.mark.filterwarnings("ignore:The use of `x.T`:UserWarning")
def test_what_torchmetrics_cannot_compute_is_said_in_one_line():
    said = r"the metric 'kendall_rank_corr_coef' cannot be computed: index .* \(IndexError\); give one"
    with pytest.raises(InputError, match=said) as error:
        fed("regression", KendallRankCorrCoef(), draw(8, 1)[0], torch.randn(8))
    assert "\n" not in str(error.value)


NO_NUMBER = {
    "a score per class": (MulticlassAccuracy(4, average=None), r"'multiclass_accuracy' gave a Tensor of shape \[4\]: a single number"),
    "a collection": (("both", MetricCollection([MulticlassAccuracy(4)])), "'both' gave a dict: a single number"),
    "nothing": (("none", lambda logits, targets: None), "'none' gave a NoneType: a single number"),
}


@pytest.mark.parametrize(("metric", "message"), NO_NUMBER.values(), ids=NO_NUMBER)
def test_more_or_less_than_a_number_is_refused_in_one_line(metric, message):
    logits, _ = draw(8, 4)
    with pytest.raises(InputError, match=message) as error:
        fed("single-label", metric, logits, torch.arange(8) % 4)
    assert "\n" not in str(error.value)
