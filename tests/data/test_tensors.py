"""Sets of tensors: rows of larger tensors, small types, and where training keeps them."""

import pickle

import pytest
import torch

from equimodal.data import TensorSet
from equimodal.data.decode import AsLong, Scaled, Standardise
from equimodal.errors import InputError
from equimodal.nn.encoders.sequence import Sequences


@pytest.fixture
def samples():
    """Three of five rows, in another order."""
    return TensorSet(
        {
            "image": torch.arange(5, dtype=torch.uint8)[:, None],
            "track": Sequences(torch.arange(10.0).reshape(5, 2, 1), torch.tensor([1, 2, 1, 2, 1])),
        },
        torch.tensor([10, 11, 12]),
        {"track": torch.tensor([True, False, True])},
        rows=torch.tensor([4, 0, 2]),
        decode={"image": Scaled(0.5), "track": Standardise(torch.tensor([1.0]), torch.tensor([2.0]))},
    )


def test_samples_are_the_rows_asked_for_and_decoded(samples):
    batch = samples[torch.tensor([2, 0])]
    assert batch.inputs["image"].tolist() == [[1.0], [2.0]]
    assert batch.inputs["track"].values[:, :, 0].tolist() == [[1.5, 2.0], [3.5, 4.0]]
    assert batch.inputs["track"].lengths.tolist() == [1, 1]
    assert batch.targets.tolist() == [12, 10]
    assert batch.present["track"].tolist() == [True, True]
    assert batch.indices.tolist() == [2, 0]


@pytest.mark.parametrize("index", [slice(1, 3), torch.tensor([1, 2]), [1, 2]])
def test_every_way_to_select_gives_the_same(samples, index):
    assert samples[index].inputs["image"].tolist() == [[0.0], [1.0]]
    assert samples[index].indices.tolist() == [1, 2]


def test_one_sample_has_no_batch_dimension(samples):
    sample = samples[0]
    assert sample.inputs["image"].tolist() == [2.0]
    assert sample.targets.item() == 10


def test_a_subset_of_rows_copies_no_input(samples):
    part = samples.subset(torch.tensor([2, 1]))
    assert part.inputs["image"].data_ptr() == samples.inputs["image"].data_ptr()
    assert part[:].inputs["image"].tolist() == [[1.0], [0.0]]
    assert part[:].targets.tolist() == [12, 11]
    assert part.present["track"].tolist() == [True, False]


def test_moving_takes_the_rows_that_are_used_alone(samples):
    moved = samples.to("cpu")
    assert moved.rows is None
    assert len(moved.inputs["image"]) == 3
    assert torch.equal(moved[:].inputs["track"].values, samples[:].inputs["track"].values)


def test_a_device_gets_the_rows_piece_by_piece(samples, monkeypatch):
    monkeypatch.setattr("equimodal.data.tensors._IN_MEMORY", 1)
    sent, to = [], torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *place: sent.append(len(tensor)) or to(tensor, *place))
    moved = samples.to("meta").inputs  # a device that holds no numbers
    assert (moved["image"].device.type, moved["image"].shape, moved["track"].values.shape) == ("meta", (3, 1), (3, 2, 1))
    assert sorted(sent) == [1] * 9 + [3, 3]  # of three inputs the rows one by one; targets and mask at once


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("together", [1, 2**28])
def test_what_a_gpu_holds_is_what_was_chosen(samples, monkeypatch, together):
    monkeypatch.setattr("equimodal.data.tensors._IN_MEMORY", together)
    moved, whole = samples.to("cuda")[:].inputs, samples[:].inputs
    assert torch.equal(moved["image"].cpu(), whole["image"])
    assert torch.equal(moved["track"].values.cpu(), whole["track"].values)


def test_what_lies_on_a_device_already_is_not_pinned(samples):
    assert samples.to("meta").stored(slice(None)).pinned().targets.device.type == "meta"


def test_bytes_are_counted_as_stored(samples):
    assert samples.nbytes == 3 * (1 + 2 * 4 + 8)


def test_one_modality_alone_keeps_rows_masks_and_decoding(samples):
    assert list(samples.only("track").present) == ["track"]
    assert samples.only("image").present == {}
    assert samples.only("image")[:].inputs["image"].tolist() == [[2.0], [0.0], [1.0]]


def test_a_set_can_be_sent_to_another_process(samples):
    assert torch.equal(pickle.loads(pickle.dumps(samples))[:].inputs["image"], samples[:].inputs["image"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": torch.tensor([0, 5, 1])}, "'image' has 5 rows, and row 5 is asked for"),
        ({"rows": torch.tensor([0, -1, 1])}, "'image' has 5 rows, and row -1 is asked for"),
        ({"rows": torch.tensor([0, 1])}, "'rows' has 2 samples and the targets have 3: they must be equal"),
        ({"rows": None}, "'image' has 5 samples and the targets have 3: they must be equal"),
        ({"decode": {"images": AsLong()}}, "decode names 'images', which is not among the modalities image"),
        ({"residence": "gpu"}, "residence='gpu': auto, device or stream is needed"),
    ],
)
def test_what_does_not_fit_is_refused(changes, said):
    with pytest.raises(InputError, match=f"^{said}$"):
        TensorSet({"image": torch.zeros(5, 1)}, torch.zeros(3), **{"rows": torch.tensor([0, 1, 2]), **changes})


def test_values_that_are_all_alike_are_shifted_and_not_divided():
    assert Standardise([3.0], [0.0])(torch.full((2, 1), 3.0)).tolist() == [[0.0], [0.0]]


def test_scaling_leaves_lengths_alone():
    scaled = Scaled(2.0)(Sequences(torch.ones(1, 2, 1), torch.tensor([2])))
    assert scaled.values.tolist() == [[[2.0], [2.0]]]
    assert scaled.lengths.tolist() == [2]
