"""MSLR-K, MSLR-S and MSLR-D a second time: plain, slow, and written from the formulas, to check the library against."""

from __future__ import annotations

import math

from oracles.training import Trainer


def smooth(rates, strength):
    """Return (1 - λ) η_m + λ times the mean of all η."""
    mean = sum(rates.values()) / len(rates)
    return {name: (1 - strength) * rate + strength * mean for name, rate in rates.items()}


def step_lr(epoch, size, gamma):
    """Return StepLR's factor in an epoch counted from 0."""
    factor = 1.0
    for passed in range(1, epoch + 1):
        if passed % size == 0:
            factor *= gamma
    return factor


def cosine(epoch, period):
    """Return the factor of cosine annealing to zero in an epoch counted from 0, not restarted."""
    return (1 + math.cos(math.pi * epoch / period)) / 2


class Dynamic:
    """The ratio of one modality, from its accuracies epoch by epoch.

    Not compounding: the accuracy over the mean of the ``window`` accuracies before it, 1 until there are so many. Compounding: the last
    ``window`` accuracies hold the current one, and only in epochs (counted from 0) that are multiples of ``window``, other than epoch 0,
    the ratio so far is multiplied by the accuracy over their mean.
    """

    def __init__(self, window, compound):
        self.window = window
        self.compound = compound
        self.past = []
        self.epoch = 0
        self.ratio = 1.0

    def step(self, accuracy):
        """Take an epoch's validation accuracy and return the ratio of the next epoch."""
        if self.compound:
            self.past = [*self.past, accuracy][-self.window :]
            if self.epoch > 0 and self.epoch % self.window == 0 and sum(self.past) > 0:
                self.ratio *= accuracy / (sum(self.past) / len(self.past))
        elif len(self.past) < self.window:
            self.past.append(accuracy)
        else:
            mean = sum(self.past) / len(self.past)
            self.ratio = accuracy / mean if mean > 0 else 1.0
            self.past = [*self.past[1:], accuracy]
        self.epoch += 1
        return self.ratio


class MSLR(Trainer):
    """Whole training runs with one learning rate per part.

    :param rates: η by part.
    :param trained: ``"all"`` for the sum of all heads' losses; ``"probes"`` for the multimodal loss with heads on detached features;
        ``"multimodal"`` for the multimodal loss alone, where it is made of the heads' logits.
    :param factor: the scheduler, from an epoch counted from 0 to a factor.
    :param dynamic: by part, its rule.
    """

    def __init__(self, model, rates, trained, momentum=0.0, weight_decay=0.0, factor=lambda epoch: 1.0, dynamic=None):
        super().__init__(model, float("nan"), momentum, weight_decay)
        self.rates = rates
        self.trained = trained
        self.factor = factor
        self.dynamic = dynamic or {}
        self.ratios = {}
        self.epoch = 0

    def step(self, data):
        """Take one step."""
        losses = self.losses(data, detached=self.trained == "probes")
        loss = losses["multimodal"] if self.trained == "multimodal" else sum(losses.values())
        in_force = {name: rate * self.factor(self.epoch) * self.ratios.get(name, 1.0) for name, rate in self.rates.items()}
        self.move(self.gradients(loss), in_force)

    def epoch_end(self, validation):
        """Validate, and let the rules see the accuracies."""
        _, accuracies = self.validate(validation)
        for name, rule in self.dynamic.items():
            self.ratios[name] = rule.step(accuracies[name])
        self.epoch += 1
        self.model.train()
