"""Several methods as one: a learning-rate method with a gradient method, where no two decide the same thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from equimodal._configurable import construct
from equimodal.errors import InputError
from equimodal.methods import methods
from equimodal.methods.base import Criterion, EpochContext, Method, Step
from equimodal.tasks import single_label_loss

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from equimodal.data.batch import Batch
    from equimodal.groups import ParameterRegistry
    from equimodal.nn.prediction import Prediction, Routes

__all__ = ["Composition", "as_method"]


class Composition(Method):
    """Train with several methods at once, such as MILES for the learning rates and OGM-GE for the gradients.

    Each method says what it decides (:meth:`equimodal.methods.base.Method.claims`): the loss, the gradients, the learning rates, the step,
    the training data. Each of these is decided by at most one of them; what none decides is plain joint training (Eq. 3). All are told
    of everything else: the model, the optimizer, the epochs, the predictions.

    >>> from equimodal.methods.miles import MILESMethod
    >>> from equimodal.methods.ogm import OGMGE
    >>> method = Composition([MILESMethod(tau=0.1), OGMGE(alpha=0.3)])
    >>> method.name
    'miles+ogm-ge'

    ``fit`` and configurations make one of a list, and of names joined by ``+``.

    :param methods: two or more, in the order in which their hooks are called.
    :raises InputError: for two methods that decide the same thing in different ways, or two of one name.
    """

    fidelity: ClassVar[Literal["exact", "reconstructed"]] = "reconstructed"

    def __init__(self, methods: Sequence[Method]) -> None:
        self.methods = tuple(methods)
        if len(self.methods) < 2:
            raise InputError(f"a composition has two methods or more, got {len(self.methods)}")
        for method in self.methods:
            if not isinstance(method, Method):
                raise InputError(f"a composition is made of methods, got {method!r}")
            if not getattr(method, "name", None):
                raise InputError(f"{type(method).__name__} has no name: give the class one, under which the composition keeps its state")
        names = [method.name for method in self.methods]
        if len(set(names)) < len(names):
            raise InputError(f"{' + '.join(names)}: a method stands in a composition once")
        self.name = "+".join(names)  # type: ignore[misc]
        self.title = " + ".join(getattr(method, "title", method.name) for method in self.methods)  # type: ignore[misc]
        papers = dict.fromkeys(getattr(method, "paper", "") for method in self.methods)
        self.paper = "; ".join(filter(None, papers))  # type: ignore[misc]
        self._deciders = _deciders(self.methods)

    def options(self) -> dict[str, Any]:
        """Return the options of every method under its name."""
        return {method.name: method.options() for method in self.methods}

    def __repr__(self) -> str:
        """Return an expression that makes an equal object."""
        return f"Composition({list(self.methods)!r})"

    def _decider(self, subject: str) -> Method | None:
        return self._deciders.get(subject)

    def claims(self) -> dict[str, object]:
        """Return what the methods decide together."""
        return {subject: claim for method in self.methods for subject, claim in method.claims().items()}

    def build(self, model: nn.Module, criterion: Criterion = single_label_loss) -> nn.Module:
        """Let every method prepare the model that the one before it returned."""
        self.criterion = criterion
        for method in self.methods:
            model = method.build(model, criterion)
        return model

    def check(self, samples: Mapping[str, int]) -> None:
        """Ask every method."""
        for method in self.methods:
            method.check(samples)

    def training_data(self, train: Any) -> Any:
        """Ask the method that decides it."""
        decider = self._decider("the training data")
        return super().training_data(train) if decider is None else decider.training_data(train)

    def attach(self, optimizer: Optimizer) -> None:
        """Hand every method the optimizer."""
        for method in self.methods:
            method.attach(optimizer)

    def detach(self) -> None:
        """Let every method go, the last one first."""
        for method in reversed(self.methods):
            method.detach()

    def epoch_start(self, context: EpochContext) -> None:
        """Tell every method."""
        for method in self.methods:
            method.epoch_start(context)

    def epoch_end(self, context: EpochContext) -> None:
        """Tell every method."""
        for method in self.methods:
            method.epoch_end(context)

    def transforms(self) -> bool:
        """Ask the method that decides the loss."""
        decider = self._decider("the loss")
        return False if decider is None else decider.transforms()

    def transform(self, features: dict[str, Tensor], batch: Batch) -> Routes:
        """Ask the method that decides the loss."""
        decider = self._decider("the loss")
        return super().transform(features, batch) if decider is None else decider.transform(features, batch)

    def losses(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Ask the method that decides the loss."""
        decider = self._decider("the loss")
        return super().losses(prediction, batch) if decider is None else decider.losses(prediction, batch)

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Ask the method that decides the loss."""
        decider = self._decider("the loss")
        return super().combine(losses) if decider is None else decider.combine(losses)

    def backward(self, losses: Mapping[str, Tensor], step: Step, batch: Batch) -> None:
        """Ask the method that decides the loss."""
        decider = self._decider("the loss")
        if decider is None:
            super().backward(losses, step, batch)
        else:
            decider.backward(losses, step, batch)

    def clipped(self, model: nn.Module) -> Iterable[nn.Parameter]:
        """Ask the method that decides the loss."""
        decider = self._decider("the loss")
        return super().clipped(model) if decider is None else decider.clipped(model)

    def observe(self, prediction: Prediction, batch: Batch) -> None:
        """Show every method the prediction."""
        for method in self.methods:
            method.observe(prediction, batch)

    def modulate(self, parameters: ParameterRegistry) -> None:
        """Ask the method that decides the gradients."""
        decider = self._decider("the gradients")
        if decider is not None:
            decider.modulate(parameters)

    def update(self, step: Step) -> None:
        """Ask the method that decides the step."""
        decider = self._decider("the step")
        if decider is None:
            super().update(step)
        else:
            decider.update(step)

    def after_step(self, step: Step) -> None:
        """Tell every method."""
        for method in self.methods:
            method.after_step(step)

    def multipliers(self) -> dict[str, float]:
        """Ask the method that decides the learning rates."""
        decider = self._decider("the learning rates")
        return {} if decider is None else decider.multipliers()

    def acted_on(self) -> dict[str, Any]:
        """Return what the first method says that says anything."""
        return next((said for method in self.methods if (said := method.acted_on())), {})

    def record(self) -> dict[str, Any]:
        """Return what every method did that did anything, under its name."""
        return {method.name: noted for method in self.methods if (noted := method.record())}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every method under its name."""
        return {method.name: method.state_dict() for method in self.methods}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Hand every method its state.

        :raises InputError: for a state of other methods.
        """
        own = [method.name for method in self.methods]
        if list(state) != own:
            raise InputError(f"the state is of {' + '.join(map(str, state)) or 'no method'}, this composition of {' + '.join(own)}")
        for method in self.methods:
            method.load_state_dict(state[method.name])


def as_method(method: Any, options: Mapping[str, Any] | None = None) -> Method:
    """Return a method from whatever names one.

    >>> as_method("miles+vanilla").name
    'miles+vanilla'

    :param method: a method, the name of one with its default hyper-parameters, or several of either, in a list or joined by ``+``.
    :param options: hyper-parameters for a single method that is named.
    :raises InputError: for an unknown name, anything else, and methods that do not go together.
    """
    if isinstance(method, str):
        method = method.split("+")
    parts = list(method) if isinstance(method, (list, tuple)) else [method]
    if options and not (len(parts) == 1 and isinstance(parts[0], str)):
        raise InputError(
            f"{', '.join(options)} can be given to one named method, such as 'miles': make these with their hyper-parameters, such as "
            "equimodal.methods.miles.MILESMethod(tau=0.1)"
        )
    made = [construct(methods.get(part), options or {}, f"method {part!r}") if isinstance(part, str) else part for part in parts]
    for part in made:
        if not isinstance(part, Method):
            raise InputError(
                f"method = {part!r}: a name such as 'miles' is needed, or a method with its hyper-parameters, such as "
                "equimodal.methods.miles.MILESMethod(tau=0.1)"
            )
    return made[0] if len(made) == 1 else Composition(made)


def _deciders(methods: Sequence[Method]) -> dict[str, Method]:
    """Return the method that decides each subject, after checking that there is at most one way."""
    claims = {method.name: method.claims() for method in methods}
    found: dict[str, Method] = {}
    for method in methods:
        for subject, claim in claims[method.name].items():
            other = found.setdefault(subject, method)
            others = claims[other.name][subject]
            if other is not method and others != claim:
                if isinstance(claim, str) and isinstance(others, str):
                    ways = f"{other.name} has {others} and {method.name} has {claim}"
                    raise InputError(f"{ways}, which decide {subject}: let them agree, or leave one of them out")
                raise InputError(f"both {other.name} and {method.name} decide {subject}: leave one of them out")
    # Who owns the step calls its own hooks within it, and nobody else's.
    owner = found.get("the step")
    for subject in ("the loss", "the gradients"):
        other_decider = found.get(subject)
        if owner is not None and other_decider is not None and other_decider is not owner:
            raise InputError(f"{owner.name} owns the whole step, so {other_decider.name} cannot decide {subject}: leave one of them out")
    for method in methods:
        if owner is not None and method is not owner and type(method).observe is not Method.observe:
            raise InputError(f"{owner.name} owns the whole step, so {method.name} cannot observe its predictions: leave one of them out")
    return found
