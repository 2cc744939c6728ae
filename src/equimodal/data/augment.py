"""Random changes of the training samples, made batch by batch on the device; off unless asked for.

Every augmentation draws a few numbers per sample on the CPU and does the rest with whole batches on the device that holds them, so that
the same seed gives the same samples everywhere. In a configuration::

    augment:
      image: [horizontal-flip, {name: crop, padding: 4}]
      audio: [{name: time-mask, width: 40}, {name: frequency-mask, width: 30}]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from equimodal._configurable import Configurable, construct
from equimodal.errors import InputError, nearest

if TYPE_CHECKING:
    from equimodal.data.batch import Batch

__all__ = ["AUGMENTATIONS", "Augmentation", "Crop", "FrequencyMask", "HorizontalFlip", "TimeMask", "augmented", "make_augmentations"]

Augmentations = Mapping[str, Sequence["Augmentation"]]


class Augmentation(Configurable):
    """One random change of pictures or spectrograms ``[batch, channels, height, width]``.

    :cvar name: its name in configurations.
    """

    name: ClassVar[str]

    def draw(self, samples: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return what is random, one row per sample: ``[samples, numbers]``, on the CPU.

        :param samples: how many samples.
        :param shape: of one sample.
        :param generator: the only source of randomness.
        """
        raise NotImplementedError

    def apply(self, value: Tensor, drawn: Tensor) -> Tensor:
        """Return the changed batch.

        :param value: ``[batch, channels, height, width]``.
        :param drawn: what :meth:`draw` returned for these samples, on the device of the batch.
        """
        raise NotImplementedError


class HorizontalFlip(Augmentation):
    """Mirror a picture left to right.

    :param probability: how often, from 0 to 1; 0.5 as usual.
    :raises InputError: for another probability.
    """

    name = "horizontal-flip"

    def __init__(self, probability: float = 0.5) -> None:
        if not isinstance(probability, (int, float)) or not 0 <= probability <= 1:
            raise InputError(f"probability = {probability!r}: a number from 0 to 1 is needed")
        self.probability = probability

    def draw(self, samples: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Draw whether each sample is mirrored."""
        return torch.rand(samples, 1, generator=generator) < self.probability

    def apply(self, value: Tensor, drawn: Tensor) -> Tensor:
        """Mirror the samples drawn."""
        return torch.where(drawn[:, :, None, None], value.flip(-1), value)


class Crop(Augmentation):
    """Pad a picture with zeros on all sides and cut a window of its own size out of it, anywhere.

    :param padding: in pixels; 4, as for CIFAR-10 in He et al. (2016).
    :raises InputError: for a padding that is no whole number of at least 1.
    """

    name = "crop"

    def __init__(self, padding: int = 4) -> None:
        self.padding = _at_least_one(padding, "padding")

    def draw(self, samples: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Draw the window's corner in the padded picture."""
        return torch.randint(0, 2 * self.padding + 1, (samples, 2), generator=generator)

    def apply(self, value: Tensor, drawn: Tensor) -> Tensor:
        """Cut the windows out."""
        height, width = value.shape[-2:]
        padded = torch.nn.functional.pad(value, [self.padding] * 4)
        rows = drawn[:, :1] + torch.arange(height, device=value.device)
        columns = drawn[:, 1:] + torch.arange(width, device=value.device)
        cut = padded.gather(2, rows[:, None, :, None].expand(-1, value.shape[1], -1, padded.shape[-1]))
        return cut.gather(3, columns[:, None, None, :].expand(-1, value.shape[1], height, -1))


class _Mask(Augmentation):
    def __init__(self, width: int = 16, count: int = 1, axis: Literal["height", "width"] = "width") -> None:
        if axis not in ("height", "width"):
            raise InputError(f"axis = {axis!r}: {nearest(str(axis), ['height', 'width'])}")
        self.width = _at_least_one(width, "width")
        self.count = _at_least_one(count, "count")
        self.axis = axis

    def _length(self, shape: Sequence[int]) -> int:
        return shape[-2 if self.axis == "height" else -1]

    def draw(self, samples: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Draw the beginning and the end of every mask."""
        length = self._length(shape)
        if self.width > length:
            raise InputError(f"augmentation {self.name!r}: width = {self.width}, and the spectrogram has {length} steps in its {self.axis}")
        wide = torch.randint(0, self.width + 1, (samples, self.count), generator=generator)
        start = (torch.rand(samples, self.count, generator=generator, dtype=torch.float64) * (length - wide + 1)).long()
        return torch.cat([start, start + wide], dim=1)

    def apply(self, value: Tensor, drawn: Tensor) -> Tensor:
        """Set what lies in a mask to zero."""
        steps = torch.arange(self._length(value.shape), device=value.device)
        starts, ends = drawn[:, : self.count, None], drawn[:, self.count :, None]
        masked = ((steps >= starts) & (steps < ends)).any(1)
        return value.masked_fill(masked[:, None, :, None] if self.axis == "height" else masked[:, None, None, :], 0)


class TimeMask(_Mask):
    """Set a stretch of time to zero in a spectrogram: SpecAugment (Park et al., Interspeech 2019).

    :param width: the longest stretch, in steps; each is from 0 to ``width`` long, evenly distributed.
    :param count: how many stretches, which may overlap.
    :param axis: which axis is the time: ``"width"`` (default), the last one, or ``"height"``, the one before.
    :raises InputError: for numbers below 1, an unknown axis, or a width that no sample has.
    """

    name = "time-mask"

    def __init__(self, width: int = 16, count: int = 1, axis: Literal["height", "width"] = "width") -> None:
        super().__init__(width, count, axis)


class FrequencyMask(_Mask):
    """Set a band of frequencies to zero in a spectrogram: SpecAugment (Park et al., Interspeech 2019).

    :param width: the broadest band, in bins; each is from 0 to ``width`` broad, evenly distributed.
    :param count: how many bands, which may overlap.
    :param axis: which axis is the frequency: ``"height"`` (default), the one before the last, or ``"width"``, the last.
    :raises InputError: for numbers below 1, an unknown axis, or a width that no sample has.
    """

    name = "frequency-mask"

    def __init__(self, width: int = 8, count: int = 1, axis: Literal["height", "width"] = "height") -> None:
        super().__init__(width, count, axis)


AUGMENTATIONS: Mapping[str, type[Augmentation]] = {cls.name: cls for cls in (HorizontalFlip, Crop, TimeMask, FrequencyMask)}
"""The augmentations by name."""


def make_augmentations(given: Any, modalities: Sequence[str]) -> dict[str, tuple[Augmentation, ...]]:
    """Return augmentations by modality from their names and options.

    >>> make_augmentations({"image": ["horizontal-flip", {"name": "crop", "padding": 2}]}, ["audio", "image"])
    {'image': (HorizontalFlip(probability=0.5), Crop(padding=2))}

    :param given: for each modality a list of names, mappings with a name and options, or augmentations.
    :param modalities: the known ones.
    :raises InputError: for unknown modalities, names and options, with the nearest right one.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"augment = {given!r}: a mapping from modalities to lists of augmentations is needed")
    found = {}
    for modality, items in given.items():
        if modality not in modalities:
            raise InputError(f"augment: unknown modality {modality!r}: {nearest(str(modality), modalities)}")
        if not isinstance(items, (list, tuple)):
            raise InputError(f"augment.{modality} = {items!r}: a list of augmentations is needed, such as '[\"horizontal-flip\"]'")
        if made := tuple(_made(item, f"augment.{modality}") for item in items):
            found[modality] = made
    return found


def _made(item: Any, where: str) -> Augmentation:
    if isinstance(item, Augmentation):
        return item
    options = {"name": item} if isinstance(item, str) else item
    if not isinstance(options, Mapping) or not isinstance(options.get("name"), str):
        raise InputError(
            f"{where}: {item!r} is no augmentation: give one of {', '.join(AUGMENTATIONS)}, or a mapping with a name and options"
        )
    name, rest = options["name"], {key: value for key, value in options.items() if key != "name"}
    if name not in AUGMENTATIONS:
        raise InputError(f"{where}: unknown augmentation {name!r}: {nearest(name, AUGMENTATIONS)}")
    return construct(AUGMENTATIONS[name], rest, f"augmentation {name!r}")


def augmented(
    batch: Batch, augmentations: Augmentations, generators: Mapping[tuple[str, int], torch.Generator], total: int, share: slice
) -> Batch:
    """Return a batch with its samples changed at random.

    Numbers are drawn for all samples of the batch over all processes, of which this one takes its own: several processes see the same
    pictures as one.

    :param generators: one for each modality and place in its list.
    :param total: the samples of the whole batch.
    :param share: which of them are here.
    :raises InputError: for a modality that is no batch of pictures.
    """
    inputs = dict(batch.inputs)
    for modality, steps in augmentations.items():
        if modality not in inputs:  # absent from the whole batch
            continue
        value = inputs[modality]
        if not isinstance(value, Tensor) or value.dim() != 4:
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"augment.{modality}: pictures or spectrograms [batch, channels, height, width] are needed, not {shape}")
        for place, step in enumerate(steps):
            drawn = step.draw(total, value.shape[1:], generators[modality, place])[share]
            value = step.apply(value, drawn.to(value.device, non_blocking=True))
        inputs[modality] = value
    return dataclasses.replace(batch, inputs=inputs)


def _at_least_one(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} = {value!r}: a whole number of at least 1 is needed")
    return value
