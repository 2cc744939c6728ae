"""Torch data sets as splits: batches of them, in one call where they can, and a training run from the command line."""

import sys
import textwrap
from itertools import chain

import pytest
import torch
from torch.utils.data import Dataset, Subset

from equimodal import JointFusion, fit
from equimodal.cli import main
from equimodal.data import Batch, Splits
from equimodal.data.samples import Samples, as_samples
from equimodal.errors import InputError
from equimodal.nn import MLP
from equimodal.study.search_cache import content_hash


class Pairs(Dataset):
    """Two noisy views of a class, one sample at a time."""

    def __init__(self, count=24, masks=False):
        generator = torch.Generator().manual_seed(count)
        self.labels = [k % 3 for k in range(count)]
        self.views = torch.randn(count, 2, 4, generator=generator) + torch.tensor(self.labels)[:, None, None]
        self.masks = masks

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        sample = {"left": self.views[index, 0], "right": self.views[index, 1]}, self.labels[index]
        return (*sample, {"right": index % 2 == 0}) if self.masks else sample


class Together(Pairs):
    """The same, read several at once."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.calls = []

    def __getitem__(self, index):
        raise AssertionError("samples are to be read together")

    def __getitems__(self, numbers):
        self.calls.append(list(numbers))
        return [Pairs.__getitem__(self, number) for number in numbers]


def network():
    torch.manual_seed(0)
    return JointFusion({"left": MLP(4, hidden=[8], out_features=6), "right": MLP(4, hidden=[8], out_features=6)}, 3)


def trained(train, val):
    return fit(network(), train, val, method="joint", epochs=2, batch_size=8, device="cpu").history


def scores(history):
    return [record["scores"] for record in history]


def test_a_dataset_that_reads_samples_together_is_asked_once_for_each_batch():
    train = Together()
    history = trained(train, Together(6))
    assert [len(call) for call in train.calls] == [8, 8, 8] * 3  # two epochs, and the scores of the best
    assert sorted(chain(*train.calls[:3])) == list(range(24))
    assert scores(history) == scores(trained(Pairs(), Pairs(6)))


def test_a_subset_passes_the_question_on():
    train = Together()
    trained(Subset(train, range(16)), Pairs(6))
    assert [len(call) for call in train.calls] == [8, 8] * 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda numbers: [({}, 0)], "returned 1 samples for 8 numbers"),
        (lambda numbers: ({}, 0, 1, 2), "returned 4 samples for 8 numbers"),
        (lambda numbers: {}, "returned a dict for 8 numbers"),
        (lambda numbers: [{"left": 1}] * len(numbers), "samples of the train split: one is a dict; give (inputs by modality, target)"),
    ],
)
def test_a_wrong_answer_is_refused_in_one_line(given, said):
    train = Together()
    train.__dict__["__getitems__"] = given
    with pytest.raises(InputError) as caught:
        trained(train, Pairs(6))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [Pairs, Together])
def test_slices_and_numbers_select_batches(kind):
    samples = Samples(kind(masks=True))
    batch = samples[torch.tensor([5, 2])]
    assert isinstance(batch, Batch)
    assert batch.inputs["left"].equal(Pairs().views[[5, 2], 0])
    assert (batch.targets.tolist(), batch.indices.tolist()) == ([2, 2], [5, 2])
    assert batch.present["right"].tolist() == [False, True]
    assert samples[20:].indices.tolist() == [20, 21, 22, 23]
    inputs, target, present = samples[4]
    assert (target, present) == (1, {"right": True})
    assert inputs["left"].shape == (4,)


def test_targets_are_those_of_all_samples():
    assert Samples(Together(7)).targets.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_one_modality_alone():
    alone = Samples(Pairs(masks=True)).only("left")
    assert list(alone[:2].inputs) == ["left"]
    assert alone[:2].present == {}
    assert Samples(Pairs(masks=True)).only("right")[:2].present["right"].tolist() == [True, False]


@pytest.mark.parametrize("thing", [3, {"left": 1}, iter([])])
def test_what_has_no_numbers_is_refused(thing):
    with pytest.raises(InputError, match="does not give a sample for every number"):
        Samples(thing)


MODULE = """
import torch
from equimodal.data import Dataset, Splits
from equimodal.data.samples import Samples, as_samples


class Pairs(torch.utils.data.Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return {name: torch.randn(4, generator=generator) + index % 3 for name in ("left", "right")}, index % 3


class MyData(Dataset):
    name = "my-data"
    summary = "made up"
    licence = "none"
    citation = "none"
    modalities = ("left", "right")
    num_outputs = 3
    encoders = dict.fromkeys(modalities, {"name": "mlp", "in_features": 4})

    def load(self, data_dir=None):
        return as_samples(Splits(Pairs(24), Pairs(9), Pairs(9)))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_pairs.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_pairs:MyData"
    sys.modules.pop("my_pairs", None)


def test_a_class_that_wraps_a_torch_dataset_trains_from_the_command_line(module, tmp_path, capsys):
    assert main(["train", "--dataset", module, "--epochs", "2", "--device", "cpu", "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "complete").exists()
    assert "my_pairs:MyData" in capsys.readouterr().out


def test_and_is_compared(module, tmp_path, capsys):
    words = ["compare", "--dataset", module, "--methods", "joint,miles", "--seeds", "1", "--epochs", "1", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "compared")]) == 0, capsys.readouterr().err
    assert "left alone" in capsys.readouterr().out


def test_and_its_learning_rates_are_searched_once(module, tmp_path, capsys):
    words = ["rates", "--dataset", module, "--epochs", "1", "--device", "cpu", "--rates", "0.001", "--cache", str(tmp_path / "cache")]
    assert main(words) == 0, capsys.readouterr().err
    assert "known from before" not in capsys.readouterr().out
    assert main(words) == 0
    assert "known from before: left, right" in capsys.readouterr().out


def test_what_is_searched_once_is_told_apart_by_values_targets_and_masks():
    def content(change):
        pairs = Pairs(6, masks=True)
        change(pairs)
        held = [pairs[number] for number in range(6)]
        return content_hash(as_samples(Splits(held, Pairs(3), Pairs(3))), "right")

    def lacks(pairs):
        pairs.masks = False

    def relabels(pairs):
        pairs.labels[0] = 2

    def moves(pairs):
        pairs.views[0, 1, 0] += 1

    found = [content(change) for change in (lambda pairs: None, lacks, relabels, moves)]
    assert len(set(found)) == 4
    assert content(lambda pairs: None) == found[0]


def test_splits_that_know_their_targets_stay_as_they_are():
    from equimodal.data import TensorSet

    known = TensorSet({"left": torch.zeros(2, 4)}, torch.tensor([0, 1]))
    splits = as_samples(Splits(known, Pairs(3), Samples(Pairs(3))))
    assert splits.train is known
    assert isinstance(splits.val, Samples)
