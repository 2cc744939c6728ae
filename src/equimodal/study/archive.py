"""An archive of a study: one folder or zip that holds everything its tables and figures are made from, and these themselves.

========================== ======================================================================================
``study.json``              the study file as it was read, versions, and every trial with what became of it
``runs/SERIES/trial-NNN/``  ``config.yaml``, ``metrics.jsonl``, ``result.json`` and ``environment.json`` of each run
``trials.csv``              one line per trial: state, hyper-parameters, scores, cost, machine, times
``tables/``                 every table as text, Markdown, CSV, LaTeX and HTML
``figures/``                every figure as SVG and PDF
``report.html``             all of it in one page
``checksums.sha256``        of every file; ``sha256sum -c`` checks them
``README.md``               what is where
========================== ======================================================================================
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from equimodal import __version__
from equimodal.errors import CannotWrite, InputError
from equimodal.report.cost import Cost
from equimodal.report.records import RunRecord
from equimodal.study.records import DataRecord, SeriesRecord, StudyRecord, TrialRecord
from equimodal.train.record import plain

__all__ = ["is_archive", "read_archive", "write_archive"]

FORMAT = 1
_INDEX = "study.json"
_CHECKSUMS = "checksums.sha256"
_KIND = "equimodal study archive"
_FACTS = ("number", "state", "params", "reason", "attempts", "where", "started", "ended")
Reader = Callable[[str], bytes]
"""Returns the content of a file of an archive by its name."""

_PLACE = ("name", "kind", "data", "fusion", "row", "label", "option", "selected", "blocked")


def is_archive(path: Path) -> bool:
    """Tell whether there is an archive, going by its name and what lies in it."""
    if path.is_file():
        return path.suffix == ".zip"
    try:
        return bool(json.loads((path / _INDEX).read_text(encoding="utf-8")).get("kind") == _KIND)
    except (OSError, ValueError, AttributeError):
        return False


def write_archive(record: StudyRecord, path: str | Path, *, on_file: Callable[[str], None] | None = None) -> Path:
    """Write everything that is known of a study into a folder or, for a path that ends in ``.zip``, a zip.

    It appears under its name when it is whole. What an interrupted call left behind is removed by the next.

    :param path: where; an earlier archive of the same study there, whole or damaged, is replaced.
    :param on_file: told of each file.
    :raises InputError: when something else is there, or a file cannot be written.
    """
    path = Path(path)
    if path.exists() and not _is_empty(path):
        earlier = _read_index(path, _reader(path))["name"] if is_archive(path) else None
        if earlier != record.name:
            holds = "something else" if earlier is None else f"the study {earlier!r}"
            raise InputError(f"{path} is there already and holds {holds}: choose another place for the archive of {record.name!r}")
    # With the folder's name in it, so that two exports side by side do not meet.
    temporary = path.with_name(f".{path.name}.unfinished")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, content in _files(record):
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            if on_file is not None:
                on_file(name)
        _write_rest(record, temporary)
        _write_checksums(temporary)
        _put(temporary, path)
    except OSError as error:
        raise CannotWrite(f"cannot write the archive {path}: {error.strerror or error}; free space or choose another place") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _put(temporary: Path, path: Path) -> None:
    """Give a finished folder its name, or its content that of a zip."""
    if path.suffix == ".zip":
        packed = path.with_name(f".{path.name}.tmp")
        try:
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in sorted(file for file in temporary.rglob("*") if file.is_file()):
                    # Without the time of writing, the same study gives the same file.
                    entry = zipfile.ZipInfo(f"{path.stem}/{file.relative_to(temporary).as_posix()}", (1980, 1, 1, 0, 0, 0))
                    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                    archive.writestr(entry, file.read_bytes())
            packed.replace(path)
        finally:
            packed.unlink(missing_ok=True)
        return
    earlier = path.with_name(f".{path.name}.earlier")
    shutil.rmtree(earlier, ignore_errors=True)
    if path.exists():
        path.rename(earlier)
    temporary.rename(path)
    shutil.rmtree(earlier, ignore_errors=True)


def _files(record: StudyRecord) -> Iterator[tuple[str, bytes]]:
    """Yield the files that the study can be read from again."""
    yield _INDEX, _json(_index(record))
    for series in record.series:
        for trial in series.trials:
            if trial.run is None:
                continue
            folder = _folder(series, trial)
            yield f"{folder}/config.yaml", _json(trial.run.config)
            yield f"{folder}/metrics.jsonl", "".join(f"{json.dumps(plain(dict(epoch)))}\n" for epoch in trial.run.epochs).encode()
            if trial.run.result is not None:
                yield f"{folder}/result.json", _json(trial.run.result)
            yield f"{folder}/environment.json", _json(trial.environment or {})
    yield "trials.csv", _csv(record).encode()
    yield "README.md", _readme(record).encode()


def _folder(series: SeriesRecord, trial: TrialRecord) -> str:
    return f"runs/{series.name}/trial-{trial.number:03d}"


def _index(record: StudyRecord) -> dict[str, Any]:
    return {
        "kind": _KIND,
        "format": FORMAT,
        "equimodal": __version__,
        "name": record.name,
        "declaration": record.declaration,
        "data": [asdict(data) for data in record.data],
        "overridden": record.overridden,
        "rule": record.rule,
        "series": [
            {
                **{name: getattr(series, name) for name in _PLACE},
                "before": asdict(series.before),
                "trials": [
                    {
                        **{name: getattr(trial, name) for name in _FACTS},
                        "cost": asdict(trial.cost),
                        "run": None if trial.run is None else _folder(series, trial),
                    }
                    for trial in series.trials
                ],
            }
            for series in record.series
        ],
    }


def _json(value: Any) -> bytes:
    return (json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n").encode()


def _csv(record: StudyRecord) -> str:
    paths = list(dict.fromkeys(path for trial in record.trials for path in trial.params))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    facts = ["validation", "test", "seconds", "steps", "attempts", "machine", "started", "ended", "reason"]
    writer.writerow(["series", "kind", "data", "fusion", "row", "trial", "state", *paths, *facts])
    for series in record.series:
        for trial in series.trials:
            known: list[Any] = [trial.score(), trial.score("test"), trial.cost.seconds, trial.cost.steps, trial.attempts]
            known += [trial.where, trial.started, trial.ended, trial.reason]
            place = [series.name, series.kind, series.data, series.fusion, series.row, trial.number, trial.state]
            writer.writerow([*place, *("" if value is None else value for value in (*map(trial.params.get, paths), *known))])
    return buffer.getvalue()


def _readme(record: StudyRecord) -> str:
    states: dict[str, int] = {}
    for trial in record.trials:
        states[trial.state] = states.get(trial.state, 0) + 1
    counted = ", ".join(f"{count} {state}" for state, count in states.items())
    oracle = "" if record.rule == "best-validation" else "\nORACLE SELECTION: configurations were chosen by their test scores.\n"
    return f"""# The study {record.name}

Written by equimodal {__version__}. Trials: {counted}.
{oracle}
- `report.html`: tables, figures and every search, in one file for a browser
- `tables/`, `figures/`: the same one by one
- `study.json`: the study file as it was read, and every trial with what became of it; `trials.csv` has the trials as a table
- `runs/`: configuration, epochs, result and environment of every run
- `checksums.sha256`: `sha256sum -c checksums.sha256` checks all files

Tables and figures can be made again from this archive alone, on any machine:

    equimodal study table ARCHIVE table2
    equimodal study figures ARCHIVE --to figures
"""


def _write_rest(record: StudyRecord, folder: Path) -> None:
    """Write what can be made again from the rest: tables, figures and the page."""
    from equimodal.study.figures import write_figures
    from equimodal.study.page import write_study_page
    from equimodal.study.tables import write_tables

    write_tables(record, folder / "tables")
    write_figures(record, folder / "figures")
    write_study_page(folder / "report.html", record)


def _write_checksums(folder: Path) -> None:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder).as_posix()}\n" for file in files]
    (folder / _CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def read_archive(path: str | Path) -> StudyRecord:
    """Return a study from its archive; no storage and no data are needed.

    :raises InputError: when there is no archive, or a file in it is missing or altered.
    """
    path = Path(path)
    read = _reader(path)
    index = _read_index(path, read)
    read = _checked(path, read)
    read(_INDEX)
    try:
        data = tuple(DataRecord(**{**found, "modalities": tuple(found["modalities"])}) for found in index["data"])
        series = tuple(_read_series(found, read) for found in index["series"])
        return StudyRecord(index["name"], index["declaration"], data, series, tuple(index["overridden"]), index["rule"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the archive {path} is damaged: {error}; export the study again") from None


def _read_index(path: Path, read: Reader) -> Mapping[str, Any]:
    """Return what an archive holds, which names its study, whatever became of the rest."""
    try:
        index = json.loads(read(_INDEX))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        index = None
    if not isinstance(index, dict) or index.get("kind") != _KIND or "name" not in index:
        raise InputError(f"{path} is no archive of a study: equimodal study export writes one")
    if index.get("format") != FORMAT:
        raise InputError(f"{path} has format {index.get('format')!r}: this version reads format {FORMAT}")
    return index


def _reader(path: Path) -> Reader:
    return _zip_reader(path) if path.is_file() else _folder_reader(path)


def _folder_reader(path: Path) -> Reader:
    def read(name: str) -> bytes:
        try:
            return (path / name).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {path / name}: {error.strerror or error}; is {path} an archive of a study?") from None

    return read


def _zip_reader(path: Path) -> Reader:
    try:
        with zipfile.ZipFile(path) as archive:
            content = {entry.partition("/")[2]: archive.read(entry) for entry in archive.namelist() if not entry.endswith("/")}
    # What its readers say of damaged bytes, or of another's compression or password.
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise InputError(f"cannot read {path}: {error}; is it a whole archive of a study?") from None

    def read(name: str) -> bytes:
        if name not in content:
            raise InputError(f"{path} holds no {name}: is it an archive of a study?")
        return content[name]

    return read


def _checked(path: Path, read: Reader) -> Reader:
    """Return a reader that refuses files that are not what was exported."""
    lines = read(_CHECKSUMS).decode("utf-8", errors="replace").splitlines()
    known = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}

    def checked(name: str) -> bytes:
        content = read(name)
        if hashlib.sha256(content).hexdigest() != known.get(name):
            raise InputError(f"{name} in the archive {path} is not what was exported: export the study again, or copy the archive anew")
        return content

    return checked


def _read_series(found: Mapping[str, Any], read: Reader) -> SeriesRecord:
    trials = tuple(_read_trial(trial, found["label"], read) for trial in found["trials"])
    return SeriesRecord(**{name: found[name] for name in _PLACE}, before=Cost(**found["before"]), trials=trials)


def _read_trial(found: Mapping[str, Any], label: str, read: Reader) -> TrialRecord:
    run, environment = None, None
    if found["run"] is not None:
        folder = found["run"]
        config = json.loads(read(f"{folder}/config.yaml"))
        epochs = [json.loads(line) for line in read(f"{folder}/metrics.jsonl").decode().splitlines()]
        result = json.loads(read(f"{folder}/result.json")) if found["state"] == "complete" else None
        run = RunRecord(label, config["method"]["name"], config, epochs, result)
        environment = json.loads(read(f"{folder}/environment.json"))
    facts = {name: found[name] for name in _FACTS}
    return TrialRecord(**facts, cost=Cost(**found["cost"]), run=run, environment=environment)
