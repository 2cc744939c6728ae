"""The quantities, one after the other: one that fails leaves a line that says why, and the others alone."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from equimodal.diagnose.ablation import Without, ablations, evaluate_without
from equimodal.diagnose.calibration import agreement, calibration, disagreements
from equimodal.diagnose.collecting import complete_batches, read_again
from equimodal.diagnose.curves import curves, generalisation
from equimodal.diagnose.encoders import encoder_facts
from equimodal.diagnose.gradients import gradient_norms
from equimodal.diagnose.heads import gap, head_columns, utilization
from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.probes import fit_probes
from equimodal.diagnose.record import Calibration, Encoder, Interval, Point, Sample
from equimodal.diagnose.robustness import missing, noise
from equimodal.diagnose.shapley import EXACT, draw_orders, shapley, subsets_needed
from equimodal.diagnose.valuation import valuation
from equimodal.errors import InputError, first_line
from equimodal.report.records import RunRecord, read_run
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.data.batch import Batch
    from equimodal.diagnose.collecting import Collected
    from equimodal.diagnose.measure import Measure
    from equimodal.train.batches import Source

__all__ = ["Making"]

PERMUTATIONS = 5
"""Permutations that are averaged where features are cached; where each takes passes of the whole model, two."""


class Making:
    """Makes the quantities of a record.

    :param collected: the samples that are diagnosed.
    :param fitted: those that the model was trained on, where they are given.
    :param source: yields the batches of the first again.
    :param train_source: yields those of the second.
    :param measure: the score.
    :param bootstrap: the draws.
    :param seed: of permutations, orders and folds.
    """

    def __init__(
        self,
        collected: Collected,
        fitted: Collected | None,
        source: Source,
        train_source: Source | None,
        measure: Measure,
        bootstrap: Bootstrap,
        seed: int,
    ) -> None:
        self.collected = collected
        self.fitted = fitted
        self.source = source
        self.train_source = train_source
        self.measure = measure
        self.bootstrap = bootstrap
        self.seed = seed
        self.skipped: dict[str, str] = {}
        self.passes = 1.0
        self.seconds: dict[str, float] = {}

    def attempt(self, quantity: str, otherwise: Any, make: Callable[[], Any]) -> Any:
        """Return what is made, or note in one line why it is not there and return something else."""
        started = time.perf_counter()
        try:
            return make()
        except InputError as error:
            self.skipped[quantity] = first_line(error)
        except Exception as error:  # one quantity must not take the others with it
            self.skipped[quantity] = f"{type(error).__name__}: {first_line(error)}"
        finally:
            self.seconds[quantity] = time.perf_counter() - started
        return otherwise

    def everything(self, permutations: int | None, run: Any, asked: Mapping[str, bool]) -> dict[str, Any]:
        """Return all quantities by their names in the record."""
        collected, names = self.collected, self.collected.subject.modalities
        heads = head_columns(collected.logits, collected.targets, self.measure, self.bootstrap)
        without, orders = self._without(permutations)
        found: dict[str, Any] = {
            "donors": without.donors,
            "heads": {head: self.bootstrap.interval(column) for head, column in heads.items()},
            "ablations": ablations(without, names, self.bootstrap),
        }
        for kind, why in without.failed.items():
            self.skipped[f"ablations.{kind}"] = why
        found["utilization"] = self.attempt("utilization", {}, lambda: self._utilization(heads))
        found["gap"] = None if not found["utilization"] else gap(heads, self.bootstrap)
        found["shapley"] = self.attempt("shapley", {}, lambda: self._shapley(without, orders))
        found["probes"] = self.attempt("probes", {}, self._probes)
        found["valuation"] = self.attempt("valuation", {}, lambda: self._valuation(without))
        found["encoders"] = self.attempt("encoders", {}, lambda: self._encoders(asked["gradients"]))
        found["calibration"] = self.attempt("calibration", {}, self._calibration)
        found["agreement"] = self.attempt("agreement", {}, self._agreement)
        found["disagreements"] = self.attempt("disagreements", (), self._disagreements)
        without_some = self.attempt("robustness", (), lambda: self._missing(without))
        found["robustness"] = without_some + self.attempt("robustness.noise", (), lambda: self._noise(asked["robustness"]))
        record = self.attempt("curves", None, lambda: _record(run, self.measure.metric))
        found["curves"] = None if record is None else curves(record)
        found["generalisation"] = self.attempt("generalisation", None, lambda: self._generalisation(heads, record))
        return found

    def cost(self) -> dict[str, float]:
        """Return how often the encoders ran over the data, over the train split, and how long the slower quantities took."""
        slow = {f"seconds_{name}": seconds for name, seconds in self.seconds.items() if seconds >= 0.01}
        return {"encoder_passes": self.passes, "train_passes": 0.0 if self.fitted is None else 1.0, **slow}

    def _without(self, permutations: int | None) -> tuple[Without, list[tuple[str, ...]] | None]:
        names = self.collected.subject.modalities
        orders = draw_orders(names, seed=self.seed) if len(names) > EXACT else None
        cached = self.collected.subject.ablated == "features"
        donors = permutations or (PERMUTATIONS if cached else 2)
        started = time.perf_counter()
        without = evaluate_without(
            self.collected,
            self.source,
            subsets_needed(names, orders),
            self.measure,
            self.bootstrap,
            fill=self.fitted,
            donors=donors,
            seed=self.seed,
            logits_of=[frozenset(names) - {name} for name in names],
        )
        self.seconds["ablations"] = time.perf_counter() - started
        if not cached:
            self.passes += sum((len(of_kind) - 1) * (donors if kind == "permutation" else 1) for kind, of_kind in without.columns.items())
        return without, orders

    def _utilization(self, heads: Mapping[str, Tensor]) -> dict[str, Interval]:
        _need_heads(heads, self.collected.subject.modalities)
        return {name: self.bootstrap.interval(column) for name, column in utilization(heads).items()}

    def _shapley(self, without: Without, orders: list[tuple[str, ...]] | None) -> dict[str, Any]:
        names = self.collected.subject.modalities
        needed = subsets_needed(names, orders)
        whole = {kind: columns for kind, columns in without.columns.items() if all(subset in columns for subset in needed)}
        if not whole:
            raise InputError(next(iter(without.failed.values()), "no ablation has every subset"))
        return {kind: shapley(columns, names, self.bootstrap, orders) for kind, columns in whole.items()}

    def _features(self) -> dict[str, Tensor]:
        features = self.collected.features
        if not features:
            raise InputError("the model does not show its features: return them in the Prediction, or put equimodal.probe on it")
        return features

    def _probes(self) -> dict[str, Interval]:
        features, fitted = self._features(), self.fitted
        logits = fit_probes(
            features,
            self.collected.targets,
            self.measure.task,
            train=None if fitted is None else (fitted.features, fitted.targets),
            seed=self.seed,
            num_outputs=self.collected.logits[MULTIMODAL].shape[1],
        )
        columns = head_columns(logits, self.collected.targets, self.measure, self.bootstrap)
        return {head: self.bootstrap.interval(column) for head, column in columns.items()}

    def _valuation(self, without: Without) -> dict[str, Interval]:
        names = self.collected.subject.modalities
        kind = next((kind for kind in ("mean", "absent", "zero") if kind in without.correct), None)
        if kind is None:
            raise InputError(f"{self.measure.task.name} targets have no single right class, so that no sample is carried by a modality")
        if len(names) > EXACT:
            raise InputError(f"{len(names)} modalities have too many subsets: it is found for up to {EXACT}")
        correct = without.correct[kind]
        if len(correct) < 2 ** len(names):
            raise InputError(without.failed.get(kind, "not every subset was evaluated"))
        return {name: self.bootstrap.share(flags) for name, flags in valuation(correct, names).items()}

    def _encoders(self, gradients: bool) -> dict[str, Encoder]:
        features = self.collected.features
        modules = _encoder_modules(self.collected.subject.model)
        names = self.collected.subject.modalities
        if not features and not modules:
            raise InputError("the model shows neither its features nor, by modality_modules(), its encoders")
        facts = {name: encoder_facts(modules.get(name), features.get(name), self.bootstrap) for name in names}
        with_gradients: dict[str, Encoder] = self.attempt("gradients", facts, lambda: self._gradients(facts, modules, gradients))
        return with_gradients

    def _gradients(self, facts: dict[str, Encoder], modules: Mapping[str, Any], asked: bool) -> dict[str, Encoder]:
        if not asked:
            raise InputError("not asked for: gradients=True")
        parameters = {name: _parameters(modules.get(name)) for name in facts}
        missing = [name for name, own in parameters.items() if not own]
        if missing:
            raise InputError(
                f"no trainable parameters of {missing[0]!r} are known: the model needs modality_modules(), and unfrozen encoders"
            )
        batches = (batch for batch, _, _ in complete_batches(self.train_source or self.source, tuple(facts)) if len(batch))
        norms = gradient_norms(self.collected.subject.model, batches, self.measure.task, parameters)
        return {
            name: dataclasses.replace(fact, gradient_norm=norms[name].norm, update_size=norms[name].relative)
            for name, fact in facts.items()
        }

    def _calibration(self) -> dict[str, Calibration]:
        targets, task = self.collected.targets, self.measure.task
        return {head: calibration(own, targets, self.bootstrap, task=task) for head, own in self.collected.logits.items()}

    def _agreement(self) -> dict[str, Interval]:
        _need_heads(self.collected.logits, ())
        return agreement(self.collected.logits, self.bootstrap, task=self.measure.task)

    def _disagreements(self) -> tuple[Sample, ...]:
        _need_heads(self.collected.logits, ())
        collected = self.collected
        return disagreements(collected.logits, collected.targets, indices=collected.numbers, task=self.measure.task)

    def _score(self, logits: Tensor) -> Interval:
        columns = self.measure.columns([self.measure.kept(logits, self.collected.targets)], self.collected.targets, self.bootstrap)
        return self.bootstrap.interval(columns[:, 0])

    def _missing(self, without: Without) -> tuple[Point, ...]:
        names = self.collected.subject.modalities
        for kind in ("mean", "absent", "zero"):
            known = without.logits.get(kind, {})
            found = {name: known[frozenset(names) - {name}] for name in names if frozenset(names) - {name} in known}
            if found:
                return missing(self.collected.logits[MULTIMODAL], found, self._score, seed=self.seed)
        raise InputError(next(iter(without.failed.values()), "no ablation left logits"))

    def _noise(self, asked: bool) -> tuple[Point, ...]:
        if not asked:
            raise InputError("noise on the inputs takes more passes and was not asked for: robustness=True")
        subject, source = self.collected.subject, self.source
        samples = 0

        def predict(batch: Batch) -> Tensor:
            nonlocal samples
            samples += len(batch)
            with torch.no_grad():
                return subject.observe(batch.inputs).logits[MULTIMODAL].float().cpu()

        def batches() -> Iterator[Batch]:
            return (batch for _, batch in read_again(source, self.collected))

        points = noise(predict, batches, subject.modalities, self._score, full=self.collected.logits[MULTIMODAL], seed=self.seed)
        self.passes += samples / len(self.collected)
        return points

    def _generalisation(self, heads: Mapping[str, Tensor], record: RunRecord | None) -> dict[str, float | None] | None:
        if self.fitted is None:
            if record is None:
                raise InputError("neither a train split nor a run folder was given: train=... or run=...")
            return generalisation(record)
        train = head_columns(self.fitted.logits, self.fitted.targets, self.measure, Bootstrap(len(self.fitted), resamples=0))
        return {head: Interval.of(float(train[head][0] - column[0])).value for head, column in heads.items() if head in train}


def _record(run: Any, metric: str) -> RunRecord:
    if run is None:
        raise InputError("no run folder was given: run=...")
    record = read_run(run)
    if not record.epochs:
        raise InputError(f"the run in {run} has not finished an epoch")
    if record.metric not in (metric, "score"):  # the latter where the run does not state it
        raise InputError(f"the run in {run} recorded {record.metric}, which does not go with {metric}: give metric={record.metric!r}")
    return record


def _need_heads(heads: Mapping[str, Any], modalities: Sequence[str]) -> None:
    missing = [name for name in modalities if name not in heads]
    if missing or len(heads) < 2:
        what = f"no head of {missing[0]!r}" if missing else "no heads of its modalities"
        raise InputError(f"the model has {what}: put equimodal.probe on it and train the heads, or see the probes")


def _encoder_modules(model: Any) -> dict[str, Any]:
    of_model = getattr(model, "modality_modules", None)
    return {name: roles.get("encoder") for name, roles in of_model().items()} if callable(of_model) else {}


def _parameters(modules: Any) -> list[nn.Parameter]:
    parts = modules if isinstance(modules, (list, tuple)) else [modules]
    found = [
        parameter
        for part in parts
        for parameter in ([part] if isinstance(part, nn.Parameter) else part.parameters() if isinstance(part, nn.Module) else [])
    ]
    return [parameter for parameter in found if parameter.requires_grad]
