"""What stands before the forward pass of the model that a :class:`equimodal.Balancer` drives a method for."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from equimodal.data.batch import Batch

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

    from equimodal.methods.base import Method
    from equimodal.nn.prediction import Routes

__all__ = ["BeforeForward"]

_standing: weakref.WeakKeyDictionary[nn.Module, RemovableHandle] = weakref.WeakKeyDictionary()


class BeforeForward:
    """Notes the inputs of a training pass, lets parts rest, and hands the model a method's ``transform``.

    One of these stands before a model at a time: the last one. It hangs on the model by a weak reference and goes with its balancer.

    :param method: whose ``transform`` it is.
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self.resting: list[nn.Module] = []
        """Modules in evaluation mode, whatever the loop says: some put the whole model in training mode before every batch."""
        self.inputs: Mapping[str, Any] | None = None
        """The inputs of the last training pass, where they came in a mapping."""
        self._handle: RemovableHandle | None = None

    def stand(self, model: nn.Module, needed: bool) -> None:
        """Take the place before a model; where nothing is needed there, only make another one leave it."""
        other = _standing.get(model)
        if other is not None and other is not self._handle:
            other.remove()
            del _standing[model]
        if needed and (self._handle is None or _standing.get(model) is not self._handle):
            self.leave()
            self._handle = _standing[model] = model.register_forward_pre_hook(_Hook(self), with_kwargs=True)

    def leave(self) -> None:
        """Leave the model as it was."""
        if self._handle is not None:
            self._handle.remove()
            for model in [model for model, handle in _standing.items() if handle is self._handle]:
                del _standing[model]
        self._handle, self.inputs = None, None

    def __call__(self, model: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Do all that before one pass; return the arguments where they change."""
        if not model.training:
            return None
        for module in self.resting:
            module.eval()
        given = arguments[0] if arguments else options.get("inputs")
        self.inputs = given if isinstance(given, Mapping) else None
        if not self.method.transforms() or "transform" in options:
            return None
        present = arguments[1] if len(arguments) > 1 else options.get("present")

        def transform(features: dict[str, Tensor]) -> Routes:
            # Probes ask for no target, and a loop that is not ours does not show them to the model.
            rows = len(next(iter(features.values())))
            empty = next(iter(features.values())).new_zeros(rows)
            return self.method.transform(features, Batch(self.inputs or features, empty, present or {}))

        return arguments, {**options, "transform": transform}


class _Hook:
    """Hangs on the model; in a copy of it, or a pickled one, it does nothing."""

    def __init__(self, owner: BeforeForward | None = None) -> None:
        self.owner = None if owner is None else weakref.ref(owner)

    def __call__(self, model: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        owner = None if self.owner is None else self.owner()
        return None if owner is None else owner(model, arguments, options)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Hook, ()  # deepcopy asks for this too
