"""Small problems in double precision, and a loop of one's own around a method's public hooks, to compare with the oracles step by step."""

from __future__ import annotations

import copy

import torch
from torch import nn

from equimodal import modality_groups
from equimodal.data import TensorSet
from equimodal.groups import ParameterRegistry
from equimodal.methods.base import EpochContext
from equimodal.nn import JointFusion
from equimodal.testing import tiny_problem

BATCH = 16
MOMENTUM, DECAY = 0.9, 0.01
SGD = {"momentum": MOMENTUM, "weight_decay": DECAY}


class ConvEncoder(nn.Module):
    """A convolution, a batch normalisation and a linear layer on pictures of one channel."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.linear = nn.Linear(3, 4)
        self.out_features = 4

    def forward(self, value):
        return self.linear(torch.tanh(self.norm(self.convolution(value))).mean(dim=(2, 3)))


class Problem:
    """A model, 48 samples to train on in three fixed batches per epoch, and 24 to validate on."""

    def __init__(self, modalities=2, fusion="concat", conv=False, seed=0, noisy=0.0):
        problem = tiny_problem(modalities, fusion=fusion, dtype=torch.float64, seed=seed)
        self.model, self.train, self.val = problem.model, problem.train, problem.val
        generator = torch.Generator().manual_seed(seed + 100)
        if conv:
            names = list(self.train.inputs)
            torch.manual_seed(seed)
            self.model = JointFusion({name: ConvEncoder() for name in names}, 3, fusion).double()
            self.train, self.val = (self._pictures(data, generator) for data in (self.train, self.val))
        if noisy:  # wrong labels, to overfit on
            wrong = torch.rand(48, generator=generator) < noisy
            targets = torch.where(wrong, torch.randint(0, 3, (48,), generator=generator), self.train.targets)
            self.train = TensorSet(self.train.inputs, targets)

    @staticmethod
    def _pictures(data, generator):
        pictures = {}
        for name, value in data.inputs.items():
            pattern = torch.randn(value.shape[1], 6, 6, generator=torch.Generator().manual_seed(len(name)), dtype=torch.float64)
            picture = torch.einsum("nf,fij->nij", value, pattern) + torch.randn(len(value), 6, 6, generator=generator, dtype=torch.float64)
            pictures[name] = picture.unsqueeze(1)
        return TensorSet(pictures, data.targets)

    def epochs(self, count, seed=0, batches=None):
        """Return so many epochs of batches, each in another order; of each epoch, the first ones only where ``batches`` says how many."""
        generator = torch.Generator().manual_seed(seed)
        orders = [torch.randperm(len(self.train), generator=generator) for _ in range(count)]
        return [[self.train[indices] for indices in order.split(BATCH)[:batches]] for order in orders]

    def copy(self):
        """Return a copy of the model."""
        return copy.deepcopy(self.model)


class HandStep:
    """What a method drives in ``update``; keeps the gradients with which the optimizer steps."""

    def __init__(self, model, optimizer, method):
        self.model, self.optimizer, self.method = model, optimizer, method
        self.parameters = ParameterRegistry(model.modality_modules())
        self.batches = ()
        self.reported = {}
        self.gradients = {}

    def zero_grad(self):
        self.optimizer.zero_grad()

    def forward(self, batch):
        options = {"present": batch.present} if batch.present else {}
        if self.method.transforms():
            options["transform"] = lambda features: self.method.transform(features, batch)
        return self.model(batch.inputs, **options)

    def backward(self, loss, batch):
        (loss * (len(batch) / sum(map(len, self.batches)))).backward()

    def report(self, losses, batch):
        self.reported = {head: float(loss.detach()) for head, loss in losses.items()}

    def counted(self, batch):
        return len(batch)

    def step(self, only=None):
        self.gradients = {
            name: None if parameter.grad is None else parameter.grad.clone() for name, parameter in self.model.named_parameters()
        }
        self.optimizer.step()


class Loop:
    """A training loop by hand: one optimizer, one method, its hooks in the documented order."""

    def __init__(self, model, method, lr, optimizer=torch.optim.SGD, scheduler=None, overrides=None, **options):
        self.method = method
        self.model = method.build(model)
        options = options or SGD
        self.optimizer = optimizer(modality_groups(self.model, lr=lr, overrides=overrides, **options))
        method.attach(self.optimizer)
        self.scheduler = scheduler(self.optimizer) if scheduler else None
        self.hand = HandStep(self.model, self.optimizer, method)
        self.context = None

    def epoch_start(self, number, **options):
        """Start an epoch, counted from 1."""
        self.context = EpochContext(number, **options)
        self.model.train()
        self.method.epoch_start(self.context)

    def step(self, batch):
        """Take one optimizer step."""
        self.hand.batches = [batch]
        self.method.update(self.hand)
        self.method.after_step(self.hand)

    def epoch_end(self, data):
        """Validate and end the epoch; return the mean validation losses."""
        self.model.eval()
        with torch.no_grad():
            prediction = self.model(data.inputs)
        logits = {"multimodal": prediction.multimodal, **prediction.unimodal}
        losses = {head: float(nn.functional.cross_entropy(values, data.targets)) for head, values in logits.items()}
        scores = {head: float((values.argmax(dim=1) == data.targets).double().mean()) for head, values in logits.items()}
        for split in ("val", "train"):
            self.context.losses[split], self.context.scores[split], self.context.counts[split] = losses, scores, len(data)
        if self.scheduler is not None:
            self.scheduler.step()
        self.method.epoch_end(self.context)
        return losses


def assert_same(ours, theirs, rtol=1e-10):
    """Compare all weights and buffers of two models, or two dictionaries of tensors."""
    ours, theirs = (x.state_dict() if isinstance(x, nn.Module) else x for x in (ours, theirs))
    assert ours.keys() == theirs.keys()
    first, second = (torch.cat([value.flatten().double() for value in state.values()]) for state in (ours, theirs))
    if not ((first - second).abs() <= 1e-13 + rtol * second.abs()).all():
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name], rtol=rtol, atol=1e-13, msg=lambda text, name=name: f"{name}: {text}")
        raise AssertionError("NaN or infinite weights")


def moved(model, before):
    """Return whether every parameter differs from what it was."""
    return all(not torch.equal(value, before[name]) for name, value in model.named_parameters())
