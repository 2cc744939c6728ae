"""Unimodal: one modality's encoder and head, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from equimodal.errors import InputError
from equimodal.methods.unimodal import Unimodal
from equimodal.testing import tiny_problem
from equimodal.train import fit


def train(problem, modality="image", **options):
    return fit(problem.model, problem.train, problem.val, method=Unimodal(modality), epochs=2, device="cpu", **options)


def test_the_other_encoders_never_run_and_never_change():
    problem = tiny_problem(3)
    ran = []
    for name, encoder in problem.model.encoders.items():
        encoder.register_forward_hook(lambda *_, name=name: ran.append(name))
    problem.model.fusion.register_forward_hook(lambda *_: ran.append("fusion"))
    before = {name: value.clone() for name, value in problem.model.state_dict().items()}
    run = train(problem, test=problem.val)
    assert set(ran) == {"image"}
    moved = {name for name, value in problem.model.state_dict().items() if not value.equal(before[name])}
    assert {name.partition(".")[2].partition(".")[0] for name in moved} == {"image"}
    assert {name.partition(".")[0] for name in moved} == {"encoders", "heads"}
    assert run.model.modalities == ("image",)


def test_other_modalities_need_not_even_be_readable():
    problem = tiny_problem()
    problem.train.inputs["audio"].fill_(torch.nan)
    problem.val.inputs["audio"].fill_(torch.nan)
    run = train(problem)
    assert run.result["scores"]["val"]["multimodal"] == run.result["scores"]["val"]["image"] > 0


def test_it_equals_training_the_encoder_and_its_head_by_hand():
    by_hand, problem = tiny_problem(), tiny_problem()
    run = train(problem, optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1), batch_size=48)
    network = nn.Sequential(by_hand.model.encoders["image"], by_hand.model.heads["image"])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(run.result["best_epoch"]):
        optimizer.zero_grad()
        functional.cross_entropy(network(by_hand.train.inputs["image"]), by_hand.train.targets).backward()
        optimizer.step()
    for name, value in problem.model.state_dict().items():
        if "image" in name and "fusion" not in name:
            torch.testing.assert_close(value, by_hand.model.state_dict()[name])


def test_the_loss_is_counted_once():
    problem = tiny_problem()
    method = Unimodal("audio")
    model, batch = method.build(problem.model), problem.train[slice(0, 8)]
    losses = method.losses(model(batch.inputs), batch)
    assert losses["multimodal"] == losses["audio"] == method.combine(losses)


@pytest.mark.parametrize(
    ("model", "modality", "message"),
    [
        (None, "imag", "unknown modality 'imag': did you mean 'image'"),
        (None, "multimodal", "unknown modality 'multimodal': known: audio, image"),
        (nn.Linear(2, 2), "image", "Linear has no method only"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused_in_one_line(model, modality, message):
    with pytest.raises(InputError, match=message) as error:
        Unimodal(modality).build(tiny_problem().model if model is None else model)
    assert "\n" not in str(error.value)
