from collections import UserDict
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from equimodal.errors import InputError
from equimodal.nn import MLP, JointFusion, TransformersBackbone, make_encoder


class Backbone(nn.Module):
    """Stands for a model of transformers: keyword arguments in, an object of outputs out."""

    main_input_name = "input_ids"

    def __init__(self, **outputs):
        super().__init__()
        self.config = SimpleNamespace(hidden_size=4)
        self.outputs = outputs
        self.seen = {}

    def forward(self, **arguments):
        self.seen = arguments
        return SimpleNamespace(**self.outputs)


HIDDEN = torch.arange(24.0).view(2, 3, 4)
IDS = torch.ones(2, 3, dtype=torch.int64)


class TestPooling:
    def test_takes_the_models_own(self):
        encoder = TransformersBackbone(Backbone(last_hidden_state=HIDDEN, pooler_output=torch.ones(2, 4, 1, 1)))
        assert torch.equal(encoder(IDS), torch.ones(2, 4))
        assert encoder.out_features == 4

    def test_else_the_mean_over_the_steps_that_the_mask_leaves(self):
        hidden = HIDDEN.clone()
        hidden[1, 2] = float("nan")
        encoder = TransformersBackbone(Backbone(last_hidden_state=hidden, pooler_output=None))
        feature = encoder({"input_ids": IDS, "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])})
        torch.testing.assert_close(feature, torch.stack([HIDDEN[0].mean(dim=0), HIDDEN[1, :2].mean(dim=0)]))

    def test_a_sample_without_a_step_is_zero(self):
        encoder = TransformersBackbone(Backbone(last_hidden_state=HIDDEN))
        feature = encoder({"input_ids": IDS, "attention_mask": torch.tensor([[1, 1, 1], [0, 0, 0]])})
        assert feature[1].tolist() == [0, 0, 0, 0]

    def test_without_a_mask_all_steps_count(self):
        encoder = TransformersBackbone(Backbone(last_hidden_state=HIDDEN))
        torch.testing.assert_close(encoder(IDS), HIDDEN.mean(dim=1))

    def test_over_height_and_width_of_a_feature_map(self):
        feature_map = torch.randn(2, 4, 5, 6)
        encoder = TransformersBackbone(Backbone(last_hidden_state=feature_map))
        torch.testing.assert_close(encoder(IDS), feature_map.mean(dim=(2, 3)))

    def test_a_mask_of_other_length_is_reported(self):
        encoder = TransformersBackbone(Backbone(last_hidden_state=HIDDEN))
        with pytest.raises(InputError, match=r"has shape \[2, 5\] and the model returns \[2, 3\] steps: give a mask per step"):
            encoder({"input_ids": IDS, "attention_mask": torch.ones(2, 5)})


class TestInput:
    def test_a_tensor_goes_under_the_models_main_name_or_the_given_one(self):
        backbone = Backbone(last_hidden_state=HIDDEN)
        TransformersBackbone(backbone)(IDS)
        assert list(backbone.seen) == ["input_ids"]
        TransformersBackbone(backbone, input_name="inputs_embeds")(IDS)
        assert list(backbone.seen) == ["inputs_embeds"]

    def test_a_mapping_goes_as_keyword_arguments(self):
        backbone = Backbone(last_hidden_state=HIDDEN)
        TransformersBackbone(backbone)(UserDict(input_ids=IDS, attention_mask=IDS))  # a tokenizer's output is a UserDict
        assert list(backbone.seen) == ["input_ids", "attention_mask"]


def test_a_model_that_is_loaded_takes_no_configuration():
    with pytest.raises(InputError, match="Backbone is loaded already: leave them out"):
        TransformersBackbone(Backbone(), config={"hidden_size": 3})


def test_a_model_without_a_size_is_reported():
    backbone = Backbone()
    backbone.config = SimpleNamespace()
    with pytest.raises(InputError, match="the configuration of 'Backbone' states neither hidden_size nor hidden_sizes"):
        TransformersBackbone(backbone)


LAYERS = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 37}
TINY = {**LAYERS, "vocab_size": 50}


@pytest.fixture
def installed(monkeypatch):
    pytest.importorskip("transformers", reason="transformers is not installed")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
class TestReal:
    IDS = torch.arange(1, 22).view(3, 7)
    PICTURES = torch.zeros(3, 3, 32, 32)

    @pytest.mark.parametrize(
        ("kind", "config", "value", "size"),
        [
            ("bert", TINY, IDS, 32),
            ("distilbert", {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 37, "vocab_size": 50}, IDS, 32),
            ("t5", {"d_model": 32, "num_layers": 1, "num_heads": 2, "d_ff": 37, "d_kv": 16, "vocab_size": 50}, IDS, 32),
            ("vit", {**LAYERS, "image_size": 32, "patch_size": 8}, PICTURES, 32),
            ("resnet", {"hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic", "embedding_size": 8}, PICTURES, 16),
            ("wav2vec2", {**TINY, "conv_dim": [8] * 7}, torch.zeros(3, 8000), 32),
        ],
    )
    def test_random_weights_from_a_model_type(self, kind, config, value, size):
        encoder = make_encoder({"name": "transformers", "model": kind, "pretrained": False, "config": config})
        assert encoder.out_features == size
        assert encoder(value).shape == (3, size)
        assert encoder.backbone.training

    def test_padding_of_a_text_has_no_influence(self):
        config = {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 37, "vocab_size": 50}
        encoder = TransformersBackbone("distilbert", pretrained=False, config=config).eval()
        padded = {"input_ids": torch.cat([self.IDS, torch.zeros(3, 4, dtype=torch.int64)], dim=1)}
        padded["attention_mask"] = (padded["input_ids"] > 0).long()
        torch.testing.assert_close(encoder(padded), encoder(self.IDS))

    def test_a_mask_over_audio_samples_is_shrunk_to_steps(self):
        torch.manual_seed(0)
        config = {**TINY, "conv_dim": [8] * 7, "feat_extract_norm": "layer"}
        encoder = TransformersBackbone("wav2vec2", pretrained=False, config=config).eval()
        audio = torch.randn(1, 8000)
        longer = torch.cat([audio, torch.zeros(1, 4000)], dim=1)
        mask = (torch.arange(12000) < 8000).long().unsqueeze(0)
        torch.testing.assert_close(encoder({"input_values": longer, "attention_mask": mask}), encoder(audio), atol=1e-4, rtol=1e-4)

    def test_saved_weights_come_back_in_the_default_type(self, tmp_path):
        first = TransformersBackbone("bert", pretrained=False, config=TINY).eval()
        first.backbone.to(torch.bfloat16).save_pretrained(tmp_path)
        second = TransformersBackbone(str(tmp_path), config={"hidden_dropout_prob": 0.0})
        assert second.backbone.config.hidden_dropout_prob == 0.0
        assert {p.dtype for p in second.parameters()} == {torch.float32}
        assert second.backbone.training
        weights = first.backbone.float().state_dict()
        torch.testing.assert_close(dict(second.backbone.state_dict()), dict(weights))
        scratch = TransformersBackbone(str(tmp_path), pretrained=False)
        assert not torch.equal(scratch.backbone.embeddings.word_embeddings.weight, weights["embeddings.word_embeddings.weight"])

    def test_joins_a_multimodal_model_with_absent_samples(self):
        torch.manual_seed(0)
        text = TransformersBackbone("bert", pretrained=False, config=TINY)
        model = JointFusion({"text": text, "image": MLP(4)}, 5, "sum").eval()
        tokens = {"input_ids": self.IDS, "attention_mask": torch.ones_like(self.IDS)}
        mask = torch.tensor([True, False, True])
        prediction = model({"text": tokens, "image": torch.zeros(3, 4)}, {"text": mask})
        assert prediction.features["text"].shape == (3, 32)
        assert prediction.features["text"][1].abs().max() == 0

    @pytest.mark.parametrize(
        ("model", "pretrained", "config", "message"),
        [
            ("bert", False, {**TINY, "hiden_size": 3}, "the configuration of 'bert' has no entry 'hiden_size': did you mean 'hidden_size'"),
            ("bert", False, {**TINY, "hidden_size": 31}, "transformers cannot build 'bert': .*not a multiple"),
            ("bert", False, {**TINY, "hidden_size": "x"}, "transformers cannot build 'bert': .*hidden_size.*int"),
            ("bertt", False, None, "transformers cannot build 'bertt': .*did you mean 'bert'"),
            ("nobody/nothing", True, None, "transformers cannot load 'nobody/nothing': .*give a name on the Hugging Face hub"),
            ("clip", False, None, "the configuration of 'clip' states neither hidden_size nor hidden_sizes"),
        ],
    )
    def test_answers_a_mistake_in_one_line(self, model, pretrained, config, message):
        with pytest.raises(InputError, match=message) as caught:
            TransformersBackbone(model, pretrained=pretrained, config=config)
        assert "\n" not in str(caught.value)
