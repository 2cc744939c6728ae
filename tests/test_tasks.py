"""Tasks: losses per sample, metrics, and the check of targets."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from equimodal.errors import InputError
from equimodal.tasks import (
    IGNORED,
    TASKS,
    Task,
    get_task,
    multilabel_loss,
    ordinal_loss,
    positions_loss,
    regression_loss,
    single_label_loss,
)


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


def test_the_ordinal_loss_asks_at_every_threshold():
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(6, 3, generator=generator), torch.tensor([0, 3, 1, 2, 2, 0])
    for row, target, loss in zip(logits, targets.tolist(), ordinal_loss(logits, targets), strict=True):
        above = [row[k].sigmoid() if target > k else 1 - row[k].sigmoid() for k in range(3)]
        assert loss == pytest.approx(-torch.stack(above).log().mean().item(), rel=1e-5)


@pytest.mark.parametrize("positions", [(5,), (4, 3)], ids=["tokens", "pixels"])
def test_the_loss_of_positions_is_their_mean_in_each_sample(positions):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, *positions, generator=generator, requires_grad=True)
    targets = torch.randint(0, 4, (6, *positions), generator=generator)
    targets[torch.rand(targets.shape, generator=generator) < 0.4] = IGNORED
    targets[2] = IGNORED
    losses = positions_loss(logits, targets)
    for index in range(6):
        rows, actual = logits[index].flatten(1).T, targets[index].flatten()
        each = [functional.cross_entropy(row, number).item() for row, number in zip(rows, actual, strict=True) if number != IGNORED]
        assert losses[index].item() == pytest.approx(sum(each) / len(each) if each else 0.0, rel=1e-5)
    losses.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert not logits.grad[2].any()


def test_logits_that_do_not_fit_the_positions_are_refused_in_one_line():
    for logits in (torch.zeros(2, 5, 4), torch.zeros(2, 4), torch.zeros(2, 4, 6)):
        with pytest.raises(InputError, match=r"do not fit targets of shape \[2, 5\]: positions needs") as error:
            positions_loss(logits, torch.zeros(2, 5, dtype=torch.int64))
        assert "\n" not in str(error.value)


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
    ("ordinal", torch.tensor([0, 3, 1]), 3),  # three thresholds, four classes
    ("ordinal", torch.tensor([7]), None),
    ("positions", torch.tensor([[0, 2, IGNORED]]), 3),
    ("positions", torch.full((1, 2, 2), IGNORED), 3),
    ("positions", torch.zeros(0, 4, dtype=torch.int64), 3),
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
    ("ordinal", torch.tensor([0.5]), 3, "float32: ordinal needs class numbers"),
    ("ordinal", torch.tensor([4]), 3, "class number 4: numbers from 0 to 3 are needed with a logit for each step"),
    ("ordinal", torch.tensor([-1]), 3, "class number -1"),
    ("positions", torch.tensor([0, 1]), 3, r"\[2\], torch.int64: positions needs class numbers \[samples, \*positions\]"),
    ("positions", torch.tensor([[0.0]]), 3, "float32"),
    ("positions", torch.tensor([[0, 3]]), 3, "class number 3: numbers from 0 to 2 are needed, or -100"),
    ("positions", torch.tensor([[-1, 0]]), 3, "class number -1: numbers from 0 to 2 are needed, or -100"),
]


@pytest.mark.parametrize(("task", "targets", "outputs", "message"), BAD)
def test_bad_targets_are_refused_in_one_line(task, targets, outputs, message):
    with pytest.raises(InputError, match=message) as error:
        get_task(task).check(targets, "the train split", outputs)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("the train split has")


# --- tasks of one's own


def hinge(logits, targets):
    return functional.multi_margin_loss(logits, targets, reduction="none")


def within_one(logits, targets):
    return ((logits.argmax(dim=1) - targets).abs() <= 1).float().mean()


def test_another_loss_for_the_targets_of_a_ready_task():
    task = Task("hinge", hinge, like="single-label")
    logits, targets = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])
    torch.testing.assert_close(task.loss(logits, targets), hinge(logits, targets))
    assert task.metrics == TASKS["single-label"].metrics
    with pytest.raises(InputError, match="the val split has the class number 3"):
        task.check(torch.tensor([3]), "the val split", 3)


def test_metrics_are_chosen_in_order():
    task = Task("hinge", hinge, ["macro_f1", within_one, ("same", within_one)], like=TASKS["single-label"])
    assert task.metrics == ("macro_f1", "within_one", "same")
    assert task.metric() == "macro_f1"
    assert Task("again", hinge, like=task).metrics[:3] == task.metrics


def test_a_metric_of_ones_own_joins_a_copy_of_the_task():
    ready = TASKS["single-label"]
    task, name = ready.scored_by(within_one)
    assert (name, task.metrics) == ("within_one", (*ready.metrics, "within_one"))
    assert "within_one" not in ready.metrics
    assert task.metric() == "accuracy"
    assert task.loss is ready.loss


def test_targets_of_another_kind_have_a_check_of_their_own():
    task = Task("angles", lambda logits, targets: targets, [within_one], check=lambda targets, outputs: f"no angle for {outputs} outputs")
    with pytest.raises(InputError, match=r"^the test split has no angle for 2 outputs$"):
        task.check(torch.zeros(3), "the test split", 2)
    Task("anything", hinge, [within_one]).check(torch.zeros(3, 7), "the test split", 2)


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (lambda logits, targets: functional.cross_entropy(logits, targets), r"shape \[\] for 4 samples"),
        (lambda logits, targets: functional.one_hot(targets).float(), r"shape \[4, 2\] for 4 samples"),
        (lambda logits, targets: 1.0, "type float for 4 samples"),
    ],
    ids=["mean", "per class", "number"],
)
def test_a_loss_that_is_not_one_per_sample_is_refused(loss, found):
    task = Task("mine", loss, like="single-label")
    with pytest.raises(InputError, match=rf"the loss of the task 'mine' is of {found}: return one number per sample") as error:
        task.loss(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]))
    assert "\n" not in str(error.value)


BAD_TASKS = {
    "no name": (("", hinge), {"like": "single-label"}, "the name of a task is ''"),
    "no loss": (("mine", "hinge"), {"like": "single-label"}, "loss = 'hinge' of the task 'mine'"),
    "no metric": (("mine", hinge), {}, "the task 'mine' has no metric"),
    "metrics without a list": (("mine", hinge, "accuracy"), {"like": "single-label"}, "metrics = 'accuracy' of the task 'mine': a list"),
    "a metric that nothing counts": (("mine", hinge, ["accuracy"]), {}, "unknown metric 'accuracy' for mine targets"),
    "a wrong metric": (("mine", hinge, ["acuracy"]), {"like": "single-label"}, "did you mean 'accuracy'"),
    "a wrong like": (("mine", hinge), {"like": "single"}, "unknown task 'single'"),
}


@pytest.mark.parametrize(("arguments", "options", "message"), BAD_TASKS.values(), ids=BAD_TASKS)
def test_what_makes_no_task_is_refused_in_one_line(arguments, options, message):
    with pytest.raises(InputError, match=message) as error:
        Task(*arguments, **options)
    assert "\n" not in str(error.value)


def test_what_is_no_task_is_refused():
    task = Task("hinge", hinge, like="single-label")
    assert get_task(task) is task
    with pytest.raises(InputError, match=r"task = 3: a name, or an equimodal.tasks.Task"):
        get_task(3)
