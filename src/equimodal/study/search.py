"""The best learning rate of each modality alone: a small search, of which every candidate is trained once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from equimodal.data.downloads import cache_dir
from equimodal.errors import InputError, TrainingDiverged
from equimodal.scores import MULTIMODAL
from equimodal.study.jobs import Data, Job, Outcome, checked_count, part_of_data, run_jobs
from equimodal.study.rates import Candidate, UnimodalRates
from equimodal.study.search_cache import SearchCache, content_hash
from equimodal.train.config import check, load_data, resolve

__all__ = ["RATES", "OnRate", "Search", "checked_rates", "unimodal_rates"]

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""The candidates: half decades around the 0.001 that is Adam's default."""

OnRate = Callable[[str, Candidate, int, int], None]
"""Told of each training: the modality, its candidate, how many are done and how many there were to do."""

_STAND_IN = {"name": "mlp", "in_features": 1, "hidden": [], "out_features": 1}


def unimodal_rates(
    config: Mapping[str, Any],
    *,
    rates: Iterable[float] = RATES,
    epochs: int | None = None,
    seed: int | None = None,
    data_dir: Path | None = None,
    cache: Path | None = None,
    data: Data | None = None,
    on_run: OnRate | None = None,
    workers: int = 1,
) -> UnimodalRates:
    """Find the best learning rate of every modality alone: each is trained with every candidate, and its validation score decides.

    Of equal scores the smaller validation loss is better, of equal losses the smaller rate. A candidate that diverges is not chosen. The
    test split is never looked at.

    All the rest is as in the configuration, except for what is of other modalities: their encoders, the fusion (and the projection that
    ``"sum"`` adds to an encoder), their part of ``groups.overrides``, and an ``lr`` there. So neither the other encoders nor the fusion
    change what is found for a modality, initial weights included.

    Every finished candidate is kept in ``cache`` and never trained again for the same data, encoder, budget and other settings, whatever
    the other candidates are; a killed search goes on from the last finished epoch. What is kept has its cost with it, so that the answer is
    the same.

    >>> import tempfile
    >>> config = {"dataset": "digits-av", "model": {"encoders": {"audio": {"name": "mlp", "in_features": 576}}}, "epochs": 2}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = unimodal_rates(config, rates=(1e-5, 1e-3), cache=Path(folder))
    >>> found.rates, found.steps
    ({'image': 0.001, 'audio': 0.001}, 144)

    :param config: see :func:`equimodal.train.config.resolve`. Its method and its optimizer's ``lr`` are not used.
    :param rates: the candidates.
    :param epochs: for how long each is trained; by default what the configuration says.
    :param seed: the root of all seeds; by default what the configuration says.
    :param data_dir: where the data set's files are.
    :param cache: the folder of what is known; default ``unimodal-rates`` in ``$EQUIMODAL_CACHE`` or the user's cache.
    :param data: what :func:`equimodal.train.config.load_data` returned, to share it.
    :param on_run: called after each training with the modality, its candidate, how many are done and how many there are to do.
    :param workers: how many processes share the work; the answer is the same with any number.
    :raises InputError: for bad arguments, or when a training fails for another reason than divergence.
    :raises TrainingDiverged: when every candidate of a modality diverges.
    """
    tried, workers = checked_rates(rates), checked_count(workers, "workers")
    changes = {name: value for name, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    base = resolve({**config, **changes, "method": "joint"})
    loaded = data if data is not None else load_data(base, data_dir)
    search = Search(base, loaded, tried, cache)
    return search.go(on_run, workers=workers, data_dir=data_dir, send=data is not None)


class Search:
    """A search that has been checked and can begin.

    :param base: a resolved configuration, of which method and learning rate do not count.
    :param data: the data set with its splits.
    :param tried: the candidates, the smallest first.
    :param cache: see :func:`unimodal_rates`.
    :raises InputError: when one modality alone cannot be trained so, or the cache cannot be used.
    """

    def __init__(self, base: Mapping[str, Any], data: Data, tried: tuple[float, ...], cache: Path | None) -> None:
        self.metric = base["metric"]
        self.data = data
        self.tried = tried
        self.known: dict[str, SearchCache] = {}
        self.jobs: list[Job] = []
        folder = Path(cache) if cache is not None else cache_dir() / "unimodal-rates"
        for modality in data[0].modalities:
            self._add(modality, {rate: _alone(base, modality, data[0].modalities, rate) for rate in tried}, folder)
        if self.jobs:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"cannot make the folder {folder}: {error.strerror or error}; choose another for the cache") from None

    def _add(self, modality: str, configs: Mapping[float, Mapping[str, Any]], folder: Path) -> None:
        known = SearchCache(folder, modality, configs[self.tried[0]], content_hash(self.data[1], modality))
        finished = known.candidates()
        todo = [rate for rate in self.tried if rate not in finished]
        if todo:
            check(configs[todo[0]], part_of_data(self.data, modality), test=False)
        for rate in todo:
            name = f"{modality} alone with learning rate {rate:g}"
            self.jobs.append(Job(name, configs[rate], known.run_folder(rate), only=modality))
        self.known[modality] = known

    def go(self, on_run: OnRate | None, *, workers: int, data_dir: Path | None, send: bool) -> UnimodalRates:
        """Train what is still to be trained; see :func:`unimodal_rates`.

        :param send: whether a copy of the data goes to other processes; otherwise they load them.
        """
        failures: list[Outcome] = []
        done = 0

        def note(outcome: Outcome) -> None:
            nonlocal done
            if outcome.failure is not None and not outcome.diverged:
                failures.append(outcome)
                return
            done += 1
            modality, candidate = str(outcome.job.only), _candidate(outcome)
            self.known[modality].add(candidate)
            if on_run is not None:
                on_run(modality, candidate, done, len(self.jobs))

        run_jobs(self.jobs, self.data, workers=workers, data_dir=data_dir, send=send, on_done=note)
        if failures:
            raise InputError(f"{failures[0].job.name}: {failures[0].failure}")
        return self._answer()

    def _answer(self) -> UnimodalRates:
        finished = {modality: known.candidates() for modality, known in self.known.items()}
        candidates = {modality: tuple(found[rate] for rate in self.tried) for modality, found in finished.items()}
        for modality, chosen_from in candidates.items():
            if all(candidate.score is None for candidate in chosen_from):
                listed = ", ".join(f"{rate:g}" for rate in self.tried)
                reason = next((candidate.diverged for candidate in chosen_from if candidate.diverged), "the validation score is undefined")
                raise TrainingDiverged(f"none of the learning rates {listed} works for {modality!r} alone: {reason}")
        trained = {job.only for job in self.jobs}
        return UnimodalRates(self.metric, candidates, frozenset(modality for modality in candidates if modality not in trained))


def checked_rates(rates: Iterable[Any]) -> tuple[float, ...]:
    """Return candidates in order, each once.

    :raises InputError: for none, or one that is no finite number above 0.
    """
    found = tuple(rates)
    if not found:
        raise InputError("there are no learning rates to try: give at least one")
    for rate in found:
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not math.isfinite(rate) or rate <= 0:
            raise InputError(f"learning rate {rate!r} cannot be tried: a finite number above 0 is needed")
    return tuple(sorted({float(rate) for rate in found}))


def _alone(base: Mapping[str, Any], modality: str, modalities: tuple[str, ...], rate: float) -> dict[str, Any]:
    """Return the configuration of one modality alone, in which nothing of the others is left."""
    encoders = {name: base["model"]["encoders"][name] if name == modality else _STAND_IN for name in modalities}
    overrides = {key: value for key, value in base["groups"]["overrides"].get(modality, {}).items() if key != "lr"}
    return resolve(
        {
            **base,
            "model": {"fusion": "concat", "encoders": encoders},
            "method": {"name": "unimodal", "modality": modality},
            "optimizer": {**base["optimizer"], "lr": rate},
            "groups": {**base["groups"], "overrides": {modality: overrides} if overrides else {}},
        }
    )


def _candidate(outcome: Outcome) -> Candidate:
    rate = float(outcome.job.config["optimizer"]["lr"])
    if outcome.diverged:
        return Candidate(rate, None, None, None, outcome.cost, outcome.failure)
    best = outcome.best
    return Candidate(rate, best["scores"]["val"][MULTIMODAL], best["losses"]["val"][MULTIMODAL], best["epoch"], outcome.cost)
