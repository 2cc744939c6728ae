"""Tasks: losses per sample, metrics, and the check of targets."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from equimodal.errors import InputError
from equimodal.tasks import TASKS, get_task, multilabel_loss, regression_loss, single_label_loss


def test_losses_are_those_of_every_sample():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator)
    classes, labels, numbers = torch.tensor([0, 3, 1, 2, 2, 0]), (logits > 0.2).long(), torch.randn(6, 4, generator=generator)
    for index in range(6):
        row = logits[index]
        assert single_label_loss(logits, classes)[index] == pytest.approx(functional.cross_entropy(row, classes[index]).item())
        expected = functional.binary_cross_entropy_with_logits(row, labels[index].float()).item()
        assert multilabel_loss(logits, labels)[index] == pytest.approx(expected)
        assert regression_loss(logits, numbers)[index] == pytest.approx((row - numbers[index]).square().mean().item())


def test_regression_takes_a_vector_of_targets_for_one_output():
    logits, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, 4.0])
    assert regression_loss(logits, targets).tolist() == [1.0, 4.0]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_has_a_default_metric(task):
    assert get_task(task.name) is task
    assert task.metric(None) == task.metrics[0]
    assert [task.metric(name) for name in task.metrics] == list(task.metrics)
    with pytest.raises(InputError, match="unknown metric 'recall'"):
        task.metric("recall")


def test_an_unknown_task_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'multilabel'"):
        get_task("multi-label")


GOOD = [
    ("single-label", torch.tensor([0, 2, 1]), 3),
    ("single-label", torch.tensor([0, 200]), None),
    ("single-label", torch.zeros(0, dtype=torch.int64), 3),
    ("multilabel", torch.tensor([[0, 1, 1]]), 3),
    ("multilabel", torch.tensor([[0.0, 1.0]]), None),
    ("regression", torch.tensor([[0.5, -1.0]]), 2),
    ("regression", torch.tensor([[0.5], [1.0]]), 1),
    ("regression", torch.tensor([0.5, 1.0]), 1),
    ("regression", torch.tensor([0.5], dtype=torch.float64), None),
]


@pytest.mark.parametrize(("task", "targets", "outputs"), GOOD)
def test_good_targets_pass(task, targets, outputs):
    get_task(task).check(targets, "the train split", outputs)


BAD = [
    ("single-label", torch.tensor([0.0, 1.0]), 3, "float32"),
    ("single-label", torch.tensor([0, 1], dtype=torch.int32), 3, "int32"),
    ("single-label", torch.tensor([[0], [1]]), 3, r"\[2, 1\]"),
    ("single-label", torch.tensor([0, 3]), 3, "class number 3: numbers from 0 to 2"),
    ("single-label", torch.tensor([0, -1]), None, "class number -1: numbers at least 0"),
    ("multilabel", torch.tensor([0, 1]), 2, r"\[2\]"),
    ("multilabel", torch.tensor([[0, 1]]), 3, r"needs \[samples, 3\]"),
    ("multilabel", torch.tensor([[0.0, 0.5]]), 2, "other than 0 and 1"),
    ("multilabel", torch.tensor([[0.0, torch.nan]]), 2, "other than 0 and 1"),
    ("regression", torch.tensor([[0, 1]]), 2, "int64"),
    ("regression", torch.tensor([[0.0, 1.0]]), 3, r"needs \[samples, 3\]"),
    ("regression", torch.tensor([0.0, 1.0]), 2, r"needs \[samples, 2\]"),
    ("regression", torch.tensor([[torch.inf]]), 1, "NaN or infinite"),
]


@pytest.mark.parametrize(("task", "targets", "outputs", "message"), BAD)
def test_bad_targets_are_refused_in_one_line(task, targets, outputs, message):
    with pytest.raises(InputError, match=message) as error:
        get_task(task).check(targets, "the train split", outputs)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("the train split has")
