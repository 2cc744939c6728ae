"""Methods as users write them: each changes one thing, and says no more of itself than its name."""

from __future__ import annotations

from equimodal.groups import LearningRateMultipliers
from equimodal.methods.base import Method


class Owner(Method):
    """Trains one modality after the other."""

    name = "owner"

    def update(self, step):
        for modality in step.parameters.modalities:
            step.zero_grad()
            for batch in step.batches:
                losses = self.losses(step.forward(batch), batch)
                step.report(losses, batch)
                step.backward(losses[modality], batch)
            step.step(only=modality)


class Noisy(Method):
    """Adds to the gradients."""

    name = "noisy"

    def modulate(self, parameters):
        for modality in parameters.modalities:
            for parameter in parameters.of(modality):
                parameter.grad.add_(0.01)


class Watcher(Method):
    """Counts predictions."""

    name = "watcher"

    def observe(self, prediction, batch):
        self.seen = getattr(self, "seen", 0) + len(batch)


class Nameless(Method):
    pass


class Halver(Method):
    """Halves the rate of the first modality."""

    name = "halver"

    def attach(self, optimizer):
        self.actuator = LearningRateMultipliers(optimizer)
        self.actuator.set(self.multipliers())

    def detach(self):
        self.actuator.detach()

    def multipliers(self):
        return {"audio": 0.5, "image": 1.0}


class Weighing(Method):
    """Changes the loss by every hook there is for it."""

    name = "weighing"

    def losses(self, prediction, batch):
        return {head: 2 * loss for head, loss in super().losses(prediction, batch).items()}

    def combine(self, losses):
        return losses["multimodal"]

    def backward(self, losses, step, batch):
        step.backward(0.7 * self.combine(losses) + losses["audio"], batch)

    def clipped(self, model):
        return model.fusion.parameters()
