"""Videos: one picture out of a clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from equimodal.data.reading.originals import read_bytes, unusable
from equimodal.errors import require

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["chosen", "read_frame"]

_MISSING = 0.5
"""Seconds by which a clip may end before the time that its header announces."""


def chosen(count: int, position: float) -> int:
    """Return the number of the frame at a position among ``count`` frames.

    >>> [chosen(90, position) for position in (0, 0.5, 1)], chosen(1, 0.5), chosen(3, 0.5)
    ([0, 45, 89], 0, 1)

    :param position: from 0, the first, to 1, the last; 0.5 is the middle, the later of two.
    """
    return min(int(count * position), count - 1)


def read_frame(path: Path, position: float = 0.5, *, what: str = "video") -> NDArray[Any]:
    """Read one frame of a video file: Flash video, MP4, AVI and what else FFmpeg knows.

    Frames are counted first, without decoding them, and then decoded up to the one wanted, so that the choice is exact to the frame.
    Broken bytes elsewhere, which FFmpeg steps over, go unnoticed.

    :param path: the file.
    :param position: which one: 0 is the first, 0.5 the middle, 1 the last.
    :param what: what it is, for the message.
    :returns: ``[3, height, width]``, bytes from 0 to 255.
    :raises Damaged: when the file is missing, no video, without a picture, cut short by more than half a second of what it announces,
        or damaged where the frame stands.
    """
    av = require("av", extra="media")
    try:
        with av.open(str(path)) as container:
            wanted = chosen(_counted(container), position)
        with av.open(str(path)) as container:
            frame = _decoded(container, wanted)
            if frame.is_corrupt:
                raise _BrokenError(f"frame {wanted + 1} is damaged")
            picture: NDArray[Any] = require("numpy", extra="data").ascontiguousarray(frame.to_ndarray(format="rgb24").transpose(2, 0, 1))
            return picture
    except IndexError:  # from PyAV, where broken bytes look like a stream that was not announced
        raise unusable(path, what, "its packets belong to no stream") from None
    except (av.FFmpegError, _BrokenError) as error:
        read_bytes(path, what)  # missing, empty or an HTML page: it says so itself
        raise unusable(path, what, getattr(error, "strerror", None) or error) from None


class _BrokenError(Exception):
    """A video that FFmpeg reads, and that is still not whole."""


def _counted(container: Any) -> int:
    """Return how many frames there are; the header's own number is often missing or wrong."""
    if not container.streams.video:
        raise _BrokenError("it holds no picture")
    count, end = 0, 0.0
    for packet in container.demux():
        if packet.pts is not None:
            end = max(end, float(packet.pts * packet.time_base))
        count += packet.stream.type == "video" and packet.size > 0
    if not count:
        raise _BrokenError("it holds no picture")
    announced = (container.duration or 0) / 1e6
    if end < announced - _MISSING:
        raise _BrokenError(f"it ends after {end:.2f} of {announced:.2f} seconds")
    return count


def _decoded(container: Any, wanted: int) -> Any:
    """Return the frame of a number; the last one where there are fewer, as a packet may hold none."""
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1  # several clips are read at once
    frame = None
    for number, frame in enumerate(container.decode(stream)):
        if number == wanted:
            return frame
    if frame is None:
        raise _BrokenError("it holds no picture")
    return frame
