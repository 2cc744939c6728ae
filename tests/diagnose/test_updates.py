"""How far training moved encoders, from the checkpoints of runs."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from equimodal import diagnose, fit
from equimodal.diagnose.updates import encoder_parameters, run_update_sizes, update_sizes
from equimodal.errors import InputError
from equimodal.testing import tiny_problem


@pytest.fixture
def model():
    return tiny_problem().model


def test_update_sizes_compare_two_checkpoints(model):
    before = copy.deepcopy(model.state_dict())
    names = {"audio": [f"encoders.audio.{name}" for name, _ in model.encoders["audio"].named_parameters()], "none": []}
    with torch.no_grad():
        for parameter in model.encoders["audio"].parameters():
            parameter *= 1.5
    assert update_sizes(before, model.state_dict(), names) == {"audio": pytest.approx(0.5, rel=1e-5), "none": None}
    with pytest.raises(InputError, match="'missing' of 'audio'"):
        update_sizes(before, before, {"audio": ["missing"]})


def test_the_names_are_those_of_the_trainable_parameters_of_each_encoder(model):
    model.encoders["image"].requires_grad_(False)
    found = encoder_parameters(model)
    assert found["image"] == {}
    assert found["audio"] == {f"encoders.audio.{name}": own for name, own in model.encoders["audio"].named_parameters()}
    assert encoder_parameters(nn.Linear(2, 2)) == encoder_parameters(abs) == {}


class Kept:
    """Keeps the weights after every epoch, and says which epoch is best."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.states = model, []

    def __call__(self, record) -> None:
        self.states.append(copy.deepcopy(self.model.state_dict()))


def norm(tensors) -> float:
    return torch.cat([tensor.flatten().double() for tensor in tensors]).norm().item()


def trained(tmp_path, epochs: int = 8, rate: float = 0.05):
    """Train at a rate at which the validation score goes up and down, in a folder."""
    problem = tiny_problem()
    kept = Kept(problem.model)
    run = fit(
        problem.model,
        problem.train,
        problem.val,
        optimizer=lambda groups: torch.optim.SGD(groups, lr=rate),
        epochs=epochs,
        device="cpu",
        out=tmp_path / "run",
        on_epoch=kept,
    )
    return problem, run, kept


def test_a_run_tells_how_far_an_epoch_moved_each_encoder(tmp_path):
    problem, run, kept = trained(tmp_path)
    best, last = run.result["best_epoch"], run.result["epochs"]
    assert best < last
    found = run_update_sizes(run.model, tmp_path / "run")
    before, after = kept.states[best - 1], kept.states[last - 1]
    for name in ("audio", "image"):
        own = [key for key in before if key.startswith(f"encoders.{name}.")]
        way = norm(after[key] - before[key] for key in own) / norm(before[key] for key in own)
        assert found[name] == pytest.approx(way / (last - best), rel=1e-6)
    diagnosis = diagnose(run.model, problem.val, run=tmp_path / "run", resamples=0)
    assert {name: encoder.update_size for name, encoder in diagnosis.encoders.items()} == found
    assert "update_size" not in diagnosis.skipped


def test_a_compiled_model_has_the_names_of_the_plain_one(tmp_path):
    _, run, _ = trained(tmp_path)
    compiled = copy.deepcopy(run.model)
    compiled.encoders["audio"] = torch.compile(compiled.encoders["audio"], backend="eager")
    assert run_update_sizes(compiled, tmp_path / "run") == run_update_sizes(run.model, tmp_path / "run")


def test_where_it_is_not_known_a_line_says_why(tmp_path):
    problem = tiny_problem()
    run = fit(problem.model, problem.train, problem.val, epochs=1, device="cpu", out=tmp_path / "run")
    found = diagnose(run.model, problem.val, run=tmp_path / "run", resamples=0)
    assert found.skipped["update_size"].startswith("the best epoch of the run, 1, is its last: ")
    assert all(encoder.update_size is None for encoder in found.encoders.values())
    (tmp_path / "run" / "last.pt").unlink()
    assert "holds no weights (last.pt)" in diagnose(run.model, problem.val, run=tmp_path / "run", resamples=0).skipped["update_size"]
    assert diagnose(run.model, problem.val, resamples=0).skipped["update_size"] == "no run folder was given: run=..."


def test_the_run_of_another_model_and_one_without_encoders_are_refused(tmp_path):
    trained(tmp_path)
    with pytest.raises(InputError, match="is missing from a checkpoint or has another shape"):
        run_update_sizes(tiny_problem(3).model, tmp_path / "run")
    with pytest.raises(InputError, match="no trainable parameters of an encoder are known"):
        run_update_sizes(nn.Linear(2, 2), tmp_path / "run")
