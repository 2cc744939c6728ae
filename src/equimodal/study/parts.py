"""What each table and figure needs: the series that must be done before it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from equimodal.errors import InputError, nearest
from equimodal.study.records import ALONE, TRAINING_SCORES

if TYPE_CHECKING:
    from equimodal.study.series import Series

__all__ = ["PARTS", "parts_shown", "series_for"]

_MILES = "miles"


def _rows_of(fusion: str) -> Callable[[Series], bool]:
    return lambda series: series.kind == "final" and series.fusion == fusion and series.row != TRAINING_SCORES


def _sweep_of(option: str) -> Callable[[Series], bool]:
    return lambda series: series.kind == "sweep" and series.option == f"method.{option}"


_NEEDS: Mapping[str, Callable[[Series], bool]] = {
    "table1": _rows_of(ALONE),
    "table2": _rows_of("concat"),
    "table3": _rows_of("sum"),
    "table4": _sweep_of("tau"),
    "table5": _sweep_of("mu"),
    "table6": lambda series: series.kind == "final" and series.row in (_MILES, TRAINING_SCORES),
    "figure1": lambda series: series.kind == "final" and (series.fusion == ALONE or series.row == "vanilla"),
    "figure2": lambda series: series.kind == "example",
    "all": lambda _: True,
}

PARTS: Mapping[str, str] = {
    "table1": "models of one modality",
    "table2": "all methods, concatenation",
    "table3": "all methods, summation",
    "table4": "MILES with other thresholds τ",
    "table5": "MILES with other factors μ",
    "table6": "MILES by training instead of validation scores",
    "figure1": "each modality inside the model and alone",
    "figure2": "utilization, gap, learning rates and scores of a run",
    "all": "everything",
}
"""The parts of the paper's experiments, with what each shows."""


def series_for(parts: Iterable[str], series: Sequence[Series]) -> list[str]:
    """Return the names of the series that parts of the paper show; what these need comes with them.

    :param parts: such as ``["table2", "figure1"]``.
    :raises InputError: for an unknown part, or one for which the study has no series.
    """
    found: dict[str, None] = {}
    for part in parts:
        if part not in _NEEDS:
            raise InputError(f"unknown part {part!r}: {nearest(part, _NEEDS)}")
        names = [one.name for one in series if _NEEDS[part](one)]
        if not names:
            raise InputError(f"{part} ({PARTS[part]}) is no part of this study: its file leaves out the fusion, method or ablation")
        found.update(dict.fromkeys(names))
    return list(found)


def parts_shown(part: str) -> tuple[str, ...]:
    """Return the tables that show a part; none for a figure."""
    return () if part.startswith("figure") else tuple(f"table{number}" for number in range(1, 7)) if part == "all" else (part,)
