"""The samples on which heads disagree, as cards: pictures, sounds, curves or texts, and what each head says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.data.batch import map_tensors
from equimodal.data.drawable import drawn
from equimodal.diagnose.page.numbers import breakable, text
from equimodal.diagnose.page.palette import colors_of
from equimodal.diagnose.page.sound import Sound, sound_source
from equimodal.errors import InputError, first_line
from equimodal.report.sketch import curves, image_source

if TYPE_CHECKING:
    from equimodal.data.base import Dataset
    from equimodal.diagnose.quantities import Sample
    from equimodal.diagnose.record import Diagnosis

__all__ = ["Drawable", "Sound", "cards", "class_name", "samples_of"]

Drawable = Callable[[int], Mapping[str, Any]]
"""Returns by modality what is to be shown of a sample, by its number: a text, a tensor, a :class:`Sound`, or what an encoder takes."""
_SMALL = 64


def samples_of(data: Any, *, dataset: Dataset | None = None, split: str = "", rates: Mapping[str, int] | None = None) -> Drawable:
    """Return a function from a sample's number to what can be shown of it, for :func:`write_page`.

    >>> from equimodal.data.tensors import TensorSet
    >>> show = samples_of(TensorSet({"audio": torch.zeros(3, 800)}, torch.arange(3)), rates={"audio": 8000})
    >>> show(1)["audio"].rate
    8000

    :param data: the samples that were diagnosed: a :class:`equimodal.data.TensorSet`, or a torch Dataset of
        ``(inputs by modality, target)``.
    :param dataset: the data set they are from, which says how its tokens read. One with a method ``recording(split, modality, index)``,
        which returns ``(values, rate)`` or None, has its sounds played where encoders only see pictures of them.
    :param split: what they are called there, for ``recording``.
    :param rates: samples per second of modalities that are waveforms: they can be played.
    """
    recording = getattr(dataset, "recording", None)

    def show(index: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        stored = _stored(data, index)
        for name, value in _values(data, index).items():
            heard = recording(split, name, index) if callable(recording) else None
            if heard is not None:
                found[name] = Sound(*heard)
                continue
            if rates and name in rates:
                found[name] = Sound(torch.as_tensor(value).flatten(), rates[name])
                continue
            shown = value if dataset is None else dataset.shown(name, value)
            kept = stored.get(name)
            # A picture's own colours, not standardised ones.
            found[name] = kept if shown is value and isinstance(kept, Tensor) and kept.dtype == torch.uint8 else shown
        return found

    return show


def _values(data: Any, index: int) -> dict[str, Any]:
    if not hasattr(type(data), "__getitem__"):
        raise InputError(f"samples cannot be taken by number from a {type(data).__name__}: give a TensorSet or a torch Dataset")
    item = data[torch.tensor([index])] if hasattr(data, "stored") else data[index]
    if hasattr(item, "inputs"):
        one = item.inputs if item.targets.ndim == 0 else map_tensors(lambda tensor: tensor[0], dict(item.inputs))
        present = {name: bool(mask.flatten()[0]) for name, mask in item.present.items()}
    else:
        one, _, *masks = item
        present = {name: bool(mask) for name, mask in masks[0].items()} if masks else {}
    return {name: value for name, value in one.items() if present.get(name, True)}


def _stored(data: Any, index: int) -> dict[str, Any]:
    stored = getattr(data, "stored", None)
    if not callable(stored):
        return {}
    return dict(map_tensors(lambda tensor: tensor[0], dict(stored(torch.tensor([index])).inputs)))


def class_name(diagnosis: Diagnosis, number: int) -> str:
    """Return the name of a class, its number where it has none."""
    names = diagnosis.classes
    return names[number] if names is not None and 0 <= number < len(names) else f"class {number}"


def cards(diagnosis: Diagnosis, samples: Drawable | None) -> str:
    """Return the samples on which heads disagree; without ``samples`` only what the heads say."""
    return "\n".join(_card(diagnosis, sample, samples) for sample in diagnosis.disagreements)


def _card(diagnosis: Diagnosis, sample: Sample, samples: Drawable | None) -> str:
    target = class_name(diagnosis, sample.target)
    drawings = "" if samples is None else _drawings(diagnosis.modalities, samples, sample, target)
    colors = colors_of(diagnosis.modalities)
    rows = []
    for head, predicted in sample.predicted.items():
        right = predicted == sample.target
        sure = 100 * sample.confidence.get(head, 0.0)
        said = text(class_name(diagnosis, predicted))
        rows.append(
            f'<tr class="{"right" if right else "wrong"}"><th scope="row">{breakable(head)}</th><td>{said}'
            f'&nbsp;<span role="img" aria-label="{"right" if right else "wrong"}">{"✓" if right else "✗"}</span></td>'
            f'<td><span class="sure {colors.get(head, "cs")}"><i style="width:{sure:.0f}%"></i></span>{sure:.0f} %</td></tr>'
        )
    return (
        f'<article class="card"><h3>{text(target)} <small>sample {sample.index:,}</small></h3>{drawings}'
        '<table><thead><tr><th scope="col">head</th><th scope="col">says</th><th scope="col">sure by</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></article>"
    )


def _drawings(modalities: Sequence[str], samples: Drawable, sample: Sample, target: str) -> str:
    try:
        values = samples(sample.index)
    except (LookupError, InputError) as error:
        return f'<p class="lacking">not shown: {text(first_line(error))}</p>'
    names = [*(name for name in modalities if name in values), *(name for name in values if name not in modalities)]
    drawings = "".join(_drawing(name, values[name], f"{name} of sample {sample.index}, {target}") for name in names)
    return f'<div class="drawings">{drawings}</div>'


def _drawing(modality: str, value: Any, said: str) -> str:
    wide = True
    if isinstance(value, Sound):
        source, seconds = sound_source(value)
        body = f'<audio controls preload="metadata" src="{source}" aria-label="{text(said)}, {seconds:.1f} seconds"></audio>'
        body += _drawn(_wave(value), said)
    else:
        drawing = value if isinstance(value, Mapping) and "kind" in value else drawn(value, modality)
        wide = drawing["kind"] in ("text", "curves") or drawing.get("stretched", False)
        body = _drawn(drawing, said)
    return f'<figure class="drawing{" wide" if wide else ""}"><figcaption>{breakable(modality)}</figcaption>{body}</figure>'


def _drawn(drawing: Mapping[str, Any], said: str) -> str:
    if drawing["kind"] == "text":
        return f'<p class="words">{text(drawing["text"])}</p>'
    if drawing["kind"] == "curves":
        content = curves(drawing["series"], drawing["low"], drawing["high"])
        return f'<svg viewBox="0 0 160 90" preserveAspectRatio="none" role="img" aria-label="{text(said)}">{content}</svg>'
    width, height = drawing["width"], drawing["height"]
    looks = [
        name for name, applies in {"small": max(width, height) < _SMALL, "stretched": drawing.get("stretched", False)}.items() if applies
    ]
    return f'<img class="{" ".join(looks)}" alt="{text(said)}" width="{width}" height="{height}" src="{image_source(drawing)}">'


def _wave(sound: Sound) -> Mapping[str, Any]:
    """Return a waveform as the lowest and highest value of each short stretch: averages would leave nothing of it."""
    values = torch.nan_to_num(torch.as_tensor(sound.values).float())
    values = values.mean(dim=0) if values.ndim == 2 else values.flatten()
    stretches = torch.nn.functional.adaptive_max_pool1d(torch.stack([values, -values])[None], min(160, len(values)))[0]
    high = max(float(stretches.abs().max()), 1e-6)
    ends = torch.stack([stretches[0], -stretches[1]], dim=1).flatten()
    return {"kind": "curves", "series": [[round(number, 4) for number in ends.tolist()]], "low": -high, "high": high}
