"""From a recording to the pictures that the audio encoders see: waveforms, spectrograms, log-mel spectrograms and MFCC."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import torch

from equimodal.data.reading.originals import read_bytes, unusable
from equimodal.errors import require

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["centred", "log_mel", "log_spectrogram", "mel_filterbank", "mfcc", "read_sound", "repeated", "resampled"]

_UNKNOWN_LENGTH = 0x7FFF0000
"""Lengths from here on in a wave file's header mean that its writer, a pipe, did not know."""


def read_sound(path: Path, *, what: str = "recording") -> tuple[NDArray[Any], int]:
    """Read a recording: WAV, FLAC, Ogg, MP3 and what else libsndfile knows; several channels are averaged.

    :param path: the file.
    :param what: what it is, for the message.
    :returns: ``[samples]``, float32, from -1 to 1 where the file holds whole numbers, and the sample rate in hertz.
    :raises Damaged: when the file is missing, no recording, without a sample, shorter than it announces, or holds NaN or infinity.
    """
    soundfile = require("soundfile", extra="media")
    numpy = require("numpy", extra="data")
    try:
        with soundfile.SoundFile(str(path)) as file:
            heard = file.read(dtype="float32", always_2d=True)
            rate, announced, account = int(file.samplerate), int(file.frames), str(file.extra_info)
    except (soundfile.SoundFileError, OSError) as error:
        read_bytes(path, what)  # missing, empty or an HTML page: it says so itself
        reason = re.sub(r"^Error (opening '.*': |: )", "", str(error))
        raise unusable(path, what, reason) from None
    # libsndfile reads a wave file that was cut short without complaint; its account of the file tells.
    length = re.search(r"^data : (\d+) \(should be (\d+)\)", account, re.MULTILINE)
    if length and int(length[2]) < int(length[1]) < _UNKNOWN_LENGTH:
        raise unusable(path, what, f"{length[2]} of {length[1]} bytes of sound")
    if not len(heard) or len(heard) < announced:
        raise unusable(path, what, f"{len(heard)} samples of {announced}" if announced else "no sound in it")
    if not numpy.isfinite(heard).all():
        raise unusable(path, what, "a value is NaN or infinite")
    sound: NDArray[Any] = heard[:, 0] if heard.shape[1] == 1 else heard.mean(axis=1)
    return sound, rate


def resampled(sound: NDArray[Any], rate: int, wanted: int) -> NDArray[Any]:
    """Return a recording at another sample rate, by SciPy's polyphase filter.

    :param sound: ``[samples]``, float32.
    :param rate: its sample rate in hertz.
    :param wanted: the sample rate wanted.
    :returns: ``[ceil(samples · wanted / rate)]``, float32.
    """
    if rate == wanted:
        return sound
    common = math.gcd(rate, wanted)
    other: NDArray[Any] = require("scipy.signal", extra="media").resample_poly(sound, wanted // common, rate // common)
    return other.astype("float32", copy=False)


def repeated(sound: NDArray[Any], samples: int) -> NDArray[Any]:
    """Return the beginning of a recording; one that is too short starts over until it is long enough.

    :param sound: ``[length]``, at least one.
    :param samples: the length wanted.
    :returns: ``[samples]``.
    """
    numpy = require("numpy", extra="data")
    filled: NDArray[Any] = numpy.resize(sound, samples)
    return filled


def log_spectrogram(sound: NDArray[Any], rate: int, *, window: int = 512, overlap: int = 353, offset: float = 1e-7) -> NDArray[Any]:
    """Return the natural logarithm of SciPy's spectrogram with its own defaults: power density, Tukey window of 0.25, mean removed.

    Three seconds at 16 kHz give 257 × 299.

    :param sound: ``[samples]``, float32.
    :param rate: its sample rate in hertz.
    :param window: length of a frame in samples.
    :param overlap: how many samples a frame shares with the one before.
    :param offset: what is added before the logarithm, so that silence is ``log(offset)``.
    :returns: ``[window // 2 + 1, (samples - overlap) // (window - overlap)]`` (frequencies from low to high, times), float32.
    """
    numpy = require("numpy", extra="data")
    power = require("scipy.signal", extra="media").spectrogram(sound, rate, nperseg=window, noverlap=overlap)[2]
    logarithm: NDArray[Any] = numpy.log(power + numpy.float32(offset))
    return logarithm


def centred(waveform: Tensor, samples: int) -> Tensor:
    """Cut the middle out of a waveform, or pad it with zeros on both sides, to a fixed length.

    >>> centred(torch.tensor([1.0, 2.0]), 5).tolist()
    [0.0, 1.0, 2.0, 0.0, 0.0]
    >>> centred(torch.tensor([1.0, 2.0, 3.0, 4.0]), 2).tolist()
    [2.0, 3.0]

    :param waveform: ``[length]``.
    :param samples: the length wanted.
    :returns: ``[samples]``.
    """
    length = len(waveform)
    if length >= samples:
        start = (length - samples) // 2
        return waveform[start : start + samples]
    before = (samples - length) // 2
    return torch.nn.functional.pad(waveform, (before, samples - length - before))


def mel_filterbank(bands: int, fft_length: int, sample_rate: int, low: float = 20.0, high: float | None = None) -> Tensor:
    """Return triangular filters, spaced evenly on the mel scale ``2595 log10(1 + f / 700)``, each with a peak of 1.

    :param bands: how many filters.
    :param fft_length: length of the Fourier transform whose bins are weighted, in samples.
    :param sample_rate: in hertz.
    :param low: lower edge of the lowest filter, in hertz.
    :param high: upper edge of the highest filter, in hertz; half the sample rate when not given.
    :returns: ``[bands, fft_length // 2 + 1]``, float64.
    """
    high = sample_rate / 2 if high is None else high
    lowest, highest = (2595 * math.log10(1 + frequency / 700) for frequency in (low, high))
    edges = 700 * (10 ** (torch.linspace(lowest, highest, bands + 2, dtype=torch.float64) / 2595) - 1)
    bins = torch.linspace(0, sample_rate / 2, fft_length // 2 + 1, dtype=torch.float64)
    lower, peak, upper = (edges[i : i + bands, None] for i in range(3))
    return torch.minimum((bins - lower) / (peak - lower), (upper - bins) / (upper - peak)).clamp(min=0)


def log_mel(
    waveform: Tensor,
    sample_rate: int,
    *,
    bands: int = 40,
    frame: int,
    hop: int,
    fft_length: int | None = None,
    pre_emphasis: float = 0.97,
    offset: float = 1e-8,
) -> Tensor:
    """Return the natural logarithm of the power in mel bands, frame by frame, computed in float64.

    Each frame is weighted with a symmetric Hamming window; its power spectrum is ``|FFT|² / fft_length``; the logarithm is taken
    of ``power + offset``, so that silence is ``log(offset)``.

    >>> log_mel(torch.zeros(2, 8000), 8000, frame=400, hop=200).shape
    torch.Size([2, 39, 40])

    :param waveform: ``[..., samples]``, within -1 and 1.
    :param sample_rate: in hertz.
    :param bands: how many mel bands, from 20 Hz to half the sample rate.
    :param frame: length of a frame in samples.
    :param hop: distance between the starts of two frames in samples.
    :param fft_length: length of the Fourier transform; the next power of two from ``frame`` when not given.
    :param pre_emphasis: ``c`` of the high-pass filter ``x[t] - c · x[t - 1]``; 0 leaves the waveform as it is.
    :param offset: what is added before the logarithm.
    :returns: ``[..., 1 + (samples - frame) // hop, bands]``, float64.
    """
    signal = waveform.double()
    if pre_emphasis:
        signal = torch.cat([signal[..., :1], signal[..., 1:] - pre_emphasis * signal[..., :-1]], dim=-1)
    fft_length = fft_length or 1 << (frame - 1).bit_length()
    window = torch.hamming_window(frame, periodic=False, dtype=torch.float64)
    spectrum = torch.fft.rfft(signal.unfold(-1, frame, hop) * window, fft_length)
    power = (spectrum.real.square() + spectrum.imag.square()) / fft_length
    energy = torch.matmul(power, mel_filterbank(bands, fft_length, sample_rate).T)
    return torch.log(energy + offset)


def mfcc(waveform: Tensor, sample_rate: int, *, coefficients: int = 13, bands: int = 40, frame: int, hop: int) -> Tensor:
    """Return mel-frequency cepstral coefficients: the orthonormal cosine transform (DCT-II) of :func:`log_mel`.

    >>> mfcc(torch.zeros(8000), 8000, frame=400, hop=200).shape
    torch.Size([39, 13])

    :param waveform: ``[..., samples]``, within -1 and 1.
    :param sample_rate: in hertz.
    :param coefficients: how many are kept, from the zeroth.
    :param bands: mel bands before the transform.
    :param frame: length of a frame in samples.
    :param hop: distance between the starts of two frames in samples.
    :returns: ``[..., 1 + (samples - frame) // hop, coefficients]``, float64.
    """
    band = torch.arange(bands, dtype=torch.float64)[:, None]
    order = torch.arange(coefficients, dtype=torch.float64)
    cosines = torch.cos(math.pi / bands * (band + 0.5) * order) * math.sqrt(2 / bands)
    cosines[:, 0] /= math.sqrt(2)
    return log_mel(waveform, sample_rate, bands=bands, frame=frame, hop=hop) @ cosines
