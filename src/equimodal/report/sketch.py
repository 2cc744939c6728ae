"""Small drawings of samples inside a page: pictures and maps as PNG, sequences as curves; nothing but the standard library."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from equimodal.report.style import MODALITY_STYLES

__all__ = ["curves", "image_source", "png"]

# Matplotlib's viridis at nine even steps: as bright as the value is high, also in grey and for the colour-blind.
_VIRIDIS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")
_WIDTH, _HEIGHT, _MARGIN = 160.0, 90.0, 4.0


def image_source(drawing: Mapping[str, Any]) -> str:
    """Return a picture or a map as the address of an image that holds itself."""
    kind = {"map": 3}.get(drawing["kind"], {1: 0, 3: 2}[drawing.get("channels", 1)])
    content = png(drawing["pixels"], drawing["width"], drawing["height"], kind)
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def png(pixels: bytes, width: int, height: int, kind: int) -> bytes:
    """Return a PNG file of 8 bits per channel.

    :param pixels: row by row; three bytes each where they are coloured.
    :param kind: the format's colour type: 0 for grey, 2 for red, green and blue, 3 for numbers of a palette from dark to bright.
    """
    line = width * (3 if kind == 2 else 1)
    rows = b"".join(b"\0" + pixels[start : start + line] for start in range(0, line * height, line))
    header = struct.pack(">LLBBBBB", width, height, 8, kind, 0, 0, 0)
    palette = _chunk(b"PLTE", _palette()) if kind == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + palette + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))


def _palette() -> bytes:
    anchors = [bytes.fromhex(color) for color in _VIRIDIS]
    colors = []
    for number in range(256):
        place = number / 255 * (len(anchors) - 1)
        low = min(int(place), len(anchors) - 2)
        colors += [round(a + (place - low) * (b - a)) for a, b in zip(anchors[low], anchors[low + 1], strict=True)]
    return bytes(colors)


def curves(series: Sequence[Sequence[float]], low: float, high: float) -> str:
    """Return the content of an SVG of 160 × 90: one line per series over a line at zero, where that is in range."""
    spread = (high - low) or 1.0

    def height(value: float) -> str:
        return f"{_HEIGHT - _MARGIN - (value - low) / spread * (_HEIGHT - 2 * _MARGIN):.1f}"

    drawn = []
    if low < 0 < high:
        drawn.append(f'<path d="M0 {height(0.0)}H{_WIDTH:g}" stroke="currentColor" stroke-opacity=".3" fill="none"/>')
    for number, values in enumerate(series):
        step = _WIDTH / max(1, len(values) - 1)
        points = [f"{position * step:.1f} {height(value)}" for position, value in enumerate(values) if math.isfinite(value)]
        if len(points) == 1:
            points.append(f"{_WIDTH:g} {points[0].split()[1]}")
        color = MODALITY_STYLES[number % len(MODALITY_STYLES)].color
        drawn.append(f'<polyline points="{" ".join(points)}" stroke="{color}" fill="none" vector-effect="non-scaling-stroke"/>')
    return "".join(drawn)
