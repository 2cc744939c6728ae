"""Models as people really have them: backbones of transformers, LoRA, late fusion as in TorchMultimodal. Nothing is downloaded."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from equimodal import MILES, JointFusion, fit, modality_groups
from equimodal.data import TensorSet
from equimodal.nn import TransformersBackbone, probe
from equimodal.testing import tiny_problem

from .networks import ConcatFusionModule, LateFusion

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:peft", "ignore::FutureWarning:peft")

CLASSES = 3


def bert():
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_position_embeddings=12
    )
    return transformers.BertModel(config)


def vit():
    config = transformers.ViTConfig(
        image_size=8, patch_size=4, num_channels=1, hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    return transformers.ViTModel(config)


def resnet():
    config = transformers.ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")
    return transformers.ResNetModel(config)


def spectrograms():
    config = transformers.ASTConfig(
        hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, patch_size=4, max_length=8, num_mel_bins=8,
        frequency_stride=4, time_stride=4,
    )  # fmt: skip
    return transformers.ASTModel(config)


BACKBONES = {"vit": vit, "resnet": resnet, "ast": spectrograms}


def samples(size):
    """Token numbers and pictures, both of which tell the class."""
    generator = torch.Generator().manual_seed(size)
    targets = torch.arange(size) % CLASSES
    ids = torch.randint(5, 30, (size, 6), generator=generator)
    ids[:, 0] = targets
    mask = torch.ones(size, 6, dtype=torch.int64)
    mask[::2, 4:] = 0
    pictures = torch.randn(size, 1, 8, 8, generator=generator) * 0.1 + targets.view(-1, 1, 1, 1)
    return TensorSet({"text": {"input_ids": ids, "attention_mask": mask}, "image": pictures}, targets)


class Both(nn.Module):
    """A model of one's own around two backbones: concatenated, then one layer. It knows nothing of heads."""

    def __init__(self, image):
        super().__init__()
        self.text_model = bert()
        self.vision = nn.ModuleDict({"backbone": BACKBONES[image]()})
        self.classifier = nn.Linear(16 + 12, CLASSES)
        self.image = image

    def forward(self, inputs):
        text = self.text_model(**inputs["text"]).pooler_output
        pixels = inputs["image"].squeeze(1) if self.image == "ast" else inputs["image"]
        image = self.vision["backbone"](pixels).pooler_output.flatten(1)
        return {"logits": self.classifier(torch.cat([text, image], dim=1))}


PARTS = {"text": "text_model", "image": "vision.backbone"}


def joined(image="vit"):
    torch.manual_seed(0)
    return JointFusion({"text": TransformersBackbone(bert()), "image": TransformersBackbone(BACKBONES[image]())}, CLASSES)


def probed(image="vit"):
    torch.manual_seed(0)
    return probe(Both(image), PARTS, CLASSES)


def by_lora(model, layers="query|value", keep=()):
    return peft.get_peft_model(
        model, peft.LoraConfig(target_modules=rf".*({layers}|q_proj|v_proj)", r=2, modules_to_save=list(keep) or None)
    )


def lora_joined():
    return by_lora(joined(), keep=["heads.text", "heads.image", "fusion"])


def lora_probed():
    torch.manual_seed(0)
    return probe(by_lora(Both("vit"), keep=["classifier"]), PARTS, CLASSES)


def frozen_encoder():
    model = probed()
    model.model.text_model.requires_grad_(False)
    return model


MODELS = {
    "JointFusion, vit": joined,
    "JointFusion, resnet": lambda: joined("resnet"),
    "probe, vit": probed,
    "probe, resnet": lambda: probed("resnet"),
    "probe, ast": lambda: probed("ast"),
    "LoRA on JointFusion": lora_joined,
    "probe on LoRA": lora_probed,
    "a frozen encoder": frozen_encoder,
    "JointFusion, gated": lambda: JointFusion(
        {"text": TransformersBackbone(bert()), "image": TransformersBackbone(vit())}, CLASSES, "gated"
    ),
}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


def whose(name):
    """The modality that a parameter belongs to by its name."""
    if "text_model" in name or "encoders.text" in name or "heads.text" in name:
        return "text"
    if "vision" in name or "encoders.image" in name or "heads.image" in name:
        return "image"
    return "multimodal"


def test_groups_hold_every_parameter_under_its_modality(model):
    groups = modality_groups(model, lr=0.1)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    assert [(name, group["modality"]) for group in groups for name, _ in group["params"] if group["modality"] != whose(name)] == []
    assert {group["modality"] for group in groups} == {"text", "image", "multimodal"}


@pytest.mark.parametrize("slowed", ["text", "image"])
def test_miles_slows_the_right_modality(model, slowed):
    optimizer = torch.optim.SGD(modality_groups(model, lr=0.1))
    miles = MILES(optimizer)
    miles.step({"multimodal": 0.9, "text": 0.3, "image": 0.3} | {slowed: 0.9})
    batch = samples(6)[:]
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    prediction = model(batch.inputs)
    sum(cross_entropy(logits, batch.targets) for logits in (prediction.multimodal, *prediction.unimodal.values())).backward()
    optimizer.step()
    moved = set()
    for name, value in model.named_parameters():
        if value.grad is not None and value.grad.abs().max() > 0:
            moved.add(whose(name))
            rate = 0.05 if whose(name) == slowed else 0.1
            torch.testing.assert_close(before[name] - value.detach(), rate * value.grad, rtol=1e-3, atol=1e-6)
    assert moved == {"text", "image", "multimodal"}


def test_a_short_fit_runs(model):
    run = fit(model, samples(24), samples(12), method="miles", epochs=2, batch_size=8)
    assert list(run.history[-1]["scores"]["val"]) == ["multimodal", "text", "image"]


def test_vanilla_leaves_encoders_to_the_multimodal_loss():
    model, batch = probed(), samples(6)[:]
    run = fit(model, samples(24), samples(12), method="vanilla", epochs=1, batch_size=8)
    assert run.history[-1]["scores"]["val"]["text"] >= 0
    assert model(batch.inputs).unimodal["text"].shape == (6, CLASSES)


class TestLoRA:
    """PEFT's own names: what it puts between is looked through."""

    def test_the_patterns_of_the_plain_model_serve(self):
        patterns = {"text": "text_model", "image": ["vision.*"]}
        plain, wrapped = Both("vit"), by_lora(Both("vit"), keep=["classifier"])
        assert any(name.startswith("base_model.model.text_model") for name, _ in wrapped.named_parameters())
        whole = modality_groups(wrapped, patterns, lr=0.1)
        assert [group["modality"] for group in whole] == [group["modality"] for group in modality_groups(plain, patterns, lr=0.1)]
        assert [name for group in whole for name, _ in group["params"] if group["modality"] != whose(name)] == []

    def test_adapters_belong_to_the_module_they_adapt(self):
        wrapped = by_lora(Both("vit"), keep=["classifier"])
        groups = modality_groups(wrapped, {"text": "text_model", "image": "vision"}, lr=0.1, trainable_only=True)
        names = {group["modality"]: [name for name, _ in group["params"]] for group in groups}
        assert names["text"]
        assert all("text_model" in name and "lora_" in name for name in names["text"])
        assert all("vision" in name and "lora_" in name for name in names["image"])
        assert all("classifier.modules_to_save.default" in name for name in names["multimodal"])

    def test_whole_names_of_parameters_serve_too(self):
        wrapped = by_lora(Both("vit"), keep=["classifier"])
        query = "text_model.encoder.layer.0.attention.self.query"
        groups = modality_groups(wrapped, {"text": f"{query}.weight", "image": "classifier.bias"}, lr=0.1)
        assert [name for name, _ in groups[1]["params"]] == [f"base_model.model.{query}.base_layer.weight"]
        assert [name for name, _ in groups[2]["params"]] == [
            "base_model.model.classifier.original_module.bias",
            "base_model.model.classifier.modules_to_save.default.bias",
        ]

    def test_a_probed_model_may_be_wrapped_as_well(self):
        wrapped = by_lora(probed(), keep=["heads.text", "heads.image", "classifier"])
        assert list(wrapped(samples(4)[:].inputs).unimodal) == ["text", "image"]
        groups = modality_groups(wrapped, lr=0.1, trainable_only=True)
        assert [(name, group["modality"]) for group in groups for name, _ in group["params"] if group["modality"] != whose(name)] == []
        fit(wrapped, samples(24), samples(12), method="miles", epochs=1, batch_size=8)

    @pytest.mark.parametrize("first", ["probe", "PEFT"])
    def test_features_are_those_of_the_adapted_layer(self, first):
        inputs, single, parts = {name: torch.ones(2, 4) for name in ("text", "image")}, Single(), {"text": "text", "image": "image"}
        lora = peft.LoraConfig(target_modules=r"(model\.)?(text|image)", init_lora_weights=False)
        if first == "probe":
            model = peft.get_peft_model(probe(single, parts, CLASSES), lora)
        else:
            model = probe(peft.get_peft_model(single, lora), parts, CLASSES)
        features = model(inputs).features
        assert torch.equal(features["text"], single.text(inputs["text"]))
        assert not torch.equal(features["text"], single.text.base_layer(inputs["text"]))


class Single(nn.Module):
    """Its encoders are single layers, in whose place adapters stand."""

    def __init__(self):
        super().__init__()
        self.text, self.image, self.output = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(12, CLASSES)

    def forward(self, inputs):
        return self.output(torch.cat([self.text(inputs["text"]), self.image(inputs["image"])], dim=1))


class TestLateFusion:
    """Encoders in a dictionary, a module that fuses and one that classifies."""

    @pytest.fixture
    def model(self):
        torch.manual_seed(0)
        encoders = {name: nn.Sequential(nn.Linear(5, 6), nn.ReLU()) for name in ("audio", "image")}
        return LateFusion(encoders, ConcatFusionModule(), nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)))

    def test_groups_come_from_patterns(self, model):
        groups = modality_groups(model, {"audio": "encoders.audio", "image": "encoders.image.*"}, lr=0.1)
        assert [(group["modality"], len(group["params"])) for group in groups] == [("multimodal", 4), ("audio", 2), ("image", 2)]

    @pytest.mark.parametrize("method", ["joint", "vanilla", "miles"])
    def test_heads_are_added_and_it_trains(self, model, method):
        problem = tiny_problem()
        with_heads = probe(model, {"audio": "encoders.audio", "image": "encoders.image"}, 3, example=problem.train[:2].inputs)
        adam = partial(torch.optim.Adam, lr=0.02)
        run = fit(with_heads, problem.train, problem.val, method=method, epochs=8, batch_size=8, optimizer=adam)
        assert run.history[-1]["scores"]["train"]["multimodal"] > 0.8
        assert run.history[-1]["scores"]["train"]["audio"] > 0.5
