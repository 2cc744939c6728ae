"""Where the scheduler helps and where it does not, in plain words and from a study's record alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from equimodal.report.words import listing
from equimodal.study.tables.shared import JOINT, MILES, VANILLA
from equimodal.study.verdict.claims import claims
from equimodal.study.verdict.evidence import MEASURES, Finding, Measure, Status, compared, points, unknown

if TYPE_CHECKING:
    from equimodal.study.records import DataRecord, StudyRecord
    from equimodal.study.statistics import Paired

__all__ = ["Finding", "Verdict", "make_verdict"]

STEPS = (
    ("the losses of single modalities", (JOINT, VANILLA), "Joint − Vanilla"),
    ("the scheduler", (MILES, JOINT), "MILES − Joint"),
)


@dataclass(frozen=True)
class Verdict:
    """What a study says about MILES.

    :param summary: the answer in a few sentences.
    :param findings: what the losses of single modalities and the scheduler bring, by data set and fusion; then the paper's claims.
    :param notes: how to read it.
    """

    summary: tuple[str, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def contributions(self) -> tuple[Finding, ...]:
        """What brings what."""
        return tuple(finding for finding in self.findings if finding.kind == "contribution")

    @property
    def claims(self) -> tuple[Finding, ...]:
        """The paper's claims against the study."""
        return tuple(finding for finding in self.findings if finding.kind == "claim")

    def __str__(self) -> str:
        parts = [*self.summary]
        for title, findings in (("What brings what", self.contributions), ("The paper's claims", self.claims)):
            parts += ["", title, *(f"- {finding}" for finding in findings)] if findings else []
        return "\n".join([*parts, "", *self.notes])


def make_verdict(record: StudyRecord) -> Verdict:
    """Return what a study says about MILES, as far as it has come.

    The contributions of the losses of single modalities (joint − vanilla) and of the scheduler (MILES − joint) are told apart over the
    fresh seeds that both rows have. Something helps or hurts only where the 95 % interval of the paired differences excludes zero.

    :param record: the study; it may be unfinished.
    """
    found: list[Finding] = []
    for data in record.data:
        for fusion in record.fusions(data.label):
            found += contributions(record, data, fusion)
    held = [claim for data in record.data for claim in claims(record, data)]
    return Verdict(_summary(found, held), (*found, *held), _notes(record))


def contributions(record: StudyRecord, data: DataRecord, fusion: str) -> list[Finding]:
    """Return what the losses of single modalities and the scheduler bring on one data set with one fusion."""
    rows = record.rows(data.label, fusion)
    findings = []
    for what, pair, name in STEPS:
        for measure in MEASURES:
            heading = f"{data.label}, {fusion}: what {what} {'bring' if what.endswith('s') else 'brings'}"
            missing = [row for row in pair if row not in rows]
            test = compared(record, data, fusion, pair, measure)
            status, said = _contribution(test, measure, data)
            if missing:
                said = f"The study lacks the row {listing(missing)}."
            statement = f"{measure.name(data.modalities)}: {name} = {points(test)}. {said}" if not missing else said
            topic = " − ".join(pair)
            findings.append(Finding(heading, statement, status, "contribution", data.label, fusion, topic, measure.key, {name: test}))
    return findings


def _contribution(test: Paired, measure: Measure, data: DataRecord) -> tuple[Status, str]:
    if test.sign == 0:
        return "none shown" if test.can_tell else "cannot be told", unknown(test)
    way = "raises" if test.sign > 0 else "lowers"
    helps = test.sign == measure.better
    return "helps" if helps else "hurts", f"That {'helps' if helps else 'hurts'}: it {way} {measure.name(data.modalities)}."


def _summary(found: list[Finding], held: list[Finding]) -> tuple[str, ...]:
    lines = []
    for what, pair, _ in STEPS:
        mine = [finding for finding in found if finding.topic == " − ".join(pair)]
        parts = [f"{status} in {_places(mine, status)}" for status in ("helps", "hurts") if _places(mine, status)]
        parts += [f"makes no difference that these seeds can show in {_places(mine, 'none shown')}"] if _places(mine, "none shown") else []
        parts += [f"cannot be judged in {_places(mine, 'cannot be told')}"] if _places(mine, "cannot be told") else []
        if parts:
            lines.append(f"What {what} {'bring' if what.endswith('s') else 'brings'} ({' − '.join(pair)}) {'; '.join(parts)}.")
    counts = {status: sum(claim.status == status for claim in held) for status in ("agree", "disagree", "cannot be told")}
    if held:
        lines.append(
            f"{len(held)} claims of the paper were checked: this study agrees with {counts['agree']} and disagrees with "
            f"{counts['disagree']}; of {counts['cannot be told']} it cannot tell."
        )
    return tuple(lines) or ("This study has no methods to compare.",)


def _places(findings: list[Finding], status: Status) -> str:
    """Return where something holds, measure by measure."""
    names = {"multimodal": "multimodal score", "weakest": "weakest head", "difference": "|Δ|"}
    parts = []
    for key, name in names.items():
        where = [f"{finding.data} {finding.fusion}" for finding in findings if finding.status == status and finding.measure == key]
        parts += [f"{name} ({', '.join(where)})"] if where else []
    return listing(parts) if parts else ""


def _notes(record: StudyRecord) -> tuple[str, ...]:
    notes = [
        "Differences are over the fresh seeds that both sides have, with 95 % intervals (Student's t). Each interval stands by itself: "
        "of twenty comparisons without any difference, one would be expected to exclude zero. The table of paired tests is corrected for "
        "that.",
        "Seeds vary the initial weights and the order of the samples, not the data or the selected configuration: the intervals say "
        "nothing of other splits, or of another search.",
    ]
    if record.rule != "best-validation":
        notes.insert(0, "ORACLE SELECTION: configurations were chosen by their TEST scores. Nothing here is a fair comparison.")
    waiting = sum(not trial.done for trial in record.trials)
    if waiting:
        notes.append(f"The study is not finished: {waiting} of {len(record.trials)} trials are still to come.")
    notes += [f"Search space other than by default: {line}{'' if line.endswith('.') else '.'}" for line in record.overridden]
    return tuple(notes)
