"""Methods side by side: the same data, model, budget and seeds for all of them, and one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from equimodal.errors import InputError, TrainingDiverged, require
from equimodal.report.records import checked_modalities
from equimodal.study.folder import ComparisonFolder
from equimodal.study.jobs import Data, Job, Outcome, checked_count, run_jobs
from equimodal.study.outcome import Comparison, Failure, write_outcome
from equimodal.study.plan import Entry, make_plan, method_names, resolved_base, with_found
from equimodal.study.search import RATES, OnRate, Search, checked_rates
from equimodal.train.config import check, load_data

__all__ = ["UNIMODAL_RATES", "compare"]

UNIMODAL_RATES = "unimodal learning rates"
"""What a comparison can find for methods that need it (:attr:`equimodal.methods.base.Method.prerequisites`)."""


def compare(
    config: Mapping[str, Any],
    methods: str | Iterable[str] = "all",
    *,
    out: str | Path,
    seeds: int | Sequence[int] = 3,
    options: Mapping[str, Any] | None = None,
    rates: Iterable[float] = RATES,
    workers: int = 1,
    data_dir: Path | None = None,
    cache: Path | None = None,
    data: Data | None = None,
    on_rate: OnRate | None = None,
    on_run: Callable[[Outcome, int, int], None] | None = None,
) -> Comparison:
    """Train the model of each modality alone and every method, with the same seeds and everything else the same, and write a table.

    All runs of one seed share initial weights and the order of the samples. Where a method lacks an option that other trainings must
    find, such as the learning rates of MSLR, it is found once for the whole comparison, with its budget and its first seed
    (:func:`equimodal.study.unimodal_rates`), and the cost of that is added to each method that needed it. Costs are multiples of those of
    joint training; where ``joint`` is not among the methods, the table has no costs.

    Killed at any moment, the same call goes on. A run that fails, as by divergence, is named in the answer and takes no other with it.
    More methods or seeds may be added by a later call with the same folder.

    :param config: what all runs have in common; any key of :data:`equimodal.train.config.DEFAULTS` but the method.
    :param methods: names, in the order of the rows; ``"all"`` for every method of the package.
    :param out: the folder, described in :class:`equimodal.study.folder.ComparisonFolder`.
    :param seeds: how many, counted from the configuration's seed (default 0), or the seeds themselves. Default 3, the least that gives an
        interval of some use.
    :param options: options that differ from a method's defaults, by method.
    :param rates: the candidates where unimodal learning rates are searched.
    :param workers: how many processes share the work; the numbers are the same with any.
    :param data_dir: where the data set's files are.
    :param cache: see :func:`equimodal.study.unimodal_rates`.
    :param data: what :func:`equimodal.train.config.load_data` returned.
    :param on_rate: called after each training of the search; see :func:`equimodal.study.unimodal_rates`.
    :param on_run: called after each run with its outcome, how many are done and how many there are.
    :raises InputError: for bad input, before anything is trained; or when no run finished at all.
    :raises MissingDependency: without matplotlib or Jinja, which the report needs.
    """
    for package in ("jinja2", "matplotlib"):  # asked for before hours of training rather than after
        require(package, extra="cli")
    workers, candidates = checked_count(workers, "workers"), checked_rates(rates)
    base = resolved_base(config)
    chosen = _checked_seeds(seeds, base["seed"])
    loaded = data if data is not None else load_data(base, data_dir)
    modalities = checked_modalities(loaded[0].modalities, [])
    check(base, loaded)
    stand_ins = {UNIMODAL_RATES: dict.fromkeys(modalities, candidates[0])}
    plan = make_plan(method_names(methods), options or {}, modalities, stand_ins)
    for entry in plan:
        _check(with_found(entry, stand_ins), base, loaded)
    folder = ComparisonFolder(Path(out), {key: value for key, value in base.items() if key not in ("method", "seed")})
    folder.recognise(_runs([entry for entry in plan if not entry.needs], base, chosen, folder))
    needed = any(entry.needs for entry in plan)
    search = Search({**base, "seed": chosen[0]}, loaded, candidates, cache) if needed else None
    shared: dict[str, Any] = {"workers": workers, "data_dir": data_dir, "send": data is not None}

    with folder:
        folder.write_record({"finished": False, "seeds": chosen, "methods": [entry.name for entry in plan]})
        found, failures = None, []
        if search is not None:
            try:
                found = search.go(on_rate, **shared)
            except TrainingDiverged as error:
                failures = [Failure(entry.label, seed, str(error)) for entry in plan if entry.needs for seed in chosen]
        ready = [with_found(entry, {} if found is None else {UNIMODAL_RATES: found.rates}) for entry in plan if found or not entry.needs]
        folder.recognise(_runs(ready, base, chosen, folder))
        # Seed by seed, so that a comparison that is broken off is complete for the first seeds.
        jobs = [Job(entry.label, entry.config(base, seed), folder.run(entry.folder, seed)) for seed in chosen for entry in ready]
        done = 0

        def note(outcome: Outcome) -> None:
            nonlocal done
            done += 1
            if on_run is not None:
                on_run(outcome, done, len(jobs))

        outcomes = run_jobs(jobs, loaded, on_done=note, **shared)
        failures += [_failure(outcome) for outcome in outcomes if outcome.failure is not None]
        if all(outcome.failure is not None for outcome in outcomes):
            raise InputError(f"no run finished; the first one, {failures[0]}")
        return write_outcome(folder, ready, chosen, modalities, failures, found)


def _checked_seeds(seeds: Any, first: int) -> list[int]:
    """Return the seeds that are asked for.

    :raises InputError: for none, a seed that is no whole number or is given twice.
    """
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        return [first + number for number in range(checked_count(seeds, "seeds"))]
    found = list(seeds) if isinstance(seeds, Iterable) and not isinstance(seeds, (str, Mapping)) else []
    if not found or any(not isinstance(seed, int) or isinstance(seed, bool) for seed in found):
        raise InputError(f"seeds = {seeds!r}: their number is needed, or a list of whole numbers")
    if len(set(found)) < len(found):
        raise InputError(f"seeds = {found!r}: give each seed once")
    return found


def _check(entry: Entry, base: Mapping[str, Any], data: Data) -> None:
    """Try the parts of a run together.

    :raises InputError: naming the method, for what does not fit it, its model or its data.
    """
    try:
        check(entry.config(base, base["seed"]), data)
    except InputError as error:
        said = str(error)
        raise InputError(said if entry.name in said else f"{entry.label}: {said}") from None


def _runs(
    plan: Iterable[Entry], base: Mapping[str, Any], seeds: Iterable[int], folder: ComparisonFolder
) -> list[tuple[Path, Mapping[str, Any]]]:
    return [(folder.run(entry.folder, seed), entry.config(base, seed)) for entry in plan for seed in seeds]


def _failure(outcome: Outcome) -> Failure:
    return Failure(outcome.job.name, outcome.job.config["seed"], str(outcome.failure), outcome.details)
