"""Scores where modalities are missing from a share of the samples, or noisy."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from equimodal.data.batch import Batch
from equimodal.diagnose.quantities import Interval
from equimodal.diagnose.robustness import input_deviations, missing, noise
from equimodal.errors import InputError


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Noted:
    """The accuracy for class 0, and the logits that were scored."""

    def __init__(self) -> None:
        self.logits: list[torch.Tensor] = []

    def __call__(self, logits: torch.Tensor) -> Interval:
        self.logits.append(logits)
        return Interval(float((logits.argmax(dim=1) == 0).float().mean()))


def test_what_lacks_a_modality_at_a_small_share_lacks_it_at_a_larger_one():
    full, audio, image = torch.zeros(101, 2), torch.ones(101, 2), 2 * torch.ones(101, 2)
    noted = Noted()
    points = missing(full, {"audio": audio, "image": image}, noted, seed=3)
    assert [(point.modality, point.kind, point.share) for point in points[:2]] == [("audio", "missing", 0.0), ("audio", "missing", 0.25)]
    lacks = [logits[:, 0] > 0 for logits in noted.logits]
    assert [int(own.sum()) for own in lacks[:5]] == [0, 25, 50, 76, 101]
    assert all(bool((small <= large).all()) for small, large in pairwise(lacks[:5]))
    assert all(torch.equal(one, other) for one, other in zip(lacks[:5], lacks[5:], strict=True)), "the same samples for every modality"
    again, other = Noted(), Noted()
    missing(full, {"audio": audio}, again, seed=3)
    missing(full, {"audio": audio}, other, seed=4)
    assert torch.equal(again.logits[2], noted.logits[2])
    assert not torch.equal(other.logits[2], noted.logits[2])


def test_a_share_that_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"shares has 1\.5"):
        missing(torch.zeros(4, 2), {"audio": torch.zeros(4, 2)}, Noted(), shares=(0.5, 1.5))


def batches():
    inputs = 10 + 3 * torch.randn(400, 6, generator=draws(0))
    tokens = torch.arange(400).view(400, 1)
    pair = (torch.randn(400, 2, generator=draws(1)), tokens)
    for rows in torch.arange(400).split(64):
        yield Batch({"audio": inputs[rows], "text": tokens[rows], "image": {"x": pair[0][rows], "n": pair[1][rows]}}, rows % 2)


def test_deviations_are_those_of_all_values():
    found = input_deviations(batches(), ("audio", "text", "image"))
    every = torch.cat([batch.inputs["audio"] for batch in batches()])
    assert list(found) == ["audio", "image"]
    assert found["audio"] == pytest.approx([float(every.double().std(correction=0))], rel=1e-9)
    assert found["image"][1] == 0.0
    assert found["image"][0] == pytest.approx(1.0, abs=0.1)


def test_noise_is_as_strong_as_stated_and_of_one_direction():
    seen: dict[float, list[torch.Tensor]] = {}

    def predict(batch):
        assert torch.equal(batch.inputs["image"]["n"], batch.inputs["text"])
        seen.setdefault(float(len(seen)), []).append(batch.inputs["audio"].clone())
        return torch.zeros(len(batch), 2)

    clean = torch.cat([batch.inputs["audio"] for batch in batches()])
    noted = Noted()
    points = noise(predict, batches, ("audio", "text"), noted, full=torch.full((400, 2), 7.0), levels=(0.0, 0.5, 2.0))
    assert [(point.modality, point.kind, point.share) for point in points] == [("audio", "noise", level) for level in (0.0, 0.5, 2.0)]
    assert torch.equal(noted.logits[0], torch.full((400, 2), 7.0)), "no pass without noise"
    parts = [part for own in seen.values() for part in own]
    weak, strong = (torch.cat(parts[start : start + 7]) - clean for start in (0, 7))
    assert float(weak.std()) == pytest.approx(0.5 * float(clean.std()), rel=0.05)
    torch.testing.assert_close(strong, 4 * weak, atol=1e-4, rtol=1e-3)


def test_noise_leaves_the_data_and_the_random_state_alone():
    held = list(batches())
    kept = [batch.inputs["audio"].clone() for batch in held]
    before = torch.random.get_rng_state()
    noise(lambda batch: torch.zeros(len(batch), 2), lambda: held, ("audio",), Noted(), full=torch.zeros(400, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(batch.inputs["audio"], own) for batch, own in zip(held, kept, strict=True))


def test_noise_that_cannot_be_is_refused():
    predict = lambda batch: torch.zeros(len(batch), 2)  # noqa: E731
    with pytest.raises(InputError, match="none of text has an input of real numbers"):
        noise(predict, batches, ("text",), Noted(), full=torch.zeros(400, 2))
    with pytest.raises(InputError, match="levels has -1"):
        noise(predict, batches, ("audio",), Noted(), full=torch.zeros(400, 2), levels=(-1,))
