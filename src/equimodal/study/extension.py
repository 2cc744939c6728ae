"""What may be changed in the file of a study that has begun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equimodal.errors import InputError
from equimodal.train.record import first_difference, plain

__all__ = ["check_extension"]

_GROWING = ("trials", "seeds", "datasets", "fusions", "methods", "ablations")
_FREE = ("budget",)


def check_extension(name: str, file: Mapping[str, Any], earlier: Mapping[str, Any]) -> None:
    """Check that a study file is an earlier one, or only adds to it.

    :param name: the study's name.
    :param file: the file, filled in.
    :param earlier: the earlier one, likewise.
    :raises InputError: saying what else has changed.
    """
    now = _without_additions(plain(dict(file)), earlier)
    for key in (key for key in now if key not in _FREE):
        parts = [(key, earlier.get(key), now[key])]
        if key == "ablations" and isinstance(earlier.get(key), Mapping):
            parts = [(f"{key}.{part}", earlier[key].get(part), value) for part, value in now[key].items()]
        for path, before, value in parts:
            if before == value or (key in _GROWING and _grown(before, value)):
                continue
            raise InputError(
                f"the file of the study {name!r} was changed after it began ({first_difference(before, value, path)}): only more "
                "trials, seeds, data sets, fusions, methods or values can be added; undo that, or give the study another name"
            )


def _without_additions(now: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study file without the data sets that an earlier one did not have, and without what it says of methods that are new."""
    new = [name for name in now["methods"] if name not in earlier.get("methods", ())]
    spellings = {spelling for name in new for spelling in (name, name.replace("-", "_"))}
    kept = {**now, "options": {name: options for name, options in now["options"].items() if name not in spellings}}
    ranges = {name: found for name, found in now["search"].get("methods", {}).items() if name not in spellings}
    kept["search"] = {key: found for key, found in now["search"].items() if key != "methods"} | ({"methods": ranges} if ranges else {})
    kept["datasets"] = {label: config for label, config in now["datasets"].items() if label in (earlier.get("datasets") or {})}
    return kept


def _grown(before: Any, now: Any) -> bool:
    """Tell whether one value is another or holds it and more."""
    if before == now or before is None or (before is False and now is True):
        return True
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return all(key in now and now[key] == value for key, value in before.items())
    if isinstance(before, list) and isinstance(now, list):
        return all(value in now for value in before)
    numbers = all(isinstance(value, int) and not isinstance(value, bool) for value in (before, now))
    return numbers and now >= before
