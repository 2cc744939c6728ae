"""A method in a loop that is not ours: the same training as ``fit``."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from adapters.plain import EPOCHS, MODALITIES, adam, assert_same, head_scores, parts, plain, schedule_of, weights
from equimodal import Balancer, JointFusion, fit, modality_groups
from equimodal.methods.gblend import GBlend
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.mslr import MSLRDynamic, MSLRKeep
from equimodal.methods.ogm import OGM, OGMGE
from equimodal.nn import MLP
from equimodal.train.seeds import derived_seed

SCORES = {"multimodal": 0.9, "audio": 0.85, "image": 0.4}
WEIGHTS = {"multimodal": 0.4, "audio": 0.2, "image": 0.4}

METHODS = {
    "joint": lambda: "joint",
    "vanilla": lambda: "vanilla",
    "miles": lambda: MILESMethod(tau=0.5),
    "ogm": lambda: OGM(alpha=0.8),
    "ogm, trained heads, zeroed inputs": lambda: OGM(alpha=0.8, heads="trained", evidence="zeroed-input"),
    "ogm-ge": lambda: OGMGE(alpha=0.8),
    "mses": lambda: MSES(patience=0),
    "mses, whole model": lambda: MSES(patience=0, restore="model"),
    "mslr-k": lambda: MSLRKeep({"audio": 0.02, "image": 0.2}),
    "mslr-d, probes": lambda: MSLRDynamic({"audio": 0.02, "image": 0.2}, window=1, heads="probes"),
    "gblend": lambda: GBlend(weights=WEIGHTS),
    "miles+ogm-ge": lambda: [MILESMethod(tau=0.5), OGMGE(alpha=0.8)],
    "miles+vanilla": lambda: "miles+vanilla",
}


def network(kind="plain", dtype=torch.float64):
    torch.manual_seed(0)
    encoders = {name: MLP(5, hidden=(8,), out_features=6) for name in MODALITIES}
    if kind == "norm":
        encoders = {name: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6)) for name in MODALITIES}
    return JointFusion(encoders, 3, feature_sizes=dict.fromkeys(MODALITIES, 6)).to(dtype)


def in_fit(method, kind="plain", **options):
    """Return the weights after every epoch of ``fit``, and its records."""
    _, train, val = parts()
    model, found = network(kind), []
    optimizer = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    run = fit(
        model, train, val, method=method, epochs=EPOCHS, optimizer=optimizer, on_epoch=lambda _: found.append(weights(model)), **options
    )
    return found, run.history


def in_a_loop(method, kind="plain", *, accumulate=1, clip=None, train_again=False):
    _, train, val = parts()
    model, found, records = network(kind), [], []
    torch.manual_seed(derived_seed(0, "build"))
    balancer = Balancer(method)
    model = balancer.build(model)
    optimizer = torch.optim.SGD(modality_groups(model), lr=0.1, momentum=0.9)
    balancer.attach(optimizer)
    for epoch in range(1, EPOCHS + 1):
        model.train()
        multipliers = balancer.multipliers
        balancer.epoch_start(epoch)
        for number, (inputs, targets) in enumerate(train, 1):
            if train_again:
                model.train()
            (balancer.loss(model(inputs), targets) / accumulate).backward()
            if number % accumulate == 0:
                balancer.before_step()
                if clip is not None:
                    nn.utils.clip_grad_norm_(balancer.method.clipped(model), clip)
                optimizer.step()
                optimizer.zero_grad()
        counter = head_scores(model, val)
        scores = counter.compute()
        stop = balancer.epoch_end(scores, counter.losses())
        found.append(weights(model))
        records.append({"scores": scores, "multipliers": multipliers, "logs": balancer.logs()})
        if stop:
            break
    return found, records


@pytest.mark.parametrize("name", METHODS)
def test_equals_fit(name):
    theirs, records = in_a_loop(METHODS[name]())
    ours, history = in_fit(METHODS[name]())
    assert len(theirs) == len(ours)
    for one, other in zip(theirs, ours, strict=True):
        assert_same({"logs": [], "weights": one}, {"logs": [], "weights": other}, 1e-9)
    for one, other in zip(records, history, strict=True):
        assert one["scores"] == other["scores"]["val"]
        assert one["multipliers"] == other["multipliers"]
        assert one["logs"]["utilization_gap"] == pytest.approx(other["gap"])
        assert {name: one["logs"][f"utilization/{name}"] for name in MODALITIES} == pytest.approx(other["utilization"])


@pytest.mark.parametrize("name", ["vanilla", "miles+ogm-ge"])
def test_accumulation_and_clipping_equal_fit(name):
    theirs, _ = in_a_loop(METHODS[name](), accumulate=2, clip=0.5)
    ours, _ = in_fit(METHODS[name](), accumulate=2, clip=0.5)
    for one, other in zip(theirs, ours, strict=True):
        assert_same({"logs": [], "weights": one}, {"logs": [], "weights": other}, 1e-9)


def test_what_the_comparison_covers():
    """The methods do something in these few epochs."""
    assert len({str(record["multipliers"]) for record in in_fit(METHODS["miles"]())[1]}) > 1
    assert len({str(record["multipliers"]) for record in in_fit(METHODS["mslr-d, probes"]())[1]}) > 1
    assert 0.0 in in_fit(METHODS["mses"](), "norm")[1][-1]["multipliers"].values()
    assert min(in_fit(METHODS["ogm"]())[1][0]["method"]["coefficients"].values()) < 0.9


@pytest.mark.parametrize("train_again", [False, True])
def test_stopped_parts_rest_also_where_the_loop_says_train_again(train_again):
    """Trainers put the whole model in training mode before every batch: running statistics of a stopped part stay as they are."""
    theirs, _ = in_a_loop(METHODS["mses"](), "norm", train_again=train_again)
    ours, history = in_fit(METHODS["mses"](), "norm")
    stopped = [name for name, value in history[-1]["multipliers"].items() if value == 0]
    assert stopped
    for one, other in zip(theirs, ours, strict=True):
        assert_same({"logs": [], "weights": one}, {"logs": [], "weights": other}, 1e-9)


def test_probes_leave_encoders_alone():
    gradients = []
    for trained in (True, False):
        model, train, _ = parts()
        inputs, targets = next(iter(train))
        balancer = Balancer("vanilla")
        balancer.build(model)
        if trained:
            balancer.loss(model(inputs), targets).backward()
            assert all(parameter.grad is not None for parameter in model.heads.parameters())
        else:
            cross_entropy(model(inputs).multimodal, targets).backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters() if not name.startswith("heads")})
    assert_same({"logs": [], "weights": gradients[0]}, {"logs": [], "weights": gradients[1]})


def test_a_loss_of_ones_own_with_observe():
    expected, _ = in_a_loop(OGM(alpha=0.8, heads="trained"))
    _, train, _ = parts()
    model = network()
    balancer = Balancer(OGM(alpha=0.8, heads="trained"))
    balancer.build(model)
    optimizer = torch.optim.SGD(modality_groups(model), lr=0.1, momentum=0.9)
    balancer.attach(optimizer)
    model.train()
    balancer.epoch_start(1)
    for inputs, targets in train:
        prediction = model(inputs)
        sum(cross_entropy(logits, targets) for logits in (prediction.multimodal, *prediction.unimodal.values())).backward()
        balancer.observe(prediction, targets)
        balancer.before_step()
        optimizer.step()
        optimizer.zero_grad()
    assert_same({"logs": [], "weights": weights(model)}, {"logs": [], "weights": expected[0]}, 1e-9)


def test_a_gradient_scaler():
    """Unscaled before the method and the clipping, scaled gradients train as plain ones do."""
    outcomes = []
    for scaled in (False, True):
        _, train, _ = parts()
        model = network(dtype=torch.float32)
        balancer = Balancer([MILESMethod(tau=0.0), OGM(alpha=0.8)])
        balancer.build(model)
        optimizer = torch.optim.SGD(modality_groups(model), lr=0.1, momentum=0.9)
        balancer.attach(optimizer)
        scaler = torch.amp.GradScaler("cpu", enabled=scaled)
        for epoch in (1, 2):
            balancer.epoch_start(epoch)
            for inputs, targets in train:
                loss = balancer.loss(model({name: value.float() for name, value in inputs.items()}), targets)
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                balancer.before_step()
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
            balancer.epoch_end(SCORES)
        assert balancer.multipliers["audio"] == 0.5
        outcomes.append(weights(model))
    assert_same({"logs": [], "weights": outcomes[0]}, {"logs": [], "weights": outcomes[1]})


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("name", ["miles", "mses", "ogm-ge", "mslr-d, probes", "gblend", "miles+ogm-ge"])
def test_a_state_continues(name, early):
    """Loaded after ``attach``, or before it, where it waits; a state that waits is also what is saved."""
    whole = plain(METHODS[name]())
    _, train, val = parts()

    def epochs(first, last):
        for epoch in range(first, last + 1):
            model.train()
            balancer.epoch_start(epoch, epochs=EPOCHS)
            for inputs, targets in train:
                balancer.loss(model(inputs), targets).backward()
                balancer.before_step()
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            counter = head_scores(model, val)
            balancer.epoch_end(counter.compute(), counter.losses())
            logs.append(balancer.logs())

    logs = []
    torch.manual_seed(0)
    model, *_ = parts()
    balancer = Balancer(METHODS[name]())
    model = balancer.build(model)
    optimizer = adam(model)
    schedule = schedule_of(optimizer)
    balancer.attach(optimizer)
    epochs(1, 4)
    state = copy.deepcopy([part.state_dict() for part in (model, optimizer, schedule, balancer)])
    torch.manual_seed(1)  # another seed of noise, were it not in the state
    model, *_ = parts()
    balancer = Balancer(METHODS[name]())
    model = balancer.build(model)
    optimizer = adam(model)
    schedule = schedule_of(optimizer)
    if early:
        balancer.load_state_dict(state[3])
        assert balancer.state_dict() == state[3] or name == "mses"  # holds tensors
        balancer.attach(optimizer)
    else:
        balancer.attach(optimizer)
        balancer.load_state_dict(state[3])
    for part, held in zip((model, optimizer, schedule), state, strict=False):
        part.load_state_dict(held)
    assert balancer.logs() == logs[-1]
    epochs(5, EPOCHS)
    assert_same({"logs": logs, "weights": weights(model)}, whole)


NEEDED = {  # the table of docs/guide/any-loop.md: what is called beside attach and a loss of one's own
    "joint": (),
    "miles": ("epoch_end",),
    "vanilla": ("build",),
    "ogm": ("build", "epoch_start", "observe", "before_step"),
    "mslr-k": (),
    "mslr-d": ("epoch_end",),
    "mslr-d, probes": ("build", "epoch_end"),
    "mses": ("build", "epoch_start", "epoch_end"),
}


@pytest.mark.parametrize("name", NEEDED)
def test_the_calls_that_a_method_needs_are_enough(name):
    method = METHODS[name] if name in METHODS else lambda: MSLRDynamic({"audio": 0.02, "image": 0.2}, window=1)
    expected, _ = in_a_loop(method())
    _, train, val = parts()
    model, found, needed = network(), [], NEEDED[name]
    balancer = Balancer(method())
    if "build" in needed:
        balancer.build(model)
    optimizer = torch.optim.SGD(modality_groups(model), lr=0.1, momentum=0.9)
    balancer.attach(optimizer)
    for epoch in range(1, len(expected) + 1):
        model.train()
        if "epoch_start" in needed:
            balancer.epoch_start(epoch)
        for inputs, targets in train:
            prediction = model(inputs)
            sum(cross_entropy(logits, targets) for logits in (prediction.multimodal, *prediction.unimodal.values())).backward()
            if "observe" in needed:
                balancer.observe(prediction, targets)
            if "before_step" in needed:
                balancer.before_step()
            optimizer.step()
            optimizer.zero_grad()
        counter = head_scores(model, val)
        if "epoch_end" in needed:
            balancer.epoch_end(counter.compute(), counter.losses())
        found.append(weights(model))
    for one, other in zip(found, expected, strict=True):
        assert_same({"logs": [], "weights": one}, {"logs": [], "weights": other}, 1e-9)
