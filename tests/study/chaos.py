"""What a study must have found in the end, however often it was broken off."""

from __future__ import annotations

__all__ = ["completed", "results"]


def results(record):
    """What complete trials found, without what depends on the clock and on who did them."""
    found = {}
    for series in record.series:
        for trial in series.complete:
            epochs = [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in trial.run.epochs]
            found[series.name, trial.number] = (series.selected, dict(trial.params), trial.run.config, epochs, trial.run.result)
    return found


def completed(storage, record):
    """How many attempts at each trial that was ever begun are complete."""
    counts = {}
    for series in record.series:
        for attempt in storage.attempts(series.name):
            counts[series.name, attempt.key] = counts.get((series.name, attempt.key), 0) + (attempt.state == "COMPLETE")
    return counts
