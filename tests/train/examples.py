"""Small data, small models, and runs that are compared bit by bit."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from equimodal.data import TensorSet
from equimodal.data.base import Splits
from equimodal.errors import InputError
from equimodal.nn import MLP, JointFusion
from equimodal.train import fit

MODALITIES = ("image", "audio")
OUTPUTS = 3


class Killed(BaseException):
    """Stands in for SIGKILL where one process has to survive it; no handler of errors may catch it."""


def samples(number, seed, task="single-label", modalities=MODALITIES, masks=False, outputs=OUTPUTS):
    """Noisy views of one hidden vector, the first modality the clearest."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(number, outputs, generator=generator)
    mixing = torch.Generator().manual_seed(0)
    inputs = {}
    for level, name in enumerate(modalities):
        seen = torch.tanh(hidden @ torch.randn(outputs, 6, generator=mixing))
        inputs[name] = seen + 0.3 * (level + 1) * torch.randn(number, 6, generator=generator)
    targets = {
        "single-label": hidden.argmax(dim=1),
        "multilabel": (hidden > 0.3).float(),
        "regression": hidden,
        "ordinal": (hidden[:, :1] > torch.tensor([-0.8, 0.0, 0.8])).sum(dim=1),  # four classes, three thresholds
    }[task]
    present = {}
    if masks:
        lacking = torch.randint(0, len(modalities) + 3, (number,), generator=generator)  # the sample lacks at most one modality
        present = {name: lacking != index for index, name in enumerate(modalities)}
    return TensorSet(inputs, targets, present)


def splits(task="single-label", sizes=(50, 30, 20), **options):
    return Splits(*(samples(size, seed, task, **options) for seed, size in enumerate(sizes, start=1)))


def network(modalities=MODALITIES, outputs=OUTPUTS, *, dropout=0.0, norm=False, fusion="concat", seed=0, dtype=torch.float32):
    """A model whose weights are the same each time it is made."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        encoders = {}
        for name in modalities:
            encoders[name] = MLP(6, hidden=(8,), out_features=5, dropout=dropout)
            if norm:
                encoders[name] = nn.Sequential(encoders[name], nn.BatchNorm1d(5))
        return JointFusion(encoders, outputs, fusion, feature_sizes=dict.fromkeys(modalities, 5)).to(dtype)


def run(model=None, data=None, **options):
    """Train a fresh small model for three epochs."""
    data = splits(options.get("task", "single-label")) if data is None else data
    chosen = {"epochs": 3, "batch_size": 16, "device": "cpu", "threads": 1, "test": data.test, **options}
    return fit(network() if model is None else model, data.train, data.val, **chosen)


class Pairs(Dataset):
    """A torch data set of single samples that counts how often it is read."""

    def __init__(self, data):
        self.data = data
        self.reads = 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        self.reads += 1
        batch = self.data[index]
        parts = (dict(batch.inputs), batch.targets)
        return (*parts, dict(batch.present)) if batch.present else parts


class CountingSet(TensorSet):
    """A data set of tensors that counts how many samples are read from it."""

    reads = 0

    def __getitem__(self, index):
        batch = super().__getitem__(index)
        type(self).reads += len(batch)
        return batch

    def to(self, device):
        return self


def same(first, second):
    """Whether two nested states are equal bit by bit."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return isinstance(second, dict) and first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second or (isinstance(first, float) and math.isnan(first) and math.isnan(second))


def read_metrics(folder):
    """The records of a run, without what depends on the clock."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def assert_same_run(folder, other):
    """Two folders hold the same run: result, records but for the time they took, and every tensor of the checkpoints."""
    assert (folder / "result.json").read_bytes() == (other / "result.json").read_bytes()
    assert read_metrics(folder) == read_metrics(other)
    assert (folder / "config.yaml").read_bytes() == (other / "config.yaml").read_bytes()
    for name in ("last.pt", "best.pt"):
        assert same(torch.load(folder / name), torch.load(other / name)), name
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in other.iterdir())
    assert not list(folder.glob("*.tmp"))


def one_line(error):
    """The message of an error that pytest caught, which must be a single line."""
    text = str(error.value)
    assert text
    assert "\n" not in text
    return text


def refusal(function, *arguments, kind=InputError, **options):
    """The one line with which a call is refused."""
    with pytest.raises(kind) as error:
        function(*arguments, **options)
    return one_line(error)
