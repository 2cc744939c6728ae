"""Inputs that are padded to another length in every batch: the same numbers as if all had been padded to one."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from equimodal import diagnose
from equimodal.data import TensorSet
from equimodal.diagnose.cache import FeatureCache
from equimodal.diagnose.values import Values
from equimodal.errors import InputError
from equimodal.nn import Sequences

CLASSES, SAMPLES = 4, 203  # the last of batches of 20 has three samples, of 101 a single one


class Averages(torch.nn.Module):
    """Adds up the means over time of two kinds of padded sequences, and takes no notice of the padding."""

    modalities = ("audio", "text")

    def forward(self, inputs):
        audio, text = inputs["audio"], inputs["text"]
        there = (torch.arange(audio.values.shape[1]) < audio.lengths[:, None]).unsqueeze(2)
        heard = (audio.values * there).sum(dim=1) / audio.lengths[:, None]
        mask = text["mask"].unsqueeze(2)
        return heard + (text["vectors"] * mask).sum(dim=1) / mask.sum(dim=1)


class Recurrent(torch.nn.Module):
    """Reads the state of a recurrent network at the end of each sequence."""

    modalities = ("audio", "text")

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            self.layer = torch.nn.GRU(CLASSES, CLASSES, batch_first=True)

    def forward(self, inputs):
        audio, text = inputs["audio"], inputs["text"]
        packed = torch.nn.utils.rnn.pack_padded_sequence(audio.values, audio.lengths, batch_first=True, enforce_sorted=False)
        return self.layer(packed)[1][0] + (text["vectors"] * text["mask"].unsqueeze(2)).sum(dim=1)


def samples():
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    signal = 0.7 * torch.eye(CLASSES)[targets]
    lengths = {name: torch.randint(1, 12, (SAMPLES,), generator=generator) for name in ("audio", "text")}
    found = {
        name: [signal[row] + torch.randn(int(length), CLASSES, generator=generator) for row, length in enumerate(own)]
        for name, own in lengths.items()
    }
    return found, lengths, targets


def batch(rows, longest=None):
    """Return a batch padded to its own longest sample, or to a stated length."""
    found, lengths, targets = samples()
    padded = {}
    for name, own in found.items():
        sequences = [own[row] for row in rows]
        size = longest or max(map(len, sequences))
        padded[name] = torch.stack([torch.nn.functional.pad(one, (0, 0, 0, size - len(one))) for one in sequences])
    mask = torch.arange(padded["text"].shape[1]) < lengths["text"][rows][:, None]
    inputs = {
        "audio": Sequences(padded["audio"], lengths["audio"][rows]),
        "text": {"vectors": padded["text"], "mask": mask.long()},
    }
    return inputs, targets[rows]


def loader(size):
    return [batch(torch.arange(start, min(start + size, SAMPLES))) for start in range(0, SAMPLES, size)]


@pytest.mark.parametrize("limit", [2**30, 0], ids=["memory", "disk"])
@pytest.mark.parametrize("size", [20, 101])
@pytest.mark.parametrize("model", [Averages, Recurrent])
def test_padding_by_batch_makes_no_difference(model, size, limit):
    whole = TensorSet(*batch(torch.arange(SAMPLES), longest=11))
    asked = {"train": TensorSet(*batch(torch.arange(0, 90), longest=11)), "resamples": 50, "permutations": 3}
    expected = diagnose(model().eval(), whole, batch_size=size, **asked)
    found = diagnose(model().eval(), loader(size), **(asked | {"train": loader(15)[:6]}), cache_limit=limit)
    assert found.ablated == "inputs"
    assert list(found.ablations) == ["zero", "mean", "permutation"]
    cost = dict.fromkeys(("cost", "digest"), None)
    assert dataclasses.replace(found, **cost) == dataclasses.replace(expected, **cost)
    assert not {key for key in found.skipped if key.startswith("ablations")}


def test_a_batch_comes_back_as_it_was_and_borrowed_samples_are_padded_with_zeros():
    parts = [torch.randn(3, 4, 2), torch.randn(2, 6, 2), torch.randn(4, 4, 2), torch.randn(1, 1, 2)]
    values = Values("audio", FeatureCache())
    for number, part in enumerate(parts):
        values.append((part, {"lengths": torch.full((len(part),), number)}), len(part))
    starts = [0, 3, 5, 9]
    for start, part in zip(starts, parts, strict=True):
        assert torch.equal(values.rows(slice(start, start + len(part)))[0], part)
    several, lengths = values.rows(torch.tensor([9, 4, 0, 8]))
    assert lengths["lengths"].tolist() == [3, 1, 0, 2]
    assert several.shape == (4, 6, 2)
    assert torch.equal(several[1], parts[1][1])
    assert torch.equal(several[0, :1], parts[3][0])
    assert torch.equal(several[2, :4], parts[0][0])
    assert torch.equal(several[3, :4], parts[2][3])
    assert not several[0, 1:].any()
    assert not several[2, 4:].any()
    assert values.rows(torch.tensor([9, 9]))[0].shape == (2, 1, 2)
    assert values.rows(torch.tensor([9, 9]), beside=slice(0, 3))[0].shape == (2, 4, 2)
    everything = torch.nn.utils.rnn.pad_sequence([row for part in parts for row in part], batch_first=True)
    torch.testing.assert_close(values.mean()[0], everything.mean(dim=0, keepdim=True))


def test_what_cannot_be_joined_is_refused():
    values = Values("audio", FeatureCache())
    values.append({"x": torch.zeros(2, 3)}, 2)
    with pytest.raises(InputError, match=r"'audio' has 1 tensors in one batch and 2 in another"):
        values.append({"x": torch.zeros(2, 3), "y": torch.zeros(2)}, 2)
    with pytest.raises(InputError, match=r"'audio' has shape \[3\], torch.float32, in one batch and \[3, 1\], torch.float32, in another"):
        values.append({"x": torch.zeros(2, 3, 1)}, 2)
    with pytest.raises(InputError, match=r"\[3\], torch.float32, in one batch and \[3\], torch.int64"):
        values.append({"x": torch.zeros(2, 3, dtype=torch.long)}, 2)


class Reads(torch.nn.Module):
    """Takes its text as words."""

    modalities = ("audio", "text")

    def forward(self, inputs):
        assert len(inputs["text"]) == len(inputs["audio"])
        return inputs["audio"] + torch.eye(CLASSES)[[int(word) for word in inputs["text"]]]


def test_inputs_that_are_no_tensors_go_with_their_batch_and_are_not_borrowed():
    targets = torch.arange(40) % CLASSES
    audio = torch.randn(40, CLASSES, generator=torch.Generator().manual_seed(0))
    batches = [
        ({"audio": audio[rows], "text": [str(int(target)) for target in targets[rows]]}, targets[rows])
        for rows in torch.arange(40).split(16)
    ]
    found = diagnose(Reads(), batches, resamples=0)
    assert found.heads["multimodal"].value > 0.5
    assert list(found.ablations["permutation"]) == ["audio"]
    why = "the model cannot answer without text (the input of 'text' is not of tensors alone, and what else it has cannot be borrowed)"
    assert found.skipped["ablations.permutation"] == why
