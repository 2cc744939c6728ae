"""Pictures: from a file of any common kind to an array of bytes, of the size that is wanted."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, Literal

from equimodal.data.reading.originals import Damaged, read_bytes, unusable
from equimodal.errors import require

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["decode_image", "fitted", "read_image"]

_PIXELS = 2**26
"""More than any photograph of a data set: a small file that unpacks to more is an attack or an accident."""


def read_image(path: Path, mode: Literal["RGB", "L"] = "RGB", *, what: str = "picture") -> NDArray[Any]:
    """Read a picture file: JPEG, PNG, GIF, BMP, WebP, TIFF and what else Pillow knows; see :func:`decode_image`.

    :param path: the file.
    :param mode: ``"RGB"`` or ``"L"`` (grey).
    :param what: what it is, for the message, such as ``"poster"``.
    :returns: ``[channels, height, width]``, bytes from 0 to 255.
    :raises Damaged: when the file is missing, cut short, no picture, or far too large.
    """
    content = read_bytes(path, what)
    try:
        return decode_image(content, mode)
    except Damaged as error:
        raise unusable(path, what, error) from None


def decode_image(content: bytes, mode: Literal["RGB", "L"] = "RGB") -> NDArray[Any]:
    """Turn the bytes of a picture file into an array.

    Grey pictures get three equal channels in ``"RGB"``, coloured ones their luma in ``"L"`` (ITU-R 601); palettes are looked up; CMYK is
    converted without a colour profile; what is transparent shows white, as on paper; 16 bits per channel become their upper 8; of an
    animation the first picture is taken. Orientation tags are not applied.

    :param content: the file's bytes.
    :param mode: ``"RGB"`` or ``"L"`` (grey).
    :returns: ``[channels, height, width]``, bytes from 0 to 255.
    :raises Damaged: when they are cut short, no picture, or one of more than 67 million pixels.
    """
    numpy = require("numpy", extra="data")
    pillow = require("PIL.Image", extra="media")
    try:
        with pillow.open(io.BytesIO(content)) as opened:
            if opened.width * opened.height > _PIXELS:
                raise Damaged(f"{opened.width} × {opened.height} pixels are too many")
            opened.load()
            pixels = numpy.asarray(_flat(opened, mode))
    except Damaged:
        raise
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning):
        raise Damaged("it has too many pixels") from None
    # What decoders raise depends on the format and on where it breaks.
    except (OSError, SyntaxError, ValueError, TypeError, struct.error, IndexError, KeyError, EOFError, OverflowError) as error:
        raise Damaged(_reason(error)) from None
    picture: NDArray[Any] = numpy.ascontiguousarray(pixels[None] if mode == "L" else pixels.transpose(2, 0, 1))
    return picture


def _flat(picture: Any, mode: str) -> Any:
    """Return a Pillow picture in one of the two modes, its transparent parts on white."""
    if picture.mode.startswith("I"):  # 16 bits of grey, or 32 that hold 16; Pillow's own conversion would cut off at 255
        numpy = require("numpy", extra="data")
        picture = require("PIL.Image", extra="media").fromarray((numpy.asarray(picture).clip(0, 65535) // 256).astype("uint8"))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = require("PIL.Image", extra="media").new("RGBA", picture.size, "white")
        picture = require("PIL.Image", extra="media").alpha_composite(white, picture)
    return picture.convert(mode)


def _reason(error: BaseException) -> str:
    """Return what Pillow says, without the object in memory that it was given instead of a file."""
    text = " ".join(str(error).split()).split(" <_io.", maxsplit=1)[0]
    return text or type(error).__name__


def fitted(
    picture: NDArray[Any], size: tuple[int, int], how: Literal["stretch", "cover", "inside"] = "stretch", filling: float = 0
) -> NDArray[Any]:
    """Resize a picture with a bilinear filter that, when making it smaller, averages over all pixels it covers.

    :param picture: ``[channels, height, width]``, bytes or 32-bit floats.
    :param size: the height and width wanted.
    :param how: ``"stretch"`` changes the proportions; ``"cover"`` keeps them and cuts off what stands over, on both sides alike;
        ``"inside"`` keeps them and fills what is left, on both sides alike.
    :param filling: the value that ``"inside"`` fills with.
    :returns: ``[channels, *size]`` of the same type.
    """
    height, width = size
    if how == "stretch":
        return _resized(picture, height, width)
    numpy = require("numpy", extra="data")
    ratios = height / picture.shape[1], width / picture.shape[2]
    ratio = max(ratios) if how == "cover" else min(ratios)
    tall, wide = (max(1, round(side * ratio)) for side in picture.shape[1:])
    scaled = _resized(picture, tall, wide)
    if how == "cover":
        top, left = (tall - height) // 2, (wide - width) // 2
        cut: NDArray[Any] = numpy.ascontiguousarray(scaled[:, top : top + height, left : left + width])
        return cut
    top, left = (height - tall) // 2, (width - wide) // 2
    framed: NDArray[Any] = numpy.full((len(picture), height, width), filling, dtype=picture.dtype)
    framed[:, top : top + tall, left : left + wide] = scaled
    return framed


def _resized(picture: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    numpy = require("numpy", extra="data")
    pillow = require("PIL.Image", extra="media")
    if picture.shape[1:] == (height, width):
        return picture.copy()
    resized: NDArray[Any]
    if len(picture) == 3 and picture.dtype == "uint8":
        held = pillow.fromarray(numpy.ascontiguousarray(picture.transpose(1, 2, 0)))
        resized = numpy.ascontiguousarray(numpy.asarray(held.resize((width, height), pillow.Resampling.BILINEAR)).transpose(2, 0, 1))
    else:
        planes = [pillow.fromarray(numpy.ascontiguousarray(plane)) for plane in picture]
        resized = numpy.stack([numpy.asarray(plane.resize((width, height), pillow.Resampling.BILINEAR)) for plane in planes])
    return resized
