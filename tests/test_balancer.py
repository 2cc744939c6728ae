"""A method in a loop that is not ours: one line for each call that is missing or wrong, and no trace where it is let go of."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from adapters.plain import adam, parts
from equimodal import Balancer, InputError, modality_groups
from equimodal.groups import MULTIPLIER_KEY
from equimodal.methods.base import Method
from equimodal.methods.compose import Composition
from equimodal.methods.gblend import GBlend
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.ogm import OGM
from equimodal.testing import tiny_problem

SCORES = {"multimodal": 0.9, "audio": 0.85, "image": 0.4}
WEIGHTS = {"multimodal": 0.4, "audio": 0.2, "image": 0.4}


def begun(method="miles", **options):
    model, train, val = parts()
    balancer = Balancer(method, **options)
    model = balancer.build(model)
    optimizer = adam(model)
    balancer.attach(optimizer)
    return balancer, model, optimizer, next(iter(train)), val


def refused(match, call, *arguments, **options):
    with pytest.raises(InputError, match=match) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_calls_that_are_missing():
    model, train, _ = parts()
    inputs, targets = next(iter(train))
    refused("miles has no optimizer yet: call attach", Balancer("miles").epoch_end, SCORES)
    for name in ("ogm", "mses", "vanilla", GBlend(weights=WEIGHTS)):
        balancer = Balancer(name)
        balancer.attach(adam(model))
        refused(r"has no model yet: call build\(model\)", balancer.epoch_start, 1)
        balancer.detach()
    refused("ogm has no model yet: call build", Balancer("ogm").loss, model(inputs), targets)
    refused("ogm has no model yet: call build", Balancer("ogm").before_step)

    balancer, model, *_ = begun("ogm")
    refused("epoch_start", balancer.loss, model(inputs), targets)
    balancer.epoch_start(1)
    refused("ogm has seen no prediction of this step: train balancer.loss", balancer.before_step)
    balancer.loss(model(inputs), targets).backward()
    refused("ogm changes gradients and was not let in during epoch 1: call before_step", balancer.epoch_end, SCORES)
    balancer.before_step()
    refused("ogm has seen no prediction of this step", balancer.before_step)
    assert balancer.epoch_end(SCORES) is None
    refused("ogm prepares for every epoch: call epoch_start", balancer.epoch_end, SCORES)  # and not only for the first
    balancer, *_ = begun("mses")
    refused("mses prepares for every epoch: call epoch_start", balancer.epoch_end, SCORES, SCORES)
    balancer = Balancer("vanilla")
    balancer.attach(adam(model))
    refused(r"vanilla has no model yet: call build\(model\)", balancer.epoch_end, SCORES)

    balancer, *_ = begun(GBlend(weights=WEIGHTS))
    balancer.epoch_start(1)
    refused("gblend decides the loss and was not asked for it", balancer.before_step)
    refused("gblend decides the loss, which was not asked for in epoch 1", balancer.epoch_end, SCORES)
    refused("gblend decides the loss: train balancer.loss", balancer.observe, model(inputs), targets)


def test_what_is_not_what_it_should_be():
    balancer, model, optimizer, (inputs, targets), _ = begun()
    refused("scores = 0.7: a mapping with 'multimodal'", balancer.epoch_end, 0.7)
    refused("one number per head", balancer.epoch_end, {**SCORES, "audio": "high"})
    refused("one number per head", balancer.epoch_end, {**SCORES, "audio": torch.ones(2)})
    refused("image", balancer.epoch_end, {"multimodal": 0.9, "audio": 0.4})
    refused("audio", balancer.epoch_end, {**SCORES, "audio": float("nan")})
    refused("losses = 0.7", balancer.epoch_end, SCORES, 0.7)
    for epoch in (0, -1, 1.5, "1", None):
        refused("epoch = .*: a whole number, counted from 1", balancer.epoch_start, epoch)
    refused("the prediction is a Tensor", balancer.loss, model(inputs).multimodal, targets)
    refused("'multimodal' must be among them", balancer.loss, model(inputs).unimodal, targets)
    for another in (optimizer, adam(model)):
        refused(r"miles holds an optimizer already: detach\(\) the balancer", balancer.attach, another)
    refused("already multiplied by modality", Balancer("miles").attach, optimizer)
    refused("the targets are a list: give a tensor", balancer.loss, model(inputs), [0, 1])
    refused("the prediction of 'audio' is a int: logits", balancer.loss, {"multimodal": model(inputs).multimodal, "audio": 3}, targets)
    refused(r"scores = \{'multimodal': Tensor \[2, 2\]\}: one number per head", balancer.epoch_end, {"multimodal": torch.ones(2, 2)})
    refused(r"scores = Tensor \[2, 2\]: a mapping", balancer.epoch_end, torch.ones(2, 2))
    refused("did you mean 'miles'", Balancer, "mile")
    refused("is needed", Balancer, 3)
    refused("single-label", Balancer, "miles", task="single")
    other = Balancer("miles")
    refused("modality_groups", other.attach, torch.optim.Adam(model.parameters()))
    refused("no torch.optim.Optimizer", other.attach, model)
    refused("has no optimizer yet", other.epoch_end, SCORES)  # an attach that failed counts for nothing


def test_methods_that_own_the_step_are_refused():
    class Owner(Method):
        name = "owner"

        def update(self, step):
            step.step()

    class Follower(Method):
        name = "follower"

        def after_step(self, step):
            pass

    class Backward(Method):
        name = "backwards"

        def backward(self, losses, step, batch):
            pass

    refused("owner takes the optimizer's step itself.*equimodal.fit", Balancer, Owner())
    refused("follower follows every step", Balancer, Follower())
    refused("backwards calls backward itself", Balancer, [MILESMethod(), Backward()])


def test_a_model_without_a_place_for_probes_is_refused():
    class Plain(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, inputs):
            return self.inner(inputs)

        def modality_modules(self):
            return self.inner.modality_modules()

    refused("Plain.forward needs an argument transform", Balancer("vanilla").build, Plain(parts()[0]))
    assert isinstance(Balancer("miles").build(Plain(parts()[0])), Plain)


def test_splits_and_losses_that_were_not_given():
    balancer, *_ = begun(MILESMethod(split="train"))
    refused("miles looks at the scores of the train split, which were not given: pass train_scores", balancer.epoch_end, SCORES)
    balancer.epoch_end(SCORES, train_scores={**SCORES, "audio": 0.5, "image": 0.9})
    assert balancer.multipliers == {"audio": 1.0, "image": 0.5}
    assert balancer.logs()["utilization/image"] == pytest.approx((0.9 - 0.5) / 0.9)  # what the rule saw
    balancer, *_ = begun("mses")
    balancer.epoch_start(1)
    refused("mses looks at the losses of the val split, which were not given: pass losses", balancer.epoch_end, SCORES)


def test_gblend_needs_fixed_weights_or_branches():
    balancer, model, *_ = begun("gblend")
    model.eval()
    refused("weights", balancer.epoch_start, 1, epochs=3)
    assert not any(module.training for module in model.modules())
    assert balancer.epoch == 0


def test_why_it_ends():
    balancer, *_ = begun(MSES(patience=0))
    reasons = []
    for epoch, loss in enumerate((1.0, 2.0, 3.0), 1):
        balancer.epoch_start(epoch)
        reasons.append(balancer.epoch_end(SCORES, dict.fromkeys(SCORES, loss)))
        assert balancer.stop_reason == reasons[-1]
    assert reasons[:2] == [None, None]
    assert reasons[2].startswith("all parts have stopped")
    assert balancer.multipliers == {"audio": 0.0, "image": 0.0, "multimodal": 0.0}


def test_states_that_do_not_fit():
    balancer, *_ = begun()
    refused("the state is of the method 'ogm', this balancer drives 'miles'", balancer.load_state_dict, {"method": "ogm", "state": {}})
    for foreign in ({}, [], None):
        refused("this is no state of a balancer", balancer.load_state_dict, foreign)
    refused("no state of MILES", balancer.load_state_dict, {"method": "miles", "epoch": 1, "stop_reason": None, "state": {}})
    refused("damaged", balancer.load_state_dict, {"method": "miles"})
    balancer.epoch_end(SCORES)
    damaged = {name: value for name, value in balancer.state_dict().items() if name != "epoch"}
    other, *_ = begun()
    refused("damaged: use an earlier checkpoint", other.load_state_dict, damaged)
    assert other.multipliers == {"audio": 1.0, "image": 1.0}  # nothing of it has come in


def test_detach_leaves_no_trace():
    model, train, _ = parts()
    inputs, targets = next(iter(train))
    optimizer = adam(model)
    before = [dict(group) for group in optimizer.param_groups]
    hooks = {name: len(value) for name, value in vars(optimizer).items() if "hooks" in name}
    balancer = Balancer([MILESMethod(), OGM(heads="probes")])
    balancer.build(model)
    balancer.attach(optimizer)
    balancer.epoch_start(1)
    balancer.loss(model(inputs), targets).backward()
    balancer.before_step()
    balancer.epoch_end(SCORES)
    assert model._forward_pre_hooks
    assert optimizer.param_groups[1][MULTIPLIER_KEY] == 0.5
    balancer.detach()
    balancer.detach()
    assert not model._forward_pre_hooks
    assert [dict(group) for group in optimizer.param_groups] == before
    assert {name: len(value) for name, value in vars(optimizer).items() if "hooks" in name} == hooks
    assert balancer.multipliers == {}
    Balancer("miles").attach(optimizer)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_the_model_knows_nothing_of_the_balancer(copied):
    balancer, model, _, (inputs, targets), _ = begun("vanilla")
    balancer.epoch_start(1)
    balancer.loss(model(inputs), targets).backward()
    other = copied(model)
    assert len(pickle.dumps(model)) < 3 * len(pickle.dumps(parts()[0]))  # no optimizer comes along
    other.zero_grad()
    sum(logits.sum() for logits in other.train()(inputs).unimodal.values()).backward()
    assert all(parameter.grad is not None for parameter in other.encoders.parameters())
    model.zero_grad()
    sum(logits.sum() for logits in model(inputs).unimodal.values()).backward()
    assert all(parameter.grad is None for parameter in model.encoders.parameters())


def test_a_second_build_takes_the_first_ones_place():
    balancer, model, *_ = begun("vanilla")
    other = balancer.build(parts()[0])
    assert not model._forward_pre_hooks
    assert len(other._forward_pre_hooks) == 1


def encoders_learn_from_heads(model, inputs):
    model.zero_grad()
    sum(logits.sum() for logits in model.train()(inputs).unimodal.values()).backward()
    return all(parameter.grad is not None for parameter in model.encoders.parameters())


def test_a_second_balancer_takes_the_first_ones_place():
    """Two stages of one training: the probes of the first are not those of the second, though its balancer still lives."""
    first, model, _, (inputs, _), _ = begun("vanilla")
    assert not encoders_learn_from_heads(model, inputs)
    second = Balancer("joint")
    second.build(model)
    assert encoders_learn_from_heads(model, inputs)
    first.epoch_start(2)  # whoever begins an epoch stands before the model
    assert not encoders_learn_from_heads(model, inputs)
    second.epoch_start(2)
    assert encoders_learn_from_heads(model, inputs)
    second.detach()
    first.detach()
    assert not model._forward_pre_hooks


def test_what_was_let_go_of_may_be_attached_again():
    balancer, model, _, (inputs, _), _ = begun("vanilla")
    balancer.detach()
    assert encoders_learn_from_heads(model, inputs)
    balancer.attach(adam(model))
    assert not encoders_learn_from_heads(model, inputs)


def test_logits_in_a_mapping_and_learning_rates_without_a_model():
    model, train, _ = parts()
    inputs, targets = next(iter(train))
    balancer = Balancer("miles")
    balancer.attach(adam(model))
    prediction = model(inputs)
    logits = {"multimodal": prediction.multimodal, **prediction.unimodal}
    assert balancer.loss(logits, targets).item() == pytest.approx(sum(cross_entropy(one, targets).item() for one in logits.values()))
    assert set(balancer.head_losses) == set(logits)
    assert balancer.epoch_end(SCORES) is None
    assert balancer.logs() == {
        "learning_rate/multimodal": 0.1,
        "learning_rate/audio": 0.05,
        "learning_rate/image": 0.1,
        "multiplier/audio": 0.5,
        "multiplier/image": 1.0,
        "utilization/audio": pytest.approx(0.5 / 0.9),
        "utilization/image": pytest.approx(0.05 / 0.9),
        "utilization_gap": pytest.approx(0.5),
    }


def test_the_loss_of_validation_is_not_observed():
    balancer, model, _, (inputs, targets), _ = begun("ogm")
    balancer.epoch_start(1)
    with torch.no_grad():
        balancer.loss(model(inputs), targets)
    refused("has seen no prediction of this step", balancer.before_step)


def test_half_precision_logits():
    balancer, model, _, (inputs, targets), _ = begun("joint")
    prediction = model(inputs)
    half = {"multimodal": prediction.multimodal.bfloat16(), **{name: logits.bfloat16() for name, logits in prediction.unimodal.items()}}
    assert balancer.loss(half, targets).dtype == torch.float32


def test_it_says_what_it_drives():
    assert repr(Balancer(MILESMethod(tau=0.1), task="multilabel")).startswith("Balancer(MILESMethod(tau=0.1")
    assert isinstance(Balancer("miles+ogm").method, Composition)


def test_a_named_method_takes_its_options():
    assert Balancer("miles", tau=0.1, mu=0.3).method.options()["tau"] == 0.1
    with pytest.raises(InputError, match="method 'miles' has no option 'tua'"):
        Balancer("miles", tua=0.1)
    with pytest.raises(InputError, match=r"^tau can be given to one named method, such as 'miles': make these with .*MILESMethod"):
        Balancer("miles+ogm", tau=0.1)
    with pytest.raises(InputError, match="did you mean 'ogm-ge'"):
        Balancer("OGM-GE")


def test_before_step_twice_without_a_step_is_remarked_on_once():
    model, train = (problem := tiny_problem()).model, problem.train
    balancer = Balancer("ogm")
    optimizer = torch.optim.SGD(modality_groups(balancer.build(model), lr=0.1))
    balancer.attach(optimizer)
    balancer.epoch_start(1)
    for _ in range(2):  # as it should be
        balancer.loss(model(train[:8].inputs), train[:8].targets).backward()
        balancer.before_step()
        optimizer.step()
    for number in range(4):
        balancer.loss(model(train[:8].inputs), train[:8].targets).backward()
        if number == 1:
            with pytest.warns(UserWarning, match="before_step.. was called again before the optimizer took its step"):
                balancer.before_step()
        else:
            balancer.before_step()  # says nothing, or -W error would raise


def test_what_a_method_did_is_logged_and_comes_back():
    balancer = Balancer("ogm")
    model, train = (problem := tiny_problem()).model, problem.train
    optimizer = torch.optim.SGD(modality_groups(balancer.build(model), lr=0.1))
    balancer.attach(optimizer)
    balancer.epoch_start(1)
    balancer.loss(model(train[:8].inputs), train[:8].targets).backward()
    balancer.before_step()
    optimizer.step()
    balancer.epoch_end({"multimodal": 0.9, "audio": 0.8, "image": 0.4})
    logged = {name: value for name, value in balancer.logs().items() if name.startswith("method/")}
    assert set(logged) == {"method/coefficients/audio", "method/coefficients/image"}
    assert min(logged.values()) < max(logged.values()) == 1.0
    again = Balancer("ogm")
    again.build(tiny_problem().model)
    again.load_state_dict(balancer.state_dict())
    again.attach(torch.optim.SGD(modality_groups(tiny_problem().model, lr=0.1)))
    assert {name: value for name, value in again.logs().items() if name.startswith("method/")} == logged
