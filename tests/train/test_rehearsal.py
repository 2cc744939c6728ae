"""The rehearsal before a run: it refuses what torch would refuse later, and leaves no trace."""

import copy

import pytest
import torch
from torch import nn

from equimodal.data.batch import Batch
from equimodal.errors import InputError
from equimodal.groups import modality_groups
from equimodal.nn import MLP, JointFusion, ResNet
from equimodal.train.rehearsal import rehearse_model, rehearse_optimizer

CPU = torch.device("cpu")


@pytest.fixture
def model():
    return JointFusion({"audio": ResNet(6, in_channels=1), "image": MLP(5, dropout=0.5)}, 3)


@pytest.fixture
def batch():
    return Batch({"audio": torch.randn(2, 1, 8, 8), "image": torch.randn(2, 5)}, torch.zeros(2).long())


def test_a_rehearsed_model_is_as_it_was(model, batch):
    model.encoders["audio"].eval()
    before, modes, random = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()], torch.get_rng_state()
    rehearse_model(model, batch)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_encoder_that_does_not_suit_its_input_is_named(model, batch):
    wrong = Batch({**batch.inputs, "image": torch.randn(2, 6)}, batch.targets)
    with pytest.raises(InputError, match=r"model.encoders.image: MLP expects 5 numbers"):
        rehearse_model(model, wrong)
    assert model.training


def test_what_an_encoder_raises_becomes_one_line(batch):
    class Broken(nn.Module):
        out_features = 4

        def forward(self, _):
            raise KeyError("first line\nsecond line")

    with pytest.raises(InputError, match=r"^model.encoders.audio: .*first line") as refusal:
        rehearse_model(JointFusion({"audio": Broken(), "image": MLP(5)}, 3), batch)
    assert "\n" not in str(refusal.value)


def test_a_modality_that_the_batch_lacks_is_left_out(model, batch):
    rehearse_model(model, Batch({"audio": batch.inputs["audio"]}, batch.targets))


def test_the_optimizer_is_rehearsed_on_stand_ins(model):
    groups = modality_groups(model, overrides={"audio": {"lr": 0.1}}, no_decay=True)
    before = [dict(group) for group in groups]
    made = []

    def make(given):
        made.append(torch.optim.SGD(given, lr=0.01))
        return made[-1]

    rehearse_optimizer(groups, make, lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1), CPU, steps=9)
    assert groups == before
    assert all(parameter.grad is None for parameter in model.parameters())
    own = set(model.parameters())
    assert len(made[0].param_groups) == len(groups)
    assert own.isdisjoint(parameter for group in made[0].param_groups for parameter in group["params"])


def test_an_optimizer_meets_the_dimensions_of_the_real_parameters(model):
    with pytest.raises(ValueError, match="2D"):
        rehearse_optimizer(modality_groups(model), torch.optim.Muon, None, CPU, steps=1)
    matrices = [{"params": [parameter for parameter in model.parameters() if parameter.dim() == 2]}]
    rehearse_optimizer(matrices, torch.optim.Muon, None, CPU, steps=1)


def test_one_cycle_needs_as_many_steps_as_the_run(model):
    def make(optimizer):
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=5)

    rehearse_optimizer(modality_groups(model), torch.optim.Adam, make, CPU, steps=5)
    with pytest.raises(InputError, match="total_steps = 5, and this run steps it 6 times"):
        rehearse_optimizer(modality_groups(model), torch.optim.Adam, make, CPU, steps=6)
