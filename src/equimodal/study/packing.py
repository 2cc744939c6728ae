"""A run's records as one text that a database holds: configuration, epochs, result and environment, compressed."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from equimodal.train.record import plain

__all__ = ["pack", "unpack"]


def pack(content: Mapping[str, Any]) -> str:
    """Return plain values as a compressed text.

    >>> unpack(pack({"epochs": [1, 2]}))
    {'epochs': [1, 2]}
    """
    return base64.b85encode(zlib.compress(json.dumps(plain(dict(content))).encode(), 9)).decode("ascii")


def unpack(text: str) -> dict[str, Any]:
    """Return what :func:`pack` was given."""
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b85decode(text)))
    return found
