"""Plain training, to check the library's methods against: a model's own forward and its gradients, everything else in loops.

Nothing here is shared with the library but the modules of the model. Parts are told apart by the names of parameters:
``encoders.audio.…`` and ``heads.audio.…`` belong to ``audio``, everything else to ``multimodal``.
"""

from __future__ import annotations

import torch


def owner(name):
    """Return the part to which a parameter or buffer belongs."""
    first, second, *_ = name.split(".")
    return second if first in ("encoders", "heads") else "multimodal"


def cross_entropy(logits, targets):
    """Return the mean over the samples of log Σ_c exp z_c - z_y."""
    return (torch.log(torch.exp(logits).sum(dim=1)) - logits[range(len(targets)), targets]).sum() / len(targets)


class Trainer:
    """SGD with momentum and weight decay by hand, one learning rate per part."""

    def __init__(self, model, lr, momentum=0.0, weight_decay=0.0):
        self.model = model
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.velocity = {}
        self.parameters = dict(model.named_parameters())

    def gradients(self, loss):
        """Return the gradient of every parameter by name, None where the loss does not depend on it."""
        found = torch.autograd.grad(loss, list(self.parameters.values()), allow_unused=True)
        return dict(zip(self.parameters, found, strict=True))

    def move(self, gradients, rates=None):
        """Take one step: d = g + λ θ, v = μ v + d (v = d at first), θ = θ - η v."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if gradients[name] is None:
                    continue
                direction = gradients[name] + self.weight_decay * parameter
                if name in self.velocity:
                    direction = self.momentum * self.velocity[name] + direction
                self.velocity[name] = direction
                parameter.copy_(parameter - (rates or {}).get(owner(name), self.lr) * direction)

    def heads(self, data, detached=False):
        """Run the model on one batch; return logits and targets by head, ``multimodal`` first, of the samples that have the modality.

        :param detached: whether the heads see detached features.
        """
        masks = data.present
        prediction = self.model(data.inputs, present=masks) if masks else self.model(data.inputs)
        found = {"multimodal": (prediction.multimodal, data.targets)}
        for name, feature in prediction.features.items():
            seen, targets = feature.detach() if detached else feature, data.targets
            if name in masks:
                rows = [i for i in range(len(targets)) if bool(masks[name][i])]
                seen, targets = seen[rows], targets[rows]
            found[name] = self.model.heads[name](seen), targets
        return found

    def losses(self, data, detached=False):
        """Return one batch's mean loss by head."""
        return {name: cross_entropy(logits, targets) for name, (logits, targets) in self.heads(data, detached).items()}

    def validate(self, data):
        """Return mean losses and accuracies by head in evaluation mode; the model is left in it."""
        self.model.eval()
        losses, accuracies = {}, {}
        with torch.no_grad():
            for name, (logits, targets) in self.heads(data).items():
                losses[name] = float(cross_entropy(logits, targets))
                right = 0
                for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
                    right += row.index(max(row)) == target
                accuracies[name] = right / len(targets)
        return losses, accuracies
