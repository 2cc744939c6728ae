"""A user's own data: splits, targets, standardising, the cache, and which run is the same."""

import json
import os

import numpy
import pytest
import torch

from equimodal.cli import main
from equimodal.data import datasets
from equimodal.data.own import Own
from equimodal.errors import InputError
from equimodal.nn.encoders.sequence import Sequences
from equimodal.train.config import train

from .own_files import DESCRIPTION, LABELS, rows, track, write_set, write_table


def described(folder, text):
    (folder / "my.yaml").write_text(text, encoding="utf-8")
    return Own(str(folder / "my.yaml"))


# --- the whole


def test_files_and_rows_become_splits(folder):
    own = Own(str(folder / "my.yaml"))
    assert own.modalities == ("audio", "image")
    assert (own.num_outputs, own.class_names, own.task, own.metric) == (3, LABELS, "single-label", "accuracy")
    assert own.encoders == {"audio": {"name": "sequence", "in_features": 2}, "image": {"name": "resnet", "depth": 6, "in_channels": 1}}
    splits = own.load()
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [18, 6, 6]
    batch = splits.val[:]
    assert batch.targets.tolist() == [k % 3 for k in range(18, 24)]
    images = numpy.load(folder / "images.npy")
    torch.testing.assert_close(batch.inputs["image"], torch.from_numpy(images[18:24]) / 255)
    assert isinstance(batch.inputs["audio"], Sequences)
    assert batch.inputs["audio"].lengths.tolist() == [3 + k % 4 for k in range(18, 24)]


def test_standardising_uses_the_training_steps_alone_and_no_padding(folder):
    splits = Own(str(folder / "my.yaml")).load()
    heard = numpy.concatenate([track(k) for k in range(18)])
    value, length = splits.test[0].inputs["audio"]
    expected = (track(24) - heard.mean(0)) / heard.std(0)
    numpy.testing.assert_allclose(value[:length].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_it_trains_from_the_command_line_and_says_on_what(folder, tmp_path, capsys):
    words = ["train", "--dataset", "own", "--dataset.file", folder / "my.yaml", "--epochs", 1, "--device", "cpu", "--out", tmp_path / "run"]
    assert main([str(word) for word in words]) == 0
    assert "audio" in capsys.readouterr().out
    config = json.loads((tmp_path / "run" / "config.yaml").read_text())
    assert config["dataset"]["content"]["modalities"][0] == {"name": "audio", "file": "audio/{id}.npy", "standardise": True}
    assert config["model"]["encoders"]["audio"]["in_features"] == 2
    again = ["train", "--config", tmp_path / "run" / "config.yaml", "--out", tmp_path / "other"]
    assert main([str(word) for word in again]) == 0
    assert (tmp_path / "other" / "result.json").read_bytes() == (tmp_path / "run" / "result.json").read_bytes()


CHANGES = {
    "the description": (
        "my.yaml",
        "standardise: true",
        "standardise: false",
        "dataset.content.modalities.0.standardise = True there, None here",
    ),
    "the order of modalities": (
        "my.yaml",
        DESCRIPTION,
        "table: samples.csv\nmodalities: {image: images.npy, audio: 'audio/{id}.npy'}",
        "modalities.0.name",
    ),
    "a label": ("samples.csv", "c07,dog", "c07,cat", "dataset.content.table_sha256"),
}


@pytest.mark.parametrize(("name", "old", "new", "said"), CHANGES.values(), ids=CHANGES)
def test_a_run_is_not_continued_after_a_change(folder, tmp_path, capsys, name, old, new, said):
    words = ["train", "--dataset", "own", "--dataset.file", folder / "my.yaml", "--epochs", 1, "--device", "cpu", "--out", tmp_path / "run"]
    words = [str(word) for word in words]
    assert main(words) == 0
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    capsys.readouterr()
    assert main(words) == 2
    line = capsys.readouterr().err
    assert "holds another configuration's run" in line
    assert said in line
    assert line.count("\n") == 1


def test_other_words_for_the_same_continue_the_run(folder, tmp_path, capsys):
    words = ["train", "--dataset", "own", "--dataset.file", folder / "my.yaml", "--epochs", 1, "--device", "cpu", "--out", tmp_path / "run"]
    words = [str(word) for word in words]
    assert main(words) == 0
    (folder / "my.yaml").write_text(DESCRIPTION.replace("  image: images.npy", "  image: {file: 'images.npy'}  # pictures"))
    assert main(words) == 0
    assert "nothing was trained" in capsys.readouterr().out


def test_a_configuration_is_not_used_with_another_description(folder):
    content = Own(str(folder / "my.yaml")).options()["content"]
    (folder / "my.yaml").write_text(DESCRIPTION.replace("standardise: true", "max_length: 4"))
    with pytest.raises(InputError, match=r"content\.modalities\.0\.max_length = None there, 4 here"):
        Own(str(folder / "my.yaml"), content)
    assert Own(str(folder / "my.yaml"), None).described.modalities[0].max_length == 4


def test_the_configuration_of_a_run_does_not_hide_a_change(folder, tmp_path, capsys):
    words = ["train", "--dataset", "own", "--dataset.file", str(folder / "my.yaml"), "--epochs", "1", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    (folder / "my.yaml").write_text(DESCRIPTION.replace("standardise: true", "optional: true"))
    capsys.readouterr()
    assert main(["train", "--config", str(tmp_path / "run" / "config.yaml"), "--out", str(tmp_path / "other")]) == 2
    line = capsys.readouterr().err
    assert "is not what the configuration was made with (content.modalities.0.optional = None there, True here)" in line
    assert "--dataset.content null" in line
    assert (
        main(["train", "--config", str(tmp_path / "run" / "config.yaml"), "--dataset.content", "null", "--out", str(tmp_path / "other")])
        == 0
    )
    assert json.loads((tmp_path / "other" / "config.yaml").read_text())["dataset"]["content"]["modalities"][0]["optional"] is True


def test_it_joins_the_registry_and_needs_a_file(capsys):
    assert datasets.get("own") is Own
    assert "--dataset.file" in Own.description()
    assert all(len(line) <= 80 for line in Own.description().splitlines())
    with pytest.raises(InputError, match=r"file = '': name the YAML file"):
        Own()


# --- the cache


def entries(cache):
    return sorted(path.name for path in (cache / "prepared" / "own").glob("[!.]*"))


def test_what_decides_the_arrays_decides_the_entry(folder, cache):
    Own(str(folder / "my.yaml")).load()
    first = entries(cache)
    assert len(first) == 1
    described(folder, DESCRIPTION + "metric: macro_f1\n").load()
    described(folder, DESCRIPTION.replace("image: images.npy", "image: {file: images.npy, encoder: {name: mlp}}")).load()
    assert entries(cache) == first
    described(folder, DESCRIPTION.replace("standardise: true", "max_length: 4")).load()
    assert len(entries(cache)) == 2


def test_the_same_description_elsewhere_has_an_entry_of_its_own(folder, cache, tmp_path):
    Own(str(folder / "my.yaml")).load()
    write_set(tmp_path / "copy")
    Own(str(tmp_path / "copy" / "my.yaml")).load()
    assert len(entries(cache)) == 2


def test_changed_arrays_are_named_and_prepared_again(folder):
    own = Own(str(folder / "my.yaml"))
    own.load()
    numpy.save(folder / "audio" / "c05.npy", track(5, 9))
    with pytest.raises(InputError, match=r"have changed since own was prepared: audio/c05\.npy has .* bytes"):
        own.load()
    assert own.prepare().changed
    assert int(own.load().train[5].inputs["audio"].lengths) == 9


def test_another_folder_of_originals_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="is not the folder of"):
        Own(str(folder / "my.yaml")).load(tmp_path)
    assert len(Own(str(folder / "my.yaml")).load(folder).train) == 18


# --- splits and targets


def test_proportions_split_by_id_and_stay_when_samples_are_added(folder):
    text = DESCRIPTION + "splits: {train: 60, val: 20, test: 20}\n"
    own = described(folder, text)
    prepared = own.opened()
    splits = own.splits(prepared)
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [18, 6, 6]
    other = described(folder, text + "seed: 1\n")
    assert other.load().val.rows.tolist() != splits.val.rows.tolist()
    assert other.entry() == own.entry()


def test_proportions_split_by_group(folder):
    own = described(folder, DESCRIPTION + "splits: {train: 3, val: 1, test: 1}\ndisjoint: speaker\n")
    splits = own.load()
    speakers = [{int(row) // 6 for row in split.rows} for split in (splits.train, splits.val, splits.test)]
    assert [len(group) for group in speakers] == [3, 1, 1]
    assert not set.intersection(*speakers)


def test_names_of_splits_are_taken_as_people_write_them(folder):
    write_table(folder, [{**row, "split": {"train": "Train", "val": "validation", "test": "TEST"}[row["split"]]} for row in rows()])
    assert len(Own(str(folder / "my.yaml")).load().val) == 6


def test_several_labels_in_one_cell(folder):
    write_table(folder, [{**row, "label": ["cat|dog", "owl", ""][k % 3]} for k, row in enumerate(rows())])
    own = described(folder, DESCRIPTION + "task: multilabel\nseparator: '|'\n")
    assert (own.class_names, own.metric) == (LABELS, "micro_f1")
    assert own.load().train.targets[:3].tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_one_column_per_label(folder):
    write_table(folder, [{**row, "a": k % 2, "b": 1} for k, row in enumerate(rows())])
    own = described(folder, DESCRIPTION + "task: multilabel\ntarget: [a, b]\n")
    assert own.load().train.targets[:2].tolist() == [[0, 1], [1, 1]]
    assert own.class_names == ("a", "b")


def test_numbers_to_predict(folder):
    write_table(folder, [{**row, "valence": k / 10, "arousal": -k} for k, row in enumerate(rows())])
    own = described(folder, DESCRIPTION + "task: regression\ntarget: [valence, arousal]\n")
    assert (own.num_outputs, own.metric) == (2, "r2")
    torch.testing.assert_close(own.load().train.targets[3], torch.tensor([0.3, -3.0]))


def test_ordered_classes_have_an_output_for_each_step_between_two(folder):
    own = described(folder, DESCRIPTION + "task: ordinal\nclasses: [owl, dog, cat]\nmetric: quadratic_weighted_kappa\n")
    assert (own.num_outputs, own.metric, own.class_names) == (2, "quadratic_weighted_kappa", ("owl", "dog", "cat"))
    assert own.load().train.targets[:3].tolist() == [2, 1, 0]
    write_table(folder, [{**row, "label": [10, 9, 2][k % 3]} for k, row in enumerate(rows())])
    own = described(folder, DESCRIPTION + "task: ordinal\n")
    assert (own.num_outputs, own.metric, own.class_names) == (2, "accuracy", ("2", "9", "10"))


def test_ordered_classes_train_from_a_configuration(folder):
    write_table(folder, [{**row, "label": k % 3} for k, row in enumerate(rows())])
    own = described(folder, DESCRIPTION + "task: ordinal\n")
    done = train(
        {"dataset": {"name": "own", "file": own.file}, "epochs": 1, "model": {"fusion": "sum"}, "metric": "linear_weighted_agreement"}
    )
    assert done.model.num_outputs == 2
    assert 0 <= done.result["scores"]["test"]["audio"] <= 1


def test_classes_are_numbered_in_their_order(folder):
    assert described(folder, DESCRIPTION + "classes: [owl, dog, cat]\n").load().train.targets[:3].tolist() == [2, 1, 0]
    write_table(folder, [{**row, "label": [10, 9, 2][k % 3]} for k, row in enumerate(rows())])
    own = described(folder, DESCRIPTION)
    assert own.class_names == ("2", "9", "10")


def test_a_table_as_spreadsheets_write_it(folder):
    text = (folder / "samples.csv").read_text().replace(",", ";").replace("\n", "\r\n")
    (folder / "samples.csv").write_bytes(b"\xef\xbb\xbf" + text.encode() + b";;;\r\n")
    assert len(Own(str(folder / "my.yaml")).load().train) == 18


def test_a_hundred_thousand_rows_are_read_in_seconds_and_arrays_are_not_read_whole(folder, tmp_path):
    count = 100_000
    write_table(folder, [{**row, "id": k} for k, row in enumerate(rows(count))])
    for name in ("left", "right"):
        numpy.lib.format.open_memmap(folder / f"{name}.npy", "w+", "float32", (count, 64)).flush()
    (folder / "my.yaml").write_text("table: samples.csv\nmodalities: {left: left.npy, right: right.npy}\n")
    began = os.times().user
    own = Own(str(folder / "my.yaml"))
    assert own.content == Own(str(folder / "my.yaml")).content
    assert os.times().user - began < 10
    for part in own.parts:
        part.arrays()
        assert isinstance(part.source._rows, numpy.memmap)
        assert part.read(count - 1)[part.name].shape == (64,)
