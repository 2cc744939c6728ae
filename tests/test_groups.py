"""Parameter groups by modality, and multipliers that act while the optimizer steps. Schedulers: methods/test_miles_schedulers.py."""

import pytest
import torch
from torch import nn

from equimodal import InputError, modality_groups
from equimodal.groups import LearningRateMultipliers, ParameterRegistry, effective_rates, modality_modules, tagged_modalities
from equimodal.testing import tiny_problem


class TwoStreams(nn.Module):
    def __init__(self):
        super().__init__()
        self.audio = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        self.audio_head = nn.Linear(3, 2)
        self.image = nn.Linear(5, 3)
        self.image_head = nn.Linear(3, 2)
        self.fusion = nn.Linear(6, 2)


@pytest.fixture
def model():
    return TwoStreams()


def parts(model):
    return {"audio": [model.audio, model.audio_head], "image": (model.image, model.image_head)}


def members(groups):
    return [(group["modality"], [name for name, _ in group["params"]]) for group in groups]


def test_every_parameter_stands_in_exactly_one_group(model):
    groups = modality_groups(model, parts(model), lr=0.1)
    assert members(groups) == [
        ("multimodal", ["fusion.weight", "fusion.bias"]),
        ("audio", ["audio.0.weight", "audio.0.bias", "audio.1.weight", "audio.1.bias", "audio_head.weight", "audio_head.bias"]),
        ("image", ["image.weight", "image.bias", "image_head.weight", "image_head.bias"]),
    ]
    placed = [id(parameter) for group in groups for _, parameter in group["params"]]
    assert sorted(placed) == sorted(id(parameter) for parameter in model.parameters())


def test_optimizers_take_the_groups_and_keep_tag_and_names(model):
    optimizer = torch.optim.AdamW(modality_groups(model, parts(model), lr=0.1, weight_decay=0.3))
    assert [group["modality"] for group in optimizer.param_groups] == ["multimodal", "audio", "image"]
    assert optimizer.param_groups[0]["param_names"] == ["fusion.weight", "fusion.bias"]
    assert {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups} == {(0.1, 0.3)}
    assert tagged_modalities(optimizer) == ("audio", "image")


def test_overrides_change_one_modality_alone(model):
    groups = modality_groups(model, parts(model), lr=0.1, overrides={"audio": {"lr": 0.01}, "multimodal": {"weight_decay": 0.5}})
    assert [(group["modality"], group["lr"], group.get("weight_decay")) for group in groups] == [
        ("multimodal", 0.1, 0.5),
        ("audio", 0.01, None),
        ("image", 0.1, None),
    ]


def test_no_decay_splits_every_group_by_dimensions(model):
    groups = modality_groups(model, parts(model), lr=0.1, weight_decay=0.3, no_decay=True, overrides={"image": {"weight_decay": 0.7}})
    assert [(group["modality"], group["weight_decay"]) for group in groups] == [
        ("multimodal", 0.3),
        ("multimodal", 0.0),
        ("audio", 0.3),
        ("audio", 0.0),
        ("image", 0.7),
        ("image", 0.0),
    ]
    assert members(groups)[2:4] == [
        ("audio", ["audio.0.weight", "audio_head.weight"]),
        ("audio", ["audio.0.bias", "audio.1.weight", "audio.1.bias", "audio_head.bias"]),
    ]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_no_group_is_empty(model):
    everything = {"audio": [model.audio, model.audio_head, model.fusion], "image": [model.image, model.image_head]}
    assert [group["modality"] for group in modality_groups(model, everything, lr=0.1)] == ["audio", "image"]
    matrices = nn.ModuleDict({"audio": nn.Linear(2, 2, bias=False), "image": nn.Linear(2, 2, bias=False)})
    assert len(modality_groups(matrices, {"audio": matrices["audio"], "image": matrices["image"]}, no_decay=True)) == 2


@pytest.mark.parametrize(
    "audio",
    [
        lambda model: model.audio,
        lambda model: [model.audio],
        lambda model: model.audio.parameters(),
        lambda model: [*model.audio[0].parameters(), model.audio[1]],
        lambda model: {"first": model.audio[0], "second": [model.audio[1].weight, model.audio[1].bias]},
        lambda model: [model.audio, model.audio[0]],
    ],
    ids=["module", "list", "generator", "mixed", "mapping", "twice"],
)
def test_a_modality_may_be_given_as_modules_or_parameters(model, audio):
    groups = modality_groups(model, {"audio": audio(model)}, lr=0.1)
    assert members(groups)[1] == ("audio", ["audio.0.weight", "audio.0.bias", "audio.1.weight", "audio.1.bias"])


def test_frozen_parameters_are_kept(model):
    model.image.requires_grad_(False)
    assert "image.weight" in members(modality_groups(model, parts(model), lr=0.1))[2][1]


def test_models_may_name_their_modalities_themselves(model):
    assert modality_modules(model) == {}
    with pytest.raises(InputError, match=r"^TwoStreams does not name its modalities in .*: pass names .* \{'audio': 'audio_\*', .*\}$"):
        modality_groups(model, lr=0.1)
    outer = nn.Module()
    outer.net = tiny_problem().model
    with pytest.raises(InputError, match=r"; its part 'net' names them: pass model\.net\.modality_modules\(\)$"):
        modality_groups(outer, lr=0.1)
    model.modality_modules = lambda: {"image": {"encoder": model.image, "head": model.image_head}, "audio": {"encoder": model.audio}}
    assert [group["modality"] for group in modality_groups(model, lr=0.1)] == ["multimodal", "image", "audio"]


def tied(model):
    model.image_head.weight = model.audio_head.weight
    return parts(model)


@pytest.mark.parametrize(
    ("modalities", "message"),
    [
        (
            lambda model: {"audio": model.audio, "image": [model.image, model.audio[0]]},
            "parameter 'audio.0.weight' belongs to both 'audio' and 'image': narrow the pattern, or leave shared parameters "
            "out, and they count as 'multimodal'",
        ),
        (
            tied,
            "parameter 'audio_head.weight' belongs to both 'audio' and 'image': narrow the pattern, or leave shared parameters "
            "out, and they count as 'multimodal'",
        ),
        (lambda model: {"audio": [], "image": model.image}, "modality 'audio' has no parameters: give the modules that process it"),
        (lambda model: {"audio": nn.ReLU()}, "modality 'audio' has no parameters: give the modules that process it"),
        (lambda model: {"audio": nn.Linear(7, 1)}, "modality 'audio' has a parameter of shape (1, 7) that is not part of the model"),
        (
            lambda model: {"multimodal": model.fusion},
            "'multimodal' is what belongs to no single modality: leave it out, and it counts as such",
        ),
        (lambda model: {"audio": b"audio"}, "modality 'audio' is given bytes b'audio': give modules, parameters, names, or lists of them"),
        (lambda model: {"audio": [model.audio, 3]}, "modality 'audio' is given int 3: give modules, parameters, names, or lists of them"),
    ],
    ids=["overlap", "shared parameter", "empty", "no parameters", "foreign", "reserved", "text", "number"],
)
def test_wrong_parts_are_answered_in_one_line(model, modalities, message):
    with pytest.raises(InputError) as caught:
        modality_groups(model, modalities(model), lr=0.1)
    assert str(caught.value) == message


def test_plain_tensors_are_no_parts(model):
    with pytest.raises(InputError, match=r"^modality 'audio' is given Tensor"):
        modality_groups(model, {"audio": torch.zeros(2)}, lr=0.1)


def test_a_parameter_shared_by_two_modalities_may_be_left_to_the_joint_group(model):
    model.image_head = model.audio_head
    groups = modality_groups(model, {"audio": model.audio, "image": model.image}, lr=0.1)
    assert members(groups)[0] == ("multimodal", ["audio_head.weight", "audio_head.bias", "fusion.weight", "fusion.bias"])


def test_overrides_of_unknown_modalities_are_refused(model):
    with pytest.raises(InputError, match=r"^override for unknown modality 'imag': did you mean 'image'\?"):
        modality_groups(model, parts(model), overrides={"imag": {"lr": 1.0}})
    with pytest.raises(InputError, match=r"^override for 'image' is 0.1: give options by name, such as \{'lr': 1e-4\}$"):
        modality_groups(model, parts(model), overrides={"image": 0.1})


def test_what_is_no_model_and_no_mapping_is_refused(model):
    with pytest.raises(InputError, match=r"^the model is a generator: give the torch.nn.Module whose parameters are to be grouped$"):
        modality_groups(model.parameters(), {"audio": "audio"})
    with pytest.raises(InputError, match=r"^modalities are given as \['audio'\]: give a mapping, such as \{'audio': 'audio_encoder'\}$"):
        modality_groups(model, ["audio"])


def test_untagged_groups_are_named_by_number():
    optimizer = torch.optim.SGD(
        [{"params": [nn.Parameter(torch.zeros(1))], "modality": "audio"}, {"params": [nn.Parameter(torch.zeros(1))]}], lr=0.1
    )
    with pytest.raises(InputError) as caught:
        tagged_modalities(optimizer)
    assert str(caught.value) == (
        "parameter group 1 of the optimizer has no 'modality' tag: build the groups with equimodal.modality_groups"
    )


def weights_and_optimizer(**rates):
    weights = {name: nn.Parameter(torch.zeros(1, dtype=torch.float64)) for name in rates}
    groups = [{"params": [weights[name]], "modality": name, "lr": rate} for name, rate in rates.items()]
    return weights, torch.optim.SGD(groups, lr=1.0)


def test_effective_rates_need_neither_tags_nor_multipliers():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    assert effective_rates(optimizer) == {"multimodal": 0.3}
    _, optimizer = weights_and_optimizer(multimodal=1.0, audio=0.5)
    assert effective_rates(optimizer) == {"multimodal": 1.0, "audio": 0.5}


def test_multipliers_act_by_modality_during_the_step_only():
    weights, optimizer = weights_and_optimizer(multimodal=1.0, audio=0.5, image=0.25)
    multipliers = LearningRateMultipliers(optimizer)
    assert multipliers.get() == {"audio": 1.0, "image": 1.0}
    multipliers.set({"audio": 0.1})
    assert multipliers.get() == {"audio": 0.1, "image": 1.0}
    assert multipliers.get_last_lr() == [1.0, 0.5 * 0.1, 0.25]
    assert multipliers.rates_by_modality() == {"multimodal": 1.0, "audio": 0.5 * 0.1, "image": 0.25} == effective_rates(optimizer)
    for weight in weights.values():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert {name: weight.item() for name, weight in weights.items()} == {"multimodal": -1.0, "audio": -0.5 * 0.1, "image": -0.25}
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 0.5, 0.25]


def test_one_modality_may_have_several_groups_and_the_joint_one_may_be_multiplied_too():
    _, optimizer = weights_and_optimizer(multimodal=1.0, audio=0.5)
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "modality": "audio", "lr": 0.25})
    multipliers = LearningRateMultipliers(optimizer)
    multipliers.set({"audio": 0.5, "multimodal": 0.1})
    assert multipliers.get_last_lr() == [0.1, 0.25, 0.125]
    assert multipliers.modalities == ("audio",)


def test_unknown_modalities_get_no_multiplier():
    _, optimizer = weights_and_optimizer(multimodal=1.0, audio=0.5, image=0.5)
    multipliers = LearningRateMultipliers(optimizer)
    with pytest.raises(InputError, match=r"^no parameter group carries modality 'imag': did you mean 'image'\?"):
        multipliers.set({"audio": 0.5, "imag": 0.5})
    assert multipliers.get() == {"audio": 1.0, "image": 1.0}


def test_the_registry_knows_parameters_by_modality_and_role(model):
    registry = ParameterRegistry({"audio": {"encoder": model.audio, "head": model.audio_head}, "image": {"encoder": model.image}})
    assert registry.modalities == ("audio", "image")
    assert registry.of("audio")[0] is model.audio[0].weight
    assert registry.of("audio", "head") == list(model.audio_head.parameters())
    assert registry.of("image", "head") == []


def test_the_registry_asks_a_model_for_its_modalities_also_where_it_is_made_from_a_dictionary_of_modules():
    class Model(nn.ModuleDict):
        def modality_modules(self):
            return {name: self[name] for name in ("audio", "image")}

    parts = {name: nn.Linear(2, 2) for name in ("audio", "image", "fusion")}
    assert ParameterRegistry(Model(parts)).modalities == ("audio", "image")
    assert ParameterRegistry(nn.ModuleDict(parts)).modalities == ("audio", "image", "fusion")
    assert ParameterRegistry(nn.Linear(2, 2)).modalities == ()
