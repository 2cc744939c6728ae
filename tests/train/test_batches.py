"""Batches from every kind of split: what is in them, in which order, and what is refused."""

from __future__ import annotations

import functools
from itertools import chain

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, Subset

from equimodal.data import Batch, TensorSet
from equimodal.errors import InputError
from equimodal.tasks import get_task
from equimodal.train.batches import make_source

from .examples import Pairs, one_line, samples

CPU = torch.device("cpu")
CHECK = functools.partial(get_task("single-label").check, outputs=3)


def numbered(count=25, **options):
    """A split whose first image value is the sample's number."""
    data = samples(count, 0, **options)
    data.inputs["image"][:, 0] = torch.arange(count)
    return data


def source(data, seed=0, name="train", batch_size=8, check=CHECK):
    return make_source(data, name, check, batch_size=batch_size, device=CPU, seed=seed)


def numbers(batches):
    return [[int(number) for number in batch.inputs["image"][:, 0]] for batch in batches]


def trained(made, epoch):
    return numbers(share.batch for share in made.epoch(epoch))


def shuffled_loader(data, where="loader"):
    generator = torch.Generator()
    if where == "loader":
        return DataLoader(Pairs(data), batch_size=8, shuffle=True, generator=generator)
    sampler = RandomSampler(Pairs(data), generator=generator)
    if where == "sampler":
        return DataLoader(Pairs(data), batch_size=8, sampler=sampler)
    return DataLoader(Pairs(data), batch_sampler=BatchSampler(sampler, 8, drop_last=False))


SHUFFLED = {
    "tensors": lambda data: data,
    "dataset": Pairs,
    "subset of tensors": lambda data: Subset(data, range(len(data))),
    "loader": shuffled_loader,
    "sampler": functools.partial(shuffled_loader, where="sampler"),
    "batch sampler": functools.partial(shuffled_loader, where="batch sampler"),
}


@pytest.mark.parametrize("make", SHUFFLED.values(), ids=SHUFFLED)
def test_an_epoch_holds_every_sample_once(make):
    batches = trained(source(make(numbered())), 1)
    assert [len(batch) for batch in batches] == [8, 8, 8, 1]
    assert sorted(chain(*batches)) == list(range(25))


@pytest.mark.parametrize("make", SHUFFLED.values(), ids=SHUFFLED)
def test_the_order_depends_on_seed_and_epoch_alone(make):
    made, other = source(make(numbered())), source(make(numbered()))
    first, second = trained(made, 1), trained(made, 2)
    list(other.ordered())
    torch.rand(3)
    assert trained(other, 2) == second
    assert trained(other, 1) == first != second
    assert trained(source(make(numbered()), seed=1), 1) != first


@pytest.mark.parametrize("make", SHUFFLED.values(), ids=SHUFFLED)
def test_evaluation_sees_every_sample_once_in_the_same_order_each_time(make):
    made = source(make(numbered()))
    first = numbers(made.ordered())
    trained(made, 3)
    assert numbers(made.ordered()) == first
    assert sorted(chain(*first)) == list(range(25))


def test_a_dataset_gives_the_batches_of_the_same_tensors():
    data = numbered(masks=True)
    for one, other in zip(source(data).epoch(4), source(Pairs(data)).epoch(4), strict=True):
        assert (one.counted, one.total) == (other.counted, other.total)
        assert one.batch.targets.equal(other.batch.targets)
        for name in ("image", "audio"):
            assert one.batch.inputs[name].equal(other.batch.inputs[name])
            assert one.batch.present[name].equal(other.batch.present[name])


def test_batches_know_the_numbers_of_their_samples():
    for batch in source(numbered()).ordered():
        assert batch.indices.tolist() == batch.inputs["image"][:, 0].tolist()


def test_tensors_and_datasets_tell_the_share_of_each_batch():
    assert [(share.counted, share.total) for share in source(numbered()).epoch(1)] == [(8, 8), (8, 8), (8, 8), (1, 1)]


@pytest.mark.parametrize("kind", ["pairs", "lists", "triples", "batches"])
def test_a_list_of_batches_keeps_its_order(kind):
    data = numbered(masks=kind == "triples")
    whole = [data[slice(start, start + 8)] for start in range(0, 25, 8)]
    items = {
        "pairs": [(dict(batch.inputs), batch.targets) for batch in whole],
        "lists": [[dict(batch.inputs), batch.targets] for batch in whole],
        "triples": [(dict(batch.inputs), batch.targets, dict(batch.present)) for batch in whole],
        "batches": whole,
    }[kind]
    made = source(items)
    assert trained(made, 1) == trained(made, 2) == numbers(made.ordered()) == numbers(whole)
    if kind == "triples":
        assert next(made.ordered()).present["audio"].equal(whole[0].present["audio"])


def test_a_sampler_is_told_the_epoch():
    class Sampler(list):
        def set_epoch(self, epoch):
            self.epoch = epoch

    sampler = Sampler(range(25))
    made = source(DataLoader(Pairs(numbered()), batch_size=8, sampler=sampler))
    trained(made, 7)
    assert sampler.epoch == 7


def test_a_loader_over_a_stream_needs_no_length():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([Pairs(numbered())[index] for index in range(25)])

    made = source(DataLoader(Stream(), batch_size=8))
    assert trained(made, 1) == trained(made, 2) == numbers(made.ordered())


class Yields:
    """Something that yields one item, every time it is asked."""

    def __init__(self, *items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


INPUTS = {"image": torch.zeros(4, 6), "audio": torch.zeros(4, 6)}
WRONG_ITEMS = {
    "a tensor": (torch.zeros(4, 6), "yields Tensor"),
    "a mapping": ({"image": torch.zeros(4, 6)}, "yields dict"),
    "inputs without names": ((torch.zeros(4, 6), torch.zeros(4)), "yields tuple"),
    "four parts": ((INPUTS, torch.zeros(4), {}, {}), "yields tuple"),
    "targets that are a list": ((INPUTS, [0, 1, 2, 0]), "targets of type list"),
    "targets of floats": ((INPUTS, torch.zeros(4)), "float32"),
    "a class too many": ((INPUTS, torch.tensor([0, 1, 2, 3])), "class number 3"),
    "a class below zero": ((INPUTS, torch.tensor([0, 1, 2, -100])), "class number -100"),
    "too few targets": ((INPUTS, torch.tensor([0, 1])), "'image' has shape [4, 6] and there are 2 targets"),
    "an input without batch": (({"image": torch.tensor(1.0)}, torch.tensor([0, 1])), "'image' has shape []"),
}


@pytest.mark.parametrize(("item", "message"), WRONG_ITEMS.values(), ids=WRONG_ITEMS)
def test_wrong_items_are_refused_in_one_line(item, message):
    made = source(Yields(item))
    for batches in (made.epoch(1), made.ordered()):
        with pytest.raises(InputError) as error:
            list(batches)
        assert message in one_line(error)
        assert "train split" in one_line(error)


WRONG_SPLITS = {
    "an empty set": (TensorSet({"image": torch.zeros(0, 6)}, torch.zeros(0, dtype=torch.int64)), "empty"),
    "an empty list": ([], "empty"),
    "a generator": ((item for item in ()), "read only once"),
    "a stream of samples": (type("Stream", (IterableDataset,), {"__iter__": lambda self: iter([])})(), "give a TensorSet"),
    "a mapping": ({"image": torch.zeros(4, 6)}, "give a TensorSet"),
    "a number": (3, "give a TensorSet"),
    "nothing": (None, "give a TensorSet"),
    "targets of floats": (TensorSet({"image": torch.zeros(4, 6)}, torch.zeros(4)), "single-label needs class numbers"),
    "a class too many": (TensorSet({"image": torch.zeros(2, 6)}, torch.tensor([0, 3])), "from 0 to 2"),
}


@pytest.mark.parametrize(("split", "message"), WRONG_SPLITS.values(), ids=WRONG_SPLITS)
def test_wrong_splits_are_refused_in_one_line(split, message):
    with pytest.raises(InputError) as error:
        source(split, name="val")
    assert message in one_line(error)
    assert "val split" in one_line(error)


def test_a_loader_that_yields_nothing_is_refused():
    made = source(Yields())
    with pytest.raises(InputError, match="yielded no batch"):
        list(made.epoch(1))


class Uneven(Pairs):
    def __getitem__(self, index):
        inputs, target = super().__getitem__(index)
        return {**inputs, "audio": torch.zeros(index + 1)}, target


def test_samples_that_do_not_join_are_refused_in_one_line():
    with pytest.raises(InputError, match="cannot be joined to a batch") as error:
        next(source(Uneven(numbered())).ordered())
    one_line(error)


def test_batches_pass_as_they_are():
    batch = Batch(INPUTS, torch.tensor([0, 1, 2, 0]), indices=torch.arange(4))
    assert next(source([batch]).ordered()).indices.equal(batch.indices)
