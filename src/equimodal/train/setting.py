"""The surroundings of a run: device, threads, determinism, and the caller's random state left alone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from equimodal.errors import InputError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["deterministic", "the_device"]


def the_device(device: str | torch.device | None) -> torch.device:
    """Return the device to run on; by default the GPU where there is one.

    :raises InputError: for a device that is unknown or not there.
    """
    if device is None or device == "auto":
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)
        raise InputError(f"device {str(device)!r} cannot be used: {reason}") from None
    return chosen


@contextmanager
def deterministic(threads: int | None) -> Iterator[None]:
    """Use so many threads and deterministic convolutions, and give threads, random state and flags back at the end."""
    if threads is not None and threads < 1:
        raise InputError(f"threads = {threads!r}: a whole number of at least 1 is needed")
    before = torch.get_num_threads()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            yield
    finally:
        torch.set_num_threads(before)
