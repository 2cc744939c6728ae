"""A diagnosis as text for a terminal: the verdict first, then tables with intervals, and at the end what is not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from equimodal.diagnose.text_tables import Tables, hanging
from equimodal.diagnose.verdict_facts import Facts
from equimodal.report.terminal import paragraph, wrap
from equimodal.report.words import SPLIT_NAMES, clean, listing, title_case

if TYPE_CHECKING:
    from equimodal.diagnose.quantities import Finding
    from equimodal.diagnose.record import Diagnosis

__all__ = ["render"]


def render(diagnosis: Diagnosis, width: int = 80) -> str:
    """Return a diagnosis as text.

    :param diagnosis: what was found.
    :param width: the number of character cells of a line, at least 40.
    """
    width = max(width, 40)
    lines = [*_title(diagnosis, width), "", *_verdict(diagnosis.findings, width)]
    for section in Tables(Facts(diagnosis), width).everything():
        lines += [*section, *([""] if section[-1] else [])]
    lines += _ends(diagnosis, width)
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _title(diagnosis: Diagnosis, width: int) -> list[str]:
    split = f"{SPLIT_NAMES.get(diagnosis.split, clean(diagnosis.split))} split, " if diagnosis.split else ""
    lacking = f"; {diagnosis.incomplete:,} more lack a modality and are left out" if diagnosis.incomplete else ""
    facts = f"{split}{diagnosis.samples:,} samples with {listing(map(clean, diagnosis.modalities))}{lacking}"
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
        yield from hanging(mark, clean(finding.sentence), width)
        # Of several findings with nothing to be done in a row the first says so.
        if finding.advice or number == 1 or findings[number - 2].advice:
            yield from hanging(f"{' ' * (len(mark))}→ ", clean(finding.advice) if finding.advice else "Nothing needs to be done.", width)
        yield ""


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
