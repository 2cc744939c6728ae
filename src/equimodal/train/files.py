"""Checkpoints: whole or not there, and without code."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from equimodal._files import write_whole
from equimodal.errors import InputError, UnusableRun

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, state: dict[str, Any], *, verify: bool = False) -> None:
    """Save tensors and plain values.

    :param verify: read the checkpoint back before it is written, to learn at the first epoch that a state cannot be resumed safely.
    :raises InputError: when the state holds objects that only executing code could restore, or the file cannot be written.
    """
    buffer = io.BytesIO()
    try:
        torch.save(state, buffer)
        if verify:
            torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    except (pickle.PickleError, AttributeError, TypeError) as error:
        raise InputError(
            f"the state of the model, optimizer, scheduler or method holds more than tensors and plain values: {_reason(error)}"
        ) from None
    write_whole(path, buffer.getvalue())


def _reason(error: Exception) -> str:
    """Return what torch's long message says about the object in question."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    telling = next((line for line in lines if "WeightsUnpickler" in line), lines[0])
    return telling.removeprefix("WeightsUnpickler error: ").split(". ")[0]


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Load a checkpoint; tensors and plain values only, never code.

    :raises InputError: for a missing, truncated, altered or foreign file.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UnusableRun(f"there is no checkpoint {path}: remove the folder to start that run anew") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    with file:
        try:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()  # torch writes check sums and does not look at them
            file.seek(0)
            state = None if damaged else torch.load(file, map_location=device, weights_only=True)
        except Exception:  # a foreign file may fail anywhere in its readers
            state = None
    if not isinstance(state, dict) or state.get("format") != 1:
        raise UnusableRun(f"{path} is cut short, altered or no checkpoint of this library: remove the folder to start that run anew")
    return state
