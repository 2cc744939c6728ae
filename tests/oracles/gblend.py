"""Gradient Blending a second time: plain, slow, and written from the formulas, to check the library against."""

from __future__ import annotations

import copy

from oracles.training import Trainer


def weights(before, after, floor=1e-8):
    """Return w_k = (G_k / O_k²) / Z by head, from the mean losses before and after a head was trained alone.

    ``before[head]`` and ``after[head]`` are pairs: the loss on the training part and the loss on the held-out part. A head that got worse
    counts as G = 0, O² is at least ``floor``, and where no head gained anything all weights are equal.
    """
    raw = {}
    for head in before:
        gain = before[head][1] - after[head][1]
        overfit = (after[head][1] - after[head][0]) - (before[head][1] - before[head][0])
        raw[head] = max(gain, 0.0) / max(overfit * overfit, floor)
    total = sum(raw.values())
    if total == 0:
        return {head: 1 / len(raw) for head in raw}
    return {head: value / total for head, value in raw.items()}


def branch(model, head, epochs, training, held_out, lr, momentum=0.0, weight_decay=0.0, factors=None):
    """Train a copy of a model on one head's loss alone; return that head's losses on both parts, before and after.

    :param epochs: a list of epochs, each a list of batches.
    :param factors: of the learning rate, epoch by epoch.
    """
    trainer = Trainer(copy.deepcopy(model), lr, momentum, weight_decay)

    def measured():
        return trainer.validate(training)[0][head], trainer.validate(held_out)[0][head]

    before = measured()
    for batches, factor in zip(epochs, factors or [1.0] * len(epochs), strict=True):
        trainer.lr = lr * factor
        trainer.model.train()
        for data in batches:
            trainer.move(trainer.gradients(trainer.losses(data)[head]))
    return before, measured()


def estimate(model, epochs, training, held_out, lr, momentum=0.0, weight_decay=0.0, factors=None):
    """Return the weights by head, each head's branch from the same weights. ``epochs`` is one list of epochs, or one by head."""
    before, after = {}, {}
    for head in ["multimodal", *model.heads]:
        seen = epochs[head] if isinstance(epochs, dict) else epochs
        before[head], after[head] = branch(model, head, seen, training, held_out, lr, momentum, weight_decay, factors)
    return weights(before, after)


class Blend(Trainer):
    """Training with L = Σ_k w_k L_k."""

    def step(self, data, blend):
        """Take one step with these weights."""
        losses = self.losses(data)
        total = 0.0
        for head, weight in blend.items():
            total = total + weight * losses[head]
        self.move(self.gradients(total))
