"""The actions of ``equimodal data``: ``fetch``, ``prepare``, ``verify`` and ``page``."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.cli.parser import WIDTH, say
from equimodal.cli.steps import Steps, data_steps
from equimodal.data.base import Dataset, Splits
from equimodal.data.preparation import Prepared, PreparedDataset
from equimodal.data.reading.archives import opened
from equimodal.data.summary import summarise
from equimodal.errors import InputError, MissingDependency
from equimodal.report.cost import duration
from equimodal.report.data_page import in_bytes, write_data_page
from equimodal.report.words import SPLIT_NAMES

if TYPE_CHECKING:
    from equimodal.cli.data import Wanted

__all__ = ["PAGE", "fetch", "page", "prepare", "state", "verify"]

PAGE = "summary.html"
"""The summary page that preparing leaves beside the arrays."""

_SHOWN = 3


def fetch(wanted: Wanted) -> None:
    """Download the originals of a data set."""
    dataset = wanted.dataset()
    with data_steps():
        place = dataset.fetch(wanted.path("to"))
    say(f"{dataset.name}: verified in {place}")


def prepare(wanted: Wanted) -> None:
    """Prepare a data set from its originals, unless that has been done, and say what came of it."""
    dataset, source, out = wanted.dataset(), wanted.path("from"), wanted.path("out")
    if not isinstance(dataset, PreparedDataset):
        raise InputError(_instead(dataset))
    if (source := source or dataset.home()) is None:
        raise InputError(f"data prepare {wanted.name} needs --from FOLDER, or an archive, with its originals; {dataset.obtain}")
    prepared = _prepared(
        dataset, source, **{flag: wanted.flags[flag] for flag in ("skip_damaged", "replace", "workers") if flag in wanted.flags}
    )
    splits = dataset.splits(prepared)  # before anything is said of a set whose splits cannot be made
    if not prepared.made:
        said = [f"{dataset.name}: nothing has changed since it was prepared, and nothing was done", *_sizes(splits)]
        say("\n".join([*said, f"it is in {prepared.folder}"]))
        if out is not None:
            _write_page(dataset, splits, prepared, out)
        return
    say("\n".join(_outcome(dataset, prepared, splits)))
    try:
        _write_page(dataset, splits, prepared, prepared.folder / PAGE if out is None else out)
    except MissingDependency as error:
        say(f"no summary page: {error}")


def verify(wanted: Wanted) -> None:
    """Compute all checksums of a data set anew."""
    dataset, source = wanted.dataset(), wanted.path("data_dir")
    folder = _folder(dataset, source)
    if isinstance(dataset, PreparedDataset):
        dataset.opened()  # what has not been prepared is not prepared to be verified
        with Steps() as steps:
            place = dataset.verify(folder, steps.show)
    else:
        place = dataset.verify(folder)
    say(f"{dataset.name}: verified{'' if _is_shipped(dataset) else f' in {place}'}")


def page(wanted: Wanted) -> None:
    """Write the summary page of a data set."""
    dataset, source, out = wanted.dataset(), wanted.path("data_dir"), wanted.path("out")
    if out is None:
        raise InputError(f"data page {wanted.name} needs --out FILE: where the page goes, such as {dataset.name}.html")
    if not isinstance(dataset, PreparedDataset):
        _write_page(dataset, dataset.load(_folder(dataset, source)), None, out)
        return
    if source is not None and not dataset.entry().exists():
        prepared = _prepared(dataset, source)
    else:
        prepared = dataset.opened(_folder(dataset, source))
    _write_page(dataset, dataset.splits(prepared), prepared, out)


def state(wanted: Wanted) -> str:
    """Return whether a data set is prepared and where, or where its originals come from; nothing for one that needs no preparation."""
    try:
        dataset = wanted.dataset()
    except InputError:
        if wanted.options:
            raise
        return ""  # it cannot be without options
    if not isinstance(dataset, PreparedDataset):
        return ""
    facts = {"originals": dataset.obtain}
    entry = dataset.entry()
    facts["prepared"] = "yes" if entry.exists() else f"not yet: equimodal data prepare {wanted.name} --from PATH"
    lines = [textwrap.fill(text, WIDTH, initial_indent=f"  {label:<10}  ", subsequent_indent=" " * 14) for label, text in facts.items()]
    return "\n".join([*lines, *([f"{' ' * 14}{entry}"] if entry.exists() else [])])


def _prepared(dataset: PreparedDataset, source: Path, **flags: Any) -> Prepared:
    with data_steps() as steps:
        folder = opened(source, dataset.originals, on_progress=lambda done, total: steps.show("unpacking", done, total, "bytes"))
        return dataset.prepare(folder, **flags, on_progress=steps.show)


def _folder(dataset: Dataset, source: Path | None) -> Path | None:
    if source is None:
        return None
    with Steps() as steps:
        return opened(
            source,
            dataset.originals if isinstance(dataset, PreparedDataset) else None,
            on_progress=lambda done, total: steps.show("unpacking", done, total, "bytes"),
        )


def _instead(dataset: Dataset) -> str:
    if _is_shipped(dataset):
        return f"data set {dataset.name!r} needs no preparation: use it as it is"
    return (
        f"data set {dataset.name!r} needs no preparation, its originals are read as they are: fetch them with 'equimodal data fetch"
        f" {dataset.name}', or name the folder that holds them with --data-dir when you train"
    )


def _is_shipped(dataset: Dataset) -> bool:
    return not isinstance(dataset, PreparedDataset) and type(dataset).fetch is Dataset.fetch


def _outcome(dataset: PreparedDataset, prepared: Prepared, splits: Splits) -> list[str]:
    """Return the lines that say what was prepared."""
    manifest = prepared.manifest
    lines: list[str] = []
    size = sum(output["bytes"] for output in manifest["outputs"].values())
    seconds = manifest.get("seconds")
    took = f" in {duration(seconds)}" if seconds else ""
    lines.append(f"{dataset.name}: {int(prepared.usable.sum()):,} samples prepared{took}, {in_bytes(size)}")
    lines += _sizes(splits)
    # An array is named for its modality, and behind a dot for its part of it.
    for name, count in {name.partition(".")[0]: count for name, count in manifest.get("missing", {}).items()}.items():
        lines += _filled(f"without {name}: {count:,} of them")
    for note in manifest["notes"]:
        lines += _filled(f"note: {note}")
    return [*lines, *_damaged(manifest["damaged"]), f"written to {prepared.folder}"]


def _sizes(splits: Splits) -> Sequence[str]:
    return _filled(f"splits: {', '.join(f'{len(getattr(splits, name)):,} {said}' for name, said in SPLIT_NAMES.items())}")


def _damaged(reasons: dict[str, Any]) -> list[str]:
    if not reasons:
        return []
    lines = [f"left out: {len(reasons):,} sample{'s' if len(reasons) > 1 else ''} whose files cannot be used"]
    for name, reason in list(reasons.items())[:_SHOWN]:
        lines += _filled(f"  {name}: {reason}")
    return [*lines, *([f"  and {len(reasons) - _SHOWN:,} more, which the summary page names"] if len(reasons) > _SHOWN else [])]


def _filled(text: str) -> Sequence[str]:
    indent = len(text) - len(text.lstrip()) + 2
    return textwrap.wrap(text, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False, break_long_words=False)


def _write_page(dataset: Dataset, splits: Splits, prepared: Prepared | None, out: Path) -> None:
    if out.is_dir():
        raise InputError(f"{out} is a folder: name a file for the page, such as {out / dataset.name}.html")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out.parent} cannot be made ({error.strerror or error}): choose another place with --out") from None
    say(f"page: {write_data_page(out, summarise(dataset, splits, None if prepared is None else prepared.manifest))}")
