"""The processes of one run: a single one, or those that ``torchrun`` started."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist

__all__ = ["all_sum", "all_sum_counts", "barrier", "gather", "rank", "world_size"]


def _active() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return this process's number; 0 writes the files."""
    return dist.get_rank() if _active() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if _active() else 1


def all_sum(tensor: Tensor) -> Tensor:
    """Add a tensor up over all processes, in place."""
    if _active():
        dist.all_reduce(tensor)
    return tensor


def all_sum_counts(counts: Tensor | None) -> Tensor | None:
    """Add counts up over all processes, of which some may have had nothing to count (None); return None when none had."""
    if not _active():
        return counts
    kinds: list[tuple[torch.Size, torch.dtype] | None] = [None] * world_size()
    dist.all_gather_object(kinds, None if counts is None else (counts.shape, counts.dtype))
    kind = next((kind for kind in kinds if kind is not None), None)
    if kind is None:
        return None
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    return all_sum(torch.zeros(kind[0], dtype=kind[1], device=device) if counts is None else counts.clone())


def gather(tensor: Tensor) -> Tensor:
    """Join the rows of all processes, in the order of their numbers; every process may hold another number of rows."""
    if not _active():
        return tensor
    parts: list[Tensor] = [torch.empty(0)] * world_size()
    dist.all_gather_object(parts, tensor.cpu())
    return torch.cat(parts).to(tensor.device)


def barrier() -> None:
    """Wait for all processes."""
    if _active():
        dist.barrier()
