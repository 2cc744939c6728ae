"""A training from before its groups goes on with groups by modality, as if it had always had them."""

import copy

import pytest
import torch
from torch import nn

from equimodal import MILES, InputError, modality_groups
from equimodal.groups import regroup

PARTS = {"audio": "audio", "image": "image"}


def network():
    torch.manual_seed(0)
    return nn.ModuleDict({"image": nn.Linear(3, 2), "audio": nn.Linear(2, 2), "fusion": nn.Linear(4, 1)}).double()


def steps(model, optimizer, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        optimizer.zero_grad()
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        optimizer.step()


def continued(make_before, make_after, model):
    """Return the weights of a training that changes its groups half way, and of one that does not."""
    before = make_before(model)
    steps(model, before, 3)
    other = copy.deepcopy(model)
    after = make_after(other)
    after.load_state_dict(regroup(copy.deepcopy(before.state_dict()), other, after))
    steps(model, before, 3, seed=1)
    steps(other, after, 3, seed=1)
    return [list(one.parameters()) for one in (model, other)]


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_moments_and_rates_stay_with_their_parameters(optimizer, named):
    first, second = continued(
        lambda model: optimizer(model.named_parameters() if named else model.parameters(), lr=0.03),
        lambda model: optimizer(modality_groups(model, PARTS, lr=0.5)),
        network(),
    )
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_groups_with_names_of_parameters_may_be_several():
    def make_before(model):
        vectors = [(name, parameter) for name, parameter in model.named_parameters() if parameter.dim() < 2]
        matrices = [(name, parameter) for name, parameter in model.named_parameters() if parameter.dim() >= 2]
        return torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=0.03)

    first, second = continued(make_before, lambda model: torch.optim.AdamW(modality_groups(model, PARTS, no_decay=True)), network())
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    model = network()
    with pytest.raises(InputError, match=r"'.*' to '.*', had weight_decay = 0.1 and 0.0: split the groups .* no_decay=True"):
        regroup(make_before(model).state_dict(), model, torch.optim.AdamW(modality_groups(model, PARTS)))


def test_what_was_frozen_begins_without_moments():
    model = network()
    model["image"].requires_grad_(False)
    before = torch.optim.Adam([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.03)
    steps(model, before, 1)
    after = torch.optim.Adam(modality_groups(model, PARTS, lr=0.5))
    after.load_state_dict(regroup(before.state_dict(), model, after))
    assert model["audio"].weight in after.state
    assert model["image"].weight not in after.state
    assert {group["modality"]: group["lr"] for group in after.param_groups} == {"multimodal": 0.03, "audio": 0.03, "image": 0.5}


def test_a_scheduler_that_is_on_the_optimizer_is_told_what_to_load():
    model = network()
    state = torch.optim.Adam(model.parameters(), lr=0.03).state_dict()
    optimizer = torch.optim.Adam(modality_groups(model, PARTS, lr=0.5))
    MILES(optimizer)
    with pytest.raises(
        InputError, match=r"has 1 parameter groups and this one 3: load equimodal.groups.regroup\(state, model, optimizer\)"
    ):
        optimizer.load_state_dict(state)
    optimizer.load_state_dict(regroup(state, model, optimizer))
    assert [group["modality_lr_multiplier"] for group in optimizer.param_groups] == [1.0, 1.0, 1.0]


def test_states_that_cannot_be_told_apart_are_refused():
    model = network()
    optimizer = torch.optim.Adam(modality_groups(model, PARTS))
    unnamed = torch.optim.Adam([{"params": [parameter]} for parameter in model.parameters()])
    with pytest.raises(InputError, match="has 6 groups without names of parameters"):
        regroup(unnamed.state_dict(), model, optimizer)
    with pytest.raises(InputError, match="the state is of 2 parameters and the model has 6"):
        regroup(torch.optim.Adam(model["audio"].parameters()).state_dict(), model, optimizer)
