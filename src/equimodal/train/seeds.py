"""Seeds derived per purpose from one root, so that a change in one never reshuffles another."""

from __future__ import annotations

import hashlib

__all__ = ["derived_seed"]


def derived_seed(root: int, *purpose: object) -> int:
    """Return a 63-bit seed for one purpose.

    >>> derived_seed(0, "order", 1) == derived_seed(0, "order", 1), derived_seed(0, "order", 1) == derived_seed(0, "noise", 1)
    (True, False)

    :param root: the run's seed.
    :param purpose: what the seed is for, such as ``"order", epoch``.
    """
    text = "/".join(str(part) for part in (root, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
