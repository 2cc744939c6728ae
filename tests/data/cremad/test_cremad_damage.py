"""What can be wrong with the files of CREMA-D: one line each, and nothing lost."""

import math
import shutil

import pytest
import torch

pytest.importorskip("scipy")
pytest.importorskip("soundfile")
pytest.importorskip("av")
pytest.importorskip("PIL")

import numpy
import soundfile

from data.cremad.cremad_copy import rows_of, small_names
from data.media import write_sound
from equimodal.data import cremad
from equimodal.data.audio import read_sound
from equimodal.data.cremad import CREMAD
from equimodal.errors import InputError


def replaced(path, content):
    path.unlink()
    path.write_bytes(content)


def _refused(folder, message, **options):
    with pytest.raises(InputError, match=message) as caught:
        CREMAD(**options).prepare(folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


def _cut(path):
    replaced(path, path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: _cut(folder / "AudioWAV" / "1003_ITH_FEA_XX.wav"), r"1003_ITH_FEA_XX\.wav is cut short or damaged"),
        (lambda folder: _cut(folder / "VideoFlash" / "1003_ITH_FEA_XX.flv"), r"1003_ITH_FEA_XX\.flv is cut short or damaged"),
        (lambda folder: replaced(folder / "AudioWAV" / "1003_ITH_FEA_XX.wav", b"<html>login</html>"), "HTML page"),
        (lambda folder: replaced(folder / "VideoFlash" / "1003_ITH_FEA_XX.flv", b""), r"1003_ITH_FEA_XX\.flv is empty"),
        (lambda folder: (folder / "VideoFlash" / "1003_ITH_FEA_XX.flv").unlink(), "clip 1003_ITH_FEA_XX has no picture"),
        (lambda folder: (folder / "AudioWAV" / "1003_ITH_FEA_XX.wav").unlink(), "clip 1003_ITH_FEA_XX has no recording"),
    ],
)
def test_a_clip_that_cannot_be_used_is_named_and_left_out_only_when_asked_for(folder, damage, message):
    whole = rows_of(sorted(small_names()), CREMAD())
    damage(folder)
    assert "--skip-damaged" in _refused(folder, message)
    prepared = CREMAD().prepare(folder, skip_damaged=True)
    assert len(prepared) == 60
    assert [prepared.ids[row] for row in numpy.flatnonzero(~prepared.usable)] == ["1003_ITH_FEA_XX"]
    # No other clip changes its split.
    splits = CREMAD().splits(prepared)
    lost = prepared.ids.index("1003_ITH_FEA_XX")
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [len(rows) - (lost in rows) for rows in whole.values()]


def test_two_damaged_clips_are_counted_and_the_mended_ones_alone_are_read_again(folder, monkeypatch):
    sounds = [folder / "AudioWAV" / f"{name}.wav" for name in ("1001_DFA_ANG_XX", "1002_IOM_ANG_XX")]
    for path in sounds:
        _cut(path)
    assert "(and 1 other: " in _refused(folder, "cut short")
    for path in sounds:
        path.unlink()
        write_sound(path)
    heard = []
    monkeypatch.setattr(cremad, "read_sound", lambda path: heard.append(path) or read_sound(path))
    assert CREMAD().prepare(folder).usable.all()
    assert sorted(heard) == sounds


def test_a_broken_frame_is_told_in_one_line(frames):
    path = frames / "Image-01-FPS" / "1001_DFA_ANG_XX" / "00030.jpg"
    path.write_bytes(path.read_bytes()[:200])
    assert str(path) in _refused(frames, "frame .* is cut short or damaged")


def test_a_recording_with_nan_is_told_in_one_line(folder):
    path = folder / "AudioWAV" / "1001_DFA_ANG_XX.wav"
    path.unlink()
    soundfile.write(path, numpy.full(100, numpy.nan, "float32"), 16_000, subtype="FLOAT")
    _refused(folder, "NaN or infinite")


def test_a_silent_recording_is_kept(folder):
    """One of the published clips has no sound: its spectrogram is that of silence."""
    path = folder / "AudioWAV" / "1001_DFA_ANG_XX.wav"
    path.unlink()
    soundfile.write(path, numpy.zeros(16_000), 16_000)
    sound = CREMAD().prepare(folder).array("audio")[0]
    torch.testing.assert_close(sound.float(), torch.full((1, 224, 224), math.log(1e-7)), atol=0.01, rtol=0)


def test_an_unknown_emotion_is_told_with_the_nearest(folder):
    (folder / "AudioWAV" / "1001_DFA_ANG_XX.wav").rename(folder / "AudioWAV" / "1001_DFA_ANH_XX.wav")
    _refused(folder, "unknown label 'ANH' .*did you mean 'ANG'")


def test_a_file_that_is_named_like_no_clip_is_told_in_one_line(folder):
    (folder / "AudioWAV" / "1001_DFA_ANG_XX.wav").rename(folder / "AudioWAV" / "copy of 1001_DFA_ANG_XX.wav")
    _refused(folder, "is not named like a clip")


def test_the_clip_that_was_once_published_under_a_shorter_name_finds_its_picture(folder):
    (folder / "AudioWAV" / "1001_DFA_SAD_XX.wav").rename(folder / "AudioWAV" / "1001_DFA_SAD_X.wav")
    prepared = CREMAD().prepare(folder)
    assert len(prepared) == 60
    assert prepared.usable.all()


def test_the_same_clip_twice_is_refused(folder):
    shutil.copyfile(folder / "AudioWAV" / "1001_DFA_SAD_XX.wav", folder / "AudioWAV" / "1001_DFA_SAD_X.wav")
    _refused(folder, r"'1001_DFA_SAD_XX\.wav' stands there more than once")


def test_of_a_clip_in_two_kinds_of_video_the_published_one_is_taken(folder):
    (folder / "VideoFlash" / "1001_DFA_SAD_XX.mp4").write_bytes(b"not a video")
    assert CREMAD().prepare(folder).usable.all()


@pytest.mark.parametrize("kind", ["AudioWAV", "VideoFlash"])
def test_a_clone_without_its_large_files_is_told_before_anything_is_read(folder, kind):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:c6f94b2592487c7556bd86df7df6e8f4420d1b9c\nsize 72862\n"
    for path in (folder / kind).iterdir():
        replaced(path, pointer)
    assert "git lfs pull" in _refused(folder, "is a pointer of Git LFS")


def test_missing_folders_are_told_in_one_line(folder, tmp_path):
    _refused(tmp_path / "none", r"cannot be read \(No such file or directory\): name a folder or an archive of originals")
    shutil.rmtree(folder / "VideoFlash")
    _refused(folder, "does not hold the pictures of CREMA-D: VideoFlash or Image-01-FPS is needed")
    _refused(folder, "VideoFlash is needed", pictures="video")
    (folder / "VideoFlash").mkdir()
    _refused(folder, "holds nothing of CREMA-D")
    shutil.rmtree(folder / "AudioWAV")
    _refused(folder, "does not hold the recordings of CREMA-D")


def test_without_originals_and_without_a_prepared_set_the_way_is_named():
    with pytest.raises(InputError, match=r"has not been prepared.*data prepare cremad --from FOLDER.*github\.com/CheyneyComputerScience"):
        CREMAD().load()
