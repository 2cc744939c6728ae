"""Samples that leave modalities out: as batches of a loader, and in training."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from equimodal import JointFusion, fit
from equimodal.data import Samples, collate
from equimodal.data.tensors import TensorSet
from equimodal.errors import InputError
from equimodal.methods.unimodal import Unimodal
from equimodal.nn import MLP
from equimodal.nn.encoders import Sequences


class Gaps(Dataset):
    """Three classes; of ten samples the first three have no sound."""

    def __init__(self, number=60):
        generator = torch.Generator().manual_seed(number)
        self.targets = torch.arange(number) % 3
        signal = torch.nn.functional.one_hot(self.targets, 3).float()
        self.image, self.audio = signal + torch.randn(number, 3, generator=generator), signal + torch.randn(number, 3, generator=generator)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, number):
        inputs = {"image": self.image[number]}
        if number % 10 >= 3:
            inputs["audio"] = self.audio[number]
        return inputs, int(self.targets[number])

    def masked(self):
        """The same as tensors with a mask."""
        present = torch.arange(len(self)) % 10 >= 3
        return TensorSet({"image": self.image, "audio": self.audio * present[:, None]}, self.targets, {"audio": present})


def model():
    torch.manual_seed(0)
    return JointFusion({"image": MLP(3, hidden=(8,), out_features=4), "audio": MLP(3, hidden=(8,), out_features=4)}, 3)


def same_weights(one, other):
    return all(torch.equal(first, second) for first, second in zip(one.parameters(), other.parameters(), strict=True))


def test_rows_without_a_modality_are_zeros_and_masked_whichever_comes_first():
    whole, gap = ({"image": torch.ones(2), "audio": torch.ones(3)}, 0), ({"image": torch.ones(2)}, 1)
    for samples, mask in (([whole, gap], [True, False]), ([gap, whole], [False, True])):
        batch = collate(samples)
        assert batch.inputs["image"].shape == (2, 2)
        assert batch.inputs["audio"].sum(dim=1).tolist() == [3.0 * there for there in mask]
        assert batch.present["audio"].tolist() == mask
        assert "image" not in batch.present


def test_gaps_and_masks_together():
    whole, gap = {"image": torch.ones(2), "audio": torch.ones(3)}, {"image": torch.ones(2)}
    batch = collate([(whole, 0, {"image": False}), (gap, 1), (whole, 2, {"audio": torch.tensor(False)}), (whole, 0)])
    assert batch.present["image"].tolist() == [False, True, True, True]
    assert batch.present["audio"].tolist() == [True, False, False, True]


def test_inputs_of_several_tensors():
    value = Sequences(torch.ones(4, 2), torch.tensor(3))
    batch = collate([({"motion": value, "image": torch.ones(1)}, 0), ({"image": torch.ones(1)}, 1)])
    assert type(batch.inputs["motion"]) is Sequences
    assert batch.inputs["motion"][0].shape == (2, 4, 2)
    assert batch.inputs["motion"][1].tolist() == [3, 0]


def test_without_gaps_nothing_is_masked():
    batch = collate([({"b": 1.0, "a": 2.0}, 0), ({"a": 3.0, "b": 4.0}, 1)])
    assert batch.inputs["a"].tolist() == [2.0, 3.0]
    assert batch.present == {}


def test_what_does_not_fit_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"^samples: 'b' of one is None: leave out a modality that the sample lacks$"):
        collate([({"a": torch.ones(2), "b": None}, 0), ({"a": torch.ones(2), "b": torch.ones(1)}, 1)])
    with pytest.raises(InputError, match=r"^samples: there are none to join to a batch$"):
        collate([])
    with pytest.raises(InputError, match=r"samples: 'a' cannot be joined to a batch: [^\n]*$"):
        collate([({"a": torch.ones(2)}, 0), ({"a": torch.ones(3), "b": torch.ones(1)}, 1)])


@pytest.mark.parametrize("batch_size", [16, 1])
def test_training_on_gaps_equals_training_with_masks(batch_size):
    """Batches of one sample have no sound at all in three of ten cases."""
    options = {"epochs": 2, "batch_size": batch_size, "device": "cpu", "method": "miles"}
    masked = fit(model(), Gaps().masked(), Gaps(30).masked(), **options)
    gaps = fit(model(), Gaps(), Gaps(30), **options)
    assert same_weights(gaps.model, masked.model)
    assert gaps.result == masked.result


def test_a_loader_joins_them_with_collate():
    options = {"epochs": 2, "device": "cpu", "method": "miles"}
    loaders = [DataLoader(Gaps(number), batch_size=16, collate_fn=collate) for number in (60, 30)]
    run = fit(model(), *loaders, **options)
    assert run.history[0]["scores"]["val"].keys() == {"multimodal", "image", "audio"}


@pytest.mark.parametrize("method", [Unimodal("audio"), "gblend"])
def test_models_of_the_modality_alone_train_where_a_batch_lacks_it(method):
    run = fit(model(), Gaps(120), Gaps(30), epochs=1, batch_size=2, device="cpu", method=method)
    assert 0 <= run.result["scores"]["val"]["audio"] <= 1


def test_samples_with_one_modality_alone():
    alone = Samples(Gaps(20)).only("audio")
    assert alone[0][0] == {}
    assert alone[:].present["audio"].tolist() == [number % 10 >= 3 for number in range(20)]
