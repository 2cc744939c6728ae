"""Residual networks for pictures and spectrograms of any size and number of channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor, nn
from torch.nn import functional

from equimodal.errors import InputError, nearest
from equimodal.nn._checks import positive_integer

__all__ = ["ResNet"]


class _Plan(NamedTuple):
    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    bottleneck: bool = False


_PLANS = {
    6: _Plan((1, 1), (64, 128)),
    10: _Plan((1, 1, 1, 1), (64, 128, 256, 512)),
    18: _Plan((2, 2, 2, 2), (64, 128, 256, 512)),
    50: _Plan((3, 4, 6, 3), (256, 512, 1024, 2048), bottleneck=True),
}
_STEM = 64
_GROUPS = 32


class _BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that uses its running statistics where a training batch holds a single value per channel.

    torch refuses such a batch. It is met where one sample of a batch has the modality and the feature map has shrunk to one pixel.
    """

    def forward(self, value: Tensor) -> Tensor:
        if self.training and value.numel() == value.shape[1]:
            return functional.batch_norm(value, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(value)


_Norm: TypeAlias = Callable[[int], nn.Module]
_NORMS: dict[str, _Norm] = {"batch": _BatchNorm2d, "group": lambda channels: nn.GroupNorm(_GROUPS, channels)}


def _convolution(in_channels: int, channels: int, kernel_size: int, stride: int, norm: _Norm) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, channels, kernel_size, stride, padding=kernel_size // 2, bias=False), norm(channels)]


class _Block(nn.Module):
    """Two 3×3 convolutions, or in a bottleneck 1×1, 3×3 and 1×1 with a quarter of the width inside, beside a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int, norm: _Norm, bottleneck: bool) -> None:
        super().__init__()
        if bottleneck:
            inner = channels // 4
            layers = [*_convolution(in_channels, inner, 1, 1, norm), nn.ReLU(inplace=True)]
            layers += [*_convolution(inner, inner, 3, stride, norm), nn.ReLU(inplace=True), *_convolution(inner, channels, 1, 1, norm)]
        else:
            layers = [*_convolution(in_channels, channels, 3, stride, norm), nn.ReLU(inplace=True)]
            layers += _convolution(channels, channels, 3, 1, norm)
        self.residual = nn.Sequential(*layers)
        same = in_channels == channels and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(in_channels, channels, 1, stride, norm))

    def forward(self, value: Tensor) -> Tensor:
        return functional.relu(self.residual(value) + self.shortcut(value), inplace=True)


class ResNet(nn.Module):
    """The residual networks of He et al. (2016), averaged over the picture and without a classifier.

    A 7×7 convolution of stride 2 and a 3×3 maximum of stride 2, then stages of blocks, each stage but the first of stride 2.

    ===== ======================== =================== ============== ===========================
    depth blocks in each stage     widths              feature size   parameters at 1, 3 channels
    ===== ======================== =================== ============== ===========================
    6     1, 1                     64, 128             128            307,392; 313,664
    10    1, 1, 1, 1               64 to 512           512            4,899,520; 4,905,792
    18    2, 2, 2, 2               64 to 512           512            11,170,240; 11,176,512
    50    3, 4, 6, 3 (bottlenecks) 256 to 2048         2048           23,501,760; 23,508,032
    ===== ======================== =================== ============== ===========================

    They compute what ``ResNetModel`` of transformers computes with the same sizes. Depths 6 and 10 are not in the paper of He et al.:
    they have one basic block in each of two, respectively four, stages, as in the experiments of MILES. Convolutions start from
    Kaiming's normal distribution (fan-out), normalisations from weight 1 and bias 0.

    >>> import torch
    >>> ResNet(6, in_channels=1)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 128])

    :param depth: 6, 10, 18 or 50.
    :param in_channels: the number of channels of the picture, such as 1 for a spectrogram.
    :param norm: ``"batch"``, the original, or ``"group"`` (32 groups; Wu and He, 2018). Batch statistics belong to what one device sees
        at once; with ``"group"`` every sample stands for itself, so training on several devices or with accumulated gradients equals
        training on one batch. Under ``"batch"``, a training batch that holds a single value per channel (which torch refuses) is
        normalised with the running statistics.
    :raises InputError: for another depth or norm, or a number of channels that is not a positive integer.
    """

    name = "resnet"

    def __init__(self, depth: int, in_channels: int = 3, norm: Literal["batch", "group"] = "batch") -> None:
        super().__init__()
        if not isinstance(depth, int) or depth not in _PLANS:
            raise InputError(f"ResNet depth is {depth!r}: choose one of {', '.join(map(str, _PLANS))}")
        if norm not in list(_NORMS):  # a list, as what JSON holds need not be hashable
            raise InputError(f"unknown ResNet norm {norm!r}: {nearest(str(norm), _NORMS)}")
        self.depth = depth
        self.in_channels = positive_integer(in_channels, "ResNet in_channels")
        self.norm = norm
        plan = _PLANS[depth]
        self.out_features = plan.widths[-1]
        self.stem = nn.Sequential(
            *_convolution(self.in_channels, _STEM, 7, 2, _NORMS[norm]), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1)
        )
        stages: list[nn.Module] = []
        channels = _STEM
        for number, (blocks, width) in enumerate(zip(plan.blocks, plan.widths, strict=True)):
            layers = []
            for block in range(blocks):
                stride = 2 if block == 0 and number > 0 else 1
                layers.append(_Block(channels, width, stride, _NORMS[norm], plan.bottleneck))
                channels = width
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, value: Tensor) -> Tensor:
        """Return ``[batch, out_features]``.

        :param value: ``[batch, in_channels, height, width]``.
        :raises InputError: for another number of dimensions or channels.
        """
        if value.dim() != 4 or value.shape[1] != self.in_channels:
            raise InputError(f"ResNet expects [batch, {self.in_channels}, height, width] and was given shape {list(value.shape)}")
        features: Tensor = self.stages(self.stem(value))
        return features.mean(dim=(2, 3))
