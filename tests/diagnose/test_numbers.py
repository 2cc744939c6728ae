"""The numbers of encoders, heads and splits in the record of a diagnosis."""

from __future__ import annotations

import pytest
import torch

from equimodal import diagnose, fit
from equimodal.data import TensorSet
from equimodal.diagnose.calibration import cohen_kappa
from equimodal.diagnose.gradients import gradient_norms
from equimodal.diagnose.intervals import Bootstrap
from equimodal.testing import tiny_problem
from equimodal.train.batches import make_source


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    problem = tiny_problem()
    out = tmp_path_factory.mktemp("run") / "run"
    return problem, fit(problem.model, problem.train, problem.val, epochs=5, device="cpu", out=out), out


@pytest.fixture(scope="module")
def found(trained):
    problem, run, out = trained
    return diagnose(run.model, problem.val, train=problem.train, run=out, gradients=True, resamples=200)


def ordered(interval) -> bool:
    return interval.low is not None and interval.low < interval.high


def test_norms_ranks_and_gradients_of_encoders_have_intervals(found):
    for encoder in found.encoders.values():
        numbers = (encoder.feature_norm, encoder.effective_rank, encoder.gradient_norm, encoder.relative_gradient)
        assert all(map(ordered, numbers))
        assert encoder.relative_gradient.low / encoder.relative_gradient.value == pytest.approx(
            encoder.gradient_norm.low / encoder.gradient_norm.value
        )


def test_gradients_are_of_the_train_split_where_there_is_one(trained, found):
    problem, run, _ = trained
    parameters = {name: list(run.model.encoders[name].parameters()) for name in run.model.modalities}
    for train, diagnosis in ((problem.train, found), (problem.val, diagnose(run.model, problem.val, gradients=True, resamples=200))):
        source = make_source(train, "train", lambda *_: None, batch_size=7, device=torch.device("cpu"), seed=0, modalities=())
        norms = gradient_norms(run.model, source.ordered(), "single-label", parameters)
        for name, norm in norms.items():
            assert diagnosis.encoders[name].gradient_norm.value == pytest.approx(norm.norm, rel=1e-4)
            assert diagnosis.encoders[name].relative_gradient.value == pytest.approx(norm.relative, rel=1e-4)


def test_kappa_stands_beside_the_agreement(trained, found):
    problem, run, _ = trained
    assert list(found.kappa) == list(found.agreement)
    with torch.no_grad():
        said = run.model(problem.val.inputs)
    wanted = cohen_kappa({"multimodal": said.multimodal, **said.unimodal}, Bootstrap(len(problem.val), resamples=200))
    assert {pair: tuple(own) for pair, own in found.kappa.items()} == {pair: tuple(own) for pair, own in wanted.items()}
    targets = torch.nn.functional.one_hot(problem.val.targets, run.model.num_outputs).float()
    labels = diagnose(run.model, TensorSet(problem.val.inputs, targets), task="multilabel", resamples=0)
    assert labels.agreement
    assert labels.kappa == {}
    assert labels.skipped["kappa"] == "Cohen's kappa is not defined for multilabel targets"


def test_generalisation_gaps_have_intervals_of_both_splits(trained, found):
    problem, run, out = trained
    with torch.no_grad():
        right = {}
        for split, data in (("train", problem.train), ("val", problem.val)):
            said = run.model(data.inputs)
            heads = {"multimodal": said.multimodal, **said.unimodal}
            right[split] = {head: (own.argmax(dim=1) == data.targets).double() for head, own in heads.items()}
    for head, gap in found.generalisation.items():
        shares = [right[split][head] for split in ("train", "val")]
        assert gap.value == pytest.approx(float(shares[0].mean() - shares[1].mean()))
        if shares[0].var() + shares[1].var():
            width = 2 * 1.96 * sum(float(own.var(correction=0)) / len(own) for own in shares) ** 0.5
            assert gap.high - gap.low == pytest.approx(width, rel=0.3)
    recorded = diagnose(run.model, problem.val, run=out, resamples=200).generalisation
    assert set(recorded) == set(found.generalisation)
    assert all(gap.value is not None and gap.low is None for gap in recorded.values())


def test_frozen_and_collapsed_encoders_are_told(trained):
    problem, run, _ = trained
    model = run.model
    with torch.no_grad():
        kept = [parameter.clone() for parameter in model.encoders["image"].parameters()]
        for parameter in model.encoders["image"].parameters():
            parameter.zero_()
    try:
        found = diagnose(model, problem.val, resamples=200).encoders["image"]
    finally:
        with torch.no_grad():
            for parameter, before in zip(model.encoders["image"].parameters(), kept, strict=True):
                parameter.copy_(before)
    assert found.effective_rank == (0.0, None, None)
    assert found.gradient_norm is None
