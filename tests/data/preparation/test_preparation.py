"""Preparing a data set: once, whole, and again only when something changed."""

import errno
import json
import os
from typing import ClassVar

import numpy
import pytest
import torch

from data.preparation.toy import Toy, write_originals
from equimodal.data.preparation import Stored
from equimodal.data.preparation.writer import moments_of
from equimodal.data.reading.originals import listed
from equimodal.errors import InputError


class Counting(Toy):
    """Counts how often a sample is read."""

    name = "counting"

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)

    read: ClassVar = []

    def plan(self, folder):
        plan = super().plan(folder)
        inner = plan.read

        def read(row):
            type(self).read.append(row)
            return inner(row)

        return type(plan)(plan.ids, plan.arrays, read, plan.columns, plan.facts, plan.notes, plan.files)


@pytest.fixture(autouse=True)
def _nothing_read():
    Counting.read = []


def test_what_is_stored_is_what_was_read(cache, originals):
    prepared = Toy(scale=2).prepare(originals)
    row = prepared.ids.index("b_odd_007")
    assert prepared.array("picture")[row].tolist() == [[[7, 8], [2, 3]]]
    assert prepared.array("track.values")[row].tolist() == [[14.0, 14.0]] * 4
    assert prepared.array("track.lengths")[row].item() == 4
    assert prepared.columns["speaker"][row] == "b"
    assert prepared.columns["target"][row] == 1
    assert prepared.facts == {"classes": ["even", "odd"]}
    assert prepared.manifest["notes"] == ["20 of 100 files: the splits keep the proportions"]


def test_a_second_call_does_nothing(cache, originals):
    first = Counting().prepare(originals)
    second = Counting().prepare(originals)
    assert (first.made, second.made, len(Counting.read)) == (True, False, 20)


def test_options_that_only_select_share_an_entry_and_others_have_their_own(cache, originals):
    entries = [Toy(**options).prepare(originals).folder for options in ({}, {"seed": 1}, {"scale": 3})]
    assert entries[0] == entries[1] != entries[2]
    assert Toy().load().train.inputs["track"].values.max() * 3 == Toy(scale=3).load().train.inputs["track"].values.max()


def test_the_manifest_holds_sources_parameters_versions_and_checksums(cache, originals):
    entry = Toy(scale=2).prepare(originals).folder
    manifest = json.loads((entry / "manifest.json").read_text())
    assert manifest["options"] == {"scale": 2, "short": False}
    assert len(manifest["sources"]) == 20
    assert {"equimodal", "numpy"} <= set(manifest["libraries"])
    assert set(manifest["outputs"]) | {"manifest.json"} == {path.name for path in entry.iterdir()}
    assert all(len(output["sha256"]) == 64 for output in (*manifest["outputs"].values(), *manifest["sources"].values()))


def test_changed_originals_are_named_and_prepared_anew(cache, originals):
    Toy().prepare(originals)
    (originals / "a_even_000.bin").write_bytes(bytes([9, 9, 9, 9, 1]))
    (originals / "b_odd_001.bin").unlink()
    (originals / "b_odd_021.bin").write_bytes(bytes([9, 9, 9, 9, 1]))
    (originals / "a_even_002.bin").write_bytes(bytes([9, 9, 9, 9, 1, 1]))
    named = "b_odd_021.bin is new, b_odd_001.bin is gone, a_even_000.bin has other content and 1 more"
    with pytest.raises(InputError, match=f"have changed since toy was prepared: {named}; prepare it again with"):
        Toy().load(originals)
    (originals / "a_even_002.bin").write_bytes(bytes([2, 3, 2, 3, 3]))
    prepared = Toy().prepare(originals)
    assert prepared.changed == ["b_odd_021.bin is new", "b_odd_001.bin is gone", "a_even_000.bin has other content"]
    assert prepared.array("picture")[0].tolist() == [[[9, 9], [9, 9]]]
    assert len(Toy().load(originals).train) == 12


class Nested(Toy):
    """Finds its files in folders within, too."""

    name = "nested"

    def __init__(self) -> None:
        super().__init__()

    def originals(self, folder):
        return listed(folder, "**/*.bin")


def test_it_does_not_matter_from_how_far_up_the_originals_are_named(cache, originals):
    assert Nested().prepare(originals).made
    assert not Nested().prepare(originals.parent).made
    Nested().verify(originals.parent)


def test_a_file_that_was_only_touched_is_unchanged(cache, originals):
    Toy().prepare(originals)
    os.utime(originals / "a_even_000.bin", (1, 1))
    assert not Toy().prepare(originals).made


def test_loading_prepares_on_first_use_where_the_originals_are_given(cache, originals):
    with pytest.raises(
        InputError, match=r"'toy' has not been prepared: run equimodal data prepare toy --from FOLDER --dataset.scale 2, or"
    ):
        Toy(scale=2).load()
    first = Toy(scale=2).load(originals)
    again = Toy(scale=2).load()
    assert torch.equal(first.train[:].inputs["picture"], again.train[:].inputs["picture"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"toy .*a_even_004.bin is empty: get it anew"),
        (b"12", r"toy .*a_even_004.bin is cut short or damaged \(2 bytes\): get it anew"),
        (b"<!DOCTYPE html><p>sorry", r"toy .*a_even_004.bin is an HTML page, not data: the download was refused or asks for a login"),
        (bytes([255, 0, 0, 0, 1]), r"sample 'a_even_004': track.values holds a value that is NaN or infinite"),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_lost(cache, originals, content, said):
    (originals / "a_even_004.bin").write_bytes(content)
    with pytest.raises(InputError, match=said) as refused:
        Counting().prepare(originals)
    assert "\n" not in str(refused.value)
    assert not Counting().entry().exists()
    (originals / "a_even_004.bin").write_bytes(bytes([4, 5, 2, 3, 1]))
    Counting.read = []
    prepared = Counting().prepare(originals)
    assert Counting.read == [prepared.ids.index("a_even_004")]
    assert prepared.array("picture").sum() == Toy().prepare(originals).array("picture").sum()


def test_damaged_samples_are_left_out_where_asked_and_move_no_other(cache, originals):
    whole = Toy().load(originals)
    before = {int(value) for value in whole.train.inputs["picture"][whole.train.rows][:, 0, 0, 0]}
    for name in ("a_even_004", "b_odd_005"):
        (originals / f"{name}.bin").write_bytes(b"1")
    with pytest.raises(InputError, match=r"\(and 1 other\); mend the files and run the same again, or leave them out with --skip-damaged"):
        Toy().prepare(originals)
    prepared = Toy().prepare(originals, skip_damaged=True)
    assert set(prepared.manifest["damaged"]) == {"a_even_004", "b_odd_005"}
    splits = Toy().load()
    after = {int(value) for value in splits.train.inputs["picture"][splits.train.rows][:, 0, 0, 0]}
    assert after == before - {4, 5}
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 18


def test_a_sample_may_lack_a_modality(cache, originals):
    (originals / "a_even_004.bin").write_bytes(bytes([4, 5, 2, 3, 0]))
    prepared = Toy().prepare(originals)
    assert prepared.manifest["missing"] == {"track.values": 1, "track.lengths": 1}
    splits = Toy().load()
    masks = {name: split.present for name, split in (("train", splits.train), ("val", splits.val), ("test", splits.test))}
    lacking = [name for name, present in masks.items() if present]
    assert len(lacking) == 1
    assert (~masks[lacking[0]]["track"]).sum() == 1


def test_moments_are_those_of_the_steps_that_are_there(cache, originals):
    prepared = Toy().prepare(originals)
    rows = torch.arange(10)
    values, lengths = prepared.array("track.values")[rows], prepared.array("track.lengths")[rows]
    steps = torch.cat([value[: int(length)] for value, length in zip(values, lengths, strict=True)]).double()
    mean, std = prepared.moments("track.values", rows)
    torch.testing.assert_close(mean, steps.mean(0).float())
    torch.testing.assert_close(std, steps.std(0, correction=0).float())
    pictures = prepared.array("picture")[rows].double()
    mean, std = prepared.moments("picture", rows)
    assert mean.shape == (1, 1, 1)
    torch.testing.assert_close(mean.flatten(), pictures.mean().float().reshape(1))
    torch.testing.assert_close(std.flatten(), pictures.std(correction=0).float().reshape(1))


def test_moments_are_by_channel_wherever_the_channels_stand():
    value = numpy.arange(24, dtype="float32").reshape(2, 3, 4)
    first, last = (moments_of(value, Stored((2, 3, 4), "float32", channels=channels)) for channels in ("first", "last"))
    assert first[:, :2].tolist() == [[12, 66], [12, 210]]
    assert last[:, 1].tolist() == value.sum((0, 1)).tolist()


def test_two_samples_of_one_name_are_refused(cache, originals, monkeypatch):
    plan = Toy.plan

    def doubled(self, folder):
        made = plan(self, folder)
        return type(made)([*made.ids[:-1], made.ids[0]], made.arrays, made.read, made.columns)

    monkeypatch.setattr(Toy, "plan", doubled)
    with pytest.raises(InputError, match=r"toy in .*: 'a_even_000' stands there more than once"):
        Toy().prepare(originals)


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(cache, originals, monkeypatch):
    write, written = os.pwrite, []

    def full(descriptor, content, place):
        written.append(place)
        if len(written) > 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content[:3], place)  # a disk may also take a part

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\): free space, .* the same command goes on"):
        Toy().prepare(originals)
    assert not Toy().entry().exists()
    monkeypatch.setattr(os, "pwrite", write)
    prepared = Toy().prepare(originals)
    assert prepared.array("picture")[:, 0, 0, 0].sort().values.tolist() == list(range(20))


def test_too_small_a_disk_is_refused_before_anything_is_read(cache, originals, monkeypatch):
    import shutil

    usage = shutil.disk_usage(originals)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    with pytest.raises(InputError, match=r"toy takes 0.00 GB and the disk of .* has 0.00 GB left: free space"):
        Toy().prepare(originals)


def test_originals_that_change_meanwhile_are_noticed(cache, originals, monkeypatch):
    plan = Toy.plan

    def changing(self, folder):
        made = plan(self, folder)

        def read(row):
            (originals / f".{row}").write_bytes(bytes([1, 1, 1, 1, 1]))
            (originals / f".{row}").replace(originals / "a_even_000.bin")
            return made.read(row)

        return type(made)(made.ids, made.arrays, read, made.columns)

    monkeypatch.setattr(Toy, "plan", changing)
    with pytest.raises(InputError, match="changed while toy was being prepared: run the same again"):
        Toy().prepare(originals)


def test_verify_finds_what_was_altered(cache, originals):
    entry = Toy().prepare(originals).folder
    assert Toy().verify() == entry
    path = entry / "picture.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"is damaged: picture.npy has the wrong checksum; remove the folder and prepare the data set again"
    ):
        Toy().verify()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("picture.npy", b"short", "picture.npy has 5 bytes instead of"),
        ("picture.npy", None, "picture.npy is missing"),
        ("manifest.json", b"{", "manifest.json is damaged"),
        ("manifest.json", b'{"format": 99, "outputs": {}}', "has format 99, this version reads 1"),
    ],
)
def test_an_entry_that_is_not_whole_is_refused_and_prepared_anew(cache, originals, name, content, said):
    entry = Toy().prepare(originals).folder
    if content is None:
        (entry / name).unlink()
    else:
        (entry / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        Toy().load()
    assert Toy().prepare(originals).changed == ["the prepared set was damaged"]
    assert len(Toy().load().train) == 12


def test_arrays_are_memory_mapped_and_cannot_be_spoilt(cache, originals):
    prepared = Toy().prepare(originals)
    prepared.array("picture")[0] = 77
    assert prepared.array("picture")[0].max() < 77
    Toy().verify()


def test_a_split_without_samples_is_refused(cache, tmp_path):
    originals = write_originals(tmp_path / "few", 2)
    with pytest.raises(InputError, match=r"a split of prepared set 'toy' in .* is empty: more originals are needed"):
        Toy().load(originals)


def test_a_cache_that_cannot_be_made_is_one_line(cache, originals):
    cache.write_text("a file")
    with pytest.raises(InputError, match=r"cannot be made .*: set EQUIMODAL_CACHE to a folder of yours"):
        Toy().prepare(originals)
