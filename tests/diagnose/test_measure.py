"""Scores of every draw, against equimodal.scoring on the drawn samples."""

from __future__ import annotations

import pytest
import torch

from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.measure import Measure
from equimodal.errors import InputError
from equimodal.tasks import TASKS


def scored_anew(task, metric, logits, targets, bootstrap):
    measure = Measure(task, metric)
    everything = torch.arange(len(targets))
    rows = [measure.scores.of(logits, targets)]
    for counts in bootstrap.counts():
        for count in counts:
            drawn = everything.repeat_interleave(count.long())
            rows.append(measure.scores.of(logits[:, drawn], targets[drawn]))
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("metric", TASKS["single-label"].metrics)
def test_single_label_metrics(metric):
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(3, 40, 5, generator=generator), torch.randint(0, 4, (40,), generator=generator)
    bootstrap, measure = Bootstrap(40, resamples=25), Measure("single-label", metric)
    columns = measure.columns([measure.kept(each, targets) for each in logits], targets, bootstrap)
    torch.testing.assert_close(columns, scored_anew("single-label", metric, logits, targets, bootstrap), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("task", "targets"),
    [
        ("multilabel", lambda generator: (torch.rand(30, 3, generator=generator) > 0.6).float()),
        ("regression", lambda generator: torch.randn(30, 3, generator=generator)),
        ("ordinal", lambda generator: torch.randint(0, 4, (30,), generator=generator)),
    ],
)
def test_the_first_metric_of_other_tasks(task, targets):
    generator = torch.Generator().manual_seed(0)
    logits, actual = torch.randn(2, 30, 3, generator=generator), targets(generator)
    bootstrap, measure = Bootstrap(30, resamples=10), Measure(task)
    columns = measure.columns([measure.kept(each, actual) for each in logits], actual, bootstrap)
    torch.testing.assert_close(columns, scored_anew(task, None, logits, actual, bootstrap))
    right = measure.correct(logits[0], actual)
    assert right is None if task != "ordinal" else right.tolist() == ((logits[0] > 0).sum(dim=1) == actual).tolist()
    assert measure.chance(actual) is None


def test_a_metric_of_ones_own():
    def share_above(logits, targets):
        return (logits[:, 0] > targets).float().mean()

    bootstrap, measure = Bootstrap(6, resamples=5), Measure("single-label", share_above)
    targets = torch.tensor([0, 1, 0, 1, 0, 1])
    logits = torch.tensor([[0.5, 0.0]] * 6)
    columns = measure.columns([measure.kept(logits, targets)], targets, bootstrap)
    assert columns[0].item() == 0.5
    assert measure.metric == "share_above"
    assert measure.chance(targets) is None


def test_a_metric_that_a_draw_does_not_define_is_undefined_there_alone():
    def needs_all(logits, targets):
        if len(targets.unique()) < 3:
            raise ValueError("only some classes\nare there")
        return 0.5

    bootstrap, measure = Bootstrap(5, resamples=50), Measure("single-label", needs_all)
    logits, targets = torch.zeros(5, 3), torch.tensor([0, 0, 1, 1, 2])
    columns = measure.columns([logits], targets, bootstrap)
    assert 0 < int(columns.isnan().sum()) < 50
    assert columns[0].item() == 0.5
    with pytest.raises(InputError, match=r"^the metric 'needs_all' cannot be computed: ValueError: only some classes") as refusal:
        measure.columns([logits], targets.clamp(max=1), bootstrap)
    assert "\n" not in str(refusal.value)


def test_chance_is_the_commonest_class():
    assert Measure("single-label").chance(torch.tensor([0, 1, 1, 2])) == 0.5
