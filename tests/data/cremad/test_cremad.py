import csv
import math
import os
import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("scipy")
pytest.importorskip("soundfile")
pytest.importorskip("av")
pytest.importorskip("PIL")

import numpy
import soundfile

from data.cremad.cremad_copy import SENTENCES, rows_of, small_names, write_clip_sound
from data.media import write_video
from equimodal.data import cremad
from equimodal.data.cremad import CREMAD, EMOTIONS
from equimodal.errors import InputError

# --- options ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "actors"}, "unknown split 'actors': did you mean 'actor'"),
        ({"frame": 1.5}, r"frame=1\.5 is no place in a clip"),
        ({"frame": "middle"}, "frame='middle'"),
        ({"pictures": "videos"}, "unknown pictures 'videos': did you mean 'video'"),
        ({"split_seed": "x"}, "split_seed='x'"),
    ],
)
def test_wrong_options_are_told_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as caught:
        CREMAD(**options)
    assert "\n" not in str(caught.value)


def test_audio_is_the_stronger_modality_as_in_the_papers_table():
    assert CREMAD.modalities == ("audio", "image")
    assert {name: encoder["depth"] for name, encoder in CREMAD.encoders.items()} == {"audio": 18, "image": 18}


# --- splits: names alone ---


def all_names():
    """As many names as were published: 91 actors, one sentence in three levels and eleven in one, a few combinations missing."""
    names = []
    for actor in range(1001, 1092):
        names += [f"{actor}_IEO_{emotion}_{level}" for emotion in EMOTIONS if emotion != "NEU" for level in ("LO", "MD", "HI")]
        names += [f"{actor}_IEO_NEU_XX", *(f"{actor}_{sentence}_{emotion}_XX" for sentence in SENTENCES for emotion in EMOTIONS)]
    return sorted(names)[:7442]


def test_the_split_has_the_papers_sizes():
    for options in ({}, {"split_seed": 7}):
        rows = rows_of(all_names(), CREMAD(**options))
        assert {name: len(found) for name, found in rows.items()} == {"train": 5210, "val": 1116, "test": 1116}
        assert len(set.union(*(set(found.tolist()) for found in rows.values()))) == 7442


def published_names():
    lists = Path(os.environ.get("EQUIMODAL_TEST_DATA", "none"), "cremad_lists")
    if not lists.is_dir():
        pytest.skip(f"needs the names of all clips, which {lists} does not hold: set EQUIMODAL_TEST_DATA")
    rows = []
    for part in ("train", "test"):
        with (lists / f"{part}.csv").open(encoding="utf-8-sig", newline="") as file:
            rows += list(csv.reader(file))
    return rows


def test_the_published_names_give_the_papers_sizes_and_their_own_labels():
    rows = published_names()
    names = sorted(name for name, _ in rows)
    assert len(names) == 7442
    assert {name: len(found) for name, found in rows_of(names, CREMAD()).items()} == {"train": 5210, "val": 1116, "test": 1116}
    # The label that a clip has elsewhere is the one in its name.
    assert all(name.split("_")[2] == label for name, label in rows)
    assert {label for _, label in rows} == set(EMOTIONS)


def test_the_published_actors_are_kept_apart():
    names = sorted(name for name, _ in published_names())
    rows = rows_of(names, CREMAD(split="actor"))
    actors = {split: {names[row][:4] for row in found} for split, found in rows.items()}
    assert {split: len(found) for split, found in actors.items()} == {"train": 64, "val": 14, "test": 13}
    assert len(set.union(*actors.values())) == 91
    assert sum(len(found) for found in rows.values()) == 7442


def test_the_actor_split_keeps_actors_apart_where_the_clip_split_does_not():
    names = all_names()
    for split, apart in (("actor", True), ("clip", False)):
        actors = [{names[row][:4] for row in found} for found in rows_of(names, CREMAD(split=split)).values()]
        assert (not actors[0] & actors[1] and not actors[0] & actors[2] and not actors[1] & actors[2]) == apart


def test_an_actor_in_two_splits_would_be_noticed(monkeypatch):
    monkeypatch.setattr(cremad, "by_group", lambda groups, sizes, seed: {"train": [0, 1], "val": [2], "test": [3]})
    names = ["1001_DFA_ANG_XX", "1002_DFA_ANG_XX", "1003_DFA_ANG_XX", "1001_IOM_ANG_XX"]
    with pytest.raises(InputError, match="actor '1001' is in train and in test"):
        rows_of(names, CREMAD(split="actor"))


def test_a_missing_clip_moves_hardly_any_other():
    names = all_names()
    home = {names[row]: split for split, found in rows_of(names, CREMAD()).items() for row in found}
    fewer = [name for name in names if not name.startswith("1030_IEO")]
    moved = [name for split, found in rows_of(fewer, CREMAD()).items() for name in [fewer[row] for row in found] if home[name] != split]
    assert len(moved) <= 2 * (len(names) - len(fewer))


# --- from the files to tensors ---


def test_shapes_types_and_standardisation(folder):
    splits = CREMAD().load(folder)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [42, 9, 9]
    for part in (splits.train, splits.val, splits.test):
        batch = part[:]
        assert batch.inputs["audio"].shape == (len(part), 1, 224, 224)
        assert batch.inputs["image"].shape == (len(part), 3, 224, 224)
        assert all(value.dtype == torch.float32 for value in batch.inputs.values())
        assert batch.targets.dtype == torch.int64
    whole = splits.train[:].inputs
    for modality in ("audio", "image"):
        varying = whole[modality].std((0, 2, 3)) > 0
        torch.testing.assert_close(whole[modality].mean((0, 2, 3)), torch.zeros(len(varying)), atol=2e-3, rtol=0)
        torch.testing.assert_close(whole[modality].std((0, 2, 3))[varying], torch.ones(int(varying.sum())), atol=2e-3, rtol=0)


def test_every_clip_keeps_its_sound_its_picture_and_its_emotion(folder):
    prepared = CREMAD().prepare(folder)
    assert prepared.ids == sorted(small_names())
    targets = prepared.columns["target"].tolist()
    assert [list(EMOTIONS)[target] for target in targets] == [name.split("_")[2] for name in prepared.ids]
    assert prepared.columns["actor"].tolist() == [name[:4] for name in prepared.ids]
    # The tone of an emotion is loudest in its row; 8 kHz are 224 rows.
    loudest = prepared.array("audio")[:, 0].float().mean(2).argmax(1)
    for row, target in zip(loudest.tolist(), targets, strict=True):
        assert abs(row - 500 * (1 + target) / 8000 * 224) < 2
    # Green rises from left to right, red is that of the seventh frame of twelve.
    pictures = prepared.array("image").float()
    assert (pictures[:, 1, :, 200] > pictures[:, 1, :, 20] + 100).all()
    assert (pictures[:, 0].mean((1, 2)) - (40 + 200 * 6 / 11)).abs().max() < 8


def test_class_names_stand_in_the_order_of_the_targets(folder):
    prepared = CREMAD().prepare(folder)
    assert prepared.facts["class_names"] == list(CREMAD.class_names)
    assert CREMAD.class_names[prepared.columns["target"][prepared.ids.index("1001_DFA_SAD_XX")]] == "sadness"


def test_the_frame_is_an_option_and_makes_a_set_of_its_own(folder):
    first, last = (CREMAD(frame=place).prepare(folder) for place in (0, 1))
    assert first.folder != last.folder
    red = [prepared.array("image")[:, 0].float().mean() for prepared in (first, last)]
    assert red[0] < 60
    assert red[1] > 210


def test_splits_and_seeds_share_one_prepared_set(folder):
    prepared = CREMAD().prepare(folder)
    assert CREMAD(split="actor", split_seed=3).entry() == prepared.folder
    splits = CREMAD(split="actor").load()
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [42, 12, 6]


def test_extracted_frames_will_do(frames):
    prepared = CREMAD().prepare(frames)
    assert len(prepared) == 60
    assert (prepared.array("image")[:, 0].float().mean((1, 2)) - 120).abs().max() < 5
    last = CREMAD(frame=1, pictures="frames").prepare(frames)
    assert (last.array("image")[:, 0].float().mean((1, 2)) - 240).abs().max() < 5


def test_frames_are_in_time_whatever_the_width_of_their_numbers(frames):
    for path in (frames / "Image-01-FPS").glob("*/*.jpg"):
        path.rename(path.with_name(f"frame_{9 + int(path.stem) // 30}.jpg"))  # 9, 10, 11
    prepared = CREMAD().prepare(frames)
    assert (prepared.array("image")[:, 0].float().mean((1, 2)) - 120).abs().max() < 5


def test_one_picture_per_clip_will_do(frames):
    for path in list((frames / "Image-01-FPS").iterdir()):
        (path / "00030.jpg").rename(path.with_name(f"{path.name}.jpg"))
        shutil.rmtree(path)
    assert (CREMAD().prepare(frames).array("image")[:, 0].float().mean((1, 2)) - 120).abs().max() < 5


def test_videos_come_before_frames_unless_frames_are_asked_for(frames, made):
    shutil.copytree(made / "VideoFlash", frames / "VideoFlash", copy_function=os.link)
    assert CREMAD().prepare(frames).array("image")[:, 1].float().mean() > 100
    assert CREMAD(pictures="frames").prepare(frames).array("image")[:, 1].float().mean() < 10


def test_the_clone_beside_other_things_is_found(folder):
    (folder / "CREMA-D").mkdir()
    for name in ("AudioWAV", "VideoFlash"):
        (folder / name).rename(folder / "CREMA-D" / name)
    (folder / "CREMA-D" / "AudioWAV" / ".DS_Store").write_bytes(b"x")
    (folder / "CREMA-D" / "AudioWAV" / "._1001_DFA_ANG_XX.wav").write_bytes(b"x")
    (folder / "CREMA-D" / "AudioWAV" / "readme.txt").write_text("x")
    assert len(CREMAD().prepare(folder)) == 60


def test_a_sound_shorter_than_three_seconds_is_repeated_and_a_longer_one_cut(tmp_path):
    # A click at the beginning of one second of silence sounds three times; five seconds of it, with a second click after four, once.
    for name, seconds, places in (("1001_DFA_ANG_XX", 1, [1000]), ("1002_DFA_ANG_XX", 5, [1000, 64_000])):
        write_video(tmp_path / "originals" / "VideoFlash" / f"{name}.flv")
        sound = numpy.zeros(seconds * 16_000, "float32")
        for place in places:
            sound[place : place + 200] = 0.9 * numpy.sin(numpy.arange(200) * 0.7)
        path = tmp_path / "originals" / "AudioWAV" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, sound, 16_000)
    loud = CREMAD().prepare(tmp_path / "originals").array("audio")[:, 0].float().amax(1) > math.log(1e-5)
    starts = (loud[:, 1:] & ~loud[:, :-1]).sum(1)
    assert starts.tolist() == [3, 1]
    assert (loud.int().argmax(1) < 8).all()  # 1000 samples are 5 of 224 columns


def test_other_sample_rates_give_the_same_rows(folder):
    def loudest():
        return CREMAD().prepare(folder).array("audio")[:, 0].float().mean(2).argmax(1)

    before = loudest()
    for number, path in enumerate((folder / "AudioWAV").iterdir()):
        path.unlink()
        write_clip_sound(path, number, rate=44_100)
    assert (loudest() == before).all()


def test_a_spectrogram_is_shown_with_its_low_frequencies_at_the_bottom(folder):
    sample = CREMAD().load(folder).train[0].inputs
    assert torch.equal(CREMAD().shown("audio", sample["audio"])[:, 223], sample["audio"][:, 0])
    assert CREMAD().shown("image", sample["image"]) is sample["image"]


def test_fewer_clips_than_published_are_said(folder):
    assert CREMAD().prepare(folder).manifest["notes"] == ["60 of 7,442 clips: the splits are smaller in the same proportion"]


def test_originals_are_only_read(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    CREMAD().prepare(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
