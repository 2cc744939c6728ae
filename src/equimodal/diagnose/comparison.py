"""Two models of the same samples: how far the second differs from the first, with paired intervals."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import torch

from equimodal import __version__
from equimodal._files import make_folder, write_whole
from equimodal.diagnose.intervals import Bootstrap, Drawn
from equimodal.diagnose.pairing import check_paired, of_one_model, otherwise_defined
from equimodal.diagnose.plain import as_plain
from equimodal.diagnose.quantities import Encoder, Interval, Shapley
from equimodal.diagnose.verdict_comparison import sentences
from equimodal.diagnose.verdict_facts import Facts
from equimodal.diagnose.verdict_training import at_chance
from equimodal.errors import InputError

if TYPE_CHECKING:
    from os import PathLike

    from equimodal.diagnose.record import Diagnosis

__all__ = ["COLUMNS", "FORMAT", "Comparison", "compare", "numbers_of", "paired_or_why"]

FORMAT = 1
"""The version of the JSON."""
COLUMNS = ("quantity", "part", "first", "second", "difference", "low", "high")

Numbers = dict[str, dict[str, Interval]]


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found. Every difference is the second model's number minus the first's.

    :param first: the first model's title.
    :param second: the second's.
    :param modalities: of both.
    :param split: what the data are called.
    :param samples: how many there are.
    :param metric: the score.
    :param level: of the intervals.
    :param resamples: the draws behind them.
    :param seed: of the draws.
    :param values: by quantity and part the numbers of both with their own intervals, the first model's first.
    :param differences: by quantity and part, as in ``values``, the difference with its paired interval. Scores by ``"heads"`` and
        ``"probes"``; ``"ablations"``, what is lost without a modality, by ``"mean/audio"`` and the like; ``"utilization"`` and ``"gap"``;
        ``"shapley"`` and ``"interactions"``, by ``"mean/audio"`` and ``"mean/audio × image"``; ``"largest share"`` by kind, that of the
        modality with the largest Shapley value, of all that the modalities give; ``"valuation"``; ``"feature_norm"``,
        ``"effective_rank"``, ``"gradient_norm"`` and ``"relative_gradient"`` of the encoders; ``"calibration"``, the expected calibration
        error; ``"agreement"`` and ``"kappa"``; ``"generalisation"``; ``"missing"`` and ``"noise"`` by ``"audio/0.5"``.
    :param sentences: what they come to.
    :param skipped: by quantity, or by quantity and part as in ``"heads/image"`` and ``"ablations/mean"``, one line that says why it is not
        there.
    :param version: of the package that made it.
    :param format: of the JSON.
    """

    first: str
    second: str
    modalities: tuple[str, ...]
    split: str
    samples: int
    metric: str
    level: float
    resamples: int
    seed: int
    values: dict[str, dict[str, tuple[Interval, Interval]]] = field(default_factory=dict)
    differences: Numbers = field(default_factory=dict)
    sentences: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    version: str = ""
    format: int = FORMAT

    def __str__(self) -> str:
        from equimodal.diagnose.text_comparison import render_differences

        return render_differences(self)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON holds it; numbers that are not finite become None."""
        plain: dict[str, Any] = as_plain(self)
        return {"format": plain.pop("format"), **plain}

    def to_json(self) -> str:
        """Return the comparison as JSON."""
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def rows(self) -> Iterator[tuple[str, str, float | None, float | None, float | None, float | None, float | None]]:
        """Yield every difference: quantity, part, the number of the first and of the second model, the difference and its interval."""
        for quantity, parts in self.differences.items():
            for part, difference in parts.items():
                one, other = self.values[quantity][part]
                yield quantity, part, one.value, other.value, *difference

    def to_csv(self) -> str:
        """Return every difference as CSV, one per line, by ``COLUMNS``; empty where undefined."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([["" if cell is None else cell for cell in row] for row in self.rows()])
        return text.getvalue()

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write ``comparison.json`` and ``comparison.csv`` into a folder.

        :param folder: made where it is not there; files of these names are replaced.
        :returns: the folder.
        :raises CannotWrite: when a file cannot be written.
        """
        path = make_folder(Path(folder))
        write_whole(path / "comparison.json", self.to_json())
        write_whole(path / "comparison.csv", self.to_csv())
        return path


def compare(first: Diagnosis, second: Diagnosis) -> Comparison:
    r"""Compare two models on the same samples, draw by draw.

    Models mostly fail on the same samples. Where both are scored on the same bootstrap samples, what these have in common drops out of the
    difference, draw by draw: the interval is that of :math:`q_2^* - q_1^*` over the draws, by percentiles, or mirrored where the
    quantity's own interval is (see ``Bootstrap.interval``). Two diagnoses of the same data have the same
    draws, as long as their ``seed`` and ``resamples`` are the same. A model compared with itself differs by exactly 0.

    Shapley values of more than six modalities come from drawn orders. What the drawing leaves open of both is added as squares to the
    intervals of their difference and of that of the largest share: too much rather than too little, as both have the same orders.

    >>> from equimodal import diagnose
    >>> from equimodal.testing import tiny_problem
    >>> problem = tiny_problem()
    >>> before = diagnose(problem.model, problem.val, title="before")
    >>> _ = torch.nn.init.zeros_(problem.model.heads["audio"].weight)
    >>> comparison = compare(before, diagnose(problem.model, problem.val, title="after"))
    >>> tuple(comparison.differences["heads"]["image"])
    (0.0, 0.0, 0.0)
    >>> first, second = comparison.values["heads"]["audio"]
    >>> comparison.differences["heads"]["audio"].value == second.value - first.value
    True

    It is about these two trained models and says nothing of another training of either; there are many differences, of which some exclude
    zero by chance.

    :param first: a diagnosis from :func:`~equimodal.diagnose.diagnose` in this process.
    :param second: another one, of the same samples: positive differences are where its number is the larger.
    :returns: the differences of all that both have, and by the same definition.
    :raises InputError: for diagnoses of other samples, metrics, modalities, levels or draws, and those read from a file, which keeps no
        draws.
    """
    check_paired(first, second)
    bootstrap = Bootstrap(first.samples, resamples=first.resamples, level=first.level, seed=first.seed)
    one, other = numbers_of(first, bootstrap), numbers_of(second, bootstrap)
    errors, others = _drawing_errors(first), _drawing_errors(second)
    z = NormalDist().inv_cdf((1 + first.level) / 2)
    skipped: dict[str, str] = {}
    for name, why in otherwise_defined(first, second):
        if name.partition("/")[0] in {*one, *other}:
            skipped.setdefault(name, why)
    left_out = set(skipped)
    values: dict[str, dict[str, tuple[Interval, Interval]]] = {}
    differences: Numbers = {}
    for quantity in dict.fromkeys([*one, *other]):
        for part in one.get(quantity, {}):
            if part in other.get(quantity, {}) and not {quantity, f"{quantity}/{part.partition('/')[0]}"} & left_out:
                pair = one[quantity][part], other[quantity][part]
                drawing = z * errors.get((quantity, part), 0.0), z * others.get((quantity, part), 0.0)
                apart = _difference(*pair, bootstrap)
                values.setdefault(quantity, {})[part] = _widened(pair[0], drawing[0]), _widened(pair[1], drawing[1])
                differences.setdefault(quantity, {})[part] = _widened(apart, math.hypot(*drawing))
        if quantity in one and quantity in other and quantity not in left_out:
            for name, why in of_one_model(quantity, one[quantity], other[quantity]):
                skipped.setdefault(name, why)
        if (quantity in one) != (quantity in other):
            has, lacks = ("first", "second") if quantity in one else ("second", "first")
            nothing = quantity == "largest share" and (first.shapley and second.shapley)
            why = f"the modalities give the {lacks} model's score nothing to share out" if nothing else f"only the {has} model has it"
            skipped.setdefault(quantity, why)
    found = Comparison(
        first=first.title,
        second=second.title,
        modalities=first.modalities,
        split=first.split or second.split,
        samples=first.samples,
        metric=first.metric,
        level=first.level,
        resamples=first.resamples,
        seed=first.seed,
        values=values,
        differences=differences,
        skipped=skipped,
        version=__version__,
    )
    unlearned = tuple(at_chance(Facts(diagnosis)) is not None for diagnosis in (first, second))
    return dataclasses.replace(found, sentences=sentences(found, at_chance=(unlearned[0], unlearned[1])))


def paired_or_why(first: Diagnosis, second: Diagnosis) -> Comparison | str:
    """Return the comparison of :func:`compare`, or why there is none, in one line."""
    try:
        return compare(first, second)
    except InputError as error:
        return str(error)


def numbers_of(diagnosis: Diagnosis, bootstrap: Bootstrap) -> Numbers:
    """Return the numbers of a diagnosis by quantity and part, as a :class:`Comparison` has them.

    :param bootstrap: makes the intervals of what is not in the diagnosis.
    """
    found: Numbers = {
        "heads": dict(diagnosis.heads),
        "probes": dict(diagnosis.probes),
        "ablations": {f"{kind}/{name}": one.loss for kind, own in diagnosis.ablations.items() for name, one in own.items()},
        "utilization": dict(diagnosis.utilization),
        "gap": {} if diagnosis.gap is None else {"δ": diagnosis.gap},
        "shapley": {f"{kind}/{name}": value for kind, own in diagnosis.shapley.items() for name, value in own.values.items()},
        "interactions": {f"{kind}/{pair}": value for kind, own in diagnosis.shapley.items() for pair, value in own.interactions.items()},
        "largest share": _largest_shares(diagnosis.shapley, bootstrap),
        "valuation": dict(diagnosis.valuation),
        **{quantity: _encoders(diagnosis.encoders, quantity) for quantity in ENCODERS},
        "calibration": {head: one.expected_error for head, one in diagnosis.calibration.items()},
        "agreement": dict(diagnosis.agreement),
        "kappa": dict(diagnosis.kappa),
        "generalisation": dict(diagnosis.generalisation or {}),
    }
    for point in diagnosis.robustness:
        if point.share > 0:  # without any it is the joint score
            found.setdefault(point.kind, {})[f"{point.modality}/{point.share:g}"] = point.score
    kept = {quantity: {part: value for part, value in own.items() if value.value is not None} for quantity, own in found.items()}
    return {quantity: own for quantity, own in kept.items() if own}


ENCODERS = ("feature_norm", "effective_rank", "gradient_norm", "relative_gradient")
"""What is compared of encoders."""


def _encoders(encoders: Mapping[str, Encoder], quantity: str) -> dict[str, Interval]:
    found = {name: getattr(encoder, quantity) for name, encoder in encoders.items()}
    return {name: value for name, value in found.items() if value is not None}


def _largest_shares(shapley: Mapping[str, Shapley], bootstrap: Bootstrap) -> dict[str, Interval]:
    """Return by kind the share in all that the modalities give of the one with the largest value, the same one in every draw."""
    found = {}
    for kind, own in shapley.items():
        columns = {name: value.column for name, value in own.values.items() if isinstance(value, Drawn)}
        if len(columns) < len(own.values) or not columns:
            continue
        total = torch.stack(list(columns.values())).sum(dim=0)
        largest = max(columns.values(), key=lambda column: float(column[0]))
        found[kind] = bootstrap.interval(torch.where(total > 0, largest / total, torch.nan))
    return found


def _difference(one: Interval, other: Interval, bootstrap: Bootstrap) -> Interval:
    if isinstance(one, Drawn) and isinstance(other, Drawn):
        return bootstrap.interval(other.column - one.column, basic=one.basic or other.basic)
    # From the records of two runs, which keep no draws.
    return Interval.of(None if one.value is None or other.value is None else other.value - one.value)


def _drawing_errors(diagnosis: Diagnosis) -> dict[tuple[str, str], float]:
    """Return by quantity and part the standard error that the drawing of orders leaves; without exact values there is none."""
    found: dict[tuple[str, str], float] = {}
    for kind, own in diagnosis.shapley.items():
        known = {name: value.value for name, value in own.values.items() if value.value is not None}
        if not own.errors or not known:
            continue
        found |= {("shapley", f"{kind}/{name}"): error for name, error in own.errors.items()}
        largest, total = max(known, key=lambda name: known[name]), sum(known.values())
        if total > 0:  # which does not depend on the orders
            found["largest share", kind] = own.errors.get(largest, 0.0) / total
    return found


def _widened(interval: Interval, half: float) -> Interval:
    return interval.widened(half) if half > 0 else interval
