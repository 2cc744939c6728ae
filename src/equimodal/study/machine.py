"""Which process of which machine is at work, so that the same machine sees at once that one of its processes is gone."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["is_gone", "own_mark"]


def own_mark() -> dict[str, Any]:
    """Return what tells this process from every other one, on this machine or elsewhere."""
    return {"host": platform.node(), "machine": _machine(), "user": _user(), "process": os.getpid(), "began": _began(os.getpid())}


def is_gone(mark: Mapping[str, Any]) -> bool:
    """Tell whether a process of this machine has ended; False for those of other machines, of which only a heartbeat tells.

    :param mark: what :func:`own_mark` returned in that process.
    """
    machine = _machine()
    if machine is None or mark.get("machine") != machine or mark.get("user") != _user():
        return False  # of other users' processes some machines show nothing
    return _began(int(mark["process"])) != mark.get("began")


def _user() -> int | None:
    return os.getuid() if hasattr(os, "getuid") else None


def _machine() -> str | None:
    """Return what only processes that see the same process numbers have in common; None where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116  a link that leads nowhere
    except OSError:
        return None


def _began(process: int) -> str | None:
    """Return when a process began, in ticks since the machine did; None where there is none, or it only waits to be buried."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
