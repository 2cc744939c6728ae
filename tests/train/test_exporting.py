import copy
import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from equimodal.errors import CannotWrite
from equimodal.nn import MLP, Concat, FiLM, Gated, JointFusion, ResNet, TextEncoder, UnimodalModel, probe
from equimodal.train.config import train
from equimodal.train.exporting import export_modality, export_model, load_modality, load_model
from equimodal.train.loading import load

from .examples import network, refusal, run

INPUTS = {"audio": torch.linspace(-1, 1, 20).reshape(4, 5), "image": torch.linspace(0, 2, 20).reshape(4, 5)}
WIDE = {"name": "mlp", "in_features": 5, "hidden": [8], "out_features": 9}
SUFFIXES = pytest.mark.parametrize("suffix", [".safetensors", ".pt"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run under summation, where the wider encoder is followed by a projection."""
    folder = tmp_path_factory.mktemp("exporting") / "run"
    config = {"dataset": "cli.tiny:Tiny", "epochs": 2, "device": "cpu", "model": {"fusion": "sum", "encoders": {"image": WIDE}}}
    train(config, out=folder)
    return folder


@SUFFIXES
@pytest.mark.parametrize("modality", ["audio", "image"])
def test_a_modality_of_a_run_comes_back_bit_for_bit(trained, tmp_path, suffix, modality):
    file = export_modality(trained, modality, tmp_path / f"part{suffix}")
    model = load_modality(file)
    assert isinstance(model, UnimodalModel)
    assert (model.modality, model.num_outputs, model.training) == (modality, 3, False)
    alone = {modality: INPUTS[modality]}
    assert torch.equal(model.predict(alone), load(trained).predict(alone))


@SUFFIXES
def test_a_whole_model_comes_back_bit_for_bit(trained, tmp_path, suffix):
    model = load_model(export_model(trained, tmp_path / f"all{suffix}"))
    assert torch.equal(model.predict(INPUTS), load(trained).predict(INPUTS))


@SUFFIXES
def test_nothing_of_this_package_is_needed_to_read_it(trained, tmp_path, suffix):
    """The encoder is built by hand, and takes the weights strictly."""
    file = export_modality(trained, "audio", tmp_path / f"audio{suffix}")
    state = load_file(file) if suffix == ".safetensors" else torch.load(file, weights_only=True)

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU())

        def forward(self, value):
            return self.layers(value)

    by_hand = nn.ModuleDict({"encoder": Encoder(), "head": nn.Linear(6, 3)})
    by_hand.load_state_dict(state, strict=True)
    logits = by_hand["head"](by_hand["encoder"](INPUTS["audio"]))
    assert torch.equal(logits, load(trained).predict({"audio": INPUTS["audio"]}))


def test_a_safetensors_file_says_what_it_holds(trained, tmp_path):
    with safe_open(export_modality(trained, "image", tmp_path / "image.safetensors"), framework="pt") as file:
        metadata = file.metadata()
    said = json.loads(metadata["equimodal"])
    assert metadata["format"] == "pt"
    assert (said["modality"], said["num_outputs"], said["projected"], said["task"]) == ("image", 3, True, "single-label")
    assert said["encoder"] == {**WIDE, "dropout": 0.0}
    assert said["run"]["method"]["name"] == "miles"
    assert said["architecture"].startswith("Linear layers, each followed by ReLU, the last one too")
    assert said["architecture"].endswith("; then a linear layer")  # the projection of a sum


def test_the_architecture_of_every_encoder_is_said_in_words(tmp_path):
    encoders = {"audio": ResNet(6, in_channels=1), "text": TextEncoder(9), "own": nn.Linear(3, 2)}
    with safe_open(export_model(JointFusion(encoders, 3), tmp_path / "all.safetensors"), framework="pt") as file:
        said = json.loads(file.metadata()["equimodal"])["architecture"]
    assert said["audio"] == "The residual networks of He et al. (2016), averaged over the picture and without a classifier"
    assert "SequenceEncoder, which ends with ReLU" in said["text"]
    assert ":class:" not in said["text"]
    assert said["own"] is None


@SUFFIXES
def test_a_model_object_is_exported_as_a_run_is(tmp_path, suffix):
    with torch.random.fork_rng([]):
        encoders = {"audio": network().encoders["audio"], "image": ResNet(6, in_channels=1, norm="group")}
        model = JointFusion(encoders, 3, feature_sizes={"audio": 5}).double().eval()
    inputs = {"image": torch.linspace(0, 1, 2 * 32 * 32, dtype=torch.float64).reshape(2, 1, 32, 32)}
    assert torch.equal(load_modality(export_modality(model, "image", tmp_path / f"one{suffix}")).predict(inputs), model.predict(inputs))
    assert torch.equal(load_model(export_model(model, tmp_path / f"all{suffix}")).predict(inputs), model.predict(inputs))
    alone = model.only("image")
    assert torch.equal(load_model(export_model(alone, tmp_path / f"alone{suffix}")).predict(inputs), alone.predict(inputs))


def test_a_wrapped_model_is_exported_as_the_one_inside(tmp_path):
    model = JointFusion({"audio": MLP(5), "image": MLP(5)}, 3).eval()
    for number, wrapped in enumerate((torch.compile(model, backend="eager"), nn.DataParallel(model))):
        assert torch.equal(load_model(export_model(wrapped, tmp_path / f"{number}.pt")).predict(INPUTS), model.predict(INPUTS))


@SUFFIXES
def test_parts_of_another_type_each_come_back_bit_for_bit(tmp_path, suffix):
    model = JointFusion({"audio": MLP(5), "image": MLP(5)}, 3).eval()
    model.encoders["audio"].bfloat16()
    loaded = load_model(export_model(model, tmp_path / f"mixed{suffix}")).state_dict()
    assert all(value.dtype == loaded[name].dtype and torch.equal(value, loaded[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "fusion",
    [FiLM({"audio": 6, "image": 6}, 3, modulated="image"), Gated({"audio": 6, "image": 6}, 3, size=2), Concat({"image": 6, "audio": 6}, 3)],
    ids=["option", "size", "order"],
)
def test_a_fusion_that_its_name_does_not_make_is_given(tmp_path, fusion):
    def made(part):
        return JointFusion({name: MLP(5, out_features=6) for name in ("audio", "image")}, 3, fusion=part).eval()

    model = made(fusion)
    file = export_model(model, tmp_path / "all.pt")
    assert "give one, load_model(path, model=my_model)" in refusal(load_model, file)
    assert torch.equal(load_model(file, model=made(copy.deepcopy(fusion))).predict(INPUTS), model.predict(INPUTS))
    by_name = JointFusion({name: MLP(5) for name in ("audio", "image")}, 3, fusion="film").eval()
    assert torch.equal(load_model(export_model(by_name, tmp_path / "named.pt")).predict(INPUTS), by_name.predict(INPUTS))


def test_a_feature_that_a_function_makes_cannot_be_exported(tmp_path):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.audio, self.image, self.output = nn.Linear(5, 6), nn.Linear(5, 6), nn.Linear(12, 3)

        def forward(self, inputs):
            return self.output(torch.cat([self.audio(inputs["audio"]), self.image(inputs["image"])], dim=1))

    parts = {"audio": "audio", "image": "image"}
    probed = probe(Network(), parts, 3, features={"audio": lambda output: 5 * output}, example=INPUTS).eval()
    assert "the feature of 'audio' is made by a function" in refusal(export_modality, probed, "audio", tmp_path / "audio.pt")
    file = export_modality(probed, "image", tmp_path / "image.pt")
    image = load_modality(file, encoder=nn.Linear(5, 6))
    assert torch.equal(image.predict(INPUTS), probed(INPUTS).unimodal["image"])


def test_an_encoder_whose_class_cannot_be_imported_is_given(tmp_path):
    class Local(Mine):
        def __init__(self, out_features):
            super().__init__(out_features)

    model = JointFusion({"audio": Local(4), "image": Elsewhere(5)}, 3).eval()
    assert "give one of the same shapes, encoder=my_encoder" in refusal(
        load_modality, export_modality(model, "audio", tmp_path / "audio.pt")
    )
    file = export_modality(model, "image", tmp_path / "image.pt")
    said = refusal(load_modality, file)
    assert said.startswith(f"{file}: encoder 'nowhere.at_all:Elsewhere' cannot be imported")
    assert said.endswith("or give one of the same shapes, encoder=my_encoder")
    assert torch.equal(
        load_modality(file, encoder=Mine(5)).predict({"image": torch.ones(2, 6)}), model.predict({"image": torch.ones(2, 6)})
    )


class Mine(nn.Module):
    """An encoder that does not say how it was made, with a weight that is used twice."""

    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(6, width)
        self.again = nn.Linear(6, width)
        self.again.weight = self.first.weight
        self.out_features = width

    def forward(self, value):
        return self.first(value) + self.again(value)


class Elsewhere(Mine):
    """An encoder of a module that is not there any more."""

    __module__ = "nowhere.at_all"

    def __init__(self, out_features):
        super().__init__(out_features)


@SUFFIXES
def test_an_encoder_that_cannot_be_made_anew_is_given(tmp_path, suffix):
    model = JointFusion({"audio": Mine(4), "image": Mine(5)}, 3).eval()
    file, value = export_modality(model, "audio", tmp_path / f"audio{suffix}"), {"audio": torch.ones(2, 6)}
    assert "give one of the same shapes, encoder=my_encoder" in refusal(load_modality, file)
    assert torch.equal(load_modality(file, encoder=Mine(4)).predict(value), model.predict(value))
    assert "do not fit UnimodalModel: size mismatch" in refusal(load_modality, file, encoder=Mine(7))
    whole = export_model(model, tmp_path / f"all{suffix}")
    assert "model=my_model" in refusal(load_model, whole)
    anew = JointFusion({"audio": Mine(4), "image": Mine(5)}, 3)
    assert torch.equal(load_model(whole, model=anew).predict(value), model.predict(value))


def test_a_head_that_is_not_linear_is_given(tmp_path):
    def head():
        return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))

    model = JointFusion(dict(network().encoders), 3, heads={"audio": head()}, feature_sizes={"audio": 5, "image": 5}).eval()
    file, value = export_modality(model, "audio", tmp_path / "audio.pt"), {"audio": torch.ones(2, 6)}
    assert "head=my_head" in refusal(load_modality, file)
    assert torch.equal(load_modality(file, head=head()).predict(value), model.predict(value))


def test_a_model_of_one_s_own_must_say_which_part_is_which(tmp_path):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.sound = nn.Linear(2, 2)

        def modality_modules(self):
            return {"audio": [self.sound]}

    said = refusal(export_modality, Named(), "audio", tmp_path / "x.pt")
    assert "does not say which part of 'audio' is its encoder" in said
    assert "names none" in refusal(export_modality, nn.Linear(2, 2), "audio", tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(trained, tmp_path):
    def refused(*arguments):
        return refusal(export_modality, *arguments)

    assert "did you mean 'audio'" in refused(trained, "audoi", tmp_path / "x.safetensors")
    assert "ends with '.bin'" in refused(trained, "audio", tmp_path / "x.bin")
    assert "ends with 'nothing'" in refused(trained, "audio", tmp_path / "x")
    assert "no run in" in refused(tmp_path / "nowhere", "audio", tmp_path / "x.pt")
    assert "the folder of a run, or a torch module" in refused(3, "audio", tmp_path / "x.pt")
    run(out=tmp_path / "fitted")
    assert "load(run, model=my_model)" in refused(tmp_path / "fitted", "audio", tmp_path / "x.pt")
    with pytest.raises(CannotWrite):
        export_modality(trained, "audio", tmp_path / "no" / "folder" / "x.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["fitted"]


@SUFFIXES
def test_files_that_are_not_ours_are_refused_in_one_line(trained, tmp_path, suffix):
    file = export_modality(trained, "audio", tmp_path / f"audio{suffix}")
    file.write_bytes(file.read_bytes()[:-100])
    assert "cut short or not written by export" in refusal(load_modality, file)
    file.write_bytes(os.urandom(300))
    assert "cut short or not written by export" in refusal(load_model, file)
    assert "there is no file" in refusal(load_modality, tmp_path / f"none{suffix}")
    torch.save({"weight": torch.ones(2)}, tmp_path / "plain.pt")
    assert "not written by export" in refusal(load_modality, tmp_path / "plain.pt")
    whole = export_model(trained, tmp_path / f"all{suffix}")
    assert "load it with load_model" in refusal(load_modality, whole)
