"""The parts of the multimodal logits by modality, and the fusion that is nothing but such parts."""

import copy
import pickle

import pytest
import torch
from torch import nn

from equimodal.errors import InputError
from equimodal.groups import modality_groups
from equimodal.nn import MLP, Concat, Fusion, JointFusion, Routes

NAMES = ("audio", "image", "text")
FUSIONS = ("concat", "sum", "additive", "late")  # those whose logits are a sum of one part per modality


def make_model(fusion, modalities=2):
    torch.manual_seed(0)
    return JointFusion({name: MLP(3, hidden=[8], out_features=4 + place) for place, name in enumerate(NAMES[:modalities])}, 7, fusion)


def make_inputs(model, batch=6):
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(batch, 3, generator=generator) for name in model.modalities}


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.linear = nn.Linear(4, 5), nn.Linear(5, 7)

    def forward(self, features):
        return self.linear(features["image"] * self.gate(features["audio"]).sigmoid())


class TestContributions:
    @pytest.mark.parametrize("modalities", [2, 3])
    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_add_up_to_the_multimodal_logits(self, fusion, modalities):
        model = make_model(fusion, modalities).double()
        prediction = model({name: value.double() for name, value in make_inputs(model).items()})
        parts = model.contributions(prediction.features)
        assert list(parts) == list(model.modalities)
        torch.testing.assert_close(sum(parts.values()), prediction.multimodal, rtol=1e-13, atol=1e-13)

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_add_up_where_a_modality_is_absent(self, fusion):
        model = make_model(fusion, 3).double()
        inputs = {name: value.double() for name, value in make_inputs(model).items()}
        del inputs["image"]
        prediction = model(inputs, {"audio": torch.arange(6) < 3})
        torch.testing.assert_close(sum(model.contributions(prediction.features).values()), prediction.multimodal, rtol=1e-13, atol=1e-13)

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_depend_on_their_own_modality_alone(self, fusion):
        model = make_model(fusion, 3)
        features = model.encode(make_inputs(model))
        parts, others = model.contributions(features), model.contributions({**features, "image": features["image"] + 1})
        assert [name for name in NAMES if not torch.equal(parts[name], others[name])] == ["image"]

    @pytest.mark.parametrize(("fusion", "share"), [("concat", True), ("sum", True), ("additive", False), ("late", False)])
    def test_share_out_a_bias_that_belongs_to_nobody_and_keep_their_own(self, fusion, share):
        model = make_model(fusion, 3)
        parts = model.contributions({name: torch.zeros(2, size) for name, size in model.feature_sizes.items()})
        for name, part in parts.items():
            own = {"additive": lambda name=name: model.fusion.linears[name].bias, "late": lambda name=name: model.heads[name].bias}
            bias = model.fusion.linear.bias / 3 if share else own[fusion]()
            torch.testing.assert_close(part, bias.expand(2, 7))

    def test_of_a_fusion_that_is_no_sum_are_refused(self):
        model = make_model(Gated())
        with pytest.raises(InputError, match=r"the fusion Gated cannot be sliced.*'zeroed-feature' or 'head'") as caught:
            model.contributions(model.encode(make_inputs(model)))
        assert "\n" not in str(caught.value)

    def test_of_a_fusion_that_names_none_are_refused(self):
        class Product(Fusion):
            def forward(self, features):
                return features["audio"].prod(dim=1, keepdim=True).expand(-1, 7)

        model = make_model(Product({"audio": 4, "image": 5}, 7))
        with pytest.raises(InputError, match="the fusion Product cannot be sliced"):
            model.contributions(model.encode(make_inputs(model)))

    def test_are_not_inherited_by_a_fusion_that_computes_something_else(self):
        class Squashed(Concat):
            def forward(self, features):
                return super().forward(features).tanh()

        model = make_model(Squashed({"audio": 4, "image": 5}, 7))
        with pytest.raises(InputError, match="the fusion Squashed cannot be sliced"):
            model.contributions(model.encode(make_inputs(model)))

    def test_of_a_fusion_of_ones_own_are_those_it_defines(self):
        class Products(nn.Module):
            def __init__(self, parts):
                super().__init__()
                self.parts = parts

            def forward(self, features):
                return sum(self.contributions(features).values())

            def contributions(self, features):
                return {name: features[name][:, :1].expand(-1, 7) for name in self.parts}

        model = make_model(Products(["audio", "image"]))
        features = model.encode(make_inputs(model))
        torch.testing.assert_close(sum(model.contributions(features).values()), model.fuse(features))
        model = make_model(Products(["audio"]))
        with pytest.raises(InputError, match=r"the part of 'image' in contributions\(\) of Products is missing: .* \[6, 7\]"):
            model.contributions(features)

    def test_need_the_features_of_all_modalities(self):
        model = make_model("concat")
        with pytest.raises(InputError, match="the fusion lacks the feature of 'image'"):
            model.contributions({"audio": torch.zeros(2, 4)})
        with pytest.raises(InputError, match="unknown modality 'vidio'"):
            model.contributions({"vidio": torch.zeros(2, 4)})

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_of_one_modality_alone_are_its_logits(self, fusion):
        model = make_model(fusion).only("audio")
        prediction = model(make_inputs(make_model(fusion)))
        parts = model.contributions(prediction.features)
        assert list(parts) == ["audio"]
        assert torch.equal(parts["audio"], prediction.multimodal)


class TestLate:
    def test_the_multimodal_logits_are_the_sum_of_the_heads(self):
        model = make_model("late", 3)
        prediction = model(make_inputs(model))
        torch.testing.assert_close(prediction.multimodal, sum(prediction.unimodal.values()))

    def test_the_fusion_sees_what_a_transform_sends_it_through_the_same_heads(self):
        model = make_model("late")
        inputs = make_inputs(model)
        features = model.encode(inputs)
        doubled = {name: 2 * feature for name, feature in features.items()}
        prediction = model(inputs, transform=lambda features: Routes({name: 2 * f for name, f in features.items()}, features))
        torch.testing.assert_close(prediction.multimodal, sum(model.classify(doubled).values()))
        torch.testing.assert_close(prediction.unimodal, model.classify(features))

    def test_the_multimodal_loss_trains_encoders_and_heads(self):
        model = make_model("late")
        model(make_inputs(model)).multimodal.square().sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in model.heads.parameters())
        assert all(parameter.grad is not None for parameter in model.encoders.parameters())

    def test_every_parameter_belongs_to_a_modality(self):
        model = make_model("late", 3)
        groups = modality_groups(model)
        assert [group["modality"] for group in groups] == list(NAMES)
        assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))

    def test_the_state_holds_every_tensor_once(self):
        state = make_model("late").state_dict()
        assert {name.split(".")[0] for name in state} == {"encoders", "heads"}
        assert len({value.data_ptr() for value in state.values()}) == len(state)

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
    def test_a_copy_has_heads_of_its_own(self, duplicate):
        model = make_model("late")
        inputs = make_inputs(model)
        before = model(inputs).multimodal
        other = duplicate(model)
        assert torch.equal(other(inputs).multimodal, before)
        with torch.no_grad():
            other.heads["audio"].bias += 1
        torch.testing.assert_close(other(inputs).multimodal, before + 1)
        assert torch.equal(model(inputs).multimodal, before)

    def test_one_modality_alone_keeps_its_encoder_and_head(self):
        model = make_model("late")
        inputs = make_inputs(model)
        assert torch.equal(model.only("image")(inputs).multimodal, model(inputs).unimodal["image"])

    def test_any_module_may_fuse_the_heads(self):
        class Product(nn.Module):
            of_heads = True

            def forward(self, logits):
                return logits["audio"] * logits["image"]

        model = make_model(Product())
        prediction = model(make_inputs(model))
        torch.testing.assert_close(prediction.multimodal, prediction.unimodal["audio"] * prediction.unimodal["image"])
