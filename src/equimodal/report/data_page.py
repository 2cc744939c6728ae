"""One self-contained HTML page about a data set: counts, shapes, what is unusual, and samples to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import equimodal
from equimodal._files import write_whole
from equimodal.report.rendering import rendered
from equimodal.report.sketch import curves, image_source
from equimodal.report.words import SPLIT_NAMES, clean, listing, metric_name

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

__all__ = ["in_bytes", "render_data_page", "write_data_page"]

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NAMED = 3
"""Of samples that were left out so many are named at once, the others are folded."""
_SMALL = 64


def write_data_page(path: str | PathLike[str], facts: Mapping[str, Any]) -> Path:
    """Write the page of :func:`render_data_page` to a file, whole or not at all.

    :param path: the file to write; a file that is there is replaced.
    :returns: the path.
    :raises InputError: when the file cannot be written.
    :raises MissingDependency: without Jinja.
    """
    return write_whole(path, render_data_page(facts))


def render_data_page(facts: Mapping[str, Any]) -> str:
    """Return a page about a data set; the same facts give the same text.

    :param facts: as :func:`equimodal.data.summary.summarise` returns them.
    :raises MissingDependency: without Jinja.
    """
    splits = {name: facts["splits"][name] for name in SPLIT_NAMES if name in facts["splits"]}
    damaged = [(clean(str(name)), clean(str(reason))) for name, reason in facts["damaged"].items()]
    content = {
        "title": clean(facts["name"]),
        "summary": _summary(facts, splits),
        "notes": [*map(clean, facts["notes"]), *_missing(facts, splits)],
        "damaged": damaged,
        "named": _NAMED,
        "split_names": [SPLIT_NAMES[name] for name in splits],
        "totals": [f"{split['samples']:,}" for split in splits.values()],
        "kind": "label" if facts["task"] == "multilabel" else "class",
        "caption": _caption(facts),
        "classes": _classes(facts, splits),
        "targets": [[_number(split["targets"][key]) for key in ("low", "mean", "high")] for split in splits.values() if "targets" in split],
        "modalities": [_modality(modality, splits) for modality in facts["modalities"]],
        "groups": _groups(facts),
        "order": listing(clean(modality["name"]) for modality in facts["modalities"]),
        "facts": _facts(facts),
        "version": equimodal.__version__,
    }
    return rendered("data.html.j2", content)


def _summary(facts: Mapping[str, Any], splits: Mapping[str, Any]) -> str:
    total = sum(split["samples"] for split in splits.values())
    names = [clean(modality["name"]) for modality in facts["modalities"]]
    count = _NUMBERS[len(names)] if len(names) < len(_NUMBERS) else str(len(names))
    number = len(facts["classes"])
    of = {"single-label": f" of {number} classes", "ordinal": f" of {number} ordered classes", "multilabel": f" with {number} labels"}.get(
        facts["task"], ""
    )
    kinds = f"{count} modalities, {listing(names)}" if len(names) > 1 else f"one modality, {names[0]}"
    sizes = listing(f"{split['samples']:,} for {SPLIT_NAMES[name]}" for name, split in splits.items())
    said = clean(facts["summary"]).rstrip(".")
    return f"{said[:1].upper()}{said[1:]}. {total:,} samples{of} in {kinds}: {sizes}."


def _missing(facts: Mapping[str, Any], splits: Mapping[str, Any]) -> list[str]:
    notes = []
    for modality in facts["modalities"]:
        held = [f"{count:,} {SPLIT_NAMES[split]}" for split, count in modality["missing"].items() if count and split in splits]
        if held:
            only = sum(count for split, count in modality["missing"].items() if split in splits) == 1
            notes.append(f"{clean(modality['name'])} is missing in {listing(held)} {'sample' if only else 'samples'}")
    return notes


def _caption(facts: Mapping[str, Any]) -> str:
    if facts["task"] == "multilabel":
        return "Samples that have each label, most have several; a bar is the label's share of its split, all on one scale."
    return "Samples of each class; a bar is the class's share of its split, all on one scale."


def _classes(facts: Mapping[str, Any], splits: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the table of counts: each with its count and the length of its bar in percent, split by split."""
    rows = [[split["classes"][number] for split in splits.values() if "classes" in split] for number in range(len(facts["classes"]))]
    sizes = [max(split["samples"], 1) for split in splits.values()]
    largest = max((count / size for row in rows for count, size in zip(row, sizes, strict=True)), default=0) or 1
    return [
        {
            "name": clean(name),
            "cells": [(f"{count:,}", f"{100 * count / size / largest:.1f}") for count, size in zip(row, sizes, strict=True)],
        }
        for name, row in zip(facts["classes"], rows, strict=True)
    ]


def _modality(modality: Mapping[str, Any], splits: Mapping[str, Any]) -> dict[str, Any]:
    measured, lengths = modality["range"], modality["lengths"]
    # The mean of tokens says nothing.
    averaged = measured is not None and not any(one["part"] == "attention_mask" for one in modality["inputs"])
    return {
        "name": clean(modality["name"]),
        # Lengths and masks only say how much of the others counts.
        "shapes": [_shape(one) for one in modality["inputs"] if one["part"] not in ("lengths", "attention_mask")],
        "range": "–" if measured is None else f"{_number(measured['low'])} to {_number(measured['high'])}",
        "mean": f"{_number(measured['mean'])} ± {_number(measured['std'])}" if averaged else "–",
        "lengths": "" if lengths is None else f"{lengths['low']:,} to {lengths['high']:,}, {_number(lengths['mean'])} on average",
        "missing": f"{sum(modality['missing'].get(name, 0) for name in splits):,}",
    }


def _shape(one: Mapping[str, Any]) -> tuple[str, str, str]:
    return clean(one["part"]), " × ".join(map(str, one["shape"])) or "one number", one["dtype"]


def _groups(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the samples, class by class."""
    groups: dict[str | None, list[dict[str, Any]]] = {}
    for sample in facts["samples"]:
        groups.setdefault(sample["group"], []).append(_sample(sample, facts["task"]))
    return [
        {"name": "" if name is None else clean(name), "samples": samples, "columns": max(2, min(4, len(samples)))}
        for name, samples in groups.items()
    ]


def _sample(sample: Mapping[str, Any], task: str) -> dict[str, Any]:
    labels = [clean(label) for label in sample["labels"]]
    drawings = [
        _drawing(clean(name), value, sample["number"], listing(labels) if labels else "nothing") for name, value in sample["values"].items()
    ]
    return {"number": f"{sample['number']:,}", "labels": [] if task in ("single-label", "ordinal") else labels, "drawings": drawings}


def _drawing(modality: str, value: Mapping[str, Any] | None, number: int, label: str) -> dict[str, Any]:
    said = f"{modality} of training sample {number}, {label}"
    if value is None:
        return {"kind": "missing", "modality": modality}
    if value["kind"] == "text":
        return {"kind": "text", "modality": modality, "text": clean(value["text"])}
    if value["kind"] == "curves":
        return {"kind": "curves", "modality": modality, "said": said, "curves": curves(value["series"], value["low"], value["high"])}
    classes = {"small": max(value["width"], value["height"]) < _SMALL, "stretched": value.get("stretched", False)}
    return {
        "kind": "image",
        "modality": modality,
        "said": said,
        "source": image_source(value),
        "width": value["width"],
        "height": value["height"],
        "classes": " ".join(name for name, applies in classes.items() if applies),
    }


def _facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [("task", f"{facts['task']}, scored by {metric_name(facts['metric'])}")]
    if facts["options"]:
        found.append(
            (
                "options",
                ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False, default=str)}" for name, value in facts["options"].items()),
            )
        )
    if facts["sources"]:
        found.append(("originals", f"{facts['sources']['files']:,} files, {in_bytes(facts['sources']['bytes'])}"))
    if facts["libraries"]:
        found.append(("prepared with", ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())))
    found += [("licence", facts["licence"]), ("cite", facts["citation"])]
    return [(name, clean(text)) for name, text in found]


def in_bytes(count: float) -> str:
    """Return a number of bytes in the unit that suits it.

    >>> in_bytes(12), in_bytes(12_345), in_bytes(1.5e9)
    ('12 bytes', '12.3 kB', '1.5 GB')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def _number(value: float) -> str:
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}").replace("-", "−")
