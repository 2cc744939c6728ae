"""The page as a whole: what stands in it, its script's fingerprint, and the files beside it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equimodal
from equimodal._files import write_whole
from equimodal.diagnose.page import parts, scores
from equimodal.diagnose.page.comparing import compared, pairing
from equimodal.diagnose.page.definitions import definition, intervals
from equimodal.diagnose.page.figures import Figure, Section
from equimodal.diagnose.page.numbers import DASH, RATES, Numbers, plain, whole
from equimodal.diagnose.page.palette import stylesheet
from equimodal.diagnose.page.samples import Drawable, cards
from equimodal.diagnose.page.stacked import PATTERNS
from equimodal.diagnose.saving import to_csv
from equimodal.report.rendering import rendered, template_file
from equimodal.report.words import SPLIT_NAMES, clean, listing, metric_name, title_case
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from os import PathLike

    from equimodal.diagnose.record import Diagnosis, Finding

__all__ = ["render_page", "write_page"]


def write_page(
    diagnosis: Diagnosis,
    path: str | PathLike[str],
    *,
    samples: Drawable | None = None,
    credit: str = "",
    compare: Diagnosis | None = None,
) -> Path:
    """Write the page of :func:`render_page`, and its numbers as JSON and CSV beside it.

    :param path: the file to write, usually ``diagnosis.html``; the numbers are in files of the same name that end in ``.json`` and
        ``.csv``, those of the other model in ``-compared.json`` and ``-compared.csv``. Files that are there are replaced.
    :param samples: see :func:`render_page`.
    :param credit: see :func:`render_page`.
    :param compare: see :func:`render_page`.
    :returns: the path.
    :raises InputError: for diagnoses that cannot be compared, or when a file cannot be written.
    :raises MissingDependency: without Jinja.
    """
    file = Path(path)
    page = render_page(diagnosis, samples=samples, credit=credit, compare=compare, stem=file.stem)
    for one, name in ((diagnosis, file.stem), (compare, f"{file.stem}-compared")):
        if one is not None:
            write_whole(file.with_name(f"{name}.json"), one.to_json())
            write_whole(file.with_name(f"{name}.csv"), to_csv(one))
    return write_whole(file, page)


def render_page(
    diagnosis: Diagnosis,
    *,
    samples: Drawable | None = None,
    credit: str = "",
    compare: Diagnosis | None = None,
    stem: str = "diagnosis",
) -> str:
    """Return a diagnosis as an HTML page that is complete in itself; the same diagnosis gives the same text.

    :param diagnosis: what was found.
    :param samples: returns by modality what can be shown of a sample, by its number: a text, a tensor, a :class:`Sound`; without it the
        samples on which heads disagree show only what the heads say. :func:`samples_of` makes one from a data set.
    :param credit: whose samples they are and under which licence; it stands below them.
    :param compare: another model's diagnosis: the page then has both side by side, ``diagnosis`` as A and this as B.
    :param stem: the name of the files of numbers, without its ending, to which the page links.
    :raises InputError: for diagnoses with different metrics, or without a modality in common.
    :raises MissingDependency: without Jinja.
    """
    sections = _sections(diagnosis) if compare is None else compared(diagnosis, compare)
    both = [diagnosis] if compare is None else [diagnosis, compare]
    letters = ("",) if compare is None else ("A", "B")
    script = template_file("diagnosis.js")
    content = {
        "title": clean(diagnosis.title) if compare is None else f"{clean(diagnosis.title)} and {clean(compare.title)}",
        "models": [_model(one, letter) for one, letter in zip(both, letters, strict=True)],
        "comparing": compare is not None,
        "sections": sections,
        "cards": cards(diagnosis, samples) if compare is None else "",
        "credit": "" if samples is None else clean(credit),
        "notes_on_samples": definition("disagreements", diagnosis),
        "comparison": () if compare is None else definition("comparison", diagnosis, pairing=pairing(diagnosis, compare)),
        "intervals": intervals(diagnosis),
        "skipped": [(letter, _skipped(one)) for one, letter in zip(both, letters, strict=True) if one.skipped],
        "files": [
            (letter, f"{stem}{suffix}", f"diagnosis{suffix}-json", one.to_json().replace("<", "\\u003c"))
            for one, letter, suffix in zip(both, letters, ("", "-compared"), strict=False)
        ],
        "patterns": PATTERNS,
        "colors": stylesheet(),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "version": equimodal.__version__,
    }
    return rendered("diagnosis.html.j2", content)


def _model(diagnosis: Diagnosis, letter: str) -> dict[str, Any]:
    return {
        "letter": letter,
        "title": clean(diagnosis.title),
        "summary": _summary(diagnosis),
        "tiles": _tiles(diagnosis),
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "silence": _silence(diagnosis),
        "facts": _facts(diagnosis),
    }


def _summary(diagnosis: Diagnosis) -> str:
    split = f"of the {SPLIT_NAMES.get(diagnosis.split, clean(diagnosis.split))} split " if diagnosis.split else ""
    said = f"{diagnosis.samples:,} samples {split}with {listing(map(clean, diagnosis.modalities))}"
    if diagnosis.incomplete:
        one = diagnosis.incomplete == 1
        said += f"; {diagnosis.incomplete:,} {'other lacks a modality and is' if one else 'others lack a modality and are'} left out"
    return f"{said}. Scored by {metric_name(diagnosis.metric)}."


def _tiles(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    """Return the numbers that come first: name, value, interval."""
    numbers = Numbers.of(diagnosis.metric)
    found = []
    joint = diagnosis.heads.get(MULTIMODAL)
    if joint is not None and joint.value is not None:
        found.append((f"joint {metric_name(diagnosis.metric)}", joint, numbers))
    found += [(f"{name} by itself", diagnosis.heads[name], numbers) for name in diagnosis.modalities[:3] if name in diagnosis.heads]
    if diagnosis.gap is not None:
        found.append(("utilization gap δ", diagnosis.gap, RATES))
    return [
        (clean(name), numbers.score(value.value) + (f" {numbers.unit}" if numbers.unit else ""), _ends(value, numbers))
        for name, value, numbers in found
        if value.value is not None
    ]


def _ends(interval: Any, numbers: Numbers) -> str:
    return "" if interval.low is None or interval.high is None else f"{numbers.score(interval.low)} to {numbers.score(interval.high)}"


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": title_case(clean(finding.kind.replace("_", " "))),
        "subject": "the whole model" if finding.subject == MULTIMODAL else clean(finding.subject),
        "sentence": clean(finding.sentence),
        "advice": None if finding.advice is None else clean(finding.advice),
        "evidence": [(clean(name.replace("_", " ")), clean(said)) for name, said in _all_evidence(finding.evidence)],
    }


def _all_evidence(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is behind a finding; numbers named ``"…, low"`` and ``"…, high"`` are the ends of the one before."""
    for name, value in evidence.items():
        number, _, end = name.rpartition(", ")
        if end in ("low", "high") and number in evidence:
            continue
        ends = [evidence.get(f"{name}, {end}") for end in ("low", "high")]
        yield name, _evidence(value) + ("" if None in ends else f" [{_evidence(ends[0])}, {_evidence(ends[1])}]")


def _evidence(value: Any) -> str:
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return whole(value)
    if isinstance(value, float):
        return plain(value)
    if isinstance(value, dict) and "value" in value:
        ends = [plain(value.get(end)) for end in ("low", "high")]
        return plain(value["value"]) + ("" if DASH in ends else f" [{', '.join(ends)}]")
    if isinstance(value, dict):
        return ", ".join(f"{name} {_evidence(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_evidence(item) for item in value)
    return str(value)


def _silence(diagnosis: Diagnosis) -> str:
    if "findings" in diagnosis.skipped:
        return f"There is no verdict: {clean(diagnosis.skipped['findings']).rstrip('.')}."
    return "Nothing was found that asks for a change."


def _sections(diagnosis: Diagnosis) -> list[Section]:
    plan: Sequence[tuple[str, str, Sequence[str], Sequence[Figure | None]]] = (
        ("scores", "Heads and probes", ("heads", "probes", "utilization"), (scores.heads(diagnosis), scores.utilization(diagnosis))),
        ("ablations", "What is lost without each modality", ("ablations",), (scores.ablations(diagnosis),)),
        ("shapley", "How the score is shared out", ("shapley",), (scores.shapley(diagnosis), scores.interactions(diagnosis))),
        ("valuation", "What the samples need", ("valuation",), (parts.valuation(diagnosis),)),
        ("encoders", "Encoders", ("encoders", "gradients"), (parts.encoders(diagnosis),)),
        ("calibration", "Calibration", ("calibration",), (parts.calibration(diagnosis),)),
        ("agreement", "Agreement between heads", ("agreement",), (scores.agreement(diagnosis),)),
        ("robustness", "Robustness", ("robustness",), (parts.robustness(diagnosis),)),
        (
            "curves",
            "Learning curves",
            ("curves", "generalisation"),
            (parts.curves(diagnosis), parts.generalisation(diagnosis)),
        ),
    )
    return [
        Section(name, title, [figure for figure in figures if figure is not None], list(_missing(diagnosis, quantities)))
        for name, title, quantities, figures in plan
        if any(figures)
    ]


def _missing(diagnosis: Diagnosis, quantities: Sequence[str]) -> Iterator[str]:
    for key, why in diagnosis.skipped.items():
        quantity, _, part = key.partition(".")
        if quantity in quantities:
            name = title_case(_QUANTITIES.get(quantity, quantity)) + (f" ({clean(part)})" if part else "")
            yield f"{name} not there: {clean(why).rstrip('.')}."


_QUANTITIES = {
    "utilization": "conditional utilization",
    "shapley": "Shapley values",
    "ablations": "ablations",
    "generalisation": "generalisation gap",
    "curves": "learning curves",
    "findings": "verdict",
    "disagreements": "samples of disagreement",
}


def _skipped(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    return [(clean(_QUANTITIES.get(key, key.replace(".", ", "))), clean(why)) for key, why in diagnosis.skipped.items()]


def _facts(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    found = [
        ("task", f"{diagnosis.task}, scored by {metric_name(diagnosis.metric)}"),
        ("probes", "fitted on the train split" if diagnosis.probes_fitted_on == "train" else "cross-fitted in five folds"),
        ("means", "of the train split" if diagnosis.mean_of == "train" else "of the diagnosed samples"),
        ("seed", str(diagnosis.seed)),
    ]
    cost = {name: value for name, value in diagnosis.cost.items() if "seconds_" not in name}
    if cost:
        found.append(("cost", ", ".join(f"{name.replace('_', ' ')} {plain(value)}" for name, value in cost.items())))
    if diagnosis.version:
        found.append(("made by", f"equimodal {diagnosis.version}"))
    return [(name, clean(said)) for name, said in found]
