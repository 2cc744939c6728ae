import re

import pytest
import torch
from torch import nn

from equimodal.errors import InputError
from equimodal.nn import ResNet

COUNTS = {
    (6, 1): 307_392,
    (6, 3): 313_664,
    (10, 1): 4_899_520,
    (10, 3): 4_905_792,
    (18, 1): 11_170_240,
    (18, 3): 11_176_512,
    (50, 1): 23_501_760,
    (50, 3): 23_508_032,
}
SIZES = {6: 128, 10: 512, 18: 512, 50: 2048}


@pytest.mark.parametrize(("depth", "channels"), COUNTS)
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_number_of_parameters(depth, channels, norm):
    with torch.device("meta"):
        encoder = ResNet(depth, in_channels=channels, norm=norm)
    assert sum(p.numel() for p in encoder.parameters()) == COUNTS[depth, channels]
    assert encoder.out_features == SIZES[depth]


@pytest.mark.parametrize("depth", SIZES)
@pytest.mark.parametrize(("channels", "height", "width"), [(1, 28, 28), (3, 96, 41), (2, 1, 1)])
def test_any_size_and_number_of_channels(depth, channels, height, width):
    encoder = ResNet(depth, in_channels=channels, norm="group").to("meta")
    assert encoder(torch.empty(2, channels, height, width, device="meta")).shape == (2, SIZES[depth])


def test_weights_start_from_kaiming_fan_out_and_norms_from_identity():
    torch.manual_seed(0)
    encoder = ResNet(18, in_channels=1)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
            assert module.bias is None
        elif isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all()
            assert module.bias.eq(0).all()


def test_with_group_norm_samples_do_not_see_each_other():
    torch.manual_seed(0)
    encoder = ResNet(6, in_channels=1, norm="group")
    value = torch.randn(4, 1, 28, 28)
    torch.testing.assert_close(encoder(value), torch.cat([encoder(row.unsqueeze(0)) for row in value]), atol=1e-5, rtol=1e-4)


def test_one_sample_shrunk_to_one_pixel_can_be_trained_on():
    torch.manual_seed(0)
    encoder = ResNet(10, in_channels=1)
    encoder(torch.randn(8, 1, 28, 28)).sum().backward()  # such that the running statistics are not the initial ones
    last = encoder.stages[-1][-1].residual[-1]
    before = last.running_mean.clone()
    feature = encoder(torch.randn(1, 1, 28, 28))
    feature.sum().backward()
    assert feature.isfinite().all()
    assert torch.equal(last.running_mean, before)  # one value has no statistics to add
    assert last.training


@pytest.mark.parametrize("shape", [(2, 3, 28, 28), (2, 28, 28), (2, 28)])
def test_input_of_another_shape_is_reported(shape):
    with pytest.raises(InputError, match=rf"ResNet expects \[batch, 1, height, width\] and was given shape {re.escape(str(list(shape)))}"):
        ResNet(6, in_channels=1)(torch.zeros(shape))


def rename(name):
    """Translate the name of a weight of transformers' ResNetModel."""
    name = name.replace("embedder.embedder.convolution", "stem.0").replace("embedder.embedder.normalization", "stem.1")
    name = re.sub(r"encoder\.stages\.(\d+)\.layers\.(\d+)", r"stages.\1.\2", name)
    name = re.sub(r"layer\.(\d+)\.convolution", lambda match: f"residual.{3 * int(match[1])}", name)
    name = re.sub(r"layer\.(\d+)\.normalization", lambda match: f"residual.{3 * int(match[1]) + 1}", name)
    return name.replace("shortcut.convolution", "shortcut.0").replace("shortcut.normalization", "shortcut.1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "depths", "widths", "kind", "channels"),
    [
        (6, [1, 1], [64, 128], "basic", 1),
        (10, [1, 1, 1, 1], [64, 128, 256, 512], "basic", 3),
        (18, [2, 2, 2, 2], [64, 128, 256, 512], "basic", 1),
        (50, [3, 4, 6, 3], [256, 512, 1024, 2048], "bottleneck", 3),
    ],
)
def test_equals_the_resnet_of_transformers(depth, depths, widths, kind, channels):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    config = transformers.ResNetConfig(num_channels=channels, depths=depths, hidden_sizes=widths, layer_type=kind)
    oracle = transformers.ResNetModel(config)
    encoder = ResNet(depth, in_channels=channels)
    encoder.load_state_dict({rename(name): weight for name, weight in oracle.state_dict().items()})
    value = torch.randn(3, channels, 64, 75)
    for training in (True, False):  # the first also moves the running statistics that the second uses
        ours, theirs = encoder.train(training)(value), oracle.train(training)(value).pooler_output.flatten(1)
        torch.testing.assert_close(ours, theirs)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    gradients = dict(encoder.named_parameters())
    for name, parameter in oracle.named_parameters():
        torch.testing.assert_close(gradients[rename(name)].grad, parameter.grad, rtol=1e-3, atol=1e-4 * parameter.grad.abs().max().item())
