"""Whether two diagnoses can be compared draw by draw, and which of their quantities cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from equimodal.diagnose.intervals import Drawn
from equimodal.errors import InputError
from equimodal.report.words import clean, metric_name

if TYPE_CHECKING:
    from equimodal.diagnose.quantities import Interval
    from equimodal.diagnose.record import Diagnosis

__all__ = ["check_paired", "of_one_model", "otherwise_defined"]


def check_paired(first: Diagnosis, second: Diagnosis) -> None:
    """Refuse diagnoses that are not of the same samples and draws.

    :raises InputError: in one line, which says what differs.
    """
    for diagnosis in (first, second):
        if not all(isinstance(score, Drawn) for score in diagnosis.heads.values()):
            raise InputError(
                f"the diagnosis of {clean(diagnosis.title)} was read from a file, which keeps no bootstrap draws: diagnose both in one go"
            )
    if first.metric != second.metric:
        raise InputError(
            f"the first model is scored by {metric_name(first.metric)}, the second by {metric_name(second.metric)}:"
            " diagnose both by one metric"
        )
    if set(first.modalities) != set(second.modalities):
        raise InputError(
            f"the models have other modalities ({', '.join(first.modalities)}; {', '.join(second.modalities)}), so that they were not"
            " diagnosed on the same samples"
        )
    if (first.samples, first.digest) != (second.samples, second.digest):
        sizes = f"{first.samples:,} of {first.split or 'the given data'} and {second.samples:,} of {second.split or 'the given data'}"
        raise InputError(f"the models were diagnosed on different samples ({sizes}): diagnose both on the same data")
    for name in ("level", "resamples", "seed"):
        if getattr(first, name) != getattr(second, name):
            raise InputError(
                f"{name} = {getattr(first, name)!r} for the first model and {getattr(second, name)!r} for the second: draws are paired only"
                " where they are the same"
            )


def otherwise_defined(first: Diagnosis, second: Diagnosis) -> Iterator[tuple[str, str]]:
    """Yield the quantities, or ``"quantity/kind"``, that mean something else for each model, and why; the first reason for each counts."""
    if first.probes_fitted_on != second.probes_fitted_on:
        yield "probes", f"the first model's are fitted on {_on(first)}, the second's on {_on(second)}"
    ways = ("ablations", "shapley", "interactions", "largest share")
    if first.ablated != second.ablated:
        why = f"modalities are left out in the first model's {first.ablated} and the second's {second.ablated}"
        yield from ((quantity, why) for quantity in (*ways, "valuation", "missing"))
    if first.mean_of != second.mean_of:
        means = "the means are those of the train split for one model, of the samples for the other"
        why = "the train split was given for one model only"
    elif first.train_digest != second.train_digest:
        means = why = "the models were given different train splits"
    else:
        return
    yield from ((f"{quantity}/mean", means) for quantity in ways)
    if "mean" in first.ablations or "mean" in second.ablations:  # which valuation and missing modalities go by
        yield from ((quantity, means) for quantity in ("valuation", "missing"))
    yield from ((quantity, why) for quantity in ("probes", "generalisation", "gradient_norm", "relative_gradient"))


def _on(diagnosis: Diagnosis) -> str:
    return "the train split" if diagnosis.probes_fitted_on == "train" else "the samples themselves"


def of_one_model(quantity: str, one: Mapping[str, Interval], other: Mapping[str, Interval]) -> Iterator[tuple[str, str]]:
    """Yield the parts of a quantity that only one model has; those of one kind together where the other model has none of that kind."""
    for has, own, lacking in (("first", one, other), ("second", other, one)):
        kinds = {part.partition("/")[0] for part in lacking}
        for part in own:
            if part not in lacking:
                kind = part.partition("/")[0]
                yield f"{quantity}/{part if kind in kinds else kind}", f"only the {has} model has it"
