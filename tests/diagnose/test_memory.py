"""What a diagnosis keeps in memory: within the stated limit, and the same numbers from disk."""

from __future__ import annotations

import dataclasses
import gc

import pytest
import torch

from diagnose import subjects
from equimodal import diagnose
from equimodal.data import TensorSet
from equimodal.diagnose.asking import Asking
from equimodal.nn import MLP, JointFusion

NAMES = ("audio", "image")


def problem(task, samples, outputs, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = {name: torch.randn(samples, 6, generator=generator) for name in NAMES}
    targets = {
        "single-label": lambda: torch.arange(samples) % outputs,
        "multilabel": lambda: (torch.rand(samples, outputs, generator=generator) < 0.3).float(),
        "regression": lambda: torch.randn(samples, outputs, generator=generator),
        "ordinal": lambda: torch.arange(samples) % (outputs + 1),
    }[task]()
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = JointFusion({name: MLP(6, out_features=8) for name in NAMES}, outputs).eval()
    return model, TensorSet(inputs, targets)


def last_class(logits, targets):
    return float((logits.argmax(dim=1) == targets).float()[-1])


@pytest.mark.parametrize("limit", [0, 20_000])
@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("single-label", None),
        ("single-label", "macro_f1"),
        ("single-label", "mean_average_precision"),
        ("single-label", last_class),
        ("multilabel", None),
        ("regression", None),
        ("ordinal", "quadratic_weighted_kappa"),
    ],
)
def test_a_small_limit_changes_nothing(task, metric, limit, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model, data = problem(task, 300, 5)
    _, train = problem(task, 200, 5, seed=1)
    for subject in (model, subjects.LogitsAlone(model)):
        asked = {"train": train, "task": task, "metric": metric, "resamples": 10, "batch_size": 64}
        found, expected = diagnose(subject, data, cache_limit=limit, **asked), diagnose(subject, data, **asked)
        assert dataclasses.replace(found, cost={}) == dataclasses.replace(expected, cost={})
        assert found.ablations
    assert list(tmp_path.glob("equimodal*")) == []


def bytes_in_memory():
    """Return how many bytes all tensors take that are not mapped from a file."""
    gc.collect()
    storages = [own.untyped_storage() for own in gc.get_objects() if type(own) in (torch.Tensor, torch.nn.Parameter)]
    return sum({own.data_ptr(): own.nbytes() for own in storages if own.filename is None}.values())


@pytest.mark.parametrize(
    ("task", "metric"), [("single-label", None), ("single-label", "mean_average_precision"), ("multilabel", None), ("regression", None)]
)
@pytest.mark.parametrize("make", [lambda model: model, subjects.LogitsAlone], ids=["features", "inputs"])
def test_what_grows_with_samples_times_something_is_within_the_limit(make, task, metric, monkeypatch):
    samples, outputs = 2_000, 50
    model, data = problem(task, samples, outputs)
    held = {}

    def noted(self, quantity, otherwise, quantity_of):
        if quantity in ("shapley", "robustness"):
            held[quantity] = bytes_in_memory()
        return otherwise  # what is kept between quantities is what counts

    monkeypatch.setattr(Asking, "attempt", noted)
    asked = {"train": problem(task, samples, outputs, seed=1)[1], "task": task, "metric": metric, "resamples": 20, "permutations": 3}
    before = bytes_in_memory()
    for limit in (2**30, 0):
        diagnose(make(model), data, cache_limit=limit, **asked)
        most = max(held.values()) - before
        per_sample = most / samples
        if limit:
            assert per_sample > 8 * outputs  # the logits alone
        else:
            # Numbers of the samples of two splits, and lenders of three permutations.
            assert per_sample < 8 * 2 + 8 * 3 + 4
    assert held.keys() == {"shapley", "robustness"}
