"""The study file: what is to be compared, how it is searched, chosen and repeated; read, checked and filled in."""

from __future__ import annotations

import copy
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from equimodal._yaml import read_yaml
from equimodal.errors import InputError, nearest
from equimodal.nn.fusion import FUSIONS
from equimodal.study.extension import check_extension
from equimodal.study.jobs import checked_count
from equimodal.study.plan import REFERENCE, laid_over, method_names
from equimodal.study.spaces import described, method_space, overridden, shared_space
from equimodal.train.config import DEFAULTS, resolve
from equimodal.train.record import plain

__all__ = ["FILE_DEFAULTS", "RULES", "Declaration", "declare", "read_declaration", "ready_files"]

RULES = ("best-validation", "oracle")
"""How a row's configuration is chosen from its trials: by the best multimodal validation score, or, for comparison, by the test score."""

FILE_DEFAULTS: Mapping[str, Any] = {
    "name": None,
    "seed": 0,
    "datasets": None,
    "fusions": ["concat", "sum"],
    "methods": "all",
    "options": {},
    "trials": 80,
    "seeds": 3,
    "epochs": None,
    "train": {},
    "metric": None,
    "search": {},
    "sampler": "random",
    "pruner": None,
    "selection": "best-validation",
    "budget": None,
    "ablations": {},
    "heartbeat": 60,
}
"""The keys of a study file, with their defaults. 80 trials, both fusions and random draws are the paper's."""

ABLATIONS: Mapping[str, Any] = {
    "tau": [0.5, 0.3, 0.2, 0.1, 0.0],
    "mu": [1.0, 0.75, 0.5, 0.25, 0.1, 0.05, 0.01],
    "training_scores": True,
    "seeds": 1,
    "example": {"lr": 0.00068983, "tau": 0.05, "mu": 0.5},
}
"""What is done with MILES besides: the paper's Tables IV to VI and Figure 2, with its own values."""

_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


@dataclass(frozen=True)
class Declaration:
    """A study file, checked and filled in.

    :param file: every key of :data:`FILE_DEFAULTS`, with the data sets' configurations resolved.
    """

    file: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self.file["name"])

    @property
    def methods(self) -> list[str]:
        """The methods, in the order of the tables."""
        return list(self.file["methods"])

    @property
    def drawn(self) -> bool:
        """Whether hyper-parameters are drawn at random by name and number, and not by a sampler of Optuna."""
        return bool(self.file["sampler"]["name"] == "random")

    @property
    def overridden(self) -> tuple[str, ...]:
        """Search spaces that are not the methods' own, in words."""
        return overridden(self.file["search"], self.methods)

    def spaces(self, method: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is drawn for all rows alike, and for one method alone; nothing for None, a model of one modality."""
        own = {} if method is None else method_space(method, (self.file["search"].get("methods") or {}).get(method))
        return shared_space(self.file["search"]), own

    def base(self, label: str, fusion: str | None = None) -> dict[str, Any]:
        """Return what all runs on a data set have in common: a resolved configuration whose method does not count.

        :param fusion: as in the configuration where it is not given.
        """
        base: dict[str, Any] = copy.deepcopy(self.file["datasets"][label])
        if fusion is not None:
            base["model"]["fusion"] = fusion
        return base

    def check_extends(self, earlier: Mapping[str, Any]) -> None:
        """Check that this is an earlier declaration, or one that only adds to it.

        :param earlier: the file of the earlier one.
        :raises InputError: saying what else has changed.
        """
        check_extension(self.name, self.file, earlier)


def ready_files() -> dict[str, Path]:
    """Return the study files that come with the package, by name."""
    folder = resources.files("equimodal.study") / "ready"
    return {Path(str(entry)).stem: Path(str(entry)) for entry in sorted(folder.iterdir(), key=str) if entry.name.endswith(".yaml")}


def read_declaration(source: str | Path) -> Declaration:
    """Read a study file.

    :param source: its path, or the name of one that comes with the package, such as ``"avdigits"``.
    :raises InputError: when there is no such file or name, or something in it is wrong.
    """
    known, path = ready_files(), Path(source)
    found = known.get(str(source)) if not path.is_file() else path
    if found is None:
        looks_like_path = path.suffix in (".yaml", ".yml") or len(path.parts) > 1
        hint = (
            "there is no such file"
            if looks_like_path
            else f"no file and no study that comes with the package; {nearest(str(source), known)}"
        )
        raise InputError(f"study {str(source)!r}: {hint}")
    try:
        return declare({"name": found.stem, **read_yaml(found)})
    except InputError as error:
        said = str(error)
        raise InputError(said if str(found) in said else f"{source}: {said}") from None


def declare(given: Mapping[str, Any]) -> Declaration:
    """Return a study from the content of its file.

    :raises InputError: for an unknown key, name or range, with the nearest right one.
    """
    for key in given:
        if key not in FILE_DEFAULTS:
            hint = "it belongs below train, or to a data set" if key in DEFAULTS else nearest(str(key), FILE_DEFAULTS)
            raise InputError(f"unknown key {key!r} in the study: {hint}")
    file = {**FILE_DEFAULTS, **{key: value for key, value in given.items() if value is not None}}
    if not isinstance(file["name"], str) or not _NAME.fullmatch(file["name"]):
        raise InputError(f"name = {file['name']!r}: a name of letters, digits and - _ . + is needed")
    if not isinstance(file["seed"], int) or isinstance(file["seed"], bool):
        raise InputError(f"seed = {file['seed']!r}: a whole number is needed")
    for key in ("trials", "seeds", "heartbeat"):
        checked_count(file[key], key)
    for key in ("options", "train", "search", "ablations"):
        if not isinstance(file[key], Mapping):
            raise InputError(f"{key} = {file[key]!r}: a mapping is needed")
    if file["budget"] is not None and (
        isinstance(file["budget"], bool) or not isinstance(file["budget"], (int, float)) or not 0 < file["budget"] < math.inf
    ):
        raise InputError(f"budget = {file['budget']!r}: hours of training are needed, a number above 0, or null for no limit")
    if file["selection"] not in RULES:
        raise InputError(f"selection = {file['selection']!r}: {nearest(str(file['selection']), RULES)}")
    file["methods"] = _methods(file["methods"])
    file["fusions"] = _fusions(file["fusions"])
    file["search"] = _search(file["search"], file["methods"])
    file["ablations"] = _ablations(file["ablations"])
    file["sampler"], file["pruner"] = _part(file["sampler"], "sampler"), _part(file["pruner"], "pruner")
    file["datasets"] = _datasets(file)
    file["train"] = {}  # is in the configurations of the data sets
    file["epochs"], file["metric"] = None, None
    _check_optuna(file)
    return Declaration(plain(file))


def _methods(given: Any) -> list[str]:
    names = method_names(given)
    # What the unimodal losses bring is told from what a method brings by this row alone.
    if REFERENCE not in names:
        names.insert(names.index("vanilla") + 1 if "vanilla" in names else 0, REFERENCE)
    return names


def _fusions(given: Any) -> list[str]:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names:
        raise InputError(f"fusions = {given!r}: names are needed, such as [concat, sum]")
    for name in names:
        if not isinstance(name, str) or name not in FUSIONS:
            raise InputError(f"fusions: {name!r} is no fusion: {nearest(str(name), FUSIONS)}")
    if len(set(names)) < len(names):
        raise InputError(f"fusions = {names!r}: give each fusion once")
    return list(names)


def _search(given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the ranges that differ from the methods' own, after checking all of them."""
    described(shared_space(given))
    found = {str(key): value for key, value in given.items() if key != "methods"}
    own = given.get("methods") or {}
    if not isinstance(own, Mapping):
        raise InputError(f"search.methods = {own!r}: a mapping of methods to ranges is needed")
    methods = {}
    for name, ranges in own.items():
        if name not in names:
            raise InputError(f"search.methods has ranges for {name!r}, which is not among the methods: {nearest(str(name), names)}")
        if not isinstance(ranges, Mapping):
            raise InputError(f"search.methods.{name} = {ranges!r}: a mapping of the method's options to ranges is needed")
        methods[name] = dict(ranges)
    for name in names:
        described(method_space(name, methods.get(name)))
    return {**found, **({"methods": methods} if methods else {})}


def _ablations(given: Mapping[str, Any]) -> dict[str, Any]:
    for key in given:
        if key not in ABLATIONS:
            raise InputError(f"unknown key {key!r} in ablations: {nearest(str(key), ABLATIONS)}")
    found = {**ABLATIONS, **given}
    for key in ("tau", "mu"):
        values = found[key] if found[key] is not None else []
        if not isinstance(values, list):
            raise InputError(f"ablations.{key} = {values!r}: a list of values is needed")
        found[key] = list(dict.fromkeys(_number(value, f"ablations.{key}[{place}]") for place, value in enumerate(values)))
    if not isinstance(found["training_scores"], bool):
        raise InputError(f"ablations.training_scores = {found['training_scores']!r}: true or false is needed")
    checked_count(found["seeds"], "ablations.seeds")
    example = found["example"]
    if example is not None:
        if not isinstance(example, Mapping) or set(example) != {"lr", "tau", "mu"}:
            raise InputError(f"ablations.example = {example!r}: lr, tau and mu are needed, or null for no such run")
        found["example"] = {key: _number(value, f"ablations.example.{key}") for key, value in example.items()}
    return found


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        raise InputError(f"{where} = {value!r}: a finite number is needed")
    return float(value)


def _part(given: Any, key: str) -> Any:
    """Return a name with options as a mapping; the bare name is short for it."""
    if given is None or isinstance(given, str):
        return None if given is None else {"name": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise InputError(f"{key} = {given!r}: a name is needed, or a mapping with a name and options")
    return dict(given)


def _datasets(file: Mapping[str, Any]) -> dict[str, Any]:
    given = file["datasets"]
    if not isinstance(given, list) or not given:
        raise InputError(f"datasets = {given!r}: a list of data sets is needed, such as [avdigits]")
    common = laid_over(file["train"], {key: file[key] for key in ("epochs", "metric") if file[key] is not None})
    _refuse_own(common, "train")
    found: dict[str, Any] = {}
    for number, entry in enumerate(given):
        part = {"dataset": {"name": entry}} if isinstance(entry, str) else entry
        where = f"datasets[{number}]"
        if not isinstance(part, Mapping) or "dataset" not in part:
            raise InputError(f"{where} = {entry!r}: a name is needed, or a mapping with dataset and what its runs have in common")
        part = dict(part)
        named = part["dataset"]
        if not isinstance(named, (str, Mapping)):
            raise InputError(f"{where}.dataset = {named!r}: a name is needed, or a mapping with a name and options")
        label = part.pop("label", None) or str(named if isinstance(named, str) else named.get("name")).rpartition(":")[2]
        if not isinstance(label, str) or not _NAME.fullmatch(label):
            raise InputError(f"{where}.label = {label!r}: a name of letters, digits and - _ . + is needed")
        if label in found:
            raise InputError(f"{where}: two data sets are called {label!r}: give one of them another label")
        _refuse_own(part, where)
        for key in part:
            if key not in (*DEFAULTS, "format"):
                raise InputError(f"unknown key {key!r} in {where}: {nearest(str(key), [*DEFAULTS, 'label'])}")
        config = laid_over(common, part)
        try:
            found[label] = resolve({**config, "method": REFERENCE, "seed": file["seed"]})
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return found


def _refuse_own(part: Mapping[str, Any], where: str) -> None:
    """Refuse what the study itself decides."""
    model = part.get("model")
    decided = {
        "method": "methods",
        "seed": "seed",
        **({"model.fusion": "fusions"} if isinstance(model, Mapping) and "fusion" in model else {}),
    }
    for key, meant in decided.items():
        if key in part or "." in key:
            raise InputError(f"{where}.{key} is decided by the study as a whole: give it as {meant}, beside datasets")


def _check_optuna(file: Mapping[str, Any]) -> None:
    from equimodal.study.samplers import make_pruner, rehearse_sampler

    options = [key for key in file["sampler"] if key != "name"]
    if file["sampler"]["name"] != "random":
        ranges = file["search"].get("methods", {})
        for name in file["methods"]:
            rehearse_sampler(file["sampler"], {**shared_space(file["search"]), **method_space(name, ranges.get(name))})
    elif options:
        raise InputError(
            f"sampler 'random' has no option {options[0]!r}: its draws depend on the study's seed and the trial's number alone"
        )
    if file["pruner"] is not None:
        make_pruner(file["pruner"])
