"""The plain loop that every harness must agree with, on a problem that a method has something to do on."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader, Dataset

from equimodal import Balancer, HeadScores, modality_groups
from equimodal.testing import tiny_problem

MODALITIES = ("audio", "image")
EPOCHS = 6  # MILES slows the audio and lets it go again; MSES stops the image after the fourth


class Pairs(Dataset):
    """Single samples as ``(inputs, target)``."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        batch = self.data[index : index + 1]
        return {name: value[0] for name, value in batch.inputs.items()}, batch.targets[0]


def parts(dtype=torch.float64, batch_size=8):
    """Return a model and its loaders of training and validation, always in the same order; 22 validation samples fill no batch evenly."""
    problem = tiny_problem(dtype=dtype)
    train = DataLoader(Pairs(problem.train), batch_size=batch_size)
    val = DataLoader(Pairs(problem.val.subset(torch.arange(22))), batch_size=batch_size)
    return problem.model, train, val


def adam(model, lr=0.1):
    return torch.optim.Adam(modality_groups(model, lr=lr))


def schedule_of(optimizer, gamma=0.9):
    return torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma)


@torch.no_grad()
def head_scores(model, val):
    counter = HeadScores(MODALITIES)
    model.eval()
    for inputs, targets in val:
        counter.update(model(inputs), targets)
    return counter


def weights(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assert_same(one, other, tolerance=0.0):
    """Whether two outcomes have the same rates, scores and weights."""
    assert len(one["logs"]) == len(other["logs"])
    for first, second in zip(one["logs"], other["logs"], strict=True):
        assert first.keys() == second.keys()
        for name in first:
            assert abs(first[name] - second[name]) <= max(tolerance, 1e-12), name
    assert one["weights"].keys() == other["weights"].keys()
    for name, value in one["weights"].items():
        torch.testing.assert_close(value, other["weights"][name], rtol=tolerance, atol=tolerance)


def plain(method, *, epochs=EPOCHS, accumulate=1, clip=None, ticks=1, dtype=torch.float64):
    """Train in plain PyTorch: what :class:`equimodal.Balancer` asks of a loop, and nothing else.

    :param ticks: how often the other scheduler is stepped after every optimizer step.
    """
    model, train, val = parts(dtype=dtype)
    torch.manual_seed(0)
    balancer = Balancer(method)
    model = balancer.build(model)
    optimizer = adam(model)
    schedule = schedule_of(optimizer)
    balancer.attach(optimizer)
    logs = []
    for epoch in range(1, epochs + 1):
        model.train()
        balancer.epoch_start(epoch, epochs=epochs)
        for number, (inputs, targets) in enumerate(train, 1):
            (balancer.loss(model(inputs), targets) / accumulate).backward()
            if number % accumulate == 0:
                balancer.before_step()
                if clip is not None:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                for _ in range(ticks):
                    schedule.step()
                optimizer.zero_grad()
        counter = head_scores(model, val)
        stop = balancer.epoch_end(counter.compute(), counter.losses())
        logs.append(balancer.logs())
        if stop:
            break
    return {"logs": logs, "weights": weights(model), "balancer": balancer.state_dict()}
