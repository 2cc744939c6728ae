"""What a study would run, in lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from equimodal.report import terminal
from equimodal.report.cost import duration

if TYPE_CHECKING:
    from equimodal.study.declaration import Declaration
    from equimodal.study.series import Series

__all__ = ["plan_lines"]

WIDTH = 80


def plan_lines(declaration: Declaration, series: Sequence[Series], seconds: Mapping[str, float], workers: int) -> Iterator[str]:
    """Yield the lines of a plan.

    :param seconds: what one run of a search's row takes, by the name of the search; rows without have no estimate.
    :param workers: for how many processes the total is given.
    """
    file = declaration.file
    yield from terminal.paragraph(
        f"study {declaration.name}: {file['trials']} trials per row ({file['sampler']['name']}), chosen by {file['selection']}; the chosen "
        f"one is then trained once more with the test split, and with {file['seeds']} fresh seed{'' if file['seeds'] == 1 else 's'}"
    )
    for label in file["datasets"]:
        yield ""
        base = declaration.base(label)
        yield from terminal.paragraph(
            f"{label}: {base['dataset']['name']}, {base['epochs']} epochs, batches of {base['batch_size']}, {base['optimizer']['name']}, "
            f"metric {base['metric']}, {base['threads']} thread{'' if base['threads'] == 1 else 's'}, {base['device']}"
        )
        yield ""
        yield from _table([one for one in series if one.data == label], seconds)
    yield from _total(series, seconds, workers)
    yield ""
    for path, space in series[0].shared.items():
        yield from terminal.paragraph(f"searched for all rows alike: {path} over {space}")
    for method in declaration.methods:
        own = declaration.spaces(method)[1]
        if own:
            found = "; ".join(f"{path.removeprefix('method.')} over {space}" for path, space in own.items())
            yield from terminal.paragraph(f"searched for {method}: {found}")
    for line in declaration.overridden:
        yield from terminal.paragraph(f"other than by default: {line}")


def _table(series: Sequence[Series], seconds: Mapping[str, float]) -> list[str]:
    """Return a table of rows: how many trials of each kind, and how long they take."""
    rows: dict[tuple[str, str], list[Series]] = {}
    for one in series:
        rows.setdefault((one.fusion, one.row), []).append(one)
    body, rules, before = [], [], None
    for (fusion, _), members in sorted(rows.items(), key=lambda item: list(dict.fromkeys(key[0] for key in rows)).index(item[0][0])):
        if before not in (None, fusion):
            rules.append(len(body))
        before = fusion
        counts = {kind: sum(one.count for one in members if one.kind == kind) for kind in ("search", "final", "sweep", "example")}
        label = next(one.label for one in members if one.kind in ("search", "final"))
        each = seconds.get(next(one.name for one in members if one.kind == "search"))
        more = counts["sweep"] + counts["example"]
        total = "–" if each is None else duration(each * sum(counts.values()))
        cells = [terminal.fit(label, 24), fusion, str(counts["search"]), str(counts["final"]), str(more) if more else "–"]
        body.append([*cells, "–" if each is None else duration(each), total])
    header = ["row", "fusion", "search", "final", "ablation", "one run", "together"]
    return terminal.lay_out([header], body, rules, width=WIDTH)[:-1]


def _total(series: Sequence[Series], seconds: Mapping[str, float], workers: int) -> Iterator[str]:
    count = sum(one.count for one in series)
    searches = {(one.data, one.fusion, one.row): one.name for one in series if one.kind == "search"}
    known = [(one.count, seconds.get(searches[one.data, one.fusion, one.row])) for one in series]
    yield ""
    if any(each is None for _, each in known):
        yield f"{count} trials in all"
        return
    total = sum(number * (each or 0.0) for number, each in known)
    alike = "one process" if workers == 1 else f"{workers} processes"
    yield from terminal.paragraph(
        f"{count} trials in all, about {duration(total / workers)} with {alike} on this machine, by a few measured steps of every row"
    )
