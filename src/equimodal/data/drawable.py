"""One sample's value of one modality as something that a page can draw: a text, a picture, a map or curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["drawn", "length_of", "parts_of"]

_SIDE = 128
_STEPS = 160
_CURVES = 8
_LETTERS = 600
_GREY = ("image", "picture", "frame", "poster", "visual", "depth", "photo", "written")


def drawn(value: Any, modality: str = "") -> dict[str, Any]:
    r"""Return one sample's value of one modality as something that can be drawn.

    ``{"kind": "text", "text": …}``; ``{"kind": "picture", "width": …, "height": …, "channels": 1 or 3, "pixels": bytes}``;
    ``{"kind": "map", …}``, likewise with one channel, from the lowest to the highest value, ``"stretched"`` where its sides
    have different units; ``{"kind": "curves", "series": […], "low": …,
    "high": …}``, one list of numbers each. Large ones are reduced.

    >>> drawn("a plot")
    {'kind': 'text', 'text': 'a plot'}
    >>> drawn(torch.tensor([[[0.0, 1.0]]]), "image")
    {'kind': 'picture', 'width': 2, 'height': 1, 'channels': 1, 'pixels': b'\x00\xff'}

    :param value: a text, a tensor without batch dimension, ``Sequences(values, lengths)``, or a mapping of tokens.
    :param modality: its name, which tells a grey picture from a spectrogram where the shape does not.
    """
    if isinstance(value, str):
        return {"kind": "text", "text": value if len(value) <= _LETTERS else f"{value[:_LETTERS].rstrip()} …"}
    if isinstance(value, Mapping) or hasattr(value, "_fields"):
        parts = dict(parts_of(value))
        first = next(iter(parts.values()))
        length = length_of(parts)
        first = first if length is None else first[: max(length, 0)]
        if isinstance(value, Mapping):
            return drawn(f"tokens {' '.join(str(number) for number in first.flatten()[:40].tolist())}")
        return _sequence(first.float()) if first.ndim <= 2 or not len(first) else drawn(first[len(first) // 2], modality)
    tensor = torch.as_tensor(value)
    if not tensor.ndim:
        return drawn(f"{tensor.item():.5g}")
    while tensor.ndim > 3 or (tensor.ndim == 3 and tensor.shape[0] not in (1, 3)):
        tensor = tensor[len(tensor) // 2]  # of a video the middle frame
    if tensor.ndim == 3 and (len(tensor) == 3 or any(word in modality.lower() for word in _GREY)):
        return _picture(tensor)
    if tensor.ndim == 1:
        return _sequence(tensor.float().unsqueeze(1))
    return _map(tensor.float().reshape(tensor.shape[-2:]))


def _picture(tensor: Tensor) -> dict[str, Any]:
    values = tensor.float()
    if tensor.dtype == torch.uint8:
        values = values / 255
    elif not values.numel() or values.min() < 0 or values.max() > 1:
        values = _unit(values)
    values = _reduced(values.unsqueeze(0))[0]
    channels, height, width = values.shape
    return {"kind": "picture", "width": width, "height": height, "channels": channels, "pixels": _bytes(values.permute(1, 2, 0))}


def _map(values: Tensor) -> dict[str, Any]:
    low, high = _ends(values)
    reduced = _reduced(_unit(values)[None, None])[0, 0]
    return {"kind": "map", "width": reduced.shape[1], "height": reduced.shape[0], "pixels": _bytes(reduced), "low": low, "high": high}


def _sequence(values: Tensor) -> dict[str, Any]:
    """Draw steps by features: few features as curves over time, many as a map with time to the right."""
    if not values.numel():
        return drawn("empty")
    steps = values.reshape(len(values), -1)
    if steps.shape[1] > _CURVES:
        return {**_map(steps.T), "stretched": True}
    low, high = _ends(steps)
    if len(steps) > _STEPS:
        steps = torch.nn.functional.adaptive_avg_pool1d(steps.T[None], _STEPS)[0].T
    return {"kind": "curves", "series": [[round(number, 6) for number in series] for series in steps.T.tolist()], "low": low, "high": high}


def _reduced(values: Tensor) -> Tensor:
    height, width = values.shape[-2:]
    share = min(1.0, _SIDE / max(height, width, 1))
    size = (max(1, round(height * share)), max(1, round(width * share)))
    return values if size == (height, width) else torch.nn.functional.adaptive_avg_pool2d(values, size)


def _unit(values: Tensor) -> Tensor:
    low, high = _ends(values)
    return torch.nan_to_num((values - low) / ((high - low) or 1.0))


def _ends(values: Tensor) -> tuple[float, float]:
    finite = values[torch.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)


def _bytes(values: Tensor) -> bytes:
    # Not by NumPy, which a data set need not have.
    return bytes(values.clamp(0, 1).mul(255).round().to(torch.uint8).flatten().tolist())


def parts_of(value: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a structure with their names, the only one under an empty name."""
    if isinstance(value, Tensor):
        yield "", value
    elif isinstance(value, Mapping):
        yield from ((str(name), part) for name, part in value.items())
    else:
        names: Sequence[str] = getattr(value, "_fields", [str(number) for number in range(len(value))])
        yield from zip(names, value, strict=True)


def length_of(parts: Mapping[str, Tensor]) -> int | None:
    """Return how much of one sample's padded value counts."""
    if "lengths" in parts:
        return int(parts["lengths"])
    return int(parts["attention_mask"].sum()) if "attention_mask" in parts else None
