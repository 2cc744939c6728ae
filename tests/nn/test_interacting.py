"""Fusions in which modalities weigh or change each other, and heads of one's own beside them."""

import pytest
import torch
from torch import nn

from equimodal import MILES, InputError, fit, modality_groups
from equimodal.methods.ogm import OGM
from equimodal.methods.unimodal import Unimodal
from equimodal.nn import MLP, Attention, FiLM, Gated, JointFusion, UnimodalModel, make_fusion
from equimodal.testing import tiny_problem

SIZES = {"audio": 3, "image": 5, "text": 4}
TWO = {name: SIZES[name] for name in ("audio", "image")}


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(4, size, generator=generator) for name, size in SIZES.items()}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class TestGated:
    def test_of_two_is_the_gated_multimodal_unit(self, features):
        fusion = Gated(TWO, 7, size=6)
        audio, image = features["audio"], features["image"]
        gate = torch.sigmoid(torch.cat([audio, image], dim=1) @ fusion.gates["audio"].weight.T)
        hidden = gate * torch.tanh(audio @ fusion.hidden["audio"].weight.T)
        hidden = hidden + (1 - gate) * torch.tanh(image @ fusion.hidden["image"].weight.T)
        torch.testing.assert_close(fusion(features), hidden @ fusion.linear.weight.T + fusion.linear.bias)
        assert list(fusion.gates) == ["audio"]

    def test_of_three_has_a_gate_for_each(self, features):
        fusion = Gated(SIZES, 7)
        together = torch.cat([features[name] for name in SIZES], dim=1)
        hidden = sum(
            torch.sigmoid(together @ fusion.gates[name].weight.T) * torch.tanh(features[name] @ fusion.hidden[name].weight.T)
            for name in SIZES
        )
        torch.testing.assert_close(fusion(features), hidden @ fusion.linear.weight.T + fusion.linear.bias)
        assert fusion.size == 5

    def test_shows_its_gates(self, features):
        gates = Gated(TWO, 7).weights(features)
        torch.testing.assert_close(gates["audio"] + gates["image"], torch.ones(4, 5))


class TestFiLM:
    @pytest.mark.parametrize("modulated", ["audio", "image", "text"])
    def test_scales_and_shifts_one_feature_by_the_others(self, features, modulated):
        fusion = FiLM(SIZES, 7, modulated=modulated)
        others = torch.cat([features[name] for name in SIZES if name != modulated], dim=1)
        change = others @ fusion.modulation.weight.T + fusion.modulation.bias
        size = SIZES[modulated]
        hidden = (1 + change[:, :size]) * features[modulated] + change[:, size:]
        torch.testing.assert_close(fusion(features), hidden @ fusion.linear.weight.T + fusion.linear.bias)

    def test_of_an_unknown_modality_is_refused(self):
        with pytest.raises(InputError) as caught:
            FiLM(TWO, 7, modulated="text")
        assert str(caught.value) == "modulated = 'text' is no modality: choose audio or image"


class TestAttention:
    def test_weighs_modalities_by_what_they_hold(self, features):
        fusion = Attention(SIZES, 7, size=6)
        hidden = {name: features[name] @ fusion.hidden[name].weight.T for name in SIZES}
        first, _, last = fusion.score
        scores = torch.cat([torch.tanh(z @ first.weight.T + first.bias) @ last.weight.T for z in hidden.values()], dim=1)
        weights = scores.softmax(dim=1)
        torch.testing.assert_close(fusion.weights(features), weights)
        fused = sum(weights[:, [place]] * z for place, z in enumerate(hidden.values()))
        torch.testing.assert_close(fusion(features), fused @ fusion.linear.weight.T + fusion.linear.bias)


@pytest.mark.parametrize("kind", [Gated, Attention])
def test_a_size_that_cannot_be_is_refused(kind):
    with pytest.raises(InputError, match="size is 0: give a positive integer"):
        kind(TWO, 7, size=0)


@pytest.mark.parametrize("kind", [Gated, Attention])
def test_an_absent_modality_adds_nothing(kind, features):
    fusion = kind(SIZES, 7)
    fused = []
    fusion.linear.register_forward_pre_hook(lambda _, args: fused.append(args[0]))
    fusion({name: torch.zeros_like(feature) for name, feature in features.items()})
    assert fused[0].abs().sum() == 0


@pytest.mark.parametrize("name", ["gated", "film", "attention"])
class TestByName:
    @pytest.mark.parametrize("modalities", [2, 3])
    def test_miles_slows_the_right_modality(self, name, modalities):
        problem = tiny_problem(modalities, fusion=name)
        optimizer = torch.optim.SGD(modality_groups(problem.model, lr=0.1))
        miles = MILES(optimizer)
        miles.step(
            {"multimodal": 0.9, "audio": 0.9, "image": 0.3, "text": 0.9}
            if modalities == 3
            else {"multimodal": 0.9, "audio": 0.9, "image": 0.3}
        )
        assert miles.multipliers["audio"] == 0.5
        assert miles.multipliers["image"] == 1.0
        run = fit(problem.model, problem.train, problem.val, method="miles", epochs=2)
        assert run.history[-1]["losses"]["train"]["multimodal"] < run.history[0]["losses"]["train"]["multimodal"]

    def test_ogm_is_told_its_evidence(self, name):
        problem = tiny_problem(fusion=name)
        with pytest.raises(InputError, match=r"cannot be sliced, as it defines no contributions\(features\); choose .*'zeroed-feature'"):
            fit(problem.model, problem.train, problem.val, method="ogm", epochs=1)
        run = fit(problem.model, problem.train, problem.val, method=OGM(evidence="zeroed-feature"), epochs=1)
        assert set(run.history[0]["method"]["coefficients"]) == {"audio", "image"}

    def test_the_fusion_is_nobodys(self, name):
        model = JointFusion({"audio": MLP(3), "image": MLP(3)}, 4, fusion=name)
        groups = {group["modality"]: [named for named, _ in group["params"]] for group in modality_groups(model, lr=0.1)}
        assert all(named.startswith("fusion.") for named in groups["multimodal"])
        assert not any(named.startswith("fusion.") for modality in ("audio", "image") for named in groups[modality])

    def test_it_is_built_by_name(self, name):
        assert make_fusion(name, SIZES, 7)({modality: torch.zeros(2, size) for modality, size in SIZES.items()}).shape == (2, 7)


class TestHeadsOfOnesOwn:
    @pytest.fixture
    def model(self):
        deep = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
        return JointFusion({name: MLP(5, hidden=(8,), out_features=6) for name in ("audio", "image")}, 3, heads={"audio": deep})

    def test_classify(self, model):
        prediction = model({"audio": torch.ones(2, 5), "image": torch.ones(2, 5)})
        assert torch.equal(prediction.unimodal["audio"], model.heads["audio"](prediction.features["audio"]))
        assert isinstance(model.heads["image"], nn.Linear)

    def test_belong_to_their_modality_and_train(self, model):
        problem = tiny_problem()
        assert model.modality_modules()["audio"]["head"] is model.heads["audio"]
        for method in ("miles", "vanilla", Unimodal("audio")):
            fit(model, problem.train, problem.val, method=method, epochs=1)

    def test_know_what_an_absent_modality_looks_like(self, model):
        prediction = model.double()({"image": torch.ones(2, 5, dtype=torch.float64)})
        assert prediction.features["audio"].shape == (2, 6)
        assert prediction.features["audio"].dtype is torch.float64

    def test_stand_in_the_unimodal_model(self, model):
        alone = model.only("audio")
        assert (alone.num_outputs, alone.feature_sizes) == (3, {"audio": 6})
        inputs = {"audio": torch.ones(2, 5), "image": torch.ones(2, 5)}
        assert torch.equal(alone(inputs).multimodal, model(inputs).unimodal["audio"])

    def test_without_parameters_will_do(self):
        model = JointFusion({name: nn.Linear(5, 3) for name in ("audio", "image")}, 3, heads={"audio": nn.Identity()})
        assert torch.equal(model({"image": torch.ones(2, 5)}).features["audio"], torch.zeros(2, 3))

    @pytest.mark.parametrize(
        ("heads", "message"),
        [
            ({"sound": nn.Linear(6, 3)}, "unknown modality 'sound' in heads: known: audio, image"),
            ({"audio": 3}, "the head of 'audio' is a int: give a torch.nn.Module"),
        ],
    )
    def test_that_cannot_be_are_refused(self, heads, message):
        with pytest.raises(InputError) as caught:
            JointFusion({name: nn.Linear(5, 6) for name in ("audio", "image")}, 3, heads=heads)
        assert str(caught.value) == message

    def test_of_another_shape_are_refused(self):
        model = JointFusion({name: nn.Linear(5, 6) for name in ("audio", "image")}, 3, heads={"audio": nn.Linear(6, 4)})
        with pytest.raises(InputError, match=r"^the head of 'audio' returned shape \[2, 4\]: it must be \[batch, outputs\] = \[2, 3\]"):
            model({"audio": torch.ones(2, 5)})

    def test_alone_state_their_sizes(self):
        with pytest.raises(InputError, match=r"^the head of 'audio', a Sequential, states no sizes: give feature_size and num_outputs"):
            UnimodalModel("audio", nn.Linear(5, 6), nn.Sequential(nn.Linear(6, 3)))
