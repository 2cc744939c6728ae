import copy
import pickle
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from equimodal.errors import InputError
from equimodal.nn import MLP, JointFusion, Routes, SequenceEncoder, Sequences
from equimodal.nn.fusion import FUSIONS


class Encoder(nn.Module):
    """Returns what it is told to, to look at how a model treats it."""

    def __init__(self, output, **attributes):
        super().__init__()
        self.output = output
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, value):
        return self.output(value)


def make_model(fusion="concat", **options):
    torch.manual_seed(0)
    encoders = {"audio": nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6)), "image": MLP(4, hidden=[8], out_features=5)}
    return JointFusion(encoders, 7, fusion, feature_sizes={"audio": 6}, **options)


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    return {"audio": torch.randn(8, 3), "image": torch.randn(8, 2, 2)}


class TestForward:
    def test_is_encoders_then_fusion_and_heads(self, inputs):
        model = make_model().eval()
        prediction = model(inputs)
        features = {name: model.encoders[name](inputs[name]) for name in ("audio", "image")}
        torch.testing.assert_close(prediction.features, features)
        torch.testing.assert_close(prediction.multimodal, model.fusion(features))
        torch.testing.assert_close(prediction.unimodal, {name: model.heads[name](features[name]) for name in features})
        assert prediction.present == {}

    def test_equals_its_public_pieces(self, inputs):
        model = make_model().eval()
        present = {"audio": torch.arange(8) < 5}
        features = model.encode(inputs, present)
        prediction = model(inputs, present)
        assert torch.equal(model.fuse(features), prediction.multimodal)
        assert all(torch.equal(logits, prediction.unimodal[name]) for name, logits in model.classify(features).items())
        assert prediction.present is not present
        assert prediction.present["audio"] is present["audio"]

    def test_keeps_the_order_of_the_encoders(self, inputs):
        model = make_model()
        prediction = model(dict(reversed(inputs.items())))
        assert model.modalities == tuple(prediction.features) == tuple(prediction.unimodal) == ("audio", "image")

    def test_the_joint_loss_of_vanilla_does_not_see_the_heads_nor_the_heads_the_encoders(self, inputs):
        model = make_model()

        def probes(features):
            return Routes(features, {name: feature.detach() for name, feature in features.items()})

        prediction = model(inputs, transform=probes)
        sum(logits.sum() for logits in prediction.unimodal.values()).backward()
        assert all(parameter.grad is None for parameter in [*model.encoders.parameters(), *model.fusion.parameters()])
        assert all(parameter.grad is not None for parameter in model.heads.parameters())

    def test_fusion_and_heads_see_what_a_transform_says(self, inputs):
        model = make_model().eval()

        def swap(features):
            return Routes({name: 2 * feature for name, feature in features.items()}, {"image": features["image"] + 1})

        features = model.encode(inputs)
        prediction = model(inputs, transform=swap)
        torch.testing.assert_close(prediction.multimodal, model.fuse({name: 2 * feature for name, feature in features.items()}))
        assert list(prediction.unimodal) == ["image"]
        torch.testing.assert_close(prediction.unimodal["image"], model.heads["image"](features["image"] + 1))
        torch.testing.assert_close(prediction.features, features)

    def test_a_transform_that_loses_or_invents_a_modality_is_reported(self, inputs):
        model = make_model()
        with pytest.raises(InputError, match="the fusion lacks the feature of 'image'"):
            model(inputs, transform=lambda features: Routes({"audio": features["audio"]}, {}))
        with pytest.raises(InputError, match="unknown modality 'vidio' in the features for the fusion"):
            model(inputs, transform=lambda features: Routes({**features, "vidio": features["audio"]}, {}))
        with pytest.raises(InputError, match="unknown modality 'vidio' in the features for the heads"):
            model.classify({"vidio": torch.zeros(8, 6)})

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
    def test_survives_copying_and_its_state_moves_to_another(self, inputs, duplicate):
        model = make_model("sum").eval()
        assert torch.equal(duplicate(model)(inputs).multimodal, model(inputs).multimodal)
        other = make_model("sum").eval()
        other.load_state_dict(model.state_dict())
        assert torch.equal(other(inputs).multimodal, model(inputs).multimodal)

    def test_three_modalities_of_different_structure(self):
        model = JointFusion({"audio": MLP(3), "motion": SequenceEncoder(2), "image": MLP(4)}, 7)
        motion = Sequences.pad([torch.ones(3, 2), torch.ones(5, 2)])
        inputs = {"audio": torch.ones(2, 3), "motion": motion, "image": torch.ones(2, 4)}
        assert set(model(inputs).unimodal) == {"audio", "motion", "image"}
        alone = model({"motion": Sequences(motion.values[1:], motion.lengths[1:])})
        masked = model(inputs, {"motion": torch.tensor([False, True])})
        torch.testing.assert_close(masked.features["motion"][1:], alone.features["motion"])
        assert masked.features["motion"][0].abs().max() == 0

    def test_reads_nothing_back_from_the_device(self):
        # A meta tensor has no values, so any attempt to read one raises.
        model = JointFusion({"audio": MLP(3), "motion": SequenceEncoder(2)}, 7, "sum").to("meta")
        motion = Sequences(torch.empty(4, 9, 2, device="meta"), torch.empty(4, dtype=torch.int64, device="meta"))
        assert model({"audio": torch.empty(4, 3, device="meta"), "motion": motion}).multimodal.shape == (4, 7)


class TestAbsence:
    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_a_modality_left_out_is_a_zero_feature_for_the_fusion(self, inputs, fusion):
        model = make_model(fusion).eval()
        prediction = model({"audio": inputs["audio"]})
        zeros = torch.zeros(8, model.feature_sizes["image"])
        assert torch.equal(prediction.features["image"], zeros)
        torch.testing.assert_close(prediction.multimodal, model.fuse({"audio": prediction.features["audio"], "image": zeros}))
        assert list(prediction.unimodal) == ["audio"]

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_a_mask_leaves_the_other_rows_to_the_encoder_alone(self, inputs, fusion):
        mask = torch.tensor([1, 0, 1, 1, 0, 1, 0, 1]).bool()
        model, alone = make_model(fusion), make_model(fusion)
        features = model.encode(inputs, {"audio": mask})
        expected = alone.encoders["audio"](inputs["audio"][mask])  # in training mode: batch statistics of these rows
        torch.testing.assert_close(features["audio"][mask], expected)
        assert torch.equal(features["audio"][~mask], torch.zeros(3, model.feature_sizes["audio"]))
        torch.testing.assert_close(dict(model.encoders.named_buffers()), dict(alone.encoders.named_buffers()))

    def test_what_stands_in_absent_rows_has_no_influence(self, inputs):
        mask = torch.tensor([1, 0, 1, 1, 0, 1, 0, 1]).bool()
        results = []
        for garbage in (0.0, float("nan")):
            model = make_model()
            audio = inputs["audio"].masked_fill(~mask.unsqueeze(1), garbage).requires_grad_()
            prediction = model({"audio": audio, "image": inputs["image"]}, {"audio": mask})
            (prediction.multimodal.square().sum() + prediction.unimodal["audio"].square().sum()).backward()
            gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
            results.append((prediction.multimodal, prediction.unimodal, audio.grad, gradients, dict(model.named_buffers())))
        torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
        assert results[1][2][~mask].abs().max() == 0

    def test_rows_that_lack_the_modality_get_the_heads_answer_to_a_zero_feature(self, inputs):
        model = make_model()
        prediction = model(inputs, {"image": torch.arange(8) < 2})
        torch.testing.assert_close(prediction.unimodal["image"][2:], model.heads["image"].bias.expand(6, 7))

    def test_an_encoder_that_nobody_needs_does_not_run(self, inputs):
        def explode(value):
            raise AssertionError

        model = JointFusion({"audio": Encoder(explode, out_features=6), "image": MLP(4)}, 7)
        for batch, present in (({"image": inputs["image"]}, None), (inputs, {"audio": torch.zeros(8, dtype=torch.bool)})):
            prediction = model(batch, present)
            assert prediction.features["audio"].abs().max() == 0
            assert prediction.multimodal.isfinite().all()

    def test_a_mask_of_all_samples_changes_nothing(self, inputs):
        model = make_model().eval()
        everyone = {name: torch.ones(8, dtype=torch.bool) for name in inputs}
        assert torch.equal(model(inputs, everyone).multimodal, model(inputs).multimodal)
        assert torch.equal(model.predict(inputs, everyone), model.predict(inputs))

    def test_the_mask_of_a_modality_left_out_is_not_looked_at(self, inputs):
        prediction = make_model()({"audio": inputs["audio"]}, {"image": torch.ones(8, dtype=torch.bool)})
        assert list(prediction.unimodal) == ["audio"]
        assert prediction.present == {}

    def test_zeros_in_the_input_are_not_absence(self, inputs):
        model = make_model().eval()
        features = model.encode({**inputs, "image": torch.zeros_like(inputs["image"])})
        assert features["image"].abs().max() > 0

    def test_presence_reaches_through_tuples_and_dictionaries(self):
        nested = Encoder(lambda value: value["pair"][0] + value["pair"][1], out_features=2)
        model = JointFusion({"text": nested, "image": MLP(4)}, 7)
        text = {"pair": (torch.ones(3, 2), torch.full((3, 2), 2.0))}
        features = model.encode({"text": text}, {"text": torch.tensor([True, False, True])})
        assert features["text"].tolist() == [[3, 3], [0, 0], [3, 3]]

    def test_features_keep_their_type_under_autocast(self, inputs):
        model = make_model()
        with torch.autocast("cpu", torch.bfloat16):
            prediction = model(inputs, {"audio": torch.arange(8) < 4})
            model({"image": inputs["image"]})
        assert prediction.multimodal.dtype == torch.bfloat16


class TestPredict:
    def test_complete_samples_get_the_multimodal_logits(self, inputs):
        model = make_model().eval()
        assert torch.equal(model.predict(inputs), model(inputs).multimodal)

    def test_every_sample_is_answered_from_what_it_has(self):
        torch.manual_seed(0)
        model = JointFusion({name: MLP(3) for name in ("audio", "image", "text")}, 7).eval()
        inputs = {name: torch.randn(4, 3) for name in model.modalities}
        present = {"audio": torch.tensor([True, True, False, False]), "image": torch.tensor([True, True, True, False])}
        prediction = model(inputs, present)
        unimodal = prediction.unimodal
        expected = [
            prediction.multimodal[0],
            prediction.multimodal[1],
            (unimodal["image"][2] + unimodal["text"][2]) / 2,
            unimodal["text"][3],
        ]
        torch.testing.assert_close(model.predict(inputs, present), torch.stack(expected))

    def test_a_batch_that_lacks_a_modality_gets_the_other_head(self, inputs):
        model = make_model().eval()
        torch.testing.assert_close(
            model.predict({"image": inputs["image"]}), model.heads["image"](model.encoders["image"](inputs["image"]))
        )

    def test_a_sample_without_anything_is_named(self, inputs):
        model = make_model()
        with pytest.raises(InputError, match="sample 5 of the batch has no modality at all"):
            model.predict({"audio": inputs["audio"]}, {"audio": torch.arange(8) != 5})


class TestFeatureSizes:
    @pytest.mark.parametrize(
        "attributes",
        [
            {"out_features": 6, "num_features": 5},
            {"num_features": 6, "config": SimpleNamespace(hidden_size=5)},
            {"config": SimpleNamespace(hidden_size=6, hidden_sizes=[4, 5])},
            {"config": SimpleNamespace(hidden_sizes=[4, 6])},
        ],
    )
    def test_are_read_in_order(self, attributes):
        model = JointFusion({"audio": Encoder(nn.Identity(), **attributes), "image": MLP(4)}, 7)
        assert model.feature_sizes == {"audio": 6, "image": 64}

    def test_given_ones_come_first(self):
        encoder = Encoder(nn.Identity(), out_features=5)
        assert JointFusion({"audio": encoder, "image": MLP(4)}, 7, feature_sizes={"audio": 6}).feature_sizes["audio"] == 6

    def test_nothing_is_lazy(self):
        assert all(parameter.numel() > 0 for parameter in make_model().parameters())

    @pytest.mark.parametrize(
        ("sizes", "message"),
        [
            (None, r"encoder of 'audio' \(Sequential\) does not state its feature size: give feature_sizes=\{'audio': N\}"),
            ({"audio": 0}, "the feature size of 'audio' is 0"),
            ({"audoi": 6}, "unknown modality 'audoi' in feature_sizes: did you mean 'audio'"),
        ],
    )
    def test_that_are_not_known_are_reported(self, sizes, message):
        with pytest.raises(InputError, match=message):
            JointFusion({"audio": nn.Sequential(nn.Linear(3, 6)), "image": MLP(4)}, 7, feature_sizes=sizes)

    def test_unequal_ones_are_projected_to_the_smallest_for_a_sum(self, inputs):
        model = make_model("sum")
        assert model.feature_sizes == {"audio": 5, "image": 5}
        assert isinstance(model.encoders["image"], MLP)  # the smallest stays as it is
        features = model.encode(inputs, {"audio": torch.arange(8) < 4})
        assert features["audio"].shape == (8, 5)
        assert features["audio"][4:].abs().max() == 0  # absent behind the projection, bias and all
        projection = model.modality_modules()["audio"]["encoder"].projection
        assert projection.weight.shape == (5, 6)

    def test_equal_ones_are_left_alone_by_a_sum(self):
        encoders = {"audio": MLP(3), "image": MLP(4)}
        model = JointFusion(encoders, 7, "sum")
        assert all(model.encoders[name] is encoder for name, encoder in encoders.items())


class TestEncoders:
    def test_may_return_one_pixel(self):
        pixel = Encoder(lambda value: value[:, :, None, None], out_features=3)
        model = JointFusion({"audio": pixel, "image": MLP(4)}, 7)
        assert model.encode({"audio": torch.ones(2, 3)})["audio"].shape == (2, 3)
        summed = JointFusion({"audio": pixel, "image": MLP(4, out_features=2)}, 7, "sum")
        assert summed.encode({"audio": torch.ones(2, 3)})["audio"].shape == (2, 2)

    @pytest.mark.parametrize("fusion", ["concat", "sum"])
    @pytest.mark.parametrize(
        ("output", "message"),
        [
            (lambda value: value[:, :, None], r"encoder of 'audio' returned shape \[2, 3, 1\]: it must be \[batch, features\]"),
            (lambda value: value[:, :2], r"encoder of 'audio' returned shape \[2, 2\]: it must be \[batch, features\]"),
            (lambda value: value[:, :, None, None].expand(2, 3, 2, 2), r"encoder of 'audio' returned shape \[2, 3, 2, 2\]"),
            (lambda value: value[:1], r"encoder of 'audio' returned shape \[1, .\]: it must be \[batch, features\] = \[2, .\]"),
            (lambda value: SimpleNamespace(), r"encoder of 'audio' returned a SimpleNamespace: .*TransformersBackbone"),
        ],
    )
    def test_that_return_something_else_are_named(self, output, message, fusion):
        model = JointFusion({"audio": Encoder(output, out_features=3), "image": MLP(4, out_features=2)}, 7, fusion)
        with pytest.raises(InputError, match=message):
            model({"audio": torch.ones(2, 3)})

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("multimodal", "names what belongs to all"),
            ("my audio", "letters, digits and underscores"),
            ("a.b", "letters, digits and underscores"),
            ("", "letters, digits and underscores"),
            ("1st", "letters, digits and underscores"),
            (3, "letters, digits and underscores"),
            ("keys", "attribute of torch.nn.ModuleDict"),
            ("type", "attribute of torch.nn.ModuleDict"),
            ("training", "attribute of torch.nn.ModuleDict"),
        ],
    )
    def test_need_names_that_can_be_used(self, name, message):
        with pytest.raises(InputError, match=message):
            JointFusion({name: MLP(3), "image": MLP(4)}, 7)

    @pytest.mark.parametrize("encoders", [{}, {"audio": MLP(3)}])
    def test_are_two_or_more(self, encoders):
        with pytest.raises(InputError, match="give two or more"):
            JointFusion(encoders, 7)

    def test_are_modules(self):
        with pytest.raises(InputError, match="the encoder of 'audio' is a function"):
            JointFusion({"audio": lambda value: value, "image": MLP(4)}, 7)

    def test_may_come_as_a_module_dictionary(self):
        assert JointFusion(nn.ModuleDict({"audio": MLP(3), "image": MLP(4)}), 7).modalities == ("audio", "image")


@pytest.mark.parametrize(
    ("change", "present", "message"),
    [
        ({"audoi": torch.zeros(8, 3)}, None, "unknown modality 'audoi' in the inputs: did you mean 'audio'"),
        ({"image": torch.zeros(7, 4)}, None, r"different numbers of samples, 8 \('audio'\) and 7 \('image'\)"),
        ({"image": (torch.zeros(8, 4), torch.zeros(7))}, None, "the tensors of 'image' hold 7 and 8 samples"),
        ({"image": None}, None, "the input of 'image' holds no tensor but a NoneType: leave out a modality that is absent"),
        ({"image": torch.tensor(1.0)}, None, "the input of 'image' holds a tensor without dimensions"),
        ({}, {"iamge": torch.ones(8, dtype=torch.bool)}, "unknown modality 'iamge' in the presence masks: did you mean 'image'"),
        ({}, {"image": torch.ones(8)}, "the presence mask of 'image' has type torch.float32"),
        ({}, {"image": [True] * 8}, "the presence mask of 'image' has type list"),
        (
            {},
            {"image": torch.ones(8, 1, dtype=torch.bool)},
            r"the presence mask of 'image' has shape \[8, 1\]: it must be \[batch\] = \[8\]",
        ),
        ({}, {"image": torch.ones(7, dtype=torch.bool)}, r"the presence mask of 'image' has shape \[7\]"),
    ],
)
@pytest.mark.parametrize("call", ["forward", "predict"])
def test_input_that_cannot_be_used_is_answered_in_one_line(inputs, change, present, message, call):
    with pytest.raises(InputError, match=message) as caught:
        getattr(make_model(), call)({**inputs, **change}, present)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "found"), [(torch.zeros(8, 3), r"a tensor of shape \[8, 3\]"), ([torch.zeros(8, 3)], "a list"), (None, "a NoneType")]
)
def test_inputs_without_names_are_answered_without_showing_them(given, found):
    for model in (make_model(), make_model().only("audio")):
        for call in (model, model.predict):
            with pytest.raises(InputError, match=f"the inputs are {found}: give them by modality, {{'audio': tensor") as caught:
                call(given)
            assert "\n" not in str(caught.value)


def test_no_input_at_all_is_an_error():
    with pytest.raises(InputError, match="the inputs are empty: give at least one of audio, image"):
        make_model()({})


def test_every_parameter_is_of_a_modality_or_of_the_fusion():
    model = make_model("sum")
    modules = model.modality_modules()
    assert {name: list(roles) for name, roles in modules.items()} == {"audio": ["encoder", "head"], "image": ["encoder", "head"]}
    owned = [id(p) for roles in modules.values() for module in roles.values() for p in module.parameters()]
    left = {id(p) for p in model.parameters()} - set(owned)
    assert len(owned) == len(set(owned))
    assert left == {id(p) for p in model.fusion.parameters()}
