"""A diagnosis as text for a terminal: the verdict first, then tables with intervals, and at the end what is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from equimodal.diagnose.verdict_facts import TAU, Facts
from equimodal.report.terminal import fit, lay_out, paragraph, wrap
from equimodal.report.words import SPLIT_NAMES, clean, title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.diagnose.record import Diagnosis, Finding, Interval

__all__ = ["render", "render_comparison"]

_MISSING = "–"
_NAME = 18
_TOGETHER = re.compile(r"(?<=\d) (?=%)|(?<=[τμδ]) (?==)|(?<=[τμδ] =) (?=\d)")
"""Spaces within what is not to be broken."""
_FILLED_IN = {
    "mean": "mean: its mean over {mean_of}",
    "zero": "zero: zeros",
    "permutation": "permutation: that of other samples{donors}",
    "absent": "absent: the model is told that it is not there",
}
_PLACES = {"features": "in the encoders' features", "inputs": "in the inputs", "subsets": "by the model itself"}


def render(diagnosis: Diagnosis, width: int = 80) -> str:
    """Return a diagnosis as text.

    :param diagnosis: what was found.
    :param width: the number of character cells of a line, at least 40.
    """
    width = max(width, 40)
    text = _Text(Facts(diagnosis), width)
    lines = [*_title(diagnosis, width), "", *_verdict(diagnosis.findings, width)]
    sections = (
        text.scores(),
        text.losses(),
        text.shares(),
        text.valuation(),
        text.interactions(),
        text.encoders(),
        text.calibration(),
        text.agreement(),
        text.robustness(),
        text.curves(),
    )
    for section in sections:
        found = list(section)
        if found:
            lines += [*found, *([""] if found[-1] else [])]
    lines += _ends(diagnosis, width)
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _title(diagnosis: Diagnosis, width: int) -> list[str]:
    split = f"{SPLIT_NAMES.get(diagnosis.split, clean(diagnosis.split))} split, " if diagnosis.split else ""
    lacking = f"; {diagnosis.incomplete:,} more lack a modality and are left out" if diagnosis.incomplete else ""
    facts = f"{split}{diagnosis.samples:,} samples with {' and '.join(map(clean, diagnosis.modalities))}{lacking}"
    return [*wrap(clean(diagnosis.title), width).split("\n"), *wrap(title_case(facts), width).split("\n")]


def _verdict(findings: Sequence[Finding], width: int) -> Iterator[str]:
    if not findings:
        yield from wrap("No verdict was made; see the end.", width).split("\n")
        yield ""
        return
    yield "Verdict"
    yield "═" * width
    for number, finding in enumerate(findings, start=1):
        mark = f"{number}. "
        yield from _hanging(mark, clean(finding.sentence), width)
        yield from _hanging(f"{' ' * (len(mark))}→ ", clean(finding.advice) if finding.advice else "Nothing needs to be done.", width)
        yield ""


def _hanging(mark: str, text: str, width: int) -> Iterator[str]:
    """Yield the lines of a text that stand beside a mark."""
    whole = _TOGETHER.sub("\N{NO-BREAK SPACE}", text)
    for number, line in enumerate(wrap(whole, width - len(mark)).split("\n")):
        yield f"{mark if number == 0 else ' ' * len(mark)}{line}".replace("\N{NO-BREAK SPACE}", " ")


class _Text:
    """The tables of a diagnosis.

    :param facts: its numbers, and how they read.
    :param width: of a line.
    """

    def __init__(self, facts: Facts, width: int) -> None:
        self.facts = facts
        self.record = facts.record
        self.width = width

    def table(self, title: str, headers: Sequence[str], body: Sequence[Sequence[str]], *, groups: Sequence[str] = ()) -> Iterator[str]:
        """Yield a table below its title."""
        if not body:
            return
        yield from wrap(title, self.width).split("\n")
        named = [[fit(clean(row[0]), max(_NAME, self.width - 60)), *row[1:]] for row in body]
        yield from lay_out([list(headers)], named, set(), width=self.width, groups=groups)

    def note(self, text: str) -> list[str]:
        """Return a line of explanation below a table, and an empty one."""
        return [*_hanging("", text, self.width), ""]

    def scores(self) -> Iterator[str]:
        heads, probes, gaps = self.record.heads, self.record.probes, self.record.generalisation or {}
        names = [MULTIMODAL, *self.record.modalities]
        body = []
        for name in names:
            if name not in heads and name not in probes:
                continue
            gap = gaps.get(name)
            cells = [*self._cells(heads.get(name)), *self._cells(probes.get(name))]
            body.append([name, *cells, _MISSING if gap is None else self.facts.points(gap, signed=True)])
        groups = ("", "head", "head", "linear probe", "linear probe", "")
        unit = " in percent" if self.facts.percent else ""
        keep = [0, 1, 2, *([3, 4] if probes else []), *([5] if gaps else [])]
        other = "here" if self.record.mean_of == "train" else "val"  # else the gap is that which a run recorded
        headers = ["", "score", self._level, "score", self._level, f"train − {other}"]
        yield from self.table(
            f"{title_case(self.facts.metric)}{unit}",
            [headers[column] for column in keep],
            [[row[column] for column in keep] for row in body],
            groups=[groups[column] for column in keep],
        )
        notes = [] if self.facts.baseline is None else [f"Knowing nothing scores {self.facts.score(self.facts.baseline)}."]
        if probes:
            on = "the train split" if self.record.probes_fitted_on == "train" else "four fifths of these samples, in turn"
            notes.append(f"Probes are fitted on {on}.")
        if notes and body:
            yield from self.note(" ".join(notes))

    def losses(self) -> Iterator[str]:
        kinds = list(self.record.ablations)
        body = []
        for name in self.record.modalities:
            own = [self.record.ablations[kind].get(name) for kind in kinds]
            body.append([name, *(cell for one in own for cell in self._cells(None if one is None else one.loss, signed=True))])
        headers = ["left out", *(text for _ in kinds for text in ("loss", self._level))]
        groups = ["", *(kind for kind in kinds for _ in range(2))]
        yield from self.table("What the joint score loses without a modality", headers, body if kinds else [], groups=groups)
        if kinds:
            means = "the train split" if self.record.mean_of == "train" else "these samples"
            donors = f", over {self.record.donors} permutations" if self.record.donors > 1 else ""
            how = "; ".join(_FILLED_IN[kind].format(mean_of=means, donors=donors) for kind in kinds if kind in _FILLED_IN)
            place = "" if kinds == ["absent"] else f", {_PLACES[self.record.ablated]}"
            yield from self.note(f"What stands for it{place}: {how}.")

    def shares(self) -> Iterator[str]:
        rates, worth = self.record.utilization, self.facts.worth
        body = []
        for name in self.record.modalities:
            share = self.facts.share(name)
            cells = [*self._plain(rates.get(name)), *self._cells(worth.get(name), signed=True)]
            body.append([name, *cells, _MISSING if share is None else f"{round(100 * share) + 0:d} %".replace("-", "−")])
        keep = [0, *([1, 2] if rates else []), *([3, 4, 5] if worth else [])]
        headers = ["", "u", self._level, "value", self._level, "share"]
        kind = f"Shapley value ({self.facts.kind})" if self.facts.kind else "Shapley value"
        groups = ["", "utilization rate", "utilization rate", kind, kind, kind]
        yield from self.table(
            "How much of the joint score is each modality's",
            [headers[column] for column in keep],
            [[row[column] for column in keep] for row in body] if len(keep) > 1 else [],
            groups=[groups[column] for column in keep],
        )
        gap = self.record.gap
        if rates and gap is not None and gap.value is not None:
            yield from self.note(f"Utilization gap δ = {self.facts.plain(gap)}; MILES begins with τ = {TAU:g}.")

    def valuation(self) -> Iterator[str]:
        body = [[name, *self._percent(share)] for name, share in self.record.valuation.items()]
        yield from self.table("What samples need to be right, in percent of them", ["", "share", self._level], body)

    def interactions(self) -> Iterator[str]:
        body = [[pair, *self._cells(value, signed=True)] for pair, value in self.facts.interactions.items()]
        yield from self.table("Interaction: worth more together (+), or telling the same (−)", ["pair", "value", self._level], body)

    def encoders(self) -> Iterator[str]:
        found = self.record.encoders
        rows: list[list[str]] = []
        for name, encoder in found.items():
            norm = self._plain(encoder.feature_norm, digits=2)
            rank = _MISSING if encoder.effective_rank is None else f"{encoder.effective_rank:.1f}"
            size = _MISSING if encoder.feature_size is None else f"{encoder.feature_size:,}"
            rows.append([name, f"{encoder.parameters:,}", f"{encoder.trainable:,}", size, *norm, rank])
        headers = ["", "parameters", "trained", "features", "norm", self._level, "effective rank"]
        yield from self.table("Encoders", headers, rows)
        body = [
            [name, *(_MISSING if value is None else f"{value:.3g}" for value in (encoder.gradient_norm, encoder.update_size))]
            for name, encoder in found.items()
            if encoder.gradient_norm is not None
        ]
        yield from self.table("Gradient that reaches an encoder", ["", "norm", "relative to its parameters"], body)

    def calibration(self) -> Iterator[str]:
        body = [
            [head, *self._percent(found.expected_error), f"{100 * found.confidence:.1f}"] for head, found in self.record.calibration.items()
        ]
        yield from self.table("Calibration, in percent", ["head", "expected error", self._level, "mean confidence"], body)

    def agreement(self) -> Iterator[str]:
        body = [[pair, *self._percent(share)] for pair, share in self.record.agreement.items()]
        yield from self.table("Heads that predict the same, in percent of samples", ["", "share", self._level], body)

    def robustness(self) -> Iterator[str]:
        points = self.record.robustness
        for kind, title in (
            ("missing", "Joint score where a share of the samples lacks a modality"),
            ("noise", "Joint score with noise, by its standard deviation relative to the input's"),
        ):
            own = [point for point in points if point.kind == kind]
            shares = sorted({point.share for point in own})
            of = {(point.modality, point.share): point.score for point in own}
            body = []
            for name in dict.fromkeys(point.modality for point in own):
                scores = (of.get((name, share)) for share in shares)
                body.append([name, *(self._cells(score)[0] for score in scores)])
            yield from self.table(title, ["", *(f"{share:g}" for share in shares)], body)

    def curves(self) -> Iterator[str]:
        from equimodal.diagnose.watch import spark

        epochs = self.record.curves or ()
        if len(epochs) < 2:
            return
        room = max(10, min(len(epochs), self.width - 50))
        body = []
        for head in (MULTIMODAL, *self.record.modalities):
            curve = [epoch.val.get(head) for epoch in epochs]
            ends = [next((value for value in side if value is not None), None) for side in (curve, curve[::-1])]
            if any(value is not None for value in curve):
                body.append([head, self._score(ends[0]), spark(curve, room), self._score(ends[1])])
        gaps = [epoch.gap for epoch in epochs]
        if any(gap is not None for gap in gaps):
            first, last = (next(gap for gap in side if gap is not None) for side in (gaps, gaps[::-1]))
            body.append(["gap δ", f"{first:.2f}", spark(gaps, room), f"{last:.2f}"])
        yield from self.table(f"Validation scores over {len(epochs)} epochs", ["", "first", "", "last"], body)

    @property
    def _level(self) -> str:
        return f"{100 * self.record.level:g} %"

    def _score(self, value: float | None) -> str:
        return _MISSING if value is None else self.facts.points(value)

    def _cells(self, interval: Interval | None, *, signed: bool = False) -> list[str]:
        """Return a score and its interval as two cells."""
        if interval is None or interval.value is None:
            return [_MISSING, ""]
        ends = [None if end is None else self.facts.points(end) for end in (interval.low, interval.high)]
        return [self.facts.points(interval.value, signed=signed), "" if None in ends else " to ".join(map(str, ends))]

    @staticmethod
    def _percent(interval: Interval | None) -> list[str]:
        """Return a share and its interval in percent, whatever the metric is."""
        if interval is None or interval.value is None:
            return [_MISSING, ""]
        ends = "" if interval.low is None or interval.high is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"
        return [f"{100 * interval.value:.1f}", ends]

    @staticmethod
    def _plain(interval: Interval | None, digits: int = 2) -> list[str]:
        """Return a number that is no score, and its interval."""
        if interval is None or interval.value is None:
            return [_MISSING, ""]

        def shown(value: float) -> str:
            return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")

        ends = "" if interval.low is None or interval.high is None else f"{shown(interval.low)} to {shown(interval.high)}"
        return [shown(interval.value), ends]


def _ends(diagnosis: Diagnosis, width: int) -> list[str]:
    lines = []
    if diagnosis.resamples:
        how = f"Intervals: {100 * diagnosis.level:g} %, {diagnosis.resamples:,} bootstrap samples, the same for all numbers."
        lines += [*wrap(how, width).split("\n"), ""]
    if diagnosis.skipped:
        lines.append("Not there")
        for quantity, why in diagnosis.skipped.items():
            lines += paragraph(f"  {clean(quantity)}: {clean(why)}", width)
    return lines


def render_comparison(one: Diagnosis, other: Diagnosis, width: int = 80) -> str:
    """Return two models side by side: scores, what is lost without each modality, and the first sentence of each verdict.

    Differences have no interval: the models may have been scored on other samples.

    :param one: A.
    :param other: B.
    :param width: the number of character cells of a line.
    """
    facts = {"A": Facts(one), "B": Facts(other)}
    text = {letter: _Text(own, width) for letter, own in facts.items()}
    lines: list[str] = []
    for letter, own in facts.items():
        record = own.record
        lines += _hanging(f"{letter}  ", f"{clean(record.title)}, {record.samples:,} samples", width)
        lines += _hanging("   ", clean(record.findings[0].sentence) if record.findings else "No verdict.", width)
        lines.append("")
    names = list(dict.fromkeys([*one.modalities, *other.modalities]))
    body: list[list[str]] = []

    def row(label: str, of: Mapping[str, Interval | None], *, plain: bool = False, signed: bool = False) -> None:
        cells = [text[key]._plain(of[key]) if plain else text[key]._cells(of[key], signed=signed) for key in "AB"]
        if any(cell[0] != _MISSING for cell in cells):
            body.append([fit(clean(label), width - 50), *cells[0], *cells[1]])

    for head in (MULTIMODAL, *names):
        row(head, {key: own.record.heads.get(head) for key, own in facts.items()})
    for name in names:
        row(f"loss without {name}", {key: own.losses.get(name) for key, own in facts.items()}, signed=True)
    row("utilization gap δ", {key: own.record.gap for key, own in facts.items()}, plain=True)
    level = text["A"]._level
    headers = [["", "value", level, "value", level]]
    lines += lay_out(headers, body, set(), width=width, groups=["", "A", "A", "B", "B"])
    return "\n".join(line.rstrip() for line in lines).rstrip()
