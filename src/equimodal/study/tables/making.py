"""Each table of a study by its name or number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from equimodal.errors import InputError, nearest
from equimodal.report.grid import Grid
from equimodal.study.records import ALONE, DataRecord, StudyRecord
from equimodal.study.tables.alone import alone_grid
from equimodal.study.tables.comparisons import paired_grid
from equimodal.study.tables.costs import costs_grid
from equimodal.study.tables.failures import failures_grid
from equimodal.study.tables.fused import fusion_grid
from equimodal.study.tables.searches import budget_grid, trials_grid
from equimodal.study.tables.sensitivity import sensitivity_grid
from equimodal.study.tables.splits import splits_grid

__all__ = ["make_table", "table_names"]

Maker = Callable[[StudyRecord, Sequence[DataRecord]], list[Grid]]
OfFusion = Callable[[StudyRecord, DataRecord, str], Grid]


def _by_data(make: Callable[[StudyRecord, DataRecord], Grid]) -> Maker:
    return lambda record, chosen: [make(record, data) for data in chosen]


def _by_fusion(make: OfFusion, *, alone: bool = True) -> Maker:
    def made(record: StudyRecord, chosen: Sequence[DataRecord]) -> list[Grid]:
        grids = []
        for data in chosen:
            found = [ALONE] if alone and any(record.find("search", data.label, ALONE)) else []
            grids += [make(record, data, fusion) for fusion in (*found, *record.fusions(data.label))]
        return grids

    return made


def _of_fusion(fusion: str) -> Maker:
    return _by_data(lambda record, data: fusion_grid(record, data, fusion))


_TABLES: dict[str, tuple[str, Maker]] = {
    "table1": ("I: the model of each modality alone", lambda record, chosen: [alone_grid(record, chosen)]),
    "table2": ("II: all methods, fusion by concatenation", _of_fusion("concat")),
    "table3": ("III: all methods, fusion by summation", _of_fusion("sum")),
    "table4": ("IV: the threshold τ of MILES varied", _by_data(lambda record, data: sensitivity_grid(record, data, "tau"))),
    "table5": ("V: the factor μ of MILES varied", _by_data(lambda record, data: sensitivity_grid(record, data, "mu"))),
    "table6": ("VI: MILES by training or validation scores", _by_data(splits_grid)),
    "budget": ("what the best of a smaller search would have scored", _by_fusion(budget_grid)),
    "trials": ("the distribution over all trials of every search, and what was selected", _by_fusion(trials_grid)),
    "paired": ("paired tests against joint, vanilla and MILES over fresh seeds", _by_fusion(paired_grid, alone=False)),
    "costs": ("time and steps of runs, searches and work beforehand", _by_fusion(costs_grid)),
    "failures": ("failed trials with their reasons", lambda record, chosen: [failures_grid(record, chosen)]),
}

_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6}


def table_names() -> dict[str, str]:
    """Return the names of the tables that every study has, each with one line on what it shows."""
    return {name: line for name, (line, _) in _TABLES.items()}


def make_table(record: StudyRecord, number_or_name: int | str, data: str | None = None) -> list[Grid]:
    """Return a table of a study: one grid for all, for each data set, or for each data set and fusion, as suits it.

    A study may be unfinished or empty: what is missing is a dash, and the notes say how far it has come.

    :param record: the study.
    :param number_or_name: a name of :func:`table_names`; a number of the paper, such as ``2``, ``"2"`` or ``"II"``; or the name of another
        fusion of the study, for what Tables II and III are for theirs.
    :param data: the label of the only data set to show; all where not given.
    :raises InputError: for an unknown table or data set.
    :raises MissingDependency: without SciPy, for ``"paired"``.
    """
    chosen = _chosen(record, data)
    name = _name(number_or_name)
    if name in _TABLES:
        return _TABLES[name][1](record, chosen)
    fusions = dict.fromkeys(fusion for one in record.data for fusion in record.fusions(one.label))
    if name in fusions:
        return _of_fusion(name)(record, [one for one in chosen if name in record.fusions(one.label)] or chosen)
    raise InputError(f"no table {number_or_name!r}: {nearest(name, [*_TABLES, *fusions])}")


def _name(number_or_name: int | str) -> str:
    text = str(number_or_name).strip()
    number = _ROMAN.get(text.lower().removeprefix("table").strip(), text)
    return f"table{number}" if str(number).isdecimal() else text


def _chosen(record: StudyRecord, data: str | None) -> list[DataRecord]:
    if data is None:
        return list(record.data)
    found = [one for one in record.data if one.label == data]
    if not found:
        raise InputError(f"study {record.name!r} has no data set {data!r}: {nearest(str(data), [one.label for one in record.data])}")
    return found
