"""Two diagnoses side by side in a terminal, and their differences where they are paired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from equimodal.diagnose.text_tables import MISSING, Tables, hanging
from equimodal.diagnose.verdict_comparison import apart, chosen_kind
from equimodal.diagnose.verdict_facts import Facts
from equimodal.report.terminal import fit, lay_out
from equimodal.report.words import clean
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from equimodal.diagnose.comparison import Comparison
    from equimodal.diagnose.quantities import Interval
    from equimodal.diagnose.record import Diagnosis

__all__ = ["render_comparison", "render_differences"]

_SHARES = ("largest share", "calibration")
_RATES = ("utilization", "gap")


def render_comparison(one: Diagnosis, other: Diagnosis, width: int = 80, *, paired: Comparison | str = "") -> str:
    """Return two models side by side: scores, what is lost without each modality, and the first sentence of each verdict.

    :param one: A.
    :param other: B.
    :param width: the number of character cells of a line.
    :param paired: their comparison, which gives every difference an interval; or, in one line, why there is none: each number then has
        its own interval, and differences have none.
    """
    facts = {"A": Facts(one), "B": Facts(other)}
    lines: list[str] = []
    for letter, own in facts.items():
        record = own.record
        lines += hanging(f"{letter}  ", f"{clean(record.title)}, {record.samples:,} samples", width)
        lines += hanging("   ", clean(record.findings[0].sentence) if record.findings else "No verdict.", width)
        lines.append("")
    if isinstance(paired, str):
        lines += _unpaired(facts, width)
        if paired:
            lines += hanging("", f"Differences have no paired interval: {paired}.", width)
    else:
        lines += _paired(paired, facts["A"], width)
    return "\n".join(line.rstrip() for line in lines).rstrip()


def render_differences(comparison: Comparison, width: int = 80) -> str:
    """Return a comparison by itself: which models it is of, what the differences come to, and the first of them as a table.

    :param comparison: what was found.
    :param width: the number of character cells of a line.
    """
    from equimodal.diagnose.record import Diagnosis

    # How numbers read depends on the metric and the scores alone.
    heads = {head: pair[0] for head, pair in comparison.values.get("heads", {}).items()}
    record = Diagnosis(
        title=comparison.first,
        modalities=comparison.modalities,
        task="",
        metric=comparison.metric,
        split=comparison.split,
        samples=comparison.samples,
        incomplete=0,
        level=comparison.level,
        resamples=comparison.resamples,
        seed=comparison.seed,
        heads=heads,
    )
    lines = [*hanging("A  ", clean(comparison.first), width), *hanging("B  ", clean(comparison.second), width), ""]
    lines += _paired(comparison, Facts(record), width, writes="save(folder)")
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _unpaired(facts: Mapping[str, Facts], width: int) -> list[str]:
    text = {letter: Tables(own, width) for letter, own in facts.items()}
    names = list(dict.fromkeys(name for own in facts.values() for name in own.record.modalities))
    body: list[list[str]] = []

    def row(label: str, of: Mapping[str, Interval | None], *, plain: bool = False, signed: bool = False) -> None:
        cells = [text[key].plain(of[key]) if plain else text[key].cells(of[key], signed=signed) for key in "AB"]
        if any(cell[0] != MISSING for cell in cells):
            body.append([fit(clean(label), width - 50), *cells[0], *cells[1]])

    for head in (MULTIMODAL, *names):
        row(head, {key: own.record.heads.get(head) for key, own in facts.items()})
    for name in names:
        row(f"loss without {name}", {key: own.losses.get(name) for key, own in facts.items()}, signed=True)
    row("utilization gap δ", {key: own.record.gap for key, own in facts.items()}, plain=True)
    level = text["A"].level
    return lay_out([["", "value", level, "value", level]], body, set(), width=width, groups=["", "A", "A", "B", "B"])


def _paired(comparison: Comparison, facts: Facts, width: int, *, writes: str = "--out") -> list[str]:
    text = Tables(facts, width)
    lines: list[str] = []
    for sentence in comparison.sentences:
        lines += [*hanging("", sentence, width), ""]
    kind = chosen_kind(comparison) or facts.kind or ""
    rows: list[tuple[str, str, str]] = []
    for quantity, label in (
        ("heads", "{}"),
        ("probes", "probe of {}"),
        ("ablations", "loss without {}"),
        ("utilization", "utilization of {}"),
        ("gap", "utilization gap {}"),
        ("shapley", "Shapley value of {}"),
        ("interactions", "interaction {}"),
        ("largest share", "largest Shapley share"),
        ("calibration", "calibration error of {}"),
        ("generalisation", "generalisation of {}"),
    ):
        for part in comparison.differences.get(quantity, {}):
            of, _, name = part.partition("/")
            if quantity in ("ablations", "shapley", "interactions", "largest share") and of != kind:
                continue
            rows.append((quantity, part, label.format(name or of)))
    body, rules = [], set()
    for number, (quantity, part, label) in enumerate(rows):
        one, second = comparison.values[quantity][part]
        difference = comparison.differences[quantity][part]
        if number and quantity != rows[number - 1][0] and "share" not in quantity and quantity != "gap":
            rules.add(number)
        mark = "*" if apart(difference) else ""
        shown = [_cells(text, quantity, value) for value in (one, second, difference)]
        body.append(
            [fit(clean(label), max(width - 46, 22)), shown[0][0], shown[1][0], _signed(shown[2][0], difference), *shown[2][1:], mark]
        )
    lines += lay_out([["", "A", "B", "B − A", text.level, ""]], body, rules, width=width)
    many = sum(map(len, comparison.differences.values()))
    left = f" {writes} writes them and all others." if many > len(rows) else ""
    lines += hanging(
        "",
        f"Differences are paired: of the same {comparison.samples:,} samples, draw by draw. * the interval excludes 0.{left}",
        width,
    )
    return lines


def _cells(text: Tables, quantity: str, value: Interval) -> list[str]:
    if quantity in _SHARES:
        return text.percent(value)
    return text.plain(value) if quantity in _RATES else text.cells(value)


def _signed(cell: str, difference: Interval) -> str:
    return f"+{cell}" if difference.value is not None and difference.value > 0 and cell.strip("0.") else cell
