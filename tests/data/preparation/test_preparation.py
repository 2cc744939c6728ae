"""Preparing a data set: once, whole, and again only when something changed."""

import errno
import json
import os
from pathlib import Path
from typing import ClassVar

import numpy
import pytest
import torch

from data.preparation.toy import Toy, write_originals
from equimodal.data.decode import mean_and_std
from equimodal.data.preparation import Stored
from equimodal.data.preparation.writer import Rows, moments_of
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


def test_originals_that_an_early_manifest_names_from_further_up_are_the_same(cache, originals):
    file = Nested().prepare(originals).folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["sources"] = {f"raw/{name}": facts for name, facts in manifest["sources"].items()}
    file.write_text(json.dumps(manifest))
    for folder in (originals, originals.parent):
        assert not Nested().prepare(folder).made
        Nested().load(folder)


def test_a_set_made_from_other_files_is_not_lost_to_a_mistyped_folder(cache, originals, tmp_path):
    Toy().prepare(originals)
    other = tmp_path / "other"
    other.mkdir()
    for number, path in enumerate(sorted(originals.iterdir())):
        (other / f"{path.stem}{number}.bin").write_bytes(path.read_bytes())
    with pytest.raises(
        InputError, match=r"toy has been prepared from other files \(a_even_000.bin, .* and 17 more\), none of which is in .*--replace"
    ):
        Toy().prepare(other)
    assert len(Toy().load(originals).train) == 12
    assert Toy().prepare(other, replace=True).made


def test_two_classes_of_one_name_have_entries_of_their_own(cache, originals):
    class Other(Toy):
        pass

    assert Other().entry() != Toy().entry()


def test_a_file_that_was_only_touched_is_unchanged(cache, originals):
    Toy().prepare(originals)
    os.utime(originals / "a_even_000.bin", (1, 1))
    assert not Toy().prepare(originals).made


def test_loading_prepares_on_first_use_where_the_originals_are_given(cache, originals):
    with pytest.raises(
        InputError,
        match=r"'toy' has not been prepared: run equimodal data prepare data.preparation.toy:Toy --from FOLDER --dataset.scale 2, or",
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
    with pytest.raises(
        InputError,
        match=r"\(and 1 other: b_odd_005\); mend .*, or leave them out: .* data.preparation.toy:Toy --from .* --skip-damaged",
    ):
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


def test_a_name_that_would_fill_the_memory_is_refused(cache, originals, monkeypatch):
    plan = Toy.plan

    def named(self, folder):
        made = plan(self, folder)
        return type(made)([*made.ids[:-1], "x" * 5000], made.arrays, made.read, made.columns)

    monkeypatch.setattr(Toy, "plan", named)
    with pytest.raises(InputError, match=r"the name of a sample has 5,000 characters: make it 1,000 at most"):
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


class Killed(BaseException):
    """What a killed process stands for: nobody catches it."""


def killed(*_, **__):
    raise Killed


def prepare_killed(monkeypatch, dataset, originals, place="equimodal.data.preparation.making.Making.finish"):
    """Prepare, and be killed where a function is called: by default when all samples are read."""
    with monkeypatch.context() as patch:
        patch.setattr(place, killed)
        with pytest.raises(Killed):
            dataset.prepare(originals)


def test_a_file_that_changed_between_two_kills_is_read_again(cache, originals, monkeypatch):
    prepare_killed(monkeypatch, Toy(), originals)
    (originals / "a_even_000.bin").write_bytes(bytes([99, 99, 99, 99, 1]))
    prepare_killed(monkeypatch, Toy(), originals, "equimodal.data.preparation.writer.Rows.write")
    assert Toy().prepare(originals).array("picture")[0].tolist() == [[[99, 99], [99, 99]]]


def test_killed_before_it_has_its_name_nothing_is_read_again(cache, originals, monkeypatch):
    Counting().prepare(originals)
    (originals / "a_even_000.bin").write_bytes(bytes([99, 99, 99, 99, 1]))
    prepare_killed(monkeypatch, Counting(), originals, "equimodal.data.preparation.dataset._put")
    Counting.read = []
    prepared = Counting().prepare(originals)
    assert (prepared.made, Counting.read, int(prepared.array("picture").max())) == (True, [], 99)
    assert [path.name for path in prepared.folder.parent.iterdir() if not path.name.endswith(".lock")] == [prepared.folder.name]


def test_killed_between_the_two_names_nothing_is_read_again(cache, originals, monkeypatch):
    Counting().prepare(originals)
    (originals / "a_even_000.bin").write_bytes(bytes([99, 99, 99, 99, 1]))
    replace = Path.replace
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda path, target: killed() if path.name.endswith(".partial") else replace(path, target))
        with pytest.raises(Killed):
            Counting().prepare(originals)
    assert not Counting().entry().exists()
    with pytest.raises(InputError, match="'counting' has not been prepared: run"):  # nothing of other options, which there are none of
        Counting().load()
    Counting.read = []
    prepared = Counting().prepare(originals)
    assert (Counting.read, int(prepared.array("picture").max())) == ([], 99)
    assert [path.name for path in prepared.folder.parent.iterdir() if not path.name.endswith(".lock")] == [prepared.folder.name]


def test_what_was_ready_is_not_taken_for_originals_that_changed_since(cache, originals, monkeypatch):
    prepare_killed(monkeypatch, Toy(), originals, "equimodal.data.preparation.dataset._put")
    (originals / "a_even_000.bin").write_bytes(bytes([99, 99, 99, 99, 1]))
    assert Toy().prepare(originals).array("picture")[0].tolist() == [[[99, 99], [99, 99]]]


def test_rows_of_one_preparation_never_meet_arrays_of_another(cache, originals):
    toy, prepared = Toy(), Toy().prepare(originals)
    (originals / "a_even_000.bin").unlink()
    anew = Toy().prepare(originals)
    with pytest.raises(InputError, match="was prepared anew while it was being read: run the same again"):
        toy.splits(prepared)
    assert len(toy.splits(anew).train) + len(toy.splits(anew).val) == 15


@pytest.mark.parametrize("resumed", [False, True])
def test_it_says_once_that_all_samples_are_done(cache, originals, monkeypatch, resumed):
    monkeypatch.setattr("equimodal.data.preparation.writer._SECONDS", 0.0)
    said = []
    if resumed:
        prepare_killed(monkeypatch, Toy(), originals)
    Toy().prepare(originals, on_progress=lambda what, done, total: said.append((what, done, total)))
    assert said.count(("samples", 20, 20)) == 1
    assert said[-1] == ("checksums", 20, 20)


def test_an_array_that_is_gone_is_written_again(cache, originals, monkeypatch):
    prepare_killed(monkeypatch, Toy(), originals)
    (partial,) = Toy().entry().parent.glob(".*.partial")
    (partial / "picture.npy").unlink()
    assert Toy().prepare(originals).array("picture")[:, 0, 0, 0].sort().values.tolist() == list(range(20))


def test_a_row_that_is_no_longer_there_is_zero(cache, originals, monkeypatch):
    prepare_killed(monkeypatch, Toy(), originals)
    (originals / "a_even_004.bin").write_bytes(bytes([4, 5, 2, 3, 0]))
    prepared = Toy().prepare(originals)
    row = prepared.ids.index("a_even_004")
    assert not prepared.present("track.values")[row]
    assert prepared.array("track.values")[row].count_nonzero() == 0


@pytest.mark.parametrize(("dtype", "value", "said"), [("float16", 1e6, "1000000.0"), ("int16", 40000, "40000")])
def test_a_number_that_its_type_cannot_hold_is_refused(cache, originals, monkeypatch, dtype, value, said):
    plan = Toy.plan

    def large(self, folder):
        made = plan(self, folder)
        values = numpy.full(1, value, "float32" if dtype == "float16" else "int32")
        return type(made)(made.ids, {"value": Stored((1,), dtype)}, lambda row: {"value": values}, made.columns)

    monkeypatch.setattr(Toy, "plan", large)
    with pytest.raises(InputError, match=f"sample 'a_even_000': value holds {said}, which is too large for {dtype}"):
        Toy().prepare(originals)


def test_an_original_that_the_disk_cannot_give_is_named_and_not_the_place_that_is_written_to(cache, originals, monkeypatch):
    def broken(path, what):
        if path.stem == "a_even_004":
            raise OSError(errno.EIO, "Input/output error")
        return path.read_bytes()

    monkeypatch.setattr("data.preparation.toy.read_bytes", broken)
    with pytest.raises(InputError, match=r"^sample 'a_even_004' cannot be read \(Input/output error\); mend"):
        Toy().prepare(originals)


def test_of_large_samples_few_are_in_memory_at_once(cache, originals, monkeypatch):
    monkeypatch.setattr("equimodal.data.preparation.writer._IN_MEMORY", 100)
    read, most, keep = [], 0, Rows._keep

    def counted(self, row, found):
        nonlocal most
        read.append(row)
        most = max(most, len(Counting.read) - len(read) + 1)
        keep(self, row, found)

    monkeypatch.setattr(Rows, "_keep", counted)
    Counting().prepare(originals, workers=1)
    assert len(read) == 20
    assert most <= 4  # two pieces of two samples of 44 bytes


def test_names_that_are_no_unicode_are_dealt_out_too(cache, originals):
    (originals / os.fsdecode(b"a_even_\xe9.bin")).write_bytes(bytes([4, 5, 2, 3, 1]))
    splits = Toy().load(originals)
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 21


def test_an_array_larger_than_memory_is_mapped_all_the_same(cache, originals, monkeypatch):
    prepared, load = Toy().prepare(originals), numpy.load

    def refused(path, mmap_mode=None, **options):
        if mmap_mode == "c":
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return load(path, mmap_mode=mmap_mode, **options)

    whole = prepared.array("picture")
    monkeypatch.setattr(numpy, "load", refused)
    assert torch.equal(prepared.array("picture"), whole)


def test_a_channel_that_never_changes_is_shifted_and_not_divided_by_what_rounding_leaves(cache, originals):
    mean, std = mean_and_std(1234, torch.tensor([1234 * 0.1]).double(), torch.tensor([1234 * 0.1**2 * (1 + 1e-15)]).double())
    assert (float(mean), float(std)) == (pytest.approx(0.1), 0.0)
    _, std = mean_and_std(2, torch.tensor([2.0]).double(), torch.tensor([2.02]).double())
    assert float(std) == pytest.approx(0.1)


def test_a_split_without_samples_is_refused(cache, tmp_path):
    originals = write_originals(tmp_path / "few", 2)
    with pytest.raises(InputError, match=r"a split of prepared set 'toy' in .* is empty: more originals are needed"):
        Toy().load(originals)


def test_a_cache_that_cannot_be_made_is_one_line(cache, originals):
    cache.write_text("a file")
    with pytest.raises(InputError, match=r"cannot be made .*: set EQUIMODAL_CACHE to a folder of yours"):
        Toy().prepare(originals)
