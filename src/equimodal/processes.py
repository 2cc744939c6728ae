"""The processes of one run: a single one, or those that ``torchrun`` started."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "all_sum",
    "all_sum_counts",
    "barrier",
    "device",
    "each",
    "every",
    "from_first",
    "gather",
    "mean",
    "rank",
    "share_buffers",
    "world_size",
]

T = TypeVar("T")


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


def mean(value: float) -> float:
    """Return the mean of a number over all processes, rounded to thousandths."""
    if _active():
        value = float(all_sum(torch.tensor(value, device=device()))) / world_size()
    return round(value, 3)


def device() -> torch.device:
    """Return where the processes can exchange tensors; the CPU where there is only one process."""
    exchanged = _active() and dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if exchanged else torch.device("cpu")


def all_sum_counts(counts: Tensor | None) -> Tensor | None:
    """Add counts up over all processes, of which some may have had nothing to count (None); return None when none had."""
    if not _active():
        return counts
    kinds: list[tuple[torch.Size, torch.dtype] | None] = [None] * world_size()
    dist.all_gather_object(kinds, None if counts is None else (counts.shape, counts.dtype))
    kind = next((kind for kind in kinds if kind is not None), None)
    if kind is None:
        return None
    return all_sum(torch.zeros(kind[0], dtype=kind[1], device=device()) if counts is None else counts.clone())


def gather(parts: Sequence[Tensor]) -> Tensor:
    """Join the rows of all tensors of all processes, in the order of their numbers; some processes may have none."""
    own = torch.cat(list(parts)) if parts else None
    if not _active():
        return torch.empty(0) if own is None else own
    found: list[Tensor | None] = [None] * world_size()
    dist.all_gather_object(found, None if own is None else own.cpu())
    rows = [part for part in found if part is not None]
    return torch.cat(rows).to(own.device if own is not None else "cpu") if rows else torch.empty(0)


def share_buffers(model: nn.Module) -> None:
    """Give every process the first one's buffers, such as running means, which training lets drift apart."""
    if _active():
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def every(value: T) -> list[T]:
    """Return a plain value of every process, in the order of their numbers."""
    if not _active():
        return [value]
    found = [value] * world_size()
    dist.all_gather_object(found, value)
    return found


def each(numbers: Mapping[str, float]) -> dict[str, list[float]]:
    """Return the numbers of every process by name, in the order of their numbers; a name that one does not have is NaN there."""
    if not _active():
        return {name: [value] for name, value in numbers.items()}
    found: list[Mapping[str, float]] = [{}] * world_size()
    dist.all_gather_object(found, dict(numbers))
    names = dict.fromkeys(name for one in found for name in one)
    return {name: [one.get(name, math.nan) for one in found] for name in names}


def from_first(number: int) -> int:
    """Return the first process's number to all of them."""
    if not _active():
        return number
    held = torch.tensor(number, dtype=torch.int64, device=device())
    dist.broadcast(held, 0)
    return int(held)


def barrier() -> None:
    """Wait for all processes."""
    if _active():
        dist.barrier()
