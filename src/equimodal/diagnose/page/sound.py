"""Sounds inside a page: a recording as the address of a WAV file that holds itself."""

from __future__ import annotations

import base64
import struct
import sys
from array import array
from typing import Any, NamedTuple

import torch

from equimodal.errors import InputError

__all__ = ["Sound", "sound_source"]

LONGEST = 10.0
"""So many seconds of a recording are kept."""


class Sound(NamedTuple):
    """A recording to be played.

    :param values: ``[samples]`` or ``[channels, samples]`` (channels are averaged), from −1 to 1; whole numbers of 16 bits as well.
    :param rate: samples per second.
    """

    values: Any
    rate: int


def sound_source(sound: Sound) -> tuple[str, float]:
    """Return a recording as the address of an audio element, and its length in seconds; at most its first ten seconds.

    >>> source, seconds = sound_source(Sound([0.0, 0.5, -0.5, 0.0], 8000))
    >>> source[:22], seconds
    ('data:audio/wav;base64,', 0.0005)

    :raises InputError: for a rate that cannot be, and a recording without a sample.
    """
    rate = int(sound.rate)
    values = torch.as_tensor(sound.values)
    values = values.float() / 32768 if values.dtype == torch.int16 else values.float()
    values = values.mean(dim=0) if values.ndim == 2 else values.flatten()
    if not 1000 <= rate <= 192_000:
        raise InputError(f"a sound's rate is {sound.rate!r}: give samples per second, from 1000 to 192000")
    if not len(values):
        raise InputError("a sound has no sample: leave it out, or give its recording")
    values = torch.nan_to_num(values[: int(LONGEST * rate)], nan=0.0, posinf=0.0, neginf=0.0)
    # Recordings that go beyond full scale, such as standardised ones, are turned down as a whole: cutting them off would be heard.
    values = values / max(1.0, float(values.abs().max()))
    whole = array("h", (values * 32767).round().to(torch.int16).tolist())
    if sys.byteorder == "big":
        whole.byteswap()
    content = whole.tobytes()
    header = struct.pack(
        "<4sL4s4sLHHLLHH4sL", b"RIFF", 36 + len(content), b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", len(content)
    )
    return f"data:audio/wav;base64,{base64.b64encode(header + content).decode()}", len(values) / rate
