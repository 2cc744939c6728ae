"""What is in a data set, as plain facts: counts, shapes, ranges, what is missing or unusual, and a few samples to look at."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.data.batch import map_tensors
from equimodal.data.drawable import drawn, length_of, parts_of
from equimodal.data.tensors import TensorSet
from equimodal.errors import InputError

if TYPE_CHECKING:
    from equimodal.data.base import Dataset, Splits

__all__ = ["summarise"]

SPLITS = ("train", "val", "test")
MEASURED = 256
"""Of so many training samples, drawn once and for all, ranges are measured."""

SHOWN = 40
"""About so many samples are drawn: of up to as many classes two to four each, else one."""

_PIECE = 32


def summarise(dataset: Dataset, splits: Splits, manifest: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what there is to say of a data set; the same set gives the same facts.

    ``"splits"`` has for each split its samples, and of each class, or for regression the range of the targets; ``"modalities"`` has shapes,
    types, ranges, lengths, and how many samples of each split lack one; ``"samples"`` are some of the training split (see
    :func:`equimodal.data.drawable.drawn`).

    :param dataset: the data set.
    :param splits: what it loads.
    :param manifest: that of its prepared set, where it has one: notes, damaged files and sources are taken from it.
    :returns: numbers, strings, bytes, lists and mappings alone.
    :raises InputError: for splits that are not held as tensors.
    """
    known = manifest or {}
    held = {name: getattr(splits, name) for name in SPLITS}
    for name, samples in held.items():
        if not isinstance(samples, TensorSet):
            raise InputError(
                f"the {name} split of data set {dataset.name!r} is a {type(samples).__name__}: a summary is made of splits held as tensors"
                " (equimodal.data.TensorSet), it can still be trained on"
            )
    if dataset.task not in ("single-label", "multilabel", "regression", "ordinal"):
        raise InputError(f"data set {dataset.name!r} has {dataset.task} targets, of which no summary is made; it can still be trained on")
    classes = _class_names(dataset, known)
    sources = known.get("sources") or {}
    return {
        "name": dataset.name,
        "summary": dataset.summary,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "task": dataset.task,
        "metric": dataset.metric,
        "options": dict(dataset.options()),
        "classes": classes,
        "splits": {name: _counts(samples, dataset.task, len(classes)) for name, samples in held.items()},
        "modalities": [_modality(name, held) for name in dataset.modalities],
        "samples": _samples(dataset, splits.train, classes),
        "notes": list(known.get("notes") or ()),
        "damaged": dict(known.get("damaged") or {}),
        "sources": {"files": len(sources), "bytes": sum(int(source["bytes"]) for source in sources.values())} if sources else None,
        "libraries": dict(known.get("libraries") or {}),
    }


def _class_names(dataset: Dataset, manifest: Mapping[str, Any]) -> list[str]:
    if dataset.task == "regression":
        return []
    facts = manifest.get("facts") or {}
    names = dataset.class_names or facts.get("class_names") or ()
    number = dataset.num_outputs + (dataset.task == "ordinal")  # which has an output for each step between two classes
    return [str(name) for name in names] if len(names) == number else [str(one) for one in range(number)]


def _counts(samples: TensorSet, task: str, classes: int) -> dict[str, Any]:
    targets = samples.targets
    if task == "regression":
        flat = targets.double()
        return {"samples": len(samples), "targets": {"low": float(flat.min()), "high": float(flat.max()), "mean": float(flat.mean())}}
    counted = targets.sum(0).long() if task == "multilabel" else torch.bincount(targets.long(), minlength=classes)
    return {"samples": len(samples), "classes": counted.tolist()}


def _modality(name: str, splits: Mapping[str, TensorSet]) -> dict[str, Any]:
    """Return shapes, types and ranges of a modality as encoders take it."""
    training = splits["train"]
    missing = {split: int((~samples.present[name]).sum()) for split, samples in splits.items() if name in samples.present}
    alone = training.only(name)
    rows = torch.arange(len(alone))
    if name in training.present:
        rows = rows[training.present[name]]
    rows = rows[torch.randperm(len(rows), generator=_generator(f"range {name}"))[:MEASURED]].sort().values
    measured, lengths, inputs = _Measured(), list[int](), list[dict[str, Any]]()
    for piece in torch.split(rows, _PIECE) if len(rows) else ():
        parts = dict(parts_of(alone[piece].inputs[name]))
        inputs = [{"part": part, "shape": list(tensor.shape[1:]), "dtype": str(tensor.dtype)[6:]} for part, tensor in parts.items()]
        for sample in range(len(piece)):
            one = {part: tensor[sample] for part, tensor in parts.items()}
            value, length = next(iter(one.values())), length_of(one)
            if length is not None:
                lengths.append(length)
                value = value[:length]
            measured.add(value)
    return {
        "name": name,
        "inputs": inputs,
        "range": measured.facts(),
        "lengths": {"low": min(lengths), "high": max(lengths), "mean": sum(lengths) / len(lengths)} if lengths else None,
        "measured": len(rows),
        "missing": missing,
    }


class _Measured:
    """Range, mean and standard deviation of values that come in pieces."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = self.squares = 0.0
        self.low, self.high = math.inf, -math.inf

    def add(self, values: Tensor) -> None:
        wide = values.double()
        finite = wide[torch.isfinite(wide)]
        if len(finite):
            self.count += len(finite)
            self.sum += float(finite.sum())
            self.squares += float(finite.square().sum())
            self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))

    def facts(self) -> dict[str, float] | None:
        if not self.count:
            return None
        mean = self.sum / self.count
        return {"low": self.low, "high": self.high, "mean": mean, "std": math.sqrt(max(0.0, self.squares / self.count - mean**2))}


def _samples(dataset: Dataset, training: TensorSet, classes: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for group, row in _chosen(training.targets, dataset.task, len(classes)):
        batch, stored, number = training[row[None]], training.stored(row), int(row)
        target = batch.targets[0]
        if dataset.task in ("single-label", "ordinal"):
            labels = [classes[int(target)]]
        elif dataset.task == "multilabel":
            labels = [name for name, held in zip(classes, target.tolist(), strict=True) if held]
        else:
            labels = [f"{value:.4g}" for value in target.flatten().tolist()]
        values: dict[str, Any] = {}
        for modality in dataset.modalities:
            lacks = modality in batch.present and not bool(batch.present[modality])
            value = map_tensors(lambda tensor: tensor[0], batch.inputs[modality])
            values[modality] = None if lacks else _shown(dataset, modality, value, stored.inputs[modality])
        found.append({"group": None if group is None else classes[group], "number": number, "labels": labels, "values": values})
    return found


def _shown(dataset: Dataset, modality: str, value: Any, stored: Any) -> dict[str, Any]:
    shown = dataset.shown(modality, value)
    if shown is value and isinstance(stored, Tensor) and stored.dtype == torch.uint8:
        shown = stored  # a picture's own colours, not standardised ones
    return drawn(shown, modality)


def _chosen(targets: Tensor, task: str, classes: int) -> Iterator[tuple[int | None, Tensor]]:
    """Yield the numbers of the samples to show, and for which class."""
    if task == "regression":
        for row in torch.randperm(len(targets), generator=_generator("samples"))[: SHOWN // 4]:
            yield None, row
        return
    each, used = 1 if classes > SHOWN else max(2, min(4, SHOWN // max(classes, 1))), set[int]()
    for number in range(classes):
        member = targets[:, number] > 0 if task == "multilabel" else targets == number
        rows = member.nonzero().flatten()
        shuffled = rows[torch.randperm(len(rows), generator=_generator(f"samples {number}"))]
        fresh = [row for row in shuffled[: each + len(used)] if int(row) not in used][:each]
        used.update(map(int, fresh))
        yield from ((number, row) for row in fresh)


def _generator(purpose: str) -> torch.Generator:
    seed = int.from_bytes(hashlib.sha256(f"summary {purpose}".encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(seed)
