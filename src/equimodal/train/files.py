"""Files that are whole or not there: atomic writes, and checkpoints that hold no code."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from equimodal.errors import InputError

__all__ = ["load_checkpoint", "save_checkpoint", "write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it, so that its final name never holds half of it.

    :raises InputError: when the disk is full or writing is not permitted; the earlier file of that name stays as it was.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder, then run the same again"
        ) from None


def save_checkpoint(path: Path, state: dict[str, Any], *, verify: bool = False) -> None:
    """Save tensors and plain values.

    :param verify: read the checkpoint back before it is written, to learn at the first epoch that a state cannot be resumed safely.
    :raises InputError: when the state holds objects that only executing code could restore, or the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    if verify:
        try:
            torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
        except pickle.UnpicklingError as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"the state of the optimizer, scheduler or method holds more than tensors and plain values: {reason}"
            ) from None
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Load a checkpoint; tensors and plain values only, never code.

    :raises InputError: for a missing, truncated or foreign file.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise InputError(f"there is no checkpoint {path}") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile):
        raise InputError(f"{path} is cut short or no checkpoint of this library: remove it to start that run anew") from None
    if not isinstance(state, dict) or state.get("format") != 1:
        raise InputError(f"{path} is no checkpoint of this library (format 1): remove it to start that run anew")
    return state
