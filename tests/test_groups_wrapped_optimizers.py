"""Multipliers on the optimizers that harnesses hand out, the real ones."""

import pytest
import torch
from torch import nn

from equimodal import MILES, InputError, modality_groups
from equimodal.groups import effective_rates, the_optimizer

pytest.importorskip("accelerate")
pytest.importorskip("lightning")
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from lightning.fabric import Fabric
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import SingleDeviceStrategy


@pytest.fixture(autouse=True)
def _fresh():
    """Accelerate keeps its settings for the whole process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def parts():
    torch.manual_seed(0)
    model = nn.ModuleDict({"audio": nn.Linear(2, 2), "image": nn.Linear(2, 2)})
    return model, torch.optim.SGD(modality_groups(model, {"audio": "audio", "image": "image"}, lr=1.0))


def by_accelerate():
    model, optimizer = parts()
    return model, optimizer, Accelerator(cpu=True).prepare(model, optimizer)[1]


def by_fabric():
    model, optimizer = parts()
    return model, optimizer, Fabric(accelerator="cpu", devices=1).setup(model, optimizer)[1]


def by_lightning():
    model, optimizer = parts()
    wrapped = LightningOptimizer(optimizer)
    wrapped._strategy = SingleDeviceStrategy(torch.device("cpu"))
    wrapped.step = optimizer.step  # its own needs a whole trainer
    return model, optimizer, wrapped


WRAPPED = {"accelerate": by_accelerate, "fabric": by_fabric, "lightning": by_lightning}


@pytest.mark.parametrize("harness", WRAPPED)
def test_the_optimizer_inside_is_found_and_slowed(harness):
    model, optimizer, wrapped = WRAPPED[harness]()
    assert wrapped is not optimizer
    assert the_optimizer(wrapped) is optimizer
    miles = MILES(wrapped)
    miles.step({"multimodal": 0.9, "audio": 0.9, "image": 0.3})
    before = {name: module.weight.detach().clone() for name, module in model.items()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    wrapped.step()
    for name, step in (("audio", 0.5), ("image", 1.0)):
        torch.testing.assert_close(before[name] - model[name].weight, torch.full((2, 2), step))
    assert [group["lr"] for group in wrapped.param_groups] == [1.0, 1.0]
    assert effective_rates(wrapped) == {"audio": 0.5, "image": 1.0}
    miles.detach()
    assert "modality_lr_multiplier" not in optimizer.param_groups[0]


def test_wrappers_stand_in_wrappers():
    _, optimizer, wrapped = by_accelerate()
    assert the_optimizer(LightningOptimizer(wrapped)) is optimizer


def test_an_optimizer_with_groups_of_its_own_is_taken_as_it_is_though_it_holds_another():
    model, _ = parts()

    class Averaging(torch.optim.SGD):
        """Keeps an optimizer beside its own parameters."""

        def __init__(self, parameters, optimizer):
            self.optimizer = optimizer
            super().__init__(parameters, lr=0.1)

    inner = torch.optim.SGD(model["image"].parameters(), lr=0.1)
    outer = Averaging(model["audio"].parameters(), inner)
    assert the_optimizer(outer) is outer


class Engine:
    """As DeepSpeed's: no torch optimizer, though it may hold one."""

    def __init__(self, optimizer):
        self.optimizer = optimizer


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            lambda: Engine(parts()[1]),
            "Engine is no torch.optim.Optimizer: pass the optimizer itself, not an engine or a wrapper without one",
        ),
        (lambda: "adam", "str is no torch.optim.Optimizer: pass the optimizer itself, not an engine or a wrapper without one"),
    ],
)
def test_what_is_no_optimizer_is_refused_in_one_line(given, message):
    with pytest.raises(InputError) as caught:
        MILES(given())
    assert str(caught.value) == message


def test_a_wrapper_around_an_engines_optimizer_is_refused():
    _, _, wrapped = by_accelerate()
    wrapped.optimizer = Engine(wrapped.optimizer)
    with pytest.raises(InputError) as caught:
        the_optimizer(wrapped)
    assert str(caught.value) == (
        "AcceleratedOptimizer is no torch.optim.Optimizer, and holds Engine: pass the optimizer itself, not an engine or a wrapper without"
        " one"
    )
