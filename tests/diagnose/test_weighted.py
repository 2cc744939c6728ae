"""Scores of all draws at once, against equimodal.scoring on the drawn samples."""

from __future__ import annotations

import pytest
import torch

from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.measure import Measure
from equimodal.diagnose.precision import average_precisions
from equimodal.scoring.metrics import average_precision
from equimodal.tasks import TASKS, Task

SAMPLES = 60


def predictions(task, generator):
    """Return logits of three predictions, with ties, and targets in which something occurs rarely or never."""

    def logits(*shape):
        return (4 * torch.randn(3, SAMPLES, *shape, generator=generator)).round() / 4

    def classes(count, *shape):
        return torch.randint(count, (SAMPLES, *shape), generator=generator)

    if task == "multilabel":
        targets = (torch.rand(SAMPLES, 4, generator=generator) > 0.9).float()
        targets[:, 3] = 0
        return logits(4), targets
    if task == "regression":
        targets = torch.randn(SAMPLES, 2, generator=generator)
        targets[:, 1] = 1  # an output that is always the same
        return logits(2), targets
    if task == "positions":
        targets = classes(3, 6)
        targets[torch.rand(SAMPLES, 6, generator=generator) < 0.2] = -100
        return logits(4, 6), targets
    return (logits(4), classes(4)) if task == "ordinal" else (logits(5), classes(4))


READY = [(task, metric) for task in TASKS for metric in TASKS[task].metrics]


@pytest.mark.parametrize(("task", "metric"), READY)
def test_every_ready_metric(task, metric):
    logits, targets = predictions(task, torch.Generator().manual_seed(0))
    measure, bootstrap = Measure(task, metric), Bootstrap(SAMPLES, resamples=60)
    assert measure._form is not None, "slow"
    kept = [torch.cat([measure.kept(own[rows], targets[rows]) for rows in torch.arange(SAMPLES).split(17)]) for own in logits]
    anew = bootstrap.rescored(lambda drawn: measure.scores.of(logits[:, drawn], targets[drawn]))
    torch.testing.assert_close(measure.columns(kept, targets, bootstrap), anew, atol=1e-11, rtol=0, equal_nan=True)


def test_a_task_like_a_ready_one_is_as_quick_and_one_s_own_metric_is_its_own():
    def accuracy(logits, targets):
        return 0.25

    like = Task("mine", TASKS["single-label"].loss, like="single-label")
    own = Task("mine", TASKS["single-label"].loss, [accuracy], like="single-label")
    logits, targets = predictions("single-label", torch.Generator().manual_seed(0))
    bootstrap = Bootstrap(SAMPLES, resamples=5)
    for task, expected in ((like, Measure("single-label")), (own, None)):
        measure = Measure(task)
        columns = measure.columns([measure.kept(logits[0], targets)], targets, bootstrap)
        if expected is None:
            assert columns.unique().tolist() == [0.25]
        else:
            assert torch.equal(columns, expected.columns([expected.kept(logits[0], targets)], targets, bootstrap))


def test_many_predictions_are_scored_in_groups(monkeypatch):
    logits, targets = predictions("single-label", torch.Generator().manual_seed(0))
    bootstrap = Bootstrap(SAMPLES, resamples=20)
    for metric in ("macro_f1", last_two):
        measure = Measure("single-label", metric)
        kept = [measure.kept(own, targets) for own in logits]
        together = measure.columns(kept, targets, bootstrap)
        monkeypatch.setattr("equimodal.diagnose.weighted._CELLS", 1)
        monkeypatch.setattr("equimodal.diagnose.measure._TOGETHER", 1)
        assert torch.equal(measure.columns(kept, targets, bootstrap), together)
        assert len(together.unique(dim=1).T) > 1


def last_two(logits, targets):
    return float((logits[-2:].argmax(dim=1) == targets[-2:]).double().mean())


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_of_draws(ties):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(SAMPLES, generator=generator)
    logits = logits.round() if ties else logits
    positive = torch.rand(SAMPLES, generator=generator) < 0.1
    bootstrap = Bootstrap(SAMPLES, resamples=80)
    expected = bootstrap.rescored(lambda drawn: [average_precision(logits[drawn, None], positive[drawn, None].float())])[:, 0]
    found = average_precisions(logits, positive, bootstrap)
    torch.testing.assert_close(found, expected, equal_nan=True)
