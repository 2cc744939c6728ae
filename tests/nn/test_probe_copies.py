"""Probed models copied, pickled, saved, compiled, and in several processes."""

import copy
import functools
import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from equimodal import InputError, fit
from equimodal.nn import Routes, probe

from .networks import PARTS, Network
from .two_processes import gradients, made_alike


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model)), "torch.save": saved}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_watches_its_own_submodules(probed, batch, way):
    made = COPIES[way](probed)
    assert torch.equal(made(batch.inputs).unimodal["audio"], probed(batch.inputs).unimodal["audio"])
    torch.nn.init.zeros_(made.model.audio[0].weight)
    torch.nn.init.zeros_(made.model.audio[0].bias)
    assert made(batch.inputs).features["audio"].abs().sum() == 0
    assert probed(batch.inputs).features["audio"].abs().sum() > 0
    assert not made.release().audio._forward_hooks
    assert list(probed(batch.inputs).unimodal) == ["audio", "image"]


def test_a_copy_made_during_a_forward_pass_holds_no_tensors_of_it(probed, batch):
    made = []
    probed.model.output.register_forward_hook(lambda *_: made.append(pickle.dumps(probed._caught)))
    probed(batch.inputs)
    assert pickle.loads(made[0]).outputs == {}


def test_weights_have_the_models_own_names(probed):
    names = list(probed.state_dict())
    assert [name.removeprefix("model.") for name in names if name.startswith("model.")] == list(Network().state_dict())
    assert [name for name in names if not name.startswith("model.")] == [
        f"heads.{name}.{part}" for name in PARTS for part in ("weight", "bias")
    ]
    Network().load_state_dict(probed.model.state_dict())


class TestCompiled:
    @pytest.fixture(autouse=True)
    def _fresh(self):
        torch._dynamo.reset()
        yield
        torch._dynamo.reset()

    def test_it_returns_the_same_in_one_graph(self, probed, batch):
        compiled = torch.compile(probed, backend="eager", fullgraph=True)
        one, other = compiled(batch.inputs), probed(batch.inputs)
        assert torch.equal(one.multimodal, other.multimodal)
        assert torch.equal(one.unimodal["image"], other.unimodal["image"])

    @pytest.mark.parametrize("factor", [1, 2])
    def test_transforms_work(self, probed, batch, factor):
        def transform(features):
            fused = features if factor == 1 else {name: factor * feature for name, feature in features.items()}
            return Routes(fused, {name: feature.detach() for name, feature in features.items()})

        one = torch.compile(probed, backend="eager")(batch.inputs, transform=transform)
        other = probed(batch.inputs, transform=transform)
        torch.testing.assert_close(one.multimodal, other.multimodal)
        one.unimodal["audio"].sum().backward()
        assert probed.model.audio[0].weight.grad is None

    @pytest.mark.parametrize("method", ["miles", "vanilla"])
    def test_fit_trains_it_as_it_trains_the_plain_one(self, problem, probed, method):
        sgd = functools.partial(torch.optim.SGD, lr=0.1)
        plain = fit(copy.deepcopy(probed), problem.train, problem.val, method=method, epochs=2, optimizer=sgd)
        compiled = fit(torch.compile(probed, backend="eager"), problem.train, problem.val, method=method, epochs=2, optimizer=sgd)
        for one, other in zip(plain.model.parameters(), compiled.model.parameters(), strict=True):
            torch.testing.assert_close(one, other)
        assert plain.history[-1]["multipliers"] == compiled.history[-1]["multipliers"]

    def test_a_compiled_submodule_is_watched(self, batch):
        model = Network()
        model.audio = torch.compile(model.audio, backend="eager")
        probed = probe(model, PARTS, 3, example=batch.inputs)
        prediction = probed(batch.inputs, transform=lambda features: Routes({name: 2 * z for name, z in features.items()}, features))
        torch.testing.assert_close(prediction.multimodal, model.output(2 * torch.cat(list(prediction.features.values()), dim=1)))
        assert torch.equal(probed(batch.inputs).features["audio"], model.audio(batch.inputs["audio"]))

    def test_a_model_that_is_compiled_already_is_refused(self):
        with pytest.raises(InputError, match=r"^the model is wrapped in OptimizedModule: call probe on the model itself, and wrap what it"):
            probe(torch.compile(Network(), backend="eager"), PARTS, 3)


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path):
    script = Path(__file__).with_name("two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script), str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert answer.returncode == 0, answer.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    model, data = made_alike()
    for name, gradient in gradients(model, data[:16]).items():
        torch.testing.assert_close(first["gradients"][name], gradient)
    assert first["alone"] == ["audio"]
    assert first["scores"] == second["scores"]
    assert all(torch.equal(value, second["weights"][name]) for name, value in first["weights"].items())
