"""Parameter groups from name patterns, on plain and on wrapped models. PEFT: nn/test_real_models.py."""

import pytest
import torch
from torch import distributed, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.parallel import DistributedDataParallel

from equimodal import MILES, InputError, modality_groups
from equimodal.groups import ParameterRegistry, modality_modules
from equimodal.testing import tiny_problem

pytestmark = pytest.mark.filterwarnings("ignore:FSDP is switching to use `NO_SHARD`")  # there is one process


class Deep(nn.Module):
    """A model with modules at several depths, and names that begin alike."""

    def __init__(self):
        super().__init__()
        self.encoders = nn.ModuleDict({"audio": nn.Linear(2, 2), "audio_visual": nn.Linear(2, 2)})
        self.text_model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        self.vision_model = nn.Sequential(nn.Linear(2, 2))
        self.visual_projection = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, value):
        return self.scale * self.visual_projection(self.vision_model(value) + self.text_model(self.encoders["audio"](value)))


@pytest.fixture
def model():
    return Deep()


def names(groups, modality):
    return [name for group in groups for name, _ in group["params"] if group["modality"] == modality]


def taken(model, *patterns):
    return names(modality_groups(model, {"one": list(patterns)}, lr=0.1), "one")


@pytest.mark.parametrize(
    "several", [set, tuple, iter, lambda names: dict.fromkeys(names).keys()], ids=["set", "tuple", "generator", "keys"]
)
def test_names_may_come_in_anything_that_holds_several(model, several):
    groups = modality_groups(model, {"image": several(["vision_model", "visual_projection"])}, lr=0.1)
    assert sorted(names(groups, "image")) == [
        "vision_model.0.bias",
        "vision_model.0.weight",
        "visual_projection.bias",
        "visual_projection.weight",
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("encoders.audio", ["encoders.audio.weight", "encoders.audio.bias"]),  # not audio_visual
        ("encoders.audio*", [f"encoders.{name}.{part}" for name in ("audio", "audio_visual") for part in ("weight", "bias")]),
        ("encoders.*.weight", ["encoders.audio.weight", "encoders.audio_visual.weight"]),
        ("text_model", [f"text_model.{number}.{part}" for number in (0, 1) for part in ("weight", "bias")]),
        ("text_model.*", [f"text_model.{number}.{part}" for number in (0, 1) for part in ("weight", "bias")]),
        ("text_model.[1-9]", ["text_model.1.weight", "text_model.1.bias"]),
        ("vis*", ["vision_model.0.weight", "vision_model.0.bias", "visual_projection.weight", "visual_projection.bias"]),
        ("*.audio", ["encoders.audio.weight", "encoders.audio.bias"]),
        ("scale", ["scale"]),
    ],
)
def test_a_pattern_takes_modules_and_parameters_by_their_whole_dotted_name(model, pattern, expected):
    assert taken(model, pattern) == expected


def test_patterns_modules_and_parameters_go_together(model):
    groups = modality_groups(model, {"text": "text_model.*", "image": ["vision_model", model.visual_projection.weight]}, lr=0.1)
    assert names(groups, "image") == ["vision_model.0.weight", "vision_model.0.bias", "visual_projection.weight"]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_a_pattern_takes_a_shared_parameter_by_any_of_its_names(model):
    model.text_model[1].weight = model.vision_model[0].weight
    assert "text_model.1.weight" in taken(model, "vision_model")
    with pytest.raises(InputError, match=r"^parameter 'text_model.1.weight' belongs to both 'text' and 'image'"):
        modality_groups(model, {"text": "text_model", "image": "vision_model"}, lr=0.1)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("text_modle", "modality 'one': nothing in Deep is named 'text_modle': did you mean 'text_model'?"),
        ("encoder.audio", "modality 'one': nothing in Deep is named 'encoder.audio': did you mean 'encoders.audio'?"),
        ("xyz*", "modality 'one': nothing in Deep is named 'xyz*': known: encoders, text_model, vision_model, visual_projection"),
    ],
)
def test_a_pattern_that_matches_nothing_is_answered_with_the_nearest_name(model, pattern, message):
    with pytest.raises(InputError) as caught:
        taken(model, pattern)
    assert str(caught.value) == message


@pytest.fixture
def one_process():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def compiled(model):
    return torch.compile(model, backend="eager")


def compiled_inside(model):
    model.text_model = torch.compile(model.text_model, backend="eager")
    return model


def averaged(model):
    return torch.optim.swa_utils.AveragedModel(model)


def checkpointed_inside(model):
    model.text_model = checkpoint_wrapper(model.text_model)
    return model


def sharded(model):
    return FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu"))


WRAPPERS = {
    "DistributedDataParallel": DistributedDataParallel,
    "compiled": compiled,
    "compiled in DistributedDataParallel": lambda model: DistributedDataParallel(compiled(model)),
    "DistributedDataParallel compiled": lambda model: compiled(DistributedDataParallel(model)),
    "a compiled part": compiled_inside,
    "averaged": averaged,
    "a checkpointed part": checkpointed_inside,
    "FullyShardedDataParallel": sharded,
}
PATTERNS = {"text": "text_model.*", "audio": "encoders.audio", "image": ["vision_model", "visual_projection.weight"]}


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_same_patterns_serve_the_plain_and_the_wrapped_model(wrapper):
    plain = [(group["modality"], len(group["params"])) for group in modality_groups(Deep(), PATTERNS, lr=0.1)]
    wrapped = WRAPPERS[wrapper](Deep())
    groups = modality_groups(wrapped, PATTERNS, lr=0.1)
    assert [(group["modality"], len(group["params"])) for group in groups] == plain
    assert {id(parameter) for group in groups for _, parameter in group["params"]} == {id(parameter) for parameter in wrapped.parameters()}
    with pytest.raises(InputError, match=r"^modality 'one': nothing in Deep is named 'text_modle': did you mean 'text_model'\?"):
        taken(wrapped, "text_modle")


def test_a_module_of_the_models_own_that_is_called_module_is_no_wrapper():
    model = nn.ModuleDict({"module": nn.ModuleDict({"model": nn.Linear(2, 2)}), "image": nn.Linear(2, 2)})
    assert taken(model, "module.model") == ["module.model.weight", "module.model.bias"]
    with pytest.raises(InputError, match="nothing in ModuleDict is named 'model'"):
        taken(model, "model")


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("wrapper", ["DistributedDataParallel", "compiled", "averaged", "FullyShardedDataParallel"])
def test_wrapped_models_are_asked_for_their_modalities(wrapper):
    model = tiny_problem().model
    wrapped = WRAPPERS[wrapper](model)
    assert list(modality_modules(wrapped)) == ["audio", "image"]
    assert ParameterRegistry(wrapped).modalities == ("audio", "image")
    assert [group["modality"] for group in modality_groups(wrapped, lr=0.1)] == ["multimodal", "audio", "image"]
    with pytest.raises(InputError, match=r"^Deep does not name its modalities"):
        modality_groups(WRAPPERS[wrapper](Deep()), lr=0.1)


def test_a_model_may_name_its_modalities_by_patterns(model):
    model.modality_modules = lambda: {"text": {"encoder": "text_model"}, "image": {"encoder": ["vision_model"], "head": "visual_*"}}
    assert names(modality_groups(model, lr=0.1), "image")[2:] == ["visual_projection.weight", "visual_projection.bias"]
    registry = ParameterRegistry(model)
    assert registry.of("image", "head") == list(model.visual_projection.parameters())
    assert registry.of("text") == list(model.text_model.parameters())


def test_the_registry_takes_patterns_with_the_model_they_are_meant_for(model):
    registry = ParameterRegistry({"text": {"encoder": "text_model.0", "head": "text_model.1"}, "image": "vision_model"}, model)
    assert registry.of("text", "head") == list(model.text_model[1].parameters())
    assert registry.of("image") == list(model.vision_model.parameters())
    with pytest.raises(InputError, match="nothing in Deep is named 'audio'"):
        ParameterRegistry({"audio": "audio"}, model)
    with pytest.raises(InputError, match=r"^modality 'text' is given str 'text_model'"):
        ParameterRegistry({"text": "text_model"})


class TestTrainableOnly:
    def test_leaves_out_what_is_frozen(self, model):
        model.text_model[0].requires_grad_(False)
        model.scale.requires_grad_(False)
        kept = modality_groups(model, PATTERNS, lr=0.1)
        groups = modality_groups(model, PATTERNS, lr=0.1, trainable_only=True)
        assert names(kept, "text") == ["text_model.0.weight", "text_model.0.bias", "text_model.1.weight", "text_model.1.bias"]
        assert names(groups, "text") == ["text_model.1.weight", "text_model.1.bias"]
        assert "scale" in names(kept, "multimodal")
        assert "scale" not in names(groups, "multimodal")

    def test_needs_something_to_train_in_every_modality(self, model):
        model.text_model.requires_grad_(False)
        with pytest.raises(InputError) as caught:
            modality_groups(model, PATTERNS, lr=0.1, trainable_only=True)
        assert str(caught.value) == "all parameters of modality 'text' are frozen: unfreeze some, or leave the modality out"

    def test_a_frozen_encoder_that_is_kept_is_slowed_once_it_is_unfrozen(self, model):
        model.text_model.requires_grad_(False)
        optimizer = torch.optim.SGD(modality_groups(model, {"text": "text_model", "image": "vis*"}, lr=1.0))
        miles = MILES(optimizer)
        miles.step({"multimodal": 0.9, "text": 0.9, "image": 0.3})
        weight = model.text_model[0].weight

        def moved():
            before = weight.detach().clone()
            optimizer.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            gradient = weight.grad
            optimizer.step()
            return before - weight.detach(), gradient

        assert moved()[0].abs().sum() == 0
        model.text_model.requires_grad_(True)
        step, gradient = moved()
        torch.testing.assert_close(step, 0.5 * gradient)
        assert gradient.abs().sum() > 0
