"""Hugging Face data sets as splits: what columns become, what is refused, and a training run."""

import numpy
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from equimodal import JointFusion, fit
from equimodal.data.hugging_face import from_hugging_face
from equimodal.errors import InputError
from equimodal.nn import MLP, ResNet, SequenceEncoder
from equimodal.nn.encoders.text import TextEncoder

datasets = pytest.importorskip("datasets", reason="needs the library datasets")
pillow = pytest.importorskip("PIL.Image", reason="needs Pillow")

CLASSES = ["cat", "dog", "owl"]


def picture(number, mode="RGB", size=(6, 5)):
    return pillow.new(mode, size, number if mode == "L" else (number, 2 * number, 0))


def columns(count=12, **others):
    return {
        "ids": [list(range(1, 2 + k % 4)) for k in range(count)],
        "vector": [[float(k), 1.0, -1.0] for k in range(count)],
        "track": [[[float(k), 0.5]] * (1 + k % 3) for k in range(count)],
        "pixels": [picture(k) for k in range(count)],
        "age": [20 + k for k in range(count)],
        "height": [1.5 + k / 10 for k in range(count)],
        "label": [k % 3 for k in range(count)],
        **others,
    }


def made(count=12, **others):
    """A Dataset with the types that a hub data set would have."""
    built = datasets.Dataset.from_dict(columns(count, **others))
    kinds = {"pixels": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)}
    for name, kind in kinds.items():
        if name not in others:
            built = built.cast_column(name, kind)
    return built


def message(function, *arguments, **options):
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_column_becomes_what_its_values_are():
    samples = from_hugging_face(made(), {"text": "ids", "vector": "vector", "track": "track", "image": "pixels", "age": "age"}, "label")
    batch = samples[:4]
    assert batch.inputs["text"]["input_ids"].tolist() == [[1, 0, 0, 0], [1, 2, 0, 0], [1, 2, 3, 0], [1, 2, 3, 4]]
    assert batch.inputs["text"]["attention_mask"].tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch.inputs["vector"].equal(torch.tensor([[k, 1.0, -1.0] for k in range(4)]))
    assert batch.inputs["track"].lengths.tolist() == [1, 2, 3, 1]
    assert batch.inputs["track"].values.shape == (4, 3, 2)
    assert batch.inputs["track"].values[1, :, 0].tolist() == [1, 1, 0]
    assert batch.inputs["image"].shape == (4, 3, 5, 6)
    assert batch.inputs["image"][3, :, 0, 0].mul(255).round().tolist() == [3, 6, 0]
    assert batch.inputs["age"].equal(torch.tensor([[20.0], [21], [22], [23]]))
    assert batch.targets.tolist() == [0, 1, 2, 0]
    assert batch.indices.tolist() == [0, 1, 2, 3]


def test_class_names_and_targets_come_with_the_samples():
    samples = from_hugging_face(made(), {"a": "vector", "b": "age"}, "label")
    assert (samples.class_names, samples.num_outputs) == (("cat", "dog", "owl"), 3)
    assert samples.targets.tolist() == [k % 3 for k in range(12)]


def test_several_columns_become_a_mapping_or_a_vector_of_single_numbers():
    data = made(attention_mask=[[1] * (1 + k % 4) for k in range(12)]).rename_column("ids", "input_ids")
    samples = from_hugging_face(data, {"text": ["input_ids", "attention_mask"], "person": ["age", "height"]}, "label")
    batch = samples[torch.tensor([1, 0])]
    assert batch.inputs["text"]["input_ids"].tolist() == [[1, 2], [1, 0]]
    assert batch.inputs["text"]["attention_mask"].tolist() == [[1, 1], [1, 0]]
    torch.testing.assert_close(batch.inputs["person"], torch.tensor([[21, 1.6], [20, 1.5]]))


def test_a_length_cuts_and_pads_for_all_batches_alike():
    samples = from_hugging_face(made(), {"text": "ids", "vector": "vector"}, "label", length={"text": 3})
    assert samples[:1].inputs["text"]["input_ids"].tolist() == [[1, 0, 0]]
    assert samples[3:4].inputs["text"]["input_ids"].tolist() == [[1, 2, 3]]


def test_lists_of_different_lengths_stay_so_in_a_batch_where_they_are_alike():
    samples = from_hugging_face(made(), {"text": "ids", "track": "track"}, "label")
    batch = samples[torch.tensor([0, 4])]
    assert set(batch.inputs["text"]) == {"input_ids", "attention_mask"}
    assert batch.inputs["track"].lengths.tolist() == [1, 2]


def test_a_batch_is_read_in_one_call_and_other_columns_are_not_read(monkeypatch):
    samples = from_hugging_face(made(), {"text": "ids", "vector": "vector"}, "label")
    samples[:2]
    asked = []
    read = datasets.Dataset.__getitem__
    monkeypatch.setattr(datasets.Dataset, "__getitem__", lambda self, key: asked.append((key, self.column_names)) or read(self, key))
    samples[3:9]
    assert asked == [([3, 4, 5, 6, 7, 8], ["ids", "vector", "label"])]


def test_selected_and_shuffled_rows_are_those_of_the_dataset():
    data = made().select([7, 2, 5]).shuffle(seed=1)
    samples = from_hugging_face(data, {"vector": "vector", "text": "ids"}, "label")
    assert samples[:].inputs["vector"][:, 0].tolist() == [row[0] for row in data["vector"]]


@pytest.mark.parametrize("kind", ["torch", "numpy", None])
def test_the_format_of_the_dataset_makes_no_difference(kind):
    inputs = {"text": "ids", "track": "track", "vector": "vector"}
    expected, found = (from_hugging_face(data, inputs, "label")[:] for data in (made(), made().with_format(kind)))
    assert found.inputs["text"]["input_ids"].equal(expected.inputs["text"]["input_ids"])
    assert found.inputs["track"].values.equal(expected.inputs["track"].values)
    assert found.inputs["vector"].equal(expected.inputs["vector"])


def test_a_transformation_is_applied():
    data = made().with_transform(
        lambda rows: {"twice": [[2 * x for x in v] for v in rows["vector"]], "ids": rows["ids"], "y": rows["label"]}
    )
    samples = from_hugging_face(data, {"a": "twice", "b": "ids"}, "y")
    batch = samples[:3]
    assert batch.inputs["a"][:, 0].tolist() == [0, 2, 4]
    assert batch.inputs["b"]["attention_mask"].sum(1).tolist() == [1, 2, 3]


def test_pictures_are_brought_to_one_size_and_mode():
    mixed = [picture(9, "L", (4, 4)), picture(9, "RGB", (6, 5)), picture(9).convert("P")]
    data = made(3, pixels=mixed).cast_column("pixels", datasets.Image())
    samples = from_hugging_face(data, {"image": "pixels", "vector": "vector"}, "label", size=(8, 7), mode="RGB", scaled=False)
    image = samples[:].inputs["image"]
    assert image.shape == (3, 3, 8, 7)
    assert image.dtype == torch.uint8
    assert image[1, :, 4, 4].tolist() == [9, 18, 0]
    grey = from_hugging_face(data, {"image": "pixels", "vector": "vector"}, "label", size=(8, 7), mode="L")
    assert grey[:].inputs["image"].shape == (3, 1, 8, 7)


def test_null_means_that_a_sample_lacks_an_optional_modality():
    data = made(4, track=[[[1.0, 2.0]], None, [[3.0, 4.0], [5.0, 6.0]], None])
    batch = from_hugging_face(data, {"track": "track", "vector": "vector"}, "label", optional=["track"])[:]
    assert batch.present["track"].tolist() == [True, False, True, False]
    assert batch.inputs["track"].lengths.tolist() == [1, 0, 2, 0]
    assert list(batch.present) == ["track"]


@pytest.mark.parametrize("column", ["ids", "vector"])
def test_a_batch_may_begin_with_a_sample_that_lacks_its_list(column):
    whole = columns(4)[column]
    data = made(4, **{column: [None, whole[1], None, whole[3]]})
    samples = from_hugging_face(data, {"a": column, "b": "age"}, "label", optional=["a"], length={"a": 4} if column == "ids" else None)
    batch = samples[torch.tensor([2, 3, 1])]
    assert batch.present["a"].tolist() == [False, True, True]
    values = batch.inputs["a"]["input_ids"] if column == "ids" else batch.inputs["a"]
    assert values[0].count_nonzero() == 0
    assert [[number for number in row if number] for row in values[1:].tolist()] == [[n for n in whole[k] if n] for k in (3, 1)]
    assert samples[2:3].present["a"].tolist() == [False]


def test_a_list_that_is_null_at_the_head_of_a_batch_is_named_where_all_must_have_it():
    data = made(4, vector=[[1.0, 2.0], None, [1.0, 2.0], [1.0, 2.0]])
    samples = from_hugging_face(data, {"a": "vector", "b": "age"}, "label")
    assert "row 1 of the data set: column 'vector' is null" in message(lambda: samples[1:])


def test_a_picture_that_cannot_be_decoded_is_one_line():
    content = [{"bytes": b"<html>", "path": None}] * 2
    data = made(2, pixels=content).cast_column("pixels", datasets.Image())
    said = message(from_hugging_face, data, {"a": "pixels", "b": "age"}, "label")
    assert "one of the 2 rows 0 to 1 of the data set cannot be read: cannot identify image file" in said


def test_targets_of_every_kind():
    many = datasets.Sequence(datasets.ClassLabel(names=CLASSES))
    data = made(tags=[[k % 3] if k % 2 else [0, 2] for k in range(12)], word=[CLASSES[k % 3] for k in range(12)]).cast_column("tags", many)
    inputs = {"a": "vector", "b": "age"}
    assert from_hugging_face(data, inputs, "tags")[:2].targets.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert from_hugging_face(data, inputs, "word", classes=["owl", "dog", "cat"])[:3].targets.tolist() == [2, 1, 0]
    torch.testing.assert_close(from_hugging_face(data, inputs, ["age", "height"])[:1].targets, torch.tensor([[20.0, 1.5]]))
    assert from_hugging_face(data, inputs, "height")[:1].targets.dtype == torch.float32


def test_a_dataset_dict_becomes_splits():
    data = datasets.DatasetDict({"train": made(12), "validation": made(6), "test": made(5)})
    splits = from_hugging_face(data, {"a": "vector", "b": "age"}, "label")
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [12, 6, 5]
    named = datasets.DatasetDict({"train": made(12), "dev_matched": made(6), "test": made(5)})
    assert len(from_hugging_face(named, {"a": "vector", "b": "age"}, "label", splits={"val": "dev_matched"}).val) == 6


def test_a_column_that_is_ragged_in_one_split_is_so_in_all():
    data = datasets.DatasetDict({"train": made(12), "validation": made(1), "test": made(1)})
    splits = from_hugging_face(data, {"track": "track", "text": "ids"}, "label")
    assert splits.val[:].inputs["track"].lengths.tolist() == [1]


UNUSABLE = {
    "an unknown column": ({"a": "vectr", "b": "age"}, "label", {}, "the data set has no column 'vectr': did you mean 'vector'?"),
    "an unknown target": ({"a": "vector", "b": "age"}, "lable", {}, "no column 'lable': did you mean 'label'?"),
    "an unknown optional modality": ({"a": "vector", "b": "age"}, "label", {"optional": ["c"]}, "'c', which is no modality"),
    "a text as input": ({"a": "word", "b": "age"}, "label", {}, "column 'word' of the data set holds 'cat' (str)"),
    "columns without modalities": (["vector", "age"], "label", {}, "name for each modality its column or columns"),
    "no column": ({"a": [], "b": "age"}, "label", {}, "name for each modality its column or columns"),
    "no target": ({"a": "vector", "b": "age"}, [], {}, "target=[]: name the column to predict"),
    "no length": ({"a": "ids", "b": "age"}, "label", {"length": 0}, "length=0: a whole number of at least 1 is needed"),
    "a length in words": ({"a": "ids", "b": "age"}, "label", {"length": {"a": "2"}}, "length='2': a whole number of at least 1"),
    "half a size": ({"a": "pixels", "b": "age"}, "label", {"size": 8}, "size=8: height and width in pixels are needed"),
    "an empty size": ({"a": "pixels", "b": "age"}, "label", {"size": (0, 8)}, "size=(0, 8): height and width in pixels are needed"),
    "another mode": ({"a": "pixels", "b": "age"}, "label", {"mode": "RGBA"}, "mode='RGBA': 'RGB' or 'L' is needed"),
}


@pytest.mark.parametrize(("inputs", "target", "options", "said"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_used_is_refused_at_once(inputs, target, options, said):
    data = made(word=[CLASSES[k % 3] for k in range(12)])
    assert said in message(from_hugging_face, data, inputs, target, **options)


ROWS = {
    "pictures of two sizes": (
        {"pixels": [picture(1), picture(2, size=(7, 7)), picture(3)]},
        "pixels",
        "picture of 7 × 7 pixels, and the first is 5 × 6",
    ),
    "16 bits": ({"pixels": [picture(1), pillow.new("I;16", (6, 5)), picture(3)]}, "pixels", "mode 'I;16'"),
    "colour among grey": (
        {"pixels": [picture(1, "L"), picture(2), picture(3, "L")]},
        "pixels",
        "picture in colour (mode 'RGB') among grey ones",
    ),
    "null": ({"vector": [[1.0, 2.0], None, [3.0, 4.0]]}, "vector", "column 'vector' is null"),
    "NaN": ({"vector": [[1.0, 2.0], [numpy.nan, 0.0], [3.0, 4.0]]}, "vector", "missing, NaN or infinite"),
}


@pytest.mark.parametrize(("others", "column", "said"), ROWS.values(), ids=ROWS)
def test_a_row_that_cannot_be_used_is_named(others, column, said):
    data = made(3, **others)
    if column == "pixels":
        data = data.cast_column("pixels", datasets.Image())
    samples = from_hugging_face(data, {"a": column, "b": "age"}, "label")
    assert said in message(lambda: samples[:])
    assert "row 1 of the data set: column" in message(lambda: samples[:])


def test_targets_without_a_class_are_refused():
    inputs = {"a": "vector", "b": "age"}
    unlabelled = made(label=[0, 1, -1] * 4).cast_column("label", datasets.ClassLabel(names=CLASSES))
    assert "row 2 of the data set: column 'label' holds -1, which is no class" in message(
        lambda: from_hugging_face(unlabelled, inputs, "label")[:]
    )
    words = made(word=["cat", "dgo", "owl"] * 4)
    assert "row 0 of the data set: column 'word' holds the text 'cat'" in message(lambda: from_hugging_face(words, inputs, "word")[:])
    samples = from_hugging_face(words, inputs, "word", classes=CLASSES)
    assert "unknown label 'dgo': did you mean 'dog'?" in message(lambda: samples[:])


def test_splits_that_do_not_fit_are_refused():
    inputs = {"a": "vector", "b": "age"}
    two = datasets.DatasetDict({"train": made(), "test": made()})
    assert "train, test: name the one for val" in message(from_hugging_face, two, inputs, "label")
    assert "no split 'tset': did you mean 'test'?" in message(from_hugging_face, two, inputs, "label", splits={"val": "tset"})
    others = made().cast_column("label", datasets.ClassLabel(names=["dog", "cat", "owl"]))
    unlike = datasets.DatasetDict({"train": made(), "validation": others, "test": made()})
    assert "other class names" in message(from_hugging_face, unlike, inputs, "label")


def test_a_stream_is_refused():
    assert "load it without streaming" in message(from_hugging_face, made().to_iterable_dataset(), {"a": "vector", "b": "age"}, "label")


def test_loaders_and_subsets_take_them():
    samples = from_hugging_face(made(), {"text": "ids", "vector": "vector"}, "label")
    inputs, targets = next(iter(DataLoader(samples, batch_size=5)))
    assert inputs["text"]["input_ids"].shape == (5, 4)
    assert targets.tolist() == [0, 1, 2, 0, 1]
    (inputs, targets), *_ = DataLoader(Subset(samples, [11, 3]), batch_size=2)
    assert inputs["vector"][:, 0].tolist() == [11, 3]


def test_a_model_trains_on_them():
    data = datasets.DatasetDict({"train": made(30), "validation": made(15), "test": made(15)})
    splits = from_hugging_face(data, {"text": "ids", "image": "pixels", "track": "track", "vector": "vector"}, "label", optional=["track"])
    torch.manual_seed(0)
    encoders = {"text": TextEncoder(10), "image": ResNet(6), "track": SequenceEncoder(2), "vector": MLP(3)}
    model = JointFusion(encoders, splits.train.num_outputs)
    run = fit(model, splits.train, splits.val, test=splits.test, method="miles", epochs=2, batch_size=8, device="cpu")
    assert set(run.result["scores"]["test"]) == {"multimodal", "text", "image", "track", "vector"}
    again = fit(JointFusion({**encoders}, 3), splits.train, splits.val, method="joint", epochs=1, batch_size=8, device="cpu")
    assert again.history[0]["steps"] == 4
