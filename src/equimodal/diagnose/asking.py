"""The quantities for which the joint model is asked without modalities, and those of linear probes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equimodal.diagnose.ablation import Without, evaluate_without
from equimodal.diagnose.collecting import read_again
from equimodal.diagnose.probes import fit_probe
from equimodal.diagnose.robustness import missing, noise
from equimodal.diagnose.shapley import EXACT, draw_orders, shapley, subsets_needed
from equimodal.diagnose.valuation import valuation
from equimodal.errors import InputError, first_line
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.data.batch import Batch
    from equimodal.diagnose.collecting import Collected
    from equimodal.diagnose.intervals import Bootstrap
    from equimodal.diagnose.measure import Measure
    from equimodal.diagnose.quantities import Interval, Point
    from equimodal.train.batches import Source

__all__ = ["Asking"]

PERMUTATIONS = 5
"""Permutations that are averaged where features are cached; where each takes passes of the whole model, two."""


class Asking:
    """Asks a model; :class:`equimodal.diagnose.making.Making` adds what needs no asking.

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
        self._train_draws: Bootstrap | None = None
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

    def without(self, permutations: int | None) -> tuple[Without, list[tuple[str, ...]] | None]:
        """Score every subset that is needed, and return the orders that were drawn, where not all subsets are."""
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
        )
        self.seconds["ablations"] = time.perf_counter() - started
        if not cached:
            self.passes += sum((len(of_kind) - 1) * (donors if kind == "permutation" else 1) for kind, of_kind in without.columns.items())
        return without, orders

    def shapley(self, without: Without, orders: list[tuple[str, ...]] | None) -> dict[str, Any]:
        """Return Shapley values by kind, of the kinds that have every subset."""
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

    def probes(self) -> dict[str, Interval]:
        """Return the scores of linear probes; those that cannot be fitted are noted one by one."""
        found: dict[str, Tensor] = {}
        failed: dict[str, str] = {}
        features = self._features()
        for head in (MULTIMODAL, *self.collected.subject.modalities):
            try:
                found[head] = self._probe(head, features)
            except InputError as error:  # such as features of one modality that are NaN
                failed[head] = first_line(error)
        if not found:
            raise InputError(failed[MULTIMODAL])
        self.skipped |= {f"probes.{head}": why for head, why in failed.items()}
        columns = self.measure.columns(list(found.values()), self.collected.targets, self.bootstrap)
        return dict(zip(found, self.bootstrap.intervals(columns), strict=True))

    def _probe(self, head: str, features: Mapping[str, Tensor]) -> Tensor:
        """Return what the measure keeps of a probe's answers."""
        collected, fitted = self.collected, self.fitted
        names = collected.subject.modalities if head == MULTIMODAL else (head,)
        known = [features] if fitted is None else [features, fitted.features]
        gone = next((name for name in names for some in known if name not in some), None)
        if gone is not None:
            reasons = [split.left_out.get(f"features.{gone}") for split in (collected, fitted) if split is not None]
            raise InputError(next(filter(None, reasons), f"the features of {gone!r} are not there"))
        logits = fit_probe(
            {name: features[name] for name in names},
            collected.targets,
            self.measure.task,
            train=None if fitted is None else ({name: fitted.features[name] for name in names}, fitted.targets),
            seed=self.seed,
            num_outputs=collected.logits[MULTIMODAL].shape[1],
        )
        kept = f"probe {head}"
        collected.cache.append(kept, self.measure.kept(logits, collected.targets), expected=len(collected))
        return collected.cache[kept]

    def valuation(self, without: Without) -> dict[str, Interval]:
        """Return the shares of samples by what they need."""
        names = self.collected.subject.modalities
        if not self.measure.one_class:
            raise InputError(f"{self.measure.task.name} targets have no single right class, so that no sample is carried by a modality")
        if len(names) > EXACT:
            raise InputError(f"{len(names)} modalities have too many subsets: it is found for up to {EXACT}")
        whole = [kind for kind in ("mean", "absent", "zero") if len(without.kept.get(kind, ())) == 2 ** len(names)]
        if not whole:
            raise InputError(next(iter(without.failed.values()), "not every subset was evaluated"))
        right = {subset: self.measure.right(own, self.collected.targets) for subset, own in without.kept[whole[0]].items()}
        groups = valuation({subset: own for subset, own in right.items() if own is not None}, names)
        return dict(zip(groups, self.bootstrap.intervals(self.bootstrap.columns(list(groups.values()))), strict=True))

    def _score(self, logits: Tensor) -> Interval:
        return self._score_kept(self.measure.kept(logits, self.collected.targets))

    def _score_kept(self, kept: Tensor) -> Interval:
        return self.bootstrap.interval(self.measure.columns([kept], self.collected.targets, self.bootstrap)[:, 0])

    def missing(self, without: Without) -> tuple[Point, ...]:
        """Return the score where a share of the samples lacks a modality."""
        names = self.collected.subject.modalities
        for kind in ("mean", "absent", "zero"):
            known = without.kept.get(kind, {})
            found = {name: known[frozenset(names) - {name}] for name in names if frozenset(names) - {name} in known}
            if found:
                return missing(known[frozenset(names)], found, self._score_kept, seed=self.seed, means=self.measure.is_mean)
        raise InputError(next(iter(without.failed.values()), "no ablation left answers"))

    def noise(self, asked: bool) -> tuple[Point, ...]:
        """Return the score where inputs have noise on them."""
        if not asked:
            raise InputError("noise on the inputs takes more passes and was not asked for: robustness=True, or --robustness")
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
