"""The claims of the MILES paper, one by one, against the figures of a study."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from equimodal.report.words import listing
from equimodal.study.records import TRAINING_SCORES
from equimodal.study.statistics import Paired, paired
from equimodal.study.tables import shared
from equimodal.study.tables.sensitivity import by_value, sweeps
from equimodal.study.tables.shared import JOINT, MILES
from equimodal.study.verdict.evidence import (
    MEASURES,
    Finding,
    Measure,
    Status,
    by_seed,
    compared,
    decided,
    points,
    seeds,
    sweep_by_seed,
    unknown,
)

if TYPE_CHECKING:
    from equimodal.study.records import DataRecord, StudyRecord, TrialRecord

    Values = Mapping[float, Sequence[TrialRecord]]

__all__ = ["MARGIN", "claims"]

MARGIN = 0.01
"""Scores within one percentage point count as comparable where the paper says so without a number of its own."""

NEAR_ONE, SMALL_MU = 0.9, 0.1
"""What counts as near 1 and as very small."""

USUAL_MU = 0.5
"""The paper's best μ, which its smallest ones are held against."""

_MULTIMODAL, _WEAKEST, _DIFFERENCE = MEASURES
_STRONGEST = Measure(
    "strongest", lambda names: f"the strongest head ({names[0]})", 1, lambda scores, names: scores.get(names[0])
)  # named by the data set, not by what a run makes of it


def claims(record: StudyRecord, data: DataRecord) -> list[Finding]:
    """Return the paper's claims on one data set, those that the study has rows for."""
    found: list[Finding] = []
    for fusion in record.fusions(data.label):
        if MILES in record.rows(data.label, fusion):
            found += _bests(record, data, fusion)
        found += _sweeps(record, data, fusion)
        if record.one("final", data.label, fusion, TRAINING_SCORES) is not None:
            found += _training(record, data, fusion)
    if set(record.fusions(data.label)) >= {"concat", "sum"}:
        found.append(_fusions(record, data))
    return found


# --- MILES against all others


def _bests(record: StudyRecord, data: DataRecord, fusion: str) -> list[Finding]:
    wanted = (
        ("MILES has the best multimodal score", "best multimodal", _MULTIMODAL),
        ("MILES has the best weaker head", "best weakest head", _WEAKEST),
        ("MILES has the smallest |Δ|", "smallest difference", _DIFFERENCE),
    )
    return [_best(record, data, fusion, claim) for claim in wanted]


def _best(record: StudyRecord, data: DataRecord, fusion: str, claim: tuple[str, str, Measure]) -> Finding:
    said, topic, measure = claim
    others = [row for row in record.rows(data.label, fusion) if row != MILES]
    labels = {row: shared.label_of(record, data.label, fusion, row) for row in others}
    tests = {row: compared(record, data, fusion, (MILES, row), measure) for row in others}
    known = {row: test for row, test in tests.items() if test.mean is not None}
    behind = [row for row, test in tests.items() if test.sign == -measure.better]
    ahead = [row for row, test in tests.items() if test.sign == measure.better]
    status: Status = "disagree" if behind else "agree" if others and len(ahead) == len(others) else "cannot be told"
    parts = []
    if known:
        best = min(known, key=lambda row: measure.better * (known[row].mean or 0.0))
        parts.append(f"Against {labels[best]}, the best of the others: {points(known[best])}.")
    parts += [f"Better than {listing(labels[row] for row in ahead)}."] if ahead else []
    parts += [f"Worse than {listing(labels[row] for row in behind)}."] if behind else []
    open_ = [labels[row] for row in known if row not in (*ahead, *behind)]
    parts += [f"Not to be told apart from {listing(open_)}."] if open_ else []
    missing = [labels[row] for row in others if row not in known]
    parts += [f"Without any common seed: {listing(missing)}."] if missing else []
    parts += ["The study has no other method."] if not others else []
    evidence = {f"MILES − {labels[row]}": test for row, test in tests.items()}
    return _finding(data, fusion, said, " ".join(parts), status, topic, measure.key, evidence)


# --- sweeps of τ and μ


def _sweeps(record: StudyRecord, data: DataRecord, fusion: str) -> list[Finding]:
    found = []
    series = {option: sweeps(record, data.label, option).get(fusion) for option in ("tau", "mu")}
    values = {option: {} if one is None else by_value(one) for option, one in series.items()}
    if len(values["tau"]) > 1:
        largest, smallest = max(values["tau"]), min(values["tau"])
        tests = {
            measure.key: paired(*(sweep_by_seed(values["tau"][value], data, measure) for value in (smallest, largest)))
            for measure in (_WEAKEST, _STRONGEST)
        }
        weak, strong = tests["weakest"], tests["strongest"]
        status: Status = decided(weak.sign) if weak.sign * strong.sign else "cannot be told"
        status = "disagree" if weak.sign < 0 or strong.sign > 0 else status
        text = (
            f"From τ = {largest:g} to {smallest:g}, {_WEAKEST.name(data.modalities)} changes by {points(weak)}, "
            f"{_STRONGEST.name(data.modalities)} by {points(strong)}. {_why(weak, strong)}"
        )
        evidence = {f"{key}, τ {smallest:g} − {largest:g}": test for key, test in tests.items()}
        found.append(
            _finding(
                data, fusion, "A small τ balances at the cost of the dominant modality", text, status, "small tau", "weakest", evidence
            )
        )
    if values["mu"] and max(values["mu"]) >= NEAR_ONE:
        found.append(_mu_near_one(record, data, fusion, values))
    if len(values["mu"]) > 1 and min(values["mu"]) <= SMALL_MU:
        found.append(_mu_small(data, fusion, values["mu"]))
    return found


def _mu_near_one(record: StudyRecord, data: DataRecord, fusion: str, values: Mapping[str, Values]) -> Finding:
    """Hold the largest μ against joint training, or, where that has more seeds, against the largest τ, which seldom slows."""
    largest = max(values["mu"])
    tests = {}
    for measure in (_MULTIMODAL, _WEAKEST):
        ours = sweep_by_seed(values["mu"][largest], data, measure)
        against = {"Joint": by_seed(record, data, fusion, JOINT, measure)}
        if values["tau"]:
            most = max(values["tau"])
            against[f"τ = {most:g}"] = sweep_by_seed(values["tau"][most], data, measure)
        found = {name: paired(ours, theirs) for name, theirs in against.items()}
        name = max(found, key=lambda name: found[name].count)
        tests[f"{measure.key}, μ = {largest:g} against {name}"] = found[name]
    status = _all([_comparable(test) for test in tests.values()])
    told = "; ".join(f"{name}: {points(test)}" for name, test in tests.items())
    text = f"{told}. Comparable means an interval within ± {100 * MARGIN:g} point. {_why(*tests.values(), zero=False)}"
    return _finding(data, fusion, "μ near 1 has no effect", text, status, "mu near 1", "multimodal", tests)


def _mu_small(data: DataRecord, fusion: str, values: Values) -> Finding:
    smallest = min(values)
    usual = min((value for value in values if value != smallest), key=lambda value: abs(value - USUAL_MU))
    test = paired(*(sweep_by_seed(values[value], data, _MULTIMODAL) for value in (smallest, usual)))
    text = f"From μ = {usual:g} to {smallest:g}, the multimodal score changes by {points(test)}. {unknown(test)}"
    evidence = {f"μ {smallest:g} − {usual:g}": test}
    return _finding(data, fusion, "A very small μ hurts", text, decided(test.sign, agree=-1), "small mu", "multimodal", evidence)


# --- training against validation scores, sum against concat


def _training(record: StudyRecord, data: DataRecord, fusion: str) -> list[Finding]:
    test = compared(record, data, fusion, (TRAINING_SCORES, MILES), _MULTIMODAL)
    margin = f"Comparable means an interval within ± {100 * MARGIN:g} point."
    text = f"Training − validation scores, multimodal: {points(test)}. {margin} {_why(test, zero=False)}"
    claim, name = "MILES by training scores is comparable", "training − validation"
    found = [_finding(data, fusion, claim, text, _comparable(test), "training scores", "multimodal", {name: test})]
    epochs = [
        {seed: None if epoch is None else float(epoch) for seed, epoch in one.epochs.items()}
        for one in (shared.readings(record.one("final", data.label, fusion, row), data.modalities) for row in (TRAINING_SCORES, MILES))
    ]
    later = paired(epochs[0], epochs[1])
    half = "" if later.half_width is None else f" ± {later.half_width:.1f}"
    told = "unknown" if later.mean is None else f"{later.mean:+.1f}{half} epochs ({seeds(later.count)})".replace("-", "−")
    text = f"The best epoch with training scores comes later by {told}. {unknown(later)}"
    claim = "MILES by training scores is slower to its best epoch"
    return [*found, _finding(data, fusion, claim, text, decided(later.sign), "training scores slower", "epoch", {name: later})]


def _fusions(record: StudyRecord, data: DataRecord) -> Finding:
    """Hold summation against concatenation: the mean over all methods that have both, seed by seed."""
    rows = [row for row in record.rows(data.label, "sum") if row in record.rows(data.label, "concat")]
    means: list[float] = []
    by_unit: dict[int, list[float]] = {}
    for row in rows:
        ours, theirs = (by_seed(record, data, fusion, row, _MULTIMODAL) for fusion in ("sum", "concat"))
        means += [test.mean for test in (paired(ours, theirs),) if test.mean is not None]
        for seed, score in ours.items():
            other = theirs.get(seed)
            if score is not None and other is not None:
                by_unit.setdefault(seed, []).append(score - other)
    # Only seeds that all of these methods have make means over the same methods.
    full = {seed: statistics.fmean(values) for seed, values in by_unit.items() if len(values) == len(means)}
    test = paired(full, dict.fromkeys(full, 0.0))
    text = (
        f"Sum − concat, mean over {len(means)} methods, multimodal: {points(test)}; the sum is better for "
        f"{sum(mean > 0 for mean in means)} of {len(means)}. {unknown(test)}"
    )
    claim, evidence = "Summation is at least as good as concatenation for most methods", {"sum − concat": test}
    return _finding(data, "", claim, text, decided(test.sign), "sum − concat", "multimodal", evidence)


def _comparable(test: Paired) -> Status:
    """Return whether two things are shown to be comparable: not by an interval that merely holds zero, which any short of seeds would."""
    if test.interval is None:
        return "cannot be told"
    low, high = test.interval
    if max(abs(low), abs(high)) <= MARGIN:
        return "agree"
    return "disagree" if low > MARGIN or high < -MARGIN else "cannot be told"


def _all(statuses: Sequence[Status]) -> Status:
    return "disagree" if "disagree" in statuses else "agree" if set(statuses) == {"agree"} else "cannot be told"


def _why(*tests: Paired, zero: bool = True) -> str:
    """Say once why comparisons decide nothing; where holding zero is no reason, only what lacks an interval."""
    reasons = [unknown(test) for test in tests if zero or test.interval is None]
    return " ".join(dict.fromkeys(filter(None, reasons)))


def _finding(
    data: DataRecord, fusion: str, claim: str, text: str, status: Status, topic: str, measure: str, evidence: Mapping[str, Paired]
) -> Finding:
    place = f"{data.label}, {fusion}" if fusion else data.label
    return Finding(f"{place}: {claim}", text.strip(), status, "claim", data.label, fusion, topic, measure, evidence)
