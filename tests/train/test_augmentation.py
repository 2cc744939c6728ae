"""Augmentation within a run, and where the samples live."""

import itertools

import pytest
import torch
from torch.utils.data import DataLoader

from equimodal.data import TensorSet
from equimodal.data.augment import make_augmentations
from equimodal.data.base import Splits
from equimodal.data.decode import Scaled
from equimodal.errors import InputError
from equimodal.methods.unimodal import Unimodal
from equimodal.tasks import get_task
from equimodal.train.batches import make_source

from .examples import Killed, Pairs, assert_same_run, network, one_line, run, same
from .scenarios import CHANGES, pictures

NETWORK = {"dtype": torch.float64}


def source(data, augment=None, seed=0):
    changes = make_augmentations(augment or {}, ["image", "audio"])
    check = get_task("single-label").check
    return make_source(data, "train", check, batch_size=8, device=torch.device("cpu"), seed=seed, augment=changes)


def images(made, epoch):
    return torch.cat([share.batch.inputs["image"] for share in made.epoch(epoch)])


def trained(data, **options):
    return run(network(**NETWORK), data, **options)


def test_training_sees_other_pictures_every_epoch_and_the_seed_decides_which():
    data = pictures().train
    first, again = (images(source(data, CHANGES), epoch=1) for _ in range(2))
    assert torch.equal(first, again)
    plain = images(source(data), epoch=1)
    assert not torch.equal(first, plain)
    assert not torch.equal(images(source(data, CHANGES, seed=1), epoch=1)[:8], first[:8])
    order = [int(number) for share in source(data).epoch(2) for number in share.batch.indices]
    second = images(source(data, CHANGES), epoch=2)
    assert any(not torch.equal(now, data[number].inputs["image"]) for now, number in zip(second, order, strict=True))


def test_one_augmentation_more_leaves_the_draws_of_the_others(monkeypatch):
    flips = [{"image": ["horizontal-flip"]}, {"image": ["horizontal-flip"], "audio": ["horizontal-flip"]}]
    data = pictures().train
    data.inputs["audio"] = data.inputs["audio"].reshape(-1, 1, 2, 3)
    assert torch.equal(*(images(source(data, changes), 1) for changes in flips))


def test_what_is_validated_and_tested_is_not_changed():
    made = source(pictures().train, CHANGES)
    assert torch.equal(torch.cat([batch.inputs["image"] for batch in made.ordered()]), pictures().train.inputs["image"])
    plain, changed = trained(pictures()), trained(pictures(), augment=CHANGES)
    assert plain.history[0]["losses"]["train"] != changed.history[0]["losses"]["train"]
    # A model that does not move scores its validation split alike, augmented or not.
    still = [trained(pictures(), augment=changes, optimizer=lambda groups: torch.optim.SGD(groups, lr=0.0)) for changes in (None, CHANGES)]
    assert still[0].history[0]["losses"]["val"] == still[1].history[0]["losses"]["val"]
    assert still[0].result["scores"] == still[1].result["scores"]


@pytest.mark.parametrize("form", [lambda data: data, Pairs], ids=["tensors", "dataset"])
def test_a_run_that_was_cut_off_ends_as_if_it_never_was(tmp_path, form):
    def given():
        found = pictures()
        return Splits(form(found.train), found.val, found.test)

    def stop(record):
        if record["epoch"] == 2:
            raise Killed

    trained(given(), augment=CHANGES, out=tmp_path / "whole")
    with pytest.raises(Killed):
        trained(given(), augment=CHANGES, out=tmp_path / "cut", on_epoch=stop)
    trained(given(), augment=CHANGES, out=tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_run_with_another_augmentation_is_another_run(tmp_path):
    trained(pictures(), out=tmp_path)
    with pytest.raises(InputError, match="augment"):
        trained(pictures(), out=tmp_path, augment=CHANGES)


@pytest.mark.parametrize(
    ("data", "augment", "said"),
    [
        (lambda found: DataLoader(Pairs(found), batch_size=8), CHANGES, "the train split is a DataLoader, which brings its own batches"),
        (lambda found: [found[:8]], CHANGES, "the train split is a list, which brings its own batches: let it augment them"),
        (
            lambda found: found,
            {"audio": ["crop"]},
            "augment.audio: pictures or spectrograms [batch, channels, height, width] are needed",
        ),
    ],
)
def test_what_cannot_be_augmented_is_refused(data, augment, said):
    found = pictures()
    with pytest.raises(InputError) as refused:
        trained(Splits(data(found.train), found.val, found.test), augment=augment)
    assert said in one_line(refused)


def test_an_unknown_modality_is_refused_before_training():
    with pytest.raises(InputError, match="augment: unknown modality 'video': known: audio, image"):
        trained(pictures(), augment={"video": ["crop"]})


def test_a_network_of_one_modality_trains_with_the_same_configuration():
    assert trained(pictures(), method=Unimodal("audio"), augment=CHANGES).history


def stored_small(residence):
    """Splits of bytes, of which each uses some rows."""
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randint(0, 256, (90, 6), generator=generator, dtype=torch.uint8) for name in ("image", "audio")}
    targets = torch.randint(0, 3, (90,), generator=generator)
    rows = torch.randperm(90, generator=generator)
    decode = {"image": Scaled(1 / 255), "audio": Scaled(1 / 255)}
    return Splits(*(TensorSet(inputs, targets[part], rows=part, decode=decode, residence=residence) for part in rows.split(30)))


def test_results_do_not_depend_on_where_the_samples_live():
    runs = [run(network(), stored_small(residence)) for residence in ("device", "stream", "auto")]
    for one, other in itertools.pairwise(runs):
        assert same(one.model.state_dict(), other.model.state_dict())
        assert one.result == other.result


def test_memory_mapped_rows_stay_where_they_are_on_the_cpu():
    kept, moved = (source(stored_small(residence).train) for residence in ("auto", "device"))
    assert len(kept.data.inputs["image"]) == 90
    assert len(moved.data.inputs["image"]) == 30


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("residence", ["device", "stream"])
def test_batches_are_on_the_gpu_and_decoded_there(residence):
    check = get_task("single-label").check
    made = make_source(stored_small(residence).train, "train", check, batch_size=8, device=torch.device("cuda"), seed=0)
    for share in made.epoch(1):
        assert share.batch.inputs["image"].is_cuda
        assert share.batch.inputs["image"].dtype == torch.float32
