"""Made-up studies that look like real ones: every kind of series, with plausible numbers, and with gaps where they are asked for."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from equimodal.report.cost import Cost
from equimodal.report.records import RunRecord
from equimodal.study.records import ALONE, TRAINING_SCORES, DataRecord, Kind, SeriesRecord, StudyRecord, TrialRecord
from report.examples import epoch_record, learning

LABELS = {
    "vanilla": "Vanilla",
    "joint": "Joint",
    "mslr-k": "MSLR-K",
    "mslr-s": "MSLR-S",
    "mslr-d": "MSLR-D",
    "ogm": "OGM",
    "ogm-ge": "OGM-GE",
    "mses": "MSES",
    "gblend": "G-Blend",
    "miles": "MILES",
    TRAINING_SCORES: "MILES (training scores)",
}
METHODS = tuple(name for name in LABELS if name != TRAINING_SCORES)
MODALITIES = {
    "smnist": ("image", "audio"),
    "avdigits": ("image", "audio"),
    "digits-av": ("image", "audio"),
    "cremad": ("audio", "image"),
    "luma": ("audio", "image"),
    "mmimdb": ("text", "image"),
    "utd-mhad": ("skeleton", "inertial", "depth"),
}

# Multimodal score and those of the strongest and the weakest head with the best configuration.
FIGURES = {
    "vanilla": (0.940, 0.930, 0.540),
    "joint": (0.955, 0.940, 0.800),
    "mslr-k": (0.950, 0.920, 0.800),
    "mslr-s": (0.949, 0.930, 0.780),
    "mslr-d": (0.954, 0.930, 0.810),
    "ogm": (0.951, 0.935, 0.700),
    "ogm-ge": (0.957, 0.930, 0.750),
    "mses": (0.948, 0.940, 0.810),
    "gblend": (0.956, 0.930, 0.830),
    "miles": (0.965, 0.930, 0.860),
    TRAINING_SCORES: (0.964, 0.935, 0.850),
}
ALONE_FIGURES = (0.955, 0.890, 0.600)
OPTIONS = {
    "mslr-s": {"strength": (0.0, 1.0)},
    "mslr-d": {"window": (3, 5, 10)},
    "ogm": {"alpha": (0.1, 0.3, 0.5, 0.8, 1.0)},
    "ogm-ge": {"alpha": (0.1, 0.3, 0.5, 0.8, 1.0)},
    "mses": {"patience": (3, 5, 10, 20)},
    "gblend": {"super_epoch": (5, 10, 20)},
    "miles": {"tau": (0.0, 0.5), "mu": (0.1, 1.0)},
    TRAINING_SCORES: {"tau": (0.0, 0.5), "mu": (0.1, 1.0)},
}
TAUS = (0.5, 0.3, 0.2, 0.1, 0.0)
MUS = (1.0, 0.75, 0.5, 0.25, 0.1, 0.05, 0.01)
SEED, FRESH_SEEDS = 7, 101
STEPS = 20


def example_study(
    data: Iterable[str] = ("avdigits",),
    fusions: Iterable[str] = ("concat", "sum"),
    methods: Iterable[str] = METHODS,
    *,
    trials: int = 6,
    seeds: int = 3,
    epochs: int = 4,
    figures: Mapping[str, tuple[float, float, float]] | None = None,
    modalities: tuple[str, ...] | None = None,
    sweep_seeds: int = 1,
    noise: float = 0.004,
    failed: Mapping[str, int] | None = None,
    unfinished: Iterable[str] = (),
    rule: str = "best-validation",
    overridden: Iterable[str] = (),
) -> StudyRecord:
    """A study of which all is done but what is asked to be missing.

    :param figures: multimodal, strongest and weakest head by method, where they differ from :data:`FIGURES`.
    :param failed: how many of a series' trials, the last ones, failed with NaN, by the series' name.
    :param unfinished: names of series of which the second half of the trials is waiting.
    """
    made = _Maker(
        trials, seeds, epochs, {**FIGURES, **(figures or {})}, noise, dict(failed or {}), frozenset(unfinished), sweep_seeds, rule
    )
    records, series = [], []
    for label in data:
        names = modalities or MODALITIES[label]
        config = {
            "dataset": {"name": label},
            "model": {"encoders": {name: {"name": "resnet", "depth": 6} for name in names}},
            "epochs": epochs,
        }
        metric = "weighted_f1" if label == "mmimdb" else "accuracy"
        records.append(DataRecord(label, label, names, metric, config))
        series += made.alone(records[-1])
        for fusion in fusions:
            series += made.fused(records[-1], fusion, tuple(methods))
    declaration = {"name": "example", "trials": trials, "seeds": seeds, "epochs": epochs, "rule": rule}
    return StudyRecord("example", declaration, tuple(records), tuple(series), tuple(overridden), rule)


def empty_study(**given: Any) -> StudyRecord:
    """The same study before anything was trained."""
    return emptied(example_study(**given), lambda _: True)


def emptied(study: StudyRecord, which: Any) -> StudyRecord:
    """The study with all trials of some series still waiting; ``which`` tells from a series whether it is one of them."""
    series = tuple(
        replace(one, selected=None, trials=tuple(TrialRecord(trial.number) for trial in one.trials)) if which(one) else one
        for one in study.series
    )
    return replace(study, series=series)


def half_study(**given: Any) -> StudyRecord:
    """A study in its middle: one failed and one waiting search, the last rows untouched, one sweep half done, a blocked series."""
    name = "avdigits/concat"
    study = example_study(failed={f"{name}/ogm": 2, f"{name}/mses": 6, f"{name}/mses/final": 4}, unfinished=[f"{name}/gblend"], **given)
    study = emptied(study, lambda one: one.fusion == "sum" and one.row not in ("vanilla", "joint"))
    series = tuple(
        replace(one, blocked="waits for avdigits/alone/audio") if one.fusion == "sum" and one.row == "mslr-k" else one
        for one in study.series
    )
    return replace(study, series=series)


class _Maker:
    def __init__(self, trials, seeds, epochs, figures, noise, failed, unfinished, sweep_seeds, rule):
        self.trials, self.seeds, self.epochs, self.figures, self.noise = trials, seeds, epochs, figures, noise
        self.failed, self.unfinished, self.sweep_seeds, self.rule = failed, unfinished, sweep_seeds, rule

    def alone(self, data: DataRecord) -> list[SeriesRecord]:
        """The models of one modality: their searches, and what was selected with fresh seeds."""
        found = []
        for modality, score in zip(data.modalities, ALONE_FIGURES, strict=False):
            given = {"data": data, "fusion": ALONE, "row": modality, "label": f"{modality} alone"}
            found += self._searched({modality: score}, **given)
        return found

    def fused(self, data: DataRecord, fusion: str, methods: tuple[str, ...]) -> list[SeriesRecord]:
        """All series of a data set and fusion."""
        found: list[SeriesRecord] = []
        for row in methods:
            # The methods that start from unimodal learning rates are charged with the search for them.
            before = Cost(30.0 * self.trials, STEPS * 8 * self.trials) if row.startswith("mslr") else Cost(0.0, 0)
            found += self._searched(
                self._heads(data, row, fusion), data=data, fusion=fusion, row=row, label=LABELS.get(row, row), before=before
            )
        if "miles" in methods:
            best = next(one.selected for one in found if one.row == "miles" and one.kind == "final")
            heads = self._heads(data, "miles", fusion)
            given = {"data": data, "fusion": fusion, "row": "miles", "label": LABELS["miles"], "selected": best}
            found.append(self._sweep("tau", [(tau, self._moved(heads, 0.06 - 0.3 * tau)) for tau in TAUS], **given))
            found.append(self._sweep("mu", [(mu, self._moved(heads, 0.03 * (0.5 - mu) / (mu + 0.1))) for mu in MUS], **given))
            row = TRAINING_SCORES
            found += self._searched(self._heads(data, row, fusion), data=data, fusion=fusion, row=row, label=LABELS[row])
            params = {"optimizer.lr": 0.00068983, "method.tau": 0.05, "method.mu": 0.5}
            name = f"{data.label}/{fusion}/miles/example"
            trial = self._trial(name, 0, params, heads, SEED, data, "miles", fusion, tested=True)
            found.append(SeriesRecord(name, "example", data.label, fusion, "miles", LABELS["miles"], (trial,)))
        return found

    def _heads(self, data: DataRecord, row: str, fusion: str) -> dict[str, float]:
        joint, strong, weak = self.figures.get(row, FIGURES["joint"])
        more = 0.002 if fusion == "sum" else 0.0
        names = data.modalities
        between = [strong + (weak - strong) * place / (len(names) - 1) for place in range(len(names))]
        return {"multimodal": joint + more, **dict(zip(names, between, strict=True))}

    def _moved(self, heads: dict[str, float], by: float) -> dict[str, float]:
        """Heads as another option makes them: the strongest loses what the weakest gains, and any change costs the prediction."""
        names = list(heads)
        return {
            **heads,
            "multimodal": heads["multimodal"] - abs(by) / 2,
            names[1]: heads[names[1]] - by / 2,
            names[-1]: heads[names[-1]] + by,
        }

    def _searched(self, heads: dict[str, float], *, data: DataRecord, fusion: str, row: str, label: str, **more: Any) -> list[SeriesRecord]:
        name = f"{data.label}/{fusion}/{row}"
        trials = []
        for number in range(self.trials):
            # All rows share the learning rates of their trials.
            params = {"optimizer.lr": 10 ** random.Random(f"lr {number}").uniform(-4, -2), **_options(row, number)}
            trials.append(self._trial(name, number, params, heads, SEED, data, row, fusion, tested=self.rule == "oracle"))
        searched = SeriesRecord(name, "search", data.label, fusion, row, label, tuple(trials), **more)
        split = "test" if self.rule == "oracle" else "val"
        done = [trial for trial in trials if trial.score(split) is not None]
        best = max(done, key=lambda trial: (trial.score(split), -trial.number), default=None)
        again = []
        for number in range(self.seeds + 1):
            seed = SEED if number == 0 else FRESH_SEEDS + number - 1
            state = TrialRecord(number, params={"seed": seed})
            if best is not None and searched.done == len(trials):
                state = self._trial(f"{name}/final", number, best.params, heads, seed, data, row, fusion, tested=True)
            again.append(state)
        chosen = None if best is None or searched.done < len(trials) else best.number
        return [searched, SeriesRecord(f"{name}/final", "final", data.label, fusion, row, label, tuple(again), selected=chosen, **more)]

    def _sweep(
        self, option: str, values: list[tuple[float, dict[str, float]]], *, data: DataRecord, fusion: str, **more: Any
    ) -> SeriesRecord:
        name, trials = f"{data.label}/{fusion}/miles/{option}", []
        for value, heads in values:
            for seed in range(self.sweep_seeds):
                number = len(trials)
                params = {"optimizer.lr": 0.001, "method.tau": 0.2, "method.mu": 0.5, f"method.{option}": value}
                trials.append(self._trial(name, number, params, heads, SEED + seed, data, "miles", fusion, tested=True))
        return SeriesRecord(name, "sweep", data.label, fusion, trials=tuple(trials), option=f"method.{option}", **more)

    def _trial(
        self,
        name: str,
        number: int,
        params: Mapping[str, Any],
        heads: dict[str, float],
        seed: int,
        data: DataRecord,
        row: str,
        fusion: str,
        *,
        tested: bool,
    ) -> TrialRecord:
        planned = len(TAUS if name.endswith("tau") else MUS) * self.sweep_seeds if name.endswith(("/tau", "/mu")) else self.trials
        planned = self.seeds + 1 if name.endswith("/final") else planned
        if name in self.unfinished and number >= planned // 2:
            return TrialRecord(number, params=params)
        where = {
            "where": "one",
            "started": "2026-01-05T10:00:00+00:00",
            "ended": "2026-01-05T10:01:00+00:00",
            "environment": {"torch": "2.13.0"},
        }
        if number >= planned - self.failed.get(name, 0):
            reason = "training diverged at epoch 2: the loss is nan"
            return TrialRecord(number, "failed", params, reason=reason, attempts=1, cost=Cost(12.5, 2 * STEPS), **where)
        run = self._run(name, number, params, heads, seed, data, row, fusion, tested=tested)
        return TrialRecord(number, "complete", params, run, attempts=1, cost=run.cost, **where)

    def _run(self, name, number, params, heads, seed, data, row, fusion, *, tested):
        # What a rate is worth falls with its distance from the best one; seeds add noise that all methods share in part.
        noise = random.Random(f"{name} {number} {seed}")
        shared = random.Random(f"{seed}").gauss(0, self.noise)
        worth = 0.0 if name.endswith("/final") else 0.04 * (math.log10(params["optimizer.lr"]) + 3) ** 2
        alone = fusion == ALONE
        wanted = {head: score - worth + shared + noise.gauss(0, self.noise / 4) for head, score in heads.items()}
        wanted = {"multimodal": next(iter(wanted.values())), **wanted} if alone else wanted
        curves = learning(wanted, dict.fromkeys(wanted, 6.0 / self.epochs), self.epochs, noise.randrange(10**6))
        method: dict[str, Any] = {"name": "unimodal", "modality": row} if alone else {"name": "miles" if row == TRAINING_SCORES else row}
        method |= {"split": "train" if row == TRAINING_SCORES else "val"} if method["name"] == "miles" else {}
        method |= {path.removeprefix("method."): value for path, value in params.items() if path.startswith("method.")}
        rate, side = params["optimizer.lr"], STEPS * 2 if row == "gblend" else 0
        multipliers = {} if alone else dict.fromkeys(data.modalities, 1.0)
        epochs = []
        for epoch, scores in enumerate(curves, start=1):
            record = epoch_record(epoch, {head: scores["multimodal"] if alone else scores[head] for head in wanted}, multipliers, rate)
            epochs.append({**record, "steps": STEPS, "side_steps": side, "seconds": 1.0 + side / STEPS / 4})
            if method["name"] == "miles" and record["gap"] is not None:
                strongest = max(data.modalities, key=lambda head, scores=scores: scores[head])
                slowed = record["gap"] > method.get("tau", 0.2)
                multipliers = {head: method.get("mu", 0.5) if slowed and head == strongest else 1.0 for head in data.modalities}
        val = [record["scores"]["val"]["multimodal"] for record in epochs]
        best = val.index(max(val))
        scores = {split: dict(epochs[best]["scores"][split]) for split in ("train", "val")}
        if tested:
            scores["test"] = wanted
        result = {
            "format": 1, "dataset": data.name, "method": method["name"], "seed": seed, "metric": data.metric, "epochs": self.epochs,
            "best_epoch": best + 1, "scores": scores, "metrics": {},
        }  # fmt: skip
        model = {**data.config["model"], **({} if alone else {"fusion": fusion})}
        optimizer = {"name": "adam", "lr": rate, "betas": [0.9, 0.999]}
        config = {"format": 1, **data.config, "model": model, "method": method, "optimizer": optimizer, "seed": seed}
        return RunRecord(LABELS.get(row, f"{row} alone"), method["name"], config, epochs, result)


def _options(row: str, number: int) -> dict[str, Any]:
    """A row's own hyper-parameters in a trial."""
    found = {}
    for option, values in OPTIONS.get(row, {}).items():
        draw = random.Random(f"{row} {option} {number}")
        found[f"method.{option}"] = draw.choice(values) if len(values) > 2 else draw.uniform(*values)
    return found


def series_named(study: StudyRecord, name: str) -> SeriesRecord:
    """The series of a name."""
    return next(one for one in study.series if one.name == name)


def changed(study: StudyRecord, name: str, **changes: Any) -> StudyRecord:
    """The study with one series changed."""
    return replace(study, series=tuple(replace(one, **changes) if one.name == name else one for one in study.series))


KINDS: tuple[Kind, ...] = ("search", "final", "sweep", "example")
