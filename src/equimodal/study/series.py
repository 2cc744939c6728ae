"""What a study consists of: series of trials, what each starts from, and the configuration of every trial."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from equimodal.data import datasets
from equimodal.errors import InputError
from equimodal.methods.space import Choice, Distribution, Uniform
from equimodal.study.comparison import UNIMODAL_RATES
from equimodal.study.plan import Entry, make_plan, placed, with_found
from equimodal.study.records import ALONE, TRAINING_SCORES, DataRecord, Kind
from equimodal.study.spaces import LEARNING_RATE, draw
from equimodal.train.config import check, resolve
from equimodal.train.parts import made

if TYPE_CHECKING:
    from equimodal.study.declaration import Declaration
    from equimodal.study.jobs import Data

__all__ = ["Draft", "Selected", "Series", "Start", "check_fit", "corners", "data_records", "expand", "stand_in"]

_MILES = "miles"
_RATE = 1e-3


@dataclass(frozen=True)
class Selected:
    """The trial that was chosen from a search.

    :param number: its number.
    :param params: its hyper-parameters.
    """

    number: int
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Start:
    """What a trial starts from that other series had to find.

    :param found: values that the row's method needs, by what they are.
    :param selected: the trial of the row's own search that was chosen.
    """

    found: Mapping[str, Any] = field(default_factory=dict)
    selected: Selected | None = None

    @cached_property
    def key(self) -> str:
        """A short text that differs where a trial would be another one; empty where nothing had to be found."""
        if not self.found and self.selected is None:
            return ""
        chosen = None if self.selected is None else [self.selected.number, dict(self.selected.params)]
        return hashlib.sha256(json.dumps([dict(self.found), chosen], sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Draft:
    """A trial that can be begun.

    :param number: its number in its series.
    :param key: tells it from trials of the same number that started from something else.
    :param params: what was drawn or set for it; None where a sampler is to say.
    """

    number: int
    key: str
    params: Mapping[str, Any] | None


@dataclass(frozen=True)
class Series:
    """Trials that belong together, before any of them is begun; see :class:`equimodal.study.records.SeriesRecord`.

    :param entry: the method with its options.
    :param base: what all its runs have in common.
    :param shared: what is drawn for all rows alike.
    :param own: what is drawn for this row's method alone.
    :param settings: of a final series, sweep or example: what is set in each trial.
    :param search: the name of the search whose selected trial it starts from.
    :param rates: by modality, the names of the searches whose learning rates its method needs.
    :param test: whether its trials read the test split.
    """

    name: str
    kind: Kind
    data: str
    fusion: str
    row: str
    entry: Entry
    base: Mapping[str, Any]
    count: int
    shared: Mapping[str, Distribution] = field(default_factory=dict)
    own: Mapping[str, Distribution] = field(default_factory=dict)
    settings: Sequence[Mapping[str, Any]] = ()
    option: str | None = None
    search: str | None = None
    rates: Mapping[str, str] = field(default_factory=dict)
    test: bool = True
    root: int = 0
    study: str = ""

    @property
    def label(self) -> str:
        """The row's name in tables."""
        return self.entry.label

    @property
    def needs(self) -> tuple[str, ...]:
        """The searches that must have ended before."""
        return (*self.rates.values(), *((self.search,) if self.search is not None else ()))

    @property
    def spaces(self) -> dict[str, Distribution]:
        """Everything that is drawn."""
        return {**self.shared, **self.own}

    def draft(self, number: int, start: Start, *, drawn: bool = True) -> Draft:
        """Return a trial by its number.

        :param drawn: whether its hyper-parameters are drawn here; otherwise a sampler says what a search tries.
        """
        # What is set names a trial better than its number, which shifts where values are added to a sweep.
        name = str(number) if self.kind == "search" else json.dumps(dict(self.settings[number]), sort_keys=True)
        key = f"{name}@{start.key}" if start.key else name
        if self.kind != "search":
            return Draft(number, key, dict(self.settings[number]))
        if not drawn:
            return Draft(number, key, None)
        # By the name of the method: what looks at training scores is searched with the same draws as what looks at validation scores.
        method = str(self.entry.method["name"])
        return Draft(number, key, draw(self.shared, self.own, root=self.root, study=self.study, method=method, trial=number))

    def config(self, params: Mapping[str, Any], start: Start) -> dict[str, Any]:
        """Return the resolved configuration of a trial.

        :raises InputError: where the parts do not go together.
        """
        chosen = {} if start.selected is None else dict(start.selected.params)
        config = with_found(self.entry, start.found).config(copy.deepcopy(dict(self.base)), self.base["seed"])
        for path, value in {**chosen, **params}.items():
            part = path.partition(".")[0]
            if part != path and not isinstance(config.get(part), Mapping):
                raise InputError(f"{path} cannot be set, as {part} = {config.get(part)!r}: give {part} under train")
            config = placed(config, path.split("."), value)
        return resolve(config)

    @cached_property
    def distributions(self) -> dict[str, Distribution]:
        """The range of every hyper-parameter of a search."""
        return self.spaces if self.kind == "search" else {}


def data_records(declaration: Declaration) -> tuple[DataRecord, ...]:
    """Return the data sets of a study; none of them is loaded."""
    found = []
    for label, config in declaration.file["datasets"].items():
        dataset = made(config, "dataset", datasets)
        shown = {key: value for key, value in config.items() if key not in ("method", "seed")}
        found.append(DataRecord(label, dataset.name, tuple(dataset.modalities), str(config["metric"]), shown))
    return tuple(found)


def expand(declaration: Declaration) -> list[Series]:
    """Return all series of a study, in the order in which they are begun.

    :raises InputError: for a method, option or range that does not go with the rest.
    """
    found: list[Series] = []
    for record in data_records(declaration):
        found += _of_data(declaration, record)
    # Searches first: the others wait for them.
    return sorted(found, key=lambda series: ("search", "example", "final", "sweep").index(series.kind))


def _of_data(declaration: Declaration, record: DataRecord) -> list[Series]:
    file = declaration.file
    stand_ins = {UNIMODAL_RATES: dict.fromkeys(record.modalities, _RATE)}
    plan = make_plan(declaration.methods, file["options"], record.modalities, stand_ins)
    common: dict[str, Any] = {"data": record.label, "root": file["seed"], "study": declaration.name}
    oracle = file["selection"] == "oracle"
    alone = [entry for entry in plan if entry.modality is not None]
    searches = {str(entry.modality): f"{record.label}/{ALONE}/{entry.modality}" for entry in alone}
    found = []
    for entry in alone:
        shared, own = declaration.spaces(None)
        rows = {**common, "fusion": ALONE, "row": str(entry.modality), "entry": entry, "base": declaration.base(record.label)}
        found += _search_and_final(searches[str(entry.modality)], file, rows, shared, own, {}, oracle=oracle)
    for fusion in file["fusions"]:
        base = declaration.base(record.label, fusion)
        rows = {**common, "fusion": fusion, "base": base}
        for entry in [entry for entry in plan if entry.modality is None]:
            shared, own = declaration.spaces(entry.name)
            rates = searches if entry.needs else {}
            row = {**rows, "row": entry.name, "entry": entry}
            found += _search_and_final(f"{record.label}/{fusion}/{entry.name}", file, row, shared, own, rates, oracle=oracle)
            if entry.name == _MILES:
                found += _ablations(declaration, entry, rows, f"{record.label}/{fusion}", shared, own, oracle=oracle)
    return found


def _search_and_final(
    name: str,
    file: Mapping[str, Any],
    row: Mapping[str, Any],
    shared: Mapping[str, Distribution],
    own: Mapping[str, Distribution],
    rates: Mapping[str, str],
    *,
    oracle: bool,
) -> list[Series]:
    search = Series(name, "search", count=file["trials"], shared=shared, own=own, rates=rates, test=oracle, **row)
    seeds = [file["seed"] + number for number in range(file["seeds"] + 1)]
    settings = [{"seed": seed} for seed in seeds]
    final = Series(f"{name}/final", "final", count=len(seeds), settings=settings, search=name, rates=rates, **row)
    return [search, final]


def _ablations(
    declaration: Declaration,
    entry: Entry,
    rows: Mapping[str, Any],
    stem: str,
    shared: Mapping[str, Distribution],
    own: Mapping[str, Distribution],
    *,
    oracle: bool,
) -> list[Series]:
    """Return what Tables IV to VI and Figure 2 need."""
    file = declaration.file
    wanted = file["ablations"]
    row = {**rows, "row": _MILES, "entry": entry}
    name = f"{stem}/{_MILES}"
    seeds = [file["seed"] + number for number in range(wanted["seeds"])]
    found = []
    for option in ("tau", "mu"):
        path = f"method.{option}"
        settings = [{path: value, "seed": seed} for seed in seeds for value in wanted[option]]
        if settings:
            found.append(Series(f"{name}/{option}", "sweep", count=len(settings), settings=settings, search=name, option=path, **row))
    if wanted["training_scores"]:
        method = {**entry.method, "split": "train"}
        trained = replace(entry, name=TRAINING_SCORES, label=f"{entry.label}, training scores", method=method)
        training = {**rows, "row": TRAINING_SCORES, "entry": trained}
        found += _search_and_final(f"{stem}/{TRAINING_SCORES}", file, training, shared, own, {}, oracle=oracle)
    if wanted["example"] is not None:
        example = wanted["example"]
        settings = [{LEARNING_RATE: example["lr"], "method.tau": example["tau"], "method.mu": example["mu"]}]
        found.append(Series(f"{name}/example", "example", count=1, settings=settings, **row))
    return found


def check_fit(series: Sequence[Series], data: Mapping[str, Data]) -> None:
    """Try the parts of every row together, at both ends of every range, before anything is trained.

    :param data: data sets that are loaded, by label; the rows of others are checked without their data.
    :raises InputError: naming the row, for what does not go together.
    """
    for one in series:
        for params in corners(one):
            try:
                config = one.config(params, stand_in(one))
                # The others start from what a search has tried.
                if one.data in data and one.kind in ("search", "example"):
                    check(config, data[one.data], test=one.test)
            except InputError as error:
                raise InputError(f"{one.name}: {error}") from None


def stand_in(series: Series) -> Start:
    """Return an example of what a series starts from, for trying its parts together."""
    rates = dict.fromkeys(series.rates, _RATE)
    return Start({UNIMODAL_RATES: rates} if rates else {}, None if series.search is None else Selected(0, {}))


def corners(series: Series) -> list[dict[str, Any]]:
    """Return hyper-parameters at the ends of their ranges, and every value of a choice; of a series without ranges what it sets."""
    if series.kind != "search":
        return [dict(settings) for settings in series.settings]
    tried = {path: _ends(space) for path, space in series.spaces.items()}
    low, high = ({path: values[place] for path, values in tried.items()} for place in (0, -1))
    between = ({**low, path: value} for path, values in tried.items() for value in values[1:-1])
    return [low, *([] if low == high else [high]), *between]


def _ends(space: Distribution) -> Sequence[Any]:
    """Return the ends of a range, or all values of a choice."""
    if isinstance(space, Choice):
        return space.values
    assert isinstance(space, Uniform)  # a declaration refuses others
    return (space.low, space.high)
