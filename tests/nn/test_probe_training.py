"""Probed models under the methods: groups, rates, losses and what the fusion sees."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from equimodal import MILES, InputError, fit, modality_groups
from equimodal.methods.ogm import OGM
from equimodal.nn import Routes, probe

from .networks import PARTS, Network


class TestModalities:
    def test_name_encoder_and_head(self, probed):
        modules = probed.modality_modules()
        assert modules["image"] == {"encoder": probed.model.visual["trunk"], "head": probed.heads["image"]}
        groups = modality_groups(probed, lr=0.1)
        assert [(group["modality"], [name for name, _ in group["params"]]) for group in groups] == [
            ("multimodal", ["model.output.weight", "model.output.bias"]),
            ("audio", ["model.audio.0.weight", "model.audio.0.bias", "heads.audio.weight", "heads.audio.bias"]),
            ("image", ["model.visual.trunk.0.weight", "model.visual.trunk.0.bias", "heads.image.weight", "heads.image.bias"]),
        ]

    @pytest.mark.parametrize(
        "given", [["audio.*"], "audio", lambda model: model.audio, lambda model: [model.audio[0].weight, "audio.0.bias"]]
    )
    def test_may_own_more_than_the_submodule(self, batch, given):
        model = Network()
        parts = given(model) if callable(given) else given
        probed = probe(model, {"audio": "audio.1", "image": "visual.trunk"}, 3, example=batch.inputs, encoders={"audio": parts})
        names = [name for group in modality_groups(probed, lr=0.1) for name, _ in group["params"] if group["modality"] == "audio"]
        assert names == ["model.audio.0.weight", "model.audio.0.bias", "heads.audio.weight", "heads.audio.bias"]

    def test_are_slowed_by_miles(self, probed, batch):
        optimizer = torch.optim.SGD(modality_groups(probed, lr=1.0))
        miles = MILES(optimizer)
        miles.step({"multimodal": 0.9, "audio": 0.9, "image": 0.3})
        before = {name: value.detach().clone() for name, value in probed.named_parameters()}
        prediction = probed(batch.inputs)
        sum(cross_entropy(logits, batch.targets) for logits in (prediction.multimodal, *prediction.unimodal.values())).backward()
        optimizer.step()
        for name, value in probed.named_parameters():
            rate = 0.5 if "audio" in name else 1.0
            torch.testing.assert_close(before[name] - value, rate * value.grad)


class TestTraining:
    @pytest.mark.parametrize(
        "method", ["vanilla", "joint", "miles", "mses", "gblend", OGM(evidence="head"), OGM(evidence="zeroed-input")], ids=str
    )
    def test_by_every_kind_of_method(self, problem, probed, method):
        if method == "gblend":
            with pytest.raises(InputError, match="only"):
                fit(probed, problem.train, problem.val, method=method, epochs=1)
            return
        before = copy.deepcopy(probed.state_dict())
        run = fit(probed, problem.train, problem.val, method=method, epochs=2, optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1))
        assert list(run.history[-1]["scores"]["val"]) == ["multimodal", "audio", "image"]
        assert not torch.equal(before["model.output.weight"], probed.state_dict()["model.output.weight"])

    def test_with_detached_heads_is_that_of_the_model_alone(self, problem, batch):
        torch.manual_seed(0)
        alone = Network()
        probed = probe(copy.deepcopy(alone), PARTS, 3, example=batch.inputs, detach=True)
        for model, heads in ((alone, lambda output: (output,)), (probed, lambda found: (found.multimodal, *found.unimodal.values()))):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(3):
                optimizer.zero_grad()
                sum(cross_entropy(logits, batch.targets) for logits in heads(model(batch.inputs))).backward()
                optimizer.step()
        assert all(torch.equal(value, alone.state_dict()[name]) for name, value in probed.model.state_dict().items())

    def test_by_slices_of_a_fusion_is_refused_with_what_there_is(self, problem, probed):
        with pytest.raises(InputError, match=r"evidence = 'slice': ProbedModel has no method contributions.*choose .*'head'"):
            fit(probed, problem.train, problem.val, method="ogm", epochs=1)


class TestTransform:
    def test_of_the_heads_alone_needs_one_pass(self, probed, batch):
        counted = []
        probed.model.output.register_forward_hook(lambda *_: counted.append("output"))
        seen = probed(batch.inputs, transform=lambda features: Routes(features, {name: z.detach() for name, z in features.items()}))
        seen.unimodal["audio"].sum().backward()
        assert probed.model.audio[0].weight.grad is None
        assert counted == ["output"]

    def test_of_what_the_fusion_sees_replaces_what_the_submodules_return(self, probed, batch):
        ran = []
        probed.model.audio.register_forward_pre_hook(lambda *_: ran.append("audio"))
        doubled = probed(batch.inputs, transform=lambda features: Routes({name: 2 * z for name, z in features.items()}, features))
        features = torch.cat(list(doubled.features.values()), dim=1)
        torch.testing.assert_close(doubled.multimodal, probed.model.output(2 * features))
        torch.testing.assert_close(doubled.unimodal["audio"], probed.heads["audio"](doubled.features["audio"]))
        doubled.multimodal.sum().backward()
        assert probed.model.audio[0].weight.grad.abs().sum() > 0
        assert torch.equal(probed(batch.inputs).multimodal, probed.model(batch.inputs))  # all is as it was
