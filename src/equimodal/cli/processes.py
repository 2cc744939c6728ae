"""Joining the processes that ``torchrun`` started."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["joined_processes"]


@contextmanager
def joined_processes() -> Iterator[None]:
    """Join the other processes where ``torchrun`` started several, and leave them at the end."""
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        yield
        return
    import torch
    from torch import distributed

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()
