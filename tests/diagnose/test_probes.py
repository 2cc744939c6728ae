"""Linear probes: against scikit-learn, without leaks, and the same whatever the limits on memory."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss

from equimodal.diagnose import linear, probes
from equimodal.diagnose.probes import fit_probe, fit_probes
from equimodal.errors import InputError


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def problem(samples: int = 600, size: int = 12, classes: int = 4, spread: float = 1.0):
    targets = torch.randint(classes, (samples,), generator=draws(1))
    centres = spread * torch.randn(classes, size, generator=draws(2))
    mix = torch.randn(size, size, generator=draws(3)) * torch.logspace(0, -2, size)
    features = (torch.randn(samples, size, generator=draws(4)) + centres[targets]) @ mix + 5.0
    return features, targets


def halves(features, targets):
    half = len(targets) // 2
    return (features[:half], targets[:half]), (features[half:], targets[half:])


def standardised(features, like):
    mean, deviation = like.double().mean(dim=0), like.double().std(dim=0, correction=0)
    return ((features.double() - mean) / deviation).numpy()


def accuracy(logits, targets) -> float:
    return float((logits.argmax(dim=1) == targets).float().mean())


@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_classes_are_those_of_scikit_learn_with_the_same_penalty(monkeypatch, penalty):
    monkeypatch.setattr(probes, "PENALTIES", (penalty,))
    (seen, known), (features, targets) = halves(*problem())
    logits = fit_probe({"audio": features}, targets, "single-label", num_outputs=4, train=({"audio": seen}, known))
    oracle = LogisticRegression(C=1 / (penalty * len(known)), tol=1e-8, max_iter=2000).fit(standardised(seen, seen), known.numpy())
    wanted = torch.from_numpy(oracle.predict_proba(standardised(features, seen)))
    torch.testing.assert_close(logits.double().softmax(dim=1), wanted, atol=1e-3, rtol=0)


def test_every_fold_is_answered_by_a_probe_of_the_others(monkeypatch):
    monkeypatch.setattr(probes, "PENALTIES", (0.05,))
    features, targets = problem(300)
    logits = fit_probe({"audio": features}, targets, "single-label", num_outputs=4, folds=3)
    fold = probes._dealt(targets, 3, 0)
    inputs = standardised(features, features)
    for number in range(3):
        own, others = (fold == number).numpy(), (fold != number).numpy()
        oracle = LogisticRegression(C=1 / (0.05 * others.sum()), tol=1e-8, max_iter=2000).fit(inputs[others], targets.numpy()[others])
        wanted = torch.from_numpy(oracle.predict_proba(inputs[own]))
        torch.testing.assert_close(logits[own].double().softmax(dim=1), wanted, atol=1e-3, rtol=0)


def test_folds_have_equal_shares_of_every_class():
    targets = torch.tensor([0] * 50 + [1] * 10)
    fold = probes._dealt(targets, 5, 0)
    assert torch.stack([fold[targets == one].bincount() for one in (0, 1)]).tolist() == [[10] * 5, [2] * 5]
    assert not torch.equal(fold, probes._dealt(targets, 5, 1))


def test_labels_are_those_of_scikit_learn(monkeypatch):
    monkeypatch.setattr(probes, "PENALTIES", (0.1,))
    features, _ = problem()
    labels = ((features - 5.0) @ torch.randn(12, 3, generator=draws(7)) + torch.randn(600, 3, generator=draws(8)) > 0).float()
    (seen, known), (features, targets) = halves(features, labels)
    logits = fit_probe({"audio": features}, targets, "multilabel", num_outputs=3, train=({"audio": seen}, known))
    for label in range(3):
        oracle = LogisticRegression(C=1 / (0.1 * len(known)), tol=1e-8, max_iter=2000)
        oracle.fit(standardised(seen, seen), known[:, label].numpy())
        wanted = torch.from_numpy(oracle.decision_function(standardised(features, seen))).float()
        torch.testing.assert_close(logits[:, label], wanted, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("outputs", [1, 2])
def test_numbers_are_those_of_ridge_regression(monkeypatch, outputs):
    monkeypatch.setattr(probes, "PENALTIES", (0.1,))
    features, _ = problem()
    numbers = 100 + 7 * (features @ torch.randn(12, outputs, generator=draws(7)) + torch.randn(600, outputs, generator=draws(8)))
    numbers = numbers.squeeze(1) if outputs == 1 else numbers
    (seen, known), (features, targets) = halves(features, numbers)
    values = fit_probe({"audio": features}, targets, "regression", num_outputs=outputs, train=({"audio": seen}, known))
    oracle = Ridge(alpha=0.1 * len(known)).fit(standardised(seen, seen), known.reshape(-1, outputs).numpy())
    wanted = torch.from_numpy(oracle.predict(standardised(features, seen))).reshape(-1, outputs).float()
    torch.testing.assert_close(values, wanted, rtol=1e-3, atol=1e-2)


def test_ordered_classes_have_a_logit_per_step():
    position = torch.randn(800, 3, generator=draws(0))
    targets = (position[:, 0] * 1.5 + 1.5).clamp(0, 3).long()
    logits = fit_probe({"audio": position}, targets, "ordinal", num_outputs=3)
    assert logits.shape == (800, 3)
    assert ((logits > 0).sum(dim=1) == targets).float().mean() > 0.9


def test_the_penalty_is_the_one_with_the_smallest_held_out_loss():
    features, targets = problem(400, 60, 4, spread=0.4)
    losses = {}
    for penalty in probes.PENALTIES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(probes, "PENALTIES", (penalty,))
            alone = fit_probe({"audio": features}, targets, "single-label", num_outputs=4)
        losses[penalty] = log_loss(targets.numpy(), alone.double().softmax(dim=1).numpy())
    chosen = fit_probe({"audio": features}, targets, "single-label", num_outputs=4)
    assert log_loss(targets.numpy(), chosen.double().softmax(dim=1).numpy()) == pytest.approx(min(losses.values()), abs=1e-3)
    assert max(losses.values()) > 1.5 * min(losses.values())


def test_noise_scores_at_chance_also_with_more_features_than_samples():
    targets = torch.arange(1000) % 4
    logits = fit_probe({"audio": torch.randn(1000, 1200, generator=draws(0))}, targets, "single-label", num_outputs=4)
    assert abs(accuracy(logits, targets) - 0.25) < 0.06
    assert logits.softmax(dim=1).amax(dim=1).mean() < 0.45, "a probe of noise is not sure"


def test_all_modalities_together_know_what_each_knows_a_part_of():
    bits = torch.randint(2, (800, 2), generator=draws(0))
    targets = bits[:, 0] * 2 + bits[:, 1]
    features = {name: 4.0 * bits[:, [place]] + torch.randn(800, 5, generator=draws(place + 1)) for place, name in enumerate("ab")}
    logits = fit_probes(features, targets, "single-label", num_outputs=4)
    assert list(logits) == ["multimodal", "a", "b"]
    scores = {name: accuracy(own, targets) for name, own in logits.items()}
    assert scores["multimodal"] > 0.95
    assert 0.4 < scores["a"] < 0.6
    assert 0.4 < scores["b"] < 0.6


def test_limits_on_memory_change_nothing_but_rounding(monkeypatch):
    monkeypatch.setattr(probes, "PENALTIES", (0.02,))
    features, targets = problem(500)
    given = {"audio": features[:, :5], "image": features[:, 5:]}
    wanted = fit_probe(given, targets, "single-label", num_outputs=4)
    monkeypatch.setattr(linear, "_COPIED", 0)
    monkeypatch.setattr(linear, "_AT_ONCE", 1000)
    monkeypatch.setattr(probes, "_WEIGHTS", 100)
    found = fit_probe(given, targets, "single-label", num_outputs=4)
    torch.testing.assert_close(found.softmax(dim=1), wanted.softmax(dim=1), atol=2e-3, rtol=0)
    monkeypatch.setattr(linear, "_PRECONDITIONED", 0)
    found = fit_probe(given, targets, "single-label", num_outputs=4)
    torch.testing.assert_close(found.softmax(dim=1), wanted.softmax(dim=1), atol=2e-3, rtol=0)


def test_a_penalty_chosen_on_a_part_of_the_samples_serves_them_all(monkeypatch):
    features, targets = problem(1500)
    monkeypatch.setattr(probes, "_TRIED_ON", 500)
    for train in (None, ({"audio": features}, targets)):
        logits = fit_probe({"audio": features}, targets, "single-label", num_outputs=4, train=train)
        assert accuracy(logits, targets) > 0.9


def test_answers_are_the_same_every_time_and_leave_random_state_alone():
    features, targets = problem(200)
    before = torch.random.get_rng_state()
    first = fit_probe({"audio": features}, targets, "single-label", num_outputs=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(first, fit_probe({"audio": features}, targets, "single-label", num_outputs=4))


def test_odd_features_are_taken_as_they_are():
    features, targets = problem(400)
    wanted = accuracy(fit_probe({"audio": features}, targets, "single-label", num_outputs=4), targets)
    odd = torch.cat([features * 1e6, torch.full((400, 1), 1234.5), torch.zeros(400, 1)], dim=1)
    assert accuracy(fit_probe({"audio": odd}, targets, "single-label", num_outputs=4), targets) == pytest.approx(wanted, abs=0.01)
    half = fit_probe({"audio": features.bfloat16()}, targets, "single-label", num_outputs=4)
    assert accuracy(half, targets) == pytest.approx(wanted, abs=0.03)


def test_one_class_and_a_class_that_never_occurs_are_no_obstacle():
    features, _ = problem(60)
    logits = fit_probe({"audio": features}, torch.zeros(60, dtype=torch.int64), "single-label", num_outputs=3)
    assert logits.isfinite().all()
    assert accuracy(logits, torch.zeros(60, dtype=torch.int64)) == 1.0


def refusal(features, targets, task="single-label", **options) -> str:
    with pytest.raises(InputError) as caught:
        fit_probe(features, targets, task, **{"num_outputs": 4, **options})
    return str(caught.value)


def test_what_cannot_be_probed_is_said_in_one_line():
    features, targets = problem(40)
    assert "no linear probe is defined for positions" in refusal({"a": features}, targets, "positions")
    features = features.clone()
    features[3, 2] = torch.nan
    assert "'a' are NaN or infinite in 1 of 40 samples" in refusal({"a": features}, targets)
    assert "3 samples in 5 folds" in refusal({"a": torch.ones(3, 2)}, torch.tensor([0, 1, 2]))
    assert "[40, 2, 2]" in refusal({"a": torch.ones(40, 2, 2)}, targets)
