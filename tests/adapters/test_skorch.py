"""skorch: a net with the callback gives what a plain loop gives."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from equimodal import InputError
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.ogm import OGMGE

from .plain import EPOCHS, MODALITIES, assert_same, parts, plain, weights

pytest.importorskip("skorch")
from skorch import NeuralNetClassifier
from skorch.callbacks import EpochScoring, GradientNormClipping, LRScheduler
from skorch.helper import predefined_split

from equimodal.adapters.skorch import BalanceCallback, BalancedNet, tagged

METHODS = {
    "miles": lambda: MILESMethod(tau=0.5),
    "miles+ogm-ge": lambda: [MILESMethod(tau=0.5), OGMGE(alpha=0.8)],
    "mses": lambda: MSES(patience=0),
    "vanilla": lambda: "vanilla",
}
TAGS = tagged({name: [f"encoders.{name}.*", f"heads.{name}.*"] for name in MODALITIES})


class Net(BalancedNet, NeuralNetClassifier):
    """What a user writes."""


def data():
    _, train, val = parts()
    return train.dataset, val.dataset


def a_net(callback=None, *, kind=Net, model=None, schedule=True, before=(), after=(), **options):
    _, val = data()
    step = LRScheduler(torch.optim.lr_scheduler.StepLR, step_every="batch", step_size=2, gamma=0.9)
    callbacks = [*([step] if schedule else []), *before, *([BalanceCallback()] if callback is None else [callback]), *after]
    chosen = {
        "criterion": torch.nn.CrossEntropyLoss,
        "optimizer": torch.optim.Adam,
        "lr": 0.1,
        "batch_size": 8,
        "max_epochs": EPOCHS,
        "train_split": predefined_split(val),
        "optimizer__param_groups": TAGS,
        "iterator_train__shuffle": False,
        "classes": [0, 1, 2],
        "verbose": 0,
        **options,
    }
    return kind(parts()[0] if model is None else model, callbacks=callbacks, **chosen)


def fitted(method, epochs=EPOCHS, **options):
    net = a_net(BalanceCallback(method), max_epochs=epochs, **options)
    torch.manual_seed(0)
    return net.fit(data()[0], None)


def outcome(net, *earlier):
    names = net.balancer_.logs().keys()
    rows = [row for history in (*earlier, net.history) for row in history]
    return {"logs": [{name: row[name] for name in names if name in row} for row in rows], "weights": weights(net.module_)}


@pytest.mark.parametrize("method", METHODS)
def test_equals_the_plain_loop(method):
    assert_same(outcome(fitted(METHODS[method]())), plain(METHODS[method]()), tolerance=1e-9)


def test_clipping_follows_the_method():
    found = fitted(METHODS["miles+ogm-ge"](), after=[GradientNormClipping(0.5)])
    assert_same(outcome(found), plain(METHODS["miles+ogm-ge"](), clip=0.5), tolerance=1e-9)


def test_predict_and_history():
    net = fitted(METHODS["miles"](), epochs=1)
    _, val = data()
    inputs = torch.utils.data.default_collate([val[index] for index in range(22)])[0]
    with torch.no_grad():
        expected = net.module_.eval()(inputs).multimodal.argmax(dim=1)
    assert net.predict(inputs).tolist() == expected.tolist()
    row = net.history[-1]
    assert {"valid_acc", "utilization/audio", "utilization_gap", "multiplier/audio", "learning_rate/multimodal"} <= row.keys()


def go_on(net, begun):
    net.partial_fit(data()[0], None, epochs=EPOCHS - len(begun.history))
    return net


@pytest.mark.parametrize("method", METHODS)
def test_partial_fit_goes_on(method):
    whole = fitted(METHODS[method](), schedule=False)
    begun = fitted(METHODS[method](), epochs=4, schedule=False)
    assert_same(outcome(go_on(begun, begun)), outcome(whole))


@pytest.mark.parametrize("method", METHODS)
def test_save_and_load(method, tmp_path):
    whole = fitted(METHODS[method](), schedule=False)
    begun = fitted(METHODS[method](), epochs=4, schedule=False)
    files = {f"f_{part}": tmp_path / part for part in ("params", "optimizer", "balancer", "history")}
    begun.save_params(**files)
    resumed = a_net(BalanceCallback(METHODS[method]()), schedule=False).initialize()
    resumed.load_params(**files)
    assert_same(outcome(go_on(resumed, begun)), outcome(whole))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
@pytest.mark.parametrize("method", METHODS)
def test_a_copied_net_goes_on(method, copied):
    whole = fitted(METHODS[method](), schedule=False)
    begun = fitted(METHODS[method](), epochs=4, schedule=False)
    before = weights(begun.module_)
    assert_same(outcome(go_on(copied(begun), begun)), outcome(whole))
    assert_same({"logs": [], "weights": before}, {"logs": [], "weights": weights(begun.module_)})


def test_fit_begins_anew():
    net = fitted(METHODS["miles"]())
    first = outcome(net)
    model = parts()[0]
    net.set_params(module=model)
    net.fit(data()[0], None)
    assert_same(outcome(net), first)


def test_another_optimizer_keeps_the_state():
    net = fitted(METHODS["miles"](), epochs=1, schedule=False)
    assert net.balancer_.multipliers["audio"] == 0.5
    net.set_params(lr=0.01)
    net.partial_fit(data()[0], None, epochs=1)
    assert net.balancer_.epoch == 2
    assert len(net.balancer_.state_dict()["state"]["history"]) == 2


def test_another_method_may_take_over():
    """``set_params`` makes callbacks anew and keeps the optimizer, on which the first method's multipliers hang."""
    net = a_net(BalanceCallback(MILESMethod(tau=0.0)), max_epochs=1).fit(data()[0], None)
    assert min(net.balancer_.multipliers.values()) < 1.0
    net.set_params(callbacks__BalanceCallback__method="vanilla").partial_fit(data()[0], None)
    assert net.balancer_.method.name == "vanilla"
    assert all("modality_lr_multiplier" not in group for group in net.optimizer_.param_groups)


def test_an_older_checkpoint_has_multipliers_of_1(tmp_path):
    old = fitted("joint", epochs=1, schedule=False)
    for group in old.optimizer_.param_groups:
        del group["modality"]
    old.save_params(f_params=tmp_path / "params", f_optimizer=tmp_path / "optimizer")
    new = a_net(BalanceCallback(METHODS["miles"]()), schedule=False).initialize()
    new.load_params(f_params=tmp_path / "params", f_optimizer=tmp_path / "optimizer")
    assert new.balancer_.multipliers == {"audio": 1.0, "image": 1.0}
    go_on(new, new)


def of_head(name):
    """Return a scorer of one head, as a user of plain skorch has it."""

    def score(net, samples, y=None):
        right = total = 0
        for inputs, targets in torch.utils.data.DataLoader(samples, batch_size=8):
            with torch.no_grad():
                multimodal, unimodal = net.module_.eval()(inputs)
            logits = multimodal if name == "multimodal" else unimodal[name]
            right, total = right + int((logits.argmax(dim=1) == targets).sum()), total + len(targets)
        return right / total

    return EpochScoring(score, lower_is_better=False, name=f"valid_{name}", use_caching=False)


class Own(torch.nn.Module):
    """A module that knows nothing of this package."""

    def __init__(self):
        super().__init__()
        self.inner = parts()[0]

    def forward(self, inputs):
        found = self.inner(inputs)
        return found.multimodal, found.unimodal


class OwnNet(NeuralNetClassifier):
    """A net that trains its own loss."""

    def infer(self, x, **_):
        return self.module_(x)

    def get_loss(self, y_pred, y_true, **options):
        multimodal, unimodal = y_pred
        return sum(super(OwnNet, self).get_loss(logits, y_true, **options) for logits in (multimodal, *unimodal.values()))


OWN_TAGS = tagged({name: [f"inner.encoders.{name}.*", f"inner.heads.{name}.*"] for name in MODALITIES})


@pytest.mark.parametrize("scores", ["valid_{}", {name: f"valid_{name}" for name in ("multimodal", *MODALITIES)}])
def test_scores_from_the_history_and_a_loss_of_ones_own(scores):
    scorers = [of_head(name) for name in ("multimodal", *MODALITIES)]
    callback = BalanceCallback(METHODS["miles"](), scores=scores)
    net = a_net(callback, kind=OwnNet, model=Own(), before=scorers, optimizer__param_groups=OWN_TAGS).fit(data()[0], None)
    expected = plain(METHODS["miles"]())
    found = {name.removeprefix("inner."): value for name, value in weights(net.module_).items()}
    assert_same({"logs": [], "weights": found}, {"logs": [], "weights": expected["weights"]}, tolerance=1e-9)
    assert [row["multiplier/audio"] for row in net.history] == [log["multiplier/audio"] for log in expected["logs"]]


def refused(match, net):
    with pytest.raises(InputError, match=match) as caught:
        net.fit(data()[0], None)
    assert "\n" not in str(caught.value)


def test_what_is_refused():
    refused("modality_groups", a_net(optimizer__param_groups=[]))
    refused("no BalanceCallback", a_net(LRScheduler("StepLR", step_size=1), schedule=False))
    refused("no validation batch was scored", a_net(train_split=None))
    refused("valid_multimodal.*logged", a_net(BalanceCallback(scores="valid_{}")))
    refused(
        "ogm has seen no prediction of this step", a_net(BalanceCallback("ogm", scores="valid_{}"), kind=OwnNet, model=parts_as_tuple())
    )
    refused("needs an argument transform", a_net(BalanceCallback("vanilla"), model=Own(), optimizer__param_groups=OWN_TAGS))
    refused("the net's output is a Tensor", a_net(model=Logits(), optimizer__param_groups=OWN_TAGS))
    with pytest.raises(InputError, match="names no head"):
        BalanceCallback(scores="valid")
    for wrong in (3, ["valid_{}"], {}, {"multimodal": 1}):
        with pytest.raises(InputError, match="give a pattern such as"):
            BalanceCallback(scores=wrong)


def parts_as_tuple():
    class AsTuple(type(parts()[0])):
        def forward(self, *arguments, **options):
            found = super().forward(*arguments, **options)
            return found.multimodal, found.unimodal

    model = parts()[0]
    model.__class__ = AsTuple
    return model


class Logits(Own):
    def forward(self, inputs):
        return super().forward(inputs)[0]
