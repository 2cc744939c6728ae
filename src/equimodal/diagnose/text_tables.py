"""The tables of a diagnosis in a terminal: numbers with their intervals, and a line below that says what they are of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from equimodal.report.terminal import fit, lay_out, wrap
from equimodal.report.words import clean, title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.diagnose.quantities import Encoder, Interval
    from equimodal.diagnose.verdict_facts import Facts

__all__ = ["MISSING", "Tables", "hanging"]

MISSING = "–"
"""Stands for a number that is not there."""
_NAME = 18
_MANY = 10
"""Of more pairs than this only some are shown."""
_TOGETHER = re.compile(r"(?<=\d) (?=%)|(?<=[τμδκ]) (?==)|(?<=[τμδκ] =) (?=\d)")
"""Spaces within what is not to be broken."""
_FILLED_IN = {
    "mean": "mean: its mean over {mean_of}",
    "zero": "zero: zeros",
    "permutation": "permutation: that of other samples{donors}",
    "absent": "absent: the model is told that it is not there",
}
_PLACES = {"features": "in the encoders' features", "inputs": "in the inputs", "subsets": "by the model itself"}


def hanging(mark: str, text: str, width: int) -> Iterator[str]:
    """Yield the lines of a text that stand beside a mark."""
    whole = _TOGETHER.sub("\N{NO-BREAK SPACE}", text)
    for number, line in enumerate(wrap(whole, width - len(mark)).split("\n")):
        yield f"{mark if number == 0 else ' ' * len(mark)}{line}".replace("\N{NO-BREAK SPACE}", " ")


class Tables:
    """The tables of a diagnosis, each as lines; none where there is nothing to say.

    :param facts: its numbers, and how they read.
    :param width: of a line.
    """

    def __init__(self, facts: Facts, width: int) -> None:
        self.facts = facts
        self.record = facts.record
        self.width = width

    def everything(self) -> Iterator[list[str]]:
        """Yield the lines of every table that there is."""
        for make in (
            self.scores,
            self.losses,
            self.shares,
            self.valuation,
            self.interactions,
            self.encoders,
            self.calibration,
            self.agreement,
            self.robustness,
            self.curves,
        ):
            if lines := list(make()):
                yield lines

    def table(self, title: str, headers: Sequence[str], body: Sequence[Sequence[str]], *, groups: Sequence[str] = ()) -> Iterator[str]:
        """Yield a table below its title; columns in which nothing stands are left out."""
        if not body:
            return
        keep = [column for column in range(len(headers)) if column == 0 or any(row[column] not in ("", MISSING) for row in body)]
        if len(keep) == 1:
            return
        yield from wrap(title, self.width).split("\n")
        named = [[fit(clean(row[0]), max(_NAME, self.width - 60)), *(row[column] for column in keep[1:])] for row in body]
        shown = [groups[column] for column in keep] if groups else ()
        yield from lay_out([[headers[column] for column in keep]], named, set(), width=self.width, groups=shown)

    def note(self, text: str) -> list[str]:
        """Return a line of explanation below a table, and an empty one."""
        return [*hanging("", text, self.width), ""]

    def scores(self) -> Iterator[str]:
        """Yield the scores of heads and probes, and what heads lose from training to other samples."""
        heads, probes, gaps = self.record.heads, self.record.probes, self.record.generalisation or {}
        names = [name for name in (MULTIMODAL, *self.record.modalities) if name in heads or name in probes]
        body = [
            [name, *self.cells(heads.get(name)), *self.cells(probes.get(name)), *self.cells(gaps.get(name), signed=True)] for name in names
        ]
        other = "here" if self.record.mean_of == "train" else "val"  # else the gap is that which a run recorded
        groups = ("", "head", "head", "linear probe", "linear probe", f"train − {other}", f"train − {other}")
        headers = ("", "score", self.level, "score", self.level, "gap", self.level)
        unit = " in percent" if self.facts.percent else ""
        yield from self.table(f"{title_case(self.facts.metric)}{unit}", headers, body, groups=groups)
        notes = [] if self.facts.baseline is None else [f"Knowing nothing scores {self.facts.score(self.facts.baseline)}."]
        if probes:
            on = "the train split" if self.record.probes_fitted_on == "train" else "four fifths of these samples, in turn"
            notes.append(f"Probes are fitted on {on}.")
        if notes and body:
            yield from self.note(" ".join(notes))

    def losses(self) -> Iterator[str]:
        """Yield what is lost without each modality, by each way of leaving it out."""
        kinds = list(self.record.ablations)
        body = []
        for name in self.record.modalities:
            own = [self.record.ablations[kind].get(name) for kind in kinds]
            body.append([name, *(cell for one in own for cell in self.cells(None if one is None else one.loss, signed=True))])
        headers = ["left out", *(text for _ in kinds for text in ("loss", self.level))]
        groups = ["", *(kind for kind in kinds for _ in range(2))]
        yield from self.table("What the joint score loses without a modality", headers, body if kinds else [], groups=groups)
        if kinds:
            means = "the train split" if self.record.mean_of == "train" else "these samples"
            donors = f", over {self.record.donors} permutations" if self.record.donors > 1 else ""
            how = "; ".join(_FILLED_IN[kind].format(mean_of=means, donors=donors) for kind in kinds if kind in _FILLED_IN)
            place = "" if kinds == ["absent"] else f", {_PLACES[self.record.ablated]}"
            yield from self.note(f"What stands for it{place}: {how}.")

    def shares(self) -> Iterator[str]:
        """Yield utilization rates and Shapley values, with what the drawing of orders leaves open where not all were evaluated."""
        rates, shares = self.record.utilization, self.facts.shares
        worth = self.facts.worth
        drawn = None if shares is None or shares.exact else shares
        errors = {} if drawn is None else drawn.errors or {}
        body = []
        for name in self.record.modalities:
            share = self.facts.share(name)
            part = MISSING if share is None else f"{round(100 * share) + 0:d} %".replace("-", "−")
            error = f"±{self.facts.points(errors[name])}" if name in errors else ""
            body.append([name, *self.plain(rates.get(name)), *self.cells(worth.get(name), signed=True), error, part])
        kind = f"Shapley value ({self.facts.kind})" if self.facts.kind else "Shapley value"
        groups = ["", "utilization rate", "utilization rate", *[kind] * 4]
        headers = ["", "u", self.level, "value", self.level, "drawn", "share"]
        yield from self.table("How much of the joint score is each modality's", headers, body, groups=groups)
        notes = []
        gap = self.record.gap
        if rates and gap is not None and gap.value is not None:
            notes.append(f"Utilization gap δ = {self.facts.plain(gap)}; threshold τ = {self.facts.tau:g}.")
        if drawn is not None and errors:
            notes.append(f"Drawn: the standard error of {drawn.orders or 'some'} drawn orders instead of all; intervals hold it too.")
        if notes:
            yield from self.note(" ".join(notes))

    def valuation(self) -> Iterator[str]:
        """Yield what samples need."""
        body = [[name, *self.percent(share)] for name, share in self.record.valuation.items()]
        yield from self.table("What samples need to be right, in percent of them", ["", "share", self.level], body)

    def interactions(self) -> Iterator[str]:
        """Yield what pairs are worth together beyond what each is by itself."""
        found = self.facts.interactions
        largest = sorted(found, key=lambda pair: -abs(found[pair].value or 0.0))[:_MANY]
        body = [[pair, *self.cells(value, signed=True)] for pair, value in found.items() if pair in largest]
        yield from self.table("Interaction: worth more together (+), or telling the same (−)", ["pair", "value", self.level], body)
        if len(found) > len(body):
            yield from self.note(f"The {len(body)} largest of {len(found)}; all are on the page and in the files.")

    def encoders(self) -> Iterator[str]:
        """Yield the facts on encoders and features, then those on gradients and updates."""
        found = self.record.encoders
        rows: list[list[str]] = []
        for name, encoder in found.items():
            size = MISSING if encoder.feature_size is None else f"{encoder.feature_size:,}"
            facts = [*self.plain(encoder.feature_norm), *self.plain(encoder.effective_rank, digits=1)]
            rows.append([name, f"{encoder.parameters:,}", f"{encoder.trainable:,}", size, *facts])
        headers = ["", "parameters", "trained", "features", "norm", self.level, "rank", self.level]
        groups = ["", "", "", "", "feature norm", "feature norm", "effective rank", "effective rank"]
        yield from self.table("Encoders", headers, rows, groups=groups)
        if any(_outside(encoder.effective_rank) for encoder in found.values()):
            yield from self.note("Few samples make a rank too small: its interval is of what many more would show, and can lie above it.")
        yield from self._training_of(found)

    def _training_of(self, encoders: dict[str, Encoder]) -> Iterator[str]:
        rows = [
            [
                name,
                *self.any_size(encoder.gradient_norm),
                *self.any_size(encoder.relative_gradient),
                MISSING if encoder.update_size is None else f"{100 * encoder.update_size:.3g} %",
            ]
            for name, encoder in encoders.items()
        ]
        headers = ["", "norm", self.level, "norm", self.level, "update"]
        groups = ["", "gradient", "gradient", "gradient / weights", "gradient / weights", "an epoch"]
        yield from self.table("What training does to an encoder", headers, rows, groups=groups)
        notes = []
        if any(_outside(encoder.gradient_norm) for encoder in encoders.values()):
            notes.append("Few samples make a gradient too long: its interval is of what many more would show, and can lie below it.")
        if any(encoder.update_size is not None for encoder in encoders.values()):
            notes.append("Update: how far an epoch moved the weights, relative to their norm; it is not about samples and has no interval.")
        if notes:
            yield from self.note(" ".join(notes))

    def calibration(self) -> Iterator[str]:
        """Yield how often heads are right beside how sure they are."""
        body = [
            [head, *self.percent(found.expected_error), f"{100 * found.confidence:.1f}"] for head, found in self.record.calibration.items()
        ]
        yield from self.table("Calibration, in percent", ["head", "expected error", self.level, "mean confidence"], body)

    def agreement(self) -> Iterator[str]:
        """Yield how often two heads predict the same, and how far that is beyond chance."""
        kappa = self.record.kappa
        pairs = list(dict.fromkeys([*self.record.agreement, *kappa]))
        shown = pairs if len(pairs) <= _MANY else [pair for pair in pairs if pair.startswith(f"{MULTIMODAL} & ")] or pairs
        body = [[pair, *self.percent(self.record.agreement.get(pair)), *self.plain(kappa.get(pair))] for pair in shown]
        headers = ["", "share", self.level, "κ", self.level]
        groups = ["", "agreement in %", "agreement in %", "beyond chance", "beyond chance"]
        yield from self.table("Heads that predict the same", headers, body, groups=groups)
        if len(pairs) > len(body):
            yield from self.note(f"Those with the joint model, of {len(pairs)} pairs; all are on the page and in the files.")

    def robustness(self) -> Iterator[str]:
        """Yield scores where samples lack a modality, or have noise on it; the intervals are on the page and in the files."""
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
                body.append([name, *(self.cells(score)[0] for score in scores)])
            yield from self.table(title, ["", *(f"{share:g}" for share in shares)], body)

    def curves(self) -> Iterator[str]:
        """Yield the validation scores of a run by epoch."""
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
    def level(self) -> str:
        """What stands above a column of intervals."""
        return f"{100 * self.record.level:g} %"

    def _score(self, value: float | None) -> str:
        return MISSING if value is None else self.facts.points(value)

    def cells(self, interval: Interval | None, *, signed: bool = False) -> list[str]:
        """Return a score and its interval as two cells."""
        if interval is None or interval.value is None:
            return [MISSING, ""]
        ends = [None if end is None else self.facts.points(end) for end in (interval.low, interval.high)]
        return [self.facts.points(interval.value, signed=signed), "" if None in ends else " to ".join(map(str, ends))]

    @staticmethod
    def percent(interval: Interval | None) -> list[str]:
        """Return a share and its interval in percent, whatever the metric is."""
        return _two_cells(interval, lambda value: f"{round(100 * value, 1) + 0.0:.1f}")

    @staticmethod
    def plain(interval: Interval | None, digits: int = 2) -> list[str]:
        """Return a number that is no score, and its interval."""
        return _two_cells(interval, lambda value: f"{round(value, digits) + 0.0:.{digits}f}")

    @staticmethod
    def any_size(interval: Interval | None) -> list[str]:
        """Return a number of any size with three digits, and its interval."""
        return _two_cells(interval, lambda value: f"{value:.3g}")


def _outside(interval: Interval | None) -> bool:
    """Tell whether an interval does not hold its value."""
    if interval is None or interval.value is None or interval.low is None or interval.high is None:
        return False
    return not interval.low <= interval.value <= interval.high


def _two_cells(interval: Interval | None, shown: Callable[[float], str]) -> list[str]:
    if interval is None or interval.value is None:
        return [MISSING, ""]
    ends = "" if interval.low is None or interval.high is None else f"{shown(interval.low)} to {shown(interval.high)}"
    return [shown(interval.value).replace("-", "−"), ends.replace("-", "−")]
