"""Forward hooks that catch what submodules return, and the functions that make features of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from equimodal.errors import InputError

__all__ = ["Caught", "Feature", "Hook", "logits_of", "pooled", "returning"]


class Caught:
    """Holds the outputs of the watched submodules during one forward pass of the model that contains them.

    Both the probed model and the hooks refer to this object, so that a deep or pickled copy of the model watches its own submodules.
    """

    def __init__(self) -> None:
        self.outputs: dict[str, Any] = {}
        self.masks: dict[str, Any] = {}
        self.watching = False

    def __getstate__(self) -> dict[str, Any]:
        return {"outputs": {}, "masks": {}, "watching": False}

    def start(self) -> None:
        """Forget everything, and watch."""
        self.outputs, self.masks, self.watching = {}, {}, True

    def stop(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the outputs and the attention masks by modality, and watch no more."""
        found = self.outputs, self.masks
        self.outputs, self.masks, self.watching = {}, {}, False
        return found


class Hook:
    """The hook on the submodule of one modality; an object, as it must survive copies and pickling."""

    def __init__(self, caught: Caught, modality: str) -> None:
        self.caught = caught
        self.modality = modality

    def __call__(self, module: nn.Module, _: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        """Keep the output."""
        caught, modality = self.caught, self.modality
        if not caught.watching:  # the model is called by itself, or a checkpointed part runs again in the backward pass
            return
        if modality in caught.outputs:
            raise InputError(
                f"the {type(module).__name__} of {modality!r} ran more than once in a forward pass: name a submodule that runs once, "
                "such as the one that joins what it returns"
            )
        caught.outputs[modality] = output
        caught.masks[modality] = kwargs.get("attention_mask")


def pooled(output: Any, mask: Any, modality: str) -> Tensor:
    """Return one feature per sample ``[batch, features]`` from what a submodule returned.

    :param output: see :func:`equimodal.nn.probe`.
    :param mask: the attention mask that the submodule was given, if any.
    :raises InputError: for an output of another kind.
    """
    pooler = _entry(output, "pooler_output")
    if isinstance(pooler, Tensor):
        return pooler.flatten(1)
    hidden = output if isinstance(output, Tensor) else _entry(output, "last_hidden_state")
    if not isinstance(hidden, Tensor):
        raise InputError(
            f"the submodule of {modality!r} returned a {type(output).__name__}, of which no feature can be made: give "
            f"features={{{modality!r}: function}} that returns [batch, features] of it"
        )
    if hidden.dim() == 3:
        return _mean(hidden, mask)
    if hidden.dim() in (4, 5):
        return hidden.mean(dim=tuple(range(2, hidden.dim())))
    if hidden.dim() != 2:
        raise InputError(
            f"the submodule of {modality!r} returned shape {list(hidden.shape)}, of which no feature can be made: give "
            f"features={{{modality!r}: function}} that returns [batch, features] of it"
        )
    return hidden


def _entry(output: Any, name: str) -> Any:
    return output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)


def _mean(hidden: Tensor, mask: Any) -> Tensor:
    if not isinstance(mask, Tensor) or mask.shape != hidden.shape[:2]:
        return hidden.mean(dim=1)
    keep = mask.bool().unsqueeze(2)
    return torch.where(keep, hidden, 0).sum(dim=1) / keep.sum(dim=1).clamp(min=1)


def logits_of(output: Any) -> Any:
    """Return the logits in what a model returned: a tensor, ``logits`` of an object or mapping, or the first of a tuple or list."""
    if isinstance(output, Tensor):
        return output
    for name in ("logits", "multimodal"):
        found = _entry(output, name)
        if isinstance(found, Tensor):
            return found
    return output[0] if isinstance(output, (tuple, list)) and output else output


@contextmanager
def returning(outputs: Mapping[nn.Module, Any]) -> Iterator[None]:
    """Let modules return what is known already, in place of running."""
    own = {module: vars(module).get("forward") for module in outputs}  # compiled modules have one, most have none
    try:
        for module, output in outputs.items():
            vars(module)["forward"] = _Returns(output)
        yield
    finally:
        for module, forward in own.items():
            del vars(module)["forward"]
            if forward is not None:
                vars(module)["forward"] = forward


class _Returns:
    """Stands in the place of a submodule's forward, and returns what is known already."""

    def __init__(self, output: Any) -> None:
        self.output = output

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self.output


Feature = Callable[[Any], Tensor]
"""Makes a feature ``[batch, features]`` of what a submodule returned."""
