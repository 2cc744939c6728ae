import json

import pytest
import torch
from torch import nn

from equimodal.errors import InputError
from equimodal.nn import MLP, ResNet, SequenceEncoder, make_encoder


class Mine(nn.Module):
    def __init__(self, size, **others):
        super().__init__()
        self.out_features = size
        self.others = others


@pytest.mark.parametrize(
    ("spec", "kind", "size"),
    [
        ('{"name": "resnet", "depth": 6, "in_channels": 1}', ResNet, 128),
        ('{"name": "resnet", "depth": 10, "in_channels": 2, "norm": "group"}', ResNet, 512),
        ('{"name": "mlp", "in_features": 20, "hidden": [], "dropout": 0.1}', MLP, 64),
        ('{"name": "sequence", "in_features": 6, "out_features": 32}', SequenceEncoder, 32),
    ],
)
def test_builds_from_what_json_holds(spec, kind, size):
    spec = json.loads(spec)
    encoder = make_encoder(spec)
    assert type(encoder) is kind
    assert encoder.out_features == size
    kept = {option: getattr(encoder, option) for option in spec if option != "name"}
    assert json.loads(json.dumps(kept)) == {option: value for option, value in spec.items() if option != "name"}
    assert all(p.dtype == torch.float32 for p in encoder.parameters())


def test_takes_the_class_of_another_by_its_path(monkeypatch):
    monkeypatch.setattr("equimodal.testing_mine", Mine, raising=False)
    encoder = make_encoder({"name": "equimodal:testing_mine", "size": 3, "extra": 1})
    assert (type(encoder), encoder.others) == (Mine, {"extra": 1})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet", "an encoder is described by a mapping"),
        ({"depth": 6}, "has no name: give one of mlp, resnet, sequence, text, transformers under 'name'"),
        ({"name": 6}, "has no name"),
        ({"name": "resnt", "depth": 6}, "unknown encoder 'resnt': did you mean 'resnet'"),
        ({"name": "resnet", "depth": 6, "channels": 1}, "encoder 'resnet' has no option 'channels': did you mean 'in_channels'"),
        ({"name": "resnet"}, "encoder 'resnet' lacks its option 'depth'"),
        ({"name": "resnet", "depth": 7}, "ResNet depth is 7: choose one of 6, 10, 18, 50"),
        ({"name": "resnet", "depth": "6"}, "ResNet depth is '6': choose one of"),
        ({"name": "resnet", "depth": [6]}, r"ResNet depth is \[6\]: choose one of"),
        ({"name": "resnet", "depth": 6, "in_channels": 0}, "ResNet in_channels is 0: give a positive integer"),
        ({"name": "resnet", "depth": 6, "norm": "groop"}, "unknown ResNet norm 'groop': did you mean 'group'"),
        ({"name": "resnet", "depth": 6, "norm": ["group"]}, r"unknown ResNet norm \['group'\]"),
        ({"name": "mlp", "in_features": "20"}, "MLP in_features is '20': give a positive integer"),
        ({"name": "mlp", "in_features": 20, "hidden": 128}, r"MLP hidden is 128: give a list of sizes"),
        ({"name": "mlp", "in_features": 20, "hidden": [128, -1]}, r"a size in MLP hidden is -1"),
        ({"name": "mlp", "in_features": 20, "dropout": 1.0}, r"MLP dropout is 1.0: give a number of at least 0 and below 1"),
        ({"name": "mlp", "in_features": 20, "dropout": "0.1"}, r"MLP dropout is '0.1'"),
        ({"name": "sequence", "in_features": 6, "kernel_size": 4}, "kernel_size is 4: give an odd number, such as 5"),
        ({"name": "transformers"}, "encoder 'transformers' lacks its option 'model'"),
        ({"name": "transformers", "model": 3}, "the model is 3: give a name"),
        ({"name": "transformers", "model": "bert", "config": "small"}, "config is 'small': give a mapping"),
        ({"name": "json:JSONDecoder"}, "is not a subclass of torch.nn"),
    ],
)
def test_answers_a_mistake_in_one_line(spec, message):
    with pytest.raises(InputError, match=message) as caught:
        make_encoder(spec)
    assert "\n" not in str(caught.value)
