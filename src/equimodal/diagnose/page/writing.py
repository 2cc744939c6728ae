"""The page as a whole: what stands in it, its script's fingerprint, and the files beside it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import equimodal
from equimodal._files import write_whole
from equimodal.diagnose.page.comparing import compared, reading
from equimodal.diagnose.page.content import AFTER_SAMPLES, model, sections_of, skipped
from equimodal.diagnose.page.definitions import definition, intervals
from equimodal.diagnose.page.palette import stylesheet
from equimodal.diagnose.page.samples import Drawable, cards
from equimodal.diagnose.page.stacked import PATTERNS
from equimodal.diagnose.saving import to_csv
from equimodal.report.rendering import rendered, template_file
from equimodal.report.words import clean

if TYPE_CHECKING:
    from os import PathLike

    from equimodal.diagnose.comparison import Comparison
    from equimodal.diagnose.record import Diagnosis

__all__ = ["render_page", "write_numbers", "write_page"]


def write_page(
    diagnosis: Diagnosis,
    path: str | PathLike[str],
    *,
    samples: Drawable | None = None,
    credit: str = "",
    compare: Diagnosis | None = None,
    paired: Comparison | str | None = None,
) -> Path:
    """Write the page of :func:`render_page`, and its numbers as JSON and CSV beside it.

    :param path: the file to write, usually ``diagnosis.html``; the numbers are in files of the same name that end in ``.json`` and
        ``.csv``, those of the other model in ``-compared.json`` and ``-compared.csv``, and the differences, where both were diagnosed in
        one go, in ``comparison.json`` and ``comparison.csv``. Files that are there are replaced.
    :param samples: see :func:`render_page`.
    :param credit: see :func:`render_page`.
    :param compare: see :func:`render_page`.
    :param paired: see :func:`render_page`.
    :returns: the path.
    :raises InputError: for diagnoses that cannot be compared, or when a file cannot be written.
    :raises MissingDependency: without Jinja.
    """
    file = Path(path)
    paired = _paired(diagnosis, compare) if paired is None else paired
    page = render_page(diagnosis, samples=samples, credit=credit, compare=compare, paired=paired, stem=file.stem)
    write_numbers(diagnosis, file, compare, paired)
    return write_whole(file, page)


def write_numbers(diagnosis: Diagnosis, path: str | PathLike[str], compare: Diagnosis | None, paired: Comparison | str) -> None:
    """Write the files of numbers that :func:`write_page` writes beside a page; this needs no Jinja.

    :param path: of the page, which is not written.
    :param compare: another model's diagnosis.
    :param paired: their comparison, or why there is none.
    :raises CannotWrite: when a file cannot be written.
    """
    file = Path(path)
    for one, name in ((diagnosis, file.stem), (compare, f"{file.stem}-compared")):
        if one is not None:
            write_whole(file.with_name(f"{name}.json"), one.to_json())
            write_whole(file.with_name(f"{name}.csv"), to_csv(one))
    if not isinstance(paired, str):
        write_whole(file.with_name(f"{_comparison_stem(file.stem)}.json"), paired.to_json())
        write_whole(file.with_name(f"{_comparison_stem(file.stem)}.csv"), paired.to_csv())


def render_page(
    diagnosis: Diagnosis,
    *,
    samples: Drawable | None = None,
    credit: str = "",
    compare: Diagnosis | None = None,
    paired: Comparison | str | None = None,
    stem: str = "diagnosis",
) -> str:
    """Return a diagnosis as an HTML page that is complete in itself; the same diagnosis gives the same text.

    :param diagnosis: what was found.
    :param samples: returns by modality what can be shown of a sample, by its number: a text, a tensor, a :class:`Sound`; without it the
        samples on which heads disagree show only what the heads say. :func:`samples_of` makes one from a data set.
    :param credit: whose samples they are and under which licence; it stands below them.
    :param compare: another model's diagnosis: the page then has both side by side, ``diagnosis`` as A and this as B.
    :param paired: their comparison, or in one line why there is none; default made here.
    :param stem: the name of the files of numbers, without its ending, to which the page links.
    :raises InputError: for diagnoses with different metrics, or without a modality in common.
    :raises MissingDependency: without Jinja.
    """
    paired = _paired(diagnosis, compare) if paired is None else paired
    sections = sections_of(diagnosis) if compare is None else compared(diagnosis, compare, None if isinstance(paired, str) else paired)
    both = [diagnosis] if compare is None else [diagnosis, compare]
    letters = ("",) if compare is None else ("A", "B")
    script = template_file("diagnosis.js")
    content = {
        "title": clean(diagnosis.title) if compare is None else f"{clean(diagnosis.title)} and {clean(compare.title)}",
        "models": [model(one, letter) for one, letter in zip(both, letters, strict=True)],
        "comparing": compare is not None,
        "sections": sections,
        "before_samples": len([one for one in sections if compare is not None or one.name not in AFTER_SAMPLES]),
        "cards": cards(diagnosis, samples) if compare is None else "",
        "credit": "" if samples is None else clean(credit),
        "notes_on_samples": definition("disagreements", diagnosis),
        "comparison": () if compare is None else tuple(map(clean, reading(diagnosis, compare, paired))),
        "sentences": () if isinstance(paired, str) else paired.sentences,
        "intervals": intervals(diagnosis),
        "skipped": [(letter, skipped(one)) for one, letter in zip(both, letters, strict=True) if one.skipped],
        "files": [
            (f"of model {letter}" if letter else "", f"{stem}{suffix}", f"diagnosis{suffix}-json", one.to_json().replace("<", "\\u003c"))
            for one, letter, suffix in zip(both, letters, ("", "-compared"), strict=False)
        ]
        + (
            []
            if isinstance(paired, str)
            else [("of the differences", _comparison_stem(stem), "comparison-json", paired.to_json().replace("<", "\\u003c"))]
        ),
        "patterns": PATTERNS,
        "colors": stylesheet(),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "version": equimodal.__version__,
    }
    return rendered("diagnosis.html.j2", content)


def _paired(diagnosis: Diagnosis, compare: Diagnosis | None) -> Comparison | str:
    """Return the comparison, or why there is none."""
    if compare is None:
        return ""
    from equimodal.diagnose.comparison import paired_or_why

    return paired_or_why(diagnosis, compare)


def _comparison_stem(stem: str) -> str:
    return "comparison" if stem == "diagnosis" else f"{stem}-comparison"
