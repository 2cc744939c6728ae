"""Heads on a model that has none."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from equimodal import InputError, fit
from equimodal.nn import Prediction, Routes, probe

from .networks import PARTS, Network


class TestForward:
    def test_the_multimodal_logits_are_the_models_own(self, probed, batch):
        prediction = probed(batch.inputs)
        assert isinstance(prediction, Prediction)
        assert torch.equal(prediction.multimodal, probed.model(batch.inputs))

    def test_the_heads_read_what_the_submodules_return(self, probed, batch):
        prediction = probed(batch.inputs)
        audio = probed.model.audio(batch.inputs["audio"])
        assert torch.equal(prediction.features["audio"], audio)
        assert torch.equal(prediction.unimodal["audio"], probed.heads["audio"](audio))
        assert list(prediction.unimodal) == ["audio", "image"]

    def test_the_model_runs_once(self, probed, batch):
        counted = []
        probed.model.audio.register_forward_hook(lambda *_: counted.append("audio"))
        probed(batch.inputs)
        assert counted == ["audio"]

    def test_encoders_learn_from_their_heads(self, probed, batch):
        probed(batch.inputs).unimodal["audio"].sum().backward()
        assert probed.model.audio[0].weight.grad.abs().sum() > 0
        assert probed.model.visual["trunk"][0].weight.grad is None

    def test_detached_heads_leave_the_model_as_it_is(self, batch):
        probed = probe(Network(), PARTS, 3, example=batch.inputs, detach=True)
        prediction = probed(batch.inputs)
        prediction.unimodal["audio"].sum().backward()
        assert all(parameter.grad is None for parameter in probed.model.parameters())
        assert probed.heads["audio"].weight.grad is not None
        assert prediction.features["audio"].requires_grad

    def test_a_modality_whose_submodule_did_not_run_has_no_entry(self, probed, batch):
        prediction = probed({"audio": batch.inputs["audio"]})
        assert list(prediction.unimodal) == list(prediction.features) == ["audio"]

    def test_a_submodule_may_be_given_itself(self, batch):
        model = Network()
        probed = probe(model, {"audio": model.audio, "image": model.visual["trunk"]}, 3, example=batch.inputs)
        assert probed.submodules == PARTS

    def test_calls_of_the_model_by_itself_are_not_watched(self, probed, batch):
        with torch.no_grad():
            probed.model(batch.inputs)
            probed.model(batch.inputs)
        assert list(probed(batch.inputs).unimodal) == ["audio", "image"]

    def test_a_failed_call_leaves_nothing_behind(self, probed, batch):
        with pytest.raises(RuntimeError):
            probed({"audio": batch.inputs["audio"], "image": torch.zeros(8, 99)})
        assert torch.equal(probed(batch.inputs).features["audio"], probed.model.audio(batch.inputs["audio"]))

    def test_heads_have_the_type_of_the_submodule(self, batch):
        probed = probe(Network().double(), PARTS, 3, feature_sizes={"audio": 6, "image": 6})
        assert probed({name: value.double() for name, value in batch.inputs.items()}).unimodal["audio"].dtype is torch.float64


class Returning(nn.Module):
    """Returns what it is told to, for two modalities."""

    def __init__(self, audio, logits=None):
        super().__init__()
        self.audio, self.image = Fixed(audio), nn.Linear(5, 4)
        self.logits = logits

    def forward(self, inputs, **options):
        self.audio(inputs["audio"], **options)
        self.image(inputs["image"])
        return torch.zeros(2, 3) if self.logits is None else self.logits


class Fixed(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, value, **options):
        return self.output


INPUTS = {"audio": torch.zeros(2, 5), "image": torch.zeros(2, 5)}
TOKENS = torch.arange(24.0).view(2, 3, 4)
PICTURES = torch.arange(48.0).view(2, 4, 2, 3)


def feature_of(output, options=None, **given):
    model = probe(Returning(output), {"audio": "audio", "image": "image"}, 3, feature_sizes={"audio": 4}, **given)
    return model(INPUTS, **(options or {})).features["audio"]


class TestFeatures:
    @pytest.mark.parametrize(
        ("output", "expected"),
        [
            (TOKENS[:, 0], TOKENS[:, 0]),
            (TOKENS, TOKENS.mean(dim=1)),
            (PICTURES, PICTURES.mean(dim=(2, 3))),
            (PICTURES.unsqueeze(2), PICTURES.mean(dim=(2, 3))),
            (SimpleNamespace(pooler_output=PICTURES[..., :1, :1], last_hidden_state=TOKENS), PICTURES[..., 0, 0]),
            (SimpleNamespace(pooler_output=None, last_hidden_state=TOKENS), TOKENS.mean(dim=1)),
            ({"last_hidden_state": PICTURES}, PICTURES.mean(dim=(2, 3))),
        ],
        ids=["feature", "tokens", "picture", "video", "pooler", "no pooler", "mapping"],
    )
    def test_are_made_of_outputs_by_their_shape(self, output, expected):
        torch.testing.assert_close(feature_of(output), expected)

    def test_leave_padding_out(self):
        spoilt = TOKENS.clone()
        spoilt[0, 2] = torch.nan
        mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
        expected = torch.stack([TOKENS[0, :2].mean(dim=0), TOKENS[1].mean(dim=0)])
        torch.testing.assert_close(feature_of(spoilt, {"attention_mask": mask}), expected)

    def test_are_made_by_a_function_of_ones_own(self):
        assert torch.equal(feature_of((TOKENS, None), features={"audio": lambda output: output[0][:, -1]}), TOKENS[:, -1])

    @pytest.mark.parametrize(
        ("output", "found"),
        [((TOKENS, None), "a tuple"), (TOKENS[0, 0], r"shape \[4\]"), (SimpleNamespace(), "a SimpleNamespace")],
    )
    def test_cannot_be_made_of_everything(self, output, found):
        with pytest.raises(
            InputError, match=f"^the submodule of 'audio' returned {found}, of which no feature can be made: give features="
        ):
            feature_of(output)

    def test_of_another_kind_are_refused(self):
        with pytest.raises(InputError, match=r"^the feature of 'audio' is shape \[2, 3, 4\]: features=\{'audio': function\} must return"):
            feature_of(TOKENS, features={"audio": lambda output: output})

    def test_of_another_size_than_stated_are_refused(self):
        with pytest.raises(InputError) as caught:
            feature_of(torch.zeros(2, 7))
        assert str(caught.value) == "the feature of 'audio' has 7 values, and 4 were stated: give feature_sizes={'audio': 7}"

    def test_need_a_row_per_sample(self):
        with pytest.raises(InputError, match="the feature of 'audio' has 3 rows and the batch 2: one per sample is needed"):
            feature_of(torch.zeros(3, 4))


class TestSizes:
    def test_are_stated_given_or_found(self, batch):
        model = nn.ModuleDict({"audio": nn.Linear(5, 7), "image": nn.Linear(5, 9)})
        assert probe(model, {"audio": "audio", "image": "image"}, 3).feature_sizes == {"audio": 7, "image": 9}
        assert probe(Network(), PARTS, 3, example=batch.inputs).feature_sizes == {"audio": 6, "image": 6}
        assert probe(Network(), PARTS, 3, feature_sizes={"audio": 6, "image": 6}).heads["image"].in_features == 6

    def test_that_nobody_says_are_asked_for(self):
        with pytest.raises(InputError) as caught:
            probe(Network(), PARTS, 3)
        assert str(caught.value) == (
            "the submodule 'audio' of 'audio' does not state its feature size: give feature_sizes={'audio': N}, or example=inputs to find "
            "it with"
        )

    def test_are_found_without_a_trace(self, batch):
        model = Network()
        model.audio.append(nn.BatchNorm1d(6))
        model.visual.eval()
        before = copy.deepcopy(model.state_dict())
        probe(model, PARTS, 3, example=batch.inputs)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert model.training
        assert not model.visual.training

    def test_are_not_found_on_an_example_without_the_modality(self, batch):
        with pytest.raises(InputError, match=r"^the submodule 'visual.trunk' of 'image' did not run on the example: give another"):
            probe(Network(), PARTS, 3, example={"audio": batch.inputs["audio"]})


class TestOutput:
    @pytest.mark.parametrize(
        "wrap",
        [lambda logits: SimpleNamespace(logits=logits), lambda logits: {"logits": logits}, lambda logits: (logits, "more")],
        ids=["attribute", "entry", "tuple"],
    )
    def test_has_the_logits(self, wrap):
        logits = torch.arange(6.0).view(2, 3)
        model = probe(Returning(TOKENS, wrap(logits)), {"audio": "audio", "image": "image"}, 3, feature_sizes={"audio": 4})
        assert torch.equal(model(INPUTS).multimodal, logits)

    def test_is_made_by_a_function_of_ones_own(self):
        model = Returning(TOKENS, {"scores": torch.ones(2, 3)})
        probed = probe(model, {"audio": "audio", "image": "image"}, 3, feature_sizes={"audio": 4}, output=lambda found: found["scores"])
        assert torch.equal(probed(INPUTS).multimodal, torch.ones(2, 3))

    @pytest.mark.parametrize(
        ("logits", "found"), [({"scores": 1}, "a dict"), (torch.zeros(2), r"shape \[2\]"), (torch.zeros(2, 4), r"shape \[2, 4\]")]
    )
    def test_of_another_kind_is_refused(self, logits, found):
        probed = probe(Returning(TOKENS, logits), {"audio": "audio", "image": "image"}, 3, feature_sizes={"audio": 4})
        with pytest.raises(InputError, match=rf"^Returning returned {found} as its logits: they must be \[batch, 3\]; give output="):
            probed(INPUTS)


class Keywords(Network):
    def forward(self, pixels, sound, labels=None):
        return super().forward({"image": pixels, "audio": sound})


class MaskedKeywords(Network):
    def forward(self, image=None, audio=None, present=None):
        sound = self.audio(audio) * present["audio"].unsqueeze(1) if present else self.audio(audio)
        return self.output(torch.cat([sound, self.visual["trunk"](image)], dim=1))


class TestCall:
    def test_as_keywords(self, batch):
        inputs = {"pixels": batch.inputs["image"], "sound": batch.inputs["audio"]}
        probed = probe(Keywords(), PARTS, 3, call="keywords", example=inputs)
        assert torch.equal(probed(inputs).multimodal, probed(**inputs).multimodal)
        assert torch.equal(probed(inputs["pixels"], inputs["sound"]).multimodal, probed.model(**inputs))

    def test_as_keywords_with_masks(self, batch):
        probed, mask = probe(MaskedKeywords(), PARTS, 3, call="keywords", example=batch.inputs), torch.arange(len(batch)) > 2
        expected = probed.model(**batch.inputs, present={"audio": mask})
        assert torch.equal(probed(batch.inputs, present={"audio": mask}).multimodal, expected)
        assert torch.equal(probed.predict(batch.inputs, {"audio": mask})[mask], expected[mask])

    def test_by_a_function_so_that_fit_can_train_it(self, problem):
        def call(model, inputs):
            return model(sound=inputs["audio"], pixels=inputs["image"])

        probed = probe(Keywords(), PARTS, 3, call=call, example=problem.train[:2].inputs)
        run = fit(probed, problem.train, problem.val, method="miles", epochs=1)
        assert list(run.history[-1]["scores"]["val"]) == ["multimodal", "audio", "image"]

    def test_with_an_example_of_several_arguments(self, batch):
        probed = probe(Keywords(), PARTS, 3, example=(batch.inputs["image"], batch.inputs["audio"]))
        assert probed.feature_sizes == {"audio": 6, "image": 6}


class TestTransform:
    def test_of_what_the_fusion_sees_needs_plain_features(self):
        probed = probe(Returning(TOKENS), {"audio": "audio", "image": "image"}, 3, feature_sizes={"audio": 4})
        with pytest.raises(InputError) as caught:
            probed(INPUTS, transform=lambda features: Routes({name: 2 * z for name, z in features.items()}, features))
        assert str(caught.value) == (
            "the method changes what the fusion sees, and the submodule of 'audio' returns shape [2, 3, 4]: only [batch, features] can be "
            "changed; name a submodule that returns it, or choose another method"
        )


class TestPredict:
    def test_takes_what_is_there(self, probed, batch):
        everything, audio = probed.predict(batch.inputs), probed.predict({"audio": batch.inputs["audio"]})
        assert torch.equal(everything, probed(batch.inputs).multimodal)
        assert torch.equal(audio, probed(batch.inputs).unimodal["audio"])

    def test_says_so_where_the_model_cannot_run_without_a_modality(self, batch):
        probed = probe(Keywords(), PARTS, 3, call=lambda model, inputs: model(inputs["image"], inputs["audio"]), example=batch.inputs)
        with pytest.raises(InputError, match=r"^Keywords cannot run without image \(KeyError: 'image'\): give all modalities"):
            probed.predict({"audio": batch.inputs["audio"]})
        probed = probe(MaskedKeywords(), PARTS, 3, call="keywords", example=batch.inputs)
        with pytest.raises(InputError, match=r"^MaskedKeywords cannot run without audio \(TypeError: .*\): give all modalities$"):
            probed.predict({"image": batch.inputs["image"]})


class TestChangedModel:
    """What stands in a submodule's place is what is watched, whenever it came there."""

    def test_another_submodule_takes_the_place_of_the_first(self, probed, batch):
        first, probed.model.audio = probed.model.audio, Network().audio
        probed.model.audio.load_state_dict(first.state_dict())
        assert torch.equal(probed(batch.inputs).features["audio"], first(batch.inputs["audio"]))
        assert list(probed(batch.inputs).unimodal) == ["audio", "image"]
        model = probed.release()
        assert not first._forward_hooks
        assert not any(module._forward_hooks for module in model.modules())

    def test_a_submodule_that_is_gone_is_named(self, probed, batch):
        del probed.model.audio
        with pytest.raises(InputError, match=r"^the submodule 'audio' of 'audio' is gone: call probe again on the changed model$"):
            probed(batch.inputs)


def test_released_the_model_has_no_hooks(probed, batch):
    model = probed.release()
    assert not model.audio._forward_hooks
    assert isinstance(model, Network)
    with pytest.raises(InputError, match=r"release\(\): call probe again"):
        probed(batch.inputs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: probe(Network(), {"audio": "audoi", "image": "visual"}, 3),
            "modality 'audio': Network has no submodule 'audoi': did you mean 'audio'?",
        ),
        (
            lambda: probe(Network(), {"audio": "xyz", "image": "visual"}, 3),
            "modality 'audio': Network has no submodule 'xyz': known: audio, output, visual",
        ),
        (
            lambda: probe(Network(), {"audio": 3, "image": "visual"}, 3),
            "modality 'audio' is given 3: give a submodule of the model, or its dotted name",
        ),
        (
            lambda: probe(Network(), {"audio": nn.Linear(2, 2), "image": "visual"}, 3),
            "the Linear of 'audio' is no submodule of Network: give one, or its dotted name",
        ),
        (
            lambda: probe(Network(), {"audio": "audio", "image": "audio"}, 3),
            "'audio' and 'image' are given the same submodule 'audio': each needs its own",
        ),
        (lambda: probe(Network(), {"audio": "audio"}, 3), "1 modalities given (audio): give two or more"),
        (lambda: probe(3, PARTS, 3), "the model is 3: give a torch.nn.Module"),
        (
            lambda: probe(nn.DataParallel(Network()), PARTS, 3),
            "the model is wrapped in DataParallel: call probe on the model itself, and wrap what it returns",
        ),
        (lambda: probe(Network(), PARTS, 3, heads={"sound": nn.Linear(6, 3)}), "unknown modality 'sound' in heads: known: audio, image"),
        (
            lambda: probe(Network(), PARTS, 3, call="mapping"),
            "call = 'mapping': 'keywords', a function of the model and its inputs, or None is needed",
        ),
        (lambda: probe(Network(), PARTS, 3, encoders={"audio": nn.Linear(2, 2)}), "encoders: a Linear of 'audio' is no part of Network"),
    ],
    ids=["misspelt", "unknown", "number", "foreign", "twice", "one", "no model", "wrapped", "heads", "call", "encoders"],
)
def test_wrong_arguments_are_answered_in_one_line(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message


def test_a_submodule_that_runs_twice_is_refused(batch):
    class Twice(Network):
        def forward(self, inputs):
            self.audio(inputs["audio"])
            return super().forward(inputs)

    with pytest.raises(
        InputError, match=r"^the Sequential of 'audio' ran more than once in a forward pass: name a submodule that runs once"
    ):
        probe(Twice(), PARTS, 3, feature_sizes={"audio": 6, "image": 6})(batch.inputs)


def test_where_nothing_ran_there_is_nothing_to_say(batch):
    class Elsewhere(Network):
        def forward(self, inputs):
            return self.output(torch.zeros(8, 12))

    with pytest.raises(InputError, match=r"^none of 'audio', 'visual.trunk' ran in the forward pass"):
        probe(Elsewhere(), PARTS, 3, feature_sizes={"audio": 6, "image": 6})(batch.inputs)


class TestHeads:
    def test_of_ones_own(self, batch):
        deep = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
        probed = probe(Network(), PARTS, 3, heads={"audio": deep}, example=batch.inputs)
        assert torch.equal(probed(batch.inputs).unimodal["audio"], deep(probed.model.audio(batch.inputs["audio"])))
        assert isinstance(probed.heads["image"], nn.Linear)

    def test_of_another_shape_are_refused(self, batch):
        probed = probe(Network(), PARTS, 3, heads={"audio": nn.Linear(6, 5)}, example=batch.inputs)
        with pytest.raises(InputError, match=r"^the head of 'audio' returned shape \[8, 5\]: it must be \[batch, outputs\] = \[8, 3\]"):
            probed(batch.inputs)

    def test_per_token(self):
        class PerToken(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(4, 3)

            def forward(self, tokens):
                return self.linear(tokens).transpose(1, 2)

        heads = {"audio": PerToken(), "image": PerToken()}
        whole = {"audio": lambda output: output, "image": lambda output: output.unsqueeze(1).expand(-1, 3, -1)}
        probed = probe(Returning(TOKENS, torch.zeros(2, 3, 3)), {"audio": "audio", "image": "image"}, 3, heads=heads, features=whole)
        assert probed(INPUTS).unimodal["audio"].shape == (2, 3, 3)
        assert probed.predict(INPUTS).shape == (2, 3, 3)
