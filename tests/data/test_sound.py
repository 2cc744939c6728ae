import math

import pytest

pytest.importorskip("scipy")
pytest.importorskip("soundfile")
pytest.importorskip("av")

import numpy
import soundfile

from data.media import write_sound
from equimodal.data.audio import log_spectrogram, read_sound, repeated, resampled
from equimodal.data.reading.originals import Damaged


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")]
)
def test_a_recording_is_read_with_its_rate(tmp_path, kind, subtype):
    path = tmp_path / "recording"
    write_sound(path, seconds=0.5, rate=22_050, format=kind, subtype=subtype)
    sound, rate = read_sound(path)
    assert rate == 22_050
    assert sound.dtype == "float32"
    assert sound.shape == (11_025,)
    tone = 0.4 * numpy.sin(2 * math.pi * 440 * numpy.arange(11_025) / 22_050)
    assert numpy.abs(sound - tone)[500:-500].mean() < (1e-4 if kind != "OGG" else 0.05)


def test_several_channels_are_averaged(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, numpy.array([[0.5, -0.25], [0.25, 0.25]] * 100, "float32"), 16_000, subtype="FLOAT")
    sound, _ = read_sound(path)
    assert sound[:2].tolist() == [0.125, 0.25]


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
@pytest.mark.parametrize("part", [0.0005, 0.3, 0.99])
def test_a_recording_cut_short_is_told_in_one_line(tmp_path, kind, part):
    path = tmp_path / "recording.wav"
    write_sound(path, format=kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    _refused(path, "is cut short or damaged")


def test_a_wave_file_cut_short_tells_how_much_is_left(tmp_path):
    path = tmp_path / "recording.wav"
    write_sound(path, seconds=1)
    path.write_bytes(path.read_bytes()[:8044])
    _refused(path, "8000 of 32000 bytes of sound")


def test_a_wave_file_written_by_a_pipe_is_whole_though_its_header_knows_no_length(tmp_path):
    path = tmp_path / "recording.wav"
    write_sound(path, seconds=1)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(content))
    assert len(read_sound(path)[0]) == 16_000


def test_a_wave_file_with_more_behind_its_sound_is_whole(tmp_path):
    path = tmp_path / "recording.wav"
    write_sound(path, seconds=1)
    path.write_bytes(path.read_bytes() + b"LIST\x04\x00\x00\x00INFO")
    assert len(read_sound(path)[0]) == 16_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<html><body>quota exceeded</body></html>", "is an HTML page, not data"),
        (b"RIFF\x24\x00\x00\x00WAVE", "is cut short or damaged"),
        (b"nothing of the kind", "is cut short or damaged"),
    ],
)
def test_what_is_no_recording_is_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "recording.wav"
    path.write_bytes(content)
    _refused(path, message)


def test_a_missing_recording_and_a_folder_are_told_in_one_line(tmp_path):
    _refused(tmp_path / "none.wav", "is missing")
    _refused(tmp_path, "cannot be read")


def test_a_recording_without_a_sample_or_with_nan_is_told_in_one_line(tmp_path):
    path = tmp_path / "recording.wav"
    soundfile.write(path, numpy.zeros(0), 16_000)
    _refused(path, "no sound in it")
    soundfile.write(path, numpy.array([0.1, numpy.nan] * 50, "float32"), 16_000, subtype="FLOAT")
    _refused(path, "NaN or infinite")


def _refused(path, message):
    with pytest.raises(Damaged, match=message) as caught:
        read_sound(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text


# --- rates, lengths, spectrograms ---


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_a_tone_stays_the_same_tone_at_another_rate(rate):
    tone = numpy.sin(2 * math.pi * 440 * numpy.arange(rate) / rate).astype("float32")
    found = resampled(tone, rate, 16_000)
    assert found.dtype == "float32"
    assert len(found) == 16_000
    wanted = numpy.sin(2 * math.pi * 440 * numpy.arange(16_000) / 16_000)
    assert numpy.abs(found - wanted)[800:-800].max() < 0.02


def test_what_the_lower_rate_cannot_hold_is_filtered_out():
    high = numpy.sin(2 * math.pi * 15_000 * numpy.arange(44_100) / 44_100).astype("float32")
    assert numpy.abs(resampled(high, 44_100, 16_000))[500:-500].max() < 0.01


def test_a_short_sound_starts_over_and_a_long_one_is_cut():
    assert repeated(numpy.array([1.0, 2.0, 3.0]), 8).tolist() == [1, 2, 3, 1, 2, 3, 1, 2]
    assert repeated(numpy.array([1.0, 2.0, 3.0]), 2).tolist() == [1, 2]


def test_three_seconds_at_16_khz_give_the_papers_257_by_299():
    assert log_spectrogram(numpy.zeros(48_000, "float32"), 16_000).shape == (257, 299)


def test_silence_is_the_logarithm_of_the_offset():
    silence = log_spectrogram(numpy.zeros(48_000, "float32"), 16_000)
    numpy.testing.assert_allclose(silence, math.log(1e-7), rtol=1e-5)


@pytest.mark.parametrize("frequency", [250, 1000, 4000])
def test_a_tone_is_loudest_in_its_row(frequency):
    tone = numpy.sin(2 * math.pi * frequency * numpy.arange(48_000) / 16_000).astype("float32")
    assert (log_spectrogram(tone, 16_000).argmax(axis=0) == round(frequency * 512 / 16_000)).all()


def test_the_spectrogram_is_the_power_density_of_its_frames():
    # By hand: constant removed, a Tukey window of 0.25, power over rate and window, both sides of the spectrum folded into one.
    sound = numpy.random.default_rng(0).standard_normal(2000) * 0.1
    edge = numpy.minimum(numpy.arange(512), 512 - numpy.arange(512)) / 512
    tukey = numpy.where(edge < 0.125, 0.5 * (1 - numpy.cos(math.pi * edge / 0.125)), 1.0)
    columns = []
    for start in range(0, 2000 - 512 + 1, 512 - 353):
        frame = sound[start : start + 512]
        power = numpy.abs(numpy.fft.rfft((frame - frame.mean()) * tukey)) ** 2 / (16_000 * (tukey**2).sum())
        power[1:-1] *= 2
        columns.append(numpy.log(power + 1e-7))
    found = log_spectrogram(sound.astype("float32"), 16_000)
    numpy.testing.assert_allclose(found, numpy.stack(columns, axis=1), atol=1e-3)
