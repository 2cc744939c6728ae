"""An epoch's record as the flat numbers that monitors take, under the names that all adapters use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["flat_values"]

_NAMED = {"learning_rates": "learning_rate", "multipliers": "multiplier", "utilization": "utilization"}


def flat_values(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a record by name; what is undefined is left out.

    >>> record = {"scores": {"val": {"audio": 0.5}}, "gap": None, "learning_rates": {"audio": 0.001}, "multipliers": {"audio": 1.0}}
    >>> flat_values(record)
    {'score/val/audio': 0.5, 'learning_rate/audio': 0.001, 'multiplier/audio': 1.0}

    :param record: as :func:`equimodal.fit` gives it to ``on_epoch``.
    """
    found: dict[str, Any] = {}
    for key, name in (("scores", "score"), ("losses", "loss")):
        for split, heads in (record.get(key) or {}).items():
            found |= {f"{name}/{split}/{head}": value for head, value in heads.items()}
    for key, name in _NAMED.items():
        found |= {f"{name}/{modality}": value for modality, value in (record.get(key) or {}).items()}
    found["utilization_gap"] = record.get("gap")
    return {name: float(value) for name, value in found.items() if value is not None}
