"""Every registered method passes the conformance kit, and the kit notices methods that do not."""

from typing import ClassVar

import pytest
import torch

from equimodal.methods import Method, methods
from equimodal.methods.space import Uniform
from equimodal.tasks import single_label_loss
from equimodal.testing import CHECKS, check_method, tiny_problem


@pytest.mark.parametrize("name", methods.names())
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_registered_method_conforms(check, name):
    check(methods.get(name))


class Good(Method):
    """Plain joint training under another name."""

    name: ClassVar[str] = "good"
    title: ClassVar[str] = "Good"
    paper: ClassVar[str] = "none"
    fidelity: ClassVar[str] = "exact"

    def __init__(self, strength: float = 0.5) -> None:
        self.strength = strength


class Forgets(Good):
    """Has state that it does not save."""

    def __init__(self, strength: float = 0.5) -> None:
        super().__init__(strength)
        self.epochs = 0

    def epoch_end(self, context):
        self.epochs += 1

    def combine(self, losses):
        return super().combine(losses) / (1 + self.epochs)


class GoesOnFromTheRunBefore(Forgets):
    """Saves its state, and keeps it."""

    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state):
        self.epochs = state["epochs"]


class ForgetsHalf(Good):
    """Gathers losses, and saves those of the first two modalities alone."""

    def __init__(self, strength: float = 0.5) -> None:
        super().__init__(strength)
        self.taken = {}

    def build(self, model, criterion=single_label_loss):
        self.taken = {}
        return super().build(model, criterion)

    def combine(self, losses):
        heads = list(losses)
        for head in heads[1:]:
            self.taken[head] = self.taken.get(head, 0.0) + float(losses[head].detach())
        return losses["multimodal"] + sum(losses[head] / (1 + self.taken[head]) for head in heads[1:])

    def state_dict(self):
        return {"taken": dict(list(self.taken.items())[:2])}

    def load_state_dict(self, state):
        self.taken = dict(state["taken"])


class OutsideItsSpace(Good):
    """Its default is never searched."""

    search_space: ClassVar = {"strength": Uniform(0.6, 1.0)}


class LosesItsOption(Good):
    """Does not keep what it was given."""

    def __init__(self, strength: float = 0.5) -> None:
        self.kept = strength


class Random(Good):
    """Draws from a source that no seed reaches."""

    def combine(self, losses):
        return super().combine(losses) * torch.rand((), generator=torch.Generator().manual_seed(torch.seed() % 2**31))


class Unpicklable(Good):
    """Holds a function."""

    def __init__(self, strength: float = 0.5) -> None:
        super().__init__(strength)
        self.function = lambda: None


def test_a_users_method_passes():
    check_method(Good)


class NoLoss(Good):
    """Forgets to return its loss."""

    def combine(self, losses):
        self.sum = super().combine(losses)


class FeaturesAlone(Good):
    """Returns features where routes are asked for."""

    def transform(self, features, batch):
        return features


class NoModel(Good):
    """Builds nothing."""

    def build(self, model, criterion=None):
        super().build(model, criterion)


class NoState(Good):
    """Returns no state."""

    def state_dict(self):
        pass


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (NoLoss, "NoLoss.combine returned a NoneType: return one loss, a tensor"),
        (FeaturesAlone, r"FeaturesAlone.transform returned a dict: return Routes\(fusion, heads\)"),
        (NoModel, "NoModel.build returned a NoneType: return the model to train"),
        (NoState, "NoState.state_dict returned a NoneType: return a dict, empty for nothing"),
    ],
)
def test_a_hook_that_returns_something_else_fails_with_the_reason(method, reason):
    with pytest.raises(AssertionError, match=reason):
        check_method(method)


@pytest.mark.parametrize(
    ("method", "check", "reason"),
    [
        (Forgets, "check_resume", "other weights"),
        (ForgetsHalf, "check_resume", "other weights"),
        (GoesOnFromTheRunBefore, "check_begins_anew", "used for a second run, it gave other weights"),
        (OutsideItsSpace, "check_search_space", "lies outside"),
        (LosesItsOption, "check_options", "strength"),
        (Random, "check_deterministic", "other weights"),
    ],
)
def test_the_kit_notices(method, check, reason):
    chosen = next(candidate for candidate in CHECKS if candidate.__name__ == check)
    with pytest.raises((AssertionError, AttributeError), match=reason):
        chosen(method)


def test_the_kit_notices_what_cannot_be_pickled():
    with pytest.raises(Exception, match="pickle"):
        next(check for check in CHECKS if check.__name__ == "check_pickle")(Unpicklable)


@pytest.mark.parametrize("modalities", [2, 8])
def test_the_tiny_problem_is_the_same_every_time(modalities):
    first, second = tiny_problem(modalities), tiny_problem(modalities)
    assert len(first.train.inputs) == modalities
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))
    assert torch.equal(first.train.inputs["audio"], second.train.inputs["audio"])
