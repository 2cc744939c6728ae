"""The folder of a run: configuration, environment, one line per epoch, checkpoints, result, and a marker when complete."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import torch

from equimodal import __version__
from equimodal._files import FolderLock, write_whole
from equimodal.errors import CannotWrite, UnusableRun
from equimodal.train.files import load_checkpoint, save_checkpoint

__all__ = ["FORMAT", "RunFolder", "identity", "plain"]

FORMAT = 1


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: mappings, lists, numbers, strings; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))  # where an object lies in memory is no part of what it is


def identity(config: dict[str, Any]) -> str:
    """Return the hash of a configuration in canonical form.

    >>> identity({"a": 1, "b": 2.0}) == identity({"b": 2.0, "a": 1})
    True
    """
    canonical = json.dumps(plain(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class RunFolder:
    """One run on disk.

    ========================= =====================================================================
    ``config.yaml``           format, identity, and the resolved configuration (JSON, which is YAML)
    ``environment.json``      versions, hardware, threads, source revision of the first start
    ``metrics.jsonl``         one record per epoch
    ``last.pt``, ``best.pt``  checkpoints: the last epoch, and the best by validation score
    ``result.json``           final scores; the same on every machine that computes the same numbers
    ``complete``              the marker of a finished run
    ========================= =====================================================================

    :param path: the folder; made when missing.
    :param config: the resolved configuration.
    :raises InputError: when the folder holds another configuration's run or something else, or cannot be written.
    """

    def __init__(self, path: str | Path, config: dict[str, Any]) -> None:
        self.path = Path(path)
        self.config = plain(config)
        self.identity = identity(config)
        self._verified: set[str] = set()
        self._lock = FolderLock(self.path, "the run")

    def open(self) -> None:
        """Make the folder, or recognise the run that it holds, and keep other processes from writing to it until :meth:`close`."""
        config_file = self.path / "config.yaml"
        if not config_file.exists():
            self._make()
        self._lock.take()
        if config_file.exists():
            self.recognise()
        else:
            write_whole(config_file, _json({"format": FORMAT, "identity": self.identity, **self.config}))
        if not (self.path / "environment.json").exists():
            write_whole(self.path / "environment.json", _json(environment()))

    def close(self) -> None:
        """Let other processes write to the folder again; the end of the process does so too, however it ends."""
        self._lock.release()

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            others = [entry.name for entry in self.path.iterdir() if not entry.name.endswith(".tmp")]
        except OSError as error:
            raise CannotWrite(f"cannot make the folder {self.path}: {error.strerror or error}; choose another with --out") from None
        if others:
            raise UnusableRun(f"{self.path} holds {min(others)!r} and no run: choose an empty or new folder")

    def recognise(self) -> None:
        """Check that the folder holds this run.

        :raises UnusableRun: when it holds another one, an altered one, or none.
        """
        config_file = self.path / "config.yaml"
        try:
            found = json.loads(config_file.read_text())
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or "identity" not in found:
            raise UnusableRun(f"{config_file} is no configuration of a run: choose an empty or new folder")
        if found.get("format") != FORMAT:
            raise UnusableRun(
                f"{self.path} holds a run of format {found.get('format')}; this version reads format {FORMAT}: choose another folder"
            )
        if found["identity"] != identity({key: value for key, value in found.items() if key not in ("format", "identity")}):
            raise UnusableRun(f"{config_file} was altered after the run began: choose another folder, or remove that run")
        if found["identity"] != self.identity:
            difference = first_difference(found, self.config)
            longer = "a run's epochs are fixed when it begins; " if difference.startswith("epochs = ") else ""
            raise UnusableRun(
                f"{self.path} holds another configuration's run ({difference}): {longer}choose another folder, or remove that run"
            )

    @property
    def complete(self) -> bool:
        """Whether the run is finished."""
        return (self.path / "complete").exists()

    def epochs(self) -> list[dict[str, Any]]:
        """Return the records of all epochs; a line that was cut off by a kill is left out."""
        file = self.path / "metrics.jsonl"
        records = []
        for line in file.read_text(errors="replace").splitlines() if file.exists() else []:
            try:
                record = json.loads(line)
            except ValueError:
                break
            if not isinstance(record, dict):
                break
            records.append(record)
        return records

    def write_epochs(self, records: list[dict[str, Any]]) -> None:
        """Write the records of all epochs, whole or not at all."""
        write_whole(self.path / "metrics.jsonl", "".join(f"{json.dumps(plain(record))}\n" for record in records))

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Save a checkpoint."""
        save_checkpoint(self.path / name, {"format": FORMAT, "identity": self.identity, **state}, verify=name not in self._verified)
        self._verified.add(name)

    def load(self, name: str) -> dict[str, Any]:
        """Load a checkpoint of this run, on the CPU: an optimizer's step counters belong there, and the rest finds its device by itself.

        :raises InputError: when it is cut short or belongs to another run.
        """
        state = load_checkpoint(self.path / name)
        if state.get("identity") != self.identity:
            raise UnusableRun(f"{self.path / name} belongs to another run: remove it to start this one anew")
        return state

    def resume(self) -> dict[str, Any] | None:
        """Return the last checkpoint, with the records of its epochs under ``"history"``, or None for a new run."""
        if not (self.path / "last.pt").exists():
            return None
        state = self.load("last.pt")
        records = self.epochs()[: state["epoch"]]
        for number in range(1, state["epoch"] + 1):
            if len(records) < number or records[number - 1].get("epoch") != number:
                raise UnusableRun(
                    f"{self.path / 'metrics.jsonl'} lacks epoch {number} of {state['epoch']}: remove the folder to start anew"
                )
        return {**state, "history": records}

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result and the marker."""
        write_whole(self.path / "result.json", _json(result))
        write_whole(self.path / "complete", f"{self.identity}\n".encode())

    def result(self) -> dict[str, Any]:
        """Return the result of a finished run."""
        try:
            found = json.loads((self.path / "result.json").read_text())
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or not {"scores", "best_epoch", "epochs"} <= found.keys():
            raise UnusableRun(f"{self.path / 'result.json'} is missing or altered: remove the file 'complete' to compute it again")
        return found


def _json(value: Any) -> bytes:
    return (json.dumps(plain(value), indent=2) + "\n").encode()


def first_difference(found: Any, wanted: Any, path: str = "") -> str:
    """Return in words where two configurations first differ."""
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        found, wanted = dict(enumerate(found)), dict(enumerate(wanted))
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(key for key in found if key not in wanted)]:
            if key not in ("format", "identity") and found.get(key) != wanted.get(key):
                return first_difference(found.get(key), wanted.get(key), f"{path}.{key}" if path else str(key))
    return f"{path} = {_brief(found)} there, {_brief(wanted)} here"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def environment() -> dict[str, Any]:
    """Return versions, hardware, threads and source revision."""
    return {
        "equimodal": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "revision": _revision(),
    }


def _revision() -> str | None:
    """Return the commit of a source checkout of this package, or None for an installed one."""
    source = Path(__file__).resolve().parents[3]
    if not (source / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=source, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
