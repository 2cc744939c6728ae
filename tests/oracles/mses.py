"""MSES a second time: plain, slow, and written from the description, to check the library against."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import nn

from oracles.training import Trainer, owner


class Stopping:
    """Early stopping of each part by its own validation loss.

    In epoch e, from 1: the smoothed loss is L(1), and then w L(e - 1) + (1 - w) L(e) with raw losses on the right; an epoch is the best
    where the smoothed loss is strictly below the best so far; a part stops when more than ``patience`` epochs have passed since its best.
    Fractions, so that a tie is a tie.
    """

    def __init__(self, parts, patience, smoothing):
        self.parts = list(parts)
        self.patience = patience
        self.smoothing = Fraction(smoothing)
        self.e = 0
        self.best = {part: float("inf") for part in parts}
        self.best_epoch = dict.fromkeys(parts, 0)
        self.previous = {}
        self.stopped_at = {}

    def epoch(self, losses):
        """Take one epoch's raw losses; return which parts have a new best and which stop now."""
        self.e += 1
        losses = {part: Fraction(losses[part]) for part in self.parts}
        improved, stopped = [], []
        for part in self.parts:
            if part not in self.stopped_at:
                smoothed = losses[part]
                if self.e > 1:
                    smoothed = self.smoothing * self.previous[part] + (1 - self.smoothing) * losses[part]
                if smoothed < self.best[part]:
                    self.best[part] = smoothed
                    self.best_epoch[part] = self.e
                    improved.append(part)
                if self.e - self.best_epoch[part] > self.patience:
                    self.stopped_at[part] = self.e
                    stopped.append(part)
            self.previous[part] = losses[part]
        return improved, stopped


class MSES(Trainer):
    """Whole runs: all heads' losses are trained; a stopped part gets its best weights and buffers back and moves no more.

    :param whole: whether a stop brings the whole model and the velocities back to the epoch in which the part was best.
    """

    def __init__(self, model, patience, smoothing, lr, momentum=0.0, weight_decay=0.0, whole=False):
        super().__init__(model, lr, momentum, weight_decay)
        self.whole = whole
        self.rule = Stopping(sorted({owner(name) for name in self.parameters}), patience, smoothing)
        self.kept = {}
        self.finished = False

    def step(self, data):
        """Take one step; normalisation layers of stopped parts neither use nor gather batch statistics."""
        self.model.train()
        for name, module in self.model.named_modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and owner(name) in self.rule.stopped_at:
                module.eval()
        gradients = self.gradients(sum(self.losses(data).values()))
        self.move(gradients, dict.fromkeys(self.rule.stopped_at, 0.0))

    def epoch_end(self, validation):
        """Validate, keep the weights of parts with a new best, and bring back those of parts that stop."""
        # The run ends with an epoch in which nothing moves, and which scores what the stops have put together.
        self.finished = len(self.rule.stopped_at) == len(self.rule.parts)
        losses, _ = self.validate(validation)
        improved, stopped = self.rule.epoch(losses)
        for part in improved:
            self.kept[part] = (
                {name: value.clone() for name, value in self.model.state_dict().items()},
                {name: value.clone() for name, value in self.velocity.items()},
            )
        for part in stopped:
            weights, velocity = self.kept[part]
            with torch.no_grad():
                for name, value in self.model.state_dict().items():
                    if self.whole or owner(name) == part:
                        value.copy_(weights[name])
            if self.whole:
                self.velocity = {name: value.clone() for name, value in velocity.items()}
        return losses
