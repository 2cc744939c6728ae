import pytest
import torch

from equimodal.errors import InputError
from equimodal.nn import MLP, JointFusion, Routes


@pytest.fixture
def joint():
    torch.manual_seed(0)
    return JointFusion({"audio": MLP(3), "image": MLP(4, out_features=5)}, 7, "sum")


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    return {"audio": torch.randn(6, 3), "image": torch.randn(6, 4)}


def test_shares_the_encoder_and_the_head(joint, inputs):
    model = joint.only("audio")
    shared = [*joint.encoders["audio"].parameters(), *joint.heads["audio"].parameters()]
    assert {id(p) for p in model.parameters()} == {id(p) for p in shared}
    assert (model.modalities, model.num_outputs, model.feature_sizes) == (("audio",), 7, {"audio": 5})
    assert list(model.modality_modules()) == ["audio"]
    assert torch.equal(model(inputs).multimodal, joint(inputs).unimodal["audio"])
    assert torch.equal(model.predict(inputs), joint(inputs).unimodal["audio"])


def test_predicts_from_its_modality_alone(joint, inputs):
    model = joint.only("image")
    prediction = model(inputs, {"audio": torch.zeros(6, dtype=torch.bool)})
    assert list(prediction.unimodal) == list(prediction.features) == ["image"]
    assert prediction.multimodal is prediction.unimodal["image"]
    assert torch.equal(model({"image": inputs["image"]}).multimodal, prediction.multimodal)


def test_absent_rows_never_reach_the_encoder(joint, inputs):
    model = joint.only("audio")
    mask = torch.arange(6) < 4
    inputs["audio"][~mask] = float("nan")
    prediction = model(inputs, {"audio": mask, "image": mask})
    assert prediction.multimodal.isfinite().all()
    assert list(prediction.present) == ["audio"]


def test_a_transform_stands_between_encoder_and_head(joint, inputs):
    model = joint.only("audio")
    prediction = model(inputs, transform=lambda features: Routes(features, {name: f.detach() for name, f in features.items()}))
    assert torch.equal(prediction.multimodal, prediction.unimodal["audio"])
    prediction.unimodal["audio"].sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert model(inputs, transform=lambda features: Routes(features, {})).unimodal == {}
    with pytest.raises(InputError, match="give that feature"):
        model(inputs, transform=lambda features: Routes({}, {}))


def test_input_that_cannot_be_used_is_reported(joint, inputs):
    model = joint.only("audio")
    with pytest.raises(InputError, match="this model sees 'audio' alone and is given image"):
        model({"image": inputs["image"]})
    with pytest.raises(InputError, match="sample 4 of the batch lacks 'audio'"):
        model.predict(inputs, {"audio": torch.arange(6) < 4})
    with pytest.raises(InputError, match=r"has type torch\.int64"):
        model(inputs, {"audio": torch.ones(6, dtype=torch.int64)})


def test_an_unknown_modality_is_answered_with_the_nearest(joint):
    with pytest.raises(InputError, match="unknown modality 'imge': did you mean 'image'"):
        joint.only("imge")
    model = joint.only("image")
    assert model.only("image") is model
    with pytest.raises(InputError, match="this model sees 'image' alone"):
        model.only("audio")
