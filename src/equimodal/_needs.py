"""What a method needs of a loop that is not ours, found out once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.errors import InputError
from equimodal.methods._heads import HeadsMethod
from equimodal.methods.base import Method

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Needs"]


class Needs:
    """The calls that a method, or one of those in a composition, cannot do without.

    :param method: the method.
    :raises InputError: for one that takes the step, calls ``backward`` or follows every step: no loop but ours lets it.
    """

    def __init__(self, method: Method) -> None:
        self.name = method.name
        self.members: tuple[Method, ...] = getattr(method, "methods", (method,))
        for hook, what in (("update", "takes the optimizer's step"), ("backward", "calls backward"), ("after_step", "follows every step")):
            for member in self.members:
                if getattr(type(member), hook) is not getattr(Method, hook):
                    raise InputError(
                        f"{member.name} {what} itself, which a loop that is not ours cannot let it do: train it with equimodal.fit"
                    )
        claims = method.claims()
        self.loss = not isinstance(claims.get("the loss", ""), str)
        """It decides the loss: no other may be trained."""
        self.gradients = "the gradients" in claims
        """It changes gradients: it must be let in before every step."""
        self.predictions = self._any(lambda member: type(member).observe is not Method.observe)
        """It looks at every prediction."""
        self.start = self._any(lambda member: type(member).epoch_start is not Method.epoch_start)
        """It prepares for every epoch."""
        idle = (Method.build, HeadsMethod.build)
        self.model = self.loss or self.gradients or method.transforms() or self._any(lambda member: type(member).build not in idle)
        """It must know the model."""
        self.scores = self._any(lambda member: "the learning rates" in member.claims() and type(member).epoch_end is not Method.epoch_end)
        """Its learning rates follow what it is told at an epoch's end."""

    def _any(self, asked: Callable[[Method], bool]) -> bool:
        return any(asked(member) for member in self.members)

    def check_epoch(self, epoch: int, *, begun: bool, losses: int, steps: int) -> None:
        """Refuse an epoch in which a call was missing.

        :param begun: whether it was begun.
        :param losses: how often the method was asked for the loss.
        :param steps: how often it was let in before a step.
        :raises InputError: for the first call that was missing.
        """
        if self.start and not begun:
            raise InputError(f"{self.name} prepares for every epoch: call epoch_start(epoch) before the first batch of each")
        if self.loss and not losses:
            raise InputError(f"{self.name} decides the loss, which was not asked for in epoch {epoch}: train balancer.loss(...)")
        if self.gradients and not steps:
            raise InputError(f"{self.name} changes gradients and was not let in during epoch {epoch}: call before_step() before every step")
