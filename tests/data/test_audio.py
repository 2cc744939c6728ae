import math

import pytest
import torch

from equimodal.data.audio import centred, log_mel, mel_filterbank, mfcc


def tone(frequency, seconds=1.0, rate=8000):
    return torch.sin(2 * math.pi * frequency * torch.arange(int(seconds * rate)) / rate)


def test_silence_is_the_logarithm_of_the_offset():
    spectrogram = log_mel(torch.zeros(8000), 8000, frame=400, hop=200)
    torch.testing.assert_close(spectrogram, torch.full((39, 40), math.log(1e-8), dtype=torch.float64))


@pytest.mark.parametrize("frequency", [300, 1000, 3000])
def test_a_tone_is_loudest_in_the_band_around_it(frequency):
    bands = mel_filterbank(40, 512, 8000)
    strongest = log_mel(tone(frequency), 8000, frame=400, hop=200).mean(0).argmax()
    assert bands[:, round(frequency / 8000 * 512)].argmax() == strongest


def test_filters_overlap_to_one_between_the_outer_peaks():
    bands = mel_filterbank(10, 2048, 8000)
    first, last = bands[0].argmax(), bands[-1].argmax()
    torch.testing.assert_close(bands.sum(0)[first : last + 1], torch.ones(last - first + 1, dtype=torch.float64), atol=0.05, rtol=0)


def test_coefficients_keep_the_energy_of_all_bands():
    spectrogram = log_mel(tone(440), 8000, frame=400, hop=200)
    cepstrum = mfcc(tone(440), 8000, coefficients=40, frame=400, hop=200)
    torch.testing.assert_close(cepstrum.square().sum(), spectrogram.square().sum())


def test_batches_equal_single_waveforms():
    waves = torch.randn(3, 8000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mfcc(waves, 8000, frame=400, hop=200)[1], mfcc(waves[1], 8000, frame=400, hop=200))


@pytest.mark.parametrize("length", [1, 6, 7, 8, 20])
def test_centred_has_the_length_and_the_middle(length):
    wave = torch.arange(1.0, length + 1)
    cut = centred(wave, 7)
    assert len(cut) == 7
    assert cut[cut > 0].tolist() == wave[max(0, (length - 7) // 2) :][:7].tolist()


def test_mfcc_equal_those_computed_elsewhere(data_dir):
    numpy = pytest.importorskip("numpy")
    from equimodal.data import fsdd

    with numpy.load(data_dir / "fsdd" / "fsdd_mfcc39x13.npz") as file:
        expected = torch.from_numpy(file["mfcc"])
    recordings = fsdd.load(data_dir / "fsdd")
    chosen = range(0, len(recordings), 50)
    found = torch.stack([mfcc(centred(recordings.waveform(k), 8000), 8000, frame=400, hop=200) for k in chosen])
    torch.testing.assert_close(found, expected[list(chosen)].double(), atol=1e-4, rtol=1e-5)
