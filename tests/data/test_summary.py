"""The facts about a data set: true, complete and always the same."""

import hashlib
import json
from typing import ClassVar

import pytest
import torch

from equimodal.data import TensorSet
from equimodal.data.base import Dataset, Splits
from equimodal.data.decode import AsLong, Scaled, Standardise
from equimodal.data.digits_av import DigitsAV
from equimodal.data.drawable import drawn
from equimodal.data.summary import MEASURED, summarise
from equimodal.errors import InputError
from equimodal.nn.encoders.sequence import Sequences
from equimodal.report.data_page import render_data_page


class Mixed(Dataset):
    """Pictures, sensors and tokens, of which some lack the picture."""

    name = "mixed"
    summary = "made up"
    licence = "none"
    citation = "nobody"
    modalities = ("image", "sensor", "text")
    num_outputs = 3
    encoders: ClassVar = {}
    class_names = ("low", "middle", "high")

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def shown(self, modality, value):
        return f"said {value['input_ids'][0]}" if modality == "text" else value


class Many(Mixed):
    name = "many"
    task = "multilabel"


class Numbers(Mixed):
    name = "numbers"
    task = "regression"
    num_outputs = 1
    class_names = None


def samples(count, targets, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.arange(count) % 4 + 1
    values = torch.full((count, 4, 2), 1000.0)  # what lies behind the end must not count
    for row, length in enumerate(lengths.tolist()):
        values[row, :length] = row / count
    return TensorSet(
        {
            "image": torch.randint(0, 256, (count, 3, 4, 6), generator=generator, dtype=torch.uint8),
            "sensor": Sequences(values, lengths),
            "text": {
                "input_ids": torch.arange(count * 5, dtype=torch.int32).reshape(count, 5),
                "attention_mask": (lengths[:, None] > torch.arange(5)).int(),
            },
        },
        targets,
        {"image": torch.arange(count) % 10 != 0},
        decode={"image": Standardise(torch.tensor([[[100.0]]] * 3), torch.tensor([[[50.0]]] * 3)), "text": AsLong()},
    )


@pytest.fixture(scope="module")
def splits():
    return Splits(samples(60, torch.arange(60) % 3), samples(20, torch.zeros(20, dtype=torch.int64)), samples(30, torch.arange(30) % 2))


@pytest.fixture(scope="module")
def facts(splits):
    return summarise(Mixed(shift=0.5), splits)


def test_counts_by_split_and_class(facts):
    assert facts["classes"] == ["low", "middle", "high"]
    assert {name: (split["samples"], split["classes"]) for name, split in facts["splits"].items()} == {
        "train": (60, [20, 20, 20]),
        "val": (20, [20, 0, 0]),
        "test": (30, [15, 15, 0]),
    }


def test_splits_that_are_no_tensors_are_refused(splits):
    with pytest.raises(InputError, match=r"the val split of data set 'mixed' is a list: a summary is made of splits held as tensors"):
        summarise(Mixed(), Splits(splits.train, [], splits.test))


def test_counts_of_a_real_set_add_up():
    facts = summarise(DigitsAV(), DigitsAV().load())
    assert [sum(split["classes"]) for split in facts["splits"].values()] == [1100, 300, 397]
    assert facts["classes"] == [str(digit) for digit in range(10)]
    assert facts["modalities"][0]["range"]["low"] == 0
    assert facts["modalities"][0]["range"]["high"] == 1


def test_labels_are_counted_one_by_one():
    targets = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1]])
    facts = summarise(Many(), Splits(*[samples(4, targets)] * 3))
    assert facts["splits"]["val"] == {"samples": 4, "classes": [3, 1, 1]}
    assert {tuple(sample["labels"]) for sample in facts["samples"]} == {("low", "middle"), ("low",), ("low", "high")}
    shown = [sample["number"] for sample in facts["samples"]]
    assert len(set(shown)) == len(shown), "no sample is shown twice"


class Ordered(Mixed):
    name = "ordered"
    task = "ordinal"
    num_outputs = 2  # three classes


class Tagged(Mixed):
    name = "tagged"
    task = "positions"


def test_ordered_classes_are_counted_and_shown_like_others():
    facts = summarise(Ordered(), Splits(*[samples(6, torch.arange(6) % 3)] * 3))
    assert facts["classes"] == ["low", "middle", "high"]
    assert facts["splits"]["val"] == {"samples": 6, "classes": [2, 2, 2]}
    assert {tuple(sample["labels"]) for sample in facts["samples"]} == {("low",), ("middle",), ("high",)}
    assert "18 samples of 3 ordered classes" in render_data_page(facts)


def test_no_summary_is_made_of_classes_by_position():
    with pytest.raises(InputError, match="data set 'tagged' has positions targets, of which no summary is made"):
        summarise(Tagged(), Splits(*[samples(4, torch.zeros(4, 2, dtype=torch.int64))] * 3))


def test_targets_of_a_regression_have_a_range():
    facts = summarise(Numbers(), Splits(*[samples(4, torch.tensor([[0.5], [1.5], [-2.0], [4.0]]))] * 3))
    assert facts["classes"] == []
    assert facts["splits"]["test"] == {"samples": 4, "targets": {"low": -2.0, "high": 4.0, "mean": 1.0}}
    assert all(sample["group"] is None for sample in facts["samples"])


def test_shapes_ranges_and_lengths_are_those_that_encoders_see(facts, splits):
    image, sensor, text = facts["modalities"]
    assert image["inputs"] == [{"part": "", "shape": [3, 4, 6], "dtype": "float32"}]
    held = splits.train[:].inputs["image"][splits.train.present["image"]].double()
    assert image["range"] == {
        "low": held.min(),
        "high": held.max(),
        "mean": pytest.approx(held.mean()),
        "std": pytest.approx(held.std(correction=0)),
    }
    assert image["lengths"] is None
    assert [part["part"] for part in sensor["inputs"]] == ["values", "lengths"]
    assert sensor["range"]["high"] == pytest.approx(59 / 60), "padding does not count"
    assert sensor["lengths"] == {"low": 1, "high": 4, "mean": 2.5}
    assert text["inputs"][0] == {"part": "input_ids", "shape": [5], "dtype": "int64"}
    assert text["lengths"] == {"low": 1, "high": 4, "mean": 2.5}


def test_missing_modalities_are_counted_in_every_split(facts, splits):
    assert [modality["missing"] for modality in facts["modalities"]] == [{"train": 6, "val": 2, "test": 3}, {}, {}]
    assert facts["modalities"][0]["measured"] == 54
    few = summarise(Mixed(), Splits(*[samples(12, torch.arange(12) % 3)] * 3))["samples"]
    assert {sample["number"] for sample in few if sample["values"]["image"] is None} == {0, 10}


def test_a_modality_that_no_sample_has_and_values_that_are_not_numbers():
    held = samples(8, torch.zeros(8, dtype=torch.int64))
    held.present["image"] = torch.zeros(8, dtype=torch.bool)
    held.inputs["sensor"].values[0, 0, 0] = float("nan")
    facts = summarise(Mixed(), Splits(held, held, held))
    assert facts["modalities"][0]["range"] is None
    assert facts["modalities"][0]["missing"]["train"] == 8
    assert facts["modalities"][1]["range"]["mean"] == facts["modalities"][1]["range"]["mean"]
    assert all(sample["values"]["image"] is None for sample in facts["samples"])


def test_samples_are_of_every_class_and_always_the_same(facts, splits):
    groups = [sample["group"] for sample in facts["samples"]]
    assert groups == ["low"] * 4 + ["middle"] * 4 + ["high"] * 4
    for sample in facts["samples"]:
        assert sample["labels"] == [sample["group"]]
        assert splits.train.targets[sample["number"]] == facts["classes"].index(sample["group"])
    again = summarise(Mixed(shift=0.5), splits)
    assert again == facts
    torch.rand(3)  # whatever else draws numbers
    assert summarise(Mixed(shift=0.5), splits) == facts


def test_a_sample_is_shown_as_a_person_takes_it_in(facts, splits):
    sample = next(sample for sample in facts["samples"] if sample["values"]["image"] is not None)
    row = sample["number"]
    stored = splits.train.inputs["image"][row]
    assert sample["values"]["image"] == {
        "kind": "picture",
        "width": 6,
        "height": 4,
        "channels": 3,
        "pixels": bytes(stored.permute(1, 2, 0).flatten().tolist()),
    }, "a picture's own colours, not the standardised ones"
    assert sample["values"]["text"] == {"kind": "text", "text": f"said {row * 5}"}
    sensor = sample["values"]["sensor"]
    assert [len(series) for series in sensor["series"]] == [row % 4 + 1] * 2
    assert sensor["high"] == pytest.approx(row / 60)


def test_classes_without_samples_and_many_classes_are_no_obstacle():
    class Wide(Mixed):
        name = "wide"
        num_outputs = 200
        class_names = None

    facts = summarise(Wide(), Splits(*[samples(60, torch.arange(60) % 50)] * 3))
    assert len(facts["samples"]) == 50
    assert facts["classes"][199] == "199"


def test_the_manifest_says_what_is_unusual(splits):
    manifest = {
        "notes": ["6 of 7 clips"],
        "damaged": {"clip1": "cut short"},
        "sources": {"a.wav": {"bytes": 10}, "b.wav": {"bytes": 5}},
        "facts": {"class_names": ["x", "y", "z"]},
        "libraries": {"numpy": "2"},
    }
    facts = summarise(Mixed(), splits, manifest)
    assert facts["notes"] == ["6 of 7 clips"]
    assert facts["damaged"] == {"clip1": "cut short"}
    assert facts["sources"] == {"files": 2, "bytes": 15}
    assert facts["classes"] == ["low", "middle", "high"]
    unnamed = type("Unnamed", (Mixed,), {"class_names": None})()
    assert summarise(unnamed, splits, manifest)["classes"] == ["x", "y", "z"]


def test_the_facts_are_plain(facts):
    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value

    assert json.loads(json.dumps(plain(facts))) == plain(facts)


def test_of_a_large_set_a_part_is_read(monkeypatch):
    count = 5 * MEASURED
    held = samples(count, torch.arange(count) % 3)
    read = []
    original = TensorSet.stored

    def counted(self, index):
        batch = original(self, index)
        read.append(len(torch.atleast_1d(torch.as_tensor(index))))
        return batch

    monkeypatch.setattr(TensorSet, "stored", counted)
    facts = summarise(Mixed(), Splits(held, held, held))
    assert facts["modalities"][1]["measured"] == MEASURED
    assert sum(read) < 3 * MEASURED + 100


# --- drawings


def test_pictures_maps_and_curves_are_told_apart():
    assert drawn(torch.zeros(3, 5, 7))["kind"] == "picture"
    assert drawn(torch.zeros(1, 5, 7), "image")["kind"] == "picture"
    assert drawn(torch.zeros(1, 5, 7), "audio")["kind"] == "map"
    assert drawn(torch.zeros(5, 7))["kind"] == "map"
    assert drawn(torch.zeros(50))["kind"] == "curves"
    assert drawn(Sequences(torch.zeros(9, 6), torch.tensor(5)))["kind"] == "curves"
    assert drawn(Sequences(torch.zeros(9, 60), torch.tensor(5))) | {"pixels": b""} == {
        "kind": "map",
        "width": 5,
        "height": 60,
        "pixels": b"",
        "low": 0.0,
        "high": 0.0,
        "stretched": True,
    }
    assert drawn(torch.zeros(8, 3, 5, 7))["kind"] == "picture", "of a video one frame"
    assert drawn(torch.tensor(2.5)) == {"kind": "text", "text": "2.5"}
    assert drawn({"input_ids": torch.tensor([7, 8, 0]), "attention_mask": torch.tensor([1, 1, 0])})["text"] == "tokens 7 8"
    assert drawn(Sequences(torch.zeros(9, 6), torch.tensor(0)))["kind"] == "text"


def test_a_map_goes_from_the_lowest_to_the_highest_value():
    drawing = drawn(torch.tensor([[-3.0, 1.0], [float("inf"), -1.0]]))
    assert (drawing["low"], drawing["high"]) == (-3.0, 1.0)
    assert list(drawing["pixels"][:2]) == [0, 255]
    assert drawing["pixels"][3] == 128


def test_large_ones_are_reduced_and_keep_their_proportions():
    drawing = drawn(torch.rand(3, 600, 300))
    assert (drawing["width"], drawing["height"]) == (64, 128)
    assert len(drawing["pixels"]) == 3 * 64 * 128
    curve = drawn(torch.linspace(0, 1, 5000))
    assert 100 < len(curve["series"][0]) < 300
    assert curve["series"][0] == sorted(curve["series"][0])
    text = drawn("word " * 1000)["text"]
    assert len(text) < 700
    assert text.endswith("…")


def test_decoded_pictures_outside_0_to_1_are_brought_within():
    decoded = Scaled(1 / 10)(torch.tensor([[[0, 100], [200, 50]]], dtype=torch.uint8))
    assert list(drawn(decoded, "image")["pixels"]) == [0, 128, 255, 64]
