import pytest
import torch
from torch import nn

from equimodal.errors import InputError
from equimodal.nn import Additive, Concat, JointFusion, Late, Sum, make_fusion
from equimodal.nn.fusion import FUSIONS

SIZES = {"audio": 3, "image": 5}


@pytest.fixture
def features():
    torch.manual_seed(0)
    return {name: torch.randn(4, size) for name, size in SIZES.items()}


def test_concat_is_one_layer_on_the_concatenation_whatever_the_order_of_the_dictionary(features):
    fusion = Concat(SIZES, 7)
    expected = features["audio"] @ fusion.linear.weight[:, :3].T + features["image"] @ fusion.linear.weight[:, 3:].T + fusion.linear.bias
    torch.testing.assert_close(fusion(features), expected)
    assert torch.equal(fusion(dict(reversed(features.items()))), fusion(features))


def test_the_columns_of_concat_split_its_logits_by_modality(features):
    fusion = Concat(SIZES, 7)
    parts = [features[name] @ fusion.linear.weight[:, columns].T for name, columns in fusion.columns.items()]
    torch.testing.assert_close(sum(parts) + fusion.linear.bias, fusion(features))


def test_sum_is_one_layer_on_the_sum(features):
    fusion = Sum({"audio": 3, "image": 3}, 7)
    image = features["image"][:, :3]
    torch.testing.assert_close(fusion({"audio": features["audio"], "image": image}), fusion.linear(features["audio"] + image))


def test_additive_is_the_sum_of_one_layer_per_modality(features):
    fusion = Additive(SIZES, 7)
    torch.testing.assert_close(fusion(features), sum(fusion.linears[name](features[name]) for name in SIZES))


def test_sum_refuses_unequal_sizes():
    with pytest.raises(InputError, match=r"Sum needs features of one size and was given audio=3, image=5"):
        Sum(SIZES, 7)


def test_late_is_the_sum_of_the_logits_of_the_heads():
    logits = {name: torch.randn(4, 7) for name in SIZES}
    fusion = Late(SIZES, 7)
    torch.testing.assert_close(fusion(logits), logits["audio"] + logits["image"])
    assert list(fusion.parameters()) == []


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("modalities", [2, 3, 8])
def test_every_fusion_takes_any_number_of_modalities(fusion, modalities):
    sizes = {f"m{number}": 4 for number in range(modalities)}
    built = make_fusion(fusion, sizes, 7)
    width = 7 if built.of_heads else 4
    assert built({name: torch.zeros(2, width) for name in sizes}).shape == (2, 7)


def test_an_unknown_fusion_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="unknown fusion 'conct': did you mean 'concat'"):
        make_fusion("conct", SIZES, 7)


@pytest.mark.parametrize(("sizes", "outputs"), [({"audio": 0, "image": 2}, 7), ({"audio": 3}, 7), (SIZES, 0), (SIZES, 2.5), (SIZES, True)])
def test_a_fusion_refuses_sizes_that_cannot_be(sizes, outputs):
    with pytest.raises(InputError):
        Concat(sizes, outputs)


def test_any_module_is_a_fusion():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.linear = nn.Linear(3, 5), nn.Linear(5, 7)

        def forward(self, features):
            return self.linear(features["image"] * self.gate(features["audio"]).sigmoid())

    model = JointFusion({"audio": nn.Linear(2, 3), "image": nn.Linear(2, 5)}, 7, Gated())
    assert model({"audio": torch.ones(4, 2), "image": torch.ones(4, 2)}).multimodal.shape == (4, 7)


@pytest.mark.parametrize(
    ("fusion", "message"),
    [(nn.Flatten, "fusion is <class"), (3, "fusion is 3: give a name or a module"), ("summ", "did you mean 'sum'")],
)
def test_joint_fusion_refuses_what_is_no_fusion(fusion, message):
    with pytest.raises(InputError, match=message):
        JointFusion({"audio": nn.Linear(2, 3), "image": nn.Linear(2, 5)}, 7, fusion)


def test_a_fusion_of_another_shape_is_reported():
    class Scalar(nn.Module):
        def forward(self, features):
            return features["audio"].sum(dim=1)

    model = JointFusion({"audio": nn.Linear(2, 3), "image": nn.Linear(2, 5)}, 7, Scalar())
    with pytest.raises(InputError, match=r"the fusion returned shape \[4\]: it must be \[batch, outputs\] = \[4, 7\]"):
        model({"audio": torch.ones(4, 2)})
