"""A diagnosis as files: JSON, CSV, and the page where it can be drawn."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal._files import make_folder, write_whole
from equimodal.diagnose.quantities import Interval
from equimodal.errors import MissingDependency

if TYPE_CHECKING:
    from os import PathLike

    from equimodal.diagnose.record import Diagnosis

__all__ = ["COLUMNS", "rows", "save", "to_csv"]

COLUMNS = ("quantity", "subject", "part", "value", "low", "high")
QUANTITIES = (
    "heads",
    "probes",
    "ablations",
    "utilization",
    "gap",
    "shapley",
    "valuation",
    "encoders",
    "calibration",
    "agreement",
    "kappa",
    "generalisation",
    "robustness",
)


def save(diagnosis: Diagnosis, folder: str | PathLike[str]) -> Path:
    """Write a diagnosis; see :meth:`equimodal.diagnose.record.Diagnosis.save`."""
    path = make_folder(Path(folder))
    write_whole(path / "diagnosis.json", diagnosis.to_json())
    write_whole(path / "diagnosis.csv", to_csv(diagnosis))
    try:
        from equimodal.diagnose.page import render_page

        page = render_page(diagnosis)
    except MissingDependency:
        return path
    write_whole(path / "diagnosis.html", page)
    return path


def to_csv(diagnosis: Diagnosis) -> str:
    """Return every number with its interval as CSV, one per line: quantity, subject, part, value, low, high; empty where undefined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows(diagnosis):
        writer.writerow(["" if cell is None else cell for cell in row])
    return text.getvalue()


def rows(diagnosis: Diagnosis) -> Iterator[tuple[str, str, str, float | None, float | None, float | None]]:
    """Yield every number: the quantity, what it is of, such as ``"audio"`` or ``"mean/audio"``, which part of it, and its interval."""
    for quantity in QUANTITIES:
        value = getattr(diagnosis, quantity)
        if quantity == "robustness":
            for point in value:
                yield quantity, f"{point.modality}/{point.kind}", f"{point.share:g}", *point.score
        elif value:
            yield from _numbers(quantity, (), value)


def _numbers(quantity: str, path: tuple[str, ...], value: Any) -> Iterator[tuple[str, str, str, Any, Any, Any]]:
    if isinstance(value, Interval):
        yield _row(quantity, path, *value)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _numbers(quantity, (*path, name), item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _numbers(quantity, (*path, f".{field.name}"), getattr(value, field.name))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield _row(quantity, path, value, None, None)


def _row(quantity: str, path: tuple[str, ...], *numbers: Any) -> tuple[Any, ...]:
    """Return a row: names make the subject, fields the part."""
    subject = "/".join(name for name in path if not name.startswith("."))
    part = ".".join(name[1:] for name in path if name.startswith("."))
    return (quantity, subject, part, *numbers)
