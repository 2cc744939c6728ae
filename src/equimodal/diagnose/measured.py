"""What was measured of a run that goes on, and how it reads in a terminal; torch is not needed for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from equimodal.diagnose.plain import as_plain
from equimodal.diagnose.quantities import Interval
from equimodal.diagnose.record import Diagnosis
from equimodal.diagnose.verdict_facts import Facts
from equimodal.report.cost import duration
from equimodal.report.terminal import fit, lay_out, paragraph
from equimodal.report.words import SPLIT_NAMES, clean
from equimodal.scores import MULTIMODAL

__all__ = ["Measured", "measured_lines", "one_line"]

_MISSING = "–"
_ENDS = re.compile(r"(?<=[.:!?]) (?=[A-Z])")
"""Where a sentence ends and another one begins."""
_SHORT = {"permutation": "perm."}


@dataclass(frozen=True)
class Measured:
    """A diagnosis of a run's checkpoint, with what only the watching of a run tells.

    :param diagnosis: of the samples that were taken.
    :param epoch: the checkpoint's.
    :param checkpoint: ``"last"``, or ``"best"`` of a run that keeps no last one.
    :param of: how many samples the split has.
    :param moved: by modality how far an epoch moved the trainable weights of its encoder, over their norm; None where it is not known.
    :param since: the epoch of the earlier checkpoint that this is counted from; where it is more than an epoch back, it is the mean.
    :param complete: whether the run is finished.
    :param same_data: whether the prepared data are those that the run was trained on.
    :param seconds: what it took.
    """

    diagnosis: Diagnosis
    epoch: int
    checkpoint: str
    of: int
    moved: dict[str, float | None] = field(default_factory=dict)
    since: int | None = None
    complete: bool = True
    same_data: bool = True
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON holds it; numbers that are not finite become None."""
        return {
            own.name: self.diagnosis.as_dict() if own.name == "diagnosis" else as_plain(getattr(self, own.name)) for own in fields(self)
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Measured:
        """Return that of which :meth:`as_dict` made this."""
        return cls(**{**values, "diagnosis": Diagnosis.from_dict(values["diagnosis"])})


class _Column(NamedTuple):
    """One quantity of every modality.

    :param head: what stands above it.
    :param values: by modality.
    :param shown: how a number of it reads; a second argument says whether one above zero has a sign.
    :param signed: whether it has.
    :param group: what stands above it and its neighbours.
    """

    head: str
    values: Mapping[str, Interval | None]
    shown: Callable[[float, bool], str]
    signed: bool = False
    group: str = ""

    def cell(self, name: str, ends: str) -> str:
        """Return a modality's number; see :func:`_with_ends`."""
        return _with_ends(self.values.get(name), lambda value, signed=False: self.shown(value, signed and self.signed), ends)


def measured_lines(measured: Measured, width: int = 80, *, compact: bool = False) -> list[str]:
    """Return what was measured as lines, the most important first.

    A table by modality: what the joint score loses without it, by every way of leaving it out; its Shapley value; the score of its linear
    probe; effective rank and norm of its features; how far an epoch moved its encoder. Then the first sentence of the verdict, what two
    modalities are worth together beyond one by one, calibration, agreement, what samples need, and the verdict's other sentences. In the
    table intervals stand where the width permits, that of the first column before all others.

    :param measured: what :class:`equimodal.diagnose.live.Live` found.
    :param width: the number of character cells of a line.
    :param compact: leave out intervals that would take a line more.
    """
    facts = Facts(measured.diagnosis)
    table, ends = _table(measured, facts, width, compact=compact)
    first, *others = _verdict(measured) or [""]
    texts = [f"verdict: {first}"] if first else []
    for whole, brief in zip(_joint(measured.diagnosis, facts, "["), _joint(measured.diagnosis, facts, ""), strict=True):
        texts.append(brief if compact and len(paragraph(brief, width)) < len(paragraph(whole, width)) else whole)
    texts += [f"also: {other}" for other in others]
    return [*paragraph(_heading(measured, ends), width), *table, *(part for text in texts for part in paragraph(text, width))]


def one_line(measured: Measured) -> str:
    """Return what was measured as one line for a pipe or a file, however long."""
    facts = Facts(measured.diagnosis)
    parts = []
    for column in _columns(measured, facts):
        cells = [f"{clean(name)} {column.cell(name, '[')}" for name in measured.diagnosis.modalities]
        parts.append(f"{f'{column.group} ({column.head})' if column.group else column.head}: {', '.join(cells)}")
    sentences = [f"verdict: {sentence}" for sentence in _verdict(measured)[:1]]
    return "; ".join([_heading(measured, "["), *parts, *_joint(measured.diagnosis, facts, "["), *sentences])


def _heading(measured: Measured, ends: str) -> str:
    record = measured.diagnosis
    seen = record.samples + record.incomplete
    number = f"{seen:,} {SPLIT_NAMES.get(record.split, record.split)} samples"
    if seen < measured.of:
        number = f"{seen:,} of {measured.of:,} {SPLIT_NAMES.get(record.split, record.split)} samples, evenly spaced"
    lacking = f", {record.incomplete:,} of which lack a modality and do not count" if record.incomplete else ""
    which = "" if measured.checkpoint == "last" else ", the best"
    level = f"{100 * record.level:g} %"
    interval = {"[": f"; [{level} interval]", "±": f"; ± half the {level} interval", "": ""}[ends if record.resamples else ""]
    other = "" if measured.same_data else "; other data than those it was trained on"
    return f"measured at epoch {measured.epoch}{which}, in {duration(measured.seconds)}: {number}{lacking}{interval}{other}"


def _verdict(measured: Measured) -> list[str]:
    """Return how each finding begins: as many of its sentences as it takes to say something."""
    # That a run which goes on has not come to rest is no finding.
    findings = [finding for finding in measured.diagnosis.findings if measured.complete or finding.kind != "undertrained"]
    said = []
    for finding in findings:
        sentences = _ENDS.split(clean(finding.sentence))
        said.append(
            next(text for end in range(1, len(sentences) + 1) if len(text := " ".join(sentences[:end])) > 60 or end == len(sentences))
        )
    return said


def _columns(measured: Measured, facts: Facts) -> list[_Column]:
    """Return the quantities that there are, by modality."""
    record, names = measured.diagnosis, measured.diagnosis.modalities

    def score(value: float, signed: bool) -> str:
        return facts.points(value, signed=signed)

    def plain(value: float, signed: bool) -> str:  # noqa: ARG001
        return f"{value:.3g}".replace("-", "−")

    def percent(value: float, signed: bool) -> str:  # noqa: ARG001
        return f"{100 * value:.1f} %" if value >= 0.001 else f"{100 * value:.1g} %"

    kinds = sorted(record.ablations, key=lambda kind: kind != facts.kind)
    lost = [
        _Column(_SHORT.get(kind, kind), {name: own.loss for name, own in record.ablations[kind].items()}, score, group="lost without")
        for kind in kinds
    ]
    encoders = record.encoders
    others = [
        _Column("Shapley", facts.worth, score, signed=True),
        _Column("probe", record.probes, score),
        _Column("rank", {name: own.effective_rank for name, own in encoders.items()}, plain),
        _Column("norm", {name: own.feature_norm for name, own in encoders.items()}, plain),
        _Column("gradient", {name: own.gradient_norm for name, own in encoders.items()}, plain),
        _Column("moved", {name: Interval.of(value) for name, value in measured.moved.items()}, percent),
    ]
    return [column for column in (*lost, *others) if any(_known(column.values.get(name)) for name in names)]


def _table(measured: Measured, facts: Facts, width: int, *, compact: bool) -> tuple[list[str], str]:
    """Return the lines of the table by modality, with as many intervals as there is room for, and how these are written."""
    columns = _columns(measured, facts)
    if not columns:
        return [], ""
    names = measured.diagnosis.modalities
    first = [column.head for column in columns[:1]]
    choices = [([column.head for column in columns], "["), ([*first, "Shapley", "probe"], "["), ([*first, "Shapley"], "[")]
    choices += [(first, "["), (first, "±"), *([([], "")] if compact else []), (first, "±")]
    for number, (with_ends, ends) in enumerate(choices, start=1):
        body = [
            [fit(clean(name), 16), *(column.cell(name, ends if column.head in with_ends else "") for column in columns)] for name in names
        ]
        headers = ["", *(column.head for column in columns)]
        lines = lay_out([headers], body, set(), width=width, groups=["", *(column.group for column in columns)])
        blocks = sum(not line for line in lines)
        if number == len(choices) or (blocks == 1 and max(map(len, lines)) <= width):
            break
    return [line for line in lines if line], ends


def _joint(record: Diagnosis, facts: Facts, ends: str) -> Iterator[str]:
    """Yield what is no modality's own, a line each."""

    def change(value: float, signed: bool = False) -> str:
        return facts.points(value, signed=signed)

    def score(value: float, signed: bool = False) -> str:  # noqa: ARG001
        return facts.points(value)

    def percent(value: float, signed: bool = False) -> str:  # noqa: ARG001
        return f"{100 * value:.1f}"

    def plain(value: float, signed: bool = False) -> str:  # noqa: ARG001
        return f"{value:.2f}".replace("-", "−")

    errors = {head: found.expected_error for head, found in record.calibration.items()}
    yield from _listed("interaction", facts.interactions, change, ends)
    yield from _listed("calibration error, %", errors, percent, ends)
    yield from _listed("agreement, Cohen's κ", _by_modality(record.kappa), plain, ends)
    yield from _listed("agreement, % of samples", _by_modality(record.agreement), percent, ends)
    yield from _listed("what samples need, %", record.valuation, percent, ends)
    yield from _listed("score", record.heads, score, ends)


def _by_modality(pairs: Mapping[str, Interval]) -> dict[str, Interval]:
    """Return the pairs of single modalities first: those with the joint head say less."""
    return dict(sorted(pairs.items(), key=lambda item: MULTIMODAL in item[0].split(" & ")))


def _listed(what: str, values: Mapping[str, Interval], shown: Callable[..., str], ends: str) -> Iterator[str]:
    found = [f"{clean(name)} {_with_ends(value, shown, ends)}" for name, value in values.items() if _known(value)]
    if found:
        yield f"{what}: {', '.join(found)}"


def _known(interval: Interval | None) -> bool:
    return interval is not None and interval.value is not None


def _with_ends(interval: Interval | None, shown: Callable[..., str], ends: str) -> str:
    """Return a number with its interval in brackets, with half its width after a ±, or alone."""
    if interval is None or interval.value is None:
        return _MISSING
    value = shown(interval.value, True)
    if not ends or interval.low is None or interval.high is None:
        return value
    if ends == "±":
        return f"{value} ±{shown((interval.high - interval.low) / 2)}"
    return f"{value} [{shown(interval.low)}, {shown(interval.high)}]"
