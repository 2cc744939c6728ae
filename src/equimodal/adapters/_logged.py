"""Scores and losses by head, found among the metrics that a harness has logged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from equimodal.errors import InputError, nearest

__all__ = ["Names", "check_names", "named", "not_logged"]

Names: TypeAlias = str | Mapping[str, str]
"""How metrics are called: a pattern with ``{}`` in place of the head's name, or a mapping from head to name."""


def check_names(what: str, names: Names | None) -> Names | None:
    """Refuse what is neither a mapping nor a pattern with a place for the head's name.

    :param what: the argument, for the error.
    """
    listed = tuple(names.items()) if isinstance(names, Mapping) else ()
    if names is not None and not (isinstance(names, str) or (listed and all(isinstance(name, str) for pair in listed for name in pair))):
        raise InputError(f"{what} = {names!r}: give a pattern such as 'val_{{}}', or a mapping from each head to the name of its metric")
    if isinstance(names, str) and "{}" not in names:
        raise InputError(f"{what} = {names!r} names no head: write {{}} where the head's name stands, as in 'val_{{}}'")
    return names


def named(names: Names, heads: Iterable[str]) -> dict[str, str]:
    """Return by head the name of its metric.

    >>> named("val_{}", ("multimodal", "audio"))
    {'multimodal': 'val_multimodal', 'audio': 'val_audio'}
    """
    return dict(names) if isinstance(names, Mapping) else {head: names.replace("{}", head) for head in heads}


def not_logged(missing: Sequence[str], logged: Collection[str], when: str = "validation", taken: Collection[str] = ()) -> str:
    """Return a line that says which metrics were looked for and what there is.

    >>> not_logged(["val_audio"], ["val_aduio", "val_multimodal"])
    "validation logged no 'val_audio': did you mean 'val_aduio'? (logged: val_aduio, val_multimodal)"
    >>> print(not_logged(["val_audio"], ["val_audio/dataloader_idx_0"]))  # doctest: +ELLIPSIS
    validation logged no 'val_audio': there are several loaders, name one: 'val_audio/dataloader_idx_0' (logged: ...)

    :param when: where they were looked for.
    :param taken: logged metrics that stand for something else, and are not meant.
    """
    known = sorted(logged)
    by_loader = [name for name in known if name.startswith(f"{missing[0]}/dataloader_idx_")]
    hint = (
        f"there are several loaders, name one: {by_loader[0]!r} "
        if by_loader
        else f"{nearest(missing[0], _scores_among(set(known) - set(taken)))} "
    )
    patterns = [name.replace("multimodal", "{}") for name in known if "multimodal" in name and not by_loader]
    if patterns and "multimodal" in missing[0]:
        hint = f"say how they are called, as in scores={patterns[0]!r} "
    # All that is known comes anyway.
    hint = "" if hint.startswith("known:") else hint
    return f"{when} logged no {', '.join(map(repr, missing))}: {hint}(logged: {', '.join(known) or 'nothing'})"


def _scores_among(names: Iterable[str]) -> list[str]:
    """Leave out what harnesses measure of themselves."""
    return [name for name in names if not name.endswith(("runtime", "per_second", "_time", "epoch", "step"))]
