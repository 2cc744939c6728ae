"""OGM and OGM-GE a second time: plain, slow, and written from the formulas, to check the library against.

The noise of OGM-GE is given from outside, as standard normal draws by parameter.
"""

from __future__ import annotations

import math

import torch

from oracles.training import Trainer, cross_entropy


def of_the_paper(s_v, s_a, alpha):
    """Return k_v and k_a for two modalities, as the paper's code branches."""
    if s_v / s_a > 1:
        return 1 - math.tanh(alpha * (s_v / s_a)), 1.0
    return 1.0, 1 - math.tanh(alpha * (s_a / s_v))


def coefficients(scores, alpha):
    """Return k_m for any number of modalities: against the mean of the others, the first one where all are equal."""
    names = list(scores)
    found = {}
    for name in names:
        others = [scores[other] for other in names if other != name]
        ratio = scores[name] / (sum(others) / len(others))
        found[name] = 1 - math.tanh(alpha * ratio) if ratio > 1 else 1.0
    if len(set(scores.values())) == 1:
        return {name: 1 - math.tanh(alpha) if name == names[0] else 1.0 for name in names}
    return found


def slices(model, features):
    """Return every modality's part of the multimodal logits as lists of floats: W_m h_m + b / M, or + b_m where each has its own bias."""
    names = list(features)
    parts = {}
    column = 0
    for name in names:
        rows = features[name].tolist()
        width = len(rows[0])
        if hasattr(model.fusion, "linears"):  # Σ_m (W_m h_m + b_m)
            weight, bias = model.fusion.linears[name].weight.tolist(), model.fusion.linears[name].bias.tolist()
        else:
            weight, bias = model.fusion.linear.weight.tolist(), [b / len(names) for b in model.fusion.linear.bias.tolist()]
            if len(weight[0]) != width:  # W [h_1; …; h_M] + b, otherwise W Σ_m h_m + b
                weight = [row[column : column + width] for row in weight]
                column += width
        parts[name] = []
        for row in rows:
            parts[name].append([b + sum(w * h for w, h in zip(line, row, strict=True)) for line, b in zip(weight, bias, strict=True)])
    return parts


def confidence(logits, targets, mask=None):
    """Return the sum over the samples of the true class's probability, its mean where some samples lack the modality."""
    total, count = 0.0, 0
    for i, (row, target) in enumerate(zip(logits, targets.tolist(), strict=True)):
        if mask is None or bool(mask[i]):
            total += math.exp(row[target]) / sum(math.exp(z) for z in row)
            count += 1
    return total if mask is None else total / count


class OGM(Trainer):
    """Whole training steps of OGM on a model with encoders, heads and a linear fusion.

    :param starts: first epoch of modulation, counted from 0.
    :param ends: the last one.
    :param conv: whether only four-dimensional gradients are changed.
    :param probes: whether the heads learn from detached features, and the rest from the multimodal loss alone.
    """

    def __init__(self, model, alpha, lr, momentum=0.0, weight_decay=0.0, starts=0, ends=50, conv=False, probes=True):
        super().__init__(model, lr, momentum, weight_decay)
        self.alpha = alpha
        self.starts = starts
        self.ends = ends
        self.conv = conv
        self.probes = probes
        self.scores = {}
        self.k = {}
        self.plain = {}

    def look(self, data):
        """Run the model on a batch: gradients of the loss, scores and coefficients."""
        masks = data.present
        prediction = self.model(data.inputs, present=masks) if masks else self.model(data.inputs)
        loss = cross_entropy(prediction.multimodal, data.targets)
        for name, feature in prediction.features.items():
            seen, targets = feature.detach() if self.probes else feature, data.targets
            if name in masks:
                rows = [i for i in range(len(targets)) if bool(masks[name][i])]
                seen, targets = seen[rows], targets[rows]
            loss = loss + cross_entropy(self.model.heads[name](seen), targets)
        self.plain = self.gradients(loss)
        parts = slices(self.model, {name: feature.detach() for name, feature in prediction.features.items()})
        everyone = torch.ones(len(data.targets), dtype=torch.bool)
        self.scores = {name: confidence(z, data.targets, masks.get(name, everyone) if masks else None) for name, z in parts.items()}
        self.k = coefficients(self.scores, self.alpha)

    def apply(self, epoch, noise=None):
        """Take the step in an epoch counted from 0. With ``noise``, one tensor per encoder parameter, it is OGM-GE."""
        gradients = dict(self.plain)
        for name, k in self.k.items():
            for parameter, gradient in self.plain.items():
                if self.acts(epoch, name, parameter):
                    gradients[parameter] = k * gradient
                    if noise is not None:
                        gradients[parameter] = k * gradient + deviation(gradient) * noise[parameter]
        self.move(gradients)

    def acts(self, epoch, name, parameter):
        """Return whether a parameter of this name is one of the modality whose gradient is changed in this epoch."""
        inside = self.starts <= epoch <= self.ends
        return inside and parameter.startswith(f"encoders.{name}.") and (self.plain[parameter].dim() == 4 or not self.conv)

    def step(self, epoch, data, noise=None):
        """Look and apply."""
        self.look(data)
        self.apply(epoch, noise)


def deviation(gradient):
    """Return the standard deviation over a tensor's elements, with n - 1, plus 1e-8."""
    values = gradient.flatten().tolist()
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1)) + 1e-8
