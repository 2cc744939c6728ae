"""The quantities, one after the other: one that fails leaves a line that says why, and the others alone."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from equimodal.diagnose.ablation import ablations
from equimodal.diagnose.asking import Asking
from equimodal.diagnose.calibration import agreement, calibration, cohen_kappa, disagreements
from equimodal.diagnose.collecting import complete_batches
from equimodal.diagnose.curves import curves, generalisation
from equimodal.diagnose.encoders import encoder_facts
from equimodal.diagnose.gradient_intervals import gradient_intervals
from equimodal.diagnose.heads import gap, head_columns, utilization
from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.quantities import Calibration, Encoder, Interval, Sample
from equimodal.diagnose.updates import encoder_parameters, encoder_parts, run_update_sizes
from equimodal.errors import InputError
from equimodal.report.records import RunRecord, read_run
from equimodal.train.seeds import derived_seed

if TYPE_CHECKING:
    from os import PathLike

    from torch import Tensor

    from equimodal.data.batch import Batch

__all__ = ["Making", "RecordAlone"]


class RecordAlone:
    """A run's folder of which the record is read, and no checkpoint: what weights moved by is then left out.

    :param folder: where it is.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = folder

    def __fspath__(self) -> str:
        return os.fspath(self.folder)

    def __str__(self) -> str:
        return str(self.folder)


class Making(Asking):
    """Makes the quantities of a record; see :class:`equimodal.diagnose.asking.Asking`."""

    def everything(self, permutations: int | None, run: Any, asked: Mapping[str, bool]) -> dict[str, Any]:
        """Return all quantities by their names in the record."""
        collected, names = self.collected, self.collected.subject.modalities
        self.skipped |= collected.left_out
        heads = head_columns(collected.logits, collected.targets, self.measure, self.bootstrap)
        without, orders = self.without(permutations)
        found: dict[str, Any] = {
            "donors": without.donors,
            "heads": {head: self.bootstrap.interval(column) for head, column in heads.items()},
            "ablations": ablations(without, names, self.bootstrap),
        }
        for kind, why in without.failed.items():
            self.skipped[f"ablations.{kind}"] = why
        self.skipped |= without.notes
        found["utilization"] = self.attempt("utilization", {}, lambda: self._utilization(heads))
        found["gap"] = gap(heads, self.bootstrap) if found["utilization"] else None
        if "utilization" in self.skipped:
            self.skipped["gap"] = self.skipped["utilization"]
        found["shapley"] = self.attempt("shapley", {}, lambda: self.shapley(without, orders))
        found["probes"] = self.attempt("probes", {}, self.probes)
        found["valuation"] = self.attempt("valuation", {}, lambda: self.valuation(without))
        found["encoders"] = self.attempt("encoders", {}, lambda: self._encoders(asked["gradients"], run))
        found["calibration"] = self.attempt("calibration", {}, self._calibration)
        found["agreement"] = self.attempt("agreement", {}, self._agreement)
        found["kappa"] = self.attempt("kappa", {}, self._kappa)
        found["disagreements"] = self.attempt("disagreements", (), self._disagreements)
        without_some = self.attempt("robustness", (), lambda: self.missing(without))
        found["robustness"] = without_some + self.attempt("robustness.noise", (), lambda: self.noise(asked["robustness"]))
        record = self.attempt("curves", None, lambda: _record(run, self.measure.metric))
        found["curves"] = None if record is None else curves(record)
        found["tau"] = None if record is None else record.tau
        found["generalisation"] = self.attempt("generalisation", None, lambda: self._generalisation(heads, record))
        return found

    def cost(self) -> dict[str, float]:
        """Return how often the encoders ran over the data, over the train split, and how long the slower quantities took."""
        slow = {f"seconds_{name}": seconds for name, seconds in self.seconds.items() if seconds >= 0.01}
        return {"encoder_passes": self.passes, "train_passes": 0.0 if self.fitted is None else 1.0, **slow}

    def _utilization(self, heads: Mapping[str, Tensor]) -> dict[str, Interval]:
        self._need_heads(heads, self.collected.subject.modalities)
        return {name: self.bootstrap.interval(column) for name, column in utilization(heads).items()}

    def _need_heads(self, heads: Mapping[str, Any], modalities: Sequence[str]) -> None:
        missing = [name for name in modalities if name not in heads]
        if missing or len(heads) < 2:
            of_all = missing or self.collected.subject.modalities
            known = next((why for name in of_all if (why := self.collected.left_out.get(f"heads.{name}"))), None)
            what = f"no head of {missing[0]!r}" if missing else "no heads of its modalities"
            raise InputError(known or f"the model has {what}: put equimodal.probe on it and train the heads, or see the probes")

    def _encoders(self, gradients: bool, run: Any) -> dict[str, Encoder]:
        features = self.collected.features
        model, names = self.collected.subject.model, self.collected.subject.modalities
        modules = encoder_parts(model)
        if not features and not modules:
            raise InputError("the model shows neither its features nor, by modality_modules(), its encoders")
        facts = {name: encoder_facts(modules.get(name), features.get(name), self.bootstrap) for name in names}
        facts = self.attempt("gradients", facts, lambda: self._gradients(facts, gradients))
        moved: dict[str, float | None] = self.attempt("update_size", {}, lambda: _moved(model, run))
        return {name: dataclasses.replace(fact, update_size=moved.get(name)) for name, fact in facts.items()}

    def _gradients(self, facts: dict[str, Encoder], asked: bool) -> dict[str, Encoder]:
        if not asked:
            raise InputError("not asked for: gradients=True, or --gradients")
        model = self.collected.subject.model
        known = encoder_parameters(model)
        parameters = {name: list(known.get(name, {}).values()) for name in facts}
        if not any(parameters.values()):  # an encoder that is frozen has none, and a gradient of zero
            raise InputError("no trainable parameters of an encoder are known: the model needs modality_modules(), and unfrozen encoders")

        def batches() -> Iterator[Batch]:
            return (batch for batch, _, _ in complete_batches(self.train_source or self.source, tuple(facts)) if len(batch))

        norms = gradient_intervals(model, batches, self.measure.task, parameters, self._draws)
        return {
            name: dataclasses.replace(fact, gradient_norm=norms[name].norm, relative_gradient=norms[name].relative)
            for name, fact in facts.items()
        }

    def _draws(self, samples: int) -> Bootstrap:
        """Return draws of so many samples of the train split, which are independent of those of the data that are diagnosed."""
        if self.fitted is None and samples == self.bootstrap.samples:
            return self.bootstrap
        if self._train_draws is None or self._train_draws.samples != samples:
            seed = derived_seed(self.seed, "train split")
            self._train_draws = Bootstrap(
                samples,
                resamples=self.bootstrap.resamples,
                level=self.bootstrap.level,
                seed=seed,
                cache=(self.fitted or self.collected).cache,
            )
        return self._train_draws

    def _calibration(self) -> dict[str, Calibration]:
        targets, task = self.collected.targets, self.measure.task
        return {head: calibration(own, targets, self.bootstrap, task=task) for head, own in self.collected.logits.items()}

    def _agreement(self) -> dict[str, Interval]:
        self._need_heads(self.collected.logits, ())
        return agreement(self.collected.logits, self.bootstrap, task=self.measure.task)

    def _kappa(self) -> dict[str, Interval]:
        self._need_heads(self.collected.logits, ())
        return cohen_kappa(self.collected.logits, self.bootstrap, task=self.measure.task)

    def _disagreements(self) -> tuple[Sample, ...]:
        self._need_heads(self.collected.logits, ())
        collected = self.collected
        return disagreements(collected.logits, collected.targets, indices=collected.numbers, task=self.measure.task)

    def _generalisation(self, heads: Mapping[str, Tensor], record: RunRecord | None) -> dict[str, Interval]:
        if self.fitted is None:
            if record is None:
                raise InputError(self.skipped.get("train") or "neither a train split nor a run folder was given: train=... or run=...")
            return {head: Interval.of(gap) for head, gap in generalisation(record).items()}
        gone = {head: why for head in heads if (why := self.fitted.left_out.get(f"heads.{head}"))}
        self.skipped |= {f"generalisation.{head}": why for head, why in gone.items()}
        train = head_columns(self.fitted.logits, self.fitted.targets, self.measure, self._draws(len(self.fitted)))
        return {head: self.bootstrap.interval(train[head] - column) for head, column in heads.items() if head in train}


def _moved(model: Any, run: Any) -> dict[str, float | None]:
    if run is None:
        raise InputError("no run folder was given: run=...")
    if isinstance(run, RecordAlone):
        raise InputError("the run's checkpoints were not asked for")
    return run_update_sizes(model, run)


def _record(run: Any, metric: str) -> RunRecord:
    if run is None:
        raise InputError("no run folder was given: run=...")
    record = read_run(run)
    if not record.epochs:
        raise InputError(f"the run in {run} has not finished an epoch")
    if record.metric not in (metric, "score"):  # the latter where the run does not state it
        raise InputError(f"the run in {run} recorded {record.metric}, which does not go with {metric}: give metric={record.metric!r}")
    return record
