"""Every kind of target in the loop, under the methods that change what a task goes through; tasks and metrics of one's own."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy

from equimodal.data import TensorSet
from equimodal.data.base import Splits
from equimodal.errors import InputError
from equimodal.methods.gblend import GBlend
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.mslr import MSLRDynamic
from equimodal.methods.ogm import OGM, OGMGE
from equimodal.methods.unimodal import Unimodal
from equimodal.nn import Prediction
from equimodal.tasks import TASKS, Task, ordinal_loss

from .examples import Killed, assert_same_run, network, one_line, run, same, splits
from .tokens import Tagger, tokens

THREE = ("image", "audio", "text")
METHODS = {
    "joint": lambda: "joint",
    "vanilla": lambda: "vanilla",
    "miles": lambda: MILESMethod(tau=0.0),
    "ogm": lambda: OGM(alpha=0.8, evidence="head"),
    "miles+ogm": lambda: [MILESMethod(tau=0.0), OGM(alpha=0.8, evidence="head")],
}


def token_splits(**options):
    return Splits(tokens(60, 1, **options), tokens(40, 2, **options), tokens(30, 3, **options))


def fast(groups):
    return torch.optim.Adam(groups, lr=0.05)


def trained(task, method, masks=False, **options):
    if task == "positions":
        model, data = Tagger(("words", "sound", "touch")), token_splits(modalities=("words", "sound", "touch"), masks=masks)
    else:
        model, data = network(THREE), splits(task, modalities=THREE, masks=masks)
    return run(model, data, task=task, method=METHODS[method](), epochs=8, optimizer=fast, **options)


@pytest.mark.parametrize("masks", [False, True], ids=["complete", "masked"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_three_modalities_learn_any_task(task, method, masks):
    done = trained(task, method, masks)
    losses = [record["losses"]["train"] for record in done.history]
    assert all(losses[-1][head] < losses[0][head] for head in losses[0])
    assert set(done.result["metrics"]["test"]["multimodal"]) == set(TASKS[task].metrics)
    if "ogm" in method:
        coefficients = done.history[-1]["method"]
        coefficients = coefficients.get("ogm", coefficients)["coefficients"]
        assert 0 < min(coefficients.values()) < 1
    if "miles" in method:
        assert any(value < 1 for record in done.history for value in record["multipliers"].values())


@pytest.mark.parametrize("kind", ["slice", "zeroed-feature", "zeroed-input", "head"])
def test_every_evidence_that_suits_ordered_classes(kind):
    data = splits("ordinal")
    done = run(data=data, task="ordinal", method=OGM(alpha=0.8, evidence=kind))
    assert 0 < min(done.history[-1]["method"]["coefficients"].values()) < 1


@pytest.mark.parametrize(
    ("task", "kind"),
    [("ordinal", "prototype"), *[("positions", kind) for kind in ("slice", "zeroed-feature", "shared-head", "prototype")]],
)
def test_evidence_that_does_not_suit_is_refused_in_one_line(task, kind):
    model, data = (Tagger(), token_splits()) if task == "positions" else (network(), splits("ordinal"))
    with pytest.raises(InputError, match=f"evidence = '{kind}'") as error:
        run(model, data, task=task, method=OGM(evidence=kind))
    one_line(error)


def test_zeroed_inputs_serve_positions():
    done = run(Tagger(), token_splits(), task="positions", method=OGM(alpha=0.8, evidence="zeroed-input"))
    assert 0 < min(done.history[-1]["method"]["coefficients"].values()) < 1


def test_gradient_blending_of_ordered_classes():
    done = run(data=splits("ordinal"), task="ordinal", method=GBlend(fraction=0.3))
    weights = done.history[0]["method"]["weights"]
    assert sum(weights.values()) == pytest.approx(1)
    assert len(set(weights.values())) > 1


def test_ordered_classes_are_one_more_than_the_outputs():
    data = splits("ordinal")
    with pytest.raises(InputError, match=r"the train split has the class number 3: numbers from 0 to 2 are needed with a logit for each"):
        run(network(outputs=2), data, task="ordinal")
    with pytest.raises(InputError, match=r"class number 3: numbers from 0 to 2"):
        run(network(outputs=3), data, task="single-label")


class Misplaced(Tagger):
    def forward(self, inputs, present=None, transform=None):
        found = super().forward(inputs, present, transform)
        return Prediction(found.multimodal.movedim(1, 2), {name: logits.movedim(1, 2) for name, logits in found.unimodal.items()})


def test_classes_in_the_last_place_are_refused_in_one_line():
    with pytest.raises(InputError, match=r"do not fit targets of shape \[16, 5\]: positions needs.*movedim") as error:
        run(Misplaced(), token_splits(), task="positions")
    one_line(error)


# --- tasks and metrics of one's own


def soft_loss(logits, targets):
    return functional.cross_entropy(logits, targets, reduction="none", label_smoothing=0.1)


def mean_margin(logits, targets):
    rows = torch.arange(len(targets))
    return (logits.softmax(dim=1)[rows, targets]).double().mean()


def test_a_task_of_ones_own_trains_its_loss():
    data = splits()
    task = Task("smoothed", soft_loss, [mean_margin, "accuracy"], like="single-label")
    done = run(data=data, task=task, method="miles")
    assert done.result["metric"] == "mean_margin"
    assert list(done.result["metrics"]["test"]["audio"]) == ["mean_margin", "accuracy"]
    ready = run(data=data, method="miles")
    assert not same(done.model.state_dict(), ready.model.state_dict())
    alike = run(data=data, task=Task("plain", TASKS["single-label"].loss, like="single-label"), method="miles")
    assert same(alike.model.state_dict(), ready.model.state_dict())


def test_targets_of_another_kind():
    """Directions as angles, which no ready task has."""

    def loss(logits, targets):
        return 1 - functional.cosine_similarity(logits, torch.stack([targets.cos(), targets.sin()], dim=1), dim=1)

    def closeness(logits, targets):
        return 1 - loss(logits, targets).mean() / 2

    def check(targets, outputs):
        return None if targets.is_floating_point() else f"targets of type {targets.dtype}: angles are needed"

    task = Task("directions", loss, [closeness], check=check)
    drawn = splits("regression")
    parts = [TensorSet(part.inputs, torch.atan2(part.targets[:, 0], part.targets[:, 1])) for part in drawn.parts().values()]
    data = Splits(*parts)
    done = run(network(outputs=2), data, task=task, method=[MILESMethod(tau=0.0), OGM(alpha=0.8)], epochs=8, optimizer=fast)
    assert done.history[-1]["losses"]["train"]["multimodal"] < done.history[0]["losses"]["train"]["multimodal"]
    assert 0.5 < done.result["scores"]["test"]["multimodal"] <= 1
    with pytest.raises(InputError, match=r"the train split has targets of type torch.int64: angles are needed"):
        run(data=splits(), task=task)


def test_a_loss_that_is_a_mean_is_refused_before_anything_is_saved(tmp_path):
    task = Task("mean", lambda logits, targets: functional.cross_entropy(logits, targets), like="single-label")
    with pytest.raises(InputError, match="return one number per sample") as error:
        run(data=splits(), task=task, out=tmp_path / "run")
    one_line(error)


OWN = {
    "function": (mean_margin, "mean_margin"),
    "torchmetrics": (MulticlassAccuracy(3, average="macro"), "multiclass_accuracy"),
    "pair": (("balanced", MulticlassAccuracy(3, average="macro")), "balanced"),
}


@pytest.mark.parametrize(("metric", "name"), OWN.values(), ids=OWN)
def test_a_metric_of_ones_own_decides_and_is_recorded(metric, name, tmp_path):
    done = run(metric=metric, method="miles", out=tmp_path / "run")
    assert done.result["metric"] == name
    scores = [record["scores"]["val"]["multimodal"] for record in done.history]
    assert done.result["best_epoch"] == 1 + scores.index(max(scores))
    assert done.result["scores"]["val"] == done.history[done.result["best_epoch"] - 1]["scores"]["val"]
    assert {"accuracy", name} <= set(done.result["metrics"]["test"]["image"])
    assert json.loads((tmp_path / "run" / "config.yaml").read_text())["metric"] == name


def test_torchmetrics_find_the_scores_that_are_counted():
    """The accuracy of torchmetrics, micro-averaged, is ours: the same rates and weights in every epoch."""
    ours = run(method=MILESMethod(tau=0.0))
    theirs = run(method=MILESMethod(tau=0.0), metric=("accuracy", MulticlassAccuracy(3, average="micro")))
    assert same(ours.model.state_dict(), theirs.model.state_dict())
    for one, other in zip(ours.history, theirs.history, strict=True):
        assert one["multipliers"] == other["multipliers"]
        for split in ("train", "val"):
            assert one["scores"][split] == pytest.approx(other["scores"][split])


@pytest.mark.parametrize(("metric", "name"), OWN.values(), ids=OWN)
def test_a_killed_run_goes_on(metric, name, tmp_path):
    def killed(record):
        raise Killed

    chosen = {"metric": metric, "method": "miles", "task": Task("smoothed", soft_loss, like="single-label"), "data": splits()}
    run(out=tmp_path / "whole", **chosen)
    with pytest.raises(Killed):
        run(out=tmp_path / "cut", on_epoch=killed, **chosen)
    run(out=tmp_path / "cut", **chosen)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    with pytest.raises(InputError, match="metric"):
        run(out=tmp_path / "cut", **{**chosen, "metric": "macro_f1"})


def test_branches_train_the_task_of_the_run():
    task = Task("thresholds", lambda logits, targets: 2 * ordinal_loss(logits, targets), ["quadratic_weighted_kappa"], like="ordinal")
    double, single = (run(data=splits("ordinal"), task=kind, method=GBlend(fraction=0.3), epochs=2) for kind in (task, "ordinal"))
    gains = [done.method.estimates[0]["gains"]["multimodal"] for done in (double, single)]
    assert gains[0] != gains[1]
    again = run(data=splits("ordinal"), task=task, method=GBlend(fraction=0.3), epochs=2, metric=("kappa", kappa))
    assert again.method.estimates == double.method.estimates
    assert same(again.model.state_dict(), double.model.state_dict())


def kappa(logits, targets):
    return ((logits > 0).sum(dim=1) == targets).double().mean()


def test_scores_below_zero_leave_utilization_undefined_and_rates_alone():
    done = run(metric=("negative_error", lambda logits, targets: -1.0), method=MILESMethod(tau=0.0))
    for record in done.history:
        assert set(record["utilization"].values()) == {None}
        assert set(record["multipliers"].values()) == {1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "acuracy"}, "unknown metric 'acuracy' for single-label targets: did you mean 'accuracy'"),
        ({"metric": lambda logits, targets: 1.0}, "has no name for the records"),
        ({"metric": MulticlassAccuracy}, "give an instance"),
        ({"task": "ordinall"}, "unknown task 'ordinall': did you mean 'ordinal'"),
        ({"task": nn.CrossEntropyLoss()}, "a name, or an equimodal.tasks.Task"),
    ],
    ids=["metric", "lambda", "class", "task", "loss"],
)
def test_bad_arguments_are_refused_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as error:
        run(data=splits(), **options)
    one_line(error)


@pytest.mark.parametrize(
    "method",
    [MSES(patience=0), MSLRDynamic({"words": 0.1, "sound": 0.01}, window=1), OGMGE(alpha=0.8, evidence="head")],
    ids=["mses", "mslr-d", "ogm-ge"],
)
def test_other_methods_train_positions(method):
    done = run(Tagger(), token_splits(), task="positions", method=method, optimizer=fast)
    losses = [record["losses"]["train"]["multimodal"] for record in done.history]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("method", ["gblend", Unimodal("words")], ids=["gblend", "unimodal"])
def test_methods_that_need_parts_of_the_model_say_so(method):
    with pytest.raises(InputError, match=r"Tagger.* only\(modality\)") as error:
        run(Tagger(), token_splits(), task="positions", method=method)
    one_line(error)
