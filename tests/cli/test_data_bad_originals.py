"""Originals that cannot be used, by way of the command line: one line, exit code 2, nothing prepared, nothing lost."""

import errno
import json
import os
import shutil
import tarfile

import pytest

pytest.importorskip("scipy")
pytest.importorskip("soundfile")
pytest.importorskip("av")
pytest.importorskip("PIL")
pytest.importorskip("h5py")

import numpy
import soundfile
from scipy.io import savemat

from data import mmimdb_copy
from data.cremad import cremad_copy
from equimodal.data.cremad import CREMAD
from equimodal.data.fashion_files import ARTICLES
from equimodal.data.fashion_image_text import COLOURS

CLIP = "1003_ITH_FEA_XX"
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EQUIMODAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return cremad_copy.write_originals(tmp_path_factory.mktemp("cremad"))


@pytest.fixture
def folder(clips, tmp_path):
    return cremad_copy.linked(clips, tmp_path / "originals")


def replaced(path, content):
    path.unlink()
    path.write_bytes(content)


def halved(path):
    content = path.read_bytes()
    replaced(path, content[: len(content) // 2])


def with_nan(path):
    path.unlink()
    soundfile.write(path, numpy.full(16_000, numpy.nan, "float32"), 16_000, subtype="FLOAT")


def nothing_prepared(cache):
    return not list(cache.rglob("manifest.json"))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (f"AudioWAV/{CLIP}.wav", halved, "is cut short or damaged (63978 of 128000 bytes of sound)"),
        (f"VideoFlash/{CLIP}.flv", halved, "is cut short or damaged (it ends after"),
        (f"AudioWAV/{CLIP}.wav", lambda path: replaced(path, PAGE), "is an HTML page, not data"),
        (f"VideoFlash/{CLIP}.flv", lambda path: replaced(path, PAGE), "is an HTML page, not data"),
        (f"AudioWAV/{CLIP}.wav", with_nan, "a value is NaN or infinite"),
    ],
    ids=["cut recording", "cut video", "page for a recording", "page for a video", "recording with NaN"],
)
def test_a_damaged_clip_is_one_line_and_can_be_left_out(refused, run_command, folder, cache, content, name, change, said):
    change(folder / name)
    before = content(folder)
    line = refused("data", "prepare", "cremad", "--from", folder)
    assert said in line
    assert f"{folder / name} " in line
    assert "--skip-damaged" in line
    assert nothing_prepared(cache)
    shown = run_command("data", "prepare", "cremad", "--from", folder, "--skip-damaged")
    assert "cremad: 59 samples prepared" in shown
    assert f"left out: 1 sample whose files cannot be used\n  {CLIP}: " in shown
    assert content(folder) == before


def test_an_unknown_emotion_and_a_clip_that_is_there_twice(refused, folder, cache):
    recording = folder / "AudioWAV" / f"{CLIP}.wav"
    shutil.copy(recording, recording.with_suffix(".WAV"))
    assert f"'{CLIP}.wav' stands there more than once" in refused("data", "prepare", "cremad", "--from", folder)
    recording.with_suffix(".WAV").unlink()
    recording.rename(recording.with_name(f"{CLIP.replace('FEA', 'FER')}.wav"))
    assert "unknown label 'FER' of sample" in refused("data", "prepare", "cremad", "--from", folder)
    assert nothing_prepared(cache)


def test_an_archive_that_climbs_out_of_its_folder(refused, folder, cache, tmp_path):
    with tarfile.open(tmp_path / "clips.tar", "w", dereference=True) as archive:
        archive.add(folder / "AudioWAV", "AudioWAV")
        archive.add(folder / "AudioWAV" / f"{CLIP}.wav", f"../../{CLIP}.wav")
    line = refused("data", "prepare", "cremad", "--from", tmp_path / "clips.tar")
    assert f"'../../{CLIP}.wav', which leads out of its folder: nothing was unpacked" in line
    assert not [path for path in tmp_path.rglob("*.wav") if folder not in path.parents]
    assert nothing_prepared(cache)


def test_a_disk_that_is_full_half_way_loses_nothing(refused, run_command, folder, cache, content, monkeypatch):
    written, rows = os.pwrite, []

    def filling(descriptor, part, place):
        rows.append(place)
        if len(rows) > 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(descriptor, part, place)

    before = content(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", filling)
        line = refused("data", "prepare", "cremad", "--from", folder)
    assert "cannot be written (No space left on device): free space" in line
    assert "the same command goes on" in line
    assert nothing_prepared(cache)
    assert "cremad: 60 samples prepared" in run_command("data", "prepare", "cremad", "--from", folder)
    assert CREMAD().entry().is_dir()
    assert content(folder) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lists: {**lists, "test": [*lists["test"], lists["train"][0]]}, "stands in train and in test"),
        (lambda lists: {**lists, "train": [*lists["train"], lists["train"][0]]}, "stands twice in train"),
    ],
    ids=["in two splits", "twice in one"],
)
def test_a_movie_that_leaks_or_is_named_twice(refused, cache, tmp_path, change, said):
    pytest.importorskip("tokenizers")
    mmimdb_copy.write_folder(tmp_path / "originals")
    path = tmp_path / "originals" / "split.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert said in refused("data", "prepare", "mmimdb", "--from", tmp_path / "originals")
    assert nothing_prepared(cache)


def test_movies_without_poster_or_plot_stay_and_are_counted_by_modality(run_command, tmp_path):
    pytest.importorskip("tokenizers")
    mmimdb_copy.write_folder(tmp_path / "originals")
    first, second, third, *_ = sorted((tmp_path / "originals" / "dataset").glob("*.json"))
    first.with_suffix(".jpeg").unlink()
    for path in (second, third):
        path.write_text(json.dumps({**json.loads(path.read_text()), "plot": []}))
    shown = run_command("data", "prepare", "mmimdb", "--from", tmp_path / "originals")
    assert "mmimdb: 50 samples prepared" in shown
    assert [line for line in shown.splitlines() if line.startswith("without")] == ["without text: 2 of them", "without image: 1 of them"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (halved, "multimodal_imdb.hdf5 is cut short or damaged"),
        (lambda path: replaced(path, PAGE), "multimodal_imdb.hdf5 is an HTML page, not data"),
    ],
    ids=["cut", "page"],
)
def test_an_hdf5_file_that_is_none(refused, cache, tmp_path, change, said):
    pytest.importorskip("tokenizers")
    (tmp_path / "originals").mkdir()
    mmimdb_copy.write_hdf5(tmp_path / "originals")
    change(tmp_path / "originals" / "multimodal_imdb.hdf5")
    assert said in refused("data", "prepare", "mmimdb", "--from", tmp_path / "originals")
    assert nothing_prepared(cache)


def test_two_people_with_the_same_recording_are_refused_every_time(refused, tmp_path):
    random = numpy.random.default_rng(0)
    for person in range(1, 9):
        # Persons 1, who trains, and 2, of the test, have one recording in common.
        inertial = numpy.ones((120, 6)) if person < 3 else random.normal(size=(120, 6))
        skeleton, depth = random.normal(size=(20, 3, 50)), numpy.ones((240, 320, 2), "int16")
        for kind, variable, values in (("skeleton", "d_skel", skeleton), ("inertial", "d_iner", inertial), ("depth", "d_depth", depth)):
            savemat(tmp_path / f"a1_s{person}_t1_{kind}.mat", {variable: values})
    for _ in range(2):
        line = refused("data", "prepare", "utd-mhad", "--from", tmp_path)
        assert "a1_s1_t1 in train and a1_s2_t1 in test hold the same inertial recording" in line


def test_a_file_of_another_checksum(refused, cache, tmp_path):
    products = {
        "image": numpy.zeros((3, 40, 30, 3), "uint8"),
        "title": numpy.array(["Blue Shirt", "Red Shirt", "Black Belt"]),
        "article": numpy.array([1, 1, 19]),
        "article_names": numpy.array(ARTICLES),
        "colour": numpy.array([2, 5, 0]),
        "colour_names": numpy.array(COLOURS),
        "split": numpy.array([0, 1, 2]),
        "product_id": numpy.array([11, 12, 13]),
    }
    numpy.savez(tmp_path / "fashion20.npz", **products)
    line = refused("data", "prepare", "fashion-image-text", "--from", tmp_path)
    assert "fashion20.npz is not the original: it has sha256 " in line
    assert nothing_prepared(cache)


def test_features_with_nan_and_labels_that_are_no_class(refused, cache, tmp_path):
    for part, count in (("train", 30), ("test", 6)):
        arrays = {"data_wr": numpy.ones((count, 784)), "data_sp": numpy.zeros((count, 507)), "labels": numpy.arange(count) % 10}
        for name, values in arrays.items():
            numpy.save(tmp_path / f"{name}_{part}.npy", values)
    spoken, labels = tmp_path / "data_sp_train.npy", tmp_path / "labels_train.npy"
    numpy.save(spoken, numpy.where(numpy.arange(30)[:, None] == 7, numpy.nan, numpy.zeros((30, 507))))
    assert f"{spoken}: row 7 holds a value that is NaN" in refused("data", "prepare", "smnist", "--from", tmp_path)
    numpy.save(labels, numpy.arange(30))
    assert f"{labels}: unknown label 10 in row 10" in refused("data", "prepare", "smnist", "--from", tmp_path)
    assert nothing_prepared(cache)
