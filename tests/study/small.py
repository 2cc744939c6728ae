"""Studies that are done in a moment, and what they found without what depends on the clock."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from equimodal.study.declaration import declare
from equimodal.study.protocol import open_storage, run_study
from equimodal.study.reading import read_study
from equimodal.study.series import Start, expand

NO_ABLATIONS = {"tau": [], "mu": [], "training_scores": False, "example": None}
DATA = {"dataset": "cli.tiny:Tiny", "label": "tiny"}
BASE = {
    "name": "small",
    "datasets": [DATA],
    "fusions": ["concat"],
    "methods": ["joint"],
    "trials": 2,
    "seeds": 1,
    "epochs": 1,
    "train": {"threads": 1, "device": "cpu"},
    "heartbeat": 1,
    "ablations": NO_ABLATIONS,
}

JOINT, MILES = "tiny/concat/joint", "tiny/concat/miles"
ALONE = ("tiny/alone/audio", "tiny/alone/image")


def small(**changes):
    """The declaration of a study with two models of one modality and joint training."""
    return declare({**BASE, **changes})


def series_of(declaration):
    """All series by name."""
    return {series.name: series for series in expand(declaration)}


def begun(folder, declaration):
    """The storage of a study that has begun."""
    storage = open_storage(declaration, Path(folder))
    storage.begin()
    return storage


def claim(storage, series, number=0, start=None):
    """Begin an attempt at a trial by hand."""
    draft = series.draft(number, start or Start(), drawn=storage.declaration.drawn)
    with storage.locked():
        storage.bury(series.name)
        busy = [attempt for attempt in storage.attempts(series.name) if attempt.key == draft.key]
        return storage.claim(series, draft, busy)


def stop_hearts(folder):
    """Let all heartbeats of a study be long ago."""
    with sqlite3.connect(Path(folder) / "study.db") as connection:
        connection.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 day')")
    connection.close()


def record_of(declaration, folder):
    """What a study has found so far."""
    return read_study(open_storage(declaration, Path(folder)))


def done(declaration, folder, **options):
    """Do a study, or go on with it, and return what it found."""
    run_study(declaration, folder, **options)
    return record_of(declaration, folder)


def trials_of(record, name):
    """The trials of a series."""
    return next(series for series in record.series if series.name == name).trials


def states_of(record, name):
    """The states of the trials of a series."""
    return [trial.state for trial in trials_of(record, name)]


def numbers(record):
    """All that a study found that does not depend on the clock."""
    found = {}
    for series in record.series:
        for trial in series.trials:
            epochs = (
                []
                if trial.run is None
                else [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in trial.run.epochs]
            )
            result = None if trial.run is None else (trial.run.config, trial.run.result)
            found[series.name, trial.number] = (trial.state, dict(trial.params), epochs, result, trial.reason, series.selected)
    return found
